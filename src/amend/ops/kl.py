"""KL(pi || pi_ref) at each token, and its estimators, each with what its gradient really is.

For one draw a ~ pi and d = log pi(a) - log pi_ref(a) (Schulman 2020, "Approximating KL divergence"):

    exact   sum_v pi(v) (log pi(v) - log pi_ref(v))   value and gradient exact at this token; needs all logits
    k1      d                 unbiased value; as a loss its expected gradient is ZERO. Right only in a detached reward
    k2      d^2 / 2           biased value; as a loss its expected gradient is exactly the KL's
    k3      exp(-d) - 1 + d   unbiased, positive value; as a loss its expected gradient is that of KL(pi_ref || pi).
                              GRPO (Shao et al. 2024) differentiates it all the same, so ``algo=grpo`` offers it by name

All of them treat the tokens before as given. The KL of whole replies also counts how today's token changes which
tokens come later; only k1 inside the reward, summed to the end of the reply, has that part.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, exp


def exact(logp: Float[Tensor, "n v"], ref_logp: Float[Tensor, "n v"]) -> Float[Tensor, " n"]:
    """KL over the vocabulary, from two rows of log-probabilities. Tokens that pi cannot draw count nothing."""
    return (logp.exp() * (logp - ref_logp.detach())).nan_to_num(nan=0.0).sum(-1)


def k1(logp: Float[Tensor, "*shape"], ref_logp: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """log pi - log pi_ref, detached: it belongs in a reward, and cannot be mistaken for a loss."""
    return (logp - ref_logp).detach()


def k2(logp: Float[Tensor, "*shape"], ref_logp: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """(log pi - log pi_ref)^2 / 2."""
    return (logp - ref_logp.detach()).square() / 2


def k3(logp: Float[Tensor, "*shape"], ref_logp: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """pi_ref / pi - 1 - log(pi_ref / pi)."""
    d = logp - ref_logp.detach()
    return exp(-d) - 1 + d
