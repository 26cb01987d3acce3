"""`kill -9` at any moment, and a disk that takes no more: what was reported has its event, and nothing comes twice.

The child reports names and sends events as the product does: an event that was sent is told before it is acknowledged.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from sightings import MAY, named, sightings_of

from tapir.store.seen import SeenStore

ROUNDS = 100
DAMAGED = 60
TESTS = Path(__file__).resolve().parents[1]

REPORTER = """
import json, random, sys
from pathlib import Path
from sightings import MAY, named, sightings_of
from tapir.store.seen import SeenStore
store = SeenStore.open(Path(sys.argv[1]))
print("open", flush=True)
choose = random.Random(int(sys.argv[2]))
while True:
    labels = [f"n{choose.randrange(20000)}" for _ in range(choose.randrange(1, 200))]
    new = store.report(sightings_of([named(label) for label in labels]), now=MAY).new
    print(json.dumps(["reported", [labels[row] for row in new]]), flush=True)
    events = store.waiting(choose.randrange(1, 150))
    sent = [[each.number, json.loads(each.event)["qname"].partition(".")[0]] for each in events]
    print(json.dumps(["sent", sent]), flush=True)
    store.acknowledge([number for number, _ in sent])
"""

FILLER = """
import resource, signal, sys
from pathlib import Path
from sightings import MAY, named, sightings_of
from tapir.store.errors import StoreFull
from tapir.store.seen import SeenStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = SeenStore.open(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
done = 0
def batch(number):
    return sightings_of([named(f"n{number}-{row}") for row in range(200)])
try:
    while done < 100:
        assert len(store.report(batch(done), now=MAY).new) == 200
        done += 1
except StoreFull as exc:
    print("full:", exc, file=sys.stderr)
assert 5 < done < 100
for _ in range(3):
    try:
        store.report(batch(done), now=MAY)
    except StoreFull:
        pass
    else:
        raise AssertionError("there was room after all")
assert store.statistics().events == store.statistics().names == 200 * done
assert not len(store.report(batch(done - 1), now=MAY).new)
assert [each.number for each in store.waiting(10**6)] == list(range(1, 200 * done + 1))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert len(store.report(batch(done), now=MAY).new) == 200
assert store.statistics().events == 200 * (done + 1)
store.close()
"""

USER = """
import sys
from pathlib import Path
from sightings import MAY, named, sightings_of
from tapir.store.errors import StoreCorrupt
from tapir.store.seen import Retention, SeenStore
try:
    store = SeenStore.open(Path(sys.argv[1]), Retention(age=1))
    for part in range(20):
        labels = [f"n{part}-{row}" for row in range(300)]
        store.report(sightings_of([named(label) for label in labels]), now=MAY)
    store.acknowledge([each.number for each in store.waiting(10**6)])
    store.sweep(now=2 * MAY, limit=10**6)
    store.statistics()
except StoreCorrupt:
    print("corrupt", flush=True)
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    places = [str(TESTS / "support"), *filter(None, sys.path)]
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_no_reported_name_is_without_its_event(tmp_path: Path, campaign) -> None:
    path = tmp_path / "seen.mdb"
    generator = campaign.random()
    reported: set[str] = set()
    sent: set[str] = set()
    doubtful: set[str] = set()
    for _ in range(campaign.rounds(ROUNDS)):
        with start(REPORTER, path, generator.randrange(1 << 30)) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "open\n"
            said = [child.stdout.readline() for _ in range(generator.randrange(1, 40))]
            child.kill()
            said += child.stdout.read().splitlines(keepends=True)
        last: list[str] = []
        for line in said:
            if not line.endswith("\n"):
                continue  # it was killed within a word
            what, told = json.loads(line)
            if what == "reported":
                # What is new now was never new before.
                assert reported.isdisjoint(told)
                reported.update(told)
            else:
                last = [label for _, label in told]
                sent.update(last)
        doubtful.update(last)
        store = SeenStore.open(path)
        waiting = [json.loads(each.event)["qname"].partition(".")[0] for each in store.waiting(10**6)]
        # Each name has one event, here or sent, or both if the kill came between sending and acknowledging.
        assert len(set(waiting)) == len(waiting)
        assert reported <= sent.union(waiting)
        assert sent.intersection(waiting) <= doubtful
        # One batch may have been stored and not told.
        reported.update(waiting)
        assert store.statistics().names == len(reported)
        assert not len(store.report(sightings_of([named(label) for label in sorted(reported)]), now=MAY).new)
        store.close()


def test_damage_ends_processes_a_few_times_at_most(tmp_path: Path, campaign) -> None:
    generator = campaign.random()
    path = tmp_path / "seen.mdb"
    with start(USER, path) as child:
        assert child.wait() == 0
    whole = path.read_bytes()
    for round_ in range(campaign.rounds(DAMAGED)):
        octets = bytearray(whole)
        page = 4096 * generator.randrange(2, len(octets) // 4096)
        if round_ % 2:
            octets[page : page + 16] = generator.randbytes(16)
        else:
            octets[page : page + 4096] = bytes(4096)
        path.write_bytes(octets)
        said = ""
        for attempt in range(5):
            with start(USER, path) as child:
                said, _ = child.communicate()
            if child.returncode == 0:
                break
            # LMDB's own assertion, or what it read beyond the file.
            assert child.returncode in (-6, -7, -11)
            assert attempt < 3
        assert said in ("", "corrupt\n")
        path.with_name(path.name + "-busy").unlink()


def test_a_full_disk_takes_no_names_and_loses_none(tmp_path: Path) -> None:
    path = tmp_path / "seen.mdb"
    with start(FILLER, path) as child:
        _, said = child.communicate()
    assert child.returncode == 0, said
    assert "full: " in said
    store = SeenStore.open(path)
    statistics = store.statistics()
    assert statistics.events == statistics.names
    store.close()
