"""What a kernel's Python text needs of the module `cython` where Cython is not installed: names that do nothing."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Final, TypeVar

T = TypeVar("T")

compiled: Final = False


def _same(thing: T) -> T:
    return thing


def _decorate(*_: object, **__: object) -> Callable[[T], T]:
    return _same


class _Type:
    """A C type: as an annotation it says nothing, called it gives back its argument."""

    def __call__(self, value: object = 0) -> Any:
        return value

    def __getitem__(self, _: object) -> "_Type":
        return self


class _Lock(nullcontext[None]):
    """A part of a function, or all of one, that holds the interpreter's lock or does not: here it always does."""

    def __call__(self, function: T) -> T:
        return function


cclass = cfunc = ccall = inline = final = _same
locals = returns = exceptval = boundscheck = wraparound = cdivision = nogil_function = _decorate  # noqa: A001
nogil: Final = _Lock()
gil: Final = _Lock()
char = schar = uchar = short = ushort = int = uint = long = ulong = longlong = ulonglong = _Type()  # noqa: A001
bint = Py_ssize_t = size_t = double = void = p_uchar = const = _Type()


def cast(_: object, value: T, **__: object) -> T:
    """The value as it is."""
    return value


def declare(_: object = None, value: T | None = None, **__: object) -> T | None:
    """The value as it is."""
    return value
