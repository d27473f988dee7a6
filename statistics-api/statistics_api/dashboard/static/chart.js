// A chart that can be seen, heard, read as a table, and taken along. uPlot draws; everything around it is ours.
/* global uPlot */

import { asCurl } from "./api.js";
import { axisTime, count, span, time } from "./format.js";
import { copy, element, setText } from "./page.js";

const HEIGHT = 260;
const ANNOUNCED_AFTER = 200; // milliseconds without another key
const PNG_MARGIN = 16;

/**
 * A chart in a <figure>.
 *
 * `title` names it; `labels` are the names of its series. `kind` is "stacked" (bars), "lines", or "band": a line, and the
 * lower and the upper limit of what is around it, where null is a gap. `format` writes a value. `draw` shows data,
 * `fail` says why there is none.
 */
export class Chart {
  constructor(figure, { title, labels, kind = "stacked", format = count }) {
    Object.assign(this, { figure, title, labels, kind, format, data: null, plot: null, index: null });
    figure.setAttribute("role", "figure");
    this.caption = element("figcaption");
    this.legend = element("ul", { class: "legend", "aria-hidden": "true" });
    this.surface = element("div", {
      class: "surface", tabindex: "0", role: "application", "aria-roledescription": "chart",
      "aria-label": `${title}. The arrow keys move through the values.`,
    });
    this.readout = element("p", { class: "readout", "aria-hidden": "true" });
    this.live = element("p", { class: "hidden-text", "aria-live": "polite" });
    this.table = element("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": `${title}, as a table`, hidden: true });
    this.tableButton = element("button", { type: "button", text: "Show as table", "aria-expanded": "false" });
    this.csv = element("a", { class: "button", text: "CSV", download: true, href: "" });
    const png = element("button", { type: "button", text: "PNG" });
    const curl = element("button", { type: "button", text: "Copy as curl" });
    figure.replaceChildren(
      this.caption, this.legend, this.surface, this.readout, this.live,
      element("div", { class: "actions" }, this.tableButton, this.csv, png, curl), this.table,
    );
    this.tableButton.addEventListener("click", () => this.#toggleTable());
    png.addEventListener("click", () => this.#savePng());
    curl.addEventListener("click", () => this.data && copy([this.data.path].flat().map((path) => asCurl(path)).join("\n"), curl));
    this.surface.addEventListener("keydown", (event) => this.#onKey(event));
    this.surface.addEventListener("blur", () => this.#say(null));
    document.addEventListener("themechange", () => this.#rebuild());
    new ResizeObserver(() => this.#resize()).observe(this.surface);
  }

  /**
   * Show data: `times` are starts of buckets in milliseconds, `columns` has the values of each series, and `before`
   * those of the period that it is compared with, or null. `range` is as `rangeOf` returns it, `caption` a sentence,
   * `path` the request that the data is from, or several; `csv` is
   * the text of the file, where the API has none.
   */
  draw(data) {
    this.data = data;
    setText(this.caption, data.caption);
    this.#offerCsv(data);
    if (this.plot === null || this.zone !== data.range.zone) {
      this.#rebuild();
    } else {
      this.plot.setData(this.#plotted(), true);
    }
    if (!this.table.hidden) {
      this.#fillTable();
    }
  }

  /** Name other series; the next `draw` shows them. */
  relabel(labels) {
    this.plot?.destroy();
    Object.assign(this, { labels, plot: null, index: null });
  }

  #offerCsv({ path, csv }) {
    if (csv === undefined) {
      this.csv.href = `${path}&format=csv`;
    } else if (csv !== this.csvText) {
      URL.revokeObjectURL(this.csv.href);
      Object.assign(this, { csvText: csv });
      this.csv.href = URL.createObjectURL(new Blob([csv], { type: "text/csv" }));
      this.csv.download = `${this.title}.csv`;
    }
  }

  fail(sentence) {
    setText(this.caption, sentence);
  }

  // uPlot's x is in seconds. Bars are stacked by drawing sums, the largest first.
  #plotted() {
    const { times, columns, before } = this.data;
    const xs = times.map((each) => each / 1_000);
    const shown = this.kind === "stacked" ? sums(columns).reverse() : columns;
    return [xs, ...shown, before ? xs.map((_, index) => before[index] ?? null) : xs.map(() => null)];
  }

  #rebuild() {
    if (this.data === null) {
      return;
    }
    this.plot?.destroy();
    const { zone } = this.data.range;
    this.zone = zone;
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const fills = this.labels.map((_, index) => pattern(index, colour(`--series-${index + 1}`), colour("--surface")));
    const isStacked = this.kind === "stacked";
    const isBand = this.kind === "band";
    const series = this.labels.map((label, index) => ({
      label,
      stroke: isStacked ? colour("--surface") : colour(`--series-${index + 1}`),
      width: isStacked || (isBand && index > 0) ? 1 : 2,
      dash: isStacked ? undefined : DASHES[index % DASHES.length],
      fill: isStacked ? () => fills[index] : undefined,
      paths: isStacked ? uPlot.paths.bars({ size: [0.9, 80], align: 1 }) : undefined,
      // Between two gaps there is no line to be seen.
      points: { show: isBand, size: index > 0 ? 3 : 5 },
    }));
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
    this.plot = new uPlot({
      width: this.surface.clientWidth,
      height: HEIGHT,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1_000), zone),
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
      scales: { x: { range: () => [this.data.times[0] / 1_000, this.data.range.to / 1_000] }, y: { range: isBand ? aroundValues : (_, __, max) => [0, Math.max(1, max * 1.05)] } },
      bands: isBand ? [{ series: [3, 2], fill: `${colour("--series-1")}33` }] : [],
      axes: [{ ...axis, space: 64, values: (_, values) => values.map((each) => axisTime(each * 1_000, zone, this.data.range.interval)) }, { ...axis, size: 64, values: (_, values) => values.map((each) => (Number.isInteger(each) || !isStacked ? this.format(each) : "")) }],
      series: [
        {},
        ...(isStacked ? series.reverse() : series),
        { label: "before", stroke: colour("--before"), width: 2, dash: [6, 4], paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } },
      ],
      hooks: { setCursor: [(plot) => this.#show(plot.cursor.idx)] },
    }, this.#plotted(), this.surface);
    // For the eye alone: everything in it is also in the table, the readout and the live region.
    this.plot.root.setAttribute("aria-hidden", "true");
    this.#drawLegend(fills, colour);
  }

  #drawLegend(fills, colour) {
    const entries = this.labels.map((label, index) => element("li", {}, swatch(this.kind === "stacked" ? fills[index] : colour(`--series-${index + 1}`)), ` ${label}`));
    if (this.data.range.before) {
      entries.push(element("li", { text: `╌╌ ${this.kind === "band" ? this.labels[0] : "all of them"}, before` }));
    }
    this.legend.replaceChildren(...entries);
  }

  #resize() {
    const width = this.surface.clientWidth;
    if (this.plot && width && width !== this.plot.width) {
      this.plot.setSize({ width, height: HEIGHT });
    }
  }

  #onKey(event) {
    const last = (this.data?.times.length ?? 0) - 1;
    const moves = { ArrowLeft: (this.index ?? last + 1) - 1, ArrowRight: (this.index ?? -1) + 1, Home: 0, End: last };
    if (last < 0 || !Object.hasOwn(moves, event.key)) {
      return;
    }
    event.preventDefault();
    const index = Math.max(0, Math.min(last, moves[event.key]));
    this.index = index;
    const left = this.plot.valToPos(this.data.times[index] / 1_000, "x");
    this.plot.setCursor({ left: left + 1, top: HEIGHT / 2 });
    this.#show(index);
    this.#say(this.#inWords(index));
  }

  #show(index) {
    setText(this.readout, index === null || index === undefined || !this.data.times[index] ? "" : this.#inWords(index));
  }

  #say(sentence) {
    clearTimeout(this.announcing);
    if (sentence !== null) {
      this.announcing = setTimeout(() => setText(this.live, sentence), ANNOUNCED_AFTER);
    }
  }

  #inWords(index) {
    const { times, columns, before, range } = this.data;
    const values = this.labels.map((label, number) => `${label} ${this.format(columns[number][index])}`);
    if (this.kind === "stacked") {
      values.push(`together ${this.format(total(columns, index))}`);
    }
    if (before && before[index] !== undefined) {
      values.push(`before ${this.format(before[index])}`);
    }
    return `${time(times[index], range.zone, this.#style())}: ${values.join(", ")}`;
  }

  #style() {
    return this.data.range.interval;
  }

  #toggleTable() {
    this.table.hidden = !this.table.hidden;
    this.tableButton.setAttribute("aria-expanded", String(!this.table.hidden));
    setText(this.tableButton, this.table.hidden ? "Show as table" : "Hide the table");
    if (!this.table.hidden) {
      this.#fillTable();
    }
  }

  #fillTable() {
    if (this.data === null) {
      return;
    }
    const { times, columns, before, range } = this.data;
    const number = (name, text, attributes) => element(name, { ...attributes, class: "number", text });
    const isStacked = this.kind === "stacked";
    const names = [...this.labels, ...(isStacked ? ["Together"] : []), ...(before ? ["Before"] : [])];
    const rows = times.map((start, index) => element("tr", {},
      element("th", { scope: "row", text: time(start, range.zone) }),
      ...columns.map((column) => number("td", this.format(column[index]))),
      ...(isStacked ? [number("td", this.format(total(columns, index)))] : []),
      ...(before ? [number("td", before[index] === undefined ? "–" : this.format(before[index]))] : []),
    ));
    this.table.replaceChildren(element("table", {},
      element("caption", { text: `${this.title}, each ${range.interval}, ${range.zone}` }),
      element("thead", {}, element("tr", {},
        element("th", { scope: "col", text: "From" }), ...names.map((name) => number("th", name, { scope: "col" })))),
      element("tbody", {}, ...rows)));
  }

  // The picture has its title, its range and its legend in it: it is shown where this page is not.
  #savePng() {
    if (this.plot === null) {
      return;
    }
    const source = this.plot.ctx.canvas;
    const scale = devicePixelRatio || 1;
    const style = getComputedStyle(document.documentElement);
    const canvas = element("canvas");
    canvas.width = source.width + 2 * PNG_MARGIN * scale;
    canvas.height = source.height + 6 * PNG_MARGIN * scale;
    const context = canvas.getContext("2d");
    context.fillStyle = style.getPropertyValue("--surface").trim();
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.scale(scale, scale);
    context.fillStyle = style.getPropertyValue("--text").trim();
    context.font = "600 16px system-ui, sans-serif";
    context.fillText(this.title, PNG_MARGIN, 1.75 * PNG_MARGIN);
    context.font = "13px system-ui, sans-serif";
    const { range } = this.data;
    context.fillText(span(range.from, range.to, range.zone), PNG_MARGIN, 3 * PNG_MARGIN);
    let x = PNG_MARGIN;
    this.legend.querySelectorAll("li").forEach((entry) => {
      const sample = entry.querySelector("canvas");
      if (sample) {
        context.drawImage(sample, x, 3.4 * PNG_MARGIN, 12, 12);
        x += 16;
      }
      context.fillText(entry.textContent.trim(), x, 4.1 * PNG_MARGIN);
      x += context.measureText(entry.textContent.trim()).width + PNG_MARGIN;
    });
    context.drawImage(source, PNG_MARGIN, 5 * PNG_MARGIN, source.width / scale, source.height / scale);
    canvas.toBlob((blob) => {
      const link = element("a", { href: URL.createObjectURL(blob), download: `${this.title}.png` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    });
  }
}

const DASHES = [undefined, [8, 4], [2, 3], [10, 3, 2, 3]];

/** A scale for values of either sign, which need no zero. */
function aroundValues(_, min, max) {
  return min === null ? [-1, 1] : uPlot.rangeNum(min, max, 0.1, true);
}

const total = (columns, index) => columns.reduce((sum, column) => sum + column[index], 0);

/** Running sums over the series: the last has them all. */
function sums(columns) {
  const made = [];
  for (const column of columns) {
    const below = made.at(-1);
    made.push(below ? column.map((value, index) => value + below[index]) : [...column]);
  }
  return made;
}

// Colour is not alone: each series has another pattern.
function pattern(index, colour, mark) {
  const tile = element("canvas");
  tile.width = tile.height = 8;
  const context = tile.getContext("2d");
  context.fillStyle = colour;
  context.fillRect(0, 0, 8, 8);
  context.strokeStyle = context.fillStyle = mark;
  context.lineWidth = 1.5;
  context.beginPath();
  switch (index % 4) {
    case 1: // diagonals
      context.moveTo(0, 8); context.lineTo(8, 0); context.moveTo(-2, 2); context.lineTo(2, -2);
      context.moveTo(6, 10); context.lineTo(10, 6); context.stroke();
      break;
    case 2: // dots
      context.arc(4, 4, 1.5, 0, 2 * Math.PI); context.fill();
      break;
    case 3: // level lines
      context.moveTo(0, 4); context.lineTo(8, 4); context.stroke();
      break;
    default: // plain
  }
  return context.createPattern(tile, "repeat");
}

function swatch(fill) {
  const made = element("canvas");
  made.width = made.height = 16;
  const context = made.getContext("2d");
  context.fillStyle = fill;
  context.fillRect(0, 0, 16, 16);
  return made;
}
