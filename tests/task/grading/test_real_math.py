"""The real MATH: every gold answer is right against itself, and others' answers are wrong. Skipped without the data."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from amend.job.grade import grade_file
from amend.task.grading.extract_answer import extract_answer
from amend.task.grading.math_grader import MathGrader, compare_plain
from amend.task.math import Math
from amend.types import Problem


@pytest.fixture(scope="module")
def task(data: Path) -> Math:
    return Math(
        source=str(data),
        prompt="End in \\boxed{answer}. {question}",
        levels=[1, 2, 3, 4, 5],
        families=[],
        validation=500,
        test=500,
    )


@pytest.fixture(scope="module")
def everything(task: Math) -> list[Problem]:
    return [problem for split in ("train", "val", "test") for problem in task.problems(split)]


def test_the_split_is_the_papers(task: Math, everything: list[Problem]) -> None:
    assert [task.provenance[split]["rows"] for split in ("train", "test")] == [12_000, 500]
    assert [len(task.problems(split)) for split in ("train", "val", "test")] == [11_500, 500, 500]
    assert len({problem.question for problem in everything}) == 12_500


def test_every_gold_answer_is_right_against_itself(task: Math, everything: list[Problem]) -> None:
    replies = [(problem, f"Therefore it is $\\boxed{{{problem.target}}}$.") for problem in everything]
    assert Counter(verdict.reason for verdict in task.grade_many(replies)) == {"right": 12_500}


def test_gold_solutions_box_the_gold_answer(task: Math) -> None:
    problems = task.problems("test")
    assert [extract_answer(p.meta["solution"]) for p in problems] == [p.target for p in problems]
    assert all(verdict.correct for verdict in task.grade_many([(p, p.meta["solution"]) for p in problems]))


def test_gold_answers_said_as_score_and_gsm8k_say_them_are_right(task: Math) -> None:
    problems = task.problems("test")
    said = [(p, f"Final Answer: The final answer is ${p.target}$. I hope it is correct.") for p in problems]
    assert all(verdict.correct for verdict in task.grade_many(said))
    assert all(verdict.correct for verdict in task.grade_many([(p, f"work\n#### {p.target}") for p in problems]))


def swapped(problems: list[Problem]) -> list[tuple[Problem, str]]:
    """Each problem with its neighbour's gold answer, where that is another string."""
    pairs = zip(problems, [*problems[1:], problems[0]], strict=True)
    return [(p, f"\\boxed{{{other.target}}}") for p, other in pairs if p.target != other.target]


def test_a_neighbours_answer_is_wrong(task: Math) -> None:
    verdicts = zip(
        swapped(list(task.problems("test"))), task.grade_many(swapped(list(task.problems("test")))), strict=True
    )
    # Both say five; the only pair in 498 that is taken for right, and it is.
    assert [(problem.target, reply) for (problem, reply), verdict in verdicts if verdict.correct] == [
        ("5", "\\boxed{x=5}")
    ]


@pytest.mark.heavy
@pytest.mark.slow
def test_a_neighbours_answer_is_wrong_in_a_quarter_of_math(task: Math, everything: list[Problem]) -> None:
    """All of it: ``make graders FOLDER=DATA ARGS="--every 1"``."""
    ordered = sorted(everything, key=lambda problem: (problem.id.split("-")[1], int(problem.id.split("-")[2])))
    pairs = swapped(ordered)[::4]
    verdicts = task.grade_many(pairs)
    taken = {(p.target, reply[7:-1]) for (p, reply), verdict in zip(pairs, verdicts, strict=True) if verdict.correct}
    # Each is one number written twice, with a unit or a base or without: none is a wrong answer paid for.
    assert taken <= {
        ("5", "x=5"),
        ("50", "50^{\\circ}"),
        ("\\frac12", "\\frac{1}{2}"),
        ("80 \\%", "80"),
        ("\\$ 5", "5"),
        ("1_6", "1"),
        ("144 \\mbox{ m}^3", "144^\\circ"),
    }
    assert Counter(verdict.reason for verdict in verdicts)["timeout"] == 0


@pytest.mark.heavy
@pytest.mark.slow
def test_nearly_every_gold_answer_is_mathematics_to_sympy(
    everything: list[Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the plain comparison: what sympy makes of each gold answer is equal to itself."""
    from amend.task.grading.worker_pool import Pool

    pairs = sorted({(p.target, p.target) for p in everything})
    pool = Pool(seconds=3.0)
    pool.compare(pairs)
    monkeypatch.setattr(
        "amend.task.grading.worker_pool.RETRY_AFTER", 1e-6
    )  # who ran out of time on a busy machine is asked once more
    found = Counter(pool.compare(pairs).values())
    pool.close()
    assert found["wrong"] == found["timeout"] == 0
    assert found["unparsed"] <= 13  # prose, empty, \approx, \phantom


def test_most_answers_are_decided_without_sympy(task: Math) -> None:
    pairs = [(p.target, extract_answer(reply)) for p, reply in swapped(list(task.problems("test")))]
    slow = sum(compare_plain(gold, answer) is None for gold, answer in pairs if answer is not None)
    assert slow < len(pairs) // 2


def test_a_file_with_the_data_sets_own_fields_is_graded(task: Math, data: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (data / "math500.jsonl").read_text().splitlines()][:40]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({**r, "reply": r["solution"]}) + "\n" for r in rows))
    assert grade_file(task, tmp_path / "in.jsonl", tmp_path / "out.jsonl") == {"right": 40}
    judged = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["gold"] for row in judged] == [row["answer"] for row in rows]


def test_half_right_forms_of_real_answers(grader: MathGrader) -> None:
    """Answers of the kinds that MATH has, in another right form and in a wrong one."""
    for gold, right, wrong in [
        ("\\left( 3, \\frac{\\pi}{2} \\right)", "(3, \\pi/2)", "(3, \\pi)"),
        ("p - q", "-q + p", "q - p"),
        ("(-\\infty, 3) \\cup (3, \\infty)", "(-\\infty,3)\\cup(3,\\infty)", "(-\\infty, 3]"),
        (
            "\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}",
            "\\begin{pmatrix}1&2\\\\3&\\frac{8}{2}\\end{pmatrix}",
            "4",
        ),
        ("3\\sqrt{13}", "\\sqrt{117}", "\\sqrt{13}"),
        ("6 - 5i", "-5i + 6", "6 + 5i"),
    ]:
        assert grader.grade(gold, f"\\boxed{{{right}}}").correct, (gold, right)
        assert not grader.grade(gold, f"\\boxed{{{wrong}}}").correct, (gold, wrong)
