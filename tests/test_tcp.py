"""The section "TCP connections" of docs/flow-semantics.md: each rule in the fewest segments, for oracle and package."""

from __future__ import annotations

import re
from typing import Any

import pytest

from meters import Meter
from packets import A, B, Sent, eth, ip4, sent, tcp

STEP = re.compile(r"([<>]) ([A-Z]*)(?: seq=(-?\d+))?(?: ack=(-?\d+))?(?: len=(\d+))?(?: win=(\d+))?(?: at=([\d.]+))?")
ISN = 1000, 5000
"""Initial sequence numbers; the numbers of a step count from them."""


def segments(script: str, isn: tuple[int, int] = ISN, ports: tuple[int, int] = (40000, 443)) -> list[Sent]:
    """Segments of a script such as ``> S, < SA ack=1, > A seq=1 ack=1``: > is sent by A, from the first port.

    Sequence and acknowledgement numbers are relative to the initial ones; times are a millisecond apart.
    """
    frames = []
    for number, step in enumerate(script.split(", ")):
        found = STEP.fullmatch(step)
        assert found, step
        arrow, flags, seq, ack, length, window, at = found.groups()
        side = "><".index(arrow)
        segment = tcp(
            ports[side],
            ports[1 - side],
            flags,
            isn[side] + int(seq or 0),
            isn[1 - side] + int(ack) if ack else 0,
            bytes(int(length or 0)),
            window=int(window or 1000),
        )
        time = float(at) if at else number / 1000
        frames.append(sent(time, eth(ip4(segment, *((A, B), (B, A))[side]))))
    return frames


def row(meter: Meter, script: str, isn: tuple[int, int] = ISN, **options: Any) -> dict[str, Any]:
    """The only row of a script."""
    rows = meter(segments(script, isn), **options).rows
    assert len(rows) == 1
    return rows[0]


SHAKE = "> S, < SA ack=1, > A seq=1 ack=1"

STATES = {
    # attempts
    "> S": ("S0", "S"),
    "> S, > S, > S": ("S0", "S"),
    "> S, < A ack=77": ("S0", "Sa"),  # an acknowledgement alone opens nothing
    "> S, < RA ack=1": ("REJ", "Sr"),
    "> S, > R seq=1": ("RSTOS0", "SR"),
    "> S, > F seq=1": ("SH", "SF"),
    "> S, > A seq=1 ack=1, > R seq=1": ("OTH", "SAR"),
    "> S, < A ack=77, > R seq=76": ("RSTOS0", "SaR"),  # half-open connection discovered
    # established
    SHAKE: ("S1", "ShA"),
    "> S, < SA ack=1": ("S1", "Sh"),
    SHAKE + ", > A seq=1 ack=1 len=9, < A seq=1 ack=10 len=5": ("S1", "ShADd"),
    # ends
    SHAKE + ", > FA seq=1 ack=1": ("S2", "ShAF"),
    SHAKE + ", < FA seq=1 ack=1": ("S3", "ShAf"),
    SHAKE + ", > FA seq=1 ack=1, < FA seq=1 ack=2, > A seq=2 ack=2": ("SF", "ShAFf"),
    SHAKE + ", > FA seq=1 ack=1, < FA seq=1 ack=1": ("SF", "ShAFf"),  # simultaneous close
    SHAKE + ", > FA seq=1 ack=1, > FA seq=1 ack=1": ("S2", "ShAF"),
    SHAKE + ", > RA seq=1 ack=1": ("RSTO", "ShAR"),
    SHAKE + ", < RA seq=1 ack=1": ("RSTR", "ShAr"),
    SHAKE + ", > RA seq=1 ack=1, < R seq=1": ("REJ", "ShARr"),  # nothing was sent
    SHAKE + ", > A seq=1 ack=1 len=3, > RA seq=4 ack=1, < R seq=1": ("RSTR", "ShADRr"),
    SHAKE + ", > FA seq=1 ack=1, < RA seq=1 ack=2": ("RSTR", "ShAFr"),
    SHAKE + ", > FA seq=1 ack=1, > RA seq=2 ack=1": ("RSTO", "ShAFR"),
    SHAKE + ", > FA seq=1 ack=1, > RA seq=2 ack=1, < FA seq=1 ack=2": ("SF", "ShAFRf"),
    SHAKE + ", > FA seq=1 ack=1, < FA seq=1 ack=2, > R seq=2": ("SF", "ShAFfR"),
    SHAKE + ", > FA seq=1 ack=1, < FA seq=1 ack=2, < A seq=2 ack=2 len=4": ("SF", "ShAFfd"),  # data after close
    # simultaneous open, both ends sending SYNs
    "> S, < S, > SA ack=1, < SA ack=1": ("S1", "Ss"),
    # caught in the middle, or seen from one side
    "> A seq=1 ack=1 len=5": ("OTH", "D"),
    "> A seq=1 ack=1 len=5, < A seq=1 ack=6": ("OTH", "Da"),
    "> A seq=1 ack=1, < FA seq=1 ack=1": ("SHR", "Af"),
    "> FA seq=1 ack=1": ("SH", "F"),
    "> R seq=1": ("OTH", "R"),
    "> A seq=1 ack=1, < R seq=1": ("RSTRH", "Ar"),
    "> A seq=1 ack=1, > S seq=0": ("S0", "AS"),
    "< SA ack=1": ("OTH", "^h"),
    "< SA ack=1, > A seq=1 ack=1": ("S1", "^hA"),
    "< SA ack=1, > S": ("S1", "^hS"),
    "< SA ack=1, < FA seq=1 ack=1": ("SHR", "^hf"),
    "< SA ack=1, < R seq=1": ("RSTRH", "^hr"),
    "< SA ack=1, > R seq=1": ("RSTO", "^hR"),
    "< A seq=1 ack=1 len=7": ("OTH", "^d"),
    # more than one of the flags
    "> SF": ("SH", "Q"),
    "> SR": ("OTH", "Q"),
    SHAKE + ", > FRA seq=1 ack=1, > FRA seq=1 ack=1": ("RSTO", "ShAI"),
    # the same flag with another number, and again
    SHAKE + ", < R seq=1, < R seq=1, < R seq=9": ("RSTR", "ShArr"),
    SHAKE + ", > FA seq=1 ack=1 len=2, > FA seq=3 ack=1, > FA seq=9 ack=1": ("S2", "ShAFF"),
}


@pytest.mark.parametrize("script", STATES)
def test_states_and_history(meter: Meter, script: str) -> None:
    """The state of the connection and the letters of what was seen."""
    found = row(meter, script)
    assert (found["tcp_state"], found["tcp_history"]) == STATES[script]


def values(meter: Meter, script: str, *names: str, isn: tuple[int, int] = ISN) -> tuple[Any, ...]:
    found = row(meter, script, isn)
    return tuple(found[name] for name in names)


LOST = "retransmitted_packets", "retransmitted_bytes", "out_of_order_packets", "gap_bytes"

LOSSES = {
    # one end's segments behind a handshake: again, late, partly again, missing
    "> A seq=1 ack=1 len=10, > A seq=1 ack=1 len=10": (1, 10, 0, 0),
    "> A seq=1 ack=1 len=10, > A seq=6 ack=1 len=10": (0, 5, 0, 0),
    "> A seq=11 ack=1 len=10, > A seq=1 ack=1 len=10": (0, 0, 1, 0),
    "> A seq=11 ack=1 len=10, > A seq=1 ack=1 len=20": (0, 10, 1, 0),
    "> A seq=21 ack=1 len=10, > A seq=6 ack=1 len=5, > A seq=6 ack=1 len=5": (1, 5, 1, 0),
    "> A seq=11 ack=1 len=10, < A seq=1 ack=21": (0, 0, 0, 10),
    "> A seq=11 ack=1 len=10, < A seq=1 ack=21, > A seq=1 ack=1 len=10": (1, 10, 0, 10),
    "< A seq=1 ack=21": (0, 0, 0, 20),  # not one byte of it was captured
    "< A seq=1 ack=21, < A seq=1 ack=21": (0, 0, 0, 20),
    "< A seq=1 ack=21, > A seq=1 ack=1 len=20": (0, 0, 0, 20),  # captured behind its acknowledgement
    "< A seq=1 ack=21, > A seq=1 ack=1 len=20, > A seq=1 ack=1 len=20": (1, 20, 0, 20),
    "> A seq=11 ack=1 len=10, < A seq=1 ack=6, > A seq=6 ack=1 len=5": (0, 0, 1, 5),
    # a hole that is not acknowledged is no gap
    "> A seq=11 ack=1 len=10": (0, 0, 0, 0),
    # two holes are remembered; the third makes the oldest a gap
    "> A seq=11 ack=1 len=10, > A seq=31 ack=1 len=10, > A seq=1 ack=1 len=10, > A seq=21 ack=1 len=10": (0, 0, 2, 0),
    "> A seq=11 ack=1 len=10, > A seq=31 ack=1 len=10, > A seq=51 ack=1 len=10, > A seq=1 ack=1 len=10": (1, 10, 0, 10),
    # FIN and its acknowledgement take a number that is no payload
    "> FA seq=1 ack=1 len=10, < A seq=1 ack=12, > FA seq=1 ack=1 len=10": (1, 10, 0, 0),
    "> FA seq=11 ack=1, < A seq=1 ack=12": (0, 0, 0, 10),
    # RSTs: their payload and acknowledgements are not believed
    "> R seq=1 len=10, > R seq=1 len=10": (0, 0, 0, 0),
    "> A seq=1 ack=1 len=10, < RA seq=1 ack=500": (0, 0, 0, 0),
}


@pytest.mark.parametrize("isn", [ISN, (2**32 - 6, 2**32 - 1), (2**31 - 6, 0)], ids=["plain", "wraps", "half"])
@pytest.mark.parametrize("script", LOSSES)
def test_losses(meter: Meter, script: str, isn: tuple[int, int]) -> None:
    """What was sent again, out of order or never seen, wherever the numbers wrap."""
    names = [f"up_{name}" for name in LOST]
    assert values(meter, f"{SHAKE}, {script}", *names, isn=isn) == LOSSES[script]


def test_losses_are_those_of_their_sender(meter: Meter) -> None:
    """The same from the other side counts down."""
    script = SHAKE + ", < A seq=1 ack=1 len=10, < A seq=1 ack=1 len=10"
    assert values(meter, script, "up_retransmitted_packets", "down_retransmitted_packets") == (0, 1)


LETTERS = {
    "> A seq=1 ack=1 len=10, > A seq=1 ack=1 len=10": "ShADT",
    "> A seq=11 ack=1 len=10, < A seq=1 ack=21": "ShADaG",
    "> A seq=1 ack=1 win=0": "ShAW",
    "< A seq=1 ack=1 win=0": "ShAaw",
}


@pytest.mark.parametrize("script", LETTERS)
def test_letters_of_losses(meter: Meter, script: str) -> None:
    assert row(meter, f"{SHAKE}, {script}")["tcp_history"] == LETTERS[script]


def test_letters_are_counted_logarithmically(meter: Meter) -> None:
    """The 1st, 10th and 100th retransmission are letters."""
    again = ", ".join(["> A seq=1 ack=1 len=4"] * 101)
    assert row(meter, f"{SHAKE}, {again}")["tcp_history"] == "ShADTTT"


def test_history_has_24_letters_at_most(meter: Meter) -> None:
    resets = ", ".join(f"> R seq={number}" for number in range(1, 40))
    assert row(meter, f"{SHAKE}, {resets}")["tcp_history"] == "ShA" + "R" * 21


def test_gaps_are_letters_only_in_established_connections(meter: Meter) -> None:
    """Caught in the middle, what is missing is counted but is no letter."""
    script = "> A seq=1 ack=1 len=5, < A seq=1 ack=6, > A seq=16 ack=1 len=5, < A seq=1 ack=21"
    assert values(meter, script, "tcp_history", "up_gap_bytes") == ("Da", 10)


def test_a_keep_alive_in_the_middle_is_no_gap(meter: Meter) -> None:
    """The first segment seen is one byte below what the peer acknowledges."""
    assert values(meter, "> A seq=0 ack=1, < A seq=1 ack=1", "up_gap_bytes") == (0,)
    assert values(meter, "> A seq=0 ack=1, < A seq=1 ack=2", "up_gap_bytes") == (2,)


def test_payload_below_the_first_number_is_out_of_order(meter: Meter) -> None:
    """Nobody knows whether it was seen before."""
    script = "> A seq=101 ack=1 len=5, > A seq=51 ack=1 len=10"
    assert values(meter, script, *(f"up_{name}" for name in LOST)) == (0, 0, 1, 0)


@pytest.mark.parametrize("gib", [1, 3, 5, 7])
def test_payload_is_sent_again_however_long_the_stream(meter: Meter, gib: int) -> None:
    """Also where the first number, modulo 2^32, seems to lie ahead."""
    steps = [SHAKE, *(f"< A seq=1 ack={n * 2**30}" for n in range(1, gib + 1))]
    steps += [f"> A seq={gib * 2**30} ack=1 len=5"] * 2
    script = ", ".join(steps)
    assert values(meter, script, "up_retransmitted_packets", "up_out_of_order_packets") == (1, 0)


def test_more_than_4_gib_are_followed(meter: Meter) -> None:
    """Numbers that wrap twice are not taken for retransmissions."""
    steps = [SHAKE, *(f"< A seq=1 ack={n * 2**30}, > A seq={n * 2**30} ack=1 len=1" for n in range(1, 9))]
    assert values(meter, ", ".join(steps), "up_retransmitted_packets", "up_gap_bytes") == (0, 8 * 2**30 - 8)


def test_a_hole_far_below_is_forgotten(meter: Meter) -> None:
    """Its numbers, modulo 2^32, would be near again one day: here only the nearer hole is a gap."""
    script = f"{SHAKE}, > A seq=11 ack=1 len=10, > A seq={{}} ack=1 len=1, < A seq=1 ack={{}}"
    edge = 10 + 2**30
    assert values(meter, script.format(edge, edge + 1), "up_gap_bytes") == (edge - 21 + 10,)
    assert values(meter, script.format(edge + 1, edge + 2), "up_gap_bytes") == (edge + 1 - 21,)


def test_a_gap_is_shown_however_far_it_lies_below(meter: Meter) -> None:
    """Here the acknowledgement is more than 2^31 beyond the hole's begin."""
    steps = [SHAKE, "> A seq=1 ack=1 len=20", f"> A seq={2**31 + 1} ack=1 len=10", f"> A seq={2**32 + 1} ack=1"]
    steps.append(f"< A seq=1 ack={2**32 + 1 + 2**28}")
    assert values(meter, ", ".join(steps), "up_gap_bytes") == (2**31 - 10 + 2**28,)


@pytest.mark.parametrize(("ack", "gap"), [(2**30 + 1, 2**30), (2**30 + 2, 0)])
def test_a_far_acknowledgement_shows_no_gap(meter: Meter, ack: int, gap: int) -> None:
    """More than 2^30 beyond the highest number seen."""
    assert values(meter, f"{SHAKE}, < A seq=1 ack={ack}", "up_gap_bytes") == (gap,)


def test_a_segment_across_the_farthest_number_leaves_no_hole(meter: Meter) -> None:
    """It begins 2^31 - 1 ahead and ends 2^31 ahead, which is as far behind."""
    script = f"{SHAKE}, > A seq={2**31} ack=1 len=1, > A seq=1 ack=1 len=10, > A seq=1 ack=1 len=10"
    assert values(meter, script, "up_retransmitted_bytes", "up_out_of_order_packets") == (10, 0)


def test_a_far_syn_or_rst_is_not_believed(meter: Meter) -> None:
    """A number far away does not move what comes next."""
    script = SHAKE + ", > R seq=1048579, > A seq=1 ack=1 len=5"
    assert values(meter, script, "up_retransmitted_packets", "up_out_of_order_packets") == (0, 0)
    near = SHAKE + ", > A seq=1 ack=1 len=5, < R seq=1048577, < A seq=1 ack=6 len=5"
    assert values(meter, near, "down_retransmitted_packets") == (0,)


DUPLICATES = {
    "< A seq=1 ack=11, < A seq=1 ack=11": 1,
    "< A seq=1 ack=11, < A seq=1 ack=11, < A seq=1 ack=11": 2,
    "< A seq=1 ack=11 win=9, < A seq=1 ack=11": 0,  # a window update
    "< A seq=1 ack=11, < A seq=1 ack=11 len=1": 0,
    "< A seq=1 ack=11, < FA seq=1 ack=11": 0,
    "< A seq=1 ack=21, < A seq=1 ack=21": 0,  # nothing is outstanding
    "< A seq=1 ack=11, < A seq=1 ack=6": 0,  # older, not again
}


@pytest.mark.parametrize("script", DUPLICATES)
def test_duplicate_acknowledgements(meter: Meter, script: str) -> None:
    sending = SHAKE + ", > A seq=1 ack=1 len=10, > A seq=11 ack=1 len=10, "
    assert values(meter, sending + script, "down_duplicate_acks") == (DUPLICATES[script],)


ZERO_WINDOWS = {
    SHAKE + ", > A seq=1 ack=1 win=0, > A seq=1 ack=1 win=0": 2,
    SHAKE + ", > RA seq=1 ack=1 win=0": 0,
    SHAKE + ", < FA seq=1 ack=1, > A seq=1 ack=2 win=0": 0,
    SHAKE + ", > FA seq=1 ack=1, > A seq=2 ack=1 win=0": 1,
}


@pytest.mark.parametrize("script", ZERO_WINDOWS)
def test_zero_windows(meter: Meter, script: str) -> None:
    assert values(meter, script, "up_zero_windows") == (ZERO_WINDOWS[script],)


HANDSHAKES = {
    "> S at=1, < SA ack=1 at=1.25, > A seq=1 ack=1 at=1.75": (0.25, 0.5),
    "> S at=1, > S at=2, < SA ack=1 at=2.25": (0.25, None),
    "> S at=1, < SA ack=1 at=1.25, < SA ack=1 at=2, > A seq=1 ack=1 at=2.5": (0.25, 0.5),
    "< SA ack=1 at=1, > A seq=1 ack=1 at=1.5": (None, 0.5),
    "> S at=1, < SA ack=1 at=2, > A seq=1 ack=1 at=2.5, > A seq=1 ack=1 at=9": (1.0, 0.5),
    "> S at=1, < RA ack=1 at=1.5": (None, None),
    "> A seq=1 ack=1 at=1, < A seq=1 ack=1 at=2": (None, None),
}


@pytest.mark.parametrize("script", HANDSHAKES)
def test_handshake_times(meter: Meter, script: str) -> None:
    assert values(meter, script, "handshake_syn_rtt_s", "handshake_ack_rtt_s") == HANDSHAKES[script]


def test_options_of_both_syns(meter: Meter) -> None:
    """Each end's first SYN tells its segment size, shift and SACK; its first segment the window."""
    syn = eth(ip4(tcp(40000, 443, "S", 1, mss=1460, scale=20, sack=True, window=11)))
    again = eth(ip4(tcp(40000, 443, "S", 1, mss=500, window=12)))
    answer = eth(ip4(tcp(443, 40000, "SA", 9, 2, window=13), B, A))
    found = meter([sent(0, syn), sent(1, again), sent(2, answer)]).rows[0]
    names = "mss", "window_scale", "sack_permitted", "init_window"
    assert [found[f"up_{name}"] for name in names] == [1460, 14, True, 11]
    assert [found[f"down_{name}"] for name in names] == [None, None, False, 13]


def test_caught_in_the_middle_has_a_window_but_no_options(meter: Meter) -> None:
    names = "up_mss", "up_window_scale", "up_sack_permitted", "up_init_window", "down_init_window"
    assert values(meter, "> A seq=1 ack=1 win=77", *names) == (None, None, None, 77, None)


def test_parts_go_on_and_count_anew(meter: Meter) -> None:
    """A part behind the active timeout keeps states and numbers; letters, counts and handshake are its own."""
    script = SHAKE + ", > A seq=1 ack=1 len=10, > A seq=1 ack=1 len=10 at=9, < A seq=1 ack=11 at=9.5"
    first, second = meter(segments(script), active_timeout=5.0).rows
    assert [first[name] for name in ("tcp_state", "tcp_history", "up_init_window")] == ["S1", "ShAD", 1000]
    names = "tcp_state", "tcp_history", "up_retransmitted_packets", "handshake_syn_rtt_s", "up_init_window"
    assert [second[name] for name in names] == ["S1", "DTa", 1, None, None]


@pytest.mark.parametrize(
    ("end", "state"),
    [("> FA seq=1 ack=1, < FA seq=1 ack=2", "SF"), ("> R seq=1", "RSTO"), ("< R seq=1", "RSTR")],
)
def test_late_parts_know_how_the_connection_ended(meter: Meter, end: str, state: str) -> None:
    """What comes long after the close is of a closed connection, whose numbers are forgotten."""
    script = f"{SHAKE}, {end}, > A seq=7000 ack=2 at=20"
    late = meter(segments(script)).rows[1]
    assert (late["end_reason"], late["tcp_state"], late["tcp_history"]) == ("late", state, "A")
    assert late["up_gap_bytes"] == 0


def test_without_a_segment_every_column_is_null(meter: Meter) -> None:
    """Tails of fragments, other protocols and address pairs have no connection."""
    tail = meter([sent(0, eth(ip4(tcp(1, 2), offset=8)))]).rows[0]
    hosts = meter(segments(SHAKE), key="hosts").rows[0]
    names = [name for name in hosts if name.startswith("tcp_") or name.endswith(("_acks", "_mss", "_rtt_s"))]
    assert len(names) == 8
    assert {row[name] for row in (tail, hosts) for name in names} == {None}


def test_connections_are_followed_without_ending_them(meter: Meter) -> None:
    """no_tcp_end keeps records open; what the connection did is told all the same."""
    script = SHAKE + ", > FA seq=1 ack=1, < FA seq=1 ack=2"
    found = row(meter, script, no_tcp_end=True)
    assert (found["end_reason"], found["tcp_state"]) == ("eof", "SF")
