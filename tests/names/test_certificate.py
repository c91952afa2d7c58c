"""What a certificate says of its owner."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from flowgauge.names.certificate import read_certificate

BEGIN = datetime.datetime(2024, 2, 29, 12, 30, 1, tzinfo=datetime.timezone.utc)
END = datetime.datetime(2034, 1, 1, tzinfo=datetime.timezone.utc)


def name(common: str, *organization: str) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, text) for text in organization]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)])


@pytest.fixture(scope="module")
def der() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder(
        name("An issuer", "Acme, Inc."), name("example.org"), key.public_key(), 1, BEGIN, END
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_names_and_times_are_those_of_the_certificate(der: bytes) -> None:
    """Names as RFC 4514 writes them, special characters escaped, the last part first; times in ns."""
    found = read_certificate(der)
    assert found is not None
    assert (found.subject, found.issuer) == ("CN=example.org", "CN=An issuer,O=Acme\\, Inc.")
    times = [datetime.datetime.fromtimestamp(t // 10**9, datetime.timezone.utc) for t in found[2:] if t is not None]
    assert times == [BEGIN, END]


def test_what_is_no_certificate_is_none(der: bytes) -> None:
    """Every end, and anything else; never an exception."""
    for data in (b"", b"\0", b"\x30\x82", der + b"\0", *(der[:i] for i in range(0, len(der), 5)), bytes(70_000)):
        assert read_certificate(data) is None


def test_changed_bytes_are_no_error(der: bytes) -> None:
    """Each byte changed in turn: another certificate, or none."""
    found = [read_certificate(der[:i] + bytes([der[i] ^ 0x15]) + der[i + 1 :]) for i in range(len(der))]
    assert None in found
    assert all(certificate is None or isinstance(certificate.subject, str) for certificate in found)
