"""`flowgauge extract`: captures in, flow records out."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from flowgauge.cli.group import DONE, INPUT_FAILED, INTERRUPTED, say
from flowgauge.errors import ConfigError

if TYPE_CHECKING:
    from flowgauge.stats import RunStats


# The parameters are the options: Typer reads them off this signature.
def extract(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUTS...", help="Captures, folders of captures, or - for standard input.")
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="File to write; - is standard output (the default in a pipe)."
        ),
    ] = None,
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
    label: Annotated[
        str | None,
        typer.Option(metavar="TEMPLATE", help="Labels from the path's end, e.g. '{app}_{action}_*.pcap'."),
    ] = None,
    label_split: Annotated[
        str | None,
        typer.Option(metavar="SEP:APP:ACTION", help="Labels from positions of the file's name, e.g. _:2:4."),
    ] = None,
    label_strict: Annotated[
        bool, typer.Option("--label-strict", help="Stop before reading where a file has no label.")
    ] = False,
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
    anonymize: Annotated[
        str | None,
        typer.Option(metavar="FILE|env", help="Hide addresses and file names by the key in a file or $FLOWGAUGE_KEY."),
    ] = None,
    no_tcp_end: Annotated[bool, typer.Option("--no-tcp-end", help="FIN, RST and a new SYN do not end flows.")] = False,
    filter: Annotated[
        str | None,
        typer.Option("--filter", "-f", metavar="EXPRESSION", help="Only packets that tcpdump selects by it."),
    ] = None,
    dedup: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Leave out copies of a packet that are so near in time, e.g. 1ms [off]."),
    ] = None,
    reorder: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Put packets that come so late into order of time, e.g. 10ms [off]."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Rules of another tool: zeek, nfstream, cic, classic; other options win."),
    ] = None,
    join: Annotated[
        bool, typer.Option("--join", help="The inputs are one trace, ordered by their first packets.")
    ] = False,
    max_flows: Annotated[
        int | None, typer.Option(metavar="N", help="Flows known at a time; beyond, the least recent leave.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 where a capture is cut off.")] = False,
    format: Annotated[
        str | None,
        typer.Option(metavar="csv|parquet|arrow|jsonl|zeek", help="Format, where the output's extension does not say."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, notes and summary.")] = False,
    json_summary: Annotated[bool, typer.Option("--json-summary", help="The summary as one JSON object.")] = False,
) -> None:
    """Turn captures into flow records, one row per flow.

    The summary goes to standard output, or to standard error where that takes the records.
    """
    given = {
        "schema": schema,
        "features": _features(schema, features, feature),
        "splt": splt,
        "splt_data": splt_data or None,
        "activity_gap": activity_gap,
        "payload_head": payload_head,
        "raw_packets": raw_packets,
        "raw_bytes": raw_bytes,
        "raw_masked": raw_masked or None,
        "label": label,
        "label_split": label_split,
        "label_strict": label_strict or None,
        "key": key,
        "vlan_in_key": vlan_in_key or None,
        "tunnels": tunnels,
        "idle_timeout": idle_timeout,
        "active_timeout": active_timeout,
        "first_packets": first_packets,
        "first_seconds": first_seconds,
        "window": window,
        "anonymize": anonymize,
        "no_tcp_end": no_tcp_end or None,
        "filter": filter,
        "dedup": dedup,
        "reorder": reorder,
        "preset": preset,
        "join": join or None,
        "max_flows": max_flows,
        "strict": strict or None,
        "format": format,
    }
    target = _target(output)
    stats = _run(inputs, target, quiet, {name: value for name, value in given.items() if value is not None})
    _report(stats, target, quiet, json_summary)
    raise typer.Exit(_exit_code(stats, strict))


def _features(schema: str | None, groups: str | None, own: list[str] | None) -> str | list[str] | None:
    """The groups named, or those that are on without, and the features of the user's behind them."""
    if not own:
        return groups
    from flowgauge.config import DEFAULT_FEATURES
    from flowgauge.schemas import get_schema

    chosen = groups.split(",") if groups else get_schema(schema or "native").features or DEFAULT_FEATURES
    return [*chosen, *own]


def _target(output: str | None) -> str:
    if output is not None:
        return output
    if _is_terminal(sys.stdout):
        raise ConfigError("say where the flows go: -o flows.csv, -o flows.parquet, or -o - for this terminal")
    return "-"


def _run(inputs: list[str], output: str, quiet: bool, options: dict[str, Any]) -> RunStats:
    from flowgauge.cli.progress import ProgressBar
    from flowgauge.cli.signals import StopSignal
    from flowgauge.run import extract as run_extract

    with StopSignal() as stop, ProgressBar() as bar:
        return run_extract(
            inputs,
            output,
            progress=bar.update if _is_terminal(sys.stderr) and not quiet else None,
            notify=_ignore if quiet else bar.say,
            should_stop=stop.is_set,
            **options,
        )


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty()


def _ignore(line: str) -> None:
    pass


def _report(stats: RunStats, output: str, quiet: bool, as_json: bool) -> None:
    """Lines about files and the summary; as JSON, one object holds all of it."""
    stream = sys.stderr if output == "-" else sys.stdout
    if as_json:
        from flowgauge import __version__

        print(json.dumps({"version": __version__, **stats.as_dict()}), file=stream)
        return
    from flowgauge.cli.summary import failures, notes, summary

    for line in failures(stats):
        say(line)
    if quiet:
        return
    for line in notes(stats):
        say(line)
    print(summary(stats), file=stream)


def _exit_code(stats: RunStats, strict: bool) -> int:
    if stats.interrupted:
        return INTERRUPTED
    return INPUT_FAILED if stats.failed or (strict and stats.damaged) else DONE
