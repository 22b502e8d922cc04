"""Algorithms as configured, on the identity task with a toy policy, ready to take steps without a Trainer."""

from __future__ import annotations

import copy
from typing import Any

import torch

from amend import ranks
from amend.algo.base import Algorithm
from amend.algo.pair_sft import PairSFT
from amend.build import House, Rounds, algorithm_of
from amend.dialogue import SelfCorrect
from amend.reward import Score
from amend.reward.oracle import Oracle
from amend.rollout.local import Local
from amend.rollout.play import Play
from amend.task.identity import Identity
from amend.types import Sampling, Scored
from composed import PROMPTING, composed
from toys import policy

CHARACTERS = "Say 0123tr"


def build(
    name: str, *overrides: str, seed: int = 0, micro_tokens: int = 4096, cold: bool = True, tuning: Any = None
) -> tuple[Algorithm, Identity]:
    """``algo=name`` as configured, on the identity task, with a toy policy; ready to take steps without a Trainer."""
    torch.manual_seed(0)
    loop = ["algo.problems=8", "algo.lr=0.003", *([] if name == "sft" else ["algo.samples=16"])]
    cfg = composed(
        f"algo={name}", "task=identity", f"seed={seed}", "logger=none", "algo.max_tokens=1",
        *([] if name in PROMPTING else loop), *overrides,
    )  # fmt: skip
    characters = CHARACTERS + "[GODBA]" * (name == "rcrl")  # the tags have to be sayable
    made = policy(characters="".join(dict.fromkeys(characters)), micro_tokens=micro_tokens, width=32, tuning=tuning)
    if cold:  # near uniform: at first every token is about as likely as any other
        with torch.no_grad():
            for weights in made.lm.parameters():
                weights.mul_(0.25 if weights.dim() > 1 else 1.0)
        made.freeze_reference()
    task = Identity(symbols=4, test=8)
    engine = Local(made, batch=256, compact=0.25)
    dialogue = SelfCorrect(turns=2, instruction="try")
    play = Play(engine, engine.frozen(), made.renderer, task, dialogue)
    score = Score({"oracle": Oracle(task, weight=1.0)}, max_failures=0.0)
    house = House(task, dialogue, made, play, score)
    algorithm = algorithm_of(cfg, house)
    optimizer = algorithm.configure_optimizers()
    algorithm.optimizers = lambda: optimizer  # type: ignore[method-assign,assignment,return-value]
    return algorithm, task


def run(algorithm: Algorithm, task: Identity, rounds: int) -> list[dict[str, Any]]:
    """Some rounds; what each recorded."""
    records = []
    for _ in range(rounds):
        algorithm.training_step(next(iter(Rounds(task, algorithm))), 0)
        records.append(copy.deepcopy(algorithm.record))
    return records


def accuracy(algorithm: Algorithm, task: Identity) -> float:
    """Greedy accuracy at the last turn that the algorithm trains."""
    algorithm.play.sync()
    how = [Sampling(0.0, 1)] * max(
        algorithm.turns, 2 if isinstance(algorithm, PairSFT) else 1
    )  # turn 2 is what it learns
    episodes = algorithm.attempt(task.problems("test"), 1, how, (1,))
    return sum(task.check(e.problem, e.turns[-1].reply.text).correct for e in episodes) / len(episodes)


def weights(algorithm: Algorithm) -> torch.Tensor:
    return torch.cat([w.detach().flatten() for w in algorithm.policy.lm.parameters()])


def gradient(algorithm: Algorithm, scored: list[Scored]) -> torch.Tensor:
    """The gradient of one update on these episodes, before it is clipped."""
    kept: dict[str, torch.Tensor] = {}
    original = torch.nn.utils.clip_grad_norm_

    def keep(parameters: Any, norm: float) -> torch.Tensor:
        parameters = list(parameters)
        kept["grad"] = torch.cat([ranks.whole(w.grad).flatten().clone() for w in parameters])
        return original(parameters, norm)

    torch.nn.utils.clip_grad_norm_ = keep  # type: ignore[assignment]
    try:
        algorithm.improve(scored)
    finally:
        torch.nn.utils.clip_grad_norm_ = original
    return kept["grad"]
