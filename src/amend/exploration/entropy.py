"""Change the token losses so that the entropy of the policy does not collapse.

A policy gradient lowers the entropy if it raises the probability of tokens that are already likely. From one update to
the next, the entropy changes by about minus the covariance of a token's log-probability and its advantage (Cui et al.
2025, "The Entropy Mechanism of Reinforcement Learning for Reasoning Language Models", arXiv 2505.22617). A few tokens
cause most of this change. Two of the three choices therefore act on these tokens only:

    bonus      L_t - c H(pi_t)                              at every token
    clip_cov   L_t without its gradient                     at some tokens with a covariance in [low, high]
    kl_cov     L_t + c (log pi_t - log pi_old,t)^2 / 2      at the tokens with the largest covariance

    cov_t = (log pi_old,t - mean log pi_old) (A_t - mean A)    means over the sampled tokens of the minibatch

pi_old is the policy that sampled the tokens. The penalty of kl_cov is k2. For tokens sampled from pi, the gradient of
k2 is the gradient of the KL divergence. The absolute difference, which is often used instead, has a gradient of the
same size at every distance. Before the first optimizer step on a batch, pi equals pi_old, and k2 and its gradient are
0. Therefore kl_cov needs more than one optimizer step per iteration.

Tokens are chosen over the whole minibatch before it is split into micro-batches, so no result depends on the split.
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
    """A change of the token losses in two steps.

    The first step chooses tokens of a minibatch, the second changes the loss of each of its micro-batches.
    """

    def choose(self, batch: Batch, advantages: Float[Tensor, "b t"]) -> Float[Tensor, "b t"]:
        """Return a value for each token of the whole minibatch, on which the change of the loss depends.

        Args:
            batch: The minibatch.
            advantages: The advantage of each token.

        Returns:
            1 at the tokens whose loss is changed, else 0. Another implementation may return other values.
        """
        ...

    def __call__(
        self, loss: Float[Tensor, "b t"], chosen: Float[Tensor, "b t"], batch: Batch, out: TokenLogprobs
    ) -> Float[Tensor, "b t"]:
        """Return the changed loss of a micro-batch.

        Args:
            loss: The loss of each token.
            chosen: The rows of this micro-batch in the result of ``choose``.
            batch: The micro-batch.
            out: The log-probabilities and entropies of the policy.

        Returns:
            The changed loss of each token.
        """
        ...


class NoEntropyTerm:
    """A choice that does not change the loss."""

    def choose(self, batch: Batch, advantages: Float[Tensor, "b t"]) -> Float[Tensor, "b t"]:
        """Return 0 for every token."""
        return torch.zeros_like(advantages)

    def __call__(
        self, loss: Float[Tensor, "b t"], chosen: Float[Tensor, "b t"], batch: Batch, out: TokenLogprobs
    ) -> Float[Tensor, "b t"]:
        """Return the loss unchanged."""
        return loss


class Bonus:
    """An entropy bonus at every sampled token. The entropy is exact over the vocabulary.

    Args:
        coefficient: The coefficient c of the entropy in nats.
    """

    def __init__(self, *, coefficient: NonNegative) -> None:
        self._coefficient = coefficient

    def choose(self, batch: Batch, advantages: Float[Tensor, "b t"]) -> Float[Tensor, "b t"]:
        """Return 1 for every sampled token."""
        return batch.loss_mask.to(advantages.dtype)

    def __call__(
        self, loss: Float[Tensor, "b t"], chosen: Float[Tensor, "b t"], batch: Batch, out: TokenLogprobs
    ) -> Float[Tensor, "b t"]:
        """Return the loss minus the bonus; see ``Entropy``."""
        return loss - self._coefficient * chosen * out.entropy


class ClipCov:
    """Clip-Cov: no gradient at some tokens with a large covariance.

    The gradient of the whole loss is removed at these tokens. They are evenly spaced among the candidates, in the order
    of rows and time, so that the choice is not random.

    Args:
        share: The share of the sampled tokens. At least one token is chosen, unless the share is 0 or there is no
            candidate.
        low: The smallest covariance of a candidate, in nats times advantage.
        high: The largest covariance of a candidate.

    Raises:
        UserError: If ``low`` exceeds ``high``.
    """

    def __init__(self, *, share: Fraction, low: float, high: float) -> None:
        if low > high:
            raise UserError(f"entropy.low={low}: above entropy.high={high}; allowed: at most {high}")
        self._share, self._low, self._high = share, low, high

    def choose(self, batch: Batch, advantages: Float[Tensor, "b t"]) -> Float[Tensor, "b t"]:
        """Return 1 for the tokens that lose their gradient; see ``Entropy``."""
        cov = covariance(batch, advantages)
        candidates = (batch.loss_mask & (cov >= self._low) & (cov <= self._high)).flatten().nonzero()[:, 0]
        count = min(_count(self._share, batch.loss_mask), len(candidates))
        middle = (2 * torch.arange(count, device=cov.device) + 1) * len(candidates) // max(2 * count, 1)
        return _mark(candidates[middle], advantages)

    def __call__(
        self, loss: Float[Tensor, "b t"], chosen: Float[Tensor, "b t"], batch: Batch, out: TokenLogprobs
    ) -> Float[Tensor, "b t"]:
        """Return the same values without gradient at the chosen tokens; see ``Entropy``."""
        return torch.where(chosen > 0, loss.detach(), loss)


class KLCov:
    """KL-Cov: a KL penalty at the tokens with the largest covariance, towards the policy that sampled them.

    Args:
        share: The share of the sampled tokens. At least one token is chosen, unless the share is 0.
        coefficient: The coefficient c of k2 = (log pi - log pi_old)^2 / 2.
    """

    def __init__(self, *, share: Fraction, coefficient: NonNegative) -> None:
        self._share, self._coefficient = share, coefficient

    def choose(self, batch: Batch, advantages: Float[Tensor, "b t"]) -> Float[Tensor, "b t"]:
        """Return 1 for the tokens that get a penalty; see ``Entropy``.

        Among tokens with equal covariance, the first ones in the order of rows and time are chosen.
        """
        cov = covariance(batch, advantages).masked_fill(~batch.loss_mask, -torch.inf).flatten()
        order = torch.argsort(cov, descending=True, stable=True)
        return _mark(order[: _count(self._share, batch.loss_mask)], advantages)

    def __call__(
        self, loss: Float[Tensor, "b t"], chosen: Float[Tensor, "b t"], batch: Batch, out: TokenLogprobs
    ) -> Float[Tensor, "b t"]:
        """Return the loss plus the penalty; see ``Entropy``."""
        return loss + self._coefficient * chosen * kl.k2(out.logp, batch.old_logprobs)


def covariance(batch: Batch, advantages: Float[Tensor, "b t"]) -> Float[Tensor, "b t"]:
    """Return each sampled token's term in the covariance of log-probability and advantage.

    The term is cov_t = (log pi_old,t - mean log pi_old) (A_t - mean A) (arXiv 2505.22617).

    Args:
        batch: The minibatch.
        advantages: The advantage of each token.

    Returns:
        The term of each token in nats times advantage; 0 at tokens that were not sampled.
    """
    count = batch.loss_mask.sum().clamp(min=1)
    logp, adv = (torch.where(batch.loss_mask, x, 0.0) for x in (batch.old_logprobs, advantages))
    return torch.where(batch.loss_mask, (logp - logp.sum() / count) * (adv - adv.sum() / count), 0.0)


def _count(share: float, loss_mask: Bool[Tensor, "b t"]) -> int:
    """Return the number of tokens of a share: at least 1, unless the share is 0 or no token was sampled."""
    total = int(loss_mask.sum())
    return min(max(round(share * total), 1), total) if share > 0 else 0


def _mark(index: Tensor, like: Float[Tensor, "b t"]) -> Float[Tensor, "b t"]:
    """Return a tensor with 1 at the given positions of the flattened batch, and 0 elsewhere."""
    marks = torch.zeros_like(like).flatten()
    marks[index] = 1.0
    return marks.view(like.shape)
