"""Self-contained pages: results that open anywhere, years later, without a network.

A page is composed of plain frozen parts and rendered in one go:

    Page("Apples", sections=(Section("Samples", blocks=(Gallery([Figure.picture(image, "a red
    apple")]),)),)).write("apples.html")

Pictures, sounds and viewers are inside the file as data; text is escaped; the page follows the reader's
light or dark setting. A content security policy forbids every request, and :meth:`Page.html` refuses a
fragment that names an outside resource, so that a page which needs the network can not be written by mistake.
Fragments that share a script carry it each, as ``<script data-once="name">``; a page keeps the first of a name.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from langevin import __version__
from langevin.folders import write_atomic
from langevin.tables import Table, shown

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "Code",
    "Figure",
    "Gallery",
    "Html",
    "Page",
    "Section",
    "Text",
    "external_resources",
    "once",
    "picture_html",
]

POLICY = (
    "default-src 'none'; img-src data: blob:; media-src data: blob:; font-src data:; "
    "connect-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; worker-src blob:; "
    "base-uri 'none'; form-action 'none'"
)
SCRIPT = """
document.addEventListener('click', async event => {
  const button = event.target.closest('button.copy');
  if (!button) return;
  const text = button.parentElement.querySelector('pre').textContent;
  try { await navigator.clipboard.writeText(text); button.textContent = 'copied'; }
  catch { getSelection().selectAllChildren(button.parentElement.querySelector('pre')); button.textContent =
  'selected'; } setTimeout(() => { button.textContent = 'copy'; }, 1500);
});
"""


def picture_html(picture: Any, alt: str = "", pixels: bool | None = None) -> str:
    """An ``<img>`` that holds its picture.

    Args:
        picture: a PIL image, a matplotlib figure, or the bytes of a PNG, JPEG, GIF, WebP or SVG file.
        alt: what it shows, for those who do not see it.
        pixels: enlarge without smoothing; for pictures of up to 160 pixels a side when None.

    Raises:
        TypeError: something else.
    """
    if hasattr(picture, "savefig"):
        buffer = io.BytesIO()
        picture.savefig(buffer, format="png", dpi=160, bbox_inches="tight")
        data, pixels = buffer.getvalue(), bool(pixels)
    elif isinstance(picture, bytes):
        data, pixels = picture, bool(pixels)
    elif hasattr(picture, "save") and hasattr(picture, "size"):
        data = _png(picture)
        pixels = max(picture.size) <= 160 if pixels is None else pixels
    else:
        raise TypeError(
            f"a picture is a PIL image, a matplotlib figure or bytes, not {type(picture).__name__}"
        )
    kind = next((kind for lead, kind in _KINDS.items() if data.startswith(lead)), None)
    if kind is None:
        raise TypeError(f"bytes that start with {data[:8]!r} are not a PNG, JPEG, GIF, WebP or SVG file")
    style = ' class="pixels"' if pixels else ""
    return (
        f'<img{style} alt="{escape(alt)}" src="data:image/{kind};base64,{base64.b64encode(data).decode()}">'
    )


_KINDS = {
    b"\x89PNG": "png",
    b"\xff\xd8\xff": "jpeg",
    b"GIF8": "gif",
    b"RIFF": "webp",
    b"<svg": "svg+xml",
    b"<?xml": "svg+xml",
}


def _png(image: Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


@dataclass(frozen=True)
class Figure:
    """One card of a gallery.

    Attributes:
        html: a trusted fragment: a picture, a player, a viewer.
        caption: plain text below it.
        note: plain text in a quieter voice.
        failed: set apart as something that could not be shown; ``html`` is then the reason.
    """

    html: str
    caption: str = ""
    note: str = ""
    failed: bool = False

    @staticmethod
    def picture(picture: Any, caption: str = "", note: str = "", alt: str | None = None) -> Figure:
        """A card with a picture (:func:`picture_html`), described by its caption unless ``alt`` is given."""
        return Figure(picture_html(picture, caption if alt is None else alt), caption, note)

    @staticmethod
    def failure(reason: str, caption: str = "", note: str = "") -> Figure:
        """A card that says why there is nothing to see."""
        return Figure(escape(reason), caption, note, failed=True)

    def render(self) -> str:
        """The card."""
        note = f'<span class="note">{escape(self.note)}</span>' if self.note else ""
        caption = f"<figcaption>{escape(self.caption)}{note}</figcaption>" if self.caption or note else ""
        style = ' class="failed"' if self.failed else ""
        return f'<figure{style}><div class="body">{self.html}</div>{caption}</figure>'


@dataclass(frozen=True)
class Gallery:
    """Cards in as many columns as fit; ``size`` is their least width in pixels."""

    figures: Sequence[Figure]
    size: int = 150

    def render(self) -> str:
        """The cards in a grid."""
        cards = "".join(figure.render() for figure in self.figures)
        return f'<div class="gallery" style="--size:{self.size}px">{cards}</div>'


@dataclass(frozen=True)
class Code:
    """Text to copy."""

    text: str

    def render(self) -> str:
        """A block with a button that copies it."""
        return (
            '<div class="code"><button class="copy" type="button">copy</button>'
            f"<pre><code>{escape(self.text.strip())}</code></pre></div>"
        )


@dataclass(frozen=True)
class Text:
    """Plain paragraphs, separated by empty lines; `backticks` set code."""

    text: str

    def render(self) -> str:
        """Paragraphs."""
        return "".join(f"<p>{_inline(part)}</p>" for part in re.split(r"\n\s*\n", self.text.strip()) if part)


@dataclass(frozen=True)
class Html:
    """A trusted fragment as it is."""

    html: str

    def render(self) -> str:
        """The fragment."""
        return self.html


Block: TypeAlias = Gallery | Table | Code | Text | Html


@dataclass(frozen=True)
class Section:
    """A titled part of a page: a description, then blocks."""

    title: str
    description: str = ""
    blocks: Sequence[Block] = ()

    def render(self, anchor: str) -> str:
        """The section under the given id."""
        description = f'<p class="description">{_inline(self.description)}</p>' if self.description else ""
        blocks = "".join(_table(b) if isinstance(b, Table) else b.render() for b in self.blocks)
        return f'<section id="{anchor}"><h2>{escape(self.title)}</h2>{description}{blocks}</section>'


@dataclass(frozen=True)
class Page:
    """A whole page.

    Attributes:
        title: its heading.
        sections: in order.
        subtitle: one or two sentences under the heading.
        facts: short values by name, shown as a strip (model, seed, steps …).
        footer: plain lines at the end: licence, attribution.
    """

    title: str
    sections: Sequence[Section] = ()
    subtitle: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    footer: Sequence[str] = ()

    def html(self) -> str:
        """The page.

        Raises:
            ValueError: a fragment refers to a resource outside the page.
        """
        sections = [section.render(f"s{k}") for k, section in enumerate(self.sections)]
        links = [f'<a href="#s{k}">{escape(section.title)}</a>' for k, section in enumerate(self.sections)]
        facts = [f"<div><dt>{escape(k)}</dt><dd>{escape(shown(v))}</dd></div>" for k, v in self.facts.items()]
        parts = [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(self.title)}</title><style>{_style()}</style></head><body><header>",
            f'<p class="kicker">langevin</p><h1>{escape(self.title)}</h1>',
            f'<p class="subtitle">{_inline(self.subtitle)}</p>' if self.subtitle else "",
            f'<dl class="facts">{"".join(facts)}</dl>' if facts else "",
            f"<nav>{''.join(links)}</nav>" if len(links) > 2 else "",
            f"</header><main>{''.join(sections)}</main><footer>",
            *(f"<p>{escape(line)}</p>" for line in (*self.footer, f"Written by langevin {__version__}.")),
            f"</footer><script>{SCRIPT}</script></body></html>\n",
        ]
        html = once("".join(parts))
        outside = external_resources(html)
        if outside:
            raise ValueError(f"a page must hold all it shows, but this one asks for {', '.join(outside[:3])}")
        return html

    def write(self, path: str | Path) -> Path:
        """Write the page, whole or not at all; folders on the way are made.

        Raises:
            ValueError: as :meth:`html`.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        return write_atomic(path, self.html())


def once(html: str) -> str:
    """Fragments without the scripts that stand in an earlier one under the same name."""
    seen: set[str] = set()

    def first(match: re.Match[str]) -> str:
        new = match[1] not in seen
        seen.add(match[1])
        return match[0] if new else ""

    return re.sub(r'<script data-once="([\w-]+)">.*?</script>', first, html, flags=re.DOTALL)


def external_resources(html: str) -> list[str]:
    """What a browser would fetch from elsewhere to show a page; links to follow are not fetched."""
    finder = _Finder()
    finder.feed(html)
    finder.close()
    return [
        address for address in finder.found if not re.match(r"\s*($|#|data:|blob:|about:)", address, re.I)
    ]


class _Finder(HTMLParser):
    ATTRIBUTES = frozenset(
        ("src", "srcset", "poster", "data", "background", "action", "formaction", "href", "xlink:href")
    )

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._style = tag == "style"
        for name, value in attrs:
            if name in self.ATTRIBUTES and not (tag in ("a", "area") and name == "href"):
                self.found.append(value or "")
            elif name == "style":
                self._css(value or "")
            elif tag == "meta" and name == "content" and "url=" in (value or "").lower():
                self.found.append(value or "")

    def handle_data(self, data: str) -> None:
        if self._style:
            self._css(data)
            self._style = False

    def _css(self, text: str) -> None:
        self.found += re.findall(r"url\(\s*[\"']?([^\"')]*)", text, re.I)
        self.found += re.findall(r"@import\s+[\"']([^\"']*)", text, re.I)


def _style() -> str:
    return Path(__file__).with_name("report.css").read_text(encoding="utf-8")


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _table(table: Table) -> str:
    columns = table.columns
    classes = [' class="n"' if table.numeric(column) else "" for column in columns]
    head = "".join(f"<th{c}>{escape(column)}</th>" for column, c in zip(columns, classes))
    rows = ""
    for row in table.rows:
        cells = [f"<td{c}>{escape(shown(row.get(column)))}</td>" for column, c in zip(columns, classes)]
        rows += f"<tr>{''.join(cells)}</tr>"
    caption = f'<p class="caption">{_inline(table.caption)}</p>' if table.caption else ""
    table_ = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<div class="scroll">{table_}</div>{caption}'
