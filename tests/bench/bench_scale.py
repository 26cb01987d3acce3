"""Lists of 100,000, 1,000,000 and 10,000,000 names: the stages cost in proportion, and the table stays small."""

import itertools
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from benching import NAMES, Ratios

SCALE = Path(__file__).parents[1] / "support" / "scale.py"
REACH_OCTETS = 60.0
REACH_FLIP = 2.0
REACH_LINEAR = 2.5
"""how much more a name may cost in the largest lists than in a tenth of them: what fits no cache is slower"""

STAGES = ("read", "table", "build", "flip")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    found = {}
    for names in (NAMES // 10, NAMES, 10 * NAMES):
        folder = tmp_path_factory.mktemp("scale")
        command = [sys.executable, str(SCALE), str(names), str(folder)]
        found[names] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=900).stdout)
        print(f"\n{names} names: {found[names]}")
    return found


def test_ten_million_names_take_little_memory(measured: dict[int, dict[str, Any]]) -> None:
    found = measured[10 * NAMES]
    # The larger of what the buffers hold and what the kernel counts.
    octets = max(found["table octets a name"], found["resident octets a name"])
    print(f"\nthe name table with its columns: {octets:.1f} octets a name (reach {REACH_OCTETS}, aim 42)")
    assert octets <= REACH_OCTETS


def test_a_flip_of_a_tenth_costs_less_than_the_zone(measured: dict[int, dict[str, Any]]) -> None:
    flips = Ratios(f"a policy change of {NAMES // 10} of {NAMES} names ÷ building the whole zone")
    for flip, build in zip(measured[NAMES]["flip"], measured[NAMES]["build"], strict=True):
        flips.add(flip, build)
    flips.show("s", reach=f"{REACH_FLIP}, aim 0.5")
    assert flips.median <= REACH_FLIP


def test_cost_is_linear(measured: dict[int, dict[str, Any]]) -> None:
    """From the text of the lists to a durable zone. A hash table that fits no cache makes one stage alone dearer."""
    counts = sorted(measured)
    for stage in STAGES:
        each = {count: _median(measured[count][stage]) / count * 1e9 for count in counts}
        print(f"\n{stage}: " + ", ".join(f"{cost:.0f} ns a name of {count}" for count, cost in each.items()))
    whole = [sum(_median(measured[count][stage]) for stage in STAGES) / count for count in counts]
    for few, many in itertools.pairwise(whole):
        assert many <= REACH_LINEAR * few


def _median(seconds: float | list[float]) -> float:
    return statistics.median(seconds) if isinstance(seconds, list) else seconds
