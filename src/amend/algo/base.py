"""What every algorithm shares: one training step is one round, and a round is play, score, improve.

    play      n episodes of each of p problems, drawn from the policy as it stands
    score     one reward a turn
    improve   credit (how much better each token was than expected), then a weighted sum of losses at each token

An algorithm is handed ``play``, ``score`` and ``exploration`` and says only what is its own: ``advantages`` and
``loss``, and
perhaps the weights of tokens (``descent`` turns them into an update). One that builds a data set before it learns
overrides ``improve``. Everything random in a round is a function of (seed, round): a resumed run draws what it would
have drawn.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import torch

from amend.algo.context import AlgorithmContext, LoopConfig
from amend.algo.gradient_update import GradientUpdate, OptimizerConfig
from amend.batch import Batch, collate
from amend.ops import policy_loss
from amend.types import Episode, Problem, SamplingParams, Scored

if TYPE_CHECKING:  # an algorithm is handed these; it may look at their shape, and never imports them
    pass


class Algorithm(GradientUpdate):
    """One algorithm: one ``training_step`` is one iteration. ``LoopConfig`` documents its keys."""

    online = True  # whether a round's reward is that of about the weights it leaves, and so can choose among them

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
        self.max_tokens = loop["max_tokens"]
        self.num_iterations, self.groups_per_batch, self.group_size = (
            loop["num_iterations"],
            loop["groups_per_batch"],
            loop["group_size"],
        )
        self.turns = loop["turns"]
        self.began = 0.0  # ``done`` when this round began
        self.was_final_stage = True  # whether the last iteration was of the final stage
        self.problem_indices: list[int] = []  # which training groups_per_batch this round has
        self.scored: list[Scored] = []  # the last round's episodes
        self.data: list[dict[str, Any]] = []  # what this round built to train_on from, in one of TRL's dataset formats
        self.data_name = "traces"  # and the file it goes to
        self.record: dict[str, Any] = {}  # and what it measured
        self.timing: dict[str, float] = {}

    @property
    def stage(self) -> str:
        """The stage of the round that is being played, for algorithms that have stages."""
        return ""

    def is_final_stage(self) -> bool:
        """Return whether the current iteration is of the last stage, whose reward chooses the best weights."""
        return True

    @property
    def progress(self) -> float:
        """The share of the run that is over: of its rounds or of its budget, whichever will end it first."""
        return min(1.0, max(self.iteration / max(self.num_iterations, 1), self.budget.share(self.counters)))

    def ends(self, parts: int) -> bool:
        """Whether this round is the last of one of ``parts`` equal parts of the run; asked while it improves."""
        after = max((self.iteration + 1) / max(self.num_iterations, 1), self.budget.share(self.counters))
        return int(min(after, 1.0) * parts + 1e-9) > int(self.began * parts + 1e-9)

    def sampling_params(self) -> list[SamplingParams]:
        """How this round draws each turn."""
        return [
            SamplingParams(self.exploration.temperature(k, self.progress), self.max_tokens) for k in range(self.turns)
        ]

    def episodes(self, problems: Sequence[Problem]) -> list[Episode]:
        """The episodes of this round."""
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
        """How the learner answers when it is evaluated: as it was asked in training, unless a method says otherwise."""
        return self.runner(problems, group_size, sampling_params, seed)

    def training_step(self, problems: list[Problem], batch_idx: int) -> None:
        """One round."""
        began, drawn, stage = time.perf_counter(), self.runner.sampled_tokens, self.stage
        self.was_final_stage = self.is_final_stage()
        self.began, self.data = self.progress, []
        scored = self.reward(self.episodes(problems))
        played = time.perf_counter()
        self.counters["episodes"] += len(scored)
        self.counters["sampled_tokens"] += self.runner.sampled_tokens - drawn
        learned = self.update(scored)
        self.runner.sync_weights()  # the weights have changed
        self.timing = {"rollout_seconds": played - began, "update_seconds": time.perf_counter() - played}
        solved = np.array([s.reward[-1] for s in scored]).reshape(len(problems), -1)
        self.exploration.curriculum.observe(self.problem_indices, solved)
        self.exploration.prefill.observe(scored)
        self.scored, self.iteration = scored, self.iteration + 1
        self.record = {
            "iteration": self.iteration,
            "stage": stage,
            "final_stage": self.was_final_stage,
            "progress": self.progress,
            **learned,
            **self.counters,
        }

    def update(self, scored: list[Scored]) -> dict[str, float]:
        """Learn from a round; what the updates measured, averaged over tokens."""
        return self.optimize(
            self.make_batch(scored), self.update_epochs, self.num_minibatches, (self.began, self.began)
        )

    def make_batch(self, scored: list[Scored]) -> Batch:
        """A round's episodes side by side. Where the engine does not compute as the trainer does, the trainer's own
        log-probabilities stand in the place of the engine's, which give each token a weight: what then moves in several
        updates of one round is measured from the policy that began it."""
        batch, cap = collate(scored).to(self.device), self.runner.importance_sampling_cap
        if cap is None:
            return batch
        own = self.read(batch, lambda micro: self.policy.logp(micro.tokens, micro.loss_mask, micro.temperature))
        weight = policy_loss.truncated_importance_weight(own, batch.old_logprobs, cap)
        return replace(batch, old_logprobs=own, extras={"engine": batch.old_logprobs, "importance": weight})

    def configure_model(self) -> None:
        """Where the policy's weights are divided among processes, so is what a learner trains beside it."""
        for beside in self.children():
            if beside is not self.policy:
                self.policy.shard_submodule(beside)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Problems are words and stay where they are."""
        return batch

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The clock, the bill, and what is remembered; all else is weights and optimizer state, or derived."""
        explored = [self.exploration.curriculum.state_dict(), self.exploration.prefill.state_dict()]
        checkpoint["amend"] = {
            "iteration": self.iteration,
            "spent": dict(self.counters),
            "explored": explored,
            **self.extra_state(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Back to the moment of ``on_save_checkpoint``."""
        kept = dict(checkpoint["amend"])
        self.iteration, self.counters = kept.pop("iteration"), kept.pop("spent")
        curriculum, start = kept.pop("explored")
        self.exploration.curriculum.load_state_dict(curriculum)
        self.exploration.prefill.load_state_dict(start)
        self.load_extra_state(kept)

    def extra_state(self) -> dict[str, Any]:
        """What an algorithm itself carries from round to round, in plain values; most carry nothing."""
        return {}

    def load_extra_state(self, memory: dict[str, Any]) -> None:
        """The inverse of ``memory``."""
