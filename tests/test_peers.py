"""What other tools call the native columns."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from flowgauge.peers import TOOLS, peers
from flowgauge.schema import EXTRA_COLUMNS, SIMILAR, native_columns
from flowgauge.schemas import SCHEMAS, get_schema
from native_rows import native_batch

NATIVE = [column.name for column in native_columns()]
OTHERS = [name for name in SCHEMAS if name != "native"]

# Numbers of the elements in IANA's registry "IPFIX Information Elements".
IPFIX = {
    "octetDeltaCount": 1,
    "packetDeltaCount": 2,
    "protocolIdentifier": 4,
    "sourceTransportPort": 7,
    "sourceIPv4Address": 8,
    "destinationTransportPort": 11,
    "destinationIPv4Address": 12,
    "minimumIpTotalLength": 25,
    "maximumIpTotalLength": 26,
    "sourceIPv6Address": 27,
    "destinationIPv6Address": 28,
    "minimumTTL": 52,
    "maximumTTL": 53,
    "sourceMacAddress": 56,
    "ipVersion": 60,
    "destinationMacAddress": 80,
    "flowEndReason": 136,
    "flowId": 148,
    "flowStartNanoseconds": 156,
    "flowEndNanoseconds": 157,
    "flowDurationMicroseconds": 162,
    "icmpTypeIPv4": 176,
    "icmpCodeIPv4": 177,
    "icmpTypeIPv6": 178,
    "icmpCodeIPv6": 179,
    "tcpWindowSize": 186,
    "ipDiffServCodePoint": 195,
    "tcpSynTotalCount": 218,
    "tcpFinTotalCount": 219,
    "tcpRstTotalCount": 220,
    "tcpPshTotalCount": 221,
    "tcpAckTotalCount": 222,
    "tcpUrgTotalCount": 223,
    "initiatorOctets": 231,
    "responderOctets": 232,
    "tcpWindowScale": 238,
    "dot1qVlanId": 243,
    "dot1qCustomerVlanId": 245,
    "initiatorPackets": 298,
    "responderPackets": 299,
    "layer2OctetDeltaCount": 352,
}


def bare(name: str) -> str:
    return name.removeprefix(SIMILAR)


def test_names_of_tools_are_columns_of_their_schemas() -> None:
    """Every name in NFStream, CICFlowMeter and Zeek is a column of that schema, and made of this native column."""
    seen = set()
    for native in NATIVE:
        for tool, names in peers(native).items():
            if tool in TOOLS:
                columns = {column.name: column for column in get_schema(TOOLS[tool]).columns()}
                assert {bare(columns[bare(name)].native) for name in names} == {native}
                seen.add(tool)
    assert seen == set(TOOLS)


def test_names_of_ipfix_are_in_the_registry() -> None:
    """Every IPFIX name is one of IANA's elements, or the reverse of one as RFC 5103 forms it, and all are used."""
    names = [bare(name) for native in NATIVE for name in peers(native).get("IPFIX", ())]
    forward = {re.sub("^reverse(.)", lambda match: match[1].lower(), name) for name in names}
    assert forward == set(IPFIX)
    assert all(re.fullmatch("[a-z][A-Za-z0-9]+", name) for name in names)


def test_directions_are_source_and_reverse() -> None:
    """The client is the source of a biflow: what it sends has an element, what the server sends its reverse."""
    for native in NATIVE:
        if native.startswith("up_"):
            up, down = (peers(f"{prefix}{native[3:]}").get("IPFIX", ()) for prefix in ("up_", "down_"))
            renamed = [bare(name).replace("initiator", "responder") for name in up]
            reverse = [name if "responder" in name else f"reverse{name[0].upper()}{name[1:]}" for name in renamed]
            assert [bare(name) for name in down] == reverse
            assert [name.startswith(SIMILAR) for name in down] == [name.startswith(SIMILAR) for name in up]


def test_a_column_with_names_in_every_tool() -> None:
    """What corresponds is named; a sign marks what differs in a detail, such as the first sender as source."""
    assert peers("up_packets") == {
        "NFStream": ("≈src2dst_packets",),
        "CICFlowMeter": ("Total Fwd Packet",),
        "Zeek": ("orig_pkts",),
        "IPFIX": ("packetDeltaCount", "≈initiatorPackets"),
    }
    assert peers("iat_mean_s") == {"NFStream": ("≈bidirectional_mean_piat_ms",), "CICFlowMeter": ("≈Flow IAT Mean",)}
    assert peers("up_payload_entropy") == {}


@pytest.mark.parametrize("name", OTHERS)
def test_native_columns_of_schemas_exist(name: str) -> None:
    """The native column that a column of another schema names is one; extra columns stay hidden."""
    named = {bare(column.native) for column in get_schema(name).columns()} - {""}
    assert named <= set(NATIVE)
    assert not named & set(EXTRA_COLUMNS)


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not_marked_is_the_same(name: str) -> None:
    """A column without the sign has the values of its native one, row by row, and its formula."""
    schema = get_schema(name)
    batch = native_batch(30, extras=schema.extras)
    if name == "basic":
        batch = batch.filter(pc.is_in(batch["protocol"], pa.array([6, 17], pa.uint8())))
    made = schema.convert(batch)
    same = [column for column in schema.columns() if column.native and not column.native.startswith(SIMILAR)]
    assert same
    formulas = {column.name: column.formula for column in native_columns()}
    for column in same:
        native = batch[column.native]
        known = native.is_valid()  # where a column that is never null is null in made-up rows says nothing
        assert made[column.name].filter(known).equals(native.filter(known).cast(made[column.name].type)), column.name
        assert column.formula == formulas[column.native]
