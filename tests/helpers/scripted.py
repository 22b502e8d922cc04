"""Conversations that say what a test wants: an engine that reads its lines, and the identity task around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from toys import handed, policy

from amend.algo.base import Algorithm
from amend.dialogue import Dialogue, SelfCorrect
from amend.policy.policy import Policy
from amend.policy.tiny.tokenizer import ASCII
from amend.reward import CompositeReward
from amend.reward.oracle import Oracle
from amend.rollout.runner import RolloutRunner
from amend.task.identity import Identity
from amend.types import Completion, Problem, SamplingParams, Tokens

Line = Callable[[str, int, int], str]  # (the whole prompt, the episode's sample number, the turn): what is said
IMITATION: dict[str, Any] = {"iterations": 1, "init_from": "base", "accumulate_data": False}


def always(text: str) -> Line:
    """One and the same reply to everything."""
    return lambda prompt, sample, turn: text


class Lines:
    """An engine that says its lines and ends; it keeps every prompt it has ``heard``, with its seed and how it drew.

    ``logp``: the log-probability of each token of a reply, by its text; -1 for others.
    """

    max_batch_size = 64
    importance_sampling_cap = None

    def __init__(self, policy: Policy, line: Line, logp: dict[str, float]) -> None:
        self.policy, self.line, self.logp = policy, line, logp
        self.heard: list[str] = []
        self.sampling_params: list[SamplingParams] = []
        self.seeds: list[tuple[int, ...]] = []

    def sample(
        self, prompts: Sequence[Tokens], sampling_params: SamplingParams, seeds: Sequence[tuple[int, ...]]
    ) -> list[Completion]:
        said = []
        for prompt, seed in zip(prompts, seeds, strict=True):
            self.heard.append(self.policy.decode(prompt))
            self.sampling_params.append(sampling_params)
            self.seeds.append(seed)
            text = self.line(self.heard[-1], *seed[-2:])
            tokens = self.policy.renderer.render_complete_reply(text)
            said.append(Completion(tokens, (self.logp.get(text, -1.0),) * len(tokens), text, "end"))
        return said

    def sync_weights(self) -> None:
        """It has no weights."""

    def reference_engine(self) -> Lines:
        """The reference says the same lines."""
        return self


class Stage(NamedTuple):
    """What a learner is handed, with the engine and the task to look at. Problem number i asks for the symbol i."""

    policy: Policy
    engine: Lines
    runner: RolloutRunner
    reward: CompositeReward
    task: Identity

    @property
    def handed(self) -> tuple[Any, ...]:
        """The positional arguments of an algorithm."""
        return handed(self.policy, self.runner, self.reward)

    def problems(self, count: int) -> list[Problem]:
        """The first training problems: "Say 0", "Say 1", ..."""
        return list(self.task.problems("train")[:count])


def stage(line: Line, logp: dict[str, float] | None = None, dialogue: Dialogue | None = None) -> Stage:
    """A toy policy that is able to say all of ASCII, and a play in which ``line`` speaks for it."""
    made = policy(characters=ASCII)
    task = Identity(symbols=4, test=4)
    engine = Lines(made, line, logp or {})
    spoken = dialogue or SelfCorrect(turns=2, instruction="Again.")
    play = RolloutRunner(engine, engine, made.renderer, task, spoken)
    return Stage(made, engine, play, CompositeReward({"oracle": Oracle(task, weight=1.0)}, max_failures=0.0), task)


def ready(algorithm: Any) -> Any:
    """The algorithm with an optimizer of its own, so that it takes steps without a Trainer."""
    assert isinstance(algorithm, Algorithm)
    optimizer = algorithm.configure_optimizers()
    algorithm.optimizers = lambda: optimizer  # type: ignore[method-assign,assignment,return-value]
    return algorithm


def weights(algorithm: Algorithm) -> torch.Tensor:
    """All weights of the policy, in one row."""
    return torch.cat([w.detach().flatten() for w in algorithm.policy.lm.parameters()])
