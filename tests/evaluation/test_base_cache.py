"""The base model's evaluation is measured once: read again only where everything that decides it is the same."""

from __future__ import annotations

from pathlib import Path

import torch
from composed import composed

from amend.components import build_components
from amend.evaluation.base_cache import cache_key, cached_base_evaluation
from amend.results.metrics.episode_table import COLUMNS


def test_a_second_run_reads_what_the_first_measured_and_counts_its_seconds(tmp_path: Path) -> None:
    cfg = composed("scale=smoke", f"runs_dir={tmp_path}")
    policy = build_components(cfg).policy
    asked = []

    def measure() -> dict[str, list[object]]:
        asked.append(1)
        plain = {name: [kind(), kind()] for name, kind in COLUMNS.items()}
        return {**plain, "problem": ["a", "b"], "correct": [True, False], "answer": [None, "7"]}

    first, seconds = cached_base_evaluation(cfg, policy, measure)
    again, counted = cached_base_evaluation(
        composed("scale=smoke", f"runs_dir={tmp_path}", "seed=5", "algo=grpo"), policy, measure
    )
    assert asked == [1]
    assert again == first
    assert counted == seconds > 0
    assert len(list(tmp_path.glob(".base/*"))) == 1  # nothing half-written is left beside it


def test_whatever_decides_the_answers_decides_the_key(tmp_path: Path) -> None:
    cfg = composed("scale=smoke")
    policy = build_components(cfg).policy
    mine = cache_key(cfg, policy)
    for words in ("eval.problems=7", "algo.max_tokens=9", "dialogue=single algo=grpo", "task=identity"):
        assert cache_key(composed("scale=smoke", *words.split()), policy) != mine, words
    for words in ("seed=3", "runs_dir=elsewhere", "algo.lr=0.5"):
        assert cache_key(composed("scale=smoke", *words.split()), policy) == mine, words
    with torch.no_grad():
        next(policy.lm.parameters())[0, 0] += 1e-6
    assert cache_key(cfg, policy) != mine
