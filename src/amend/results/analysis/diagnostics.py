"""Metrics beyond accuracy: diversity, signs of collapse, confidence and compounding errors.

Each function reads one (phase, decoding) of a run's episode table and returns the content for summary.json. It
returns nothing that the table cannot show. Means over problems have their bootstrap interval I; metrics of a whole
table are plain numbers.
"""

from __future__ import annotations

from typing import Any
from zlib import crc32

import numpy as np
from jaxtyping import Float

from amend.results.metrics import compounding_error, confidence, diversity, pass_at_k
from amend.results.metrics.diversity import unique_across, unique_solutions
from amend.results.metrics.episode_table import Columns, EpisodeTable, select
from amend.results.metrics.pass_at_k import best_at_k
from amend.results.stats.intervals import bootstrap

Figures = dict[str, Any]
SEED = 20_240_919  # of every bootstrap; no figure depends on the run's seed by way of its interval


def rng_for(name: str) -> np.random.Generator:
    """Return the random generator of one metric's interval, which depends on the metric's name alone."""
    return np.random.default_rng([SEED, crc32(name.encode())])


def mean(values: Float[np.ndarray, " p"], name: str) -> dict[str, float] | None:
    """Return the interval over the problems that have a value, or None without such a problem."""
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    return {key: float(value) for key, value in bootstrap(known, rng_for(name))._asdict().items()}


def spread(table: EpisodeTable, turn: int) -> Figures:
    """Diversity of a turn's attempts, within a problem and across problems, over all outputs and over right ones."""
    text, answer, correct = (column[:, :, turn] for column in (table.text, table.answer, table.correct))
    found: Figures = {}
    for which, keep in (("all", np.ones_like(correct)), ("right", correct)):
        each = diversity.within(text, answer, keep) | {"unique_solutions": unique_solutions(text, keep).astype(float)}
        found[which] = {
            "within": _known({name: mean(values, name) for name, values in each.items()}),
            "across": _known(diversity.across(text, answer, keep) | {"unique_solutions": unique_across(text, keep)}),
        }
    return found


def best_of(table: EpisodeTable, turn: int, ks: list[int]) -> dict[str, Figures]:
    """Return the accuracy of the best of k samples.

    ``best_at`` chooses the sample with the highest log-probability per token, ``rerank_at`` the one that
    ``eval.reranker`` prefers.
    """
    correct = table.correct[:, :, turn]
    scores = {
        "best_at": confidence.mean_logp(table.logp[:, :, turn], table.tokens[:, :, turn]),
        "rerank_at": table.score[:, :, turn],
    }
    return {
        name: {str(k): mean(best_at_k(score, correct, k), f"{name}{k}") for k in ks}
        for name, score in scores.items()
        if not np.isnan(score).any()
    }


def state(table: EpisodeTable, is_sampled: bool) -> Figures:
    """Return signs of collapse: groups without variance and, for sampled replies, the entropy per token."""
    found: Figures = {}
    if table.correct.shape[1] > 1:
        found["zero_variance"] = mean(diversity.zero_variance(table.correct[:, :, -1]), "zero_variance")
    if is_sampled:
        entropy = diversity.token_entropy(table.logp[:, :, 0], table.tokens[:, :, 0])
        found["token_entropy"] = mean(entropy, "token_entropy")
    return _known(found)


def lasting(table: EpisodeTable) -> Figures:
    """Errors a step against (1 - e)^n, and perplexity against correctness; by turn, and of the second attempt."""
    found: Figures = {"survival": {}, "confidence": {}}
    steps = compounding_error.count_steps(table.text)
    for turn in range(table.turns):
        right = table.correct[:, :, turn].ravel()
        of = {}
        for unit, length in (("steps", steps), ("tokens", table.tokens)):
            some = length[:, :, turn].ravel()
            error = compounding_error.per_step_error(some, right)
            bins = compounding_error.curve(some, right, 8, error)
            of[unit] = {"error": error, "curve": {name: value.tolist() for name, value in bins._asdict().items()}}
        found["survival"][f"t{turn + 1}"] = of
        measured = confidence.confidence_metrics(
            table.logp[:, :, turn].ravel(), table.tokens[:, :, turn].ravel(), right
        )
        found["confidence"][f"t{turn + 1}"] = _known(measured)
    if table.turns > 1:
        found["survival"]["second_attempt"] = {
            unit: _known(compounding_error.second_attempt(length, table.correct))
            for unit, length in (("steps", steps), ("tokens", table.tokens))
        }
    return found


def sampling_efficiency_gap(columns: Columns) -> dict[str, float]:
    """Return ΔSE of first attempts, pass@k(base) - pass@1(trained), with its interval and k; {} if k is 1."""
    for decoding in ("wide", "sampled"):
        base, trained = (select(columns, phase, decoding) for phase in ("base", "trained"))
        k = base.correct.shape[1]
        if k > 1 and base.problem.tolist() == trained.problem.tolist():
            lost = pass_at_k.sampling_efficiency_gap(base.correct[:, :, 0], trained.correct[:, :, 0], k)
            return {**(mean(lost, "sampling_efficiency_gap") or {}), "k": k}
    return {}


def _known(figures: Figures) -> Figures:
    """Remove undefined values, because nan is not JSON."""
    return {name: value for name, value in figures.items() if value is not None and value == value}
