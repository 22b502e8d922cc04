"""Threads spin on a quiet machine and sleep on a busy one, and a user's own word stands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from amend.distributed import omp_wait_policy

TICKS = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def worked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What others work, in cores, while ``choose`` watches; the time that nothing worked goes on, too."""
    others = [0.0]
    stat = tmp_path / "stat"
    stat.write_text("cpu  1000 0 500 90000 0 0 0 0 0 0\ncpu0 1 2 3 4\n")

    def sleep(seconds: float) -> None:
        ticks = round(others[0] * seconds * TICKS)
        stat.write_text(f"cpu  {1000 + ticks} 0 500 {90000 + 1000} 0 0 0 0 0 0\ncpu0 1 2 3 4\n")

    monkeypatch.setattr(omp_wait_policy, "STAT", stat)
    monkeypatch.setattr(omp_wait_policy.time, "sleep", sleep)
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    return others


@pytest.mark.parametrize(
    ("cores", "found"),
    [(0.0, None), (0.4, None), (1.0, omp_wait_policy.SHORT_SPIN_COUNT), (2.0, omp_wait_policy.SHORT_SPIN_COUNT)],
)
def test_threads_sleep_where_others_work(worked: list[float], cores: float, found: str | None) -> None:
    worked[0] = cores
    omp_wait_policy.configure_omp_wait_policy()
    assert os.environ.get("GOMP_SPINCOUNT") == found
    os.environ.pop("GOMP_SPINCOUNT", None)


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"])
def test_what_a_user_has_set_stays(worked: list[float], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    worked[0] = 2.0
    monkeypatch.setenv(name, "ACTIVE" if name.startswith("OMP") else "77")
    before = dict(os.environ)
    omp_wait_policy.configure_omp_wait_policy()
    assert dict(os.environ) == before


def test_where_nothing_tells_nothing_is_set(worked: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(omp_wait_policy, "STAT", Path("/nowhere"))
    omp_wait_policy.configure_omp_wait_policy()
    assert "GOMP_SPINCOUNT" not in os.environ
