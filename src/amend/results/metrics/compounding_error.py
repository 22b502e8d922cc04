r"""Test whether errors compound: fit P(correct) = (1 - e)^n and compare the fit with the data.

The argument (LeCun) assumes that each of n steps is wrong with the same probability e. It also assumes that errors are
independent and never corrected. Then

    P(correct | n) = (1 - e)^n

and long answers almost always fail. This module fits e to all attempts by maximum likelihood,

    maximise  sum_i  c_i n_i log(1 - e) + (1 - c_i) log(1 - (1 - e)^n_i)

c_i is 1 if attempt i is correct and 0 otherwise; n_i is the length of attempt i. ``curve`` compares the fit with the
accuracy of attempts of each length. It also fits an error per step to each length alone, which for attempts of equal
length is 1 - P(correct | n)^(1/n). If the argument holds, this error is the same for all lengths. With
self-correction the steps of both attempts count, so the argument predicts that a second attempt lowers accuracy.

Length is counted in tokens or in steps. The model chooses the length, and harder problems get longer answers.
Therefore a curve that falls faster than its fit does not prove the argument.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

STEP = re.compile(r"=|\n|[.!?](?=\s)")


class CompoundingErrorFit(NamedTuple):
    """Accuracy by length, with one entry per bin of lengths, shortest first."""

    length: Float[np.ndarray, " j"]
    """Mean length of the attempts in the bin."""
    correct: Float[np.ndarray, " j"]
    """Share of correct attempts in the bin."""
    predicted: Float[np.ndarray, " j"]
    """Mean of (1 - e)^n over the attempts in the bin; e is one error per step for all bins."""
    error: Float[np.ndarray, " j"]
    """Error per step, fitted to the attempts in this bin only."""
    n: Int[np.ndarray, " j"]
    """Number of attempts in the bin."""


def count_steps(text: Shaped[np.ndarray, "*b"]) -> Int[np.ndarray, "*b"]:
    """Count the steps of each text: its equals signs, sentence ends and line ends, but at least one.

    Args:
        text: Strings, in an array of any shape.

    Returns:
        The number of steps of each text, in the shape of ``text``.
    """
    return np.array([max(1, len(STEP.findall(item.strip()))) for item in text.ravel().tolist()]).reshape(text.shape)


def per_step_error(length: Shaped[np.ndarray, " m"], correct: Bool[np.ndarray, " m"]) -> float:
    """Fit the error per step e of P(correct) = (1 - e)^n by maximum likelihood.

    Args:
        length: The length n of each of m attempts, in tokens or steps.
        correct: Whether each attempt is correct.

    Returns:
        The error per step, from 0 (all attempts are correct) to 1 (none is); nan if there is no attempt.
    """
    if not len(length):
        return float("nan")
    if correct.all() or not correct.any():
        return 0.0 if correct.all() else 1.0
    n = length.astype(float)
    correct_steps, wrong_lengths = n[correct].sum(), n[~correct]

    def slope(theta: float) -> float:
        """Return the derivative of the log-likelihood, which is concave in theta = log(1 - e) < 0."""
        with np.errstate(over="ignore"):
            return float(correct_steps - (wrong_lengths / np.expm1(-wrong_lengths * theta)).sum())

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
    """Compare the accuracy of attempts with the prediction (1 - e)^n, in bins of similar length.

    The bins are quantiles of length, so each has about the same number of attempts.

    Args:
        length: The length n of each of m attempts, in tokens or steps.
        correct: Whether each attempt is correct.
        bins: The maximum number of bins. Attempts of equal length share a bin, so there may be fewer.
        error: The error per step e of the prediction.

    Returns:
        The statistics of each bin; empty arrays if there is no attempt.
    """
    edges: np.ndarray = (
        np.unique(np.quantile(length, np.linspace(0, 1, bins + 1)[1:-1], method="higher"))
        if len(length)
        else np.zeros(0)
    )
    bin_index = np.unique(np.searchsorted(edges, length, side="right"), return_inverse=True)[1]
    count = np.bincount(bin_index)
    mean_length, accuracy, predicted = (
        np.bincount(bin_index, weights=w) / np.maximum(count, 1)
        for w in (length.astype(float), correct.astype(float), (1 - error) ** length.astype(float))
    )
    bin_error = np.array(
        [per_step_error(length[bin_index == j], correct[bin_index == j]) for j in range(len(count))], dtype=float
    )
    return CompoundingErrorFit(mean_length, accuracy, predicted, bin_error, count)


def second_attempt(length: Shaped[np.ndarray, "p n k"], correct: Bool[np.ndarray, "p n k"]) -> dict[str, float]:
    """Compare the accuracy of second attempts with the accuracy that compounding errors predict.

    The error per step e is fitted to the first attempts, of length n1. A second attempt adds n2 steps, so the
    predicted accuracy is the mean of (1 - e)^(n1 + n2).

    Args:
        length: The length of each attempt, in tokens or steps, for p problems, n samples and k >= 2 turns.
        correct: Whether each attempt is correct.

    Returns:
        ``error``, the e of first attempts; ``predicted``, the predicted accuracy of second attempts; ``correct``,
        their accuracy; ``error_after``, the e of second attempts if the steps of both attempts count.
    """
    first, both = length[:, :, 0].ravel(), length[:, :, :2].sum(axis=2).ravel()
    second_correct = correct[:, :, 1].ravel()
    error = per_step_error(first, correct[:, :, 0].ravel())
    predicted = float(((1 - error) ** both.astype(float)).mean())
    return {
        "error": error,
        "predicted": predicted,
        "correct": float(second_correct.mean()),
        "error_after": per_step_error(both, second_correct),
    }


def by_problem(
    length: Shaped[np.ndarray, "p n k"], correct: Bool[np.ndarray, "p n k"]
) -> dict[str, Float[np.ndarray, " p"]]:
    """Compute the quantities of ``second_attempt`` as one value per problem, for intervals over problems.

    The error per step is fitted to the same problems, so each value includes the influence of its problem on the fit.
    The means are those of ``second_attempt``, and the spread includes the uncertainty of the fit. The influence on
    theta = log(1 - e) is s / I. Here s is the mean slope of the log-likelihood over the samples of the problem, and I
    is the mean curvature over all attempts.

    Args:
        length: The length of each attempt, in tokens or steps, for p problems, n samples and k >= 2 turns.
        correct: Whether each attempt is correct.

    Returns:
        ``error`` and ``predicted`` as in ``second_attempt``; ``excess``, the accuracy of second attempts minus
        ``predicted``. Each has one value for each of the p problems.
    """
    first, both = length[:, :, 0].astype(float), length[:, :, :2].sum(axis=2).astype(float)
    first_correct = correct[:, :, 0]
    error = per_step_error(first.ravel(), first_correct.ravel())
    both_predicted = (1 - error) ** both
    influence = np.zeros(len(first))
    if 0 < error < 1:
        first_predicted = (1 - error) ** first
        slope = np.where(first_correct, first, -first * first_predicted / (1 - first_predicted))
        curvature = np.where(first_correct, 0.0, first**2 * first_predicted / (1 - first_predicted) ** 2)
        influence = slope.mean(axis=1) / curvature.mean()
    predicted = both_predicted.mean(axis=1) + (both * both_predicted).mean() * influence
    return {
        "error": error - (1 - error) * influence,
        "predicted": predicted,
        "excess": correct[:, :, 1].mean(axis=1) - predicted,
    }
