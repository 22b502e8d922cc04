"""Bayesian search (``method: bayes``) with Optuna's tree-structured Parzen estimator.

Trials are kept in an Optuna journal file, which several processes can use at once and which survives a kill. The n-th
suggestion depends on the seed, n and the values of the finished trials, so a resumed sweep suggests what it would have
suggested without the interruption.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from amend.errors import UserError
from amend.sweep.spec import Parameters, Sweep

SEEDS_APART = 1_000_003  # a prime above any number of trials, so that two sweep seeds share no sampler seed


def optuna() -> Any:
    """Import Optuna, an optional dependency.

    Raises:
        UserError: If it is not installed.
    """
    try:
        library = importlib.import_module("optuna")
    except ImportError as error:
        raise UserError('method=bayes: optuna is not installed; pip install "amend[hpo]", or method=random') from error
    library.logging.set_verbosity(library.logging.WARNING)
    return library


class Trials:
    """The trials of a Bayesian sweep, as an Optuna study in a journal file.

    Args:
        sweep: The sweep, whose varied parameters are the search space.
        path: The journal file, which is created if it does not exist.
        seed: The seed of the suggestions.
    """

    def __init__(self, sweep: Sweep, path: Path, seed: int) -> None:
        self._library, self._sweep, self._seed = optuna(), sweep, seed
        self._space = {key: _distribution(self._library, sweep, key) for key in sweep.varied}
        path.parent.mkdir(parents=True, exist_ok=True)
        storages = self._library.storages
        self._study = self._library.create_study(
            storage=storages.JournalStorage(storages.journal.JournalFileBackend(str(path))),
            study_name=sweep.name,
            direction="maximize" if sweep.maximize else "minimize",
            load_if_exists=True,
        )

    def suggestions(self, count: int) -> Iterator[Parameters]:
        """Yield the parameters of ``count`` trials: first those of the file, in order, then new ones."""
        for number in range(count):
            trials = self._trials()
            yield self._parameters(trials[number] if number < len(trials) else self._ask(len(trials)))

    def tell(self, parameters: Parameters, value: float) -> None:
        """Store the value of the trial with these parameters."""
        for trial in self._trials():
            if self._parameters(trial) == parameters and not trial.state.is_finished():
                self._study.tell(trial.number, value)

    def _trials(self) -> list[Any]:
        """Return the trials, without one whose process was killed before it had written the parameters."""
        return [t for t in self._study.get_trials(deepcopy=False) if t.params.keys() == self._space.keys()]

    def _ask(self, number: int) -> Any:
        self._study.sampler = self._library.samplers.TPESampler(seed=self._seed * SEEDS_APART + number)
        return self._study.ask(self._space)

    def _parameters(self, trial: Any) -> Parameters:
        return {key: trial.params.get(key, spec.get("value")) for key, spec in self._sweep.parameters.items()}


def _distribution(library: Any, sweep: Sweep, key: str) -> Any:
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
