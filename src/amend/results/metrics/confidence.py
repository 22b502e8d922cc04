r"""Measure whether the model knows which of its attempts are correct, by the perplexity of attempts.

    perplexity = exp(-1/|y| sum_t log pi(y_t | x, y_<t))

The measure is AUROC: the probability that a correct attempt has a higher mean log-probability than a wrong attempt.
``auroc_by_problem`` gives attempt i of p attempts a value, such that the mean of all values is AUROC:

    AUROC + (V_i - AUROC) p / p_c

Attempt i belongs to a class (correct or wrong) of p_c attempts. V_i is the share of attempts of the other class that
are ordered correctly relative to attempt i. The standard error of the mean is the one of DeLong, DeLong and
Clarke-Pearson (1988).

A model that knows when it is wrong has a higher perplexity in wrong attempts. ``dialogue=confidence`` uses this: its
second turn begins with the mean log-probability of the first attempt.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int


def mean_logp(logp: Float[np.ndarray, "*b"], tokens: Int[np.ndarray, "*b"]) -> Float[np.ndarray, "*b"]:
    """Compute the mean log-probability per token.

    Args:
        logp: The log-probability of each reply, in nats.
        tokens: The number of tokens of each reply.

    Returns:
        ``logp`` per token, in nats; nan if ``logp`` is nan.
    """
    mean: np.ndarray = logp / np.maximum(tokens, 1)
    return mean


def perplexity(logp: Float[np.ndarray, "*b"], tokens: Int[np.ndarray, "*b"]) -> Float[np.ndarray, "*b"]:
    """Compute the perplexity, exp of the negative mean log-probability per token.

    Args:
        logp: The log-probability of each reply, in nats.
        tokens: The number of tokens of each reply.

    Returns:
        The perplexity of each reply, at least 1; 1 means that the reply had probability 1.
    """
    values: np.ndarray = np.exp(-mean_logp(logp, tokens))
    return values


def auroc(score: Float[np.ndarray, " m"], correct: Bool[np.ndarray, " m"]) -> float:
    """Compute the probability that a correct attempt has a higher score than a wrong one (Mann and Whitney 1947).

    Args:
        score: The score of each of m attempts.
        correct: Whether each attempt is correct.

    Returns:
        The area under the ROC curve, from 0 to 1. Ties count half, and 1/2 means that the score does not separate
        correct from wrong attempts. nan if all attempts are correct or all are wrong.
    """
    right, wrong = np.sort(score[correct]), np.sort(score[~correct])
    if not len(right) or not len(wrong):
        return float("nan")
    below = np.searchsorted(wrong, right, side="left") + np.searchsorted(wrong, right, side="right")
    return float(below.sum() / (2 * len(right) * len(wrong)))


def auroc_by_problem(score: Float[np.ndarray, " p"], correct: Bool[np.ndarray, " p"]) -> Float[np.ndarray, " p"]:
    """Compute one value per problem whose mean is ``auroc``, for intervals over problems.

    Args:
        score: The score of one attempt at each of p problems.
        correct: Whether each attempt is correct.

    Returns:
        The values of the module's formula. All are nan if all attempts are correct, all are wrong, or a score is nan.
    """
    right, wrong = score[correct], score[~correct]
    if not len(right) or not len(wrong) or np.isnan(score).any():
        return np.full(score.shape, np.nan)
    above = (right[:, None] > wrong).astype(float) + 0.5 * (right[:, None] == wrong)
    ordered = np.empty(len(score))
    ordered[correct], ordered[~correct] = above.mean(axis=1), above.mean(axis=0)
    class_share = np.where(correct, len(right), len(wrong)) / len(score)
    values: np.ndarray = above.mean() + (ordered - above.mean()) / class_share
    return values


def confidence_metrics(
    logp: Float[np.ndarray, " m"], tokens: Int[np.ndarray, " m"], correct: Bool[np.ndarray, " m"]
) -> dict[str, float]:
    """Compute how well the mean log-probability separates correct from wrong attempts.

    Args:
        logp: The log-probability of each of m replies, in nats.
        tokens: The number of tokens of each reply.
        correct: Whether each reply is correct.

    Returns:
        ``auroc`` of the mean log-probability; ``perplexity_right`` and ``perplexity_wrong``, the geometric mean
        of the perplexity of correct and of wrong replies (nan if there is no such reply).
    """
    mean = mean_logp(logp, tokens)
    metrics = {"auroc": auroc(mean, correct)}
    for name, mask in (("perplexity_right", correct), ("perplexity_wrong", ~correct)):
        metrics[name] = float(np.exp(-mean[mask].mean())) if mask.any() else float("nan")
    return metrics


def reliability_curve(
    perplexity: Float[np.ndarray, " m"], correct: Bool[np.ndarray, " m"], bins: int
) -> tuple[Float[np.ndarray, " j"], Float[np.ndarray, " j"], Int[np.ndarray, " j"]]:
    """Compute the accuracy of attempts in bins of similar perplexity, lowest perplexity first.

    The bins are quantiles of perplexity, so each has about the same number of attempts.

    Args:
        perplexity: The perplexity of each of m attempts.
        correct: Whether each attempt is correct.
        bins: The maximum number of bins. Attempts of equal perplexity share a bin, so there may be fewer.

    Returns:
        For each bin, the mean perplexity, the share of correct attempts and the number of attempts.
    """
    edges: np.ndarray = (
        np.unique(np.quantile(perplexity, np.linspace(0, 1, bins + 1)[1:-1])) if len(perplexity) else np.zeros(0)
    )
    bin_index = np.unique(np.searchsorted(edges, perplexity, side="right"), return_inverse=True)[1]
    count = np.bincount(bin_index)
    mean, accuracy = (
        np.bincount(bin_index, weights=w) / np.maximum(count, 1) for w in (perplexity, correct.astype(float))
    )
    return mean, accuracy, count
