"""DPO by hand: the losses of a pair, whom a pair is made of, and that it shares its context."""

from __future__ import annotations

from math import exp, log
from typing import Any

import pytest
import torch
from datasets import Dataset
from scripted import IMITATION, Stage, ready, stage
from toys import LOOP, episode, scored
from trl.data_utils import is_conversational

from amend.algo.dpo import DPO
from amend.batch import collate
from amend.types import Scored

KNOBS = {
    **LOOP, **IMITATION, "turns": 1, "num_iterations": 1, "group_size": 8, "loss_type": "sigmoid", "beta": 0.5,
    "rpo_alpha": 0.0,
    "pairs": "attempts", "max_per_problem": 9,
}  # fmt: skip


def says(prompt: str, sample: int, turn: int) -> str:
    """First attempts 0 to 4 are right and 5 to 7 wrong, each in words of its own; so are corrections."""
    return f"{turn}{sample}\\boxed{{{prompt[10] if sample < 5 else 'x'}}}"


def learner(made: Stage, **knobs: Any) -> Any:
    return ready(DPO(*made.handed, **{**KNOBS, **knobs}))


def played(problems: int = 1, **knobs: Any) -> tuple[Any, Stage]:
    house = stage(says)
    made = learner(house, accumulate_data=True, **knobs)
    made.training_step(house.problems(problems), 0)
    return made, house


@pytest.mark.parametrize(
    ("form", "beta", "nll", "loss", "margin"),
    [
        ("sigmoid", 0.25, 0.0, log(1 + exp(-1.0)), 1.0),
        ("hinge", 0.125, 0.0, 0.5, 0.5),
        ("hinge", 0.5, 0.0, 0.0, 2.0),
        ("ipo", 0.5, 0.0, 2.25, 1.25),  # h by the token: 3 / 2 - (-1) / 1, which is 1.5 more than 1 / (2 beta)
        ("sigmoid", 0.25, 1.0, log(1 + exp(-1.0)) + 2.5, 1.0),  # and 5 / 2, the mean over the right reply
        ("ipo", 0.5, 0.5, 2.25 + 1.25, 1.25),
    ],
)
def test_the_loss_of_a_pair(form: str, beta: float, nll: float, loss: float, margin: float) -> None:
    """The right reply has two tokens, log pi -5 and log pi_ref -8; the wrong one, one: -2 and -1. h = 3 - (-1) = 4."""
    logp = torch.tensor([[0.0, -2.0, -3.0], [0.0, -2.0, 0.0]])
    ref_logp = torch.tensor([[0.0, -4.0, -4.0], [0.0, -1.0, 0.0]])
    loss_mask = torch.tensor([[False, True, True], [False, True, False]])
    found, apart = learner(stage(says), loss_type=form, beta=beta, rpo_alpha=nll).preference(logp, ref_logp, loss_mask)
    assert found.tolist() == pytest.approx([loss])
    assert apart.tolist() == pytest.approx([margin])


def test_at_the_reference_nothing_is_told_apart() -> None:
    """h = 0 in every pair: log 2, no margin; and the gradient is not zero."""
    made, _ = played()
    batch = collate(made.kept)
    made.reset_to_base()
    found = made.accumulate(batch, made.advantages(batch))
    assert found == {
        "loss": pytest.approx(log(2), abs=1e-6),
        "rewards/margins": pytest.approx(0, abs=1e-6),
        "rewards/accuracies": 0.0,
    }
    assert max(float(w.grad.abs().max()) for w in made.policy.lm.parameters()) > 0


def test_a_fit_tells_its_pairs_apart() -> None:
    made, _ = played(lr=0.01, update_epochs=8)
    assert made.record["rewards/accuracies"] > 0.5 and made.record["rewards/margins"] > 0


def test_pairs_are_right_and_wrong_side_by_side_and_none_twice() -> None:
    """Five right and three wrong attempts: three pairs."""
    made, _ = played()
    kept = made.kept
    assert [one.reward for one in kept] == [(1.0,), (0.0,)] * 3
    assert len({one.episode.sample for one in kept}) == 6
    assert [one.episode.turns[0].temperature for one in kept] == [1.0] * 6


def test_pairs_share_their_context() -> None:
    """Problems do not mix: the prompts of a pair are the same tokens."""
    made, _ = played(problems=3)
    assert len(made.kept) == 18
    for right, wrong in zip(made.kept[::2], made.kept[1::2], strict=True):
        assert right.episode.problem == wrong.episode.problem
        assert right.episode.turns[0].prompt == wrong.episode.turns[0].prompt


@pytest.mark.parametrize(("cap", "count"), [(1, 1), (2, 2), (9, 3)])
def test_the_cap_is_a_contexts(cap: int, count: int) -> None:
    assert len(played(problems=2, max_per_problem=cap)[0].kept) == 2 * 2 * count


def test_lots_are_drawn_by_seed() -> None:
    house = stage(says)
    made = learner(house)
    scored_ = made.reward(made.episodes(house.problems(1)))

    def lots(seed: int) -> list[Scored]:
        made.seed = seed
        return made.select(scored_)

    assert lots(0) == lots(0) and any(lots(0) != lots(seed) for seed in range(1, 8))


def test_corrections_share_one_first_attempt() -> None:
    """One first attempt a problem, eight corrections of it; only the correction is learnt."""
    made, house = played(problems=2, pairs="corrections", turns=2)
    assert sum("Again." not in heard for heard in house.engine.heard) == 2
    assert sum("Again." in heard for heard in house.engine.heard) == 16
    reply = house.policy.renderer.render_complete_reply("10\\boxed{0}")
    assert made.counters["sampled_tokens"] == 18 * len(reply)
    for right, wrong in zip(made.kept[::2], made.kept[1::2], strict=True):
        assert right.episode.turns[0].reply == wrong.episode.turns[0].reply
        assert right.episode.turns[1].prompt == wrong.episode.turns[1].prompt
        assert (right.reward[1], wrong.reward[1]) == (1.0, 0.0)
        assert [turn.is_trained for turn in right.episode.turns] == [False, True]
    assert len({one.episode.sample for one in made.kept[:6]}) == 6


@pytest.mark.parametrize("epoch", [0, 1])
def test_pairs_stay_together_in_minibatches(epoch: int) -> None:
    """Nine pairs in four parts: 3, 2, 2 and 2 of them, each right one just before its wrong one; each once."""
    made, _ = played(problems=3)
    parts = [part.tolist() for part in made.minibatches(collate(made.kept), 4, epoch)]
    assert [len(part) for part in parts] == [6, 4, 4, 4]
    rows = [row for part in parts for row in part]
    assert sorted(rows) == list(range(18))
    assert all(i % 2 == 0 and j == i + 1 for i, j in zip(rows[::2], rows[1::2], strict=True))


@pytest.mark.parametrize(("updates", "steps"), [(2, 2), (9, 3)])
def test_a_pass_takes_so_many_steps_and_no_more_than_there_are_pairs(updates: int, steps: int) -> None:
    assert played(num_minibatches=updates)[0].counters["optimizer_steps"] == steps


def test_the_data_is_trls_preference_format() -> None:
    made, _ = played(problems=2, pairs="corrections", turns=2)
    rows = Dataset.from_list(made.data)
    assert rows.column_names == ["prompt", "chosen", "rejected"] and is_conversational(rows[0])
    assert len(rows) == 6 and made.data_name == "pairs"
    right, wrong = made.kept[:2]
    assert rows[0] == {
        "prompt": [
            {"role": "user", "content": "Say 0"},
            {"role": "assistant", "content": "00\\boxed{0}"},
            {"role": "user", "content": "Again."},
        ],
        "chosen": [{"role": "assistant", "content": right.episode.turns[1].reply.text}],
        "rejected": [{"role": "assistant", "content": wrong.episode.turns[1].reply.text}],
    }


def test_without_a_wrong_one_there_is_no_pair() -> None:
    made = learner(stage(says))
    assert made.select([scored(episode([([2], [5])], sample=i), (1.0,)) for i in range(3)]) == []


def test_the_reference_is_always_read() -> None:
    assert learner(stage(says)).loss_uses_reference()
