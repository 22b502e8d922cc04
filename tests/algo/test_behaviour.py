"""What every algorithm must do, found by its file in conf/algo: learn, repeat itself, and not mind how it is cut.

A new algorithm is tested here by being there.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from amend.algo.base import Algorithm
from amend.batch import collate
from amend.build import Rounds, algorithm_of
from amend.dialogue import SelfCorrect
from amend.reward import Score
from amend.reward.oracle import Oracle
from amend.rollout.local import Local
from amend.rollout.play import Play
from amend.task.identity import Identity
from amend.types import Episode, Sampling, Scored
from composed import ALGORITHMS, composed
from toys import drift, policy

CHARACTERS = "Say 0123try"
LEARNT = 0.9  # share of right answers, from about 1 in 16 before


def build(
    name: str, *overrides: str, seed: int = 0, micro_tokens: int = 4096, cold: bool = True
) -> tuple[Algorithm, Identity]:
    """``algo=name`` as configured, on the identity task, with a toy policy; ready to take steps without a Trainer."""
    torch.manual_seed(0)
    cfg = composed(
        f"algo={name}", "task=identity", f"seed={seed}", "logger=none", "algo.max_tokens=1", "algo.problems=8",
        "algo.samples=16", "algo.lr=0.003", *overrides,
    )  # fmt: skip
    made = policy(characters=CHARACTERS, micro_tokens=micro_tokens, width=32)
    if cold:  # near uniform: at first every token is about as likely as any other
        with torch.no_grad():
            for weights in made.lm.parameters():
                weights.mul_(0.25 if weights.dim() > 1 else 1.0)
        made.freeze_reference()
    task = Identity(symbols=4, test=8)
    engine = Local(made, batch=256, compact=0.25)
    play = Play(engine, engine.frozen(), made.renderer, task, SelfCorrect(turns=2, instruction="try"))
    score = Score({"oracle": Oracle(task, weight=1.0)}, max_failures=0.0)

    class House:
        pass

    house: Any = House()
    house.policy, house.play, house.score, house.task = made, play, score, task
    algorithm = algorithm_of(cfg, house)
    optimizer = algorithm.configure_optimizers()
    algorithm.optimizers = lambda: optimizer  # type: ignore[method-assign,assignment,return-value]
    algorithm.manual_backward = lambda loss: loss.backward()  # type: ignore[method-assign,assignment]
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
    episodes = algorithm.play(task.problems("test"), 1, algorithm.turns, Sampling(0.0, 1), (1,))
    return sum(task.check(e.problem, e.turns[-1].reply.text).correct for e in episodes) / len(episodes)


def weights(algorithm: Algorithm) -> torch.Tensor:
    return torch.cat([w.detach().flatten() for w in algorithm.policy.lm.parameters()])


@pytest.mark.parametrize("name", ALGORITHMS)
def test_it_learns_to_repeat_a_symbol(name: str) -> None:
    algorithm, task = build(name)
    before = accuracy(algorithm, task)
    for _ in range(30):
        run(algorithm, task, 10)
        if accuracy(algorithm, task) >= LEARNT:
            break
    assert accuracy(algorithm, task) >= LEARNT > before


@pytest.mark.parametrize("name", ALGORITHMS)
def test_same_seed_same_run_other_seed_other_run(name: str) -> None:
    (one, task), (two, _), (other, _) = build(name), build(name), build(name, seed=1)
    assert run(one, task, 3) == run(two, task, 3)
    assert torch.equal(weights(one), weights(two))
    run(other, task, 3)
    assert not torch.equal(weights(one), weights(other))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_gradient_does_not_depend_on_the_micro_batch_or_on_padding(name: str) -> None:
    """All at once, one episode at a time, and beside a much longer row whose reward teaches nothing."""
    found = []
    for micro_tokens in (10**6, 1, 40):
        algorithm, task = build(name, "algo.max_tokens=6", micro_tokens=micro_tokens, cold=False)
        drift(algorithm.policy, 0.1)  # away from the reference, so that its part of the gradient is there
        scored = algorithm.score(algorithm.episodes(next(iter(Rounds(task, algorithm)))))
        scored = [s if i % 3 else Scored(s.episode, (1.0,) * len(s.reward), s.parts) for i, s in enumerate(scored)]
        grads = gradient(algorithm, scored)
        found.append(grads)
    for other in found[1:]:
        assert float((other - found[0]).norm()) < 1e-5 * float(found[0].norm())


def gradient(algorithm: Algorithm, scored: list[Scored]) -> torch.Tensor:
    """The gradient of one update on these episodes, before it is clipped."""
    kept: dict[str, torch.Tensor] = {}
    original = torch.nn.utils.clip_grad_norm_

    def keep(parameters: Any, norm: float) -> torch.Tensor:
        kept["grad"] = torch.cat([w.grad.flatten().clone() for w in algorithm.policy.lm.parameters()])
        return original(algorithm.policy.lm.parameters(), norm)

    torch.nn.utils.clip_grad_norm_ = keep  # type: ignore[assignment]
    try:
        algorithm.improve(collate(scored))
    finally:
        torch.nn.utils.clip_grad_norm_ = original
    return kept["grad"]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_who_sits_beside_you_does_not_matter(name: str) -> None:
    """The same episodes in another order give the same gradient."""
    algorithm, task = build(name, "algo.max_tokens=6", cold=False)
    scored = algorithm.score(algorithm.episodes(next(iter(Rounds(task, algorithm)))))
    scored = [s if i % 3 else Scored(s.episode, (1.0,) * len(s.reward), s.parts) for i, s in enumerate(scored)]
    one = gradient(algorithm, scored)
    again, _ = build(name, "algo.max_tokens=6", cold=False)
    two = gradient(again, scored[::-1])
    assert float((one - two).norm()) < 1e-5 * float(one.norm())


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_learning_rate_of_zero_changes_nothing(name: str) -> None:
    algorithm, task = build(name, "algo.lr=0")
    before = weights(algorithm)
    run(algorithm, task, 2)
    assert torch.equal(before, weights(algorithm))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_samplers_log_probability_is_the_trainers(name: str) -> None:
    algorithm, task = build(name, "algo.max_tokens=6", cold=False)
    assert all(record["gap"] < 1e-5 for record in run(algorithm, task, 3))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_update_that_is_not_finite_changes_nothing_and_says_so(name: str) -> None:
    from amend.errors import UserError

    algorithm, task = build(name)
    episodes: list[Episode] = algorithm.episodes(next(iter(Rounds(task, algorithm))))
    scored = [Scored(e, (float("nan"),) * len(e.turns), {}) for e in episodes]
    before = weights(algorithm)
    with pytest.raises(UserError, match="not finite"):
        algorithm.improve(collate(scored))
    assert torch.equal(before, weights(algorithm))
