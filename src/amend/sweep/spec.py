"""Read a W&B sweep file as W&B reads it: the values of each parameter, and the order of the runs.

    grid     every combination; the first parameter changes slowest (W&B's order, itertools.product)
    random   run n of seed s depends only on s and n
    bayes    Optuna suggests the next run (module `bayes`)

Keys are flat and dotted (``algo.lr``). W&B would write a nested mapping into the command line as a Python dictionary,
which Hydra cannot read. W&B would also write ``null`` as the word None, so the file must have ``"null"``. An unknown
key is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from amend.errors import UserError

METHODS = ("grid", "random", "bayes")
KNOWN = (
    "program", "method", "name", "description", "metric", "parameters", "command", "run_cap", "project", "entity",
)  # fmt: skip
KEYS = {  # required keys of each distribution
    "constant": ("value",),
    "categorical": ("values",),
    "int_uniform": ("min", "max"),
    "uniform": ("min", "max"),
    "q_uniform": ("min", "max"),
    "log_uniform": ("min", "max"),
    "log_uniform_values": ("min", "max"),
    "q_log_uniform_values": ("min", "max"),
    "normal": (),
    "q_normal": (),
    "log_normal": (),
    "beta": (),
}
MORE = {  # optional keys of each distribution
    "categorical": ("probabilities",),
    "q_uniform": ("q",),
    "q_log_uniform_values": ("q",),
    "normal": ("mu", "sigma"),
    "q_normal": ("mu", "sigma", "q"),
    "log_normal": ("mu", "sigma"),
    "beta": ("a", "b"),
}
Parameters = dict[str, Any]  # parameters of one run: name -> value


@dataclass(frozen=True)
class Sweep:
    """The content of a sweep file.

    Attributes:
        path: The file.
        name: Name of the sweep.
        program: The script that every run starts.
        method: grid | random | bayes.
        metric: Dotted path of the metric in ``summary.json``; empty if the file has none.
        maximize: Whether a higher metric is better.
        cap: The largest number of runs; None for no limit.
        command: The words of the command line, with W&B's macros.
        parameters: The specification of each parameter, by name; each has a ``distribution``.
    """

    path: Path
    name: str
    program: str
    method: str
    metric: str
    maximize: bool
    cap: int | None
    command: tuple[str, ...]
    parameters: Mapping[str, Mapping[str, Any]]

    @property
    def varied(self) -> list[str]:
        """Return the parameters that take more than one value, in the order of the file."""
        return [key for key, spec in self.parameters.items() if spec["distribution"] != "constant"]


def read_sweep(path: Path) -> Sweep:
    """Read and check a sweep file.

    Raises:
        UserError: If the file cannot be read or is invalid.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); give a sweep file such as sweeps/*.yaml"
        ) from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict) or not isinstance(content.get("parameters"), dict):
        raise UserError(f"{path}: not a sweep: the file has no parameters")
    if unknown := [key for key in content if key not in KNOWN]:
        raise UserError(f"{path}: {unknown[0]}: not supported; allowed: {', '.join(KNOWN)}")
    if content.get("method") not in METHODS:
        raise UserError(f"{path}: method={content.get('method')}: allowed: {', '.join(METHODS)}")
    metric = content.get("metric") or {}
    if content["method"] == "bayes" and not metric.get("name"):
        raise UserError(f"{path}: metric.name: missing; method=bayes needs it, for example trained.delta.mean")
    return Sweep(
        path=path,
        name=str(content.get("name") or path.stem),
        program=str(content.get("program", "run.py")),
        method=content["method"],
        metric=str(metric.get("name", "")),
        maximize=metric.get("goal", "minimize") == "maximize",  # W&B's default
        cap=content.get("run_cap"),
        command=tuple(map(str, content.get("command") or ("${env}", "${interpreter}", "${program}", "${args}"))),
        parameters={str(key): _specified(f"{path}: {key}", spec) for key, spec in content["parameters"].items()},
    )


def _specified(where: str, spec: Any) -> dict[str, Any]:
    """Return the specification of a parameter, with W&B's default for a missing ``distribution``."""
    if not isinstance(spec, dict) or "parameters" in spec:
        raise UserError(f"{where}: allowed: value, values, or min and max; nested keys are written with a dot")
    full = dict(spec)
    are_integers = all(isinstance(full.get(end), int) for end in ("min", "max"))
    default = (
        "constant"
        if "value" in full
        else "categorical"
        if "values" in full
        else "int_uniform"
        if are_integers
        else "uniform"
    )
    kind = full.setdefault("distribution", default)
    if kind not in KEYS:
        raise UserError(f"{where}: distribution={kind}: allowed: {', '.join(KEYS)}")
    if missing := [key for key in KEYS[kind] if key not in full]:
        raise UserError(f"{where}: {missing[0]}: missing; distribution={kind} needs it")
    if stray := [key for key in full if key not in ("distribution", *KEYS[kind], *MORE.get(kind, ()))]:
        allowed = ", ".join(("distribution", *KEYS[kind], *MORE.get(kind, ())))
        raise UserError(f"{where}: {stray[0]}: no key of distribution={kind}; allowed: {allowed}")
    for key in ("min", "max", "q", "mu", "sigma", "a", "b"):
        if isinstance(full.get(key, 0), str):
            raise UserError(f"{where}: {key}={full[key]}: text, not a number; YAML reads 1.0e-5 as a number, not 1e-5")
    for value in [full["value"]] if kind == "constant" else full.get("values", []):
        if value is None:
            raise UserError(f'{where}: W&B would write null as the word None; write "null"')
        if isinstance(value, dict):
            raise UserError(f"{where}: a value cannot be a mapping; write each of its keys with a dot")
    return full
