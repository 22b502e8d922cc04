"""``distillation=sft``: fine-tune the base model on the output of the trained policy.

The trained policy answers training problems. The base model imitates the distinct correct solutions, and the student is
evaluated like the base and the trained model. The quality and diversity of the output are computed from the episode
table, in which the output is phase "generated" (of the first ``eval.pass_at_k_problems`` problems).
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

STREAM = 7_000_009  # differs from the seeds of iterations and of evaluations


class DistillationResult(NamedTuple):
    """The result of a distillation.

    Attributes:
        rows: The generated replies, as columns of the episode table.
        cost: The number of imitated examples, episodes and sampled tokens.
        data: The examples, in TRL's format.
    """

    rows: dict[str, list[Any]]
    cost: dict[str, int]
    data: list[dict[str, Any]]


class NoDistillation:
    """``distillation=none``."""

    def __call__(
        self, components: Components, seed: int, max_tokens: int, shown: int, rank: Reranker | None
    ) -> DistillationResult | None:
        """Return None: there is no student."""
        return None


class SFTDistillation:
    """``distillation=sft``: imitate the correct replies of the trained policy.

    Args:
        problems: The number of training problems.
        group_size: The number of replies to each problem.
        max_per_problem: The largest number of imitated replies per problem.
        update_epochs: Passes over the imitated replies.
        num_minibatches: Optimizer steps of a pass.
        lr: The learning rate, which falls linearly to 0.
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
        self._keys: dict[str, Any] = {
            "max_per_problem": max_per_problem,
            "update_epochs": update_epochs,
            "num_minibatches": num_minibatches,
            "lr": lr,
        }

    def __call__(
        self, components: Components, seed: int, max_tokens: int, shown: int, rank: Reranker | None
    ) -> DistillationResult | None:
        """Generate replies and train the student, which replaces the policy; rows: the first ``shown`` problems."""
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
        algorithm = run_auxiliary(
            components, ExpertIteration, seed, groups_per_batch=self._problems, group_size=self._samples,
            max_tokens=max_tokens,
            init_from="base", **self._keys,
        )  # fmt: skip
        cost = {
            "imitated": len(algorithm.data),
            **{key: algorithm.counters[key] for key in ("episodes", "sampled_tokens")},
        }
        return DistillationResult(rows, cost, algorithm.data)


def distill(
    cfg: DictConfig, components: Components, folder: RunFolder, measure: Callable[[], dict[str, list[Any]]]
) -> dict[str, list[Any]]:
    """Train the student if the configuration asks for one, and evaluate it.

    Args:
        cfg: The configuration of the run.
        components: The components of the run, with the trained policy.
        folder: The run folder, to which student.json and data/student.jsonl are written.
        measure: Evaluates the student.

    Returns:
        The episode-table columns of the generated replies and of the student, or {} without distillation.
    """
    student = build(cfg.distillation)
    result = student(components, cfg.seed, cfg.algo.max_tokens, cfg.eval.pass_at_k_problems, build_reranker(cfg))
    if result is None:
        return {}
    folder.write_json("student.json", result.cost)
    lines = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in result.data)
    folder.write("data/student.jsonl", lambda path: path.write_text(lines, encoding="utf-8"))
    evaluation = measure()
    return {name: result.rows[name] + evaluation[name] for name in evaluation}
