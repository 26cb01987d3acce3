"""As many descriptors as are allowed, and some of them for everything but senders."""

import resource

import pytest

from tapir.app.descriptors import allow_descriptors, connections_within

INFINITY = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "found"),
    [
        (1024, 524288, 524288),
        (1024, 1024, 1024),
        (1024, INFINITY, 1 << 20),
        (INFINITY, INFINITY, 1 << 20),
        (1 << 30, 1 << 30, 1 << 30),
    ],
)
def test_the_limit_is_what_the_administrator_allows(
    soft: int, hard: int, found: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    put: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: put.append(limits))
    assert allow_descriptors() == found
    assert put == ([(found, hard)] if soft not in (found, INFINITY) else [])


def test_some_are_left() -> None:
    assert connections_within(1000, 524288) == 1000
    assert connections_within(1000, 1024) == 768
    assert connections_within(1000, 20) == 1
