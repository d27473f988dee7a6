// Numbers and times as people read them, in the language of the browser.

import { localTime } from "./zones.js";

const whole = new Intl.NumberFormat();
const percent = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 1 });
const NONE = "–";

export const count = (number) => whole.format(number);

const SIGNIFICANT_DIGITS = 6;
const EXACT_DIGITS = 17; // enough for any double
const real = (digits, notation) => new Intl.NumberFormat(undefined, { maximumSignificantDigits: digits, notation });
const [rounded, roundedScientific, exact, exactScientific] = [SIGNIFICANT_DIGITS, EXACT_DIGITS].flatMap((digits) =>
  ["standard", "scientific"].map((notation) => real(digits, notation)));
const isLong = (number) => number !== 0 && (Math.abs(number) >= 1e15 || Math.abs(number) < 1e-6);

/** A measured number, or null where there is none. */
export const measured = (number) => (number === null ? NONE : (isLong(number) ? roundedScientific : rounded).format(number));

/** The same with every digit that distinguishes it from other doubles. */
export function everyDigit(number) {
  // As a text: the double itself has more digits, of which nobody has sent any.
  return number === null ? NONE : (isLong(number) ? exactScientific : exact).format(String(number));
}

export const share = (part, total) => (total ? percent.format(part / total) : NONE);

/** What the second number changed to: a text, and "up", "down" or "". */
export function change(before, now) {
  if (!before) {
    return { text: now ? "new" : NONE, direction: "" };
  }
  const ratio = now / before - 1;
  const text = percent.format(Math.abs(ratio));
  return { text, direction: ratio > 0 ? "up" : ratio < 0 ? "down" : "" };
}

/** The same as the end of a sentence: "8 % more than before". */
export function changeInWords(before, now) {
  const { text, direction } = change(before, now);
  if (!before) {
    return now ? "none before" : "none before either";
  }
  return direction ? `${text} ${direction === "up" ? "more" : "less"} than before` : "as many as before";
}

const STYLES = {
  minute: { hour: "2-digit", minute: "2-digit" },
  hour: { weekday: "short", hour: "2-digit", minute: "2-digit" },
  day: { weekday: "short", day: "numeric", month: "short" },
  month: { month: "long", year: "numeric" },
  full: { dateStyle: "medium", timeStyle: "short" },
  shortDay: { day: "numeric", month: "short" },
  clock: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
};

/** A time in a zone. The style is that of a bucket (minute, hour, day, month), "full" or "clock". */
export function time(instant, zone, style = "full") {
  return new Intl.DateTimeFormat(undefined, { timeZone: zone, ...STYLES[style] }).format(instant);
}

/** A short label for an axis of times: the day where it begins, else the time of day. */
export function axisTime(instant, zone, interval) {
  if (interval === "month") {
    return time(instant, zone, "month");
  }
  const { hour, minute } = localTime(instant, zone);
  return time(instant, zone, interval === "day" || (hour === 0 && minute === 0) ? "shortDay" : "minute");
}

/** The two ends of a range with the name of the zone. */
export function span(from, to, zone) {
  return `${time(from, zone)} – ${time(to, zone)}, ${zone}`;
}

export function ago(milliseconds) {
  const seconds = Math.round(milliseconds / 1_000);
  return seconds < 120 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
}

const short = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 });
const duration = new Intl.NumberFormat(undefined, { style: "unit", unit: "millisecond", maximumSignificantDigits: 3 });

/** A number that is no count, to three digits. */
export const decimal = (number) => (number === null ? NONE : short.format(number));
export const milliseconds = (number) => (number === null ? NONE : duration.format(number));

/** What a chart counts, of the whole range; and how it compares, where `before` is not null, of what is complete. */
export function comparison(name, range, all, complete, before) {
  const sentence = `${name}, ${range.name}: ${count(all)}`;
  const part = range.isRunning ? `, counting each complete ${range.interval}` : "";
  return before === null ? `${sentence}.` : `${sentence}, ${changeInWords(before, complete)}${part}.`;
}
