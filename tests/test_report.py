"""Pages hold all they show: text is escaped, pictures are data, and outside resources are refused."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from langevin.report import (
    Code,
    Figure,
    Gallery,
    Html,
    Page,
    Section,
    Text,
    external_resources,
    once,
    picture_html,
)
from langevin.tables import Table

IMAGE = Image.new("RGB", (16, 16), (200, 30, 30))


def test_text_is_escaped_everywhere() -> None:
    evil = "<script>alert(1)</script>"
    page = Page(
        evil,
        (
            Section(
                evil,
                evil,
                (
                    Text(evil),
                    Code(evil),
                    Table([{evil: evil}], evil),
                    Gallery([Figure.picture(IMAGE, evil, evil, evil), Figure.failure(evil, evil)]),
                ),
            ),
        ),
        subtitle=evil,
        facts={evil: evil},
        footer=(evil,),
    )
    html = page.html()
    assert evil not in html and html.count("&lt;script&gt;") == 18


def test_parts_are_rendered_in_order() -> None:
    page = Page("T", [Section(name, "about `code`") for name in "ABC"], facts={"steps": 20, "none": None})
    html = page.html()
    assert html.index('id="s0"') < html.index('id="s1"') < html.index('id="s2"')
    assert '<a href="#s1">B</a>' in html and "<code>code</code>" in html and "<dd>20</dd>" in html
    assert "default-src 'none'" in html and html.index("Content-Security-Policy") < html.index("<style>")


def test_small_pictures_are_enlarged_without_smoothing() -> None:
    assert 'class="pixels"' in picture_html(IMAGE) and "pixels" not in picture_html(IMAGE.resize((300, 300)))


def test_pictures_come_from_images_bytes_and_figures() -> None:
    buffer = io.BytesIO()
    IMAGE.save(buffer, format="JPEG")
    assert "data:image/jpeg" in picture_html(buffer.getvalue())
    assert "data:image/svg+xml" in picture_html(b"<svg xmlns='http://www.w3.org/2000/svg'/>")

    class Figure_:
        def savefig(self, target: io.BytesIO, **options: object) -> None:
            IMAGE.save(target, format="PNG")

    assert "data:image/png" in picture_html(Figure_())
    for wrong in (b"GIF", "path.png", 3):
        with pytest.raises(TypeError):
            picture_html(wrong)


@pytest.mark.parametrize(
    ("fragment", "found"),
    [
        ('<img src="https://x.org/a.png">', ["https://x.org/a.png"]),
        ('<img src="a.png">', ["a.png"]),
        ('<script src="//cdn.x.org/3d.js"></script>', ["//cdn.x.org/3d.js"]),
        ('<link rel="stylesheet" href="style.css">', ["style.css"]),
        ('<video poster="p.jpg" src="data:video/mp4;base64,AA"></video>', ["p.jpg"]),
        ('<p style="background:url(http://x.org/b.png)">', ["http://x.org/b.png"]),
        ("<style>@import 'x.css'; a{background:url( \"y.png\" )}</style>", ["y.png", "x.css"]),
        ('<meta http-equiv="refresh" content="0; url=https://x.org">', ["0; url=https://x.org"]),
        ('<iframe src="file:///etc/passwd"></iframe>', ["file:///etc/passwd"]),
        ('<svg><use href="#a"/><image xlink:href="b.png"/></svg>', ["b.png"]),
        ('<a href="https://x.org">licence</a><img src="data:image/png;base64,AA"><img src="blob:x">', []),
    ],
)
def test_outside_resources_are_found_and_refused(fragment: str, found: list[str]) -> None:
    assert external_resources(fragment) == found
    page = Page("T", [Section("S", blocks=[Html(fragment)])])
    if found:
        with pytest.raises(ValueError, match="must hold all it shows"):
            page.html()
    else:
        assert page.html()


def test_a_shared_script_is_kept_once() -> None:
    """The first of each name stays; other scripts, and text that looks like one, are left alone."""
    one, two = (f'<script data-once="{name}">let {name}\n= "</b>";</script>' for name in ("one", "two"))
    page = Page(
        "T", [Section("S", blocks=[Html(f"{one}<i>1</i>"), Html(two), Html(f"{one}<i>2</i>"), Text(one)])]
    )
    html = page.html()
    assert html.count(one) == 1 and html.count(two) == 1 and html.index(one) < html.index("<i>1</i><")
    assert "<i>2</i>" in html and html.count("&lt;script data-once") == 1
    assert once(one + two + one) == one + two and once("<script>1</script>" * 2) == "<script>1</script>" * 2


def test_a_page_is_written_whole(tmp_path: Path) -> None:
    path = Page("T").write(tmp_path / "deep" / "page.html")
    assert (
        path.read_text(encoding="utf-8").startswith("<!doctype html>")
        and len(list(path.parent.iterdir())) == 1
    )
