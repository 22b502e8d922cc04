"""Compute or estimate KL(pi || pi_ref) at each token.

The table states the value of each estimator and its expected gradient as a loss. Let a ~ pi be one sampled token and
d = log pi(a) - log pi_ref(a) (Schulman 2020, "Approximating KL Divergence"):

    exact   sum_v pi(v) (log pi(v) - log pi_ref(v))   exact value and exact gradient at this token; needs all logits
    k1      d                 unbiased value; its expected gradient is ZERO, so k1 belongs only in a detached reward
    k2      d^2 / 2           biased value; its expected gradient is exactly the gradient of the KL
    k3      exp(-d) - 1 + d   unbiased value, never negative; its expected gradient is that of KL(pi_ref || pi)

GRPO (Shao et al. 2024) uses k3 as a loss in spite of this gradient, and ``algo=grpo`` follows the paper.

All four treat the previous tokens as given. The KL of a whole reply has one more term, because a token also changes
the distribution of later tokens. Only k1 inside the reward, summed to the end of the reply, contains this term.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, exp


def exact(logp: Float[Tensor, "n v"], ref_logp: Float[Tensor, "n v"]) -> Float[Tensor, " n"]:
    """Return the exact KL divergence at each token: sum_v pi(v) (log pi(v) - log pi_ref(v)).

    A vocabulary entry v with pi(v) = 0 adds 0. The gradient flows through ``logp`` only.

    Args:
        logp: Log-probabilities log pi(v) over the vocabulary, one row per token.
        ref_logp: Log-probabilities log pi_ref(v) over the vocabulary.

    Returns:
        KL(pi || pi_ref) of each token, in nats.
    """
    return (logp.exp() * (logp - ref_logp.detach())).nan_to_num(nan=0.0).sum(-1)


def k1(logp: Float[Tensor, "*shape"], ref_logp: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the estimate k1 = log pi - log pi_ref, without gradient.

    As a loss, k1 has the expected gradient 0. It is detached, so that it only works inside a reward.

    Args:
        logp: Log-probabilities log pi(a) of the sampled tokens.
        ref_logp: Log-probabilities log pi_ref(a) of the same tokens.

    Returns:
        An unbiased estimate of KL(pi || pi_ref) at each token, in nats; it can be negative.
    """
    return (logp - ref_logp).detach()


def k2(logp: Float[Tensor, "*shape"], ref_logp: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the estimate k2 = (log pi - log pi_ref)^2 / 2.

    Its expected gradient is the gradient of KL(pi || pi_ref). The gradient flows through ``logp`` only.

    Args:
        logp: Log-probabilities log pi(a) of the sampled tokens.
        ref_logp: Log-probabilities log pi_ref(a) of the same tokens.

    Returns:
        A biased estimate of KL(pi || pi_ref) at each token, in nats; it is never negative.
    """
    return (logp - ref_logp.detach()).square() / 2


def k3(logp: Float[Tensor, "*shape"], ref_logp: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the estimate k3 = pi_ref / pi - 1 - log(pi_ref / pi).

    Its expected gradient is the gradient of KL(pi_ref || pi). The gradient flows through ``logp`` only.

    Args:
        logp: Log-probabilities log pi(a) of the sampled tokens.
        ref_logp: Log-probabilities log pi_ref(a) of the same tokens.

    Returns:
        An unbiased estimate of KL(pi || pi_ref) at each token, in nats; it is never negative.
    """
    d = logp - ref_logp.detach()
    return exp(-d) - 1 + d
