"""Options that every command has which meters: of columns, flows and packets.

Typer reads options off a signature; :func:`metering` gives a command these beside its own.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

# Options of what is captured, for live and record.
Interface = Annotated[str, typer.Option("--interface", "-i", metavar="NAME", help="Where the traffic passes.")]
Snaplen = Annotated[int | None, typer.Option(metavar="N", help="Bytes of each packet to take [262144].")]
Promiscuous = Annotated[bool, typer.Option("--promiscuous", help="Also packets that are for other machines.")]
RingSize = Annotated[str | None, typer.Option("--ring", metavar="SIZE", help="Memory for packets that wait [64M].")]
FilterExpression = Annotated[
    str | None,
    typer.Option("--filter", "-f", metavar="EXPRESSION", help="Only packets that tcpdump selects by it."),
]

# What extract and packets are given alike: labels of captures, and what is said of the run.
Label = Annotated[
    str | None,
    typer.Option(metavar="TEMPLATE", help="Labels from the path's end, e.g. '{app}_{action}_*.pcap'."),
]
LabelSplit = Annotated[
    str | None,
    typer.Option(metavar="SEP:APP:ACTION", help="Labels from positions of the file's name, e.g. _:2:4."),
]
LabelStrict = Annotated[bool, typer.Option("--label-strict", help="Stop before reading where a file has no label.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 1 where a capture is cut off.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, notes and summary.")]
JsonSummary = Annotated[bool, typer.Option("--json-summary", help="The summary as one JSON object.")]


# The parameters are the options.
def _metering(
    schema: Annotated[
        str | None, typer.Option(metavar="native|basic|zeek|nfstream|cic|cic2017", help="Columns to write.")
    ] = None,
    features: Annotated[
        str | None, typer.Option(metavar="GROUP,…", help="Column groups; see `flowgauge columns`.")
    ] = None,
    feature: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE.py:NAME", help="A feature of your own, maybe with (parameter=number); repeatable."),
    ] = None,
    splt: Annotated[int | None, typer.Option(metavar="N", help="Packets in the sequences of group splt [20].")] = None,
    splt_data: Annotated[
        bool, typer.Option("--splt-data", help="Only packets with payload are in these sequences.")
    ] = False,
    activity_gap: Annotated[
        float | None, typer.Option(metavar="S", help="Silence that ends a period of group activity, s [5].")
    ] = None,
    payload_head: Annotated[
        int | None, typer.Option(metavar="N", help="Bytes of each stream that group payload keeps [64].")
    ] = None,
    raw_packets: Annotated[int | None, typer.Option(metavar="N", help="Packets that group raw keeps [5].")] = None,
    raw_bytes: Annotated[
        int | None, typer.Option(metavar="N", help="Bytes of each of these, from the IP header [128].")
    ] = None,
    raw_masked: Annotated[
        bool, typer.Option("--raw-masked", help="Addresses, ports and checksums are 0 in these bytes.")
    ] = False,
    catalogue: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Domains of apps of your own, for group names; repeatable."),
    ] = None,
    key: Annotated[str | None, typer.Option(metavar="5tuple|hosts", help="What packets of a flow share.")] = None,
    vlan_in_key: Annotated[bool, typer.Option("--vlan-in-key", help="Keep VLANs apart.")] = False,
    tunnels: Annotated[
        str | None,
        typer.Option(metavar="inner|outer", help="Which packet of a tunnel is metered [inner]."),
    ] = None,
    idle_timeout: Annotated[
        str | None,
        typer.Option(metavar="S|off|tcp=S,…", help="Silence that ends a flow, s [120]; also udp=, icmp=, other=."),
    ] = None,
    active_timeout: Annotated[
        str | None, typer.Option(metavar="S|off", help="Age at which a record is cut, s [1800].")
    ] = None,
    first_packets: Annotated[
        int | None, typer.Option(metavar="N", help="Only the first packets of a record count; the rest is a number.")
    ] = None,
    first_seconds: Annotated[
        float | None, typer.Option(metavar="S", help="Only the first seconds of a record count; the rest is a number.")
    ] = None,
    window: Annotated[
        float | None, typer.Option(metavar="S", help="Cut records at multiples of S seconds since 1970 [off].")
    ] = None,
    local_net: Annotated[
        list[str] | None,
        typer.Option(metavar="NET", help="A local network for group where [private ones]; repeatable."),
    ] = None,
    mmdb: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="A MaxMind database of systems or countries for group where; repeatable."),
    ] = None,
    anonymize: Annotated[
        str | None,
        typer.Option(metavar="FILE|env", help="Hide addresses and file names by the key in a file or $FLOWGAUGE_KEY."),
    ] = None,
    no_tcp_end: Annotated[bool, typer.Option("--no-tcp-end", help="FIN, RST and a new SYN do not end flows.")] = False,
    filter: FilterExpression = None,
    dedup: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Leave out copies of a packet that are so near in time, e.g. 1ms [off]."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Rules of another tool: zeek, nfstream, cic, classic; other options win."),
    ] = None,
    max_flows: Annotated[
        int | None, typer.Option(metavar="N", help="Flows known at a time; beyond, the least recent leave.")
    ] = None,
) -> None: ...


_FLAGS = tuple(name for name, value in inspect.signature(_metering).parameters.items() if value.default is False)


def metering(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of metering, of which it gets those that were given as the dict `options`.

    They stand behind its own in the signature.
    """
    own, shared = (inspect.signature(function, eval_str=True).parameters for function in (command, _metering))

    @functools.wraps(command)
    def merged(**given: Any) -> None:
        options = {name: given.pop(name) for name in shared}
        command(**given, options=_chosen(options))

    parameters = [*(own[name] for name in own if name != "options"), *shared.values()]
    ordered = [parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in parameters]
    merged.__signature__ = inspect.Signature(ordered)  # type: ignore[attr-defined]
    merged.__annotations__ = {parameter.name: parameter.annotation for parameter in ordered}
    return merged


def _chosen(options: dict[str, Any]) -> dict[str, Any]:
    """Those that were given, as the API has them: `features` with the user's own behind the groups."""
    options["features"] = _features(options["schema"], options["features"], options.pop("feature"))
    given = {name: value for name, value in options.items() if value is not None and value != []}
    return {name: value for name, value in given.items() if value or name not in _FLAGS}


def _features(schema: str | None, groups: str | None, own: list[str] | None) -> str | list[str] | None:
    """The groups named, or those that are on without, and the features of the user's behind them."""
    if not own:
        return groups
    from flowgauge.config import DEFAULT_FEATURES
    from flowgauge.schemas import get_schema

    chosen = groups.split(",") if groups else get_schema(schema or "native").features or DEFAULT_FEATURES
    return [*chosen, *own]
