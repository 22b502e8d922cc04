r"""Measure how second attempts differ from first attempts: corrections, new errors, changes and copies.

Kumar et al. 2024, "Training Language Models to Self-Correct via Reinforcement Learning" (SCoRe, arXiv 2409.12917),
section 3. Over all problems x with attempts y_1, y_2 and correctness r in {0, 1}:

    Acc@t      = E[r(y_t)]
    delta      = Acc@t2 - Acc@t1 = (i->c) - (c->i)
    i->c       = E[(1 - r(y_1)) r(y_2)]          share of ALL problems: incorrect, then correct
    c->i       = E[r(y_1) (1 - r(y_2))]          share of ALL problems: correct, then incorrect
    fix rate   = i->c / (1 - Acc@t1)             share of problems that are incorrect at first
    break rate = c->i / Acc@t1                   share of problems that are correct at first
    edit distance ratio = Levenshtein(y_1, y_2) / (|y_1| + |y_2|)       in characters; 0 for equal texts

The arguments ``first`` and ``second`` hold the two attempts, for p problems and n samples. Most functions return one
value per problem, the mean over its samples, so that an interval over problems can be computed. ``fix_rate`` and
``break_rate`` return one number, because their denominator is random as well. ``ratio_by_problem`` linearises such a
ratio R into one value per problem with mean R (Cochran 1977, Sampling Techniques, section 6.5):

    R = E[y] / E[x]        R + (y - R x) / E[x]
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from rapidfuzz.distance import Levenshtein

UNEDITED_BELOW = 0.1  # the first bin of the histogram in the SCoRe paper


def unedited(ratio: Float[np.ndarray, "p n"]) -> Float[np.ndarray, " p"]:
    """Compute the share of second attempts that hardly edit the first attempt.

    Args:
        ratio: The result of ``edit_distance``, for p problems and n samples.

    Returns:
        For each problem, the share of samples with a ratio below ``UNEDITED_BELOW``.
    """
    return (ratio < UNEDITED_BELOW).mean(axis=1)


CLASSES = ("i→i", "i→c", "c→i", "c→c")
"""The classes of a pair of attempts, in the order of ``classes``: incorrect (i) or correct (c), first → second."""


def accuracy(correct: Bool[np.ndarray, "p n k"]) -> Float[np.ndarray, "p k"]:
    """Compute Acc@t, the accuracy at each turn.

    Args:
        correct: Whether each attempt is correct, for p problems, n samples and k turns.

    Returns:
        The share of correct samples of each problem at each turn.
    """
    return correct.mean(axis=1)


def delta(first: Bool[np.ndarray, "p n"], second: Bool[np.ndarray, "p n"]) -> Float[np.ndarray, " p"]:
    """Compute the accuracy of second attempts minus the accuracy of first attempts.

    Args:
        first: Whether each first attempt is correct, for p problems and n samples.
        second: Whether each second attempt is correct.

    Returns:
        The difference for each problem, from -1 to 1.
    """
    return second.mean(axis=1) - first.mean(axis=1)


def i_to_c(first: Bool[np.ndarray, "p n"], second: Bool[np.ndarray, "p n"]) -> Float[np.ndarray, " p"]:
    """Compute i→c, the share of samples that change from incorrect to correct.

    Args:
        first: Whether each first attempt is correct, for p problems and n samples.
        second: Whether each second attempt is correct.

    Returns:
        The share of all samples of each problem.
    """
    return (~first & second).mean(axis=1)


def c_to_i(first: Bool[np.ndarray, "p n"], second: Bool[np.ndarray, "p n"]) -> Float[np.ndarray, " p"]:
    """Compute c→i, the share of samples that change from correct to incorrect.

    Args:
        first: Whether each first attempt is correct, for p problems and n samples.
        second: Whether each second attempt is correct.

    Returns:
        The share of all samples of each problem.
    """
    return (first & ~second).mean(axis=1)


def fix_rate(first: Bool[np.ndarray, "p n"], second: Bool[np.ndarray, "p n"]) -> float:
    """Compute the fix rate: the accuracy of second attempts after an incorrect first attempt.

    Args:
        first: Whether each first attempt is correct, for p problems and n samples.
        second: Whether each second attempt is correct.

    Returns:
        The share over all problems and samples; nan if every first attempt is correct.
    """
    return float(second[~first].mean()) if (~first).any() else float("nan")


def break_rate(first: Bool[np.ndarray, "p n"], second: Bool[np.ndarray, "p n"]) -> float:
    """Compute the break rate: the error rate of second attempts after a correct first attempt.

    Args:
        first: Whether each first attempt is correct, for p problems and n samples.
        second: Whether each second attempt is correct.

    Returns:
        The share over all problems and samples; nan if no first attempt is correct.
    """
    return float((~second[first]).mean()) if first.any() else float("nan")


def ratio_by_problem(part: Float[np.ndarray, " p"], whole: Float[np.ndarray, " p"]) -> Float[np.ndarray, " p"]:
    """Linearise the ratio R = E[y] / E[x] into one value per problem, for intervals over problems.

    Args:
        part: The numerator y of each of p problems.
        whole: The denominator x of each problem.

    Returns:
        R + (y - R x) / E[x] for each problem. The mean is R, and its standard error is the one of R to first order.
        All values are nan if every denominator is 0.
    """
    if not whole.any():
        return np.full(part.shape, np.nan)
    ratio = part.sum() / whole.sum()
    values: np.ndarray = ratio + (part - ratio * whole) / whole.mean()
    return values


def rates(first: Bool[np.ndarray, " p"], second: Bool[np.ndarray, " p"]) -> dict[str, Float[np.ndarray, " p"]]:
    """Compute fix rate and break rate as one value per problem, with ``ratio_by_problem``.

    Args:
        first: Whether the first attempt at each of p problems is correct.
        second: Whether the second attempt is correct.

    Returns:
        ``fix_rate`` and ``break_rate``. A rate is left out if no first attempt has the correctness that it needs.
    """
    by_problem = {
        "fix_rate": ratio_by_problem((~first & second).astype(float), (~first).astype(float)),
        "break_rate": ratio_by_problem((first & ~second).astype(float), first.astype(float)),
    }
    return {name: values for name, values in by_problem.items() if not np.isnan(values).any()}


def classes(first: Bool[np.ndarray, "p n"], second: Bool[np.ndarray, "p n"]) -> Int[np.ndarray, "p n"]:
    """Classify each pair of attempts by its correctness.

    Args:
        first: Whether each first attempt is correct, for p problems and n samples.
        second: Whether each second attempt is correct.

    Returns:
        The index into ``CLASSES`` of each pair.
    """
    return 2 * first.astype(int) + second.astype(int)


def change_rate(first: Shaped[np.ndarray, "p n"], second: Shaped[np.ndarray, "p n"]) -> Float[np.ndarray, " p"]:
    """Compute the share of samples whose second ANSWER differs from the first.

    Args:
        first: The answer extracted from each first attempt, for p problems and n samples.
        second: The answer extracted from each second attempt. None (no answer) counts as an answer of its own.

    Returns:
        The share of samples of each problem.
    """
    return (first != second).astype(float).mean(axis=1)


def copy_rate(first: Shaped[np.ndarray, "p n"], second: Shaped[np.ndarray, "p n"]) -> Float[np.ndarray, " p"]:
    """Compute the share of samples whose second TEXT is an exact copy of the first.

    A policy that collapses to copying its first attempt has a copy rate near 1.

    Args:
        first: The text of each first attempt, for p problems and n samples.
        second: The text of each second attempt.

    Returns:
        The share of samples of each problem.
    """
    return (first == second).astype(float).mean(axis=1)


def edit_distance(first: Shaped[np.ndarray, "p n"], second: Shaped[np.ndarray, "p n"]) -> Float[np.ndarray, "p n"]:
    """Compute the edit distance ratio of each pair of texts.

    Args:
        first: The text of each first attempt, for p problems and n samples.
        second: The text of each second attempt.

    Returns:
        The ratio of each pair, from 0 (equal texts) to 1 (one of the texts is empty).
    """
    pairs = zip(first.ravel().tolist(), second.ravel().tolist(), strict=True)
    ratios = [Levenshtein.distance(before, after) / max(1, len(before) + len(after)) for before, after in pairs]
    return np.array(ratios, dtype=float).reshape(first.shape)


def histogram(ratio: Float[np.ndarray, "p n"], bins: int) -> Float[np.ndarray, " bins"]:
    """Compute a histogram of edit distance ratios.

    Args:
        ratio: The result of ``edit_distance``, for p problems and n samples.
        bins: The number of bins of equal width over [0, 1]. The last bin includes 1.

    Returns:
        The share of all pairs in each bin; zeros if there is no pair.
    """
    counts, _ = np.histogram(ratio, bins=bins, range=(0.0, 1.0))
    return counts / max(1, ratio.size)
