"""Two processes that share a round are one process: half the work each, the same gradient, the same run, one voice.

Each algorithm is found by its file. The processes are this very file, run as a program; they speak over gloo, and leave
what they computed in a folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from composed import TRAINED, composed
from learners import build, flipped, gradient, one_step, run, weights
from torch import Tensor, distributed
from toys import drift

from amend.algo.base import Algorithm
from amend.distributed import collectives
from amend.errors import UserError
from amend.policy.tuning import Lora
from amend.reward import CompositeReward
from amend.reward.oracle import Oracle
from amend.task.identity import Identity
from amend.training.problem_dataset import ProblemDataset
from amend.training.trainer import fit
from amend.types import Episode, SamplingParams

PROCESSES = 2
VARIANTS = {  # knobs that weigh tokens, or look at the whole minibatch, in another way
    "grpo, mean over tokens": ("grpo", "algo.loss_agg_mode=token_mean"),
    "grpo, a fixed length": (
        "grpo",
        "algo.loss_agg_mode=seq_mean_token_sum_norm",
        "algo.remove_constant_reward_groups=true",
    ),
    "score, Stage I": ("score", "algo.stage1_iterations=1"),
    "score, k1 in the reward": ("score", "algo.kl=k1_in_reward", "algo.baseline=batch"),
    "dpo, ipo": ("dpo", "algo.loss_type=ipo", "algo.rpo_alpha=1"),
    "grpo, entropy": ("grpo", "entropy=clip_cov", "entropy.share=0.2", "entropy.low=-10", "entropy.high=10"),
}
DIVIDED: dict[str, tuple[str, ...]] = {
    "a loss of pairs": ("dpo",),
    "a restart": ("expert_iteration",),
    "a value head": ("ppo",),
    "a reference": ("score",),
    "a low-rank update": ("score", "tuning=lora"),
}
RESUMED = ("a value head", "a low-rank update")
LEARNERS: dict[str, tuple[str, ...]] = {**{name: (name,) for name in TRAINED}, **VARIANTS}


def step(name: str) -> tuple[Tensor, int]:
    """The gradient of one update, and how many sampled tokens this process read for it."""
    algo, *knobs = LEARNERS[name]
    algorithm, task = build(
        algo, *one_step(algo), "algo.groups_per_batch=5", *knobs, max_tokens_per_micro_batch=300, cold=False
    )
    drift(algorithm.policy, 0.1)  # away from the reference, so that its part of the gradient is there
    scored, read = flipped(algorithm, task), 0

    def count(policy: torch.nn.Module, arguments: tuple[Tensor, ...]) -> None:
        nonlocal read
        read += int(arguments[1].sum()) if torch.is_grad_enabled() else 0

    algorithm.policy.register_forward_pre_hook(count)
    return gradient(algorithm, scored), read


def parted(name: str, max_tokens_per_micro_batch: int) -> tuple[Algorithm, Identity]:
    """A learner whose weights lie divided among the processes, if there are several."""
    algo, *knobs = DIVIDED[name]
    low = Lora(rank=4, alpha=8.0, targets=["all"]) if "tuning=lora" in knobs else None
    few = [*one_step(algo), "algo.groups_per_batch=5", *knobs]
    algorithm, task = build(algo, *few, max_tokens_per_micro_batch=max_tokens_per_micro_batch, cold=False, tuning=low)
    if low is None:  # an update is nothing at first, whatever is drawn
        drift(algorithm.policy, 0.1)
    if collectives.world_size() > 1:
        algorithm.policy.shard(torch.device("cpu"))
        algorithm.configure_model()
        optimizer = algorithm.configure_optimizers()
        algorithm.optimizers = lambda: optimizer  # type: ignore[method-assign,assignment,return-value]
        assert all(collectives.is_sharded(weights) for weights in algorithm.parameters())
    return algorithm, task


def divided_steps(name: str) -> list[tuple[Tensor, list[Any]]]:
    """The gradients of a round's update, and with a low-rank update, which only then has left the reference, of the
    next; with the replies they came from."""
    (algorithm, task), found = parted(name, 300), []
    for _ in range(1 + bool(algorithm.policy.adapter)):
        scored = flipped(algorithm, task)
        found.append((gradient(algorithm, scored), [[t.reply.tokens for t in s.episode.turns] for s in scored]))
        algorithm.runner.sync_weights()
    return found


def lone() -> list[list[int]]:
    """Lengths of the replies of pairs of conversations, which two processes draw one each."""
    algorithm, task = parted("a reference", 4096)
    how, asked = [SamplingParams(1.0, 12)] * 2, task.problems("test")[:1]
    played = [algorithm.runner(asked, 2, how, (seed,)) for seed in range(6)]
    return [[len(e.turns[k].reply.tokens) for e in pair] for pair in played for k in range(2)]


def resumed(name: str, folder: Path) -> list[dict[str, Tensor]]:
    """What a run of two rounds leaves, in this process's parts; what it leaves where it is resumed after the first; and
    where it is resumed when all rounds are over, and only the evaluation was not."""
    cfg = composed("trainer=fsdp", f"trainer.devices={PROCESSES}", "trainer.accelerator=cpu")
    left = []
    for checkpoint in (None, folder / "1", folder / "2"):
        algorithm, task = parted(name, 4096)
        algorithm.num_iterations = 2
        del algorithm.optimizers  # the trainer's own, from here
        made: Any = SimpleNamespace(task=task)
        fit(cfg, made, algorithm, [Saver(folder)], checkpoint)  # type: ignore[arg-type]
        assert algorithm.iteration == 2
        left.append({key: value.to_local() for key, value in algorithm.state_dict().items()})
    return left


class Saver(pl.Callback):
    """Saves after every round."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_end(self, trainer: pl.Trainer, learner: Any, *rest: Any) -> None:
        trainer.save_checkpoint(self.folder / str(learner.iteration))


def rounds() -> tuple[Tensor, list[dict[str, Any]], dict[str, Any]]:
    """Rounds of both stages of SCoRe, beta2 following what the updates measure, problems what was solved: the weights,
    the records, and what the next checkpoint would remember."""
    knobs = [
        "algo.num_iterations=4",
        "algo.stage1_iterations=2",
        "algo.num_minibatches=2",
        "algo.max_tokens=3",
        "algo.adaptive_beta2=true",
        "algo.group_size=6",
    ]
    algorithm, task = build(
        "score", *knobs, "algo.adaptive_beta2=true", "curriculum=plr", max_tokens_per_micro_batch=100, cold=False
    )
    drift(
        algorithm.policy, 0.1
    )  # at the reference the first gradient is partly rounding, which Adam makes a whole step
    records = run(algorithm, task, 4)
    kept: dict[str, Any] = {}
    algorithm.on_save_checkpoint(kept)
    return weights(algorithm), records, kept["amend"]


class Choosy(Oracle):
    """Fails on every seventh problem, on which there are two episodes; and counts what it is asked."""

    asked = 0

    def __call__(self, episodes: Any) -> Any:
        self.asked += len(episodes)
        if any(e.problem.id.endswith("6") for e in episodes):
            raise ValueError("a seven")
        return super().__call__(episodes)


class Company(Oracle):
    """Pays an episode by how many of its problem are judged beside it."""

    def __call__(self, episodes: Any) -> Any:
        names = [e.problem.id for e in episodes]
        return np.array([[float(names.count(name))] for name in names])


def judged() -> dict[str, Any]:
    """Rewards of episodes of which some cannot be judged."""
    algorithm, task = build("grpo", "algo.group_size=2", "algo.groups_per_batch=8", cold=False)
    part = Choosy(task, weight=1.0)
    score, few = (
        CompositeReward({"choosy": part}, max_failures=0.5),
        CompositeReward({"choosy": part}, max_failures=0.0),
    )
    episodes: list[Episode] = algorithm.episodes(next(iter(ProblemDataset(task, algorithm))))
    renamed = [replace(e, problem=replace(e.problem, id=f"p{i // 2}")) for i, e in enumerate(episodes)]
    rewards = [s.reward for s in score(renamed)]
    beside = CompositeReward({"company": Company(task, weight=1.0)}, max_failures=0.0)(renamed[:10])  # of five problems
    asked = part.asked
    try:
        few(renamed)
    except UserError as error:
        found = {"rewards": rewards, "reward_errors": score.failures, "asked": asked, "refused": str(error)}
        return {**found, "beside": [s.reward for s in beside]}
    return {}


def primitives() -> dict[str, Any]:
    """What ranks.py says, of numbers that show which process they came from."""
    me = collectives.rank()
    alone = torch.nn.Parameter(torch.zeros(2)) if me else torch.nn.Parameter(torch.ones(2))
    nobodys, both = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    alone.grad = torch.ones(2) if me else None
    both.grad = torch.full((1,), float(me + 1))
    collectives.all_reduce_gradients([alone, nobodys, both])
    try:
        raised = str(collectives.map_sharded([0, 1], lambda mine: refuse(mine[0])))
    except UserError as error:
        raised = str(error)
    return {
        "shared": collectives.map_sharded(list(range(7)), lambda mine: [(x, me) for x in mine]),
        "few": collectives.map_sharded(["a"], lambda mine: [x.upper() for x in mine]),
        "none": collectives.map_sharded([], lambda mine: list(mine)),
        "raised": raised,
        "dealt": [
            (rows.tolist(), counts)
            for rows, counts in collectives.shard_batches(torch.arange(7), lambda hand: hand.split(1))
        ],
        "one": [
            (rows.tolist(), counts)
            for rows, counts in collectives.shard_batches(torch.arange(1), lambda hand: hand.split(4))
        ],
        "totals": collectives.all_reduce_dict({"both": 1.0 + me, f"only{me}": 5.0}),
        "any": (collectives.all_reduce_any(me == 1), collectives.all_reduce_any(False)),
        "first": collectives.run_on_rank_zero(lambda: f"said by {me}"),
        "grads": [alone.grad.tolist() if alone.grad is not None else None, nobodys.grad, both.grad.tolist()],
    }


def refuse(item: int) -> list[int]:
    if item == 1:
        raise UserError("not that one")
    return [item]


# together and alone --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes found."""
    folder = tmp_path_factory.mktemp("together")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen([sys.executable, __file__, str(rank), str(folder)], env=environment, stderr=subprocess.PIPE)
        for rank in range(PROCESSES)
    ]
    said = [one.communicate(timeout=600)[1].decode() for one in started]
    assert [one.returncode for one in started] == [0] * PROCESSES, said
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(PROCESSES)]


@pytest.mark.parametrize("name", LEARNERS)
def test_two_shares_of_a_batch_have_the_gradient_of_the_whole(name: str, together: list[dict[str, Any]]) -> None:
    alone, whole = step(name)
    (one, first), (two, second) = (found[name] for found in together)
    assert torch.equal(one, two)
    assert float(alone.norm()) > 0
    assert float((one - alone).norm()) < 1e-6 * float(alone.norm())
    assert min(first, second) > whole / 3  # each read about half; one may have read an episode more, to keep step
    assert whole <= first + second <= whole + 3 * 12


@pytest.mark.parametrize("name", DIVIDED)
def test_divided_weights_have_the_replies_and_the_gradient_of_whole_ones(
    name: str, together: list[dict[str, Any]]
) -> None:
    for alone, one, two in zip(divided_steps(name), *(found[name] for found in together), strict=True):
        assert torch.equal(one[0], two[0]) and one[1] == two[1] == alone[1]
        assert float((one[0] - alone[0]).norm()) < 1e-5 * float(alone[0].norm()) > 0


def test_who_has_ended_keeps_step_with_who_draws_on(together: list[dict[str, Any]]) -> None:
    """And does not change what either says. A process that stopped at its own last token would leave the other to wait
    for its part of the weights for ever."""
    lengths = lone()
    assert lengths == together[0]["lone"] == together[1]["lone"]
    assert any(one < other for one, other in lengths) and any(one > other for one, other in lengths)


@pytest.mark.parametrize("name", RESUMED)
def test_what_was_saved_in_parts_is_gone_on_with_bit_for_bit(name: str, together: list[dict[str, Any]]) -> None:
    for found in together:
        through, *others = found[f"resumed {name}"]
        for left in others:
            assert left.keys() == through.keys() and all(torch.equal(left[key], through[key]) for key in through)


def test_two_processes_make_the_run_of_one(together: list[dict[str, Any]]) -> None:
    """Down to what is measured, which beta2 follows, and what the curriculum saw; both have the very same weights."""
    (one, records, kept), (two, others, _) = (found["num_iterations"] for found in together)
    assert torch.equal(one, two) and records == others
    alone, wanted, remembered = rounds()
    assert float((one - alone).norm()) < 1e-5 * float(alone.norm())
    assert [r["stage"] for r in wanted] == ["I", "I", "II", "II"]
    for got, want in zip(records, wanted, strict=True):
        assert got.pop("stage") == want.pop("stage")
        assert got == pytest.approx(want, rel=1e-3, abs=1e-5)
    assert kept["explored"] == remembered["explored"] and kept["counters"] == remembered["counters"]
    assert kept["beta2_now"] == pytest.approx(remembered["beta2_now"], rel=1e-4)


def test_rewards_are_judged_in_shares_and_what_fails_fails_for_all(together: list[dict[str, Any]]) -> None:
    alone = judged()
    one, two = (found["judged"] for found in together)
    assert one["rewards"] == two["rewards"] == alone["rewards"]
    assert one["reward_errors"] == two["reward_errors"] == alone["reward_errors"] == {"choosy": 2}
    assert one["refused"] == two["refused"] == alone["refused"]
    assert one["beside"] == two["beside"] == [(2.0,)] * 10  # a problem's episodes are never parted
    assert one["asked"] < alone["asked"]


def test_what_is_shared_comes_back_whole_and_in_order(together: list[dict[str, Any]]) -> None:
    one, two = (found["primitives"] for found in together)
    assert one["shared"] == two["shared"] == [(0, 0), (1, 0), (2, 0), (3, 0), (4, 1), (5, 1), (6, 1)]
    assert one["few"] == two["few"] == ["A"] and one["none"] == []
    assert one["raised"] == two["raised"] == "not that one"
    assert one["totals"] == two["totals"] == {"both": 3.0, "only0": 5.0, "only1": 5.0}
    assert one["any"] == two["any"] == (True, False)
    assert one["first"] == two["first"] == "said by 0"
    assert one["grads"] == two["grads"] == [[1.0, 1.0], None, [3.0]]


def test_hands_are_dealt_alike_and_keep_step(together: list[dict[str, Any]]) -> None:
    one, two = (found["primitives"] for found in together)
    assert one["dealt"] == [([0], 1.0), ([1], 1.0), ([2], 1.0), ([3], 1.0)]
    assert two["dealt"] == [([4], 1.0), ([5], 1.0), ([6], 1.0), ([6], 0.0)]
    assert one["one"] == [([0], 1.0)] and two["one"] == [([0], 0.0)]


def test_one_process_is_given_back_what_it_gives() -> None:
    found = primitives()
    assert collectives.world_size() == 1 and collectives.is_rank_zero()
    assert found["shared"] == [(i, 0) for i in range(7)] and found["few"] == ["A"]
    assert found["dealt"] == [([i], 1.0) for i in range(7)]
    assert found["totals"] == {"both": 1.0, "only0": 5.0} and found["any"] == (False, False)
    assert found["grads"] == [None, None, [1.0]]


def work(rank: int, folder: Path) -> None:
    """One of the processes."""
    torch.set_num_threads(1)
    meeting = f"file://{folder / 'meeting'}"
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=PROCESSES)
    found: dict[str, Any] = {name: step(name) for name in LEARNERS}
    found |= {name: divided_steps(name) for name in DIVIDED} | {"lone": lone()}
    os.environ |= {"LOCAL_RANK": str(rank), "WORLD_SIZE": str(PROCESSES), "MASTER_ADDR": "", "MASTER_PORT": "0"}
    found |= {f"resumed {name}": resumed(name, folder / name) for name in RESUMED}
    found |= {"num_iterations": rounds(), "judged": judged(), "primitives": primitives()}
    torch.save(found, folder / f"{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    work(int(sys.argv[1]), Path(sys.argv[2]))
