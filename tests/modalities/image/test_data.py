from __future__ import annotations

import json
import os
import sys
import types
import warnings
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from langevin.modalities.image.data import DatasetsFolder, ImageDataset, NpzDataset, ShapesDataset, open_data
from langevin.modalities.image.folder import FolderDataset
from langevin.modalities.image.pixels import PictureError

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("LANGEVIN_DATA", ROOT.parent / "shared" / "data")) / "images"
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def needs(name: str) -> Path:
    if not (DATA / name).exists():
        pytest.skip(f"no {name} in {DATA} (set LANGEVIN_DATA)")
    return DATA / name


def paint(path: Path, colour: str, size: tuple[int, int] = (12, 10)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, COLOURS[colour]).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in COLOURS:
        paint(tmp_path / f"{name}.png", name)
    return tmp_path


# --- folders ------------------------------------------------------------------------------------------------


def test_a_plain_folder_is_unconditional(folder):
    data = FolderDataset(folder, size=8)
    images, conditions = data.batch([2, 0, -1])
    assert len(data) == 3
    assert conditions == {}
    assert data.conditions == {}
    assert [x.shape for x in images] == [(8, 8, 3)] * 3
    assert images[0][0, 0].tolist() == [255, 0, 0]  # blue, green, red by name
    assert isinstance(data, ImageDataset)


def test_sidecar_captions(folder):
    for name in COLOURS:
        (folder / f"{name}.txt").write_text(f"  a {name} picture\n")
    data = open_data(folder, size=8)
    assert data.conditions == {"prompt": "text"}
    assert data.batch([1])[1] == {"prompt": ["a green picture"]}


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_metadata_captions(folder, kind):
    rows = [{"file_name": f"{n}.png", "text": f"{n}, plain"} for n in COLOURS]
    if kind == "jsonl":
        (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    else:
        lines = [f'{r["file_name"]},"{r["text"]}"' for r in rows]
        (folder / "metadata.csv").write_text("\n".join(["file_name,text", *lines]))
    assert FolderDataset(folder).batch([0, 2])[1] == {"prompt": ["blue, plain", "red, plain"]}


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_metadata_may_say_caption_for_text(folder, kind):
    rows = [{"file_name": f"{n}.png", "caption": f"a {n} one"} for n in COLOURS]
    if kind == "jsonl":
        (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    else:
        lines = [f"{r['file_name']},{r['caption']},7" for r in rows]
        (folder / "metadata.csv").write_text("\n".join(["file_name,caption,score", *lines]))
    assert FolderDataset(folder).batch([0, 2])[1] == {"prompt": ["a blue one", "a red one"]}


def test_options_that_a_set_does_not_take_are_named(folder):
    with pytest.raises(ValueError, match="unknown key of data 'eror'; did you mean 'errors'"):
        open_data(folder, eror="skip")
    with pytest.raises(ValueError, match="data.size must be a whole number from 1, got 'x'"):
        open_data(folder, size="x")


def test_class_folders(tmp_path):
    for k, name in enumerate(["red", "blue", "red"]):
        paint(tmp_path / name / f"{k}.png", name)
    data = FolderDataset(tmp_path, size=4)
    assert data.class_names == ("blue", "red")
    assert data.conditions == {"label": "class"}
    assert data.batch(range(3))[1] == {"label": [0, 1, 1]}
    assert FolderDataset(tmp_path, size=4, conditions="none").conditions == {}


def test_a_missing_caption_is_named_or_left_out(folder):
    for name in ("red", "green"):
        (folder / f"{name}.txt").write_text(name)
    with pytest.raises(ValueError, match=r"1 of its files cannot be used:\n  .*blue.png: no caption"):
        FolderDataset(folder, size=8)
    with pytest.warns(UserWarning, match="blue.png"):
        data = FolderDataset(folder, size=8, errors="skip")
    assert data.batch(range(2))[1] == {"prompt": ["green", "red"]}
    assert [p.file.name for p in data.problems] == ["blue.png"]


def test_metadata_must_fit_the_files(folder):
    rows = [{"file_name": f"{n}.png", "text": n} for n in COLOURS]
    table = folder / "metadata.jsonl"
    table.write_text("\n".join(map(json.dumps, [*rows, {"file_name": "../secret.png", "text": "x"}])))
    with pytest.raises(
        ValueError, match="secret.png: listed in metadata.jsonl, but it lies outside the folder"
    ):
        FolderDataset(folder)
    table.write_text("\n".join(map(json.dumps, [*rows, {"file_name": "absent.png", "text": "x"}])))
    with pytest.raises(ValueError, match="there is no such file"):
        FolderDataset(folder)
    table.write_text("\n".join(map(json.dumps, rows[:2])))
    with pytest.raises(ValueError, match="no entry in metadata.jsonl"):
        FolderDataset(folder)
    table.write_text('{"file_name": "red.png"}\n')
    with pytest.raises(ValueError, match="entry 1: needs file_name and text"):
        FolderDataset(folder)
    table.write_text('{"file_name": "red.png", "text": "a"}\n{oops\n')
    with pytest.raises(ValueError, match="line 2: not JSON"):
        FolderDataset(folder)


@pytest.mark.parametrize("memory", [2 << 30, 0])
def test_damaged_files_are_named_and_skipped_on_request(folder, memory):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "green.png")
    (folder / "green.png").write_bytes((folder / "green.png").read_bytes()[:2000])
    if memory:
        with pytest.raises(ValueError, match=r"green.png: .*(?s:.)*errors=\"skip\""):
            FolderDataset(folder, size=8)
        with pytest.warns(UserWarning, match="green.png"):
            data = FolderDataset(folder, size=8, errors="skip")
        assert [f.name for f in data.files] == ["blue.png", "red.png"]
    else:
        with pytest.raises(PictureError, match="green.png"):
            FolderDataset(folder, size=8, memory=0).batch([1])
        data = FolderDataset(folder, size=8, memory=0, errors="skip")
        with pytest.warns(UserWarning, match="the next picture takes its place"):
            images, _ = data.batch([1])
        assert images[0][0, 0].tolist() == [255, 0, 0]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.array_equal(data.batch([1])[0][0], images[0])
    assert [p.file.name for p in data.problems] == ["green.png"]


def test_folders_without_pictures_say_so(tmp_path):
    with pytest.raises(ValueError, match="it is empty"):
        FolderDataset(tmp_path)
    (tmp_path / "a.pdf").write_bytes(b"x")
    with pytest.raises(ValueError, match="its 1 files have other endings"):
        FolderDataset(tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match="the file is empty"):
        FolderDataset(tmp_path, size=8)
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="no usable pictures are left of 1 files"):
        FolderDataset(tmp_path, size=8, errors="skip")
    with pytest.raises(NotADirectoryError):
        FolderDataset(tmp_path / "a.pdf")


def test_ambiguous_folders_are_refused(folder):
    paint(folder / "more" / "x.png", "red")
    with pytest.raises(ValueError, match="both at the top and in sub-folders"):
        FolderDataset(folder)
    with pytest.raises(ValueError, match="no captions"):
        FolderDataset(folder, conditions="prompt")
    with pytest.raises(ValueError, match="did you mean 'prompt'"):
        FolderDataset(folder, conditions="promt")
    with pytest.raises(IndexError, match="out of range"):
        FolderDataset(folder, conditions="none").batch([4])


# --- npz ----------------------------------------------------------------------------------------------------


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "a.npz"
    np.savez(
        path,
        image=rng.integers(0, 256, (10, 8, 8, 3), dtype=np.uint8),
        caption=np.array([f"item {k}" for k in range(10)]),
        group=np.arange(10, dtype=np.int16) % 3,
        group_names=np.array(["x", "y", "z"]),
        tone=np.array(["", "dark"] * 5),
        split=np.array(["train"] * 7 + ["test"] * 3),
        licence=np.array("CC0"),
    )
    return path


def test_splits_and_selections(archive):
    assert len(NpzDataset(archive)) == 10
    data = open_data(archive, split="train", where={"tone": ""})
    assert data.batch(range(4))[1] == {"prompt": ["item 0", "item 2", "item 4", "item 6"]}
    assert data.licence == "CC0"
    assert len(NpzDataset(archive, where={"group": [0, 2]})) == 7
    both = NpzDataset(archive, "test", conditions={"prompt": "caption", "kind": "group"})
    assert both.conditions == {"prompt": "text", "kind": "class"}
    assert both.class_names == ("x", "y", "z")
    assert both.batch([0])[1] == {"prompt": ["item 7"], "kind": [1]}


def test_pictures_are_box_averaged(archive):
    full, small = NpzDataset(archive), NpzDataset(archive, size=4)
    expected = np.rint(full.images.reshape(10, 4, 2, 4, 2, 3).mean((2, 4)))
    assert np.array_equal(small.images, expected)
    assert NpzDataset(archive, size=5).images.shape == (10, 5, 5, 3)


def test_archives_with_separate_splits_and_grey_pictures(tmp_path):
    path = tmp_path / "b.npz"
    grey = np.arange(4 * 6 * 6, dtype=np.uint8).reshape(4, 6, 6)
    np.savez(path, train_image=grey, train_label=np.arange(4, dtype=np.uint8), test_image=grey[:2],
             test_label=np.ones(2, np.uint8), class_names=np.array(list("abcd")))  # fmt: skip
    train = NpzDataset(path, "train")
    assert train.images.shape == (4, 6, 6, 1)
    assert train.class_names == ("a", "b", "c", "d")
    assert train.batch([3])[1] == {"label": [3]}
    assert len(NpzDataset(path)) == 6
    with pytest.raises(ValueError, match="unknown split 'tets'; did you mean 'test'"):
        NpzDataset(path, "tets")


def test_archive_errors(archive, tmp_path):
    with pytest.raises(ValueError, match="unknown key in where 'tones'; did you mean 'tone'"):
        NpzDataset(archive, where={"tones": ""})
    with pytest.raises(ValueError, match="no item has tone = 'pale'"):
        NpzDataset(archive, where={"tone": "pale"})
    with pytest.raises(ValueError, match="no pictures are left"):
        NpzDataset(archive, where={"tone": "", "caption": "item 1"})
    with pytest.raises(ValueError, match="unknown key for a condition"):
        NpzDataset(archive, conditions={"prompt": "captions"})
    with pytest.raises(FileNotFoundError):
        NpzDataset(tmp_path / "absent.npz")
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(ValueError, match="not a readable npz|cannot be read"):
        NpzDataset(tmp_path / "bad.npz")
    np.save(tmp_path / "single.npz.npy", np.zeros(3))
    (tmp_path / "single.npz.npy").rename(tmp_path / "single.npz")
    with pytest.raises(ValueError, match="single array"):
        NpzDataset(tmp_path / "single.npz")
    image = np.zeros((2, 4, 4), np.uint8)
    cases = {
        "no key 'image'": {"pictures": image},
        "must be uint8": {"image": image.astype(float)},
        "has 3 entries for 2": {"image": image, "caption": np.array(["a", "b", "c"])},
        "do not index its class names": {
            "image": image,
            "label": np.array([0, 5]),
            "class_names": np.array(["a"]),
        },
    }
    for message, arrays in cases.items():
        np.savez(tmp_path / "c.npz", **arrays)
        with pytest.raises(ValueError, match=message):
            NpzDataset(tmp_path / "c.npz")
    np.savez(tmp_path / "c.npz", image=image)
    with pytest.raises(ValueError, match="has no splits"):
        NpzDataset(tmp_path / "c.npz", "test")
    np.savez(tmp_path / "d.npz", image=image, caption=np.array([{"a": 1}, None]))
    with pytest.raises(ValueError, match="cannot be read"):  # pickled objects
        NpzDataset(tmp_path / "d.npz")


# --- opening ------------------------------------------------------------------------------------------------


def test_shapes_open_by_name():
    data = open_data("shapes", split="test", size=40, seed=2)
    assert isinstance(data, ShapesDataset)
    assert isinstance(data, ImageDataset)
    images, conditions = data.batch([0, 1])
    assert images.shape == (2, 40, 40, 3)
    assert list(conditions) == ["prompt"]
    assert open_data(data) is data


def test_split_folders_are_opened(tmp_path):
    paint(tmp_path / "train" / "a.png", "red")
    paint(tmp_path / "test" / "b.png", "blue")
    assert open_data(tmp_path, split="test", size=4).batch([0])[0][0][0, 0].tolist() == [0, 0, 255]
    with pytest.raises(ValueError, match=r"no folder 'dev'.*\['test', 'train'\]"):
        open_data(tmp_path, split="dev")


def test_what_is_no_data_set_is_said(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match="built-in set is 'shapes'"):
        open_data("shape")
    with pytest.raises(ValueError, match="single file.*give the folder"):
        open_data(folder / "red.png")
    with pytest.raises(ValueError, match="got int"):
        open_data(3)


class Columns:
    """What `datasets` returns from load_from_disk, as far as it is used."""

    column_names = ("image", "text")
    info = types.SimpleNamespace(license="mit", citation="")
    features: ClassVar[dict[str, object]] = {}

    def __len__(self) -> int:
        return 2

    def __getitem__(self, rows: list[int]) -> dict[str, list]:
        return {"image": [Image.new("RGB", (9, 6))] * len(rows), "text": [f"t{r}" for r in rows]}


def test_saved_datasets_are_read_and_its_absence_is_explained(tmp_path, monkeypatch):
    (tmp_path / "state.json").write_text("{}")
    monkeypatch.setitem(
        sys.modules, "datasets", types.SimpleNamespace(load_from_disk=lambda path: {"train": Columns()})
    )
    data = open_data(tmp_path, size=4)
    assert data.licence == "mit"
    images, conditions = data.batch([1, 0])
    assert images[0].shape == (4, 4, 3)
    assert conditions == {"prompt": ["t1", "t0"]}
    with pytest.raises(ValueError, match="unknown split 'tran'; did you mean 'train'"):
        DatasetsFolder(tmp_path, "tran")
    monkeypatch.delitem(sys.modules, "datasets")
    if not any((Path(p) / "datasets").is_dir() for p in sys.path):
        with pytest.raises(ImportError, match="datasets"):
            open_data(tmp_path)


# --- real data ----------------------------------------------------------------------------------------------


def test_emoji_without_skin_tones():
    data = NpzDataset(needs("noto_emoji_64.npz"), where={"skin_tone": ""}, split="train", size=32)
    assert data.images.shape == (1717, 32, 32, 3)
    assert data.conditions == {"prompt": "text"}
    test = NpzDataset(needs("noto_emoji_64.npz"), where={"skin_tone": ""}, split="test", size=32)
    assert not set(data.columns["base_codepoints"]) & set(test.columns["base_codepoints"])


def test_digits():
    data = NpzDataset(needs("mnist_28.npz"), "test")
    assert data.images.shape == (10000, 28, 28, 1)
    assert data.batch([0, 1])[1] == {"label": [7, 2]}


def test_photographs():
    data = FolderDataset(needs("photos"), size=48)
    assert len(data) == 5
    assert all(x.shape == (48, 48, 3) and x.std() > 20 for x in data.batch(range(5))[0])
