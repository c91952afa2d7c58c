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
    from flowgauge.config import MeterConfig
    from flowgauge.errors import (
        ConfigError,
        FlowgaugeError,
        MissingDependency,
        NotACapture,
        SinkError,
        SourceError,
        TruncatedCapture,
        UnsupportedLinkType,
    )
    from flowgauge.meter import Meter
    from flowgauge.run import extract, read, stream, write
    from flowgauge.schemas import columns
    from flowgauge.stats import RunStats

__version__ = "0.1.0"

_HOME = {
    "CaptureInfo": "captureinfo",
    "ConfigError": "errors",
    "FlowgaugeError": "errors",
    "Meter": "meter",
    "MeterConfig": "config",
    "MissingDependency": "errors",
    "NotACapture": "errors",
    "RunStats": "stats",
    "SinkError": "errors",
    "SourceError": "errors",
    "TruncatedCapture": "errors",
    "UnsupportedLinkType": "errors",
    "columns": "schemas",
    "extract": "run",
    "info": "captureinfo",
    "read": "run",
    "stream": "run",
    "write": "run",
}

__all__ = [
    "CaptureInfo",
    "ConfigError",
    "FlowgaugeError",
    "Meter",
    "MeterConfig",
    "MissingDependency",
    "NotACapture",
    "RunStats",
    "SinkError",
    "SourceError",
    "TruncatedCapture",
    "UnsupportedLinkType",
    "__version__",
    "columns",
    "extract",
    "info",
    "read",
    "stream",
    "write",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'flowgauge' has no attribute {name!r}")
    return getattr(importlib.import_module(f"flowgauge.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
