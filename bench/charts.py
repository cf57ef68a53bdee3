"""Charts for the benchmark page: small SVG files of our own making, readable in light and dark themes.

Each carries a title and a description for those who do not see it. Colours are not the only thing that tells marks
apart: every bar and every point has its name and its figure beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

STYLE = """
svg { color-scheme: light dark; font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
.paper { fill: #ffffff; } .ink { fill: #1f2328; } .soft { fill: #59636e; }
.rule { stroke: #d1d9e0; } .lead { stroke: #9aa7b4; stroke-width: 0.7; }
.ours { fill: #0b6bcb; } .other { fill: #9aa7b4; }
@media (prefers-color-scheme: dark) {
  .paper { fill: #0d1117; } .ink { fill: #f0f6fc; } .soft { fill: #9198a1; }
  .rule { stroke: #3d444d; } .lead { stroke: #6b7683; }
  .ours { fill: #4ea1ff; } .other { fill: #6b7683; }
}
""".strip()
SMALL, PLAIN, LARGE = 11, 12, 15
Scale = Callable[[float], float]
LETTER = 0.56
"""Width of a letter beside its height: a rough mean of common sans-serif fonts, on the wide side."""
PAD = 20


@dataclass(frozen=True, slots=True)
class Bar:
    """A named value in percent."""

    name: str
    value: float
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Point:
    """A named point: milliseconds across, percent up."""

    name: str
    ms: float
    percent: float
    ours: bool = False


def text_width(text: str, size: float) -> float:
    """About how wide a text is drawn, in pixels."""
    return len(text) * size * LETTER


# --- Bars ------------------------------------------------------------------------------------------------------------

ROW, PANEL_HEAD, GAP, COLUMNS, BARS_WIDE = 21, 30, 26, 2, 190


def bars(title: str, about: str, panels: Mapping[str, Sequence[Bar]]) -> str:
    """Horizontal bars of values from 0 to 100, a panel for each set, two panels beside each other."""
    names = text_width(max((bar.name for panel in panels.values() for bar in panel), key=len), PLAIN)
    panel_wide = names + 8 + BARS_WIDE + 40
    rows = [list(panels.items())[start : start + COLUMNS] for start in range(0, len(panels), COLUMNS)]
    parts, top = [], 62.0
    for row in rows:
        for column, (name, some) in enumerate(row):
            parts += _panel(PAD + column * (panel_wide + GAP), top, names, name, some)
        top += PANEL_HEAD + ROW * max(len(some) for _, some in row) + GAP
    wide = 2 * PAD + min(COLUMNS, len(panels)) * (panel_wide + GAP) - GAP
    described = "; ".join(
        f"{name}: " + ", ".join(f"{bar.name} {bar.value:.1f}" for bar in some) for name, some in panels.items()
    )
    return _document(title, about, described, wide, top - GAP + PAD, parts)


def _panel(left: float, top: float, names: float, title: str, some: Sequence[Bar]) -> list[str]:
    start = left + names + 8
    parts = [_text(left, top + 14, title, PLAIN + 1, "ink", weight=600)]
    foot = top + PANEL_HEAD + ROW * len(some) - 4
    parts.append(_line(start, top + PANEL_HEAD - 4, foot, vertical=True))
    for number, bar in enumerate(some):
        y = top + PANEL_HEAD + number * ROW
        long = BARS_WIDE * max(0.0, min(bar.value, 100.0)) / 100
        kind, weight = ("ours", 600) if bar.ours else ("other", 400)
        parts.append(_text(start - 8, y + 11, bar.name, PLAIN, "ink", anchor="end", weight=weight))
        parts.append(f'<rect class="{kind}" x="{start:.1f}" y="{y}" width="{long:.1f}" height="14" rx="2"/>')
        parts.append(_text(start + long + 5, y + 11, f"{bar.value:.1f}", SMALL, "soft", weight=weight))
    return parts


# --- Latency beside recall -------------------------------------------------------------------------------------------

PLOT_WIDE, PLOT_HIGH, PLOT_LEFT, PLOT_TOP = 450.0, 320.0, 52.0, 70.0
LABEL_STEP, LABEL_GAP = 18.0, 34.0


def scatter(title: str, about: str, points: Sequence[Point]) -> str:
    """Recall over latency, the latter on a logarithmic scale; the better a system, the farther up and to the left.

    Names stand in a column beside the plot, a thin line from each to its point, so that none can meet another.
    """
    low, high = _ends([point.ms for point in points])
    bottom = max(0.0, math.floor(min(point.percent for point in points) / 10 - 0.3) * 10)
    roof = min(100.0, math.ceil(max(point.percent for point in points) / 10 + 0.2) * 10)

    def across(ms: float) -> float:
        return PLOT_LEFT + PLOT_WIDE * (math.log(ms) - math.log(low)) / (math.log(high) - math.log(low))

    def up(percent: float) -> float:
        return PLOT_TOP + PLOT_HIGH * (roof - percent) / (roof - bottom)

    parts = _axes(low, high, bottom, roof, across, up)
    placed = sorted(((up(point.percent), -across(point.ms), point) for point in points), key=lambda one: one[:2])
    column = PLOT_LEFT + PLOT_WIDE + LABEL_GAP
    marks, wide = [], 0.0
    for (y, minus_x, point), foot in zip(placed, _spread([y for y, _, _ in placed]), strict=True):
        kind, weight, radius = ("ours", 600, 7) if point.ours else ("other", 400, 5.5)
        label = f"{point.name}: {point.percent:.1f} %, {point.ms:.1f} ms"
        wide = max(wide, text_width(label, SMALL))
        ends = f'x1="{-minus_x:.1f}" y1="{y:.1f}" x2="{column - 5:.1f}" y2="{foot:.1f}"'
        parts.append(f'<line class="lead" {ends}/>')
        marks.append(f'<circle class="{kind}" cx="{-minus_x:.1f}" cy="{y:.1f}" r="{radius}"/>')
        marks.append(_text(column, foot + 4, label, SMALL, "ink", weight=weight))
    described = "; ".join(f"{point.name}: {point.percent:.1f} percent at {point.ms:.1f} ms" for point in points)
    return _document(title, about, described, column + wide + PAD, PLOT_TOP + PLOT_HIGH + 56, parts + marks)


def _spread(wanted: Sequence[float]) -> list[float]:
    """Heights in the same order and as near to the wanted ones as a step between each allows, within the plot."""
    found: list[float] = []
    for height in wanted:
        found.append(max(height, found[-1] + LABEL_STEP) if found else height)
    limit = PLOT_TOP + PLOT_HIGH
    for place in range(len(found) - 1, -1, -1):
        found[place] = min(found[place], limit)
        limit = found[place] - LABEL_STEP
    return found


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """Where the scale begins and ends: the next of 1, 2, 5, 10 … below and above all values."""
    steps = [factor * 10.0**power for power in range(-2, 6) for factor in (1, 2, 5)]
    low = max((step for step in steps if step < min(values) * 0.95), default=steps[0])
    high = min((step for step in steps if step > max(values) * 1.05), default=steps[-1])
    return low, high


def _axes(low: float, high: float, bottom: float, roof: float, across: Scale, up: Scale) -> list[str]:
    parts = []
    for percent in range(round(bottom), round(roof) + 1, 10):
        parts.append(_line(up(percent), PLOT_LEFT, PLOT_LEFT + PLOT_WIDE))
        parts.append(_text(PLOT_LEFT - 8, up(percent) + 4, f"{percent} %", SMALL, "soft", anchor="end"))
    for step in (factor * 10.0**power for power in range(-2, 6) for factor in (1, 2, 5)):
        if low <= step <= high:
            parts.append(_line(across(step), PLOT_TOP, PLOT_TOP + PLOT_HIGH, vertical=True))
            foot = PLOT_TOP + PLOT_HIGH + 17
            parts.append(_text(across(step), foot, f"{step:g} ms", SMALL, "soft", anchor="middle"))
    middle, foot = PLOT_LEFT + PLOT_WIDE / 2, PLOT_TOP + PLOT_HIGH + 38
    parts.append(_text(middle, foot, "median time of a question (logarithmic)", PLAIN, "soft", anchor="middle"))
    return parts


# --- Elements --------------------------------------------------------------------------------------------------------


def _document(title: str, about: str, described: str, wide: float, high: float, parts: Iterable[str]) -> str:
    size = f'width="{wide:.0f}" height="{high:.0f}" viewBox="0 0 {wide:.0f} {high:.0f}"'
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title about">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="about">{escape(f"{about}. {described}.")}</desc>',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{wide:.0f}" height="{high:.0f}" rx="6"/>',
        _text(PAD, 28, title, LARGE, "ink", weight=600),
        _text(PAD, 47, about, PLAIN, "soft"),
    ]
    return "\n".join([*head, *parts, "</svg>", ""])


def _text(x: float, y: float, text: str, size: int, kind: str, *, anchor: str = "start", weight: int = 400) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}"'
    more = (f' text-anchor="{anchor}"' if anchor != "start" else "") + (
        f' font-weight="{weight}"' if weight != 400 else ""
    )
    return f'<text class="{kind}" {place}{more}>{escape(text)}</text>'


def _line(at: float, begin: float, end: float, *, vertical: bool = False) -> str:
    ends = (at, begin, at, end) if vertical else (begin, at, end, at)
    return '<line class="rule" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>'.format(*ends)
