"""Imitation: when a fit happens, what it begins with, what it leaves as data, and what a checkpoint keeps."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from scripted import IMITATION, Stage, always, ready, stage, weights
from toys import LOOP, drift, episode, scored

from amend.algo.imitation import Imitation, at_temperature_one, group_by_problem, last_turn_only
from amend.batch import collate
from amend.ops.logprobs import TokenLogprobs
from amend.types import Budget, Scored, Turn


class Everything(Imitation):
    """Keeps every episode."""

    def select(self, scored: list[Scored]) -> list[Scored]:
        return scored


def learner(made: Stage, **knobs: Any) -> Any:
    return ready(Everything(*made.handed, **{**LOOP, **IMITATION, "lr": 0.1, "group_size": 1, **knobs}))


def rounds(made: Any, house: Stage, count: int) -> list[dict[str, Any]]:
    """Some rounds over the same two problems; what each recorded."""
    records = []
    for _ in range(count):
        made.training_step(house.problems(2), 0)
        records.append(made.record)
    return records


def test_cross_entropy_is_one_mean_over_all_tokens() -> None:
    """Three tokens of log-probability -2 and one of -4 make 10 / 4, whatever was paid."""
    one, two = episode([([2], [5, 6, 4])]), episode([([2], [4])], name="q")
    batch = collate([scored(one, (1.0,)), scored(two, (0.0,))])
    made = learner(stage(always("0")))
    logp = torch.tensor([[0.0, -2.0, -2.0, -2.0], [0.0, -4.0, 0.0, 0.0]])
    assert made.advantages(batch).tolist() == [[0, 1, 1, 1], [0, 1, 0, 0]]
    assert made.token_weights(batch).tolist() == [[0, 0.25, 0.25, 0.25], [0, 0.25, 0, 0]]
    loss = made.loss(batch, made.advantages(batch), TokenLogprobs(logp, logp, logp, logp))
    assert float((loss * made.token_weights(batch)).sum()) == 2.5


@pytest.mark.parametrize(
    ("iterations", "fits"), [(1, [5]), (2, [3, 5]), (3, [2, 4, 5]), (5, [1, 2, 3, 4, 5]), (9, [1, 2, 3, 4, 5])]
)
def test_a_fit_ends_each_of_equal_parts_of_the_run(iterations: int, fits: list[int]) -> None:
    """Five rounds: of two parts, the first ends with the round that passes 2.5, of three those passing 5/3 and 10/3."""
    house = stage(always("0"))
    made = learner(house, num_iterations=5, iterations=iterations)
    assert [r["iteration"] for r in rounds(made, house, 5) if "loss" in r] == fits


def test_a_budget_ends_parts_too() -> None:
    """Eight episodes, two a round, in two parts: the second and the fourth round, of a thousand."""
    house = stage(always("0"))
    made = learner(house, num_iterations=1000, iterations=2)
    made.budget = Budget(None, 8)
    assert [r["iteration"] for r in rounds(made, house, 4) if "loss" in r] == [2, 4]


@pytest.mark.parametrize(("union", "kept"), [(False, [2, 4, 2, 4]), (True, [2, 4, 6, 8])])
def test_union_keeps_the_traces_of_earlier_iterations(union: bool, kept: list[int]) -> None:
    house = stage(always("0"))
    assert [r["num_traces"] for r in rounds(learner(house, iterations=2, accumulate_data=union), house, 4)] == kept


def test_from_base_begins_anew_in_weights_and_in_optimizer_state() -> None:
    """The same data fitted twice from the base model gives the same weights; Adam remembers nothing of the first."""
    house = stage(always("0"))
    made = learner(house, iterations=4, update_epochs=3)
    rounds(made, house, 1)
    once = weights(made)
    assert not torch.equal(once, torch.cat([w.flatten() for w in house.policy.reference_lm.parameters()]))
    rounds(made, house, 1)
    assert torch.equal(weights(made), once)


def test_from_base_forgets_where_the_policy_has_been() -> None:
    """Drifted weights and a used optimizer before the fit change nothing."""
    found = []
    for disturbed in (False, True):
        house = stage(always("0"))
        made = learner(house, num_iterations=1)
        if disturbed:
            drift(made.policy)
            optimizer = made.optimizers()
            for weight in made.policy.lm.parameters():
                weight.grad = torch.ones_like(weight)
            optimizer.step()
        rounds(made, house, 1)
        found.append(weights(made))
    assert torch.equal(*found)


def test_from_last_goes_on() -> None:
    house = stage(always("0"))
    made = learner(house, iterations=4, init_from="last")
    rounds(made, house, 1)
    once, steps = weights(made), [int(s["step"]) for s in made.optimizers().state.values()]
    rounds(made, house, 1)
    assert not torch.equal(weights(made), once)
    assert [int(s["step"]) for s in made.optimizers().state.values()] == [2 * s for s in steps]


@pytest.mark.parametrize(("updates", "steps"), [(1, 2), (3, 6), (9, 10)])
def test_a_fit_takes_its_passes_in_so_many_steps_and_no_more_than_there_are_traces(updates: int, steps: int) -> None:
    """Five traces, two passes."""
    house = stage(always("0"))
    made = learner(house, num_iterations=1, num_minibatches=updates, update_epochs=2)
    made.training_step(house.problems(2) + house.problems(3), 0)
    assert made.counters["optimizer_steps"] == steps


def test_the_learning_rate_decays_within_a_fit() -> None:
    """Four steps: 1, 3/4, 1/2 and 1/4 of the first; each fit begins with the whole."""
    house = stage(always("0"))
    made = learner(house, iterations=4, num_minibatches=2, update_epochs=2, lr_scheduler_type="linear")
    seen: list[float] = []
    made.optimizers().register_step_pre_hook(lambda optimizer, *_: seen.append(optimizer.param_groups[0]["lr"]))
    rounds(made, house, 2)
    assert seen == pytest.approx([0.1, 0.075, 0.05, 0.025] * 2)


def test_without_traces_nothing_is_fitted() -> None:
    house = stage(always("0"))
    made = learner(house, iterations=4)
    made.select = lambda scored: []
    before = weights(made)
    assert rounds(made, house, 1)[0]["num_traces"] == 0
    assert made.data == [] and torch.equal(weights(made), before)


def test_data_is_written_in_the_round_that_fits() -> None:
    """One learnt turn: prompt and completion. Two: the messages, of which all of the assistant's are learnt."""
    house = stage(lambda prompt, sample, turn: "01"[turn])
    made = learner(house, iterations=2)
    rounds(made, house, 1)
    assert made.data == []
    rounds(made, house, 1)
    asked, again = {"role": "user", "content": "Say 1"}, {"role": "user", "content": "Again."}
    said = [{"role": "assistant", "content": text} for text in "01"]
    assert len(made.data) == 4
    assert made.data[1] == {"messages": [asked, said[0], again, said[1]]}
    assert made.row(last_turn_only(made.scored[1])) == {"prompt": [asked, said[0], again], "completion": [said[1]]}


def test_a_checkpoint_brings_the_traces_back(tmp_path: Path) -> None:
    """Through a file that may hold plain values only: equal traces, and the same fit after it."""
    house = stage(lambda prompt, sample, turn: "01"[turn])
    made = learner(house, iterations=2, accumulate_data=True)
    rounds(made, house, 1)
    made.kept[0] = last_turn_only(made.kept[0])
    checkpoint: dict[str, Any] = {}
    made.on_save_checkpoint(checkpoint)
    file = io.BytesIO()
    torch.save(checkpoint, file)
    file.seek(0)
    other = learner(house, iterations=2, accumulate_data=True)
    other.on_load_checkpoint(torch.load(file, weights_only=True))
    assert other.kept == made.kept and len(made.kept) == 2
    assert (other.iteration, other.counters) == (made.iteration, made.counters)
    after = rounds(made, house, 1)
    weight = weights(made)
    house.policy.lm.load_state_dict(house.policy.reference_lm.state_dict())
    assert rounds(other, house, 1) == after
    assert torch.equal(weights(other), weight)


def test_last_turn_only_makes_context_of_the_others() -> None:
    trace = scored(episode([([5], [6]), ([2], [4])]), (0.0, 1.0))
    cut = last_turn_only(trace)
    assert [turn.is_trained for turn in cut.episode.turns] == [False, True]
    assert [t.prompt for t in cut.episode.turns] == [t.prompt for t in trace.episode.turns]
    assert collate([cut]).loss_mask.tolist() == [[False, False, False, True]]
    assert (cut.reward, cut.episode.sample) == (trace.reward, trace.episode.sample)


def test_at_rest_reads_at_temperature_one_and_keeps_the_rest() -> None:
    one = scored(episode([([5], [6]), ([2], [4])]), (0.0, 1.0))
    warm = tuple(Turn(t.prompt, t.reply, drawn, 0.5) for t, drawn in zip(one.episode.turns, (False, True), strict=True))
    rest = at_temperature_one(Scored(type(one.episode)(one.episode.problem, 3, warm), one.reward, {}))
    assert [t.temperature for t in rest.episode.turns] == [1.0, 1.0]
    assert [t.is_trained for t in rest.episode.turns] == [False, True]
    assert rest.episode.sample == 3


def test_groups_keep_their_order() -> None:
    names = "pqp"
    found = group_by_problem([scored(episode([([5], [6])], name=n, sample=i), (0.0,)) for i, n in enumerate(names)])
    assert {name: [one.episode.sample for one in some] for name, some in found.items()} == {"p": [0, 2], "q": [1]}
