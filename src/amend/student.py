"""What a trained policy's output is worth to somebody else: the base model, fine-tuned on it.

The trained policy answers training problems; its right solutions, duplicates dropped, are what the base model then
imitates, and the student is evaluated beside base and trained. How good what was generated is, and how various, is read
from the same table, where it stands as phase "generated" (of the first ``eval.wide_problems`` problems).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from omegaconf import DictConfig

from amend.bounds import Count, Positive
from amend.build import House, find, knobs, ranker_of
from amend.evaluate import table
from amend.lesson import lesson
from amend.run_folder import RunFolder
from amend.types import Rank, Sampling

STREAM = 7_000_009  # beside rounds' and evaluations' seeds


class Taught(NamedTuple):
    """Rows of the table, what it cost, and the data set in TRL's format."""

    rows: dict[str, list[Any]]
    cost: dict[str, int]
    data: list[dict[str, Any]]


class Nothing:
    """Nobody learns from it."""

    def __call__(self, made: House, seed: int, max_tokens: int, shown: int, rank: Rank | None) -> Taught | None:
        """No student."""
        return None


class Imitate:
    """``samples`` replies to each of ``problems`` training problems; at most ``cap`` right ones of each are imitated.

    epochs, updates, lr: passes over them, steps a pass, and the learning rate, falling to 0
    """

    def __init__(
        self, *, problems: Count, samples: Count, cap: Count, epochs: Count, updates: Count, lr: Positive
    ) -> None:
        self._problems, self._samples = problems, samples
        self._knobs: dict[str, Any] = {"cap": cap, "epochs": epochs, "updates": updates, "lr": lr}

    def __call__(self, made: House, seed: int, max_tokens: int, shown: int, rank: Rank | None) -> Taught | None:
        """Generate, and leave the student in the policy's place; rows are of the first ``shown`` problems."""
        train = made.task.problems("train")[:shown]
        how = [Sampling(1.0, max_tokens)]
        rows = table(made.play(train, self._samples, how, (seed, STREAM)), (0,), made.task, "generated", "wide", rank)
        learner = lesson(
            made, "expert_iteration", seed, problems=self._problems, samples=self._samples, max_tokens=max_tokens,
            begin="base", **self._knobs,
        )  # fmt: skip
        cost = {"imitated": len(learner.data), **{key: learner.spent[key] for key in ("episodes", "sampled_tokens")}}
        return Taught(rows, cost, learner.data)


def taught(
    cfg: DictConfig, made: House, folder: RunFolder, measure: Callable[[], dict[str, list[Any]]]
) -> dict[str, list[Any]]:
    """Rows of what a student was given and of what it then says; none where there is no student."""
    student = find("student", cfg.student.name)(**knobs(cfg.student))
    found = student(made, cfg.seed, cfg.algo.max_tokens, cfg.eval.wide_problems, ranker_of(cfg))
    if found is None:
        return {}
    folder.write_json("student.json", found.cost)
    lines = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in found.data)
    folder.write("data/student.jsonl", lambda path: path.write_text(lines, encoding="utf-8"))
    after = measure()
    return {name: found.rows[name] + after[name] for name in after}
