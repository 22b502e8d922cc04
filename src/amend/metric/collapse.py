r"""Has the policy collapsed? Entropy, groups without variance, second attempts without an edit, lost reach.

    token entropy     estimated from what was drawn at temperature 1: -sum log pi(y_t) / number of tokens, in nats
    zero variance     share of problems whose samples are all right or all wrong: nothing there for a group baseline
    no edit           share of pairs whose edit distance ratio is below 0.1: the spike of SCoRe's Figures 3 and 4
    delta SE          pass@k(base) - pass@1(trained), what search over the base model reaches and the trained model's
                      one attempt does not: Yue et al. 2025 (arXiv 2504.13837), who have k = 256

The policy's KL from the base model needs both models and is measured while training (``kl_t1``, ... in metrics.jsonl);
``amend.metric.alarm`` watches it there, with the rest.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from amend.metric.passk import pass_at_k

NO_EDIT = 0.1  # the first bin of SCoRe's histogram


def token_entropy(logp: Float[np.ndarray, "p n"], tokens: Int[np.ndarray, "p n"]) -> Float[np.ndarray, " p"]:
    """Nats a token for each problem; ``logp`` that of whole replies drawn at temperature 1. nan where it is unknown."""
    found: np.ndarray = -logp.sum(axis=1) / np.maximum(tokens.sum(axis=1), 1)
    return found


def zero_variance(correct: Bool[np.ndarray, "p n"]) -> Float[np.ndarray, " p"]:
    """1.0 for a problem whose samples are all right or all wrong, 0.0 for another."""
    return (correct.all(axis=1) | ~correct.any(axis=1)).astype(float)


def no_edit(ratio: Float[np.ndarray, "p n"]) -> Float[np.ndarray, " p"]:
    """Share of samples whose second attempt hardly edits the first; ``ratio`` is ``correction.edit_distance``'s."""
    return (ratio < NO_EDIT).mean(axis=1)


def lost_reach(base: Bool[np.ndarray, "p n"], trained: Bool[np.ndarray, "p m"], k: int) -> Float[np.ndarray, " p"]:
    """pass@k of the base model less pass@1 of the trained one, for each problem. ValueError unless 1 <= k <= n."""
    return pass_at_k(base, k) - trained.mean(axis=1)
