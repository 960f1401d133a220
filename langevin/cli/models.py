"""``langevin models``: what ships, what it was trained on, under which licence."""

from __future__ import annotations

import json
from collections.abc import Sequence

from langevin import hub
from langevin.cli.arguments import Parser
from langevin.tables import Table

__all__ = ["run"]


def run(argv: Sequence[str]) -> int:
    """Print a table of the shipped models, or JSON."""
    parser = Parser(prog="langevin models", description="List the models that ship with langevin.")
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    args = parser.parse(argv)
    models = hub.models()
    if args.json:
        print(json.dumps([model.as_dict() for model in models], ensure_ascii=False, indent=1))
        return 0
    rows = [
        {
            "name": model.name,
            "modality": model.modality,
            "parameters": _size(model.parameters),
            "conditions": ", ".join(model.conditions) or "–",
            "licence": model.licence,
            "summary": model.summary,
        }
        for model in models
    ]
    print(Table(rows).text() if rows else "no models ship with this installation")
    for model in models:
        if model.attribution:
            print(f"\n{model.name}: {model.attribution}", end="")
    if any(model.attribution for model in models):
        print()
    return 0


def _size(parameters: int) -> str:
    return f"{parameters / 1e6:.1f} M" if parameters >= 1e5 else f"{parameters / 1e3:.1f} k"
