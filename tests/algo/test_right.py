"""What a learner takes for right: the verifier's word, whatever else is paid, and nothing that nobody could judge.

Format pays a wrong reply a little, an outcome model pays every reply something, and an episode whose reward failed
stands at its group's mean. None of these makes a reply right.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scripted import IMITATION, always, ready, stage
from toys import LOOP, SCORE, episode, scored

from amend.algo.dpo import DPO
from amend.algo.expert_iteration import ExpertIteration
from amend.algo.pair_sft import PairSFT
from amend.algo.rcrl import RCRL
from amend.algo.score import SCoRe
from amend.algo.star import STaR
from amend.batch import collate
from amend.exploration.prefill import PartialSolution
from amend.types import Problem, Scored

PAID = [  # the verdict on each of two turns, and what was paid for them
    ({"oracle": (0.0, 1.0), "format": (1.0, 1.0)}, (0.1, 1.1)),
    ({"oracle": (1.0, 0.0), "format": (1.0, 1.0)}, (1.1, 0.1)),
    ({"oracle": (0.0, 0.0), "format": (1.0, 0.0)}, (0.1, 0.0)),
    ({"oracle": (1.0, 1.0), "length": (-0.5, -2.0)}, (0.5, -1.0)),
]
GUESSED = [({"orm": r}, r) for r in ((0.2, 0.8), (0.7, 0.3), (0.4, 0.1), (0.9, 0.6))]  # an outcome model's chances


def made(rows: list[tuple[dict[str, tuple[float, ...]], tuple[float, ...]]], turns: int = 2) -> list[Scored]:
    """The episodes, numbered; with one turn, of their first."""
    return [
        Scored(
            episode([([2], [6 + i]), ([2], [4])][:turns], sample=i),
            reward[:turns],
            {name: part[:turns] for name, part in parts.items()},
            verified=tuple(value > 0.5 for value in parts["oracle"][:turns]) if "oracle" in parts else (),
        )
        for i, (parts, reward) in enumerate(rows)
    ]


def learner(kind: Any, **knobs: Any) -> Any:
    return ready(kind(*stage(always("0")).handed, **{**LOOP, **IMITATION, **knobs}))


def samples(kept: list[Scored]) -> list[int]:
    return [one.episode.sample for one in kept]


@pytest.mark.parametrize("rows", [PAID, GUESSED], ids=["verified", "guessed"])
def test_each_turn_is_right_or_not(rows: list[Any]) -> None:
    assert [one.correct for one in made(rows)] == [(False, True), (True, False), (False, False), (True, True)]


@pytest.mark.parametrize("rows", [PAID, GUESSED], ids=["verified", "guessed"])
def test_who_selects_selects_what_is_right(rows: list[Any]) -> None:
    star = {"keep_correct": False, "rationalise": False, "train_on": "all"}
    assert samples(learner(ExpertIteration, max_per_problem=9).select(made(rows))) == [0, 3]
    assert samples(learner(STaR, **star).select(made(rows))) == [0]
    assert samples(learner(STaR, **{**star, "keep_correct": True}).select(made(rows))) == [0, 3]
    told = learner(RCRL, turns=1, tags="end", balance=False).select(made(rows, turns=1))
    assert samples(told) == [1, 3, 0, 2]
    dpo = learner(DPO, loss_type="sigmoid", beta=0.1, rpo_alpha=0.0, pairs="attempts", max_per_problem=9, turns=1)
    pairs = samples(dpo.select(made(rows, turns=1)))
    assert set(pairs[::2]) == {1, 3} and set(pairs[1::2]) == {0, 2}
    paired = learner(PairSFT, turns=1, keep_correct=False, pairs=9).select(made(rows, turns=1))
    assert len(paired) == 2


def test_scores_stage_two_that_imitates_takes_the_verifiers_word() -> None:
    knobs = {**LOOP, **SCORE, "stage1_iterations": 0, "stage2": "star", "beta1": 0.0}
    algorithm = ready(SCoRe(*stage(always("0")).handed, **knobs))
    seen: list[Any] = []
    algorithm.optimize = lambda batch, *_: seen.append(algorithm.advantage(batch)) or {}
    failed = replace(made(PAID)[0], failed=True)
    algorithm.update([*made(PAID), failed])
    assert seen[0][:, 1].tolist() == [1.0, 0.0, 0.0, 1.0]


def test_what_could_not_be_judged_is_neither_right_nor_wrong() -> None:
    """It stands at its group's mean, 0.75, in every part."""
    failed = replace(scored(episode([([2], [6])], sample=7), (0.75,)), parts={"oracle": (0.75,)}, failed=True)
    algorithm = learner(ExpertIteration, max_per_problem=9, turns=1, accumulate_data=True, num_iterations=2)
    algorithm.update([*made(PAID, turns=1), failed])
    assert samples(algorithm.kept) == [1, 3]


def test_pairs_share_their_context_to_the_token() -> None:
    """What was begun for the policy is not held against what it began itself."""
    begun = [scored(episode([([2, 3, 3], [6])], sample=i), (float(i < 2),)) for i in range(3)]
    fresh = [scored(episode([([2], [6])], sample=i), (0.0,)) for i in range(3, 6)]
    dpo = learner(DPO, loss_type="sigmoid", beta=0.1, rpo_alpha=0.0, pairs="attempts", max_per_problem=9, turns=1)
    kept = dpo.select(begun + fresh)
    assert samples(kept)[1:] == [2] and collate(kept).tokens.shape[0] == 2


def test_backtracking_counts_what_is_right() -> None:
    start = PartialSolution(threshold=0.5, window=2, mix=0.0)
    problem = Problem("p", "q", "a", {"solution": "one\ntwo\nthree", "subject": "S"})
    for i in range(2):
        start(problem, i, 2)
    told = [replace(one, episode=replace(one.episode, problem=problem)) for one in made(PAID, turns=1)[::2]]
    start.observe([replace(one, episode=replace(one.episode, sample=i)) for i, one in enumerate(told)])
    assert start.state_dict() == {"left": {}, "recent": {"S": [False, False]}}  # paid 0.1 each, and wrong
