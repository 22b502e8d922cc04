"""From scored episodes to tensors: the one place where ragged conversations become a rectangle.

Every array stands on one time axis: ``logp[i, t]`` belongs to ``tokens[i, t]``. Rows are padded on the right, and
padding is known from lengths alone, never from a token's value, so an end token that doubles as the pad token is kept
and trained once, like any other token the policy drew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from amend.distributed import collectives
from amend.types import Episode, Scored


@dataclass(frozen=True)
class Batch:
    """b episodes of up to t tokens and k turns.

    turn:     which turn a token belongs to, its prompt included; -1 on padding
    sampled:  the tokens that the policy drew, and so the ones that are trained
    logp:     log-probability under the sampling policy, 0 where nothing was drawn
    temperature: that a token was drawn at, and is read at again; 1 where nothing was drawn
    along:    how much of the turn's reward was paid at a token itself; the rest falls due at the turn's end
    ref_logp: the same under the reference; NaN until ``Algorithm.improve`` fills it for an algorithm that asks, so that
              a use without asking is loud
    reward:   raw reward of each turn
    group:    episodes of one problem share a number
    more:     what an algorithm reads once before its updates and needs in them, such as a critic's values; where the
              engine's log-probabilities are not the trainer's, ``logp`` has the trainer's, ``extras`` the "engine"'s
              and
              the "importance" of each token (see ``Algorithm.gathered``)
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
    extras: Mapping[str, Float[Tensor, "b t"]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.tokens)

    def rows(self, index: Int[Tensor, " m"]) -> Batch:
        """The episodes ``index`` names, cut to the longest of them."""
        longest = int((self.turn[index] >= 0).sum(dim=1).max())
        picked = {name: getattr(self, name)[index] for name in (*ALONG_TIME, "reward", "group_id")}
        picked |= {name: picked[name][:, :longest] for name in ALONG_TIME}
        return Batch(**picked, extras={name: value[index, :longest] for name, value in self.extras.items()})

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on a device."""
        moved = {name: getattr(self, name).to(device) for name in (*ALONG_TIME, "reward", "group_id")}
        return Batch(**moved, extras={name: value.to(device) for name, value in self.extras.items()})


ALIKE = 1.25  # episodes are alike in length if the longer has at most so many times the tokens of the shorter
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
    """An episode's tokens in order, with each one's turn, whether the policy drew it, its log-probability and the
    temperature it was drawn at (a greedy one counts as 1)."""
    tokens: list[int] = []
    turns: list[int] = []
    loss_mask: list[bool] = []
    logp: list[float] = []
    heat: list[float] = []
    for k, turn in enumerate(episode.turns):
        if list(turn.prompt[: len(tokens)]) != tokens:
            raise ValueError(f"{episode.problem.id}: the prompt of turn {k + 1} does not extend the turn before it")
        asked, drawn = turn.prompt[len(tokens) :], turn.reply.tokens
        tokens += [*asked, *drawn]
        turns += [k] * (len(asked) + len(drawn))
        loss_mask += [False] * len(asked) + list(turn.trained)
        logp += [0.0] * len(asked) + [lp if own else 0.0 for lp, own in zip(turn.reply.logp, turn.trained, strict=True)]
        heat += [1.0] * len(asked) + [turn.temperature or 1.0 if own else 1.0 for own in turn.trained]
    return tokens, turns, loss_mask, logp, heat


def collate(scored: Sequence[Scored]) -> Batch:
    """Scored episodes, in their order, as one batch. All must have the same number of turns."""
    rows = [transcript(s.episode) for s in scored]
    b, t = len(rows), max(len(tokens) for tokens, *_ in rows)
    tokens = np.zeros((b, t), dtype=np.int64)
    turn = np.full((b, t), -1, dtype=np.int64)
    loss_mask = np.zeros((b, t), dtype=bool)
    logp, token_rewards = np.zeros((b, t), dtype=np.float32), np.zeros((b, t), dtype=np.float32)
    temperature = np.ones((b, t), dtype=np.float32)
    for i, (ids, turns, drawn, lp, heat) in enumerate(rows):
        tokens[i, : len(ids)], turn[i, : len(ids)] = ids, turns
        loss_mask[i, : len(ids)], logp[i, : len(ids)], temperature[i, : len(ids)] = drawn, lp, heat
        if scored[i].token_rewards:
            token_rewards[i, loss_mask[i]] = scored[i].token_rewards
    number: dict[str, int] = {}
    group_id = [number.setdefault(s.episode.problem.id, len(number)) for s in scored]
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
    """This process's share of the batch in pieces of at most ``tokens`` padded tokens (at least one episode each), and
    what each piece counts for, see ``ranks.dealt``.

    Shares are of whole problems, as far as they go. A piece's episodes are alike in length, within ``ALIKE``, and those
    of a problem stand side by side: what they have in common is read once (``policy.prefixes``).
    """
    length = (batch.turn >= 0).sum(dim=1)
    alike = (length.double().log() / math.log(ALIKE)).floor().long()
    order = batch.group_id - alike * (int(batch.group_id.max()) + 1)

    def cut(hand: Int[Tensor, " n"]) -> list[Int[Tensor, " m"]]:
        hand = hand[torch.argsort(order[hand], stable=True)]
        sizes: list[int] = []
        longest = 0
        for own in length[hand].tolist():
            longest = max(longest, own)
            if not sizes or (sizes[-1] + 1) * longest > tokens:
                sizes.append(0)
                longest = own
            sizes[-1] += 1
        return list(hand.split(sizes))

    return collectives.shard_batches(torch.argsort(batch.group_id, stable=True), cut)
