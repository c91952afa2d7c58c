"""What a certificate says of its owner."""

from __future__ import annotations

import functools
import warnings
from datetime import datetime, timezone
from typing import NamedTuple


class Certificate(NamedTuple):
    """Names as of RFC 4514; the times between which it is valid, in ns since the epoch, None where int64 has none."""

    subject: str
    issuer: str
    not_before: int | None
    not_after: int | None


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MAX_BYTES = 65_536


@functools.lru_cache(maxsize=1024)
def read_certificate(der: bytes) -> Certificate | None:
    """The certificate of these DER bytes (RFC 5280 §4.1), None where they are none."""
    from cryptography import x509

    if len(der) > _MAX_BYTES:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of serial numbers and encodings that RFC 5280 does not allow
            found = x509.load_der_x509_certificate(der)
            return Certificate(
                found.subject.rfc4514_string(),
                found.issuer.rfc4514_string(),
                _nanoseconds(found.not_valid_before_utc),
                _nanoseconds(found.not_valid_after_utc),
            )
    except Exception:  # the bytes are anybody's, and the parser has many ways to refuse them
        return None


def _nanoseconds(time: datetime) -> int | None:
    passed = time - _EPOCH
    value = (passed.days * 86_400 + passed.seconds) * 1_000_000_000
    return value if -(2**63) <= value < 2**63 else None
