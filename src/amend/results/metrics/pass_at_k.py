r"""Many attempts at one problem: is one of them right (pass@k), is the most frequent answer right (maj@k)?

pass@k, Chen et al. 2021, "Evaluating Large Language Models Trained on Code" (arXiv 2107.03374), equation 1: with n
samples of which c are right, the chance that k of them, drawn without replacement, hold a right one,

    pass@k = 1 - C(n - c, k) / C(n, k) = 1 - exp sum_{j=0}^{k-1} log((n - c - j) / (n - j)),        1 where n - c < k.

The sum of logarithms gives every k at once, neither overflows nor loses a small pass@k to rounding.

maj@k, Wang et al. 2022, "Self-Consistency" (arXiv 2203.11171): the chance that the most frequent answer among k of the
n, drawn without replacement, is right. It is computed exactly, by counting subsets, and not by drawing some:

    maj@k = sum_a r(a) sum_v C(c_a, v) sum_s W(v, s) / (1 + s) / C(n, k)

where c_a samples gave answer a, v of them are drawn, and W(v, s) counts the ways to draw the other k - v such that no
other answer has more than v votes and exactly s have v. The rules: a tie is broken by a fair draw among the tied
answers; a sample without an answer takes one of the k places and never votes; without any vote the outcome is wrong.
Answers are one when they are the same string, so a task should report them in one canonical form.
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
    """pass@k of the base model less pass@1 of the trained one, for each problem. ValueError unless 1 <= k <= n."""
    return pass_at_k(base, k) - trained.mean(axis=1)


def best_at_k(score: Float[np.ndarray, "p n"], value: Shaped[np.ndarray, "p n"], k: int) -> Float[np.ndarray, " p"]:
    """The expected ``value`` (correctness, say) of the best-scored of k samples, for each problem, 1 <= k <= n.

    Raises ValueError for any other k, and for a score that is nan: a sample without a score has no place in the order.
    """
    p, n = score.shape
    if not 1 <= k <= n:
        raise ValueError(f"k = {k} with {n} samples a problem; allowed: 1 to {n}")
    if np.isnan(score).any():
        raise ValueError("a sample has no score")
    order = np.argsort(score, axis=1, kind="stable")
    ranked, worth = (np.take_along_axis(a, order, axis=1) for a in (score, value.astype(float)))
    # chance that the best of the k is the sample at this place of the order, were no two scores alike
    place = np.arange(1, n + 1)
    none_above = np.ones(n)
    for drawn in range(k):
        none_above = none_above * np.maximum(place - drawn, 0) / (n - drawn)
    chance = np.diff(none_above, prepend=0.0)
    new = np.ones((p, n), dtype=bool)
    new[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    group = new.cumsum(axis=1) - 1 + n * np.arange(p)[:, None]  # one number a problem and distinct score
    total, size, mass = (
        np.bincount(group.ravel(), weights=w.ravel(), minlength=p * n)
        for w in (worth, np.ones((p, n)), np.broadcast_to(chance, (p, n)))
    )
    found: np.ndarray = (mass * total / np.maximum(size, 1)).reshape(p, n).sum(axis=1)
    return found


def pass_at_k(correct: Bool[np.ndarray, "p n"], k: int) -> Float[np.ndarray, " p"]:
    """The unbiased estimate of pass@k for each problem, 1 <= k <= n. Its variance is tolerable for n >= 2k.

    Raises ValueError for any other k.
    """
    _samples(correct, k)
    return pass_curve(correct)[:, k - 1]


def pass_curve(correct: Bool[np.ndarray, "p n"]) -> Float[np.ndarray, "p n"]:
    """The unbiased estimate of pass@k of each problem for k = 1, ..., n; entry [i, k - 1] is problem i's pass@k."""
    n = correct.shape[1]
    wrong, which = np.unique(n - correct.sum(axis=1), return_inverse=True)
    drawn = np.arange(n)
    with np.errstate(divide="ignore"):  # no wrong one left to draw: log 0, and a right one is certain
        failing = np.log(np.maximum(wrong[:, None] - drawn, 0) / (n - drawn)).cumsum(axis=1)
    curves: np.ndarray = -np.expm1(failing)
    return curves[which]


def maj_at_k(answer: Shaped[np.ndarray, "p n"], correct: Bool[np.ndarray, "p n"], k: int) -> Float[np.ndarray, " p"]:
    """The exact expectation of maj@k for each problem, 1 <= k <= n; ``answer`` holds strings, None where there is none.

    Should one answer have been judged both ways, it counts by the share of its samples that were right.
    Raises ValueError for any other k.
    """
    n = _samples(correct, k)
    return np.array([_one(a, c, n, k) for a, c in zip(answer.tolist(), correct.tolist(), strict=True)], dtype=float)


def _samples(correct: Bool[np.ndarray, "p n"], k: int) -> int:
    n = correct.shape[1]
    if not 1 <= k <= n:
        raise ValueError(f"k = {k} with {n} samples a problem; allowed: 1 to {n}")
    return n


def _one(answers: list[str | None], correct: list[bool], n: int, k: int) -> float:
    """maj@k of one problem."""
    right: defaultdict[str, list[bool]] = defaultdict(list)
    for answer, verdict in zip(answers, correct, strict=True):
        if answer is not None:
            right[answer].append(verdict)
    votes = Counter({answer: len(verdicts) for answer, verdicts in right.items()})
    blank = n - votes.total()
    expected = 0.0
    for answer, verdicts in right.items():
        if any(verdicts):
            others = tuple(sorted(count for other, count in votes.items() if other != answer))
            expected += sum(verdicts) / len(verdicts) * _wins(votes[answer], others, blank, k)
    return expected


FLOATING = 1000  # samples of a problem, up to which a float holds every number of ways to draw some of them


@lru_cache(maxsize=100_000)  # over a thousand problems the same shapes of a vote return again and again
def _wins(own: int, others: tuple[int, ...], blank: int, k: int) -> float:
    """The chance that an answer with ``own`` of the samples wins a vote among k, ties shared."""
    n = own + sum(others) + blank
    kind = float if n <= FLOATING else object
    total = 0.0
    for v in range(1, min(own, k) + 1):
        # Who has fewer than v samples can be drawn freely, as can those that do not vote.
        free, rivals = blank + sum(count for count in others if count < v), [count for count in others if count >= v]
        # ways[d, s]: ways to draw d of the other samples, no rival above v votes and s of them at v
        ways = np.zeros((k - v + 1, min(len(rivals), (k - v) // v) + 1), dtype=kind)
        ways[:, 0] = [comb(free, d) for d in range(k - v + 1)]
        for count in rivals:
            before = ways.copy()
            for j in range(1, min(v, k - v + 1)):
                ways[j:] += comb(count, j) * before[: k - v + 1 - j]
            ways[v:, 1:] += comb(count, v) * before[: max(k - 2 * v + 1, 0), :-1]
        total += comb(own, v) * sum(w / (1 + s) for s, w in enumerate(ways[k - v].tolist()))
    return float(total / comb(n, k))
