"""Small charts as SVG text: lines over a run, and shares side by side. No library, no network, a few kilobytes each.

Colours are CSS variables of the page (``--s0``, ``--s1``, ...), so a chart follows light and dark; they are blue,
orange and green of Okabe and Ito's palette, which people with any colour vision can tell apart, and every line is also
named at its end. Where a curve has many points the thick line is a moving average and the faint one what was measured.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 50, 84, 14, 40
MOST_POINTS = 500  # a line has no more; beyond, neighbours are averaged
SMOOTHED_FROM = 24  # points from which a moving average is drawn

Values = Sequence[float | None]


@dataclass(frozen=True)
class Chart:
    """What a line chart says. Its axis starts at 0, or below where a value does.

    series: by name, each as long as ``x``, None where nothing was measured
    unit:   "%" multiplies by 100 and marks the axis so; "" leaves values alone
    marks:  vertical lines, each at an x with a word
    """

    title: str
    x: Sequence[float]
    x_label: str
    series: Mapping[str, Values]
    unit: str
    marks: Sequence[tuple[float, str]]


def line_chart(chart: Chart) -> str:
    """The chart as a ``<figure>``; the page's script lets a pointer or the arrow keys read its values."""
    scale = 100.0 if chart.unit == "%" else 1.0
    x, series = _thin(
        chart.x, {name: [None if v is None else scale * v for v in ys] for name, ys in chart.series.items()}
    )
    seen = [v for ys in series.values() for v in ys if v is not None]
    low, high = (min(seen), max(seen)) if seen else (0.0, 1.0)
    ticks = nice(min(0.0, low), high)
    bottom, top = ticks[0], ticks[-1]
    x_low, x_high = (min(x), max(x)) if x else (0.0, 1.0)

    def px(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * ((value - x_low) / (x_high - x_low) if x_high > x_low else 0.5)

    def py(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - bottom) / (top - bottom)

    parts = [
        _axes(ticks, py, chart.unit, WIDTH - RIGHT),
        _x_axis([t for t in nice(x_low, x_high) if x_low <= t <= x_high], px, chart.x_label),
    ]
    for at, word in chart.marks:
        parts.append(
            f'<line class="mark" x1="{px(at):.1f}" x2="{px(at):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
            f'<text class="tick" x="{px(at) + 4:.1f}" y="{TOP + 10}">{escape(word)}</text>'
        )
    ends: list[tuple[float, int, str]] = []
    for i, (name, ys) in enumerate(series.items()):
        points = [None if y is None else (px(at), py(y)) for at, y in zip(x, ys, strict=True)]
        if len(ys) >= SMOOTHED_FROM:
            smooth = moving_average(ys, max(3, len(ys) // 12))
            parts.append(f'<path class="line faint s{i}" d="{_path(points)}"/>')
            points = [None if y is None else (px(at), py(y)) for at, y in zip(x, smooth, strict=True)]
        parts.append(f'<path class="line s{i}" d="{_path(points)}"/>')
        there = [point for point in points if point is not None]
        for point in _alone(points):
            parts.append(f'<circle class="dot s{i}" cx="{point[0]:.1f}" cy="{point[1]:.1f}" r="3"/>')
        if there:
            ends.append((there[-1][1], i, name))
    for y, i, name in _apart(ends, 14.0):
        parts.append(f'<text class="name s{i}" x="{WIDTH - RIGHT + 6}" y="{y + 4:.1f}">{escape(name)}</text>')
    parts.append(f'<line class="cursor" x1="0" x2="0" y1="{TOP}" y2="{HEIGHT - BOTTOM}" visibility="hidden"/>')
    data = {
        "x": [float(f"{v:.6g}") for v in x],
        "px": [round(px(v), 1) for v in x],
        "label": chart.x_label,
        "unit": chart.unit,
        "series": {name: [None if v is None else float(f"{v:.4g}") for v in ys] for name, ys in series.items()},
    }
    said = "; ".join(f"{name} from {_first(ys)} to {_first(ys[::-1])}{chart.unit}" for name, ys in series.items())
    return (
        f'<figure class="chart" tabindex="0" data-chart="{escape(json.dumps(data))}">'
        f"<figcaption>{escape(chart.title)}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(f"{chart.title}: {said}")}">'
        f'{"".join(parts)}</svg><output aria-live="off"></output></figure>'
    )


def bar_chart(title: str, labels: Sequence[str], series: Mapping[str, Sequence[float]], x_label: str) -> str:
    """Shares (fractions) in groups of bars, one a series, as a ``<figure>``; a bar tells its value when pointed at."""
    most = max((v for values in series.values() for v in values), default=0.0)
    ticks = nice(0.0, 100 * most if most > 0 else 1.0)

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
    parts.append(f'<text class="tick mid" x="{(LEFT + right) / 2:.0f}" y="{HEIGHT - 6}">{escape(x_label)}</text>')
    for i, name in enumerate(series):
        x = right - 90 * (len(series) - i)
        parts.append(
            f'<rect class="bar s{i}" x="{x}" y="2" width="10" height="10"/>'
            f'<text class="tick" x="{x + 15}" y="11">{escape(name)}</text>'
        )
    said = "; ".join(f"{name}: " + ", ".join(f"{100 * v:.0f} %" for v in values) for name, values in series.items())
    return (
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(f"{title}: {said}")}">'
        f"{''.join(parts)}</svg></figure>"
    )


def nice(low: float, high: float) -> list[float]:
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
    """Each value averaged with its neighbours, ``window`` in all, fewer at the ends; None is left out, and stays."""
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


def _x_axis(ticks: Sequence[float], px: Callable[[float], float], label: str) -> str:
    y = HEIGHT - BOTTOM
    marks = "".join(f'<text class="tick mid" x="{px(t):.1f}" y="{y + 15}">{short(t)}</text>' for t in ticks)
    return f'{marks}<text class="tick mid" x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 6}">{escape(label)}</text>'


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    """An SVG path, interrupted where there is no point."""
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


def _apart(ends: list[tuple[float, int, str]], gap: float) -> list[tuple[float, int, str]]:
    """Names moved down where they would stand on each other, and the whole stack up where it would leave the chart."""
    placed: list[tuple[float, int, str]] = []
    for y, i, name in sorted(ends):
        placed.append((max(y, placed[-1][0] + gap) if placed else y, i, name))
    over = max(0.0, placed[-1][0] - (HEIGHT - BOTTOM)) if placed else 0.0
    return [(y - over, i, name) for y, i, name in placed]


def _first(values: Values) -> str:
    return next((short(v) for v in values if v is not None), "?")
