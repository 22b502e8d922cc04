"""Expert iteration by hand: what is right is kept, each solution once, a few of each problem, across iterations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from scripted import IMITATION, Stage, always, ready, stage
from toys import LOOP, episode, scored
from trl.data_utils import is_conversational

from amend.algo.expert_iteration import ExpertIteration
from amend.types import Scored

KNOBS = {**LOOP, **IMITATION, "turns": 1, "max_per_problem": 2, "accumulate_data": True}


def learner(made: Stage, **knobs: Any) -> Any:
    return ready(ExpertIteration(*made.handed, **{**KNOBS, **knobs}))


def traces(rows: Sequence[tuple[str, Sequence[int], float]]) -> list[Scored]:
    """(problem, reply, reward) each, numbered."""
    return [scored(episode([([2], reply)], name, i), (r,)) for i, (name, reply, r) in enumerate(rows)]


def samples(kept: list[Scored]) -> list[int]:
    return [one.episode.sample for one in kept]


def test_only_what_ended_right_is_kept_and_at_temperature_one() -> None:
    made = learner(stage(always("0")))
    assert samples(made.select(traces([("p", [5, 4], 1.0), ("p", [6, 4], 0.0), ("q", [5, 4], 1.0)]))) == [0, 2]
    two_turns = [scored(episode([([2], [5]), ([2], [6])]), r) for r in ((1.0, 0.0), (0.0, 1.0))]
    assert made.select(two_turns) == [two_turns[1]]


def test_duplicates_are_dropped_within_a_problem_only() -> None:
    rows = traces([("p", [5, 4], 1.0), ("p", [5, 4], 1.0), ("q", [5, 4], 1.0), ("p", [6, 4], 1.0), ("p", [6, 4], 1.0)])
    assert samples(learner(stage(always("0"))).kept_of(rows)) == [0, 2, 3]


def test_the_cap_keeps_the_earliest_of_each_problem() -> None:
    rows = traces(
        [("p", [5], 1.0), ("q", [5], 1.0), ("p", [6], 1.0), ("p", [4], 1.0), ("q", [6], 1.0), ("p", [2], 1.0)]
    )
    assert samples(learner(stage(always("0")), max_per_problem=2).kept_of(rows)) == [0, 1, 2, 4]
    assert samples(learner(stage(always("0")), max_per_problem=1).kept_of(rows)) == [0, 1]


def test_another_first_turn_is_another_solution() -> None:
    same, other = episode([([2], [5]), ([2], [6])]), episode([([2], [4]), ([2], [6])])
    kept = learner(stage(always("0"))).kept_of([scored(e, (0.0, 1.0)) for e in (same, other, same)])
    assert [one.episode for one in kept] == [same, other]


def test_union_does_not_collect_the_same_solution_twice() -> None:
    """Rounds say the same over and over: one solution of one problem, however many iterations."""
    house = stage(always("0"))
    made = learner(house, iterations=4)
    for _ in range(4):
        made.training_step(house.problems(2), 0)
        assert made.record["num_traces"] == 1


def test_the_data_is_trls_prompt_completion_format() -> None:
    """Four samples of two problems, of which "0" solves the first and "\\boxed{1}" the second."""
    house = stage(lambda prompt, sample, turn: ("0", "\\boxed{1}")[sample % 2])
    made = learner(house, num_iterations=1)
    made.training_step(house.problems(2), 0)
    rows = Dataset.from_list(made.data)
    assert rows.column_names == ["prompt", "completion"] and is_conversational(rows[0])
    assert rows[:] == {
        "prompt": [[{"role": "user", "content": "Say 0"}], [{"role": "user", "content": "Say 1"}]],
        "completion": [[{"role": "assistant", "content": "0"}], [{"role": "assistant", "content": "\\boxed{1}"}]],
    }
    assert made.data_name == "traces"
