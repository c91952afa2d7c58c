"""`flowgauge gateway`: this machine as the router of its LAN clients."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from flowgauge.cli.group import DONE, INPUT_FAILED, say
from flowgauge.cli.text import aligned

if TYPE_CHECKING:
    from flowgauge.capture.gateway.plan import Plan
    from flowgauge.capture.gateway.watch import Status

gateway = typer.Typer(
    name="gateway",
    help="Make this machine the router of its LAN clients, so that their traffic can be captured (Linux, root).",
    no_args_is_help=True,
    rich_markup_mode=None,
)


# The parameters are the options: Typer reads them off this signature.
@gateway.command()
def up(
    lan: Annotated[str, typer.Option(metavar="INTERFACE", help="Where the clients are.")],
    uplink: Annotated[
        str, typer.Option(metavar="INTERFACE", help="Where the internet is; may be the same one (one-armed).")
    ],
    client: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="Only this client, or network of clients; repeatable [all of the LAN]."),
    ] = None,
    proxy: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Lead the clients' TCP through this SOCKS or HTTP proxy by redsocks, e.g. socks5://127.0.0.1:1080.",
        ),
    ] = None,
    redirect: Annotated[
        int | None, typer.Option(metavar="PORT", help="Lead the clients' TCP to a transparent proxy of your own here.")
    ] = None,
    udp: Annotated[
        str | None,
        typer.Option(
            metavar="direct|drop", help="Forward UDP, or drop it but for DNS [drop behind a proxy, else direct]."
        ),
    ] = None,
    ipv6: Annotated[
        str | None, typer.Option(metavar="block|forward", help="What becomes of the clients' IPv6 [block].")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")] = False,
) -> None:
    """Start to forward the clients' packets; `down` puts back what was there."""
    _require_linux()
    from flowgauge.capture.gateway import control
    from flowgauge.capture.gateway.options import gateway_options

    options = gateway_options(lan, uplink, client or [], proxy, redirect, udp, ipv6 or "block")
    if dry_run:
        text, notes = control.dry_run(options)
        print(text)
    else:
        plan = control.up(options)
        notes = plan.notes
        print(f"the gateway is up: {lan} → {uplink}")
        print(f"clients need {plan.machine.addresses[0]} as their router{_names(plan)}")
    for note in notes:
        say(note)


def _names(plan: Plan) -> str:
    answers = plan.machine.resolver_here or plan.machine.nameserver is not None
    return ", and may have it as their nameserver" if answers else ""


@gateway.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="As a JSON object.")] = False) -> None:
    """Show what the gateway does and what is wrong; exit code 1 if something is."""
    _require_linux()
    from flowgauge.capture.gateway.watch import status as look

    found = look()
    print(json.dumps(found.as_dict(), indent=1) if as_json else _text(found))
    raise typer.Exit(INPUT_FAILED if found.problems else DONE)


@gateway.command()
def down() -> None:
    """Put back exactly what was there before `up`, also after a crash; nothing to do is no error."""
    _require_linux()
    from flowgauge.capture.gateway import control

    for line in control.down():
        print(line)


def _text(found: Status) -> str:
    from flowgauge.capture.gateway.rules import networks

    rows = [("gateway", "down")]
    if found.up:
        counts = found.counts
        rows = [
            ("gateway", f"up since {found.since}, {found.lan} → {found.uplink}"),
            ("clients", f"{networks(found.clients)}: {_seen(found)}"),
            ("tcp", _tcp(found)),
            ("udp", f"dropped but for DNS, {counts['udp_dropped']:,} packets" if found.udp == "drop" else "direct"),
            ("dns", f"asked of the gateway is answered by {found.nameserver}" if found.nameserver else "direct"),
            ("ipv6", _ipv6(found)),
        ]
    rows += [("problem", problem) for problem in found.problems]
    return aligned(rows)


def _seen(found: Status) -> str:
    count = found.counts["from_clients"]
    return f"{count:,} packets seen" if count else f"nothing seen yet; they need {found.router} as their router"


def _ipv6(found: Status) -> str:
    if found.ipv6 == "forward":
        return "forwarded"
    unseen = "" if found.ipv6_watched else f"; IPv6 is off on {found.lan}, so other routers cannot be seen"
    return f"blocked, {found.counts['ipv6_blocked']:,} packets{unseen}"


def _require_linux() -> None:
    """Before the modules are imported that other systems could not even import."""
    from flowgauge.capture.gateway.system import require_linux

    require_linux()


def _tcp(found: Status) -> str:
    if found.port is None:
        return "direct"
    through = f"through {found.proxy} by redsocks at port {found.port}" if found.proxy else f"to port {found.port}"
    counts = found.counts
    return f"{through}: {counts['redirected']:,} connections, {counts['tcp_refused']:,} packets past it refused"
