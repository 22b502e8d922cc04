"""Algorithms as configured, on the identity task with a toy policy, ready to take steps without a Trainer."""

from __future__ import annotations

import copy
from typing import Any

import torch
from composed import IMITATING, PROMPTING, composed
from toys import policy

from amend.algo.base import Algorithm
from amend.algo.pair_sft import PairSFT
from amend.components import Components, build_algorithm
from amend.dialogue import SelfCorrect
from amend.distributed import collectives
from amend.reward import CompositeReward
from amend.reward.oracle import Oracle
from amend.rollout.local import Local
from amend.rollout.runner import RolloutRunner
from amend.task.identity import Identity
from amend.training.problem_dataset import ProblemDataset
from amend.types import SamplingParams, Scored

CHARACTERS = "Say 0123tr"


def build(
    name: str,
    *overrides: str,
    seed: int = 0,
    max_tokens_per_micro_batch: int = 4096,
    cold: bool = True,
    tuning: Any = None,
) -> tuple[Algorithm, Identity]:
    """``algo=name`` as configured, on the identity task, with a toy policy; ready to take steps without a Trainer."""
    torch.manual_seed(0)
    loop = ["algo.groups_per_batch=8", "algo.lr=0.003", *([] if name == "sft" else ["algo.group_size=16"])]
    cfg = composed(
        f"algo={name}", "task=identity", f"seed={seed}", "logger=none", "algo.max_tokens=1",
        *([] if name in PROMPTING else loop), *overrides,
    )  # fmt: skip
    characters = CHARACTERS + "[GODBA]" * (name == "rcrl")  # the tags have to be sayable
    made = policy(
        characters="".join(dict.fromkeys(characters)),
        max_tokens_per_micro_batch=max_tokens_per_micro_batch,
        width=32,
        tuning=tuning,
    )
    if cold:  # near uniform: at first every token is about as likely as any other
        with torch.no_grad():
            for weights in made.lm.parameters():
                weights.mul_(0.25 if weights.dim() > 1 else 1.0)
        made.freeze_reference()
    task = Identity(symbols=4, test=8)
    engine = Local(made, max_batch_size=256, compaction_threshold=0.25)
    dialogue = SelfCorrect(turns=2, instruction="try")
    play = RolloutRunner(engine, engine.reference_engine(), made.renderer, task, dialogue)
    score = CompositeReward({"oracle": Oracle(task, weight=1.0)}, max_failures=0.0)
    house = Components(task, dialogue, made, play, score)
    algorithm = build_algorithm(cfg, house)
    if isinstance(algorithm, Algorithm):  # a prompting method has no optimizer
        optimizer = algorithm.configure_optimizers()
        algorithm.optimizers = lambda: optimizer  # type: ignore[method-assign,assignment,return-value]
    return algorithm, task


def run(algorithm: Algorithm, task: Identity, rounds: int) -> list[dict[str, Any]]:
    """Some rounds; what each recorded."""
    records = []
    for _ in range(rounds):
        algorithm.training_step(next(iter(ProblemDataset(task, algorithm))), 0)
        records.append(copy.deepcopy(algorithm.record))
    return records


def accuracy(algorithm: Algorithm, task: Identity) -> float:
    """Greedy accuracy at the last turn that the algorithm trains."""
    algorithm.runner.sync_weights()
    sampling_params = [SamplingParams(0.0, 1)] * max(
        algorithm.turns, 2 if isinstance(algorithm, PairSFT) else 1
    )  # turn 2 is what it learns
    episodes = algorithm.generate(task.problems("test"), 1, sampling_params, (1,))
    return sum(task.grade(e.problem, e.turns[-1].reply.text).correct for e in episodes) / len(episodes)


def weights(algorithm: Algorithm) -> torch.Tensor:
    return torch.cat([w.detach().flatten() for w in algorithm.policy.lm.parameters()])


def gradient(algorithm: Algorithm, scored: list[Scored]) -> torch.Tensor:
    """The gradient of one update on these episodes, before it is clipped."""
    kept: dict[str, torch.Tensor] = {}
    original = torch.nn.utils.clip_grad_norm_

    def keep(parameters: Any, norm: float) -> torch.Tensor:
        parameters = list(parameters)
        kept["grad"] = torch.cat([collectives.full_tensor(w.grad).flatten().clone() for w in parameters])
        return original(parameters, norm)

    torch.nn.utils.clip_grad_norm_ = keep  # type: ignore[assignment]
    try:
        algorithm.update(scored)
    finally:
        torch.nn.utils.clip_grad_norm_ = original
    return kept["grad"]


ONE_STEP = ["algo.num_iterations=1", "algo.update_epochs=1", "algo.num_minibatches=1", "algo.max_tokens=6"]


def one_step(name: str) -> list[str]:
    """A run of one round that makes one update."""
    cap = (
        ["algo.max_per_problem=1000"] if name == "expert_iteration" else []
    )  # else the earliest are kept, and order matters
    return [*ONE_STEP, *(["algo.iterations=1"] if name in IMITATING else []), *cap, *stages(name)]


def stages(name: str) -> list[str]:
    return ["algo.stage1_iterations=0"] if name == "score" else []


def flipped(algorithm: Algorithm, task: Identity) -> list[Scored]:
    """A round's episodes: of each three one was right throughout, one came right at last, one is as it was."""
    scored = algorithm.reward(algorithm.episodes(next(iter(ProblemDataset(task, algorithm)))))
    kinds = [lambda k: (1.0,) * k, lambda k: (0.0,) * (k - 1) + (1.0,)]
    return [s if i % 3 == 2 else Scored(s.episode, kinds[i % 3](len(s.reward)), {}) for i, s in enumerate(scored)]
