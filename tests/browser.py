"""A headless chromium for tests of pages."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--virtual-time-budget=2000",
)


def screenshot(
    page: Path, folder: Path, size: tuple[int, int] = (1280, 1600), dark: bool = False
) -> Image.Image:
    """What a page looks like, at 1280 × 1600 unless said otherwise.

    Args:
        page: an HTML file.
        folder: an empty folder for the profile and the picture.
        size: of the window, in pixels.
        dark: ask for the page's dark setting.
    """
    assert CHROMIUM is not None
    picture = folder / f"{page.stem}{'-dark' if dark else ''}.png"
    command = [
        CHROMIUM,
        *FLAGS,
        f"--user-data-dir={folder / 'profile'}",
        f"--window-size={size[0]},{size[1]}",
    ]
    command += ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] if dark else []
    command += [f"--screenshot={picture}", page.resolve().as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return Image.open(picture).convert("RGB")


def colours(picture: Image.Image) -> int:
    """How many different colours a picture has: 1 for a blank page."""
    return len(picture.getcolors(maxcolors=picture.width * picture.height) or ())
