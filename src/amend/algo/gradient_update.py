"""From a batch to optimizer steps: advantages, a weighted sum of token losses, one step of AdamW per minibatch.

An algorithm implements ``advantages`` and ``loss``, and may override ``token_weights``. For a loss that is no sum over
tokens it overrides ``accumulate``. The result does not depend on the size of a micro-batch or on the number of ranks:
advantages and weights are computed on the whole minibatch, and the losses of its parts are summed.

    gradient = d/dtheta  sum_(i, t) w_it L_it(theta),     norm clipped
    theta <- theta - lr_n (Adam's direction + weight_decay theta),     lr_n = lr min(1, n / warmup_steps) in step n

Adam: Kingma and Ba 2015. Decoupled weight decay: Loshchilov and Hutter 2019.
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
    """The update of an algorithm, as a Lightning module.

    Args:
        policy: The model that is trained, and its reference.
        exploration: The exploration of the run, whose entropy strategy changes the loss.
        seed: The seed of the run.
        **optimizer: The keys of ``OptimizerConfig``.

    Attributes:
        iteration: The number of finished iterations.
        counters: What the run has used: ``sampled_tokens``, ``episodes`` and ``optimizer_steps``.
    """

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
        self.iteration = 0
        self.counters = {"sampled_tokens": 0, "episodes": 0, "optimizer_steps": 0}

    @abstractmethod
    def advantages(self, batch: Batch) -> Float[Tensor, "b t"]:
        """Compute how much better each token is than expected.

        Args:
            batch: The episodes of an iteration.

        Returns:
            The advantages, 0 where ``batch.loss_mask`` is False.
        """

    @abstractmethod
    def loss(self, batch: Batch, advantages: Float[Tensor, "b t"], out: TokenLogprobs) -> Float[Tensor, "b t"]:
        """Compute the loss of each token, which amend minimises.

        Args:
            batch: The episodes of a micro-batch.
            advantages: Their advantages.
            out: Their log-probabilities under the current policy, with gradient.

        Returns:
            The losses; values where ``batch.loss_mask`` is False have no weight.
        """

    def token_weights(self, batch: Batch) -> Float[Tensor, "b t"]:
        """Return the weight of each token's loss: by default the sum over an episode and the mean over episodes.

        Args:
            batch: The episodes of a minibatch.

        Returns:
            The weights, 0 where ``batch.loss_mask`` is False.
        """
        return aggregation.seq_mean_token_sum(batch.loss_mask)

    def loss_uses_reference(self) -> bool:
        """Return whether ``loss`` reads ``out.ref_logp`` or ``out.kl``."""
        return False

    def reward_uses_reference(self) -> bool:
        """Return whether ``advantages`` reads ``batch.ref_logp``."""
        return False

    def prepare(self, batch: Batch) -> Batch:
        """Add what ``advantages`` and ``loss`` need to a batch, before the first optimizer step.

        Args:
            batch: The episodes of an iteration.

        Returns:
            The batch; with ``ref_logp`` if ``reward_uses_reference``.
        """
        if not self.reward_uses_reference():
            return batch
        return replace(batch, ref_logp=self.read(batch, self._reference_logprobs))

    def _reference_logprobs(self, micro: Batch) -> Float[Tensor, "m u"]:
        return self.policy.reference_logprobs(micro.tokens, micro.loss_mask, micro.temperature)

    def read(self, batch: Batch, compute: Callable[[Batch], Float[Tensor, "m u"]]) -> Float[Tensor, "b t"]:
        """Compute one number per token, micro-batch by micro-batch and sharded over the ranks, without gradient.

        Args:
            batch: The episodes.
            compute: Returns the numbers of a micro-batch.

        Returns:
            The numbers of the whole batch, on every rank.
        """
        found = torch.zeros_like(batch.old_logprobs)
        with torch.no_grad():
            for rows, counts in micro_batches(batch, self.policy.max_tokens_per_micro_batch):
                micro = batch.rows(rows)
                found[rows, : micro.tokens.shape[1]] += compute(micro) * counts
        return collectives.all_reduce_sum(found)

    def optimize(self, batch: Batch, epochs: int, parts: int, span: tuple[float, float]) -> dict[str, float]:
        """Make ``epochs`` x ``parts`` optimizer steps.

        Args:
            batch: The episodes.
            epochs: Passes over them.
            parts: Minibatches of a pass.
            span: The progress of the run, from 0 to 1, at the first and after the last step, for ``lr_scheduler_type``.

        Returns:
            The metrics of the update, averaged over its steps. ``sampling/logp_difference`` is that of the first step,
            because the policy changes afterwards.

        Raises:
            UserError: If a gradient is not finite. The weights are then those before the step.
        """
        batch = self.prepare(batch)
        advantages = self.advantages(batch)
        optimizer = self.optimizers()
        assert isinstance(optimizer, torch.optim.Optimizer | pl.core.optimizer.LightningOptimizer)
        metrics: list[dict[str, float]] = []
        for epoch in range(epochs):
            for part in self.minibatches(batch, parts, epoch):
                share = span[0] + (span[1] - span[0]) * len(metrics) / (epochs * parts)
                rate = self.lr * (1 - share) if self.lr_scheduler_type == "linear" else self.lr
                steps = max((int(state["step"]) for state in optimizer.state.values()), default=0)
                for group in optimizer.param_groups:
                    group["lr"] = rate * min(1.0, (steps + 1) / max(self.warmup_steps, 1))
                optimizer.zero_grad()
                metrics.append(collectives.all_reduce_dict(self.accumulate(batch.rows(part), advantages[part])))
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
                metrics[-1]["grad_norm"] = float(norm)
        first = {key: value for key, value in metrics[0].items() if key == "sampling/logp_difference"}
        return {key: sum(step[key] for step in metrics) / len(metrics) for key in metrics[0]} | first

    def accumulate(self, batch: Batch, advantages: Float[Tensor, "b t"]) -> dict[str, float]:
        """Accumulate the gradients of this rank's share of a minibatch, one micro-batch after another.

        Args:
            batch: The whole minibatch.
            advantages: Its advantages.

        Returns:
            This rank's part of each metric; the sum over the ranks is the metric of the minibatch.
        """
        weights, chosen = self.token_weights(batch), self.exploration.entropy.choose(batch, advantages)
        weights = weights * batch.extras.get("importance_weights", 1.0)
        num_tokens = max(int(batch.loss_mask.sum()), 1)
        totals: dict[str, float] = {}
        for rows, counts in micro_batches(batch, self.policy.max_tokens_per_micro_batch):
            micro = batch.rows(rows)
            t = micro.tokens.shape[1]
            out = self.policy(micro.tokens, micro.loss_mask, micro.temperature, reference=self.loss_uses_reference())
            loss = self.exploration.entropy(self.loss(micro, advantages[rows, :t], out), chosen[rows, :t], micro, out)
            loss = (loss * weights[rows, :t]).sum() * counts
            if loss.requires_grad:
                loss.backward()  # Lightning's backward would all-reduce the gradient of each micro-batch
            sums = logprob_metrics(
                out, micro.loss_mask, micro.turn, micro.extras.get("sampling_logprobs", micro.old_logprobs)
            )
            sums |= {"loss": loss.item() * num_tokens}
            if "importance_weights" in micro.extras:
                sums["sampling/importance_ratio"] = float(micro.extras["importance_weights"][micro.loss_mask].sum())
            for key, value in sums.items():
                totals[key] = totals.get(key, 0.0) + value * counts
        per_episode = {key: value / len(batch) for key, value in totals.items() if key.startswith("kl_")}
        return {key: value / num_tokens for key, value in totals.items()} | per_episode

    def minibatches(self, batch: Batch, count: int, epoch: int) -> Sequence[Tensor]:
        """Divide the episodes into disjoint minibatches, shuffled if there are several.

        Args:
            batch: The episodes.
            count: The number of minibatches; fewer if there are fewer episodes.
            epoch: The pass over the episodes, which with seed and iteration determines the shuffle.

        Returns:
            The row indices of each minibatch.
        """
        generator = seeded_generator(self.seed, self.iteration, epoch)
        order = torch.arange(len(batch)) if count == 1 else torch.randperm(len(batch), generator=generator)
        return order.to(self.device).tensor_split(min(count, len(order)))

    def reset_to_base(self) -> None:
        """Reset the policy to the base model and clear the optimizer state."""
        self.policy.reset_to_base()
        optimizer = self.optimizers()
        assert isinstance(optimizer, torch.optim.Optimizer | pl.core.optimizer.LightningOptimizer)
        optimizer.state.clear()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW over all trainable parameters. SCoRe and Havrilla et al. 2024 use Adam."""
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
