from __future__ import annotations

import io
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from langevin.core.training.data import Order
from langevin.modalities.audio.data import AudioDataset, clipped, open_data
from langevin.modalities.audio.files import SoundError, write
from langevin.modalities.audio.sound import Audio, level


@pytest.fixture
def folder(tmp_path: Path, tone, noise) -> Path:
    write(tone(1.0, 16000, channels=2), tmp_path / "a.wav")
    write(noise(0.5), tmp_path / "b.flac")
    write(tone(2.0), tmp_path / "c.ogg")
    return tmp_path


@pytest.fixture
def broken(folder: Path) -> Path:
    """A folder in which five of eight files cannot be used."""
    raw = (folder / "a.wav").read_bytes()
    (folder / "cut.wav").write_bytes(raw[: len(raw) // 2])
    (folder / "empty.wav").write_bytes(b"")
    samples = np.zeros(4000, np.float32)
    soundfile.write(folder / "zero.wav", samples[:0], 8000)
    samples[5] = np.nan
    soundfile.write(folder / "nan.wav", samples, 8000, subtype="FLOAT")
    loud = np.clip(3 * np.sin(np.arange(4000) / 10), -1, 1)
    soundfile.write(folder / "loud.wav", loud, 8000)
    return folder


REASONS = {
    "cut.wav": "truncated",
    "empty.wav": "the file is empty",
    "zero.wav": "holds no samples",
    "nan.wav": "NaN",
    "loud.wav": "clipped: 7",
}


def test_a_folder_of_any_formats_becomes_sounds_alike(folder):
    data = open_data(folder, rate=8000)
    assert isinstance(data, AudioDataset)
    sounds, conditions = data.batch([2, 0, -2])
    assert conditions == {} == data.conditions
    assert [(len(s), s.rate, s.channels) for s in sounds] == [
        (16000, 8000, 1),
        (8000, 8000, 1),
        (4000, 8000, 1),
    ]
    assert data.lengths == [8000, 4000, 16000]
    assert Order(len(data), 2, 0, data.lengths).indices(0)
    own = open_data(folder, channels=None)
    assert [(s.rate, s.channels) for s in own.batch([0, 1])[0]] == [(16000, 2), (8000, 1)]
    assert open_data(folder, channels=2).batch([1])[0][0].channels == 2
    assert open_data(data) is data


@pytest.mark.parametrize("memory", [2 << 30, 0])
def test_files_that_cannot_be_used_are_named_all_together(broken, memory):
    with pytest.raises(ValueError, match="of its files cannot be used") as caught:
        open_data(broken, memory=memory)
    seen = REASONS if memory else {k: v for k, v in REASONS.items() if k not in ("nan.wav", "loud.wav")}
    for name, reason in seen.items():
        assert any(name in line and reason in line for line in str(caught.value).splitlines()), name


def test_or_they_are_left_out(broken):
    with pytest.warns(UserWarning, match="5 of its files"):
        data = open_data(broken, errors="skip", rate=8000)
    assert [c.file.name for c in data.source.clips] == ["a.wav", "b.flac", "c.ogg"]
    assert {p.file.name for p in data.problems} == set(REASONS)
    with pytest.warns(UserWarning, match="4 of its files"):
        assert len(open_data(broken, errors="skip", clipping=None)) + 0 == 4


def test_damage_that_is_met_late_is_skipped_once(broken):
    with pytest.warns(UserWarning, match="3 of its files"):
        data = open_data(broken, errors="skip", memory=0, rate=8000)
    names = [c.file.name for c in data.source.clips]
    index = names.index("loud.wav")
    with pytest.warns(UserWarning, match=r"(loud|nan)\.wav: .*; the next sound takes its place"):
        sounds, _ = data.batch([index])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again, _ = data.batch([index])
    assert np.array_equal(sounds[0].samples, again[0].samples)
    for name in ("cut.wav", "empty.wav", "zero.wav"):
        (broken / name).unlink()
    strict = open_data(broken, memory=0)
    with pytest.raises(SoundError, match=r"nan\.wav"):
        strict.batch([[c.file.name for c in strict.source.clips].index("nan.wav")])
    with pytest.raises(IndexError, match="out of range for a set of 5 sounds"):
        strict.batch([5])


def test_a_folder_without_usable_sounds(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"")
    with pytest.raises(ValueError, match=r"a\.wav: the file is empty"):
        open_data(tmp_path)
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="no usable sounds are left"):
        open_data(tmp_path, errors="skip")


def test_silent_clips_are_left_out(folder):
    write(Audio(np.full((1, 8000), 1e-4), 8000), folder / "quiet.wav", bits=32)
    data = open_data(folder)
    assert [f.name for f in data.silent] == ["quiet.wav"]
    assert len(data) == 3
    assert len(open_data(folder, silence=None)) == 4
    assert len(open_data(folder, silence=-90)) == 4


def test_captions_and_classes(folder):
    for name in "abc":
        (folder / f"{name}.txt").write_text(f"sound {name}")
    data = open_data(folder)
    assert data.conditions == {"prompt": "text"}
    assert data.batch([2, 0])[1] == {"prompt": ["sound c", "sound a"]}
    assert open_data(folder, conditions="none").conditions == {}
    for name, kind in {"a.wav": "low", "b.flac": "high", "c.ogg": "low"}.items():
        (folder / kind).mkdir(exist_ok=True)
        (folder / name).rename(folder / kind / name)
        (folder / name).with_suffix(".txt").unlink()
    data = open_data(folder)
    assert data.class_names == ("high", "low") == data.classes["label"]
    assert data.batch(range(3))[1] == {"label": [0, 1, 1]}
    assert len(open_data(folder, where={"label": "low"})) == 2


@pytest.mark.parametrize("memory", [2 << 30, 0])
def test_crops(folder, memory):
    data = open_data(folder, rate=8000, seconds=0.4, crops=3, timing=True, memory=memory, seed=1)
    assert len(data) == 3 * (3 + 2 + 5)  # the whole of 1.0, 0.5 and 2.0 s in parts of 0.4 s
    sounds, conditions = data.batch(range(len(data)))
    assert {len(s) for s in sounds} == {3200}
    assert data.lengths is None
    assert data.conditions == {"begin": "number", "total": "number"}
    for start, total in zip(conditions["begin"], conditions["total"]):
        assert 0 <= start <= total - 0.4 + 1e-9
    assert sorted(set(np.round(conditions["total"], 3))) == [0.5, 1.0, 2.0]
    assert len(set(conditions["begin"])) > 25
    again, same = data.batch([7, 3])
    assert same["begin"] == [conditions["begin"][7], conditions["begin"][3]]
    assert np.array_equal(again[0].samples, sounds[7].samples)
    first = open_data(folder, rate=8000).batch([1])[0][0]
    place = round(conditions["begin"][9] * 8000)  # the first crop of b.flac
    assert np.array_equal(sounds[9].samples, first.samples[:, place : place + 3200])
    other = open_data(folder, rate=8000, seconds=0.4, crops=3, timing=True, memory=memory, seed=2)
    assert other.batch([7])[1]["begin"] != same["begin"][:1]


def test_crops_of_silence_are_drawn_again(tmp_path, noise):
    samples = np.zeros((1, 8000), np.float32)
    samples[:, 5000:6600] = noise(0.2).samples
    write(Audio(samples, 8000), tmp_path / "a.wav")
    data = open_data(tmp_path, seconds=0.2, crops=8)
    levels = [level(s.samples, 8000) for s in data.batch(range(len(data)))[0]]
    assert np.mean(np.array(levels) > -60) > 0.8  # one place in 2.5 is not silent


def test_short_sounds_are_padded(folder):
    data = open_data(folder, rate=8000, seconds=1.5, pad="end")
    sounds, _ = data.batch([1])
    whole = open_data(folder, rate=8000).batch([1])[0][0]
    assert np.array_equal(sounds[0].samples[:, :4000], whole.samples)
    assert not sounds[0].samples[:, 4000:].any()
    assert len(sounds[0]) == 12000
    assert data.lengths is None
    places = set()
    for seed in range(4):
        sound = open_data(folder, rate=8000, seconds=1.5, pad="random", seed=seed).batch([1])[0][0]
        first = int(np.flatnonzero(sound.samples[0])[0])
        assert np.array_equal(
            sound.samples[0, first : first + 3990],
            whole.samples[0, np.flatnonzero(whole.samples[0])[0] :][:3990],
        )
        places.add(first)
    assert len(places) == 4


def test_levels_are_brought_together(folder):
    for sound in open_data(folder, lufs=-20).batch(range(3))[0]:
        assert sound.loudness == pytest.approx(-20, abs=0.01)
    for sound in open_data(folder, peak=-3, seconds=0.4).batch(range(3))[0]:
        assert sound.peak == pytest.approx(10 ** (-3 / 20), abs=1e-4)


def test_clipping_is_runs_at_full_scale():
    peaks = np.zeros((1, 100), np.float32)
    peaks[0, [3, 10, 11]] = 1
    assert clipped(peaks) == 0
    peaks[0, 20:30] = -1
    assert clipped(peaks) == pytest.approx(0.1)


# --- archives -----------------------------------------------------------------------------------------------


def save(path: Path, **changes) -> Path:
    arrays = {
        "samples": (np.random.default_rng(0).standard_normal(4000) * 3000).astype(np.int16),
        "offsets": np.array([0, 1000, 1500, 4000]),
        "sample_rate": np.array(8000),
        "digit": np.array([2, 0, 1], np.uint8),
        "word": np.array(["zero", "one", "two", "three"]),
        "caption": np.array(["a", "b", "c"]),
        "split": np.array(["train", "test", "train"]),
        "licence": np.array("CC0"),
    }
    np.savez(path, **{k: v for k, v in (arrays | changes).items() if v is not None})
    return path


def test_archives(tmp_path):
    data = open_data(save(tmp_path / "a.npz"))
    assert data.conditions == {"prompt": "text", "label": "class"}
    assert data.class_names == ("zero", "one", "two", "three")
    sounds, conditions = data.batch([2, 1])
    assert conditions == {"prompt": ["c", "b"], "label": [1, 0]}
    assert [len(s) for s in sounds] == [2500, 500]
    assert data.licence == "CC0"
    assert len(open_data(tmp_path / "a.npz", "train")) == 2
    assert len(open_data(tmp_path / "a.npz", where={"digit": ["zero", 2]})) == 2
    assert len(open_data(tmp_path / "a.npz", leave_out=[{"digit": "two", "split": "train"}])) == 2
    chosen = open_data(tmp_path / "a.npz", conditions={"kind": "digit"})
    assert chosen.classes == {"kind": ("zero", "one", "two", "three")}
    assert chosen.class_names == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": None}, "has no array 'samples'"),
        ({"samples": np.zeros((2, 2000))}, "must be int16 or float"),
        ({"offsets": np.array([0, 1500, 1000, 4000])}, "must rise from 0 to the 4000 samples"),
        ({"offsets": np.array([0, 1000, 1500, 9000])}, "must rise"),
        ({"word": np.array(["zero", "one"])}, "do not index its names"),
        ({"caption": np.array([{}, {}, {}])}, "not a readable npz archive"),
        ({"offsets": np.array([0, 1000, 1000, 4000])}, r"a\.npz/1: it holds no samples"),
        ({"samples": np.full(4000, np.nan)}, r"a\.npz/0: samples must be finite"),
    ],
)
def test_archives_that_cannot_be_used(tmp_path, changes, message):
    save(tmp_path / "a.npz", **changes)
    with pytest.raises(ValueError, match=message):
        open_data(tmp_path / "a.npz")


def test_selections_that_cannot_be(tmp_path):
    path = save(tmp_path / "a.npz")
    for arguments, message in [
        ({"split": "tets"}, "no sound has split = 'tets'"),
        ({"where": {"digt": 1}}, "did you mean 'digit'"),
        ({"where": {"digit": "sero"}}, "did you mean 'zero'"),
        ({"where": {"digit": "three"}}, "no sound has digit"),
        ({"where": {"digit": 0}, "split": "train"}, "no sounds are left"),
        ({"leave_out": [{}]}, "would leave out everything"),
        ({"conditions": {"prompt": "captions"}}, "unknown column for a condition"),
        ({"eror": "skip"}, "unknown key of data 'eror'; did you mean 'errors'"),
        ({"errors": "skp"}, "did you mean 'skip'"),
        ({"rate": 0}, r"data\.rate must be a whole number from 1"),
        ({"seconds": -1}, r"data\.seconds must be a positive number"),
        ({"pad": "end"}, "without seconds"),
        ({"lufs": -20, "peak": -1}, "either lufs or peak"),
        ({"channels": 3}, "must be 1 or 2"),
    ]:
        with pytest.raises(ValueError, match=message):
            open_data(path, **arguments)


def tar(path: Path, files: dict[str, bytes], table: str) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, contents in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(contents)
            archive.addfile(member, io.BytesIO(contents))
    path.with_suffix(".csv").write_text(table)
    return path


def test_tars(folder):
    raw = {f"x/{n}": (folder / n).read_bytes() for n in ("a.wav", "c.ogg")}
    rows = 'file,label,class_name,caption,split,licence\nx/c.ogg,1,high,c,test,CC0\nx/a.wav,0,low,"a, b",train,CC BY\n'
    data = open_data(tar(folder / "s.tar", raw, rows), rate=8000)
    assert data.class_names == ("low", "high")
    assert data.batch([1, 0])[1] == {"prompt": ["a, b", "c"], "label": [0, 1]}
    assert data.licence == "CC BY, CC0"
    alone = open_data(folder, rate=8000, conditions="none")
    assert np.array_equal(data.batch([1])[0][0].samples, alone.batch([0])[0][0].samples)
    assert len(open_data(folder / "s.tar", "test")) == 1
    tar(
        folder / "t.tar",
        {**raw, "x/bad.wav": b"no"},
        rows + "x/no.wav,0,low,d,test,\nx/bad.wav,0,low,e,test,\n",
    )
    with pytest.raises(
        ValueError, match=r"(?s)no\.wav: listed in t\.csv, but there is no such file.*bad\.wav: not a"
    ):
        open_data(folder / "t.tar")
    (folder / "t.tar").write_bytes(b"x" * 2000)
    with pytest.raises(ValueError, match="not a readable tar"):
        open_data(folder / "t.tar")
    (folder / "t.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"t\.csv"):
        open_data(folder / "t.tar")


def test_what_is_no_data_set_is_said(folder):
    with pytest.raises(FileNotFoundError):
        open_data(folder / "absent")
    with pytest.raises(ValueError, match="single file.*give the folder"):
        open_data(folder / "a.wav")
    with pytest.raises(ValueError, match="got int"):
        open_data(3)
    with pytest.raises(ValueError, match="no folder 'dev'"):
        open_data(folder, "dev")
    (folder / "test").mkdir()
    (folder / "a.wav").rename(folder / "test" / "a.wav")
    assert len(open_data(folder, "test")) == 1


# --- real data ----------------------------------------------------------------------------------------------


def test_spoken_digits(needs):
    held = [{"digit": "seven", "speaker": "theo"}]
    data = open_data(needs("fsdd_8k.npz"), "train", leave_out=held, seconds=1.024, pad="random", peak=-1)
    assert set(data.conditions) == {"prompt", "label", "speaker"}
    assert data.classes["speaker"][4] == "theo"
    assert len(data.source.clips) == 2700 - 45
    sounds, conditions = data.batch(range(0, 2600, 500))
    assert {len(s) for s in sounds} == {8192}
    assert conditions["prompt"][0] == "the digit zero spoken by george"
    assert not data.silent
    assert not data.problems


def test_environmental_sounds(needs):
    data = open_data(needs("esc10_16k.tar"), "test", seconds=5)
    assert len(data) == 80
    assert data.class_names[0] == "dog bark"
    assert {len(s) for s in data.batch(range(0, 80, 9))[0]} == {80000}
