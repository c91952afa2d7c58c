"""The kinds of encapsulation: one row each, at the index of its number."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

NO_ID, ID, PAIR = range(3)  # of what a kind's id consists: nothing, a number, two numbers of 16 bits


class Kind(NamedTuple):
    """`name` as the column `tunnel` has it; `symmetric` where its id is the same both ways: it belongs to the key."""

    name: str
    id: int = ID
    symmetric: bool = False


KINDS = (
    Kind("", NO_ID),
    # between the link and IP
    Kind("mpls"),
    Kind("pppoe"),
    Kind("pbb"),
    Kind("fabricpath", NO_ID),
    Kind("trill", NO_ID),
    Kind("nsh"),
    # in IP
    Kind("ipip", NO_ID),
    Kind("6in4", NO_ID),
    Kind("4in6", NO_ID),
    Kind("6in6", NO_ID),
    Kind("gre", NO_ID),
    Kind("gre"),
    Kind("nvgre", symmetric=True),
    Kind("pptp"),
    Kind("erspan1", NO_ID),
    Kind("erspan2"),
    Kind("erspan3"),
    Kind("etherip", NO_ID),
    Kind("ethernet", NO_ID),
    Kind("l2tpv3"),
    # in UDP
    Kind("vxlan", symmetric=True),
    Kind("vxlan-gpe", symmetric=True),
    Kind("geneve", symmetric=True),
    Kind("gtp"),
    Kind("teredo", NO_ID),
    Kind("l2tp", PAIR),
    Kind("capwap", NO_ID),
    Kind("ayiya", NO_ID),
    Kind("tzsp", NO_ID),
)
(
    _,
    MPLS,
    PPPOE,
    PBB,
    FABRICPATH,
    TRILL,
    NSH,
    IP_IN_IP,
    IPV6_IN_IP,
    IP_IN_IPV6,
    IPV6_IN_IPV6,
    GRE,
    GRE_KEYED,
    NVGRE,
    PPTP,
    ERSPAN1,
    ERSPAN2,
    ERSPAN3,
    ETHERIP,
    ETHERNET,
    L2TPV3,
    VXLAN,
    VXLAN_GPE,
    GENEVE,
    GTP,
    TEREDO,
    L2TP,
    CAPWAP,
    AYIYA,
    TZSP,
) = (np.uint8(number) for number in range(len(KINDS)))

SYMMETRIC = np.array([kind.symmetric for kind in KINDS], np.uint8)


def stack_text(kinds: list[int], ids: list[int]) -> str:
    """The column `tunnel`: encapsulations from the outermost on."""
    return "/".join(_text(KINDS[kind], number) for kind, number in zip(kinds, ids, strict=True))


def _text(kind: Kind, number: int) -> str:
    if kind.id == NO_ID:
        return kind.name
    return f"{kind.name}:{number >> 16}.{number & 0xFFFF}" if kind.id == PAIR else f"{kind.name}:{number}"
