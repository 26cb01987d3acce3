"""What was freed is the system's again."""

import subprocess
import sys

import pytest

_PROGRAM = """
import sys
from threading import Thread
from tapir.app.memory import give_memory_back

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

give_memory_back()

def work():
    before = resident()
    for size in (31_000_000, 1_500_000):
        blocks = [bytearray(b"x") * size for _ in range(60_000_000 // size)]
        small = bytes(1000)
        del blocks
    print(resident() - before)

thread = Thread(target=work)
thread.start()
thread.join()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks the C library of Linux")
def test_large_blocks_do_not_stay_with_the_process() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], check=True, capture_output=True, text=True, timeout=60)
    assert int(done.stdout) < 8_000_000
