"""`up` and `down`: one saves and changes, the other puts back, however far the first has come."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator

from flowgauge.capture.gateway import plan as planning
from flowgauge.capture.gateway import proxy, rules, state, sysctl, system
from flowgauge.capture.gateway.options import GatewayOptions
from flowgauge.capture.gateway.plan import Plan
from flowgauge.errors import GatewayError

UP = "flowgauge gateway up"
DOWN = "flowgauge gateway down"


def dry_run(options: GatewayOptions) -> tuple[str, tuple[str, ...]]:
    """What `up` would do, and notes; as root also whether it could."""
    plan = planning.make(options)
    if os.geteuid() != 0:
        return planning.describe(plan), (*plan.notes, "not as root, so other tables' rules were not looked at")
    planning.check(plan)
    return planning.describe(plan), plan.notes


def up(options: GatewayOptions) -> Plan:
    """Make this machine the router by the plan returned. GatewayError leaves everything as it was."""
    system.require_root(UP)
    for name in ("nft", "ip", *(["redsocks"] if options.proxy is not None else [])):
        system.program(name)
    with state.locked():
        _refuse_twice(state.load())
        plan = planning.make(options)
        planning.check(plan)
        wrong = proxy.complaint(options.proxy) if options.proxy is not None else None
        if wrong:
            raise GatewayError(wrong)
        saved = _saved(plan)
        state.save(saved)
        try:
            _change(plan, saved)
        except BaseException as error:
            _undo_because(error, saved)
            raise
    return plan


def _undo_because(error: BaseException, saved: state.State) -> None:
    try:
        _undo(saved)
    except GatewayError as second:
        raise GatewayError(f"{error or 'interrupted'}; undoing it failed too ({second}): run `{DOWN}`") from None


def _refuse_twice(saved: state.State | None) -> None:
    if saved is None:
        return
    if saved["phase"] == "up":
        raise GatewayError(f"the gateway is up since {saved['since']}: run `{DOWN}` first")
    raise GatewayError(f"an `up` of {saved['since']} did not come to its end: run `{DOWN}`, which undoes it, first")


def _saved(plan: Plan) -> state.State:
    options = plan.options
    return {
        "identity": uuid.uuid4().hex,
        "phase": "starting",
        "since": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "boot": system.boot(),
        "namespace": system.namespace(),
        "lan": options.lan,
        "uplink": options.uplink,
        "clients": [str(client) for client in plan.machine.clients],
        "named": bool(options.clients),
        "addresses": list(plan.machine.addresses),
        "proxy": options.proxy and options.proxy.shown,
        "proxy_at": options.proxy and [options.proxy.address, options.proxy.port],
        "port": plan.port,
        "udp": options.udp,
        "ipv6": options.ipv6,
        "resolver_here": plan.machine.resolver_here,
        "nameserver": plan.machine.nameserver,
        "settings": plan.settings,
        "before": plan.machine.before,
    }


def _change(plan: Plan, saved: state.State) -> None:
    """Everything that changes the machine, in an order in which nothing passes that should not."""
    options = plan.options
    if options.proxy is not None and plan.port is not None:
        state.write_private(proxy.configuration_path(), proxy.configuration(options.proxy, plan.port))
    rules.load(plan.script)
    if options.proxy is not None and plan.port is not None:
        proxy.start(saved["identity"], plan.port)
    for key, value in plan.settings.items():
        sysctl.write(key, value)
    after = sysctl.differing(plan.machine.before)
    table = rules.fingerprint(rules.ours(system.ruleset()))
    state.save({**saved, "phase": "up", "after": after, "table": table})


def down() -> list[str]:
    """Put back what was there before `up`; what was done, line by line. Nothing to do is no error."""
    system.require_root(DOWN)
    with state.locked():
        saved = state.load()
        if saved is not None:
            return [*_undo(saved), f"the gateway of {saved['since']} is down, everything is as it was before"]
        rest = list(_remove_rest())
        unknown = "there was no state file: settings that an `up` changed are not known"
        return [*rest, unknown] if rest else ["nothing to take down"]


def _undo(saved: state.State) -> list[str]:
    """Undo an `up` that came to any point; the state file goes last, so that this can be done again."""
    notes: list[str] = []
    if saved["boot"] != system.boot():
        notes.append(f"the machine has started anew since {saved['since']}, its settings with it")
    elif saved["namespace"] != system.namespace():
        raise GatewayError(f"{state.path()} is of another network namespace: run `{DOWN}` there")
    else:
        notes += _foreign(saved)
        sysctl.restore(saved["before"])
    rules.delete()
    proxy.stop()
    state.remove(proxy.configuration_path())
    state.remove(state.path())
    proxy.stop()  # one that was just being started
    state.remove(proxy.log_path())
    return notes


def _foreign(saved: state.State) -> Iterator[str]:
    """Settings that another program changed meanwhile: they too go back, and the user hears of it."""
    after = saved.get("after")
    if after is None:
        return
    before = saved["before"]
    for key, value in sysctl.differing(before).items():
        if after.get(key) != value:
            yield f"another program had set {sysctl.name(key)} to {value}; it is {before[key]} again, as before `up`"


def _remove_rest() -> Iterator[str]:
    """What an `up` left whose state file somebody has removed."""
    if rules.ours(system.ruleset()):
        rules.delete()
        yield f"removed the table inet {rules.TABLE}"
    if proxy.stop():
        yield "ended the transparent proxy"
    for path in (proxy.configuration_path(), proxy.log_path()):
        if path.exists():
            state.remove(path)
