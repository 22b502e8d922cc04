"""Grid search and random search over the parameters of a sweep file."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from amend.errors import UserError
from amend.sweep.spec import Parameters, Sweep


def grid(sweep: Sweep) -> list[Parameters]:
    """Return every combination of the parameters' values.

    Raises:
        UserError: If a parameter has a distribution instead of a list of values.
    """
    columns = []
    for key, spec in sweep.parameters.items():
        kind = spec["distribution"]
        if kind == "constant":
            columns.append([spec["value"]])
        elif kind == "categorical":
            columns.append(list(spec["values"]))
        elif kind == "int_uniform":
            columns.append(list(range(spec["min"], spec["max"] + 1)))
        else:
            raise UserError(f"{sweep.path}: {key}: method=grid needs values, and distribution={kind} has none")
    return [dict(zip(sweep.parameters, row, strict=True)) for row in itertools.product(*columns)]


def random(sweep: Sweep, seed: int) -> Iterator[Parameters]:
    """Yield random parameters without end; sample n depends only on ``seed`` and n."""
    for number in itertools.count():
        generator = np.random.default_rng([seed, number])
        yield {key: draw(spec, generator) for key, spec in sweep.parameters.items()}


def draw(spec: Mapping[str, Any], generator: np.random.Generator) -> Any:
    """Sample one value of a parameter and return it as a plain Python value.

    Args:
        spec: The specification of the parameter, with its ``distribution``.
        generator: The source of randomness.
    """
    kind, low, high = spec["distribution"], spec.get("min", 0), spec.get("max", 0)
    if kind == "constant":
        return spec["value"]
    if kind == "categorical":
        return spec["values"][int(generator.choice(len(spec["values"]), p=spec.get("probabilities")))]
    if kind == "int_uniform":
        return int(generator.integers(low, high, endpoint=True))
    if kind in ("uniform", "q_uniform"):
        value = generator.uniform(low, high)
    elif kind == "log_uniform":  # W&B: min and max are exponents of e
        value = math.exp(generator.uniform(low, high))
    elif kind.endswith("log_uniform_values"):
        value = math.exp(generator.uniform(math.log(low), math.log(high)))
    elif kind == "beta":
        value = generator.beta(spec.get("a", 1.0), spec.get("b", 1.0))
    else:
        value = generator.normal(spec.get("mu", 0.0), spec.get("sigma", 1.0))
        value = math.exp(value) if kind == "log_normal" else value
    if kind.startswith("q_"):
        step = spec.get("q", 1)
        value = round(value / step) * step
    return float(value) if not isinstance(value, int) else value
