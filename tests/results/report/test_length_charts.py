"""Right by steps and by perplexity, by hand: four problems, two attempts each, of one step or of two."""

from __future__ import annotations

import math

import numpy as np
import pytest
from synthetic_run import write

from amend.results.metrics.episode_table import COLUMNS, EpisodeTable, select
from amend.results.report.html.sections import by_perplexity, by_steps, lengths
from amend.results.run_folder.reader import Run, read_run

ONE, TWO = "2+2=4", "2+2=4 and 4+4=8"  # steps are counted by equals signs
# problem: (text, right, logp, tokens) of attempt 1 and of attempt 2
ATTEMPTS = {
    "a": ((ONE, True, -1.0, 5), (ONE, True, -1.0, 5)),
    "b": ((ONE, True, -1.0, 5), (ONE, False, -2.0, 5)),
    "c": ((TWO, True, -2.0, 10), (TWO, True, -2.0, 10)),
    "d": ((TWO, False, -20.0, 10), (TWO, True, -2.0, 10)),
}


def table(attempts=ATTEMPTS) -> EpisodeTable:
    columns = {name: [] for name in COLUMNS}
    for problem, turns in attempts.items():
        for turn, (text, right, logp, tokens) in enumerate(turns, 1):
            row = {
                "phase": "base", "decoding": "greedy", "problem": problem, "sample": 0, "turn": turn, "question": "?",
                "gold": "4", "level": 1, "subject": "", "text": text, "answer": "4", "correct": right, "why": "",
                "tokens": tokens, "logp": logp, "stop": "end",
            }  # fmt: skip
            for name in COLUMNS:
                columns[name].append(row.get(name, np.nan))
    return select(columns, "base", "greedy")


def test_steps_add_up_over_attempts() -> None:
    """Right at first: 2 of 2 with one step, 1 of 2 with two. The likeliest e solves 4/(1-e) = 2(1-e)/(1-(1-e)^2), so
    (1-e)^2 = 2/3. Of second attempts n is the steps of both: 1 of 2 with two, 2 of 2 with four."""
    first, second = by_steps(table(), "base")
    kept = 2 / 3  # (1 - e)^2
    assert first.title == "Base, attempt 1, by steps" and second.title == "Base, attempt 2, by steps"
    assert list(first.x) == [1.0, 2.0] and list(second.x) == [2.0, 4.0]
    assert list(first.series["right"]) == [1.0, 0.5] and list(second.series["right"]) == [0.5, 1.0]
    assert list(first.series["(1−e)^n"]) == pytest.approx([math.sqrt(kept), kept])
    assert list(second.series["(1−e)^n"]) == pytest.approx([kept, kept**2])


def test_perplexity_is_a_token_and_surest_first() -> None:
    first, second = by_perplexity(table(), "base")
    assert list(first.x) == pytest.approx([math.exp(0.2), math.exp(2.0)])
    assert list(first.series["right"]) == [1.0, 0.0]
    assert list(second.x) == pytest.approx([math.exp(0.2), math.exp(0.4)])
    assert list(second.series["right"]) == [1.0, 0.0]


def test_attempts_without_a_log_probability_have_no_perplexity() -> None:
    unknown = {p: tuple((*a[:2], math.nan, a[3]) for a in turns) for p, turns in ATTEMPTS.items()}
    assert by_perplexity(table(unknown), "base") == []
    assert len(by_steps(table(unknown), "base")) == 2


def test_a_run_has_a_chart_for_each_phase_and_attempt(tmp_path) -> None:
    said = lengths(read_run(write(tmp_path / "run")))
    for phase in ("Base", "Trained"):
        for attempt in (1, 2):
            for by in ("steps", "perplexity"):
                assert f"<figcaption>{phase}, attempt {attempt}, by {by}</figcaption>" in said
    assert said.count("<svg") == 8


def test_a_run_that_kept_no_attempt_has_no_section(tmp_path) -> None:
    empty = {name: [] for name in COLUMNS}
    assert lengths(Run(tmp_path, "", {}, (), (), empty, {})) == ""
