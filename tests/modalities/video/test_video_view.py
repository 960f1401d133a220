from __future__ import annotations

import base64
import re

import numpy as np
import pytest

from langevin.modalities.base import Failure
from langevin.modalities.video.clip import Video
from langevin.modalities.video.files import read
from langevin.modalities.video.view import chosen, contact, picture, to_html
from langevin.report import Figure, Gallery, Page, Section, external_resources
from tests.browser import colours, needs_browser, screenshot


def inside(html: str, folder) -> Video:
    data = re.search(r"data:video/mp4;base64,([^\"]+)", html)
    assert data is not None
    (folder / "clip.mp4").write_bytes(base64.b64decode(data[1]))
    return read(folder / "clip.mp4")


def test_the_player_holds_the_clip_and_asks_for_nothing(tmp_path, moving):
    clip = moving(6, 150, 200, 8.0, sound=(16000, 1))
    html = to_html(clip, alt='a "moving" picture')
    assert external_resources(html) == []
    assert "a &quot;moving&quot; picture" in html
    for word in ("controls", "autoplay", "loop", "muted", "playsinline"):
        assert f" {word} " in html
    assert "pixelated" not in html
    back = inside(html, tmp_path)
    assert (back.size, back.fps, len(back)) == ((200, 150), 8.0, 6)
    assert np.abs(back.frames.astype(int) - clip.frames).mean() < 4
    assert back.audio is not None


def test_small_clips_are_enlarged_and_keep_their_colours(tmp_path):
    rng = np.random.default_rng(0)
    clip = Video(rng.integers(0, 2, (4, 32, 24, 3), dtype=np.uint8) * 200, 8)  # hard edges of colour
    html = to_html(clip)
    assert "image-rendering:pixelated" in html
    assert " controls " not in html and "this.pause()" in html  # a bar would cover half of it
    assert 'width="96" height="128"' in html
    assert "min-width:128px" in html
    back = inside(html, tmp_path).frames[:, 1::4, 1::4]
    clip.save(tmp_path / "small.mp4")
    error, other = (
        np.abs(f.astype(int) - clip.frames).mean() for f in (back, read(tmp_path / "small.mp4").frames)
    )
    assert error < 0.3 * other


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 200), (333, 201), (1, 900), (20, 2000)])
def test_clips_of_any_size_can_be_shown(tmp_path, moving, height, width):
    html = to_html(moving(1, height, width))
    shown = re.search(r'width="(\d+)" height="(\d+)"', html)
    assert shown is not None
    assert inside(html, tmp_path).size == (int(shown[1]), int(shown[2]))
    assert max(int(shown[1]), int(shown[2])) <= 1280
    assert contact(moving(1, height, width)).width >= 128


def test_a_contact_sheet_has_the_first_and_the_last_frame():
    assert chosen(100, 8) == [0, 14, 28, 42, 57, 71, 85, 99]
    assert chosen(3, 8) == [0, 1, 2]
    assert chosen(9, 1) == [4]
    frames = np.broadcast_to(np.arange(0, 200, 2, dtype=np.uint8)[:, None, None, None], (100, 64, 64, 3))
    sheet = np.asarray(contact(Video(frames, 8)))
    assert sheet.shape == (128 + 4, 8 * 130 + 2, 3)
    assert sheet[60, 64::130, 0].tolist() == [2 * k for k in chosen(100, 8)]
    assert contact(Video(frames, 8), frames=4, columns=2).size == (2 * 130 + 2, 2 * 130 + 2)
    with pytest.raises(ValueError, match="at least 1"):
        contact(Video(frames, 8), frames=0)


def test_what_is_no_clip_is_a_box_with_a_reason(moving):
    assert contact(Failure("empty")).size == (192, 144)
    assert picture(Failure("empty"), 96).size == (96, 72)
    assert picture(moving(), (100, 50)).size == (100, 50)
    assert to_html(Failure("a < b")) == '<span class="failure">a &lt; b</span>'
    assert moving()._repr_html_().startswith("<video ")
    assert moving().picture().size == contact(moving()).size


@pytest.mark.browser
@needs_browser
def test_players_are_drawn(tmp_path, moving):
    cards = [Figure(to_html(moving(6, 32, 32)), f"clip {k}") for k in range(3)]
    path = Page("Clips", (Section("Samples", blocks=(Gallery(cards),)),)).write(tmp_path / "page.html")
    assert colours(screenshot(path, tmp_path, (900, 700))) > 200
