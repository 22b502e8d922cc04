"""Tasks made of a user's own rows: multiple choice, yes or no, and any set by a field map."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amend.errors import UserError
from amend.task.base import Task
from amend.task.custom import Custom
from amend.task.grading.text_answers import extract_text_answer
from amend.task.multiple_choice import Choice
from amend.task.strategyqa import StrategyQA
from amend.task.tabular import Tabular
from amend.types import Problem

SPLITS = {"configuration": None, "train_split": "train", "test_split": "test"}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def choice(source: Path, **changed: Any) -> Choice:
    fields = {"question": "question", "options": "choices", "answer": "answerKey", "validation": 2, "test": 4}
    return Choice(source=str(source), **{**SPLITS, **fields, **changed})


def strategyqa(source: Path, **changed: Any) -> StrategyQA:
    fields = {"question": "question", "answer": "answer", "facts": "facts", "validation": 2, "test": 4}
    return StrategyQA(source=str(source), **{**SPLITS, **fields, **changed})


def custom(source: Path, **changed: Any) -> Custom:
    fields = {"question": "question", "answer": "answer", "solution": None, "level": None, "subject": None}
    more = {"prompt": "Q: {question}", "kind": "math", "validation": 2, "test": 4}
    return Custom(source=str(source), **{**SPLITS, **fields, **more, **changed})


def arc(i: int) -> dict[str, Any]:
    texts = ["a stone", "a leaf", f"number {i}"]
    return {"question": f"Which? {i}", "choices": {"text": texts, "label": ["A", "B", "C"]}, "answerKey": "ABC"[i % 3]}


def yes_no(i: int) -> dict[str, Any]:
    return {"question": f"Is {i} even?", "answer": i % 2 == 0, "facts": [f"{i} is a number.", "Half are even."]}


def sums(i: int) -> dict[str, Any]:
    return {"question": f"{i} + 1", "answer": i + 1, "level": "Level 2", "how": f"count on from {i}"}


KINDS: list[tuple[Callable[..., Tabular], Callable[[int], dict[str, Any]]]] = [
    (choice, arc), (strategyqa, yes_no), (custom, sums),
]  # fmt: skip
each_kind = pytest.mark.parametrize(("make", "row"), KINDS, ids=["choice", "strategyqa", "custom"])


@each_kind
def test_one_file_is_divided_and_every_gold_answer_is_right(make: Any, row: Any, tmp_path: Path) -> None:
    file = write(tmp_path / "mine.jsonl", [row(i) for i in range(20)])
    task = make(file)
    assert isinstance(task, Task)
    splits = {split: task.problems(split) for split in ("train", "val", "test")}
    assert {split: len(problems) for split, problems in splits.items()} == {"train": 14, "val": 2, "test": 4}
    everything = [problem for problems in splits.values() for problem in problems]
    assert len({problem.question for problem in everything}) == len({problem.id for problem in everything}) == 20
    assert [p.id for p in make(file).problems("test")] == [p.id for p in splits["test"]]
    assert task.provenance["all"]["rows"] == 20 and len(str(task.provenance["all"]["sha256"])) == 64
    assert all(verdict.correct for verdict in task.grade_many([(p, f"\\boxed{{{p.target}}}") for p in everything]))
    assert task.problem_from_row({"id": everything[0].id}) is everything[0]
    assert (
        task.problem_from_row({**row(3), "gold": task.problem_from_row(row(3)).target}).target
        == task.problem_from_row(row(3)).target
    )


@each_kind
def test_a_folder_and_a_hub_id_have_two_splits(
    make: Any, row: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "learn.jsonl", [row(i) for i in range(10)])
    write(tmp_path / "examine.jsonl", [row(i) for i in range(8, 14)])
    task = make(tmp_path, train_split="learn", test_split="examine", test=100)
    assert [len(task.problems(split)) for split in ("train", "val", "test")] == [6, 2, 6]
    assert task.provenance["train"]["also in test"] == 2  # rows 8 and 9 stand in both files
    with pytest.raises(UserError, match=r"no train problems; looked for train.jsonl"):
        make(tmp_path)

    def load(source: str, *part: str, split: str) -> list[dict[str, Any]]:
        assert (source, part) == ("owner/set", ("fine",))
        return [row(i) for i in ({"train": range(10), "test": range(20, 23)}[split])]

    monkeypatch.setattr("datasets.load_dataset", load)
    task = make(Path("owner/set"), configuration="fine")
    assert [len(task.problems(split)) for split in ("train", "val", "test")] == [8, 2, 3]


@each_kind
def test_impossible_sizes_are_refused(make: Any, row: Any, tmp_path: Path) -> None:
    file = write(tmp_path / "mine.jsonl", [row(i) for i in range(6)])
    with pytest.raises(UserError, match=r"task.validation=2, task.test=6: .* has 0 training and 6 test problems"):
        make(file, test=6)


@pytest.mark.parametrize(
    ("make", "good", "bad", "what"),
    [
        (choice, arc, {"answerKey": None}, "field 'answerKey' is missing"),
        (choice, arc, {"answerKey": "D"}, "field 'answerKey' is \"D\"; allowed: one of A, B, C, or an option"),
        (choice, arc, {"choices": ["one"]}, "field 'choices' is \\[\"one\"\\]; allowed: a list of 2 to 26 texts"),
        (choice, arc, {"choices": {"text": ["a", "b"], "label": ["A"]}}, "field 'choices' is"),
        (choice, arc, {"question": None}, "field 'question' is missing"),
        (strategyqa, yes_no, {"answer": "maybe"}, "field 'answer' is \"maybe\"; allowed: true or false"),
        (strategyqa, yes_no, {"answer": None}, "field 'answer' is missing"),
        (strategyqa, yes_no, {"question": 3}, "field 'question' is 3, not text"),
        (custom, sums, {"question": None}, r"field 'question' \(task.question\) is missing; this row has answer"),
        (custom, sums, {"answer": [1]}, r"field 'answer' \(task.answer\) is \[1\]; allowed: text or a number"),
        (custom, sums, {"answer": " "}, r"field 'answer' \(task.answer\) is empty"),
    ],
)  # fmt: skip
def test_the_line_and_the_field_are_named(make: Any, good: Any, bad: dict[str, Any], what: str, tmp_path: Path) -> None:
    rows = [good(i) for i in range(10)]
    rows[6] = {key: value for key, value in {**rows[6], **bad}.items() if value is not None}
    with pytest.raises(UserError, match=f"mine.jsonl, line 7: {what}"):
        make(write(tmp_path / "mine.jsonl", rows))


def test_fields_are_mapped(tmp_path: Path) -> None:
    rows = [{"q": f"{i} + 1", "a": f"work\n#### 1,00{i}", "l": 3, "s": "sums", "w": "so"} for i in range(8)]
    file = write(tmp_path / "mine.jsonl", rows)
    names = {"question": "q", "answer": "a", "level": "l", "subject": "s", "solution": "w"}
    problem = custom(file, kind="number", **names).problems("test")[0]
    assert problem.target.startswith("100") and problem.meta == {"level": 3, "subject": "sums", "solution": "so"}
    assert custom(file, **names).render_prompt(problem)[0].content == f"Q: {problem.question}"
    with pytest.raises(UserError, match=r"task\.prompt"):
        custom(file, prompt="no place for it", **names)


@pytest.mark.parametrize(
    ("kind", "reply", "why"),
    [
        ("text", "The answer is Paris.", "right"),
        ("text", "\\boxed{\\text{paris}}", "right"),
        ("text", "Paris", "right"),
        ("text", "London", "wrong"),
        ("text", "Not London.\nSo Paris", "no answer"),
        ("math", "\\boxed{\\text{Paris}}", "right"),
    ],
)
def test_custom_text_and_mathematics(kind: str, reply: str, why: str, tmp_path: Path) -> None:
    task = custom(write(tmp_path / "mine.jsonl", [sums(i) for i in range(8)]), kind=kind)
    assert task.grade(Problem("p", "?", "Paris"), reply).reason == why


@pytest.mark.parametrize(
    ("reply", "answer", "why"),
    [
        ("\\boxed{B}", "B", "right"),
        ("\\boxed{(B)}", "B", "right"),
        ("\\boxed{\\text{B}}", "B", "right"),
        ("Leaves grow. The answer is (B).", "B", "right"),
        ("The answer is A. No: the answer is B", "B", "right"),
        ("**Answer:** B", "B", "right"),
        ("Answer: B. a leaf", "B", "right"),
        ("Therefore, the correct option is B.", "B", "right"),
        ("The answer is option B", "B", "right"),
        ("The answer is B because leaves grow.", "B", "right"),
        ('The answer is "B".', "B", "right"),
        ("Leaves grow on trees.\nB", "B", "right"),
        ("Leaves grow on trees.\n**A**", "A", "wrong"),
        ("b", "B", "right"),
        ("A leaf.", "B", "right"),
        ("\\boxed{a leaf}", "B", "right"),
        ("\\boxed{A}", "A", "wrong"),
        ("\\boxed{A, B, C}", None, "unparsed"),
        ("\\boxed{D}", None, "unparsed"),
        ("A leaf is\nwhat I think of", None, "no answer"),
        ("", None, "no answer"),
    ],
)
def test_which_option_a_reply_names(reply: str, answer: str | None, why: str, tmp_path: Path) -> None:
    task = choice(write(tmp_path / "mine.jsonl", [arc(i) for i in range(8)]))
    verdict = task.grade(task.problem("", arc(1)), reply)
    assert (verdict.reason, verdict.correct) == (why, why == "right")
    assert answer is None or verdict.answer == answer


@pytest.mark.parametrize(
    ("options", "answer", "right"),
    [(["x", "y"], 1, "B"), (["x", "y"], "y", "B"), ({"1": "x", "2": "y"}, 2, "2"), ({"1": "x", "2": "y"}, "1", "1")],
)
def test_layouts_of_options(options: Any, answer: Any, right: str, tmp_path: Path) -> None:
    task = choice(write(tmp_path / "mine.jsonl", [arc(i) for i in range(8)]))
    problem = task.problem("", {"question": "?", "choices": options, "answerKey": answer})
    assert problem.target == right and f"({right}) {'y' if right in 'B2' else 'x'}" in problem.question


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("\\boxed{yes}", "right"),
        ("So the answer is yes.", "right"),
        ("Yes", "right"),
        ("yes, because it is even", "right"),
        ("The answer is: True", "right"),
        ('The answer is "yes".', "right"),
        ("Half of them are even.\nYes", "right"),
        ("\\boxed{No}", "wrong"),
        ("the answer is no", "wrong"),
        ("yes and no", "unparsed"),
        ("\\boxed{maybe}", "unparsed"),
        ("Nobody knows.", "unparsed"),
        ("yes\nno", "no answer"),
        ("", "no answer"),
    ],
)
def test_yes_and_no(reply: str, why: str, tmp_path: Path) -> None:
    task = strategyqa(write(tmp_path / "mine.jsonl", [yes_no(i) for i in range(8)]))
    problem = task.problem("", yes_no(2))
    assert task.grade(problem, reply).reason == why
    assert problem.meta["solution"] == "2 is a number. Half are even. \\boxed{yes}"


@given(st.text() | st.lists(st.sampled_from(["\\boxed{", "}", "yes", "(B)", "answer is", "\n", "*", "{"])).map("".join))
def test_checking_is_total(reply: str) -> None:
    assert extract_text_answer(reply) is None or 0 < len(extract_text_answer(reply) or "") <= 200
    lettered = Problem("p", "?", "B", {"options": {"A": "x", "B": "y"}})
    for make, problem in ((Choice, lettered), (StrategyQA, Problem("p", "?", "yes"))):
        verdict = make.grade_many(make.__new__(make), [(problem, reply)])[0]  # type: ignore[type-abstract]
        assert verdict.correct == (verdict.reason == "right")
