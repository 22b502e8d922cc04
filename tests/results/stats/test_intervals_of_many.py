"""Figures resampled together are what each would be alone."""

from __future__ import annotations

import numpy as np
import pytest
from reference_statistics import crossed_bootstrap

from amend.results.stats.intervals import bootstrap, bootstrap_many
from amend.results.stats.random_effects import interval_over_runs, seed_interval


def values(figures: int, seeds: int, problems: int) -> np.ndarray:
    generator = np.random.default_rng(5)
    rate = generator.random((figures, seeds, 1))
    return (generator.random((figures, seeds, problems)) < rate).astype(float)


def test_with_one_seed_it_is_the_bootstrap_over_problems() -> None:
    x = values(3, 1, 80)
    together = bootstrap_many(x, np.random.default_rng(0))
    for found, own in zip(together, x, strict=True):
        alone = bootstrap(own[0], np.random.default_rng(1))
        assert found.mean == pytest.approx(own.mean(), abs=1e-12)
        assert found == pytest.approx(alone, abs=0.012)  # the Monte-Carlo noise of 10,000 resamples


def test_with_several_seeds_it_is_the_crossed_bootstrap() -> None:
    x = values(2, 4, 60)
    x[1] += np.array([0.0, 0.4, 0.8, 1.2])[:, None]  # seeds that differ much: an interval over problems misses it
    together = bootstrap_many(x, np.random.default_rng(0))
    for found, own in zip(together, x, strict=True):
        assert found == pytest.approx(crossed_bootstrap(own, np.random.default_rng(1)), abs=0.03)
    assert together[1].high - together[1].low > 0.7


def test_its_chunks_are_one_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    x = values(2, 3, 50)
    whole = bootstrap_many(x, np.random.default_rng(0))
    monkeypatch.setattr("amend.results.stats.intervals._CHUNK", 5_000)
    for one, other in zip(whole, bootstrap_many(x, np.random.default_rng(0)), strict=True):
        assert one == pytest.approx(other, abs=0.02)


def test_what_runs_are_shown_with() -> None:
    """Several seeds: Student's t, of each figure alone. One seed, or one problem: what can be resampled is."""
    x = values(3, 3, 40)
    assert interval_over_runs(x) == [seed_interval(of) for of in x]
    one = interval_over_runs(x[:, :1])
    assert one == interval_over_runs(x[:, :1]) == bootstrap_many(x[:, :1], np.random.default_rng((1, 40)))
    assert [i.mean for i in interval_over_runs(x[:, :, :1])] == pytest.approx(x[:, :, 0].mean(axis=1).tolist())


@pytest.mark.parametrize("shape", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_nothing_to_average(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="at least one of each"):
        bootstrap_many(np.zeros(shape), np.random.default_rng(0))
