"""The documentation as a site: it is built without a warning, and read in a browser from disk, without any network."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browserpage import chromium, missing

ROOT = Path(__file__).resolve().parent.parent
SCREENSHOTS = "FLOWGAUGE_SCREENSHOTS"  # a folder for pictures to look at
WIDTHS = (1440, 390)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    if importlib.util.find_spec("material") is None:
        missing("mkdocs-material is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


class Reader:
    """A window on the site that notes what a reader must not see: errors, and requests beyond the site."""

    def __init__(self, browser: Any, site: Path, width: int = 1440, scheme: str = "light") -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.site, self.requests = site, list[str]()
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self, name: str = "index.html") -> Any:
        self.page.goto((self.site / name).as_uri(), wait_until="load")
        return self.page

    def assert_clean(self) -> None:
        """No error so far, and nothing asked of anything but the site."""
        assert self.errors == []
        beyond = [url for url in self.requests if not url.startswith((self.site.as_uri(), "about:", "data:"))]
        assert beyond == []


def pages(site: Path) -> list[str]:
    """All pages but the one that only a server shows."""
    return sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html") if path.name != "404.html")


def test_every_page_opens_without_network(site: Path, browser: Any) -> None:
    """Every page opens from disk without an error, and asks for nothing that is not a file of the site."""
    reader = Reader(browser, site)
    names = pages(site)
    assert len(names) > 25
    for name in names:
        page = reader.open(name)
        assert "flowgauge" in page.title(), name
    reader.assert_clean()
    assert all(url.startswith("file:") for url in reader.requests)


def test_search_works_from_disk(site: Path, browser: Any) -> None:
    """The search finds the page that says what an idle timeout is, without a server, and leads there."""
    reader = Reader(browser, site)
    page = reader.open()
    page.locator(".md-search__input").click()
    page.keyboard.type("idle timeout", delay=20)
    page.wait_for_selector(".md-search-result__link", timeout=20_000)
    titles = page.locator(".md-search-result__item > .md-search-result__link h1").all_inner_texts()
    assert "What a flow is" in titles
    page.locator(".md-search-result__link h1", has_text="What a flow is").first.click()
    page.wait_for_url("**/flow-semantics.html*")
    reader.assert_clean()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_pages_fit_the_screen(site: Path, browser: Any, width: int, scheme: str) -> None:
    """In both themes, on a desk and on a phone, no page is wider than the screen."""
    reader = Reader(browser, site, width, scheme)
    folder = os.environ.get(SCREENSHOTS)
    for name in pages(site):
        page = reader.open(name)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        shown = page.evaluate("document.body.dataset.mdColorScheme")
        assert shown == {"light": "default", "dark": "slate"}[scheme]
        if folder:
            page.screenshot(path=Path(folder, f"{name.replace('/', '-')}-{width}-{scheme}.png"))
    reader.assert_clean()


def test_the_theme_can_be_chosen(site: Path, browser: Any) -> None:
    """The button in the header changes the theme, and the next page has the one that was chosen."""
    page = Reader(browser, site).open()
    page.click("label[title='Dark theme']")
    assert page.evaluate("document.body.dataset.mdColorScheme") == "slate"
    page.locator(".fg-buttons a", has_text="Five-minute start").click()
    page.wait_for_url("**/quickstart.html")
    assert page.evaluate("document.body.dataset.mdColorScheme") == "slate"


def test_drawings_have_the_colours_of_the_theme(site: Path, browser: Any) -> None:
    """Text of a drawing is dark on light and light on dark."""
    inks = []
    for scheme in ("light", "dark"):
        page = Reader(browser, site, scheme=scheme).open("design.html")
        colour = "getComputedStyle(document.querySelector('svg.fg-figure .name')).fill"
        inks.append([int(part) for part in page.evaluate(colour)[4:-1].split(",")[:3]])
    assert sum(inks[0]) < 250 < 500 < sum(inks[1])


def test_api_page_has_every_public_name(site: Path) -> None:
    """The reference made of docstrings has each public name, with its docstring."""
    import flowgauge

    text = (site / "api.html").read_text("utf-8")
    for name in set(flowgauge.__all__) - {"__version__"}:
        assert f'id="flowgauge.{name}"' in text or f"fg.{name}" in text, name
    assert "Record batches as flows end, in bounded memory." in text
