"""Reductions: the weight of each token in a minibatch's loss. The loss is then a plain weighted sum.

Weights are taken over the whole minibatch before it is cut into micro-batches, so the gradient cannot depend on how it
was cut, nor on padding (whose weight is 0). Each differs from the next in what a long reply counts for:

    episode    1 / b                  every token of an episode adds up: the true policy gradient (RLOO, SCoRe)
    sequence   1 / (b |o_i|)          a mean within each episode first: GRPO
    token      1 / sum_i |o_i|        one mean over all tokens: DAPO
    constant   1 / (b L)              a fixed length for all: Dr. GRPO
"""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, float32


def seq_mean_token_sum(loss_mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b t"]:
    """Sum over an episode's tokens, mean over episodes."""
    return loss_mask.to(float32) / len(loss_mask)


def seq_mean_token_mean(loss_mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b t"]:
    """Mean over an episode's tokens, mean over episodes. An episode without sampled tokens weighs nothing."""
    mask = loss_mask.to(float32)
    return mask / mask.sum(dim=1, keepdim=True).clamp(min=1) / len(loss_mask)


def token_mean(loss_mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b t"]:
    """Mean over all sampled tokens of the minibatch."""
    mask = loss_mask.to(float32)
    return mask / mask.sum().clamp(min=1)


def seq_mean_token_sum_norm(loss_mask: Bool[Tensor, "b t"], length: int) -> Float[Tensor, "b t"]:
    """Sum over an episode's tokens divided by a fixed ``length`` in tokens, mean over episodes."""
    return loss_mask.to(float32) / (len(loss_mask) * length)
