"""The pages of the algorithms say what the configuration says, and every page is in the navigation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ALGORITHMS = sorted(path.stem for path in (ROOT / "conf" / "algo").glob("*.yaml"))
ROW = re.compile(r"^\| `algo\.(\w+)` \| `([^`]*)` \|", re.MULTILINE)
SHARED = yaml.safe_load((ROOT / "conf" / "loop" / "default.yaml").read_text(encoding="utf-8"))


def keys_of(name: str) -> dict[str, object]:
    found = yaml.safe_load((ROOT / "conf" / "algo" / f"{name}.yaml").read_text(encoding="utf-8"))
    return {key: value for key, value in found.items() if key not in ("defaults", "_target_", "name")}


def text_of(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_page_lists_the_keys_of_its_algorithm_with_their_defaults(name: str) -> None:
    page = (DOCS / "algorithms" / f"{name}.md").read_text(encoding="utf-8")
    rows, keys = dict(ROW.findall(page)), keys_of(name)
    own = {key for key in keys if key not in SHARED}
    assert own <= rows.keys() <= keys.keys() | SHARED.keys()
    written = {key: value for key, value in rows.items() if "${" not in str({**SHARED, **keys}[key])}
    assert written == {key: text_of({**SHARED, **keys}[key]) for key in written}
    assert f"python run.py algo={name}" in page and f"`conf/algo/{name}.yaml`" in page


def test_the_shared_keys_are_those_of_the_loop() -> None:
    rows = dict(ROW.findall((DOCS / "algorithms" / "index.md").read_text(encoding="utf-8")))
    assert rows == {key: text_of(value) for key, value in SHARED.items()}


def test_every_page_is_in_the_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    missing = [path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")]
    assert not [name for name in missing if f" {name}\n" not in text]
