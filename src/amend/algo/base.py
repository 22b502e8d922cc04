"""What every algorithm shares: one training step is one iteration of sampling, rewards and an update.

    sample     n episodes of each of p problems, with the current policy
    reward     one reward for each turn
    update     an advantage for each token, then optimizer steps on a weighted sum of token losses

An algorithm receives the runner, the reward and the exploration in its ``AlgorithmContext``. It implements
``advantages`` and ``loss``, and may override ``token_weights``; ``gradient_update`` turns them into optimizer steps. An
algorithm that builds a data set before it trains overrides ``update``. Every random choice of an iteration depends on
the seed and the iteration alone, so a resumed run makes the choices of an undisturbed one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, Unpack, runtime_checkable

import numpy as np
import torch

from amend.algo.context import AlgorithmContext, LoopConfig
from amend.algo.gradient_update import GradientUpdate, OptimizerConfig
from amend.batch import Batch, collate
from amend.ops import policy_loss
from amend.types import Episode, Problem, SamplingParams, Scored


@runtime_checkable
class GenerationStrategy(Protocol):
    """How a run answers problems. A prompting method does only this; an ``Algorithm`` also trains.

    Attributes:
        online: Whether the reward of an iteration is about that of the weights after it, so that it can choose the
            best weights.
        num_iterations: The largest number of iterations; 0 for a prompting method.
        iteration: The number of finished iterations.
        counters: What the run has used: ``episodes``, ``sampled_tokens`` and ``optimizer_steps``.
    """

    online: bool
    num_iterations: int
    iteration: int
    counters: dict[str, int]

    def generate(
        self,
        problems: Sequence[Problem],
        group_size: int,
        sampling_params: Sequence[SamplingParams],
        seed: tuple[int, ...],
    ) -> list[Episode]:
        """Answer problems in an evaluation.

        Args:
            problems: The problems.
            group_size: The number of episodes of each problem.
            sampling_params: How to sample, for each turn.
            seed: Determines every random choice.

        Returns:
            ``group_size`` episodes of each problem, in the order of the problems.
        """
        ...


class Algorithm(GradientUpdate):
    """An algorithm that trains: one ``training_step`` is one iteration.

    Args:
        context: The policy, the runner, the reward, the exploration, the budget and the seed of the run.
        **loop: The keys of ``LoopConfig``.

    Attributes:
        online: See ``GenerationStrategy``.
        progress_before: ``progress`` at the beginning of the current iteration.
        was_final_stage: Whether the last iteration belonged to the final stage.
        problem_indices: The indices of the current iteration's training problems.
        scored: The episodes of the last iteration with their rewards.
        data: The examples that the last iteration trained on, in a format of TRL; empty if it built no data set.
        data_name: The beginning of the name of the file that ``data`` is written to.
        record: The metrics of the last iteration that the algorithm itself measured.
        timing: Seconds of the last iteration, by phase.
    """

    online = True

    def __init__(self, context: AlgorithmContext, **loop: Unpack[LoopConfig]) -> None:
        optimizer: OptimizerConfig = {
            "lr": loop["lr"],
            "lr_scheduler_type": loop["lr_scheduler_type"],
            "warmup_steps": loop["warmup_steps"],
            "weight_decay": loop["weight_decay"],
            "max_grad_norm": loop["max_grad_norm"],
            "update_epochs": loop["update_epochs"],
            "num_minibatches": loop["num_minibatches"],
        }
        super().__init__(context.policy, context.exploration, context.seed, **optimizer)
        self.runner, self.reward, self.budget = context.runner, context.reward, context.budget
        self.max_tokens, self.turns = loop["max_tokens"], loop["turns"]
        self.num_iterations = loop["num_iterations"]
        self.groups_per_batch, self.group_size = loop["groups_per_batch"], loop["group_size"]
        self.progress_before = 0.0
        self.was_final_stage = True
        self.problem_indices: list[int] = []
        self.scored: list[Scored] = []
        self.data: list[dict[str, Any]] = []
        self.data_name = "traces"
        self.record: dict[str, Any] = {}
        self.timing: dict[str, float] = {}

    @property
    def stage(self) -> str:
        """The name of the current iteration's stage; "" for an algorithm without stages."""
        return ""

    def is_final_stage(self) -> bool:
        """Return whether the current iteration is of the last stage, whose reward chooses the best weights."""
        return True

    @property
    def progress(self) -> float:
        """The share of the run that is over, from 0 to 1: the larger share of its iterations and its budget."""
        return min(1.0, max(self.iteration / max(self.num_iterations, 1), self.budget.share(self.counters)))

    def ends(self, parts: int) -> bool:
        """Return whether the current iteration is the last of one of ``parts`` equal parts of the run.

        Call it in ``update``, after the episodes of the iteration were counted.
        """
        after = max((self.iteration + 1) / max(self.num_iterations, 1), self.budget.share(self.counters))
        return int(min(after, 1.0) * parts + 1e-9) > int(self.progress_before * parts + 1e-9)

    def sampling_params(self) -> list[SamplingParams]:
        """Return how the current iteration samples each turn."""
        return [
            SamplingParams(self.exploration.temperature(k, self.progress), self.max_tokens) for k in range(self.turns)
        ]

    def episodes(self, problems: Sequence[Problem]) -> list[Episode]:
        """Sample the episodes of the current iteration: ``group_size`` of each problem."""
        return self.runner(
            problems, self.group_size, self.sampling_params(), (self.seed, self.iteration), self.exploration.prefill
        )

    def generate(
        self,
        problems: Sequence[Problem],
        group_size: int,
        sampling_params: Sequence[SamplingParams],
        seed: tuple[int, ...],
    ) -> list[Episode]:
        """Answer problems in an evaluation, see ``GenerationStrategy``: with the dialogue of training."""
        return self.runner(problems, group_size, sampling_params, seed)

    def training_step(self, problems: list[Problem], batch_idx: int) -> None:
        """Run one iteration on ``problems``."""
        start, tokens_before, stage = time.perf_counter(), self.runner.sampled_tokens, self.stage
        self.was_final_stage = self.is_final_stage()
        self.progress_before, self.data = self.progress, []
        scored = self.reward(self.episodes(problems))
        sampled = time.perf_counter()
        self.counters["episodes"] += len(scored)
        self.counters["sampled_tokens"] += self.runner.sampled_tokens - tokens_before
        measured = self.update(scored)
        self.runner.sync_weights()
        self.timing = {"rollout_seconds": sampled - start, "update_seconds": time.perf_counter() - sampled}
        last_rewards = np.array([s.reward[-1] for s in scored]).reshape(len(problems), -1)
        self.exploration.curriculum.observe(self.problem_indices, last_rewards)
        self.exploration.prefill.observe(scored)
        self.scored, self.iteration = scored, self.iteration + 1
        self.record = {
            "iteration": self.iteration,
            "stage": stage,
            "final_stage": self.was_final_stage,
            "progress": self.progress,
            **measured,
            **self.counters,
        }

    def update(self, scored: list[Scored]) -> dict[str, float]:
        """Train on the episodes of one iteration.

        Args:
            scored: The episodes with their rewards.

        Returns:
            What the optimizer steps measured, averaged over tokens.
        """
        progress = self.progress_before
        return self.optimize(self.make_batch(scored), self.update_epochs, self.num_minibatches, (progress, progress))

    def make_batch(self, scored: list[Scored]) -> Batch:
        """Collate the episodes of an iteration.

        If the engine computes other log-probabilities than the trainer, ``old_logprobs`` become the trainer's, and the
        extras get the engine's log-probabilities and a truncated importance weight for each token.

        Args:
            scored: The episodes with their rewards.

        Returns:
            The batch, on the device of the policy.
        """
        batch, cap = collate(scored).to(self.device), self.runner.importance_sampling_cap
        if cap is None:
            return batch
        logprobs = self.read(
            batch, lambda micro: self.policy.logprobs(micro.tokens, micro.loss_mask, micro.temperature)
        )
        weight = policy_loss.truncated_importance_weight(logprobs, batch.old_logprobs, cap)
        return replace(
            batch, old_logprobs=logprobs, extras={"sampling_logprobs": batch.old_logprobs, "importance_weights": weight}
        )

    def configure_model(self) -> None:
        """Shard the modules that are trained besides the policy, such as a value head, if the policy is sharded."""
        for module in self.children():
            if module is not self.policy:
                self.policy.shard_submodule(module)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Return ``batch`` as it is: problems are text."""
        return batch

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the iteration, the counters and the state of curriculum and prefill.

        Lightning saves the weights and the state of the optimizer.
        """
        explored = [self.exploration.curriculum.state_dict(), self.exploration.prefill.state_dict()]
        checkpoint["amend"] = {
            "iteration": self.iteration,
            "counters": dict(self.counters),
            "explored": explored,
            **self.extra_state(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore what ``on_save_checkpoint`` saved."""
        state = dict(checkpoint["amend"])
        self.iteration, self.counters = state.pop("iteration"), state.pop("counters")
        curriculum, prefill = state.pop("explored")
        self.exploration.curriculum.load_state_dict(curriculum)
        self.exploration.prefill.load_state_dict(prefill)
        self.load_extra_state(state)

    def extra_state(self) -> dict[str, Any]:
        """Return further state of the algorithm for a checkpoint, in plain values."""
        return {}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Restore what ``extra_state`` returned."""
