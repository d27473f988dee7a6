// The overview: all auth events by device type, live, and a range of them.

import { get, now, quoted } from "../api.js";
import { Chart } from "../chart.js";
import { change, changeInWords, count, share, span, time } from "../format.js";
import { copy, element, sessions, setText, showState } from "../page.js";
import { Poll } from "../poll.js";
import { instantText, RangePicker, seriesQuery } from "../range.js";
import { shared } from "../shared.js";

const STATISTICS = "/Log/auth/statistics";
const SERIES = "/Log/auth/timeseries";
const POLL_SECONDS = 2;
// Many pages may look at once, and a series costs as much as many counts.
const SERIES_SECONDS = 30;
const MINUTE = 60_000;

const byId = (id) => document.getElementById(id);
const picker = new RangePicker(byId("range"));
const figures = new Map();
const samples = []; // {at, total} of the last minute
const lastSeen = new Map(); // device type -> when this page saw its count grow
let counts = null;
let chart = null;
let drawn = null; // {key, at, isCurrent, series, before}: what the chart shows, and of which requests it was made
let lastMinute = null; // what the first minute of this page begins with

byId("project").hidden = shared !== null;
setText(byId("project"), sessions().includes("project")
  ? "The project of your API key." : "The project “default”: events that came without an API key.");

async function refresh(signal) {
  const growth = await readCounts(signal);
  const range = picker.current();
  const key = [seriesQuery(range), range.completeUntil, range.before?.from, range.before?.to].join(" ");
  if (drawn?.key !== key || (!drawn.isCurrent && now() - drawn.at > SERIES_SECONDS * 1_000)) {
    await readRange(range, key, signal);
  } else if (growth.size) {
    // The counts say what has come since. When it happened, the series says later.
    drawn.isCurrent = false;
    for (const each of range.isRunning ? drawn.series : []) {
      each.counts[each.counts.length - 1] += growth.get(each.name) ?? 0;
    }
  }
  showRange(range);
}

async function readCounts(signal) {
  const { body } = await get(STATISTICS, { signal });
  const growth = noteGrowth(body);
  counts = body;
  showFigures();
  return growth;
}

/** By how much each count has grown since the last answer. */
function noteGrowth({ statistics, total }) {
  const at = now();
  const growth = new Map();
  for (const { deviceType, count: events } of statistics) {
    const before = counts?.statistics.find((each) => each.deviceType === deviceType);
    if (before && events > before.count) {
      lastSeen.set(deviceType, at);
      growth.set(deviceType, events - before.count);
    }
  }
  samples.push({ at, total });
  // One sample that is a minute old stays, to compare with.
  while (samples.length > 1 && samples[1].at <= at - MINUTE) {
    samples.shift();
  }
  return growth;
}

function showFigures() {
  const { statistics, total } = counts;
  showFigure("Total", total);
  for (const { deviceType, count: events } of statistics) {
    showFigure(deviceType, events);
  }
  showFigure("In the last minute", rateNow(total));
  byId("empty").hidden = total > 0;
}

// What came while this page looked, and a share of what came before: exact when it has looked for a minute.
function rateNow(total) {
  const unseen = Math.max(0, MINUTE - (now() - samples[0].at)) / MINUTE;
  return unseen > 0 && lastMinute === null ? null : total - samples[0].total + Math.round(unseen * (lastMinute ?? 0));
}

function showFigure(name, number) {
  if (!figures.has(name)) {
    const value = element("dd");
    figures.set(name, value);
    byId("figures").append(element("div", {}, element("dt", { text: name }), value));
  }
  setText(figures.get(name), number === null ? "–" : count(number));
}

async function readRange(range, key, signal) {
  const path = `${SERIES}?${seriesQuery(range)}`;
  const asked = [readSeries(path, signal), readBefore(range, signal)];
  if (lastMinute === null) {
    asked.push(minuteBefore(signal));
  }
  const [series, before] = await Promise.all(asked);
  // What came meanwhile may be in the series, or not.
  const growth = await readCounts(signal);
  drawn = { key, path, at: now(), isCurrent: growth.size === 0, before, ...series };
}

/** A series of each device type, with the starts of their buckets in milliseconds. */
async function readSeries(path, signal) {
  const { body } = await get(path, { signal });
  return {
    times: body.series[0].points.map((point) => Date.parse(point.start)),
    series: body.series.map(({ deviceType, points }) => ({ name: deviceType, counts: points.map((point) => point.count) })),
  };
}

/** The period that the range is compared with, or null. It is over: it is read once. */
async function readBefore({ before, interval, zone }, signal) {
  if (before === null) {
    return null;
  }
  const query = new URLSearchParams({ interval, timezone: zone, from: instantText(before.from), to: instantText(before.to) });
  const path = `${SERIES}?${query}`;
  if (drawn?.before?.path === path) {
    return drawn.before;
  }
  try {
    return { path, ...(await readSeries(path, signal)) };
  } catch (failure) {
    if (failure.status === 400) {
      return null; // minutes are kept for 35 days: there is nothing to compare with
    }
    throw failure;
  }
}

function showRange(range) {
  const { times, series, before, path } = drawn;
  const complete = times.filter((each) => each < range.completeUntil).length;
  const rows = series.map((each) => ({
    name: each.name,
    count: sum(each.counts),
    complete: sum(each.counts.slice(0, complete)),
    before: before && sum(before.series.find(({ name }) => name === each.name).counts),
    last: lastOf(times, each.counts),
  }));
  chart ??= new Chart(byId("chart"), { title: "Auth events by device type", labels: series.map(({ name }) => name) });
  chart.draw({
    times,
    columns: series.map((each) => each.counts),
    before: before && before.times.map((_, index) => sum(before.series.map((each) => each.counts[index]))),
    range,
    caption: captionOf(range, rows),
    path,
  });
  showTable(range, rows);
}

async function minuteBefore(signal) {
  const running = Math.floor(now() / MINUTE) * MINUTE;
  const query = new URLSearchParams({ interval: "minute", from: instantText(running - MINUTE) });
  const { body } = await get(`${SERIES}?${query}`, { signal });
  const [before, since] = [0, 1].map((index) => sum(body.series.map((each) => each.points[index]?.count ?? 0)));
  lastMinute = since + before * Math.max(0, 1 - (now() - running) / MINUTE);
  showFigures();
}

const sum = (numbers) => numbers.reduce((total, each) => total + each, 0);

function lastOf(times, column) {
  const index = column.findLastIndex((each) => each > 0);
  return index < 0 ? null : times[index];
}

function captionOf(range, rows) {
  const all = sum(rows.map((row) => row.count));
  const sentence = `Auth events, ${range.name}: ${count(all)}`;
  if (range.before === null || rows[0].before === null) {
    return `${sentence}.`;
  }
  const words = changeInWords(sum(rows.map((row) => row.before)), sum(rows.map((row) => row.complete)));
  const part = range.isRunning ? `, counting each complete ${range.interval}` : "";
  return `${sentence}, ${words}${part}.`;
}

function showTable(range, rows) {
  const all = sum(rows.map((row) => row.count));
  setText(byId("types").caption, `${span(range.from, range.to, range.zone)}`);
  const body = byId("types").tBodies[0];
  rows.forEach((row, index) => {
    const line = body.rows[index] ?? body.appendChild(newRow());
    const { text, direction } = row.before === null ? { text: "–", direction: "" } : change(row.before, row.complete);
    const cells = [row.name, count(row.count), share(row.count, all), text, lastEvent(row, range)];
    cells.forEach((each, column) => setText(line.cells[column].firstChild, each));
    line.cells[3].firstChild.className = direction;
  });
}

function newRow() {
  const cells = ["th", "td", "td", "td", "td"].map((name, index) => {
    const number = index > 0 && index < 4 ? "number" : undefined;
    return element(name, { scope: name === "th" ? "row" : undefined, class: number }, element("span"));
  });
  return element("tr", {}, ...cells);
}

function lastEvent(row, range) {
  const seen = lastSeen.get(row.name);
  if (seen !== undefined) {
    return time(seen, range.zone, "clock");
  }
  // A bucket says no more.
  const preposition = { day: "on", month: "in" }[range.interval] ?? "after";
  return row.last === null ? "none in the range" : `${preposition} ${time(row.last, range.zone, range.interval)}`;
}

const command = `curl -X POST ${quoted(`${location.origin}/Log/auth`)} -H 'Content-Type: application/json'${
  sessions().includes("project") ? ' -H "X-API-Key: $API_KEY"' : ""} -d '{"userKey":"user-123","deviceType":"iOS"}'`;
setText(byId("curl"), command);
byId("copy-curl").addEventListener("click", (event) => copy(command, event.target));

const poll = new Poll(refresh, POLL_SECONDS, showState);
picker.addEventListener("change", () => poll.start());
poll.start();
