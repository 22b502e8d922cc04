"""Write the results of a sweep: ``python -m amend.sweep.results sweeps/X.yaml`` writes sweeps/X.json and sweeps/X.md.

Every figure is a mean over test problems and seeds, with Student's t interval for crossed random effects of both
(`amend.results.stats.random_effects`); a bootstrap over three seeds would be too narrow. With one seed, only the
problems are resampled. The module also computes the contrasts that the claims of sweeps/claims.yaml need. A contrast
is paired: it compares two arms on each problem, separately for each seed.
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

POINTS = 30  # points of a learning curve


class Arm:
    """The runs of one combination of parameters, one run per seed.

    Args:
        parameters: The parameters that the sweep varies.
    """

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self.parameters = {key: value for key, value in parameters.items() if key != "seed"}
        self.runs: dict[int, Measured] = {}
        self.names: dict[int, str] = {}  # key of each run; two sweeps that share a run have the same key

    def add(self, seed: int, name: str, run: Measured) -> None:
        """Add the run with this seed; ``name`` is its ``Planned.key``."""
        self.runs[seed], self.names[seed] = run, name

    def array(self, figure: str, seeds: Sequence[int]) -> Float[np.ndarray, "s p"] | None:
        """Return a figure for each seed and problem.

        Args:
            figure: Name of the figure.
            seeds: The seeds of the first axis.

        Returns:
            The values with axes seed and problem; None if a run has no such figure, or another number of problems.
        """
        rows = [self.runs[seed].values.get(figure) for seed in seeds]
        present = [row for row in rows if row is not None]
        if len(present) < len(rows) or not present or len({row.shape for row in present}) > 1:
            return None
        return np.stack(present)


def gathered(sweep: Sweep, plans: Plans) -> tuple[list[Arm], list[Planned], dict[str, Any]]:
    """Collect the runs of a sweep.

    Returns:
        The arms of the finished runs, the missing runs, and the provenance: machine, versions, date and duration.
    """
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
        record = read_run(folder)
        arm = arms.setdefault(key, Arm({k: parameters[k] for k in sweep.varied if k in parameters}))
        arm.add(int(parameters.get("seed", 0)), run.key, measured(record))
        seconds += float(record.summary.get("cost", {}).get("seconds", 0.0))
        latest = max(latest, (folder / FINISHED).stat().st_mtime)
        versions, folders = dict(record.versions) or versions, folders + 1
        commits.add(str(record.versions.get("commit")))
        machines |= {str(record.versions["cpu"])} if record.versions.get("cpu") else set()
    date = datetime.datetime.fromtimestamp(latest, datetime.UTC).date().isoformat() if folders else None
    provenance = {
        "cpu": " and ".join(sorted(machines)) or None,
        "cores": versions.get("cores"),
        "python": versions.get("python"),
        "commits": sorted(commits),
        "date": date,
        "run_minutes": round(seconds / 60, 1),
        "runs": folders,
    }
    return list(arms.values()), missing, provenance


def pooled(values: Float[np.ndarray, "f s p"], ends: Sequence[tuple[float, float]]) -> list[dict[str, Any]]:
    """Return the mean, the interval and the mean per seed of each figure.

    Args:
        values: Figures with axes figure, seed and problem.
        ends: The smallest and the largest possible value of each figure; the interval is clipped to them.

    Returns:
        One mapping per figure, with ``mean``, ``low``, ``high`` and ``seeds``.
    """
    clipped = [clip_interval(interval, *end) for interval, end in zip(interval_over_runs(values), ends, strict=True)]
    seed_means = values.mean(axis=2)
    return [{**i._asdict(), "seeds": means.tolist()} for i, means in zip(clipped, seed_means, strict=True)]


def row(arm: Arm, layout: Layout) -> dict[str, Any]:
    """Return the row of an arm in the result of a sweep."""
    seeds = sorted(arm.runs)
    first = arm.runs[seeds[0]]
    names = [name for name in first.values if layout.keeps(name)]
    arrays = {name: array for name in names if (array := arm.array(name, seeds)) is not None}
    figures: dict[str, Any] = dict.fromkeys(arrays)  # fixes the order of the figures
    for count in {array.shape[1] for array in arrays.values()}:
        same_count = {name: array for name, array in arrays.items() if array.shape[1] == count}
        intervals = pooled(np.stack(list(same_count.values())), [metric_range(name) for name in same_count])
        figures |= {name: {**interval, "problems": count} for name, interval in zip(same_count, intervals, strict=True)}
    cost = {key: float(np.mean([arm.runs[seed].cost[key] for seed in seeds])) for key in first.cost}
    return {
        "arm": arm.parameters,
        "seeds": seeds,
        "runs": [arm.names[seed] for seed in seeds],
        "figures": figures,
        "cost": cost,
        "curves": curves(arm, seeds),
    }


def curves(arm: Arm, seeds: Sequence[int]) -> dict[str, Any]:
    """Return the data of each curve: x, and the mean and interval of y.

    The learning curve has the range over seeds as its interval, and is interpolated to ``POINTS`` points.
    """
    data: dict[str, Any] = {}
    for name, first in arm.runs[seeds[0]].curves.items():
        lines = [arm.runs[seed].curves.get(name) for seed in seeds]
        present = [line for line in lines if line is not None]
        if name == "learning":  # runs have their points at different numbers of tokens
            x = np.linspace(max(c.x[0] for c in present), min(c.x[-1] for c in present), POINTS)
            interpolated = np.stack([np.interp(x, line.x, line.y[0]) for line in present])
            low, high = (interpolated.min(axis=0), interpolated.max(axis=0))
            data[name] = {
                "x": x.round().tolist(),
                "y": _round(interpolated.mean(axis=0)),
                "low": _round(low),
                "high": _round(high),
            }
            continue
        if len({line.y.shape for line in present}) > 1:
            continue
        stacked = np.stack([line.y for line in present])
        bands = pooled(np.moveaxis(stacked, 2, 0), [metric_range(name)] * stacked.shape[2])
        ends = {"y": "mean", "low": "low", "high": "high"}
        data[name] = {"x": list(first.x), **{to: _round([band[of] for band in bands]) for to, of in ends.items()}}
    return data


def _round(values: Any) -> list[float]:
    return [round(float(value), 4) for value in values]


# contrasts -----------------------------------------------------------------------------------------------------------


def contrast(arms: Sequence[Arm], terms: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean and interval of a linear combination of figures, paired by problem and seed.

    Args:
        arms: The arms of the sweep.
        terms: The summands. Each has a ``figure``, the parameters ``of`` its arm, and a factor ``times`` (default 1).

    Returns:
        The mapping of `pooled` with ``problems`` and ``squares``; {"missing": reason} if the runs do not suffice.
    """
    chosen = []
    for term in terms:
        wanted = term.get("of", {})
        matching = [
            arm for arm in arms if all(str(arm.parameters.get(key)) == str(value) for key, value in wanted.items())
        ]
        if len(matching) != 1:
            return {"missing": f"{'no run' if not matching else 'several arms'} of {_describe(wanted)}"}
        chosen.append(matching[0])
    seeds = sorted(set.intersection(*(set(arm.runs) for arm in chosen)))
    if not seeds:
        return {"missing": "no seed that all arms have"}
    total: np.ndarray | None = None
    for arm, term in zip(chosen, terms, strict=True):
        array = arm.array(term["figure"], seeds)
        if array is None or (total is not None and total.shape != array.shape):
            return {"missing": f"no {term['figure']} of {_describe(arm.parameters)} on the same problems"}
        total = term.get("times", 1) * array + (0 if total is None else total)
    assert total is not None
    ends = [sorted(term.get("times", 1) * end for end in metric_range(term["figure"])) for term in terms]
    least, most = (sum(end) for end in zip(*ends, strict=True))
    summary = pooled(total[None], [(least, most)])[0] | {"problems": total.shape[1]}
    if min(total.shape) > 1:  # claims.py computes the p-value of a verdict from these
        summary["squares"] = mean_squares(total)._asdict()
    return summary


def _describe(parameters: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in parameters.items()) or "the only arm"


def claims_of(path: Path, sweep: str) -> list[dict[str, Any]]:
    """Return the claims that a sweep decides.

    Args:
        path: The claims file, which may be missing.
        sweep: Name of the sweep.
    """
    if not path.is_file():
        return []
    return [claim for claim in yaml.safe_load(path.read_text(encoding="utf-8")) if claim.get("sweep") == sweep]


def result(sweep: Sweep, plans: Plans, words: Sequence[str]) -> dict[str, Any]:
    """Return the content of sweeps/X.json.

    Args:
        sweep: The sweep.
        plans: Gives the run folder of each combination.
        words: The overrides of the command line.

    Raises:
        UserError: If no run is finished.
    """
    arms, missing, provenance = gathered(sweep, plans)
    if not arms:
        raise UserError(f"{sweep.path}: no run is finished; start the sweep with python -m amend.sweep {sweep.path}")
    claims = claims_of(sweep.path.parent / "claims.yaml", sweep.name)
    return {
        "sweep": sweep.name,
        "command": shlex.join(["python", "-m", "amend.sweep", f"sweeps/{sweep.path.name}", *words]),
        **provenance,
        "missing": [run.label for run in missing],
        "axes": [key for key in sweep.varied if key != "seed"],
        "rows": [row(arm, read_layout(sweep.path)) for arm in arms],
        "contrasts": {claim["id"]: contrast(arms, claim["terms"]) for claim in claims},
    }


def written(sweep: Sweep, found: dict[str, Any]) -> tuple[Path, Path]:
    """Write X.json and X.md next to the sweep file X.yaml, and return their paths."""
    data, text = sweep.path.with_suffix(".json"), sweep.path.with_suffix(".md")
    as_json = json.dumps(to_json_value(found), separators=(",", ":"), ensure_ascii=False) + "\n"
    atomic_write_text(data, as_json)
    atomic_write_text(text, page(sweep.path.read_text(encoding="utf-8"), json.loads(as_json), read_layout(sweep.path)))
    return data, text


def main(words: list[str] | None = None) -> int:
    """Write the results and return the exit status: 0, or 2 for bad input."""
    parser = argparse.ArgumentParser("python -m amend.sweep.results", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "overrides", nargs="*", help="the overrides that the sweep was run with, such as runs_dir=elsewhere"
    )
    parser.add_argument("--scale", default="")
    args = parser.parse_intermixed_args(words)
    try:
        sweep = read_sweep(args.file)
        content = result(sweep, Plans(sweep, args.scale, args.overrides), args.overrides)
        for path in written(sweep, content):
            print(path)
    except UserError as error:
        print_error(error)
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
