"""Schoolbook algorithms that write an execution trace, which serves as a chain of thought.

Havrilla and Iyer 2024 (arXiv 2402.04004) execute add, sub, mul, floor-div, mod, sort, median and gcd on traced
integers, with errors during the execution (dynamic noise). Every number of an algorithm passes through
``Trace.number``: operands, digits, carries, partial results and the result. There, each digit is replaced with
probability p by a digit from 0 to 8, the range of the authors' code. Leading zeros receive no noise, so zero stays
zero. The algorithm continues with the wrong number, so errors propagate and change loops and branches. A trace that
reaches 300 lines is cut, and its result is 0.

Digits are separated by spaces (``4 7``), so that a digit is one token in any vocabulary. An algorithm that another
algorithm calls is executed with noise, but its lines are not written. For example, mul hides its additions. The wording
of the lines is not the authors'.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

LONGEST = 300  # lines of a trace
BELOW = 9  # upper bound (exclusive) of a noise digit: the authors' code calls numpy's randint(0, 9)


class TooLongError(Exception):
    """A trace has reached 300 lines."""


class Trace:
    """The lines of one execution.

    Args:
        noise: Probability that a digit of a number is replaced.
        rng: The random generator of the noise.
    """

    def __init__(self, noise: float, rng: np.random.Generator) -> None:
        self.lines: list[str] = []
        self._noise, self._rng, self._depth = noise, rng, 0

    def number(self, value: int) -> int:
        """Return a number with dynamic noise.

        Args:
            value: The number that the algorithm computed.

        Returns:
            The number that the algorithm continues with.
        """
        if not self._noise:
            return value
        digits, sign = str(abs(value)), -1 if value < 0 else 1
        if digits == "0":
            return 0
        replace = self._rng.random(len(digits)) < self._noise
        noise = self._rng.integers(0, BELOW, len(digits))
        return sign * int("".join(str(n) if r else d for d, r, n in zip(digits, replace, noise, strict=True)))

    def write(self, line: str) -> None:
        """Append a line to the trace, unless another algorithm called this one.

        Args:
            line: The line, without the newline.

        Raises:
            TooLongError: If the trace reaches ``LONGEST`` lines.
        """
        if not self._depth:
            self.lines.append(line)
            if len(self.lines) >= LONGEST:
                raise TooLongError

    def within(self, algorithm: Callable[..., int], *operands: int) -> int:
        """Execute another algorithm without writing its lines.

        Args:
            algorithm: The algorithm.
            *operands: Its operands.

        Returns:
            Its result.
        """
        self._depth += 1
        try:
            return algorithm(self, *operands)
        finally:
            self._depth -= 1


def spaced(value: int) -> str:
    """Format a number with spaces between its digits: ``- 4 7``."""
    return " ".join(str(value))


def listed(values: Sequence[int]) -> str:
    """Format numbers as a list: ``4 7 , 1 2``."""
    return " , ".join(map(spaced, values))


def add(t: Trace, x: int, y: int) -> int:
    """Add digit by digit from the right, with a carry."""
    digits, carry, place = 0, 0, 0
    while x or y:
        a, b, x, y = (t.number(part) for part in (x % 10, y % 10, x // 10, y // 10))
        total = t.number(a + b + carry)
        t.write(f"{spaced(a)} + {spaced(b)} + {spaced(carry)} = {spaced(total)}")
        digits, carry, place = digits + total % 10 * 10**place, t.number(total // 10), place + 1
    return t.number(digits + carry * 10**place)


def sub(t: Trace, x: int, y: int) -> int:
    """Subtract digit by digit from the right, with a borrow; without noise, x is at least y."""
    digits, borrow, place = 0, 0, 0
    while x or y:
        a, b, x, y = (t.number(part) for part in (x % 10, y % 10, x // 10, y // 10))
        ten = 10 if a < b + borrow else 0
        rest = t.number(max(a + ten - b - borrow, 0))
        t.write(f"{spaced(a + ten)} - {spaced(b)} - {spaced(borrow)} = {spaced(rest)}")
        digits, borrow, place = digits + rest % 10 * 10**place, 1 if ten else 0, place + 1
    return t.number(digits)


def mul(t: Trace, x: int, y: int) -> int:
    """Multiply x by each digit of y, shift the products, and add them."""
    total, shift = t.number(0), 1
    while y:
        digit, y = t.number(y % 10), t.number(y // 10)
        part = t.number(x * digit * shift)
        new_total = t.within(add, total, part)
        t.write(f"{spaced(x)} * {spaced(digit * shift)} = {spaced(part)} ; {spaced(total)} + = {spaced(new_total)}")
        total, shift = new_total, shift * 10
    return total


def div(t: Trace, x: int, y: int) -> int:
    """Return the quotient of a long division, rounded down."""
    return _divide(t, x, y)[0]


def mod(t: Trace, x: int, y: int) -> int:
    """Return the remainder of a long division."""
    return _divide(t, x, y)[1]


def _divide(t: Trace, x: int, y: int) -> tuple[int, int]:
    quotient = rest = 0
    for digit in map(int, str(x)):
        rest = t.number(rest * 10 + digit)
        times, left = 0, rest
        while y and left >= y and times < 9:  # with noise, y may fit into the rest ten times or more
            left = t.within(sub, left, y)
            times += 1
        t.write(f"{spaced(rest)} / {spaced(y)} = {spaced(times)} ; {spaced(left)}")
        quotient, rest = t.number(quotient * 10 + times), left
    return quotient, rest


def gcd(t: Trace, x: int, y: int) -> int:
    """Return the greatest common divisor, by Euclid's algorithm."""
    while y:
        rest = t.within(mod, x, y)
        t.write(f"{spaced(x)} mod {spaced(y)} = {spaced(rest)}")
        x, y = y, rest
    return x


def sort(t: Trace, *numbers: int) -> list[int]:
    """Sort numbers by selection sort, smallest first."""
    rest, ordered = list(numbers), []
    while rest:
        smallest = min(range(len(rest)), key=rest.__getitem__)
        ordered.append(t.number(rest.pop(smallest)))
        t.write(f"{spaced(ordered[-1])} | {listed(rest)}".rstrip())
    return ordered


def median(t: Trace, *numbers: int) -> int:
    """Return the median; for an even count, the mean of the two middle numbers, rounded down."""
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
    """Execute an operation and return its trace.

    Args:
        name: Name of the operation, a key of ``OPERATIONS``.
        operands: The operands, at least 0.
        noise: Probability of dynamic noise per digit.
        rng: The random generator of the noise.

    Returns:
        The lines of the trace, and the formatted result, which is 0 if the trace is too long.
    """
    trace = Trace(noise, rng)
    try:
        result = OPERATIONS[name](trace, *(trace.number(operand) for operand in operands))
    except TooLongError:
        result = 0
    return trace.lines, listed(result) if isinstance(result, list) else spaced(result)
