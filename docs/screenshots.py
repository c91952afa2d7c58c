"""Pictures of a report of the example captures, as people see it: ``python docs/screenshots.py [FOLDER]``.

FOLDER (report-screenshots) gets the report, a picture of the whole page for each theme and width, and a PDF;
`docs/report.png` is written anew. It needs Chromium and the extra `test`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

HERE = Path(__file__).resolve().parent
CAPTURES = "examples/captures"
WIDTHS = {1440: 900, 390: 844}
SCHEMES = ("light", "dark")
SHOWN = {"width": 1440, "height": 1180}  # of the README's picture


def make_report(path: Path) -> None:
    """The report of the example captures, by the command that the README shows."""
    command = [sys.executable, "-m", "flowgauge", "report", CAPTURES, "-o", str(path)]
    subprocess.run([*command, "--label", "{app}_{action}_*.pcap", "--quiet"], cwd=HERE.parent, check=True)


def open_page(browser: Any, path: Path, width: int, height: int, scheme: Any, scale: float = 1) -> Any:
    """A page with all its charts drawn."""
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme, device_scale_factor=scale)
    page.goto(path.as_uri())
    page.evaluate("flowgaugeReport.settled()")
    return page


def take_all(browser: Any, path: Path, folder: Path) -> None:
    """Both themes at both widths, and the PDF."""
    for width, height in WIDTHS.items():
        for scheme in SCHEMES:
            page = open_page(browser, path, width, height, scheme)
            page.screenshot(path=folder / f"report-{width}-{scheme}.png", full_page=True)
            page.close()
    page = open_page(browser, path, 1440, 900, "light")
    page.pdf(path=folder / "report.pdf", prefer_css_page_size=True, print_background=True)
    page.close()


def take_shown(browser: Any, path: Path) -> None:
    """The picture of the README: the first screen, in light."""
    page = open_page(browser, path, SHOWN["width"], SHOWN["height"], "light", 1.25)
    page.screenshot(path=HERE / "report.png")


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "report-screenshots").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "report.html"
    make_report(path)
    with sync_playwright() as playwright:
        found = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        take_all(browser, path, folder)
        take_shown(browser, path)
        browser.close()


if __name__ == "__main__":
    main()
