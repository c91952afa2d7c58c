"""Delivery: flow records to another system, at least once.

Importing this package loads no client of any of them; opening a destination does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from flowgauge.capture.units import bytes_of, seconds_of
from flowgauge.errors import ConfigError
from flowgauge.sinks.delivery.delivery import WAIT, Delivery, Limits, LiveDelivery, Terms
from flowgauge.sinks.delivery.destination import Destination
from flowgauge.sinks.delivery.url import Url, parse_url

__all__ = ["DESTINATIONS", "Terms", "is_destination", "known_destinations", "open_delivery"]

Factory = Callable[[Url, bool], Destination]
"""Makes the destination of a URL, without connecting, where JSON leaves out what is null or not. Raises ConfigError,
MissingDependency."""


def _kafka(url: Url, omit_null: bool) -> Destination:
    from flowgauge.sinks.delivery.kafka import Kafka

    return Kafka(url, omit_null)


def _ipfix(url: Url, omit_null: bool) -> Destination:
    from flowgauge.sinks.delivery.ipfix import Ipfix

    return Ipfix(url)


def _duckdb(url: Url, omit_null: bool) -> Destination:
    from flowgauge.sinks.delivery.duckdbfile import DuckDBFile

    return DuckDBFile(url)


def _postgresql(url: Url, omit_null: bool) -> Destination:
    from flowgauge.sinks.delivery.postgresql import PostgreSQL

    return PostgreSQL(url)


def _clickhouse(url: Url, omit_null: bool) -> Destination:
    from flowgauge.sinks.delivery.clickhouse import ClickHouse

    return ClickHouse(url)


DESTINATIONS: dict[str, Factory] = {
    **{"kafka": _kafka, "ipfix": _ipfix},
    **{"duckdb": _duckdb, "postgresql": _postgresql, "clickhouse": _clickhouse},
}
"""Every destination by the scheme of its URL."""

FILES: dict[str, str] = {".duckdb": "duckdb"}
"""Extensions of files that are destinations, by which scheme."""


def is_destination(output: Any) -> bool:
    """Whether flow records are delivered to this output, not written as bytes. Raises ConfigError for a broken URL."""
    return _url(output) is not None


def known_destinations() -> str:
    """All schemes and extensions, to be shown."""
    return ", ".join([*(f"{scheme}://" for scheme in DESTINATIONS if scheme not in FILES.values()), *FILES])


def _url(output: Any) -> Url | None:
    if not isinstance(output, (str, os.PathLike)):
        return None
    text = os.fsdecode(output)
    scheme, colon, _ = text.partition("://")
    if colon:
        return parse_url(text) if scheme.lower() in DESTINATIONS else None
    found = FILES.get(os.path.splitext(text)[1].lower())
    return None if found is None else Url(found, (), None, None, text, {})


def open_delivery(output: Any, schema: pa.Schema, terms: Terms, omit_null: bool = False) -> Delivery | LiveDelivery:
    """A sink, to be used as a context manager, that delivers record batches of `schema` to `output`.

    Raises ConfigError for a destination or an option that cannot be; entering the context raises SinkError.
    """
    url = _url(output)
    if url is None:
        raise ConfigError(f"{output} is no destination; there are {known_destinations()}")
    limits = _limits(url)
    destination = DESTINATIONS[url.scheme](url, omit_null)
    return (LiveDelivery if terms.live else Delivery)(destination, schema, terms, limits)


def _limits(url: Url) -> Limits:
    options = url.options
    folder = options.get("spool")
    wait = seconds_of("wait", options.get("wait")) or WAIT
    return Limits(wait, Path(folder) if folder else None, bytes_of("spool_size", options.get("spool_size")))
