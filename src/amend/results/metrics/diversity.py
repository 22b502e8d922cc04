r"""Measure how different the texts of a group are.

A group holds the attempts at one problem (``within``), or one attempt at each of many problems (``across``). Kirk et
al. 2023 (arXiv 2310.06452) report both, because they are different questions. Both can be restricted to correct
attempts, because meaningless texts are diverse as well. For K texts y_1 ... y_K of a group:

    distinct-n         distinct n-grams / all n-grams                                 Li et al. 2016 (1510.03055)
    EAD                mean over n = 1 ... 5 of  N / (V (1 - ((V - 1) / V)^C))        Liu et al. 2022 (2202.13587)
    self-BLEU          mean over i of BLEU-4(y_i ; all other texts)                   Zhu et al. 2018 (1802.01886)
    Vendi              exp(-sum lambda log lambda), lambda the eigenvalues of S / K   Friedman, Dieng 2022 (2210.02410)
    answer entropy     -sum p(a) log p(a) in nats, over the extracted answers a
    distinct answers   the number of different extracted answers

EAD corrects the bias of distinct-n against long texts. N is the number of distinct n-grams and C the number of all
n-grams. V is 50,257 for every tokenizer, as in Kirk et al. Self-BLEU is 1 if all texts are equal. In the Vendi score,
S_ij is the cosine similarity of the counts of 1-grams and 2-grams; the score is between 1 (equal texts) and K.

A measure is nan for a group in which it is undefined. All measures need a text, self-BLEU needs two texts, and the
last two measures need an answer.
"""

from __future__ import annotations

import re

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from amend.results.metrics.ngrams import NGrams, count_ngrams


def token_entropy(logp: Float[np.ndarray, "p n"], tokens: Int[np.ndarray, "p n"]) -> Float[np.ndarray, " p"]:
    """Estimate the entropy per token of the policy on each problem.

    Args:
        logp: The log-probability in nats of each reply, for p problems and n samples. The replies must be sampled at
            temperature 1.
        tokens: The number of tokens of each reply.

    Returns:
        The negative sum of ``logp`` over all samples, per token, in nats; nan if a log-probability is nan.
    """
    entropy: np.ndarray = -logp.sum(axis=1) / np.maximum(tokens.sum(axis=1), 1)
    return entropy


def zero_variance(correct: Bool[np.ndarray, "p n"]) -> Float[np.ndarray, " p"]:
    """Report which problems have samples of equal correctness.

    Args:
        correct: Whether each sample is correct, for p problems and n samples.

    Returns:
        1.0 for a problem whose samples are all correct or all wrong, otherwise 0.0.
    """
    return (correct.all(axis=1) | ~correct.any(axis=1)).astype(float)


OPERATION = re.compile(r"\d+(?:\.\d+)?|[-+*/()^=]|\\(?:times|div|cdot)")


def operations(text: str) -> str:
    r"""Extract the numbers and operators of a reply, in their order.

    Args:
        text: The reply.

    Returns:
        The numbers and operators before the first ``\boxed``, which repeats the answer.
    """
    return "".join(OPERATION.findall(text.split("\\boxed")[0]))


def unique_solutions(text: Shaped[np.ndarray, "p n"], keep: Bool[np.ndarray, "p n"]) -> Int[np.ndarray, " p"]:
    """Count the distinct solutions of each problem. Two replies with equal ``operations`` are one solution.

    Args:
        text: The replies, for p problems and n samples.
        keep: Whether a reply counts, for example whether it is correct.

    Returns:
        The number of distinct solutions of each problem.
    """
    counts = [
        len({operations(str(reply)) for reply, is_kept in zip(replies, mask, strict=True) if is_kept})
        for replies, mask in zip(text.tolist(), keep.tolist(), strict=True)
    ]
    return np.array(counts, dtype=int)


def unique_across(text: Shaped[np.ndarray, "p n"], keep: Bool[np.ndarray, "p n"]) -> int:
    """Count the distinct solutions among one reply per problem. Two replies with equal ``operations`` are one solution.

    Args:
        text: The replies, for p problems and n samples.
        keep: Whether a reply counts. The first reply of each problem that counts is used.

    Returns:
        The number of distinct solutions. A problem without a reply that counts adds none.
    """
    chosen = np.flatnonzero(keep.any(axis=1))
    return len({operations(str(reply)) for reply in text[chosen, keep.argmax(axis=1)[chosen]].tolist()})


BLEU, EAD = 4, 5  # the largest n of each measure
VOCABULARY = 50_257  # V of EAD


def within(
    text: Shaped[np.ndarray, "p n"], answer: Shaped[np.ndarray, "p n"], keep: Bool[np.ndarray, "p n"]
) -> dict[str, Float[np.ndarray, " p"]]:
    """Compute every measure for each problem, over the samples of the problem.

    Args:
        text: The replies, for p problems and n samples.
        answer: The answer extracted from each reply, a str; None if there is no answer.
        keep: Whether a reply counts, for example whether it is correct.

    Returns:
        By name of the measure, one value per problem.
    """
    p, group = len(text), np.nonzero(keep)[0]
    ngrams = count_ngrams(text[keep].tolist(), group, p)
    return _compute_measures(ngrams, answer[keep], group, p)


def across(
    text: Shaped[np.ndarray, "p n"], answer: Shaped[np.ndarray, "p n"], keep: Bool[np.ndarray, "p n"]
) -> dict[str, float]:
    """Compute every measure over one reply per problem; all problems form one group.

    The measures have no interval. Resampled problems would repeat texts, so a bootstrap underestimates diversity.

    Args:
        text: The replies, for p problems and n samples.
        answer: The answer extracted from each reply, a str; None if there is no answer.
        keep: Whether a reply counts. The first reply of each problem that counts is used.

    Returns:
        By name of the measure, its value.
    """
    chosen = np.flatnonzero(keep.any(axis=1))
    first_kept = (chosen, keep.argmax(axis=1)[chosen])
    group = np.zeros(len(chosen), dtype=int)
    ngrams = count_ngrams(text[first_kept].tolist(), group, 1)
    measures = _compute_measures(ngrams, answer[first_kept], group, 1)
    return {name: float(value[0]) for name, value in measures.items()}


def _compute_measures(
    ngrams: NGrams, answer: Shaped[np.ndarray, " d"], group: Int[np.ndarray, " d"], groups: int
) -> dict[str, Float[np.ndarray, " g"]]:
    entropy, distinct_answers = answers(answer, group, groups)
    return {
        "distinct_1": distinct(ngrams, 1),
        "distinct_2": distinct(ngrams, 2),
        "ead": ead(ngrams),
        "self_bleu": self_bleu(ngrams),
        "vendi": vendi(ngrams),
        "answer_entropy": entropy,
        "distinct_answers": distinct_answers,
    }


def distinct(given: NGrams, n: int) -> Float[np.ndarray, " g"]:
    """Compute distinct-n, the share of distinct n-grams among all n-grams.

    Args:
        given: The n-grams of d texts in g groups.
        n: The length of the n-grams, in tokens.

    Returns:
        The share for each group, from 0 to 1; nan if the group has no n-gram.
    """
    kinds, total = _count_distinct(given, n)
    return _divide(kinds, total)


def ead(given: NGrams) -> Float[np.ndarray, " g"]:
    """Compute EAD, the expectation-adjusted share of distinct n-grams.

    Args:
        given: The n-grams of d texts in g groups.

    Returns:
        The mean over n = 1 ... 5 for each group. An n without n-grams is left out; nan if the group has no text.
    """
    parts = np.full((EAD, given.groups), np.nan)
    for n in range(1, EAD + 1):
        kinds, total = _count_distinct(given, n)
        parts[n - 1] = _divide(kinds, -VOCABULARY * np.expm1(total * np.log1p(-1 / VOCABULARY)))
    defined = ~np.isnan(parts)
    return _divide(np.where(defined, parts, 0.0).sum(axis=0), defined.sum(axis=0).astype(float))


def self_bleu(given: NGrams) -> Float[np.ndarray, " g"]:
    """Compute self-BLEU, the mean BLEU-4 of each text with all other texts of its group as references.

    The values are those of sacrebleu's sentence BLEU with exponential smoothing and effective order. The brevity
    penalty uses the reference with the closest length, and the shorter one of two references that are equally close.

    Args:
        given: The n-grams of d texts in g groups.

    Returns:
        The mean for each group, from 0 to 1; nan if the group has fewer than two texts.
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
        # The matches are limited by the highest count in any other text of the group. That is the highest count in the
        # group, or the second highest for the text that has the highest. `first` is the index of the latter text.
        first = np.flatnonzero(np.diff(kind, prepend=-1))
        size = np.diff(np.append(first, len(order)))
        limit = np.repeat(count[order][first], size)
        limit[first] = np.where(size > 1, count[order][np.minimum(first + 1, len(order) - 1)], 0)
        matched[n - 1] = np.bincount(text[order], weights=np.minimum(count[order], limit), minlength=d)
    score = _bleu(matched, possible, given.length, _closest_lengths(given))
    members = np.bincount(given.group, minlength=given.groups)
    mean = _divide(np.bincount(given.group, weights=score, minlength=given.groups), members.astype(float))
    return np.where(members > 1, mean, np.nan)


def vendi(given: NGrams) -> Float[np.ndarray, " g"]:
    """Compute the Vendi score, the effective number of different texts in each group.

    Args:
        given: The n-grams of d texts in g groups.

    Returns:
        The score of each group, from 1 to the number of its texts; nan if the group has no text.
    """
    parts = [given.counts(n) for n in (1, 2)]
    offset = int(parts[0][1].max(initial=-1)) + 1
    text = np.concatenate([parts[0][0], parts[1][0]])
    gram = np.concatenate([parts[0][1], parts[1][1] + offset])
    count = np.concatenate([parts[0][2], parts[1][2]]).astype(float)
    order = np.argsort(text, kind="stable")
    text, gram, count = text[order], gram[order], count[order]
    ends = np.searchsorted(text, np.arange(len(given.length) + 1))
    scores = np.full(given.groups, np.nan)
    for g, members in _group_members(given):
        vectors: dict[bytes, list[int]] = {}  # texts with equal counts share one weighted vector: a smaller kernel
        for i in members:
            span = slice(ends[i], ends[i + 1])
            vectors.setdefault(gram[span].tobytes() + count[span].tobytes(), []).append(int(i))
        weight = np.array([len(copies) for copies in vectors.values()]) / len(members)
        rows = [slice(ends[copies[0]], ends[copies[0] + 1]) for copies in vectors.values()]
        scores[g] = _effective_number([gram[r] for r in rows], [count[r] for r in rows], weight)
    return scores


def answers(
    answer: Shaped[np.ndarray, " d"], group: Int[np.ndarray, " d"], groups: int
) -> tuple[Float[np.ndarray, " g"], Float[np.ndarray, " g"]]:
    """Compute the entropy and the number of distinct answers of each group.

    Args:
        answer: The answer extracted from each of d replies, a str; None if there is no answer.
        group: The index of the group of each reply.
        groups: The number g of groups.

    Returns:
        The entropy in nats and the number of distinct answers of each group; nan if the group has no answer.
    """
    codes: dict[str, int] = {}
    has_answer = np.array([item is not None for item in answer.tolist()], dtype=bool)
    code = np.array([codes.setdefault(item, len(codes)) for item in answer[has_answer].tolist()], dtype=int)
    width = max(len(codes), 1)
    pair, count = np.unique(group[has_answer] * width + code, return_counts=True)
    total = np.bincount(group[has_answer], minlength=groups)
    share = count / total[pair // width]
    entropy = np.bincount(pair // width, weights=-share * np.log(share), minlength=groups)
    kinds = np.bincount(pair // width, minlength=groups).astype(float)
    return np.where(total > 0, entropy + 0.0, np.nan), np.where(total > 0, kinds, np.nan)


def _count_distinct(ngrams: NGrams, n: int) -> tuple[Float[np.ndarray, " g"], Float[np.ndarray, " g"]]:
    """Return the number of distinct n-grams and of all n-grams of each group."""
    text, gram, count = ngrams.counts(n)
    width = int(gram.max(initial=0)) + 1
    pair = np.sort(ngrams.group[text] * width + gram)  # sorting is faster than the hash table of np.unique
    first = pair[np.diff(pair, prepend=-1) > 0]
    kinds = np.bincount(first // width, minlength=ngrams.groups).astype(float)
    return kinds, np.bincount(ngrams.group[text], weights=count, minlength=ngrams.groups).astype(float)


def _bleu(
    matched: Float[np.ndarray, "4 d"], possible: Float[np.ndarray, "4 d"], length: np.ndarray, closest: np.ndarray
) -> Float[np.ndarray, " d"]:
    """Return the sentence BLEU of each text from its counts; 0 if no token matches."""
    smooth, logs, orders = np.ones(len(length)), np.zeros(len(length)), np.zeros(len(length))
    for match, total in zip(matched, possible, strict=True):
        empty = (match == 0) & (total > 0)
        smooth[empty] *= 2
        precision = np.where(empty, 1 / (smooth * np.maximum(total, 1)), match / np.maximum(total, 1))
        logs += np.where(total > 0, np.log(np.where(total > 0, precision, 1.0)), 0.0)
        orders += total > 0
    brevity = np.where(length < closest, np.exp(1 - closest / np.maximum(length, 1)), 1.0)
    return np.where(matched.any(axis=0), brevity * np.exp(logs / np.maximum(orders, 1)), 0.0)


def _closest_lengths(ngrams: NGrams) -> Int[np.ndarray, " d"]:
    """Return the closest length of another text of the same group for each text; 0 if the group has one text."""
    closest = np.zeros(len(ngrams.length), dtype=int)
    for _, members in _group_members(ngrams):
        order = members[np.argsort(ngrams.length[members], kind="stable")]
        lengths = ngrams.length[order]
        if len(lengths) > 1:  # sorted, so the closest length is the previous or the next one
            below = np.append(lengths[1], lengths[:-1])
            above = np.append(lengths[1:], lengths[-2])
            closest[order] = np.where(np.abs(lengths - below) <= np.abs(above - lengths), below, above)
    return closest


def _effective_number(grams: list[np.ndarray], counts: list[np.ndarray], weight: Float[np.ndarray, " u"]) -> float:
    """Return exp of the entropy of the eigenvalues of the weighted kernel.

    The Gram matrix of rows and the one of columns have the same nonzero eigenvalues, so the smaller matrix is used.
    """
    column = np.unique(np.concatenate([*grams, np.zeros(0, dtype=int)]), return_inverse=True)[1]
    row = np.repeat(np.arange(len(grams)), [len(g) for g in grams])
    vectors = np.zeros((len(grams), int(column.max(initial=-1)) + 2))
    vectors[row, column] = np.concatenate([*counts, np.zeros(0)])
    vectors[:, -1] = ~vectors.any(axis=1)  # texts without a token are equal to each other only
    vectors *= (np.sqrt(weight) / np.linalg.norm(vectors, axis=1))[:, None]
    kernel = vectors @ vectors.T if len(vectors) <= vectors.shape[1] else vectors.T @ vectors
    value = np.linalg.eigvalsh(kernel)
    value = value[value > 1e-12]
    return float(np.exp(-(value * np.log(value)).sum()))


def _group_members(ngrams: NGrams) -> list[tuple[int, Int[np.ndarray, " m"]]]:
    """Return the index of each group that has texts, with the indices of its texts."""
    order = np.argsort(ngrams.group, kind="stable")
    cuts = np.searchsorted(ngrams.group[order], np.arange(ngrams.groups + 1))
    return [(g, order[cuts[g] : cuts[g + 1]]) for g in range(ngrams.groups) if cuts[g] < cuts[g + 1]]


def _divide(numerator: Shaped[np.ndarray, " g"], denominator: Shaped[np.ndarray, " g"]) -> Float[np.ndarray, " g"]:
    """Return the quotient; nan if the denominator is 0."""
    return np.where(denominator > 0, numerator / np.where(denominator > 0, denominator, 1.0), np.nan)
