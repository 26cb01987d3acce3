"""Reading a list that is a DAWG file. Blocking: for a worker that may hang with the file system.

The file is copied first, and only the copy is looked at: it may be replaced or cut at any time, and a mapped file that
gets shorter ends the process. An allowlist stays in its copy, which is looked up; it is gone through once, to tell
what in it is no name. The others are taken out of it, and treated as lists of any other format.
"""

import hashlib
import os
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

from tapir.codec.dawg import Dawg, DawgError, NameWalk, join_names, parse_dawg
from tapir.codec.lists import MAX_NAMES, ParsedList
from tapir.model.actions import ListKind
from tapir.model.blocks import LookupList, NameBlock
from tapir.model.messages.lists import Refusal
from tapir.policy.admission import Admitted, admit
from tapir.services.sources.content import (
    ListTornError,
    ListUnreadableError,
    ListUnusableError,
    Progress,
    ReadingSettings,
)
from tapir.services.sources.looking import FileSign
from tapir.services.sources.suffixes import load_suffix_test
from tapir.store.staging import Incoming, receive

SIZE_LIMIT: Final = 1 << 28
"""Octets of a DAWG file: checking one takes ten octets of memory for each of these at most, and for names but three."""

_BLOCK: Final = 1 << 20


@attrs.frozen(kw_only=True, eq=False)
class LookedUp:
    """An allowlist that stays where it is; `digest` says the same of it as that of other lists says of theirs."""

    content: LookupList
    refusals: tuple[Refusal, ...]
    digest: str


def read_dawg(settings: ReadingSettings, sign: FileSign, progress: Progress) -> Admitted | LookedUp:
    """What the file says, which still looks like `sign` before, during and after; see `content.read_list`.

    Raises ListTornError when it does not or nobody waits any more, ListUnreadableError when it cannot be read or
    copied, ListUnusableError when it is no DAWG, or holds too much, or words of which not one is a name.
    """
    path = settings.path
    limit = min(settings.size_limit, SIZE_LIMIT)
    if sign.size > limit:
        raise ListUnusableError(path=path, reason=f"is {sign.size} octets long, {limit} are allowed")
    if settings.staging is None:
        raise AssertionError("a source of format dawg has a folder for its copies")
    try:
        with receive(settings.staging) as copy:
            digest = _copy(path, sign, copy, progress)
            progress.read = True
            dawg = parse_dawg(copy.octets())
            if settings.kind is not ListKind.ALLOW:
                return _take_out(dawg, settings, progress)
            refusals = _go_through(dawg, settings, progress)
            kept = copy.keep(digest)
    except DawgError as exc:
        raise ListUnusableError(path=path, reason=f"is no DAWG: {exc}") from exc
    except OSError as exc:
        raise _unreadable(path, exc) from exc
    words = len(dawg) - sum(refusal.count for refusal in refusals)
    subtree = settings.match == "subtree"
    content = LookupList(path=str(kept), digest=digest, words=words, size=sign.size, subtree=subtree)
    # The same file says something else where it is a list of subtrees.
    return LookedUp(content=content, refusals=refusals, digest=f"{digest}/subtree" if subtree else digest)


def _copy(path: Path, sign: FileSign, copy: Incoming, progress: Progress) -> str:
    """Copy the file; returns the SHA-256 of its octets."""
    digest = hashlib.sha256()
    # Not to wait for a writer, should the file be a pipe by now.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        _check_sign(sign, os.fstat(descriptor))
        left = sign.size
        while left > 0:
            block = os.read(descriptor, min(_BLOCK, left))
            if progress.abandoned:
                raise ListTornError("nobody waits for this list any more")
            if not block:
                raise ListTornError("the file got shorter while it was read")
            copy.write(block)
            digest.update(block)
            left -= len(block)
            progress.octets += len(block)
        _check_sign(sign, os.fstat(descriptor))
    finally:
        os.close(descriptor)
    _check_sign(sign, path.stat())
    return digest.hexdigest()


def _go_through(dawg: Dawg, settings: ReadingSettings, progress: Progress) -> tuple[Refusal, ...]:
    """What in an allowlist is no name; nothing of it is kept."""
    walk = dawg.names()
    for _ in _watched(walk, progress):
        pass
    _refuse_garbage(walk, settings.path)
    return walk.refusals


def _take_out(dawg: Dawg, settings: ReadingSettings, progress: Progress) -> Admitted:
    """The names of a deny- or doubtlist, as a list of any format would hold them."""
    if len(dawg) > MAX_NAMES:
        raise ListUnusableError(path=settings.path, reason=f"the list holds more than {MAX_NAMES} names")
    walk = dawg.names(subtree=settings.match == "subtree")
    blocks: list[NameBlock] = []
    places = array("I")
    for names, numbers in _watched(walk, progress):
        # A few octets can stand for endless words.
        if walk.characters > settings.size_limit:
            reason = f"would be more than {settings.size_limit} octets long as text"
            raise ListUnusableError(path=settings.path, reason=reason)
        blocks.append(names)
        places.extend(numbers)
    _refuse_garbage(walk, settings.path)
    return admit(
        ParsedList(names=join_names(blocks), lines=places.tobytes(), refusals=walk.refusals),
        kind=settings.kind,
        zone=settings.zone,
        is_public_suffix=load_suffix_test(),
        broad=settings.broad,
    )


def _watched(walk: NameWalk, progress: Progress) -> Iterator[tuple[NameBlock, "array[int]"]]:
    for block in walk:
        if progress.abandoned:
            raise ListTornError("nobody waits for this list any more")
        yield block


def _refuse_garbage(walk: NameWalk, path: Path) -> None:
    refused = sum(refusal.count for refusal in walk.refusals)
    if refused and refused == walk.words:
        raise ListUnusableError(path=path, reason=f"is no list: not one of its {refused} words is a name")


def _check_sign(expected: FileSign, found: os.stat_result) -> None:
    if FileSign.of(found) != expected:
        raise ListTornError("the file changed while it was read")


def _unreadable(path: Path, exc: OSError) -> ListUnreadableError:
    reason = exc.strerror or str(exc)
    if exc.filename is not None and str(exc.filename) != str(path):
        reason = f"cannot be copied: {exc.filename}: {reason}"
    return ListUnreadableError(path=path, reason=reason)
