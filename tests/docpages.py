"""The pages of the documentation, their blocks of commands and code, and a folder in which those run."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", *DOCS, ROOT / "examples" / "README.md", ROOT / "CONTRIBUTING.md"]
BLOCK = re.compile(r"^```(\w*)(?: (lab|newcomer|no-run))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ELLIPSIS = "…"


def script(name: str) -> ModuleType:
    """A script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Block(NamedTuple):
    """A fenced block of a page.

    `mark` says what runs it: nothing behind the language is `test_docs.py`, "lab" are network namespaces
    (`test_docs_lab.py`), "newcomer" a bare clone (`newcomer.sh`), "no-run" nothing. `shown` is the output that the page
    shows for it.
    """

    language: str
    mark: str
    text: str
    shown: str


def blocks(page: Path) -> list[Block]:
    """The blocks of a page that are commands or code, each with the ```text block right behind it."""
    text = page.read_text("utf-8")
    found: list[Block] = []
    end = -1
    for match in BLOCK.finditer(text):
        language, mark, body = match.groups()
        if language == "text":
            assert end >= 0 and not text[end : match.start()].strip(), f"output of nothing in {page.name}: {body}"
            found[-1] = found[-1]._replace(shown=body)
        elif language:
            found.append(Block(language, mark or "", body, ""))
        end = match.end() if language in ("shell", "python") else -1
    return found


def counts() -> dict[str, int]:
    """How many blocks of all pages have each mark."""
    marks = [block.mark for page in PAGES for block in blocks(page)]
    return {mark: marks.count(mark) for mark in ("", "lab", "newcomer", "no-run")}


def masked(line: str) -> str:
    """A line without what differs from run to run, and without spaces at its end."""
    return "time" if line.startswith("time ") else line.rstrip()


def assert_shown(shown: str, printed: str) -> None:
    """Every line shown was printed, in this order; … stands for lines, and within a line for a part of it."""
    lines = iter(map(masked, printed.splitlines()))
    for line in shown.splitlines():
        if line != ELLIPSIS:
            form = re.escape(masked(line)).replace(ELLIPSIS, ".+")
            assert any(re.fullmatch(form, other) for other in lines), f"not printed: {line!r}\n{printed}"


class Session:
    """A folder with the example captures, in which the blocks of one page run one after another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: dict[str, Any] = {}
        for name in ("captures", "features"):
            shutil.copytree(ROOT / "examples" / name, folder / "examples" / name)
        self._tools = folder / ".tools"
        self._tools.mkdir()
        self.tool("flowgauge", f'exec "{sys.executable}" -m flowgauge "$@"')
        self.tool("python", f'exec "{sys.executable}" "$@"')
        self.variables = os.environ | {"PATH": f"{self._tools}{os.pathsep}{os.environ['PATH']}"}

    def tool(self, name: str, script: str) -> None:
        """A program that the blocks find first."""
        path = self._tools / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def run(self, block: Block) -> str:
        """What the block prints."""
        return {"shell": self._shell, "python": self._python}[block.language](block.text)

    def _shell(self, text: str) -> str:
        command = ["bash", "-euo", "pipefail", "-c", text]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "timeout": 300}
        done = subprocess.run(command, cwd=self.folder, env=self.variables, check=False, **pipes)
        assert done.returncode == 0, f"{text}\nended with {done.returncode}:\n{done.stdout}"
        return str(done.stdout)

    def _python(self, text: str) -> str:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(text, "<example>", "exec"), self.names)
        return printed.getvalue()


def main() -> None:
    """List the blocks that no test runs, and count all: ``python tests/docpages.py``."""
    for page in PAGES:
        for block in blocks(page):
            if block.mark == "no-run":
                print(f"{page.relative_to(ROOT)}: not run:\n{block.text}")
    count = counts()
    print(", ".join(f"{number} {mark or 'run'}" for mark, number in count.items()))


if __name__ == "__main__":
    main()
