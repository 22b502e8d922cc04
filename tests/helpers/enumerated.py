"""Every conversation that a tiny policy can have, each with its probability: what is expected is computed, not drawn.

    short     seven tokens; two turns of one token each                                49 conversations
    even      five tokens; a first reply of two tokens, a second of one               125
    ragged    five tokens; a first reply that ends at once or has two, a second of one   105

A minibatch is one group of two conversations, and every pair is one: ``expected`` weighs by its probability what
a learner's own ``advantages``, ``loss`` and ``weights`` make of it. What the learner is to descend, the tests write
down
from its paper and differentiate.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor
from toys import drift, episode, policy, scored

from amend.algo.base import Algorithm
from amend.batch import Batch, collate
from amend.ops.logprobs import TokenLogprobs
from amend.policy.policy import Policy

ASK, AGAIN, SPEAK, END = [2, 0], [2, 1], 3, 4  # any two prompts that differ

Gradient = list[Tensor]


class World(NamedTuple):
    """``chance`` [e] of each conversation under the policy that sampled; ``batch`` has its log-probabilities."""

    policy: Policy
    batch: Batch
    chance: Tensor

    def rows(self, reference: bool = False) -> Tensor:
        """log pi at each position over the vocabulary, [e t v], straight from the model's own logits."""
        return _predicted(self.policy, self.batch.tokens, reference)

    def logp(self, reference: bool = False) -> Tensor:
        """log pi of each drawn token, [e t]; 0 elsewhere."""
        return _drawn(self.rows(reference), self.batch)

    def turns(self, per_token: Tensor) -> Tensor:
        """Sums over each turn's drawn tokens, [e 2]."""
        here = self.batch.turn[:, None] == torch.arange(2)[None, :, None]
        return (per_token[:, None] * (here & self.batch.loss_mask[:, None])).sum(-1)

    def spread(self, per_turn: Tensor) -> Tensor:
        """Each turn's number at each of its drawn tokens, [e t]."""
        return torch.where(self.batch.loss_mask, per_turn.gather(1, self.batch.turn.clamp(min=0)), 0.0)

    @property
    def correct(self) -> Tensor:
        """Each turn's reward, [e 2]."""
        return self.batch.reward

    @property
    def length(self) -> Tensor:
        """Drawn tokens of each conversation, [e]."""
        return self.batch.loss_mask.sum(1)

    def pull(self, worth: Tensor) -> Gradient:
        """-grad sum_e chance(e) sum_t worth(e, t) log pi(t): what a score function with this credit does."""
        return self.descent((self.chance[:, None] * worth * self.logp()).sum())

    def descent(self, objective: Tensor) -> Gradient:
        """Minus its gradient."""
        return list(torch.autograd.grad(-objective, list(self.policy.lm.parameters()), retain_graph=True))


def paid(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[float, float]:
    """An arbitrary but fixed table of right answers; turn 2's depends on turn 1's, turn 1's on all of its tokens."""
    return float(sum(first) % 7 in (4, 5)), float((sum(second) + sum(first)) % 3 == 0)


def short(older: bool = False) -> World:
    """``older``: drawn by the policy as it was before it was moved, which is its reference."""
    return _world("ab", tuple((token,) for token in range(7)), older)


def even(older: bool = False) -> World:
    return _world("", tuple(product(range(5), repeat=2)), older)


def ragged(older: bool = False) -> World:
    return _world("", ((END,), *product(range(4), range(5))), older)


def expected(algorithm: Algorithm, world: World, apart: bool = False, values: Tensor | None = None) -> Gradient:
    """The gradient of the learner's loss on a group of two, expected over groups.

    apart:  the two are of different problems, and credit is taken over each pair by itself: for a learner whose credit
            looks beyond the group. It must depend on a conversation's length and rewards alone.
    values: what a critic says before each token, [e t], in the place of the learner's own
    """
    if values is not None:
        algorithm.values = lambda batch, out: batch.extras.get("values", values)  # type: ignore[attr-defined]
    batch, count = algorithm.prepare(world.batch), len(world.chance)
    out = world.policy(batch.tokens, batch.loss_mask, batch.temperature, reference=True)
    hidden = None if out.hidden is None else torch.zeros(*batch.loss_mask.shape, out.hidden.shape[1]).double()
    if hidden is not None:
        hidden[batch.loss_mask] = out.hidden
    left, right = torch.triu_indices(count, count)
    order = torch.stack([left, right], dim=1).flatten()  # rows 2g and 2g + 1 are pair g
    pairs = replace(batch.rows(order), group_id=torch.arange(len(left)).repeat_interleave(2))
    chance = torch.where(left == right, 1, 2) * world.chance[left] * world.chance[right]  # either may come first
    _, look = torch.unique(torch.cat([world.length[:, None], batch.reward], dim=1), dim=0, return_inverse=True)
    _, kind = torch.unique(look[left] * count + look[right], return_inverse=True)  # pairs that look alike
    weights = torch.zeros_like(pairs.old_logprobs)
    advantages = torch.zeros_like(pairs.old_logprobs) if apart else algorithm.advantages(pairs)
    for one in range(int(kind.max()) + 1):
        alike = (kind == one).nonzero()[:, 0]
        pair = torch.stack([2 * alike[0], 2 * alike[0] + 1])
        two = replace(pairs.rows(pair), group_id=torch.arange(2) if apart else torch.zeros(2, dtype=torch.long))
        t = two.tokens.shape[1]
        for side in range(2):
            weights[2 * alike + side, :t] = algorithm.token_weights(two)[side].double()
            if apart:
                advantages[2 * alike + side, :t] = algorithm.advantages(two)[side]
    said = TokenLogprobs(
        *(field[order] for field in out[:4]), None if hidden is None else hidden[order][pairs.loss_mask]
    )
    loss = (algorithm.loss(pairs, advantages, said) * weights).sum(dim=1)
    return list(torch.autograd.grad((loss * chance.repeat_interleave(2)).sum(), list(world.policy.lm.parameters())))


def close(got: Gradient, want: Gradient, factor: float = 1.0) -> bool:
    """Whether it is ``factor`` times the other, to 1e-5 of its length: log pi is in float32."""
    size = length(want)
    assert size > 1e-3  # a zero gradient would prove nothing
    return length([g - factor * w for g, w in zip(got, want, strict=True)]) < 1e-5 * abs(factor) * size


def length(gradient: Gradient) -> float:
    return float(torch.cat([g.flatten() for g in gradient]).norm())


def token_rewards(got: Gradient, want: Gradient) -> tuple[float, float]:
    """The cosine between two gradients, and how long the first is of the second."""
    inner = float(sum((g * w).sum() for g, w in zip(got, want, strict=True)))
    return inner / length(got) / length(want), length(got) / length(want)


@cache
def _policy(characters: str) -> Policy:
    return drift(policy(characters=characters).double())


@cache
def _world(characters: str, firsts: tuple[tuple[int, ...], ...], older: bool) -> World:
    made = _policy(characters)
    said = [(first, (second,)) for first in firsts for second in range(5 + len(characters))]
    rows = [episode([([*ASK, SPEAK], first), ([*AGAIN, SPEAK], second)]) for first, second in said]
    batch = collate([scored(row, paid(*both)) for row, both in zip(rows, said, strict=True)])
    with torch.no_grad():
        logp = _drawn(_predicted(made, batch.tokens, reference=older), batch)
    chance = logp.sum(1).exp()
    assert abs(float(chance.sum()) - 1) < 1e-9  # nothing else can be said
    double = {name: getattr(batch, name).double() for name in ("reward", "temperature", "token_rewards", "ref_logp")}
    return World(made, replace(batch, old_logprobs=logp, **double), chance)


def _predicted(policy: Policy, tokens: Tensor, reference: bool) -> Tensor:
    """What is said of token t stands at t, not where it is said."""
    lm = policy.reference_lm if reference else policy.lm
    assert lm is not None
    return lm(input_ids=tokens).logits.log_softmax(-1).roll(1, dims=1)


def _drawn(rows: Tensor, batch: Batch) -> Tensor:
    return torch.where(batch.loss_mask, rows.gather(2, batch.tokens[..., None])[..., 0], 0.0)
