from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from langevin.modalities.audio.sound import Audio
from langevin.modalities.video.clip import Track, Video


def numbered(count: int, fps: float = 8.0, size: int = 4) -> Video:
    """A clip whose frame k has the value k everywhere."""
    frames = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, size, size, 3))
    return Video(frames, fps)


def shown(clip: Video) -> list[int]:
    return clip.frames[:, 0, 0, 0].tolist()


def test_a_clip_says_what_it_is(moving):
    clip = moving(6, 33, 47, 12.5, sound=(8000, 2))
    assert len(clip) == 6
    assert clip.size == (47, 33)
    assert clip.seconds == pytest.approx(0.48)
    assert repr(clip) == "Video(6 frames, 47 x 33, 12.5 fps, 0.480 s, sound 0.480 s at 8000 Hz)"
    assert repr(clip.cropped(0, 0.08)).startswith("Video(1 frame, ")


@pytest.mark.parametrize(
    ("frames", "fps", "reason"),
    [
        (np.zeros((0, 4, 4, 3), np.uint8), 8, "at least one frame"),
        (np.zeros((2, 0, 4, 3), np.uint8), 8, "at least one frame of one pixel"),
        (np.zeros((2, 4, 4, 4), np.uint8), 8, r"Video\.of takes grey and RGBA"),
        (np.zeros((4, 4, 3), np.uint8), 8, "shape"),
        (np.zeros((2, 4, 4, 3), np.float32), 8, "uint8"),
        (np.zeros((2, 4, 4, 3), np.uint8), 0, "finite and positive"),
        (np.zeros((2, 4, 4, 3), np.uint8), float("nan"), "finite and positive"),
        (np.zeros((2, 4, 4, 3), np.uint8), True, "finite and positive"),
        (np.zeros((2, 4, 4, 3), np.uint8), "fast", "must be a number"),
    ],
)
def test_what_is_no_clip_is_refused(frames, fps, reason):
    with pytest.raises(ValueError, match=reason):
        Video(frames, fps)


def test_frames_are_read_only():
    clip = Video(np.zeros((2, 4, 4, 3), np.uint8), 8)
    with pytest.raises(ValueError, match="read-only"):
        clip.frames[0] = 1
    assert Video(torch.zeros(2, 4, 4, 3, dtype=torch.uint8), 8).frames.shape == (2, 4, 4, 3)


def test_grey_and_transparent_frames_become_rgb():
    grey = np.arange(32, dtype=np.uint8).reshape(2, 4, 4)
    assert np.array_equal(Video.of(grey, 8).frames, np.repeat(grey[..., None], 3, -1))
    assert np.array_equal(Video.of(grey[..., None], 8).frames, Video.of(list(grey), 8).frames)
    over = np.zeros((1, 1, 3, 4), np.uint8)
    over[0, 0, :, :3], over[0, 0, :, 3] = (200, 100, 0), (0, 128, 255)
    flat = Video.of(over, 8).frames[0, 0].astype(int)
    assert flat[0].tolist() == [255, 255, 255]
    assert flat[2].tolist() == [200, 100, 0]
    assert np.abs(flat[1] - [227, 177, 127]).max() <= 1
    picture = Image.fromarray(over[0])
    assert np.array_equal(Video.of(picture, 8).frames[0, 0], flat)
    assert len(Video.of([Image.new("L", (5, 3), 7)] * 4, 8)) == 4
    with pytest.raises(ValueError, match="one size"):
        Video.of([Image.new("RGB", (5, 3)), Image.new("RGB", (3, 5))], 8)
    with pytest.raises(ValueError, match="at least one frame"):
        Video.of([], 8)


def test_any_sound_becomes_a_track():
    sound = Audio(np.ones((2, 10), np.float32), 100)
    clip = Video(np.zeros((1, 2, 2, 3), np.uint8), 8, sound)
    assert isinstance(clip.audio, Track)
    assert np.array_equal(clip.audio.samples, sound.samples)
    assert clip.audio.rate == 100
    with pytest.raises(ValueError, match="samples and a rate"):
        Video(np.zeros((1, 2, 2, 3), np.uint8), 8, np.zeros(10))
    assert Track(np.array([16384], np.int16), 8000).samples.tolist() == [[0.5]]
    for samples, rate, reason in [
        (np.zeros(0, np.float32), 8000, "none of them 0"),
        (np.array([np.nan]), 8000, "finite"),
        (np.zeros(4, np.float32), 0, "positive whole"),
        (np.zeros(4, np.int64), 8000, "int16"),
    ]:
        with pytest.raises(ValueError, match=reason):
            Track(samples, rate)


def test_tracks_are_cut_and_filled_with_silence():
    track = Track(np.ones(10, np.float32), 10)
    assert track.lasting(0.5).samples.tolist() == [[1.0] * 5]
    assert track.lasting(1.2).samples.tolist() == [[1.0] * 10 + [0.0] * 2]


def test_another_rate_shows_what_is_shown_at_that_time():
    clip = numbered(4)
    assert shown(clip.at(16)) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert shown(clip.at(16).at(8)) == [0, 1, 2, 3]
    assert shown(clip.at(4)) == [1, 3]
    assert shown(numbered(6).at(12)) == [0, 1, 1, 2, 3, 3, 4, 5, 5]
    assert len(numbered(1).at(0.1)) == 1
    assert clip.at(30).seconds == pytest.approx(clip.seconds)


def test_a_part_has_its_own_sound():
    sound = Track(np.arange(100, dtype=np.float32), 100)
    clip = Video(numbered(8).frames, 8.0, sound)
    part = clip.cropped(0.25, 0.5)
    assert shown(part) == [2, 3, 4, 5]
    assert part.audio is not None
    assert part.audio.samples[0].tolist() == list(range(25, 75))
    short = Video(clip.frames, 8.0, Track(np.ones(10, np.float32), 100))
    assert short.cropped(0.5).audio is None
    for start, seconds in [(-0.5, None), (0.9, 0.5), (1.0, None), (0.0, 0.0)]:
        with pytest.raises(ValueError, match="no part of a clip of 1 s"):
            clip.cropped(start, seconds)


def test_whole_reductions_are_box_averages(moving):
    clip = moving(3, 8, 12)
    blocks = clip.frames.reshape(3, 4, 2, 6, 2, 3).mean((2, 4))
    assert np.abs(clip.resized(6, 4).frames - blocks).max() <= 0.51
    assert clip.resized(12, 8) is clip
    assert clip.resized(5, 31).size == (5, 31)
    with pytest.raises(ValueError, match="at least 1 x 1"):
        clip.resized(0, 4)
