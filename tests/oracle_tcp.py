"""What a TCP connection did, slowly: docs/flow-semantics.md, "TCP connections", for tests/oracle.py.

Numbers are unwrapped into plain integers, so that nothing here is modulo anything; holes are a list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
FAR = 2**20
NEAR = 2**30
UNSEEN = ("inactive", "partial")
MAX_LETTERS = 24
MAX_HOLES = 2


def near(number: int, reference: int) -> int:
    """The integer that is `number` modulo 2^32 and nearest to the reference (less than 2^31 above it)."""
    distance = (number - reference) % 2**32
    return reference + (distance - 2**32 if distance >= 2**31 else distance)


@dataclass
class Hole:
    """Numbers begin..end-1 that were passed over; acknowledged before they were seen, when they lay beyond `last`."""

    begin: int
    end: int
    acknowledged: bool = False


@dataclass
class Counts:
    """What begins anew with every part."""

    retransmitted_packets: int = 0
    retransmitted_bytes: int = 0
    out_of_order_packets: int = 0
    gap_bytes: int = 0
    gaps: int = 0
    duplicate_acks: int = 0
    zero_windows: int = 0
    init_window: int | None = None
    mss: int | None = None
    window_scale: int | None = None
    sack_permitted: bool | None = None


@dataclass
class End:
    """One end of the connection."""

    state: str = "inactive"
    before: str = "inactive"  # the state before that one
    seen: bool = False
    start: int = 0
    last: int = 0
    acked: int = 0
    window: int | None = None
    fin: int | None = None  # number behind the payload of its latest FIN
    rst: int | None = None
    stream_closed: bool = False
    holes: list[Hole] = field(default_factory=list)  # older first
    said: set[str] = field(default_factory=set)
    counts: Counts = field(default_factory=Counts)

    def go(self, state: str) -> None:
        if state != self.state:
            self.before, self.state = self.state, state

    @property
    def numbered(self) -> bool:
        """Whether its numbers are known. A server that has only acknowledged a SYN has none."""
        return self.seen and self.state != "inactive"

    @property
    def clean(self) -> bool:
        return self.state == "established" or (self.state == "closed" and self.before == "established")

    @property
    def payload(self) -> int:
        """Payload bytes by the numbers, as far as "has sent payload" asks."""
        if self.state == "inactive":
            return 0
        return max(0, self.last - self.start - 1 - (self.fin is not None))

    def forget_far_holes(self) -> None:
        self.holes = [hole for hole in self.holes if self.last - hole.end <= NEAR]


class Tracker:
    """The connection of one flow; `report` makes the columns of the part at work."""

    def __init__(self) -> None:
        self.ends = (End(), End())
        self.history = ""
        self.begun = False
        self.syn_time: int | None = None
        self.synack_time: int | None = None
        self.syn_rtt: int | None = None
        self.ack_rtt: int | None = None

    def next_part(self, *, swapped: bool) -> None:
        """Begin another part; with the roles swapped the server becomes the client."""
        if swapped:
            self.ends = self.ends[::-1]
        for end in self.ends:
            end.counts, end.said = Counts(), set()
        self.history, self.begun = "", True
        self.syn_time = self.synack_time = self.syn_rtt = self.ack_rtt = None

    @classmethod
    def late(cls, reason: str, rst_end: int | None) -> Tracker:
        """Behind the end of a connection whose record has left."""
        tracker = cls()
        tracker.begun = True
        for number, end in enumerate(tracker.ends):
            end.state, end.before = "established", "inactive"
            if reason == "fin":
                end.go("closed")
            elif number == rst_end:
                end.go("reset")
        return tracker

    # Segments

    def open(self, direction: int) -> None:
        """The first packet of the flow's first record."""
        if not self.begun and direction == 1:
            self.history = "^"
        self.begun = True

    def add(self, segment: Any, direction: int, time: int, *, first_part: bool) -> None:
        """Take in a segment (`Transport` of the oracle) with at least one flag."""
        flags = segment.flags
        end, peer = self.ends[direction], self.ends[1 - direction]
        if not end.numbered or (flags & SYN and self._restarts(segment, end)):
            self._start(segment, end)
        if not end.seen and first_part:
            end.counts.init_window = segment.window
        end.seen = True
        self._note(segment, end, direction)
        if flags & SYN and not flags & RST:
            self._shake(segment, end, direction, time)
        if flags & FIN:
            end.fin = near(segment.seq, end.last) + segment.payload
        self._watch_window(segment, end, peer, direction)
        acknowledges = flags & ACK and not flags & RST
        if acknowledges:
            advanced = peer.numbered and self._acknowledge(segment, end, peer)
            end.window = segment.window
            if direction == 0 and not flags & SYN and self.ends[1].acked != self.ends[1].start:
                self._acknowledge_handshake(time)
        self._send(segment, end, direction)
        end.forget_far_holes()
        self._move(segment, end, peer, direction)
        if acknowledges and advanced and end.state != "inactive":
            self._reveal(peer, 1 - direction)

    def _restarts(self, segment: Any, end: End) -> bool:
        if segment.seq == end.start % 2**32 or end.state == "closed":
            return False
        return end.state != "reset" or end.before == "inactive"

    def _start(self, segment: Any, end: End) -> None:
        """The page: "an initial number (of its SYN; without one, the number before its first segment)" """
        if segment.flags & SYN:
            end.start = segment.seq
            end.last = end.start + length_of(segment)
        else:
            end.start = segment.seq - 1
            end.last = segment.seq
        end.acked = end.start
        end.holes = []

    def _shake(self, segment: Any, end: End, direction: int, time: int) -> None:
        if "options" not in end.said:
            end.said.add("options")
            end.counts.mss, end.counts.window_scale = segment.mss or None, segment.window_scale
            end.counts.sack_permitted = segment.sack
        if direction == 0 and not segment.flags & ACK:
            if self.syn_rtt is None:
                self.syn_time = time
        elif direction == 1 and segment.flags & ACK:
            if self.syn_rtt is None and self.syn_time is not None:
                self.syn_rtt = max(0, time - self.syn_time)
            if self.ack_rtt is None:
                self.synack_time = time

    def _acknowledge_handshake(self, time: int) -> None:
        if self.ack_rtt is None and self.synack_time is not None:
            self.ack_rtt = max(0, time - self.synack_time)

    # History

    def _letter(self, letter: str, direction: int) -> None:
        if len(self.history) < MAX_LETTERS:
            self.history += letter if direction else letter.upper()

    def _counted_letter(self, letter: str, direction: int, count: int) -> None:
        if re.fullmatch("10*", str(count)):
            self._letter(letter, direction)

    def _once(self, letter: str, end: End, direction: int, *, again: bool = False) -> None:
        if again or letter not in end.said:
            end.said.add(letter)
            self._letter(letter, direction)

    def _note(self, segment: Any, end: End, direction: int) -> None:
        flags = segment.flags
        control = flags & (SYN | FIN | RST)
        if control == SYN:
            letter = "h" if flags & ACK else "s"
            again = "syn" in end.said and segment.seq != end.start % 2**32
            if "syn" not in end.said or again:
                end.said.add("syn")
                self._letter(letter, direction)
        elif control == FIN:
            behind = (segment.seq + segment.payload) % 2**32
            self._once("f", end, direction, again=end.fin is None or end.fin % 2**32 != behind)
        elif control == RST:
            self._once("r", end, direction, again=segment.seq != end.rst)
            end.rst = segment.seq
        elif flags & FIN and flags & RST:
            self._once("i", end, direction)
        elif control:
            self._once("q", end, direction)
        elif segment.payload:
            self._once("d", end, direction)
        elif flags & ACK:
            self._once("a", end, direction)

    def _watch_window(self, segment: Any, end: End, peer: End, direction: int) -> None:
        if segment.window == 0 and not segment.flags & RST and peer.state != "closed" and end.state != "reset":
            end.counts.zero_windows += 1
            self._counted_letter("w", direction, end.counts.zero_windows)

    # Numbers

    def _acknowledge(self, segment: Any, end: End, peer: End) -> bool:
        """Whether the highest acknowledgement advances; duplicates are counted."""
        number = near(segment.ack, peer.acked)
        if number > peer.acked:
            if segment.ack == 0 and number - peer.acked > FAR:
                return False
            peer.acked = number
            return True
        plain = segment.payload == 0 and not segment.flags & (SYN | FIN)
        outstanding = near(peer.last, number) > number
        again = number == peer.acked > peer.start
        if again and plain and segment.window == end.window and outstanding:
            end.counts.duplicate_acks += 1
        return False

    def _send(self, segment: Any, end: End, direction: int) -> None:
        flags, payload = segment.flags, 0 if segment.flags & RST else segment.payload
        seq = near(segment.seq, end.last)
        stop = near(segment.seq + length_of(segment), end.last)
        if flags & (SYN | RST) and abs(stop - end.last) > FAR:
            return
        only_syn = "options" in end.said and end.last == end.start + 1
        if flags & FIN and only_syn and end.last - stop > FAR:
            end.last = stop + 2**32
            return
        if end.state == "reset":
            return
        begin = seq + bool(flags & SYN)
        if flags & RST:
            pass
        elif begin > end.last < stop:
            self._open_hole(end, direction, Hole(end.last, begin))
        elif payload and end.last - NEAR <= begin < end.last:
            self._send_old(end, direction, begin, begin + payload, advances=stop > end.last)
        end.last = max(end.last, stop)

    def _send_old(self, end: End, direction: int, begin: int, stop: int, *, advances: bool) -> None:
        """Payload below `last`."""
        old = range(begin, min(stop, end.last))
        early = len(range(old.start, min(old.stop, end.start + 1)))
        filled, late = self._fill(end, direction, max(begin, end.start + 1), old.stop)
        end.counts.retransmitted_bytes += len(old) - early - filled - late
        if advances or (late and late == len(old)):
            return
        if filled or late or early:
            end.counts.out_of_order_packets += 1
        else:
            end.counts.retransmitted_packets += 1
        total = end.counts.out_of_order_packets + end.counts.retransmitted_packets
        self._counted_letter("t", direction, total)

    def _fill(self, end: End, direction: int, begin: int, stop: int) -> tuple[int, int]:
        """Bytes of open and of acknowledged holes in begin..stop, which are filled, the older hole first.

        Choice: the middle of a hole, when it leaves two and there are two, makes room like any third hole.
        """
        filled = late = 0
        for hole in list(end.holes):
            low, high = max(begin, hole.begin), min(stop, hole.end)
            if low >= high or abs(hole.begin - begin) > NEAR or not any(hole is other for other in end.holes):
                continue
            if hole.acknowledged:
                late += high - low
            else:
                filled += high - low
            above = Hole(high, hole.end, hole.acknowledged)
            if low == hole.begin:
                hole.begin = high
            else:
                hole.end = low
                if above.begin != above.end:
                    self._open_hole(end, direction, above)
            end.holes = [other for other in end.holes if other.begin != other.end]
        return filled, late

    def _open_hole(self, end: End, direction: int, hole: Hole) -> None:
        """The page: "for a third the older makes room (one that was acknowledged first) and is a gap" """
        if len(end.holes) == MAX_HOLES:
            victim = next((other for other in end.holes if other.acknowledged), end.holes[0])
            if not victim.acknowledged:
                self._lose(end, direction, victim.end - victim.begin)
            end.holes = [other for other in end.holes if other is not victim]
        end.holes.append(hole)

    def _lose(self, end: End, direction: int, size: int) -> None:
        end.counts.gap_bytes += size
        if all(other.clean for other in self.ends):
            end.counts.gaps += 1
            self._counted_letter("g", direction, end.counts.gaps)

    def _reveal(self, peer: End, direction: int) -> None:
        """What the peer has sent was acknowledged."""
        if peer.state in ("inactive", "reset"):
            return
        edge = near(peer.acked, peer.last)
        if peer.fin is not None and near(peer.acked, peer.fin) > peer.fin:
            edge = near(peer.fin, peer.last)
        if abs(edge - peer.last) > NEAR:
            return
        for hole in list(peer.holes):
            if not hole.acknowledged and edge > hole.begin:
                self._lose(peer, direction, min(edge, hole.end) - hole.begin)
                hole.begin = min(edge, hole.end)
        peer.holes = [hole for hole in peer.holes if hole.begin != hole.end]
        if edge > peer.last:
            keep_alive = peer.state == "partial" and edge - peer.start <= 2
            if not keep_alive:
                self._lose(peer, direction, edge - peer.last)
                self._open_hole(peer, direction, Hole(peer.last, edge, acknowledged=True))
            peer.last = edge
            peer.forget_far_holes()

    # States

    def _move(self, segment: Any, end: End, peer: End, direction: int) -> None:
        flags = segment.flags
        if end.state == "inactive":
            self._first_move(segment, end, peer, direction)
        elif end.state in ("syn", "synack"):
            if flags & FIN:
                end.go("closed")
            if flags & RST:
                end.go("reset")
        elif end.state in ("established", "partial"):
            if flags & SYN and not flags & ACK and end.state == "partial" and peer.state == "inactive":
                end.go("syn")
            if flags & RST:
                end.go("reset")
            elif flags & FIN:
                end.go("closed")
                if (peer.before, peer.state) == ("closed", "reset"):
                    peer.go("closed")
        elif end.state == "closed" and flags & RST and peer.state != "closed":
            end.go("reset")

    def _first_move(self, segment: Any, end: End, peer: End, direction: int) -> None:
        flags = segment.flags
        if flags & SYN:
            if direction == 0 and peer.state != "established":
                end.go("synack" if flags & ACK else "syn")
            else:
                if peer.state == "syn":
                    peer.go("established")
                end.go("established")
        if flags & FIN:
            end.go("closed")
        if flags & RST:
            end.go("reset")
        if end.state != "inactive":
            return
        if direction == 1 and segment.payload == 0 and peer.state == "syn":
            return
        end.go("established" if flags & ACK and peer.state == "established" else "partial")

    def state(self) -> str:
        client, server = self.ends
        c, s = client.state, server.state
        if s == "reset":
            rejected = c in ("syn", "synack") or (
                c == "reset" and client_payload(client, server) == server.payload == 0
            )
            return "REJ" if rejected else "RSTRH" if c in UNSEEN else "RSTR"
        if c == "reset":
            if s not in UNSEEN:
                return "RSTO"
            return "RSTOS0" if re.match(r"\^?S[^HAFGIQ]*R", self.history) else "OTH"
        if c == s == "closed":
            return "SF"
        if c == "closed":
            return "SH" if s in UNSEEN else "S2"
        if s == "closed":
            return "SHR" if c in UNSEEN else "S3"
        return {("syn", "inactive"): "S0", ("established", "established"): "S1"}.get((c, s), "OTH")

    def report(self) -> dict[str, Any]:
        """The columns of the group `tcp` for the part at work."""
        if not any(end.seen for end in self.ends):
            return dict.fromkeys(COLUMNS)
        row: dict[str, Any] = {
            "tcp_state": self.state(),
            "tcp_history": self.history,
            "handshake_syn_rtt_s": None if self.syn_rtt is None else self.syn_rtt / 1e9,
            "handshake_ack_rtt_s": None if self.ack_rtt is None else self.ack_rtt / 1e9,
        }
        for prefix, end in zip(("up_", "down_"), self.ends, strict=True):
            row |= {prefix + name: getattr(end.counts, name) for name in COUNTED}
        return row


COUNTED = (
    "retransmitted_packets",
    "retransmitted_bytes",
    "out_of_order_packets",
    "gap_bytes",
    "duplicate_acks",
    "zero_windows",
    "init_window",
    "mss",
    "window_scale",
    "sack_permitted",
)
COLUMNS = (
    "tcp_state",
    "tcp_history",
    "handshake_syn_rtt_s",
    "handshake_ack_rtt_s",
    *(prefix + name for prefix in ("up_", "down_") for name in COUNTED),
)


def client_payload(client: End, server: End) -> int:
    """The client's payload. An answer to its SYN that acknowledges other numbers was of an older connection."""
    half_open = (client.before, client.state, server.state) == ("syn", "reset", "inactive")
    return 0 if half_open and client.acked - client.start > 1 else client.payload


def length_of(segment: Any) -> int:
    """Sequence numbers that a segment takes; "Payload of RSTs is none of the stream." """
    payload = 0 if segment.flags & RST else segment.payload
    return payload + bool(segment.flags & SYN) + bool(segment.flags & FIN)
