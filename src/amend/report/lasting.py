"""What an attempt's length and its certainty say of whether it is right, as charts of a run's page.

    right, by steps         do errors add up? Beside it (1 - e)^n, e the error a step fitted to first attempts, n the
                            steps so far: of a second attempt those of both. Above it, correcting oneself escapes
    right, by perplexity    does the model know? Where it does, the line falls

Greedy attempts in at most eight bins of about as many each (``metric.survival``, ``metric.confidence``).
"""

from __future__ import annotations

import numpy as np

from amend.metric import confidence, survival
from amend.metric.table import Table, arrange
from amend.report.files import Run
from amend.report.svg import Chart, line_chart

BINS = 8


def lasting(run: Run) -> str:
    """The section; "" where no greedy attempt was kept."""
    drawn = []
    for phase in ("base", "trained"):
        table = arrange(run.episodes, phase, "greedy")
        if len(table):
            drawn += [line_chart(chart) for chart in (*by_steps(table, phase), *by_perplexity(table, phase))]
    if not drawn:
        return ""
    return (
        '<h2>Do errors add up, and does it know?</h2><p class="soft">Greedy; share right, in up to eight groups of '
        "about as many attempts. By steps: n counts those of all attempts so far, and (1−e)^n is what e, the error a "
        "step of first attempts, would leave right were no error ever mended. By perplexity: a line that falls is a "
        f'model surer where it is right.</p><div class="grid">{"".join(drawn)}</div>'
    )


def by_steps(table: Table, phase: str) -> list[Chart]:
    """Of each attempt, how many are right by the steps so far, and what (1 - e)^n says of them."""
    steps = survival.steps(table.text)
    error = survival.per_step_error(steps[:, :, 0].ravel(), table.correct[:, :, 0].ravel())
    charts = []
    for turn in range(table.turns):
        so_far = steps[:, :, : turn + 1].sum(axis=2).ravel()
        bins = survival.curve(so_far, table.correct[:, :, turn].ravel(), BINS, error)
        series = {"right": bins.correct.tolist(), "(1−e)^n": bins.predicted.tolist()}
        charts.append(Chart(title(phase, turn, "steps"), bins.length.tolist(), "steps so far", series, "%", []))
    return charts


def by_perplexity(table: Table, phase: str) -> list[Chart]:
    """Of each attempt whose log-probability is known, how many are right by perplexity."""
    charts = []
    for turn in range(table.turns):
        perplexity = confidence.perplexity(table.logp[:, :, turn], table.tokens[:, :, turn]).ravel()
        known = np.isfinite(perplexity)
        x, right, _ = confidence.curve(perplexity[known], table.correct[:, :, turn].ravel()[known], BINS)
        if len(x):
            charts.append(
                Chart(title(phase, turn, "perplexity"), x.tolist(), "perplexity", {"right": right.tolist()}, "%", [])
            )
    return charts


def title(phase: str, turn: int, by: str) -> str:
    """What such a chart is called; ``turn`` counts from 0, ``by`` is "steps" or "perplexity"."""
    return f"{phase.capitalize()}, attempt {turn + 1}, by {by}"
