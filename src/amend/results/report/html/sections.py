"""The report's figures as HTML: curves of training, the four classes of attempts, how much second attempts rewrite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from amend.results.analysis.metric_registry import EDIT_DISTANCE_BINS
from amend.results.metrics import compounding_error, confidence
from amend.results.metrics.episode_table import EpisodeTable, select
from amend.results.metrics.self_correction import CLASSES, classes, edit_distance, histogram
from amend.results.report.charts.chart import BarChart, Chart, LineChart
from amend.results.report.charts.html import figure
from amend.results.report.html.tables import scrolling
from amend.results.run_folder.reader import Run

LENGTH_BINS = 8  # of the charts over the length and the perplexity of an answer


def length_charts(run: Run) -> list[Chart]:
    """Return accuracy by steps and by perplexity, for each phase and attempt, if greedy attempts were kept."""
    tables = {phase: select(run.episodes, phase, "greedy") for phase in ("base", "trained")}
    return [
        chart
        for phase, table in tables.items()
        if len(table)
        for chart in (*by_steps(table, phase), *by_perplexity(table, phase))
    ]


def lengths(run: Run) -> str:
    """Return the section of ``length_charts``, or "" without charts."""
    charts = length_charts(run)
    if not charts:
        return ""
    return (
        '<h2>Compounding errors and confidence</h2><p class="soft">Greedy; share right, in up to eight groups of '
        "equally many attempts. By steps: n counts the steps of all attempts so far, and (1−e)^n is the accuracy "
        "without any correction, with e the error per step of first attempts. By perplexity: a falling line means that "
        f'the model is more confident in correct answers.</p><div class="grid">{"".join(map(figure, charts))}</div>'
    )


def by_steps(table: EpisodeTable, phase: str) -> list[LineChart]:
    """Return for each attempt the accuracy by number of steps so far, with the prediction (1 - e)^n."""
    steps = compounding_error.count_steps(table.text)
    error = compounding_error.per_step_error(steps[:, :, 0].ravel(), table.correct[:, :, 0].ravel())
    charts = []
    for turn in range(table.turns):
        so_far = steps[:, :, : turn + 1].sum(axis=2).ravel()
        bins = compounding_error.curve(so_far, table.correct[:, :, turn].ravel(), LENGTH_BINS, error)
        series = {"right": bins.correct.tolist(), "(1−e)^n": bins.predicted.tolist()}
        charts.append(LineChart(title(phase, turn, "steps"), bins.length.tolist(), "steps so far", series, "%", []))
    return charts


def by_perplexity(table: EpisodeTable, phase: str) -> list[LineChart]:
    """Return for each attempt with known log-probabilities the accuracy by perplexity."""
    charts = []
    for turn in range(table.turns):
        perplexity = confidence.perplexity(table.logp[:, :, turn], table.tokens[:, :, turn]).ravel()
        known = np.isfinite(perplexity)
        x, right, _ = confidence.reliability_curve(
            perplexity[known], table.correct[:, :, turn].ravel()[known], LENGTH_BINS
        )
        if len(x):
            charts.append(
                LineChart(
                    title(phase, turn, "perplexity"), x.tolist(), "perplexity", {"right": right.tolist()}, "%", []
                )
            )
    return charts


def title(phase: str, turn: int, by: str) -> str:
    """What such a chart is called; ``turn`` counts from 0, ``by`` is "steps" or "perplexity"."""
    return f"{phase.capitalize()}, attempt {turn + 1}, by {by}"


MARKS = ("ii", "ic", "ci", "cc")  # the page's names for CLASSES
MEANING = ("stayed wrong", "corrected", "broken", "kept right")
TURNS = range(1, 10)
CURVES: tuple[tuple[str, dict[str, str], str], ...] = (
    ("Training accuracy", {f"accuracy_t{t}": f"turn {t}" for t in TURNS}, ""),
    ("Training reward", {f"reward_t{t}": f"turn {t}" for t in TURNS}, ""),
    ("KL to the base model (nats)", {f"kl_t{t}": f"turn {t}" for t in TURNS}, ""),
    ("Answer changed at turn 2", {"change_rate": "changed"}, "%"),
    ("Flips between the turns", {"i_to_c": "i→c", "c_to_i": "c→i"}, "%"),
    ("Entropy (nats a token)", {"entropy": "entropy"}, ""),
    ("Wasted work", {"response_length/clip_ratio": "cut off", "frac_reward_zero_std": "equal rewards"}, "%"),
)
"""The curves: a title, keys of metrics.jsonl with their names, and the unit."""


def curve_charts(metrics: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Return the curves of training against sampled tokens, or against iterations if the tokens are not known."""
    by_tokens = all("sampled_tokens" in row for row in metrics)
    x = [float(row["sampled_tokens"] if by_tokens else i + 1) for i, row in enumerate(metrics)]
    marks = [
        (x[i], f"Stage {row['stage']}")
        for i, row in enumerate(metrics)
        if i > 0 and row.get("stage") and row["stage"] != metrics[i - 1].get("stage")
    ]
    charts: list[Chart] = []
    for title, keys, unit in CURVES:
        measured = {
            name: key for key, name in keys.items() if any(_number(row.get(key)) is not None for row in metrics)
        }
        series = {name: [_number(row.get(key)) for row in metrics] for name, key in measured.items()}
        if series:
            charts.append(LineChart(title, x, "sampled tokens" if by_tokens else "iteration", series, unit, marks))
    return charts


def curves(metrics: Sequence[Mapping[str, Any]]) -> str:
    """Return the section of ``curve_charts``, or "" without iterations."""
    if not metrics:
        return ""
    return (
        f'<h2>Training</h2><p class="soft">{len(metrics)} iterations. Thick: moving average; faint: every iteration. '
        "Point at a chart, or focus it and use the arrow keys, to read values. Cut off: replies that reached the "
        "length limit. Equal rewards: problems whose episodes all had the same reward and so teach nothing.</p>"
        f'<div class="grid">{"".join(map(figure, curve_charts(metrics)))}</div>'
    )


def flips(run: Run) -> str:
    """The four classes before and after, and which problem went from which to which."""
    tables = _two_turns(run)
    if not tables:
        return ""
    of = {phase: classes(table.correct[:, :, 0], table.correct[:, :, 1])[:, 0] for phase, table in tables.items()}
    bars = rows = ""
    for phase, group in of.items():
        shares = (np.bincount(group, minlength=4) / len(group)).tolist()
        bars += (
            f'<span>{phase}</span><div class="stack" aria-hidden="true">{"".join(map(_part, range(4), shares))}</div>'
        )
        rows += f'<tr><th scope="row">{phase}</th>' + "".join(f"<td>{100 * s:.1f} %</td>" for s in shares) + "</tr>"
    heads = "".join(
        f'<th scope="col"><span class="key {mark}"></span>{name}<br><span class="soft">{word}</span></th>'
        for mark, name, word in zip(MARKS, CLASSES, MEANING, strict=True)
    )
    return (
        '<h2>What the second attempt did</h2><p class="soft">Greedy; share of all problems. i: incorrect, c: correct, '
        f'at the first and at the second attempt.</p><div class="flow">{bars}</div>{scrolling("Classes")}<table>'
        f"<thead><tr><td></td>{heads}</tr></thead><tbody>{rows}</tbody></table></div>{_crossed(tables, of)}"
    )


def distance_charts(run: Run) -> list[Chart]:
    """Return how far second attempts are from first attempts; a run of one turn has no chart."""
    tables = _two_turns(run)
    shares = {
        phase: histogram(edit_distance(table.text[:, :, 0], table.text[:, :, 1]), EDIT_DISTANCE_BINS).tolist()
        for phase, table in tables.items()
    }
    labels = [f"{i / EDIT_DISTANCE_BINS:.1f}" for i in range(EDIT_DISTANCE_BINS)]
    x_label = f"edit distance ratio, each bar {1 / EDIT_DISTANCE_BINS:g} wide from …"
    return [BarChart("Share of problems", labels, shares, x_label)] if tables else []


def distances(run: Run) -> str:
    """Return the section of ``distance_charts``, or "" without a chart."""
    charts = distance_charts(run)
    if not charts:
        return ""
    return (
        '<h2>How much it rewrote</h2><p class="soft">Greedy. Levenshtein distance of the two attempts over the sum of '
        "their lengths, in characters: 0 is a copy. A tall first bar after training is the collapse of a model that no "
        f'longer tries.</p><div class="chartbox">{"".join(map(figure, charts))}</div>'
    )


def _number(value: Any) -> float | None:
    """A finite number, else None."""
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None


def _two_turns(run: Run) -> dict[str, EpisodeTable]:
    """The greedy tables that have a second turn, by phase."""
    tables = {phase: select(run.episodes, phase, "greedy") for phase in ("base", "trained")}
    return {phase: table for phase, table in tables.items() if len(table) and table.turns > 1}


def _part(group: int, share: float) -> str:
    """Return the part of a stacked bar for one class, with its name if there is room."""
    if not share:
        return ""
    word = f"{CLASSES[group]} {100 * share:.0f} %" if share > 0.09 else ""
    return f'<span class="{MARKS[group]}" style="flex:{share:.4f} 1 0">{word}</span>'


def _crossed(tables: Mapping[str, EpisodeTable], of: Mapping[str, np.ndarray]) -> str:
    """How many problems of each class before are in each class after."""
    if len(tables) < 2:
        return ""
    before = dict(zip(tables["base"].problem.tolist(), of["base"].tolist(), strict=True))
    counts = np.zeros((4, 4), dtype=int)
    for problem, now in zip(tables["trained"].problem.tolist(), of["trained"].tolist(), strict=True):
        if problem in before:
            counts[before[problem], now] += 1
    most = max(1, int(counts.max()))
    rows = "".join(
        f'<tr><th scope="row">{name} before</th>'
        + "".join(f'<td class="shade" style="--a:{0.55 * c / most:.2f}">{c}</td>' for c in counts[i])
        + f"<td>{counts[i].sum():,}</td></tr>"
        for i, name in enumerate(CLASSES)
    )
    totals = "".join(f'<td class="mid">{c}</td>' for c in counts.sum(axis=0))
    heads = "".join(f'<th scope="col" class="mid">{name} after</th>' for name in CLASSES)
    return (
        '<h3>Where each problem went</h3><p class="soft">Problems by their class before training (rows) and after '
        f'(columns).</p>{scrolling("Where each problem went")}<table><thead><tr><td></td>{heads}<th scope="col">all'
        f'</th></tr></thead><tbody>{rows}<tr><th scope="row">all</th>{totals}<td>{counts.sum():,}</td></tr></tbody>'
        "</table></div>"
    )
