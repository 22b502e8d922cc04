"""Diversity by brute force on random tables: n-grams counted by hand, sacrebleu's BLEU, the kernel written out."""

from __future__ import annotations

import math
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU

from amend.results.metrics import diversity
from amend.results.metrics.diversity import unique_solutions
from amend.results.metrics.ngrams import TOKEN, count_ngrams

words = st.lists(st.sampled_from(["1", "2", "+", "=", "x", "so"]), max_size=9).map(" ".join)
tables = st.integers(1, 4).flatmap(
    lambda n: st.lists(st.lists(words, min_size=n, max_size=n), min_size=1, max_size=3)
).map(lambda rows: np.array(rows, dtype=object))  # fmt: skip


def ngrams(texts: list[str], n: int) -> list[list[tuple[str, ...]]]:
    lists = [TOKEN.findall(text) for text in texts]
    return [[tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)] for tokens in lists]


def kept(text: np.ndarray, keep: np.ndarray) -> list[list[str]]:
    return [[t for t, k in zip(row, use, strict=True) if k] for row, use in zip(text, keep, strict=True)]


def by_hand(texts: list[str]) -> dict[str, float]:
    found = {}
    for n in (1, 2):
        whole = [g for one in ngrams(texts, n) for g in one]
        found[f"distinct_{n}"] = len(set(whole)) / len(whole) if whole else math.nan
    parts = []
    for n in range(1, 6):
        whole = [g for one in ngrams(texts, n) for g in one]
        if whole:
            v = 50_257
            parts.append(len(set(whole)) / (v * (1 - ((v - 1) / v) ** len(whole))))
    found["ead"] = sum(parts) / len(parts) if parts else math.nan
    bleu = BLEU(effective_order=True, tokenize="none")
    spaced = [" ".join(TOKEN.findall(text)) for text in texts]
    scores = [
        bleu.sentence_score(one, spaced[:i] + spaced[i + 1 :]).score / 100 for i, one in enumerate(spaced) if texts[1:]
    ]
    found["self_bleu"] = sum(scores) / len(scores) if scores else math.nan
    counts = [Counter(a) + Counter(b) for a, b in zip(ngrams(texts, 1), ngrams(texts, 2), strict=True)]

    def cosine(a: Counter, b: Counter) -> float:
        if not a or not b:
            return float(a == b)
        return sum(a[g] * b[g] for g in a) / math.sqrt(sum(v * v for v in a.values()) * sum(v * v for v in b.values()))

    if texts:
        kernel = np.array([[cosine(a, b) for b in counts] for a in counts]) / len(texts)
        value = np.linalg.eigvalsh(kernel)
        found["vendi"] = math.exp(-sum(v * math.log(v) for v in value if v > 1e-12))
    else:
        found["vendi"] = math.nan
    return found


@given(tables, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_within_problems_against_brute_force(text, rng):
    keep = np.array([[rng.random() < 0.7 for _ in row] for row in text])
    answer = np.where(np.array([[rng.random() < 0.8 for _ in row] for row in text]), text, None)
    found = diversity.within(text, answer, keep)
    for p, texts in enumerate(kept(text, keep)):
        for name, value in by_hand(texts).items():
            assert found[name][p] == pytest.approx(value, nan_ok=True, abs=1e-9), name
        said = Counter(a for a, k in zip(answer[p], keep[p], strict=True) if k and a is not None)
        shares = [c / said.total() for c in said.values()]
        entropy = -sum(s * math.log(s) for s in shares) if said else math.nan
        assert found["answer_entropy"][p] == pytest.approx(entropy, nan_ok=True)
        assert found["distinct_answers"][p] == pytest.approx(len(said) or math.nan, nan_ok=True)


@given(tables, st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_across_problems_takes_the_first_output_of_each(text, rng):
    keep = np.array([[rng.random() < 0.5 for _ in row] for row in text])
    texts = [row[0] for row in kept(text, keep) if row]
    found = diversity.across(text, text, keep)
    for name, value in by_hand(texts).items():
        assert found[name] == pytest.approx(value, nan_ok=True, abs=1e-9), name


def test_by_hand():
    text = np.array([["a b", "a b", "a b"], ["a", "b", "c"]], dtype=object)
    found = diversity.within(text, text, np.ones((2, 3), dtype=bool))
    np.testing.assert_allclose(found["distinct_1"], [2 / 6, 1.0])
    np.testing.assert_allclose(found["distinct_2"], [1 / 3, np.nan])
    np.testing.assert_allclose(found["vendi"], [1.0, 3.0])  # three copies are one; three strangers are three
    np.testing.assert_allclose(found["self_bleu"], [1.0, 0.0])
    np.testing.assert_allclose(found["answer_entropy"], [0.0, np.log(3)])


def test_an_ngram_does_not_reach_into_the_next_text():
    text, gram, count = count_ngrams(["a b", "b a"], [0, 0], 1).counts(2)
    assert text.tolist() == [0, 1] and len(set(gram.tolist())) == 2 and count.tolist() == [1, 1]


@given(tables)
@settings(deadline=None, max_examples=30)
def test_numbers_that_would_not_fit_are_renumbered_and_nothing_changes(text):
    flat = text.ravel().tolist()
    group = np.repeat(np.arange(len(text)), text.shape[1])
    large = count_ngrams(flat, group, len(text))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("amend.results.metrics.ngrams.LARGEST", 0)
        small = count_ngrams(flat, group, len(text))
        for n in range(1, 6):
            for mine, theirs in zip(small.counts(n)[::2], large.counts(n)[::2], strict=True):
                np.testing.assert_array_equal(mine, theirs)
        for measure in (diversity.ead, diversity.self_bleu, diversity.vendi):
            np.testing.assert_array_equal(measure(small), measure(large))


def test_a_hundred_thousand_episodes_take_seconds():
    rng = np.random.default_rng(0)
    shown = rng.integers(1, 60, (1000, 100, 3))
    text = np.array([[f"x={a}: {b}*{a}={a * b} ok so {c} \\boxed{{{a}}}" for a, b, c in row] for row in shown.tolist()])
    text, right = text.astype(object), rng.random((1000, 100)) < 0.5
    began = time.process_time()
    diversity.within(text, text, np.ones_like(right))
    diversity.across(text, text, right)
    unique_solutions(text, right)
    assert time.process_time() - began < 30  # of processor time, which others on the machine do not use up
