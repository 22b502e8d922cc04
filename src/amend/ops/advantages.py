"""Compute advantages: from one reward per turn to one number per sampled token.

An algorithm applies these functions in this order:

    reward     one reward per turn, [b k]: the raw reward, or the shaped reward of ``add_shaping_bonus``
    return     the discounted sum of this reward and later rewards, G_i = sum_(j >= i) gamma^(j - i) r_j:
               ``discounted_returns``
    baseline   the expected return, which the algorithm subtracts: ``leave_one_out`` (RLOO, Ahmadian et al. 2024) or
               ``batch_mean``. ``normalize_by_group`` (GRPO, Shao et al. 2024) and ``center_by_group`` (Dr. GRPO, Liu
               et al. 2025) return the difference to the baseline
    tokens     the advantage of a turn at each token that the policy sampled in it, [b t]: ``broadcast_to_tokens``

PPO instead places rewards at tokens (``place_at_turn_ends``) and estimates one advantage per token (``gae``,
``normalize_over_tokens``).

All episodes of one problem form a group. ``group[b]`` is the number of the group that episode b belongs to. Groups may
differ in size, and their episodes may stand in any order. Axes: b episodes, k turns, t tokens.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

EPS = 1e-4  # TRL's value; keeps advantages finite if the rewards of a group are nearly equal


def add_shaping_bonus(reward: Float[Tensor, "b k"], alpha: float) -> Float[Tensor, "b k"]:
    """Return each turn's reward plus a bonus for improvement over the previous turn.

    The shaped reward is r_i + alpha (r_i - r_(i-1)) (SCoRe, Kumar et al. 2024, section 5.2). The first turn has no
    previous turn and gets no bonus. If the bonus reached the first turn, an alpha above 1 would reward a wrong first
    attempt.

    Args:
        reward: The reward of each turn.
        alpha: The coefficient of the bonus; 0 leaves the rewards unchanged.

    Returns:
        The shaped reward of each turn.
    """
    bonus = torch.zeros_like(reward)
    bonus[:, 1:] = alpha * (reward[:, 1:] - reward[:, :-1])
    return reward + bonus


def discounted_returns(reward: Float[Tensor, "b k"], gamma: float) -> Float[Tensor, "b k"]:
    """Return the discounted sum of the rewards of each turn and its later turns.

    The return is G_i = sum_(j >= i) gamma^(j - i) r_j.

    Args:
        reward: The reward of each turn.
        gamma: The discount per turn. With 0, the value of SCoRe, the return of a turn is its own reward.

    Returns:
        The return of each turn.
    """
    total = reward.clone()
    for turn in range(reward.shape[1] - 2, -1, -1):
        total[:, turn] += gamma * total[:, turn + 1]
    return total


def _group_sum(value: Float[Tensor, "b k"], group: Int[Tensor, " b"]) -> Float[Tensor, "b k"]:
    """Return for each episode the sum over its group, the episode included."""
    sums = torch.zeros(int(group.max()) + 1, value.shape[1], dtype=value.dtype, device=value.device)
    return sums.index_add_(0, group, value)[group]


def leave_one_out(value: Float[Tensor, "b k"], group: Int[Tensor, " b"]) -> Float[Tensor, "b k"]:
    """Return for each episode the mean over the *other* episodes of its group (RLOO, Ahmadian et al. 2024, Eq. 8).

    The baseline of episode i is b_i = sum_(j != i) value_j / (n - 1) in a group of n episodes. It is unbiased because
    it does not depend on episode i. A group of one episode has no other episodes. Its baseline is its own value, so
    its advantage is 0.

    Args:
        value: The reward or return of each turn.
        group: The group number of each episode.

    Returns:
        The baseline of each turn.
    """
    size = _group_sum(torch.ones_like(value), group)
    other_mean = (_group_sum(value, group) - value) / (size - 1).clamp(min=1)
    return torch.where(size > 1, other_mean, value)


def batch_mean(value: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
    """Return for each episode the mean over all *other* episodes of the batch.

    This baseline is the same for easy and hard problems, unlike ``leave_one_out`` over the group of one problem.

    Args:
        value: The reward or return of each turn.

    Returns:
        The baseline of each turn.
    """
    return leave_one_out(value, torch.zeros(len(value), dtype=torch.long, device=value.device))


def normalize_by_group(value: Float[Tensor, "b k"], group: Int[Tensor, " b"]) -> Float[Tensor, "b k"]:
    """Return the advantage of GRPO: values centered by group and divided by the group's standard deviation.

    The advantage is A_i = (value_i - mean) / (std + EPS) (GRPO, Shao et al. 2024). As in TRL, the variance has the
    denominator n - 1, and EPS is 1e-4. The division biases the gradient: problems that the policy solves almost always
    or almost never get the largest weight.

    Args:
        value: The reward or return of each turn.
        group: The group number of each episode.

    Returns:
        The advantage of each turn.
    """
    size = _group_sum(torch.ones_like(value), group)
    difference = value - _group_sum(value, group) / size
    std = (_group_sum(difference.square(), group) / (size - 1).clamp(min=1)).sqrt()
    return difference / (std + EPS)


def center_by_group(value: Float[Tensor, "b k"], group: Int[Tensor, " b"]) -> Float[Tensor, "b k"]:
    """Return the advantage of Dr. GRPO: values minus the mean of their group (Liu et al. 2025).

    In a group of n episodes, this advantage is (n - 1) / n times the advantage with the ``leave_one_out`` baseline.

    Args:
        value: The reward or return of each turn.
        group: The group number of each episode.

    Returns:
        The advantage of each turn.
    """
    return value - _group_sum(value, group) / _group_sum(torch.ones_like(value), group)


def broadcast_to_tokens(
    value: Float[Tensor, "b k"], turn: Int[Tensor, "b t"], loss_mask: Bool[Tensor, "b t"]
) -> Float[Tensor, "b t"]:
    """Return the value of each turn at every token that the policy sampled in the turn.

    Args:
        value: One number per turn, such as its advantage.
        turn: The turn of each token, counted from 0; -1 on padding.
        loss_mask: True for the tokens that the policy sampled.

    Returns:
        The value at sampled tokens; 0 on prompts, padding and given replies.
    """
    return torch.where(loss_mask, value.gather(1, turn.clamp(min=0)), 0.0)


def has_zero_variance(value: Float[Tensor, "b k"], group: Int[Tensor, " b"]) -> Bool[Tensor, " b"]:
    """Return whether all episodes of a group have equal rewards in every turn.

    The group-relative advantage of such a group is 0, so the group adds nothing to the gradient.

    Args:
        value: The reward of each turn.
        group: The group number of each episode.

    Returns:
        True for each episode whose group has equal rewards, up to rounding (1e-6).
    """
    is_different = (center_by_group(value, group).abs() > 1e-6).any(dim=1, keepdim=True).to(value.dtype)
    return _group_sum(is_different, group)[:, 0] == 0


def gae(
    reward: Float[Tensor, "b t"],
    value: Float[Tensor, "b t"],
    loss_mask: Bool[Tensor, "b t"],
    gamma: float,
    gae_lambda: float,
) -> Float[Tensor, "b t"]:
    """Return the generalized advantage estimate of each sampled token (Schulman et al. 2016).

    A time step is a sampled token. Let s be the next sampled token after t:

        delta_t = r_t + gamma V_s - V_t
        A_t     = delta_t + gamma lambda A_s

    V and A are 0 after the last sampled token of an episode. Tokens of a prompt between two turns are no time steps and
    are not discounted.

    Args:
        reward: The reward r_t at each token.
        value: The critic's estimate V_t before each token. Only values at sampled tokens are used.
        loss_mask: True for the tokens that the policy sampled.
        gamma: The discount per sampled token.
        gae_lambda: The parameter lambda. 0 gives the one-step estimate, 1 gives the discounted return minus V_t.

    Returns:
        The advantage at sampled tokens; 0 elsewhere.
    """
    advantage, value_next, advantage_next = (
        torch.zeros_like(reward),
        reward.new_zeros(len(reward)),
        reward.new_zeros(len(reward)),
    )
    for t in range(reward.shape[1] - 1, -1, -1):
        is_sampled = loss_mask[:, t]
        estimate = reward[:, t] + gamma * value_next - value[:, t] + gamma * gae_lambda * advantage_next
        advantage[:, t] = torch.where(is_sampled, estimate, 0.0)
        advantage_next = torch.where(is_sampled, estimate, advantage_next)
        value_next = torch.where(is_sampled, value[:, t], value_next)
    return advantage


def place_at_turn_ends(
    value: Float[Tensor, "b k"], turn: Int[Tensor, "b t"], loss_mask: Bool[Tensor, "b t"]
) -> Float[Tensor, "b t"]:
    """Return the value of each turn at the last token that the policy sampled in the turn.

    Args:
        value: One number per turn, such as its reward.
        turn: The turn of each token, counted from 0; -1 on padding.
        loss_mask: True for the tokens that the policy sampled.

    Returns:
        The value at the last sampled token of each turn; 0 elsewhere.
    """
    is_turn_end = torch.zeros_like(loss_mask)
    next_turn = torch.full((len(turn),), -2, dtype=turn.dtype, device=turn.device)
    for t in range(turn.shape[1] - 1, -1, -1):
        is_sampled = loss_mask[:, t]
        is_turn_end[:, t] = is_sampled & (turn[:, t] != next_turn)
        next_turn = torch.where(is_sampled, turn[:, t], next_turn)
    return torch.where(is_turn_end, value.gather(1, turn.clamp(min=0)), 0.0)


def normalize_over_tokens(value: Float[Tensor, "b t"], loss_mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b t"]:
    """Normalize the values at sampled tokens to mean 0 and standard deviation 1.

    The result is (value - mean) / (std + 1e-8), as usual in implementations of PPO. For a single sampled token, std
    is 1.

    Args:
        value: One number per token, such as its advantage.
        loss_mask: True for the tokens that the policy sampled. Mean and standard deviation are over these tokens.

    Returns:
        The normalized value at sampled tokens; 0 elsewhere.
    """
    sampled = value[loss_mask]
    std = sampled.std() if len(sampled) > 1 else sampled.new_ones(())
    return torch.where(loss_mask, (value - sampled.mean()) / (std + 1e-8), 0.0)
