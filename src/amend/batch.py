"""Collate scored episodes into tensors, and split a batch into micro-batches.

All tensors share one time axis: ``old_logprobs[i, t]`` belongs to ``tokens[i, t]``. Rows are padded on the right.
Padding is determined by the length of a row, never by the value of a token. An end token that is also the pad token is
therefore trained once, like any other sampled token.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypedDict, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from amend.distributed import collectives
from amend.types import Episode, Scored


class Extras(TypedDict, total=False):
    """Further values of a batch, each [b t], which only some algorithms and engines need."""

    sampling_logprobs: Float[Tensor, "b t"]
    """The engine's log-probabilities, if they differ from the trainer's (``Algorithm.make_batch``)."""
    importance_weights: Float[Tensor, "b t"]
    """The truncated importance weight of each token, if the engine's log-probabilities differ from the trainer's."""
    values: Float[Tensor, "b t"]
    """The value head's estimate before each token (PPO)."""
    value_targets: Float[Tensor, "b t"]
    """The target of the value head (PPO)."""


@dataclass(frozen=True)
class Batch:
    """b episodes of up to t tokens and k turns.

    Attributes:
        tokens: The tokens of each conversation, padded on the right.
        turn: The turn of each token, from 0; a prompt belongs to the turn of its reply. -1 at padding.
        loss_mask: Whether a token is trained: the policy sampled it.
        old_logprobs: The log-probability in nats under the policy that sampled the token; 0 where ``loss_mask`` is
            False. If the engine's log-probabilities differ from the trainer's, these are the trainer's.
        ref_logp: The log-probability in nats under the reference model. NaN if the algorithm does not compute it, so
            that an unintended use is visible.
        temperature: The temperature at which a token was sampled and is trained; 1 where ``loss_mask`` is False.
        token_rewards: The part of a turn's reward that is given at this token. The remainder is given at the last token
            of the turn.
        reward: The reward of each turn.
        group_id: The group of each episode. Episodes of one problem have the same number.
        extras: What an algorithm computes once before its updates, see ``Extras``.
    """

    tokens: Int[Tensor, "b t"]
    turn: Int[Tensor, "b t"]
    loss_mask: Bool[Tensor, "b t"]
    old_logprobs: Float[Tensor, "b t"]
    ref_logp: Float[Tensor, "b t"]
    temperature: Float[Tensor, "b t"]
    token_rewards: Float[Tensor, "b t"]
    reward: Float[Tensor, "b k"]
    group_id: Int[Tensor, " b"]
    extras: Extras = field(default_factory=Extras)

    def __len__(self) -> int:
        return len(self.tokens)

    def rows(self, index: Int[Tensor, " m"]) -> Batch:
        """Return some of the episodes, cut to the length of the longest of them.

        Args:
            index: The indices of the m episodes.
        """
        longest = int((self.turn[index] >= 0).sum(dim=1).max())
        fields = {name: getattr(self, name)[index] for name in (*ALONG_TIME, "reward", "group_id")}
        fields |= {name: fields[name][:, :longest] for name in ALONG_TIME}
        return Batch(**fields, extras=self._map_extras(lambda value: value[index, :longest]))

    def _map_extras(self, change: Callable[[Tensor], Tensor]) -> Extras:
        changed = {name: change(value) for name, value in self.extras.items() if isinstance(value, Tensor)}
        return cast(Extras, changed)

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on another device."""
        fields = {name: getattr(self, name).to(device) for name in (*ALONG_TIME, "reward", "group_id")}
        return Batch(**fields, extras=self._map_extras(lambda value: value.to(device)))


ALIKE = 1.25  # largest ratio of the lengths of two episodes in a micro-batch
ALONG_TIME = (
    "tokens",
    "turn",
    "loss_mask",
    "old_logprobs",
    "ref_logp",
    "temperature",
    "token_rewards",
)  # the fields of shape [b t]


def transcript(episode: Episode) -> tuple[list[int], list[int], list[bool], list[float], list[float]]:
    """Return the tokens of an episode in order, with their properties.

    Args:
        episode: The episode.

    Returns:
        For each token: the token, its turn, whether it is trained, its log-probability (0 if it is not trained), and
        its temperature (1 for greedy replies and for tokens that are not trained).

    Raises:
        ValueError: If a prompt does not extend the previous turn.
    """
    tokens: list[int] = []
    turns: list[int] = []
    loss_mask: list[bool] = []
    logp: list[float] = []
    temperatures: list[float] = []
    for k, turn in enumerate(episode.turns):
        if list(turn.prompt[: len(tokens)]) != tokens:
            raise ValueError(f"{episode.problem.id}: the prompt of turn {k + 1} does not extend the previous turn")
        added, reply = turn.prompt[len(tokens) :], turn.reply.tokens
        tokens += [*added, *reply]
        turns += [k] * (len(added) + len(reply))
        loss_mask += [False] * len(added) + list(turn.loss_mask)
        logp += [0.0] * len(added) + [
            lp if use else 0.0 for lp, use in zip(turn.reply.logp, turn.loss_mask, strict=True)
        ]
        temperatures += [1.0] * len(added) + [turn.temperature or 1.0 if use else 1.0 for use in turn.loss_mask]
    return tokens, turns, loss_mask, logp, temperatures


def collate(scored: Sequence[Scored]) -> Batch:
    """Collate scored episodes into a batch, in their order.

    Args:
        scored: The episodes. All must have the same number of turns.

    Returns:
        The batch. ``ref_logp`` is NaN.
    """
    rows = [transcript(s.episode) for s in scored]
    b, t = len(rows), max(len(tokens) for tokens, *_ in rows)
    tokens = np.zeros((b, t), dtype=np.int64)
    turn = np.full((b, t), -1, dtype=np.int64)
    loss_mask = np.zeros((b, t), dtype=bool)
    logp, token_rewards = np.zeros((b, t), dtype=np.float32), np.zeros((b, t), dtype=np.float32)
    temperature = np.ones((b, t), dtype=np.float32)
    for i, (ids, turns, mask, lp, temperatures) in enumerate(rows):
        tokens[i, : len(ids)], turn[i, : len(ids)] = ids, turns
        loss_mask[i, : len(ids)], logp[i, : len(ids)], temperature[i, : len(ids)] = mask, lp, temperatures
        if scored[i].token_rewards:
            token_rewards[i, loss_mask[i]] = scored[i].token_rewards
    groups: dict[str, int] = {}
    group_id = [groups.setdefault(s.episode.problem.id, len(groups)) for s in scored]
    return Batch(
        tokens=torch.from_numpy(tokens),
        turn=torch.from_numpy(turn),
        loss_mask=torch.from_numpy(loss_mask),
        old_logprobs=torch.from_numpy(logp),
        ref_logp=torch.full((b, t), torch.nan),
        temperature=torch.from_numpy(temperature),
        token_rewards=torch.from_numpy(token_rewards),
        reward=torch.tensor([s.reward for s in scored], dtype=torch.float32),
        group_id=torch.tensor(group_id),
    )


def micro_batches(batch: Batch, tokens: int) -> list[tuple[Int[Tensor, " m"], float]]:
    """Split this rank's shard of a batch into micro-batches.

    A shard consists of whole groups if possible. The lengths of the episodes of a micro-batch differ at most by the
    factor ``ALIKE``. Episodes of a group are adjacent, so that their common prefix is computed once
    (``policy.prefix_tree``).

    Args:
        batch: The batch.
        tokens: The maximum number of padded tokens of a micro-batch. A micro-batch has at least one episode.

    Returns:
        The rows of each micro-batch and the factor of its loss: 1, or 0 for a dummy micro-batch, see
        ``collectives.shard_batches``.
    """
    length = (batch.turn >= 0).sum(dim=1)
    length_class = (length.double().log() / math.log(ALIKE)).floor().long()
    order = batch.group_id - length_class * (int(batch.group_id.max()) + 1)

    def split(shard: Int[Tensor, " n"]) -> list[Int[Tensor, " m"]]:
        shard = shard[torch.argsort(order[shard], stable=True)]
        sizes: list[int] = []
        longest = 0
        for row_length in length[shard].tolist():
            longest = max(longest, row_length)
            if not sizes or (sizes[-1] + 1) * longest > tokens:
                sizes.append(0)
                longest = row_length
            sizes[-1] += 1
        return list(shard.split(sizes))

    return collectives.shard_batches(torch.argsort(batch.group_id, stable=True), split)
