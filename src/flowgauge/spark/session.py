"""A Spark session for the command line."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from flowgauge.errors import ConfigError, FlowgaugeError
from flowgauge.spark.frame import require

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_CACHE = "FLOWGAUGE_CACHE_DIR"


@contextlib.contextmanager
def session(master: str | None = None) -> Iterator[SparkSession]:
    """The session that there is, or one that is stopped again: of `master`, else of Spark's own settings, else of all
    processors of this machine.

    Raises MissingDependency without PySpark, FlowgaugeError where Spark cannot be started.
    """
    require()
    from pyspark.sql import SparkSession

    there = SparkSession.getActiveSession()
    if there is not None:
        own = there.conf.get("spark.master")
        if master is not None and own != master:
            raise ConfigError(f"there is a Spark session already, of {own}: leave master out")
        yield there
        return
    logging.getLogger("py4j").setLevel(logging.ERROR)
    builder: Any = SparkSession.builder.appName("flowgauge").config("spark.log.level", "ERROR")
    if master is not None:
        builder = builder.master(master)
    if _CACHE in os.environ:
        builder = builder.config(f"spark.executorEnv.{_CACHE}", os.environ[_CACHE])
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of a pandas that PySpark does not know
            made = builder.getOrCreate()
    except Exception as error:
        raise FlowgaugeError(f"Spark cannot be started: {_first_line(error)}; is Java 17 or later installed?") from None
    try:
        yield made
    finally:
        made.stop()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
