"""What other tools call the native columns: NFStream, CICFlowMeter, Zeek and IPFIX.

The names of the first three come from the schemas that make their tables. Behind `SIMILAR` (≈) stand those in another
unit or with another detail. Importing this module loads neither NumPy nor pyarrow.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

from flowgauge.schema import DIRECTIONS, SIMILAR
from flowgauge.schemas import SCHEMAS

TOOLS = {"NFStream": "nfstream", "CICFlowMeter": "cic", "Zeek": "zeek"}
"""Tools and the schemas that have their columns."""

_FLOW = {
    "flow_id": ("flowId",),
    "start": ("flowStartNanoseconds",),
    "end": ("flowEndNanoseconds",),
    "duration_s": ("≈flowDurationMicroseconds",),
    "client_ip": ("sourceIPv4Address", "sourceIPv6Address"),
    "client_port": ("sourceTransportPort",),
    "server_ip": ("destinationIPv4Address", "destinationIPv6Address"),
    "server_port": ("destinationTransportPort",),
    "protocol": ("protocolIdentifier",),
    "ip_version": ("ipVersion",),
    "client_mac": ("sourceMacAddress",),
    "server_mac": ("destinationMacAddress",),
    "vlan": ("≈dot1qCustomerVlanId",),
    "vlan_outer": ("dot1qVlanId",),
    "end_reason": ("≈flowEndReason",),
    "icmp_type": ("icmpTypeIPv4", "icmpTypeIPv6"),
    "icmp_code": ("icmpCodeIPv4", "icmpCodeIPv6"),
    "up_packets": ("≈initiatorPackets",),
    "down_packets": ("≈responderPackets",),
    "up_payload_bytes": ("initiatorOctets",),
    "down_payload_bytes": ("responderOctets",),
}
_DIRECTION = {
    "packets": "packetDeltaCount",
    "frame_bytes": "layer2OctetDeltaCount",
    "ip_bytes": "octetDeltaCount",
    "ip_len_min": "minimumIpTotalLength",
    "ip_len_max": "maximumIpTotalLength",
    "ttl_min": "minimumTTL",
    "ttl_max": "maximumTTL",
    "dscp": "ipDiffServCodePoint",
    "init_window": "≈tcpWindowSize",
    "window_scale": "≈tcpWindowScale",
    **{f"{flag}_packets": f"≈tcp{flag.title()}TotalCount" for flag in ("fin", "syn", "rst", "psh", "ack", "urg")},
}
"""Elements of a direction, `up_` as they are and `down_` reversed (RFC 5103)."""


def peers(name: str) -> dict[str, tuple[str, ...]]:
    """Tool -> its names for the native column `name`; no tool without one."""
    found = dict(_of_schemas().get(name, {}))
    elements = tuple(_elements(name))
    return found | ({"IPFIX": elements} if elements else {})


@functools.cache
def _of_schemas() -> dict[str, dict[str, tuple[str, ...]]]:
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for tool, schema in TOOLS.items():
        for column in SCHEMAS[schema].columns():
            if column.native:
                names = found.setdefault(column.native.removeprefix(SIMILAR), {})
                mark = SIMILAR if column.native.startswith(SIMILAR) else ""
                names[tool] = (*names.get(tool, ()), mark + column.name)
    return found


def _elements(name: str) -> Iterable[str]:
    """Information elements of IPFIX, as IANA's registry names them."""
    up, down = DIRECTIONS[1:]
    if name.startswith(up) and (element := _DIRECTION.get(name.removeprefix(up))):
        yield element
    elif name.startswith(down) and (element := _DIRECTION.get(name.removeprefix(down))):
        yield _reverse(element)
    yield from _FLOW.get(name, ())


def _reverse(element: str) -> str:
    bare = element.removeprefix(SIMILAR)
    return f"{element[: -len(bare)]}reverse{bare[0].upper()}{bare[1:]}"
