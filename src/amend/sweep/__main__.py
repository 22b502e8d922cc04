"""Run a W&B sweep file on this machine without an account: ``python -m amend.sweep sweeps/X.yaml --jobs 2``."""

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
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser("python -m amend.sweep", description=__doc__)
    parser.add_argument("file", type=Path, help="a W&B sweep file")
    parser.add_argument("overrides", nargs="*", help="overrides for every run, such as runs_dir=elsewhere")
    parser.add_argument("--jobs", type=int, default=1, help="number of runs at a time; the runs share the cores")
    parser.add_argument("--count", type=int, help="start at most this many runs; random and bayes: the total number")
    parser.add_argument("--seed", type=int, default=0, help="seed of method=random and method=bayes")
    parser.add_argument("--scale", default="", help="run the sweep at another scale, such as smoke")
    parser.add_argument("--dry-run", action="store_true", help="check every run and print its state; run nothing")
    parser.add_argument("--print", action="store_true", help="print the sweep as one command for Hydra's launchers")
    return parser


def main(words: list[str] | None = None) -> int:
    """Run the sweep and return the exit status.

    Returns:
        0 if all runs are finished, 1 if a run failed, 2 for bad input, 130 after an interrupt.
    """
    args = arguments().parse_intermixed_args(words)
    try:
        return _main(args)
    except UserError as error:
        print_error(error)
        return REFUSED


def _main(args: argparse.Namespace) -> int:
    if args.jobs < 1:
        raise UserError(f"--jobs {args.jobs}: allowed: 1 or more")
    sweep = read_sweep(args.file)
    if args.print:
        line = multirun(sweep, args.scale, args.overrides)
        print(line)
        for use, launcher in LAUNCHERS.items():
            print(f"# {use}: {launcher.format(jobs=args.jobs)}")
        return 0
    if not Path(sweep.program).is_file():
        raise UserError(f"{sweep.program}: no such file; start the sweep from the folder that has it")
    plans = Plans(sweep, args.scale, args.overrides)
    trials = open_trials(sweep, args.overrides, args.seed) if sweep.method == "bayes" else None
    runs, total = planned(sweep, plans, trials, args)
    if args.dry_run:
        return dry(runs, total)
    console = Console(stderr=False)
    with SweepProgress(sweep.name, total, args.jobs, console) as progress:
        on_finished = partial(learn, sweep, trials) if trials else lambda run: None
        runner = Runner(args.file.stem, args.jobs, progress, on_finished)
        result = runner(runs, args.count if sweep.method == "grid" else None)
    console.print(f"{len(result.finished)} finished, {len(result.failed)} failed", highlight=False)
    for command, reason in result.failed.items():
        console.print(f"failed: {command}: {reason}", markup=False, highlight=False, soft_wrap=True)
    if result.interrupted:
        return INTERRUPTED
    return int(bool(result.failed))


def planned(
    sweep: Sweep, plans: Plans, trials: Trials | None, asked: argparse.Namespace
) -> tuple[Iterable[Planned], int | None]:
    """Return the runs of the sweep, and their number (None if it is unknown).

    Raises:
        UserError: If random or Bayesian search has no number of runs.
    """
    if sweep.method == "grid":
        runs = once(plans(parameters) for parameters in grid(sweep)[: sweep.cap])
        return runs, len(runs)
    count = min((n for n in (asked.count, sweep.cap) if n is not None), default=None)
    if count is None:
        raise UserError(f"{sweep.path}: method={sweep.method} has no end; add --count, or add run_cap to the file")
    if trials is None:
        return map(plans, itertools.islice(random(sweep, asked.seed), count)), count
    return map(plans, trials.suggestions(count)), count


def open_trials(sweep: Sweep, more: list[str], seed: int) -> Trials:
    """Open the journal of a Bayesian sweep in its ``runs_dir``."""
    folders = [word.removeprefix("runs_dir=") for word in (*sweep.command, *more) if word.startswith("runs_dir=")]
    return Trials(sweep, Path(folders[-1] if folders else "runs") / "sweeps" / sweep.path.stem / "optuna.journal", seed)


def learn(sweep: Sweep, trials: Trials, run: Planned) -> None:
    """Report the metric of a finished run to Bayesian search.

    Raises:
        UserError: If ``summary.json`` has no such number.
    """
    folder = latest_finished(run.base)
    assert folder is not None
    value = looked_up(json.loads((folder / "summary.json").read_text(encoding="utf-8")), sweep.metric)
    if not isinstance(value, int | float):
        raise UserError(f"metric.name={sweep.metric}: no such number in {folder / 'summary.json'}")
    trials.tell(run.parameters, float(value))


def dry(runs: Iterable[Planned], total: int | None) -> int:
    """Print the state of each run and return the exit status: 1 if the configuration of a run is invalid."""
    refused = 0
    for number, run in enumerate(runs, 1):
        run_state = state(run)
        refused += run_state == "refused"
        print(f"[{number}/{total}] {run_state}: {shlex.join(run.command)}{': ' + run.refused if run.refused else ''}")
    return int(bool(refused))


if __name__ == "__main__":
    sys.exit(main())
