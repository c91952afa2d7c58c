"""Results of a benchmark that never ran, in the form of benchmarks/results.json."""

from __future__ import annotations

from typing import Any

RESULTS: dict[str, Any] = {
    "packets": 2_000_000,
    "machine": {"cpu": "Some CPU", "python": "3.12.1"},
    "fixed": {"extract_one_packet_s": {"median": 0.912}, "compile_s": 17.6},
    "rates": {
        "mix": {
            "packets": 2_000_000,
            "flows": 100_000,
            "rates": {"kernels": {"packets_per_s": 7.654e6}, "csv": {"packets_per_s": None}},
            "stages": {"decode": {"ns_per_packet": 51.4, "share": 0.114}},
        },
        "small": {
            "packets": 8_000_000,
            "flows": 64,
            "rates": {"kernels": {"packets_per_s": 9e6}, "csv": {"packets_per_s": 5e6}},
        },
    },
    "memory": {"bytes_per_slot": 641.4},
    "peers": {
        "softflowd": {"missing": "not installed"},
        "dpkt": {"version": "1.9.8", "packets_per_s": 4e4, "ratios": {"kernels": {"median": 98.7}, "csv": None}},
    },
}
