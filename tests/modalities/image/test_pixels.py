from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from langevin.modalities.image.data import to_images, to_tensor
from langevin.modalities.image.pixels import PictureError, box_average, read_picture, to_array

RNG = np.random.default_rng(0)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from([1, 3]), st.integers(1, 5), st.integers(1, 5))
def test_bytes_survive_the_round_trip(data, channels, height, width):
    pixels = data.draw(arrays(np.uint8, (2, height, width, channels)))
    x = to_tensor(pixels, channels)
    assert x.shape == (2, channels, height, width)
    assert x.dtype == torch.float32
    assert x.abs().max() <= 1
    back = np.stack([np.asarray(p).reshape(height, width, channels) for p in to_images(x)])
    assert np.array_equal(back, pixels)


def test_values_outside_are_clamped_and_halves_round_to_even():
    x = torch.tensor([-3.0, 3.0, 0.0]).reshape(1, 1, 1, 3)
    assert np.asarray(to_images(x)[0]).tolist() == [[0, 255, 128]]  # 0 is 127.5


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_makes_no_picture(bad):
    x = torch.zeros(3, 3, 4, 4)
    x[1, 0, 0, 0] = bad
    with pytest.raises(ValueError, match="sample 1 "):
        to_images(x)


def test_shapes_and_dtypes_are_checked():
    with pytest.raises(ValueError, match="none"):
        to_tensor([])
    with pytest.raises(ValueError, match="put a single one into a list"):
        to_tensor(Image.new("RGB", (4, 4)))
    with pytest.raises(ValueError, match="dtype float64"):
        to_tensor([np.zeros((4, 4, 3))])
    with pytest.raises(ValueError, match="one size"):
        to_tensor([Image.new("RGB", (4, 4)), Image.new("RGB", (5, 4))])
    with pytest.raises(ValueError, match=r"\(B, 1 \| 3, H, W\)"):
        to_images(torch.zeros(2, 2, 4, 4))
    with pytest.raises(ValueError, match="channels must be 1 or 3"):
        to_array(Image.new("RGB", (4, 4)), 2)


def test_grey_and_colour_convert():
    grey = RNG.integers(0, 256, (1, 4, 4, 1), dtype=np.uint8)
    x = to_tensor(grey, 3)
    assert torch.equal(x[:, 0], x[:, 2])
    assert to_tensor([Image.new("RGB", (4, 4), (255, 255, 255))], 1).unique().tolist() == [1.0]


def test_transparency_lies_over_white():
    clear = Image.new("RGBA", (2, 2), (255, 0, 0, 0))
    half = Image.new("RGBA", (2, 2), (0, 0, 0, 128))
    assert (to_array(clear) == 255).all()
    assert abs(int(to_array(half)[0, 0, 0]) - 127) <= 1
    palette = Image.new("P", (2, 2), 0)
    palette.info["transparency"] = 0
    assert (to_array(palette) == 255).all()


def test_sixteen_bits_are_scaled_not_cut():
    deep = Image.fromarray(np.array([[0, 32896, 65535]], np.uint16))
    assert to_array(deep)[0, :, 0].tolist() == [0, 128, 255]


def test_a_whole_reduction_is_the_box_average():
    pixels = RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    expected = np.rint(pixels.reshape(4, 2, 4, 2, 3).mean((1, 3))).astype(int)
    assert np.array_equal(box_average(pixels, 2), expected)
    assert np.abs(to_array(pixels, size=4).astype(int) - expected).max() <= 1
    with pytest.raises(ValueError, match="must divide"):
        box_average(pixels, 3)


def test_the_middle_is_cut_out_of_oblong_pictures():
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 200
    assert (to_array(wide, size=10) == 200).all()


def test_exif_orientation_is_honoured(tmp_path):
    picture = Image.new("RGB", (40, 20), (0, 0, 0))
    picture.paste((255, 255, 255), (0, 0, 20, 20))  # white on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: left becomes top
    picture.save(tmp_path / "a.png", exif=exif)
    found = read_picture(tmp_path / "a.png")
    assert found.shape == (40, 20, 3)
    assert found[:20].min() == 255
    assert found[20:].max() == 0


def test_the_first_frame_of_an_animation_is_taken(tmp_path):
    frames = [Image.new("RGB", (8, 8), c) for c in ((255, 0, 0), (0, 0, 255))]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert read_picture(tmp_path / "a.gif")[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "bmp", "gif"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_every_format_is_read(tmp_path, ending, mode):
    path = tmp_path / f"a.{ending}"
    Image.new(mode, (20, 10), 200 if mode == "L" else (200, 200, 200)).save(path)
    found = read_picture(path, size=8)
    assert found.shape == (8, 8, 3)
    assert abs(found.astype(int) - 200).max() <= 3


def test_unusable_files_say_why(tmp_path):
    good = tmp_path / "good.png"
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(good)
    cases = {
        "empty.png": (b"", "the file is empty"),
        "text.png": (b"hello", "not a PNG"),
        "cut.png": (good.read_bytes()[:3000], "cannot be read"),
        "script.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a PNG"),
    }
    for name, (content, reason) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(PictureError, match=reason) as error:
            read_picture(tmp_path / name)
        assert error.value.file.name == name
    with pytest.raises(PictureError, match="64 x 64 pixels are more than the allowed 1000"):
        read_picture(good, max_pixels=1000)
    with pytest.raises(PictureError, match="cannot be read"):
        read_picture(tmp_path / "absent.png")


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path):
    Image.new("1", (14_000, 14_000)).save(tmp_path / "bomb.png")  # 25 KB on disk, 0.6 GB decoded
    with pytest.raises(PictureError, match="pixels"):
        read_picture(tmp_path / "bomb.png", size=32)
