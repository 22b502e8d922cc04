"""The report's tables as HTML: before and after with intervals, several attempts at a problem, subject by subject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from amend.results.analysis.metric_registry import FIGURES
from amend.results.analysis.summary import compare
from amend.results.report.formatting import MINUS, points
from amend.results.run_folder.reader import Run

Figures = Mapping[str, Any]
BEHAVIOUR = {
    "change_rate": "answer changed",
    "copy_rate": "text repeated",
    "edit_distance": "edit distance",
    "unedited": "hardly edited",
}


def results(run: Run, figures: Mapping[str, Mapping[str, Figures]]) -> str:
    """Before and after, greedy and sampled; ``figures`` is M by decoding and phase."""
    phases = [p for p in ("base", "trained") if any(figures[d][p].get("n") for d in figures)]
    shown, notes = [], []
    for decoding, of in figures.items():
        labels = {**FIGURES, **_later(of), **BEHAVIOUR}
        change = compare(run.episodes, decoding) if len(phases) == 2 else {}
        rows = [
            (label, [of[p].get(name) for p in phases], change.get(name), name == "delta")
            for name, label in labels.items()
            if any(name in of[p] for p in phases)
        ]
        if rows:
            shown.append(_table(decoding.capitalize(), phases, rows, len(phases) == 2))
        shown += [_table(f"Several attempts, turn {turn[1:]}", phases, _many(of, turn), False) for turn in _turns(of)]
        tests = [
            f"Acc@t{name[-1]} p = {value:.2g}" for name, value in sorted(change.items()) if name.startswith("p_acc")
        ]
        if tests:
            notes.append(f"Exact McNemar, trained against base, {decoding}: {'; '.join(tests)}.")
    if not shown:
        return ""
    return (
        '<h2>Before and after</h2><p class="soft">Percentage points of all problems, with 95 % intervals. Change is '
        f'trained less base on the same problems.</p><div class="tables">{"".join(shown)}</div>'
        f'<p class="soft">{escape(" ".join(notes))}</p>'
    )


def subjects(figures: Mapping[str, Figures]) -> str:
    """Every subject, before and after; ``figures`` is M by phase."""
    of = {phase: figures[phase].get("by_subject") or {} for phase in ("base", "trained")}
    listed = sorted(of["base"].keys() | of["trained"].keys())
    if not listed:
        return ""
    names = [n for n in FIGURES if any(n in m for by in of.values() for m in by.values())]
    phases = [phase for phase in of if of[phase]]
    rows = ""
    for subject in listed:
        for i, phase in enumerate(phases):
            m = of[phase].get(subject, {})
            head = f'<th scope="rowgroup" rowspan="{len(phases)}">{escape(subject)}</th>' if i == 0 else ""
            cells = "".join(_cell(m.get(name), signed=name == "delta") for name in names)
            rows += f"<tr>{head}<td>{phase}</td><td>{m.get('n', '')}</td>{cells}</tr>"
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("model", "problems", *(FIGURES[n] for n in names)))
    return (
        '<h2>By subject</h2><p class="soft">Greedy; percentage points with 95 % intervals.</p>'
        f'{scrolling("By subject")}<table><thead><tr><th scope="col">subject</th>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def scrolling(name: str) -> str:
    """The opening of a box that scrolls sideways where its table is too wide; the keyboard can reach and scroll it."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(name)}">'


def mean(figure: Figures, sign: str = "") -> str:
    """A figure's mean in percentage points, with a plus sign where ``sign`` asks for it."""
    return f"{100 * figure['mean'] + 0.0:{sign}.1f}".replace("-", MINUS)


Row = tuple[str, Sequence[Figures | None], Figures | None, bool]  # label, a figure a phase, change, whether signed


def _table(caption: str, phases: Sequence[str], rows: Sequence[Row], change: bool) -> str:
    heads = "".join(f'<th scope="col">{name}</th>' for name in (*phases, *(["change"] if change else [])))
    body = ""
    for label, values, changed, signed in rows:
        cells = "".join(_cell(value, signed) for value in values) + (_cell(changed, signed=True) if change else "")
        body += f'<tr><th scope="row">{escape(label)}</th>{cells}</tr>'
    return (
        f"{scrolling(caption)}<table><caption>{escape(caption)}</caption><thead><tr><td></td>{heads}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(figure: Figures | None, signed: bool) -> str:
    middle, _, interval = points(figure, signed).replace("-", MINUS).partition(" ")
    return f"<td>{middle}<small>{interval}</small></td>" if middle else "<td></td>"


def _later(of: Mapping[str, Figures]) -> dict[str, str]:
    """Accuracies beyond the second turn."""
    names = {name for figures in of.values() for name in figures if name.startswith("acc_t") and name not in FIGURES}
    return {name: f"Acc@t{name[5:]}" for name in sorted(names)}


def _turns(of: Mapping[str, Figures]) -> list[str]:
    """The turns that have pass@k."""
    return sorted({turn for figures in of.values() for turn in figures.get("pass_at", {})})


def _many(of: Mapping[str, Figures], turn: str) -> list[Row]:
    """pass@k and maj@k of a turn."""
    rows: list[Row] = []
    for metric, name in (("pass_at", "pass"), ("maj_at", "maj"), ("best_at", "likeliest"), ("rerank_at", "rerank")):
        by_k = {phase: figures.get(metric, {}).get(turn, {}) for phase, figures in of.items() if figures.get("n")}
        ks = sorted({int(k) for figures in by_k.values() for k in figures})
        # maj@1 and maj@2 equal pass@1, because ties are broken at random; the first informative k is 4.
        rows += [
            (
                f"{name}@{k}",
                [figures.get(str(k)) for figures in by_k.values()],
                None,
                False,
            )
            for k in ks
            if name == "pass" or k > (2 if name == "maj" else 1)
        ]
    return rows
