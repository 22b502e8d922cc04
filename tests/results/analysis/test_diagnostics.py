"""What summary.json holds beside accuracy: that it is JSON, agrees with the metrics it is made of, and is left out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from synthetic_run import episodes

from amend.results.analysis.diagnostics import sampling_efficiency_gap
from amend.results.analysis.summary import summarise
from amend.results.metrics.episode_table import select


@pytest.fixture(scope="module")
def columns():
    return episodes(12, 4, 2, ("base", "trained"))


def test_a_sampled_table_has_them_all_and_is_json(columns):
    found = summarise(columns, "trained", "sampled")
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    for which in ("all", "right"):
        assert {"vendi", "self_bleu", "ead", "answer_entropy"} <= found["diversity"]["t2"][which]["within"].keys()
        assert {"vendi", "self_bleu", "ead"} <= found["diversity"]["t2"][which]["across"].keys()
    assert "unique_solutions" in found["diversity"]["t1"]["right"]["within"]
    assert found["best_at"]["t1"].keys() == found["pass_at"]["t1"].keys() and "rerank_at" not in found
    assert found["token_entropy"]["mean"] > 0 and 0 <= found["unedited"]["mean"] <= 1
    for unit in ("steps", "tokens"):
        assert sum(found["survival"]["t1"][unit]["curve"]["n"]) == 48
        assert 0 < found["survival"]["second_attempt"][unit]["error"] < 1
    assert "token_entropy" not in summarise(columns, "trained", "greedy")


def test_a_score_column_gives_rerank_at_k(columns):
    """A ranker that is always right is pass@k."""
    ranked = {**columns, "score": [float(right) for right in columns["correct"]]}
    found = summarise(ranked, "base", "sampled")
    for turn in ("t1", "t2"):
        for k, figure in found["rerank_at"][turn].items():
            assert figure["mean"] == pytest.approx(found["pass_at"][turn][k]["mean"])


def test_lost_reach_is_base_pass_at_k_less_trained_pass_at_1(columns):
    base, trained = (select(columns, phase, "sampled").correct[:, :, 0] for phase in ("base", "trained"))
    found = sampling_efficiency_gap(columns)
    assert found["k"] == 4 and found["mean"] == pytest.approx(np.mean(base.any(axis=1)) - trained.mean())
    assert found["low"] <= found["mean"] <= found["high"]
    assert sampling_efficiency_gap(episodes(3, 1, 2, ("base", "trained"))) == {}
