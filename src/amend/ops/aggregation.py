"""Compute the weight of each token in the loss of a minibatch. The loss is the weighted sum of the token losses.

The weights are computed over the whole minibatch before it is split into micro-batches. The gradient therefore does not
depend on the split. Padding has weight 0. The functions carry the names of verl's ``loss_agg_mode`` and differ in the
weight of long replies. Here b is the number of episodes, |o_i| is the number of sampled tokens of episode i, and L is a
fixed length:

    seq_mean_token_sum        1 / b              sum over the tokens of an episode: the policy gradient (RLOO, SCoRe)
    seq_mean_token_mean       1 / (b |o_i|)      mean over the tokens of an episode (GRPO, Shao et al. 2024)
    token_mean                1 / sum_i |o_i|    mean over all tokens of the minibatch (DAPO, Yu et al. 2025)
    seq_mean_token_sum_norm   1 / (b L)          sum over the tokens, divided by a constant (Dr. GRPO, Liu et al. 2025)
"""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, float32


def seq_mean_token_sum(loss_mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b t"]:
    """Return weights for the sum over the tokens of an episode and the mean over episodes.

    Args:
        loss_mask: True for the tokens that the policy sampled.

    Returns:
        1 / b at sampled tokens; 0 elsewhere.
    """
    return loss_mask.to(float32) / len(loss_mask)


def seq_mean_token_mean(loss_mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b t"]:
    """Return weights for the mean over the tokens of an episode and the mean over episodes.

    Args:
        loss_mask: True for the tokens that the policy sampled.

    Returns:
        1 / (b |o_i|) at sampled tokens; 0 elsewhere. All weights of an episode without sampled tokens are 0.
    """
    mask = loss_mask.to(float32)
    return mask / mask.sum(dim=1, keepdim=True).clamp(min=1) / len(loss_mask)


def token_mean(loss_mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b t"]:
    """Return weights for one mean over all sampled tokens of the minibatch.

    Args:
        loss_mask: True for the tokens that the policy sampled.

    Returns:
        1 / sum_i |o_i| at sampled tokens; 0 elsewhere.
    """
    mask = loss_mask.to(float32)
    return mask / mask.sum().clamp(min=1)


def seq_mean_token_sum_norm(loss_mask: Bool[Tensor, "b t"], length: int) -> Float[Tensor, "b t"]:
    """Return weights for the sum over the tokens of an episode, divided by a constant, and the mean over episodes.

    Args:
        loss_mask: True for the tokens that the policy sampled.
        length: The constant L in tokens, such as the length limit of a reply.

    Returns:
        1 / (b L) at sampled tokens; 0 elsewhere.
    """
    return loss_mask.to(float32) / (len(loss_mask) * length)
