"""What every algorithm must do, found by its file in conf/algo: learn, repeat itself, and not mind how it is cut.

A new algorithm is tested here by being there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from composed import IMITATING, ONLINE, PROMPTING, TRAINED
from learners import accuracy, build, flipped, gradient, one_step, run, stages, weights
from toys import drift

from amend.algo.base import Algorithm
from amend.algo.dpo import DPO
from amend.algo.imitation import Imitation
from amend.batch import ALONG_TIME, Batch
from amend.errors import UserError
from amend.training.problem_dataset import ProblemDataset
from amend.types import Episode, SamplingParams, Scored

LEARNT = 0.9  # share of right answers, from about 1 in 16 before
ORDERLY = sorted({*ONLINE, "expert_iteration", "sft", "star"})  # the others draw lots among a problem's episodes


def much_longer(one: Scored) -> Scored:
    """The same conversation after eighty tokens more, about another problem, and handed in to its last token: with
    nothing in it to be credited it teaches nothing, and whatever stands beside it has padding."""
    before = one.episode.turns[0].prompt[:1] * 80
    turns = tuple(replace(turn, prompt=before + turn.prompt, is_trained=False) for turn in one.episode.turns)
    return Scored(replace(one.episode, problem=replace(one.episode.problem, id="long"), turns=turns), one.reward, {})


def beside(algorithm: Algorithm, scored: list[Scored]) -> list[Scored]:
    """The round with a much longer row in what is learnt from it; of what is learnt in pairs, a pair of them."""
    if not isinstance(algorithm, Imitation):
        return [*scored, much_longer(scored[0])]
    select, rows = algorithm.select, 2 if isinstance(algorithm, DPO) else 1
    algorithm.select = lambda scored: [*(kept := select(scored)), *[much_longer(kept[0])] * rows]  # type: ignore[method-assign]
    return scored


def widened(batch: Batch) -> Batch:
    """Eighty columns of padding more, with tokens in them that are not to be read."""
    nothing = {"tokens": 2, "turn": -1, "temperature": 1, "ref_logp": torch.nan}
    wide = {f: torch.nn.functional.pad(getattr(batch, f), (0, 80), value=nothing.get(f, 0)) for f in ALONG_TIME}
    return replace(batch, **wide, extras={f: torch.nn.functional.pad(x, (0, 80)) for f, x in batch.extras.items()})


def padded(algorithm: Algorithm) -> None:
    """From now on it takes credit and weights over a batch that is wider than its longest row."""
    learn, weights_of = algorithm.optimize, algorithm.token_weights
    algorithm.optimize = lambda batch, *sampling_params: learn(widened(batch), *sampling_params)  # type: ignore[method-assign]
    algorithm.token_weights = lambda batch: weights_of(widened(batch))[:, : batch.tokens.shape[1]]  # type: ignore[method-assign]


@pytest.mark.parametrize("name", ONLINE)
def test_it_learns_to_repeat_a_symbol(name: str) -> None:
    algorithm, task = build(name, "algo.num_iterations=300", "algo.lr_scheduler_type=none")
    before = accuracy(algorithm, task)
    for _ in range(30):
        run(algorithm, task, 10)
        if accuracy(algorithm, task) >= LEARNT:
            break
    assert accuracy(algorithm, task) >= LEARNT > before


@pytest.mark.parametrize("name", IMITATING)
def test_it_learns_to_repeat_a_symbol_by_imitation(name: str) -> None:
    """Rounds gathered from a policy that is right by chance, and fitted until the data is learnt: few large rounds, or
    many small ones for those that need more data, or a gentler fit."""
    # D alone has no trace that begins right: what to do after a right first attempt is only in D+.
    more = ["algo.keep_correct=true"] if name == "star" else []
    few = ["algo.num_iterations=3", "algo.groups_per_batch=96", "algo.num_minibatches=5", "algo.lr=0.01"]
    size = (
        few
        if name in ("star", "expert_iteration", "pair_sft")
        else ["algo.num_iterations=60", "algo.num_minibatches=10"]
    )
    algorithm, task = build(name, "algo.update_epochs=20", *size, *more)
    before = accuracy(algorithm, task)
    for _ in range(3):
        run(algorithm, task, algorithm.num_iterations // 3)
        if accuracy(algorithm, task) >= LEARNT:
            break
    assert accuracy(algorithm, task) >= LEARNT > before


def test_star_learns_from_d_alone() -> None:
    """Its own default. What to do after a right first attempt is in no trace of D, so it gets about half of the way
    (0.75 and 0.5 measured with two seeds)."""
    few = ["algo.num_iterations=3", "algo.groups_per_batch=96", "algo.num_minibatches=5", "algo.lr=0.01"]
    algorithm, task = build("star", "algo.update_epochs=20", *few)
    before = accuracy(algorithm, task)
    run(algorithm, task, algorithm.num_iterations)
    assert accuracy(algorithm, task) >= 0.5 > before


@pytest.mark.parametrize("name", PROMPTING)
def test_it_answers_without_a_single_round(name: str) -> None:
    algorithm, task = build(name)
    before = weights(algorithm)
    sampling_params = [SamplingParams(1.0, algorithm.max_tokens)] * algorithm.runner.turns
    episodes = algorithm.generate(task.problems("test"), 2, sampling_params, (0,))
    assert algorithm.num_iterations == 0 and len(episodes) == 2 * len(task.problems("test"))
    assert all(len(e.turns) >= 2 for e in episodes)
    assert torch.equal(before, weights(algorithm))


@pytest.mark.parametrize("name", TRAINED)
def test_same_seed_same_run_other_seed_other_run(name: str) -> None:
    rounds = ["algo.num_iterations=3", *stages(name)]
    (one, task), (two, _), (other, _) = build(name, *rounds), build(name, *rounds), build(name, *rounds, seed=1)
    assert run(one, task, 3) == run(two, task, 3)
    assert torch.equal(weights(one), weights(two))
    run(other, task, 3)
    assert not torch.equal(weights(one), weights(other))


@pytest.mark.parametrize("name", TRAINED)
def test_the_gradient_does_not_depend_on_the_micro_batch_or_on_padding(name: str) -> None:
    """All at once, and so beside a much longer row that teaches nothing; one at a time, without padding; a few at a
    time, of a batch whose credit and weights were taken with more padding than there need be."""
    found = []
    for max_tokens_per_micro_batch in (10**6, 1, 40):
        algorithm, task = build(
            name, *one_step(name), max_tokens_per_micro_batch=max_tokens_per_micro_batch, cold=False
        )
        drift(algorithm.policy, 0.1)  # away from the reference, so that its part of the gradient is there
        if max_tokens_per_micro_batch == 40:
            padded(algorithm)
        found.append(gradient(algorithm, beside(algorithm, flipped(algorithm, task))))
    assert float(found[0].norm()) > 0
    for other in found[1:]:
        assert float((other - found[0]).norm()) < 1e-5 * float(found[0].norm())


@pytest.mark.parametrize("name", ORDERLY)
def test_who_sits_beside_you_does_not_matter(name: str) -> None:
    """The same episodes in another order give the same gradient."""
    algorithm, task = build(name, *one_step(name), cold=False)
    scored = flipped(algorithm, task)
    one = gradient(algorithm, scored)
    again, _ = build(name, *one_step(name), cold=False)
    two = gradient(again, scored[::-1])
    assert float((one - two).norm()) < 1e-5 * float(one.norm())


@pytest.mark.parametrize("name", TRAINED)
def test_a_learning_rate_of_zero_changes_nothing(name: str) -> None:
    algorithm, task = build(name, "algo.lr=0", "algo.num_iterations=2", *stages(name))
    before = weights(algorithm)
    run(algorithm, task, 2)
    assert torch.equal(before, weights(algorithm))


@pytest.mark.parametrize("name", ONLINE)
def test_the_samplers_log_probability_is_the_trainers(name: str) -> None:
    algorithm, task = build(name, "algo.max_tokens=6", "algo.update_epochs=1", "algo.num_minibatches=1", cold=False)
    assert all(record["sampling/logp_difference"] < 1e-5 for record in run(algorithm, task, 3))


@pytest.mark.parametrize("name", ONLINE)
def test_at_any_temperature(name: str) -> None:
    """Law 3: what is trained is the distribution that was sampled from, turn by turn."""
    heat = ["temperature.value=[0.6,1.5]", "algo.max_tokens=6", "algo.update_epochs=1", "algo.num_minibatches=1"]
    algorithm, task = build(name, *heat, cold=False)
    assert all(record["sampling/logp_difference"] < 1e-5 for record in run(algorithm, task, 2))


@pytest.mark.parametrize("name", ONLINE)
def test_an_update_that_is_not_finite_changes_nothing_and_says_so(name: str) -> None:
    algorithm, task = build(name)
    episodes: list[Episode] = algorithm.episodes(next(iter(ProblemDataset(task, algorithm))))
    scored = [Scored(e, (float("nan"),) * len(e.turns), {}) for e in episodes]
    before = weights(algorithm)
    with pytest.raises(UserError, match="not finite"):
        algorithm.update(scored)
    assert torch.equal(before, weights(algorithm))


@pytest.mark.parametrize("name", TRAINED)
def test_a_budget_ends_the_run(name: str) -> None:
    """The share of the run that is over follows whichever ends it first, and counts every token that was drawn."""
    algorithm, task = build(name, "budget.episodes=256", "algo.num_iterations=1000", *stages(name))
    run(algorithm, task, 1)
    played = algorithm.counters["episodes"]
    assert algorithm.progress == pytest.approx(max(1 / 1000, played / 256))
    drawn = sum(len(t.reply.tokens) for s in algorithm.scored for t in s.episode.turns)
    assert algorithm.counters["sampled_tokens"] == (0 if name == "sft" else drawn)


@pytest.mark.parametrize("name", TRAINED)
def test_a_resumed_run_is_the_run(name: str, tmp_path: Path) -> None:
    """Two rounds, a checkpoint through the disk into a new process's objects, two more: as if nothing had happened."""
    levers = [
        "curriculum=plr",
        *([] if name in ("pair_sft", "rcrl") else ["prefill=partial_solution", "prefill.window=4"]),
    ]
    rounds = ["algo.num_iterations=4", *stages(name), *([] if name == "sft" else levers)]
    whole, task = build(name, *rounds)
    run(whole, task, 4)
    first, _ = build(name, *rounds)
    run(first, task, 2)
    checkpoint: dict[str, Any] = {}
    first.on_save_checkpoint(checkpoint)
    optimizer = first.optimizers()
    assert isinstance(optimizer, torch.optim.Optimizer)
    torch.save([checkpoint, first.state_dict(), optimizer.state_dict()], tmp_path / "c")
    second, _ = build(name, *rounds)
    loaded, state, steps = torch.load(tmp_path / "c", weights_only=True)
    second.on_load_checkpoint(loaded)
    second.load_state_dict(state)
    other = second.optimizers()
    assert isinstance(other, torch.optim.Optimizer)
    other.load_state_dict(steps)
    run(second, task, 2)
    assert second.counters == whole.counters and second.record == whole.record
    assert torch.equal(weights(second), weights(whole))


def test_a_new_algorithm_is_a_file_and_a_yaml(tmp_path: Path) -> None:
    """Nothing else is touched: a copy of the project, one file, one YAML, and it trains."""
    root = Path(__file__).parents[2]
    for part in ("src", "conf", "run.py"):
        copy = shutil.copytree if (root / part).is_dir() else shutil.copy
        copy(root / part, tmp_path / part)
    (tmp_path / "src/amend/algo/median.py").write_text(MEDIAN, encoding="utf-8")
    (tmp_path / "conf/algo/median.yaml").write_text(MEDIAN_YAML, encoding="utf-8")
    words = ["algo=median", "scale=smoke", "debug=fast", "logger=none", f"runs_dir={tmp_path / 'runs'}"]
    said = subprocess.run(
        [sys.executable, "run.py", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert said.returncode == 0, said.stderr
    summary = json.loads(next((tmp_path / "runs").rglob("summary.json")).read_text())
    assert summary["algo"] == "median" and summary["cost"]["optimizer_steps"] == 2
    readme = (root / "README.md").read_text(encoding="utf-8")
    assert MEDIAN.strip() in readme and MEDIAN_YAML.strip() in readme  # what a reader is shown is what works


MEDIAN = '''"""REINFORCE against the median of the problem's rewards, which an outlier cannot move."""

import torch
from jaxtyping import Float
from torch import Tensor

from amend.algo.base import Algorithm
from amend.batch import Batch
from amend.ops import policy_loss
from amend.ops.advantages import broadcast_to_tokens
from amend.ops.logprobs import TokenLogprobs


class Median(Algorithm):
    """REINFORCE with the median reward of each problem as the baseline."""

    def advantages(self, batch: Batch) -> Float[Tensor, "b t"]:
        expected = torch.zeros_like(batch.reward)
        for problem in batch.group_id.unique():
            here = batch.group_id == problem
            expected[here] = batch.reward[here].median(dim=0).values
        return broadcast_to_tokens(batch.reward - expected, batch.turn, batch.loss_mask)

    def loss(self, batch: Batch, advantages: Float[Tensor, "b t"], out: TokenLogprobs) -> Float[Tensor, "b t"]:
        return policy_loss.reinforce_loss(out.logp, advantages)
'''
MEDIAN_YAML = """# python run.py algo=median task=math
defaults:
  - /loop/default@_here_
  - _self_

_target_: amend.algo.median.Median
name: median
"""
