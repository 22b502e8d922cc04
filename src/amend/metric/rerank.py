r"""Of many attempts the best-scored one: rerank@k by a reward model, best-of-n by the policy's own likelihood.

Cobbe et al. 2021 (arXiv 2110.14168) and Havrilla et al. 2024 (arXiv 2403.04642): draw k of the n samples without
replacement, keep the one that a score prefers, ask what it is worth. With the score a reward model's it is rerank@k;
with the mean log-probability, best-of-n without a verifier; with correctness itself, pass@k. Computed exactly: with
the distinct scores s_1 < s_2 < ..., and n_g samples that score at most s_g,

    best@k = sum_g  [C(n_g, k) - C(n_{g-1}, k)] / C(n, k)  *  mean value of the samples that score s_g

for the best of the k scores s_g in so many of the subsets, and a tie is broken by a fair draw among the tied.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Shaped


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
