"""A W&B sweep file read as W&B reads it: order, draws, and one line for what cannot be."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from amend.errors import UserError
from amend.sweep.search import draw, grid, random
from amend.sweep.spec import read_sweep


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "sweep.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_first_parameter_is_the_slowest_as_in_wandbs_own_grid(tmp_path: Path) -> None:
    text = "method: grid\nparameters:\n  a: {values: [1, 2]}\n  b: {value: x}\n  c: {min: 0, max: 1}\n"
    sweep = read_sweep(written(tmp_path, text))
    assert [tuple(one.values()) for one in grid(sweep)] == [(1, "x", 0), (1, "x", 1), (2, "x", 0), (2, "x", 1)]
    assert sweep.varied == ["a", "c"] and sweep.name == "sweep"


def test_a_random_run_depends_on_seed_and_number_alone(tmp_path: Path) -> None:
    text = "method: random\nparameters:\n  lr: {distribution: log_uniform_values, min: 1.0e-5, max: 1.0e-2}\n"
    text += "  k: {values: [1, 2]}\n"
    sweep = read_sweep(written(tmp_path, text))
    first, again = list(islice(random(sweep, 3), 6)), list(islice(random(sweep, 3), 2, 6))
    assert first[2:] != first[:4] and list(islice(random(sweep, 4), 6)) != first
    assert again == first[2:]
    assert all(1e-5 <= one["lr"] <= 1e-2 and type(one["lr"]) is float for one in first)


def test_draws_follow_their_distributions() -> None:
    generator = np.random.default_rng(0)

    def many(**spec: object) -> np.ndarray:
        return np.array([draw(spec, generator) for _ in range(4000)])

    assert abs(np.median(np.log10(many(distribution="log_uniform_values", min=1e-4, max=1.0))) + 2) < 0.1
    assert abs(np.median(np.log(many(distribution="log_uniform", min=-4.0, max=0.0))) + 2) < 0.1
    assert set(many(distribution="int_uniform", min=2, max=4)) == {2, 3, 4}
    assert set(many(distribution="q_uniform", min=0.0, max=1.0, q=0.5)) == {0.0, 0.5, 1.0}
    weighted = many(distribution="categorical", values=["a", "b"], probabilities=[0.9, 0.1])
    assert abs((weighted == "a").mean() - 0.9) < 0.03
    assert abs(many(distribution="normal", mu=3.0, sigma=2.0).std() - 2) < 0.1
    assert abs(many(distribution="beta", a=2.0, b=2.0).mean() - 0.5) < 0.03
    assert abs(np.median(many(distribution="log_normal")) - 1) < 0.1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("method: grid\nparameters: {a: {value: null}}", 'write "null"'),
        ("method: grid\nparameters: {a: {values: [1, null]}}", 'write "null"'),
        ("method: grid\nparameters: {algo: {parameters: {lr: {value: 1}}}}", "written with a dot"),
        ("method: grid\nparameters: {algo: {value: {lr: 1}}}", "with a dot"),
        ("method: hyperband\nparameters: {a: {value: 1}}", "allowed: grid, random, bayes"),
        ("method: bayes\nparameters: {a: {values: [1]}}", "metric.name"),
        ("method: grid\nearly_terminate: {}\nparameters: {a: {value: 1}}", "early_terminate: not supported"),
        ("method: grid\nparameters: {a: {values: [1], min: 2}}", "min: no key of distribution=categorical"),
        ("method: grid\nparameters: {a: {distribution: zipf}}", "distribution=zipf"),
        ("method: grid\nparameters: {a: {distribution: uniform, min: 1}}", "max: missing"),
        ("method: grid", "no parameters"),
        ("method: grid\nparameters: {a: {min: 1e-5, max: 1}}", "min=1e-5: text, not a number"),
        ("a: [", "not YAML"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)) as caught:
        read_sweep(written(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_grid_needs_values(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="method=grid needs values"):
        grid(read_sweep(written(tmp_path, "method: grid\nparameters: {a: {min: 0.0, max: 1.0}}")))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_sweep(tmp_path / "none.yaml")
