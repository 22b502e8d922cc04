"""What a sweep came to: ``python -m amend.sweep.results sweeps/X.yaml`` writes sweeps/X.json and sweeps/X.md.

Every figure is a mean over test problems and seeds with Student's t interval of that layout (``stat.seeds``): a
bootstrap over three seeds is too narrow. With one seed problems alone are resampled. Contrasts that a claim needs
(sweeps/claims.yaml) are computed here, from the runs, problem by problem and seed by seed: two arms that were trained
from one seed and met the same problems are compared on each of them.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jaxtyping import Float

from amend.errors import REFUSED, UserError, print_error
from amend.results.analysis.metric_registry import clip_interval, metric_range
from amend.results.analysis.run_metrics import Measured, measured
from amend.results.run_folder.atomic_files import atomic_write_text, to_json_value
from amend.results.run_folder.naming import FINISHED, latest_finished
from amend.results.run_folder.reader import read_run
from amend.results.stats.random_effects import interval_over_runs, mean_squares
from amend.sweep.plan import Planned, Plans
from amend.sweep.results_page import Layout, page, read_layout
from amend.sweep.search import grid
from amend.sweep.spec import Sweep, read_sweep

POINTS = 30  # of a learning curve


class Arm:
    """The runs of one combination, a seed each."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self.parameters = {key: value for key, value in parameters.items() if key != "seed"}
        self.runs: dict[int, Measured] = {}
        self.names: dict[int, str] = {}  # equal in two sweeps: one configuration, and one run unless it was run again

    def add(self, seed: int, name: str, run: Measured) -> None:
        """The run with this seed; ``name`` is a run's own (``Planned.key``)."""
        self.runs[seed], self.names[seed] = run, name

    def array(self, figure: str, seeds: Sequence[int]) -> Float[np.ndarray, "s p"] | None:
        """A figure on every problem under some seeds; None where a run does not have it, or has other problems."""
        rows = [self.runs[seed].values.get(figure) for seed in seeds]
        known = [row for row in rows if row is not None]
        if len(known) < len(rows) or not known or len({row.shape for row in known}) > 1:
            return None
        return np.stack(known)


def gathered(sweep: Sweep, plans: Plans) -> tuple[list[Arm], list[Planned], dict[str, Any]]:
    """The arms of finished runs, the runs that are missing, and where, when and for how long it was run."""
    arms: dict[str, Arm] = {}
    missing: list[Planned] = []
    versions: dict[str, Any] = {}
    commits: set[str] = set()
    machines: set[str] = set()
    seconds, latest, folders = 0.0, 0.0, 0
    for parameters in grid(sweep)[: sweep.cap]:
        run = plans(parameters)
        folder = None if run.refused else latest_finished(run.base)
        if folder is None:
            missing.append(run)
            continue
        key = json.dumps({k: v for k, v in parameters.items() if k != "seed"}, sort_keys=True)
        found = read_run(folder)
        arm = arms.setdefault(key, Arm({k: parameters[k] for k in sweep.varied if k in parameters}))
        arm.add(int(parameters.get("seed", 0)), run.key, measured(found))
        seconds += float(found.summary.get("cost", {}).get("seconds", 0.0))
        latest = max(latest, (folder / FINISHED).stat().st_mtime)
        versions, folders = dict(found.versions) or versions, folders + 1
        commits.add(str(found.versions.get("commit")))
        machines |= {str(found.versions["cpu"])} if found.versions.get("cpu") else set()
    when = datetime.datetime.fromtimestamp(latest, datetime.UTC).date().isoformat() if folders else None
    where = {
        "cpu": " and ".join(sorted(machines)) or None,
        "cores": versions.get("cores"),
        "python": versions.get("python"),
        "commits": sorted(commits),
        "date": when,
        "run_minutes": round(seconds / 60, 1),
        "runs": folders,
    }
    return list(arms.values()), missing, where


def pooled(values: Float[np.ndarray, "f s p"], ends: Sequence[tuple[float, float]]) -> list[dict[str, Any]]:
    """Of each figure mean and interval, cut at the least and the most that it can be, and each seed's mean."""
    cut = [clip_interval(interval, *end) for interval, end in zip(interval_over_runs(values), ends, strict=True)]
    return [{**i._asdict(), "seeds": own.tolist()} for i, own in zip(cut, values.mean(axis=2), strict=True)]


def row(arm: Arm, layout: Layout) -> dict[str, Any]:
    """An arm as it is written down in the result of a sweep."""
    seeds = sorted(arm.runs)
    one = arm.runs[seeds[0]]
    names = [name for name in one.values if layout.keeps(name)]
    arrays = {name: array for name in names if (array := arm.array(name, seeds)) is not None}
    figures: dict[str, Any] = dict.fromkeys(arrays)  # in this order
    for count in {array.shape[1] for array in arrays.values()}:
        alike = {name: array for name, array in arrays.items() if array.shape[1] == count}
        made = pooled(np.stack(list(alike.values())), [metric_range(name) for name in alike])
        figures |= {name: {**found, "problems": count} for name, found in zip(alike, made, strict=True)}
    cost = {key: float(np.mean([arm.runs[seed].cost[key] for seed in seeds])) for key in one.cost}
    return {
        "arm": arm.parameters,
        "seeds": seeds,
        "runs": [arm.names[seed] for seed in seeds],
        "figures": figures,
        "cost": cost,
        "curves": curves(arm, seeds),
    }


def curves(arm: Arm, seeds: Sequence[int]) -> dict[str, Any]:
    """The figure's data: x, and mean, low and high of y."""
    found: dict[str, Any] = {}
    for name, first in arm.runs[seeds[0]].curves.items():
        lines = [arm.runs[seed].curves.get(name) for seed in seeds]
        known = [line for line in lines if line is not None]
        if name == "learning":  # seeds spend their budgets in different steps
            x = np.linspace(max(c.x[0] for c in known), min(c.x[-1] for c in known), POINTS)
            each = np.stack([np.interp(x, line.x, line.y[0]) for line in known])
            low, high = (each.min(axis=0), each.max(axis=0))
            found[name] = {
                "x": x.round().tolist(),
                "y": _short(each.mean(axis=0)),
                "low": _short(low),
                "high": _short(high),
            }
            continue
        if len({line.y.shape for line in known}) > 1:
            continue
        stacked = np.stack([line.y for line in known])
        bands = pooled(np.moveaxis(stacked, 2, 0), [metric_range(name)] * stacked.shape[2])
        ends = {"y": "mean", "low": "low", "high": "high"}
        found[name] = {"x": list(first.x), **{to: _short([band[of] for band in bands]) for to, of in ends.items()}}
    return found


def _short(values: Any) -> list[float]:
    return [round(float(value), 4) for value in values]


# contrasts -----------------------------------------------------------------------------------------------------------


def contrast(arms: Sequence[Arm], terms: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The sum of ``times`` x figure over terms, problem by problem; {"missing": why} where the runs cannot say."""
    chosen = []
    for term in terms:
        wanted = term.get("of", {})
        found = [
            arm for arm in arms if all(str(arm.parameters.get(key)) == str(value) for key, value in wanted.items())
        ]
        if len(found) != 1:
            return {"missing": f"{'no run' if not found else 'several arms'} of {_named(wanted)}"}
        chosen.append(found[0])
    seeds = sorted(set.intersection(*(set(arm.runs) for arm in chosen)))
    if not seeds:
        return {"missing": "no seed that all arms have"}
    total: np.ndarray | None = None
    for arm, term in zip(chosen, terms, strict=True):
        array = arm.array(term["figure"], seeds)
        if array is None or (total is not None and total.shape != array.shape):
            return {"missing": f"no {term['figure']} of {_named(arm.parameters)} on the same problems"}
        total = term.get("times", 1) * array + (0 if total is None else total)
    assert total is not None
    ends = [sorted(term.get("times", 1) * end for end in metric_range(term["figure"])) for term in terms]
    least, most = (sum(end) for end in zip(*ends, strict=True))
    made = pooled(total[None], [(least, most)])[0] | {"problems": total.shape[1]}
    if min(total.shape) > 1:  # what the interval is made of, for a verdict to say how sure it is
        made["squares"] = mean_squares(total)._asdict()
    return made


def _named(parameters: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in parameters.items()) or "the only arm"


def claims_of(path: Path, sweep: str) -> list[dict[str, Any]]:
    """The claims that this sweep decides."""
    if not path.is_file():
        return []
    return [claim for claim in yaml.safe_load(path.read_text(encoding="utf-8")) if claim.get("sweep") == sweep]


def result(sweep: Sweep, plans: Plans, words: Sequence[str]) -> dict[str, Any]:
    """Everything that is written down of a sweep. UserError where not one run is finished."""
    arms, missing, where = gathered(sweep, plans)
    if not arms:
        raise UserError(f"{sweep.path}: no run of it is finished; start it with python -m amend.sweep {sweep.path}")
    claims = claims_of(sweep.path.parent / "claims.yaml", sweep.name)
    return {
        "sweep": sweep.name,
        "command": shlex.join(["python", "-m", "amend.sweep", f"sweeps/{sweep.path.name}", *words]),
        **where,
        "missing": [run.label for run in missing],
        "axes": [key for key in sweep.varied if key != "seed"],
        "rows": [row(arm, read_layout(sweep.path)) for arm in arms],
        "contrasts": {claim["id"]: contrast(arms, claim["terms"]) for claim in claims},
    }


def written(sweep: Sweep, found: dict[str, Any]) -> tuple[Path, Path]:
    """X.json and X.md beside X.yaml."""
    data, text = sweep.path.with_suffix(".json"), sweep.path.with_suffix(".md")
    as_json = json.dumps(to_json_value(found), separators=(",", ":"), ensure_ascii=False) + "\n"
    atomic_write_text(data, as_json)
    atomic_write_text(text, page(sweep.path.read_text(encoding="utf-8"), json.loads(as_json), read_layout(sweep.path)))
    return data, text


def main(words: list[str] | None = None) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser("python -m amend.sweep.results", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "overrides", nargs="*", help="the words that the sweep was run with, such as runs_dir=elsewhere"
    )
    parser.add_argument("--scale", default="")
    asked = parser.parse_intermixed_args(words)
    try:
        sweep = read_sweep(asked.file)
        found = result(sweep, Plans(sweep, asked.scale, asked.overrides), asked.overrides)
        for path in written(sweep, found):
            print(path)
    except UserError as error:
        print_error(error)
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
