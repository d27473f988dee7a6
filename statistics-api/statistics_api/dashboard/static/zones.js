// Local times of any IANA zone, by Intl alone. A date is {year, month, day}, with hour and minute where they matter.

const formats = new Map();
const MINUTE = 60_000;
const QUARTER = 15 * MINUTE;
const HOUR = 60 * MINUTE;
const DAY = 86_400_000;

function formatOf(zone) {
  if (!formats.has(zone)) {
    formats.set(zone, new Intl.DateTimeFormat("en-US", {
      timeZone: zone, hourCycle: "h23", era: "short",
      year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric",
    }));
  }
  return formats.get(zone);
}

export function isZone(zone) {
  try {
    return Boolean(formatOf(zone));
  } catch {
    return false;
  }
}

/** The local time of an instant. */
export function localTime(instant, zone) {
  const parts = {};
  for (const { type, value } of formatOf(zone).formatToParts(instant)) {
    parts[type] = Number(value);
  }
  return { year: parts.year, month: parts.month, day: parts.day, hour: parts.hour, minute: parts.minute };
}

/** What the local time is ahead of UTC, in milliseconds. */
export function offsetAt(instant, zone) {
  const whole = Math.floor(instant / MINUTE) * MINUTE;
  return asUtc(localTime(whole, zone)) - whole;
}

/** The first instant with this local time; where the clock skips it, the instant at which the clock is put forward. */
export function instantOf(local, zone) {
  const wall = asUtc(local);
  const candidates = [wall - offsetAt(wall - DAY, zone), wall - offsetAt(wall + DAY, zone)];
  const fitting = candidates.filter((each) => each + offsetAt(each, zone) === wall);
  return fitting.length ? Math.min(...fitting) : candidates[0];
}

/** The local midnight `days` after that of this instant. */
export function startOfDay(instant, zone, days = 0) {
  const { year, month, day } = localTime(instant, zone);
  return instantOf({ year, month, day: day + days }, zone);
}

/** The first midnight of the month that is `months` after that of this instant. */
export function startOfMonth(instant, zone, months = 0) {
  const { year, month } = localTime(instant, zone);
  return instantOf({ year, month: month + months, day: 1 }, zone);
}

/** The start of the bucket that this instant is in. */
export function bucketStart(instant, interval, zone) {
  if (interval === "month") {
    return startOfMonth(instant, zone);
  }
  if (interval === "day") {
    return startOfDay(instant, zone);
  }
  const length = interval === "hour" ? HOUR : MINUTE;
  const offset = offsetAt(instant, zone);
  const full = Math.floor((instant + offset) / length) * length - offset;
  if (offsetAt(full, zone) === offset) {
    return full;
  }
  // The clock was changed within this hour, as in Lord Howe, by half an hour: the bucket begins with the change.
  let changed = Math.floor(instant / QUARTER) * QUARTER;
  while (offsetAt(changed - QUARTER, zone) === offset) {
    changed -= QUARTER;
  }
  return changed;
}

/** The same local time some days and months away; the 31st becomes the last day of a shorter month. */
export function shifted(instant, zone, { days = 0, months = 0 }) {
  const local = localTime(instant, zone);
  const lastDay = new Date(Date.UTC(local.year, local.month + months, 0)).getUTCDate();
  const day = months ? Math.min(local.day, lastDay) : local.day;
  return instantOf({ ...local, month: local.month + months, day: day + days }, zone);
}

function asUtc({ year, month, day, hour = 0, minute = 0 }) {
  return Date.UTC(year, month - 1, day, hour, minute);
}
