"""Build the objects of a run from a checked configuration.

The choice of a group names its class in ``_target_``. The other keys of the choice are the keyword arguments of the
class. Objects that a component needs from other components are passed by position. Components therefore receive values,
and never read a configuration.
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
    """The components of a run.

    Attributes:
        task: The task.
        dialogue: The dialogue.
        policy: The policy.
        runner: The runner, which plays episodes.
        reward: The reward.
    """

    task: Task
    dialogue: Dialogue
    policy: Policy
    runner: RolloutRunner
    reward: CompositeReward


def to_kwargs(group: DictConfig | Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a group as plain Python values, without ``_target_`` and ``name``."""
    values = OmegaConf.to_container(group, resolve=True) if isinstance(group, DictConfig) else dict(group)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items() if key not in ("_target_", "name")}


def build(node: DictConfig | Mapping[str, Any], *context: Any) -> Any:
    """Build the object of a choice.

    Call its ``_target_`` with ``context`` as positional arguments and the other keys as keyword arguments.
    """
    return hydra.utils.get_object(node["_target_"])(*context, **to_kwargs(node))


def build_task(cfg: DictConfig) -> Task:
    """Build the task alone, which is all that grading needs."""
    values = OmegaConf.to_container(cfg.task, resolve=True)
    assert isinstance(values, dict)
    return _build_task({str(key): value for key, value in values.items()})


def _build_task(node: dict[str, Any]) -> Task:
    """Build a task. A mixture gets its tasks as an argument."""
    parts = {part: _build_task(values) for part, values in node.pop("tasks", {}).items()}
    task: Task = build(node, *([parts] if parts else []))
    return task


def build_components(cfg: DictConfig) -> Components:
    """Build the task, the dialogue, the policy, the runner and the reward."""
    set_threads(cfg.trainer.threads, cfg.trainer.nodes)
    task = build_task(cfg)
    dialogue: Dialogue = build(cfg.dialogue)
    torch.manual_seed(cfg.seed)  # for the initial weights of a low-rank update
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
    """Build the algorithm with the components of the run."""
    torch.manual_seed(cfg.seed)  # for weights that an algorithm initializes, such as a value head
    exploration = Exploration(*(build(cfg[group]) for group in Exploration._fields))
    context = AlgorithmContext(
        components.policy, components.runner, components.reward, exploration, Budget(**cfg.budget), cfg.seed
    )
    algorithm: GenerationStrategy = build(cfg.algo, context)
    return algorithm


def build_reranker(cfg: DictConfig) -> Reranker | None:
    """Build the reranker of ``eval.reranker``; return None if there is none. See ``amend.types.Reranker``."""
    if cfg.eval.reranker is None:
        return None
    model = outcome_model("eval.reranker", cfg.eval.reranker)

    def rank(episodes: Sequence[Episode]) -> Float[np.ndarray, "b k"]:
        """Return the probability that the reply of each turn is right.

        Each turn is a separate conversation, because the second attempt of a method need not continue the first.
        """
        scores = np.zeros((len(episodes), max((len(e.turns) for e in episodes), default=0)))
        places = [(i, k) for i, e in enumerate(episodes) for k in range(len(e.turns))]
        rows = [episodes[i].turns[k].prompt + episodes[i].turns[k].reply.tokens for i, k in places]
        for place, p in zip(places, model.read(rows), strict=True):
            scores[place] = p[-1]
        return scores

    return rank


def check_context_length(cfg: DictConfig, policy: Policy, runner: RolloutRunner, task: Task) -> None:
    """Raise UserError if the longest conversation does not fit into the context of the model.

    The length is estimated from the first test problems, see ``longest_conversation``.
    """
    needed = longest_conversation(cfg, policy, runner, task)
    prompt_tokens = needed - runner.turns * int(cfg.algo.max_tokens)
    if needed > policy.max_length:
        raise UserError(
            f"algo.max_tokens={cfg.algo.max_tokens}: {runner.turns} replies of this length and {prompt_tokens} tokens "
            f"of prompts need {needed} tokens, but the context of {policy.name} is {policy.max_length}; allowed: at "
            f"most {max(0, (policy.max_length - prompt_tokens) // runner.turns)}"
        )


def longest_conversation(cfg: DictConfig, policy: Policy, runner: RolloutRunner, task: Task) -> int:
    """Estimate the number of tokens of the longest conversation.

    It is the sum of the longest prompt of the first 64 test problems, the messages between the turns, and all replies
    at their maximum length.
    """
    problems = task.problems("test")[:64]
    prompt_tokens = max(
        len(policy.renderer.build_generation_prompt(task.render_prompt(problem))) for problem in problems
    )
    empty_replies = runner.build_episode(problems[0], [(runner.reply(""), False)] * runner.turns)
    prompt_tokens += len(empty_replies.turns[-1].prompt) - len(empty_replies.turns[0].prompt)
    return prompt_tokens + runner.turns * int(cfg.algo.max_tokens)
