// Devices of a project: which are silent, and what one has measured in a range.

import { asCurl, get, now, quoted, RequestFailed, send } from "../api.js";
import { Chart } from "../chart.js";
import { count, everyDigit, measured, span, time } from "../format.js";
import { copy, element, setText, showState } from "../page.js";
import { Poll } from "../poll.js";
import { instantText, RangePicker, seriesQuery } from "../range.js";
import { shared } from "../shared.js";

const DEVICES = "/api/v1/devices/";
const MEASUREMENTS = "/api/v1/stats/devices/";
const AXES = ["x", "y", "z"];
const POLL_SECONDS = 5;
const PAGE = 100; // as many as one request returns
const ROWS = 100;
const MINUTE = 60_000;
// An analysis of many rows takes seconds: it may use a twentieth of the time.
const ANALYSIS_SHARE = 20;

// No path can name these: a browser would ask for another path.
const UNNAMEABLE = ["", ".", ".."];

const byId = (id) => document.getElementById(id);
const picker = new RangePicker(byId("range"), { intervals: ["hour", "day", "month"] });
const state = (name) => new URLSearchParams(location.search).get(name);
let charts = null;
let analysed = null; // {key, due}: of which question the analysis is, and when it is asked for again
let rowsShown = [];
let shown = null; // the id of the device whose figures are on the page

async function refresh(signal) {
  const device = shared ? shared.device_id : state("device");
  const isOne = device !== null;
  byId("device").hidden = byId("range").hidden = !isOne;
  if (isOne) {
    byId("list").hidden = byId("empty").hidden = true;
    await refreshDevice(device, signal);
  } else {
    await refreshList(signal);
  }
}

// The list

const pageNumber = () => Math.max(1, Math.min(1_000, Number.parseInt(state("page"), 10) || 1));

async function refreshList(signal) {
  const skip = (pageNumber() - 1) * PAGE;
  const { body } = await get(`${DEVICES}?skip=${skip}&limit=${PAGE}`, { signal });
  const isEmpty = body.length === 0 && skip === 0;
  byId("empty").hidden = !isEmpty;
  byId("list").hidden = isEmpty;
  showList(body, skip);
}

function showList(devices, skip) {
  const { caption, tBodies: [body] } = byId("devices");
  const silent = devices.filter((each) => stateOf(each).state === "silent").length;
  setText(caption, devices.length
    ? `Devices ${count(skip + 1)} to ${count(skip + devices.length)}, the oldest first; ${count(silent)} of them silent. Times: ${zone()}.`
    : "There is no device on this page.");
  devices.forEach((device, index) => {
    const line = body.rows[index] ?? body.appendChild(newRow());
    const link = line.cells[0].firstChild;
    setText(link, device.device_id);
    const { latest } = device;
    link.setAttribute("href", addressOf({ device: device.device_id }));
    const cells = [device.name ?? "–", stateOf(device).text, lastSeen(device), ...AXES.map((axis) => measured(latest && latest[axis])), device.user_id ?? "–"];
    cells.forEach((text, column) => setText(line.cells[column + 1], text));
    line.cells[2].className = stateOf(device).state;
  });
  while (body.rows.length > devices.length) {
    body.deleteRow(-1);
  }
  byId("previous").disabled = skip === 0;
  byId("next").disabled = devices.length < PAGE;
  byId("pages").hidden = skip === 0 && devices.length < PAGE;
}

function newRow() {
  return element("tr", {},
    element("th", { scope: "row" }, element("a")), element("td"), element("td"), element("td"),
    ...AXES.map(() => element("td", { class: "number" })), element("td", { class: "id" }));
}

const silentAfter = () => Number(byId("silent").value) * MINUTE;
const zone = () => picker.current().zone;
const lastSeen = ({ last_seen: at }) => (at === null ? "–" : time(Date.parse(at), zone()));

function stateOf({ last_seen: at }) {
  if (at === null) {
    return { state: "", text: "Nothing measured yet" };
  }
  const seen = Date.parse(at);
  return now() - seen > silentAfter()
    ? { state: "silent", text: `Silent since ${time(seen, zone())}` } : { state: "reporting", text: "Reporting" };
}

// One device

async function refreshDevice(id, signal) {
  const path = encodeURIComponent(id);
  const range = picker.current();
  if (shown !== id) {
    clearDevice();
    shown = id;
  }
  setText(byId("device-heading"), id);
  byId("back").setAttribute("href", addressOf({ device: null }));
  if (UNNAMEABLE.includes(id)) {
    throw new RequestFailed("Device not found", { status: 404 });
  }
  // A share shows figures: neither rows nor whose the device is.
  if (!shared) {
    await refreshOwner(path, signal);
  }
  await Promise.all([
    refreshSeries(path, range, signal), refreshAnalysis(path, range, signal),
    ...(shared ? [] : [refreshRows(path, range, signal)]),
  ]);
}

async function refreshOwner(path, signal) {
  const { body: device } = await get(`${DEVICES}${path}`, { signal });
  setText(byId("device-text"), [device.name, device.user_id ? `Owner: ${device.user_id}` : "No owner"].filter(Boolean).join(" · "));
}

/** Nothing of one device may stand below the name of another. */
function clearDevice() {
  charts = analysed = null;
  rowsShown = [];
  byId("charts").replaceChildren();
  for (const table of [byId("analysis"), byId("rows")]) {
    setText(table.caption, "");
    table.tBodies[0].replaceChildren();
  }
  setText(byId("device-text"), "");
}

async function refreshSeries(path, range, signal) {
  const series = `${MEASUREMENTS}${path}/series`;
  const asked = `${series}?${seriesQuery(range)}`;
  const [{ body }, before] = await Promise.all([get(asked, { signal }), readBefore(series, range, signal)]);
  charts ??= AXES.map((axis) => {
    const figure = byId("charts").appendChild(element("figure"));
    return new Chart(figure, { title: `Axis ${axis}`, labels: ["mean", "min", "max"], kind: "band", format: measured });
  });
  const times = body.points.map((point) => Date.parse(point.start));
  AXES.forEach((axis, index) => {
    const column = (name) => body.points.map((point) => point[axis][name]);
    const events = column("count").reduce((sum, each) => sum + each, 0);
    charts[index].draw({
      times,
      columns: [column("avg"), column("min"), column("max")],
      before: before && before.map((point) => point[axis].avg),
      range,
      caption: `${axis}, ${range.name}: ${events ? `${count(events)} measurements, mean with min and max of each ${range.interval}` : "no measurement"}.`,
      path: asked,
    });
  });
}

/** The points of the period that the range is compared with, or null. */
async function readBefore(series, { before, interval, zone: timezone }, signal) {
  if (before === null) {
    return null;
  }
  const query = new URLSearchParams({ interval, timezone, from: instantText(before.from), to: instantText(before.to) });
  return (await get(`${series}?${query}`, { signal })).body.points;
}

async function refreshRows(path, range, signal) {
  const query = new URLSearchParams({ start_time: instantText(range.from), limit: ROWS });
  if (!range.isRunning) {
    query.set("end_time", lastOf(range));
  }
  const asked = `${MEASUREMENTS}${path}?${query}`;
  const { body: rows } = await get(asked, { signal });
  rowsShown = rows;
  byId("rows-curl").onclick = (event) => copy(asCurl(asked), event.target);
  const { caption, tBodies: [body] } = byId("rows");
  setText(caption, rows.length ? `The latest ${count(rows.length)}, the newest first, ${range.zone}` : "No measurement in the range");
  rows.forEach((row, index) => {
    const line = body.rows[index] ?? body.appendChild(element("tr", {},
      element("th", { scope: "row" }), ...AXES.map(() => element("td", { class: "number" }))));
    const at = Date.parse(row.timestamp);
    setText(line.cells[0], `${time(at, range.zone, "day")}, ${time(at, range.zone, "clock")}`);
    AXES.forEach((axis, column) => setText(line.cells[column + 1], everyDigit(row[axis])));
  });
  while (body.rows.length > rows.length) {
    body.deleteRow(-1);
  }
}

// Both ends of a period are included, and the end of a range is not.
const lastOf = ({ to }) => new Date(to - 1).toISOString().replace("Z", "999Z");

async function refreshAnalysis(path, range, signal) {
  const period = { start_time: instantText(range.from), ...(range.isRunning ? {} : { end_time: lastOf(range) }) };
  const asked = `${MEASUREMENTS}${path}/analyze`;
  const key = `${asked} ${JSON.stringify(period)}`;
  byId("analysis-curl").onclick = (event) => copy(asCurl(asked, period), event.target);
  if (analysed?.key === key && now() < analysed.due) {
    return;
  }
  if (analysed?.key !== key) {
    showAnalysis(null, range, "Analysing …");
  }
  const begun = performance.now();
  try {
    showAnalysis(await send("POST", asked, period, { signal }), range, "");
  } catch (failure) {
    if (failure.status !== 404) {
      throw failure;
    }
    showAnalysis(null, range, "Nothing was measured in the range.");
  }
  analysed = { key, due: now() + ANALYSIS_SHARE * (performance.now() - begun) };
}

function showAnalysis(analysis, range, note) {
  const { caption, tBodies: [body] } = byId("analysis");
  setText(caption, `Exact figures, ${range.name}: ${span(range.from, range.to, range.zone)}`);
  AXES.forEach((axis, index) => {
    const line = body.rows[index] ?? body.appendChild(element("tr", {},
      element("th", { scope: "row", text: axis }), ...Array.from({ length: 5 }, () => element("td", { class: "number" }))));
    const figures = analysis?.[axis];
    const cells = figures
      ? [everyDigit(figures.min_value), everyDigit(figures.max_value), count(figures.count), everyDigit(figures.sum), everyDigit(figures.median)]
      : Array(5).fill("–");
    cells.forEach((text, column) => setText(line.cells[column + 1], text));
  });
  const since = analysis?.raw_since;
  setText(byId("analysis-note"), since === undefined ? note
    : `Retention has deleted rows of the range, so there is no median. ${since ? `All rows are kept since ${time(Date.parse(since), range.zone)}.` : ""}`);
}

function saveRows() {
  const lines = rowsShown.map((row) => [row.timestamp, ...AXES.map((axis) => row[axis])].join(","));
  const blob = new Blob([["timestamp,x,y,z", ...lines, ""].join("\r\n")], { type: "text/csv" });
  const link = element("a", { href: URL.createObjectURL(blob), download: "latest-measurements.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// What is shown is in the URL

/** This page with other parameters; null removes one. */
function addressOf(changes) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) {
      query.delete(name);
    } else {
      query.set(name, value);
    }
  }
  return `${location.pathname}?${query}`;
}

function go(address) {
  history.pushState(null, "", address);
  show();
}

function show() {
  byId("silent").value = state("silent");
  byId("silent").value ||= "15"; // the URL may name one that there is not
  poll.start();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("#devices a, #back");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    go(link.getAttribute("href"));
    (link.id === "back" ? byId("main") : byId("device-heading")).focus();
  }
});
byId("find").addEventListener("submit", (event) => {
  event.preventDefault();
  go(addressOf({ device: event.target.elements.device.value }));
});
byId("silent").addEventListener("change", (event) => go(addressOf({ silent: event.target.value })));
byId("previous").addEventListener("click", () => go(addressOf({ page: pageNumber() - 1 })));
byId("next").addEventListener("click", () => go(addressOf({ page: pageNumber() + 1 })));
byId("rows-csv").addEventListener("click", saveRows);

const credential = ' -H "X-API-Key: $API_KEY" -H \'Content-Type: application/json\'';
const command = [
  `curl ${quoted(`${location.origin}${DEVICES}`)}${credential} -d '{"device_id":"sensor-7","name":"Boiler room"}'`,
  `curl ${quoted(`${location.origin}${MEASUREMENTS}sensor-7`)}${credential} -d '{"x":0.1,"y":-1.5,"z":9.81}'`,
].join("\n");
setText(byId("curl"), command);
byId("copy-curl").addEventListener("click", (event) => copy(command, event.target));

const poll = new Poll(refresh, POLL_SECONDS, showState);
picker.addEventListener("change", show);
show();
