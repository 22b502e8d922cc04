r"""Do errors add up? P(correct) against length, held against (1 - e)^n.

The argument (LeCun's, and much repeated since): if each of n steps goes wrong with the same probability e,
independently and for good, then

    P(correct | n) = (1 - e)^n

and long answers are doomed. It is tested, not assumed: e is fitted by maximum likelihood to all attempts,

    maximise  sum_i  c_i n_i log(1 - e) + (1 - c_i) log(1 - (1 - e)^n_i)            c_i = 1 where attempt i is right

and what each length really has stands beside what the fit says, with the error a step that this length alone would
give, 1 - P(correct | n)^(1/n): under the argument that is flat. With self-correction the steps of both attempts count,
so the argument says that a second attempt can only lose.

Length may be counted in tokens or in steps; it is the model's own choice, and harder problems get longer answers, so a
curve that falls faster than its fit is no proof of the argument either.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

STEP = re.compile(r"=|\n|[.!?](?=\s)")


class CompoundingErrorFit(NamedTuple):
    """P(correct) by length: one entry a bin, shortest first."""

    length: Float[np.ndarray, " j"]
    """Mean length in the bin."""
    correct: Float[np.ndarray, " j"]
    predicted: Float[np.ndarray, " j"]
    """Mean of (1 - e)^n over the bin's attempts, e of the whole."""
    error: Float[np.ndarray, " j"]
    """The error a step that the bin alone gives."""
    n: Int[np.ndarray, " j"]
    """How many attempts are in the bin."""


def count_steps(text: Shaped[np.ndarray, "*b"]) -> Int[np.ndarray, "*b"]:
    """How many steps each text takes: its equals signs, ends of sentences and line ends, at least one."""
    return np.array([max(1, len(STEP.findall(one.strip()))) for one in text.ravel().tolist()]).reshape(text.shape)


def per_step_error(length: Shaped[np.ndarray, " m"], correct: Bool[np.ndarray, " m"]) -> float:
    """The e of (1 - e)^n that makes these outcomes likeliest; 0 where all are right, 1 where none is, nan for none."""
    if not len(length):
        return float("nan")
    if correct.all() or not correct.any():
        return 0.0 if correct.all() else 1.0
    n = length.astype(float)
    right, wrong = n[correct].sum(), n[~correct]

    def slope(theta: float) -> float:  # of the log-likelihood, which is concave in theta = log(1 - e) < 0
        with np.errstate(over="ignore"):
            return float(right - (wrong / np.expm1(-wrong * theta)).sum())

    low, high = -1.0, -1e-12
    while slope(low) < 0:
        low *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return float(-np.expm1(low))


def curve(
    length: Shaped[np.ndarray, " m"], correct: Bool[np.ndarray, " m"], bins: int, error: float
) -> CompoundingErrorFit:
    """P(correct) in at most ``bins`` bins of about as many attempts each, and what ``error`` predicts for them.

    Attempts of one length are never parted, so there may be fewer bins. Empty for no attempt.
    """
    edges: np.ndarray = (
        np.unique(np.quantile(length, np.linspace(0, 1, bins + 1)[1:-1], method="higher"))
        if len(length)
        else np.zeros(0)
    )
    which = np.unique(np.searchsorted(edges, length, side="right"), return_inverse=True)[1]
    count = np.bincount(which)
    mean, share, said = (
        np.bincount(which, weights=w) / np.maximum(count, 1)
        for w in (length.astype(float), correct.astype(float), (1 - error) ** length.astype(float))
    )
    each = np.array([per_step_error(length[which == j], correct[which == j]) for j in range(len(count))], dtype=float)
    return CompoundingErrorFit(mean, share, said, each, count)


def second_attempt(length: Shaped[np.ndarray, "p n k"], correct: Bool[np.ndarray, "p n k"]) -> dict[str, float]:
    """The argument put to the test by self-correction, on attempts one and two.

    ``error`` is fitted to first attempts; ``predicted`` is what (1 - e)^(n1 + n2) then says of the second, whose steps
    come on top; ``correct`` is how many were right; ``error_after`` the error a step fitted to both attempts' steps.
    """
    first, both = length[:, :, 0].ravel(), length[:, :, :2].sum(axis=2).ravel()
    right = correct[:, :, 1].ravel()
    error = per_step_error(first, correct[:, :, 0].ravel())
    predicted = float(((1 - error) ** both.astype(float)).mean())
    return {
        "error": error,
        "predicted": predicted,
        "correct": float(right.mean()),
        "error_after": per_step_error(both, right),
    }


def by_problem(
    length: Shaped[np.ndarray, "p n k"], correct: Bool[np.ndarray, "p n k"]
) -> dict[str, Float[np.ndarray, " p"]]:
    """``second_attempt`` as a value a problem, so that an interval can be taken over problems.

    ``excess``: how much more often the second attempt is right than ``predicted``. The error is fitted to the same
    problems, so each value has its problem's pull on the fit in it: the means are those of ``second_attempt``, and the
    spread is that of the fit as well. The pull on theta = log(1 - e) is s / I, s the slope of the problem's
    log-likelihood and I the mean curvature of all.
    """
    first, both = length[:, :, 0].astype(float), length[:, :, :2].sum(axis=2).astype(float)
    right = correct[:, :, 0]
    error = per_step_error(first.ravel(), right.ravel())
    kept = (1 - error) ** both
    pull = np.zeros(len(first))
    if 0 < error < 1:
        lives = (1 - error) ** first
        slope = np.where(right, first, -first * lives / (1 - lives))
        curvature = np.where(right, 0.0, first**2 * lives / (1 - lives) ** 2)
        pull = slope.mean(axis=1) / curvature.mean()
    predicted = kept.mean(axis=1) + (both * kept).mean() * pull
    return {
        "error": error - (1 - error) * pull,
        "predicted": predicted,
        "excess": correct[:, :, 1].mean(axis=1) - predicted,
    }
