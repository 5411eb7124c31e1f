"""A reader of pickles of pictures and labels that executes nothing and keeps the pictures in the file.

Python's own unpickler imports and calls what a file names, and allocates what a file announces. This reader interprets
the few opcodes and the few callables that NumPy arrays, NumPy bools and the strings of Python 2 need, and represents
byte strings by their place in the file.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Final

_MAX_STEPS = 2_000_000
"""Maximum number of opcodes. A picture takes 3 to 25 of them, and a label 1 to 10."""

_MAX_LISTS = 2
_MAX_NAME = 64
"""Maximum length of a string that is read during parsing, such as the name of a callable."""

_PROTOCOLS = range(2, 6)


class PickleError(ValueError):
    """The file is damaged, or contains something other than pictures and labels."""


@dataclass(frozen=True, slots=True)
class Span:
    """A string in the file.

    Attributes:
        start: Offset of its first byte.
        length: Number of bytes in the file.
        is_text: True for Unicode text in UTF-8.
        is_escaped: True for bytes that are stored as UTF-8 text with one Latin-1 character per byte.
    """

    start: int
    length: int
    is_text: bool = False
    is_escaped: bool = False


@dataclass(slots=True)
class PickledArray:
    """A NumPy array.

    Attributes:
        is_bool: True for bools, False for 8-bit unsigned integers.
        data: Its bytes, or None before they are known.
    """

    is_bool: bool = False
    data: Span | None = None


@dataclass(frozen=True, slots=True)
class _Callable:
    name: str


@dataclass(frozen=True, slots=True)
class _Dtype:
    is_bool: bool


class _Mark:
    pass


_MARK: Final = _Mark()

_CALLABLES = {
    "_codecs encode": _Callable("encode"),
    **dict.fromkeys([f"numpy.{core}.multiarray _reconstruct" for core in ("core", "_core")], _Callable("_reconstruct")),
    **dict.fromkeys([f"numpy.{core}.multiarray scalar" for core in ("core", "_core")], _Callable("scalar")),
    **dict.fromkeys([f"numpy.{core}.numeric _frombuffer" for core in ("core", "_core")], _Callable("_frombuffer")),
    "numpy ndarray": _Callable("ndarray"),
    "numpy dtype": _Callable("dtype"),
}


class PickleSpans:
    """Parses a pickle.

    Args:
        file: The file, at its start.
        size: Its size in bytes.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        self._stack = list[object]()
        self._memo = dict[int, object]()
        self._lists = 0

    def parse(self) -> object:
        """Parses the file and returns its object, of bools, integers, None, lists, tuples, spans and arrays.

        Raises:
            PickleError: The file is not a pickle, is damaged, or contains something else.
        """
        if self._read(1) != b"\x80" or self._read(1)[0] not in _PROTOCOLS:
            raise PickleError("not a pickle of protocol 2 to 5")
        for _ in range(_MAX_STEPS):
            code = self._read(1)
            if code == b".":
                break
            step = _STEPS.get(code)
            if step is None:
                raise PickleError(f"the pickle opcode {code!r} is not allowed")
            step(self)
        else:
            raise PickleError(f"more than {_MAX_STEPS:,} pickle opcodes")
        if len(self._stack) != 1 or self._file.tell() != self._size:
            raise PickleError("it continues after its end")
        return self._stack[0]

    def _read(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) < count:
            raise PickleError("the end is missing")
        return data

    def _number(self, form: str) -> int:
        (number,) = struct.unpack(f"<{form}", self._read(struct.calcsize(f"<{form}")))
        return int(number)

    def _span(self, form: str, *, is_text: bool = False) -> None:
        length, start = self._number(form), self._file.tell()
        if not 0 <= length <= self._size - start:
            raise PickleError("a string is longer than the file")
        self._file.seek(start + length)
        self._stack.append(Span(start, length, is_text))

    def _frame(self) -> None:
        if self._number("Q") > self._size - self._file.tell():
            raise PickleError("a frame is longer than the file")

    def _name(self, value: object) -> str:
        """Reads a short string, such as a name."""
        if not isinstance(value, Span) or value.length > _MAX_NAME:
            raise PickleError("a short string was expected")
        here = self._file.tell()
        self._file.seek(value.start)
        data = self._read(value.length)
        self._file.seek(here)
        return data.decode("latin-1")

    def _push_long(self) -> None:
        data = self._read(self._number("B"))
        if len(data) > 8:
            raise PickleError("an integer is too large")
        self._stack.append(int.from_bytes(data, "little", signed=True))

    def _push_list(self) -> None:
        self._lists += 1
        if self._lists > _MAX_LISTS:
            raise PickleError("more than two lists")
        self._stack.append([])

    def _push_tuple(self, count: int) -> None:
        self._stack.append(tuple(self._pop(count)))

    def _pop(self, count: int) -> list[object]:
        if count > len(self._stack):
            raise PickleError("the pickle stack is empty")
        values = self._stack[len(self._stack) - count :]
        del self._stack[len(self._stack) - count :]
        if any(value is _MARK for value in values):
            raise PickleError("the pickle stack is empty")
        return values

    def _pop_to_mark(self) -> list[object]:
        # Slices near the end of the stack: an unclosed mark must not make each step slow.
        for place in range(len(self._stack) - 1, -1, -1):
            if self._stack[place] is _MARK:
                values = self._stack[place + 1 :]
                del self._stack[place:]
                return values
        raise PickleError("a pickle mark is missing")

    def _top(self) -> object:
        if not self._stack:
            raise PickleError("the pickle stack is empty")
        return self._stack[-1]

    def _append(self, values: list[object]) -> None:
        target = self._top()
        if not isinstance(target, list):
            raise PickleError("items are appended to something other than a list")
        if not all(isinstance(value, Span | PickledArray | bool) for value in values):
            raise PickleError("a list contains something other than pictures and labels")
        target += values

    def _remember(self, place: int) -> None:
        self._memo[place] = self._top()

    def _recall(self, place: int) -> None:
        if place not in self._memo:
            raise PickleError("a pickle reference is dangling")
        self._stack.append(self._memo[place])

    def _push_global(self) -> None:
        lines = [self._file.readline(_MAX_NAME) for _ in range(2)]
        if not all(line.endswith(b"\n") for line in lines):
            raise PickleError("the name of a callable is too long")
        self._push_callable(*(line[:-1].decode("latin-1") for line in lines))

    def _push_stacked_global(self) -> None:
        module, name = self._pop(2)
        self._push_callable(self._name(module), self._name(name))

    def _push_callable(self, module: str, name: str) -> None:
        found = _CALLABLES.get(f"{module} {name}")
        if found is None:
            raise PickleError(f"{module}.{name} is not allowed")
        self._stack.append(found)

    def _call(self) -> None:
        function, arguments = self._pop(2)
        if not isinstance(function, _Callable) or not isinstance(arguments, tuple):
            raise PickleError("something other than a function is called")
        match function.name, arguments:
            case "encode", (Span(is_text=True) as text, encoding) if self._name(encoding) in ("latin1", "latin-1"):
                self._stack.append(Span(text.start, text.length, is_escaped=True))
            case "dtype", (kind, *_) if len(arguments) == 3:
                self._stack.append(_Dtype(self._is_bool(kind)))
            case "scalar", (_Dtype(is_bool=True), Span(is_text=False, length=1) as value):
                self._stack.append(self._name(value) == "\1")
            case "_reconstruct", (_Callable(name="ndarray"), tuple(), Span()):
                self._stack.append(PickledArray())
            case "_frombuffer", (Span(is_text=False) as data, _Dtype() as dtype, tuple() as shape, order):
                if self._name(order) not in ("C", "F"):
                    raise PickleError("an array has an invalid memory order")
                self._stack.append(_array(data, dtype, shape))
            case _:
                raise PickleError(f"{function.name} is called with other arguments than NumPy's")

    def _is_bool(self, kind: object) -> bool:
        name = self._name(kind)
        if name not in ("b1", "u1"):
            raise PickleError(f"arrays of type {name!r} are not allowed")
        return name == "b1"

    def _build(self) -> None:
        (state,) = self._pop(1)
        match self._top(), state:
            case _Dtype(), (3 | 4, Span(), None, None, None, int(), int(), int()):
                pass
            case PickledArray(data=None) as array, (
                1, tuple() as shape, _Dtype() as dtype, bool(), Span(is_text=False) as data,
            ):  # fmt: skip
                array.is_bool, array.data = dtype.is_bool, _array(data, dtype, shape).data
            case _:
                raise PickleError("an object has a state other than NumPy's")


def _array(data: Span, dtype: _Dtype, shape: tuple[object, ...]) -> PickledArray:
    sides = [side for side in shape if isinstance(side, int) and side >= 0]
    if len(sides) != len(shape) or not 1 <= len(shape) <= 2:
        raise PickleError("an array has an invalid shape")
    # Escaped bytes above 127 take two bytes each; the exact length is checked when the array is read.
    most = 2 * math.prod(sides) if data.is_escaped else math.prod(sides)
    if not math.prod(sides) <= data.length <= most:
        raise PickleError("the data of an array does not match its shape")
    return PickledArray(dtype.is_bool, data)


_STEPS: dict[bytes, Callable[[PickleSpans], None]] = {
    b"\x95": PickleSpans._frame,
    b"(": lambda it: it._stack.append(_MARK),
    b"]": PickleSpans._push_list,
    b"a": lambda it: it._append(it._pop(1)),
    b"e": lambda it: it._append(it._pop_to_mark()),
    b")": lambda it: it._push_tuple(0),
    b"\x85": lambda it: it._push_tuple(1),
    b"\x86": lambda it: it._push_tuple(2),
    b"\x87": lambda it: it._push_tuple(3),
    b"t": lambda it: it._stack.append(tuple(it._pop_to_mark())),
    b"C": lambda it: it._span("B"),
    b"B": lambda it: it._span("I"),
    b"\x8e": lambda it: it._span("Q"),
    b"\x96": lambda it: it._span("Q"),
    b"U": lambda it: it._span("B"),
    b"T": lambda it: it._span("i"),
    b"\x8c": lambda it: it._span("B", is_text=True),
    b"X": lambda it: it._span("I", is_text=True),
    b"\x8d": lambda it: it._span("Q", is_text=True),
    b"N": lambda it: it._stack.append(None),
    b"\x88": lambda it: it._stack.append(True),
    b"\x89": lambda it: it._stack.append(False),
    b"J": lambda it: it._stack.append(it._number("i")),
    b"K": lambda it: it._stack.append(it._number("B")),
    b"M": lambda it: it._stack.append(it._number("H")),
    b"\x8a": PickleSpans._push_long,
    b"q": lambda it: it._remember(it._number("B")),
    b"r": lambda it: it._remember(it._number("I")),
    b"\x94": lambda it: it._remember(len(it._memo)),
    b"h": lambda it: it._recall(it._number("B")),
    b"j": lambda it: it._recall(it._number("I")),
    b"c": PickleSpans._push_global,
    b"\x93": PickleSpans._push_stacked_global,
    b"R": PickleSpans._call,
    b"b": PickleSpans._build,
}
