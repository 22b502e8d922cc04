"""Algorithms that write down what they do: right, deterministic, and noised exactly as said."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from composed import composed
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import ready

from amend.batch import collate
from amend.components import build_algorithm, build_components
from amend.errors import UserError
from amend.task.algorithmic import Algorithmic, format_question
from amend.task.base import Task
from amend.task.dataset.execution_traces import LONGEST, OPERATIONS, Trace, execute
from amend.task.dataset.splits import part
from amend.task.dataset.trace_noise import add_noise

CLEAN: dict[str, Any] = {
    "operations": list(OPERATIONS), "digits": 3, "sampling": "length", "items": 5, "form": "trace", "doc_noise": 1.0,
    "char_noise": 0.0, "line_noise": 0.0, "replacement": "uniform", "dynamic_noise": 0.0, "dynamic_doc": 1.0,
    "seed": 0, "train": 120, "validation": 5, "test": 15,
}  # fmt: skip


def task(**changed: Any) -> Algorithmic:
    return Algorithmic(**{**CLEAN, **changed})


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# Traces ---------------------------------------------------------------------------------------------------------------

NATURAL = st.integers(0, 10**9)
FEW = settings(max_examples=40)


@FEW
@given(x=NATURAL, y=NATURAL)
def test_every_operation_on_two_numbers_comes_to_what_python_says(x: int, y: int) -> None:
    low, high, one = min(x, y), max(x, y), max(y, 1)
    for name, operands, right in [
        ("add", (x, y), x + y), ("sub", (high, low), high - low), ("mul", (x, y), x * y), ("div", (x, one), x // one),
        ("mod", (x, one), x % one), ("gcd", (x, one), math.gcd(x, one)),
    ]:  # fmt: skip
        assert execute(name, operands, 0.0, rng())[1] == " ".join(str(right)), name


@FEW
@given(st.lists(NATURAL, min_size=1, max_size=8))
def test_sort_and_median(numbers: list[int]) -> None:
    assert execute("sort", numbers, 0.0, rng())[1] == " , ".join(" ".join(str(n)) for n in sorted(numbers))
    middle = math.floor(statistics.median_low(numbers) + statistics.median_high(numbers)) // 2
    assert execute("median", numbers, 0.0, rng())[1] == " ".join(str(middle))


@pytest.mark.parametrize(
    ("name", "operands", "lines"),
    [
        ("add", (47, 38), ["7 + 8 + 0 = 1 5", "4 + 3 + 1 = 8"]),
        ("sub", (52, 38), ["1 2 - 8 - 0 = 4", "5 - 3 - 1 = 1"]),
        ("mul", (12, 30), ["1 2 * 0 = 0 ; 0 + = 0", "1 2 * 3 0 = 3 6 0 ; 0 + = 3 6 0"]),
        ("div", (47, 3), ["4 / 3 = 1 ; 1", "1 7 / 3 = 5 ; 2"]),
        ("gcd", (12, 18), ["1 2 mod 1 8 = 1 2", "1 8 mod 1 2 = 6", "1 2 mod 6 = 0"]),
        ("sort", (31, 2, 14), ["2 | 3 1 , 1 4", "1 4 | 3 1", "3 1 |"]),
        ("median", (9, 1, 4, 6), ["1 | 9 , 4 , 6", "4 | 9 , 6", "6 | 9", "9 |", "4 + 6 = 1 0", "1 0 / 2 = 5"]),
    ],
)
def test_traces_by_hand(name: str, operands: tuple[int, ...], lines: list[str]) -> None:
    assert execute(name, operands, 0.0, rng())[0] == lines


# Dynamic noise --------------------------------------------------------------------------------------------------------


def test_every_digit_from_the_first_non_zero_on_goes_wrong_to_0_to_8_with_its_probability() -> None:
    trace, made = Trace(0.3, rng()), []
    for _ in range(2000):
        made.append(str(trace.number(555)).zfill(3))
    places = [Counter(number[i] for number in made) for i in range(3)]
    for digits in places:
        assert "9" not in digits
        kept = digits["5"] / 2000
        assert kept == pytest.approx(0.7 + 0.3 / 9, abs=4 * 0.5 / math.sqrt(2000))
        assert digits["0"] / 2000 == pytest.approx(0.3 / 9, abs=4 * 0.2 / math.sqrt(2000))
    assert {Trace(1.0, rng(i)).number(0) for i in range(20)} == {0}
    assert Trace(0.0, rng()).number(123) == 123


def test_errors_propagate_through_the_trace() -> None:
    """A wrong carry or digit is computed with: the line after it, and the result, follow from the wrong number."""
    changed = [execute("add", (999_999, 888_888), 0.1, rng(i)) for i in range(60)]
    assert np.mean([result != " ".join("1888887") for _, result in changed]) > 0.6
    follows = 0
    for lines, _ in changed:
        for before, after in pairwise(lines):
            total = before.split(" = ")[1].replace(" ", "")
            carry = after.split(" + ")[2].split(" = ")[0]
            follows += int(carry) == int(total) // 10
    assert follows / sum(len(lines) - 1 for lines, _ in changed) > 0.85  # but for carries that went wrong themselves


@FEW
@given(st.sampled_from(sorted(OPERATIONS)), st.lists(st.integers(1, 10**6), min_size=2, max_size=2), st.integers(0, 99))
def test_executions_end_however_wrong(name: str, operands: list[int], seed: int) -> None:
    lines, result = execute(name, sorted(operands, reverse=True), 0.9, rng(seed))
    assert len(lines) <= LONGEST and set(result) <= set("0123456789 ,")


def test_a_trace_of_300_lines_is_cut_and_comes_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(t: Trace, x: int, y: int) -> int:
        while True:
            t.write("again")

    monkeypatch.setitem(OPERATIONS, "gcd", endless)
    assert execute("gcd", (1, 1), 0.0, rng()) == (["again"] * 300, "0")


# Static noise ---------------------------------------------------------------------------------------------------------


def test_characters_are_replaced_uniformly_on_the_answer_too_and_stay_the_mode() -> None:
    text = "\n".join(["7 + 7 = 7"] * 3 + ["7 7 7"])
    made = [add_noise(text, rng(i), doc=1.0, char=0.7, line=0.0, replacement="uniform") for i in range(1000)]
    last = Counter(c for one in made for c in one.split("\n")[-1] if c != " ")
    assert last["7"] / 3000 == pytest.approx(0.37, abs=0.04)
    assert all(last[c] / 3000 == pytest.approx(0.07, abs=0.025) for c in "012345689")
    assert all(one.replace(" ", "").count("+") == 3 for one in made)


def test_biased_replacement_makes_a_wrong_digit_the_mode() -> None:
    made = [add_noise("7 9", rng(i), doc=1.0, char=0.7, line=0.0, replacement="biased") for i in range(1000)]
    assert Counter(one[0] for one in made).keys() == {"7", "8"} and Counter(one[2] for one in made).keys() == {"9", "0"}
    assert Counter(one[0] for one in made)["8"] / 1000 == pytest.approx(0.7, abs=0.06)


def test_lines_are_deleted_but_never_the_last_and_documents_are_gated() -> None:
    text = "a\nb\nc\nd\nanswer"
    made = [add_noise(text, rng(i), doc=0.5, char=0.0, line=0.4, replacement="uniform") for i in range(2000)]
    assert all(one.endswith("answer") for one in made)
    touched = 0.5 * (1 - 0.6**4)
    assert np.mean([one != text for one in made]) == pytest.approx(touched, abs=0.05)
    assert np.mean([len(one.split("\n")) - 1 for one in made]) == pytest.approx(4 - 0.5 * 0.4 * 4, abs=0.12)
    assert add_noise(text, rng(), doc=0.0, char=1.0, line=1.0, replacement="biased") == text
    assert add_noise(text, rng(), doc=1.0, char=0.0, line=1.0, replacement="biased") == "answer"


# The task -------------------------------------------------------------------------------------------------------------


def test_it_is_a_task_whose_splits_share_no_question_and_whose_solutions_are_right() -> None:
    made = task()
    assert isinstance(made, Task)
    splits = {split: list(made.problems(split)) for split in ("train", "val", "test")}
    assert {split: len(problems) for split, problems in splits.items()} == {"train": 120, "val": 5, "test": 15}
    for split, problems in splits.items():
        assert all(part(problem.question) == split for problem in problems)
        assert all(made.grade(problem, problem.meta["solution"]).correct for problem in problems)
        assert all(made.grade(problem, f"so \\boxed{{{problem.target}}}").correct for problem in problems)
        assert all(made.problem_from_row({"id": problem.id}) == problem for problem in problems[:5])
    assert {problem.meta["subject"] for problem in splits["train"]} == set(OPERATIONS)
    for bad in ({}, {"id": "algorithmic-test-x"}):
        with pytest.raises(UserError, match="'id'"):
            made.problem_from_row(bad)


def test_the_same_seed_is_the_same_task_and_neighbouring_seeds_share_nothing() -> None:
    def questions(seed: int) -> list[str]:
        return [problem.question for problem in task(seed=seed, digits=6).problems("train")]

    assert questions(0) == questions(0)
    assert not set(questions(0)) & set(questions(1))
    noisy = [list(task(char_noise=0.5, dynamic_noise=0.2).problems("train")) for _ in range(2)]
    assert noisy[0] == noisy[1]


NOISES: list[dict[str, Any]] = [
    {"char_noise": 0.5}, {"line_noise": 0.5}, {"dynamic_noise": 0.3}, {"char_noise": 0.5, "replacement": "biased"},
    {"char_noise": 0.5, "doc_noise": 0.5}, {"dynamic_noise": 0.3, "dynamic_doc": 0.5},
]  # fmt: skip


@pytest.mark.parametrize("noise", NOISES, ids=str)
def test_only_training_solutions_are_noised(noise: dict[str, Any]) -> None:
    clean, made = task(), task(**noise)
    for split in ("val", "test"):
        assert clean.problems(split) == made.problems(split)
    pairs = list(zip(clean.problems("train"), made.problems("train"), strict=True))
    assert all((a.question, a.target) == (b.question, b.target) for a, b in pairs)
    share = np.mean([a.meta["solution"] != b.meta["solution"] for a, b in pairs])
    assert 0.2 < share < 0.65 if {"doc_noise", "dynamic_doc"} & set(noise) else share > 0.55


@pytest.mark.parametrize("noise", [{"char_noise": 0.5, "doc_noise": 0.0}, {"dynamic_noise": 0.5, "dynamic_doc": 0.0}])
def test_noise_in_no_document_is_none(noise: dict[str, Any]) -> None:
    """The clean end of the axis, which a sweep over the share of documents begins with."""
    assert task(**noise).problems("train")[:50] == task().problems("train")[:50]


def test_the_answer_alone() -> None:
    made = task(form="answer")
    assert all(problem.meta["solution"] == problem.target for problem in made.problems("test"))


def test_sampling_by_length_and_by_magnitude() -> None:
    short, long = (
        np.mean([p.meta["level"] < 4 for p in task(digits=5, sampling=how, operations=["add"]).problems("train")])
        for how in ("length", "magnitude")
    )
    assert short > 0.25 and long < 0.05
    assert max(p.question.count(",") for p in task(items=9, operations=["sort"]).problems("train")) == 8


@pytest.mark.parametrize(
    "changed",
    [
        {"operations": []}, {"operations": ["pow"]}, {"digits": 13}, {"items": 21},
        {"form": "answer", "line_noise": 0.1}, {"doc_noise": 0.5}, {"replacement": "biased"}, {"dynamic_doc": 0.5},
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_or_would_do_nothing_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"task\..*allowed|task\..*ask for fewer"):
        task(**{"operations": ["gcd"], **changed})


def test_more_questions_than_there_are_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amend.task.dataset.lazy.PATIENCE", 5)
    with pytest.raises(
        UserError, match=r"task.test=60: .* have only \d+ different questions in that split; ask for fewer"
    ):
        task(operations=["gcd"], digits=1, test=60)


MADE = task(test=3, validation=1)


@given(st.text() | st.lists(st.sampled_from(["1", " ", ",", "\n", "-", "\\boxed{", "}", "²"])).map("".join))
def test_checking_is_total(reply: str) -> None:
    verdict = MADE.grade(MADE.problems("test")[0], reply)
    assert verdict.correct == (verdict.reason == "right")


def test_questions_by_hand() -> None:
    assert format_question("add", (47, 12)) == "4 7 + 1 2 ="
    assert format_question("sort", (47, 1, 2)) == "sort ( 4 7 , 1 , 2 ) ="


def test_supervised_fine_tuning_learns_from_the_solutions() -> None:
    """The command's own configuration, made small: the traces become likelier."""
    overrides = [
        "algo=sft",
        "task=algorithmic",
        "dialogue=single",
        "algo.turns=1",
        "scale=smoke",
        "task.operations=[add]",
    ]
    more = [
        "task.digits=1",
        "task.test=8",
        "task.validation=1",
        "eval.problems=8",
        "algo.update_epochs=2",
        "algo.lr=1e-3",
    ]
    cfg = composed(*overrides, *more)
    made = build_components(cfg)
    learner = ready(build_algorithm(cfg, made))
    problems = [made.task.problems("train")[i] for i in range(24)]
    episodes = learner.episodes(problems)
    assert episodes[0].turns[0].reply.text == problems[0].meta["solution"]
    batch = collate(learner.reward(episodes))

    def likelihood() -> float:
        with torch.no_grad():
            return float(made.policy.logprobs(batch.tokens, batch.loss_mask, 1.0)[batch.loss_mask].mean())

    before = likelihood()
    learner.fit(learner.reward(episodes))
    assert likelihood() > before + 0.2
