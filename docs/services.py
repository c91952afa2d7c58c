"""Write docs/services.md: which services are told by a flow's first bytes, and how often that is right.

    python docs/services.py

It needs the captures of other tools' projects (FLOWGAUGE_CORPUS names their folder).
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent / "tests"))

from trust.services import CAUSES, Comparison, compare, service_names  # noqa: E402

_HEAD = """# Services told by a flow's first bytes

<!-- Written by `python docs/services.py`. -->

`service` is told by the payload: by the first bytes of either direction, and where they leave a doubt by both. Ports
are asked only where others may send the same bytes (NTP, DHCPv6, answers of MQTT, greetings such as `220 ready`), and
to tell DNS, mDNS, LLMNR and NetBIOS names apart. `service_confidence` is in percent:

| confidence | what says so |
|---:|---|
| 99 | the bytes of both directions |
| 95 | a signature of 32 bits or more, or a form that fits to the last byte |
| 80 | a form of some 20 bits, or one on the service's own port |
| 60 | a short form on the service's own port |

Of NTP, MQTT, RDP, BitTorrent and RTCP the first payload alone decides, so that they are never at 99.

RTP is told by two packets of one direction: same source, sequence number and time risen. WireGuard whose handshake was
not captured is told by its port, or by both directions.

## How often that is right

Found are the flows of a service in all captures of other projects here. Compared are those of nDPI's own tests, in
which nDPI names every flow: flows of which either says that they are the service, and those on which they agree. False
are flows that are told to be the service and are another one, of all flows that nDPI says are none of it.

"""


def page(comparison: Comparison) -> str:
    """The whole page."""
    return _HEAD + "\n".join([*_table(comparison), "", *_causes(comparison)]) + "\n"


def _table(comparison: Comparison) -> Iterator[str]:
    yield "| service | captures | flows found | compared | agree | false | of | rate | differences |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---|"
    for service in service_names():
        pairs = comparison.compared(service)
        causes = Counter(pair.cause for pair in pairs if pair.cause)
        told = ", ".join(f"`{name}` {count}" for name, count in causes.most_common())
        captures, others = comparison.captures[service], comparison.others(service)
        false = comparison.false(service)
        agree = sum(pair.service == service and not pair.cause for pair in pairs)
        yield (
            f"| {service} | {len(captures):,} | {captures.total():,} | {len(pairs):,} | {agree:,} "
            f"| {false} | {others:,} | {false / others:.2%} | {told} |"
        )


def _causes(comparison: Comparison) -> Iterator[str]:
    yield "## Differences\n"
    yield "| cause | flows | what differs |"
    yield "|---|---:|---|"
    found = Counter(pair.cause for pair in comparison.pairs if pair.cause)
    for name, text in CAUSES.items():
        if found[name]:
            yield f"| `{name}` | {found[name]} | {text} |"


def main() -> None:
    (DOCS / "services.md").write_text(page(compare()), "utf-8")
    print("wrote services.md")


if __name__ == "__main__":
    main()
