"""Sets of pictures: a folder, an npz archive, a saved `datasets` folder, or the procedural shapes.

Every set gives pictures as uint8 arrays (H, W, C) and conditions as raw values, in batches:

    images, conditions = data.batch([0, 5, 2])      # list of (H, W, C) or one (B, H, W, C); {"prompt": ["a
    red apple", …]}

`data.conditions` names each condition and its kind: "text" (str), "class" (int, an index into
`data.class_names`) or "number" (float). Sets are read-only and hold no position: which items are drawn, and
in which order, is the trainer's matter.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from langevin import optional
from langevin.core.errors import unknown
from langevin.modalities.image.folder import FolderDataset
from langevin.modalities.image.pixels import EXTENSIONS, box_average, to_array, to_images, to_tensor
from langevin.modalities.image.shapes import Shapes

__all__ = [
    "DatasetsFolder", "FolderDataset", "ImageDataset", "NpzDataset", "ShapesDataset", "open_data",
    "to_images", "to_tensor",
]  # fmt: skip

Indices = Sequence[int] | NDArray[np.integer]
Batch = tuple[Any, dict[str, list[Any]]]


@runtime_checkable
class ImageDataset(Protocol):
    """What training and evaluation need of a set of pictures."""

    conditions: dict[str, str]  # name -> "text" | "class" | "number"
    class_names: tuple[str, ...]  # names of the classes of the "class" condition; empty without one
    licence: str | None
    attribution: str | None

    def __len__(self) -> int: ...

    def batch(self, indices: Indices) -> Batch:
        """Pictures and, for every condition, the list of its raw values."""
        ...


class ShapesDataset:
    """The procedural set of `shapes.Shapes` as a data set with one condition, "prompt"."""

    class_names: tuple[str, ...] = ()
    licence: str | None = "none needed: the pictures are generated"
    attribution: str | None = None

    def __init__(
        self, size: int | None = None, split: str | None = "train", seed: int = 0, **options: Any
    ) -> None:
        self.conditions = {"prompt": "text"}
        self.shapes = Shapes(32 if size is None else size, split or "train", seed, **options)

    def __len__(self) -> int:
        return len(self.shapes)

    def batch(self, indices: Indices) -> Batch:
        """Pictures (B, size, size, 3) uint8 and their captions."""
        images, captions = self.shapes.batch(indices)
        return images, {"prompt": captions}


_DEFAULT_KEYS = {"prompt": "caption", "label": "label"}  # condition -> key of the archive


class NpzDataset:
    """Pictures of an npz archive, held in memory.

    Keys of the archive: `image` uint8 (N, H, W) or (N, H, W, C), and any further arrays of length N
    (`caption`, `label`, `split`, …); or `train_image`, `train_label`, …, `test_image`, … for archives that
    keep their splits apart. Class names are taken from `class_names` or, for a condition read from key `k`,
    from `k_names`. Grey pictures keep one channel.

    Args:
        path: the archive. Pickled contents are refused.
        split: "train", "test", …; None takes everything.
        where: keep the items whose column equals the value (or is among the values of a list):
            {"skin_tone": ""}.
        size: bring pictures to this side; a whole-number reduction is a box average.
        conditions: condition name -> key of the archive; by default prompt from `caption`, label from
            `label`.
        licence, attribution: of the pictures; read from the archive's keys of those names when not given.

    Attributes:
        images: (N, H, W, C) uint8.
        columns: every array of length N, after selection.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an archive of pictures, an unknown key, split or value, or a selection that leaves
            nothing.
    """

    def __init__(
        self,
        path: str | Path,
        split: str | None = None,
        *,
        where: Mapping[str, Any] | None = None,
        size: int | None = None,
        conditions: Mapping[str, str] | None = None,
        licence: str | None = None,
        attribution: str | None = None,
    ) -> None:
        self.path = Path(path)
        arrays = _read_npz(self.path)
        loose = {k: str(v) for k, v in arrays.items() if v.ndim == 0 and v.dtype.kind == "U"}
        self.licence = licence or loose.get("licence") or loose.get("license")
        self.attribution = attribution or loose.get("attribution")
        columns, names = self._columns(arrays, split)
        keep = np.ones(len(columns["image"]), dtype=bool)
        if "split" in columns and split is not None:
            keep &= self._match(columns, "split", split)
        for key, value in (where or {}).items():
            keep &= self._match(columns, key, value)
        if not keep.any():
            raise ValueError(
                f"{self.path.name}: no pictures are left for split={split!r}, where={dict(where or {})}"
            )
        columns = {k: v[keep] for k, v in columns.items()}
        self.images = _sized(columns.pop("image"), size)
        self.columns = columns
        wanted = (
            dict(conditions)
            if conditions is not None
            else {n: k for n, k in _DEFAULT_KEYS.items() if k in columns}
        )
        for key in wanted.values():
            if key not in columns:
                raise ValueError(f"{self.path.name}: " + unknown("key for a condition", key, columns))
        self._keys = wanted
        kinds = {"U": "text", "i": "class", "u": "class", "f": "number"}
        for key in wanted.values():
            if columns[key].dtype.kind not in kinds:
                raise ValueError(
                    f"{self.path.name}: key {key!r} has dtype {columns[key].dtype}: not text, class or number"
                )
        self.conditions = {name: kinds[columns[key].dtype.kind] for name, key in wanted.items()}
        self.class_names = self._names(names)

    def _columns(
        self, arrays: dict[str, NDArray[Any]], split: str | None
    ) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Arrays of one entry per picture, and the arrays of names."""
        apart = sorted(k.removesuffix("_image") for k in arrays if k.endswith("_image"))
        names = {k: v for k, v in arrays.items() if k.endswith("_names")}
        if "image" in arrays:
            parts = [arrays]
        elif apart:
            if split is not None and split not in apart:
                raise ValueError(f"{self.path.name}: " + unknown("split", split, apart))
            chosen = apart if split is None else [split]
            parts = [
                {k.removeprefix(f"{s}_"): v for k, v in arrays.items() if k.startswith(f"{s}_")}
                for s in chosen
            ]
        else:
            raise ValueError(
                f"{self.path.name} has no key 'image' or 'train_image'; its keys are {', '.join(arrays)}"
            )
        for part in parts:
            image = part["image"]
            if (
                image.dtype != np.uint8
                or image.ndim not in (3, 4)
                or (image.ndim == 4 and image.shape[-1] not in (1, 3, 4))
            ):
                raise ValueError(
                    f"{self.path.name}: pictures must be uint8 (N, H, W) or (N, H, W, C); "
                    f"got {image.dtype} {image.shape}"
                )
        own = [{k for k, v in p.items() if v.ndim > 0 and len(v) == len(p["image"])} for p in parts]
        shared = set.intersection(*own) - set(names)
        for part in parts:
            for key in ("caption", "label", "split"):
                if key in part and key not in shared:
                    raise ValueError(
                        f"{self.path.name}: key {key!r} has {part[key].size} entries "
                        f"for {len(part['image'])} pictures"
                    )
        if "image" in arrays and split not in (None, "train") and "split" not in shared:
            raise ValueError(
                f"{self.path.name} has no splits (no key 'split'), so split={split!r} cannot be chosen"
            )
        order = [k for k in parts[0] if k in shared]
        return {k: np.concatenate([p[k] for p in parts]) for k in order}, names

    def _match(self, columns: dict[str, NDArray[Any]], key: str, value: Any) -> NDArray[np.bool_]:
        if key not in columns:
            raise ValueError(f"{self.path.name}: " + unknown("key in where", key, columns))
        values = list(value) if isinstance(value, list | tuple | set) else [value]
        hit = np.isin(columns[key], np.asarray(values))
        if not hit.any():
            present = np.unique(columns[key])[:12].tolist()
            raise ValueError(
                f"{self.path.name}: no item has {key} = {value!r}; it takes values such as {present}"
            )
        return np.asarray(hit)

    def _names(self, names: Mapping[str, NDArray[Any]]) -> tuple[str, ...]:
        for name, kind in self.conditions.items():
            if kind == "class":
                key = self._keys[name]
                found = names.get(f"{key}_names", names.get("class_names"))
                top = int(self.columns[key].max())
                if self.columns[key].min() < 0 or (found is not None and top >= len(found)):
                    raise ValueError(f"{self.path.name}: values of {key!r} do not index its class names")
                return tuple(map(str, found)) if found is not None else tuple(map(str, range(top + 1)))
        return ()

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Indices) -> Batch:
        """Pictures (B, H, W, C) uint8 and the conditions' raw values."""
        rows = np.asarray(indices, dtype=np.int64)
        return self.images[rows], {name: self.columns[key][rows].tolist() for name, key in self._keys.items()}


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"no file {str(path)!r}")
    try:
        archive = np.load(path, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise ValueError("it is a single array, not an npz archive: write numpy.savez(path, image=…)")
        with archive:
            return {k: archive[k] for k in archive.files}
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    except (
        Exception
    ) as error:  # zipfile.BadZipFile, zlib.error, EOFError, OSError: all mean a damaged archive
        raise ValueError(f"{path} is not a readable npz archive: {error}") from None


def _sized(images: NDArray[np.uint8], size: int | None) -> NDArray[np.uint8]:
    """(N, H, W[, C]) -> (N, size, size, C), C = 1 or 3."""
    images = images[..., None] if images.ndim == 3 else images
    height, width, channels = images.shape[1:]
    if channels == 4:
        images = np.stack([to_array(x) for x in images])
    if size is None or (height, width) == (size, size):
        return images
    if height == width and height % size == 0:
        factor = height // size
        return np.concatenate(
            [box_average(images[i : i + 1024], factor) for i in range(0, len(images), 1024)]
        )
    return np.stack([to_array(x, size=size) for x in images])


class DatasetsFolder:
    """A folder written by `datasets.Dataset.save_to_disk` (the Hugging Face library, imported only here).
    Nothing is downloaded.

    Args:
        path: the folder.
        split: which split of a DatasetDict.
        size: scale and centre-crop to this side; None keeps the stored sizes.
        image, prompt, label: names of the columns; by default the usual ones ("image" or "img"; "text" or
            "caption"; "label"), as far as they are there.
        channels: 1 or 3.

    Raises:
        ImportError: the package `datasets` is not installed.
        ValueError: not such a folder, or an unknown split or column.
    """

    licence: str | None
    attribution: str | None

    def __init__(
        self,
        path: str | Path,
        split: str | None = "train",
        *,
        size: int | None = None,
        image: str | None = None,
        prompt: str | None = None,
        label: str | None = None,
        channels: int = 3,
    ) -> None:
        datasets = optional.Package("datasets", "datasets", f"reading {path}, a folder saved by it")()
        loaded = datasets.load_from_disk(str(path))
        if isinstance(loaded, dict):  # a DatasetDict
            if split not in loaded:
                raise ValueError(f"{path}: " + unknown("split", split, loaded))
            loaded = loaded[split]
        self._data, self.size, self.channels = loaded, size, channels
        columns = list(loaded.column_names)
        found = {
            "image": self._column(columns, image, ("image", "img")),
            "prompt": self._column(columns, prompt, ("text", "caption", "prompt")),
            "label": self._column(columns, label, ("label", "labels")),
        }
        if found["image"] is None:
            raise ValueError(
                f"{path} has no column of pictures; its columns are {', '.join(columns)}: give image="
            )
        self._image = found.pop("image")
        self._keys = {name: key for name, key in found.items() if key is not None}
        self.conditions = {name: {"prompt": "text", "label": "class"}[name] for name in self._keys}
        feature = loaded.features[self._keys["label"]] if "label" in self._keys else None
        self.class_names: tuple[str, ...] = tuple(getattr(feature, "names", None) or ())
        self.licence = loaded.info.license or None
        self.attribution = loaded.info.citation or None

    @staticmethod
    def _column(columns: list[str], given: str | None, usual: tuple[str, ...]) -> str | None:
        if given is not None and given not in columns:
            raise ValueError(unknown("column", given, columns))
        return given or next((name for name in usual if name in columns), None)

    def __len__(self) -> int:
        return len(self._data)

    def batch(self, indices: Indices) -> Batch:
        """A list of pictures (H, W, C) uint8 and the conditions' raw values."""
        rows = self._data[[int(i) for i in indices]]
        images = [to_array(picture, self.channels, self.size) for picture in rows[self._image]]
        return images, {name: list(rows[key]) for name, key in self._keys.items()}


def open_data(spec: Any, split: str | None = None, size: int | None = None, **options: Any) -> ImageDataset:
    """The data set that `spec` stands for.

    Args:
        spec: "shapes"; an .npz file; a folder saved by `datasets`; a folder of pictures, or of the splits'
            folders (train/, test/, …); or a data set, which is returned as it is.
        split: which part; None takes everything there is (of shapes: "train").
        size: side of the pictures.
        options: passed to the class that reads it (`where=` for npz, `errors=` for folders, `seed=` for
            shapes, …).

    Raises:
        FileNotFoundError: nothing is at this path.
        ValueError: it is there, but not a data set; or an option that it does not take.
    """
    if size is not None and (isinstance(size, bool) or not isinstance(size, Integral) or size < 1):
        raise ValueError(f"data.size must be a whole number from 1, got {size!r}")
    if split is not None and not isinstance(split, str):
        raise ValueError(f"data.split must be a name, got {split!r}")
    if not isinstance(spec, str | Path):
        if isinstance(spec, ImageDataset):
            return spec
        raise ValueError(f"data must be a name, a path or a data set; got {type(spec).__name__}")
    if str(spec) == "shapes":
        return ShapesDataset(size, split, **_known(options, Shapes))
    path = Path(spec).expanduser()
    if not path.exists():
        raise FileNotFoundError(
            f"data {str(spec)!r}: there is no such file or folder, and the only built-in set is 'shapes'"
        )
    if path.is_file():
        if path.suffix.lower() == ".npz":
            return NpzDataset(path, split, size=size, **_known(options, NpzDataset))
        hint = "give the folder it is in" if path.suffix.lower() in EXTENSIONS else "unpack it or convert it"
        raise ValueError(
            f"data {str(spec)!r} is a single file, not an .npz archive or a folder of pictures: {hint}"
        )
    if any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
        return DatasetsFolder(path, split or "train", size=size, **_known(options, DatasetsFolder))
    if split is not None:
        if (path / split).is_dir():
            path = path / split
        elif split != "train" or any((path / name).is_dir() for name in ("test", "validation")):
            parts = sorted(p.name for p in path.iterdir() if p.is_dir())
            raise ValueError(
                f"data {str(spec)!r} has no folder {split!r} for that split; its folders: {parts or 'none'}"
            )
    return FolderDataset(path, size=size, **_known(options, FolderDataset))


def _known(options: Mapping[str, Any], reader: Callable[..., Any]) -> Mapping[str, Any]:
    """The options of what reads a set.

    Raises:
        ValueError: one that it does not take; the nearest is suggested.
    """
    known = [name for name in inspect.signature(reader).parameters if name not in ("path", "split", "size")]
    for name in options:
        if name not in known:
            raise ValueError(
                unknown("key of data", name, ["path", "split", "size", "modality", "hues", *known])
            )
    return options
