"""Who may import whom: the core stands alone, modalities do not know one another."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import langevin

PACKAGE = Path(langevin.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path, everywhere: bool) -> Iterator[tuple[str, int]]:
    """Modules that a file imports, absolute, with their lines; those under TYPE_CHECKING are left out.

    Args:
        path: a file of the package.
        everywhere: also inside functions, not only when the module is imported.
    """
    home = ("langevin", *path.relative_to(PACKAGE).parent.parts)

    def walk(node: ast.AST) -> Iterator[tuple[str, int]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) and not everywhere:
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, child.lineno) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = home[: len(home) - child.level + 1] if child.level else ()
                module = ".".join((*base, *filter(None, [child.module])))
                yield from ((f"{module}.{alias.name}", child.lineno) for alias in child.names)
            yield from walk(child)

    yield from walk(ast.parse(path.read_text(encoding="utf-8")))


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0]


@pytest.mark.parametrize(
    "path", [p for p in FILES if part(p) == "core"], ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_core_imports_torch_einops_and_itself(path: Path) -> None:
    allowed = {"torch", "einops", *sys.stdlib_module_names}
    for module, line in imports(path, everywhere=False):
        top, inside = module.partition(".")[0], module.startswith("langevin.core")
        assert top in allowed or inside, f"{path.name}:{line} imports {module} when it is loaded"
    for module, line in imports(path, everywhere=True):
        for forbidden in ("modalities", "bridge", "cli"):
            assert not module.startswith(f"langevin.{forbidden}"), f"{path.name}:{line} imports {module}"


@pytest.mark.parametrize(
    "path", [p for p in FILES if part(p) == "modalities"], ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_a_modality_imports_no_other(path: Path) -> None:
    parts = path.relative_to(PACKAGE).parts
    own = parts[1] if len(parts) > 2 else None
    others = {p.name for p in (PACKAGE / "modalities").iterdir() if p.is_dir()} - {own}
    for module, line in imports(path, everywhere=True):
        names = module.split(".")
        other = names[:2] == ["langevin", "modalities"] and len(names) > 2 and names[2] in others
        assert not other, f"{path.name}:{line} imports {module}"
        assert names[:2] != ["langevin", "cli"], f"{path.name}:{line} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_packages_that_bring_torchaudio_are_imported_through_optional(path: Path) -> None:
    guarded = {"torchaudio", "transformers", "diffusers", "peft"}
    for module, line in imports(path, everywhere=True):
        assert module.partition(".")[0] not in guarded, (
            f"{path.name}:{line} imports {module}; use langevin.optional"
        )


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_runs_foreign_code(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in (
                "eval",
                "exec",
                "pickle.load",
                "pickle.loads",
                "torch.load",
                "yaml.load",
                "os.system",
            ) or (path.name == "trees.py" and called == "yaml.load"), (
                f"{path.name}:{node.lineno} calls {called}"
            )
    for module, line in imports(path, everywhere=True):
        assert module.partition(".")[0] not in ("pickle", "shelve", "marshal", "dill"), (
            f"{path.name}:{line}: {module}"
        )
