"""Read the keys of a configuration group from the signature behind ``_target_``, without importing it.

A choice such as conf/algo/score.yaml names a class or a function: ``_target_: amend.algo.score.SCoRe``. Its
keyword-only parameters are the keys of the YAML file, and their annotations are the allowed values. This module parses
the source instead of importing it, because an import of torch takes seconds and a typing error should show at once. A
class outside of this package works in the same way. ``config.groups`` declares the keys of groups without a class.
"""

from __future__ import annotations

import ast
import importlib.util
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from amend import value_types
from amend.config.groups import SETTINGS
from amend.config.value_checks import keys
from amend.errors import UserError

PACKAGE = Path(__file__).parents[1]
TARGET_GROUPS = (  # groups whose choices name a class or a function
    "task",
    "dialogue",
    "reward",
    "policy",
    "init",
    "distillation",
    "tuning",
    "rollout",
    "logger",
    "temperature",
    "curriculum",
    "prefill",
    "entropy",
    "algo",
)
GROUPS = (*TARGET_GROUPS, *(group for group in SETTINGS if group))
TARGET_KEYS = ("_target_", "name")  # keys of every choice that are not parameters of its target


class Definition(NamedTuple):
    """The source of a class or a function."""

    path: Path
    node: ast.ClassDef | ast.FunctionDef


def group_fields(group: str) -> dict[str, Any]:
    """Return the keys of a group without a target ("" for the top level), with the annotation of each."""
    return keys(SETTINGS[group])


@cache
def target_fields(target: str) -> dict[str, Any]:
    """Return the keys that a target takes, with the annotation of each.

    Args:
        target: Dotted path of a class or a function.

    Raises:
        UserError: If there is no such class or function.
    """
    definition = find_definition(target)
    if isinstance(definition.node, ast.FunctionDef):
        return _keyword_parameters(definition.path, definition.node)
    return _constructor_parameters(definition.path, definition.node)


def class_attribute(target: str, name: str, default: Any = None) -> Any:
    """Return the literal value of a class attribute, looked up in the class and then in its bases.

    Args:
        target: Dotted path of a class; a function has no attributes.
        name: Name of the attribute.
        default: The value if no class has the attribute.
    """
    definition = find_definition(target)
    if isinstance(definition.node, ast.FunctionDef):
        return default
    for owner in (definition, *_bases(definition.path, definition.node)):
        for statement in owner.node.body:
            targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
            value = getattr(statement, "value", None)
            if any(isinstance(node, ast.Name) and node.id == name for node in targets) and value is not None:
                return ast.literal_eval(value)
    return default


def find_definition(target: str) -> Definition:
    """Find the class or function that a dotted path names.

    Raises:
        UserError: If there is no such class or function.
    """
    module, _, name = target.rpartition(".")
    path = _source_file(module)
    if path is None:
        raise UserError(
            f"_target_={target}: no module {module or target!r} can be imported; allowed: the dotted path of a class, "
            "such as my_package.my_module.MyClass, in a folder that is on PYTHONPATH"
        )
    node = _definitions(path).get(name)
    if node is None:
        raise UserError(f"_target_={target}: no class or function {name!r} in {path}; allowed: {_names(path)}")
    return Definition(path, node)


def _source_file(module: str) -> Path | None:
    """Return the source file of a module, or None.

    This imports the parent package of a module outside of amend, but not the module.
    """
    parts = module.split(".")
    if parts[0] == "amend":
        base = PACKAGE.joinpath(*parts[1:])
        files = (base.with_suffix(".py"), base / "__init__.py")
        return next((path for path in files if path.is_file()), None)
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec is not None and spec.origin and spec.origin.endswith(".py") else None


@cache
def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _definitions(path: Path) -> dict[str, ast.ClassDef | ast.FunctionDef]:
    return {node.name: node for node in _parse(path).body if isinstance(node, ast.ClassDef | ast.FunctionDef)}


def _names(path: Path) -> str:
    return (
        ", ".join(name for name in _definitions(path) if not name.startswith("_")) or "none, because it defines nothing"
    )


def _resolve(path: Path, name: str) -> Definition | None:
    """Find the class ``name`` of a file, which the file defines or imports by name."""
    if (node := _definitions(path).get(name)) is not None:
        return Definition(path, node)
    for statement in ast.walk(_parse(path)):
        if isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
            for alias in statement.names:
                if (alias.asname or alias.name) == name and (source := _source_file(statement.module)) is not None:
                    return _resolve(source, alias.name)
    return None


def _bases(path: Path, node: ast.ClassDef) -> Iterator[Definition]:
    """Yield the base classes whose source can be found, nearest first."""
    for base in node.bases:
        definition = _resolve(path, base.id) if isinstance(base, ast.Name) else None
        if definition is not None and isinstance(definition.node, ast.ClassDef):
            yield definition
            yield from _bases(definition.path, definition.node)


def _constructor_parameters(path: Path, node: ast.ClassDef) -> dict[str, Any]:
    """Return the keyword-only parameters of a class; without a constructor, those of its bases."""
    constructor = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
    if constructor is None:
        parameters: dict[str, Any] = {}
        for base in node.bases:
            if isinstance(base, ast.Name) and (d := _resolve(path, base.id)) and isinstance(d.node, ast.ClassDef):
                parameters = _constructor_parameters(d.path, d.node) | parameters
        return parameters
    return _keyword_parameters(path, constructor)


def _keyword_parameters(path: Path, function: ast.FunctionDef) -> dict[str, Any]:
    """Return keyword-only parameters, and the keys of the TypedDict in ``**kwargs: Unpack[TypedDict]``."""
    unpacked = _unpacked_keys(path, function.args.kwarg) if function.args.kwarg is not None else {}
    return unpacked | {arg.arg: _annotation(path, arg.arg, arg.annotation) for arg in function.args.kwonlyargs}


def _unpacked_keys(path: Path, kwarg: ast.arg) -> dict[str, Any]:
    annotation = kwarg.annotation
    if not (
        isinstance(annotation, ast.Subscript)
        and isinstance(annotation.value, ast.Name)
        and annotation.value.id == "Unpack"
        and isinstance(annotation.slice, ast.Name)
    ):
        raise TypeError(
            f"{path}: **{kwarg.arg} must be annotated with Unpack[A_TypedDict], because its keys are unknown otherwise"
        )
    definition = _resolve(path, annotation.slice.id)
    if definition is None or not isinstance(definition.node, ast.ClassDef):
        raise TypeError(f"{path}: the source of {annotation.slice.id} was not found")
    return _typed_dict_keys(definition)


def _typed_dict_keys(definition: Definition) -> dict[str, Any]:
    assert isinstance(definition.node, ast.ClassDef)
    inherited: dict[str, Any] = {}
    for base in reversed(list(_bases(definition.path, definition.node))):
        inherited |= _typed_dict_keys(base)
    return inherited | {
        statement.target.id: _annotation(definition.path, statement.target.id, statement.annotation)
        for statement in definition.node.body
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
    }


def _annotation(path: Path, name: str, annotation: ast.expr | None) -> Any:
    """Return the type that an annotation names, from ``typing``, the builtins and ``value_types``."""
    if annotation is None:
        raise TypeError(f"{path}: {name} has no annotation, so its value cannot be checked")
    return _evaluate(path, annotation)


KNOWN_NAMES: dict[str, Any] = {
    **{kind.__name__: kind for kind in (bool, int, float, str, list, dict)},
    **{name: value for name, value in vars(value_types).items() if not name.startswith("_")},
}


def _evaluate(path: Path, node: ast.expr) -> Any:
    """Evaluate an annotation by name lookup, without executing source text."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name) and node.id in KNOWN_NAMES:
        return KNOWN_NAMES[node.id]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return typing.Union[_evaluate(path, node.left), _evaluate(path, node.right)]  # noqa: UP007 - built at run time
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        arguments = tuple(_evaluate(path, argument) for argument in inner)
        if node.value.id == "Literal":
            return typing.Literal[arguments]
        if node.value.id in ("list", "Sequence"):
            return list[arguments[0]]  # type: ignore[valid-type]
    raise TypeError(
        f"{path}: the annotation {ast.unparse(node)} is not supported; allowed: bool, int, float, str, None, Literal, "
        f"list, unions of them, and the types of amend.value_types"
    )
