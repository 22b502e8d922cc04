"""Define the names of the splits, and assign generated questions to splits."""

from __future__ import annotations

import zlib
from typing import Literal

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
PARTS = 8  # number of hash buckets: two for test, one for validation, five for training


def part(question: str) -> Split:
    """Return the split of a question, which depends only on a hash of the text.

    Args:
        question: The text of the question.

    Returns:
        The split. The splits of generated questions are therefore disjoint.
    """
    bucket = zlib.crc32(question.encode()) % PARTS
    return "test" if bucket < 2 else "val" if bucket == 2 else "train"
