"""flowgauge: captured network traffic in, labelled flow records out.

    >>> import flowgauge as fg
    >>> table = fg.read("captures/", label="{app}_{action}_*.pcap")

Importing the package loads neither Numba nor pyarrow; the first use of a name does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowgauge.captureinfo import CaptureInfo, info
    from flowgauge.comparing import Comparison, compare
    from flowgauge.config import MeterConfig
    from flowgauge.custom.declare import UserFeature, feature
    from flowgauge.custom.types import boolean, f32, f64, i8, i16, i32, i64, u8, u16, u32, u64
    from flowgauge.cutting import Cut, cut
    from flowgauge.errors import (
        ConfigError,
        FeatureError,
        FlowgaugeError,
        GatewayError,
        MissingDependency,
        NotACapture,
        SinkError,
        SourceError,
        TruncatedCapture,
        UnsupportedLinkType,
    )
    from flowgauge.learning import PacketBytes, Sequences, features_of, packet_bytes, sequences, split
    from flowgauge.meter import Meter
    from flowgauge.packettable.packets import packets
    from flowgauge.report.plot import plot
    from flowgauge.run import extract, read, stream, write
    from flowgauge.schemas import columns
    from flowgauge.stats import RunStats

__version__ = "0.1.0"

_HOME = {
    "CaptureInfo": "captureinfo",
    "Comparison": "comparing",
    "ConfigError": "errors",
    "Cut": "cutting",
    "FeatureError": "errors",
    "FlowgaugeError": "errors",
    "GatewayError": "errors",
    "Meter": "meter",
    "MeterConfig": "config",
    "MissingDependency": "errors",
    "NotACapture": "errors",
    "PacketBytes": "learning",
    "RunStats": "stats",
    "Sequences": "learning",
    "SinkError": "errors",
    "SourceError": "errors",
    "TruncatedCapture": "errors",
    "UnsupportedLinkType": "errors",
    "UserFeature": "custom.declare",
    "boolean": "custom.types",
    "columns": "schemas",
    "compare": "comparing",
    "cut": "cutting",
    "extract": "run",
    "f32": "custom.types",
    "f64": "custom.types",
    "feature": "custom.declare",
    "features_of": "learning",
    "i16": "custom.types",
    "i32": "custom.types",
    "i64": "custom.types",
    "i8": "custom.types",
    "info": "captureinfo",
    "packet_bytes": "learning",
    "packets": "packettable.packets",
    "plot": "report.plot",
    "read": "run",
    "sequences": "learning",
    "split": "learning",
    "stream": "run",
    "u16": "custom.types",
    "u32": "custom.types",
    "u64": "custom.types",
    "u8": "custom.types",
    "write": "run",
}

__all__ = [
    "CaptureInfo",
    "Comparison",
    "ConfigError",
    "Cut",
    "FeatureError",
    "FlowgaugeError",
    "GatewayError",
    "Meter",
    "MeterConfig",
    "MissingDependency",
    "NotACapture",
    "PacketBytes",
    "RunStats",
    "Sequences",
    "SinkError",
    "SourceError",
    "TruncatedCapture",
    "UnsupportedLinkType",
    "UserFeature",
    "__version__",
    "boolean",
    "columns",
    "compare",
    "cut",
    "extract",
    "f32",
    "f64",
    "feature",
    "features_of",
    "i8",
    "i16",
    "i32",
    "i64",
    "info",
    "packet_bytes",
    "packets",
    "plot",
    "read",
    "sequences",
    "split",
    "stream",
    "u8",
    "u16",
    "u32",
    "u64",
    "write",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'flowgauge' has no attribute {name!r}")
    return getattr(importlib.import_module(f"flowgauge.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
