"""Where clips lie: a folder of files, or an npz archive.

folder      :mod:`langevin.modalities.captions` says where captions and classes are looked for; nothing is decoded
            before it is read
npz         video uint8 (N, T, H, W, 3), and fps where it is known; further arrays of length N are columns, and names of
            a column k stand in k_names
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from langevin.modalities import captions
from langevin.modalities.captions import Problem
from langevin.modalities.recordings import Recordings, folder_columns, npz_arrays, npz_columns
from langevin.modalities.video.clip import Video
from langevin.modalities.video.files import EXTENSIONS, VideoError, info, read

__all__ = ["Clip", "Source", "folder_source", "npz_source"]

FPS = 8.0  # of archives that do not say


@dataclass(frozen=True)
class Clip:
    """A clip.

    Attributes:
        file: that names it.
        frames: how many.
        fps: frames per second.
        size: width and height in pixels.
        read: (first frame, frames) to a clip; raises a ValueError that names the file.
    """

    file: Path
    frames: int
    fps: float
    size: tuple[int, int]
    read: Callable[[int, int], Video]


@dataclass(frozen=True)
class Source(Recordings[Clip]):
    """Clips and what is known about them; its columns have one entry for each clip."""

    what: ClassVar[str] = "clips"
    usual: ClassVar[Mapping[str, tuple[str, ...]]] = {"prompt": ("caption",), "label": ("label",)}


def folder_source(path: str | Path, conditions: str = "auto") -> Source:
    """The files of a folder and its sub-folders, in the order of their names.

    Args:
        path: the folder.
        conditions: "auto", "prompt", "label" or "none".

    Raises:
        FileNotFoundError, NotADirectoryError: nothing there, or a file.
        ValueError: no clips, or no such conditions.
    """
    path = Path(path)
    files = captions.listing(path, EXTENSIONS, "clips")
    found = captions.find(path, files, conditions, "clips")
    problems, clips, kept = list(found.problems), [], []
    bad = {p.file for p in problems}
    for file in files:
        if file in bad:
            continue
        try:
            about = info(file)
            clips.append(
                Clip(
                    file,
                    about.frames,
                    about.fps,
                    about.size,
                    functools.partial(_part_of_file, file, about.fps),
                )
            )
            kept.append(file)
        except (ValueError, OSError) as error:
            problems.append(Problem(file, error.reason if isinstance(error, VideoError) else str(error)))
    columns, names = folder_columns(found, kept)
    return Source(path, clips, columns, names, tuple(problems))


def npz_source(path: str | Path) -> Source:
    """The clips of an npz archive; pickled contents are refused.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an archive of clips.
    """
    path = Path(path)
    arrays = npz_arrays(path)
    if "video" not in arrays:
        raise ValueError(f"{path} has no array 'video'; its arrays are {', '.join(arrays)}")
    video = arrays.pop("video")
    if video.dtype != np.uint8 or video.ndim != 5 or video.shape[-1] != 3 or 0 in video.shape:
        raise ValueError(f"{path}: video must be uint8 (N, T, H, W, 3); got {video.dtype} {video.shape}")
    fps = float(arrays.pop("fps", FPS))
    clips = [
        Clip(
            path / str(k),
            video.shape[1],
            fps,
            (video.shape[3], video.shape[2]),
            functools.partial(_part_of_array, video[k], fps),
        )
        for k in range(len(video))
    ]
    columns, names = npz_columns(path, arrays, len(video))
    loose = {k: str(v) for k, v in arrays.items() if v.ndim == 0 and v.dtype.kind == "U"}
    licence = loose.get("licence") or loose.get("license")
    return Source(path, clips, columns, names, (), licence, loose.get("attribution"))


def _part_of_file(file: Path, fps: float, first: int, count: int) -> Video:
    return read(file, first / fps if first else None, count / fps)


def _part_of_array(frames: Any, fps: float, first: int, count: int) -> Video:
    return Video(frames[first : first + count], fps)
