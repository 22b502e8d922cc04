"""The built-in model's card: what it is, how it came to be, and how it behaves, measured on held-out problems.

The figures that matter are those of a base model that self-correction can be taught to: about half right at first, able
to say something else when asked again, no better for it, and with right answers within reach of sampling.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SAMPLES = 96  # the k of the papers' pass@96


def write_card(folder: Path, figures: Mapping[str, Any], passes: Mapping[int, float], seconds: float) -> Path:
    """README.md of the model in ``folder``; ``figures`` are ``summarise``'s, greedy, of the base model."""
    settings = json.loads((folder / "pretrain.json").read_text())

    def share(name: str) -> str:
        value = figures[name]
        return f"{100 * value['mean']:.1f} ({100 * value['low']:.1f} to {100 * value['high']:.1f})"

    rows = "\n".join(
        f"| {name} | {m['n']} | {100 * m['acc_t1']['mean']:.1f} | {100 * m['acc_t2']['mean']:.1f} "
        f"| {100 * m['delta']['mean']:+.1f} |"
        for name, m in figures["by_subject"].items()
    )
    text = CARD.format(
        n=figures["n"],
        acc_t1=share("acc_t1"),
        acc_t2=share("acc_t2"),
        delta=share("delta"),
        i_to_c=share("i_to_c"),
        c_to_i=share("c_to_i"),
        change=f"{100 * _mean(figures['change_rate']):.1f}",
        pass_1=f"{100 * passes[1]:.1f}",
        pass_96=f"{100 * passes[SAMPLES]:.1f}",
        rows=rows,
        steps=settings["steps"],
        batch=settings["batch"],
        seed=settings["seed"],
        minutes=f"{seconds / 60:.0f}",
        habits=json.dumps(settings["habits"]),
        settle_steps=settings["settle"]["steps"],
        settle_doubtful=json.dumps(settings["settle"]["doubtful"]),
    )
    path = folder / "README.md"
    path.write_text(text)
    return path


def _mean(value: Any) -> float:
    return float(value["mean"] if isinstance(value, Mapping) else value)


CARD = """\
---
library_name: transformers
license: apache-2.0
pipeline_tag: text-generation
---
# amend's built-in model

A causal language model of 0.8 million parameters (`LlamaForCausalLM`: 4 layers, width 128, 4 heads, 2 key-value
heads) with a tokenizer of one token a character and one a recurring phrase. It answers the built-in problems of
amend, and is meant to behave as the base models of the SCoRe paper do: right about half the time, able to say
something else when asked again, and no better for it. It is an object of study and useful for nothing else.

Load it with `AutoModelForCausalLM.from_pretrained(folder)` and `AutoTokenizer.from_pretrained(folder)`. Rebuild it,
and this card, with `python run.py job=pretrain` ({minutes} minutes on two cores).

## How it behaves

Measured on {n} test problems, none of which it was trained on, in the self-correction dialogue (per cent, 95 %
interval):

| greedy | |
|---|---|
| right at the first attempt | {acc_t1} |
| right at the second | {acc_t2} |
| Δ(t1, t2) | {delta} |
| wrong, then right | {i_to_c} |
| right, then wrong | {c_to_i} |
| another answer at the second attempt | {change} |

First attempts at temperature 1: pass@1 {pass_1} %, pass@96 {pass_96} %.

| subject | problems | t1 | t2 | Δ |
|---|---|---|---|---|
{rows}

## How it was made

Trained from nothing on {steps} batches of {batch} synthetic documents (seed {seed}), with loss on the attempts alone.
In a document a writer answers a problem, is asked to look again, and answers once more. First attempts are right or a
near miss, and have their check written out ("3 low"). Second attempts open with a word: `So` writers read that check
and keep or mend; `Rather` writers take something else whatever it said; `Again` writers start over. The mixes, as
chances of (So, Rather, Again), and the rest: `{habits}`.
The last {settle_steps} batches, at a smaller learning rate, have `doubtful` at `{settle_doubtful}`: it sets how much
the model loses when asked again.

So the ability to correct is in the model by construction, as a habit that its greedy answers seldom follow. What an
algorithm shows on it is whether it finds and keeps such a habit, not that it can create one.

## Limits

It knows five kinds of arithmetic puzzle in one wording each, and nothing else; other text gives noise. A kind whose
row above stands at 0 it only solves by sampling. Its test
problems are new numbers, not new kinds of problem.
"""
