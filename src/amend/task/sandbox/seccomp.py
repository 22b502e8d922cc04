"""A seccomp filter that restricts the system calls of sandboxed programs, as classic BPF.

The mounts and namespaces of bubblewrap decide which files and resources a program can see. This filter decides which
system calls the program may make. The Linux kernel runs the filter.

The filter is an allow list. It contains the calls for memory, files, clocks and exit. All other calls fail with EPERM,
which Python code sees as an ordinary PermissionError. Examples are the calls that create processes, threads, sockets,
namespaces, mounts, links, keys and memory files, and ioctl, kill, ptrace, bpf and io_uring. A limit on the number of
processes would not replace the filter, because the kernel does not apply that limit to root. A call that uses the
interface of another architecture kills the process.

``program`` returns the filter in the format of ``bwrap --seccomp FD``: an array of struct sock_filter, see seccomp(2).
"""

from __future__ import annotations

import platform
import struct

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_* of linux/audit.h
LOAD, EQUALS, RETURN = 0x20, 0x15, 0x06  # BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K
ALLOW, EPERM, KILL = 0x7FFF0000, 0x00050001, 0x80000000
NUMBER, ARCHITECTURE = 0, 4  # offsets in struct seccomp_data

# fmt: off
ALLOWED: dict[str, tuple[int, int | None]] = {  # name: (number on x86_64, number on aarch64); None: no such call
    # read and write open files
    "read": (0, 63), "write": (1, 64), "readv": (19, 65), "writev": (20, 66), "pread64": (17, 67),
    "pwrite64": (18, 68), "lseek": (8, 62), "close": (3, 57), "fcntl": (72, 25), "dup": (32, 23), "dup2": (33, None),
    "dup3": (292, 24), "poll": (7, None), "ppoll": (271, 73), "select": (23, None), "pselect6": (270, 72),
    # open files; the mounts decide which files exist
    "open": (2, None), "openat": (257, 56), "stat": (4, None), "fstat": (5, 80), "lstat": (6, None),
    "newfstatat": (262, 79), "statx": (332, 291), "access": (21, None), "faccessat": (269, 48),
    "faccessat2": (439, 439), "readlink": (89, None), "readlinkat": (267, 78), "getdents64": (217, 61),
    "getcwd": (79, 17), "chdir": (80, 49), "umask": (95, 166), "truncate": (76, 45), "ftruncate": (77, 46),
    "fsync": (74, 82), "fdatasync": (75, 83), "mkdir": (83, None), "mkdirat": (258, 34), "rmdir": (84, None),
    "unlink": (87, None), "unlinkat": (263, 35), "rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276),
    # memory
    "mmap": (9, 222), "munmap": (11, 215), "mremap": (25, 216), "mprotect": (10, 226), "madvise": (28, 233),
    "brk": (12, 214),
    # signals of the process itself, and clocks
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "rt_sigpending": (127, 136),
    "rt_sigsuspend": (130, 133), "sigaltstack": (131, 132), "restart_syscall": (219, 128), "alarm": (37, None),
    "setitimer": (38, 103), "getitimer": (36, 102), "pause": (34, None), "tgkill": (234, 131), "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115), "clock_gettime": (228, 113), "clock_getres": (229, 114), "gettimeofday": (96, 169),
    "time": (201, None), "times": (100, 153),
    # identity, resources and scheduling of the process
    "getpid": (39, 172), "getppid": (110, 173), "gettid": (186, 178), "getuid": (102, 174), "geteuid": (107, 175),
    "getgid": (104, 176), "getegid": (108, 177), "getresuid": (118, 148), "getresgid": (120, 150),
    "getgroups": (115, 158), "getpgrp": (111, None), "getpgid": (121, 155), "getsid": (124, 156), "uname": (63, 160),
    "sysinfo": (99, 179), "getrusage": (98, 165), "getrlimit": (97, 163), "setrlimit": (160, 164),
    "prlimit64": (302, 261), "sched_yield": (24, 124), "sched_getaffinity": (204, 123), "getcpu": (309, 168),
    "getrandom": (318, 278),
    # start and exit of the C library and of bubblewrap
    "arch_prctl": (158, None), "set_tid_address": (218, 96), "set_robust_list": (273, 99), "rseq": (334, 293),
    "futex": (202, 98), "membarrier": (324, 283), "execve": (59, 221), "wait4": (61, 260), "waitid": (247, 95),
    "exit": (60, 93), "exit_group": (231, 94),
}
# fmt: on


def supported() -> bool:
    """Return whether ``ALLOWED`` has the system call numbers of this machine's architecture."""
    return platform.machine() in ARCHITECTURES


def program(machine: str) -> bytes:
    """Return the filter program for an architecture.

    Args:
        machine: The architecture, as ``platform.machine()`` names it.

    Returns:
        The bytes of an array of struct sock_filter.

    Raises:
        ValueError: If ``ARCHITECTURES`` lacks the architecture.
    """
    numbers = sorted(
        number for pair in ALLOWED.values() if (number := pair[list(ARCHITECTURES).index(machine)]) is not None
    )
    instructions = [
        (LOAD, 0, 0, ARCHITECTURE),
        (EQUALS, 1, 0, ARCHITECTURES[machine]),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER),
        *((EQUALS, len(numbers) - index, 0, number) for index, number in enumerate(numbers)),
        (RETURN, 0, 0, EPERM),
        (RETURN, 0, 0, ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
