"""`python -m bench.curves RESULTS.jsonl [FOLDER]`: what each case costs against size, as docs/images/load-BENCH.svg.

RESULTS.jsonl is the output of benchmarks. A line is drawn for what was measured at two sizes or more ("dashboard, 1000
deployments, median"); both axes are logarithmic, so what grows with size falls along the dotted diagonal.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

IMAGES = Path(__file__).parents[1] / "docs" / "images"
WIDTH, HEIGHT = 860, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 300, 36, 48
COLOURS = ("#2f6fde", "#c2410c", "#15803d", "#9333ea", "#b45309", "#0e7490", "#be185d", "#4d7c0f")
DASHES = ("", "6 3", "2 3")
STYLE = (
    "text { font: 12px system-ui, sans-serif; fill: #1f2937 } .axis { stroke: #6b7280 } .grid { stroke: #6b728033 }"
    " .diagonal { stroke: #6b7280; stroke-dasharray: 1 5 } .paper { fill: #fff }"
    " @media (prefers-color-scheme: dark) { text { fill: #e5e7eb } .paper { fill: #111827 } }"
)
MEASURES = {
    "api": ("deployments", "processor"),
    "pages": ("deployments", "processor"),
    "deployments": ("at once", "all have ended after"),
    "logs": ("at 1000 lines/s", "processor of"),
    "webhooks": ("at once", "all answered after"),
    "retention": ("deployments", ("clean-up", "longest transaction", "others' requests meanwhile, p95")),
}
"""For each benchmark the word that its size stands before, and the words of what is drawn."""

Curves = Mapping[str, list[tuple[float, float]]]


def main() -> None:
    rows = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines() if line.startswith("{")]
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else IMAGES
    for bench, (unit, measures) in MEASURES.items():
        found = curves([row for row in rows if row["bench"] == bench], unit, measures)
        if found:
            of = next(row["unit"] for row in rows if row["bench"] == bench and _is_drawn(row["case"], measures))
            (folder / f"load-{bench}.svg").write_text(draw(f"{bench}: {of} against {unit}", found))


def curves(rows: Iterable[Mapping[str, Any]], unit: str, measures: str | tuple[str, ...]) -> Curves:
    """The points of each case, by what is left of its name without the size; those of one size are left out."""
    found: dict[str, dict[float, float]] = defaultdict(dict)
    for row in rows:
        size = re.search(rf"(\d+) {unit}", row["case"])
        if size and row["value"] > 0 and _is_drawn(row["case"], measures) and "growth" not in row["case"]:
            name = row["case"].replace(size[0], "").replace("all delivered", "")
            found[", ".join(filter(None, (part.strip() for part in name.split(","))))][float(size[1])] = row["value"]
    return {name: sorted(points.items()) for name, points in found.items() if len(points) > 1}


def draw(title: str, found: Curves) -> str:
    """A drawing that can be read on light and dark paper."""
    points = [point for line in found.values() for point in line]
    xs, ys = _decades(x for x, _ in points), _decades(y for _, y in points)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - xs[0]) / (xs[-1] - xs[0])
        up = (math.log10(y) - ys[0]) / (ys[-1] - ys[0])
        return round(LEFT + across * (WIDTH - LEFT - RIGHT), 1), round(
            HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM), 1
        )

    height = max(HEIGHT, TOP + 16 * len(found) + BOTTOM)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{height}" rx="6"/>',
        f'<text x="{LEFT}" y="20">{escape(title)}</text>',
        *_axes(xs, ys, place),
        *_lines(found, place),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _axes(xs: range, ys: range, place: Any) -> Iterator[str]:
    """A line for each power of ten, and the diagonal along which cost grows as size does."""
    bottom, top, left, right = 10.0 ** ys[0], 10.0 ** ys[-1], 10.0 ** xs[0], 10.0 ** xs[-1]
    for power in xs:
        x, y = place(10.0**power, bottom)
        yield f'<line class="grid" x1="{x}" y1="{y}" x2="{x}" y2="{place(left, top)[1]}"/>'
        yield f'<text x="{x}" y="{y + 18}" text-anchor="middle">{10**power:,}</text>'
    for power in ys:
        x, y = place(left, 10.0**power)
        yield f'<line class="grid" x1="{x}" y1="{y}" x2="{place(right, bottom)[0]}" y2="{y}"/>'
        yield f'<text x="{x - 8}" y="{y + 4}" text-anchor="end">{10.0**power:g}</text>'
    decades = min(xs[-1] - xs[0], ys[-1] - ys[0])
    (x1, y1), (x2, y2) = place(left, bottom), place(left * 10**decades, bottom * 10**decades)
    yield f'<line class="diagonal" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'


def _lines(found: Curves, place: Any) -> Iterator[str]:
    for number, (name, points) in enumerate(found.items()):
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS) % len(DASHES)]
        look = f'fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"'
        path = " ".join(f"{x},{y}" for x, y in (place(*point) for point in points))
        x, y = WIDTH - RIGHT + 20, TOP + 8 + 16 * number
        yield f'<polyline {look} points="{path}"/><line {look} x1="{x}" y1="{y}" x2="{x + 24}" y2="{y}"/>'
        yield f'<text x="{x + 30}" y="{y + 4}">{escape(name)}</text>'


def _decades(values: Iterable[float]) -> range:
    """The powers of ten that hold all of them."""
    logs = [math.log10(value) for value in values]
    low, high = math.floor(min(logs)), math.ceil(max(logs))
    return range(low, max(high, low + 1) + 1)


def _is_drawn(case: str, measures: str | tuple[str, ...]) -> bool:
    return any(measure in case for measure in ((measures,) if isinstance(measures, str) else measures))


if __name__ == "__main__":
    main()
