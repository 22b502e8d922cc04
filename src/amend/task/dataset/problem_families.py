r"""The families of built-in problems: their questions, attempts and graders.

Self-correction needs problems that are easier to check than to solve, and each family has this property. An attempt
names a candidate answer, checks it, writes the residual (``3 low``, ``7 high`` or ``ok``), and boxes the candidate. In
four of the five families, the residual determines the right answer. In ``target`` it does not, so the next attempt has
to guess again. This family is difficult on purpose.

    solve     Solve for x: 3*x+7=49.                     x=13: 3*13=39+7=46 3 low \boxed{13}
    factor    Write 91 as a product of two factors.      7*12=84 7 low \boxed{7*12}
    pair      Find two numbers with sum 12 and product 35.   4,8: 4*8=32 3 low \boxed{4,8}
    sum       Compute 57+38.                             94: 94-38=56 1 low \boxed{94}
    target    Make 24 from 3, 5 and 9.                   9*3-5=22 2 low \boxed{9*3-5}

``is_right`` accepts every string, also long or malicious ones. It returns True or False in time linear in the length of
the string, which is limited.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import permutations

import numpy as np

ProblemParams = tuple[int, ...]
LONGEST_ANSWER = 64  # characters; all right answers are much shorter
_INTEGER = re.compile(r"[+-]?[0-9]{1,12}")


@dataclass(frozen=True)
class Family:
    """One kind of problem.

    The parameters of a problem ("facts") are the integers that determine its question. Answers are strings.

    Args:
        name: Name of the family.
        subject: Subject of the problems, such as "Algebra".
        sample: Samples the parameters of a problem, from a random generator and a level from 1 to 5.
        question: Returns the question.
        target: Returns one right answer; there may be others.
        value: Checks a well-formed candidate and returns (written check, value of the candidate, wanted value).
        near_miss: Samples a near miss, that is, a wrong candidate with a typical mistake.
        is_right: Returns whether an answer is right. Any string is a valid answer.
    """

    name: str
    subject: str
    sample: Callable[[np.random.Generator, int], ProblemParams]
    question: Callable[[ProblemParams], str]
    target: Callable[[ProblemParams], str]
    value: Callable[[ProblemParams, str], tuple[str, int, int]]
    near_miss: Callable[[ProblemParams, np.random.Generator], str]
    is_right: Callable[[ProblemParams, str], bool]

    def solution(self, facts: ProblemParams, candidate: str) -> str:
        r"""Return the text of an attempt: the check of a candidate, the residual, and the box.

        Args:
            facts: Parameters of the problem.
            candidate: A well-formed answer.

        Returns:
            The text, such as ``x=13: 3*13=39+7=46 3 low \boxed{13}``.
        """
        check, value, wanted = self.value(facts, candidate)
        residual = "ok" if value == wanted else f"{abs(value - wanted)} {'low' if value < wanted else 'high'}"
        return f"{check} {residual} \\boxed{{{candidate}}}"


def integer(text: str) -> int | None:
    """Parse an integer of at most 12 ASCII digits.

    Args:
        text: The text. Underscores and digits of other scripts are not allowed.

    Returns:
        The integer, or None if the text is not such an integer.
    """
    text = text.strip()
    return int(text) if _INTEGER.fullmatch(text) else None


def integers(text: str, separator: str) -> list[int] | None:
    """Parse a list of integers.

    Args:
        text: The text.
        separator: The text between two integers.

    Returns:
        The integers, or None if a part is not an integer or if the text is too long.
    """
    parts = [integer(part) for part in text.split(separator)] if len(text) <= LONGEST_ANSWER else [None]
    return None if None in parts else [part for part in parts if part is not None]


def miss(rng: np.random.Generator) -> int:
    """Sample the size of a mistake: 1 to 4 with decreasing probability, with a random sign.

    Args:
        rng: The random generator.

    Returns:
        The difference to the right number.
    """
    return int(rng.choice([1, 2, 3, 4], p=[0.5, 0.25, 0.15, 0.1])) * int(rng.choice([-1, 1]))


def draw(rng: np.random.Generator, low: int, high: int) -> int:
    """Sample an integer uniformly.

    Args:
        rng: The random generator.
        low: Lower bound, inclusive.
        high: Upper bound, inclusive.

    Returns:
        The integer.
    """
    return int(rng.integers(low, high + 1))


# solve: a * x + b = c -----------------------------------------------------------------------------------------------

_SOLVE_X = {1: (2, 9), 2: (3, 12), 3: (6, 18), 4: (10, 30), 5: (15, 45)}


def _solve_sample(rng: np.random.Generator, level: int) -> ProblemParams:
    a, x, b = draw(rng, 2, 9), draw(rng, *_SOLVE_X[level]), draw(rng, 1, 9)
    return a, b, a * x + b


def _solve_value(facts: ProblemParams, candidate: str) -> tuple[str, int, int]:
    a, b, c = facts
    x = int(candidate)
    return f"x={x}: {a}*{x}={a * x}+{b}={a * x + b}", a * x + b, c


def _solve_near_miss(facts: ProblemParams, rng: np.random.Generator) -> str:
    a, b, c = facts
    x = (c - b) // a
    offset = miss(rng)
    return str(x + offset if x + offset > 0 else x + abs(offset))


def _solve_is_right(facts: ProblemParams, answer: str) -> bool:
    a, b, c = facts
    x = integer(re.sub(r"^\s*x\s*=", "", answer[:LONGEST_ANSWER]))
    return x is not None and a * x + b == c


# factor: p * q = n, both factors above one --------------------------------------------------------------------------

_FACTOR_Q = {1: (2, 9), 2: (4, 12), 3: (7, 16), 4: (10, 22), 5: (14, 30)}


def _factor_sample(rng: np.random.Generator, level: int) -> ProblemParams:
    p, q = draw(rng, 2, 9), draw(rng, *_FACTOR_Q[level])
    return p, q, p * q


def _factor_value(facts: ProblemParams, candidate: str) -> tuple[str, int, int]:
    p, q = (int(part) for part in candidate.split("*"))
    return f"{p}*{q}={p * q}", p * q, facts[2]


def _factor_near_miss(facts: ProblemParams, rng: np.random.Generator) -> str:
    p, q, _ = facts
    offset = miss(rng)
    return f"{p}*{q + offset if q + offset > 1 else q + abs(offset)}"


def _factor_is_right(facts: ProblemParams, answer: str) -> bool:
    factors = integers(answer, "*")
    return factors is not None and len(factors) == 2 and min(factors) > 1 and factors[0] * factors[1] == facts[2]


# pair: p + q = s, p * q = m -----------------------------------------------------------------------------------------

_PAIR = {1: 8, 2: 12, 3: 18, 4: 24, 5: 30}


def _pair_sample(rng: np.random.Generator, level: int) -> ProblemParams:
    p, q = sorted((draw(rng, 1, _PAIR[level] // 2), draw(rng, 2, _PAIR[level])))
    return p, q, p + q, p * q


def _pair_value(facts: ProblemParams, candidate: str) -> tuple[str, int, int]:
    p, q = (int(part) for part in candidate.split(","))
    return f"{p},{q}: {p}*{q}={p * q}", p * q, facts[3]


def _pair_near_miss(facts: ProblemParams, rng: np.random.Generator) -> str:
    p, q, s, _ = facts
    for _ in range(8):
        other = p + miss(rng)
        if 0 < other < s and other not in (p, q):
            return f"{min(other, s - other)},{max(other, s - other)}"
    return f"{p},{q + 1}"


def _pair_is_right(facts: ProblemParams, answer: str) -> bool:
    pair = integers(answer.strip().removeprefix("(").removesuffix(")"), ",")
    return pair is not None and len(pair) == 2 and sum(pair) == facts[2] and pair[0] * pair[1] == facts[3]


# sum: a + b with b of either sign; the check subtracts b again ------------------------------------------------------

_SUM = {1: (2, 12), 2: (5, 25), 3: (10, 60), 4: (20, 120), 5: (50, 400)}


def _sum_sample(rng: np.random.Generator, level: int) -> ProblemParams:
    a, b = draw(rng, *_SUM[level]), draw(rng, *_SUM[level])
    return (a, b) if rng.random() < 0.5 else (max(a, b) + 1, -min(a, b))


def _signed(b: int) -> str:
    return f"+{b}" if b >= 0 else str(b)


def _sum_value(facts: ProblemParams, candidate: str) -> tuple[str, int, int]:
    a, b = facts
    c = int(candidate)
    return f"{c}: {c}{_signed(-b)}={c - b}", c - b, a


def _sum_near_miss(facts: ProblemParams, rng: np.random.Generator) -> str:
    total = sum(facts)
    scale = 10 if total > 30 and rng.random() < 0.3 else 1  # a mistake in the units, or a lost carry in the tens
    offset = scale * miss(rng)
    return str(total + offset if total + offset > 0 else total + abs(offset))


def _sum_is_right(facts: ProblemParams, answer: str) -> bool:
    return integer(answer[:LONGEST_ANSWER]) == sum(facts)


# target: an expression that uses each of three numbers once and has the target value --------------------------------

_TARGET_NUMBER = {1: 5, 2: 6, 3: 7, 4: 8, 5: 9}


@cache
def expressions(numbers: tuple[int, int, int]) -> dict[str, int]:
    """Return the expressions of three numbers that have a positive value.

    Args:
        numbers: The numbers.

    Returns:
        A dict from the text of each expression to its value. Expressions that differ only by commutation appear once.
    """
    forms: dict[str, int] = {}
    for a, b, c in set(permutations(numbers)):
        if a >= b >= c:
            forms[f"{a}+{b}+{c}"] = a + b + c
            forms[f"{a}*{b}*{c}"] = a * b * c
        if a >= b:
            forms[f"{a}+{b}-{c}"] = a + b - c
            forms[f"{a}*{b}+{c}"] = a * b + c
            forms[f"{a}*{b}-{c}"] = a * b - c
            forms[f"({a}+{b})*{c}"] = (a + b) * c
        if a > b:
            forms[f"({a}-{b})*{c}"] = (a - b) * c
        if b >= c:
            forms[f"{a}-{b}-{c}"] = a - b - c
            forms[f"{a}-{b}*{c}"] = a - b * c
    return {text: value for text, value in forms.items() if value > 0}


def _target_sample(rng: np.random.Generator, level: int) -> ProblemParams:
    top = _TARGET_NUMBER[level]
    a, b, c = sorted(draw(rng, 1, top) for _ in range(3))
    values = sorted(set(expressions((a, b, c)).values()))
    return a, b, c, int(rng.choice(values))


def _target_solutions(facts: ProblemParams) -> list[str]:
    a, b, c, wanted = facts
    return [text for text, value in expressions((a, b, c)).items() if value == wanted]


def _target_value(facts: ProblemParams, candidate: str) -> tuple[str, int, int]:
    a, b, c, wanted = facts
    value = expressions((a, b, c))[candidate]
    return f"{candidate}={value}", value, wanted


def _target_near_miss(facts: ProblemParams, rng: np.random.Generator) -> str:
    a, b, c, wanted = facts
    wrong = [text for text, value in expressions((a, b, c)).items() if value != wanted]
    return wrong[int(rng.integers(len(wrong)))]


def _leaves(node: ast.expr) -> Iterator[int]:
    if isinstance(node, ast.BinOp):
        yield from _leaves(node.left)
        yield from _leaves(node.right)
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        yield node.value
    else:
        raise ValueError("allowed: integers, + - * / and parentheses")


def _evaluate(node: ast.expr) -> tuple[int, int]:
    """Return the value of an expression as an exact fraction (numerator, denominator)."""
    if not isinstance(node, ast.BinOp):
        return (next(_leaves(node)), 1)
    (n, d), (m, e) = _evaluate(node.left), _evaluate(node.right)
    match node.op:
        case ast.Add():
            return n * e + m * d, d * e
        case ast.Sub():
            return n * e - m * d, d * e
        case ast.Mult():
            return n * m, d * e
        case ast.Div():
            if m == 0:
                raise ZeroDivisionError
            return n * e, d * m
    raise ValueError("allowed: + - * /")


def _target_is_right(facts: ProblemParams, answer: str) -> bool:
    *numbers, wanted = facts
    answer = answer.strip()
    if not re.fullmatch(rf"[0-9+\-*/() ]{{1,{LONGEST_ANSWER}}}", answer):
        return False
    try:
        tree = ast.parse(answer, mode="eval").body
        if sorted(_leaves(tree)) != sorted(numbers):
            return False
        n, d = _evaluate(tree)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return False  # an answer that is not an expression of these numbers is wrong
    return n == wanted * d


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            "solve",
            "Algebra",
            _solve_sample,
            lambda f: f"Solve for x: {f[0]}*x+{f[1]}={f[2]}.",
            lambda f: str((f[2] - f[1]) // f[0]),
            _solve_value,
            _solve_near_miss,
            _solve_is_right,
        ),
        Family(
            "factor",
            "Number Theory",
            _factor_sample,
            lambda f: f"Write {f[2]} as a product of two factors.",
            lambda f: f"{f[0]}*{f[1]}",
            _factor_value,
            _factor_near_miss,
            _factor_is_right,
        ),
        Family(
            "pair",
            "Intermediate Algebra",
            _pair_sample,
            lambda f: f"Find two numbers with sum {f[2]} and product {f[3]}.",
            lambda f: f"{f[0]},{f[1]}",
            _pair_value,
            _pair_near_miss,
            _pair_is_right,
        ),
        Family(
            "sum",
            "Prealgebra",
            _sum_sample,
            lambda f: f"Compute {f[0]}{_signed(f[1])}.",
            lambda f: str(f[0] + f[1]),
            _sum_value,
            _sum_near_miss,
            _sum_is_right,
        ),
        Family(
            "target",
            "Counting",
            _target_sample,
            lambda f: f"Make {f[3]} from {f[0]}, {f[1]} and {f[2]}.",
            lambda f: _target_solutions(f)[0],
            _target_value,
            _target_near_miss,
            _target_is_right,
        ),
    )
}
