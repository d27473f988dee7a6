// The range picker. Its state is in the URL, so a link shows the same; keys: T Y W M, and X for the comparison.

import { now } from "./api.js";
import { element, recall, remember } from "./page.js";
import { shared } from "./shared.js";
import { bucketStart, instantOf, isZone, shifted, startOfDay, startOfMonth } from "./zones.js";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const KEYS = { t: "today", y: "yesterday", w: "7d", m: "30d" };
const DEFAULTS = { range: "24h", compare: "previous" };
const INTERVALS = {
  "30min": ["minute"], "24h": ["hour", "minute"], today: ["hour", "minute"], yesterday: ["hour", "minute"],
  "7d": ["day", "hour"], "30d": ["day", "hour"], "12m": ["month", "day"],
};
const NAMES = {
  "30min": "last 30 minutes", "24h": "last 24 hours", today: "today", yesterday: "yesterday", "7d": "last 7 days",
  "30d": "last 30 days", "12m": "last 12 months", custom: "custom range",
};
const DATE = /^\d{4}-\d{2}-\d{2}$/;

/**
 * What is shown: from `from` to `to`, both in milliseconds; `isRunning` says that it ends now. Comparisons use
 * [from, completeUntil), the buckets that have ended, and `before`: equally many local days or hours before it, or null.
 */
export function rangeOf({ range, interval, compare, zone, from, to, offered }, instant) {
  const intervals = withOnly(offered, INTERVALS[range] ?? customIntervals(from, to, zone));
  const chosen = intervals.includes(interval) ? interval : intervals[0];
  const ends = endsOf(range, chosen, zone, instant, from, to);
  const isRunning = ends.to > instant;
  const completeUntil = isRunning ? Math.max(ends.from, bucketStart(instant, chosen, zone)) : ends.to;
  const back = compare === "year" ? { months: -12 } : ends.back;
  const moved = (each) => (back.milliseconds ? each + back.milliseconds : shifted(each, zone, back));
  const isCompared = compare !== "off" && completeUntil > ends.from;
  return {
    name: NAMES[range],
    interval: chosen,
    intervals,
    zone,
    from: ends.from,
    to: isRunning ? instant : ends.to,
    isRunning,
    completeUntil,
    before: isCompared ? { from: moved(ends.from), to: moved(completeUntil) } : null,
  };
}

/** Those of the intervals that a screen offers; where it offers none of them, all that it does. */
function withOnly(offered, intervals) {
  const both = offered ? intervals.filter((each) => offered.includes(each)) : intervals;
  return both.length ? both : offered;
}

function endsOf(range, interval, zone, instant, from, to) {
  const later = instant + 1;
  switch (range) {
    case "30min":
      return { from: bucketStart(instant, "minute", zone) - 30 * MINUTE, to: later, back: { milliseconds: -30 * MINUTE } };
    case "24h":
      return { from: bucketStart(bucketStart(instant, interval, zone) - 24 * HOUR, interval, zone), to: later, back: { milliseconds: -24 * HOUR } };
    case "today":
      return { from: startOfDay(instant, zone), to: later, back: { days: -1 } };
    case "yesterday":
      return { from: startOfDay(instant, zone, -1), to: startOfDay(instant, zone), back: { days: -1 } };
    case "7d":
      return { from: startOfDay(instant, zone, -7), to: later, back: { days: -7 } };
    case "30d":
      return { from: startOfDay(instant, zone, -30), to: later, back: { days: -30 } };
    case "12m":
      return { from: startOfMonth(instant, zone, -12), to: later, back: { months: -12 } };
    default:
      return { from: midnight(from, zone), to: midnight(to, zone, 1), back: { days: -daysOf(from, to) } };
  }
}

function midnight(date, zone, days = 0) {
  const [year, month, day] = date.split("-").map(Number);
  return instantOf({ year, month, day: day + days }, zone);
}

const daysOf = (from, to) => Math.round((Date.parse(to) - Date.parse(from)) / (24 * HOUR)) + 1;

function customIntervals(from, to) {
  const days = daysOf(from, to);
  return days <= 2 ? ["hour", "minute"] : days <= 92 ? ["day", "hour"] : ["month", "day"];
}

/** An instant as the API reads it. */
export const instantText = (instant) => new Date(instant).toISOString().replace(".000Z", "Z");

/** The query string of a series: a running range has no end, so that its address stays the same. */
export function seriesQuery(range, { names = {} } = {}) {
  const { from = "from", to = "to", interval = "interval", zone = "timezone" } = names;
  const query = new URLSearchParams({
    [interval]: range.interval, [zone]: range.zone, [from]: instantText(range.from),
  });
  if (!range.isRunning) {
    query.set(to, instantText(range.to));
  }
  return query.toString();
}

/**
 * The form of the page; dispatches "change" when another range is to be shown. `intervals` are those that the figures of
 * a screen have, if not all; `zone` is theirs, if they have no other; `range` is that of an address without one. A share
 * has a range of its own, and is first shown in the zone of its project, so that everybody sees the same.
 */
export class RangePicker extends EventTarget {
  constructor(form, { intervals, zone, range = DEFAULTS.range } = {}) {
    super();
    const first = [...form.elements.range.options].find((each) => each.value === shared?.range)?.value ?? range;
    Object.assign(this, { form, offered: intervals, zone, defaults: { ...DEFAULTS, range: first } });
    this.#offerZones();
    this.#read();
    form.elements.keys.checked = recall("keys") !== "off";
    form.addEventListener("change", (event) => this.#onFormChange(event));
    form.addEventListener("submit", (event) => event.preventDefault());
    addEventListener("popstate", () => { this.#read(); this.dispatchEvent(new Event("change")); });
    addEventListener("keydown", (event) => this.#onKey(event));
  }

  /** The range by the clock of the server. */
  current() {
    return rangeOf(this.state, now());
  }

  #read() {
    const query = new URLSearchParams(location.search);
    const { elements } = this.form;
    for (const name of ["range", "compare", "zone", "from", "to"]) {
      const value = query.get(name) ?? this.defaults[name];
      if (value !== undefined) {
        elements[name].value = value;
      }
    }
    for (const [name, value] of Object.entries(this.defaults)) {
      elements[name].value ||= value; // the URL may name one that there is not
    }
    elements.zone.value ||= elements.zone.options[0].value;
    this.#settle(query.get("interval"));
  }

  // Completes what a custom range lacks, and offers the intervals of the range.
  #settle(interval) {
    const { elements } = this.form;
    const zone = elements.zone.value;
    const today = new Date(now()).toISOString().slice(0, 10);
    const isCustom = elements.range.value === "custom";
    this.form.querySelector(".custom").hidden = !isCustom;
    if (isCustom) {
      elements.to.value = DATE.test(elements.to.value) ? elements.to.value : today;
      elements.from.value = DATE.test(elements.from.value) ? elements.from.value : elements.to.value;
      if (elements.from.value > elements.to.value) {
        elements.to.value = elements.from.value;
      }
    }
    this.state = {
      range: elements.range.value, compare: elements.compare.value, zone, interval,
      from: elements.from.value, to: elements.to.value, offered: this.offered,
    };
    const range = this.current();
    elements.interval.replaceChildren(...range.intervals.map((each) => element("option", { text: each })));
    elements.interval.value = range.interval;
    this.state.interval = range.interval;
  }

  #onFormChange({ target }) {
    if (target.name === "keys") {
      remember("keys", target.checked ? "on" : "off");
    } else {
      this.#onChange();
    }
  }

  #onChange() {
    this.#settle(this.form.elements.interval.value);
    const query = new URLSearchParams(location.search);
    const { range, compare, interval, zone, from, to } = this.state;
    const shown = { range, compare, interval, zone, ...(range === "custom" ? { from, to } : {}) };
    for (const name of ["range", "compare", "interval", "zone", "from", "to"]) {
      query.delete(name);
    }
    for (const [name, value] of Object.entries(shown)) {
      query.set(name, value);
    }
    history.pushState(null, "", `?${query}`);
    this.dispatchEvent(new Event("change"));
  }

  #onKey(event) {
    const isTyping = event.target.closest?.("input, select, textarea, dialog, [contenteditable]");
    const isOff = !this.form.elements.keys.checked; // speech and other input may press keys by chance
    if (isOff || isTyping || event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    const key = event.key.toLowerCase();
    const { elements } = this.form;
    if (key === "x") {
      elements.compare.value = elements.compare.value === "off" ? "previous" : "off";
    } else if (Object.hasOwn(KEYS, key)) {
      elements.range.value = KEYS[key];
    } else {
      return;
    }
    event.preventDefault();
    this.#onChange();
  }

  #offerZones() {
    const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
    const asked = new URLSearchParams(location.search).get("zone");
    const zones = new Set(this.zone ? [this.zone] : [shared?.timezone, own, "UTC", asked].filter((each) => each && isZone(each)));
    this.form.elements.zone.replaceChildren(...[...zones].map((each) => element("option", { text: each })));
  }
}
