"""``python -m amend.sweep sweeps/X.yaml --jobs 2``: a W&B sweep file, run here, with no account."""

from __future__ import annotations

import argparse
import itertools
import json
import shlex
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from rich.console import Console

from amend.errors import INTERRUPTED, REFUSED, UserError, print_error
from amend.results.run_folder.naming import latest_finished
from amend.sweep.bayes import Trials
from amend.sweep.hydra_multirun import LAUNCHERS, multirun
from amend.sweep.plan import Planned, Plans, looked_up, once, state
from amend.sweep.progress import SweepProgress
from amend.sweep.runner import Runner
from amend.sweep.search import grid, random
from amend.sweep.spec import Sweep, read_sweep


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser("python -m amend.sweep", description=__doc__)
    parser.add_argument("file", type=Path, help="a W&B sweep file")
    parser.add_argument("overrides", nargs="*", help="more words for every run, such as runs_dir=elsewhere")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each on its share of the cores")
    parser.add_argument("--count", type=int, help="start so many runs at most (random and bayes: so many in all)")
    parser.add_argument("--seed", type=int, default=0, help="of what method=random and method=bayes draw")
    parser.add_argument("--scale", default="", help="run all of it at another scale, such as smoke")
    parser.add_argument("--dry-run", action="store_true", help="check every run and say where it stands; run nothing")
    parser.add_argument("--print", action="store_true", help="the same sweep as one command for Hydra's launchers")
    return parser


def main(words: list[str] | None = None) -> int:
    """The exit status: 0 where all is finished, 1 where something failed, 2 for bad input, 130 interrupted."""
    asked = arguments().parse_intermixed_args(words)
    try:
        return _main(asked)
    except UserError as error:
        print_error(error)
        return REFUSED


def _main(asked: argparse.Namespace) -> int:
    if asked.jobs < 1:
        raise UserError(f"--jobs {asked.jobs}: allowed: 1 or more")
    sweep = read_sweep(asked.file)
    if asked.print:
        line = multirun(sweep, asked.scale, asked.overrides)
        print(line)
        for what, launcher in LAUNCHERS.items():
            print(f"# {what}: {launcher.format(jobs=asked.jobs)}")
        return 0
    if not Path(sweep.program).is_file():
        raise UserError(f"{sweep.program}: not here; start the sweep from the folder that {sweep.path} is written for")
    plans = Plans(sweep, asked.scale, asked.overrides)
    trials = open_trials(sweep, asked.overrides, asked.seed) if sweep.method == "bayes" else None
    runs, total = planned(sweep, plans, trials, asked)
    if asked.dry_run:
        return dry(runs, total)
    console = Console(stderr=False)
    with SweepProgress(sweep.name, total, asked.jobs, console) as show:
        ended = partial(learn, sweep, trials) if trials else lambda run: None
        runner = Runner(asked.file.stem, asked.jobs, show, ended)
        tally = runner(runs, asked.count if sweep.method == "grid" else None)
    console.print(f"{len(tally.finished)} finished, {len(tally.failed)} failed", highlight=False)
    for command, why in tally.failed.items():
        console.print(f"failed: {command}: {why}", markup=False, highlight=False, soft_wrap=True)
    if tally.interrupted:
        return INTERRUPTED
    return int(bool(tally.failed))


def planned(
    sweep: Sweep, plans: Plans, trials: Trials | None, asked: argparse.Namespace
) -> tuple[Iterable[Planned], int | None]:
    """The runs, and how many."""
    if sweep.method == "grid":
        runs = once(plans(parameters) for parameters in grid(sweep)[: sweep.cap])
        return runs, len(runs)
    count = min((n for n in (asked.count, sweep.cap) if n is not None), default=None)
    if count is None:
        raise UserError(f"{sweep.path}: method={sweep.method} has no end; add --count, or run_cap to the file")
    if trials is None:
        return map(plans, itertools.islice(random(sweep, asked.seed), count)), count
    return map(plans, trials.suggestions(count)), count


def open_trials(sweep: Sweep, more: list[str], seed: int) -> Trials:
    """Open the journal of a Bayesian sweep in its ``runs_dir``."""
    where = [word.removeprefix("runs_dir=") for word in (*sweep.command, *more) if word.startswith("runs_dir=")]
    return Trials(sweep, Path(where[-1] if where else "runs") / "sweeps" / sweep.path.stem / "optuna.journal", seed)


def learn(sweep: Sweep, trials: Trials, run: Planned) -> None:
    """A Bayesian sweep learns what a finished run gave."""
    folder = latest_finished(run.base)
    assert folder is not None
    value = looked_up(json.loads((folder / "summary.json").read_text(encoding="utf-8")), sweep.metric)
    if not isinstance(value, int | float):
        raise UserError(f"metric.name={sweep.metric}: no such number in {folder / 'summary.json'}")
    trials.tell(run.parameters, float(value))


def dry(runs: Iterable[Planned], total: int | None) -> int:
    """Each run, whether it could be, and where it stands."""
    refused = 0
    for number, run in enumerate(runs, 1):
        where = state(run)
        refused += where == "refused"
        print(f"[{number}/{total}] {where}: {shlex.join(run.command)}{': ' + run.refused if run.refused else ''}")
    return int(bool(refused))


if __name__ == "__main__":
    sys.exit(main())
