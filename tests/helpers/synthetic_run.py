"""A run folder made up from a seed, with the files and keys of a real one: what the report's tests and pictures read.

    python tests/report/synthetic_run.py FOLDER        writes one there, with its report

The base is right on half of its first attempts and spoils more than it mends; the trained model corrects itself.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from amend.results.analysis.summary import summarise
from amend.results.metrics.episode_table import COLUMNS
from amend.results.report.html.run_page import write_report

SUBJECTS = ("Equations", "Factors", "Make a target", "Pairs", "Sums")
# Chances of right at first; right again after right; right after wrong; a copy of the first attempt.
BASE, TRAINED = (0.53, 0.86, 0.08, 0.35), (0.55, 0.99, 0.34, 0.45)


def reply(x: int, shown: int, a: int, b: int, c: int) -> str:
    """An attempt at a*x + b = c in the manner of the built-in model."""
    off = a * shown + b - c
    verdict = "ok" if off == 0 else f"{abs(off)} {'low' if off < 0 else 'high'}"
    return f"x={shown}: {a}*{shown}={a * shown}+{b}={a * shown + b} {verdict} \\boxed{{{shown}}}"


def episodes(
    problems: int, samples: int, turns: int, phases: tuple[str, ...], padding: int = 0
) -> dict[str, list[Any]]:
    """A table of episodes: a greedy one of each problem, ``samples`` sampled ones. ``padding`` lengthens replies."""
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for phase in phases:
        first, again, mended, copied = BASE if phase == "base" else TRAINED
        for decoding, n in (("greedy", 1), ("sampled", samples)):
            generator = np.random.default_rng([len(phase), len(decoding)])
            for p in range(problems):
                a, x, b = (int(v) for v in np.random.default_rng([7, p]).integers(2, 15, 3))
                for sample in range(n):
                    shown, right = x, False
                    for turn in range(turns):
                        before = right
                        right = bool(generator.random() < (first if turn == 0 else again if before else mended))
                        if turn == 0 or before or right or generator.random() > copied:
                            shown = x if right else x + int(generator.integers(1, 5))
                        text = reply(x, shown, a, b, a * x + b) + " lorem ipsum" * padding
                        cut = bool(generator.random() < 0.01)
                        right = right and not cut
                        question = f"Solve for x: {a}*x+{b}={a * x + b}."
                        row = (
                            phase, decoding, f"test-{p}", sample, turn + 1, question, str(x), 1 + p % 5,
                            SUBJECTS[p % len(SUBJECTS)], text, None if cut else str(shown), right,
                            "right" if right else "no answer" if cut else "wrong", len(text), -4.2,
                            "length" if cut else "end",
                        )  # fmt: skip
                        for name, value in zip(COLUMNS, row, strict=True):
                            columns[name].append(value)
    return columns


def metrics(rounds: int, turns: int) -> list[dict[str, Any]]:
    """Lines of metrics.jsonl."""
    generator = np.random.default_rng(3)
    rows = []
    for i in range(1, rounds + 1):
        done, noise = i / rounds, lambda size: float(generator.normal(0, size))
        row: dict[str, Any] = {
            "iteration": i,
            "stage": "I" if i <= rounds // 3 else "II",
            "loss": noise(0.1),
            "grad_norm": 0.4,
        }
        row["accuracy_t1"] = row["reward_t1"] = 0.34 + 0.05 * done + noise(0.015)
        row["kl_t1"] = 0.002 + 0.03 * max(0, done - 1 / 3) + abs(noise(0.002))
        if turns > 1:
            row.update(
                accuracy_t2=0.30 + 0.25 * done + noise(0.015), i_to_c=0.1 + 0.2 * done + noise(0.01),
                c_to_i=0.14 - 0.12 * done + noise(0.004), change_rate=0.7 - 0.15 * done + noise(0.02),
                kl_t2=0.01 + 0.11 * done + abs(noise(0.006)),
            )  # fmt: skip
            row["reward_t2"] = row["accuracy_t2"]
            row["delta"] = row["i_to_c"] - row["c_to_i"]
        row.update(
            entropy=0.6 - 0.2 * done + noise(0.01), sampled_tokens=i * 31_000, episodes=i * 512, optimizer_steps=i,
        )  # fmt: skip
        row |= {
            "response_length/clip_ratio": abs(noise(0.006)),
            "response_length/mean": 31.0,
            "frac_reward_zero_std": 0.1 + 0.15 * done + noise(0.02),
            "sampling/logp_difference": 1e-6,
            "reward_errors": 0,
        }
        rows.append(row)
    return rows


def write(folder: Path, problems: int = 40, samples: int = 4, turns: int = 2, rounds: int = 40) -> Path:
    """A finished run in ``folder``, without its report."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("algo:\n  name: score\n  alpha: 10.0\ntask:\n  name: math\n", encoding="utf-8")
    (folder / "versions.json").write_text(json.dumps({"amend": "0.1.0", "torch": "2.9.0"}), encoding="utf-8")
    lines = metrics(rounds, turns)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines), encoding="utf-8")
    seconds = [{"iteration": row["iteration"], "seconds": 2.0, "tokens_per_second": 15_500.0} for row in lines]
    (folder / "timing.jsonl").write_text("".join(json.dumps(row) + "\n" for row in seconds), encoding="utf-8")
    columns = episodes(problems, samples, turns, ("base", "trained"))
    pq.write_table(pa.table(columns), folder / "episodes.parquet")
    figures = {d: {p: summarise(columns, p, d) for p in ("base", "trained")} for d in ("greedy", "sampled")}
    cost = {"seconds": 251.3, "episodes": rounds * 512, "sampled_tokens": rounds * 31_000, "optimizer_steps": rounds}
    name = {"algo": "score", "task": "math", "policy": "tiny", "seed": 0}
    summary = {**name, **figures["greedy"], "cost": cost, "sampled": figures["sampled"]}
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return folder


def finished(folder: Path, algo: str, seed: int, first: list[bool], second: list[bool], wide: list[list[str]]) -> Path:
    """A tiny finished run: greedy verdicts of two turns, and texts of sampled first attempts (right where ``ok``)."""
    rows = []
    for p, verdicts in enumerate(zip(first, second, strict=True)):
        for turn, right in enumerate(verdicts, 1):
            rows.append(("trained", "greedy", p, 0, turn, "x", right))
    for p, texts in enumerate(wide):
        for sample, text in enumerate(texts):
            rows.append(("trained", "wide", p, sample, 1, text, "ok" in text))
    same = {
        "question": "q",
        "gold": "1",
        "level": 1,
        "subject": "S",
        "why": "",
        "tokens": 3,
        "logp": -1.0,
        "stop": "end",
    }
    columns = {
        name: [
            {
                "phase": phase, "decoding": decoding, "problem": f"p{p}", "sample": sample, "turn": turn,
                "text": text, "answer": "1" if right else "0", "correct": right, **same,
            }[name]
            for phase, decoding, p, sample, turn, text, right in rows
        ]
        for name in COLUMNS
    }  # fmt: skip
    folder.mkdir(parents=True)
    pq.write_table(pa.table(columns), folder / "episodes.parquet")
    cost = {"seconds": 10.0 * (seed + 1), "sampled_tokens": 100, "episodes": 8, "optimizer_steps": 2}
    (folder / "summary.json").write_text(json.dumps({"algo": algo, "seed": seed, "cost": cost}), encoding="utf-8")
    return folder


def runs(root: Path, algorithms: int = 3, seeds: int = 2, **size: int) -> list[Path]:
    """Runs of several made-up algorithms."""
    folders = []
    for a in range(algorithms):
        for seed in range(seeds):
            folder = write(
                root / f"algo{a}" / f"{a:08x}-s{seed}", **{"problems": 12, "samples": 2, "rounds": 8, **size}
            )
            summary = json.loads((folder / "summary.json").read_text())
            (folder / "summary.json").write_text(json.dumps({**summary, "algo": f"algo{a}", "seed": seed}))
            folders.append(folder)
    return folders


if __name__ == "__main__":
    from amend.results.report.html.run_page import write_report

    print(write_report(write(Path(sys.argv[1]), problems=1000, rounds=90)))
