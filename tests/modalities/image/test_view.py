from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from langevin.modalities.image.view import grid, strip, to_html

RED, BLUE = Image.new("RGB", (8, 8), (255, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 255))


def test_a_grid_places_pictures_row_by_row():
    sheet = grid([RED, BLUE, RED], columns=2, scale=2, gap=4)
    assert sheet.size == (2 * 20 + 4, 2 * 20 + 4)
    assert sheet.getpixel((5, 5)) == (255, 0, 0)
    assert sheet.getpixel((25, 5)) == (0, 0, 255)
    assert sheet.getpixel((5, 25)) == (255, 0, 0)
    assert sheet.getpixel((30, 30)) == (255, 255, 255)


def test_small_pictures_are_enlarged_without_smoothing():
    checks = np.indices((8, 8)).sum(0) % 2 * 255
    sheet = np.asarray(grid([checks.astype(np.uint8)], gap=0))
    assert sheet.shape == (96, 96, 3)
    assert set(np.unique(sheet)) == {0, 255}
    assert grid([Image.new("L", (300, 200))], gap=0).size == (300, 200)


def test_captions_are_cut_to_their_cell():
    plain, named = grid([RED], scale=6), grid([RED], captions=["a very long caption " * 5], scale=6)
    assert named.width == plain.width
    assert named.height > plain.height
    assert np.asarray(named)[-14:].min() < 100


def test_nothing_and_failures_are_shown_not_raised():
    assert grid([]).size == (96, 96)
    assert strip([]).size[0] > 0
    sheet = grid([RED, None, object()], columns=3, scale=12)
    assert sheet.size == (3 * 100 + 4, 104)
    assert grid([None]).size[0] > 0
    assert "failure" in to_html(None)
    assert "&lt;x&gt;" in to_html("<x>")


def test_grid_checks_its_arguments():
    with pytest.raises(ValueError, match="captions must have one entry"):
        grid([RED], captions=[])
    with pytest.raises(ValueError, match="columns must be"):
        grid([RED], columns=0)
    with pytest.raises(ValueError, match="scale must be"):
        grid([RED], scale=0)


def test_a_strip_has_a_row_for_each_sample_and_keeps_both_ends():
    states = [torch.full((2, 3, 8, 8), -1 + 2 * k / 29) for k in range(30)]
    image = strip(states, scale=1, most=5)
    assert image.size == (5 * 10 + 2, 2 * 10 + 2)
    assert image.getpixel((3, 3)) == (0, 0, 0)
    assert image.getpixel((5 * 10 - 2, 3)) == (255, 255, 255)
    assert strip(states, index=-1, scale=1, most=5).size == (52, 12)
    assert strip(states[:1], scale=1).size == (12, 22)
    assert strip(states, scale=1, most=1).getpixel((3, 3)) == (255, 255, 255)


def test_html_holds_the_picture_itself():
    page = to_html(RED, alt='"quoted"')
    data = re.search(r'src="data:image/png;base64,([^"]+)"', page)
    assert data is not None
    found = Image.open(io.BytesIO(base64.b64decode(data[1])))
    assert found.size == (8, 8)
    assert found.getpixel((0, 0)) == (255, 0, 0)
    assert "image-rendering:pixelated" in page
    assert 'width="96"' in page
    assert "&quot;quoted&quot;" in page
    assert "http" not in page
