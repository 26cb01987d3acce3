"""What lists of so many names cost, stage by stage: `python scale.py NAMES FOLDER` measures it and says it in JSON."""

import json
import sys
import time
from pathlib import Path
from typing import Any, Final

import attrs

from tapir.codec.lists import parse_domains
from tapir.codec.suffixes import build_suffix_test
from tapir.model.actions import Action, ListKind
from tapir.model.messages.lists import ListContent, ListDescription
from tapir.model.names import Name
from tapir.policy.admission import Admitted, admit
from tapir.policy.settings import PolicySettings
from tapir.policy.state import PolicyState
from tapir.services.authority.archive import ZoneArchive
from tapir.services.authority.draft import Draft
from tapir.services.authority.steering import Steering
from tapir.services.authority.steps import next_step
from tapir.zone.settings import ZoneSettings
from tapir.zone.view import ZoneView

ZONE: Final = Name(b"\x08dnstapir\0")
ROUNDS: Final = 5


def resident() -> int:
    """Octets of anonymous memory that are resident."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def text_of(first: int, last: int) -> bytes:
    """Names of about twenty octets, all different, in no order."""
    tops = ("com", "net", "org", "info", "xyz", "example")
    return "".join(
        f"{number * 2654435761 % 2**32:08x}-{number % 997}.{tops[number % 6]}\n" for number in range(first, last)
    ).encode()


def measure(names: int, folder: Path) -> dict[str, Any]:
    """Seconds of each stage, once or in each round, and octets a name of the table."""
    found: dict[str, Any] = {"build": [], "flip": []}

    # A tenth on two doubtlists, the rest denied.
    suffixes = build_suffix_test("com\nnet\norg\ninfo\nxyz\nexample\n")
    contents = []
    edge = names // 10
    for source, kind, first, last in (
        ("most", ListKind.DENY, edge, names),
        ("one", ListKind.DOUBT, 0, edge),
        ("two", ListKind.DOUBT, 0, edge),
    ):
        text = text_of(first, last)

        def read(text: bytes = text, kind: ListKind = kind) -> Admitted:
            blocks = (text[start : start + (1 << 20)] for start in range(0, len(text), 1 << 20))
            return admit(parse_domains(blocks), kind=kind, zone=ZONE, is_public_suffix=suffixes)

        begun = time.perf_counter()
        admitted = read()
        found["read"] = found.get("read", 0.0) + time.perf_counter() - begun
        description = ListDescription(source=source, name=source, kind=kind)
        contents.append(ListContent(description=description, content=admitted.content))
        del text, read, admitted

    settings = PolicySettings(denylist_action=Action.NXDOMAIN, numsources_action=Action.NODATA)
    other = attrs.evolve(settings, numsources_action=Action.NXDOMAIN)
    state = PolicyState(settings, zone=ZONE, key=bytes(range(64)))
    before = resident()
    begun = time.perf_counter()
    state.set_lists(contents)
    found["table"] = time.perf_counter() - begun
    found["table octets a name"] = state.octets / names
    found["resident octets a name"] = (resident() - before) / names

    zone = ZoneSettings(name=ZONE, journal_max_octets=1 << 30)  # a tenth of ten million names is one step
    now = 1_000_000
    archive = ZoneArchive(folder / "zone.db", None)
    archive.open(now)

    def build() -> tuple[Draft, ZoneView]:
        """All of the zone, from the lists' memberships to what is durable."""
        draft = Draft(zone, None)
        draft.replace(state.records())
        step = next_step(draft, None, floor=None, now=now)
        archive.commit(step, Steering(), now)
        draft.publish(step.view.version)
        return draft, step.view

    def flip(draft: Draft, view: ZoneView, to: PolicySettings) -> None:
        """One version with the other action, durable, and the difference that secondaries are sent."""
        draft.change(state.set_policy(to))
        step = next_step(draft, view, floor=None, now=now)
        archive.commit(step, Steering(), now)
        difference = step.view.difference_from(view.serial)
        assert difference is not None
        assert difference.changes == step.removed + step.added == 2 * edge

    for number in range(ROUNDS):
        begun = time.perf_counter()
        draft, view = build()
        found["build"].append(time.perf_counter() - begun)
        assert len(view.version) == names
        begun = time.perf_counter()
        flip(draft, view, (other, settings)[number % 2])
        found["flip"].append(time.perf_counter() - begun)
    archive.close()
    return found


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), Path(sys.argv[2]))))
