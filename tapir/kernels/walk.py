"""Walks over a tree of names as `tapir.kernels.tree` keeps it: its names, what an entry bears on, what is needed.

All arguments are buffers of the caller, an item a node where nothing else is said, under the names that they have
there; `links` has three items a node.
"""

import cython

BLOCK = 256
"""Labels move in blocks of so many octets when the freed ones are squeezed out."""


def write_names(
    slots: cython.const[cython.int][::1],
    labels: cython.const[cython.uchar][::1],
    offsets: cython.const[cython.uint][::1],
    parents: cython.const[cython.int][::1],
    out: cython.uchar[::1],
) -> int:
    """Write the names of `slots` into `out`, back to back; returns how many octets that are."""
    at: cython.Py_ssize_t = 0
    node: cython.Py_ssize_t
    start: cython.Py_ssize_t
    size: cython.Py_ssize_t
    i: cython.Py_ssize_t
    j: cython.Py_ssize_t
    with cython.nogil:
        for i in range(len(slots)):
            node = slots[i] >> 1
            if slots[i] & 1:
                out[at] = 1
                out[at + 1] = 42
                at += 2
            while node:
                start = offsets[node]
                size = 1 + labels[start]
                for j in range(size):
                    out[at + j] = labels[start + j]
                at += size
                node = parents[node]
            out[at] = 0
            at += 1
    return at


def squeeze(
    labels: cython.uchar[::1],
    used: cython.Py_ssize_t,
    offsets: cython.uint[::1],
    lengths: cython.const[cython.uchar][::1],
    extent: cython.Py_ssize_t,
    bases: cython.uint[::1],
    firsts: cython.uchar[::1],
) -> int:
    """Close the gaps that freed labels left among the first `used` octets, in place; returns how many are left.

    `bases` and `firsts` are room to work in, an item for each BLOCK of octets used: how many living octets lie
    before the first label that begins in the block, and where that one begins.
    """
    at: cython.Py_ssize_t = 0
    to: cython.Py_ssize_t = 0
    block: cython.Py_ssize_t
    seen: cython.Py_ssize_t = 0
    node: cython.Py_ssize_t
    size: cython.Py_ssize_t
    i: cython.Py_ssize_t
    with cython.nogil:
        while at < used:
            block = at >> 8
            if block >= seen:
                bases[block] = cython.cast(cython.uint, to)
                firsts[block] = cython.cast(cython.uchar, at & 255)
                seen = block + 1
            size = 1 + (labels[at] & 127)
            if not labels[at] & 128:
                to += size
            at += size
        for node in range(1, extent):
            if lengths[node]:
                block = offsets[node] >> 8
                at = 256 * block + firsts[block]
                to = bases[block]
                while at < offsets[node]:
                    size = 1 + (labels[at] & 127)
                    if not labels[at] & 128:
                        to += size
                    at += size
                offsets[node] = cython.cast(cython.uint, to)
        at = 0
        to = 0
        while at < used:
            size = 1 + (labels[at] & 127)
            if not labels[at] & 128:
                if to != at:
                    for i in range(size):
                        labels[to + i] = labels[at + i]
                to += size
            at += size
    return to


def affected(
    slots: cython.const[cython.int][::1],
    parents: cython.const[cython.int][::1],
    links: cython.const[cython.int][::1],
    marks: cython.uchar[::1],
    out: cython.int[::1],
) -> int:
    """Write to `out` what entries at `slots` bear on: their nodes, all below where it is a star, and all above.

    `marks` is all zeros, an octet a node. Each node comes once, the root does not, in no order. Returns how many
    there are, or how many are wanted when `out` has no room for them.
    """
    count: cython.Py_ssize_t = 0
    room: cython.Py_ssize_t = len(out)
    i: cython.Py_ssize_t
    top: cython.Py_ssize_t
    node: cython.Py_ssize_t
    following: cython.Py_ssize_t
    marks[0] = 1
    with cython.nogil:
        for i in range(len(slots)):
            top = slots[i] >> 1
            if not slots[i] & 1 or marks[top]:
                continue
            node = top
            while True:
                # what is marked was walked, with all below it
                following = 0
                if not marks[node]:
                    marks[node] = 1
                    if count < room:
                        out[count] = cython.cast(cython.int, node)
                    count += 1
                    following = links[3 * node]
                while not following and node != top:
                    following = links[3 * node + 1]
                    node = parents[node]
                if not following:
                    break
                node = following
        for i in range(len(slots)):
            node = slots[i] >> 1
            if slots[i] & 1:
                node = parents[node]
            while not marks[node]:
                marks[node] = 1
                if count < room:
                    out[count] = cython.cast(cython.int, node)
                count += 1
                node = parents[node]
    return count


def by_depth(
    nodes: cython.const[cython.int][::1],
    depths: cython.const[cython.uchar][::1],
    counts: cython.uint[::1],
    out: cython.int[::1],
) -> None:
    """Write `nodes` to `out` with those of fewer labels first; `counts` is room to work in, 129 items."""
    i: cython.Py_ssize_t
    with cython.nogil:
        for i in range(129):
            counts[i] = 0
        for i in range(len(nodes)):
            counts[depths[nodes[i]] + 1] += 1
        for i in range(1, 129):
            counts[i] += counts[i - 1]
        for i in range(len(nodes)):
            out[counts[depths[nodes[i]]]] = nodes[i]
            counts[depths[nodes[i]]] += 1


def settle(
    nodes: cython.const[cython.int][::1],
    parents: cython.const[cython.int][::1],
    decided: cython.const[cython.uchar][::1],
    below: cython.const[cython.uchar][::1],
    needing: cython.int[::1],
    covered: cython.uchar[::1],
) -> None:
    """Find out which of `nodes` are covered and which needed (`tapir.policy.compile` says what that is).

    `nodes` come parents first, and with each all above it; `decided` and `below` are what is decided for these names
    and for the names below them; where a node is covered, nothing (0) and PASSTHRU (1) are the same record. `needing`
    is kept from call to call: twice how many children are needed, plus 1 where the node is. `covered` is for `nodes` to
    be written, and 0 for the root.
    """
    i: cython.Py_ssize_t
    node: cython.Py_ssize_t
    parent: cython.Py_ssize_t
    needed: cython.int
    around: cython.int
    with cython.nogil:
        for i in range(len(nodes)):
            node = nodes[i]
            parent = parents[node]
            covered[node] = 1 if covered[parent] or below[parent] else 0
        for i in range(len(nodes) - 1, -1, -1):
            node = nodes[i]
            parent = parents[node]
            needed = 0
            around = max(below[parent], 1)
            if covered[node] and (
                max(decided[node], 1) != around or max(below[node], 1) != around or needing[node] > 1
            ):
                needed = 1
            # Written to only where it changes: memory that is never written to is never taken.
            if needed != (needing[node] & 1):
                needing[parent] += 2 * needed - 2 * (needing[node] & 1)
                needing[node] ^= 1
