from __future__ import annotations

import contextlib
import io
import json
import struct
import tracemalloc
import zipfile
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from langevin.modalities.video import opened, reading
from langevin.modalities.video.clip import Track, Video
from langevin.modalities.video.files import EXTENSIONS, PieceWriter, Reader, VideoError, info, read, write

EXACT = [
    ("a.npz", None),
    ("a.apng", None),
    ("a.png", None),
    ("a.webp", None),
    ("frames", None),
    ("a.mkv", "ffv1"),
]
LOSSY = [
    *[("a.mp4", codec) for codec in ("h264", "hevc", "av1", "vp9")],
    *[("a.webm", codec) for codec in ("vp9", "av1")],
    ("a.mkv", None),
    ("a.mov", None),
]
SHAPES = [(6, 33, 47, 8.0), (1, 1, 1, 12.5), (9, 64, 64, 24000 / 1001), (4, 20, 32, 1 / 0.3)]


def psnr(a: Video, b: Video) -> float:
    assert a.frames.shape == b.frames.shape
    return float(10 * np.log10(255**2 / np.mean((a.frames.astype(float) - b.frames) ** 2)))


@pytest.mark.parametrize(("name", "codec"), EXACT)
@pytest.mark.parametrize(("frames", "height", "width", "fps"), SHAPES)
def test_lossless_files_give_every_value_back(tmp_path, moving, name, codec, frames, height, width, fps):
    clip = moving(frames, height, width, fps)
    assert write(clip, tmp_path / name, codec=codec) == ""
    back = read(tmp_path / name)
    assert np.array_equal(back.frames, clip.frames)
    assert back.fps == clip.fps
    assert back.audio is None


@pytest.mark.parametrize(("name", "codec"), LOSSY)
@pytest.mark.parametrize(("frames", "height", "width", "fps"), SHAPES)
def test_lossy_files_keep_size_length_rate_and_look(
    tmp_path, moving, name, codec, frames, height, width, fps
):
    clip = moving(frames, height, width, fps)
    note = write(clip, tmp_path / name, codec=codec)
    small = codec == "hevc" and min(height, width) < 64  # its encoder's coding tree unit
    assert note.startswith("padded to ") == (height % 2 == 1 or small)
    back = read(tmp_path / name)
    assert psnr(back, clip) > 34
    assert back.fps == clip.fps
    about = info(tmp_path / name)
    assert (about.size, about.fps, about.frames, about.sound) == (clip.size, clip.fps, frames, False)
    with av.open(str(tmp_path / name)) as container:  # foreign readers
        padded = next(container.decode(video=0))
        assert padded.width % 2 == padded.height % 2 == 0


def test_real_footage_survives_h264(tmp_path, needs):
    clip = read(needs("files/bigbuckbunny_720p_5s.mp4"), 2.0, 0.4).resized(640, 360)
    write(clip, tmp_path / "a.mp4")
    assert psnr(read(tmp_path / "a.mp4"), clip) > 36


def test_a_better_quality_is_better(tmp_path, moving):
    noisy = Video.of(np.random.default_rng(0).integers(0, 256, (4, 32, 32), dtype=np.uint8), 8)
    found = {}
    for quality in (0, 20, 45):
        write(noisy, tmp_path / "a.mp4", quality=quality)
        found[quality] = psnr(read(tmp_path / "a.mp4"), noisy)
    assert found[0] > found[20] + 1 > found[45] + 1
    write(moving(), tmp_path / "a.webp", quality=50)
    assert 25 < psnr(read(tmp_path / "a.webp"), moving()) < 60


def test_gifs_are_exact_up_to_256_colours(tmp_path, moving):
    rng = np.random.default_rng(0)
    few = rng.integers(0, 256, (200, 3), dtype=np.uint8)[rng.integers(0, 200, (5, 31, 17))]
    write(Video(few, 30), tmp_path / "a.gif")
    back = read(tmp_path / "a.gif")
    assert np.array_equal(back.frames, few)
    assert back.fps == 30
    write(moving(), tmp_path / "b.gif")
    assert psnr(read(tmp_path / "b.gif"), moving()) > 30


@pytest.mark.parametrize("name", ["a.gif", "a.apng", "a.webp"])
def test_other_programs_see_the_same_times(tmp_path, moving, name):
    write(moving(6, 32, 48, 30.0), tmp_path / name)
    with Image.open(tmp_path / name) as picture:
        assert picture.n_frames == 6
        assert picture.info.get("loop") == 0
        times = []
        for k in range(6):
            picture.seek(k)
            picture.load()
            times.append(picture.info["duration"])
    assert sum(times) == pytest.approx(200, abs=1)
    if name != "a.webp":  # of which FFmpeg decodes no animations
        with av.open(str(tmp_path / name)) as container:
            assert sum(1 for _ in container.decode(video=0)) == 6


@pytest.mark.parametrize(("name", "rate", "error"), [
    ("a.npz", 22050, 0), ("frames", 22050, 0), ("a.mkv", 22050, 2e-7), ("a.mp4", 22050, 0.03), ("a.webm", 48000, 0.03),
])  # fmt: skip
@pytest.mark.parametrize("channels", [1, 2])
def test_sound_stays_in_its_place(tmp_path, moving, name, rate, error, channels):
    clip = moving(8, 32, 32, 8.0, sound=(rate, channels))
    assert write(clip, tmp_path / name) == ""
    back = read(tmp_path / name).audio
    assert back is not None
    assert back.rate == rate
    assert back.samples.shape == clip.audio.samples.shape
    assert np.abs(back.samples - clip.audio.samples).max() <= error


def test_notes_say_what_became_of_the_sound(tmp_path, moving):
    clip = moving(8, 32, 32, 8.0, sound=(16000, 1))
    assert write(clip, tmp_path / "a.gif") == "without its sound, which .gif does not hold"
    assert write(clip, tmp_path / "a.webm") == "its sound was resampled to 48000 Hz"
    assert read(tmp_path / "a.webm").audio.samples.shape == (1, 48000)
    long = Video(clip.frames, 8.0, Track(np.full(40000, 0.5, np.float32), 16000))
    assert write(long, tmp_path / "a.npz").startswith("its sound was cut or filled up")
    assert len(read(tmp_path / "a.npz").audio) == 16000
    short = Video(clip.frames, 8.0, Track(np.full(100, 0.5, np.float32), 16000))
    write(short, tmp_path / "a.npz")
    assert read(tmp_path / "a.npz").audio.samples.sum() == 50
    assert len(read(tmp_path / "a.npz").audio) == 16000
    with pytest.raises(ValueError, match="3 channels cannot be muxed"):
        write(Video(clip.frames, 8, Track(np.zeros((3, 100), np.float32), 8000)), tmp_path / "b.mp4")
    assert not (tmp_path / "b.mp4").exists()


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.mkv", "a.apng", "a.webp", "a.gif", "a.npz", "frames"])
def test_parts_are_those_of_the_whole(tmp_path, moving, name):
    sounding = name in ("a.mp4", "a.mkv", "a.npz", "frames")
    write(moving(40, 16, 24, 10.0, sound=(8000, 2) if sounding else None), tmp_path / name)
    whole = read(tmp_path / name)
    part = read(tmp_path / name, 1.5, 2.0)
    assert np.array_equal(part.frames, whole.frames[15:35])
    assert np.array_equal(read(tmp_path / name, 3.9).frames, whole.frames[39:])
    if sounding:
        assert np.array_equal(part.audio.samples, whole.audio.samples[:, 12000:28000])
    for start, seconds in [(3.5, 1.0), (4.0, None), (-1.0, None), (0.0, 0.0)]:
        with pytest.raises(VideoError, match="no part of a clip of 4 s"):
            read(tmp_path / name, start, seconds)
    with Reader(tmp_path / name) as reader:
        blocks = list(reader.blocks(7))
        assert [len(b) for b in blocks] == [7] * 5 + [5]
        assert np.array_equal(np.concatenate(blocks), whole.frames)
        assert np.array_equal(np.concatenate(list(reader.blocks(7, 11, 9))), whole.frames[11:20])


def test_memory_does_not_grow_with_length(tmp_path):
    frames = np.zeros((10, 100, 100, 3), np.uint8)
    with PieceWriter(tmp_path / "a.mp4", 25, (100, 100)) as writer:
        for _ in range(40):
            writer.append(frames)
    tracemalloc.start()
    with Reader(tmp_path / "a.mp4") as reader:
        assert sum(len(block) for block in reader.blocks(8)) == 400
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2e6  # the clip has 12 million bytes


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.mkv", "a.gif", "a.apng", "a.webp", "a.npz", "frames"])
def test_pieces_make_the_same_file_as_the_whole(tmp_path, moving, name):
    clip = moving(9, 33, 31, 24000 / 1001, sound=(8000, 1))
    write(clip, tmp_path / name)
    with PieceWriter(tmp_path / f"b{name}", clip.fps, clip.size, sound=(8000, 1)) as writer:
        for first, last in [(0, 4), (4, 5), (5, 9)]:
            writer.append(clip.cropped(first / clip.fps, (last - first) / clip.fps))
    whole, pieces = read(tmp_path / name), read(tmp_path / f"b{name}")
    assert np.array_equal(whole.frames, pieces.frames)
    if whole.audio is not None:
        assert np.abs(whole.audio.samples - pieces.audio.samples).max() < 1e-6


@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "a.apng", "a.webp", "a.npz", "frames"])
def test_files_are_whole_or_not_there(tmp_path, moving, name):
    with pytest.raises(KeyError), PieceWriter(tmp_path / name, 8, (48, 32)) as writer:
        writer.append(moving())
        raise KeyError
    with (
        pytest.raises(ValueError, match="no frames were appended"),
        PieceWriter(tmp_path / name, 8, (48, 32)),
    ):
        pass
    with PieceWriter(tmp_path / f"b{name}", 8, (48, 32)) as writer:
        writer.append(moving().frames)
        for wrong, reason in [(moving(2, 32, 46), "pixels"), (moving(fps=9.0), "8 fps; got 9")]:
            with pytest.raises(ValueError, match=reason):
                writer.append(wrong)
    assert [p.name for p in tmp_path.iterdir()] == [f"b{name}"]
    assert len(read(tmp_path / f"b{name}")) == 6


def test_what_cannot_be_written_says_why(tmp_path, moving):
    for name, options, reason in [
        ("a.avi", {}, "unknown suffix of a video file '.avi'"),
        ("a.mp4", {"codec": "h263"}, "did you mean 'h264'"),
        ("a.webm", {"codec": "h264"}, "unknown codec of .webm"),
        ("a.gif", {"codec": "h264"}, "codec is chosen for"),
        ("a.mp4", {"quality": 60}, "0 to 51; got 60"),
        ("a.npz", {"quality": 5}, "no quality"),
        ("a.mkv", {"codec": "ffv1", "quality": 5}, "no quality"),
    ]:
        with pytest.raises(ValueError, match=reason):
            write(moving(), tmp_path / name, **options)
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError, match="there already"):
        write(moving(), tmp_path / "there")
    assert [p.name for p in tmp_path.iterdir()] == ["there"]


def uneven(path: Path, times: list[int], rate: int = 100) -> None:
    """An mp4 whose frame k, of grey level 20 k, is shown from times[k] to times[k + 1], in 1 / rate seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        stream.codec_context.time_base = Fraction(1, rate)
        for k, (at, until) in enumerate(zip(times[:-1], times[1:], strict=True)):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 20 * k, np.uint8), format="rgb24")
            frame = frame.reformat(format="yuv420p")
            frame.pts, frame.time_base, frame.duration = at, Fraction(1, rate), until - at
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def levels(clip: Video) -> list[int]:
    return np.rint(clip.frames.mean((1, 2, 3)) / 20).astype(int).tolist()


def test_uneven_frames_are_brought_to_one_rate_and_it_is_said(tmp_path, capsys):
    uneven(tmp_path / "a.mp4", [0, 10, 20, 60, 70, 97, 107])
    clip = read(tmp_path / "a.mp4")
    assert clip.fps == pytest.approx(10)
    assert levels(clip) == [0, 1, 2, 2, 2, 2, 3, 4, 4, 4, 5]
    assert (
        "a.mp4: its frames are not shown equally long; they were brought to 10 fps" in capsys.readouterr().err
    )
    assert info(tmp_path / "a.mp4").uneven
    assert levels(read(tmp_path / "a.mp4", 0.5, 0.3)) == [2, 3, 4]


def test_jitter_is_none(tmp_path, capsys):
    uneven(tmp_path / "a.mp4", [0, 11, 19, 32, 41, 50])
    clip = read(tmp_path / "a.mp4")
    assert levels(clip) == [0, 1, 2, 3, 4]
    assert clip.fps == pytest.approx(10, rel=0.03)
    assert capsys.readouterr().err == ""


def test_animations_of_others_keep_their_times(tmp_path):
    pictures = [Image.new("RGB", (8, 8), (20 * k,) * 3) for k in range(4)]
    times = [100, 100, 300, 100]
    for name in ("a.gif", "a.png", "a.webp"):
        extra = {"lossless": True} if name == "a.webp" else {}
        pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:], duration=times, **extra)
        clip = read(tmp_path / name)
        assert levels(clip) == [0, 1, 2, 2, 2, 3], name
        assert clip.fps == pytest.approx(10)


def test_a_still_is_a_clip_of_one_frame(tmp_path):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8))
    for name in ("a.png", "a.webp", "a.bmp"):
        picture.save(tmp_path / name, **({"lossless": True} if name == "a.webp" else {}))
        clip = read(tmp_path / name)
        assert np.array_equal(clip.frames[0], np.asarray(picture))
        assert (len(clip), clip.fps) == (1, 1.0)


def test_folders_of_others_need_a_rate(tmp_path, moving):
    for k in (10, 9, 2):
        Image.new("RGB", (4, 4), (20 * k, 20 * k, 20 * k)).save(tmp_path / f"shot_{k}.png")
    with pytest.raises(VideoError, match=r"no frame rate; give fps="):
        read(tmp_path)
    clip = read(tmp_path, fps=5)
    assert (levels(clip), clip.fps) == ([2, 9, 10], 5.0)
    Image.new("RGB", (5, 4)).save(tmp_path / "shot_11.png")
    with pytest.raises(VideoError, match="5 x 4 pixels, and the first one has 4 x 4"):
        read(tmp_path, fps=5)
    (tmp_path / "clip.json").write_text(json.dumps({"fps": "fast"}))
    with pytest.raises(VideoError, match=r"clip\.json: fps must be a positive number"):
        read(tmp_path)


def test_rotation_is_applied(tmp_path, moving):
    clip = moving(2, 32, 48)
    write(clip, tmp_path / "a.mp4")
    data = (tmp_path / "a.mp4").read_bytes()
    place = data.index(b"tkhd") + 4 + 40  # version 0: the matrix comes after 40 bytes
    assert struct.unpack(">9i", data[place : place + 36])[0] == 65536
    clockwise = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 32 << 16, 0, 1 << 30)
    (tmp_path / "b.mp4").write_bytes(data[:place] + clockwise + data[place + 36 :])
    turned = read(tmp_path / "b.mp4")
    assert turned.size == (32, 48)
    assert info(tmp_path / "b.mp4").size == (32, 48)
    assert np.array_equal(turned.frames, np.rot90(read(tmp_path / "a.mp4").frames, -1, (1, 2)))


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.mkv", "a.mov", "a.gif", "a.apng", "a.webp", "a.npz"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.8])
def test_truncated_files_are_refused(tmp_path, name, share):
    frames = np.random.default_rng(0).integers(0, 256, (25, 32, 32, 3), dtype=np.uint8)
    write(Video(frames, 10), tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / f"b{name}").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(VideoError, match=rf"b{name}: .*(truncated|damaged)"):
        read(tmp_path / f"b{name}")


@pytest.mark.parametrize("suffix", [*EXTENSIONS, ".png", ".txt"])
@pytest.mark.parametrize(
    "contents",
    [b"", b"\0" * 3000, b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", b"ffconcat version 1.0\nfile b.mp4\n"],
)
def test_what_is_no_clip_says_so(tmp_path, suffix, contents):
    (tmp_path / f"a{suffix}").write_bytes(contents)
    with pytest.raises(VideoError, match=rf"a\{suffix}: ") as error:
        read(tmp_path / f"a{suffix}")
    assert error.value.file == tmp_path / f"a{suffix}"


def test_sound_without_picture_says_so(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(VideoError, match="it has sound and no picture"):
        read(tmp_path / "a.mp4")
    with av.open(str(tmp_path / "b.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        container.start_encoding()
    with pytest.raises(VideoError, match=r"b\.mp4: (it holds no frames|it has no video stream)"):
        read(tmp_path / "b.mp4")
    with pytest.raises(FileNotFoundError, match="no file"):
        read(tmp_path / "c.mp4")


def npz(path: Path, **headers: tuple[str, tuple[int, ...]]) -> None:
    """An archive of arrays that claim a type and a shape and have no values."""
    with zipfile.ZipFile(path, "w") as file:
        for name, (kind, shape) in headers.items():
            head = io.BytesIO()
            np.lib.format.write_array_header_1_0(
                head, {"descr": kind, "fortran_order": False, "shape": shape}
            )
            file.writestr(f"{name}.npy", head.getvalue())


def test_hostile_archives_take_no_memory(tmp_path):
    path = tmp_path / "a.npz"
    for frames, reason in [
        (("|u1", (2, 1 << 20, 1 << 20, 3)), "more than the allowed"),
        (("|u1", (1 << 40, 4, 4, 3)), "more than 10000000 frames"),
        (("|u1", (0, 4, 4, 3)), "T at least 1"),
        (("|u1", (2, 4, 4)), "must be uint8 with 4 axes"),
        (("<f4", (2, 4, 4, 3)), "must be uint8"),
        (("|O", (2, 4, 4, 3)), "Python objects"),
    ]:
        npz(path, frames=frames, fps=("<f8", ()))
        with pytest.raises(VideoError, match=reason):
            read(path)
    np.savez(path, frames=np.zeros((2, 4, 4, 3), np.uint8), fps=np.array({"a": 1}, dtype=object))
    with pytest.raises(VideoError, match="Python objects"):
        read(path)
    np.savez(path, frames=np.zeros((2, 4, 4, 3), np.uint8), fps=np.float64("inf"))
    with pytest.raises(VideoError, match="fps must be a positive number"):
        read(path)
    np.savez(path, video=np.zeros((2, 4, 4, 3), np.uint8), fps=8.0)
    with pytest.raises(VideoError, match="it holds no array 'frames'"):
        read(path)


def test_hostile_pictures_are_refused_before_they_are_decoded(tmp_path, moving):
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)), (b"IDAT", b"\0" * 100)]
    data = b"".join(
        struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in chunks
    )
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    with pytest.raises(VideoError, match=r"(too many|allowed \d+) pixels"):
        read(tmp_path / "a.png")
    write(moving(), tmp_path / "a.mp4")
    data = (tmp_path / "a.mp4").read_bytes()
    place = data.index(b"avc1", data.index(b"stsd")) + 4 + 24
    assert struct.unpack(">HH", data[place : place + 4]) == (48, 32)
    (tmp_path / "b.mp4").write_bytes(data[:place] + struct.pack(">HH", 65000, 65000) + data[place + 4 :])
    with contextlib.suppress(VideoError):  # where the stream's own header is believed, the claim does no harm
        assert read(tmp_path / "b.mp4").size == (48, 32)


def test_bounds_hold(tmp_path, moving, monkeypatch):
    write(moving(), tmp_path / "a.mp4")
    write(moving(), tmp_path / "a.gif")
    monkeypatch.setattr(reading, "MEMORY", 6 * 32 * 48 * 3 - 1)
    for name in ("a.mp4", "a.gif"):
        with pytest.raises(VideoError, match=r"take more than 4 GiB; read a part of it"):
            read(tmp_path / name)
        assert len(read(tmp_path / name, 0.25)) == 4
    monkeypatch.setattr(opened, "MAX_PIXELS", 48 * 32 - 1)
    for name in ("a.mp4", "a.gif"):
        with pytest.raises(VideoError, match="48 x 32 pixels are more than the allowed"):
            read(tmp_path / name)


def test_a_comment_of_strangers_changes_nothing_it_should_not(tmp_path, moving):
    for text in (
        "langevin: 4 x 4 pixels, 8.0 fps",
        "langevin: 999999 x 1 pixels, 1e5 fps",
        "langevin: 9 x 9 pixels, 1e999 fps",
    ):
        with av.open(str(tmp_path / "a.mp4"), "w") as container:
            container.metadata["comment"] = text
            stream = container.add_stream("libx264", rate=8)
            stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
            for picture in moving(3, 96, 128).frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
        clip = read(tmp_path / "a.mp4")
        assert (clip.size, len(clip), clip.fps) == ((128, 96), 3, 8.0)
