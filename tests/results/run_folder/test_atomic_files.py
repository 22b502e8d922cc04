"""The one writer of files: all or nothing, and two processes never share a temporary file."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from amend.errors import UserError
from amend.results.run_folder.atomic_files import atomic_write, atomic_write_text, recover


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    atomic_write_text(path, "old")

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"a\.txt: cannot be written: the disk is full"):
        atomic_write(path, fail)
    assert path.read_text() == "old" and [found.name for found in path.parent.iterdir()] == ["a.txt"]


def test_two_writers_at_once_do_not_meet(tmp_path: Path) -> None:
    """Both are in the middle of their file at the same time; the one that ends last has its whole content there."""
    path, both = tmp_path / "a.txt", threading.Barrier(2, timeout=30)
    first_is_done = threading.Event()

    def write(text: str, is_first: bool) -> None:
        def fill(temporary: Path) -> None:
            temporary.write_text(text)
            both.wait()
            assert is_first or first_is_done.wait(timeout=30)
            assert temporary.read_text() == text

        atomic_write(path, fill)
        first_is_done.set()

    threads = [threading.Thread(target=write, args=(text, text == "one")) for text in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() == "two" and [found.name for found in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_is_replaced_and_comes_back_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    for content in ("old", "new"):
        atomic_write(
            path, lambda temporary, content=content: (temporary.mkdir(), (temporary / "part").write_text(content))
        )
    assert (path / "part").read_text() == "new" and [found.name for found in tmp_path.iterdir()] == ["last.ckpt"]
    path.rename(tmp_path / ".last.ckpt.before")  # killed between the two renames
    (tmp_path / ".last.ckpt.1-ab.writing").mkdir()
    recover(tmp_path)
    assert (path / "part").read_text() == "new" and [found.name for found in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_lone_surrogate_is_written_as_an_escape(tmp_path: Path) -> None:
    atomic_write_text(tmp_path / "a.txt", "\ud800")
    assert (tmp_path / "a.txt").read_text() == "\\ud800"
