"""SFT by hand: each problem's own solution, every one of its tokens, and nothing sampled."""

from __future__ import annotations

from typing import Any

import pytest
from datasets import Dataset
from scripted import IMITATION, Stage, always, ready, stage
from toys import LOOP
from trl.data_utils import is_conversational

from amend.algo.sft import SFT
from amend.batch import collate
from amend.errors import UserError
from amend.types import Problem

KNOBS = {**LOOP, **IMITATION, "turns": 1, "group_size": 1, "num_iterations": 1}


def learner(made: Stage, **knobs: Any) -> Any:
    return ready(SFT(*made.handed, **{**KNOBS, **knobs}))


def test_the_solution_is_said_as_the_model_would_say_it() -> None:
    """Its tokens and the end token after the opening, all of them learnt."""
    house = stage(always("3"))
    problem = Problem("p", "Say 1", "1", {"solution": "It is 1."})
    (episode,) = learner(house).episodes([problem])
    (turn,) = episode.turns
    assert turn.prompt == house.policy.renderer.encode("<user>Say 1<assistant>")
    assert turn.reply.tokens == house.policy.renderer.encode("It is 1.<end>")
    assert turn.is_trained and turn.temperature == 1.0
    batch = collate(house.reward([episode]))
    assert batch.loss_mask.tolist() == [[False] * len(turn.prompt) + [True] * len(turn.reply.tokens)]


def test_nothing_is_sampled_and_everything_is_kept() -> None:
    house = stage(always("3"))
    made = learner(house)
    made.training_step(house.problems(3), 0)
    assert house.engine.heard == [] and made.counters["sampled_tokens"] == 0
    assert made.record["num_traces"] == 3
    assert made.select(made.scored) == made.scored


def test_the_data_is_trls_prompt_completion_format() -> None:
    house = stage(always("3"))
    made = learner(house)
    made.training_step(house.problems(2), 0)
    rows = Dataset.from_list(made.data)
    assert rows.column_names == ["prompt", "completion"] and is_conversational(rows[0])
    assert rows[1] == {
        "prompt": [{"role": "user", "content": "Say 1"}],
        "completion": [{"role": "assistant", "content": "1"}],
    }


def test_a_problem_without_a_solution_is_named() -> None:
    with pytest.raises(UserError, match="algo=sft: problem p has no solution"):
        learner(stage(always("3"))).episodes([Problem("p", "Say 1", "1")])
