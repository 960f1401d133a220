"""Previews: a picture that is rewritten while samples are made, and changes none of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import langevin as lv
from langevin import previews
from tests.test_prompts import model


def test_a_picture_after_every_step_and_the_same_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, path = model(), tmp_path / "now.png"
    plain = made.sample(5, prompt="a", steps=4, batch_size=3)
    seen: list[Any] = []
    write = previews.write_atomic

    def watched(path: Path, content: bytes) -> Path:
        out = write(path, content)
        seen.append(np.asarray(Image.open(path)))
        return out

    monkeypatch.setattr(previews, "write_atomic", watched)
    shown = made.sample(5, prompt="a", steps=4, batch_size=3, watch=lv.preview(made, path, every=0, most=2))
    assert torch.equal(plain.state, shown.state)
    assert len(seen) == 8 and seen[0].shape == (12, 22, 3)  # two pictures of 8 pixels, and gaps
    assert not np.array_equal(seen[0], seen[3])
    last = made.modality.sheet([shown[3], shown[4]])  # the belief of the last step is what it gives
    assert np.abs(np.asarray(last, int) - seen[-1]).max() <= 1
    assert [p.name for p in tmp_path.iterdir()] == ["now.png"]


def test_pictures_are_rare_where_steps_are_fast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, count = model(), [0]
    monkeypatch.setattr(previews, "write_atomic", lambda *_: count.__setitem__(0, count[0] + 1))
    made.sample(2, prompt="a", steps=6, watch=lv.preview(made, tmp_path / "a.webp", every=3600))
    assert count == [1]


def test_a_disk_that_is_full_ends_previews_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    made = model()
    monkeypatch.setattr(previews, "write_atomic", full)
    assert len(made.sample(2, prompt="a", steps=3, watch=lv.preview(made, tmp_path / "a.png", every=0))) == 2
    assert capsys.readouterr().err.count("no more previews") == 1


def test_what_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a preview is a picture \(.png"):
        lv.preview(model(), tmp_path / "a.gif")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        lv.preview(model(), tmp_path / "no" / "a.png")
    with pytest.raises(ValueError, match="every must be seconds from 0"):
        lv.preview(model(), tmp_path / "a.png", every=float("nan"))
