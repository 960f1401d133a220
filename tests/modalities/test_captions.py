from __future__ import annotations

import json
from pathlib import Path

import pytest

from langevin.modalities import captions

NAMES = ("a.wav", "b.wav", "c.wav")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def find(folder: Path, wanted: str = "auto") -> captions.Found:
    return captions.find(folder, captions.listing(folder, (".wav",), "sounds"), wanted, "sounds")


def test_files_by_name_without_hidden_ones(folder):
    (folder / ".hidden.wav").write_bytes(b"x")
    (folder / ".git").mkdir()
    (folder / ".git" / "d.wav").write_bytes(b"x")
    (folder / "sub").mkdir()
    (folder / "sub" / "D.WAV").write_bytes(b"x")
    assert [f.name for f in captions.listing(folder, (".wav",), "sounds")] == [*NAMES, "D.WAV"]
    with pytest.raises(ValueError, match=r"holds no sounds \(\.mp3\): its 4 files have other endings"):
        captions.listing(folder, (".mp3",), "sounds")
    with pytest.raises(NotADirectoryError, match="a folder of sounds was expected"):
        captions.listing(folder / "a.wav", (".wav",), "sounds")
    with pytest.raises(FileNotFoundError):
        captions.listing(folder / "absent", (".wav",), "sounds")


@pytest.mark.parametrize("kind", ["txt", "jsonl", "csv"])
@pytest.mark.parametrize("key", ["text", "caption"])
def test_captions(folder, kind, key):
    if kind == "txt":
        for name in NAMES:
            (folder / name).with_suffix(".txt").write_text(f" {name}, said \n", encoding="utf-8-sig")
    elif kind == "jsonl":
        rows = [json.dumps({"file_name": name, key: f"{name}, said"}) for name in NAMES]
        (folder / "metadata.jsonl").write_text("\n\n".join(rows))
    else:
        rows = [f'{name},"{name}, said"' for name in NAMES]
        (folder / "metadata.csv").write_text("\n".join([f"file_name,{key}", *rows]))
    found = find(folder)
    assert found.condition == "prompt"
    assert list(found.values.values()) == [f"{name}, said" for name in NAMES]
    assert not found.problems
    assert find(folder, "none") == captions.Found()


def test_missing_and_foreign_entries_are_named(folder):
    rows = [{"file_name": n, "text": "x"} for n in ("a.wav", "b.wav", "../c.wav", "d.wav")]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    reasons = {p.file.name: p.reason for p in find(folder).problems}
    assert reasons["d.wav"] == "listed in metadata.jsonl, but there is no such file"
    assert reasons["c.wav"] == "no entry in metadata.jsonl"
    assert any("lies outside" in p.reason for p in find(folder).problems)
    assert "3 of its files cannot be used" in captions.report(folder, find(folder).problems)
    many = [captions.Problem(Path(f"{i}.wav"), "bad") for i in range(12)]
    assert captions.report(folder, many).endswith("and 2 more")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"file_name": "a.wav"}', "entry 1: needs file_name and text"),
        ("{oops", "line 1: not JSON"),
        ("[1]", "entry 1"),
    ],
)
def test_tables_that_cannot_be_read(folder, text, message):
    (folder / "metadata.jsonl").write_text(text)
    with pytest.raises(ValueError, match=message):
        find(folder)
    (folder / "metadata.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="UTF-8"):
        find(folder)


def test_class_folders(folder):
    assert find(folder) == captions.Found()
    with pytest.raises(ValueError, match="no class folders"):
        find(folder, "label")
    with pytest.raises(ValueError, match="has no captions"):
        find(folder, "prompt")
    with pytest.raises(ValueError, match="did you mean 'prompt'"):
        find(folder, "promt")
    for name in NAMES:
        home = folder / ("low" if name == "a.wav" else "high")
        home.mkdir(exist_ok=True)
        (folder / name).rename(home / name)
    found = find(folder)
    assert found.condition == "label"
    assert sorted(found.values.values()) == ["high", "high", "low"]
    (folder / "top.wav").write_bytes(b"x")
    with pytest.raises(ValueError, match="both at the top and in sub-folders"):
        find(folder)
