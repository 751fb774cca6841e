"""Name and fingerprint of a user's own object: the fingerprint is a digest of what the object does.

With it a study with a user's own function or network does not resume from the results of a different one.
The digest covers code, constants, defaults, closures, attributes, arrays, and the functions, classes and constants of
the same program that the code names. It does not follow what installed packages do inside (their versions are recorded
with the results), nor data that code reads while it runs.
"""

import dataclasses
import functools
import hashlib
import sys
import sysconfig
from collections.abc import Callable, Mapping
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

DIGITS = 16
_CONSTANTS = (bool, int, float, complex, str, bytes, type(None), type(...))
_PLACES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_OWN = __name__.partition(".")[0]
_WRAPPED = ("__wrapped__", "fwd", "bwd", "jvp")  # what `jax.jit`, `jax.custom_vjp` and `functools.cache` make holds


def name_of(value: Any) -> str:
    """What an object is called: its `name`, or that of its class or function."""
    if isinstance(value, functools.partial):
        return name_of(value.func)
    found = getattr(value, "name", None) or getattr(value, "__qualname__", None)
    return found if isinstance(found, str) else type(value).__qualname__


def fingerprint(value: Any) -> str:
    """Digest of what an object does: the same in every process that runs the same program with the same Python.

    >>> one, same, other = (functools.partial(round, ndigits=digits) for digits in (1, 1, 2))
    >>> fingerprint(one) == fingerprint(same), fingerprint(one) == fingerprint(other)
    (True, False)
    """
    return hashlib.sha256(repr(_describe(value, {})).encode()).hexdigest()[:DIGITS]


def _describe(value: Any, seen: dict[int, Any]) -> Any:
    """An object as nested tuples of text; `seen` keeps what has been met, which ends at its first meeting."""
    if isinstance(value, _CONSTANTS):
        return repr(value)
    if isinstance(value, ModuleType):
        return "module", value.__name__
    if id(value) in seen:
        return "again"
    seen[id(value)] = value  # kept, so that no other object can get its id
    again = functools.partial(_describe, seen=seen)
    for kinds, describe in _KINDS:
        if isinstance(value, kinds):
            return type(value).__name__, describe(value, again)
    if hasattr(value, "__array__"):
        return _array(value)
    if hasattr(value, "__wrapped__"):
        return type(value).__qualname__, [again(getattr(value, name, None)) for name in _WRAPPED]
    return type(value).__qualname__, _attributes(value, again)


def _code(code: CodeType, again: Callable[[Any], Any]) -> Any:
    return code.co_code, [again(item) for item in code.co_consts], code.co_names


def _function(function: FunctionType, again: Callable[[Any], Any]) -> Any:
    around = [again(cell.cell_contents) for cell in function.__closure__ or () if _filled(cell)]
    given = [again(item) for item in (function.__defaults__, function.__kwdefaults__)]
    if _installed(function):
        return function.__module__, function.__qualname__, around, given
    names = sorted(_names(function.__code__) & function.__globals__.keys())
    reached = [function.__globals__[name] for name in names]
    kinds = (*_CONSTANTS, tuple, FunctionType, type, functools.partial)
    used = [
        (name, again(item))
        for name, item in zip(names, reached, strict=True)
        if isinstance(item, kinds) or (hasattr(item, "__wrapped__") and not _installed(item))
    ]
    return function.__qualname__, again(function.__code__), around, given, used


def _names(code: CodeType) -> set[str]:
    inner = (item for item in code.co_consts if isinstance(item, CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _class(made: type, again: Callable[[Any], Any]) -> Any:
    if _installed(made):
        return made.__module__, made.__qualname__
    kinds = (*_CONSTANTS, tuple, FunctionType, staticmethod, classmethod, property)
    kept = ("__init__", "__call__", "__doc__")
    parts = {k: v for k, v in vars(made).items() if isinstance(v, kinds) and (k in kept or not k.startswith("__"))}
    parts.pop("__doc__", None)
    inner = {k: getattr(v, "__func__", getattr(v, "fget", v)) for k, v in parts.items()}
    return made.__qualname__, [again(base) for base in made.__bases__], [(k, again(inner[k])) for k in sorted(inner)]


def _attributes(value: Any, again: Callable[[Any], Any]) -> Any:
    made = again(type(value))
    if dataclasses.is_dataclass(value):
        held: Mapping[str, Any] = {f.name: getattr(value, f.name, None) for f in _told(value)}
    else:
        held = {} if _installed(type(value)) else getattr(value, "__dict__", {})
    return made, [(name, again(held[name])) for name in sorted(held)]


def _told(value: Any) -> list[dataclasses.Field[Any]]:
    """A dataclass's fields; of those that came later, marked so, only what is not the default: old digests stay."""
    fields = dataclasses.fields(value)
    return [f for f in fields if not (f.metadata.get("later") and getattr(value, f.name, f.default) == f.default)]


def _array(value: Any) -> Any:
    import numpy as np

    array = np.asarray(value)
    return array.dtype.str, array.shape, hashlib.sha256(array.tobytes()).hexdigest()


def _installed(thing: Any) -> bool:
    """Whether a function or class comes with Python, with this package or with another installed one."""
    module = getattr(thing, "__module__", None) or ""
    top = module.partition(".")[0]
    file = getattr(sys.modules.get(module), "__file__", None)
    return top in (_OWN, "builtins") or top in sys.stdlib_module_names - {"__main__"} or str(file).startswith(_PLACES)


_KINDS: tuple[tuple[Any, Callable[[Any, Callable[[Any], Any]], Any]], ...] = (
    (CodeType, _code),
    (FunctionType, _function),
    (BuiltinFunctionType, lambda value, again: value.__qualname__),
    (MethodType, lambda value, again: (again(value.__func__), again(value.__self__))),
    (functools.partial, lambda value, again: [again(item) for item in (value.func, value.args, value.keywords)]),
    (type, _class),
    ((list, tuple), lambda value, again: [again(item) for item in value]),
    ((set, frozenset), lambda value, again: sorted(repr(again(item)) for item in value)),
    (Mapping, lambda value, again: sorted((repr(k), repr(again(v))) for k, v in value.items())),
)
