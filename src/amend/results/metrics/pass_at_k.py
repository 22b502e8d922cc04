r"""Estimate pass@k (one of k attempts is correct) and maj@k (the most frequent of k answers is correct).

pass@k, Chen et al. 2021, "Evaluating Large Language Models Trained on Code" (arXiv 2107.03374), equation 1: c of n
samples are correct. pass@k is the probability that a random subset of k samples has a correct one:

    pass@k = 1 - C(n - c, k) / C(n, k) = 1 - exp sum_{j=0}^{k-1} log((n - c - j) / (n - j)),        1 if n - c < k.

The sum of logarithms gives all k at once. It does not overflow, and a small pass@k keeps its precision.

maj@k, Wang et al. 2022, "Self-Consistency" (arXiv 2203.11171): the probability that the most frequent answer in a
random subset of k samples is correct. It is exact, because subsets are counted and not sampled:

    maj@k = sum_a r(a) sum_v C(c_a, v) sum_s W(v, s) / (1 + s) / C(n, k)

r(a) is 1 if answer a is correct, c_a samples have answer a, and v of these are in the subset. W(v, s) counts the
choices of the other k - v samples in which no other answer has more than v votes and exactly s answers have v votes.
A tie is broken at random among the tied answers. A sample without an answer is one of the k samples, but has no vote. A
subset without votes is wrong. Two answers are equal if their strings are, so a task should normalise its answers.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import lru_cache
from math import comb

import numpy as np
from jaxtyping import Bool, Float, Shaped


def sampling_efficiency_gap(
    base: Bool[np.ndarray, "p n"], trained: Bool[np.ndarray, "p m"], k: int
) -> Float[np.ndarray, " p"]:
    """Compute pass@k of the base model minus pass@1 of the trained model (Yue et al. 2025).

    Args:
        base: Whether each of n samples of the base model is correct, for p problems.
        trained: Whether each of m samples of the trained model is correct, for the same problems.
        k: The number of attempts of the base model.

    Returns:
        The gap for each problem, from -1 to 1.

    Raises:
        ValueError: Unless 1 <= k <= n.
    """
    return pass_at_k(base, k) - trained.mean(axis=1)


def best_at_k(score: Float[np.ndarray, "p n"], value: Shaped[np.ndarray, "p n"], k: int) -> Float[np.ndarray, " p"]:
    """Compute the expected value of the sample with the best score in a random subset of k samples.

    Args:
        score: The score of each sample, for p problems and n samples; higher is better.
        value: The value of each sample, for example whether it is correct.
        k: The size of the subset.

    Returns:
        The expectation for each problem, over all subsets. Samples with equal scores are chosen with equal probability.

    Raises:
        ValueError: Unless 1 <= k <= n, or if a score is nan.
    """
    p, n = score.shape
    if not 1 <= k <= n:
        raise ValueError(f"k = {k} with {n} samples per problem; allowed: 1 to {n}")
    if np.isnan(score).any():
        raise ValueError("a sample has the score nan; allowed: numbers")
    order = np.argsort(score, axis=1, kind="stable")
    sorted_score, sorted_value = (np.take_along_axis(a, order, axis=1) for a in (score, value.astype(float)))
    # If all scores differ, `probability` is that of each position in the order to be the best of k.
    position = np.arange(1, n + 1)
    none_above = np.ones(n)
    for i in range(k):
        none_above = none_above * np.maximum(position - i, 0) / (n - i)
    probability = np.diff(none_above, prepend=0.0)
    is_new = np.ones((p, n), dtype=bool)
    is_new[:, 1:] = sorted_score[:, 1:] != sorted_score[:, :-1]
    group = is_new.cumsum(axis=1) - 1 + n * np.arange(p)[:, None]  # one index per problem and distinct score
    total, size, mass = (
        np.bincount(group.ravel(), weights=w.ravel(), minlength=p * n)
        for w in (sorted_value, np.ones((p, n)), np.broadcast_to(probability, (p, n)))
    )
    expected: np.ndarray = (mass * total / np.maximum(size, 1)).reshape(p, n).sum(axis=1)
    return expected


def pass_at_k(correct: Bool[np.ndarray, "p n"], k: int) -> Float[np.ndarray, " p"]:
    """Compute the unbiased estimate of pass@k.

    Args:
        correct: Whether each sample is correct, for p problems and n samples.
        k: The number of attempts. The variance is large if n < 2k.

    Returns:
        pass@k of each problem, from 0 to 1.

    Raises:
        ValueError: Unless 1 <= k <= n.
    """
    _check_k(correct, k)
    return pass_curve(correct)[:, k - 1]


def pass_curve(correct: Bool[np.ndarray, "p n"]) -> Float[np.ndarray, "p n"]:
    """Compute the unbiased estimate of pass@k for all k = 1, ..., n.

    Args:
        correct: Whether each sample is correct, for p problems and n samples.

    Returns:
        pass@k of problem i in entry [i, k - 1].
    """
    n = correct.shape[1]
    wrong, index = np.unique(n - correct.sum(axis=1), return_inverse=True)
    j = np.arange(n)
    with np.errstate(divide="ignore"):  # log 0 is intended: if j reaches the number of wrong samples, pass@k is 1
        log_failure = np.log(np.maximum(wrong[:, None] - j, 0) / (n - j)).cumsum(axis=1)
    curves: np.ndarray = -np.expm1(log_failure)
    return curves[index]


def maj_at_k(answer: Shaped[np.ndarray, "p n"], correct: Bool[np.ndarray, "p n"], k: int) -> Float[np.ndarray, " p"]:
    """Compute the exact expectation of maj@k.

    Args:
        answer: The answer extracted from each sample, a str, for p problems and n samples; None if there is no answer.
        correct: Whether each sample is correct. If equal answers have different verdicts, r(a) is their mean.
        k: The number of samples that vote.

    Returns:
        maj@k of each problem, from 0 to 1.

    Raises:
        ValueError: Unless 1 <= k <= n.
    """
    n = _check_k(correct, k)
    rows = zip(answer.tolist(), correct.tolist(), strict=True)
    return np.array([_problem_maj_at_k(answers, verdicts, n, k) for answers, verdicts in rows], dtype=float)


def _check_k(correct: Bool[np.ndarray, "p n"], k: int) -> int:
    """Return the number n of samples, after the check 1 <= k <= n."""
    n = correct.shape[1]
    if not 1 <= k <= n:
        raise ValueError(f"k = {k} with {n} samples per problem; allowed: 1 to {n}")
    return n


def _problem_maj_at_k(answers: list[str | None], correct: list[bool], n: int, k: int) -> float:
    """Return maj@k of one problem."""
    verdicts_by_answer: defaultdict[str, list[bool]] = defaultdict(list)
    for answer, verdict in zip(answers, correct, strict=True):
        if answer is not None:
            verdicts_by_answer[answer].append(verdict)
    votes = Counter({answer: len(verdicts) for answer, verdicts in verdicts_by_answer.items()})
    blank = n - votes.total()
    expected = 0.0
    for answer, verdicts in verdicts_by_answer.items():
        if any(verdicts):
            others = tuple(sorted(count for other, count in votes.items() if other != answer))
            expected += sum(verdicts) / len(verdicts) * _win_probability(votes[answer], others, blank, k)
    return expected


FLOATING = 1000  # the largest n for which every number of subsets fits into a float


@lru_cache(maxsize=100_000)  # the same counts of votes occur for many problems
def _win_probability(count_a: int, others: tuple[int, ...], blank: int, k: int) -> float:
    """Return the probability that an answer of ``count_a`` samples wins the vote of k samples; ties are shared."""
    n = count_a + sum(others) + blank
    dtype = float if n <= FLOATING else object
    total = 0.0
    for v in range(1, min(count_a, k) + 1):
        # Answers with fewer than v samples cannot reach v votes, so any number of them may be in the subset.
        free, rivals = blank + sum(count for count in others if count < v), [count for count in others if count >= v]
        # ways[d, s]: choices of d other samples in which no rival has more than v votes and s rivals have v votes
        ways = np.zeros((k - v + 1, min(len(rivals), (k - v) // v) + 1), dtype=dtype)
        ways[:, 0] = [comb(free, d) for d in range(k - v + 1)]
        for count in rivals:
            before = ways.copy()
            for j in range(1, min(v, k - v + 1)):
                ways[j:] += comb(count, j) * before[: k - v + 1 - j]
            ways[v:, 1:] += comb(count, v) * before[: max(k - 2 * v + 1, 0), :-1]
        total += comb(count_a, v) * sum(w / (1 + s) for s, w in enumerate(ways[k - v].tolist()))
    return float(total / comb(n, k))
