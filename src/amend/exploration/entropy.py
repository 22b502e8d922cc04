"""Entropy: what keeps a policy from settling too early, as a change to the loss at each token.

A policy gradient takes entropy away where it makes likely what is likely already: from one update to the next the
entropy of the policy changes by about minus the covariance of a token's log-probability and its advantage (Cui et al.
2025, "The Entropy Mechanism of Reinforcement Learning for Reasoning Language Models", arXiv 2505.22617). A few tokens
account for most of it, so two of the levers hold back those few alone:

    bonus      L_t - c H(pi_t)                              at every token
    clip_cov   L_t without its gradient                     at some tokens of a covariance in [low, high]
    kl_cov     L_t + c (log pi_t - log pi_t(behaviour))^2 / 2    at the tokens of the largest covariance

    cov_t = (log pi_t(behaviour) - mean of it) (A_t - mean A)    means over the minibatch's sampled tokens

The penalty of kl_cov is k2, whose gradient is the KL's where the tokens were drawn from pi; the absolute difference
that is often used in its place pulls equally hard however near the two are. It is 0, and so is its gradient, until the
policy has moved away from the one that sampled: it needs more than one update a round.

Tokens are chosen over the whole minibatch before it is cut into micro-batches, so that no result depends on the cut.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from amend.batch import Batch
from amend.errors import UserError
from amend.ops import kl
from amend.ops.logprobs import TokenLogprobs
from amend.value_types import Fraction, NonNegative


@runtime_checkable
class Entropy(Protocol):
    """A change to the loss, in two steps: over the minibatch, then on each of its micro-batches."""

    def choose(self, batch: Batch, advantages: Float[Tensor, "b t"]) -> Float[Tensor, "b t"]:
        """What the change needs to know of each token of the whole minibatch: here, 1 at the tokens it concerns."""
        ...

    def __call__(
        self, loss: Float[Tensor, "b t"], chosen: Float[Tensor, "b t"], batch: Batch, out: TokenLogprobs
    ) -> Float[Tensor, "b t"]:
        """The changed loss at each token of a micro-batch; ``chosen`` is its part of what ``choose`` said."""
        ...


class NoEntropyTerm:
    """The loss as it is."""

    def choose(self, batch: Batch, advantages: Float[Tensor, "b t"]) -> Float[Tensor, "b t"]:
        """No token."""
        return torch.zeros_like(advantages)

    def __call__(
        self, loss: Float[Tensor, "b t"], chosen: Float[Tensor, "b t"], batch: Batch, out: TokenLogprobs
    ) -> Float[Tensor, "b t"]:
        """The loss."""
        return loss


class Bonus:
    """Pays for entropy (nats) at every sampled token, ``coefficient`` times; exact over the vocabulary."""

    def __init__(self, *, coefficient: NonNegative) -> None:
        self._coefficient = coefficient

    def choose(self, batch: Batch, advantages: Float[Tensor, "b t"]) -> Float[Tensor, "b t"]:
        """Every sampled token."""
        return batch.loss_mask.to(advantages.dtype)

    def __call__(
        self, loss: Float[Tensor, "b t"], chosen: Float[Tensor, "b t"], batch: Batch, out: TokenLogprobs
    ) -> Float[Tensor, "b t"]:
        """The loss less the bonus."""
        return loss - self._coefficient * chosen * out.entropy


class ClipCov:
    """Takes the gradient of some tokens away, all of it: what else the loss at that token holds goes with it.

    share:     of the sampled tokens; at least one, and at most as many as there are candidates
    low, high: the candidates' covariance, in units of log-probability times advantage

    Among the candidates it takes evenly spaced ones, in the order of rows and time: no draw, so nothing to seed.
    """

    def __init__(self, *, share: Fraction, low: float, high: float) -> None:
        if low > high:
            raise UserError(f"entropy.low={low}: above entropy.high={high}; allowed: at most {high}")
        self._share, self._low, self._high = share, low, high

    def choose(self, batch: Batch, advantages: Float[Tensor, "b t"]) -> Float[Tensor, "b t"]:
        """The tokens that lose their gradient."""
        cov = covariance(batch, advantages)
        candidates = (batch.loss_mask & (cov >= self._low) & (cov <= self._high)).flatten().nonzero()[:, 0]
        count = min(_count(self._share, batch.loss_mask), len(candidates))
        middle = (2 * torch.arange(count, device=cov.device) + 1) * len(candidates) // max(2 * count, 1)
        return _marked(candidates[middle], advantages)

    def __call__(
        self, loss: Float[Tensor, "b t"], chosen: Float[Tensor, "b t"], batch: Batch, out: TokenLogprobs
    ) -> Float[Tensor, "b t"]:
        """The same values; no gradient at the chosen tokens."""
        return torch.where(chosen > 0, loss.detach(), loss)


class KLCov:
    """Holds the ``share`` of sampled tokens (at least one) with the largest covariance to the policy that sampled.

    coefficient: of k2, (log pi - log pi(behaviour))^2 / 2, at each of them
    """

    def __init__(self, *, share: Fraction, coefficient: NonNegative) -> None:
        self._share, self._coefficient = share, coefficient

    def choose(self, batch: Batch, advantages: Float[Tensor, "b t"]) -> Float[Tensor, "b t"]:
        """The tokens that are held; of equal ones, the first in the order of rows and time."""
        cov = covariance(batch, advantages).masked_fill(~batch.loss_mask, -torch.inf).flatten()
        order = torch.argsort(cov, descending=True, stable=True)
        return _marked(order[: _count(self._share, batch.loss_mask)], advantages)

    def __call__(
        self, loss: Float[Tensor, "b t"], chosen: Float[Tensor, "b t"], batch: Batch, out: TokenLogprobs
    ) -> Float[Tensor, "b t"]:
        """The loss and the penalty."""
        return loss + self._coefficient * chosen * kl.k2(out.logp, batch.old_logprobs)


def covariance(batch: Batch, advantages: Float[Tensor, "b t"]) -> Float[Tensor, "b t"]:
    """Each sampled token's part in the covariance of log-probability (nats, as sampled) and credit; 0 elsewhere."""
    drawn = batch.loss_mask.sum().clamp(min=1)
    logp, worth = (torch.where(batch.loss_mask, x, 0.0) for x in (batch.old_logprobs, advantages))
    return torch.where(batch.loss_mask, (logp - logp.sum() / drawn) * (worth - worth.sum() / drawn), 0.0)


def _count(share: float, loss_mask: Bool[Tensor, "b t"]) -> int:
    """How many tokens a share is: none for 0, and none of nothing; else at least one, for a lever that is on acts."""
    drawn = int(loss_mask.sum())
    return min(max(round(share * drawn), 1), drawn) if share > 0 else 0


def _marked(index: Tensor, like: Float[Tensor, "b t"]) -> Float[Tensor, "b t"]:
    """1 at these places of the flattened batch, 0 elsewhere."""
    marked = torch.zeros_like(like).flatten()
    marked[index] = 1.0
    return marked.view(like.shape)
