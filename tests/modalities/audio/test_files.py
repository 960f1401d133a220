from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from langevin.modalities.audio import reading
from langevin.modalities.audio.files import EXACT, Reader, SoundError, Writer, info, read, write
from langevin.modalities.audio.sound import Audio

LIMIT = 10 ** (-1 / 20)


@pytest.fixture
def wav(tmp_path: Path, tone) -> Path:
    write(tone(1.0), tmp_path / "good.wav")
    return tmp_path / "good.wav"


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
@pytest.mark.parametrize("channels", [1, 2])
def test_every_value_of_16_bits_survives(tmp_path, suffix, channels):
    values = np.random.default_rng(0).permutation(np.arange(-32768, 32768)).astype(np.int16)
    sound = Audio(values.reshape(channels, -1), 44100)
    assert write(sound, tmp_path / f"a{suffix}", clip="keep") == ""
    back = read(tmp_path / f"a{suffix}")
    assert np.array_equal(back.samples, sound.samples)
    assert np.array_equal(
        soundfile.read(tmp_path / f"a{suffix}", dtype="int16")[0].T.reshape(channels, -1), sound_pcm(sound)
    )


def sound_pcm(sound: Audio) -> np.ndarray:
    return np.rint(sound.samples * 32768).astype(np.int16)


@pytest.mark.parametrize(
    ("suffix", "bits", "error"), [(".wav", 24, 6e-8), (".flac", 24, 6e-8), (".wav", 32, 0.0)]
)
def test_more_bits(tmp_path, noise, suffix, bits, error):
    sound = noise(0.1).scaled(-6)
    write(sound, tmp_path / f"a{suffix}", bits=bits)
    assert np.abs(read(tmp_path / f"a{suffix}").samples - sound.samples).max() <= error


@pytest.mark.parametrize(("suffix", "error"), [(".ogg", 0.1), (".mp3", 0.1), (".m4a", 0.1)])
@pytest.mark.parametrize("channels", [1, 2])
def test_lossy_formats_keep_sound_length_and_rate(tmp_path, tone, suffix, error, channels):
    sound = tone(0.7, 16000, channels=channels)
    write(sound, tmp_path / f"a{suffix}")
    back = read(tmp_path / f"a{suffix}")
    assert (back.rate, back.channels, len(back)) == (16000, channels, len(sound))
    assert np.abs(back.samples - sound.samples)[:, 800:-800].max() < error
    assert info(tmp_path / f"a{suffix}").seconds == pytest.approx(0.7)
    assert (suffix in EXACT) == (suffix == ".ogg")


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".m4a"])
def test_peaks_of_files_stay_below_the_limit_and_it_is_said(tmp_path, noise, tone, suffix):
    for loud in (
        noise(0.5, 16000).scaled(20),
        tone(1.0, 16000, peak=1.0),
    ):  # encoders overshoot with the tone
        assert write(loud, tmp_path / f"a{suffix}").startswith("turned down by ")
        assert read(tmp_path / f"a{suffix}").peak <= LIMIT
    assert write(noise(0.1, 16000).scaled(-12), tmp_path / f"b{suffix}") == ""


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".m4a"])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_no_sound_is_clipped_by_a_codec_that_overshoots(tmp_path, suffix, rate):
    rng, t = np.random.default_rng(0), np.arange(rate // 2) / rate
    hard = {
        "burst": np.where(
            t > 0.25, np.sign(rng.standard_normal(len(t))), 0
        ),  # four turns down are too few for Vorbis
        "square": np.sign(np.sin(2 * np.pi * 300 * t)),
        "clicks": (rng.random(len(t)) < 0.002) * 1.0,
    }
    for name, samples in hard.items():
        write(Audio(samples, rate), tmp_path / f"{name}{suffix}")
        assert read(tmp_path / f"{name}{suffix}").peak <= LIMIT, name


def test_levels_are_kept_on_request(tmp_path, tone):
    loud = tone(0.5, peak=1.2)
    note = write(loud, tmp_path / "a.wav", clip="keep")
    assert note.endswith("samples beyond full scale were clipped")
    assert read(tmp_path / "a.wav").peak == 1.0
    assert write(loud, tmp_path / "b.wav", bits=32, clip="keep") == ""
    assert np.array_equal(read(tmp_path / "b.wav").samples, loud.samples)


@pytest.mark.parametrize("suffix", [".wav", ".ogg", ".m4a"])
def test_parts_are_those_of_the_whole(tmp_path, noise, suffix):
    path = tmp_path / f"a{suffix}"
    write(noise(1.0, 16000), path)
    whole = read(path)
    assert np.array_equal(read(path, 0.25, 0.5).samples, whole.samples[:, 4000:12000])
    assert np.array_equal(read(path, 0.9).samples, whole.samples[:, 14400:])
    with pytest.raises(SoundError, match=f"a{suffix}: .*no part"):
        read(path, 0.9, 0.2)
    with pytest.raises(SoundError, match="no part"):
        read(path, 2.0)
    with Reader(path) as reader:
        blocks = list(reader.blocks(size=999))
        assert {b.shape[1] for b in blocks[:-1]} == {999}
        assert np.array_equal(np.concatenate(blocks, 1), whole.samples)
        assert np.array_equal(np.concatenate(list(reader.blocks()), 1), whole.samples)  # and once more


def test_contents_may_come_from_memory(wav, tmp_path):
    assert np.array_equal(read("x.wav", data=wav.read_bytes()).samples, read(wav).samples)
    with pytest.raises(SoundError, match=r"x\.wav: truncated"):
        read("x.wav", data=wav.read_bytes()[:-2])


def test_a_file_grows_by_blocks_and_is_whole_or_absent(tmp_path, noise):
    sound = noise(1.0, channels=2).scaled(15)
    with Writer(tmp_path / "a.flac", 8000, channels=2, bits=24) as writer:
        for i in range(0, 8000, 700):
            writer.append(sound.samples[:, i : i + 700])
        with pytest.raises(ValueError, match=r"shape \(2, n\)"):
            writer.append(sound.samples[:1])
    assert writer.note.startswith("turned down")
    write(sound, tmp_path / "b.flac", bits=24)
    assert np.array_equal(read(tmp_path / "a.flac").samples, read(tmp_path / "b.flac").samples)
    with pytest.raises(KeyError), Writer(tmp_path / "c.wav", 8000) as writer:
        writer.append(np.zeros((1, 10), np.float32))
        raise KeyError
    with pytest.raises(ValueError, match="no samples"), Writer(tmp_path / "c.wav", 8000):
        pass
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.flac", "b.flac"]


def test_what_cannot_be_written_says_why(tmp_path, tone):
    for name, bits, message in [
        ("a.aiff", 16, "unknown suffix of a sound file '.aiff'"),
        ("a.flac", 32, "16 or 24; got 32"),
        ("a.ogg", 24, "must be 16"),
    ]:
        with pytest.raises(ValueError, match=message):
            write(tone(0.1), tmp_path / name, bits=bits)
    with pytest.raises(ValueError, match="did you mean 'keep'"):
        write(tone(0.1), tmp_path / "a.wav", clip="kep")
    for name in ("a.mp3", "a.m4a"):
        with pytest.raises(ValueError, match="cannot be written"):
            write(Audio(np.zeros(100), 12345), tmp_path / name)
        with pytest.raises(ValueError, match="cannot be written"):
            write(Audio(np.zeros((3, 100)), 16000), tmp_path / name)
    assert not list(tmp_path.iterdir())


# --- files that are not what they say -----------------------------------------------------------------------


def chunk(raw: bytes, size: int) -> bytes:
    place = raw.index(b"data")
    return raw[: place + 4] + struct.pack("<I", size) + raw[place + 8 :]


@pytest.mark.parametrize(
    ("name", "contents", "reason"),
    [
        (
            "cut.wav",
            lambda raw: raw[:9000],
            "truncated: its header claims 16000 bytes of samples and 8956 are there",
        ),
        ("header.wav", lambda raw: raw[:20], "truncated in its header"),
        ("bare.wav", lambda raw: raw[:36], "a header and no samples"),
        ("zero.wav", lambda raw: b"", "the file is empty"),
        ("none.wav", lambda raw: chunk(raw[:44], 0), "holds no samples"),
        ("text.wav", lambda raw: b"this is only text\n" * 20, "not a readable sound file"),
        ("huge.wav", lambda raw: chunk(raw, 0xFFFFFFF0), "claims 4294967280 bytes"),
        ("stream.wav", lambda raw: chunk(raw, 0xFFFFFFFF), "claims 4294967295 bytes"),
        ("text.mp3", lambda raw: b"this is only text\n" * 20, "not a readable sound file"),
        ("text.m4a", lambda raw: b"this is only text\n" * 20, "not a readable sound file"),
        ("wav.m4a", lambda raw: raw, "its contents are wav, not what its name says"),
    ],
)
def test_broken_files_are_named_with_the_reason(tmp_path, wav, name, contents, reason):
    path = tmp_path / name
    path.write_bytes(contents(wav.read_bytes()))
    with pytest.raises(ValueError, match=f"{name}: .*{reason}") as caught:
        read(path)
    assert caught.value.file == path


@pytest.mark.parametrize("suffix", [".flac", ".ogg", ".mp3", ".m4a"])
def test_halves_of_compressed_files_are_refused(tmp_path, noise, suffix):
    write(noise(1.0, 16000), tmp_path / f"a{suffix}")
    raw = (tmp_path / f"a{suffix}").read_bytes()
    (tmp_path / f"half{suffix}").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(SoundError, match=f"half{suffix}: "):
        read(tmp_path / f"half{suffix}")


def test_nan_is_refused(tmp_path):
    samples = np.zeros(100, np.float32)
    samples[7] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, 8000, subtype="FLOAT")
    with pytest.raises(SoundError, match=r"nan\.wav: it holds NaN"):
        read(tmp_path / "nan.wav")


def test_no_file_opens_another(tmp_path, noise):
    write(noise(0.5, 16000), tmp_path / "other.mp3")
    for name, text in {
        "hls.m4a": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path / 'other.mp3'}\n#EXT-X-ENDLIST\n",
        "concat.m4a": "ffconcat version 1.0\nfile other.mp3\n",
    }.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(SoundError, match=name):
            read(tmp_path / name)


def test_what_is_no_file(tmp_path, wav):
    with pytest.raises(FileNotFoundError, match="no file"):
        read(tmp_path / "absent.wav")
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(SoundError, match="no regular file"):
        read(tmp_path / "folder.wav")


def test_memory_is_bounded(wav, monkeypatch):
    monkeypatch.setattr(reading, "MEMORY", 1000)
    with pytest.raises(SoundError, match=r"files\.Reader"):
        read(wav)


def test_video_files_have_sound_tracks(tmp_path, tone):
    write(tone(0.5, 16000), tmp_path / "a.m4a")
    (tmp_path / "a.mp4").write_bytes((tmp_path / "a.m4a").read_bytes())
    assert len(read(tmp_path / "a.mp4")) == 8000


def test_recordings_of_others(needs):
    sound = read(needs("samples/7_theo_12.wav"))
    assert (sound.rate, sound.channels) == (8000, 1)
    assert np.array_equal(
        sound_pcm(sound)[0], soundfile.read(needs("samples/7_theo_12.wav"), dtype="int16")[0]
    )
    assert read(needs("samples/esc10_rooster_1-27724-A.ogg")).seconds == pytest.approx(5, abs=0.01)
