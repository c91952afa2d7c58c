"""Every real capture in one run."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import flowgauge as fg
from corpus_folder import CORPUS, corpus_files, needs_corpus

pytestmark = [pytest.mark.corpus, needs_corpus]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[fg.RunStats, pa.Table]:
    """What `flowgauge extract` counts and writes of the whole folder."""
    output = tmp_path_factory.mktemp("whole") / "all.parquet"
    stats = fg.extract(str(CORPUS), str(output))
    return stats, pq.read_table(output)


def test_every_file_is_read_or_named(whole: tuple[fg.RunStats, pa.Table]) -> None:
    """No file fails; those that are no captures are named."""
    stats, _ = whole
    assert stats.failed == {}
    visible = [path for path in corpus_files(".") if not path.name.startswith(".")]
    assert stats.files + len(stats.skipped) == len(visible)
    assert stats.files > 1000


def test_every_packet_is_accounted_for(whole: tuple[fg.RunStats, pa.Table]) -> None:
    """Packets read are those of the reasons together; metered ones are in the records, by file and in all."""
    stats, table = whole
    assert sum(stats.reasons.values()) == stats.packets > 120_000
    assert stats.reasons["decoder_fault"] == 0
    assert pc.sum(table["packets"]).as_py() == stats.reasons["metered"]
    assert table.num_rows == stats.rows == sum(stats.ended.values())
    alone = corpus_files("zeek", "*.pcap")[:20]
    for path in alone:
        records = table.filter(pc.equal(table["source"].cast(pa.string()), str(path)))
        assert (pc.sum(records["packets"]).as_py() or 0) == fg.info(str(path)).reasons["metered"]


def test_community_ids_are_those_of_the_specification(whole: tuple[fg.RunStats, pa.Table]) -> None:
    """The records of the specification's captures have the ids of its baseline, and no other."""
    _, table = whole
    folder = CORPUS / "formats" / "community-id-spec"
    of_folder = pc.starts_with(table["source"].cast(pa.string()), str(folder / "pcaps"))
    baseline = json.loads(Path(folder, "baseline", "baseline_deflt.json").read_text())
    found = set(table.filter(of_folder)["community_id"].to_pylist())
    assert found == {entry["communityid"] for entry in baseline}
