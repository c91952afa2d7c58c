"""Counts of runs: what of them is kept, and how those of several runs are added."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import flowgauge as fg
from flowgauge.stats import STATS, RunStats, total
from packets import A, B, capture, eth, ip4, sent, udp


def _captures(folder: Path) -> list[str]:
    """Two packets and one that is cut off; a file that is no capture."""
    frame = eth(ip4(udp(1, 53, b"x"), A, B))
    (folder / "app_do_1.pcap").write_bytes(capture([sent(0, frame), sent(1, frame), sent(2, frame[:20])]))
    (folder / "secret-name.pcap").write_bytes(b"no capture at all, but text that is long enough")
    return [str(folder / name) for name in ("app_do_1.pcap", "secret-name.pcap")]


def _noted(path: Path) -> dict[str, object]:
    noted: dict[str, object] = json.loads(pq.read_metadata(path).metadata[STATS.encode()])
    return noted


def test_a_parquet_file_keeps_the_counts_of_its_run(tmp_path: Path) -> None:
    """They are those that the run gives, without its times."""
    stats = fg.extract(_captures(tmp_path), tmp_path / "flows.parquet")
    noted = _noted(tmp_path / "flows.parquet")
    assert noted == {name: value for name, value in stats.as_dict().items() if not name.endswith("seconds")}
    assert (noted["packets"], noted["rows"], len(noted["failed"])) == (3, 1, 1)  # type: ignore[arg-type]
    assert total([noted]) == RunStats(**noted)  # type: ignore[arg-type]


def test_counts_of_an_anonymised_run_name_no_file(tmp_path: Path) -> None:
    """Names of files can say who was captured."""
    (tmp_path / "key").write_text(bytes(range(32)).hex())
    (tmp_path / "key").chmod(0o600)
    fg.extract(_captures(tmp_path), tmp_path / "flows.parquet", anonymize=tmp_path / "key")
    noted = _noted(tmp_path / "flows.parquet")
    assert noted["packets"] == 3
    assert "secret-name" not in json.dumps(noted)


@pytest.mark.oracle
def test_counts_of_several_runs_are_added() -> None:
    """Numbers are added, lists and names joined, of shares the worst one is kept; unknown words are passed over."""
    one = {"packets": 3, "reasons": {"metered": 2, "not_ip": 1}, "failed": {"a": "why"}, "skipped": ["x"]}
    other = {"packets": 1, "reasons": {"metered": 1}, "duplicates_suspected": 0.25, "limited": True, "later": 1}
    assert total([one, other]) == RunStats(
        packets=4,
        reasons={"metered": 3, "not_ip": 1},
        failed={"a": "why"},
        skipped=["x"],
        duplicates_suspected=0.25,
        limited=True,
    )
