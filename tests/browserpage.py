"""A page in Debian's Chromium, and all that it complains of or asks for."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest

REQUIRED = "FLOWGAUGE_REQUIRE_BROWSER"
_LIMIT_MS = 10_000


def missing(reason: str) -> NoReturn:
    """Skip and say why; where $FLOWGAUGE_REQUIRE_BROWSER is set, fail instead."""
    if os.environ.get(REQUIRED):
        pytest.fail(f"{reason}, and {REQUIRED} is set")
    pytest.skip(reason)


@contextmanager
def chromium() -> Iterator[Any]:
    """A running browser; without one, or without Playwright, the test is skipped."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        missing("chromium is not installed")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Opened:
    """An opened page and what went wrong or out: complaints (console and errors), requests beyond the file itself."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def settle(self) -> None:
        """Wait until all charts are drawn."""
        self.page.evaluate("flowgaugeReport.settled()")

    def until(self, condition: str) -> None:
        """Wait for a condition in JavaScript; Playwright's own waiting evaluates strings, which the page forbids."""
        end = time.monotonic() + _LIMIT_MS / 1000
        while not self.page.evaluate(condition):
            assert time.monotonic() < end, f"not within {_LIMIT_MS} ms: {condition}"
            time.sleep(0.05)

    def text(self, selector: str) -> str:
        """The text of an element, in one line."""
        return " ".join(self.page.locator(selector).inner_text().split())

    def number(self, name: str) -> str:
        """The value of a card of the headline, with its unit."""
        return self.text(f'[data-number="{name}"] .value')

    def rows(self) -> list[dict[str, str]]:
        """What the table of flows shows, row by row."""
        script = """() => {
          const names = [...document.querySelectorAll('#flows thead th')].map((head) => head.innerText.trim());
          const lines = [...document.querySelectorAll('#flows tbody tr')];
          const row = (line) => [...line.children].map((cell, place) => [names[place], cell.innerText]);
          return lines.map((line) => Object.fromEntries(row(line)));
        }"""
        rows: list[dict[str, str]] = self.page.evaluate(script)
        return rows

    def data(self, chart: str, *columns: str) -> list[dict[str, Any]]:
        """The rows of the data set of a chart's view that has these columns: the last one, so the most worked on."""
        script = """([chart, columns]) => {
          const view = flowgaugeReport.view(chart);
          const sets = Object.keys(view.getState({ data: () => true }).data).map((name) => view.data(name));
          const fit = sets.filter((rows) => rows.length && columns.every((name) => name in rows[0]));
          return (fit.at(-1) ?? []).map((row) => Object.fromEntries(columns.map((name) => [name, row[name]])));
        }"""
        rows: list[dict[str, Any]] = self.page.evaluate(script, [chart, list(columns)])
        return rows


@contextmanager
def opened(browser: Any, path: Path, hash: str = "", **context: Any) -> Iterator[Opened]:
    """A report opened from its file, drawn to the end."""
    surroundings = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **context})
    surroundings.set_default_timeout(_LIMIT_MS)
    found = Opened(surroundings.new_page())
    found.page.on("console", lambda message: found.complaints.append(f"{message.type}: {message.text}"))
    found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
    found.page.on("request", lambda request: found.requests.append(request.url))
    found.page.goto(path.as_uri() + hash)
    found.settle()
    yield found
    surroundings.close()
