// The events of a store and its users, of each day in the zone of the store.

import { get, quoted } from "../api.js";
import { Chart } from "../chart.js";
import { change, comparison, count, decimal } from "../format.js";
import { Figures } from "../figures.js";
import { copy, element, setText, showState } from "../page.js";
import { Poll } from "../poll.js";
import { RangePicker } from "../range.js";
import { localTime, startOfDay } from "../zones.js";

const POLL_SECONDS = 10;
const SHOWN_MAX = 6; // as many as a chart has colours
const OFFERED_MAX = 100;
const PAGE_MAX = 1_000;
const TYPE = "type";

const byId = (id) => document.getElementById(id);
const figures = new Figures(byId("figures"));
const amounts = new Chart(byId("amounts"), { title: "Events a day", labels: [] });
const averages = new Chart(byId("averages"), { title: "Events for each user of the day", labels: [], kind: "lines", format: (value) => decimal(value ?? null) });
let picker = null; // its zone is that of the store, which the first answer says
let offered = [];

async function refresh(signal) {
  if (picker === null) {
    const { timezone } = (await get("/api/event/users", { signal })).body;
    picker = new RangePicker(byId("range"), { intervals: ["day"], zone: timezone, range: "30d" });
    picker.addEventListener("change", () => poll.start());
    setText(byId("zone"), timezone);
  }
  const range = picker.current();
  const [types] = await Promise.all([readTypes(signal), refreshUsers(range, signal)]);
  offer(types);
  byId("empty").hidden = types.length > 0;
  byId("of-types").hidden = types.length === 0;
  if (types.length) {
    await refreshCharts(range, chosen(), signal);
  }
}

// A browser takes these two for steps in a path, however they are written: it cannot ask for them.
const canBeAsked = (type) => type !== "." && type !== "..";

async function readTypes(signal) {
  const { body } = await get(`/api/event/types?limit=${OFFERED_MAX}`, { signal });
  return body.map(({ type }) => type).filter(canBeAsked);
}

async function refreshUsers(range, signal) {
  const { from, to, zone, completeUntil, before } = range;
  const users = async (start, end) => {
    const query = new URLSearchParams({ from: dayOf(start, zone) });
    if (end !== null) {
      query.set("to", dayOf(end - 1, zone));
    }
    return (await get(`/api/event/users?${query}`, { signal })).body;
  };
  const [all, complete, earlier] = await Promise.all([
    users(from, range.isRunning ? null : to),
    ...(before ? [users(from, completeUntil), users(before.from, before.to)] : []),
  ]);
  for (const [name, figure] of [["Different users", "distinct"], ["New", "new"], ["Returning", "returning"]]) {
    const { text, direction } = before ? change(earlier[figure], complete[figure]) : { text: "", direction: "" };
    figures.show(name, count(all[figure]), text, direction);
  }
}

async function refreshCharts(range, types, signal) {
  const earliest = dayOf(Math.min(range.from, range.before?.from ?? range.from), range.zone);
  const read = (name) => Promise.all(types.map((type) => readDays(name, type, earliest, signal)));
  const [events, perUser] = await Promise.all([read("amount"), read("avg-time")]);
  const days = daysOf(range.from, range.to, range.zone);
  const times = days.map(([start]) => start);
  const columns = events.map(({ byDay }) => days.map(([, day]) => byDay.get(day) ?? 0));
  const before = range.before && daysOf(range.before.from, range.before.to, range.zone)
    .map(([, day]) => sum(events.map(({ byDay }) => byDay.get(day) ?? 0)));
  const complete = days.filter(([start]) => start < range.completeUntil).length;
  draw(amounts, types, {
    times, columns, before, range, path: events.map(({ path }) => path), csv: csvOf("event_amount", types, days, columns),
    caption: comparison("Events", range, sum(columns.map(sum)), sum(columns.map((each) => sum(each.slice(0, complete)))), before && sum(before)),
  });
  const shown = perUser.map(({ byDay }) => days.map(([, day]) => byDay.get(day) ?? null));
  const most = Math.max(0, ...shown.flat());
  draw(averages, types, {
    times, columns: shown, before: null, range: { ...range, before: null }, path: perUser.map(({ path }) => path),
    csv: csvOf("event_avg_time", types, days, shown),
    caption: `Events for each user of the day, ${range.name}: ${most ? `at most ${decimal(most)}` : "none"}.`,
  });
}

/** The figures of each day back to the earliest one. Days without an event are not in the list. */
async function readDays(name, type, earliest, signal) {
  const byDay = new Map();
  const first = `/api/event/${name}/${encodeURIComponent(type)}?limit=${PAGE_MAX}`;
  for (let offset = 0, path = first; path !== null;) {
    const { body } = await get(path, { signal });
    for (const { date, event_amount: events, event_avg_time: average } of body) {
      byDay.set(date, events ?? average);
    }
    offset += PAGE_MAX;
    path = body.length === PAGE_MAX && body.at(-1).date > earliest ? `${first}&offset=${offset}` : null;
  }
  return { path: first, byDay };
}

function draw(chart, types, data) {
  if (chart.labels.join("\0") !== types.join("\0")) {
    chart.relabel(types);
  }
  chart.draw(data);
}

/** The starts of local days in [from, to), each with its date. */
function daysOf(from, to, zone) {
  const days = [];
  for (let start = from; start < to; start = startOfDay(from, zone, days.length)) {
    days.push([start, dayOf(start, zone)]);
  }
  return days;
}

function dayOf(instant, zone) {
  const { year, month, day } = localTime(instant, zone);
  return [String(year).padStart(4, "0"), ...[month, day].map((each) => String(each).padStart(2, "0"))].join("-");
}

const sum = (numbers) => numbers.reduce((total, each) => total + each, 0);

function csvOf(name, types, days, columns) {
  const rows = days.flatMap(([, day], index) => types.map((type, number) => [day, type, columns[number][index] ?? ""]));
  return [["date", "type", name], ...rows].map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

// A spreadsheet takes a text that begins so for a formula.
function cell(value) {
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function offer(types) {
  if (types.join("\0") !== offered.join("\0")) {
    offered = types;
    const boxes = types.map((type) => element("label", {}, element("input", { type: "checkbox", name: TYPE, value: type }), ` ${type}`));
    const list = byId("types").firstElementChild;
    list.replaceChildren(list.firstElementChild, ...boxes);
  }
  const shown = chosen();
  for (const box of byId("types").querySelectorAll("input")) {
    box.checked = shown.includes(box.value);
    box.disabled = !box.checked && shown.length >= SHOWN_MAX;
  }
}

/** The types that the URL names, or the first ones. */
function chosen() {
  const asked = new URLSearchParams(location.search).getAll(TYPE).filter((each) => offered.includes(each));
  return (asked.length ? offered.filter((each) => asked.includes(each)) : offered).slice(0, SHOWN_MAX);
}

byId("types").addEventListener("change", () => {
  const query = new URLSearchParams(location.search);
  query.delete(TYPE);
  for (const box of byId("types").querySelectorAll("input:checked")) {
    query.append(TYPE, box.value);
  }
  history.pushState(null, "", `?${query}`);
  poll.start();
});

const headers = `-H "X-API-Key: $API_KEY" -H 'Content-Type: application/json'`;
const command = `USER_ID=$(curl -X POST ${quoted(`${location.origin}/api/user`)} ${headers} -d '{"email":"bob@example.com","username":"bob","first_name":"Bob","last_name":"Brown","phone":"0301234567"}' | sed -E 's/.*"id":"([^"]+)".*/\\1/')
curl -X POST ${quoted(`${location.origin}/api/event`)} ${headers} -d "{\\"type\\":\\"purchase\\",\\"user_id\\":\\"$USER_ID\\",\\"data\\":{\\"amount\\":49.9}}"`;
setText(byId("curl"), command);
byId("copy-curl").addEventListener("click", (event) => copy(command, event.target));

const poll = new Poll(refresh, POLL_SECONDS, showState);
poll.start();
