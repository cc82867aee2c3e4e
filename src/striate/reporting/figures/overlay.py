"""Attributions over an image, in two colours that everyone can tell apart on a dark image, with their colour bar.

What speaks for the prediction is orange, what speaks against it blue (E. Okabe and M. Ito's palette). The stronger, the more
of the image is covered; nothing is covered where nothing is said. The picture keeps its own black ground, so that it is the
same on a light and on a dark page.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from striate.reporting.numbers import compact

FOR, AGAINST, EDGE, HALO = (230, 130, 0), (86, 180, 233), (255, 255, 255), (0, 0, 0)
LEAST_PIXELS = 420
"""Pictures are enlarged to about so many pixels along their longer side."""
STILL_PIXELS, STILL_QUALITY = 288, 70
"""Those that stand in the place of a viewer are smaller: most readers never see them."""
STRIPE = 12
"""Pixels from one stripe of a hatched area to the next."""
SATURATION = 99.5
"""Percentile of |map| on the slice at which the colour is full."""

Bytes = NDArray[np.uint8]


def full_colour(values: NDArray[Any]) -> float:
    """Return the |value| at which the colour is full; 1 for a map of zeros."""
    strength = np.abs(values[values != 0])
    return float(np.percentile(strength, SATURATION)) if strength.size else 1.0


def picture(
    image: Bytes,
    spacing_mm: tuple[float, float],
    *,
    values: NDArray[np.float32] | None = None,
    full: float = 1.0,
    outlines: tuple[NDArray[np.bool_], ...] = (),
    filled: NDArray[np.bool_] | None = None,
) -> str:
    """Return a picture as a data URI.

    Parameters
    ----------
    image
        (H, W) uint8.
    spacing_mm
        Height and width of a pixel; the picture has square ones.
    values
        (H, W) attribution that is laid over it.
    full
        The |value| at which the colour is full.
    outlines
        (H, W) masks whose border is drawn.
    filled
        (H, W) mask that is laid over it.
    """
    size = _size(image.shape, spacing_mm)
    shown = np.repeat(_enlarged(image, size)[..., None], 3, axis=2).astype(np.float32)
    if filled is not None:
        cover = 0.45 * (_enlarged(filled.astype(np.uint8) * 255, size) > 127)
        shown += cover[..., None] * (np.array(FOR, np.float32) - shown)
    if values is not None:
        share = np.clip(_enlarged(np.clip(values / full, -1, 1).astype(np.float32), size), -1, 1)
        shown = _coloured(shown, share)
    for mask in outlines:
        _outline(shown, mask, EDGE)
    return _webp(shown.round().clip(0, 255).astype(np.uint8))


def outlined(image: Bytes, spacing_mm: tuple[float, float], lines: Iterable[tuple[str, NDArray[np.bool_]]]) -> str:
    """Return a small picture as a data URI, with the outlines of masks (H, W), each in its colour (#RRGGBB)."""
    size = _size(image.shape, spacing_mm, STILL_PIXELS)
    shown = np.repeat(_enlarged(image, size)[..., None], 3, axis=2)
    for colour, mask in lines:
        _outline(shown, mask, [int(colour[n : n + 2], 16) for n in (1, 3, 5)])
    return _webp(shown, STILL_QUALITY)


def tinted(
    image: Bytes,
    spacing_mm: tuple[float, float],
    masks: Mapping[str, NDArray[np.bool_]],
    colours: Mapping[str, tuple[int, int, int]],
    *,
    hatched: Collection[str] = (),
    outlined: Collection[str] = (),
) -> str:
    """Return a picture as a data URI: each of `masks` (H, W) in its colour, filled, with stripes only, or as an outline."""
    width, height = _size(image.shape, spacing_mm)
    size = (2 * width, 2 * height)  # else stripes blur: colours are stored at half the size
    shown = np.repeat(_enlarged(image, size)[..., None], 3, axis=2).astype(np.float32)
    stripes = np.add.outer(np.arange(size[1]), np.arange(size[0])) % STRIPE < STRIPE / 2
    for name, mask in masks.items():
        there = _enlarged(mask.astype(np.uint8) * 255, size) > 127
        rim = _border(there)
        rim |= _border(there & ~rim)
        drawn = rim if name in outlined else there & (stripes | rim) if name in hatched else there
        cover = 0.9 * drawn[..., None]
        shown += cover * (np.array(colours[name], np.float32) - shown)
    return _webp(shown.round().clip(0, 255).astype(np.uint8))


def colour_bar(full: float, *, both: bool, words: str = "") -> Markup:
    """Return the bar over mid-grey, from −`full` (or 0) to `full`, with its numbers; `words` say what it measures."""
    share = np.linspace(-1.0 if both else 0.0, 1.0, 200, dtype=np.float32)[None].repeat(12, axis=0)
    source = _webp(_coloured(np.full((*share.shape, 3), 70.0, np.float32), share).round().astype(np.uint8))
    high = f"{full:,.0f}" if full >= 1000 else compact(full)
    low = f"−{high}" if both else "0"
    words = words or ("against and for the prediction" if both else "for the prediction")
    between = "against · for" if both else "for" if words == "for the prediction" else words
    return Markup(
        '<div class="bar"><img src="{}" alt="colour bar, {} to {}, {}"><p><span>{}</span><span>{}</span><span>{}</span></p></div>'
    ).format(source, low, high, words, low, between, high)


def _coloured(shown: NDArray[np.float32], share: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lay `share` (H, W), −1 … 1, over `shown` (H, W, 3)."""
    colours = np.where(share[..., None] > 0, np.array(FOR, np.float32), np.array(AGAINST, np.float32))
    return np.asarray(shown + 0.9 * np.abs(share)[..., None] ** 0.7 * (colours - shown), dtype=np.float32)


def _size(shape: tuple[int, ...], spacing_mm: tuple[float, float], least: int = LEAST_PIXELS) -> tuple[int, int]:
    """Return width and height of the picture."""
    height, width = (n * s for n, s in zip(shape, spacing_mm, strict=True))
    scale = max(least, *shape) / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _enlarged(plane: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    from PIL import Image as Picture

    return np.asarray(Picture.fromarray(plane).resize(size, Picture.Resampling.BILINEAR))


def _outline(shown: NDArray[Any], mask: NDArray[np.bool_], colour: Sequence[int]) -> None:
    """Draw the border of `mask` (H, W) into the pixels `shown`."""
    there = _enlarged(mask.astype(np.uint8) * 255, (shown.shape[1], shown.shape[0])) > 127
    wide, wider = _grown(there, 1), _grown(there, 2)
    shown[wider & ~wide] = HALO  # a white line alone is lost on bright tissue
    shown[(wide & ~there) | _border(there)] = colour


def _border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of `mask` that touch what is not of it."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(mask & ~inner)


def _grown(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    from scipy.ndimage import binary_dilation

    return np.asarray(binary_dilation(mask, iterations=pixels), dtype=bool)


def _webp(pixels: Bytes, quality: int = 88) -> str:
    from PIL import Image as Picture
    from PIL import features

    buffer, form = io.BytesIO(), "WEBP" if features.check("webp") else "PNG"
    Picture.fromarray(pixels).save(buffer, form, quality=quality, method=4)
    return f"data:image/{form.lower()};base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
