"""Certificates of the connection: whose they are, and whether another state of them can be used."""

from pathlib import Path

import pytest
from certificates import Authority

from tapir.services.uplink.session_files import TlsFiles, common_name
from tapir.services.uplink.session_settings import BrokerSettings
from tapir.transport.tls import TlsError


def test_the_name_in_a_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    assert common_name(authority.issue("pop.example").certificate) == "pop.example"
    wrong = tmp_path / "wrong.pem"
    with pytest.raises(TlsError, match="No such file"):
        common_name(wrong)
    wrong.write_text("nothing")
    with pytest.raises(TlsError, match="not PEM"):
        common_name(wrong)


def test_one_state_of_the_files_is_told_from_another(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("pop.example")
    files = TlsFiles(
        BrokerSettings(host="b", port=1, tls=True, ca=authority.ca, certificate=pair.certificate, key=pair.key)
    )
    assert files.used is None
    files.context()
    used = files.used
    assert used is not None
    assert used == files.look()
    assert files.try_out() == ""
    good = pair.key.read_bytes()
    pair.key.write_bytes(authority.issue("else").key.read_bytes())
    assert files.signs() != used.signs
    assert files.look().digest != used.digest
    assert str(pair.key) in files.try_out()
    with pytest.raises(TlsError):
        files.context()
    pair.key.write_bytes(good)
    assert files.look().digest == used.digest
    pair.key.unlink()
    assert files.look().digest == b""
    assert files.signs()[-1] is None
