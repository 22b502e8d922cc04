"""What a trained policy's output is worth to somebody else: the base model, fine-tuned on it.

The trained policy answers training problems; its right solutions, duplicates dropped, are what the base model then
imitates, and the student is evaluated beside base and trained. How good what was generated is, and how various, is read
from the same table, where it stands as phase "generated" (of the first ``eval.pass_at_k_problems`` problems).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from omegaconf import DictConfig

from amend.algo.expert_iteration import ExpertIteration
from amend.components import Components, build, build_reranker
from amend.evaluation.evaluate import table
from amend.results.run_folder.folder import RunFolder
from amend.training.auxiliary_run import run_auxiliary
from amend.types import Reranker, SamplingParams
from amend.value_types import Count, Positive

STREAM = 7_000_009  # beside rounds' and evaluations' seeds


class DistillationResult(NamedTuple):
    """Rows of the table, what it cost, and the data set in TRL's format."""

    rows: dict[str, list[Any]]
    cost: dict[str, int]
    data: list[dict[str, Any]]


class NoDistillation:
    """Nobody learns from it."""

    def __call__(
        self, components: Components, seed: int, max_tokens: int, shown: int, rank: Reranker | None
    ) -> DistillationResult | None:
        """No student."""
        return None


class SFTDistillation:
    """``samples`` replies to each of ``problems`` training problems; at most ``cap`` right ones of each are imitated.

    epochs, updates, lr: passes over them, steps a pass, and the learning rate, falling to 0
    """

    def __init__(
        self,
        *,
        problems: Count,
        group_size: Count,
        max_per_problem: Count,
        update_epochs: Count,
        num_minibatches: Count,
        lr: Positive,
    ) -> None:
        self._problems, self._samples = problems, group_size
        self._knobs: dict[str, Any] = {
            "max_per_problem": max_per_problem,
            "update_epochs": update_epochs,
            "num_minibatches": num_minibatches,
            "lr": lr,
        }

    def __call__(
        self, components: Components, seed: int, max_tokens: int, shown: int, rank: Reranker | None
    ) -> DistillationResult | None:
        """Generate, and leave the student in the policy's place; rows are of the first ``shown`` problems."""
        train = components.task.problems("train")[:shown]
        sampling_params = [SamplingParams(1.0, max_tokens)]
        rows = table(
            components.runner(train, self._samples, sampling_params, (seed, STREAM)),
            (0,),
            components.task,
            "generated",
            "wide",
            rank,
        )
        learner = run_auxiliary(
            components, ExpertIteration, seed, groups_per_batch=self._problems, group_size=self._samples,
            max_tokens=max_tokens,
            init_from="base", **self._knobs,
        )  # fmt: skip
        cost = {"imitated": len(learner.data), **{key: learner.counters[key] for key in ("episodes", "sampled_tokens")}}
        return DistillationResult(rows, cost, learner.data)


def distill(
    cfg: DictConfig, components: Components, folder: RunFolder, measure: Callable[[], dict[str, list[Any]]]
) -> dict[str, list[Any]]:
    """Rows of what a student was given and of what it then says; none where there is no student."""
    student = build(cfg.distillation)
    found = student(components, cfg.seed, cfg.algo.max_tokens, cfg.eval.pass_at_k_problems, build_reranker(cfg))
    if found is None:
        return {}
    folder.write_json("student.json", found.cost)
    lines = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in found.data)
    folder.write("data/student.jsonl", lambda path: path.write_text(lines, encoding="utf-8"))
    after = measure()
    return {name: found.rows[name] + after[name] for name in after}
