"""The type checker of the tests: beartype, with an int allowed where a float is due (PEP 484's numeric tower).

jaxtyping reads each call's arguments anew to compare shapes between them, which costs more than most calls do. So it
has the modules that speak of shapes, and beartype alone all others (but for those with a NamedTuple, or names that only
the type checker imports, whose quoted annotations beartype alone does not resolve). The most called of these, episodes
and their replies, have NamedTuples of built-in types alone, which it does resolve.
"""

from __future__ import annotations

from pathlib import Path

from beartype import BeartypeConf, beartype

CONF = BeartypeConf(is_pep484_tower=True, claw_is_pep526=False)  # calls, not assignments
check = beartype(conf=CONF)
BUILT_IN = ("amend.types", "amend.value_types")  # whose NamedTuples speak of nothing else
SOURCE = Path(__file__).parents[2] / "src"


def shaped() -> list[str]:
    """The modules of amend that jaxtyping has."""
    text = {path: path.read_text(encoding="utf-8") for path in sorted(SOURCE.rglob("*.py"))}
    theirs = ("jaxtyping", "NamedTuple", "TYPE_CHECKING")
    files = [path for path, source in text.items() if any(word in source for word in theirs)]
    names = [".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__") for path in files]
    return [name for name in names if name not in BUILT_IN]
