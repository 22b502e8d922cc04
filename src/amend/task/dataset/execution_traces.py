"""Schoolbook algorithms that write down what they do: the execution trace is the chain of thought.

Havrilla and Iyer 2024 (arXiv 2402.04004) execute add, sub, mul, floor-div, mod, sort, median and gcd on traced
integers and let errors in while they run. ``Trace.number`` makes every number an algorithm handles: operands, digits,
carries, partial results and the result. Under dynamic noise each digit from the first non-zero one on is replaced with
probability p, every time a number is made, by one of 0 to 8 (their range). What comes after computes with the wrong
number: errors propagate, and loops and branches change. A trace that reaches 300 lines is cut and its result is 0.

Digits stand apart from each other (``4 7``), so that a digit is a token to any vocabulary. An algorithm inside another
one is carried out, noise and all, and not written (mul hides its additions). The lines' wording is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

LONGEST = 300  # lines
BELOW = 9  # digits that dynamic noise writes are below this: numpy's randint(0, 9), as in the authors' code


class TooLongError(Exception):
    """A trace has reached its 300th line."""


class Trace:
    """The lines of one execution; ``noise`` is the probability that a digit of a number goes wrong when it is made."""

    def __init__(self, noise: float, rng: np.random.Generator) -> None:
        self.lines: list[str] = []
        self._noise, self._rng, self._depth = noise, rng, 0

    def number(self, value: int) -> int:
        """The value as the execution holds it from now on."""
        if not self._noise:
            return value
        digits, sign = str(abs(value)), -1 if value < 0 else 1
        if digits == "0":
            return 0
        wrong = self._rng.random(len(digits)) < self._noise
        other = self._rng.integers(0, BELOW, len(digits))
        return sign * int("".join(str(o) if w else d for d, w, o in zip(digits, wrong, other, strict=True)))

    def write(self, line: str) -> None:
        """A line of the trace, where this algorithm is the one that was asked for."""
        if not self._depth:
            self.lines.append(line)
            if len(self.lines) >= LONGEST:
                raise TooLongError

    def within(self, algorithm: Callable[..., int], *operands: int) -> int:
        """What another algorithm makes of these, its lines not written."""
        self._depth += 1
        try:
            return algorithm(self, *operands)
        finally:
            self._depth -= 1


def spaced(value: int) -> str:
    """A number with its digits apart: ``- 4 7``."""
    return " ".join(str(value))


def listed(values: Sequence[int]) -> str:
    """Numbers in a row: ``4 7 , 1 2``."""
    return " , ".join(map(spaced, values))


def add(t: Trace, x: int, y: int) -> int:
    """Digit by digit from the right, with a carry."""
    digits, carry, place = 0, 0, 0
    while x or y:
        a, b, x, y = (t.number(part) for part in (x % 10, y % 10, x // 10, y // 10))
        total = t.number(a + b + carry)
        t.write(f"{spaced(a)} + {spaced(b)} + {spaced(carry)} = {spaced(total)}")
        digits, carry, place = digits + total % 10 * 10**place, t.number(total // 10), place + 1
    return t.number(digits + carry * 10**place)


def sub(t: Trace, x: int, y: int) -> int:
    """Digit by digit from the right, with a borrow; the larger comes first, but for noise."""
    digits, borrow, place = 0, 0, 0
    while x or y:
        a, b, x, y = (t.number(part) for part in (x % 10, y % 10, x // 10, y // 10))
        lent = 10 if a < b + borrow else 0
        left = t.number(max(a + lent - b - borrow, 0))
        t.write(f"{spaced(a + lent)} - {spaced(b)} - {spaced(borrow)} = {spaced(left)}")
        digits, borrow, place = digits + left % 10 * 10**place, 1 if lent else 0, place + 1
    return t.number(digits)


def mul(t: Trace, x: int, y: int) -> int:
    """The first times each digit of the second, shifted, added up."""
    total, shift = t.number(0), 1
    while y:
        digit, y = t.number(y % 10), t.number(y // 10)
        part = t.number(x * digit * shift)
        summed = t.within(add, total, part)
        t.write(f"{spaced(x)} * {spaced(digit * shift)} = {spaced(part)} ; {spaced(total)} + = {spaced(summed)}")
        total, shift = summed, shift * 10
    return total


def div(t: Trace, x: int, y: int) -> int:
    """Long division, rounded down."""
    return _divided(t, x, y)[0]


def mod(t: Trace, x: int, y: int) -> int:
    """What long division leaves."""
    return _divided(t, x, y)[1]


def _divided(t: Trace, x: int, y: int) -> tuple[int, int]:
    quotient = rest = 0
    for digit in map(int, str(x)):
        rest = t.number(rest * 10 + digit)
        times, left = 0, rest
        while y and left >= y and times < 9:  # by noise the rest may hold it ten times and more
            left = t.within(sub, left, y)
            times += 1
        t.write(f"{spaced(rest)} / {spaced(y)} = {spaced(times)} ; {spaced(left)}")
        quotient, rest = t.number(quotient * 10 + times), left
    return quotient, rest


def gcd(t: Trace, x: int, y: int) -> int:
    """Euclid's algorithm."""
    while y:
        rest = t.within(mod, x, y)
        t.write(f"{spaced(x)} mod {spaced(y)} = {spaced(rest)}")
        x, y = y, rest
    return x


def sort(t: Trace, *numbers: int) -> list[int]:
    """Selection sort: the smallest of what is left, again and again."""
    left, ordered = list(numbers), []
    while left:
        least = min(range(len(left)), key=left.__getitem__)
        ordered.append(t.number(left.pop(least)))
        t.write(f"{spaced(ordered[-1])} | {listed(left)}".rstrip())
    return ordered


def median(t: Trace, *numbers: int) -> int:
    """The middle of the sorted numbers; of an even count half the sum of the two in the middle, rounded down."""
    ordered = sort(t, *numbers)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    total = t.within(add, ordered[middle - 1], ordered[middle])
    t.write(f"{spaced(ordered[middle - 1])} + {spaced(ordered[middle])} = {spaced(total)}")
    half = t.within(div, total, 2)
    t.write(f"{spaced(total)} / 2 = {spaced(half)}")
    return half


Operation = Callable[..., "int | list[int]"]
OPERATIONS: dict[str, Operation] = {
    "add": add, "sub": sub, "mul": mul, "div": div, "mod": mod, "sort": sort, "median": median, "gcd": gcd,
}  # fmt: skip


def execute(name: str, operands: Sequence[int], noise: float, rng: np.random.Generator) -> tuple[list[str], str]:
    """The trace of an operation and what it comes to, as the last line says it; cut at 300 lines it comes to 0."""
    trace = Trace(noise, rng)
    try:
        result = OPERATIONS[name](trace, *(trace.number(operand) for operand in operands))
    except TooLongError:
        result = 0
    return trace.lines, listed(result) if isinstance(result, list) else spaced(result)
