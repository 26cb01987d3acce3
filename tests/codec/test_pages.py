"""Large pages are a wish: it changes no octet, and none is expressed for what is small or beside the buffer."""

import ctypes
import mmap

import numpy as np
import pytest

from tapir.codec import pages
from tapir.codec.columns import filled


@pytest.fixture
def wishes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    found: list[tuple[int, int, int]] = []

    def madvise(address: int, size: int, wish: int) -> int:
        found.append((address, size, wish))
        return 0

    monkeypatch.setattr(pages, "_madvise", madvise)
    return found


def test_it_is_for_whole_pages_of_a_large_buffer(wishes: list[tuple[int, int, int]]) -> None:
    buffer = np.empty((5 << 20) + 100, np.uint8)[1:]
    pages.prefer_large_pages(buffer.data)
    [(address, size, wish)] = wishes
    begin, end = buffer.ctypes.data, buffer.ctypes.data + len(buffer)
    assert address % mmap.PAGESIZE == 0
    assert begin <= address < begin + mmap.PAGESIZE
    assert address + size == end
    assert wish == mmap.MADV_HUGEPAGE


def test_a_small_buffer_goes_without(wishes: list[tuple[int, int, int]]) -> None:
    pages.prefer_large_pages(memoryview(bytearray(1 << 20)))
    assert not wishes


def test_where_there_are_none_all_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(out: memoryview) -> None:
        np.frombuffer(out, np.uint8)[:] = 7

    granted = filled(5 << 20, write)
    monkeypatch.setattr(pages, "_madvise", None)
    assert granted == filled(5 << 20, write) == b"\7" * (5 << 20)


def test_a_system_without_them_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: object) -> object:
        raise OSError("no such library")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert pages._find() is None
