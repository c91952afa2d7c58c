"""What the two ends of a TCP connection did: their states, the state of the connection, and its history.

States, letters and the order of the tests are those of Zeek's conn.log (docs/flow-semantics.md, "TCP connections").
`f` is the record of the group `tcp`; ends are numbered by direction, 0 is the client.
"""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import helper, inline_helper, kernel
from flowgauge.kernels.header import ACK, FIN, RST, SYN
from flowgauge.kernels.sequence import plus

U8, U64, I64 = np.uint8, np.uint64, np.int64

# States of an end (RFC 9293 §3.3.2, as far as a bystander can tell them apart).
INACTIVE, SYN_SENT, SYN_ACK_SENT, PARTIAL, ESTABLISHED, CLOSED, RESET = (np.uint8(code) for code in range(7))

# `endpoint`: the state, the one before it, and
STATE_BITS, BEFORE_SHIFT = np.uint8(7), np.uint8(3)
FIN_SENT, SEEN = np.uint8(1 << 6), np.uint8(1 << 7)

# `letters`: those that come once, or again only with another number; and whether the end has closed its stream.
SAID_S, SAID_F, SAID_R, SAID_D, SAID_A, SAID_I, SAID_Q, STREAM_CLOSED = (np.uint8(1 << bit) for bit in range(8))

LETTERS = "^" + "".join(letter + letter.lower() for letter in "SHADFRIQTWG")
"""Letter of a code, less 1; those of the server are one higher than those of the client."""
FLIPPED, S, H, A, D, F, R, FIN_AND_RST, MULTIPLE, T, W, G = (
    np.int64(code) for code in (1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22)
)
CODE_BITS, CODE_MASK, CODES_OF_WORD, COUNT_SHIFT = U64(5), U64(31), U64(12), U64(60)
MAX_HISTORY = 2 * int(CODES_OF_WORD)
LETTER_BYTES = np.frombuffer(("\0" + LETTERS).encode(), np.uint8).copy()

TCP_STATES = ("S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR", "OTH")
S0, S1, SF, REJ, S2, S3, RSTO, RSTR, RSTOS0, RSTRH, SH, SHR, OTH = range(13)


@inline_helper
def state_of(f, end):
    return f.endpoint[end] & STATE_BITS


@inline_helper
def state_before(f, end):
    return (f.endpoint[end] >> BEFORE_SHIFT) & STATE_BITS


@helper
def set_state(f, end, state):
    before = f.endpoint[end] & STATE_BITS
    if state != before:
        f.endpoint[end] = (f.endpoint[end] & (FIN_SENT | SEEN)) | (before << BEFORE_SHIFT) | state


@helper
def _answer_syn(q, f, end, peer):
    """A SYN, with or without ACK, from an end that was silent."""
    if end == 0 and state_of(f, 1) != ESTABLISHED:
        set_state(f, 0, SYN_ACK_SENT if q.tcp_flags & ACK else SYN_SENT)
        return
    if state_of(f, peer) == SYN_SENT:
        set_state(f, peer, ESTABLISHED)
    set_state(f, end, ESTABLISHED)


@helper
def _first_move(q, f, end, peer):
    """The first segment of an end."""
    flags = q.tcp_flags
    if flags & SYN:
        _answer_syn(q, f, end, peer)
    if flags & FIN:
        set_state(f, end, CLOSED)
    if flags & RST:
        set_state(f, end, RESET)
    if state_of(f, end) != INACTIVE:
        return
    if end == 1 and q.payload_len == 0 and state_of(f, 0) == SYN_SENT:
        return  # some acknowledge the SYN before they answer it
    joins = flags & ACK and state_of(f, peer) == ESTABLISHED
    set_state(f, end, ESTABLISHED if joins else PARTIAL)


@helper
def move(q, f, end, peer):
    """Let a segment with SYN, FIN or RST, or the first of an end, change the states."""
    flags, state = q.tcp_flags, state_of(f, end)
    if state == INACTIVE:
        _first_move(q, f, end, peer)
    elif state == SYN_SENT or state == SYN_ACK_SENT:
        if flags & FIN:
            set_state(f, end, CLOSED)
        if flags & RST:
            set_state(f, end, RESET)
    elif state == ESTABLISHED or state == PARTIAL:
        bare_syn = flags & SYN and not flags & ACK
        if bare_syn and state == PARTIAL and state_of(f, peer) == INACTIVE:
            set_state(f, end, SYN_SENT)
        if flags & RST:
            set_state(f, end, RESET)
        elif flags & FIN:
            set_state(f, end, CLOSED)
            if state_of(f, peer) == RESET and state_before(f, peer) == CLOSED:
                set_state(f, peer, CLOSED)  # its RST came behind its FIN: an ordinary end
    elif state == CLOSED and flags & RST and state_of(f, peer) != CLOSED:
        set_state(f, end, RESET)


@helper
def is_clean(f, end):
    """Whether an end was, and as far as that goes is, in an established connection."""
    state = state_of(f, end)
    return state == ESTABLISHED or (state == CLOSED and state_before(f, end) == ESTABLISHED)


@helper
def add_letter(f, code):
    """Append a letter; what is beyond MAX_HISTORY is left out. The top bits of a word count its letters."""
    word = 0 if f.history[0] >> COUNT_SHIFT < CODES_OF_WORD else 1
    place = f.history[word] >> COUNT_SHIFT
    if place < CODES_OF_WORD:
        f.history[word] = (f.history[word] | U64(code) << (CODE_BITS * place)) + (U64(1) << COUNT_SHIFT)


@helper
def letter_at(f, place):
    """Code of a letter, 0 behind the last."""
    word = U64(place) // CODES_OF_WORD
    if word > U64(1):
        return I64(0)
    return I64(f.history[word] >> (CODE_BITS * (U64(place) % CODES_OF_WORD)) & CODE_MASK)


@helper
def add_counted(f, code, count):
    """A letter for the 1st, 10th, 100th … time."""
    power = 1
    while power < count:
        power *= 10
    if power == count:
        add_letter(f, code)


@helper
def _add_once(f, end, said, code):
    if not f.letters[end] & said:
        f.letters[end] |= said
        add_letter(f, code + end)


@helper
def _add_numbered(f, end, said, code, same):
    """A letter that comes again with another sequence number than the last of its kind."""
    if not (f.letters[end] & said and same):
        f.letters[end] |= said
        add_letter(f, code + end)


@helper
def note_control(q, f, end):
    """Letters of a segment with SYN, FIN or RST; those of one with more than one of them."""
    flags = q.tcp_flags
    control = flags & (SYN | FIN | RST)
    if control == SYN:
        _add_numbered(f, end, SAID_S, H if flags & ACK else S, q.tcp_seq == f.start[end])
    elif control == FIN:
        behind = plus(q.tcp_seq, q.payload_len)
        _add_numbered(f, end, SAID_F, F, behind == f.fin[end])
    elif control == RST:
        _add_numbered(f, end, SAID_R, R, q.tcp_seq == f.rst[end])
        f.rst[end] = q.tcp_seq
    elif flags & FIN and flags & RST:
        _add_once(f, end, SAID_I, FIN_AND_RST)
    else:
        _add_once(f, end, SAID_Q, MULTIPLE)


@inline_helper
def note_plain(q, f, end):
    """Letters of a segment without SYN, FIN and RST."""
    if q.payload_len:
        if not f.letters[end] & SAID_D:
            _add_once(f, end, SAID_D, D)
    elif q.tcp_flags & ACK and not f.letters[end] & SAID_A:
        _add_once(f, end, SAID_A, A)


@helper
def _syn_then_reset(f):
    """Whether the client sent a SYN and then, before anything but retransmissions and the like, an RST."""
    place = 1 if letter_at(f, 0) == FLIPPED else 0
    if letter_at(f, place) != S:
        return False
    while True:
        place += 1
        code = letter_at(f, place)
        if code == R:
            return True
        if code == 0 or code in (H, A, F, G, FIN_AND_RST, MULTIPLE):
            return False


@helper
def _reset_state(f, client, server, sent_nothing):
    """State of a connection with an RST."""
    if server == RESET:
        if client == SYN_SENT or client == SYN_ACK_SENT or (client == RESET and sent_nothing):
            return REJ
        return RSTRH if client == INACTIVE or client == PARTIAL else RSTR
    if server != INACTIVE and server != PARTIAL:
        return RSTO
    return RSTOS0 if _syn_then_reset(f) else OTH


@helper
def connection_state(f, sent_nothing):
    """Index into TCP_STATES; `sent_nothing`: by the sequence numbers no end has sent payload."""
    client, server = state_of(f, 0), state_of(f, 1)
    if client == RESET or server == RESET:
        return _reset_state(f, client, server, sent_nothing)
    if client == CLOSED and server == CLOSED:
        return SF
    if client == CLOSED:
        return SH if server == INACTIVE or server == PARTIAL else S2
    if server == CLOSED:
        return SHR if client == INACTIVE or client == PARTIAL else S3
    if client == SYN_SENT and server == INACTIVE:
        return S0
    if client == ESTABLISHED and server == ESTABLISHED:
        return S1
    return OTH


@kernel
def put_histories(words, letters, offsets, out):
    """Write the text of each history, and where it ends, into `out`; returns the bytes written."""
    at = 0
    for row in range(len(words)):
        for word in range(2):
            rest = words[row, word]
            for _ in range(rest >> COUNT_SHIFT):
                out[at] = letters[rest & CODE_MASK]
                rest >>= CODE_BITS
                at += 1
        offsets[row + 1] = at
    return at
