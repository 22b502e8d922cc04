"""DPO by hand: the losses of a pair, whom a pair is made of, and that it shares its context."""

from __future__ import annotations

from math import exp, log
from typing import Any

import pytest
import torch

from amend.algo.dpo import DPO
from scripted import IMITATION, Stage, ready, stage
from toys import LOOP

KNOBS = {
    **LOOP, **IMITATION, "turns": 1, "rounds": 1, "samples": 8, "form": "sigmoid", "beta": 0.5, "nll": 0.0,
    "pairs": "attempts", "cap": 9,
}  # fmt: skip


def says(prompt: str, sample: int, turn: int) -> str:
    """First attempts 0 to 4 are right and 5 to 7 wrong, each in words of its own; so are corrections."""
    return f"{turn}{sample}\\boxed{{{prompt[10] if sample < 5 else 'x'}}}"


def learner(made: Stage, **knobs: Any) -> Any:
    return ready(DPO(*made.handed, **{**KNOBS, **knobs}))


def played(problems: int = 1, **knobs: Any) -> tuple[Any, Stage]:
    house = stage(says)
    made = learner(house, union=True, **knobs)
    made.training_step(house.problems(problems), 0)
    return made, house


@pytest.mark.parametrize(
    ("form", "nll", "loss"),
    [
        ("sigmoid", 0.0, log(1 + exp(-1.0))),
        ("hinge", 0.0, 0.0),  # 1 - 1, where it begins to be satisfied
        ("ipo", 0.0, 0.25),  # h = 3 / 2 - (-1) / 1 by the token, less 1
        ("sigmoid", 1.0, log(1 + exp(-1.0)) + 2.5),  # and 5 / 2, the mean over the right reply
        ("ipo", 0.5, 0.25 + 1.25),
    ],
)
def test_the_loss_of_a_pair(form: str, nll: float, loss: float) -> None:
    """The right reply has two tokens, log pi -5 and log pi_ref -8; the wrong one, one: -2 and -1. h = 3 - (-1) = 4.

    beta = 1/4, and so beta h = 1; for ipo beta = 1/2, 1 / (2 beta) = 1, and h is 2.5 of which 1.5 squared is too much:
    there the wrong one is at -1.5, so that h = 1.5 - (-0.5) - ... = 1.5.
    """
    logp = torch.tensor([[0.0, -2.0, -3.0], [0.0, -2.0, 0.0]])
    ref_logp = torch.tensor([[0.0, -4.0, -4.0], [0.0, -1.0, 0.0]])
    sampled = torch.tensor([[False, True, True], [False, True, False]])
    if form == "ipo":
        ref_logp[1, 1] = -2.0  # h = 3 / 2 - 0
    made = learner(stage(says), form=form, nll=nll, beta=0.5 if form == "ipo" else 0.25)
    found, margin = made.preference(logp, ref_logp, sampled)
    assert found.tolist() == pytest.approx([loss])
    assert margin.tolist() == pytest.approx([0.75 if form == "ipo" else 1.0])
