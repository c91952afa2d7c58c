"""The documentation says what is true: examples run, generated parts are up to date, links lead somewhere."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import flowgauge
from benchresults import RESULTS
from docpages import BLOCK, DOCS, PAGES, ROOT, Session, assert_shown, blocks, counts, script
from services_here import needs

LINKED = [*PAGES, *(ROOT / name for name in ("CHANGELOG.md", "benchmarks/README.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
HELPED = re.compile(r"^ +(?:-\w, )?(--[a-z][a-z-]+)", re.MULTILINE)  # where --help describes an option


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)  # as in an activated environment
    return Session(tmp_path)


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    return script("generate")


@pytest.fixture(scope="module")
def options(generator: ModuleType) -> dict[str, set[str]]:
    """The options of every command, as its --help shows them."""
    names = [name for name, _ in generator.commands(generator.typer.main.get_command(generator.app))]
    helped = {}
    for name in names:
        command = [sys.executable, "-m", *name.split(), "--help"]
        helped[name] = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True).stdout
    return {name: set(HELPED.findall(text)) for name, text in helped.items()}


def _with_marks(page: Path) -> Any:
    """A page, with what its blocks need."""
    if page.name != "spark.md":
        return page
    return pytest.param(page, marks=[needs("java", "pyspark"), pytest.mark.filterwarnings("ignore")])


def _name(page: Path) -> str:
    return page.name


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize("page", [_with_marks(page) for page in PAGES if blocks(page)], ids=_name)
def test_examples_run(page: Path, session: Session) -> None:
    """Every command and every Python block of a page runs, and prints what the page shows."""
    for block in blocks(page):
        if not block.mark:
            assert_shown(block.shown, session.run(block))


def test_what_is_not_run() -> None:
    """The blocks that no test runs are these few, and at most one in twenty."""
    left_out = [(page.name, block) for page in PAGES for block in blocks(page) if block.mark == "no-run"]
    assert [(name, block.text.split()[0]) for name, block in left_out] == [
        ("storage.md", "flowgauge"),
        ("storage.md", "import"),
        ("README.md", "apt-get"),
        ("CONTRIBUTING.md", "make"),
    ]
    count = counts()
    assert count["no-run"] <= 0.05 * sum(count.values())


def test_what_newcomers_do_is_in_the_readme() -> None:
    """Blocks for a bare clone are those of the README, which a test runs there."""
    of_readme = [block.text for block in blocks(ROOT / "README.md") if block.mark == "newcomer"]
    others = [block.text for page in PAGES[1:] for block in blocks(page) if block.mark == "newcomer"]
    assert len(of_readme) == 1
    assert set(others) <= set(of_readme)


def test_every_page_of_commands_has_examples() -> None:
    """All fenced blocks are shell, Python, output, or drawings without a language; the main pages have examples."""
    found = {page.name: {block.language for block in blocks(page)} for page in PAGES}
    assert set().union(*found.values()) == {"shell", "python"}
    for name in ("README.md", "quickstart.md", "labels.md", "formats.md", "python.md", "cli.md"):
        assert found[name], name


@pytest.mark.parametrize("name", ["cli.md", "columns.md", "packets.md"])
def test_generated_pages(generator: ModuleType, name: str) -> None:
    """The generated part of a page is what `python docs/generate.py` writes."""
    text = (ROOT / "docs" / name).read_text("utf-8")
    assert text == generator.generated(name, text), f"docs/{name} is out of date: run python docs/generate.py"


def test_every_command_and_option_is_documented(options: dict[str, set[str]]) -> None:
    """docs/cli.md has a section for each command, and in it each option that --help shows."""
    sections = re.split(r"^## ", (ROOT / "docs" / "cli.md").read_text("utf-8"), flags=re.MULTILINE)
    by_command = {section.splitlines()[0]: set(OPTION.findall(section)) for section in sections}
    assert "--idle-timeout" in options["flowgauge extract"]
    for name, known in options.items():
        assert known - {"--help"} <= by_command[name], name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_exist(page: Path, options: dict[str, set[str]]) -> None:
    """Every option that a page writes as code is one of a command of flowgauge."""
    text = page.read_text("utf-8")
    spans = [code for code in re.findall(r"`([^`\n]+)`", text) if code.startswith(("--", "flowgauge"))]
    lines = [line for block in blocks(page) for line in block.text.splitlines() if "flowgauge " in line]
    mentioned = {option for code in (*spans, *lines) if "pip " not in code for option in OPTION.findall(code)}
    assert mentioned <= set().union(*options.values())


def test_python_names() -> None:
    """Every `fg.name` of the pages is public, and every public name is on the page about Python."""
    mentioned = {name for page in PAGES for name in re.findall(r"\bfg\.(\w+)", page.read_text("utf-8"))}
    public = set(flowgauge.__all__)
    assert mentioned <= public
    described = set(re.findall(r"\w+", (ROOT / "docs" / "python.md").read_text("utf-8")))
    assert public - described == {"__version__"}


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub forms them."""
    text = BLOCK.sub("", page.read_text("utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page: Path) -> None:
    """Every link within the repository leads to a file that is there, and to a heading in it."""
    for link in LINK.findall(BLOCK.sub("", page.read_text("utf-8"))):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists() and target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_on_the_map() -> None:
    """docs/index.md links every other page of docs/."""
    text = (ROOT / "docs" / "index.md").read_text("utf-8")
    listed = set(LINK.findall(text[text.index("## All pages") :])) - {"../CONTRIBUTING.md"}
    assert listed == {page.name for page in DOCS} - {"index.md"}


def test_every_page_is_in_the_navigation() -> None:
    """mkdocs.yml lists every page of docs/."""
    entries = set(re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE))
    assert {page.name for page in DOCS} <= entries


def test_lines_are_short() -> None:
    """No line is longer than 120 characters, but for those of tables, code and output."""
    long = []
    for page in (ROOT / "README.md", *DOCS):
        lines = BLOCK.sub("", page.read_text("utf-8")).splitlines()
        long += [f"{page.name}: {line[:60]}" for line in lines if len(line) > 120 and not line.startswith("|")]
    assert long == []


def test_speed_table(tmp_path: Path) -> None:
    """The README's table on speed quotes the results of a benchmark, and nothing around it changes."""
    table = importlib.import_module("readme_table")
    (tmp_path / "results.json").write_text(json.dumps(RESULTS))
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    table.write(tmp_path / "results.json", readme)
    lines = readme.read_text("utf-8").splitlines()
    assert (lines[0], lines[1], lines[-2], lines[-1]) == ("before", table.BEGIN, table.END, "after")
    assert "| mix, 2,000,000 packets, 100,000 flows | 7.65 million | too short |" in lines
    assert "| dpkt 1.9.8 | 98.7 | too short |" in lines
    assert not any("old" in line or "softflowd" in line for line in lines)


def test_speed_table_has_its_place() -> None:
    """The README holds the markers between which the table on speed is written."""
    table = importlib.import_module("readme_table")
    text = (ROOT / "README.md").read_text("utf-8")
    assert 0 < text.index(table.BEGIN) < text.index(table.END)
