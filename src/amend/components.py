"""From a checked configuration to the objects of a run. Only this file and ``train.py`` read a config.

A component is found by convention: ``algo=score`` is the class in ``amend/algo/score.py`` that takes keyword-only
knobs, and its knobs are the YAML's keys. What one component needs of another is handed in by position.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import hydra
import numpy as np
import torch
from jaxtyping import Float
from omegaconf import DictConfig, OmegaConf

from amend.algo.base import GenerationStrategy
from amend.algo.context import AlgorithmContext
from amend.dialogue import Dialogue
from amend.distributed import collectives, launch
from amend.distributed.threads import set_threads
from amend.errors import UserError
from amend.exploration import Exploration
from amend.policy.policy import Policy
from amend.reward import CompositeReward
from amend.reward.outcome_model import outcome_model
from amend.rollout.runner import RolloutRunner
from amend.task.base import Task
from amend.types import Budget, Episode, Reranker


class Components(NamedTuple):
    """Everything a run is made of."""

    task: Task
    dialogue: Dialogue
    policy: Policy
    runner: RolloutRunner
    reward: CompositeReward


def to_kwargs(group: DictConfig | Mapping[str, Any]) -> dict[str, Any]:
    """A group's values as plain Python, without its target and its name."""
    plain = OmegaConf.to_container(group, resolve=True) if isinstance(group, DictConfig) else dict(group)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items() if key not in ("_target_", "name")}


def build(node: DictConfig | Mapping[str, Any], *context: Any) -> Any:
    """Build what a choice names: its ``_target_``, called with ``context`` by position and its other keys by name."""
    return hydra.utils.get_object(node["_target_"])(*context, **to_kwargs(node))


def build_task(cfg: DictConfig) -> Task:
    """The task alone: all that grading needs."""
    plain = OmegaConf.to_container(cfg.task, resolve=True)
    assert isinstance(plain, dict)
    return _build_task({str(key): value for key, value in plain.items()})


def _build_task(node: dict[str, Any]) -> Task:
    """Build a task. A mixture is handed the tasks that it consists of."""
    parts = {part: _build_task(values) for part, values in node.pop("tasks", {}).items()}
    task: Task = build(node, *([parts] if parts else []))
    return task


def build_components(cfg: DictConfig) -> Components:
    """Task, dialogue, policy, play and score, ready to train or to evaluate."""
    set_threads(cfg.trainer.threads, cfg.trainer.nodes)
    task = build_task(cfg)
    dialogue: Dialogue = build(cfg.dialogue)
    torch.manual_seed(cfg.seed)  # what a low-rank update begins as
    tuning = build(cfg.tuning)
    policy, device = build(cfg.policy, tuning), launch.device(cfg.trainer.accelerator)
    if cfg.trainer.strategy == "fsdp" and collectives.is_initialized():
        policy.shard(device)
    policy.to(device)
    engine = build(cfg.rollout, policy)
    parts = {part: build(values, task) for part, values in to_kwargs(cfg.reward).items()}
    reward = CompositeReward(parts, max_failures=cfg.trainer.max_reward_error_rate)
    runner = RolloutRunner(engine, engine.reference_engine(), policy.renderer, task, dialogue)
    check_context_length(cfg, policy, runner, task)
    return Components(task, dialogue, policy, runner, reward)


def build_algorithm(cfg: DictConfig, components: Components) -> GenerationStrategy:
    """The learner, handed the house."""
    torch.manual_seed(cfg.seed)  # what an algorithm initialises itself (a value head, an adapter)
    exploration = Exploration(*(build(cfg[group]) for group in Exploration._fields))
    context = AlgorithmContext(
        components.policy, components.runner, components.reward, exploration, Budget(**cfg.budget), cfg.seed
    )
    algorithm: GenerationStrategy = build(cfg.algo, context)
    return algorithm


def build_reranker(cfg: DictConfig) -> Reranker | None:
    """What ``eval.reranker`` says of each turn's reply, [b k] chances of being right; None where none is configured."""
    if cfg.eval.reranker is None:
        return None
    model = outcome_model("eval.reranker", cfg.eval.reranker)

    def rank(episodes: Sequence[Episode]) -> Float[np.ndarray, "b k"]:
        """Each turn by itself, in its own context: a method's second attempt need not continue its first."""
        found = np.zeros((len(episodes), max((len(e.turns) for e in episodes), default=0)))
        places = [(i, k) for i, e in enumerate(episodes) for k in range(len(e.turns))]
        rows = [episodes[i].turns[k].prompt + episodes[i].turns[k].reply.tokens for i, k in places]
        for place, p in zip(places, model.read(rows), strict=True):
            found[place] = p[-1]
        return found

    return rank


def check_context_length(cfg: DictConfig, policy: Policy, runner: RolloutRunner, task: Task) -> None:
    """UserError where a whole conversation about the first test problem would not fit the model."""
    needed = longest_conversation(cfg, policy, runner, task)
    asked = needed - runner.turns * int(cfg.algo.max_tokens)
    if needed > policy.context:
        raise UserError(
            f"algo.max_tokens={cfg.algo.max_tokens}: {runner.turns} replies of that length beside {asked} tokens of "
            f"questions need {needed}; {policy.name} holds {policy.context}, so allowed: at most "
            f"{max(0, (policy.context - asked) // runner.turns)}"
        )


def longest_conversation(cfg: DictConfig, policy: Policy, runner: RolloutRunner, task: Task) -> int:
    """About the most tokens of a whole conversation: all replies at their full length, and what is said around them."""
    problems = task.problems("test")[:64]
    asked = max(len(policy.renderer.build_generation_prompt(task.render_prompt(problem))) for problem in problems)
    silent = runner.build_episode(problems[0], [(runner.reply(""), False)] * runner.turns)
    asked += len(silent.turns[-1].prompt) - len(silent.turns[0].prompt)
    return asked + runner.turns * int(cfg.algo.max_tokens)
