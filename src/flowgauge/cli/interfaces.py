"""`flowgauge interfaces`: what can be captured from."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from flowgauge.cli.text import aligned

_HEADER = ("name", "state", "link", "MAC address", "addresses")


def interfaces(
    as_json: Annotated[bool, typer.Option("--json", help="As a JSON array.")] = False,
) -> None:
    """Show the network interfaces: state, link type and addresses."""
    from flowgauge.captureinfo import link_name
    from flowgauge.sources.interfaces import interfaces as found

    listed = found()
    if as_json:
        print(json.dumps([interface._asdict() for interface in listed], indent=1))
        return
    unknown = "not decoded" if sys.platform == "linux" else ""  # other systems do not say
    rows = [
        (
            interface.name,
            "up" if interface.up else "down",
            unknown if interface.link is None else link_name(interface.link),
            interface.mac,
            ", ".join(interface.addresses),
        )
        for interface in listed
    ]
    print(aligned([_HEADER, *rows]))
