"""Every exception that flowgauge raises on purpose.

::

    FlowgaugeError
    ├── ConfigError (ValueError)          an option, column, template or combination that cannot be
    │   └── FeatureError                  a user's feature that cannot be compiled or has failed
    ├── SourceError                       an input could not be read
    │   ├── NotACapture                   neither pcap nor pcapng, in any known compression
    │   ├── TruncatedCapture              the input ends or breaks inside a record
    │   └── UnsupportedLinkType           no packet of the input can be decoded
    ├── SinkError                         an output could not be written
    │   └── DestinationDown               a system that records are delivered to does not answer; it may later
    ├── GatewayError                      the gateway could not be set up, looked at or taken down
    └── MissingDependency (ImportError)   an optional package or program; the message is the install command

Malformed packets are never exceptions: each ends in one counted reason.
"""

from __future__ import annotations


class FlowgaugeError(Exception):
    """Base of all errors; its message says what was needed, what was there, and what to do."""


class ConfigError(FlowgaugeError, ValueError):
    """An option, column, template or combination of options that cannot be."""


class FeatureError(ConfigError):
    """A user's feature that cannot be compiled, or that has failed on a packet."""


class SourceError(FlowgaugeError):
    """An input could not be read."""


class NotACapture(SourceError):
    """The input is neither pcap nor pcapng, in any known compression."""


class TruncatedCapture(SourceError):
    """The input ends or breaks inside a record; packets before that byte were read."""


class UnsupportedLinkType(SourceError):
    """No packet of the input has a link type that is decoded."""


class SinkError(FlowgaugeError):
    """An output could not be written."""


class DestinationDown(SinkError):
    """A system that records are delivered to does not answer or is busy; it may be tried again."""


class GatewayError(FlowgaugeError):
    """The gateway could not be set up, looked at or taken down."""


class MissingDependency(FlowgaugeError, ImportError):
    """An optional package or program is not installed; the message is the install command."""
