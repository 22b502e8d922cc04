"""Credit: from one reward a turn to how much better each token was than expected.

A learner picks its credit from these parts, in this order:

    pay       what each turn is paid, [b k]: the rewards themselves, or shaped ones (``progress``)
    returns   what later turns add, discounted:  G_i = sum_j gamma^(j - i) pay_j
    baseline  what was to be expected, subtracted: ``leave_one_out`` (RLOO, Ahmadian et al. 2024), ``standardize``
              (GRPO, Shao et al. 2024), or the mean of the whole batch
    spread    the turn's number to each token that the policy drew in it, [b t]

Episodes of one problem form a group; ``group[b]`` names it. Groups may differ in size and stand in any order.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

EPS = 1e-4  # TRL's; keeps groups of nearly equal rewards finite


def shaping_bonus(reward: Float[Tensor, "b k"], alpha: float) -> Float[Tensor, "b k"]:
    """Each turn's reward plus a bonus for having improved on the turn before: r_i + alpha (r_i - r_(i-1)).

    The first turn has no turn before it and gets no bonus (SCoRe, section 5.2): were the bonus to reach it, an alpha
    above one would pay for starting wrong.
    """
    bonus = torch.zeros_like(reward)
    bonus[:, 1:] = alpha * (reward[:, 1:] - reward[:, :-1])
    return reward + bonus


def returns(pay: Float[Tensor, "b k"], gamma: float) -> Float[Tensor, "b k"]:
    """Discounted sums over this turn and the later ones. gamma = 0, SCoRe's choice, leaves each turn its own pay."""
    total = pay.clone()
    for turn in range(pay.shape[1] - 2, -1, -1):
        total[:, turn] += gamma * total[:, turn + 1]
    return total


def _group_sum(value: Float[Tensor, "b k"], group: Int[Tensor, " b"]) -> Float[Tensor, "b k"]:
    """For each episode, the sum over its group (itself included)."""
    sums = torch.zeros(int(group.max()) + 1, value.shape[1], dtype=value.dtype, device=value.device)
    return sums.index_add_(0, group, value)[group]


def leave_one_out(value: Float[Tensor, "b k"], group: Int[Tensor, " b"]) -> Float[Tensor, "b k"]:
    """The mean of the group's *other* episodes, which an episode cannot move: an unbiased baseline (RLOO, Eq. 8).

    An episode alone in its group has no others to be held against; its baseline is its own value, so its credit is 0.
    """
    size = _group_sum(torch.ones_like(value), group)
    others = (_group_sum(value, group) - value) / (size - 1).clamp(min=1)
    return torch.where(size > 1, others, value)


def batch_mean(value: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
    """The mean of all *other* episodes of the batch, whatever their problem: one yardstick for easy and hard alike."""
    return leave_one_out(value, torch.zeros(len(value), dtype=torch.long, device=value.device))


def normalize_by_group(value: Float[Tensor, "b k"], group: Int[Tensor, " b"]) -> Float[Tensor, "b k"]:
    """(value - group mean) / (group standard deviation + EPS): GRPO's advantage, with TRL's n - 1 and eps (1e-4).

    Biased on purpose: dividing by the deviation weighs problems that are nearly always or never solved the most.
    """
    size = _group_sum(torch.ones_like(value), group)
    centred = value - _group_sum(value, group) / size
    deviation = (_group_sum(centred.square(), group) / (size - 1).clamp(min=1)).sqrt()
    return centred / (deviation + EPS)


def center_by_group(value: Float[Tensor, "b k"], group: Int[Tensor, " b"]) -> Float[Tensor, "b k"]:
    """value - group mean: Dr. GRPO's advantage (Liu et al. 2025), (n - 1) / n of the leave-one-out one."""
    return value - _group_sum(value, group) / _group_sum(torch.ones_like(value), group)


def broadcast_to_tokens(
    value: Float[Tensor, "b k"], turn: Int[Tensor, "b t"], loss_mask: Bool[Tensor, "b t"]
) -> Float[Tensor, "b t"]:
    """Each turn's number on every token that was drawn in it; 0 on prompts, padding and replies handed in."""
    return torch.where(loss_mask, value.gather(1, turn.clamp(min=0)), 0.0)


def has_zero_variance(value: Float[Tensor, "b k"], group: Int[Tensor, " b"]) -> Bool[Tensor, " b"]:
    """Episodes of a group that were all paid alike, turn by turn: nothing to teach a group-relative learner."""
    differs = (center_by_group(value, group).abs() > 1e-6).any(dim=1, keepdim=True).to(value.dtype)
    return _group_sum(differs, group)[:, 0] == 0


def gae(
    pay: Float[Tensor, "b t"],
    value: Float[Tensor, "b t"],
    loss_mask: Bool[Tensor, "b t"],
    gamma: float,
    lam: float,
) -> Float[Tensor, "b t"]:
    """Generalised advantage estimation (Schulman et al. 2016) over the sampled tokens of an episode, whatever lies
    between them: with s the sampled token after t,  delta_t = pay_t + gamma V_s - V_t,  A_t = delta_t + gamma lam A_s.

    A prompt between two turns is passed over: no step of time, no discount. V is 0 after the last sampled token.
    """
    advantage, value_next, advantage_next = torch.zeros_like(pay), pay.new_zeros(len(pay)), pay.new_zeros(len(pay))
    for t in range(pay.shape[1] - 1, -1, -1):
        here = loss_mask[:, t]
        now = pay[:, t] + gamma * value_next - value[:, t] + gamma * lam * advantage_next
        advantage[:, t] = torch.where(here, now, 0.0)
        advantage_next = torch.where(here, now, advantage_next)
        value_next = torch.where(here, value[:, t], value_next)
    return advantage


def at_turn_ends(
    pay: Float[Tensor, "b k"], turn: Int[Tensor, "b t"], loss_mask: Bool[Tensor, "b t"]
) -> Float[Tensor, "b t"]:
    """Each turn's number on the last token that was drawn in it; 0 elsewhere."""
    later = torch.zeros_like(loss_mask)
    seen = torch.full((len(turn),), -2, dtype=turn.dtype, device=turn.device)
    for t in range(turn.shape[1] - 1, -1, -1):
        here = loss_mask[:, t]
        later[:, t] = here & (turn[:, t] != seen)
        seen = torch.where(here, turn[:, t], seen)
    return torch.where(later, pay.gather(1, turn.clamp(min=0)), 0.0)


def whiten(value: Float[Tensor, "b t"], loss_mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b t"]:
    """(value - mean) / (standard deviation + 1e-8) over sampled tokens; 0 elsewhere. PPO's usual scaling."""
    drawn = value[loss_mask]
    spread_ = drawn.std() if len(drawn) > 1 else drawn.new_ones(())
    return torch.where(loss_mask, (value - drawn.mean()) / (spread_ + 1e-8), 0.0)
