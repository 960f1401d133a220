"""Clips as VBench takes those of other people (Huang et al. 2024): its mode ``custom_input``.

    folder/videos/a cat on a mat-0.mp4        a prompt and the number of the clip among those of the prompt
    folder/prompts.json                       {"a cat on a mat-0.mp4": "a cat on a mat", ...}

    vbench evaluate --mode=custom_input --videos_path folder/videos --prompt_file folder/prompts.json --dimension ...

VBench tells prompts by the file unless it is given the JSON, which holds them whole: names are cut at 150 characters and
have no characters that file systems forbid.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from langevin.modalities.video.clip import Video

__all__ = ["export_vbench"]

LONGEST = 150


def export_vbench(clips: Sequence[Video], prompts: Sequence[str], folder: str | Path) -> list[Path]:
    """Writes clips for VBench.

    Args:
        clips: one for each prompt; several may have the same.
        folder: made where it is missing; its ``videos`` must hold nothing.

    Returns:
        The files of the clips, in their order.

    Raises:
        ValueError: another number of prompts than of clips, or none.
        FileExistsError: files in ``videos``, which VBench would judge along.
    """
    if not len(clips) or len(clips) != len(prompts):
        raise ValueError(f"every clip needs a prompt; got {len(clips)} clips and {len(prompts)} prompts")
    videos = Path(folder) / "videos"
    videos.mkdir(parents=True, exist_ok=True)
    if any(videos.iterdir()):
        raise FileExistsError(f"{videos} holds files already")
    numbers: Counter[str] = Counter()
    names: dict[str, str] = {}
    for prompt in prompts:
        stem = re.sub(r'[\\/:*?"<>|\x00-\x1f]', "_", prompt)[:LONGEST].strip() or "clip"
        names[f"{stem}-{numbers[stem]}.mp4"] = prompt
        numbers[stem] += 1
    for clip, name in zip(clips, names, strict=True):
        clip.save(videos / name)
    (Path(folder) / "prompts.json").write_text(json.dumps(names, indent=1, ensure_ascii=False), "utf-8")
    return [videos / name for name in names]
