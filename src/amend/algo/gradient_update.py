"""From a batch to optimizer steps: credit, then a weighted sum of losses at each token, then a step.

What a learner says of itself is ``advantages`` and ``loss``, and perhaps ``weights``. Nothing here depends on how a
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
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float
from torch import Tensor

from amend.batch import Batch, micro_batches
from amend.distributed import collectives
from amend.errors import UserError
from amend.ops import aggregation
from amend.ops.logprobs import TokenLogprobs, logprob_metrics
from amend.value_types import Count, Natural, NonNegative, Positive

if TYPE_CHECKING:
    from amend.exploration import Exploration
    from amend.policy.policy import Policy


class OptimizerConfig(TypedDict):
    """Keys of every update by gradients."""

    lr: NonNegative
    """Learning rate of AdamW."""
    lr_scheduler_type: Literal["none", "linear"]
    """Learning-rate schedule: constant, or linear from ``lr`` down to 0 over the run."""
    warmup_steps: Natural
    """Optimizer steps in which the learning rate rises to ``lr``, counted from when the optimizer state was empty."""
    weight_decay: NonNegative
    """Weight decay of AdamW, in units of the learning rate."""
    max_grad_norm: Positive
    """Largest gradient norm; a larger gradient is scaled down to it."""
    update_epochs: Count
    """Passes over the episodes of an iteration."""
    num_minibatches: Count
    """Optimizer steps of a pass, over disjoint minibatches."""


class GradientUpdate(pl.LightningModule, ABC):
    """The update of one algorithm. ``OptimizerConfig`` documents its keys."""

    def __init__(
        self, policy: Policy, exploration: Exploration, seed: int, **optimizer: Unpack[OptimizerConfig]
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.policy, self.exploration, self.seed = policy, exploration, seed
        self.lr, self.lr_scheduler_type, self.warmup_steps = (
            optimizer["lr"],
            optimizer["lr_scheduler_type"],
            optimizer["warmup_steps"],
        )
        self.weight_decay, self.max_grad_norm = optimizer["weight_decay"], optimizer["max_grad_norm"]
        self.update_epochs, self.num_minibatches = optimizer["update_epochs"], optimizer["num_minibatches"]
        self.iteration = 0  # num_iterations finished; the clock that everything is derived from
        self.counters = {"sampled_tokens": 0, "episodes": 0, "optimizer_steps": 0}

    @abstractmethod
    def advantages(self, batch: Batch) -> Float[Tensor, "b t"]:
        """How much better each token was than expected; 0 where nothing was sampled."""

    @abstractmethod
    def loss(self, batch: Batch, advantages: Float[Tensor, "b t"], out: TokenLogprobs) -> Float[Tensor, "b t"]:
        """The objective at each token, to be minimised."""

    def token_weights(self, batch: Batch) -> Float[Tensor, "b t"]:
        """What each token counts for: here, sums over an episode, means over episodes."""
        return aggregation.seq_mean_token_sum(batch.loss_mask)

    def loss_uses_reference(self) -> bool:
        """Whether ``loss`` reads ``out.ref_logp`` or ``out.kl``."""
        return False

    def reward_uses_reference(self) -> bool:
        """Whether ``advantages`` reads ``batch.ref_logp``."""
        return False

    def prepare(self, batch: Batch) -> Batch:
        """The batch with what ``advantages`` and ``loss`` need beside it, read under the policy before it is
        updated."""
        if not self.reward_uses_reference():
            return batch
        return replace(batch, ref_logp=self.read(batch, self._reference_logprobs))

    def _reference_logprobs(self, micro: Batch) -> Float[Tensor, "m u"]:
        return self.policy.reference(micro.tokens, micro.loss_mask, micro.temperature)

    def read(self, batch: Batch, what: Callable[[Batch], Float[Tensor, "m u"]]) -> Float[Tensor, "b t"]:
        """``what`` of each micro-batch, a number a token, over the whole batch; without gradient, in shares."""
        found = torch.zeros_like(batch.old_logprobs)
        with torch.no_grad():
            for rows, counts in micro_batches(batch, self.policy.max_tokens_per_micro_batch):
                micro = batch.rows(rows)
                found[rows, : micro.tokens.shape[1]] += what(micro) * counts
        return collectives.all_reduce_sum(found)

    def optimize(self, batch: Batch, epochs: int, parts: int, span: tuple[float, float]) -> dict[str, float]:
        """``epochs`` x ``parts`` optimizer steps; ``span`` is from where to where in the learning rate's decay."""
        batch = self.prepare(batch)
        advantages = self.advantages(batch)
        optimizer = self.optimizers()
        assert isinstance(optimizer, torch.optim.Optimizer | pl.core.optimizer.LightningOptimizer)
        seen: list[dict[str, float]] = []
        for epoch in range(epochs):
            for part in self.minibatches(batch, parts, epoch):
                share = span[0] + (span[1] - span[0]) * len(seen) / (epochs * parts)
                rate = self.lr * (1 - share) if self.lr_scheduler_type == "linear" else self.lr
                taken = max((int(kept["step"]) for kept in optimizer.state.values()), default=0)
                for group in optimizer.param_groups:
                    group["lr"] = rate * min(1.0, (taken + 1) / max(self.warmup_steps, 1))
                optimizer.zero_grad()
                seen.append(collectives.all_reduce_dict(self.accumulate(batch.rows(part), advantages[part])))
                collectives.all_reduce_gradients(self.parameters())
                norm = torch.nn.utils.clip_grad_norm_(
                    [p for p in self.parameters() if p.requires_grad], self.max_grad_norm
                )
                norm = collectives.full_tensor(norm)
                if not bool(torch.isfinite(norm)):
                    raise UserError(
                        f"iteration {self.iteration + 1}: the gradient is not finite and nothing was changed; resume "
                        f"from the last checkpoint with algo.lr below {self.lr}, or look closer with debug=exact"
                    )
                optimizer.step()
                self.counters["optimizer_steps"] += 1
                seen[-1]["grad_norm"] = float(norm)
        gap = {
            key: value for key, value in seen[0].items() if key == "sampling/logp_difference"
        }  # later, the policy has moved as well
        return {key: sum(one[key] for one in seen) / len(seen) for key in seen[0]} | gap

    def accumulate(self, batch: Batch, advantages: Float[Tensor, "b t"]) -> dict[str, float]:
        """Gradients of this process's share of a minibatch, a micro-batch at a time, and its share of what is measured:
        both add up to the whole's."""
        weights, levers = self.token_weights(batch), self.exploration.entropy.choose(batch, advantages)
        weights = weights * batch.extras.get("importance", 1.0)
        drawn = max(int(batch.loss_mask.sum()), 1)
        totals: dict[str, float] = {}
        for rows, counts in micro_batches(batch, self.policy.max_tokens_per_micro_batch):
            micro = batch.rows(rows)
            t = micro.tokens.shape[1]
            out = self.policy(micro.tokens, micro.loss_mask, micro.temperature, reference=self.loss_uses_reference())
            loss = self.exploration.entropy(self.loss(micro, advantages[rows, :t], out), levers[rows, :t], micro, out)
            loss = (loss * weights[rows, :t]).sum() * counts
            if loss.requires_grad:
                loss.backward()  # not Lightning's, which would send each micro-batch's gradient round by itself
            sums = logprob_metrics(out, micro.loss_mask, micro.turn, micro.extras.get("engine", micro.old_logprobs))
            sums |= {"loss": loss.item() * drawn}
            if "importance" in micro.extras:
                sums["sampling/importance_ratio"] = float(micro.extras["importance"][micro.loss_mask].sum())
            for key, value in sums.items():
                totals[key] = totals.get(key, 0.0) + value * counts
        per_episode = {key: value / len(batch) for key, value in totals.items() if key.startswith("kl_")}
        return {key: value / drawn for key, value in totals.items()} | per_episode

    def minibatches(self, batch: Batch, count: int, epoch: int) -> Sequence[Tensor]:
        """The episodes in ``count`` disjoint parts (fewer, where there are fewer episodes), shuffled by (seed, round,
        epoch) where there are several."""
        generator = seeded_generator(self.seed, self.iteration, epoch)
        order = torch.arange(len(batch)) if count == 1 else torch.randperm(len(batch), generator=generator)
        return order.to(self.device).tensor_split(min(count, len(order)))

    def reset_to_base(self) -> None:
        """Back to the base model, as at the beginning of the run: its weights, and an optimizer without a past."""
        self.policy.reset_to_base()
        optimizer = self.optimizers()
        assert isinstance(optimizer, torch.optim.Optimizer | pl.core.optimizer.LightningOptimizer)
        optimizer.state.clear()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam, as both papers use, over all that can be trained."""
        trained = [p for p in self.parameters() if p.requires_grad]
        return torch.optim.AdamW(trained, lr=self.lr, weight_decay=self.weight_decay)


def seeded_generator(seed: int, *key: int) -> torch.Generator:
    """Return a generator of random numbers that depends on ``seed`` and ``key`` alone.

    Args:
        seed: The seed of the run.
        key: What the numbers are for: the iteration, and the epoch if there are several.

    Returns:
        A CPU generator. Different keys, also of different lengths, give independent streams (numpy's ``SeedSequence``).
    """
    state = np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) % 2**63)
