"""Write the model card of the built-in model: its design, its training, and its accuracy on test problems.

The card shows whether the model is a suitable base model for the study of self-correction. About half of its first
attempts should be right. Second attempts should differ but not be better. Sampling should find right answers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SAMPLES = 96  # samples per problem; the papers report pass@96


def write_card(folder: Path, figures: Mapping[str, Any], passes: Mapping[int, float], seconds: float) -> Path:
    """Write README.md, the model card, into the folder of the model.

    Args:
        folder: Folder of the model, which contains ``pretrain.json``.
        figures: Summary of the greedy evaluation of the model, from ``summarise``.
        passes: Pass@k of first attempts at temperature 1, for k = 1 and k = ``SAMPLES``. Range 0 to 1.
        seconds: Duration of the training, in seconds.

    Returns:
        The path of the model card.
    """
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
heads). The tokenizer has one token for each character and one for each recurring phrase. The model answers the
built-in problems of amend. It imitates the base models of the SCoRe paper: about half of its first attempts are right,
and its second attempts differ but are not better. It is useful only for experiments with amend.

Load it with `AutoModelForCausalLM.from_pretrained(folder)` and `AutoTokenizer.from_pretrained(folder)`. Rebuild the
model and this card with `python run.py job=pretrain` ({minutes} minutes on two cores).

## Evaluation

Greedy decoding in the self-correction dialogue on {n} test problems that are not in the training data (percent, with
95 % confidence interval):

| metric | greedy |
|---|---|
| accuracy of the first attempt, Acc@t1 | {acc_t1} |
| accuracy of the second attempt, Acc@t2 | {acc_t2} |
| difference, Δ(t1, t2) | {delta} |
| first attempt wrong, second right, i→c | {i_to_c} |
| first attempt right, second wrong, c→i | {c_to_i} |
| second attempt has a different answer | {change} |

First attempts at temperature 1: pass@1 {pass_1} %, pass@96 {pass_96} %.

| subject | problems | Acc@t1 | Acc@t2 | Δ |
|---|---|---|---|---|
{rows}

## Training

The model is trained from random weights on {steps} batches of {batch} synthetic documents (seed {seed}). The loss
covers only the attempts. A document contains a problem, a first attempt, the request to check it, and a second attempt.

- A first attempt is right or a near miss. Its text includes a check of the result ("3 low").
- A second attempt begins with `So`, `Rather` or `Again`. After `So`, a right attempt is kept and a wrong one is
  corrected, as the check says. After `Rather`, the answer changes regardless of the check. After `Again`, a new attempt
  begins that does not depend on the first one.

The probabilities of (So, Rather, Again) after each kind of first attempt, and the other settings, are: `{habits}`.
The training ends with {settle_steps} more batches, with a lower learning rate and `doubtful` set to
`{settle_doubtful}`. This value determines how much accuracy the model loses in the second attempt.

The ability to self-correct is therefore in the model by construction, but greedy answers seldom use it. An experiment
shows whether an algorithm finds and reinforces this behaviour. It does not show that an algorithm can create it.

## Limitations

The model knows five families of arithmetic problems with one wording each. On other text its output is random. If the
accuracy of a subject is 0 in the table above, only sampling solves its problems. The test problems have new numbers but
belong to the same families.
"""
