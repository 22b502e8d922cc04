"""Reading MATH: layouts, splits, levels, and one clear line for whatever is missing. The rows here are our own."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from amend.errors import UserError
from amend.task.base import Task
from amend.task.dataset.hendrycks_math import HELD_BACK, WHOLE, Hendrycks
from amend.task.math import Math

ALL = [1, 2, 3, 4, 5]


def row(i: int, **changed: Any) -> dict[str, Any]:
    made = {
        "problem": f"What is {i} + 1?",
        "answer": str(i + 1),
        "subject": "Prealgebra",
        "level": f"Level {i % 5 + 1}",
    }
    return {name: value for name, value in {**made, **changed}.items() if value is not None}


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "train.jsonl", [row(i) for i in range(50)])
    write(tmp_path / "test.jsonl", [row(i, level=i % 5 + 1, solution="See?") for i in range(100, 120)])
    return tmp_path


def math(source: Path | str, levels: list[int] = ALL, validation: int = 10, test: int = 100) -> Math:
    return Math(
        source=str(source),
        prompt="End in \\boxed{answer}. {question}",
        levels=levels,
        families=[],
        validation=validation,
        test=test,
    )


def test_a_folder_becomes_three_disjoint_splits_with_one_schema(folder: Path) -> None:
    task = math(folder)
    assert isinstance(task, Task)
    splits = {split: task.problems(split) for split in ("train", "val", "test")}
    assert {split: len(problems) for split, problems in splits.items()} == {"train": 40, "val": 10, "test": 20}
    ids = [problem.id for problems in splits.values() for problem in problems]
    assert len(set(ids)) == len(ids) == 70
    assert all(problem.id.startswith("math-train-") for problem in splits["val"])  # never from test
    problem = splits["test"][0]
    assert (problem.id, problem.question, problem.target) == ("math-test-1", "What is 100 + 1?", "101")
    assert problem.meta == {"level": 1, "subject": "Prealgebra", "solution": "See?"}
    assert all(set(p.meta) == {"level", "subject", "solution"} for problems in splits.values() for p in problems)


def test_the_held_out_part_is_the_same_every_time_and_no_prefix(folder: Path) -> None:
    first, second = (math(folder).problems("val") for _ in range(2))
    assert [p.id for p in first] == [p.id for p in second]
    assert {p.id for p in first} != {f"math-train-{i}" for i in range(1, 11)}
    larger = math(folder, validation=20).problems("val")
    assert [p.id for p in larger][:10] == [p.id for p in first]


def test_levels_choose_and_fewer_test_problems_are_a_fixed_choice(folder: Path) -> None:
    task = math(folder, levels=[2, 5], validation=4)
    assert {p.meta["level"] for split in ("train", "val", "test") for p in task.problems(split)} == {2, 5}
    assert [len(task.problems(split)) for split in ("train", "val", "test")] == [16, 4, 8]
    some = [p.id for p in math(folder, test=5).problems("test")]
    assert len(some) == 5 and some == [p.id for p in math(folder, test=5).problems("test")]


def test_provenance_tells_hash_and_rows(folder: Path) -> None:
    kept = math(folder).provenance
    assert kept["train"]["rows"] == 50 and kept["test"]["rows"] == 20
    assert kept["train"]["sha256"] == hashlib.sha256((folder / "train.jsonl").read_bytes()).hexdigest()


def test_the_published_layout_and_answers_from_solutions(tmp_path: Path) -> None:
    for split, count in (("train", 12), ("test", 3)):
        for i in range(count):
            file = tmp_path / split / "algebra" / f"{i}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            made = row(
                i, answer=None, subject=None, type="Algebra", solution=f"It is \\boxed{{0}}, no, \\boxed{{{i + 1}}}."
            )
            file.write_text(json.dumps(made))
    task = math(tmp_path, validation=2)
    assert [p.target for p in task.problems("test")] == ["1", "2", "3"]
    assert task.problems("test")[2].meta["subject"] == "Algebra"
    assert len(task.problems("train")) == 10


def test_the_unknown_level_is_kept_with_all_levels_only(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", [row(1), row(2, level="Level ?")])
    write(tmp_path / "test.jsonl", [row(1), row(3)])
    assert [p.meta["level"] for p in math(tmp_path, validation=0).problems("train")] == [2, 0]
    assert len(math(tmp_path, levels=[1, 2, 3, 4], validation=0).problems("train")) == 1


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"problem": None}, "field 'problem' is missing"),
        ({"problem": 5}, "field 'problem' is 5, not text"),
        ({"answer": None}, "field 'answer' is missing, and so is 'solution'"),
        ({"answer": None, "solution": "obvious"}, "field 'answer' is missing, and 'solution' has no"),
        ({"subject": None}, "field 'subject' or 'type' is missing"),
        ({"level": None}, "field 'level' is missing"),
        ({"level": "hard"}, "field 'level' is 'hard'; allowed: 1 to 5"),
        ({"level": 6}, "field 'level' is '6'"),
    ],
)
def test_what_is_missing_is_named_with_its_line(folder: Path, changed: dict[str, Any], said: str) -> None:
    write(folder / "train.jsonl", [row(0), row(1), row(2, **changed)])
    with pytest.raises(UserError, match=f"train.jsonl, line 3: {said}"):
        math(folder)


def test_what_is_no_data_at_all_is_named(tmp_path: Path, folder: Path) -> None:
    (folder / "test.jsonl").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(UserError, match="git lfs pull"):
        math(folder)
    (folder / "test.jsonl").unlink()
    with pytest.raises(UserError, match=r"no test problems; looked for math500.jsonl, test.jsonl"):
        math(folder)
    with pytest.raises(UserError, match="no such folder; allowed: builtin, hendrycks"):
        math(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "changed", [{"levels": [0]}, {"levels": []}, {"validation": 50}, {"validation": -1}, {"test": 0}]
)
def test_impossible_wishes_are_refused(folder: Path, changed: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"^task\."):
        math(folder, **changed)


def test_the_prompt_asks_for_a_box_and_carries_the_question(folder: Path) -> None:
    task = math(folder)
    problem = task.problems("test")[0]
    (message,) = task.render_prompt(problem)
    assert message.role == "user" and problem.question in message.content and "\\boxed{" in message.content


def test_a_reply_is_checked_against_the_gold_answer(folder: Path) -> None:
    task = math(folder)
    problem = task.problems("test")[0]
    assert task.grade(problem, "so \\boxed{101}").correct
    assert [v.reason for v in task.grade_many([(problem, "#### 101"), (problem, "\\boxed{7}"), (problem, "?")])] == [
        "right",
        "wrong",
        "no answer",
    ]
    assert task.grade_many([]) == []


def test_rows_are_recognised_by_id_or_by_their_own_fields(folder: Path) -> None:
    task = math(folder)
    known = task.problems("val")[0]
    assert task.problem_from_row({"id": known.id}) is known
    assert task.problem_from_row({"id": "foreign", "problem": "1+1?", "answer": " 2"}).target == "2"
    assert task.problem_from_row({"problem": "1+1?", "solution": "\\boxed{2}"}).target == "2"
    assert task.problem_from_row({"problem": "1+1?", "answer": "3", "gold": "2"}).target == "2"  # a graded line, again
    for bad, said in (({}, "'id' is missing"), ({"id": "?"}, "'id' is"), ({"problem": "1+1?"}, "'answer' is missing")):
        with pytest.raises(UserError, match=said):
            task.problem_from_row(bad)


# The hub, with no network ---------------------------------------------------------------------------------------------


def test_offline_one_line_says_how_to_fetch_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach\nthe hub")

    monkeypatch.setattr("datasets.load_dataset", refuse)
    with pytest.raises(UserError) as told:
        math("owner/some-math")
    assert "\n" not in str(told.value)
    assert all(part in str(told.value) for part in ("load_dataset('owner/some-math')", "Couldn't reach", "=FOLDER"))
    with pytest.raises(UserError) as told:
        math("hendrycks")  # is made of two
    both = "load_dataset('HuggingFaceH4/MATH-500'); datasets.load_dataset('DigitalLearningGmbH/MATH-lighteval')"
    assert both in str(told.value)


def test_hub_ids_are_read_split_by_split_and_configuration_by_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(source: str, part: str | None = None, *, split: str) -> list[dict[str, Any]]:
        if part is None:
            raise ValueError("Config name is missing.\nPlease pick one among the available configs")
        start = {"algebra": 0, "geometry": 100}[part] + {"train": 0, "test": 50}[split]
        return [row(i) for i in range(start, start + 10)]

    monkeypatch.setattr("datasets.load_dataset", load)
    monkeypatch.setattr("datasets.get_dataset_config_names", lambda _: ["geometry", "algebra"])
    task = Hendrycks("owner/some-math", levels=ALL, validation=5, test=100)
    assert [len(task.problems(split)) for split in ("train", "val", "test")] == [15, 5, 20]
    assert task.problems("test")[0].question == "What is 50 + 1?"
    assert task.provenance["train"]["rows"] == 20 and len(str(task.provenance["train"]["sha256"])) == 64


def test_hendrycks_is_all_of_math_less_what_is_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(source: str, *, split: str) -> list[dict[str, Any]]:
        ranges = {(WHOLE, "train"): range(30), (WHOLE, "test"): range(30, 50), (HELD_BACK, "test"): range(40, 45)}
        return [row(i) for i in ranges[source, split]]

    monkeypatch.setattr("datasets.load_dataset", load)
    task = Hendrycks("hendrycks", levels=ALL, validation=5, test=100)
    assert [len(task.problems(split)) for split in ("train", "val", "test")] == [40, 5, 5]
    trained = {p.question for split in ("train", "val") for p in task.problems(split)}
    assert not trained & {p.question for p in task.problems("test")}
