"""The tutorial notebook runs from its first cell to its last, and is kept without outputs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from docpages import ROOT

NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The notebook with the outputs that its cells have here, run in docs/ by a kernel of its own."""
    client = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
        patch.setenv("JUPYTER_PLATFORM_DIRS", "1")
        paths = (str(ROOT / "src"), os.environ.get("PYTHONPATH", ""))
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        resources = {"metadata": {"path": str(NOTEBOOK.parent)}}
        return client.NotebookClient(notebook, timeout=300, resources=resources).execute()


def printed(cell: Any) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream" and output.name == "stdout")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_notebook_runs(executed: Any) -> None:
    """Every cell runs, none of them warns, and the numbers are those of the example captures."""
    cells = [cell for cell in executed.cells if cell.cell_type == "code"]
    said = [output.text for cell in cells for output in cell.outputs if output.get("name") == "stderr"]
    assert said == []
    text = "".join(map(printed, cells))
    assert text.startswith("80 flows, 126 columns\n")
    assert "(80, 20, 5)" in text
    shown = [output.get("data", {}) for cell in cells for output in cell.outputs]
    assert any("text/html" in data and "<table" in data["text/html"] for data in shown)
    assert sum("Chart" in data.get("text/plain", "") for data in shown) == 3


def test_notebook_is_kept_without_outputs() -> None:
    """The file has neither outputs nor counts of executions, so that it differs only where somebody wrote."""
    cells = json.loads(Path(NOTEBOOK).read_text("utf-8"))["cells"]
    kept = [cell for cell in cells if cell.get("outputs") or cell.get("execution_count") is not None]
    assert len(cells) > 10
    assert kept == []
