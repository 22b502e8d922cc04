r"""Does the model know? The perplexity of an attempt against whether it is right.

    perplexity = exp(-1/|y| sum_t log pi(y_t | x, y_<t))

The question is put as AUC, how often a right attempt is surer than a wrong one. A number a problem whose mean it is:

    AUC + (V - AUC) p / p_c        V: the share of the other kind that attempt i is on its own side of
                                   p_c: attempts of i's kind, right or wrong; the spread of their mean is DeLong's

(DeLong, DeLong and Clarke-Pearson 1988.) A model that knows when it is wrong has higher perplexity there, and could be
told so: see dialogue=confidence, in which the second turn begins with the first one's mean log-probability.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int


def mean_logp(logp: Float[np.ndarray, "*b"], tokens: Int[np.ndarray, "*b"]) -> Float[np.ndarray, "*b"]:
    """Mean log-probability a token, in nats, of whole replies' log-probabilities; nan stays nan."""
    found: np.ndarray = logp / np.maximum(tokens, 1)
    return found


def perplexity(logp: Float[np.ndarray, "*b"], tokens: Int[np.ndarray, "*b"]) -> Float[np.ndarray, "*b"]:
    """exp of the negative mean log-probability a token: 1 for a reply that was certain."""
    found: np.ndarray = np.exp(-mean_logp(logp, tokens))
    return found


def auroc(score: Float[np.ndarray, " m"], correct: Bool[np.ndarray, " m"]) -> float:
    """How often a right attempt scores above a wrong one, ties counting half; nan without both.

    1/2 says nothing of correctness. Mann and Whitney 1947.
    """
    right, wrong = np.sort(score[correct]), np.sort(score[~correct])
    if not len(right) or not len(wrong):
        return float("nan")
    below = np.searchsorted(wrong, right, side="left") + np.searchsorted(wrong, right, side="right")
    return float(below.sum() / (2 * len(right) * len(wrong)))


def auroc_by_problem(score: Float[np.ndarray, " p"], correct: Bool[np.ndarray, " p"]) -> Float[np.ndarray, " p"]:
    """A number a problem, of one attempt at each, whose mean is ``auc`` and whose spread is its.

    nan without both kinds, or where a score is nan.
    """
    right, wrong = score[correct], score[~correct]
    if not len(right) or not len(wrong) or np.isnan(score).any():
        return np.full(score.shape, np.nan)
    above = (right[:, None] > wrong).astype(float) + 0.5 * (right[:, None] == wrong)
    own = np.empty(len(score))
    own[correct], own[~correct] = above.mean(axis=1), above.mean(axis=0)
    kind = np.where(correct, len(right), len(wrong)) / len(score)
    found: np.ndarray = above.mean() + (own - above.mean()) / kind
    return found


def confidence_metrics(
    logp: Float[np.ndarray, " m"], tokens: Int[np.ndarray, " m"], correct: Bool[np.ndarray, " m"]
) -> dict[str, float]:
    """AUC of the mean log-probability, and the geometric mean of perplexity among right and wrong attempts."""
    mean = mean_logp(logp, tokens)
    found = {"auroc": auroc(mean, correct)}
    for name, which in (("perplexity_right", correct), ("perplexity_wrong", ~correct)):
        found[name] = float(np.exp(-mean[which].mean())) if which.any() else float("nan")
    return found


def reliability_curve(
    perplexity: Float[np.ndarray, " m"], correct: Bool[np.ndarray, " m"], bins: int
) -> tuple[Float[np.ndarray, " j"], Float[np.ndarray, " j"], Int[np.ndarray, " j"]]:
    """(mean perplexity, share right, attempts) in at most ``bins`` bins of about as many attempts, surest first."""
    edges: np.ndarray = (
        np.unique(np.quantile(perplexity, np.linspace(0, 1, bins + 1)[1:-1])) if len(perplexity) else np.zeros(0)
    )
    which = np.unique(np.searchsorted(edges, perplexity, side="right"), return_inverse=True)[1]
    count = np.bincount(which)
    mean, share = (np.bincount(which, weights=w) / np.maximum(count, 1) for w in (perplexity, correct.astype(float)))
    return mean, share, count
