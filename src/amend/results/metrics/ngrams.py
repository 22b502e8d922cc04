"""Count the n-grams of groups of texts, for distinct-n, EAD, self-BLEU and the Vendi score.

A token is a run of letters and digits, or one other visible character: the tokens of ``7*7=49 ok`` are 7, *, 7, =, 49
and ok. A group holds the texts whose diversity is measured together. All counts are flat integer arrays, because Python
loops over n-grams would be too slow for 100,000 texts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int

TOKEN = re.compile(r"\w+|[^\w\s]")
LARGEST = 2**62  # bound for codes that combine a text or a group with an n-gram, so that they fit into int64
Counts = tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"], Int[np.ndarray, " m"]]


@dataclass(frozen=True)
class NGrams:
    """The t tokens of d texts in groups, concatenated."""

    token: Int[np.ndarray, " t"]
    """The id of each token, from 0 to ``vocabulary`` - 1."""
    text: Int[np.ndarray, " t"]
    """The index of the text of each token, ascending."""
    length: Int[np.ndarray, " d"]
    """The number of tokens of each text."""
    group: Int[np.ndarray, " d"]
    """The index of the group of each text, from 0 to ``groups`` - 1."""
    groups: int
    """The number of groups; a group may have no text."""
    vocabulary: int
    """The number of distinct tokens, at least 1."""
    _cache: dict[int, Counts] = field(default_factory=dict, repr=False, compare=False)

    def counts(self, n: int) -> Counts:
        """Count the n-grams of each text. Later calls with the same ``n`` use a cache.

        Args:
            n: The length of the n-grams, in tokens.

        Returns:
            Three arrays with one entry per distinct n-gram of each text: the index of the text, a number of at least 0
            that identifies the n-gram, and its count in the text. They are sorted by text, then by n-gram.
        """
        if n not in self._cache:
            self._cache[n] = self._count(n)
        return self._cache[n]

    def _count(self, n: int) -> Counts:
        size = len(self.token) - n + 1
        if size <= 0:
            empty = np.zeros(0, dtype=int)
            return empty, empty, empty
        code, kinds = self.token[:size].copy(), self.vocabulary
        for i in range(1, n):
            # Renumbering the codes sorts them, so it happens only if the next product would overflow.
            if kinds * self.vocabulary * max(len(self.length), self.groups) > LARGEST:
                distinct, code = np.unique(code, return_inverse=True)
                kinds = len(distinct)
            code, kinds = code * self.vocabulary + self.token[i : i + size], kinds * self.vocabulary
        inside = self.text[:size] == self.text[n - 1 :]  # excludes n-grams that span two texts
        text, code = self.text[:size][inside], code[inside]
        width = int(code.max(initial=0)) + 1
        pair, count = np.unique(text * width + code, return_counts=True)
        return pair // width, pair % width, count


def count_ngrams(texts: Sequence[str], group: Sequence[int] | np.ndarray, groups: int) -> NGrams:
    """Split texts into tokens, for ``NGrams.counts``.

    Args:
        texts: The d texts.
        group: The index of the group of each text, from 0 to ``groups`` - 1.
        groups: The number of groups.

    Returns:
        The tokens of the texts.
    """
    ids: dict[str, int] = {}
    lists = [[ids.setdefault(token, len(ids)) for token in TOKEN.findall(text)] for text in texts]
    length = np.array([len(tokens) for tokens in lists], dtype=int)
    flat = np.array([token for tokens in lists for token in tokens], dtype=int)
    return NGrams(
        token=flat,
        text=np.repeat(np.arange(len(texts)), length),
        length=length,
        group=np.asarray(group, dtype=int),
        groups=groups,
        vocabulary=max(len(ids), 1),
    )
