"""Flows of many captures, or of one long trace in many files, on a cluster: Apache Spark does the distribution.

>>> from flowgauge.spark import flows
>>> frame = flows(spark, "captures/", join=True)
"""

from __future__ import annotations

from flowgauge.spark.frame import flows

__all__ = ["flows"]
