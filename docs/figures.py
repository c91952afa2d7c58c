"""Draws the site's figures: ``python docs/figures.py [results.json]``.

`fingerprints.svg` is drawn from the example captures; `performance.svg` and the tables of `performance.md` from what
`make bench` has measured, where there are such results.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from math import log10
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import readme_table  # noqa: E402

BEGIN, END = "<!-- figures:begin (python docs/figures.py) -->", "<!-- figures:end -->"
STYLE = """<style>
.fg-figure { --ink: #1f2937; --soft: #64748b; --line: #cbd5e1; --accent: #0f766e; --warm: #d97706; }
@media (prefers-color-scheme: dark) { .fg-figure { --ink: #e5e7eb; --soft: #94a3b8; --line: #475569; --accent: #2dd4bf; --warm: #fbbf24; } }
.fg-figure .up { fill: var(--warm); } .fg-figure .down { fill: var(--accent); }
.fg-figure .axis { stroke: var(--line); } .fg-figure .name { fill: var(--ink); font-weight: 600; }
.fg-figure .note { fill: var(--soft); font-size: 12px; }
</style>"""  # noqa: E501
PACKETS = 48
SHOWN = (("browser", "fetches pages"), ("chat", "sends messages"), ("ssh", "types a command"), ("voip", "talks"))
Results = dict[str, Any]


def svg(title: str, width: int, height: int, parts: Iterable[str]) -> str:
    """A drawing that takes the colours of the page it is on."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="fg-figure" viewBox="0 0 {width} {height}" '
        f'font-family="system-ui, sans-serif" font-size="14" role="img">'
    )
    return "\n".join([head, f"<title>{title}</title>", STYLE, *parts, "</svg>"]) + "\n"


def fingerprints() -> str:
    """The first packets of four flows: above the line what the client sends, below what the server does."""
    import flowgauge as fg

    captures = str(ROOT / "examples" / "captures")
    table = fg.read(captures, label="{app}_{action}_*.pcap", features="core,splt", splt=PACKETS)
    rows = table.select(["app", "packets", "splt_direction", "splt_payload_len"]).to_pylist()
    parts = []
    for number, (app, does) in enumerate(SHOWN):
        flow = max((row for row in rows if row["app"] == app), key=lambda row: row["packets"])
        parts += _strip(70 + 94 * number, app, does, flow["splt_direction"], flow["splt_payload_len"])
    parts.append('<text class="note" x="0" y="14">first 48 packets, height: bytes of payload (log)</text>')
    parts.append('<text class="note" x="400" y="14"><tspan class="up">■</tspan> client sends</text>')
    parts.append('<text class="note" x="496" y="14"><tspan class="down">■</tspan> server sends</text>')
    return svg("The first 48 packets of four flows of the example captures", 600, 396, parts)


def _strip(middle: int, app: str, does: str, directions: list[int], sizes: list[int]) -> Iterator[str]:
    yield f'<text class="name" x="0" y="{middle - 4}">{app}</text>'
    yield f'<text class="note" x="0" y="{middle + 14}">{does}</text>'
    yield f'<path class="axis" d="M128 {middle}h472"/>'
    for place, (direction, size) in enumerate(zip(directions, sizes, strict=True)):
        height = round(4 + 12 * log10(1 + size), 1)
        top = middle + 1 if direction else round(middle - 1 - height, 1)
        kind = "down" if direction else "up"
        yield f'<rect class="{kind}" x="{130 + place * 9.8:.1f}" y="{top}" width="7" height="{height}" rx="1.5"/>'


def _rates(results: Results) -> list[tuple[str, float, str]]:
    """Names, packets a second, and whose they are, the fastest first."""
    mix = results["rates"]["mix"]["rates"]
    ours = [(f"flowgauge to {kind}", rate["packets_per_s"], "down") for kind, rate in mix.items()]
    theirs = [
        (f"{name} {peer['version']}", peer.get("packets_per_s"), "up")
        for name, peer in results["peers"].items()
        if "version" in peer
    ]
    return sorted(filter(lambda bar: bar[1], ours + theirs), key=lambda bar: -bar[1])


def performance(results: Results) -> str:
    """Packets a second of flowgauge and of the meters beside it, on a scale of powers of ten."""
    rates = _rates(results)
    bottom = 20 + 30 * len(rates)
    parts = []
    for power, label in ((4, "10,000"), (5, "100,000"), (6, "1 million"), (7, "10 million")):
        x = _place(10**power)
        parts.append(f'<path class="axis" d="M{x} 10V{bottom}"/>')
        parts.append(f'<text class="note" x="{x}" y="{bottom + 18}" text-anchor="middle">{label}</text>')
    for y, (name, rate, kind) in zip(range(28, bottom, 30), rates, strict=False):
        x, weight = _place(rate), "name" if kind == "down" else "note"
        parts.append(f'<text class="{weight}" x="220" y="{y + 4}" text-anchor="end">{name}</text>')
        parts.append(f'<path class="axis" d="M230 {y}H{x}"/><circle class="{kind}" cx="{x}" cy="{y}" r="6"/>')
        parts.append(f'<text class="note" x="{x + 12}" y="{y + 4}">{rate:,.0f}</text>')
    title = f"Packets a second on one core, {results['rates']['mix']['packets']:,} packets"
    return svg(title, 920, bottom + 30, parts)


def _place(rate: float) -> int:
    """Where a rate is on the axis, whose decades are 200 wide and begin with 10,000."""
    return round(230 + 200 * (log10(rate) - 4))


def stages(results: Results) -> str:
    """What each stage of the loop takes of a packet's time."""
    taken = results["rates"]["mix"]["stages"]
    rows = [(f"`{name}`", f"{stage['ns_per_packet']:.0f}", f"{stage['share']:.0%}") for name, stage in taken.items()]
    return readme_table.table(("stage", "ns a packet", "share"), rows)


def quoted(results: Results) -> str:
    """The generated part of performance.md."""
    return "\n\n".join(
        (
            readme_table.notes(results),
            "![Packets a second on one core, flowgauge and other meters](performance.svg)",
            readme_table.rates(results),
            readme_table.peers(results),
            "## Where the time goes\n\nThe capture `mix` to Arrow batches, taken apart:",
            stages(results),
        )
    )


def write_performance(results: Results, folder: Path) -> None:
    """Write performance.svg, and performance.md anew between its markers."""
    page = folder / "performance.md"
    before, _, rest = page.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{page} lacks the marker {BEGIN} or {END}")
    page.write_text(f"{before}{BEGIN}\n{quoted(results)}\n{END}{after}", "utf-8")
    (folder / "performance.svg").write_text(performance(results), "utf-8")


def main() -> None:
    """Draw everything anew."""
    (HERE / "fingerprints.svg").write_text(fingerprints(), "utf-8")
    measured = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "benchmarks" / "results.json"
    if measured.exists():
        write_performance(json.loads(measured.read_text("utf-8")), HERE)
    else:
        print(f"performance.md stays as it is: no {measured} (make bench writes it)")


if __name__ == "__main__":
    main()
