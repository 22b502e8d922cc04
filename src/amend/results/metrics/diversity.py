r"""How different are the texts of a group: the attempts at one problem, or one attempt at each of many problems?

Within a problem and across problems are different questions and stand apart, as Kirk et al. 2023 (arXiv 2310.06452)
keep them; and both are asked of all outputs and of right ones alone, for nonsense is diverse. Over K texts of a group:

    distinct-n       distinct n-grams / all n-grams                                      Li et al. 2016 (1510.03055)
    EAD              mean over n = 1 ... 5 of  N / (V (1 - ((V - 1) / V)^C))             Liu et al. 2022 (2202.13587)
                     N distinct of C n-grams, V = 50,257 as Kirk et al. have it, whatever the tokenizer; what
                     distinct-n would be without its bias against long texts
    self-BLEU        mean over i of BLEU-4(y_i ; the others), 1 for copies               Zhu et al. 2018 (1802.01886)
    Vendi            exp(-sum lambda log lambda), lambda the eigenvalues of S / K        Friedman and Dieng 2022
                     S_ij the cosine of counts of 1- and 2-grams: from 1 (all alike) to K  (2210.02410)
    answer entropy   -sum p(a) log p(a) in nats, over the answers read out; none is no answer
    distinct answers how many

Each is nan for a group that it says nothing of: no text (no answer), and for self-BLEU fewer than two texts.
"""

from __future__ import annotations

import re

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from amend.results.metrics.ngrams import NGrams, count_ngrams


def token_entropy(logp: Float[np.ndarray, "p n"], tokens: Int[np.ndarray, "p n"]) -> Float[np.ndarray, " p"]:
    """Nats a token for each problem; ``logp`` that of whole replies drawn at temperature 1. nan where it is unknown."""
    found: np.ndarray = -logp.sum(axis=1) / np.maximum(tokens.sum(axis=1), 1)
    return found


def zero_variance(correct: Bool[np.ndarray, "p n"]) -> Float[np.ndarray, " p"]:
    """1.0 for a problem whose samples are all right or all wrong, 0.0 for another."""
    return (correct.all(axis=1) | ~correct.any(axis=1)).astype(float)


OPERATION = re.compile(r"\d+(?:\.\d+)?|[-+*/()^=]|\\(?:times|div|cdot)")


def operations(text: str) -> str:
    """The numbers and operators of a reply, in order; what it boxes at the end is not repeated."""
    return "".join(OPERATION.findall(text.split("\\boxed")[0]))


def unique_solutions(text: Shaped[np.ndarray, "p n"], keep: Bool[np.ndarray, "p n"]) -> Int[np.ndarray, " p"]:
    """Distinct solutions of each problem among those of its n samples that ``keep`` names (right ones, or all)."""
    found = [
        len({operations(str(reply)) for reply, kept in zip(replies, names, strict=True) if kept})
        for replies, names in zip(text.tolist(), keep.tolist(), strict=True)
    ]
    return np.array(found, dtype=int)


def unique_across(text: Shaped[np.ndarray, "p n"], keep: Bool[np.ndarray, "p n"]) -> int:
    """Distinct solutions among one output a problem, its first that ``keep`` names; a problem without one has none."""
    chosen = np.flatnonzero(keep.any(axis=1))
    return len({operations(str(reply)) for reply in text[chosen, keep.argmax(axis=1)[chosen]].tolist()})


BLEU, EAD = 4, 5  # longest n-grams
VOCABULARY = 50_257


def within(
    text: Shaped[np.ndarray, "p n"], answer: Shaped[np.ndarray, "p n"], keep: Bool[np.ndarray, "p n"]
) -> dict[str, Float[np.ndarray, " p"]]:
    """Every measure for each problem, over the samples that ``keep`` names (all, or the right ones)."""
    p, group = len(text), np.nonzero(keep)[0]
    given = count_ngrams(text[keep].tolist(), group, p)
    return _measured(given, answer[keep], group, p)


def across(
    text: Shaped[np.ndarray, "p n"], answer: Shaped[np.ndarray, "p n"], keep: Bool[np.ndarray, "p n"]
) -> dict[str, float]:
    """Every measure over one output a problem, its first that ``keep`` names, all problems in one group.

    No interval: resampling problems repeats texts, and would find less diversity than there is.
    """
    chosen = np.flatnonzero(keep.any(axis=1))
    at = (chosen, keep.argmax(axis=1)[chosen])
    group = np.zeros(len(chosen), dtype=int)
    measured = _measured(count_ngrams(text[at].tolist(), group, 1), answer[at], group, 1)
    return {name: float(value[0]) for name, value in measured.items()}


def _measured(
    given: NGrams, answer: Shaped[np.ndarray, " d"], group: Int[np.ndarray, " d"], groups: int
) -> dict[str, Float[np.ndarray, " g"]]:
    entropy, distinct_answers = answers(answer, group, groups)
    return {
        "distinct_1": distinct(given, 1),
        "distinct_2": distinct(given, 2),
        "ead": ead(given),
        "self_bleu": self_bleu(given),
        "vendi": vendi(given),
        "answer_entropy": entropy,
        "distinct_answers": distinct_answers,
    }


def distinct(given: NGrams, n: int) -> Float[np.ndarray, " g"]:
    """distinct-n of each group, from 0 to 1; nan where there is no n-gram."""
    kinds, total = _kinds(given, n)
    return _over(kinds, total)


def ead(given: NGrams) -> Float[np.ndarray, " g"]:
    """Expectation-adjusted distinct n-grams, averaged over the n from 1 to 5 that a group has n-grams of."""
    parts = np.full((EAD, given.groups), np.nan)
    for n in range(1, EAD + 1):
        kinds, total = _kinds(given, n)
        parts[n - 1] = _over(kinds, -VOCABULARY * np.expm1(total * np.log1p(-1 / VOCABULARY)))
    held = ~np.isnan(parts)
    return _over(np.where(held, parts, 0.0).sum(axis=0), held.sum(axis=0).astype(float))


def self_bleu(given: NGrams) -> Float[np.ndarray, " g"]:
    """Mean over a group's texts of BLEU-4 (0 to 1) against the group's others, as sacrebleu's sentence BLEU has it.

    Exponential smoothing, effective order, the closest length among the references, the shorter of two as close.
    """
    d = len(given.length)
    matched, possible = np.zeros((BLEU, d)), np.zeros((BLEU, d))
    for n in range(1, BLEU + 1):
        text, gram, count = given.counts(n)
        possible[n - 1] = np.bincount(text, weights=count, minlength=d)
        if not len(text):
            continue
        order = np.lexsort((-count, gram, given.group[text]))
        kind = given.group[text][order] * (int(gram.max()) + 1) + gram[order]
        first = np.flatnonzero(np.diff(kind, prepend=-1))  # the text with most of each n-gram
        size = np.diff(np.append(first, len(order)))
        most = np.repeat(count[order][first], size)  # what a reference has of it: the most, or, for the one that has
        second = np.where(size > 1, count[order][np.minimum(first + 1, len(order) - 1)], 0)  # the most, the second
        most[first] = second
        matched[n - 1] = np.bincount(text[order], weights=np.minimum(count[order], most), minlength=d)
    score = _bleu(matched, possible, given.length, _closest(given))
    members = np.bincount(given.group, minlength=given.groups)
    found = _over(np.bincount(given.group, weights=score, minlength=given.groups), members.astype(float))
    return np.where(members > 1, found, np.nan)


def vendi(given: NGrams) -> Float[np.ndarray, " g"]:
    """The Vendi score of each group: the effective number of different texts among it."""
    parts = [given.counts(n) for n in (1, 2)]
    offset = int(parts[0][1].max(initial=-1)) + 1
    text = np.concatenate([parts[0][0], parts[1][0]])
    gram = np.concatenate([parts[0][1], parts[1][1] + offset])
    count = np.concatenate([parts[0][2], parts[1][2]]).astype(float)
    order = np.argsort(text, kind="stable")
    text, gram, count = text[order], gram[order], count[order]
    ends = np.searchsorted(text, np.arange(len(given.length) + 1))
    found = np.full(given.groups, np.nan)
    for g, members in _members(given):
        vectors: dict[bytes, list[int]] = {}  # texts that count alike are one, with a weight
        for i in members:
            here = slice(ends[i], ends[i + 1])
            vectors.setdefault(gram[here].tobytes() + count[here].tobytes(), []).append(int(i))
        weight = np.array([len(alike) for alike in vectors.values()]) / len(members)
        rows = [slice(ends[alike[0]], ends[alike[0] + 1]) for alike in vectors.values()]
        found[g] = _effective([gram[r] for r in rows], [count[r] for r in rows], weight)
    return found


def answers(
    answer: Shaped[np.ndarray, " d"], group: Int[np.ndarray, " d"], groups: int
) -> tuple[Float[np.ndarray, " g"], Float[np.ndarray, " g"]]:
    """Entropy in nats and number of the answers of each group; ``answer`` holds strings, None where there is none."""
    known: dict[str, int] = {}
    read = np.array([one is not None for one in answer.tolist()], dtype=bool)
    code = np.array([known.setdefault(one, len(known)) for one in answer[read].tolist()], dtype=int)
    width = max(len(known), 1)
    pair, count = np.unique(group[read] * width + code, return_counts=True)
    total = np.bincount(group[read], minlength=groups)
    share = count / total[pair // width]
    entropy = np.bincount(pair // width, weights=-share * np.log(share), minlength=groups)
    kinds = np.bincount(pair // width, minlength=groups).astype(float)
    return np.where(total > 0, entropy + 0.0, np.nan), np.where(total > 0, kinds, np.nan)


def _kinds(given: NGrams, n: int) -> tuple[Float[np.ndarray, " g"], Float[np.ndarray, " g"]]:
    """Distinct and all n-grams of each group."""
    text, gram, count = given.counts(n)
    width = int(gram.max(initial=0)) + 1
    pair = np.sort(given.group[text] * width + gram)  # np.unique looks each up in a table, which takes longer
    first = pair[np.diff(pair, prepend=-1) > 0]
    kinds = np.bincount(first // width, minlength=given.groups).astype(float)
    return kinds, np.bincount(given.group[text], weights=count, minlength=given.groups).astype(float)


def _bleu(
    matched: Float[np.ndarray, "4 d"], possible: Float[np.ndarray, "4 d"], length: np.ndarray, closest: np.ndarray
) -> Float[np.ndarray, " d"]:
    """Sentence BLEU from counts; 0 where not even a token matches."""
    smooth, logs, orders = np.ones(len(length)), np.zeros(len(length)), np.zeros(len(length))
    for match, whole in zip(matched, possible, strict=True):
        empty = (match == 0) & (whole > 0)
        smooth[empty] *= 2
        precision = np.where(empty, 1 / (smooth * np.maximum(whole, 1)), match / np.maximum(whole, 1))
        logs += np.where(whole > 0, np.log(np.where(whole > 0, precision, 1.0)), 0.0)
        orders += whole > 0
    brevity = np.where(length < closest, np.exp(1 - closest / np.maximum(length, 1)), 1.0)
    return np.where(matched.any(axis=0), brevity * np.exp(logs / np.maximum(orders, 1)), 0.0)


def _closest(given: NGrams) -> Int[np.ndarray, " d"]:
    """For each text the length closest to its own among its group's others; 0 where it is alone."""
    found = np.zeros(len(given.length), dtype=int)
    for _, members in _members(given):
        order = members[np.argsort(given.length[members], kind="stable")]
        lengths = given.length[order]
        if len(lengths) > 1:  # in order of length it is a neighbour: the one below, unless that above is closer
            below = np.append(lengths[1], lengths[:-1])
            above = np.append(lengths[1:], lengths[-2])
            found[order] = np.where(np.abs(lengths - below) <= np.abs(above - lengths), below, above)
    return found


def _effective(grams: list[np.ndarray], counts: list[np.ndarray], weight: Float[np.ndarray, " u"]) -> float:
    """exp of the entropy of the weighted kernel's eigenvalues, whichever way its matrix is smaller."""
    column = np.unique(np.concatenate([*grams, np.zeros(0, dtype=int)]), return_inverse=True)[1]
    row = np.repeat(np.arange(len(grams)), [len(g) for g in grams])
    vectors = np.zeros((len(grams), int(column.max(initial=-1)) + 2))
    vectors[row, column] = np.concatenate([*counts, np.zeros(0)])
    vectors[:, -1] = ~vectors.any(axis=1)  # a text without a token is like others of its kind and like nothing else
    vectors *= (np.sqrt(weight) / np.linalg.norm(vectors, axis=1))[:, None]
    kernel = vectors @ vectors.T if len(vectors) <= vectors.shape[1] else vectors.T @ vectors
    value = np.linalg.eigvalsh(kernel)
    value = value[value > 1e-12]
    return float(np.exp(-(value * np.log(value)).sum()))


def _members(given: NGrams) -> list[tuple[int, Int[np.ndarray, " m"]]]:
    """Each group that has texts, with their numbers."""
    order = np.argsort(given.group, kind="stable")
    cuts = np.searchsorted(given.group[order], np.arange(given.groups + 1))
    return [(g, order[cuts[g] : cuts[g + 1]]) for g in range(given.groups) if cuts[g] < cuts[g + 1]]


def _over(top: Shaped[np.ndarray, " g"], bottom: Shaped[np.ndarray, " g"]) -> Float[np.ndarray, " g"]:
    """``top / bottom``, nan where the latter is 0."""
    return np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1.0), np.nan)
