r"""What a second attempt did to a first: gained, spoilt, moved or merely repeated.

Kumar et al. 2024, "Training Language Models to Self-Correct via Reinforcement Learning" (SCoRe, arXiv 2409.12917),
section 3. Over all problems x with attempts y_1, y_2 and correctness r in {0, 1}:

    Acc@t      = E[r(y_t)]
    delta      = Acc@t2 - Acc@t1 = (i->c) - (c->i)
    i->c       = E[(1 - r(y_1)) r(y_2)]          share of ALL problems that the second attempt mended
    c->i       = E[r(y_1) (1 - r(y_2))]          share of ALL problems that it spoilt
    fix rate   = i->c / (1 - Acc@t1)             of those wrong at first
    break rate = c->i / Acc@t1                   of those right at first
    edit distance ratio = Levenshtein(y_1, y_2) / (|y_1| + |y_2|)       in characters; 0 for equal texts

``first`` and ``second`` are the two turns of [problem, sample] arrays. What comes back has one number a problem, the
mean over its samples, so that an interval can be taken over problems. The two conditional rates are single numbers,
because their denominator is random; ``ratio_by_problem`` gives numbers a problem whose mean such a rate is:

    R = E[y] / E[x]        R + (y - R x) / E[x]        linearised (Cochran 1977, Sampling Techniques, section 6.5)
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from rapidfuzz.distance import Levenshtein

UNEDITED_BELOW = 0.1  # the first bin of SCoRe's histogram


def unedited(ratio: Float[np.ndarray, "p n"]) -> Float[np.ndarray, " p"]:
    """Share of samples whose second attempt hardly edits the first; ``ratio`` is ``correction.edit_distance``'s."""
    return (ratio < UNEDITED_BELOW).mean(axis=1)


CLASSES = ("i→i", "i→c", "c→i", "c→c")
"""What may become of an attempt, in the order of ``classes``: incorrect or correct, before and after."""


def accuracy(correct: Bool[np.ndarray, "p n k"]) -> Float[np.ndarray, "p k"]:
    """Acc@t of every problem at every turn."""
    return correct.mean(axis=1)


def delta(first: Bool[np.ndarray, "p n"], second: Bool[np.ndarray, "p n"]) -> Float[np.ndarray, " p"]:
    """Acc of ``second`` less Acc of ``first``, from -1 to 1."""
    return second.mean(axis=1) - first.mean(axis=1)


def i_to_c(first: Bool[np.ndarray, "p n"], second: Bool[np.ndarray, "p n"]) -> Float[np.ndarray, " p"]:
    """Share of samples wrong at first and right after."""
    return (~first & second).mean(axis=1)


def c_to_i(first: Bool[np.ndarray, "p n"], second: Bool[np.ndarray, "p n"]) -> Float[np.ndarray, " p"]:
    """Share of samples right at first and wrong after."""
    return (first & ~second).mean(axis=1)


def fix_rate(first: Bool[np.ndarray, "p n"], second: Bool[np.ndarray, "p n"]) -> float:
    """Of the attempts wrong at first, the share right after; nan where none was wrong."""
    return float(second[~first].mean()) if (~first).any() else float("nan")


def break_rate(first: Bool[np.ndarray, "p n"], second: Bool[np.ndarray, "p n"]) -> float:
    """Of the attempts right at first, the share wrong after; nan where none was right."""
    return float((~second[first]).mean()) if first.any() else float("nan")


def ratio_by_problem(part: Float[np.ndarray, " p"], whole: Float[np.ndarray, " p"]) -> Float[np.ndarray, " p"]:
    """A number a problem whose mean is sum(part) / sum(whole) and whose spread is its; nan where whole is all 0."""
    if not whole.any():
        return np.full(part.shape, np.nan)
    ratio = part.sum() / whole.sum()
    found: np.ndarray = ratio + (part - ratio * whole) / whole.mean()
    return found


def rates(first: Bool[np.ndarray, " p"], second: Bool[np.ndarray, " p"]) -> dict[str, Float[np.ndarray, " p"]]:
    """``fix_rate`` and ``break_rate`` as numbers a problem; one that is of no attempt at all is left out."""
    found = {
        "fix_rate": ratio_by_problem((~first & second).astype(float), (~first).astype(float)),
        "break_rate": ratio_by_problem((first & ~second).astype(float), first.astype(float)),
    }
    return {name: values for name, values in found.items() if not np.isnan(values).any()}


def classes(first: Bool[np.ndarray, "p n"], second: Bool[np.ndarray, "p n"]) -> Int[np.ndarray, "p n"]:
    """Which of ``CLASSES`` each pair of attempts belongs to, as an index into it."""
    return 2 * first.astype(int) + second.astype(int)


def change_rate(first: Shaped[np.ndarray, "p n"], second: Shaped[np.ndarray, "p n"]) -> Float[np.ndarray, " p"]:
    """Share of samples whose ANSWER differs between the turns; none found (None) is an answer like any other here."""
    return (first != second).astype(float).mean(axis=1)


def copy_rate(first: Shaped[np.ndarray, "p n"], second: Shaped[np.ndarray, "p n"]) -> Float[np.ndarray, " p"]:
    """Share of samples whose TEXT is the same, character by character: the collapse of a model that stopped trying."""
    return (first == second).astype(float).mean(axis=1)


def edit_distance(first: Shaped[np.ndarray, "p n"], second: Shaped[np.ndarray, "p n"]) -> Float[np.ndarray, "p n"]:
    """The edit distance ratio of every pair of texts, from 0 (equal) to 1 (something against nothing)."""
    pairs = zip(first.ravel().tolist(), second.ravel().tolist(), strict=True)
    ratios = [Levenshtein.distance(one, two) / max(1, len(one) + len(two)) for one, two in pairs]
    return np.array(ratios, dtype=float).reshape(first.shape)


def histogram(ratio: Float[np.ndarray, "p n"], bins: int) -> Float[np.ndarray, " bins"]:
    """Share of all pairs in each of ``bins`` equal parts of [0, 1], the last including 1; zeros for no pairs."""
    counts, _ = np.histogram(ratio, bins=bins, range=(0.0, 1.0))
    return counts / max(1, ratio.size)
