"""Clips that are connected, closed, preceded and slowed: the user's frames stay, new ones stand where they are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from langevin.modalities.video.clip import Video
from langevin.modalities.video.verbs import close, connect, precede, slow
from tests.modalities.video.test_video_modality import model, noise


@pytest.fixture(scope="module")
def net() -> Any:
    return model(given=0.5, forcing=0.2)


def test_connected_clips(net: Any) -> None:
    first, second = noise(9), noise(4, seed=1)
    made = connect(net, first, second, 3, steps=2, prompt="a")
    assert len(made) == 16
    assert np.array_equal(made.frames[:9], first.frames) and np.array_equal(made.frames[12:], second.frames)
    other = connect(net, first, noise(4, seed=2), 3, steps=2, prompt="a")
    assert (made.frames[9:12] != other.frames[9:12]).mean() > 0.1  # what follows is seen
    with pytest.raises(ValueError, match="frames must be"):
        connect(net, first, second, 0)


def test_a_closed_clip(net: Any) -> None:
    clip = noise(7)
    made = close(net, clip, 2, context=2, steps=2)
    assert len(made) == 9 and np.array_equal(made.frames[:7], clip.frames)


def test_what_comes_before(net: Any) -> None:
    clip = noise(4)
    made = precede(net, clip, 8, overlap=2, steps=2, prompt="a")
    assert len(made) == 12 and np.array_equal(made.frames[8:], clip.frames)
    assert len({frame.tobytes() for frame in made.frames}) == 12  # windows have noise of their own
    with pytest.raises(ValueError, match="less than the 6"):
        precede(net, clip, 3, overlap=6)


def test_slow_motion(net: Any) -> None:
    clip = noise(7)
    made = slow(net, clip, 2, steps=2)
    assert len(made) == 13 and np.array_equal(made.frames[::2], clip.frames)
    assert (made.frames[1] != clip.frames[0]).any()
    with pytest.raises(ValueError, match="between 2 and 5"):
        slow(net, clip, 6)
    with pytest.raises(ValueError, match="no motion"):
        slow(net, Video(clip.frames[:1], 8.0), 2)


def test_numbers_under_the_seed_and_sizes_that_differ(net: Any) -> None:
    clip = noise(4)
    made = precede(net, clip, 8, overlap=2, steps=2, first=5)
    assert len({frame.tobytes() for frame in made.frames}) == 12  # windows have noise of their own here, too
    with pytest.raises(ValueError, match="leave out n"):
        connect(net, clip, clip, 2, n=2)
