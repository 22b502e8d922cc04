"""Surrogates: a loss at each token whose gradient moves the policy along its credit. Minimised; one number a token.

reinforce   L_t(theta) = - A_t log pi_t(theta)                                     Williams 1992
clipped     L_t(theta) = - min(rho_t A_t, clip(rho_t, 1 - low, 1 + high) A_t)        PPO, Schulman et al. 2017
            rho_t = pi_t(theta) / pi_t(behaviour); DAPO (Yu et al. 2025) sets high above low
whole       the same with one ratio a turn, rho = prod_t rho_t: a reply is one action   RLOO, Ahmadian et al. 2024
truncated   w_t = min(pi_t(trainer) / pi_t(engine), cap): what an engine that computes otherwise than the trainer draws
            counts for, so that a loss is (up to the cap) that of the trainer's policy    Yao et al. 2025, "Your
            Efficient RL Framework Secretly Brings You Off-Policy RL Training"
"""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor, exp, minimum, where


def reinforce_loss(logp: Float[Tensor, "b t"], credit: Float[Tensor, "b t"]) -> Float[Tensor, "b t"]:
    """The score-function loss; unbiased where the tokens were drawn from the very policy that ``logp`` is of."""
    return -credit * logp


def ppo_clip_loss(
    logp: Float[Tensor, "b t"],
    behaviour: Float[Tensor, "b t"],
    credit: Float[Tensor, "b t"],
    low: float,
    high: float,
) -> Float[Tensor, "b t"]:
    """The clipped importance-weighted loss; ``behaviour`` is the log-probability under the policy that sampled."""
    ratio = exp(logp - behaviour.detach())
    return -minimum(ratio * credit, ratio.clamp(1 - low, 1 + high) * credit)


def sequence_clip_loss(
    logp: Float[Tensor, "b t"],
    behaviour: Float[Tensor, "b t"],
    credit: Float[Tensor, "b t"],
    turn: Int[Tensor, "b t"],
    loss_mask: Bool[Tensor, "b t"],
    low: float,
    high: float,
) -> Float[Tensor, "b t"]:
    """The clipped loss of whole replies, each turn's shared out over its tokens so that it adds up to the turn's."""
    loss = logp.new_zeros(logp.shape)
    for k in range(int(turn.max()) + 1):
        here = loss_mask & (turn == k)
        ratio = exp(where(here, logp - behaviour.detach(), 0.0).sum(dim=1, keepdim=True))
        share = minimum(ratio * credit, ratio.clamp(1 - low, 1 + high) * credit)
        loss = loss - where(here, share / here.sum(dim=1, keepdim=True).clamp(min=1), 0.0)
    return loss


def truncated_importance_weight(
    trainer: Float[Tensor, "b t"], engine: Float[Tensor, "b t"], cap: float
) -> Float[Tensor, "b t"]:
    """The importance weight of a token from two log-probabilities, at most ``cap``; 1 where both are 0; no gradient."""
    return exp(trainer.detach() - engine.detach()).clamp(max=cap)
