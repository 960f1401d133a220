"""Model folders are data: hostile ones are refused and run nothing; files are written whole or not at all."""

from __future__ import annotations

import json
import os
import pickle
import signal
import struct
import subprocess
import sys
import textwrap
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from langevin import trees
from langevin.folders import (
    CARD,
    CONFIG,
    WEIGHTS,
    FolderError,
    member,
    read_card,
    read_config,
    read_header,
    read_weights,
    write_atomic,
    write_model,
)

CONFIGURATION = {
    "name": "tiny",
    "modality": "image",
    "widths": [1, 2],
    "rate": 1e-05,
    "note": "no: “quoted”, 1e-4 🍎",
}


def tensors() -> dict[str, torch.Tensor]:
    return {
        "a.weight": torch.arange(6, dtype=torch.float16).reshape(2, 3),
        "a.bias": torch.zeros(0),
        "steps": torch.tensor(7),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model(tmp_path / "tiny", CONFIGURATION, tensors(), "# Tiny\n")


def header(path: Path, entries: object, data: bytes = b"", length: int | None = None) -> None:
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)


def one(dtype: object = "F32", shape: object = (1,), offsets: object = (0, 4)) -> dict[str, object]:
    return {"w": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


class TestRoundTrip:
    def test_what_is_written_is_read(self, folder: Path) -> None:
        config = read_config(folder)
        assert {key: config[key] for key in CONFIGURATION} == CONFIGURATION
        assert config["format"] == 1 and config["weights"]["bytes"] == (folder / WEIGHTS).stat().st_size
        again = read_weights(folder)
        assert set(again) == set(tensors())
        for name, tensor in tensors().items():
            assert again[name].dtype == tensor.dtype and torch.equal(again[name], tensor)
        assert read_card(folder) == "# Tiny\n"
        assert sorted(p.name for p in folder.iterdir()) == sorted([CARD, CONFIG, WEIGHTS])

    def test_the_header_tells_shapes_without_tensors(self, folder: Path) -> None:
        entries = read_header(folder)
        assert entries["a.weight"].shape == (2, 3) and entries["a.weight"].dtype == "F16"
        assert entries["a.weight"].numel == 6 and entries["steps"].numel == 1

    def test_shared_and_transposed_tensors_are_stored(self, tmp_path: Path) -> None:
        weight = torch.arange(6.0).reshape(2, 3)
        write_model(tmp_path, {}, {"a": weight, "b": weight, "c": weight.T}, "")
        again = read_weights(tmp_path)
        assert torch.equal(again["b"], weight) and torch.equal(again["c"], weight.T)

    def test_a_model_is_overwritten_and_other_files_stay(self, folder: Path) -> None:
        (folder / "notes.txt").write_text("mine")
        write_model(folder, {"name": "other"}, {"x": torch.ones(2)}, "new")
        assert read_config(folder)["name"] == "other" and set(read_weights(folder)) == {"x"}
        assert (folder / "notes.txt").read_text() == "mine"

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_weights_that_are_not_finite_are_not_written(self, folder: Path, bad: float) -> None:
        with pytest.raises(FolderError, match="'x' holds NaN or infinity"):
            write_model(folder, {"name": "other"}, {"x": torch.tensor([1.0, bad])}, "new")
        assert read_config(folder)["name"] == "tiny"

    @pytest.mark.parametrize(
        "config", [{"x": object()}, {"x": {1: 2}}, {"x": "${oc.env:HOME}"}, {"_target_": "os.system"}]
    )
    def test_a_configuration_that_could_not_be_read_is_not_written(self, folder: Path, config: dict) -> None:
        with pytest.raises(FolderError, match="cannot be stored"):
            write_model(folder, config, tensors(), "")
        assert read_config(folder)["name"] == "tiny" and read_weights(folder)
        assert sorted(p.name for p in folder.iterdir()) == sorted([CARD, CONFIG, WEIGHTS])


class TestPlainTrees:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("no", "no"),
            ("on", "on"),
            ("true", True),
            ("1e-4", 1e-4),
            ("1.5e3", 1500.0),
            (".inf", float("inf")),
            ("010", "010"),
            ("1:30", "1:30"),
            ("2026-01-02", "2026-01-02"),
            ("-3", -3),
            ("~", None),
            ("", None),
        ],
    )
    def test_scalars_are_those_of_yaml_1_2(self, text: str, value: object) -> None:
        read = trees.read(f"x: {text}")["x"]
        assert read == value and type(read) is type(value)

    values = st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text(st.characters(exclude_categories=["Cs"])),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
        max_leaves=10,
    )

    @settings(max_examples=80, deadline=None)
    @given(tree=values)
    def test_trees_survive_being_written(self, tree: object) -> None:
        try:
            text = trees.write(tree)
        except trees.TreeError as error:  # only for what is refused on purpose
            assert "interpolation" in str(error) or "hydra" in str(error)
            return
        assert trees.read(text) == tree

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("x: !!python/object/apply:os.system ['touch planted']", "could not determine a constructor"),
            ("x: !!python/name:os.system", "could not determine a constructor"),
            ("!!python/object/new:subprocess.Popen [[touch, planted]]", "could not determine a constructor"),
            ("x: !!binary aGVsbG8=", "not a plain value"),
            ("x: !!set {a, b}", "not a plain value"),
            ("x: {_target_: os.system}", "x._target_: instructions to hydra"),
            ("_partial_: true", "instructions to hydra"),
            ("x: ${oc.env:HOME}", "x: .* interpolation"),
            ("x: [1, 'a ${y}']", "interpolation"),
            ("x: 1\nx: 2", "line 2: the key 'x' stands there twice"),
            ("1: x", "a key must be a string"),
            ("? [a]\n: x", "a key must be a string"),
            ("<<: &a {x: 1}\n!!merge <<: *a", "a key must be a string"),
            ("x: [1", "expected"),
            ("x: 1\n---\ny: 2", "single document"),
            ("x: \x00", "special characters"),
            ("x: " + "9" * 5000, "integer string conversion"),
            ("x: &a [*a]", "nested too deeply"),
            ("x: " + "[" * 3000, "nested too deeply"),
            ("a: &a 1\nx: [" + "*a, " * 100 + "]", "more than 64 aliases"),
            ("x: '" + "a" * (1 << 20) + "'", "larger than"),
        ],
    )
    def test_what_is_not_plain_is_refused(self, text: str, message: str) -> None:
        with pytest.raises(trees.TreeError, match=message):
            trees.read(text)

    def test_a_billion_laughs_are_refused_at_once(self) -> None:
        lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
        lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 7)]
        started = time.process_time()
        with pytest.raises(trees.TreeError, match="entries"):
            trees.read("\n".join(lines))
        assert time.process_time() - started < 20


class TestHostileFolders:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("name: x", "`format: 1` is missing"),
            ("format: true", "`format: 1` is missing"),
            ("format: '1'", "`format: 1` is missing"),
            ("format: 2", "newer langevin"),
            ("format: 0", "no langevin"),
            ("- 1", "expected a mapping"),
            ("", "expected a mapping"),
        ],
    )
    def test_configurations_of_another_format_are_refused(
        self, folder: Path, text: str, message: str
    ) -> None:
        (folder / CONFIG).write_text(text)
        with pytest.raises(FolderError, match=message):
            read_config(folder)

    def test_text_that_is_not_utf8_is_refused(self, folder: Path) -> None:
        (folder / CONFIG).write_bytes(b"format: 1\nname: \xff\xfe")
        with pytest.raises(FolderError, match="utf-8"):
            read_config(folder)

    @pytest.mark.parametrize("kind", ["pickle", "torch", "legacy"])
    def test_pickles_are_refused_and_run_nothing(self, folder: Path, tmp_path: Path, kind: str) -> None:
        planted = tmp_path / "planted"

        class Trap:
            def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
                return Path.touch, (planted,)

        path = folder / WEIGHTS
        if kind == "pickle":
            path.write_bytes(pickle.dumps(Trap()))
        else:
            torch.save({"w": Trap()}, path, _use_new_zipfile_serialization=kind == "torch")
        for verify in (True, False):
            with pytest.raises(FolderError, match="pickle|zip archive"):
                read_weights(folder, verify=verify)
        assert not planted.exists()
        with path.open("rb") as file:  # the trap is a real one
            if kind == "pickle":
                pickle.load(file)
                assert planted.exists()

    def test_a_zip_archive_is_refused(self, folder: Path) -> None:
        with zipfile.ZipFile(folder / WEIGHTS, "w") as archive:
            archive.writestr("x", "y")
        with pytest.raises(FolderError, match="zip archive"):
            read_weights(folder)

    @pytest.mark.parametrize("length", [0x4B50, 0x0280], ids=["zip", "pickle"])
    def test_a_header_whose_length_begins_like_another_format_is_read(
        self, tmp_path: Path, length: int
    ) -> None:
        text = json.dumps(one()).encode().ljust(length)
        (tmp_path / WEIGHTS).write_bytes(struct.pack("<Q", length) + text + struct.pack("<f", 2.0))
        assert read_weights(tmp_path, verify=False)["w"].item() == 2.0

    @pytest.mark.parametrize(
        ("entries", "data", "message"),
        [
            (one(shape=[10**9, 10**9], offsets=[0, 4 * 10**18]), b"", "not a list of sizes"),
            (one(shape=[10**9, 10**9], offsets=[0, 4]), bytes(4), "needs 4000000000000000000 bytes, not 4"),
            (one(shape=[2**32, 2**32], offsets=[0, 0]), b"", "needs 73786976294838206464 bytes"),
            (one(shape=[2**80], offsets=[0, 4]), bytes(4), "not a list of sizes"),
            (one(shape=[-1], offsets=[0, 4]), bytes(4), "not a list of sizes"),
            (one(shape=[True], offsets=[0, 4]), bytes(4), "not a list of sizes"),
            (one(shape=[1.0], offsets=[0, 4]), bytes(4), "not a list of sizes"),
            (one(shape="1", offsets=[0, 4]), bytes(4), "not a list of sizes"),
            (one(shape=[1] * 17), bytes(4), "17 axes"),
            (one(offsets=[0, 4, 8]), bytes(4), "3 offsets"),
            (one(offsets=[4, 0]), bytes(4), "needs 4 bytes, not -4"),
            (one(offsets=[4, 8]), bytes(8), "starts at byte 4"),
            (one(), bytes(3), "need 4 bytes and 3 are there"),
            (one(), bytes(8), "need 4 bytes and 8 are there"),
            (one(dtype="F4"), bytes(4), "dtype 'F4'"),
            (one(dtype=["F32"]), bytes(4), "dtype"),
            ({**one(), "v": one()["w"]}, bytes(4), "overlap or gap"),
            ({"w": [1, 2]}, b"", "not declared by"),
            ({"w": {"dtype": "F32"}}, b"", "not declared by"),
            ([1, 2], b"", "not a mapping"),
            (b'{"w": 1, "w": 2}', b"", "twice"),
            (b"[" * 100_000, b"", "not JSON"),
            (b"{not json}", b"", "not JSON"),
            (b"\xff\xff\xff\xff", b"", "not JSON"),
        ],
    )
    def test_headers_that_lie_are_refused(
        self, folder: Path, entries: object, data: bytes, message: str
    ) -> None:
        header(folder / WEIGHTS, entries, data)
        with pytest.raises(FolderError, match=message):
            read_weights(folder, verify=False)

    @pytest.mark.parametrize(
        "data", [b"", b"\x00", bytes(8), b"\xff" * 8, b"\xff" * 100, struct.pack("<Q", 2**63) + b"{}"]
    )
    def test_files_that_are_something_else_are_refused(self, folder: Path, data: bytes) -> None:
        (folder / WEIGHTS).write_bytes(data)
        with pytest.raises(FolderError):
            read_weights(folder, verify=False)

    @settings(max_examples=25, deadline=None)
    @given(cut=st.integers(0, 400))
    def test_every_truncation_is_refused(self, tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
        folder = write_model(tmp_path_factory.mktemp("cut"), {}, tensors(), "")
        whole = (folder / WEIGHTS).read_bytes()
        cut = min(cut, len(whole) - 1)
        (folder / WEIGHTS).write_bytes(whole[:cut])
        with pytest.raises(FolderError):
            read_weights(folder, verify=False)

    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
    def test_weights_that_are_not_finite_are_refused_by_name(self, folder: Path, bad: float) -> None:
        header(folder / WEIGHTS, one(), struct.pack("<f", bad))
        with pytest.raises(FolderError, match="the tensor 'w' holds NaN or infinity"):
            read_weights(folder, verify=False)

    def test_weights_of_another_model_are_refused(self, folder: Path) -> None:
        header(folder / WEIGHTS, one(), struct.pack("<f", 1.0))
        with pytest.raises(FolderError, match="not the file that config"):
            read_weights(folder)
        assert read_weights(folder, verify=False)["w"].item() == 1.0

    @pytest.mark.parametrize("name", [CONFIG, WEIGHTS, CARD])
    def test_links_out_of_the_folder_are_refused(self, folder: Path, tmp_path: Path, name: str) -> None:
        outside = (folder / name).rename(tmp_path / "outside")
        (folder / name).symlink_to(outside)
        with pytest.raises(FolderError, match="leads out of the folder"):
            {CONFIG: read_config, WEIGHTS: read_weights, CARD: read_card}[name](folder)

    def test_links_inside_the_folder_are_followed(self, folder: Path) -> None:
        (folder / CONFIG).rename(folder / "real.yaml")
        (folder / CONFIG).symlink_to("real.yaml")
        assert read_config(folder)["name"] == "tiny"

    @pytest.mark.parametrize(
        "name", ["../x", "a/../../x", "/etc/passwd", "..", "", "a\0b", "..\\x", "C:x", "a/..", "."]
    )
    def test_names_that_climb_are_refused(self, folder: Path, name: str) -> None:
        with pytest.raises(FolderError):
            member(folder, name)

    def test_what_is_not_a_regular_file_is_refused_without_waiting(self, folder: Path) -> None:
        for make in (os.mkfifo, os.mkdir):
            (folder / CONFIG).unlink()
            make(folder / CONFIG)
            with pytest.raises(FolderError, match="not a regular file"):
                read_config(folder)
            if make is os.mkdir:
                (folder / CONFIG).rmdir()
        (folder / CONFIG).symlink_to(CONFIG)
        with pytest.raises(FolderError):
            read_config(folder)

    def test_absent_files_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(FolderError, match=r"has no config\.yaml"):
            read_config(tmp_path)
        with pytest.raises(FolderError, match=r"has no model\.safetensors"):
            read_weights(tmp_path)


class TestWriteAtomic:
    def test_bytes_text_and_writers(self, tmp_path: Path) -> None:
        assert write_atomic(tmp_path / "a.bin", b"\x00\x01").read_bytes() == b"\x00\x01"
        assert write_atomic(tmp_path / "b.txt", "é🍎").read_text(encoding="utf-8") == "é🍎"
        suffixes = []

        def writer(path: Path) -> None:
            suffixes.append(path.suffix)
            path.write_text("c")

        assert write_atomic(tmp_path / "c.png", writer).read_text() == "c"
        assert suffixes == [".png"]
        assert sorted(p.name for p in tmp_path.iterdir()) == ["a.bin", "b.txt", "c.png"]

    @pytest.mark.parametrize(
        "failure", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError("x")]
    )
    def test_a_failure_leaves_the_old_file_and_nothing_else(
        self, tmp_path: Path, failure: BaseException
    ) -> None:
        path = write_atomic(tmp_path / "a.txt", "old")

        def writer(temporary: Path) -> None:
            temporary.write_text("half of the n")
            raise failure

        with pytest.raises(type(failure)):
            write_atomic(path, writer)
        assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]

    def test_permissions_follow_the_umask(self, tmp_path: Path, folder: Path) -> None:
        ordinary = tmp_path / "ordinary"
        ordinary.write_text("x")
        mode = ordinary.stat().st_mode
        assert write_atomic(tmp_path / "atomic", "x").stat().st_mode == mode
        assert {path.stat().st_mode for path in folder.iterdir()} == {mode}

    @pytest.mark.skipif(sys.platform == "win32", reason="limits and signals are those of POSIX")
    def test_a_full_disk_leaves_the_old_file(self, tmp_path: Path) -> None:
        path = write_atomic(tmp_path / "a.bin", b"old")
        script = f"""
            import resource, signal
            from langevin.folders import write_atomic
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
            try:
                write_atomic({str(path)!r}, bytes(100_000))
            except OSError as error:
                print(type(error).__name__)
        """
        out = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
        )
        assert out.stdout.strip() == "OSError"
        assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]

    @pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
    def test_a_killed_writer_leaves_the_old_file_whole(self, tmp_path: Path) -> None:
        path = write_atomic(tmp_path / "a.bin", b"old" * 1000)
        script = f"""
            import sys, time
            from langevin.folders import write_atomic
            def writer(temporary):
                with temporary.open("wb") as file:
                    file.write(b"new" * 500)
                    file.flush()
                    print("half", flush=True)
                    time.sleep(60)
            write_atomic({str(path)!r}, writer)
        """
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None and process.stdout.readline() == "half\n"
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert path.read_bytes() == b"old" * 1000

    @pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
    def test_a_killed_overwrite_of_a_model_is_whole_or_noticed(self, folder: Path) -> None:
        script = f"""
            import torch
            from langevin.folders import write_model
            for step in range(100_000):
                write_model({str(folder)!r}, {{"name": str(step)}}, {{"x": torch.full((9,), 1.0 * step)}}, "")
                print(step, flush=True)
        """
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            while int(process.stdout.readline()) < 8:
                pass
            process.send_signal(signal.SIGKILL)
            process.wait()
        try:
            name, weights = read_config(folder)["name"], read_weights(folder)
        except FolderError as error:
            assert "not the file" in str(error)
        else:
            assert (weights["x"] == float(name)).all()
