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

AT_ONCE = 4096  # lines per batch


def grade_file(task: Task, responses: Path, verdicts: Path) -> Counter[str]:
    """Grade the replies of a JSON Lines file and write the verdicts to another.

    The function reads all lines before it grades, and writes the file of verdicts atomically.

    Args:
        task: The task that grades.
        responses: The file of replies. Each line has ``reply``, and either the ``id`` of a problem or the fields of
            the data set (`Task.problem_from_row`).
        verdicts: The file to write. It has the lines of ``responses`` in the same order, with ``gold`` (the gold
            answer), ``answer`` (the answer of the reply), ``correct`` and ``why`` (the reason) added.

    Returns:
        The number of verdicts for each reason.

    Raises:
        UserError: If a line or a field is invalid, or a file cannot be read or written; the message names it.
    """
    replies = []
    for position, row in lines(responses, content(responses)):
        with at(position):
            replies.append((row, task.problem_from_row(row), text_of(row, "reply")))
    reasons: Counter[str] = Counter()

    def write(path: Path) -> None:
        with path.open("w", encoding="ascii") as out:
            for start in range(0, len(replies), AT_ONCE):
                batch = replies[start : start + AT_ONCE]
                graded = task.grade_many([(problem, reply) for _, problem, reply in batch])
                for (row, problem, _), (answer, correct, reason) in zip(batch, graded, strict=True):
                    verdict = {"gold": problem.target, "answer": answer, "correct": correct, "why": reason}
                    out.write(json.dumps({**row, **verdict}) + "\n")
                    reasons[reason] += 1

    atomic_write(verdicts, write)
    return reasons


def run(cfg: DictConfig) -> int:
    """Grade ``responses`` and write ``verdicts``."""
    reasons = grade_file(build_task(cfg), Path(cfg.responses), Path(cfg.verdicts))
    print(f"verdicts: {cfg.verdicts} ({', '.join(f'{reason} {count}' for reason, count in reasons.most_common())})")
    return 0
