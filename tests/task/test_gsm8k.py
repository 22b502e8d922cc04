"""GSM8K: its golds, its marks, its splits; and every row of the real files (skipped without them)."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amend.errors import UserError
from amend.job.grade import grade_file
from amend.task.base import Task
from amend.task.grading.extract_answer import extract_answer
from amend.task.grading.math_grader import MathGrader
from amend.task.gsm8k import GSM8K
from amend.task.tools import MARK, evaluate
from amend.types import Problem

WORKED = "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\nAltogether <<48+24=72>>72.\n#### 72"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, numbers in (("train", range(30)), ("test", range(100, 112))):
        rows = [{"question": f"What is {i} + 1?", "answer": f"<<{i}+1={i + 1}>>{i + 1}\n#### {i + 1}"} for i in numbers]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def gsm8k(source: Path, calculator: bool = False, validation: int = 5, test: int = 100) -> GSM8K:
    return GSM8K(source=str(source), calculator=calculator, validation=validation, test=test)


def test_a_folder_becomes_three_disjoint_splits(folder: Path) -> None:
    task = gsm8k(folder)
    assert isinstance(task, Task)
    splits = {split: task.problems(split) for split in ("train", "val", "test")}
    assert {split: len(problems) for split, problems in splits.items()} == {"train": 25, "val": 5, "test": 12}
    assert len({p.question for problems in splits.values() for p in problems}) == 42
    assert [p.id for p in gsm8k(folder).problems("val")] == [p.id for p in splits["val"]]
    first = splits["test"][0]
    assert first == Problem("gsm8k-test-1", "What is 100 + 1?", "101", {**first.meta})
    assert first.meta == {"level": 1, "subject": "", "solution": "101\n#### 101"}
    digest = hashlib.sha256((folder / "train.jsonl").read_bytes()).hexdigest()
    assert task.provenance["train"] == {"source": str(folder / "train.jsonl"), "sha256": digest, "rows": 30}


def test_marks_stay_with_the_calculator_and_are_stripped_without(folder: Path) -> None:
    row = {"question": "?", "answer": WORKED}
    with_, without = (gsm8k(folder, calculator).problem("", row).meta["solution"] for calculator in (True, False))
    assert with_ == WORKED
    assert without == "Natalia sold 48/2 = 24 clips in May.\nAltogether 72.\n#### 72"
    assert gsm8k(folder, True).tool is not None and gsm8k(folder).tool is None
    asked = [
        gsm8k(folder, calculator).render_prompt(gsm8k(folder).problem("", row))[0].content
        for calculator in (True, False)
    ]
    assert ["<<48/2=" in text for text in asked] == [True, False]


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (WORKED, "right"),
        ("#### 72", "right"),
        ("#### $72.00", "right"),
        ("so \\boxed{72}", "right"),
        ("#### 71", "wrong"),
        ("72", "no answer"),
        ("#### <<70+2=72>>72", "right"),
        ("####", "no answer"),
    ],
)
def test_what_is_right(folder: Path, reply: str, why: str) -> None:
    task = gsm8k(folder)
    assert task.grade(task.problem("", {"question": "?", "answer": WORKED}), reply).reason == why


@given(st.text(max_size=300) | st.sampled_from(["<<", ">>", "=", "####", "\\boxed{"]).map(lambda s: s * 3000))
def test_checking_is_total(reply: str) -> None:
    verdict = GSM8K.grade_many(TASK, [(Problem("p", "?", "72"), reply)])[0]
    assert verdict.correct == (verdict.reason == "right")


class _Bare(GSM8K):
    def __init__(self) -> None:
        self.tool, self._grader = None, MathGrader(seconds=1.0)


TASK = _Bare()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": "?"}, "field 'answer' is missing"),
        ({"question": "?", "answer": "72"}, "field 'answer' has no '#### answer' at its end"),
        ({"answer": "#### 1"}, "field 'question' is missing"),
        ({"question": "?", "answer": 1}, "field 'answer' is 1, not text"),
    ],
)
def test_what_is_missing_is_named_with_its_line(folder: Path, row: dict[str, object], said: str) -> None:
    with (folder / "train.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    with pytest.raises(UserError, match=f"train.jsonl, line 31: {said}"):
        gsm8k(folder)


def test_offline_one_line_says_how_to_fetch_it_and_what_else_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach the hub")

    monkeypatch.setattr("datasets.load_dataset", refuse)
    with pytest.raises(UserError) as told:
        GSM8K(source="openai/gsm8k", calculator=False, validation=5, test=5)
    line = str(told.value)
    assert "\n" not in line and "load_dataset('openai/gsm8k', 'main')" in line
    assert "gsm8k_train.jsonl and gsm8k_test.jsonl in it: task.source=FOLDER" in line
    with pytest.raises(UserError, match=r"no such folder; allowed: a hub id"):
        GSM8K(source="nowhere", calculator=False, validation=5, test=5)


def test_a_graded_file_is_graded_again(folder: Path, tmp_path: Path) -> None:
    task = gsm8k(folder)
    rows = [{"question": "?", "answer": WORKED, "reply": "#### 72"}, {"id": "gsm8k-test-1", "reply": "#### 5"}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for asked, out in (("in", "out"), ("out", "again")):
        counts = grade_file(task, tmp_path / f"{asked}.jsonl", tmp_path / f"{out}.jsonl")
        assert counts == {"right": 1, "wrong": 1}
    with pytest.raises(
        UserError, match="field 'id' is \"nobody\", which this task does not know, and field 'question'"
    ):
        task.problem_from_row({"id": "nobody"})


# The real files -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows(data: Path) -> list[dict[str, str]]:
    files = [data / f"gsm8k_{name}.jsonl" for name in ("train", "test")]
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def everything(data: Path) -> list[Problem]:
    task = gsm8k(data, test=1319)
    assert [task.provenance[name]["rows"] for name in ("train", "test")] == [7473, 1319]
    return [problem for split in ("train", "val", "test") for problem in task.problems(split)]


def test_every_gold_answer_is_right_against_itself_and_solutions_end_in_it(everything: list[Problem]) -> None:
    assert len(everything) == 8792
    golds = Counter(v.reason for v in TASK.grade_many([(p, f"#### {p.target}") for p in everything]))
    solutions = Counter(v.reason for v in TASK.grade_many([(p, p.meta["solution"]) for p in everything]))
    assert golds == solutions == {"right": 8792}
    assert all((extract_answer(p.meta["solution"]) or "").replace(",", "") == p.target for p in everything)
    assert not [p.id for p in everything if "<<" in p.meta["solution"]]


def test_every_other_answer_is_wrong(everything: list[Problem]) -> None:
    """Each problem with the next one's gold answer, where that is another: 0 false positives of some 8,600."""
    pairs = zip(everything, [*everything[1:], everything[0]], strict=True)
    swapped = [(p, f"#### {other.target}") for p, other in pairs if p.target != other.target]
    assert len(swapped) > 8500
    assert Counter(v.reason for v in TASK.grade_many(swapped)) == {"wrong": len(swapped)}


def differing(rows: list[dict[str, str]]) -> tuple[int, list[str]]:
    """How many marks there are, and those that the calculator does not compute as they stand."""
    marks = [mark.groups() for row in rows for mark in MARK.finditer(row["answer"])]
    assert len(marks) == sum(row["answer"].count(">>") for row in rows)
    told = [(evaluate(expression), evaluate(said), f"{expression}={said}") for expression, said in marks]
    return len(marks), [text for ours, theirs, text in told if ours is None or theirs is None or ours != theirs]


def test_the_calculator_agrees_with_the_test_files_own_marks(rows: list[dict[str, str]]) -> None:
    assert differing(rows[7473:])[1] == []


@pytest.mark.slow
def test_the_calculator_agrees_with_all_marks_but_two_which_divide_with_two_strokes(rows: list[dict[str, str]]) -> None:
    assert differing(rows) == (27_998, ["560//10=56", "180//3=60"])
