"""Reader of pickles that neither imports nor calls anything that they name."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

# Names in these modules serve to run code, not to hold data.
_MODULES_THAT_RUN_CODE = frozenset(
    {
        "_io", "_pickle", "_posixsubprocess", "_thread", "atexit", "bdb", "cloudpickle", "code", "codecs",
        "codeop", "commands", "ctypes", "dill", "ftplib", "imp", "importlib", "inspect", "io", "joblib",
        "linecache", "marshal", "multiprocessing", "nt", "operator", "os", "pdb", "pickle", "pip",
        "pkgutil", "popen2", "posix", "pty", "pydoc", "requests", "runpy", "shutil", "signal", "site",
        "smtplib", "socket", "ssl", "subprocess", "sys", "tempfile", "threading", "timeit", "urllib",
        "urllib2", "venv", "webbrowser", "xmlrpc", "zipimport",
    }
)  # fmt: skip
_BUILTINS_THAT_RUN_CODE = frozenset(
    {
        "apply", "breakpoint", "compile", "delattr", "dir", "eval", "exec", "execfile", "exit", "file", "globals",
        "help", "input", "locals", "open", "quit", "raw_input", "reload", "setattr", "vars",
    }
)  # fmt: skip
_BUILTINS = frozenset({"builtins", "__builtin__"})
_GETATTR = "getattr"
_KEYS = (str, int, float, bytes, bool, type(None))


class ForbiddenPickleError(Exception):
    """A pickle names a function that runs code."""


@dataclass(frozen=True)
class GlobalName:
    """A class or function that a pickle names. It is not imported."""

    module: str
    name: str


@dataclass(eq=False)
class InertObject:
    """An object of a class that is not imported.

    Attributes:
        kind: Its class, or the function that would make it.
        args: Arguments of the class or function.
        state: The state that the object would restore itself from.
        items: Values that were appended, if it is a list.
        mapping: Values that were set, if it is a dictionary.
    """

    kind: GlobalName
    args: tuple[Any, ...]
    state: Any = None
    items: list[Any] = field(default_factory=list)
    mapping: dict[Any, Any] = field(default_factory=dict)


class ByteSource(Protocol):
    """A file to read pickles from. `read` must not allocate more than the file holds."""

    def read(self, size: int, /) -> bytes:
        """Reads up to `size` bytes."""

    def readline(self) -> bytes:
        """Reads a line."""


# The implementation in Python: that in C allocates as much as a pickle asks for, and its operations cannot be replaced.
_PythonUnpickler: Any = pickle._Unpickler


class InertUnpickler(_PythonUnpickler):  # type: ignore[misc]
    """Turns a pickle into dictionaries, lists, tuples, numbers, texts, and `InertObject`s for everything else.

    Nothing is imported and nothing is called, so a pickle cannot run code. Pickles that name functions for running code
    are refused nevertheless, because they are attacks. Memory is bounded by the size of the file.

    Args:
        file: The file; it is read up to the end of the pickle.
        rebuild: Makes the result of a function or class from its name and its arguments; `InertObject` by default.
        persistent_load: Resolves a persistent identifier.
    """

    def __init__(
        self,
        file: ByteSource,
        rebuild: Callable[[GlobalName, tuple[Any, ...]], Any] = InertObject,
        persistent_load: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(file, encoding="latin1")
        self._rebuild = rebuild
        if persistent_load is not None:
            self.persistent_load = persistent_load

    def find_class(self, module: str, name: str) -> GlobalName:
        """Returns the name of a class or function.

        Raises:
            ForbiddenPickleError: It serves to run code.
        """
        top = module.split(".")[0]
        is_function = top in _BUILTINS and name in _BUILTINS_THAT_RUN_CODE
        if is_function or top in _MODULES_THAT_RUN_CODE or "__" in name:
            raise ForbiddenPickleError(f"{module}.{name}")
        return GlobalName(module, name)

    def _call(self, function: object, args: object) -> Any:
        if isinstance(function, InertObject):
            raise ForbiddenPickleError(f"a call of what {function.kind.module}.{function.kind.name} returns")
        if not isinstance(function, GlobalName) or not isinstance(args, tuple):
            raise pickle.UnpicklingError("it calls something that is not a class or function")
        if function.module in _BUILTINS and function.name == _GETATTR:
            _check_getattr(args)
        return self._rebuild(function, args)

    def _instantiate(self, kind: object, args: Iterable[Any]) -> None:
        self.append(self._call(kind, tuple(args)))

    def _load_reduce(self) -> None:
        args, function = self.stack.pop(), self.stack.pop()
        self.append(self._call(function, args))

    def _load_newobj_ex(self) -> None:
        self.stack.pop()
        self._load_reduce()

    def _load_build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, InertObject):
            target.state = state

    def _load_append(self) -> None:
        value = self.stack.pop()
        _extend(self.stack[-1], [value])

    def _load_appends(self) -> None:
        values = self.pop_mark()
        _extend(self.stack[-1], values)

    def _load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _set_items(self.stack[-1], [key, value])

    def _load_setitems(self) -> None:
        values = self.pop_mark()
        _set_items(self.stack[-1], values)

    def _load_dict(self) -> None:
        values = self.pop_mark()
        made: dict[Any, Any] = {}
        _set_items(made, values)
        self.append(made)

    def _load_empty_set(self) -> None:
        # A set computes hashes, which takes exponential time for nested tuples.
        self.append([])

    def _load_frozenset(self) -> None:
        self.append(self.pop_mark())

    def _refuse(self) -> None:
        raise pickle.UnpicklingError("it has an operation that checkpoints do not use")

    dispatch: ClassVar[dict[int, Callable[..., None]]] = {
        **_PythonUnpickler.dispatch,
        pickle.REDUCE[0]: _load_reduce,
        pickle.NEWOBJ[0]: _load_reduce,
        pickle.NEWOBJ_EX[0]: _load_newobj_ex,
        pickle.BUILD[0]: _load_build,
        pickle.APPEND[0]: _load_append,
        pickle.APPENDS[0]: _load_appends,
        pickle.ADDITEMS[0]: _load_appends,
        pickle.SETITEM[0]: _load_setitem,
        pickle.SETITEMS[0]: _load_setitems,
        pickle.DICT[0]: _load_dict,
        pickle.EMPTY_SET[0]: _load_empty_set,
        pickle.FROZENSET[0]: _load_frozenset,
        **dict.fromkeys(
            (
                pickle.EXT1[0], pickle.EXT2[0], pickle.EXT4[0], pickle.BYTEARRAY8[0], pickle.NEXT_BUFFER[0],
                pickle.READONLY_BUFFER[0],
            ),
            _refuse,
        ),
    }  # fmt: skip


# The exceptions that damaged pickles cause.
PICKLE_ERRORS = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError,
    MemoryError, RecursionError, struct.error,
)  # fmt: skip


def _check_getattr(args: tuple[Any, ...]) -> None:
    """Refuses chains of attributes, which lead to other modules. Methods and enumeration members are single ones."""
    match args:
        case (GlobalName() | InertObject() as owner, str(name)):
            is_chain = isinstance(owner, InertObject) and owner.kind.name == _GETATTR
            if not is_chain and "__" not in name:
                return
    raise ForbiddenPickleError("a chain of getattr")


def _extend(target: object, values: list[Any]) -> None:
    if isinstance(target, InertObject):
        target.items.extend(values)
    elif isinstance(target, list):
        target.extend(values)
    else:
        raise pickle.UnpicklingError("it appends to something that is not a list")


def _set_items(target: object, values: list[Any]) -> None:
    """Sets keys and values, which alternate. Keys that are objects or tuples are left out."""
    mapping = target.mapping if isinstance(target, InertObject) else target
    if not isinstance(mapping, dict):
        raise pickle.UnpicklingError("it sets items of something that is not a dictionary")
    for key, value in zip(values[::2], values[1::2], strict=True):
        if isinstance(key, _KEYS):
            mapping[key] = value
