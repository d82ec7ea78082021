"""Pictures of products: plain shapes in the product's colour, drawn from its kind.

The shapes lie in `shapes.svg`, one group each, on a field of 100 by 100. In them `B` stands for
the body's colour, `S` for its shade and `L` for the light of the background.
"""

from __future__ import annotations

import re
from functools import cache

from agentlab.envs.store.pages import FOLDER

_INKS = {
    "Blue": ("#3f6a99", "#2b4a6e", "#dfe8f1"),
    "Cream": ("#e4d3ae", "#b79c66", "#f6f0e2"),
    "Green": ("#5c8a63", "#3c6144", "#e2ede3"),
    "Grey": ("#8d949b", "#5f666d", "#e9ebed"),
    "Rust": ("#b5603a", "#823f22", "#f5e3da"),
    "Yellow": ("#d9a934", "#a17a17", "#f8eed3"),
}
"""Colour to its body, its shade and its background."""


@cache
def _shapes() -> dict[str, str]:
    text = (FOLDER / "shapes.svg").read_text(encoding="utf-8")
    return dict(re.findall(r'<g id="([^"]+)">(.+?)</g>', text))


def draw(noun: str, colour: str) -> str:
    """The picture of one kind of product in one colour, as SVG."""
    inks = _INKS[colour]
    shape = _shapes()[noun]
    for letter, ink in zip("BSL", inks, strict=True):
        shape = shape.replace(f'"{letter}"', f'"{ink}"')
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">'
        f'<rect width="100" height="100" fill="{inks[2]}"/>'
        '<ellipse cx="50" cy="86" rx="30" ry="4" fill="#000" opacity=".08"/>'
        f"{shape}</svg>"
    )
