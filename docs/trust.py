"""Write docs/trust.md: how flowgauge agrees with other tools, and why it does not.

    python docs/trust.py

It needs the captures of the other tools' projects (FLOWGAUGE_CORPUS names their folder), tshark and nfstream.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent / "tests"))

from trust import arkime, ndpi, nfstream, tshark, zeek  # noqa: E402
from trust.agreement import CAUSES, Agreement  # noqa: E402

_HEAD = """# Trust: agreement with other tools

<!-- Written by `python docs/trust.py`. -->

Captures, nearly all of them made by nobody here, and what other tools say of them, row by row. A row that only one side
has agrees in no field. Every row that differs has a cause below; none is unexplained.

"""

_INPUTS = {
    "Zeek": "62 logs of Zeek's own tests, over 52 traces, against `--preset zeek --schema zeek`. The connections "
    'around tunnels, which Zeek logs too, are compared with `tunnels="outer"`. Where the command filtered packets, '
    "flowgauge gets what the filter let through. Durations are equal to 1 ms.",
    "nDPI": "Captures of applications from nDPI's own tests, with timeouts and TCP ending off and VLANs in the key, as "
    "nDPI has flows. Left out on both sides are packets that nDPI's reader passes over: cut off, with an IP length "
    "beyond what was captured, and tails of fragments but for TCP.",
    "Arkime": "Sessions of Arkime's own tests. All sessions and records of one key that overlap in time are one row; "
    "`records` is whether both cut it into the same pieces. Idle timeouts as Arkime has them, no active timeout, VLANs "
    "in the key. Flags leave out its count of plain ACKs, which no column here tells.",
    "NFStream": "All captures here, those of fuzzers among them, metered by NFStream itself (6.6, "
    "`statistical_analysis=True, splt_analysis=5, n_dissections=0`) and by `--schema nfstream --preset nfstream "
    "--features splt --splt 5`: every column but `id`, integers equal, means and deviations to 1e-9. What becomes of a "
    "packet decides, before any value is looked at, whether the rules coincide for its flow; the other flows are out "
    "of the comparison. Where NFStream drops packets, the rows are equal once flowgauge does not get them either.",
    "tshark": "The example captures of this project, whose connections lose packets and reorder them, against the "
    "conversations and the analysis of sequence numbers of Wireshark; parts of a flow are summed.",
}
_RIGHT = {"both": "each by its definition"}


def page(agreements: list[Agreement]) -> str:
    """The whole page."""
    return (
        _HEAD + "\n\n".join("\n".join(_tool(agreement)) for agreement in agreements) + "\n\n" + _differences(agreements)
    )


def _wrapped(text: str) -> str:
    return "\n".join(textwrap.wrap(text, 118, break_on_hyphens=False))


def _tool(agreement: Agreement) -> Iterator[str]:
    yield f"## {agreement.tool}\n"
    yield _wrapped(_INPUTS[agreement.tool]) + "\n"
    yield "| field | rows compared | equal | |"
    yield "|---|---:|---:|---:|"
    for name in agreement.fields:
        told, equal = agreement.told[name], agreement.equal[name]
        yield f"| {name.replace('_', ' ')} | {told:,} | {equal:,} | {agreement.share(name):.2%} |"
    whole, rows = agreement.whole, agreement.compared
    yield f"| **all fields** | {rows:,} | {whole:,} | {whole / rows:.2%} |"
    yield from _left_out(agreement)


def _left_out(agreement: Agreement) -> Iterator[str]:
    if not agreement.excluded:
        return
    head = f"Out of the comparison ({agreement.excluded_share:.1%}): "
    if len(agreement.excluded) == 1:
        ((rule, rows),) = agreement.excluded.items()
        yield "\n" + _wrapped(f"{head}{rows} rows. {rule}.")
        return
    yield f"\n{head}{agreement.excluded.total()} rows.\n"
    for rule, rows in agreement.excluded.most_common():
        yield _wrapped(f"- {rows}: {rule}.").replace("\n", "\n  ")


def _differences(agreements: list[Agreement]) -> str:
    lines = [
        "## Differences\n",
        "| cause | rows | who is right | what differs | the fewest packets that show it |",
        "|---|---|---|---|---|",
    ]
    for name, found in CAUSES.items():
        rows = ", ".join(f"{a.tool} {a.causes[name]}" for a in agreements if a.causes[name])
        if rows:
            right = _RIGHT.get(found.right, found.right)
            lines.append(f"| `{name}` | {rows} | {right} | {found.text} | {found.packets} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    agreements = [tool.compare() for tool in (zeek, ndpi, arkime, nfstream, tshark)]
    (DOCS / "trust.md").write_text(page(agreements), "utf-8")
    print("wrote trust.md")


if __name__ == "__main__":
    main()
