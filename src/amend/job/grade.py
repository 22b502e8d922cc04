"""job=grade: grade the replies of one JSONL file and write their verdicts to another."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from omegaconf import DictConfig

from amend.components import build_task
from amend.results.run_folder.atomic_files import atomic_write
from amend.task.base import Task
from amend.task.dataset.jsonl import at, content, lines
from amend.task.dataset.jsonl import text as text_of

AT_ONCE = 4096  # lines a batch


def grade_file(task: Task, responses: Path, verdicts: Path) -> Counter[str]:
    """Grade a JSON Lines file of replies; returns how many verdicts there are of each ``why``.

    Each line has ``reply`` and either the problem's ``id`` or the data set's own fields (``Task.recognise``). Each
    line of ``verdicts``, in the same order, is that line with ``gold`` (the right answer), ``answer`` (the reply's),
    ``correct`` and ``why``. Every line is read before any is graded, and the file appears whole or not at all. Raises
    UserError naming the line and the field that is wrong, or the file that cannot be read or written.
    """
    asked = []
    for where, row in lines(responses, content(responses)):
        with at(where):
            asked.append((row, task.problem_from_row(row), text_of(row, "reply")))
    reasons: Counter[str] = Counter()

    def write(path: Path) -> None:
        with path.open("w", encoding="ascii") as out:
            for start in range(0, len(asked), AT_ONCE):
                batch = asked[start : start + AT_ONCE]
                found = task.grade_many([(problem, reply) for _, problem, reply in batch])
                for (row, problem, _), (answer, correct, reason) in zip(batch, found, strict=True):
                    judged = {"gold": problem.target, "answer": answer, "correct": correct, "why": reason}
                    out.write(json.dumps({**row, **judged}) + "\n")
                    reasons[reason] += 1

    atomic_write(verdicts, write)
    return reasons


def run(cfg: DictConfig) -> int:
    """Re-check the replies of one JSONL file into another."""
    whys = grade_file(build_task(cfg), Path(cfg.responses), Path(cfg.verdicts))
    print(f"verdicts: {cfg.verdicts} ({', '.join(f'{why} {count}' for why, count in whys.most_common())})")
    return 0
