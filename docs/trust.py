"""Write docs/trust.md: how flowgauge agrees with other tools, and why it does not.

    python docs/trust.py

It needs the captures of the other tools' projects (FLOWGAUGE_CORPUS names their folder) and tshark.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent / "tests"))

from trust import arkime, ndpi, tshark, zeek  # noqa: E402
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
    for rule, rows in agreement.excluded.items():
        yield "\n" + _wrapped(f"Out of the comparison ({agreement.excluded_share:.1%}): {rows} rows. {rule}.")


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
    agreements = [tool.compare() for tool in (zeek, ndpi, arkime, tshark)]
    (DOCS / "trust.md").write_text(page(agreements), "utf-8")
    print("wrote trust.md")


if __name__ == "__main__":
    main()
