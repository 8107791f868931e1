"""The icon in every form that a system asks for, drawn from `icons/signalbox.svg`."""

import io
from pathlib import Path
from typing import Final

import resvg_py
from PIL import Image

DRAWING: Final = Path(__file__).with_name("icons") / "signalbox.svg"
SIZES: Final = (16, 24, 32, 48, 64, 128, 256, 512)
"""Of a desktop's icon theme, in pixels (freedesktop.org Icon Theme Specification)."""
ICO_SIZES: Final = (16, 24, 32, 48, 64, 128, 256)
ICNS_SIZE: Final = 1024
"""Pillow makes the smaller ones of an .icns itself."""


def render_png(size: int) -> bytes:
    """The icon as a square PNG of so many pixels a side."""
    return bytes(resvg_py.svg_to_bytes(svg_string=DRAWING.read_text(), width=size, height=size))


def write_ico(path: Path) -> Path:
    """The icon of a program on Windows."""
    images = [_image(size) for size in ICO_SIZES]
    images[-1].save(path, append_images=images[:-1], sizes=[(size, size) for size in ICO_SIZES])
    return path


def write_icns(path: Path) -> Path:
    """The icon of an app on macOS."""
    _image(ICNS_SIZE).save(path)
    return path


def _image(size: int) -> Image.Image:
    """The icon as an image of so many pixels a side."""
    return Image.open(io.BytesIO(render_png(size)))
