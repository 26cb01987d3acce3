"""From a source that says one name more or less to the NOTIFY: as quick among a million names as among few."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from benching import NAMES

LIVE = Path(__file__).parents[1] / "support" / "live.py"
REACH = 2.0
"""how much longer a change may take among ten times as many names"""
PROMISED = 100.0
"""milliseconds for one in a hundred, of which the broker and its message take a part"""


def measure(names: int, folder: Path) -> list[dict[str, Any]]:
    """What it takes without wildcards and with one."""
    command = [sys.executable, str(LIVE), str(names), str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=600)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("count", [NAMES])
def test_a_change_takes_as_long_among_many_names(tmp_path: Path, count: int) -> None:
    found = []
    for names in (count // 10, count):
        folder = tmp_path / str(names)
        folder.mkdir()
        found.append(measure(names, folder))
    for few, many in zip(*found, strict=True):
        print(f"\n{few}\n{many}\np99 at most {PROMISED} ms is promised; gated is the ratio of medians, reach {REACH}")
        assert many["zone p50"] <= REACH * few["zone p50"]
