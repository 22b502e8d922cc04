"""Programs that want out of the sandbox, or want credit for nothing; ``test_sandbox`` runs them all.

ESCAPES do something that a solution has no business doing, and then tell what came of it: each has the outcomes that
count as contained. CHEATS are handed in for a problem whose answer they do not know.
"""

from __future__ import annotations

SECRET = 7046029254386353131  # what f(3) is, for CHEATS: nobody arrives at it

DENIED = {"PermissionError"}
ABSENT = {"FileNotFoundError"}
READ_ONLY = {"OSError 30", "PermissionError"}

ESCAPES: dict[str, tuple[str, set[str]]] = {  # name: (statements, what may come of them)
    # processes
    "fork": ("import os; os.fork()", DENIED),
    "fork bomb": ("import os\nwhile True: os.fork()", DENIED),
    "vfork and run": ("import subprocess; subprocess.run(['/bin/sh'])", {*DENIED, *ABSENT}),
    "posix_spawn": ("import os, sys; os.posix_spawn(sys.executable, ['x'], {})", DENIED),
    "thread": ("import threading; threading.Thread(target=print).start()", {"RuntimeError"}),
    "process pool": (
        "import multiprocessing; multiprocessing.get_context('fork').Process(target=print).start()",
        DENIED,
    ),
    "shell": ("import os; raise SystemExit(os.system('true'))", {"SystemExit", *DENIED}),
    "exec a shell": ("import os; os.execv('/bin/sh', ['sh', '-c', 'true'])", {*ABSENT, *DENIED}),
    # signals, tracing, namespaces
    "signal the parent": ("import os; os.kill(os.getppid(), 9)", DENIED),
    "signal everybody": ("import os; os.kill(-1, 9)", DENIED),
    "ptrace": (
        "import ctypes; l = ctypes.CDLL(None, use_errno=True)\nassert l.ptrace(16, 1, 0, 0) == 0",
        {"AssertionError"},
    ),
    "new namespaces": ("import ctypes; l = ctypes.CDLL(None)\nassert l.unshare(0x10000000) == 0", {"AssertionError"}),
    "mount": (
        "import ctypes; l = ctypes.CDLL(None)\nassert l.mount(b'none', b'/tmp', b'tmpfs', 0, 0) == 0",
        {"AssertionError"},
    ),
    "become root": ("import os; os.setuid(0)", DENIED),
    "raise a limit": ("import resource; resource.setrlimit(resource.RLIMIT_CPU, (99, 99))", {"ValueError", *DENIED}),
    "reach into another process": ("open('/proc/1/mem', 'rb').read(1)", {*DENIED, *ABSENT, "OSError 5"}),
    # the network
    "socket": ("import socket; socket.socket()", {*DENIED, "OSError 1"}),
    "unix socket": ("import socket; socket.socket(socket.AF_UNIX).connect('/run/docker.sock')", {*DENIED, "OSError 1"}),
    "fetch": ("import urllib.request; urllib.request.urlopen('http://127.0.0.1:1', timeout=1)", {"URLError"}),
    # the host's files
    "read passwords": ("open('/etc/passwd').read()", ABSENT),
    "read the home": ("import os; os.listdir(os.path.expanduser('~root'))", {*ABSENT, *DENIED}),
    "read the tests": ("open({tests!r}).read()", ABSENT),
    "read through a link": ("import os; os.symlink('/etc/shadow', '/tmp/link')", {*DENIED, *ABSENT}),
    "read through /proc": ("open('/proc/1/root/etc/passwd').read()", {*DENIED, *ABSENT}),
    "read our command line": (
        "import os\nall = [open(f'/proc/{p}/cmdline').read() for p in os.listdir('/proc') if p.isdigit()]\n"
        "assert any('pytest' in one for one in all)",
        {"AssertionError"},
    ),
    "read the environment": ("import os; assert set(os.environ) - {'PWD', 'LC_CTYPE'}", {"AssertionError"}),
    "read a device": ("open('/dev/mem', 'rb').read(1)", {*ABSENT, *DENIED}),
    "write in the root": ("open('/mine', 'w')", READ_ONLY),
    "write beside the library": ("import os; open(os.__file__, 'a')", READ_ONLY),
    "write in /dev/shm": ("open('/dev/shm/mine', 'w')", READ_ONLY),
    "write a program": ("open('/usr/lib/mine', 'w')", READ_ONLY),
    "write a long file": ("open('/tmp/long', 'wb').write(bytes(2 * 2**20))", {"OSError 27"}),
    "write many files": (
        "for i in range(50):\n    with open(f'/tmp/{i}', 'wb') as f: f.write(bytes(2**20 - 1))",
        {"OSError 28"},
    ),
    "open many files": ("kept = [open('/dev/null') for _ in range(1000)]", {"OSError 24"}),
    "a file in memory": ("import os; os.memfd_create('x')", DENIED),
    "load a module of ours": ("import amend", {"ModuleNotFoundError"}),
    # resources
    "memory": ("x = bytearray(2**32)", {"MemoryError"}),
    "memory bit by bit": ("x = []\nwhile True: x.append(bytearray(2**24))", {"MemoryError"}),
    "recursion": ("def g(): return g()\ng()", {"RecursionError"}),
    "a long number": ("str(10**10**5)", {"ValueError"}),
    "deep nesting": ("eval('(' * 10**5 + ')' * 10**5)", {"SyntaxError", "MemoryError", "RecursionError"}),
    "50 MB of output": ("print('x' * 50 * 2**20); raise KeyError", {"KeyError"}),
    "input": ("input()", {"EOFError"}),
}

CHEATS: dict[str, tuple[str, set[str]]] = {  # name: (program, why it earns nothing)
    "nothing": ("", {"error"}),
    "processor time": ("while True: pass", {"timeout"}),
    "sleep": ("import time; time.sleep(60)", {"timeout"}),
    "wait for input": ("def f(x):\n    import select; select.select([], [], [])", {"timeout"}),
    "a slow pattern": ("import re\ndef f(x): return re.match('(a+)+$', 'a' * 50 + 'b')", {"timeout"}),
    "a long power": ("def f(x): return 9 ** 9 ** 9", {"timeout", "error"}),
    "C stack": ("import sys\nsys.setrecursionlimit(10**9)\ndef f(x): return f(x)", {"error", "timeout"}),
    "crash": ("import ctypes\ndef f(x): ctypes.string_at(0)", {"error"}),
    "end at once": ("import os; os._exit(0)", {"error"}),
    "end when asked": ("import os\ndef f(x): os._exit(0)", {"error"}),
    "sys.exit": ("import sys; sys.exit(0)", {"error"}),
    "abort": ("import os\ndef f(x): os.abort()", {"error"}),
    "equals everything": (
        "class E:\n    def __eq__(s, o): return True\n    __hash__ = None\ndef f(x): return E()",
        {"wrong"},
    ),
    "an int that equals everything": (
        "class E(int):\n    def __eq__(s, o): return True\ndef f(x): return E()",
        {"wrong"},
    ),
    "repr of everything": (f"class E(int):\n    def __repr__(s): return '{SECRET}'\ndef f(x): return E(2)", {"wrong"}),
    "a patched repr": ("import builtins\nbuiltins.repr = lambda x: '1'\ndef f(x): return 0", {"wrong"}),
    "patched builtins": (
        "import builtins\nbuiltins.isinstance = lambda *a: True\nbuiltins.type = lambda *a: int\ndef f(x): return 0",
        {"wrong", "error"},
    ),
    "no assertions": ("import builtins\nbuiltins.AssertionError = KeyError\ndef f(x): return 0", {"wrong"}),
    "a verdict on standard output": ('print(\'!["right", ""]\')\ndef f(x): print(\'!["right", ""]\')', {"wrong"}),
    "a verdict on the pipe": (
        "import os\nfor fd in range(3, 64):\n    try: os.write(fd, b'![\"right\", \"\"]\\n')\n"
        "    except OSError: pass\n"
        "def f(x): return 0",
        {"wrong", "error"},
    ),
    "answers in advance": (
        "import os\nfor fd in range(3, 64):\n    try: os.write(fd, b'[\"value\", 1]\\n' * 99)\n"
        "    except OSError: pass\n"
        "def f(x): return 0",
        {"wrong", "error"},
    ),
    "garbage on the pipe": (
        "import os\ndef f(x):\n    for fd in range(3, 64):\n        try: os.write(fd, b'\\x00\\xff[[[[\\n')\n"
        "        except OSError: pass",
        {"wrong", "error"},
    ),
    "nested answers on the pipe": (
        "import os\ndef f(x):\n    for fd in range(3, 64):\n        try: os.write(fd, b'[' * 200_000 + b'\\n')\n"
        "        except OSError: pass",
        {"wrong", "error"},
    ),
    "a flood on the pipe": (
        "import os\ndef f(x):\n    for fd in range(3, 64):\n        try:\n"
        "            while True: os.write(fd, b'x' * 65536)\n"
        "        except OSError: pass",
        {"flood"},
    ),
    "closed pipes": ("import os\ndef f(x): os.closerange(0, 64)", {"error"}),
    "closed pipes, and sleep": ("import os, time\ndef f(x): os.closerange(0, 64); time.sleep(60)", {"timeout"}),
    "the questions, read first": (
        "import sys\nsys.stdin.buffer.read()\nimport os\nos.read(0, 2**20)\ndef f(x): 0",
        {"timeout", "error", "wrong"},
    ),
    "frames": (
        "import sys\ndef f(x):\n    frame, seen = sys._getframe(), []\n    while frame:\n"
        "        seen += [v for v in frame.f_locals.values() if isinstance(v, int)]\n        frame = frame.f_back\n"
        "    return max([s for s in seen if s > 10**9], default=0)",
        {"wrong"},
    ),
    "all objects": (
        "import gc\ndef f(x):\n"
        "    found = [c for o in gc.get_objects() if hasattr(o, '__code__') for c in o.__code__.co_consts]\n"
        "    return max([c for c in found if type(c) is int and c > 10**12], default=0)",
        {"wrong"},
    ),
    "a giant answer": ("def f(x): return 'x' * 50 * 2**20", {"flood", "error"}),
    "a nest": ("def f(x):\n    y = []\n    for _ in range(10**5): y = [y]\n    return y", {"error"}),
    "a list of itself": ("def f(x):\n    y = []\n    y.append(y)\n    return y", {"error"}),
    "an endless iterator": ("import itertools\ndef f(x): return itertools.count()", {"wrong"}),
    "unicode": ("def f(x): return '\\ud800\\u202e\\x00\\U0001f600'", {"wrong"}),
    "lone surrogates in the source": ("def f(x): return '\ud800'", {"error"}),
    "NUL in the source": ("def f(x):\x00 return 1", {"error"}),
    "a cookie": ("# -*- coding: utf-7 -*-\ndef f(x): return 0", {"wrong"}),
    "not Python": ("<<<<", {"error"}),
    "deep source": ("x = " + "(" * 5000 + ")" * 5000, {"error"}),
    "an exception that lies": ("class right(Exception): pass\ndef f(x): raise right", {"error"}),
    "a lie about its name": ("def f(x):\n    raise type('\"], [\"right', (BaseException,), {})", {"error"}),
    "signals ignored": (
        "import signal\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\n"
        "while True: pass",
        {"timeout"},
    ),
    "an alarm": (
        "import signal\nsignal.setitimer(signal.ITIMER_REAL, 0.001)\ndef f(x):\n"
        "    while True: pass",
        {"error"},
    ),
    "a hook at the end": ("import atexit\natexit.register(print)\ndef f(x): raise SystemExit(0)", {"error"}),
}  # fmt: skip
