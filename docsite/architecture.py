"""The picture of the flow, drawn from the registry: every asset once, left of what is made from it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as ET

from churn_assets.flow.asset import AssetSpec
from churn_assets.flow.registry import registry

WIDE, HIGH = 132, 40
"""Of a box, in pixels."""
_ACROSS, _DOWN, _EDGE, _TOP = 188, 64, 24, 28
_STYLE = (
    "text{font:13px sans-serif;fill:#1c2733}"
    ".stage{font-size:11px;fill:#51606f}"
    "rect{fill:#eef3f8;stroke:#51708f;rx:6}"
    ".outside rect{fill:#fbf6e9;stroke:#8a7434;stroke-dasharray:4 3}"
    "path{fill:none;stroke:#7d8b99;stroke-width:1.4}"
)


def columns(assets: Sequence[AssetSpec]) -> dict[str, int]:
    """The column of each asset and of each source outside the flow: one to the right of all that it is made from."""
    depth: dict[str, int] = {}
    for asset in assets:  # in flow order: each after its inputs
        for source in asset.outside:
            depth.setdefault(source, 0)
        depth[asset.name] = 1 + max((depth[each] for each in (*asset.inputs, *asset.outside)), default=0)
    return depth


def places(depth: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Left upper corner of each box, in pixels: columns left to right, in each the order of the flow."""
    rows: dict[int, int] = defaultdict(int)
    found = {}
    for name, column in depth.items():
        found[name] = (_EDGE + column * _ACROSS, _TOP + rows[column] * _DOWN)
        rows[column] += 1
    return found


def picture() -> str:
    """The picture as SVG; equal registries give equal bytes."""
    assets = registry().assets
    made = {asset.name: asset for asset in assets}
    at = places(columns(assets))
    width = max(x for x, _ in at.values()) + WIDE + _EDGE
    height = max(y for _, y in at.values()) + HIGH + _EDGE
    size = {"viewBox": f"0 0 {width} {height}", "width": str(width), "height": str(height)}
    svg = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "role": "img", **size})
    ET.SubElement(svg, "title").text = "Every asset, left of what is made from it"
    ET.SubElement(svg, "style").text = _STYLE
    for asset in assets:
        for source in (*asset.inputs, *asset.outside):
            _arrow(svg, at[source], at[asset.name])
    for name, place in at.items():
        _box(svg, name, place, made[name].stage if name in made else "outside the flow")
    return ET.tostring(svg, encoding="unicode") + "\n"


def _arrow(svg: ET.Element, start: tuple[int, int], end: tuple[int, int]) -> None:
    x, y, to_x, to_y = start[0] + WIDE, start[1] + HIGH // 2, end[0], end[1] + HIGH // 2
    bend = (to_x - x) // 2
    ET.SubElement(svg, "path", {"d": f"M{x} {y} C{x + bend} {y} {to_x - bend} {to_y} {to_x} {to_y}"})


def _box(svg: ET.Element, name: str, place: tuple[int, int], stage: str) -> None:
    x, y = place
    group = ET.SubElement(svg, "g", {"class": "outside"} if stage == "outside the flow" else {})
    ET.SubElement(group, "rect", {"x": str(x), "y": str(y), "width": str(WIDE), "height": str(HIGH)})
    middle = {"x": str(x + WIDE // 2), "text-anchor": "middle"}
    ET.SubElement(group, "text", {**middle, "y": str(y + 18)}).text = name
    ET.SubElement(group, "text", {**middle, "y": str(y + 33), "class": "stage"}).text = stage


def page() -> str:
    """The picture, and a row for each asset: what it is made from, what it must prove."""
    lines = [
        "# Architecture",
        "",
        (
            "Drawn from the registry of assets: what is right of an arrow is made from what is left of it. Dashed "
            "boxes are read from outside the flow: files, tables, the decision log."
        ),
        "",
        "![Every asset of the flow, left of what is made from it](images/architecture.svg)",
        "",
        "| Asset | Stage | Branch | Made from | Checks |",
        "| --- | --- | --- | --- | --- |",
    ]
    for asset in registry().assets:
        sources = ", ".join(f"`{each}`" for each in (*asset.inputs, *asset.outside)) or "nothing"
        checks = ", ".join(f"`{each.name}`" for each in asset.checks)
        lines.append(f"| `{asset.name}` | {asset.stage} | {asset.branch or 'all'} | {sources} | {checks} |")
    return "\n".join(lines) + "\n"
