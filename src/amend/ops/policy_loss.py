"""Compute the policy loss of each token from its advantage. The optimizer minimizes the weighted sum of the losses.

    reinforce_loss       L_t(theta) = - A_t log pi_t(theta)                                  Williams 1992
    ppo_clip_loss        L_t(theta) = - min(rho_t A_t, clip(rho_t, 1 - low, 1 + high) A_t)   PPO, Schulman et al. 2017
                         rho_t = pi_t(theta) / pi_t(old); DAPO (Yu et al. 2025) sets high above low
    sequence_clip_loss   the same loss with one ratio per turn, rho = prod_t rho_t: a reply is one action
                         RLOO, Ahmadian et al. 2024

``truncated_importance_weight`` corrects for an engine whose log-probabilities differ from the trainer's (Yao et al.
2025, "Your Efficient RL Framework Secretly Brings You Off-Policy RL Training"). An algorithm multiplies the loss of a
token with this weight. Up to the cap, the gradient is then that of tokens that the trainer's policy sampled.

pi_t(theta) is the probability of the sampled token t. Axes: b episodes, t tokens.
"""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor, exp, minimum, where


def reinforce_loss(logp: Float[Tensor, "b t"], advantages: Float[Tensor, "b t"]) -> Float[Tensor, "b t"]:
    """Return the loss of REINFORCE: L_t = - A_t log pi_t (Williams 1992).

    Its gradient is unbiased if the tokens were sampled from the policy to which ``logp`` belongs.

    Args:
        logp: The log-probabilities of the tokens under the policy that is trained.
        advantages: The advantage of each token.

    Returns:
        The loss of each token.
    """
    return -advantages * logp


def ppo_clip_loss(
    logp: Float[Tensor, "b t"],
    old_logprobs: Float[Tensor, "b t"],
    advantages: Float[Tensor, "b t"],
    low: float,
    high: float,
) -> Float[Tensor, "b t"]:
    """Return the clipped loss of PPO, with one probability ratio per token (Schulman et al. 2017, Eq. 7).

    The loss is L_t = - min(rho_t A_t, clip(rho_t, 1 - low, 1 + high) A_t) with rho_t = exp(logp_t - old_logprobs_t).

    Args:
        logp: The log-probabilities of the tokens under the policy that is trained.
        old_logprobs: The log-probabilities of the tokens under the policy that sampled them. They get no gradient.
        advantages: The advantage of each token.
        low: The clip range below 1, PPO's epsilon.
        high: The clip range above 1; PPO has high = low, DAPO has high > low.

    Returns:
        The loss of each token.
    """
    ratio = exp(logp - old_logprobs.detach())
    return -minimum(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages)


def sequence_clip_loss(
    logp: Float[Tensor, "b t"],
    old_logprobs: Float[Tensor, "b t"],
    advantages: Float[Tensor, "b t"],
    turn: Int[Tensor, "b t"],
    loss_mask: Bool[Tensor, "b t"],
    low: float,
    high: float,
) -> Float[Tensor, "b t"]:
    """Return the clipped loss with one probability ratio per turn (RLOO, Ahmadian et al. 2024).

    The loss of a turn is - min(rho A, clip(rho, 1 - low, 1 + high) A) with rho = exp(sum_t (logp_t - old_logprobs_t))
    over the n sampled tokens of the turn. Each of these tokens gets 1/n of the loss, so that the token losses sum to
    the loss of the turn.

    Args:
        logp: The log-probabilities of the tokens under the policy that is trained.
        old_logprobs: The log-probabilities of the tokens under the policy that sampled them. They get no gradient.
        advantages: The advantage of each token, equal for all sampled tokens of a turn.
        turn: The turn of each token, counted from 0; -1 on padding.
        loss_mask: True for the tokens that the policy sampled.
        low: The clip range below 1.
        high: The clip range above 1.

    Returns:
        The loss of each sampled token; 0 elsewhere.
    """
    loss = logp.new_zeros(logp.shape)
    for k in range(int(turn.max()) + 1):
        in_turn = loss_mask & (turn == k)
        ratio = exp(where(in_turn, logp - old_logprobs.detach(), 0.0).sum(dim=1, keepdim=True))
        objective = minimum(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages)
        loss = loss - where(in_turn, objective / in_turn.sum(dim=1, keepdim=True).clamp(min=1), 0.0)
    return loss


def truncated_importance_weight(
    trainer_logprobs: Float[Tensor, "b t"], sampling_logprobs: Float[Tensor, "b t"], cap: float
) -> Float[Tensor, "b t"]:
    """Return the truncated importance weight of each token (Yao et al. 2025), without gradient.

    The weight is w_t = min(pi_t(trainer) / pi_t(sampling), cap).

    Args:
        trainer_logprobs: The log-probabilities that the trainer computes for the sampled tokens; 0 elsewhere.
        sampling_logprobs: The log-probabilities that the engine computed when it sampled the tokens; 0 elsewhere.
        cap: The largest weight.

    Returns:
        The weight of each token; 1 at tokens that were not sampled, if ``cap`` is at least 1.
    """
    return exp(trainer_logprobs.detach() - sampling_logprobs.detach()).clamp(max=cap)
