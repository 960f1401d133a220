"""Model folders are data: three files, safe to read from a stranger, written whole or not at all.

    config.yaml          a plain tree (langevin.trees) with `format: 1`, the weights' size and SHA-256
    model.safetensors    the tensors
    card.md              what the model is, for people

Reading runs nothing that a folder contains. Files must be regular and lie inside the folder, links
included; the header of the weights is checked against the bytes that follow it before anything is
allocated; only safetensors are read, never pickles; tensors that hold NaN or infinity are refused by name.

Every file is written under a temporary name beside its destination, flushed to the disk, and renamed. The
configuration goes last: until it is there, there is no model; and because it names the hash of its
weights, an overwrite that was cut between the two renames is noticed rather than loaded.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "CARD",
    "CONFIG",
    "FORMAT",
    "WEIGHTS",
    "Entry",
    "FolderError",
    "fresh",
    "member",
    "read_card",
    "read_config",
    "read_header",
    "read_text",
    "read_weights",
    "together",
    "write_atomic",
    "write_model",
]

CONFIG, WEIGHTS, CARD = "config.yaml", "model.safetensors", "card.md"
FORMAT = 1
TEXT_BYTES = 1 << 20
HEADER_BYTES = 32 << 20
TENSORS = 100_000
WIDTHS = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}  # bytes
FLOATS = ("F64", "F32", "F16", "BF16")

Content: TypeAlias = bytes | str | Callable[[Path], object]


class FolderError(ValueError):
    """A folder that is not a sound model; the message names the file and the reason."""


@dataclass(frozen=True)
class Entry:
    """A tensor as a header declares it: dtype in safetensors' spelling ("F16"), shape, place in the data."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def member(folder: str | Path, name: str) -> Path:
    """The path of a regular file inside a folder, for names that come from somebody else.

    Args:
        folder: the folder.
        name: a relative path with forward slashes.

    Raises:
        FolderError: the name is absolute, climbs, leads out of the folder through a link, or is no regular
            file.
    """
    folder = Path(folder)
    pure = PurePosixPath(name)
    if not name or "\0" in name or "\\" in name or ":" in name or pure.is_absolute() or ".." in pure.parts:
        raise FolderError(f"{name!r} is not a path inside the folder {folder}")
    try:
        path, home = (folder / pure).resolve(strict=True), folder.resolve(strict=True)
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise FolderError(f"{folder} has no {name}") from None
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: links in a circle
        raise FolderError(f"{folder / pure}: {error}") from None
    if not path.is_relative_to(home):
        raise FolderError(f"{folder / pure} is a link that leads out of the folder")
    if not stat.S_ISREG(mode):
        raise FolderError(f"{folder / pure} is not a regular file")
    return path


def read_config(folder: str | Path) -> dict[str, Any]:
    """The configuration of a model folder as a plain tree, with ``format`` checked and kept.

    Raises:
        FolderError: no such file, not a plain tree, or a format that this version does not know.
    """
    from langevin import trees

    path = member(folder, CONFIG)
    try:
        tree = trees.read(read_text(folder, CONFIG))
    except trees.TreeError as error:
        raise FolderError(f"{path}: {error}") from None
    if not isinstance(tree, dict):
        raise FolderError(f"{path}: expected a mapping, got {type(tree).__name__}")
    version = tree.get("format")
    if isinstance(version, bool) or not isinstance(version, int):
        raise FolderError(f"{path}: `format: {FORMAT}` is missing, so this is not a langevin model")
    if version != FORMAT:
        hint = "a newer langevin wrote it; upgrade" if version > FORMAT else "no langevin wrote that"
        raise FolderError(f"{path}: format {version} is not {FORMAT}: {hint}")
    return tree


def read_card(folder: str | Path) -> str:
    """The text of card.md.

    Raises:
        FolderError: as :func:`read_text`.
    """
    return read_text(folder, CARD)


def read_text(folder: str | Path, name: str, limit: int = TEXT_BYTES) -> str:
    """The text of a file in a folder.

    Args:
        folder: the folder.
        name: as for :func:`member`.
        limit: bytes, at most.

    Raises:
        FolderError: no such file inside the folder, larger than ``limit``, or not UTF-8.
    """
    path = member(folder, name)
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise FolderError(f"{path} is larger than {limit} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FolderError(f"{path}: {error}") from None


def read_header(folder: str | Path) -> dict[str, Entry]:
    """What model.safetensors declares, checked against the size of the file; needs no torch.

    Raises:
        FolderError: not safetensors, truncated, inconsistent, or a dtype that weights do not have.
    """
    path = member(folder, WEIGHTS)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            return _header(file, size)
        except FolderError as error:
            raise FolderError(f"{path}: {error}") from None


def read_weights(folder: str | Path, verify: bool = True) -> dict[str, Tensor]:
    """The tensors of a model folder, on the CPU.

    Args:
        folder: the folder.
        verify: compare the file with the size and hash in config.yaml, where they stand there.

    Raises:
        FolderError: whatever :func:`read_header` and :func:`read_config` refuse, another file than the
            configuration describes, and tensors with NaN or infinity.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    read_header(folder)
    path = member(folder, WEIGHTS)
    if verify:
        _verify(path, read_config(folder).get("weights"))
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise FolderError(f"{path}: {error}") from None
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise FolderError(f"{path}: the tensor {name!r} holds NaN or infinity")
    return tensors


def write_atomic(path: str | Path, content: Content) -> Path:
    """Write a file whole or not at all; an earlier file of that name stays until the new one is complete.

    Args:
        path: the destination; its folder must exist.
        content: the bytes, the text (UTF-8), or a function that writes to the path it is given, which has
            the suffix of ``path``.

    Returns:
        ``path``.
    """
    path = Path(path)
    with together() as write:
        write(path, content)
    return path


@contextlib.contextmanager
def together() -> Iterator[Callable[[Path, Content], Path]]:
    """Write several files, all or none: they take their names when the block ends, in the order of writing.

    Yields:
        ``write(path, content)``, as :func:`write_atomic`; it returns where the content is until then.
    """
    staged: list[tuple[Path, Path]] = []

    def write(path: Path, content: Content) -> Path:
        staged.append((_stage(path, content), path))
        return staged[-1][0]

    try:
        yield write
        for temporary, path in staged:
            os.replace(temporary, path)
        for parent in {path.parent for _, path in staged}:
            _flush(parent)
    finally:
        for temporary, _ in staged:
            temporary.unlink(missing_ok=True)


def write_model(
    folder: str | Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor], card: str
) -> Path:
    """Write a model folder; other files in it are left alone.

    Args:
        folder: made if it is not there.
        config: a plain tree; ``format`` and ``weights`` are filled in.
        tensors: any devices, in the dtype in which they are to be stored.
        card: the text of card.md.

    Raises:
        FolderError: a configuration that is not a plain tree, or tensors with NaN or infinity.
    """
    import torch
    from safetensors.torch import save_file

    from langevin import trees

    folder = Path(folder)
    stored = {}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise FolderError(f"the tensor {name!r} holds NaN or infinity; it was not written")
        # a clone has its own storage, which safetensors asks for
        stored[name] = tensor.detach().cpu().contiguous().clone()
    rest = {key: value for key, value in config.items() if key not in ("format", "weights")}
    folder.mkdir(parents=True, exist_ok=True)
    with together() as write:
        weights = write(folder / WEIGHTS, lambda path: save_file(stored, path, metadata={"format": "pt"}))
        about = {"bytes": weights.stat().st_size, "sha256": _sha256(weights)}
        try:
            text = trees.write({"format": FORMAT, **rest, "weights": about})
        except (trees.TreeError, trees.yaml.YAMLError) as error:
            raise FolderError(f"the configuration cannot be stored: {error}") from None
        write(folder / CARD, card)
        write(folder / CONFIG, text)
    return folder


def _stage(path: Path, content: Content) -> Path:
    """Write under a temporary name beside ``path`` and flush to the disk; a failure leaves nothing behind."""
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.partial{path.suffix}")
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    mode = temporary.stat().st_mode & 0o777  # what the umask allows
    try:
        if callable(content):
            content(temporary)
            temporary.chmod(mode)  # some writers make private files
        else:
            temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _flush(folder: Path) -> None:
    """Let renames survive a power cut; some network disks cannot say so, and Windows has no way to."""
    if os.name == "posix":
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verify(path: Path, about: object) -> None:
    """Compare a weights file with what the configuration says about it."""
    if about is None:
        return
    if not isinstance(about, dict) or set(about) != {"bytes", "sha256"}:
        raise FolderError(f"{path.parent / CONFIG}: `weights` must hold bytes and sha256")
    if path.stat().st_size != about["bytes"] or _sha256(path) != about["sha256"]:
        raise FolderError(f"{path} is not the file that {CONFIG} describes: its size or SHA-256 differs")


def _header(file: BinaryIO, size: int) -> dict[str, Entry]:
    """Read and check a safetensors header; messages do not name the file."""
    lead = file.read(8)
    length = int.from_bytes(lead, "little")
    if len(lead) < 8 or length < 2 or length > size - 8:
        # only now: the length of a whole safetensors header may begin with the same two bytes
        if lead[:2] == b"PK":
            raise FolderError("a zip archive, as torch.save writes; only safetensors are read")
        if len(lead) > 1 and lead[0] == 0x80 and lead[1] <= 5:
            raise FolderError("a pickle, which could run anything; only safetensors are read")
        raise FolderError("not a safetensors file, or truncated in its header")
    if length > HEADER_BYTES:
        raise FolderError(f"its header is larger than {HEADER_BYTES} bytes")
    try:
        header = json.loads(file.read(length).decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise FolderError(f"its header is not JSON: {str(error)[:80]}") from None
    if not isinstance(header, dict) or len(header) > TENSORS:
        raise FolderError(f"its header is not a mapping of at most {TENSORS} tensors")
    header.pop("__metadata__", None)
    entries = {name: _entry(name, declared) for name, declared in header.items()}
    position = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].stop)):
        if entry.start != position:
            raise FolderError(
                f"the tensor {name!r} starts at byte {entry.start}, not {position}: overlap or gap"
            )
        position = entry.stop
    if position != size - 8 - length:
        raise FolderError(
            f"its tensors need {position} bytes and {size - 8 - length} are there: truncated or padded"
        )
    return entries


def _entry(name: str, declared: object) -> Entry:
    if not isinstance(declared, dict) or set(declared) != {"dtype", "shape", "data_offsets"}:
        raise FolderError(f"the tensor {name!r} is not declared by dtype, shape and data_offsets")
    dtype, shape, offsets = declared["dtype"], declared["shape"], declared["data_offsets"]
    if not isinstance(dtype, str) or dtype not in WIDTHS:
        raise FolderError(f"the tensor {name!r} has dtype {dtype!r} (allowed: {', '.join(WIDTHS)})")
    for what, numbers in (("shape", shape), ("data_offsets", offsets)):
        if not isinstance(numbers, list) or not all(type(n) is int and 0 <= n < 2**48 for n in numbers):
            raise FolderError(f"the tensor {name!r} has {what} {str(numbers)[:60]}, not a list of sizes")
    if len(shape) > 16 or len(offsets) != 2:
        raise FolderError(f"the tensor {name!r} has {len(shape)} axes and {len(offsets)} offsets")
    needed = math.prod(shape) * WIDTHS[dtype]  # Python integers do not overflow
    if offsets[1] - offsets[0] != needed:
        raise FolderError(
            f"the tensor {name!r} of shape {shape} needs {needed} bytes, not {offsets[1] - offsets[0]}"
        )
    return Entry(dtype, tuple(shape), *offsets)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) != len(pairs):
        raise ValueError("a key stands there twice")
    return keys


def fresh(root: Path, name: str) -> Path:
    """A folder that is not there yet: runs/NAME, runs/NAME-2, …"""
    return next(
        path for k in range(1, 1_000_000) if not (path := root / (name if k == 1 else f"{name}-{k}")).exists()
    )
