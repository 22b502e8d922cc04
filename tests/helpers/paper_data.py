"""A dozen problems in the format of each data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def programs(path: Path) -> Path:
    """Programs to write, in the formats of MBPP and HumanEval."""

    def row(number: int) -> dict[str, Any]:
        return {
            "task_id": number, "text": f"Write a function that adds {number}.", "test_setup_code": "",
            "code": f"def add(x):\n    return x + {number}", "test_list": [f"assert add(1) == {number + 1}"],
            "challenge_test_list": [],
        }  # fmt: skip

    asked = {
        "task_id": "HumanEval/0", "prompt": 'def one():\n    """One."""\n', "canonical_solution": "    return 1\n",
        "test": "def check(candidate):\n    assert candidate() == 1\n", "entry_point": "one",
    }  # fmt: skip
    for name, rows in (
        ("mbpp.jsonl", [row(number) for number in (2, 3, 4, 11, 12, 511, 512, 601, 602, 603)]),
        ("HumanEval.jsonl", [{**asked, "task_id": f"HumanEval/{i}"} for i in range(2)]),
    ):
        (path / name).write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return path


def data(task: str, path: Path) -> Path:
    """A dozen problems in the format of the data set."""
    path.mkdir()
    if task == "humaneval":
        return programs(path)
    for name, count in (("train.jsonl", 12), ("test.jsonl", 4)):
        rows: list[dict[str, Any]] = []
        for i in range(count):
            question = f"{name}: what is {i} + {i}?"
            if task == "math":
                solution = f"It is \\boxed{{{2 * i}}}."
                rows.append({"problem": question, "level": "Level 1", "type": "Algebra", "solution": solution})
            else:
                rows.append({"question": question, "answer": f"It is <<{i}+{i}={2 * i}>>{2 * i}.\n#### {2 * i}"})
        (path / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
