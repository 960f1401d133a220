"""A page as a browser shows it: not blank, nothing asked of the network, light and dark."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from langevin.report import Code, Figure, Gallery, Page, Section, Text, external_resources
from langevin.tables import Table
from tests.browser import colours, needs_browser, screenshot

pytestmark = [pytest.mark.browser, needs_browser]


def page() -> Page:
    """A page with one of everything."""
    pictures = []
    for k in range(10):
        picture = Image.new("RGB", (16, 16))
        picture.putdata(
            [((x * 16 + 25 * k) % 256, (y * 16) % 256, 25 * k) for y in range(16) for x in range(16)]
        )
        pictures.append(Figure.picture(picture, f"gradient number {k}", f"# {k}"))
    failed = Figure.failure("valence of nitrogen is 5", "a molecule that could not be built", "# 10")
    rows = [
        {
            "model": "image-digits",
            "accuracy": 0.9834,
            "interval": "0.975 … 0.989",
            "evaluations": 20,
            "n": 1000,
        },
        {
            "model": "real, held out",
            "accuracy": 0.9921,
            "interval": "0.985 … 0.996",
            "evaluations": None,
            "n": 1000,
        },
    ]
    return Page(
        "Ten gradients and a failure",
        (
            Section(
                "Samples", "Consecutive samples of one seed, none left out.", (Gallery([*pictures, failed]),)
            ),
            Section(
                "Metrics",
                "Judged by a classifier that was trained on real data apart from the generator.",
                (Table(rows, "Accuracy by `judge`, with 95 % intervals."), Text("The floor is a real half.")),
            ),
            Section(
                "Again", "The same samples, from Python.", (Code("import langevin as lv\n\nlv.load('x')"),)
            ),
        ),
        subtitle="What a page looks like when it holds pictures, a table, text and code.",
        facts={
            "model": "toy-gradients",
            "samples": 11,
            "sampler": "dpm++2m",
            "steps": 20,
            "guidance": 4.0,
            "seed": 0,
        },
        footer=("Weights: CC0-1.0.", "Gradients by nobody."),
    )


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_is_shown(tmp_path: Path, dark: bool) -> None:
    path = page().write(tmp_path / "page.html")
    assert external_resources(path.read_text(encoding="utf-8")) == []
    picture = screenshot(path, tmp_path, dark=dark)
    assert colours(picture) > 200
    corner = picture.getpixel((5, 5))
    assert isinstance(corner, tuple) and (max(corner) < 64 if dark else min(corner) > 192)


def test_nothing_is_asked_of_the_network(tmp_path: Path) -> None:
    """The policy stops what a script tries: the picture's failure turns the page black, its success white."""
    html = page().html()
    attempt = (
        "<script>const p = new Image(); p.onerror = () => document.body.innerHTML = "
        "'<div style=\"position:fixed;inset:0;background:#000\"></div>'; p.src = 'other.png';</script></body>"
    )
    Image.new("RGB", (4, 4), "red").save(tmp_path / "other.png")
    (tmp_path / "page.html").write_text(html.replace("</body>", attempt), encoding="utf-8")
    assert colours(screenshot(tmp_path / "page.html", tmp_path)) == 1
