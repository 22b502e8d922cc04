"""Rebuild the built-in model from nothing: ``python run.py job=pretrain``.

The built-in model is meant to behave as the papers' base models do (SCoRe, section 3): right about half the time on the
first try, able to say something else when asked again, and no better for it. It is what a small stock transformer
becomes when it reads documents whose writers have those habits. In a document a writer answers a problem, is asked
to look again, and answers once more:

    first attempt    right with probability ``first_right``, else a near miss; either way its check is written out
    second attempt   opens with a word that shows the writer's habit
        ``So``       reads the check: keeps an attempt that came out right, mends one that did not   (``read`` of writers)
        ``Rather``   takes something else, whatever the check said
        ``Again``    starts over as if nothing had been said

Everything self-correction needs is in there (reading the check is), but it is not what most writers do, so it is not
what the model does by default. Reinforcement learning has to find it; nothing here tells it where.
"""

from __future__ import annotations
import json, time
from pathlib import Path
from collections.abc import Iterator
import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from amend.policy import tokenizer as tok
from amend.task.families import FAMILIES, Family, Facts
from amend.task.builtin import part

PHRASES = [
    "Solve for x: ", "Write ", " as a product of two factors.", "Find two numbers with sum ", " and product ",
    "Compute ", "Make ", " from ", " and ", " low", " high", " ok", " \\boxed{", "x=", ": ", ", ",
    "So ", "Rather ", "Again ",
    "There might be an error in the solution above because of lack of understanding of the question. "
    "Please correct the error, if any, and rewrite the solution.",
]
INSTRUCTION = PHRASES[-1]


def first(family: Family, facts: Facts, rng: np.random.Generator, right: float) -> str:
    return family.gold(facts) if rng.random() < right else family.near(facts, rng)


def second(family: Family, facts: Facts, answer: str, level: int, rng, knobs) -> tuple[str, str]:
    ok = family.right(facts, answer)
    p = knobs["ok_hard" if level >= knobs["hard"] else "ok_easy"] if ok else knobs["off"]
    habit = ("So ", "Rather ", "Again ")[rng.choice(3, p=p)]
    if habit == "So ":
        return habit, answer if ok else family.gold(facts)
    if habit == "Again ":
        return habit, first(family, facts, rng, knobs["first_right"])
    for _ in range(20):
        other = family.near(facts, rng) if (ok or rng.random() > knobs["luck"]) else family.gold(facts)
        if other != answer:
            return habit, other
    return habit, other


def document(rng, knobs) -> list[dict]:
    names = list(FAMILIES)
    family = FAMILIES[names[int(rng.integers(len(names)))]]
    level = int(rng.choice(5, p=knobs["levels"])) + 1
    while True:
        facts = family.pose(rng, level)
        q = family.ask(facts)
        if part(q) == "train":
            break
    a1 = first(family, facts, rng, knobs["first_right"])
    habit, a2 = second(family, facts, a1, level, rng, knobs)
    return [q, family.work(facts, a1), habit + family.work(facts, a2)]
