"""From a batch to optimizer steps: credit, then a weighted sum of losses at each token, then a step.

What a learner says of itself is ``credit`` and ``loss``, and perhaps ``weights``. Nothing here depends on how a
minibatch is cut into micro-batches, nor on how many processes read them (``amend.ranks``): credit and weights are taken
over the whole of it first, and losses summed after.
For a loss that is no sum over tokens, a learner overrides ``accumulate``.

    gradient = d/dtheta  sum_(i, t) w_it L_it(theta),     norm clipped
    theta <- theta - lr_n (Adam's direction + weight_decay theta),     lr_n = lr min(1, n / warm_up) in step n

Adam: Kingma and Ba 2015. Decay apart from its direction: Loshchilov and Hutter 2019.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from torch import Tensor

from amend import ranks
from amend.batch import Batch, micro_batches
from amend.bounds import Count, Natural, NonNegative, Positive
from amend.errors import UserError
from amend.ops import reduce
from amend.ops.likelihood import Likelihood, measured

if TYPE_CHECKING:
    from amend.explore import Explore
    from amend.policy.model import Policy


class Descent(pl.LightningModule, ABC):
    """The update of one learner.

    lr:            of Adam; decay: none, or linear from ``lr`` at the beginning to nothing at the end
    warm_up:       steps in which it rises to that, counted from where the optimizer began (anew, after ``restart``)
    weight_decay:  how much of the weights a step takes away, in units of the learning rate
    clip_norm:     largest gradient norm
    epochs:        passes over a round's episodes, each in ``updates`` optimizer steps over disjoint minibatches
    """

    def __init__(
        self,
        policy: Policy,
        explore: Explore,
        seed: int,
        *,
        lr: NonNegative,
        decay: Literal["none", "linear"],
        warm_up: Natural,
        weight_decay: NonNegative,
        clip_norm: Positive,
        epochs: Count,
        updates: Count,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.policy, self.explore, self.seed = policy, explore, seed
        self.lr, self.decay, self.warm_up, self.weight_decay = lr, decay, warm_up, weight_decay
        self.clip_norm, self.epochs, self.updates = clip_norm, epochs, updates
        self.round = 0  # rounds finished; the clock that everything is derived from
        self.spent = {"sampled_tokens": 0, "episodes": 0, "updates": 0}

    @abstractmethod
    def credit(self, batch: Batch) -> Float[Tensor, "b t"]:
        """How much better each token was than expected; 0 where nothing was sampled."""

    @abstractmethod
    def loss(self, batch: Batch, credit: Float[Tensor, "b t"], out: Likelihood) -> Float[Tensor, "b t"]:
        """The objective at each token, to be minimised."""

    def weights(self, batch: Batch) -> Float[Tensor, "b t"]:
        """What each token counts for: here, sums over an episode, means over episodes."""
        return reduce.episode(batch.sampled)

    def needs_reference(self) -> bool:
        """Whether ``loss`` reads ``out.ref_logp`` or ``out.kl``."""
        return False

    def pays_reference(self) -> bool:
        """Whether ``credit`` reads ``batch.ref_logp``."""
        return False

    def prepare(self, batch: Batch) -> Batch:
        """The batch with what ``credit`` and ``loss`` need beside it, read under the policy before it is updated."""
        if not self.pays_reference():
            return batch
        return replace(batch, ref_logp=self.policy.reference(batch.tokens, batch.sampled, batch.temperature))

    def read(self, batch: Batch, what: Callable[[Batch], Float[Tensor, "m u"]]) -> Float[Tensor, "b t"]:
        """``what`` of each micro-batch, a number a token, over the whole batch; without gradient, in shares."""
        found = torch.zeros_like(batch.logp)
        with torch.no_grad():
            for rows, counts in micro_batches(batch, self.policy.micro_tokens):
                micro = batch.rows(rows)
                found[rows, : micro.tokens.shape[1]] += what(micro) * counts
        return ranks.total(found)

    def learn(self, batch: Batch, epochs: int, parts: int, span: tuple[float, float]) -> dict[str, float]:
        """``epochs`` x ``parts`` optimizer steps; ``span`` is from where to where in the learning rate's decay."""
        batch = self.prepare(batch)
        credit = self.credit(batch)
        optimizer = self.optimizers()
        assert isinstance(optimizer, torch.optim.Optimizer | pl.core.optimizer.LightningOptimizer)
        seen: list[dict[str, float]] = []
        for epoch in range(epochs):
            for part in self.parts(batch, parts, epoch):
                share = span[0] + (span[1] - span[0]) * len(seen) / (epochs * parts)
                rate = self.lr * (1 - share) if self.decay == "linear" else self.lr
                taken = max((int(kept["step"]) for kept in optimizer.state.values()), default=0)
                for group in optimizer.param_groups:
                    group["lr"] = rate * min(1.0, (taken + 1) / max(self.warm_up, 1))
                optimizer.zero_grad()
                seen.append(ranks.totals(self.accumulate(batch.rows(part), credit[part])))
                ranks.add_up(self.parameters())
                norm = torch.nn.utils.clip_grad_norm_([p for p in self.parameters() if p.requires_grad], self.clip_norm)
                norm = ranks.whole(norm)
                if not bool(torch.isfinite(norm)):
                    raise UserError(
                        f"round {self.round + 1}: the gradient is not finite and nothing was changed; go on from the "
                        f"last checkpoint with algo.lr below {self.lr}, or look closer with debug=exact"
                    )
                optimizer.step()
                self.spent["updates"] += 1
                seen[-1]["grad_norm"] = float(norm)
        gap = {key: value for key, value in seen[0].items() if key == "gap"}  # later, the policy has moved as well
        return {key: sum(one[key] for one in seen) / len(seen) for key in seen[0]} | gap

    def accumulate(self, batch: Batch, credit: Float[Tensor, "b t"]) -> dict[str, float]:
        """Gradients of this process's share of a minibatch, a micro-batch at a time, and its share of what is measured:
        both add up to the whole's."""
        weights, levers = self.weights(batch), self.explore.entropy.choose(batch, credit)
        weights = weights * batch.more.get("importance", 1.0)
        drawn = max(int(batch.sampled.sum()), 1)
        totals: dict[str, float] = {}
        for rows, counts in micro_batches(batch, self.policy.micro_tokens):
            micro = batch.rows(rows)
            t = micro.tokens.shape[1]
            out = self.policy(micro.tokens, micro.sampled, micro.temperature, reference=self.needs_reference())
            loss = self.explore.entropy(self.loss(micro, credit[rows, :t], out), levers[rows, :t], micro, out)
            loss = (loss * weights[rows, :t]).sum() * counts
            if loss.requires_grad:
                loss.backward()  # not Lightning's, which would send each micro-batch's gradient round by itself
            sums = measured(out, micro.sampled, micro.turn, micro.more.get("engine", micro.logp))
            sums |= {"loss": loss.item() * drawn}
            if "importance" in micro.more:
                sums["importance"] = float(micro.more["importance"][micro.sampled].sum())
            for key, value in sums.items():
                totals[key] = totals.get(key, 0.0) + value * counts
        per_episode = {key: value / len(batch) for key, value in totals.items() if key.startswith("kl_")}
        return {key: value / drawn for key, value in totals.items()} | per_episode

    def parts(self, batch: Batch, count: int, epoch: int) -> Sequence[Tensor]:
        """The episodes in ``count`` disjoint parts (fewer, where there are fewer episodes), shuffled by (seed, round,
        epoch) where there are several."""
        generator = torch.Generator().manual_seed(hash((self.seed, self.round, epoch)) % 2**63)
        order = torch.arange(len(batch)) if count == 1 else torch.randperm(len(batch), generator=generator)
        return order.to(self.device).tensor_split(min(count, len(order)))

    def restart(self) -> None:
        """Back to the base model, as at the beginning of the run: its weights, and an optimizer without a past."""
        self.policy.restart()
        optimizer = self.optimizers()
        assert isinstance(optimizer, torch.optim.Optimizer | pl.core.optimizer.LightningOptimizer)
        optimizer.state.clear()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam, as both papers use, over all that can be trained."""
        trained = [p for p in self.parameters() if p.requires_grad]
        return torch.optim.AdamW(trained, lr=self.lr, weight_decay=self.weight_decay)
