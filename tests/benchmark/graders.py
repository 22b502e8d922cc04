"""What the grader does on the real MATH and GSM8K, beside other graders, and how fast it is.

    make graders FOLDER=FOLDER ARGS="--every 10 --lm-eval PATH"        (its output, explained: graders.md)

FOLDER has math_train.jsonl, math500.jsonl, gsm8k_train.jsonl and gsm8k_test.jsonl. The other graders are math-verify as
its page shows it and, where lm-evaluation-harness is installed (or PATH is its unpacked wheel), MATH's own string
comparison and Minerva's normaliser (without its sympy). They are given every ``every``-th gold answer of MATH,
rewritten in ways that keep its value and in ways that change it; what each rule says is known, so each difference has
its explanation beside it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from amend.job.grade import grade_file
from amend.task.grading.extract_answer import extract_answer
from amend.task.grading.math_grader import MathGrader
from amend.task.gsm8k import GSM8K
from amend.task.math import Math
from amend.types import Problem

Judge = Callable[[str, str], bool]  # (gold, answer) -> right?
INTEGER = re.compile(r"-?[0-9]{1,6}")
INTERVAL = re.compile(r"(?:\\left)?([\[(])([^,]*),([^,]*?)(?:\\right)?([\])])")
FRACTION = re.compile(r"(-?)\\d?frac\{([0-9]{1,4})\}\{([0-9]{1,4})\}")


def rewritten(gold: str) -> Iterator[tuple[str, str, bool]]:
    """Ways to write another answer: (rule, answer, whether its value is still the gold's)."""
    yield "as it is", gold, True
    yield "spaces and a full stop", f" {gold} .", True
    if "\\frac" in gold:
        yield "dfrac", gold.replace("\\frac", "\\dfrac"), True
    if gold.startswith("(") and gold.endswith(")"):
        yield "left and right", f"\\left{gold[:-1]}\\right)", True
    if len(gold) > 1 and "\\text" not in gold:
        yield "underlined", f"\\underline{{{gold}}}", True
    if (found := INTERVAL.fullmatch(gold)) and ("infty" in gold or "[" in gold or "]" in gold):
        left, low, high, right = found.groups()
        below, above = ("\\le" if side in "[]" else "<" for side in (left, right))
        start, end = "" if "infty" in low else f"{low} {below} ", "" if "infty" in high else f" {above} {high}"
        if start or end:
            yield "inequality", f"{start}x{end}", True
            yield "a shut end open", f"{start}x{end}".replace("\\le", "<"), "\\le" not in f"{start}x{end}"
    if INTEGER.fullmatch(gold):
        yield "x = n", f"x = {gold}", True
        yield "n.0", f"{gold}.0", True
        yield "n + 1", str(int(gold) + 1), False
        yield "-n", str(-int(gold)) if int(gold) else "1", False
        yield "a+b = n", f"a+b = {gold}", True
        yield "|AB| = n", f"|AB| = {gold}", True
        yield "f(2) = n", f"f(2) = {gold}", True
        yield "n dollars", f"{gold} dollars", True
        yield "n or n + 1", f"{gold} \\text{{ or }} {int(gold) + 1}", False
        if len(gold) > 3 and gold[0] != "-":
            yield "thousands", f"{int(gold):,}", True
    if found := FRACTION.fullmatch(gold):
        sign, top, bottom = found.groups()
        yield "a/b", f"{sign}{top}/{bottom}", True
        yield "doubled", f"{sign}\\frac{{{2 * int(top)}}}{{{2 * int(bottom)}}}", True
        yield "upside down", f"{sign}\\frac{{{bottom}}}{{{top}}}", top == bottom


def others(lm_eval: Path | None) -> dict[str, Judge]:
    """The graders at hand."""
    from math_verify import parse, verify

    def math_verify(gold: str, answer: str) -> bool:
        return bool(verify(parse(f"${gold}$"), parse(f"$\\boxed{{{answer}}}$")))

    found: dict[str, Judge] = {"math-verify": math_verify}
    spec = importlib.util.find_spec("lm_eval")
    home = lm_eval or (Path(spec.origin).parent if spec and spec.origin else None)
    if home is None:
        print("lm-evaluation-harness is not installed (pip install --no-deps lm_eval): its two graders are left out\n")
        return found
    # Minerva's module asks for antlr 4.11, for sympy's own LaTeX parser; hydra needs 4.9. Its normaliser needs neither.
    with mock.patch("importlib.metadata.version", return_value="4.11"):
        names = ("hendrycks_math", "minerva_math")
        hendrycks, minerva = (_module(home / "tasks" / name / "utils.py") for name in names)
    clean = minerva.normalize_final_answer
    found["MATH's own"] = lambda gold, answer: bool(hendrycks.is_equiv(gold, answer))
    found["Minerva's"] = lambda gold, answer: clean(gold) == clean(answer)
    return found


def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.parent.name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def agreement(golds: list[str], grader: MathGrader, lm_eval: Path | None) -> None:
    """How often each grader says what the rule says, and an example of every rule on which two of them differ."""
    asked = [(rule, gold, answer, same) for gold in golds for rule, answer, same in rewritten(gold)]
    ours = [v.correct for v in grader.grade_many([(gold, f"\\boxed{{{answer}}}") for _, gold, answer, _ in asked])]
    said: dict[str, list[bool]] = {"amend": ours}
    for name, judge in others(lm_eval).items():
        said[name] = [_asked(judge, gold, answer) for _, gold, answer, _ in asked]
    print(f"{len(asked)} answers made from {len(golds)} gold answers of MATH: share called right")
    print(f"{'rule':24}{'is right':>10}{'n':>7}" + "".join(f"{name:>14}" for name in said))
    rows: dict[tuple[str, bool], list[int]] = defaultdict(list)
    for i, (rule, _, _, same) in enumerate(asked):
        rows[rule, same].append(i)
    for (rule, same), places in rows.items():
        shares = "".join(f"{sum(told[i] for i in places) / len(places):14.4f}" for told in said.values())
        print(f"{rule:24}{'yes' if same else 'no':>10}{len(places):7}{shares}")
    print("\nWhere amend and another differ (at most two a rule and grader):")
    for name, told in said.items():
        seen: Counter[str] = Counter()
        for (rule, gold, answer, same), mine, theirs in zip(asked, ours, told, strict=True):
            if mine != theirs and (seen.update([rule]) or seen[rule] <= 2):
                print(f"  {name:12} says {theirs!s:5} to {answer[:40]!r} for {gold[:40]!r}; {rule}: right is {same}")
        print(f"  {name}: {sum(a != b for a, b in zip(ours, told, strict=True))} differences in all")
    errors = [(g, a, r) for (r, g, a, same), mine in zip(asked, ours, strict=True) if mine != same]
    print(f"\namend against the rules: {len(errors)} of {len(asked)} otherwise: {errors[:12]}\n")


def _asked(judge: Judge, gold: str, answer: str) -> bool:
    try:
        return judge(gold, answer)
    except Exception:  # another grader's fault counts as not right, as it would in its own harness
        return False


def truths(name: str, problems: list[Problem], task: Any, every: int) -> None:
    """Gold answers against themselves, solutions against golds, and every so many answers against a neighbour's."""
    own = Counter(v.reason for v in task.grade_many([(p, f"\\boxed{{{p.target}}}") for p in problems]))
    worked = [p for p in problems if p.meta["solution"]]
    solved = Counter(v.reason for v in task.grade_many([(p, p.meta["solution"]) for p in worked]))
    read = sum((extract_answer(p.meta["solution"]) or "").replace(",", "") == p.target.replace(",", "") for p in worked)
    pairs = [(p, q.target) for p, q in zip(problems, [*problems[1:], problems[0]], strict=True) if p.target != q.target]
    pairs = pairs[::every]  # most need sympy: --every 1 takes minutes
    verdicts = task.grade_many([(p, f"\\boxed{{{answer}}}") for p, answer in pairs])
    swapped = Counter(v.reason for v in verdicts)
    false = {(p.target, answer) for (p, answer), v in zip(pairs, verdicts, strict=True) if v.correct}
    print(
        f"{name}: gold answers against themselves {dict(own)}; {len(worked)} worked solutions {dict(solved)}, of which"
    )
    print(f"  {read} give the gold answer letter for letter; {len(pairs)} neighbours' other answers {dict(swapped)},")
    print(f"  right among them: {sorted(false)}\n")


def speed(golds: list[str], grader: MathGrader) -> None:
    """Plain answers a second through job=grade's own function, and what one hostile answer costs a batch."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "in.jsonl", Path(folder) / "out.jsonl"
        plain = [gold for gold in golds if INTEGER.fullmatch(gold)]
        rows = [
            {
                "problem": "?",
                "answer": plain[i % len(plain)],
                "reply": f"Work.\nSo it is $\\boxed{{{plain[i * 7 % 97]}}}$.",
            }
            for i in range(20_000)
        ]
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
        task = Math(source="builtin", prompt="{question}", levels=[1], families=["pair"], validation=1, test=1)
        began = time.perf_counter()
        grade_file(task, source, out)
        seconds = time.perf_counter() - began
        task.close()
    print(f"job=grade: {len(rows):,} plain answers in {seconds:.2f} s: {len(rows) / seconds:,.0f} a second (one core)")
    grader.grade("y", "\\boxed{z}")  # the workers are up
    harmless = [("x+7", f"\\boxed{{7+x+{i}}}") for i in range(8)]
    for hostile in ([], [("x+7", "\\boxed{9^{9^{9^9}}}")]):
        again = [(gold, f"{reply[:-1]}+{len(hostile)}}}") for gold, reply in harmless]  # not remembered from before
        began = time.perf_counter()
        grader.grade_many(again[:4] + hostile + again[4:])
        print(
            f"  8 answers for sympy, {len(hostile)} hostile: {time.perf_counter() - began:.2f} s (limit 2 s an answer)"
        )


def main() -> None:
    """All of it."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("folder")
    asked.add_argument("--every", type=int, default=10)
    asked.add_argument("--lm-eval", type=Path, default=None)
    told = asked.parse_args()
    math = Math(source=told.folder, prompt="{question}", levels=[1, 2, 3, 4, 5], families=[], validation=500, test=500)
    gsm8k = GSM8K(source=told.folder, calculator=False, validation=500, test=1319)
    grader = MathGrader(seconds=2.0)
    golds: list[str] = []
    for name, task in (("MATH", math), ("GSM8K", gsm8k)):
        problems = [problem for split in ("train", "val", "test") for problem in task.problems(split)]
        golds = golds or [problem.target for problem in problems if problem.target]
        truths(f"{name}, {len(problems):,} problems", problems, task, told.every)
    speed(golds, grader)
    print()
    sys.stdout.flush()
    agreement(golds[:: told.every], grader, told.lm_eval)
    for closing in (math, gsm8k, grader):
        closing.close()


if __name__ == "__main__":
    main()
