"""Charts as values: what a chart shows, and not how it looks.

``svg.draw`` turns a chart into SVG elements. ``html.figure`` puts them into a page, and ``export.svg_file`` into a
file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Values = Sequence[float | None]
Interval = tuple[float, float, float]
"""Mean, lower end and upper end, as fractions."""


@dataclass(frozen=True)
class LineChart:
    """Lines over a common x. The y axis starts at 0, or below 0 if a value does.

    Attributes:
        title: The title.
        x: The x values.
        x_label: The label of the x axis.
        series: Each line by name, as long as ``x``; None for a missing value.
        unit: "%" multiplies the values by 100 and marks the axis with %; "" leaves them.
        marks: Vertical lines, each at an x with a word.
        bands: The lower and the upper end of a shaded band around a line, by the name of the line.
        places: The colour and dash of a line, by name, and the number by which the page's switches know it. Charts
            with few lines have none, and their long lines are smoothed.
        log: Whether the x axis is logarithmic, with a tick at each x.
    """

    title: str
    x: Sequence[float]
    x_label: str
    series: Mapping[str, Values]
    unit: str
    marks: Sequence[tuple[float, str]]
    bands: Mapping[str, tuple[Values, Values]] = field(default_factory=dict)
    places: Mapping[str, int] = field(default_factory=dict)
    log: bool = False


@dataclass(frozen=True)
class BarChart:
    """Groups of bars, one bar of a group for each series.

    Attributes:
        title: The title.
        labels: The label of each group.
        series: The height of the bars of each series, as fractions, one for each label.
        x_label: The label of the x axis.
        place: The number by which the page's switches know the chart, or None.
    """

    title: str
    labels: Sequence[str]
    series: Mapping[str, Sequence[float]]
    x_label: str
    place: int | None = None


@dataclass(frozen=True)
class IntervalChart:
    """One row per name, with its mean and its interval.

    Attributes:
        title: The title.
        rows: The intervals by name, as fractions, which are shown in percentage points.
        places: The colour of a row, by name, and the number by which the page's switches know it.
        reference: The position of a dashed vertical line, as a fraction, or None.
    """

    title: str
    rows: Mapping[str, Interval]
    places: Mapping[str, int]
    reference: float | None


Chart = LineChart | BarChart | IntervalChart
