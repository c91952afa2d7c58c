"""What of a path counts for its labels: its parts, and its name without compression suffixes."""

from __future__ import annotations

import re

_COMPRESSION = re.compile(r"\.(gz|zst|lz4|bz2|xz)$", re.IGNORECASE)
_PCAP = re.compile(r"\.pcap(ng)?$", re.IGNORECASE)
_EXTENSION = re.compile(r"\.[A-Za-z][A-Za-z0-9]*$")


def parts(path: str) -> list[str]:
    """Folders and name of a path; a backslash separates as a slash does."""
    return path.replace("\\", "/").split("/")


def plain_name(name: str) -> str:
    """The name without compression suffixes, `.pcapng` as `.pcap`: `a.PCAPNG.gz` is `a.pcap`."""
    while (shorter := _COMPRESSION.sub("", name)) != name:
        name = shorter
    return _PCAP.sub(".pcap", name)


def stem(name: str) -> str:
    """The name without its extensions: `a_1.2.pcap.gz` is `a_1.2`.

    An extension begins with a letter, so that a version number at the end stays.
    """
    return _EXTENSION.sub("", plain_name(name))
