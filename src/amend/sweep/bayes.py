"""What to try next, by optuna's tree-structured Parzen estimator (method: bayes).

Nothing is kept in memory: the n-th suggestion is a function of (seed, n, what the runs before it gave), read from
trials.jsonl, one line a trial, so that a sweep that was killed suggests what it would have suggested.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from amend.errors import UserError
from amend.sweep.spec import Parameters, Sweep


def optuna() -> Any:
    """The library, where it is installed."""
    try:
        found = importlib.import_module("optuna")
    except ImportError as error:
        raise UserError('method=bayes: optuna is not installed; pip install "amend[hpo]", or method=random') from error
    found.logging.set_verbosity(found.logging.WARNING)
    return found


class Trials:
    """The trials of a sweep, on disk: {"parameters": {...}, "value": number or null} a line, in order."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in lines if line.endswith("}")]

    def add(self, parameters: Parameters) -> None:
        """One more, without a value yet."""
        self.rows.append({"parameters": parameters, "value": None})
        self._write()

    def tell(self, parameters: Parameters, value: float | None) -> None:
        """What came of one."""
        for row in self.rows:
            if row["parameters"] == parameters:
                row["value"] = value
        self._write()

    def _write(self) -> None:
        beside = self._path.with_name(f".{self._path.name}.writing")
        beside.write_text("".join(json.dumps(row) + "\n" for row in self.rows), encoding="utf-8")
        beside.replace(self._path)


def suggestions(sweep: Sweep, trials: Trials, seed: int, count: int) -> Iterator[Parameters]:
    """``count`` trials: those that were begun before, in order, then new ones."""
    for row in trials.rows[:count]:
        yield row["parameters"]
    while len(trials.rows) < count:
        trials.add(suggest(sweep, trials, seed))
        yield trials.rows[-1]["parameters"]


def suggest(sweep: Sweep, trials: Trials, seed: int) -> Parameters:
    """The next trial's parameters."""
    library = optuna()
    spaces = {key: _space(library, sweep, key) for key in sweep.varied}
    sampler = library.samplers.TPESampler(seed=seed * 1_000_003 + len(trials.rows))
    study = library.create_study(sampler=sampler, direction="maximize" if sweep.maximize else "minimize")
    for row in trials.rows:
        if row["value"] is not None:
            tried = {key: row["parameters"][key] for key in spaces}
            study.add_trial(library.trial.create_trial(params=tried, distributions=spaces, value=row["value"]))
    asked = study.ask(spaces).params
    return {key: asked.get(key, spec.get("value")) for key, spec in sweep.parameters.items()}


def _space(library: Any, sweep: Sweep, key: str) -> Any:
    spec, kinds = sweep.parameters[key], library.distributions
    kind = spec["distribution"]
    if kind == "categorical":
        return kinds.CategoricalDistribution(spec["values"])
    if kind == "int_uniform":
        return kinds.IntDistribution(spec["min"], spec["max"])
    if kind in ("uniform", "q_uniform"):
        return kinds.FloatDistribution(spec["min"], spec["max"], step=spec.get("q"))
    if kind == "log_uniform_values":
        return kinds.FloatDistribution(spec["min"], spec["max"], log=True)
    raise UserError(
        f"{sweep.path}: {key}: method=bayes has no distribution={kind}; allowed: categorical, int_uniform, uniform, "
        f"q_uniform, log_uniform_values"
    )
