"""Grading: what is read from a reply, which answers are equal, and that no reply can break or stall it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amend.errors import UserError
from amend.job.grade import grade_file
from amend.task.grading.extract_answer import LONGEST_ANSWER, extract_answer
from amend.task.grading.math_grader import MathGrader, compare_plain
from amend.task.grading.normalize_answer import parse_number, split_unit
from amend.task.grading.sympy_compare import claimed_values
from amend.task.grading.worker_pool import Pool
from amend.task.identity import Identity
from amend.types import Problem, Verdict

PIECES = [
    "\\boxed{",
    "\\boxed ",
    "\\fbox{",
    "{",
    "}",
    "\\{",
    "\\}",
    "\\",
    "\\\\",
    "$",
    "####",
    "final answer is",
    "Final Answer:",
    "**",
    "5",
    " ",
]

# Reading the answer ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("so \\boxed{7}.", "7"),
        ("\\boxed{2} no wait \\boxed{3}", "3"),
        ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("\\boxed{\\left\\{1, 2\\right\\}}", "\\left\\{1, 2\\right\\}"),
        ("\\boxed{\\left\\{ x \\right.}", "\\left\\{ x \\right."),  # an escaped brace is no brace
        ("\\boxed{4} and then \\boxed{5", "4"),  # the last *balanced* one
        ("\\boxed{1 + \\boxed{6}", "6"),
        ("\\boxed{\\boxed{8}}", "8"),
        ("{ \\boxed{9} } }", "9"),
        ("$\\boxed 2$", "2"),
        ("\\fbox{3}", "3"),
        ("\\boxed {10}", "10"),
        ("\\boxed{}", ""),
        ("\\boxed{5", None),
        ("the answer is 5", None),
        ("", None),
        ("Final Answer: The final answer is $\\frac12$. I hope it is correct.", "\\frac12"),
        ("Final Answer: The final answer is $1$. ... Final Answer: The final answer is $2$.", "2"),
        ("Final Answer: The final answer is 3.5. I hope it is correct.", "3.5"),
        ("Final Answer: The final answer is $$4$$", "4"),
        ("Final Answer: The final answer is $\\$5$. I hope it is correct.", "\\$5"),
        ("The final answer is $5$, so \\boxed{6}", "6"),  # the box goes first
        ("48/2 = 24 more.\n#### 72", "72"),
        ("#### 72\nThat was easy.", "72"),
        ("####", None),
        ("the final answer is 15 * 8 = 120 pints\n#### 120", "120"),  # a row of GSM8K
        ("#### 7\nso the final answer is 8", "8"),
        ("the final answer is 8 ####", "8 ####"),
        ("Final Answer: 42", "42"),
        ("**Final Answer:** 42", "42"),
        ("**Final Answer**: 42.", "42"),
        ("**Final Answer: 42**", "42"),
        ("Work.\n\n### Final Answer:\n42\nDone.", "42"),
        ("Final answer: $5$", "5"),
        ("FINAL ANSWER : $\\frac12$.", "\\frac12"),
        ("Final Answer: the answer is $6$.", "6"),
        ("Final Answer: **$x = 5$**", "x = 5"),
        ("Final Answer: 1\nNo.\nFinal Answer: 2", "2"),
        ("Final Answer: 1, so the final answer is $2$.", "2"),
        ("The final answer is $1$.\nFinal Answer: 2", "2"),
        ("Final Answer: 1\n#### 2", "2"),
        ("#### 1\nFinal Answer: 2", "2"),
        ("#### Final Answer: 3", "3"),
        ("Final Answer:", None),
        ("**Final Answer:**", None),
        ("my final answer was 5", None),
        ("\\boxed{5}. I put it in a \\boxed environment.", "5"),  # without braces it counts where nothing else does
        ("\\boxed 4, that is \\boxed{5}", "5"),
        ("\\boxed{5} or \\boxed 6", "5"),
        ("It goes in a \\boxed environment. Final Answer: 5", "5"),
        ("\\boxed 4, no, \\boxed 5", "5"),
    ],
)
def test_the_answer_is_the_last_thing_boxed_or_else_what_follows_a_marker(reply: str, answer: str | None) -> None:
    assert extract_answer(reply) == answer


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5))).map("".join))
def test_reading_is_total_and_finds_a_box_put_at_the_end(text: str) -> None:
    found = extract_answer(text)
    assert found is None or found in text
    assert extract_answer(text + " \\boxed{17}") == "17"


@pytest.mark.parametrize("piece", [*PIECES, "\\boxed{}", "{{}", "\\boxed{\\", "a. ", "\u017f", "\ud800", "\0"])
def test_reading_takes_linear_time_on_100_000_characters(piece: str) -> None:
    text = piece * (100_000 // len(piece))
    started = time.perf_counter()
    extract_answer(text)
    extract_answer("\\boxed" + text)
    extract_answer("final answer is" + text)
    extract_answer("Final Answer:" + text)
    assert time.perf_counter() - started < 2.0  # quadratic time would be minutes


# Plain comparison -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("\\frac{1}{2}", "\\dfrac{1}{2}"),
        ("\\frac{1}{2}", "0.5"),
        ("\\frac{1}{2}", "2/4"),
        ("-\\frac{1}{2}", "\\frac{-1}{2}"),
        ("180\\text{ miles}", "180"),
        ("180", "180 \\text{ miles}."),
        ("12\\text{ cm}", "12\\text{ centimetres}"),
        ("72\\%", "72"),
        ("72\\%", "0.72"),
        ("72", "72%"),
        ("50", "50\\%"),
        ("72\\%", "72\\%"),
        ("0.5", "50%"),
        ("\\frac{1}{2}", "50\\%"),
        ("50\\%", "\\frac{1}{2}"),
        ("-5\\%", "-0.05"),
        ("2", "200%"),
        ("90^\\circ", "90"),
        ("\\$5", "5"),
        ("10,080", "10080"),
        ("10{,}080", "10,080"),
        ("\\text{Evelyn}", "Evelyn"),
        ("(1, 2)", "\\left(1,2\\right)"),
        ("7", "007"),
        ("7", "7.0"),
        ("05\\!:\\!00", "5:00"),
        *(
            ("14", answer)
            for answer in (
                *("14 dollars", "14 percent", "14 km/h", "14 years old", "14 (eggs)", "14 times", "14 of them"),
                *("14°", "14,", "14;", "€14", "\\approx 14", "\\large 14"),
            )
        ),
        ("1200", "1,200 eggs"),
        ("20000", "20 000"),
        ("12\\%", "12 percent"),
        ("\\frac{7}{3}", "2 1/3"),
        ("2\\frac{1}{3}", "\\frac{7}{3}"),
        ("\\text{east}", "East"),
        ("ABC", "ABC"),
    ],
)
def test_plainly_right_without_sympy(gold: str, answer: str) -> None:
    assert compare_plain(gold, answer) == "right"


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("16", "17"),
        ("\\frac{1}{2}", "0.6"),
        ("10\\text{ AM}", "10\\text{ PM}"),
        ("10\\text{ a.m.}", "10\\text{ p.m.}"),
        ("2516_8", "2516_9"),
        ("72\\%", "7200"),  # a percentage is that many hundredths, never that many hundreds
        ("72\\%", "7200\\%"),
        ("72\\%", "0.72\\%"),
        ("50", "0.5%"),
        ("0.5", "0.005%"),
        ("0.5\\%", "50"),
        ("5\\%", "-0.05"),
        ("7", "2 1/3"),
        ("14", "14 \\text{ is not right}"),
        ("\\text{east}", "seat"),  # nor is a word the product of its letters
        ("ABC", "ACB"),
    ],
)
def test_plainly_wrong_without_sympy(gold: str, answer: str) -> None:
    assert compare_plain(gold, answer) == "wrong"


@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_integers_are_decided_at_once_and_exactly(gold: int, answer: int) -> None:
    assert compare_plain(str(gold), str(answer)) == ("right" if gold == answer else "wrong")


@given(st.text(max_size=LONGEST_ANSWER), st.text(max_size=LONGEST_ANSWER))
def test_plain_comparison_is_total_and_reflexive(one: str, other: str) -> None:
    assert compare_plain(one, one) == "right"
    assert compare_plain(one, other) in {"right", "wrong", None}


def test_an_answer_is_split_into_what_it_says_and_its_unit() -> None:
    assert split_unit("7\\text{ hours}.") == ("7", "hours")
    assert split_unit("144 \\mbox{ m}^3") == ("144", "m")
    assert split_unit(" \\$ 54.60") == ("54.60", "")
    assert split_unit("80 \\%") == ("80", "%")
    assert split_unit("\\text{(A)}") == ("(A)", "")


@given(st.fractions(max_denominator=999))
def test_numbers_are_read_exactly(value) -> None:  # type: ignore[no-untyped-def]
    sign = "-" if value < 0 else ""
    assert parse_number(f"{sign}\\frac{{{abs(value.numerator)}}}{{{value.denominator}}}") == value


# The grader -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gold", "answer", "why"),
    [
        ("x^2+2x+1", "(x+1)^2", "right"),
        ("(2,\\infty)", "x > 2", "right"),  # an interval said as an inequality
        ("(2,\\infty)", "2 < x", "right"),
        ("(2,\\infty)", "x \\geq 2", "wrong"),
        ("(-\\infty,3]", "x \\le 3", "right"),
        ("(-\\infty,3]", "3 \\geqslant x", "right"),
        ("\\left[1,4\\right)", "1 \\leq x < 4", "right"),
        ("\\left[1,4\\right)", "4 > x \\ge 1", "right"),
        ("\\left[1,4\\right)", "1 \\leq x \\leq 4", "wrong"),
        ("(-\\infty,1) \\cup (2,\\infty)", "x < 1 \\text{ or } x > 2", "right"),
        ("(-\\infty,1) \\cup (2,\\infty)", "x < 1 \\text{ or } x > 3", "wrong"),
        ("5", "x > 5", "wrong"),
        ("14", "\\underline{14}", "right"),
        ("\\frac{1}{2}", "\\underline{\\underline{\\frac12}}", "right"),
        ("3", "{\\color{red} 3}", "right"),
        ("3", "\\textcolor{blue}{\\bm{3}}", "right"),
        ("42", "\\underline{4} + \\underline{2}", "wrong"),
        ("\\emptyset", "\\varnothing", "right"),
        ("14\\text{th}", "14^{\\text{th}}", "right"),
        ("14", "14^{th}", "right"),
        ("14", "15^{\\text{th}}", "wrong"),
        ("14", "\\underline{14^{th}}", "right"),
        ("\\frac{4}{5}", "\\frac{4^{th}}{5}", "right"),
        ("22", "22^\\mathrm{nd}", "right"),
        ("2^{th}", "2", "wrong"),  # no ordinal: two to the power of t times h
        ("[2,\\infty)", "x >= 2", "right"),
        ("(-\\infty,2]", "x <= 2", "right"),
        ("\\sqrt{2}", "1.41421356", "right"),
        ("5", "x = 5", "right"),
        ("x=5", "5", "right"),
        ("5", "2 + 3 = 5", "right"),
        ("5", "4 = 5", "wrong"),  # claims two values
        ("2", "2\\text{ or }3", "wrong"),
        ("(1,2)", "(2,1)", "wrong"),
        ("\\frac{1}{6}", "0.1\\overline{6}", "right"),
        ("\\frac{1}{29322216}", "\\dfrac{1}{29,\\!322,\\!216}", "right"),
        ("\\frac{\\pi}{4}", "\\frac \\pi4", "right"),
        ("\\text{even}", "\\text{odd}", "wrong"),
        ("5", "\\frac{1}{", "no answer"),  # the box is never closed
        ("5", "\\approx", "unparsed"),
        ("5", "x" * 1000, "unparsed"),
    ],
)
def test_sympy_decides_the_rest(grader: MathGrader, gold: str, answer: str, why: str) -> None:
    assert grader.grade(gold, f"\\boxed{{{answer}}}").reason == why


def test_a_verdict_says_what_was_read_and_why(grader: MathGrader) -> None:
    assert grader.grade("5", "no idea") == Verdict(None, False, "no answer")
    assert grader.grade("5", "\\boxed{}") == Verdict(None, False, "no answer")
    assert grader.grade("5", "Final Answer: The final answer is $5$. I hope it is correct.") == Verdict(
        "5", True, "right"
    )
    assert grader.grade("5", "#### 6") == Verdict("6", False, "wrong")
    assert grader.grade_many([]) == []


HOSTILE = [
    "9^{9^{9^9}}",
    "10000000!",
    "2^{10^9}",
    "(" * 90 + "1" + ")" * 90,
    "\\sum_{k=1}^{1000000} \\frac{1}{k}",
    "\\int_0^1 \\frac{\\sin(x^x)}{x^2+1}e^{x^3} dx",
    "+".join(f"x^{{{i}}}" for i in range(25)),
    "__import__('os')._exit(0)",
    "\\text{__import__('os')._exit(0)}",
    "x\0y",
    "\ud800",
    "\\frac{1}{0}",
    "\\begin{pmatrix}" + "1 & " * 40 + "\\end{pmatrix}",
]


def test_hostile_answers_get_a_verdict(grader: MathGrader) -> None:
    verdicts = grader.grade_many(
        [("7+x", f"\\boxed{{{answer}}}") for answer in HOSTILE] + [("7+x", f"\\boxed{{x+{i}}}") for i in range(20)]
    )
    assert [verdict.correct for verdict in verdicts[len(HOSTILE) :]] == [i == 7 for i in range(20)]
    assert not any(verdict.correct for verdict in verdicts[: len(HOSTILE)])
    assert "timeout" in [verdict.reason for verdict in verdicts]
    started = time.perf_counter()
    assert grader.grade("7+x", f"\\boxed{{{HOSTILE[0]}}}").reason == "timeout"
    assert time.perf_counter() - started < 0.5  # remembered


def test_one_hostile_answer_delays_the_others_by_no_more_than_its_limit(grader: MathGrader) -> None:
    """As long as the harmless ones take alone (three times that, on a machine with more to do), the limit of 2 seconds,
    and one for a new worker."""

    def taken(pairs: list[tuple[str, str]]) -> tuple[float, list[str]]:
        started = time.perf_counter()
        whys = [verdict.reason for verdict in grader.grade_many(pairs)]
        return time.perf_counter() - started, whys

    grader.grade("y", "\\boxed{z}")  # workers are up
    alone, whys = taken([("u+v", f"\\boxed{{v+{i}+u-{i}}}") for i in range(1, 21)])
    assert whys == ["right"] * 20
    beside, whys = taken(
        [("u+v", "\\boxed{8^{8^{8^8}}}")] + [("u+v", f"\\boxed{{v+{i}+u-{i}}}") for i in range(21, 41)]
    )
    assert whys == ["timeout"] + ["right"] * 20
    assert beside < 2.0 + 1.0 + 3 * alone + 1.0


@settings(max_examples=25, deadline=None)
@given(
    answer=st.text(alphabet=st.characters(), max_size=60) | st.sampled_from(["^", "_", "&", "\\"]).map(lambda c: c * 99)
)
def test_the_grader_is_total_on_any_string(grader: MathGrader, answer: str) -> None:
    verdict = grader.grade("x+1", f"\\boxed{{{answer}}}")
    assert verdict.reason in {"right", "wrong", "no answer", "unparsed", "timeout"}
    assert verdict.correct == (verdict.reason == "right")


def test_huge_replies_are_graded(grader: MathGrader) -> None:
    assert grader.grade("5", "{" * 100_000 + "\\boxed{5}").correct
    assert grader.grade("5", "\\boxed{" + "9" * 50_000 + "}").reason == "unparsed"


def test_it_works_off_the_main_thread_and_from_several_at_once(grader: MathGrader) -> None:
    found: dict[int, Verdict] = {}

    def work(i: int) -> None:
        found[i] = grader.grade(f"x+{i}", f"\\boxed{{{i}+x}}")

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[i].reason for i in range(4)] == ["right"] * 4


def test_plain_answers_need_no_worker_and_a_closed_grader_starts_again() -> None:
    grader = MathGrader(seconds=2.0)
    assert grader.grade("5", "\\boxed{6}").reason == "wrong"
    assert grader._pool._workers is None
    assert grader.grade("a+b", "\\boxed{b+a}").correct
    first = grader._pool._workers
    grader.close()
    assert first is not None and not first.active
    assert grader.grade("a+c", "\\boxed{c+a}").correct
    grader.close()


def test_workers_that_do_not_start_are_the_users_to_mend_and_no_silent_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no more processes")

    monkeypatch.setattr("amend.task.grading.worker_pool.ProcessPool.schedule", refuse)
    with pytest.raises(UserError, match=r"worker processes do not run.*no more processes"):
        Pool(seconds=1.0).compare([("x", "y")])


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timers")
def test_a_worker_ends_by_itself_even_when_nobody_is_left_to_kill_it() -> None:
    code = "from amend.task.grading.worker_pool import compare; compare('5+x', '9^{9^{9^9}}', 0.1)"
    ended = subprocess.run([sys.executable, "-c", code], timeout=30, check=False, capture_output=True)
    assert ended.returncode == -signal.SIGALRM


def test_an_equation_claims_every_side_but_a_name() -> None:
    assert [side.strip() for side in claimed_values("5", "x = 5")] == ["5"]
    assert [side.strip() for side in claimed_values("5", "f(x) = 2 + 3 = 5")] == ["2 + 3", "5"]
    assert [side.strip() for side in claimed_values("5", "4 = 5")] == ["4", "5"]
    assert claimed_values("x=5", "x = 5") == ["x = 5"]
    assert claimed_values("(1,2)", "x=1, y=2") == ["x=1, y=2"]
    for said in ("a+b = 5", "|AB| = 5", "\\overline{AB} = 5", "\\angle A = 5", "f(f(2)) = 5", "AB^2 = 5", "5 = x"):
        assert [side.strip() for side in claimed_values("5", said)] == ["5"], said
    assert [side.strip() for side in claimed_values("2x+3", "f(x) = 2x+3")] == ["2x+3"]
    assert [side.strip() for side in claimed_values("5\\pi", "A = 5\\pi")] == ["5\\pi"]


RIGHT = [
    *(("14", said) for said in ("a+b = 14", "|AB| = 14", "\\angle A = 14^\\circ", "f(-1) = 14", "14\\ ")),
    *(("-2,3", said) for said in ("x=-2 \\text{ or } x=3", "x=-2, x=3", "x = -2 \\text{ and } x = 3")),
    ("3+4i", "z = 3+4i"),
    ("xy", "yx"),
    *(("0", said) for said in ("x = 0", "a+b = 0", "|AB| = 0", "f(2) = 0")),
]
WRONG = [
    *(("14", said) for said in ("a+b = 15", "4 = 14", "x = 14 = 15", "x=14 or x=15", "1 4", "2 pi", "14i", "14x")),
    ("0", "11x + 6y + 5z + 86 = 0"),  # a plane
    *(("14", said) for said in ("14 million", "14 and 3 eggs", "14 hours and 30 minutes", "a+b = 14+1")),
]


def test_whole_sentences_of_a_box(grader: MathGrader) -> None:
    for correct, cases in ((True, RIGHT), (False, WRONG)):
        found = grader.grade_many([(gold, f"\\boxed{{{said}}}") for gold, said in cases])
        assert [case for case, v in zip(cases, found, strict=True) if v.correct is not correct] == []


@pytest.mark.parametrize(
    "reply",
    [
        "#### 18 dollars",
        "#### **18**",
        "**#### 18**",
        "####: 18",
        "#### Answer: 18",
        "#### $18 per day",
        "#### 18 (eggs)",
    ],
)
def test_what_may_stand_around_a_number_after_four_hashes(grader: MathGrader, reply: str) -> None:
    assert grader.grade("18", reply).reason == "right"
    assert grader.grade("19", reply).reason == "wrong"


# Files ----------------------------------------------------------------------------------------------------------------


def _write(path: Path, rows: list[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_file_is_graded_line_by_line(tmp_path: Path) -> None:
    task = Identity(symbols=3, test=3)
    asked = [
        {"id": f"identity-test-{i}", "reply": reply, "mine": i} for i, reply in enumerate(["0", "2", "\\boxed{2}"])
    ]
    responses = _write(tmp_path / "in.jsonl", [*asked, {"id": "identity-test-0", "reply": ""}])
    counts = grade_file(task, responses, tmp_path / "out.jsonl")
    judged = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["correct"] for row in judged] == [True, False, True, False]
    assert [row["answer"] for row in judged] == ["0", "2", "2", None]
    assert [row["why"] for row in judged] == ["right", "wrong", "right", "no answer"]
    assert [row["gold"] for row in judged] == ["0", "1", "2", "0"]
    assert [row.get("mine") for row in judged] == [0, 1, 2, None]  # what came with a line goes out with it
    assert counts == {"right": 2, "wrong": 1, "no answer": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


class Graded(Identity):
    """Symbols 0 to 9, read as mathematics."""

    def __init__(self) -> None:
        super().__init__(symbols=10, test=10)
        self.grader = MathGrader(seconds=2.0)

    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        return self.grader.grade_many([(problem.target, reply) for problem, reply in pairs])


def test_two_thousand_plain_answers_a_second_from_file_to_file(tmp_path: Path) -> None:
    """In seconds of this process, whatever else the machine does; the workers, which are not in them, have no part."""
    task = Graded()
    rows = [
        {"id": f"identity-train-{i}", "reply": f"Work {i}. So the answer is \\boxed{{{(i + i % 2) % 10}}}."}
        for i in range(4000)
    ]
    responses = _write(tmp_path / "in.jsonl", [*rows])
    started = time.process_time()
    counts = grade_file(task, responses, tmp_path / "out.jsonl")
    assert time.process_time() - started < 4000 / 2000
    assert counts == {"right": 2000, "wrong": 2000} and task.grader._pool._workers is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"id": "identity-test-0"}', "line 2: field 'reply' is missing"),
        ('{"reply": "1"}', "line 2: field 'id' is missing"),
        ('{"id": "nobody", "reply": "1"}', "line 2: field 'id' is 'nobody'"),
        ('{"id": "identity-test-0", "reply": 1}', "line 2: field 'reply' is 1, not text"),
        ('{"id": "identity-test-0", "reply": "1"', "line 2: not JSON"),
        ("[1]", "line 2: not a JSON object"),
        ("[" * 5000, "line 2: not JSON"),
    ],
)
def test_a_bad_line_is_named_and_no_verdict_is_lost(tmp_path: Path, line: str, said: str) -> None:
    responses = tmp_path / "in.jsonl"
    responses.write_text('{"id": "identity-test-0", "reply": "0"}\n' + line + "\n")
    verdicts = tmp_path / "out.jsonl"
    verdicts.write_text("verdicts of yesterday\n")
    with pytest.raises(UserError, match="in.jsonl, " + said.replace("[", "\\[")):
        grade_file(Identity(symbols=3, test=3), responses, verdicts)
    assert verdicts.read_text() == "verdicts of yesterday\n"
    assert len(list(tmp_path.iterdir())) == 2


def test_files_that_cannot_be_read_or_written_are_named(tmp_path: Path) -> None:
    task = Identity(symbols=3, test=3)
    with pytest.raises(UserError, match=r"nowhere\.jsonl: cannot be read"):
        grade_file(task, tmp_path / "nowhere.jsonl", tmp_path / "out.jsonl")
    responses = _write(tmp_path / "in.jsonl", [])
    with pytest.raises(UserError, match=r"in\.jsonl.*: cannot be written"):
        grade_file(task, responses, tmp_path / "in.jsonl" / "folder" / "out.jsonl")


def test_what_is_not_utf8_is_named_and_a_lone_surrogate_is_carried_through(tmp_path: Path) -> None:
    task = Identity(symbols=3, test=3)
    responses = tmp_path / "in.jsonl"
    responses.write_bytes(b'{"id": "identity-test-0", "reply": "\xff"}\n')
    with pytest.raises(UserError, match="line 1: not JSON"):
        grade_file(task, responses, tmp_path / "out.jsonl")
    responses.write_text('{"id": "identity-test-0", "reply": "\\ud800"}\n')
    grade_file(task, responses, tmp_path / "out.jsonl")
    assert json.loads((tmp_path / "out.jsonl").read_text())["reply"] == "\ud800"
