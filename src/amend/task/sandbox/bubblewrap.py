"""The bubblewrap command line, and the limits that a sandboxed process runs under."""

from __future__ import annotations

import platform
import shutil
import sys
from functools import cache
from pathlib import Path

from amend.errors import UserError
from amend.task.sandbox import seccomp

MEMORY, FILE, FILES, TMP = 512 * 2**20, 2**20, 64, 8 * 2**20  # bytes, bytes, files, bytes
PROCESSES = 0  # beside it, where there are no walls; root is not held to it
BOOT = "import marshal, sys; exec(marshal.load(sys.stdin.buffer))"
INSTALL = "apt-get install bubblewrap (or what your system calls that package)"


def command(seconds: float, *, walled: bool) -> list[str]:
    """The command of a process that may use so many seconds of processor time."""
    limits = (int(-(-seconds // 1)), MEMORY, FILE, FILES, PROCESSES)
    inside = [python(), "-I", "-S", "-B", "-X", "utf8", "-c", BOOT, *map(str, limits)]
    return [*bubblewrap_command(), *inside] if walled else inside


def python() -> str:
    """The interpreter that the virtual environment, if there is one, was made from."""
    return str(Path(getattr(sys, "_base_executable", None) or sys.executable).resolve())


@cache
def bubblewrap_command() -> tuple[str, ...]:
    """bubblewrap's command line, up to what is different each time. UserError in one line where it cannot be had."""
    found = shutil.which("bwrap")
    if found is None or not seccomp.supported():
        what = "bubblewrap is not installed" if found is None else f"no system call table for {platform.machine()}"
        cure = f"install it with: {INSTALL}" if found is None else f"allowed: {', '.join(seccomp.ARCHITECTURES)}"
        raise UserError(
            f"task.sandbox=bubblewrap: {what}, and code that a model wrote is not run without walls; {cure}; "
            "or choose task.sandbox=rlimit, which is no security boundary"
        )
    seen: list[str] = []
    for folder in ("/usr/lib", "/usr/lib64", "/lib", "/lib64"):
        path = Path(folder)
        if path.is_symlink():
            seen += ["--symlink", str(path.readlink()), folder]
        elif path.is_dir():
            seen += ["--ro-bind", folder, folder]
    program, library = python(), Path(sys.base_prefix, sys.platlibdir)
    for path in {Path(sys.base_prefix, "lib"), library}:
        if path.is_dir() and not path.is_relative_to("/usr/lib") and not path.is_relative_to("/usr/lib64"):
            seen += ["--ro-bind", str(path), str(path)]
    return (
        found, "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts",
        "--unshare-cgroup-try", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL",
        "--uid", "65534", "--gid", "65534", "--disable-userns", "--assert-userns-disabled", *seen,
        "--ro-bind", program, program, "--proc", "/proc", "--dev", "/dev", "--size", str(TMP), "--tmpfs", "/tmp",
        "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp",
    )  # fmt: skip
