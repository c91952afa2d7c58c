"""`flowgauge info`: what is in a capture."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from flowgauge.cli.group import INPUT_FAILED, say, say_if_compiling
from flowgauge.cli.text import aligned, failure_lines, shortened, size, skipped_lines
from flowgauge.config import NANOSECONDS
from flowgauge.errors import NotACapture, SourceError

if TYPE_CHECKING:
    from flowgauge.captureinfo import CaptureInfo
    from flowgauge.labels import Labeller
    from flowgauge.sources.streams import Source

_MANY_INTERFACES = 8


def info(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILES...", help="Captures, folders, URLs, patterns in quotes, or - for standard input."
        ),
    ],
    label: Annotated[str | None, typer.Option(metavar="TEMPLATE", help="Show the labels that it finds.")] = None,
    label_split: Annotated[
        str | None, typer.Option(metavar="SEP:APP:ACTION", help="Show the labels that it finds.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line for each capture.")] = False,
) -> None:
    """Show container, links, packets, time span, sizes and reasons of captures."""
    from flowgauge.labels import make_labeller
    from flowgauge.sources.discover import find_captures

    labeller = make_labeller(label, label_split)
    found = find_captures(files)
    say_if_compiling()
    skipped = list(found.skipped)
    failed = list(found.failed.items())
    for capture in found.captures:
        try:
            _show(capture.source, labeller, as_json)
        except NotACapture as error:
            if capture.explicit:
                failed.append((capture.name, str(error)))
            else:
                skipped.append(capture.name)
        except SourceError as error:
            failed.append((capture.name, str(error)))
    for line in (*failure_lines(failed), *skipped_lines(skipped)):
        say(line)
    if failed:
        raise typer.Exit(INPUT_FAILED)


def _show(source: Source, labeller: Labeller | None, as_json: bool) -> None:
    from flowgauge.captureinfo import info as read_info

    found = read_info(source, labeller)
    if as_json:
        print(json.dumps(found.as_dict()))
    else:
        print(f"{found.name}\n{aligned(_rows(found, labeller is not None), '  ')}\n")


def _rows(found: CaptureInfo, labelled: bool) -> Iterator[tuple[str, str]]:
    from flowgauge.cli.summary import COUNTERS
    from flowgauge.kernels.packet import REASONS

    yield "container", ", ".join(filter(None, (found.container, found.compression)))
    for line in shortened(found.interfaces, _MANY_INTERFACES):
        yield "interface", line
    yield "links", ", ".join(f"{name} {count:,}" for name, count in found.links.items()) or "none"
    yield "packets", f"{found.packets:,}"
    yield "time", _span(found)
    stored = "" if found.stored_bytes is None else f"{size(found.stored_bytes)} stored, "
    yield "bytes", f"{stored}{size(found.captured_bytes)} captured, {size(found.wire_bytes)} on the wire"
    for name, count in found.reasons.items():
        yield name, f"{count:,}  {REASONS[name]}"
    for name, count in found.counters.items():
        yield name, f"{count:,}  {COUNTERS.get(name, '')}"
    if labelled or found.labels is not None:
        yield "labels", _labels(found.labels)
    if found.damage is not None:
        yield "damage", found.damage


def _span(found: CaptureInfo) -> str:
    from flowgauge.captureinfo import utc

    if found.first_ns is None or found.last_ns is None:
        return "none"
    seconds = (found.last_ns - found.first_ns) / NANOSECONDS
    return f"{utc(found.first_ns)} to {utc(found.last_ns)} ({seconds:,.3f} s)"


def _labels(labels: dict[str, str] | None) -> str:
    if labels is None:
        return "not matched by the template"
    return ", ".join(f"{name}={value}" for name, value in labels.items())
