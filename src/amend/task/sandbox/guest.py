"""The code that runs inside the sandboxes: the solution process, and the test process that calls the solution.

Each program has two sandboxes. The solution process runs the program. The test process runs the tests of the data set
unchanged. In the test process, a ``RemoteProxy`` replaces each function of the solution. A call of the proxy sends a
question to the solution process, over pipes that the executor connects. The expected values are therefore in a process
that runs no code of the solution. This holds for every form of test: loops, tolerances and random inputs.

Answers are plain data: numbers, text, lists and so on. They are serialized by the built-in type of a value, so a test
never calls an ``__eq__``, ``__repr__`` or ``__bool__`` of the solution. An object of another class stays in the
solution process. The test process gets a ``RemoteProxy`` of the object, which it can call, index or pass back. A
comparison or truth test of the proxy raises an exception.

Both processes read messages and write lines. A message is its length in bytes, a newline, and the text. The solution
process answers ["value", x] or ["error", name of the exception]. The test process writes "?" and a question, or "!" and
a verdict.

The executor compiles this file and sends it to a bare interpreter. The interpreter should start in milliseconds, so
functions import modules only when they need them, and no function imports ``os``.
"""

from __future__ import annotations

import posix
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

ITEMS = 10_000  # number of items read from an iterator that a solution returns, because it may be endless
TYPES = {kind.__name__: kind for kind in (int, float, complex, bool, str, bytes, list, tuple, set, frozenset, dict)}
JSON: dict[str, Any] = {"null": None, "true": True, "false": False, "NaN": float("nan"), "Infinity": float("inf")}
JSON["__builtins__"] = {}


def serialize(value: Any, other: Callable[[Any], str]) -> str:
    """Serialize a value as JSON.

    A container becomes a list of a tag and its items. An instance of a subclass is serialized as its built-in base
    class, with the methods of that base class.

    Args:
        value: The value.
        other: Serializes a value that is not plain data.

    Returns:
        One line of JSON, which is also a Python expression in the namespace ``JSON``.
    """
    from _json import encode_basestring as quoted

    def items(tag: str, values: Any) -> str:
        return f"[{', '.join([quoted(tag), *(serialize(item, other) for item in values)])}]"

    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        text = float.__repr__(value)
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(text, text)
    if isinstance(value, str):
        return quoted(str.__str__(value))
    kinds: tuple[Any, ...] = (list, tuple, set, frozenset)
    for kind in kinds:
        if isinstance(value, kind):
            return items(kind.__name__, kind.__iter__(value))
    if isinstance(value, dict):
        return items("dict", [item for pair in dict.items(value) for item in pair])
    if isinstance(value, bytes | bytearray):
        return items("bytes", bytes(value))
    if isinstance(value, complex):
        return items("complex", [value.real, value.imag])
    if isinstance(value, range):
        return items("range", [value.start, value.stop, value.step])
    if isinstance(value, type) and value in TYPES.values():
        return items("type", [value.__name__])
    if hasattr(type(value), "__next__") or isinstance(value, type({}.keys()) | type({}.values()) | type({}.items())):
        return items("iterator", [item for item, _ in zip(value, range(ITEMS), strict=False)])
    return other(value)


def understood(data: Any, other: Callable[[str, Any], Any]) -> Any:
    """Restore a value from the JSON data of ``told``.

    Args:
        data: The decoded JSON.
        other: Returns the value behind a tag ("object" or "name") and its number or name.

    Returns:
        The value.
    """
    if not isinstance(data, list):
        return data
    tag, *items = data
    if tag in ("object", "name"):
        return other(tag, items[0])
    if tag == "type":
        return TYPES[items[0]]
    values = [understood(item, other) for item in items]
    if tag == "dict":
        return dict(zip(values[::2], values[1::2], strict=True))
    if tag in ("complex", "range"):
        return complex(*values) if tag == "complex" else range(*values)
    plain: dict[str, Any] = {
        "list": list,
        "tuple": tuple,
        "set": set,
        "frozenset": frozenset,
        "bytes": bytes,
        "iterator": iter,
    }
    return plain[tag](values)


def message(feed: BinaryIO) -> str | None:
    """Read the next message; return None at the end of the stream."""
    length = feed.readline()
    return feed.read(int(length)).decode("utf-8", "surrogatepass") if length else None


def opened() -> tuple[BinaryIO, Callable[[str], None]]:
    """Set the resource limits, redirect standard streams to /dev/null, and open the channel to the executor.

    The command line contains the limits: seconds of processor time, bytes of memory, bytes per file, number of open
    files, number of processes.

    Returns:
        The stream of messages, and a function that writes a line.
    """
    import resource

    limits = zip(("CPU", "AS", "FSIZE", "NOFILE", "NPROC"), sys.argv[1:], strict=True)
    for name, limit in [("CORE", "0"), *limits]:
        if (resource_id := getattr(resource, f"RLIMIT_{name}", None)) is not None:  # a system may lack some limits
            resource.setrlimit(resource_id, (int(limit), int(limit)))
    sys.argv[:] = [""]
    feed, out = sys.stdin.buffer, posix.dup(1)
    null = posix.open("/dev/null", posix.O_RDWR)
    for stream in (1, 2):
        posix.dup2(null, stream)
    sys.stdin = open(null, closefd=False)  # noqa: SIM115  stays open until the process exits

    def write_line(line: str) -> None:
        rest = f"{line}\n".encode("utf-8", "surrogatepass")
        while rest:
            rest = rest[posix.write(out, rest) :]

    write_line("ready")
    return feed, write_line


def run_solution() -> None:
    """Run the solution process: execute the program in the first message, then answer questions about it."""
    feed, write_line = opened()
    module = type(sys)("solution")
    sys.modules["solution"] = module
    objects: list[Any] = []

    def store(value: Any) -> str:
        objects.append(value)
        return f'["object", {len(objects) - 1}]'

    def resolve(tag: str, key: Any) -> Any:
        return objects[key] if tag == "object" else vars(module)[key]

    def run(program: str) -> Any:
        exec(compile(program, "solution.py", "exec", dont_inherit=True), vars(module))

    def answer_question(question: str) -> Any:
        verb, target, *arguments = understood(eval(question, dict(JSON)), resolve)
        if verb == "call":
            return target(*arguments[0], **arguments[1])
        verbs: dict[str, Any] = {"get": getattr, "set": setattr, "item": lambda container, key: container[key]}
        return verbs[verb](target, *arguments)

    handler: Callable[[str], Any] = run
    while (content := message(feed)) is not None:
        try:
            answer = f'["value", {serialize(handler(content), store)}]'
        except BaseException as error:  # SystemExit and KeyboardInterrupt are answers too
            answer = f'["error", {serialize(type(error).__name__[:80], store)}]'
        write_line(answer)
        handler = answer_question


def run_tests() -> None:
    """Run the test process: execute the test in each message and write its verdict."""
    import json

    feed, write_line = opened()

    def ask(*question: Any) -> Any:
        TestCase.questions += 1
        write_line(f"?{serialize(list(question), lambda value: reference(value))}")
        kind, answer = json.loads(str(message(feed)))
        if kind == "gone":
            raise ProcessExited
        if kind == "error":
            raise raised(str(answer))
        return understood(answer, RemoteProxy)

    def reference(value: Any) -> str:
        if isinstance(value, RemoteProxy):
            return object.__getattribute__(value, "reference")
        raise UnsentError(f"{type(value).__name__} cannot be sent")

    TestCase.ask = staticmethod(ask)
    while (job := message(feed)) is not None:
        write_line(f"!{json.dumps(TestCase(**json.loads(job)).verdict())}")


class ProcessExited(BaseException):
    """The solution process has ended."""


class UnsentError(Exception):
    """A test passes a value to the solution that is not plain data, for example a function of the test."""


class OpaqueError(Exception):
    """A test compares, iterates or hashes a ``RemoteProxy``, or takes its truth value."""


def raised(name: str) -> Exception:
    """Create an exception that stands for the one that the solution raised.

    Args:
        name: The class name of the exception in the solution process.

    Returns:
        An exception of the built-in class with this name, otherwise an ``Exception``. Its attribute ``solution`` is the
        name.
    """
    import builtins

    kind = getattr(builtins, name, None)
    try:
        error = kind() if isinstance(kind, type) and issubclass(kind, Exception) else Exception(name)
    except TypeError:  # some classes, such as UnicodeDecodeError, need arguments
        error = Exception(name)
    error.__dict__["solution"] = name
    return error


class RemoteProxy:
    """A stand-in, in the test process, for a function, class or object of the solution process.

    Args:
        tag: "name" for a global name of the solution, "object" for a stored object.
        key: The name, or the number of the object.
    """

    def __init__(self, tag: str, key: str | int) -> None:
        object.__setattr__(self, "reference", f'["{tag}", {serialize(key, repr)}]')

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Call the function or object in the solution process, and return its answer."""
        return TestCase.ask("call", self, list(args), named)

    def __getattr__(self, name: str) -> Any:
        return TestCase.ask("get", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        TestCase.ask("set", self, name, value)

    def __getitem__(self, key: Any) -> Any:
        return TestCase.ask("item", self, key)

    def _refuse(self, *_: Any) -> Any:
        raise OpaqueError

    __eq__ = __ne__ = __bool__ = __hash__ = __iter__ = __contains__ = _refuse


class TestCase:
    """A test of one solution.

    A name that neither the prelude nor ``names`` defines is a module of the standard library if one has this name, and
    otherwise a name of the solution.

    Args:
        prelude: Source to run before the test.
        names: Maps a name in the test to the name of the same function in the solution.
        test: The source of the test.
    """

    questions = 0
    ask: Callable[..., Any]

    def __init__(self, *, prelude: str, names: dict[str, str], test: str) -> None:
        self._prelude, self._names, self._test = prelude, names, test

    def verdict(self) -> tuple[str, str]:
        """Run the test.

        Returns:
            The reason and a detail, such as the name of an exception. The reason is "right", "wrong", "error" (the
            solution raised an exception or exited) or "untested" (the test itself failed to run, or never asked the
            solution).
        """
        import random

        random.seed(0)  # a test with random inputs uses the same inputs for every solution
        TestCase.questions = 0
        module = type(sys)("test")
        sys.modules["test"] = module
        scope = vars(module)
        try:
            exec(compile(self._prelude, "prelude.py", "exec", dont_inherit=True), scope)
            scope.update({alias: RemoteProxy("name", name) for alias, name in self._names.items()})
            code = compile(self._test, "test.py", "exec", dont_inherit=True)
            missing = {name for name in used(code) if name not in scope and name not in dir(sys.modules["builtins"])}
            for name in missing:
                scope[name] = __import__(name) if name in sys.stdlib_module_names else RemoteProxy("name", name)
        except BaseException as error:
            return "untested", type(error).__name__
        try:
            exec(code, scope)
        except ProcessExited:
            return "error", "gone"
        except BaseException as error:
            if "solution" in vars(error):
                return "error", str(vars(error)["solution"])
            if isinstance(error, NameError | UnsentError):
                return "untested", type(error).__name__
            return "wrong", "" if isinstance(error, AssertionError) else type(error).__name__
        return ("right", "") if TestCase.questions else ("untested", "the test does not call the solution")


def used(code: Any) -> Iterator[str]:
    """Yield all names that a code object and its nested functions use."""
    yield from code.co_names
    for inner in code.co_consts:
        if hasattr(inner, "co_names"):
            yield from used(inner)
