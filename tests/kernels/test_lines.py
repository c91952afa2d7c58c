"""Which texts need a look before they are copied."""

from __future__ import annotations

import json

import numpy as np

from flowgauge.kernels.lines import is_plain


def test_every_byte_that_a_format_escapes_is_special() -> None:
    """No byte that CSV quotes or JSON escapes is plain, and letters, digits and UTF-8 are."""
    for byte in range(256):
        data = np.array([65, byte, 65], np.uint8)
        data.setflags(write=False)
        escaped = chr(byte) in ',"\r\n' or len(json.dumps(chr(byte), ensure_ascii=False)) != 3
        assert is_plain(data, 0, 3) == (not escaped), byte


def test_only_the_bytes_of_the_range_count() -> None:
    """Bytes in front of `begin` and from `stop` on do not matter."""
    data = np.frombuffer(b',abc"', np.uint8)
    assert is_plain(data, 1, 4)
    assert not is_plain(data, 0, 4)
    assert not is_plain(data, 1, 5)
