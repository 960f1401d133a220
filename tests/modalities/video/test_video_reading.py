"""What is asked of a file, and files whose numbers are written in several ways."""

from __future__ import annotations

import math

import numpy as np
import pytest

from langevin.modalities.video.clip import Track, Video
from langevin.modalities.video.files import VideoError, info, read, write
from langevin.modalities.video.plugin import SUFFIXES, WRITTEN
from langevin.modalities.video.sets import folder_source
from langevin.modalities.video.writing import WRITTEN as WRITABLE


@pytest.mark.parametrize("name", ["start", "seconds", "fps"])
@pytest.mark.parametrize("value", [math.nan, math.inf, "1", True, [1.0]])
def test_times_that_are_no_numbers_are_named(tmp_path, moving, name, value):
    write(moving(), tmp_path / "a.npz")
    with pytest.raises(ValueError, match=rf"^{name} must be (a )?finite"):
        read(tmp_path / "a.npz", **{name: value})
    assert len(read(tmp_path / "a.npz", start=np.float32(0.25), seconds=np.float64(0.25))) == 2


@pytest.mark.parametrize("fps", [np.int64(12), np.int16(12), np.float32(12), np.array(12, ">i4"), 12])
def test_archives_of_others_have_any_real_rate(tmp_path, fps):
    frames = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    sound = np.array([[0.5, -0.25]], ">f4")
    np.savez(tmp_path / "a.npz", frames=frames, fps=fps, audio=sound, rate=np.int32(12))
    clip = read(tmp_path / "a.npz")
    assert clip.fps == 12 and np.array_equal(clip.frames, frames)
    assert isinstance(clip.audio, Track) and clip.audio.samples.tolist() == [[0.5, -0.25]]


@pytest.mark.parametrize("fps", [0, -3, np.nan, True, 2 + 1j, "8", [8.0, 8.0]])
def test_archives_without_a_rate_are_refused(tmp_path, fps):
    np.savez(tmp_path / "a.npz", frames=np.zeros((2, 4, 4, 3), np.uint8), fps=fps)
    with pytest.raises(VideoError, match=r"a\.npz: ('fps' must be one number|fps must be a positive number)"):
        read(tmp_path / "a.npz")


@pytest.mark.parametrize("fps", [50, 60.0, 100, 240, 29.97])
def test_gifs_come_back_at_their_rate_however_fast(tmp_path, fps):
    frames = np.repeat(np.arange(9, dtype=np.uint8), 8 * 8 * 3).reshape(9, 8, 8, 3)
    write(Video(frames, fps), tmp_path / "a.gif")
    clip = read(tmp_path / "a.gif")
    assert clip.fps == fps and np.array_equal(clip.frames, frames)
    assert not info(tmp_path / "a.gif").uneven


def test_gifs_whose_times_were_changed_are_not_taken_at_their_word(tmp_path):
    frames = np.repeat(np.arange(4, dtype=np.uint8), 8 * 8 * 3).reshape(4, 8, 8, 3)
    write(Video(frames, 60), tmp_path / "a.gif")
    data = bytearray((tmp_path / "a.gif").read_bytes())
    place = -1
    while (place := data.find(b"!\xf9\x04", place + 1)) >= 0:
        data[place + 4 : place + 6] = (20).to_bytes(2, "little")
    (tmp_path / "a.gif").write_bytes(data)
    assert read(tmp_path / "a.gif").fps == 5


def test_m4v_is_found_in_folders_and_known_by_its_name(tmp_path, moving):
    write(moving(), tmp_path / "a.mp4")
    (tmp_path / "a.mp4").rename(tmp_path / "a.m4v")
    assert [clip.file.name for clip in folder_source(tmp_path).clips] == ["a.m4v"]
    assert ".m4v" in SUFFIXES and ".m4v" not in WRITTEN


def test_the_formats_that_are_offered_are_those_that_are_written():
    assert set(WRITTEN) == set(WRITABLE)
