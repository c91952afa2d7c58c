/* The page of a report: choosing cells, summing what is left, drawing it. What is computed is in the data already.
 *
 * Names in the data come from captures and are hostile: they only ever become text, through element(). */
"use strict";
(() => {
const DATA = JSON.parse(document.getElementById("data").textContent);
const ROWS_A_PAGE = 25, CHIPS_SHOWN = 10;
const WORDS = { bad: "Bad", warn: "Warning", note: "Note", ok: "Good" };
const SECTIONS = [ // name, title and, where it helps, a line below it
  ["headline", "At a glance"],
  ["time", "Over time"],
  ["talkers", "Who talks to whom"],
  ["anatomy", "Anatomy of flows"],
  ["tcp", "TCP health"],
  ["fingerprints", "Fingerprints"],
  ["labels", "Labels"],
  ["quality", "Data quality", "Is this good data? What was looked for, what was found, and what to do about it."],
  ["flows", "Flows"],
  ["made", "How it was made"],
];
const find = (selector, within = document) => within.querySelector(selector);
const whole = new Intl.NumberFormat("en");

// Elements ------------------------------------------------------------------------------------------------------------

/** An element with attributes (`on…`: listeners) and children; strings become text, never markup. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  svg.append(document.createElementNS("http://www.w3.org/2000/svg", "use"));
  svg.firstChild.setAttribute("href", `#i-${name}`);
  return svg;
}

function counted(count, noun) {
  return `${whole.format(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** A number and its decimal unit: [1.5, "MB"]. */
function scaled(value, units = ["B", "kB", "MB", "GB", "TB"]) {
  let unit = 0;
  while (value >= 999.95 && unit < units.length - 1) { value /= 1000; unit += 1; }
  return [unit ? value.toLocaleString("en", { maximumFractionDigits: 1 }) : whole.format(value), units[unit]];
}

function lasting(seconds) {
  const steps = [[86400 * 2, 86400, "days"], [7200, 3600, "h"], [120, 60, "min"], [1, 1, "s"], [1e-3, 1e-3, "ms"], [0, 1e-6, "µs"]];
  const [, size, unit] = steps.find(([least]) => seconds >= least);
  return [(seconds / size).toLocaleString("en", { maximumFractionDigits: 1 }), unit];
}

function when(ms) {
  return new Date(ms).toISOString().replace("T", " ").replace(/\.\d+Z$/, "");
}

const percent = (share) => `${(100 * share).toLocaleString("en", { maximumFractionDigits: 1 })} %`;
const titled = (name) => name[0].toUpperCase() + name.slice(1).replaceAll("_", " ");

/** What any value looks like in a table. */
function shown(value, name = "") {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return name.endsWith("port") ? String(value) : whole.format(value);
  return value.toLocaleString("en", { maximumSignificantDigits: 4 });
}

// The data ------------------------------------------------------------------------------------------------------------

/** Columns as they are stored (a list, or codes of values) → rows. */
function unpacked(columns) {
  const lists = Object.entries(columns).map(([name, c]) => [name, Array.isArray(c) ? c : c.codes.map((code) => c.values[code])]);
  const rows = Array.from({ length: lists.length ? lists[0][1].length : 0 }, () => ({}));
  for (const [name, values] of lists) values.forEach((value, row) => { rows[row][name] = value; });
  return rows;
}

const cells = unpacked(DATA.cells);
const tables = Object.fromEntries(Object.entries(DATA.tables).map(([name, columns]) => [name, unpacked(columns)]));
const flows = unpacked(DATA.flows);
const dimensions = DATA.dimensions.map((name) => ({ name, values: values(name), chosen: new Set() }));
let left = new Set(cells.map((cell) => cell.cell));

/** The values of a dimension, that of the most flows first; what is no value, or all the others, last. */
function values(name) {
  const counts = new Map();
  for (const cell of cells) counts.set(cell[name], (counts.get(cell[name]) ?? 0) + cell.flows);
  const last = ["(none)", "(other)"];
  return [...counts.keys()].sort((a, b) => last.indexOf(a) - last.indexOf(b) || counts.get(b) - counts.get(a) || (a < b ? -1 : 1));
}

const allows = (dimension, cell) => !dimension.chosen.size || dimension.chosen.has(cell[dimension.name]);
const filtered = () => dimensions.some((dimension) => dimension.chosen.size);
const keep = (rows) => rows.filter((row) => row.cell === undefined || left.has(row.cell));
const total = (name) => cells.reduce((sum, cell) => sum + (left.has(cell.cell) ? cell[name] : 0), 0);

// Filter --------------------------------------------------------------------------------------------------------------

function makeFilter() {
  const form = find("#filter");
  form.append(element("p", { class: "label" }, "Filter"), element("p", { class: "chosen", id: "chosen" }));
  for (const dimension of dimensions) {
    if (dimension.values.length < 2) continue;
    const chips = element("div", { class: "chips" }, ...dimension.values.map((value, place) => chip(dimension, value, place)));
    form.append(element("fieldset", {}, element("legend", {}, dimension.name), chips));
    if (dimension.values.length > CHIPS_SHOWN + 1) chips.append(moreChips(chips, dimension.values.length - CHIPS_SHOWN));
  }
  form.append(element("button", { type: "button", id: "clear", hidden: true, onclick: clear }, "Clear the filter"));
  form.addEventListener("submit", (event) => event.preventDefault());
}

function chip(dimension, value, place) {
  const box = element("input", { type: "checkbox", name: dimension.name, value });
  box.addEventListener("change", () => {
    if (box.checked) dimension.chosen.add(value); else dimension.chosen.delete(value);
    choose();
  });
  const made = element("label", { class: "chip", title: value, hidden: place >= CHIPS_SHOWN && dimension.values.length > CHIPS_SHOWN + 1 },
    box, element("span", {}, value), element("small", {}));
  dimension.chips = [...(dimension.chips ?? []), { value, box, made, count: made.lastChild }];
  return made;
}

function moreChips(chips, count) {
  return element("button", { type: "button", class: "more", onclick: (event) => {
    const hidden = [...chips.querySelectorAll(".chip[hidden]")];
    hidden.forEach((one) => { one.hidden = false; });
    find("input", hidden[0])?.focus();
    event.target.remove();
  } }, `${count} more`);
}

function clear() {
  dimensions.forEach((dimension) => dimension.chosen.clear());
  find("#filter input")?.focus();
  choose();
}

/** Keep the address in step with the filter, then show what it leaves. */
function choose() {
  const words = new URLSearchParams();
  for (const { name, chosen } of dimensions) for (const value of chosen) words.append(name, value);
  history.replaceState(null, "", words.size ? `#${words}` : location.pathname + location.search);
  apply();
}

/** Take the filter from the address, of which nothing is believed that the data does not have. */
function readAddress() {
  const words = new URLSearchParams(location.hash.slice(1));
  for (const dimension of dimensions) {
    dimension.chosen = new Set(words.getAll(dimension.name).filter((value) => dimension.values.includes(value)));
  }
}

function apply() {
  left = new Set(cells.filter((cell) => dimensions.every((one) => allows(one, cell))).map((cell) => cell.cell));
  for (const dimension of dimensions) {
    const others = dimensions.filter((other) => other !== dimension);
    const reachable = cells.filter((cell) => others.every((other) => allows(other, cell)));
    for (const { value, box, made, count } of dimension.chips ?? []) {
      const sum = reachable.reduce((all, cell) => all + (cell[dimension.name] === value ? cell.flows : 0), 0);
      box.checked = dimension.chosen.has(value);
      if (box.checked) made.hidden = false;
      count.textContent = whole.format(sum);
      made.classList.toggle("none", !sum);
    }
  }
  showChosen();
  showNumbers();
  charts.forEach(refresh);
  flowTable.show(0);
}

function showChosen() {
  const count = dimensions.reduce((sum, { chosen }) => sum + chosen.size, 0);
  const text = `${whole.format(total("flows"))} of ${counted(DATA.headline.flows, "flow")}`;
  find("#chosen").replaceChildren(count ? element("strong", {}, text) : `All ${counted(DATA.headline.flows, "flow")}. Choose what to see.`);
  find("#filter-count").textContent = count || "";
  find("#clear").hidden = !count;
  document.querySelectorAll(".whole").forEach((note) => { note.hidden = !count; });
  find("#status").textContent = count ? `${text} shown` : "";
}

// Headline ------------------------------------------------------------------------------------------------------------

function showNumbers() {
  const [count, packets, bytes, payload] = ["flows", "packets", "bytes", "payload_bytes"].map(total);
  const some = cells.filter((cell) => left.has(cell.cell) && cell.start_ms !== undefined);
  const begin = Math.min(...some.map((cell) => cell.start_ms)), end = Math.max(...some.map((cell) => cell.end_ms));
  const share = bytes ? `${percent(payload / bytes)} of the bytes` : "";
  const cards = [
    ["flows", "Flows", [whole.format(count)], filtered() ? `of ${whole.format(DATA.headline.flows)}` : hosts()],
    ["packets", "Packets", [whole.format(packets)], count ? `${shown(Math.round(10 * packets / count) / 10)} a flow` : ""],
    ["bytes", "Bytes on the wire", scaled(bytes), count ? `${scaled(Math.round(bytes / count)).join(" ")} a flow` : ""],
    ["payload", "Payload", scaled(payload), share],
    ["span", "Time span", some.length ? lasting((end - begin) / 1000) : ["–"], some.length ? when(begin).slice(0, 16) : ""],
  ];
  find("#numbers").replaceChildren(...cards.map(card), qualityCard());
}

function card([name, title, [value, unit], more]) {
  return element("div", { class: "card number", "data-number": name }, element("dt", {}, title),
    element("dd", { class: "value" }, value, unit ? " " : "", unit ? element("small", {}, unit) : null), element("dd", { class: "more-text" }, more));
}

function hosts() {
  const { clients, servers } = DATA.headline;
  return clients === undefined ? "" : `${counted(clients, "client")}, ${counted(servers, "server")}`;
}

function qualityCard() {
  const counts = Object.keys(WORDS).map((grade) => [grade, DATA.quality.filter((one) => one.severity === grade).length]);
  const [worst, count] = counts.find(([, number]) => number) ?? ["ok", 0];
  const calm = worst === "ok" || worst === "note";
  return element("div", { class: "card number" }, element("dt", {}, "Data quality"),
    element("dd", { class: "value" }, element("a", { href: "#quality", onclick: jump }, calm ? "Good" : counted(count, worst === "bad" ? "problem" : "warning"))),
    element("dd", { class: "more-text" }, `${counted(DATA.quality.length, "check")}${filtered() ? ", of all flows" : ""}`));
}

// Charts --------------------------------------------------------------------------------------------------------------

const charts = DATA.charts.map((chart) => ({ ...chart, rows: tables[chart.table], view: null, width: 0 }));
let drawing = Promise.resolve();

/** A colour of the theme: as long as it is only painted with, the style sheet says which (so paper is always light). */
const colour = (name) => `var(--${name})`;

/** A colour of the theme as numbers, to be mixed with others. */
function mixable(name) {
  const probe = find("#probe") ?? document.body.appendChild(element("i", { id: "probe", hidden: true }));
  probe.style.color = colour(name);
  return getComputedStyle(probe).color;
}

/** Vega's configuration, from the custom properties of the style sheet. */
function theme(width) {
  const [ink, soft, line, grid, accent] = ["ink", "soft", "line", "grid", "accent"].map(colour);
  const range = (letter, count, how) => Array.from({ length: count }, (_, place) => how(`${letter}${place + 1}`));
  const font = getComputedStyle(document.body).fontFamily;
  const ramp = range("r", 6, mixable);
  const text = { labelFont: font, titleFont: font, labelColor: soft, titleColor: soft, labelFontSize: 11.5, titleFontSize: 11.5,
    titleFontWeight: 500, labelFontWeight: 400 };
  return {
    background: null, font, aria: false, padding: 2,
    view: { stroke: null, continuousHeight: 230, discreteHeight: { step: 22 } },
    axis: { ...text, gridColor: grid, domainColor: line, tickColor: line, tickSize: 4, labelPadding: 5, titlePadding: 9,
      labelLimit: 170, labelOverlap: true, labelSeparation: 6 },
    axisQuantitative: { domain: false, ticks: false, tickCount: 5 },
    axisX: { labelFlush: false },
    axisXDiscrete: { labelOverlap: false, labelLimit: 120 },
    legend: { ...text, labelColor: ink, orient: "top", direction: "horizontal", title: null, symbolType: "square", symbolSize: 90,
      symbolStrokeWidth: 0, columnPadding: 14, rowPadding: 4, labelLimit: 150, offset: 8, titleOrient: "left", titlePadding: 8, gradientThickness: 9,
      layout: { top: { direction: width < 560 ? "vertical" : "horizontal", anchor: "start", margin: width < 560 ? 6 : 18 } } },
    header: { ...text, labelColor: ink, labelFontWeight: 600, labelLimit: 220 },
    title: { font, color: ink, fontSize: 13, fontWeight: 600, anchor: "start", subtitleColor: soft },
    range: { category: range("c", 9, colour), ramp, heatmap: ramp, ordinal: ramp.slice(1), diverging: range("d", 5, mixable) },
    mark: { color: colour("c1"), tooltip: true },
    bar: { cornerRadiusEnd: 2, discreteBandSize: { band: 0.72 } },
    area: { fillOpacity: 0.86, line: false },
    line: { strokeWidth: 2, strokeJoin: "round" },
    rule: { stroke: soft },
    text: { font, fill: ink, fontSize: 11.5 },
    selection: { interval: { mark: { fill: accent, fillOpacity: 0.12, stroke: accent, strokeOpacity: 0.6 } } },
  };
}

/** Every unit of a specification, with how many stand beside it. */
function* units(spec, beside = 1) {
  const inner = spec.hconcat ?? spec.vconcat ?? spec.concat ?? spec.layer;
  if (inner) for (const one of inner) yield* units(one, beside * (spec.hconcat ? inner.length : 1));
  else if (spec.spec) yield* units(spec.spec, beside * (spec.columns ?? 1));
  if (!inner && !spec.spec) yield [spec, beside];
}

/** Colours of the theme for names, in their order; what is left of them has none of its own. */
const coloursOf = (names) => names.map((name, place) => colour(name === "(other)" ? "rest" : `c${place % 9 + 1}`));

/** As many names beside each other as there is room for. */
const columnsOf = (names, width) => Math.max(1, Math.floor(width / (Math.min(150, 6.6 * Math.max(...names.map((name) => name.length))) + 32)));

/** The specification of a chart for a width, in the colours of the theme. */
function fitted(chart, width) {
  const spec = structuredClone(chart.spec);
  delete spec.config;
  // Vega-Lite fits single views whose height is a number; of others it is known when they are drawn what is around them.
  const composed = Boolean(spec.hconcat ?? spec.vconcat ?? spec.concat ?? spec.spec) || typeof spec.height !== "number";
  spec.datasets = { rows: keep(chart.rows), cells };
  if (composed) for (const [unit, beside] of outers(spec)) unit.width = Math.max(80, (width - (chart.around ?? 70)) / beside);
  else Object.assign(spec, { width, autosize: { type: "fit-x", contains: "padding" } });
  for (const [unit] of units(spec)) inTheme(unit, spec, width);
  return spec;
}

/** Colours of the specification are for any ground; the theme has its own, in the same order. */
function inTheme(unit, spec, width) {
  if (unit.mark?.color) unit.mark.color = colour(unit.mark.color === DATA.rest ? "rest" : "c1");
  for (const channel of ["color", "fill", "stroke"]) {
    const encoding = unit.encoding?.[channel] ?? spec.encoding?.[channel];
    const names = encoding?.scale?.domain;
    if (encoding?.scale?.scheme) delete encoding.scale.scheme;
    if (encoding?.type === "quantitative" && encoding.legend !== null) {
      encoding.legend = { ...encoding.legend, gradientLength: Math.min(260, width / 2), labelOverlap: "greedy", labelSeparation: 5 };
    }
    if (!Array.isArray(names) || !encoding.scale.range) continue;
    encoding.scale.range = coloursOf(names);
    const columns = columnsOf(names, width - 90);
    if (encoding.legend !== null) encoding.legend = { ...encoding.legend, columns, titleOrient: columns < names.length ? "top" : "left" };
  }
}

/** What takes a width of its own: layers share one. */
function* outers(spec, beside = 1) {
  const inner = spec.hconcat ?? spec.vconcat ?? spec.concat;
  if (inner) for (const one of inner) yield* outers(one, beside * (spec.hconcat ? inner.length : 1));
  else if (spec.spec) yield* outers(spec.spec, beside * (spec.columns ?? 1));
  else yield [spec, beside];
}

async function draw(chart) {
  const width = chart.plot.clientWidth;
  if (!width) return;
  const signals = chart.carried ?? settings(chart);
  delete chart.carried;
  chart.view?.finalize();
  chart.controls.replaceChildren();
  const embed = () => vegaEmbed(chart.plot, fitted(chart, width), {
    mode: "vega-lite", renderer: "svg", actions: false, ast: true, defaultStyle: false, config: theme(width),
    tooltip: { disableDefaultStyle: true, theme: "report" }, bind: chart.controls,
    logLevel: 1, // errors only: that a filter leaves nothing to scale is no warning
  });
  let made = await embed();
  const over = find("svg.marks", chart.plot).getAttribute("width") - width;
  if (Math.abs(over) > 2 && Math.abs(over) < width / 2) {
    chart.around = (chart.around ?? 70) + over; // axes and legends are as wide as their texts: known when drawn
    made.view.finalize();
    chart.controls.replaceChildren();
    made = await embed();
  }
  Object.assign(chart, { view: made.view, width });
  for (const [name, value] of signals) made.view.signal(name, value);
  if (signals.length) await made.view.runAsync();
  describe(chart);
}

function describe(chart) {
  const svg = find("svg.marks", chart.plot);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${chart.title}. ${chart.caption}`);
  chart.plot.classList.toggle("empty", !keep(chart.rows).length);
}

/** Show what the filter leaves, now or when the chart comes into sight. */
function refresh(chart) {
  if (!chart.view) return;
  drawing = drawing.then(async () => {
    await chart.view.data("rows", keep(chart.rows)).runAsync();
    describe(chart);
  }).catch(report);
}

function redraw() {
  charts.filter((chart) => chart.view).forEach(enqueue);
  return drawing;
}

function enqueue(chart) {
  drawing = drawing.then(() => draw(chart)).catch(report);
}

function report(error) {
  console.error(error);
}

/** Draw all charts, from the top: those out of sight are to be there for the printer. Again where a width changes. */
function drawAll() {
  charts.forEach(enqueue);
  let wait = 0;
  new ResizeObserver(() => {
    clearTimeout(wait);
    wait = setTimeout(() => charts.filter(isResized).forEach(enqueue), 120);
  }).observe(find("main"));
}

const isResized = ({ view, plot, width }) => view && plot.clientWidth && plot.clientWidth !== width;

/** Charts of one table that show it by this or that are one figure, with a choice. */
function makeFigure(list) {
  const [first] = list, id = `title-${first.name}`;
  for (const chart of list) chart.controls = element("div", { class: "binds", hidden: chart !== first });
  const title = element("h3", { id }, first.title), caption = element("p", {}, first.caption);
  for (const chart of list) chart.plot = element("div", { class: "plot", hidden: chart !== first, "data-chart": chart.name });
  const show = (chart) => {
    const before = list.find((one) => !one.plot.hidden);
    list.forEach((one) => { one.plot.hidden = one.controls.hidden = one !== chart; });
    title.textContent = chart.title;
    caption.textContent = chart.caption;
    chart.carried = settings(before);
    enqueue(chart);
  };
  const choice = list.length > 1 ? segments(`by-${first.table}`, "By", list.map((chart) => [chart.name.slice(first.table.length + 1), () => show(chart)])) : null;
  return element("figure", { class: first.wide ? "wide" : "", id: `chart-${first.name}`, "aria-labelledby": id },
    element("figcaption", {}, title, caption), element("div", { class: "choices" }, choice, ...list.map((chart) => chart.controls)), ...list.map((chart) => chart.plot));
}

function segments(name, label, choices) {
  const buttons = choices.map(([text, chosen], place) => element("label", {},
    element("input", { type: "radio", name, checked: place === 0, onchange: chosen }), text));
  return element("fieldset", { class: "segments" }, element("legend", { class: "unseen" }, label), element("span", { "aria-hidden": "true" }, label), element("div", {}, ...buttons));
}

/** What the reader has chosen in a chart. */
function settings(chart) {
  const bound = (chart.spec.params ?? []).filter((one) => one.bind).map((one) => one.name);
  return chart.view ? bound.map((name) => [name, chart.view.signal(name)]) : [];
}

/** Charts by figure: those of one table whose names begin with its name belong together. */
function figuresOf(section) {
  const groups = new Map();
  for (const chart of charts.filter((one) => one.section === section)) {
    const key = chart.name.startsWith(`${chart.table}_`) ? chart.table : chart.name;
    groups.set(key, [...(groups.get(key) ?? []), chart]);
  }
  return [...groups.values()].map(makeFigure);
}

// Tables --------------------------------------------------------------------------------------------------------------

const numeric = (rows, name) => rows.some((row) => typeof row[name] === "number") && rows.every((row) => typeof row[name] !== "string");

function compare(a, b) {
  if (a === b) return 0;
  if (a === null || a === undefined || a === "") return 1; // what is not there is last, whatever the order
  if (b === null || b === undefined || b === "") return -1;
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
}

/** What the style sheet is to know of a column: there is no room on paper for the long ones. */
const kindOf = (name, isNumber) => (isNumber ? "num" : ["community_id", "source"].includes(name) ? "long" : null);

/** Rows as a table that every header sorts. */
class Table {
  constructor(rows, { caption, size = Infinity, named = false, bars = [] }) {
    Object.assign(this, { all: rows, rows, size, named, bars, sort: null, page: 0, words: "" });
    this.names = Object.keys(rows[0] ?? {}).filter((name) => name !== "cell");
    this.kinds = Object.fromEntries(this.names.map((name) => [name, numeric(rows, name)]));
    this.heads = this.names.map((name) => element("th", { scope: "col", class: kindOf(name, this.kinds[name]) },
      element("button", { type: "button", onclick: () => this.sortBy(name) }, name.replaceAll("_", " "))));
    this.body = element("tbody");
    const table = element("table", { class: "data" }, element("caption", { class: "unseen" }, caption),
      element("thead", {}, element("tr", {}, ...this.heads)), this.body);
    this.box = element("div", { class: "box", tabindex: 0, role: "region", "aria-label": caption }, table);
  }

  sortBy(name) {
    const [now, down] = this.sort ?? [];
    this.sort = [name, now === name ? !down : this.kinds[name]];
    this.show(0);
  }

  /** Rows that the filter and the words leave, in order. */
  choose() {
    const words = this.words.toLowerCase().split(/\s+/).filter(Boolean);
    const has = (row) => { const text = this.names.map((name) => row[name] ?? "").join(" ").toLowerCase(); return words.every((word) => text.includes(word)); };
    const rows = keep(this.all).filter((row) => !words.length || has(row));
    if (!this.sort) return rows;
    const [name, down] = this.sort, absent = (row) => [null, undefined, ""].includes(row[name]);
    return rows.sort((a, b) => (down && !absent(a) && !absent(b) ? -1 : 1) * compare(a[name], b[name]));
  }

  show(page) {
    this.rows = this.choose();
    this.pages = Math.max(1, Math.ceil(this.rows.length / this.size));
    this.page = Math.min(Math.max(page, 0), this.pages - 1);
    const from = this.size === Infinity ? 0 : this.page * this.size;
    this.body.replaceChildren(...this.rows.slice(from, from + this.size).map((row) => this.line(row)));
    this.heads.forEach((head, place) => {
      if (this.sort?.[0] === this.names[place]) head.setAttribute("aria-sort", this.sort[1] ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    this.onshow?.(from);
    return this;
  }

  line(row) {
    return element("tr", {}, ...this.names.map((name, place) => {
      const heads = this.named && !place, value = row[name], bar = this.bars.includes(name) && typeof value === "number";
      const text = name === "share" ? percent(value) : shown(value, name);
      const title = typeof value === "string" && value.length > 30 ? value : null;
      return element(heads ? "th" : "td", { scope: heads ? "row" : null, class: kindOf(name, this.kinds[name]) },
        bar ? this.meter(name, value) : null, element("span", { class: bar ? "beside-meter" : null, title }, text));
    }));
  }

  meter(name, value) {
    const most = Math.max(...this.all.map((row) => row[name] ?? 0)) || 1;
    return element("span", { class: "meter", "aria-hidden": "true" }, element("i", { style: `width: ${(100 * value / most).toFixed(1)}%` }));
  }

  /** What is shown, on all pages, as CSV; a text that a spreadsheet would take for a formula is quoted by an apostrophe. */
  csv() {
    const cell = (value) => {
      const text = value === null || value === undefined ? "" : String(value);
      const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
      return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
    };
    return [this.names, ...this.rows.map((row) => this.names.map((name) => row[name]))].map((line) => line.map(cell).join(",") + "\n").join("");
  }
}

const flowTable = new Table(flows, { caption: "Flows", size: ROWS_A_PAGE });

function makeFlows() {
  const search = element("input", { type: "search", placeholder: "Find in all columns …", "aria-label": "Find flows that hold these words",
    oninput: () => { flowTable.words = search.value; flowTable.show(0); } });
  const said = element("span", { role: "status" });
  const copy = element("button", { type: "button", onclick: async () => { said.textContent = (await copied(flowTable.csv())) ? "Copied." : "The browser did not allow it."; } }, "Copy as CSV");
  const save = element("button", { type: "button", onclick: () => download("flows.csv", flowTable.csv()) }, "Download CSV");
  const place = element("span", { id: "flow-count" });
  const back = element("button", { type: "button", "aria-label": "Previous page", onclick: () => flowTable.show(flowTable.page - 1) }, "←");
  const on = element("button", { type: "button", "aria-label": "Next page", onclick: () => flowTable.show(flowTable.page + 1) }, "→");
  flowTable.onshow = (from) => {
    const count = flowTable.rows.length;
    said.textContent = "";
    place.textContent = count ? `${whole.format(from + 1)}–${whole.format(Math.min(from + ROWS_A_PAGE, count))} of ${counted(count, "flow")}` : "No flow is left.";
    back.disabled = flowTable.page === 0;
    on.disabled = flowTable.page === flowTable.pages - 1;
  };
  const part = flows.length < DATA.headline.flows;
  return [
    element("p", { class: "caption", id: "part" }, part
      ? `The ${whole.format(flows.length)} largest of ${counted(DATA.headline.flows, "flow")}, by bytes; all are in the flow file.`
      : `All ${counted(flows.length, "flow")}, the largest first.`),
    element("div", { class: "controls" }, element("div", { class: "grow" }, search), copy, save, said),
    flowTable.box,
    element("div", { class: "pager" }, place, element("span", { class: "push" }), back, on),
  ];
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = element("textarea", { class: "unseen" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

function download(name, text) {
  const link = element("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function makeTable(packed, caption, noun) {
  const rows = unpacked(packed);
  if (!rows.length) return [];
  const bars = ["share", "score"].filter((name) => name in rows[0]);
  const table = new Table(rows, { caption, bars, named: true }).show(0);
  return [element("details", {}, element("summary", {}, `${caption}: ${counted(rows.length, noun)} as a table`), table.box)];
}

// Quality and origin --------------------------------------------------------------------------------------------------

function finding({ name, severity, value, text, advice }) {
  return element("li", { class: "card finding" },
    element("span", { class: `grade ${severity}` }, icon(severity), WORDS[severity]),
    element("h3", {}, titled(name)), element("span", { class: "measure" }, value),
    element("p", {}, text), advice ? element("p", { class: "advice" }, advice) : null);
}

function makeQuality() {
  const order = Object.keys(WORDS);
  const ranked = [...DATA.quality].sort((a, b) => order.indexOf(a.severity) - order.indexOf(b.severity));
  const list = (findings) => element("ul", { class: "findings" }, ...findings.map(finding));
  const [open, passed] = [ranked.filter((one) => one.severity !== "ok"), ranked.filter((one) => one.severity === "ok")];
  const fine = passed.length ? element("details", { open: !open.length }, element("summary", {}, `${counted(passed.length, "check")} found nothing wrong`), list(passed)) : null;
  return [open.length ? list(open) : null, fine];
}

function makeMade() {
  const pairs = DATA.made.flatMap(([name, values]) => [element("dt", {}, name), element("dd", {}, ...values.map((one) => element("code", {}, one)))]);
  return [element("dl", { class: "card made" }, ...pairs)];
}

// The whole -----------------------------------------------------------------------------------------------------------

function makeSections() {
  const fixed = {
    headline: () => [element("dl", { class: "numbers", id: "numbers" })],
    labels: () => [...makeTable(DATA.balance, "Label balance", "label"), ...makeTable(DATA.separability, "What tells the labels apart", "feature")],
    quality: makeQuality, flows: makeFlows, made: makeMade,
  };
  for (const [name, title, lead] of SECTIONS) {
    const figures = figuresOf(name);
    const rest = (fixed[name]?.() ?? []).filter(Boolean);
    if (!figures.length && !rest.length) continue;
    const whole = ["labels", "quality"].includes(name) ? element("p", { class: "whole", hidden: true }, "Of all flows: the filter does not change it.") : null;
    find("main").append(element("section", { id: name, "aria-labelledby": `h-${name}` },
      element("header", {}, element("h2", { id: `h-${name}`, tabindex: -1, class: name === "headline" ? "unseen" : null }, title), lead ? element("p", {}, lead) : null, whole),
      figures.length ? element("div", { class: "charts" }, ...figures) : null, ...rest));
    find("#sections ul").append(element("li", {}, element("a", { href: `#${name}`, onclick: jump }, title)));
  }
  find("main").append(element("p", { class: "end" }, `Made by flowgauge ${DATA.version}. This file needs no network and asks for none.`));
}

/** Go to a section without losing the filter that the address holds. */
function jump(event) {
  event.preventDefault();
  const section = document.getElementById(event.currentTarget.getAttribute("href").slice(1));
  closePanels();
  section.scrollIntoView();
  find("h2", section).focus({ preventScroll: true });
}

function makeHead() {
  find(".head").append(element("h1", {}, DATA.title), element("p", {}, DATA.subtitle));
}

function watchSections() {
  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.getAttribute("href").slice(1), link]));
  const seen = new Set();
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) if (isIntersecting) seen.add(target.id); else seen.delete(target.id);
    const first = [...links.keys()].find((name) => seen.has(name));
    if (first) links.forEach((link, name) => { if (name === first) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current"); });
  }, { rootMargin: "-12% 0px -70% 0px" });
  document.querySelectorAll("section").forEach((section) => observer.observe(section));
}

function closePanels(except = null) {
  for (const opener of document.querySelectorAll(".opener")) {
    if (opener === except) continue;
    opener.setAttribute("aria-expanded", "false");
    document.getElementById(opener.getAttribute("aria-controls")).classList.remove("open");
  }
}

function makePanels() {
  for (const opener of document.querySelectorAll(".opener")) {
    opener.addEventListener("click", () => {
      closePanels(opener);
      const open = document.getElementById(opener.getAttribute("aria-controls")).classList.toggle("open");
      opener.setAttribute("aria-expanded", String(open));
    });
  }
  document.addEventListener("keydown", (event) => {
    const open = find('.opener[aria-expanded="true"]');
    if (event.key !== "Escape" || !open) return;
    closePanels();
    open.focus();
  });
}

// Theme and print -----------------------------------------------------------------------------------------------------

const dark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";

function nameTheme() {
  find("#theme .word").textContent = isDark() ? "Light" : "Dark";
  find("#theme").setAttribute("aria-label", `${isDark() ? "Light" : "Dark"} theme`);
}

function setTheme(name) {
  if (name) document.documentElement.dataset.theme = name; else delete document.documentElement.dataset.theme;
  nameTheme();
  return redraw();
}

/** Print in light colours, then put back what was. */
async function print() {
  const before = document.documentElement.dataset.theme;
  await setTheme("light");
  window.print();
  await setTheme(before);
}

makeHead();
makeFilter();
makeSections();
makePanels();
nameTheme();
find("#theme").addEventListener("click", () => setTheme(isDark() ? "light" : "dark"));
find("#print").addEventListener("click", print);
dark.addEventListener("change", () => setTheme(document.documentElement.dataset.theme));
addEventListener("hashchange", () => { readAddress(); apply(); });
readAddress();
apply();
watchSections();
drawAll();
/** For those who look into the page from outside, as its tests do. */
window.flowgaugeReport = { view: (name) => charts.find((chart) => chart.name === name)?.view, settled: async () => { let last; do { last = drawing; await last; } while (last !== drawing); } };
})();
