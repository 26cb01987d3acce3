from pathlib import Path

import pytest
from certificates import Authority
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.certificates import MAX_DOCUMENT, CertificateError, parse_certificates

DAY = 86_400 * 1_000_000


def test_what_a_file_holds(tmp_path: Path):
    authority = Authority(tmp_path)
    pair = authority.issue("edge.example")
    (certificate,) = parse_certificates(pair.certificate.read_bytes())
    assert certificate.common_name == "edge.example"
    assert certificate.not_after - certificate.not_before == 2 * DAY
    chain = parse_certificates(pair.certificate.read_bytes() + authority.ca.read_bytes())
    assert [each.common_name for each in chain] == ["edge.example", "ca"]
    assert chain[0] == certificate


@given(st.binary(max_size=100) | st.binary(max_size=50).map(lambda part: b"-----BEGIN CERTIFICATE-----\n" + part))
def test_what_is_no_certificate_is_refused(octets: bytes):
    with pytest.raises(CertificateError, match="no certificate"):
        parse_certificates(octets)


def test_a_key_is_no_certificate(tmp_path: Path):
    pair = Authority(tmp_path).issue("edge.example")
    with pytest.raises(CertificateError):
        parse_certificates(pair.key.read_bytes())


def test_a_damaged_certificate_is_refused(tmp_path: Path):
    text = Authority(tmp_path).ca.read_bytes()
    with pytest.raises(CertificateError):
        parse_certificates(text[:100] + b"AAAA" + text[104:])


def test_what_is_too_long_is_refused():
    with pytest.raises(CertificateError, match="octets"):
        parse_certificates(b" " * (MAX_DOCUMENT + 1))
