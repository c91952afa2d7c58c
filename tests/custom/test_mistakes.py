"""Usual mistakes in features are refused in the terms of who wrote them, with the line."""

from __future__ import annotations

import importlib.util
import io
import re
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

import flowgauge as fg
from flowgauge.kernels._jit import JIT
from packets import capture, eth, ip4, sent, udp

CAPTURE = capture([sent(0, eth(ip4(udp(1024, 53, bytes(8)))))])

MISTAKES = {
    "unknown field of the packet": (
        """
        @fg.feature(columns={"n": fg.u32})
        def wrong(flow, pkt):
            if pkt.payload_length > 3:
                flow.n += 1
        """,
        5,
        "pkt has no field 'payload_length'; did you mean 'payload_len'?",
    ),
    "text": (
        """
        @fg.feature(columns={"n": fg.u32})
        def wrong(flow, pkt):
            flow.n += 1
            name = "web"
        """,
        6,
        "there is no text in a feature; keep a number that stands for it",
    ),
    "dict": (
        """
        @fg.feature(columns={"n": fg.u32})
        def wrong(flow, pkt):
            seen = {}
            flow.n += 1
        """,
        5,
        "a dict cannot be kept per flow; declare an array in state, such as fg.u32[16]",
    ),
    "list append": (
        """
        @fg.feature(columns={"n": fg.u32}, state={"sizes": fg.u32[4]})
        def wrong(flow, pkt):
            flow.n += 1
            flow.sizes.append(pkt.ip_len)
        """,
        6,
        "a list cannot be kept per flow; declare an array in state, such as fg.u32[16], and count its values",
    ),
    "undeclared column": (
        """
        @fg.feature(columns={"tiny_packets": fg.u32})
        def wrong(flow, pkt):
            flow.tiny_packets += 1
            flow.tiny_bytes += pkt.payload_len
        """,
        6,
        "flow has no field 'tiny_bytes'; did you mean 'tiny_packets'?; declare it in columns, or in state where it is "
        "not to be shown",
    ),
    "column never set": (
        """
        @fg.feature(columns={"n": fg.u32, "rest": fg.u32})
        def wrong(flow, pkt):
            flow.n += 1
        """,
        3,
        "column 'rest' is declared and never set; set flow.rest",
    ),
    "wrong type": (
        """
        @fg.feature(columns={"n": fg.u32})
        def wrong(flow, pkt):
            flow.n = pkt.payload_len / 2
        """,
        5,
        "'n' is uint32 and gets a number with a fraction; declare it fg.f64, or use // and int()",
    ),
    "closure over an array": (
        """
        import numpy as np

        def make():
            table = np.arange(8)

            @fg.feature(columns={"n": fg.u32})
            def wrong(flow, pkt):
                flow.n += table[pkt.payload_len & 7]

            return wrong

        wrong = make()
        """,
        8,
        "'table' is an array of the function around this one; define it at the top of the file, or give a number as a "
        "parameter",
    ),
    "import inside": (
        """
        @fg.feature(columns={"n": fg.f64})
        def wrong(flow, pkt):
            import math
            flow.n = math.sqrt(pkt.payload_len)
        """,
        5,
        "imports inside a function cannot be compiled; import at the top of the file",
    ),
    "recursion": (
        """
        def depth(n):
            return 0 if n == 0 else 1 + depth(n - 1)

        @fg.feature(columns={"n": fg.u32})
        def wrong(flow, pkt):
            flow.n = depth(pkt.payload_len)
        """,
        4,
        "a function that calls itself cannot be compiled; write a loop",
    ),
    "print": (
        """
        @fg.feature(columns={"n": fg.u32})
        def wrong(flow, pkt):
            flow.n += 1
            print(pkt.payload_len)
        """,
        6,
        "print cannot be compiled; run python -m flowgauge.testing on the file, where print and pdb work",
    ),
    "what was seen is set": (
        """
        @fg.feature(columns={"n": fg.u32})
        def wrong(flow, pkt):
            flow.n += 1
            pkt.payload_len = 3
        """,
        6,
        "pkt is what was seen and cannot be set; set fields of flow",
    ),
}


def _module(folder: Path, text: str) -> ModuleType:
    """A module of a file with this text; its first line imports flowgauge."""
    path = folder / "mine.py"
    path.write_text("import flowgauge as fg\n" + textwrap.dedent(text))
    spec = importlib.util.spec_from_file_location("mine", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("text", "line", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    """The message says file, line, feature, what is wrong and what to do."""
    module = _module(tmp_path, text)
    with pytest.raises(fg.FeatureError) as raised:
        fg.read(io.BytesIO(CAPTURE), features=["core", module.wrong])
    assert str(raised.value) == f"{tmp_path / 'mine.py'}:{line}: wrong: {message}"


@pytest.mark.compiled
@pytest.mark.skipif(not JIT, reason="not compiled")
def test_what_only_the_compiler_refuses_is_named_with_its_line(tmp_path: Path) -> None:
    """A function that cannot be compiled for another reason is named, with its line."""
    module = _module(
        tmp_path,
        """
        import collections

        @fg.feature(columns={"n": fg.u32})
        def wrong(flow, pkt):
            flow.n += 1
            flow.n = collections.Counter(pkt.payload_len)
        """,
    )
    with pytest.raises(fg.FeatureError, match=re.escape(f"{tmp_path / 'mine.py'}:8: wrong: ")) as raised:
        fg.read(io.BytesIO(CAPTURE), features=["core", module.wrong])
    assert "Counter" in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.compiled
@pytest.mark.skipif(not JIT, reason="not compiled")
def test_arrays_are_not_made_in_a_feature(tmp_path: Path) -> None:
    """What would allocate memory for every packet is refused with what to do instead."""
    module = _module(
        tmp_path,
        """
        import numpy as np

        @fg.feature(columns={"n": fg.u32})
        def wrong(flow, pkt):
            flow.n = len(np.zeros(3))
        """,
    )
    message = "7: wrong: arrays cannot be made while packets are counted; declare one in state"
    with pytest.raises(fg.FeatureError, match=re.escape(f"{tmp_path / 'mine.py'}:{message}")):
        fg.read(io.BytesIO(CAPTURE), features=["core", module.wrong])


def test_declarations_are_checked_at_once() -> None:
    """A type that is none, a name that is none, a text as a parameter and an argument that is not known are refused."""
    with pytest.raises(fg.ConfigError, match=r"'n' is declared as <class 'int'>; its type is one of fg\.u8"):
        fg.feature(columns={"n": int})(lambda flow: None)  # type: ignore[dict-item]
    with pytest.raises(fg.ConfigError, match="'a b' is no name of a field"):
        fg.feature(columns={"a b": fg.u8})(lambda flow: None)
    with pytest.raises(fg.ConfigError, match="parameter 'limit' is a number, not 'x'"):
        fg.feature(columns={"n": fg.u8}, params={"limit": "x"})(lambda flow: None)  # type: ignore[dict-item]
    with pytest.raises(fg.ConfigError, match="takes 'packet'; it can take flow, pkt, core, payload, params"):
        fg.feature(columns={"n": fg.u8})(lambda packet: None)
    with pytest.raises(fg.ConfigError, match="has no columns"):
        fg.feature(columns={})(lambda flow: None)
    with pytest.raises(fg.ConfigError, match="1 to 4096 values, not 0"):
        fg.u8[0]


def test_an_index_out_of_range_names_the_packet(tmp_path: Path) -> None:
    """Payload that is not there is an error that says at which packet, not a wrong number."""
    module = _module(
        tmp_path,
        """
        @fg.feature(columns={"ninth": fg.u8})
        def wrong(flow, payload):
            flow.ninth = payload[8]
        """,
    )
    with pytest.raises(fg.FeatureError, match="wrong: an index is out of range at packet 1; look at the length"):
        fg.read(io.BytesIO(CAPTURE), features=["core", module.wrong])


def test_names_that_are_taken_are_refused() -> None:
    """A column cannot have the name of another."""

    @fg.feature(columns={"packets": fg.u32})
    def mine(flow: object) -> None:
        flow.packets = 1  # type: ignore[attr-defined]

    with pytest.raises(fg.ConfigError, match="feature 'mine': there is a column 'packets' already; rename it"):
        fg.read(io.BytesIO(CAPTURE), features=[mine])
