"""`kill -9` at any moment: what was acknowledged is there, and at most one commit more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tapir.store.errors import StateLocked
from tapir.store.state import StateDirectory
from tapir.store.zones import ZoneStore

ROUNDS = 60

# Acknowledges every commit on its output, as the keeper would by publishing it. The base moves up often.
COMMITTER = """
import sys
from pathlib import Path
from conftest import Oracle
from tapir.model.blocks import EMPTY_RECORDS
from tapir.store import zones
from tapir.store.state import StateDirectory
zones._SMALL = 1500
state = StateDirectory.open(Path(sys.argv[1]))
store = zones.ZoneStore.open(state.zone("rpz.example."))
stored = store.load()
if stored is None:
    store.reset(1, EMPTY_RECORDS, 0)
serial = 1 if stored is None else stored.serial
print(serial, flush=True)
for delta, _ in Oracle().versions():
    if delta.from_serial >= serial:
        store.commit(delta)
        store.tidy()
        print(delta.to_serial, flush=True)
        if delta.to_serial % 10 == 0:
            store.prune(delta.to_serial - 30)
"""

HOLDER = """
import sys
from pathlib import Path
from tapir.store.state import StateDirectory
state = StateDirectory.open(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


def start(script: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_no_acknowledged_commit_is_lost(tmp_path: Path, oracle, campaign) -> None:
    generator = campaign.random()
    acknowledged = 1
    for _ in range(campaign.rounds(ROUNDS)):
        with start(COMMITTER, tmp_path) as committer:
            assert committer.stdout is not None
            assert int(committer.stdout.readline()) in (acknowledged, acknowledged + 1)
            for _ in range(generator.randrange(1, 60)):
                acknowledged = int(committer.stdout.readline())
            committer.kill()
            rest = committer.stdout.read().split()
            acknowledged = int(rest[-1]) if rest else acknowledged
        state = StateDirectory.open(tmp_path)
        store = ZoneStore.open(state.zone("rpz.example."))
        stored = store.load()
        store.close()
        state.close()
        assert stored is not None
        assert stored.serial in (acknowledged, acknowledged + 1)
        assert dict(stored.records) == oracle.records(stored.serial)
        assert set(stored.passed) == set(oracle.passed(stored.serial))
        assert stored.deltas[-1].to_serial == stored.serial
        assert len(stored.deltas) >= min(stored.serial - 1, 30)
        acknowledged = stored.serial


def test_a_second_process_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    with start(HOLDER, tmp_path / "state") as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(StateLocked, match=f"in use by process {holder.pid}$") as caught:
            StateDirectory.open(tmp_path / "state")
        holder.kill()
    assert caught.value.pid == holder.pid
    # The kernel let go of the lock with the process.
    StateDirectory.open(tmp_path / "state").close()
