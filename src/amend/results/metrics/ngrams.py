"""Texts as counts of n-grams, in groups: what distinct-n, EAD, self-BLEU and the Vendi score are all counted from.

A token is a run of letters and digits, or one other visible character: ``7*7=49 ok`` is 7, *, 7, =, 49, ok. A group is
whatever diversity is asked of: the attempts at one problem, or one attempt at each. Everything is flat integer arrays,
so that a hundred thousand texts take seconds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int

TOKEN = re.compile(r"\w+|[^\w\s]")
LARGEST = 2**62  # of a number that stands for a text, or a group, and an n-gram
Counts = tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"], Int[np.ndarray, " m"]]


@dataclass(frozen=True)
class NGrams:
    """Tokens of d texts, one after the other. ``group[i]`` is text i's group, from 0 to ``groups`` - 1."""

    token: Int[np.ndarray, " t"]
    text: Int[np.ndarray, " t"]
    """Which text each token belongs to, ascending."""
    length: Int[np.ndarray, " d"]
    group: Int[np.ndarray, " d"]
    groups: int
    vocabulary: int
    _counted: dict[int, Counts] = field(default_factory=dict, repr=False, compare=False)

    def counts(self, n: int) -> Counts:
        """(text, gram, count) of every n-gram of every text, each once; grams are numbers, 0 the least.

        Sorted by text, then gram. Counted once, however many measures ask.
        """
        if n not in self._counted:
            self._counted[n] = self._count(n)
        return self._counted[n]

    def _count(self, n: int) -> Counts:
        size = len(self.token) - n + 1
        if size <= 0:
            nothing = np.zeros(0, dtype=int)
            return nothing, nothing, nothing
        code, kinds = self.token[:size].copy(), self.vocabulary
        for i in range(1, n):
            if kinds * self.vocabulary * max(len(self.length), self.groups) > LARGEST:  # it takes a sort
                known, code = np.unique(code, return_inverse=True)
                kinds = len(known)
            code, kinds = code * self.vocabulary + self.token[i : i + size], kinds * self.vocabulary
        inside = self.text[:size] == self.text[n - 1 :]  # an n-gram does not reach into the next text
        text, code = self.text[:size][inside], code[inside]
        width = int(code.max(initial=0)) + 1
        pair, count = np.unique(text * width + code, return_counts=True)
        return pair // width, pair % width, count


def count_ngrams(texts: Sequence[str], group: Sequence[int] | np.ndarray, groups: int) -> NGrams:
    """The tokens of ``texts``; ``group`` says which of ``groups`` groups each is in."""
    known: dict[str, int] = {}
    lists = [[known.setdefault(token, len(known)) for token in TOKEN.findall(text)] for text in texts]
    length = np.array([len(tokens) for tokens in lists], dtype=int)
    flat = np.array([token for tokens in lists for token in tokens], dtype=int)
    return NGrams(
        token=flat,
        text=np.repeat(np.arange(len(texts)), length),
        length=length,
        group=np.asarray(group, dtype=int),
        groups=groups,
        vocabulary=max(len(known), 1),
    )
