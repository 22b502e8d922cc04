"""Draw charts as SVG elements of a few kilobytes, without a library and without a network.

Colours are CSS variables of the page (``--s0``, ``--s1``, ...), so a chart follows the light and the dark theme. They
are the palette of Okabe and Ito, which people with any colour vision can distinguish. Every line has its name at its
end, and its own dash if there are many lines. The thick line of a long curve is a moving average; the faint line has
the measured values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from amend.results.report.charts.chart import BarChart, Chart, IntervalChart, LineChart, Values
from amend.results.report.formatting import MINUS

WIDTH, HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 50, 84, 14, 40
MOST_POINTS = 500  # a line has no more; beyond, neighbours are averaged
SMOOTHED_FROM = 24  # number of points from which a line is smoothed
COLOURS, DASHES = 8, 5  # of the page's styles; no two of 40 lines have both the same
LETTER = 6.8  # pixels of an average letter of a line's name
LEAST = 130  # smallest width of the intervals in pixels; longer names are cut, and complete in the tooltip
LONGEST = 24  # letters of a line's name; more would leave the lines no room


class Drawing(NamedTuple):
    """A chart as SVG elements.

    Attributes:
        width: The width of the view box, in pixels.
        height: The height of the view box, in pixels.
        elements: The SVG elements.
        description: The chart in words, for readers that do not see it.
        data: What a page's script needs to show values at the pointer, or None.
        place: The number by which a page's switches know the chart, or None.
    """

    width: int
    height: int
    elements: str
    description: str
    data: dict[str, Any] | None = None
    place: int | None = None


def draw(chart: Chart) -> Drawing:
    """Draw ``chart``."""
    match chart:
        case LineChart():
            return line_chart(chart)
        case BarChart():
            return bar_chart(chart)
        case IntervalChart():
            return interval_chart(chart)


def line_chart(chart: LineChart) -> Drawing:
    """Draw lines, with their names at their ends and a cursor that a page's script moves."""
    scale = 100.0 if chart.unit == "%" else 1.0
    x, series = _thin(
        chart.x, {name: [None if v is None else scale * v for v in ys] for name, ys in chart.series.items()}
    )
    shades = {
        name: [[None if v is None else scale * v for v in end] for end in ends] for name, ends in chart.bands.items()
    }
    around = [v for ends in shades.values() for end in ends for v in end if v is not None]
    seen = [v for ys in series.values() for v in ys if v is not None] + around
    right, height = RIGHT, HEIGHT
    if chart.places:
        right = max(RIGHT, round(LETTER * min(LONGEST, max(map(len, series), default=0))) + 16)
        height = max(HEIGHT, TOP + BOTTOM + 14 * len(series))
    low, high = (min(seen), max(seen)) if seen else (0.0, 1.0)
    ticks = tick_values(min(0.0, low), high)
    bottom, top = ticks[0], ticks[-1]
    positions = [math.log2(v) for v in x] if chart.log else x
    x_low, x_high = (min(positions), max(positions)) if positions else (0.0, 1.0)

    def px(value: float) -> float:
        at = math.log2(value) if chart.log else value
        return LEFT + (WIDTH - LEFT - right) * ((at - x_low) / (x_high - x_low) if x_high > x_low else 0.5)

    def py(value: float) -> float:
        return height - BOTTOM - (height - TOP - BOTTOM) * (value - bottom) / (top - bottom)

    x_ticks = x if chart.log else [t for t in tick_values(x_low, x_high) if x_low <= t <= x_high]
    parts = [_axes(ticks, py, chart.unit, WIDTH - right), _x_axis(x_ticks, px, chart.x_label, height, WIDTH - right)]
    for at, word in chart.marks:
        parts.append(
            f'<line class="mark" x1="{px(at):.1f}" x2="{px(at):.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>'
            f'<text class="tick" x="{px(at) + 4:.1f}" y="{TOP + 10}">{escape(word)}</text>'
        )
    ends: list[tuple[float, int, str]] = []
    for name, (lower, upper) in shades.items():
        edge = [(px(at), py(v)) for at, v in zip(x, lower, strict=True) if v is not None]
        back = [(px(at), py(v)) for at, v in zip(x, upper, strict=True) if v is not None]
        if edge:
            look = _look(chart.places, name, 0)
            parts.append(f'<path class="band {look[0]}"{look[1]} d="{_path([*edge, *back[::-1]])}Z"/>')
    for i, (name, ys) in enumerate(series.items()):
        style, known = _look(chart.places, name, i)
        points = [None if y is None else (px(at), py(y)) for at, y in zip(x, ys, strict=True)]
        if len(ys) >= SMOOTHED_FROM and not chart.places:
            smooth = moving_average(ys, max(3, len(ys) // 12))
            parts.append(f'<path class="line faint s{i}" d="{_path(points)}"/>')
            points = [None if y is None else (px(at), py(y)) for at, y in zip(x, smooth, strict=True)]
        parts.append(f'<path class="line {style}"{known} d="{_path(points)}"/>')
        there = [point for point in points if point is not None]
        for point in _alone(points):
            parts.append(f'<circle class="dot {style}"{known} cx="{point[0]:.1f}" cy="{point[1]:.1f}" r="3"/>')
        if there:
            ends.append((there[-1][1], i, name))
    for y, i, name in _apart(ends, 14.0, height - BOTTOM):
        style, known = _look(chart.places, name, i)
        parts.append(
            f'<text class="name {style}"{known} x="{WIDTH - right + 6}" y="{y + 4:.1f}"><title>{escape(name)}</title>'
            f"{escape(cut(name, LONGEST))}</text>"
        )
    parts.append(f'<line class="cursor" x1="0" x2="0" y1="{TOP}" y2="{height - BOTTOM}" visibility="hidden"/>')
    data: dict[str, Any] = {
        "x": [float(f"{v:.6g}") for v in x],
        "px": [round(px(v), 1) for v in x],
        "label": chart.x_label,
        "unit": chart.unit,
        "series": {name: [None if v is None else float(f"{v:.4g}") for v in ys] for name, ys in series.items()},
    }
    if chart.places:
        data["places"] = dict(chart.places)
    said = "; ".join(f"{name} from {_first(ys)} to {_first(ys[::-1])}{chart.unit}" for name, ys in series.items())
    return Drawing(WIDTH, height, "".join(parts), f"{chart.title}: {said}", data)


def bar_chart(chart: BarChart) -> Drawing:
    """Draw groups of bars, whose values appear when they are pointed at."""
    labels, series = chart.labels, chart.series
    most = max((v for values in series.values() for v in values), default=0.0)
    ticks = tick_values(0.0, 100 * most if most > 0 else 1.0)

    def py(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / ticks[-1]

    right = WIDTH - 12
    room = (right - LEFT) / max(1, len(labels))
    wide = 0.8 * room / max(1, len(series))
    parts = [_axes(ticks, py, "%", right)]
    for j, label in enumerate(labels):
        middle = LEFT + (j + 0.5) * room
        parts.append(f'<text class="tick mid" x="{middle:.1f}" y="{HEIGHT - BOTTOM + 15}">{escape(label)}</text>')
        for i, (name, values) in enumerate(series.items()):
            x, y = LEFT + j * room + 0.1 * room + i * wide, py(100 * values[j])
            parts.append(
                f'<rect class="bar s{i}" x="{x:.1f}" y="{y:.1f}" width="{max(1.0, wide - 1):.1f}" '
                f'height="{HEIGHT - BOTTOM - y:.1f}">'
                f"<title>{escape(name)}, {escape(label)}: {100 * values[j]:.1f} %</title></rect>"
            )
    parts.append(f'<text class="tick mid" x="{(LEFT + right) / 2:.0f}" y="{HEIGHT - 6}">{escape(chart.x_label)}</text>')
    for i, name in enumerate(series):
        x = right - 90 * (len(series) - i)
        parts.append(
            f'<rect class="bar s{i}" x="{x}" y="2" width="10" height="10"/>'
            f'<text class="tick" x="{x + 15}" y="11">{escape(name)}</text>'
        )
    said = "; ".join(f"{name}: " + ", ".join(f"{100 * v:.0f} %" for v in values) for name, values in series.items())
    return Drawing(WIDTH, HEIGHT, "".join(parts), f"{chart.title}: {said}", place=chart.place)


def interval_chart(chart: IntervalChart) -> Drawing:
    """Draw the mean and the interval of each row, followed by its numbers."""
    rows, reference = chart.rows, chart.reference
    seen = [100 * v for row in rows.values() for v in row] + ([100 * reference] if reference is not None else [])
    ticks = tick_values(min(seen, default=0.0), max(seen, default=1.0))
    texts = ["{:.1f} [{:.1f}, {:.1f}]".format(*(100 * v + 0.0 for v in row)) for row in rows.values()]
    right, step = WIDTH - round(LETTER * max(map(len, texts), default=0)) - 10, 22
    longest = int((right - LEAST - 14) / LETTER)
    names = [cut(name, longest) for name in rows]
    left = round(LETTER * max(map(len, names), default=0)) + 14
    height = TOP + BOTTOM + step * len(rows)

    def px(value: float) -> float:
        return left + (right - left) * (value - ticks[0]) / (ticks[-1] - ticks[0])

    parts = [
        f'<line class="grid" x1="{px(t):.1f}" x2="{px(t):.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>' for t in ticks
    ] + [_x_axis(ticks, px, "points", height, left + right - LEFT)]
    if reference is not None:
        at = px(100 * reference)
        parts.append(f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>')
    said = []
    for j, ((name, row), text) in enumerate(zip(rows.items(), texts, strict=True)):
        style, known = _look(chart.places, name, 0)
        y = TOP + (j + 0.5) * step
        mean, low, high = (px(100 * v) for v in row)
        text = text.replace("-", MINUS)
        said.append(f"{name} {text}")
        parts.append(
            f"<g{known}><title>{escape(name)}</title>"
            f'<text class="end" x="{left - 8}" y="{y + 4:.1f}">{escape(names[j])}</text>'
            f'<line class="whisker {style}" x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<circle class="dot {style}" cx="{mean:.1f}" cy="{y:.1f}" r="4.5"/>'
            f'<text x="{right + 10}" y="{y + 4:.1f}">{text}</text></g>'
        )
    return Drawing(WIDTH, height, "".join(parts), f"{chart.title}: {'; '.join(said)}")


def cut(name: str, most: int) -> str:
    """Shorten a name to ``most`` letters by leaving out its middle, because labels often begin with the same words."""
    if len(name) <= most:
        return name
    tail = (most - 1) // 2
    return f"{name[: most - 1 - tail]}…{name[len(name) - tail :]}"


def tick_values(low: float, high: float) -> list[float]:
    """Four to seven round numbers that span ``low`` to ``high``: steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        low, high = (low - 0.5, high + 0.5) if low else (0.0, 1.0)
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def short(value: float) -> str:
    """A number for an axis: 0.05, 20, 1.5k, 3M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"


def moving_average(values: Values, window: int) -> list[float | None]:
    """Return the centred moving average over ``window`` values, fewer at the ends; None stays None."""
    half = window // 2
    smooth: list[float | None] = []
    for i, own in enumerate(values):
        near = [v for v in values[max(0, i - half) : i + half + 1] if v is not None]
        smooth.append(None if own is None else sum(near) / len(near))
    return smooth


def _thin(x: Sequence[float], series: Mapping[str, Values]) -> tuple[list[float], dict[str, list[float | None]]]:
    """At most ``MOST_POINTS`` points: means of neighbours."""
    size = max(1, math.ceil(len(x) / MOST_POINTS))
    starts = range(0, len(x), size)

    def mean(values: Values) -> float | None:
        there = [v for v in values if v is not None]
        return sum(there) / len(there) if there else None

    return [x[i : i + size][-1] for i in starts], {
        name: [mean(ys[i : i + size]) for i in starts] for name, ys in series.items()
    }


def _axes(ticks: Sequence[float], py: Callable[[float], float], unit: str, right: int) -> str:
    """Horizontal lines at ``ticks``, the first the base, each with its value to the left."""
    return "".join(
        f'<line class="{"base" if i == 0 else "grid"}" x1="{LEFT}" x2="{right}" y1="{py(t):.1f}" y2="{py(t):.1f}"/>'
        f'<text class="tick end" x="{LEFT - 6}" y="{py(t) + 4:.1f}">{short(t)}{unit}</text>'
        for i, t in enumerate(ticks)
    )


def _x_axis(ticks: Sequence[float], px: Callable[[float], float], label: str, height: float, right: float) -> str:
    y = height - BOTTOM
    marks = "".join(f'<text class="tick mid" x="{px(t):.1f}" y="{y + 15}">{short(t)}</text>' for t in ticks)
    return f'{marks}<text class="tick mid" x="{(LEFT + right) / 2:.0f}" y="{height - 6:.0f}">{escape(label)}</text>'


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    """Return an SVG path, with gaps at missing points."""
    words, pen = [], "M"
    for point in points:
        if point is None:
            pen = "M"
            continue
        words.append(f"{pen}{point[0]:.1f} {point[1]:.1f}")
        pen = "L"
    return "".join(words)


def _alone(points: Sequence[tuple[float, float] | None]) -> list[tuple[float, float]]:
    """Points with no neighbour to draw a line to."""
    padded = [None, *points, None]
    return [p for before, p, after in zip(padded, points, padded[2:], strict=False) if p and not before and not after]


def _look(places: Mapping[str, int], name: str, otherwise: int) -> tuple[str, str]:
    """The class and the attribute of what belongs to a series."""
    if name not in places:
        return f"s{otherwise}", ""
    place = places[name]
    return f"s{place % COLOURS} d{place % DASHES}", f' data-g="{place}"'


def _apart(ends: list[tuple[float, int, str]], gap: float, bottom: float) -> list[tuple[float, int, str]]:
    """Move names down so that they do not overlap, and the whole stack up if it would leave the chart."""
    placed: list[tuple[float, int, str]] = []
    for y, i, name in sorted(ends):
        placed.append((max(y, placed[-1][0] + gap) if placed else y, i, name))
    over = max(0.0, placed[-1][0] - bottom) if placed else 0.0
    return [(y - over, i, name) for y, i, name in placed]


def _first(values: Values) -> str:
    return next((short(v) for v in values if v is not None), "?")
