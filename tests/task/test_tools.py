"""The calculator: exact, total, and it runs nothing."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amend.task.tools import Calculator, evaluate, format_value, strip_annotations


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("48/2", "24"), ("16-3-4", "9"), ("0.2*50", "10"), ("1/3", "0.333333"), ("2/3", "0.666667"), ("-1/4", "-0.25"),
        ("(1+2)*3", "9"), ("+5", "5"), ("1,000*5%", "50"), ("$3*2", "6"), (".5+.5", "1"), ("007", "7"), ("1.50", "1.5"),
        ("100*(1-.2)", "80"), ("2 * 3", "6"), ("0/5", "0"), ("1.05*20", "21"),
    ],
)  # fmt: skip
def test_what_it_computes(expression: str, value: str) -> None:
    assert format_value(evaluate(expression) or Fraction(0)) == value


@pytest.mark.parametrize(
    "expression",
    ["", " ", "1/0", "1/(2-2)", "2**9", "9//2", "7%3", "x", "__import__('os')", "1;2", "1 2", "(1", "1)", "()", "1+",
     "1e9", "0x10", "1_000", "[1]", "1<2", "1 if 1 else 2", "lambda: 1", "1" * 101, "(" * 50 + "1", "1\n+1", "１"],
)  # fmt: skip
def test_what_it_has_no_answer_to(expression: str) -> None:
    assert evaluate(expression) is None


@given(st.text(alphabet="0123456789+-*/()., $%", max_size=120) | st.text(max_size=120))
def test_it_is_total_and_fast(expression: str) -> None:
    began = time.perf_counter()
    value = evaluate(expression)
    assert value is None or format_value(value)
    assert time.perf_counter() - began < 1.0


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6), st.sampled_from("+-*"))
def test_integers_are_exact(a: int, b: int, operation: str) -> None:
    right = {"+": a + b, "-": a - b, "*": a * b}[operation]
    assert format_value(evaluate(f"({a}){operation}({b})") or Fraction(0)) == str(right)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("48/2 = <<48/2=", "24>>"),
        ("<<1+1=2>>2 and <<2+2=", "4>>"),
        ("48/2 =", None),
        ("<<48/2= ", None),
        ("<<48/2=24>>", None),
        ("<<=", None),
        ("<<x=", None),
        ("<<1\n+1=", None),
        ("<" * 5000 + "=", None),
        ("", None),
    ],
)
def test_what_is_a_call(text: str, answer: str | None) -> None:
    assert Calculator().answer(text) == answer


@given(st.text() | st.lists(st.sampled_from(["<<", "1+1", "=", "2", ">>", " so ", "\n"])).map("".join))
def test_pieces_join_to_the_text_and_marks_go(text: str) -> None:
    pieces = Calculator().split_reply(text)
    assert "".join(piece for piece, _ in pieces) == text
    assert all(piece.endswith(">>") for piece, tool in pieces if tool)
    assert Calculator().answer(text) is None or text.endswith("=")
    assert len(strip_annotations(text)) <= len(text)
