"""What every algorithm must do, found by its file in conf/algo: learn, repeat itself, and not mind how it is cut.

A new algorithm is tested here by being there.
"""

from __future__ import annotations

import pytest
import torch

from amend.batch import collate
from amend.build import Rounds
from amend.errors import UserError
from amend.types import Episode, Scored
from composed import ALGORITHMS
from learners import accuracy, build, gradient, run, weights
from toys import drift

LEARNT = 0.9  # share of right answers, from about 1 in 16 before


@pytest.mark.parametrize("name", ALGORITHMS)
def test_it_learns_to_repeat_a_symbol(name: str) -> None:
    algorithm, task = build(name, "algo.rounds=300", "algo.decay=none")
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
    algorithm, task = build(name)
    episodes: list[Episode] = algorithm.episodes(next(iter(Rounds(task, algorithm))))
    scored = [Scored(e, (float("nan"),) * len(e.turns), {}) for e in episodes]
    before = weights(algorithm)
    with pytest.raises(UserError, match="not finite"):
        algorithm.improve(collate(scored))
    assert torch.equal(before, weights(algorithm))
