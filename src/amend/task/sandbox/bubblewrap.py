"""Build the command line of a sandboxed process, with its resource limits."""

from __future__ import annotations

import platform
import shutil
import sys
from functools import cache
from pathlib import Path

from amend.errors import UserError
from amend.task.sandbox import seccomp

# limits: address space (bytes), size of one file (bytes), number of open files, size of /tmp (bytes)
MEMORY, FILE, FILES, TMP = 512 * 2**20, 2**20, 64, 8 * 2**20
PROCESSES = 0  # further processes, if seccomp does not filter; the kernel does not apply this limit to root
BOOT = "import marshal, sys; exec(marshal.load(sys.stdin.buffer))"
INSTALL = "apt-get install bubblewrap (or what your system calls that package)"


def command(seconds: float, *, walled: bool) -> list[str]:
    """Return the command that starts a sandboxed Python process.

    Args:
        seconds: Limit of processor time, in seconds; rounded up to a whole number.
        walled: Whether bubblewrap isolates the process; if not, only the resource limits apply.

    Returns:
        The command and its arguments.

    Raises:
        UserError: If ``walled`` and this machine cannot run bubblewrap.
    """
    limits = (int(-(-seconds // 1)), MEMORY, FILE, FILES, PROCESSES)
    interpreter = [python(), "-I", "-S", "-B", "-X", "utf8", "-c", BOOT, *map(str, limits)]
    return [*bubblewrap_command(), *interpreter] if walled else interpreter


def python() -> str:
    """Return the path of the base interpreter, also if this process runs in a virtual environment."""
    return str(Path(getattr(sys, "_base_executable", None) or sys.executable).resolve())


@cache
def bubblewrap_command() -> tuple[str, ...]:
    """Return the bubblewrap command without the options that differ between processes.

    Raises:
        UserError: If bubblewrap is not installed, or if seccomp has no table for this architecture.
    """
    bwrap = shutil.which("bwrap")
    if bwrap is None or not seccomp.supported():
        problem = "bubblewrap is not installed" if bwrap is None else f"no system call table for {platform.machine()}"
        remedy = f"install it with: {INSTALL}" if bwrap is None else f"allowed: {', '.join(seccomp.ARCHITECTURES)}"
        raise UserError(
            f"task.sandbox=bubblewrap: {problem}, and code that a model wrote needs isolation; {remedy}; "
            "or choose task.sandbox=rlimit, which is no security boundary"
        )
    mounts: list[str] = []
    for folder in ("/usr/lib", "/usr/lib64", "/lib", "/lib64"):
        path = Path(folder)
        if path.is_symlink():
            mounts += ["--symlink", str(path.readlink()), folder]
        elif path.is_dir():
            mounts += ["--ro-bind", folder, folder]
    program, library = python(), Path(sys.base_prefix, sys.platlibdir)
    for path in {Path(sys.base_prefix, "lib"), library}:
        if path.is_dir() and not path.is_relative_to("/usr/lib") and not path.is_relative_to("/usr/lib64"):
            mounts += ["--ro-bind", str(path), str(path)]
    return (
        bwrap, "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts",
        "--unshare-cgroup-try", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL",
        "--uid", "65534", "--gid", "65534", "--disable-userns", "--assert-userns-disabled", *mounts,
        "--ro-bind", program, program, "--proc", "/proc", "--dev", "/dev", "--size", str(TMP), "--tmpfs", "/tmp",
        "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp",
    )  # fmt: skip
