"""How the broker knows us, remembered."""

from pathlib import Path

import pytest

from tapir.store.broker import BrokerSession, read_session, write_session
from tapir.store.errors import StoreCorrupt


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mqtt.json"
    assert read_session(path) is None
    session = BrokerSession(suffix="0a1b", filters=("a/+", "b/#"), known=True)
    write_session(path, session)
    assert read_session(path) == session


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"format":2,"suffix":"0a","filters":[]}',
        '{"format":1,"filters":[]}',
        '{"format":1,"suffix":"","filters":[]}',
        '{"format":1,"suffix":"A/../b","filters":[]}',
        '{"format":1,"suffix":7,"filters":[]}',
        '{"format":1,"suffix":"0a"}',
        '{"format":1,"suffix":"0a","filters":[7]}',
        '{"format":1,"suffix":"0a","filters":["a/#/b"]}',
        '{"format":1,"suffix":"0a","filters":[""]}',
    ],
)
def test_what_is_not_ours_is_damage(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mqtt.json"
    path.write_text(text)
    with pytest.raises(StoreCorrupt):
        read_session(path)
