"""The page of a report in a real browser: what it shows is what pyarrow computes, and nothing leaves it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import flowgauge as fg
from browserpage import Opened, chromium, opened
from flowgauge.cli.report import FEATURES
from flowgauge.cli.text import size
from flowgauge.report.flows import protocol_name

pytest.importorskip("altair")
pytest.importorskip("vl_convert")
pytestmark = pytest.mark.slow

CAPTURES = Path(__file__).parent.parent.parent / "examples" / "captures"
HOSTILE = '</script><script>window.bad=1</script><img src=x onerror="window.bad=2">'


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def table() -> pa.Table:
    found: pa.Table = fg.read(CAPTURES, label="{app}_{action}_*.pcap", features=FEATURES)
    return found


def written(table: pa.Table, path: Path) -> Path:
    from flowgauge.report.origin import make_origin
    from flowgauge.report.page import render
    from flowgauge.report.summary import summarise

    summary = summarise(table)
    path.write_text(render(summary, make_origin(table, summary, ["captures"], "flowgauge report")), "utf-8")
    return path


@pytest.fixture(scope="module")
def path(table: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(table, tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture
def report(browser: Any, path: Path) -> Iterator[Opened]:
    with opened(browser, path) as found:
        yield found


def replaced(table: pa.Table, **columns: list[Any]) -> pa.Table:
    """The table with other texts in some columns."""
    for name, values in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values, pa.string()))
    return table


def only(table: pa.Table, **values: Any) -> pa.Table:
    """The flows with these values."""
    for name, value in values.items():
        table = table.filter(pc.equal(table[name].cast(pa.string()), str(value)))
    return table


def sums(table: pa.Table, column: str) -> dict[str, int]:
    """The sum of a column by app."""
    plain = pa.table({"app": table["app"].cast(pa.string()), "value": table[column].cast(pa.int64())})
    rows = plain.group_by("app").aggregate([("value", "sum")]).to_pylist()
    return {row["app"]: row["value_sum"] for row in rows}


def assert_headline(report: Opened, table: pa.Table) -> None:
    assert report.number("flows") == f"{table.num_rows:,}"
    assert report.number("packets") == f"{pc.sum(table['packets']).as_py():,}"
    assert report.number("bytes") == size(pc.sum(table["frame_bytes"]).as_py())
    assert report.number("payload") == size(pc.sum(table["payload_bytes"]).as_py())


def histogram(table: pa.Table) -> dict[tuple[str, int], int]:
    """Flows by app and tenth of a decade of their bytes."""
    found: dict[tuple[str, int], int] = {}
    for app, count in zip(table["app"].to_pylist(), table["frame_bytes"].to_pylist(), strict=True):
        key = app, math.floor(10 * math.log10(count) + 1e-9)
        found[key] = found.get(key, 0) + 1
    return found


def assert_charts(report: Opened, table: pa.Table, apps: set[str]) -> None:
    """Bytes over time add up to those of the flows, and the bars of sizes are their histogram, app by app."""
    over_time: dict[str, float] = {}
    for row in report.data("over_time_app", "group", "value", "below"):
        over_time[row["group"]] = over_time.get(row["group"], 0) + row["value"]
    bars = {
        (row["group"], round(10 * row["low"])): row["flows"]
        for row in report.data("size", "group", "low", "flows", "below")
    }
    named = {app: count for app, count in sums(table, "frame_bytes").items() if app in apps}
    assert {app: count for app, count in over_time.items() if app in apps} == named
    assert {key: count for key, count in bars.items() if key[0] in apps} == {
        key: count for key, count in histogram(table).items() if key[0] in apps
    }
    assert sum(over_time.values()) == pc.sum(table["frame_bytes"]).as_py()
    assert sum(bars.values()) == table.num_rows


def assert_flows(report: Opened, table: pa.Table) -> None:
    """The first page of the table is the largest flows."""
    largest = table.take(pc.sort_indices(table["frame_bytes"], sort_keys=[("", "descending")]))
    shown = report.rows()
    assert len(shown) == min(25, table.num_rows)
    assert [row["frame bytes"] for row in shown] == [f"{count:,}" for count in largest["frame_bytes"].to_pylist()[:25]]
    every = {
        (row["app"], row["client_ip"], row["server_ip"], protocol_name(str(row["protocol"])), f"{row['packets']:,}")
        for row in table.select(["app", "client_ip", "server_ip", "protocol", "packets"]).to_pylist()
    }
    assert {(row["app"], row["client ip"], row["server ip"], row["protocol"], row["packets"]) for row in shown} <= every


def coloured(report: Opened) -> set[str]:
    """The apps that the charts show by name."""
    return {row["group"] for row in report.data("size", "group", "below")} - {"(other)"}


def test_opens_silently(report: Opened, path: Path) -> None:
    """Opening the page and drawing all charts makes no complaint and asks for nothing but the file itself."""
    assert report.complaints == []
    assert [url for url in report.requests if not url.startswith("data:")] == [path.as_uri()]
    drawn = report.page.locator("figure .plot:not([hidden]) svg.marks").count()
    assert drawn == report.page.locator("figure").count() > 4


def test_network_is_forbidden(report: Opened) -> None:
    """The page's own policy stops a request, a picture and a script that something in it might try."""
    script = """() => new Promise((done) => {
      const stopped = [];
      document.addEventListener('securitypolicyviolation', (event) => {
        stopped.push(event.effectiveDirective);
        if (stopped.length === 3) done(stopped.sort());
      });
      fetch('http://127.0.0.1:9/').catch(() => 0);
      new Image().src = 'http://127.0.0.1:9/a.png';
      document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.bad = 1' }));
    })"""
    assert report.page.evaluate(script) == ["connect-src", "img-src", "script-src-elem"]
    assert report.page.evaluate("window.bad") is None


def test_values_are_those_of_the_table(report: Opened, table: pa.Table) -> None:
    """Headline, charts and table show what pyarrow computes of all flows."""
    assert_headline(report, table)
    assert_charts(report, table, coloured(report))
    assert_flows(report, table)


def test_filter_by_app(report: Opened, table: pa.Table) -> None:
    """With an app chosen, headline, charts and table show what pyarrow computes of its flows; cleared, all again."""
    report.page.get_by_role("checkbox", name="browser").check()
    report.settle()
    chosen = only(table, app="browser")
    assert_headline(report, chosen)
    assert_charts(report, chosen, {"browser"})
    assert_flows(report, chosen)
    assert report.text("#chosen") == f"{chosen.num_rows} of {table.num_rows} flows"
    report.page.get_by_role("button", name="Clear the filter").click()
    report.settle()
    assert_headline(report, table)
    assert_charts(report, table, coloured(report))


def test_filter_by_two_dimensions(report: Opened, table: pa.Table) -> None:
    """Values of one dimension add to each other, those of two dimensions narrow each other."""
    for name in ("browser", "git", "TCP"):
        report.page.locator(f'#filter input[value="{name}"]').check()
    report.settle()
    chosen = pa.concat_tables(only(table, app=app, protocol=6) for app in ("browser", "git"))
    assert_headline(report, chosen)
    assert_charts(report, chosen, {"browser", "git"})
    assert report.page.evaluate("location.hash") == "#app=browser&app=git&protocol=TCP"


def test_address_holds_the_filter(browser: Any, path: Path, table: pa.Table) -> None:
    """A page opened with a filter in its address shows what is left; values that it does not know are nothing."""
    with opened(browser, path, "#app=chat&app=%3Cb%3E&protocol=TCP&colour=red") as report:
        assert_headline(report, only(table, app="chat", protocol=6))
        report.page.evaluate("location.hash = '#app=voip'")
        report.until("document.querySelector('#filter input[value=voip]').checked")
        report.settle()
        assert_headline(report, only(table, app="voip"))
        assert report.complaints == []


def test_sections_keep_the_filter(report: Opened) -> None:
    """A link of the sections leads there and leaves the filter in the address as it is."""
    report.page.locator('#filter input[name="app"][value="dns"]').check()
    report.page.get_by_role("navigation").get_by_role("link", name="Flows", exact=True).click()
    assert report.page.evaluate("location.hash") == "#app=dns"
    assert report.page.evaluate("document.activeElement.innerText") == "Flows"
    report.until("scrollY > 500")


def test_hover_shows_values(report: Opened, table: pa.Table) -> None:
    """The tooltip of a bar says its app, its bounds and its number of flows, as pyarrow counts them."""
    report.page.locator('#filter input[value="browser"]').check()
    report.settle()
    bar = report.page.locator("#chart-size .mark-rect path").first
    bar.scroll_into_view_if_needed()
    box = bar.bounding_box()
    report.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    report.page.locator("#vg-tooltip-element.visible").wait_for()
    cells = report.page.locator("#vg-tooltip-element td").all_inner_texts()
    values = dict(zip([text.rstrip(":") for text in cells[::2]], cells[1::2], strict=True))
    counts = {(app, str(count)) for (app, _), count in histogram(only(table, app="browser")).items()}
    assert (values["app"], values["flows"]) in counts
    assert values["from"].endswith("B") and values["to"].endswith("B")


def test_over_time_by_another_dimension(report: Opened, table: pa.Table) -> None:
    """The choice above the first chart draws it by protocol; what is counted stays as it was chosen."""
    figure = report.page.locator("#chart-over_time_app")
    figure.get_by_role("radio", name="packets").check()
    figure.get_by_role("radio", name="protocol").check()
    report.until("Boolean(flowgaugeReport.view('over_time_protocol'))")
    report.settle()
    found: dict[str, int] = {}
    for row in report.data("over_time_protocol", "group", "value", "below"):
        found[row["group"]] = found.get(row["group"], 0) + row["value"]
    plain = table.select(["protocol", "packets"]).group_by("protocol").aggregate([("packets", "sum")])
    assert found == {protocol_name(str(row["protocol"])): row["packets_sum"] for row in plain.to_pylist()}


def test_sorting(report: Opened, table: pa.Table) -> None:
    """A header sorts by its column, the other way round when it is pressed again, and says so to screen readers."""
    head = report.page.locator("#flows th", has_text="packets").first
    for order, reverse in (("descending", True), ("ascending", False)):
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == order
        shown = [int(row["packets"].replace(",", "")) for row in report.rows()]
        assert shown == sorted(table["packets"].to_pylist(), reverse=reverse)[:25]
    assert report.page.locator("#flows th[aria-sort]").count() == 1


def test_paging_and_finding(report: Opened, table: pa.Table) -> None:
    """Pages go on where the one before ends; words leave the rows that hold them all."""
    first = report.rows()
    report.page.get_by_role("button", name="Next page").click()
    assert report.text("#flow-count") == f"26–50 of {table.num_rows} flows"
    assert [row for row in report.rows() if row in first] == []
    report.page.get_by_role("searchbox").fill("UDP voip")
    shown = report.rows()
    assert len(shown) == only(table, app="voip", protocol=17).num_rows > 0
    assert {(row["app"], row["protocol"]) for row in shown} == {("voip", "UDP")}


def test_download(report: Opened, table: pa.Table) -> None:
    """The CSV of what is shown has all rows that are left, on all pages, with their plain numbers."""
    report.page.locator('#filter input[value="browser"]').check()
    with report.page.expect_download() as download:
        report.page.get_by_role("button", name="Download CSV").click()
    from pyarrow import csv

    found = csv.read_csv(download.value.path())
    expected = only(table, app="browser")
    assert found.num_rows == expected.num_rows > 25
    assert sorted(found["frame_bytes"].to_pylist()) == sorted(expected["frame_bytes"].to_pylist())


def test_formulas_are_texts_in_csv(browser: Any, table: pa.Table, tmp_path: Path) -> None:
    """A text that a spreadsheet would run as a formula begins with an apostrophe in the CSV."""
    path = written(replaced(table, app=["=1+1"] * table.num_rows), tmp_path / "r.html")
    with opened(browser, path) as report:
        with report.page.expect_download() as download:
            report.page.get_by_role("button", name="Download CSV").click()
        assert download.value.path().read_text().splitlines()[1].split(",")[2] == "'=1+1"


def test_keyboard_alone(report: Opened, table: pa.Table) -> None:
    """Tab, Space and Enter reach the filter and the table's headers and work them, without a mouse."""
    press = report.page.keyboard.press
    press("Tab")
    assert report.page.evaluate("document.activeElement.className") == "skip"
    for _ in range(60):
        press("Tab")
        if report.page.evaluate("document.activeElement.value") == "git":
            break
    press("Space")
    report.settle()
    assert_headline(report, only(table, app="git"))
    for _ in range(80):
        press("Tab")
        if report.page.evaluate("document.activeElement.innerText") == "duration s":
            break
    press("Enter")
    focused = "document.activeElement.closest('th').getAttribute('aria-sort')"
    assert report.page.evaluate(focused) == "descending"
    shown = [float(row["duration s"]) for row in report.rows()]
    assert shown == sorted(shown, reverse=True) and len(shown) == only(table, app="git").num_rows


def test_names_are_hostile(browser: Any, table: pa.Table, tmp_path: Path) -> None:
    """Markup in labels, server names and files is shown as the text that it is, everywhere, and runs nowhere."""
    rows = table.num_rows
    names = [HOSTILE, "{{data}}", "${1+1}", "javascript:alert(1)", "<!--", "__proto__", "constructor", "\u2028"]
    hostile = replaced(
        table,
        app=[names[row % len(names)] for row in range(rows)],
        action=[HOSTILE] * rows,
        server_name=[HOSTILE] * rows,
        source=[HOSTILE] * rows,
    )
    with opened(browser, written(hostile, tmp_path / "hostile.html")) as report:
        report.page.locator("#filter input").first.check()
        report.settle()
        bar = report.page.locator("#chart-size .mark-rect path").first
        bar.scroll_into_view_if_needed()
        bar.hover(force=True)
        report.page.locator("#vg-tooltip-element.visible").wait_for()
        assert report.page.evaluate("window.bad") is None
        assert report.page.locator("img, #vg-tooltip-element script").count() == 0
        assert report.page.locator("script").count() == 3
        assert {row["server name"] for row in report.rows()} == {HOSTILE}
        assert report.complaints == []
        chips = report.page.locator('#filter input[name="app"]')
        assert {chip.get_attribute("value").rstrip("\u200b") for chip in chips.all()} == {*names[:-1], " "}


CONTRAST = """() => {
  const parse = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const light = (rgb) => rgb.slice(0, 3).map((c) => linear(c / 255))
    .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour.length && colour[3] !== 0) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !element.getClientRects().length) continue;
    if (element.closest('script, [disabled]')) continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(parse(element.ownerSVGElement ? style.fill : style.color)), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${walker.currentNode.textContent.trim().slice(0, 30)} ${ratio.toFixed(2)}`);
  }
  return [...new Set(poor)];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_themes_are_readable(browser: Any, path: Path, scheme: Any) -> None:
    """The page follows the system's theme, and every text on it, in charts too, has a contrast of 4.5 or more."""
    with opened(browser, path, color_scheme=scheme, reduced_motion="reduce") as report:
        report.page.locator('#filter input[value="TCP"]').check()
        report.settle()
        ground = report.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(17, 21, 26)") == (scheme == "dark")
        assert report.page.evaluate(CONTRAST) == []


def test_theme_can_be_chosen(report: Opened) -> None:
    """The button changes the theme and draws the charts in its colours; nothing is stored for the next time."""
    colour = "getComputedStyle(document.querySelector('#chart-size svg text')).fill"
    before = report.page.evaluate(colour)
    report.page.get_by_role("button", name="Dark theme").click()
    report.settle()
    assert report.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 21, 26)"
    assert report.page.evaluate(colour) != before
    report.page.reload()
    report.settle()
    assert report.page.evaluate(colour) == before


WIDE = """() => [...document.querySelectorAll('body *')].filter((one) => one.scrollWidth > one.clientWidth + 1
  && ['auto', 'scroll'].includes(getComputedStyle(one).overflowX)).map((one) => one.className)"""
BEYOND = """() => [...document.querySelectorAll('main *')].filter((one) => !one.closest('.box, .unseen')
  && one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.outerHTML.slice(0, 80))"""


def test_phone(browser: Any, path: Path) -> None:
    """At 390 px nothing is beyond the edge and nothing scrolls sideways but tables, with both panels closed or open."""
    with opened(browser, path, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True) as report:
        for name in (None, "Sections", "Filter"):
            if name:
                report.page.locator(".opener", has_text=name).tap()
            assert report.page.evaluate("document.documentElement.scrollWidth") == 390
            assert set(report.page.evaluate(WIDE)) == {"box"}
            assert report.page.evaluate(BEYOND) == []
        report.page.locator("#filter label", has_text="voip").tap()
        report.settle()
        assert report.number("flows") == "4"
        report.page.keyboard.press("Escape")
        assert not report.page.locator("#filter").is_visible()


def test_narrow_and_wide_again(report: Opened) -> None:
    """Charts are drawn anew for another width, and never wider than their place."""
    for width in (700, 1300):
        report.page.set_viewport_size({"width": width, "height": 900})
        report.page.wait_for_timeout(300)
        report.settle()
        widths = report.page.evaluate(
            "[...document.querySelectorAll('.plot:not([hidden])')].map((one) => "
            "[one.clientWidth, one.querySelector('svg.marks').getBoundingClientRect().width])"
        )
        assert all(place - 40 <= drawn <= place + 1 for place, drawn in widths)


def test_structure(report: Opened) -> None:
    """Landmarks are there once, headings go down by one level at a time, charts have names and captions."""
    page = report.page
    for role in ("main", "navigation", "form"):
        assert page.get_by_role(role).count() == 1
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map((one) => +one.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for figure in page.locator("figure").all():
        assert figure.locator("figcaption h3").inner_text() and figure.locator("figcaption p").inner_text()
        label = figure.locator(".plot:not([hidden]) svg.marks").get_attribute("aria-label")
        assert label.startswith(figure.locator("h3").inner_text())
    assert page.locator("button:not([type]), input:not([type])").count() == 0


def test_motion_is_reduced(browser: Any, path: Path) -> None:
    """Who asks for less motion gets none: no smooth scrolling, no transitions."""
    with opened(browser, path, reduced_motion="reduce") as report:
        assert report.page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
        assert report.page.evaluate("getComputedStyle(document.querySelector('button')).transitionDuration") == "0s"


def test_prints(browser: Any, path: Path) -> None:
    """On paper the page is light whatever the theme, without controls, and a PDF of some pages comes out."""
    with opened(browser, path, color_scheme="dark") as report:
        document = report.page.pdf(prefer_css_page_size=True, print_background=True)
        assert document.startswith(b"%PDF-")
        assert 3 <= document.count(b"/Type /Page\n") <= 30
        report.page.emulate_media(media="print")
        assert report.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert report.page.evaluate("getComputedStyle(document.body).color") == "rgb(24, 33, 43)"
        assert not report.page.locator(".side").is_visible()
        assert not report.page.get_by_role("searchbox").is_visible()


def test_no_flows(browser: Any, table: pa.Table, tmp_path: Path) -> None:
    """A table without a flow makes a page that says so, and complains of nothing."""
    with opened(browser, written(table.slice(0, 0), tmp_path / "empty.html")) as report:
        assert report.complaints == []
        assert report.number("flows") == "0"


def test_many_flows(browser: Any, table: pa.Table, tmp_path: Path) -> None:
    """Of many flows the table shows the 2,000 largest and says so."""
    many = pa.concat_tables([table] * 50)
    with opened(browser, written(many, tmp_path / "many.html")) as report:
        assert report.text("#part").startswith("The 2,000 largest of 4,000 flows")
        assert_headline(report, many)
        assert report.text("#flow-count") == "1–25 of 2,000 flows"
