// The requests that an API has answered: how many, how fast, and how many failed; each endpoint.

import { asCurl, get, quoted } from "../api.js";
import { Chart } from "../chart.js";
import { change, comparison, count, decimal, milliseconds, share, span } from "../format.js";
import { Figures } from "../figures.js";
import { copy, element, offerCsv, setText, showState } from "../page.js";
import { Poll } from "../poll.js";
import { ProjectPicker } from "../project.js";
import { instantText, RangePicker } from "../range.js";
import { drawSparkline } from "../sparkline.js";
import { SortedTable } from "../table.js";

const POLL_SECONDS = 5;
const HOUR = 3_600_000;
const HOURS_MAX = 72; // of the trend of an endpoint; longer ranges have days
const INTERVALS = ["minute", "hour", "day"];
// Upper ends of the rows of the distribution, in milliseconds.
const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 60_000, 3_600_000];
const SHARES = [["Fastest", "fastest_request_ms"], ["Half within", "p50_ms"], ["75 % within", "p75_ms"],
  ["95 % within", "p95_ms"], ["99 % within", "p99_ms"], ["Slowest", "slowest_request_ms"], ["Average", "avg_response_time_ms"]];

const byId = (id) => document.getElementById(id);
const project = new ProjectPicker(byId("project"));
const picker = new RangePicker(byId("range"), { intervals: INTERVALS });
const figures = new Figures(byId("figures"));
let before = null; // {path, points}: the period that was compared with last
let paths = {};
let shown = { rows: null, series: null, merged: [] }; // the endpoints as they were answered last, and with their trends
const opened = new Map(); // an endpoint -> what is below its row

const requests = new Chart(byId("chart"), { title: "Requests and errors", labels: ["Status below 400", "4xx", "5xx"] });
const times = new Chart(byId("times"), { title: "Response times", labels: ["p50", "p95", "p99"], kind: "lines", format: (value) => milliseconds(value ?? null) });
const endpoints = new SortedTable(byId("endpoints"), {
  columns: [
    { name: "endpoint", label: "Endpoint", kind: "text", value: nameOf, text: nameOf },
    { name: "trend", label: "Trend", kind: "drawn", draw: (row, cell) => drawSparkline(cell, row.trend, paths.unit) },
    { name: "requests", label: "Requests", value: (row) => row.request_count, text: (row) => count(row.request_count) },
    { name: "errors", label: "Errors", value: (row) => row.error_rate, text: (row) => share(row.error_count, row.request_count) },
    ...["p50", "p95", "p99"].map((name) => ({
      name, label: name, value: (row) => row[`${name}_ms`], text: (row) => milliseconds(row[`${name}_ms`]),
    })),
    { name: "apdex", label: "Apdex", value: (row) => row.apdex, text: (row) => decimal(row.apdex) },
  ],
  keyOf: nameOf,
  detail: detailOf,
  sort: "requests",
  filter: byId("filter"),
  state: byId("endpoints-state"),
});

function nameOf({ method, url_path: path }) {
  return method === null ? path : `${method} ${path}`;
}

/** What opens below an endpoint: its figures, and the distribution of its response times, which is read for it. */
function detailOf(row) {
  const name = nameOf(row);
  const known = opened.get(name) ?? { figures: element("dl", { class: "figures" }), place: element("div"), row: null };
  opened.set(name, known);
  known.figures.replaceChildren(...[
    ...SHARES.map(([label, figure]) => [label, milliseconds(row[figure])]),
    ["4xx", count(row.client_error_count)], ["5xx", count(row.server_error_count)],
  ].map(([label, text]) => element("div", {}, element("dt", { text: label }), element("dd", {}, element("span", { text })))));
  readDistribution(row, known);
  return known.made ??= element("div", {}, known.figures, known.place);
}

async function readDistribution({ method, url_path: url }, known) {
  const endpoint = new URLSearchParams({ ...(method === null ? {} : { method }), url_path: url });
  const path = `${paths.distribution}&${endpoint}`;
  known.path = path;
  try {
    const { body } = await get(path);
    if (known.path === path) {
      known.table ??= element("table", {}, element("caption", { text: "Response times of this endpoint" }), headingOf(), element("tbody"));
      fillDistribution(known.table, body);
      known.place.replaceChildren(known.table);
    }
  } catch (failure) {
    known.place.replaceChildren(element("p", { class: "failure", text: failure.inWords ?? "The distribution cannot be shown." }));
  }
}

const headingOf = () => element("thead", {}, element("tr", {}, element("th", { scope: "col", text: "Up to" }),
  element("th", { scope: "col", class: "number", text: "Requests" }), element("th", { scope: "col", class: "number", text: "Share" }), element("td")));

async function refresh(signal) {
  const key = await project.current(signal);
  byId("no-project").hidden = key !== null;
  byId("of-project").hidden = key === null;
  if (key === null) {
    return;
  }
  const range = picker.current();
  const root = `/api/v1/projects/${encodeURIComponent(key)}/metrics`;
  const whole = queryOf(range.from, range.isRunning ? null : range.to);
  const unit = range.to - range.from <= HOURS_MAX * HOUR ? "hour" : "day";
  paths = {
    summary: `${root}/summary?${whole}`,
    series: `${root}/time-series?${seriesOf(range, whole)}`,
    endpoints: `${root}/endpoints?${whole}`,
    distribution: `${root}/distribution?${whole}`,
    trends: `${root}/endpoints/time-series?${new URLSearchParams({ granularity: unit, ...Object.fromEntries(whole) })}`,
  };
  const asked = paths;
  const [summary, series, rows, cells, trends, earlier] = await Promise.all([
    ...Object.values(asked).map(async (path) => (await get(path, { signal })).body),
    readBefore(root, range, signal),
  ]);
  paths.unit = unit;
  showCharts(summary, range, series.filter((point) => Date.parse(point.timestamp) <= range.to), earlier, asked.series);
  showFigures(summary);
  showEndpoints(range, rows, trends);
  showDistribution(range, cells);
}

/** The parameters of a range, whose end is included; without an end it goes on to the end of the day. */
function queryOf(from, to) {
  const query = new URLSearchParams({ start_date: instantText(from) });
  if (to !== null) {
    query.set("end_date", instantText(to - 1));
  }
  return query;
}

function seriesOf({ interval, zone }, query) {
  return new URLSearchParams({ granularity: interval, timezone: zone, ...Object.fromEntries(query) });
}

/** The points of the period that the range is compared with, or null. It is over: it is read once. */
async function readBefore(root, range, signal) {
  if (range.before === null) {
    return null;
  }
  const path = `${root}/time-series?${seriesOf(range, queryOf(range.before.from, range.before.to))}`;
  if (before?.path !== path) {
    try {
      before = { path, points: (await get(path, { signal })).body };
    } catch (failure) {
      if (failure.status !== 400) {
        throw failure;
      }
      before = { path, points: null }; // minutes are kept for 35 days: there is nothing to compare with
    }
  }
  return before.points;
}

function showFigures(summary) {
  byId("empty").hidden = summary.request_count > 0;
  figures.show("Per minute", decimal(summary.requests_per_minute));
  figures.show("Error rate", share(summary.error_count, summary.request_count),
    `4xx:\u00a0${count(summary.client_error_count)} · 5xx:\u00a0${count(summary.server_error_count)}`);
  for (const name of ["p50", "p95", "p99"]) {
    figures.show(name, milliseconds(summary[`${name}_ms`]));
  }
  figures.show("Apdex", summary.request_count ? decimal(summary.apdex) : "–");
  figures.show("Consumers", count(summary.distinct_consumers), "of all days in the range");
  byId("dropped").hidden = summary.dropped === 0;
  setText(byId("dropped"), `Dropped by clients: ${count(summary.dropped)}. These requests are in no other figure.`);
}

function showCharts(summary, range, points, earlier, path) {
  const starts = points.map((point) => Date.parse(point.timestamp));
  const all = sum(points);
  const complete = sum(points.filter((_, index) => starts[index] < range.completeUntil));
  const compared = earlier && sum(earlier);
  const { text, direction } = compared === null ? { text: "", direction: "" } : change(compared, complete);
  figures.show("Requests", count(summary.request_count), text, direction);
  requests.draw({
    times: starts,
    columns: [
      points.map((point) => point.request_count - point.error_count),
      points.map((point) => point.client_error_count), points.map((point) => point.server_error_count),
    ],
    before: earlier && earlier.map((point) => point.request_count),
    range: earlier ? range : { ...range, before: null },
    caption: comparison("Requests", range, all, complete, compared),
    path,
  });
  const slowest = points.reduce((most, point) => Math.max(most, point.p95_ms ?? 0), 0);
  times.draw({
    times: starts,
    columns: ["p50_ms", "p95_ms", "p99_ms"].map((name) => points.map((point) => point[name])),
    before: null,
    range: { ...range, before: null },
    caption: `Response times, ${range.name}: ${slowest ? `the highest p95 of ${range.interval === "hour" ? "an" : "a"} ${range.interval} is ${milliseconds(slowest)}` : "no request"}.`,
    path,
  });
}

const sum = (points) => points.reduce((total, point) => total + point.request_count, 0);

function showEndpoints(range, rows, series) {
  setText(byId("endpoints").caption, `${span(range.from, range.to, range.zone)}, in whole quarters of an hour`);
  offerCsv(byId("endpoints-csv"), `${paths.endpoints}&format=csv`);
  // The same objects again where nothing has changed: then no row is written anew.
  if (rows !== shown.rows || series !== shown.series) {
    const trends = new Map(series.endpoints.map((each) => [nameOf(each), each.request_counts]));
    shown = { rows, series, merged: rows.map((row) => ({ ...row, trend: trends.get(nameOf(row)) })) };
  }
  endpoints.draw(shown.merged);
}

function showDistribution(range, cells) {
  setText(byId("distribution").caption, span(range.from, range.to, range.zone));
  offerCsv(byId("distribution-csv"), `${paths.distribution}&format=csv`);
  fillDistribution(byId("distribution"), cells);
}

function fillDistribution(table, cells) {
  const counts = STEPS.map(() => 0);
  for (const cell of cells) {
    counts[STEPS.findIndex((step) => cell.from_ms <= step)] += cell.count;
  }
  const first = counts.findIndex(Boolean);
  const steps = first < 0 ? [] : STEPS.slice(first, counts.findLastIndex(Boolean) + 1).map((step, index) => [step, counts[first + index]]);
  const all = counts.reduce((total, each) => total + each, 0);
  const most = Math.max(...counts);
  table.tBodies[0].replaceChildren(...steps.map(([step, number]) => element("tr", {},
    element("th", { scope: "row", text: milliseconds(step) }),
    element("td", { class: "number", text: count(number) }),
    element("td", { class: "number", text: share(number, all) }),
    element("td", { class: "bar" }, element("progress", { max: most, value: number, "aria-hidden": "true" })))));
}

for (const name of ["endpoints", "distribution"]) {
  byId(`${name}-curl`).addEventListener("click", (event) => paths[name] && copy(asCurl(paths[name]), event.target));
}

const offered = {
  curl: `curl -X POST ${quoted(`${location.origin}/api/v1/track`)} -H "X-API-Key: $API_KEY" -H 'Content-Type: application/json' -d '{"url_path":"/orders/{id}","method":"GET","response_status_code":200,"response_time_ms":12.5,"consumer":"app-7"}'`,
  "project-curl": `curl -X POST ${quoted(`${location.origin}/api/v1/projects`)} -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d '{"name":"Shop"}'`,
};
for (const [id, command] of Object.entries(offered)) {
  setText(byId(id), command);
  byId(`copy-${id}`).addEventListener("click", (event) => copy(command, event.target));
}

const poll = new Poll(refresh, POLL_SECONDS, showState);
picker.addEventListener("change", () => poll.start());
project.addEventListener("change", () => poll.start());
poll.start();
