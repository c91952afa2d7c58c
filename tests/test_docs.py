"""The documentation says what is true: examples run, generated parts are up to date, links lead somewhere."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

import flowgauge

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINKED = [
    *PAGES,
    *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/README.md", "examples/README.md")),
]
BLOCK = re.compile(r"^```(\w*)( no-run)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
HELPED = re.compile(r"^ +(?:-\w, )?(--[a-z][a-z-]+)", re.MULTILINE)  # where --help describes an option

# They need a network, a live interface or minutes: what a page shows and no test runs.
NOT_RUN = {
    "make demo     # from a bare clone: makes .venv, installs, meters examples/captures/: flows.csv, report.html",
    "make test     # runs every test",
    "pip install .                        # in a clone",
    "pip wheel --no-deps -w dist . && pip install dist/flowgauge-*.whl",
    "sudo flowgauge gateway up --lan wlan0 --uplink eth0",
    "sudo flowgauge gateway up --lan wlan0 --uplink eth0 --client 192.168.7.20 --proxy socks5://127.0.0.1:1080",
    "sudo flowgauge gateway status",
    "sudo flowgauge gateway down",
    "sudo flowgauge gateway up --lan wlan0 --uplink eth0 --client 192.168.7.20",
    "sudo flowgauge record -i wlan0 --client 192.168.7.20 --app linkedin --action login --duration 60 -o captures/",
    "sudo flowgauge record -i wlan0 --app linkedin --action login --client 192.168.7.20 --duration 60 -o captures/",
    "sudo flowgauge record -i wlan0 --app linkedin --action login --duration 20 --repeat 10 --pause 5 -o captures/",
    "sudo flowgauge record -i wlan0 --client 192.168.7.20 --adb --action login --baseline 60 --duration 30 --repeat 5 "
    "--pause 10 -o captures/",
    "sudo flowgauge record -i wlan0 --client 192.168.7.20 --app linkedin --action search --duration 30 -o captures/",
    "flowgauge info captures/",
    "flowgauge extract captures/ -o flows.parquet",
    "apt-get install nftables redsocks iproute2 iptables procps curl openssl tcpdump",
    "apt-get install bind9-dnsutils dnsmasq-base iperf3 microsocks tinyproxy-bin chromium",
    "tcpdump -i eth0 -w - | flowgauge extract - -o flows.csv",
    "sudo flowgauge interfaces",
    "sudo flowgauge live -i eth0 -o flows --rotate 5m",
    "sudo flowgauge live -i eth0 -o flows --rotate 5m --filter 'not port 22' --top",
    "sudo flowgauge live -i any -o - --format jsonl --quiet | head",
    "python3 -m venv --copies /opt/flowgauge",
    "/opt/flowgauge/bin/pip install .",
    "sudo setcap cap_net_raw+ep /opt/flowgauge/bin/python3",
    "/opt/flowgauge/bin/flowgauge live -i eth0 -o flows",
}


class Block(NamedTuple):
    """A fenced block of a page; `shown` is the output that the page shows for it."""

    language: str
    runs: bool
    text: str
    shown: str


def blocks(page: Path) -> list[Block]:
    """The blocks of a page that are commands or code, each with the ```text block right behind it."""
    text = page.read_text("utf-8")
    found: list[Block] = []
    end = -1
    for match in BLOCK.finditer(text):
        language, marked, body = match.groups()
        if language == "text":
            assert end >= 0 and not text[end : match.start()].strip(), f"output of nothing in {page.name}: {body}"
            found[-1] = found[-1]._replace(shown=body)
        elif language:
            found.append(Block(language, not marked, body, ""))
        end = match.end() if language in ("shell", "python") else -1
    return found


def masked(line: str) -> str:
    """A line without what differs from run to run, and without spaces at its end."""
    return "time" if line.startswith("time ") else line.rstrip()


def assert_shown(shown: str, printed: str) -> None:
    """Every line shown was printed, in this order;."""
    lines = iter(map(masked, printed.splitlines()))
    for line in shown.splitlines():
        if line != "…":
            assert masked(line) in lines, f"not printed: {line!r}\n{printed}"


class Session:
    """A folder with the example captures, in which the blocks of one page run one after another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: dict[str, Any] = {}
        for name in ("captures", "features"):
            shutil.copytree(ROOT / "examples" / name, folder / "examples" / name)
        tools = folder / ".tools"
        tools.mkdir()
        for name, words in (("flowgauge", '-m flowgauge "$@"'), ("python", '"$@"')):
            (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}\n')
            (tools / name).chmod(0o755)
        self._variables = os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}

    def run(self, block: Block) -> str:
        """What the block prints."""
        return {"shell": self._shell, "python": self._python}[block.language](block.text)

    def _shell(self, text: str) -> str:
        command = ["bash", "-euo", "pipefail", "-c", text]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "timeout": 300}
        done = subprocess.run(command, cwd=self.folder, env=self._variables, check=False, **pipes)
        assert done.returncode == 0, f"{text}\nended with {done.returncode}:\n{done.stdout}"
        return str(done.stdout)

    def _python(self, text: str) -> str:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(text, "<example>", "exec"), self.names)
        return printed.getvalue()


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.chdir(tmp_path)
    return Session(tmp_path)


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def options(generator: ModuleType) -> dict[str, set[str]]:
    """The options of every command, as its --help shows them."""
    names = [name for name, _ in generator.commands(generator.typer.main.get_command(generator.app))]
    helped = {}
    for name in names:
        command = [sys.executable, "-m", *name.split(), "--help"]
        helped[name] = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True).stdout
    return {name: set(HELPED.findall(text)) for name, text in helped.items()}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.name)
def test_examples_run(page: Path, session: Session) -> None:
    """Every command and every Python block of a page runs, and prints what the page shows."""
    for block in blocks(page):
        if block.runs:
            assert_shown(block.shown, session.run(block))


def test_what_is_not_run() -> None:
    """The commands that no test runs are these few."""
    lines = {line for page in PAGES for block in blocks(page) if not block.runs for line in block.text.splitlines()}
    assert lines == NOT_RUN


def test_every_page_of_commands_has_examples() -> None:
    """All fenced blocks are shell, Python, output, or drawings without a language; the main pages have examples."""
    found = {page.name: {block.language for block in blocks(page)} for page in PAGES}
    assert set().union(*found.values()) == {"shell", "python"}
    for name in ("README.md", "quickstart.md", "labels.md", "formats.md", "python.md", "cli.md"):
        assert found[name], name


@pytest.mark.parametrize("name", ["cli.md", "columns.md"])
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
    linked = set(LINK.findall((ROOT / "docs" / "index.md").read_text("utf-8")))
    assert linked == {page.name for page in PAGES[1:]} - {"index.md"}


def test_lines_are_short() -> None:
    """No line is longer than 120 characters, but for those of tables, code and output."""
    long = []
    for page in PAGES:
        lines = BLOCK.sub("", page.read_text("utf-8")).splitlines()
        long += [f"{page.name}: {line[:60]}" for line in lines if len(line) > 120 and not line.startswith("|")]
    assert long == []


BENCH = {
    "packets": 2_000_000,
    "machine": {"cpu": "Some CPU", "python": "3.12.1"},
    "fixed": {"extract_one_packet_s": {"median": 0.912}, "compile_s": 17.6},
    "rates": {
        "mix": {
            "packets": 2_000_000,
            "flows": 100_000,
            "rates": {"kernels": {"packets_per_s": 7.654e6}, "csv": {"packets_per_s": None}},
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
        "dpkt": {"version": "1.9.8", "ratios": {"kernels": {"median": 98.7}, "csv": None}},
    },
}


def test_speed_table(tmp_path: Path) -> None:
    """The README's table on speed quotes the results of a benchmark, and nothing around it changes."""
    table = importlib.import_module("readme_table")
    (tmp_path / "results.json").write_text(json.dumps(BENCH))
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
