"""From a checked configuration to the objects of a run. Only this file and ``train.py`` read a config.

A component is found by convention: ``algo=score`` is the class in ``amend/algo/score.py`` that takes keyword-only
knobs, and its knobs are the YAML's keys. What one component needs of another is handed in by position.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from omegaconf import DictConfig, OmegaConf
from torch.utils.data import IterableDataset

from amend import launch, ranks
from amend.algo.base import Algorithm
from amend.config import component
from amend.dialogue import Dialogue
from amend.errors import UserError
from amend.explore import Explore
from amend.policy import divided
from amend.policy.model import Policy
from amend.reward import Score
from amend.reward.orm import outcome_model
from amend.rollout.play import Play
from amend.task.base import Task
from amend.types import Budget, Episode, Problem, Rank


class House(NamedTuple):
    """Everything a run is made of."""

    task: Task
    dialogue: Dialogue
    policy: Policy
    play: Play
    score: Score


def knobs(group: DictConfig | Mapping[str, Any]) -> dict[str, Any]:
    """A group's values as plain Python, its name left out."""
    plain = OmegaConf.to_container(group, resolve=True) if isinstance(group, DictConfig) else dict(group)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items() if key != "name"}


def find(group: str, name: str) -> Any:
    """The class behind ``group=name``."""
    module, cls = component(group, name)
    return getattr(importlib.import_module(module), cls)


def task_of(cfg: DictConfig) -> Task:
    """The task alone: all that grading needs."""
    return _task(cfg.task.name, knobs(cfg.task))


def _task(name: str, values: dict[str, Any]) -> Task:
    """A task, handed the tasks it is made of where there are such."""
    parts = {part: _task(own["name"], knobs(own)) for part, own in values.pop("tasks", {}).items()}
    task: Task = find("task", name)(*([parts] if parts else []), **values)
    return task


def house(cfg: DictConfig) -> House:
    """Task, dialogue, policy, play and score, ready to train or to evaluate."""
    threads(cfg.trainer.threads, cfg.trainer.nodes)
    task = task_of(cfg)
    dialogue: Dialogue = find("dialogue", cfg.dialogue.name)(**knobs(cfg.dialogue))
    torch.manual_seed(cfg.seed)  # what a low-rank update begins as
    tuning = find("tuning", cfg.tuning.name)(**knobs(cfg.tuning))
    policy, device = Policy.load(tuning, **knobs(cfg.policy)), launch.device(cfg.trainer.accelerator)
    if cfg.trainer.strategy == "fsdp" and ranks.met():
        divided.divide(policy, device)
    policy.to(device)
    engine = find("rollout", cfg.rollout.name)(policy, **knobs(cfg.rollout))
    parts = {
        part: find("reward", values.get("name", part))(task, **knobs(values))
        for part, values in knobs(cfg.reward).items()
    }
    score = Score(parts, max_failures=cfg.trainer.max_failures)
    play = Play(engine, engine.frozen(), policy.renderer, task, dialogue)
    fits(cfg, policy, play, task)
    return House(task, dialogue, policy, play, score)


def algorithm_of(cfg: DictConfig, made: House) -> Algorithm:
    """The learner, handed the house."""
    torch.manual_seed(cfg.seed)  # what an algorithm initialises itself (a value head, an adapter)
    explore = Explore(*(find(lever, cfg[lever].name)(**knobs(cfg[lever])) for lever in Explore._fields))
    handed = (made.policy, made.play, made.score, explore, Budget(**cfg.budget), cfg.seed)
    learner: Algorithm = find("algo", cfg.algo.name)(*handed, **knobs(cfg.algo))
    return learner


def ranker_of(cfg: DictConfig) -> Rank | None:
    """What ``eval.ranker`` says of each turn's reply, [b k] chances of being right; None where none is configured."""
    if cfg.eval.ranker is None:
        return None
    model = outcome_model("eval.ranker", cfg.eval.ranker)

    def rank(episodes: Sequence[Episode]) -> Float[np.ndarray, "b k"]:
        """Each turn by itself, in its own context: a method's second attempt need not continue its first."""
        found = np.zeros((len(episodes), max((len(e.turns) for e in episodes), default=0)))
        places = [(i, k) for i, e in enumerate(episodes) for k in range(len(e.turns))]
        rows = [episodes[i].turns[k].prompt + episodes[i].turns[k].reply.tokens for i, k in places]
        for place, p in zip(places, model.read(rows), strict=True):
            found[place] = p[-1]
        return found

    return rank


def fits(cfg: DictConfig, policy: Policy, play: Play, task: Task) -> None:
    """UserError where a whole conversation about the first test problem would not fit the model."""
    needed = longest(cfg, policy, play, task)
    asked = needed - play.turns * int(cfg.algo.max_tokens)
    if needed > policy.context:
        raise UserError(
            f"algo.max_tokens={cfg.algo.max_tokens}: {play.turns} replies of that length beside {asked} tokens of "
            f"questions need {needed}; {policy.name} holds {policy.context}, so allowed: at most "
            f"{max(0, (policy.context - asked) // play.turns)}"
        )


def longest(cfg: DictConfig, policy: Policy, play: Play, task: Task) -> int:
    """About the most tokens of a whole conversation: all replies at their full length, and what is said around them."""
    problems = task.problems("test")[:64]
    asked = max(len(policy.renderer.opening(task.ask(problem))) for problem in problems)
    silent = play.retell(problems[0], [(play.reply(""), False)] * play.turns)
    asked += len(silent.turns[-1].prompt) - len(silent.turns[0].prompt)
    return asked + play.turns * int(cfg.algo.max_tokens)


def threads(count: int, nodes: int) -> None:
    """Torch's threads: ``count``, or all cores that this process may run on, its neighbours' share left to them."""
    neighbours = max(ranks.size() // nodes, 1)
    torch.set_num_threads(count or max(len(os.sched_getaffinity(0)) // neighbours, 1))


class Rounds(IterableDataset[list[Problem]]):
    """One round's problems an epoch, chosen from the training split by the curriculum."""

    def __init__(self, task: Task, algorithm: Algorithm) -> None:
        self._problems, self._algorithm = task.problems("train"), algorithm

    def __iter__(self) -> Iterator[list[Problem]]:
        learner = self._algorithm
        seed = (learner.seed, learner.round)
        learner.picks = learner.explore.curriculum.pick(len(self._problems), learner.problems, seed)
        yield [self._problems[i] for i in learner.picks]
