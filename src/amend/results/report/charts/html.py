"""Charts as ``<figure>`` elements of a page, whose script reads the values of a line chart at the pointer."""

from __future__ import annotations

import json
from html import escape

from amend.results.report.charts.chart import Chart
from amend.results.report.charts.svg import draw


def figure(chart: Chart) -> str:
    """Return ``chart`` as HTML."""
    drawing = draw(chart)
    place = "" if drawing.place is None else f' data-g="{drawing.place}"'
    data = "" if drawing.data is None else f' tabindex="0" data-chart="{escape(json.dumps(drawing.data))}"'
    value = "" if drawing.data is None else '<output aria-live="off"></output>'
    return (
        f'<figure{place} class="chart"{data}><figcaption>{escape(chart.title)}</figcaption>'
        f'<svg viewBox="0 0 {drawing.width} {drawing.height}" role="img" aria-label="{escape(drawing.description)}">'
        f"{drawing.elements}</svg>{value}</figure>"
    )
