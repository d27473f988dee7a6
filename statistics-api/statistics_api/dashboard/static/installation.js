// The state of the installation, for operators: what should be otherwise is marked in words.

import { get, now } from "./api.js";
import { count, time } from "./format.js";
import { element, setText } from "./page.js";

const [MINUTE, HOUR, DAY] = [60_000, 3_600_000, 86_400_000];
// As the alerts of monitoring/ have them.
const MAINTAINED_WITHIN = 3 * HOUR;
const VERIFIED_WITHIN = 26 * HOUR;
const ERASED_WITHIN = DAY;
const KEK_AGE_MAX = 35 * DAY;

const byId = (id) => document.getElementById(id);
let rowsStored = []; // the last ones: they stay while the databases cannot be asked
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** Show it. Both questions may fail; a failure is shown here, and what was stored stays. What the process needs does not: it has changed. */
export async function showInstallation(signal) {
  const [ready, stored] = await Promise.allSettled([get("/readyz", { signal }), get("/api/v1/installation", { signal })]);
  const rows = [];
  if (ready.status === "fulfilled") {
    const { body } = ready.value;
    setText(byId("service-text"), `${body.service} ${body.version}, ${body.environment}: ${body.status}.`);
    rows.push(...Object.entries(body.needs).map(([name, state]) => [name, state, null]));
  } else {
    setText(byId("service-text"), ready.reason.inWords ?? "The server cannot say how it is.");
  }
  if (stored.status === "fulfilled") {
    rowsStored = rowsOf(stored.value.body);
  }
  rows.push(...rowsStored);
  setText(byId("installation-failure"), stored.status === "fulfilled" ? "" : stored.reason.inWords ?? "The state of the databases cannot be shown.");
  byId("service").tBodies[0].replaceChildren(...rows.map(([name, text, isRight]) => element("tr", {},
    element("th", { scope: "row", text: name }), element("td", { text }),
    element("td", { class: isRight === false ? "silent" : undefined, text: isRight === null ? "" : isRight ? "yes" : "no" }))));
}

/** What, its state, and whether it is right; null where nobody can say. */
function rowsOf(found) {
  const strays = Object.entries(found.default_partition_rows).filter(([, rows]) => rows > 0);
  return [
    ["Last maintain", ended(found.maintained_at), isWithin(found.maintained_at, MAINTAINED_WITHIN)],
    ["Last verify-counts", ended(found.counts_verified_at), found.counts_verified_at === null ? null : isWithin(found.counts_verified_at, VERIFIED_WITHIN)],
    ["Drift of the counts", found.counts_drift === null ? "not known" : count(found.counts_drift), found.counts_drift === null ? null : found.counts_drift === 0],
    ["Rows without a partition", strays.length ? strays.map(([table, rows]) => `${table}: ${count(rows)}`).join(", ") : "0", strays.length === 0],
    ["Open erasures", openErasures(found), found.oldest_open_erasure_seconds * 1_000 <= ERASED_WITHIN],
    ["Age of the key-encryption key", found.kek_age_seconds === null ? "not known" : age(found.kek_age_seconds * 1_000), found.kek_age_seconds === null ? null : found.kek_age_seconds * 1_000 <= KEK_AGE_MAX],
    ["Rate limit of a client", found.rate_limit.rate ?? "none", found.rate_limit.rate === null ? null : !found.rate_limit.is_degraded],
    ["Versions", `statistics-api ${found.statistics_api_version}, device-registration-api ${found.device_registration_api_version}`, found.statistics_api_version === found.device_registration_api_version],
  ];
}

const ended = (text) => (text === null ? "never" : `${time(Date.parse(text), zone)}, ${age(now() - Date.parse(text))} ago`);
const isWithin = (text, limit) => text !== null && now() - Date.parse(text) <= limit;

function openErasures({ erasures_open: number, oldest_open_erasure_seconds: seconds }) {
  return number ? `${count(number)}, the oldest for ${age(seconds * 1_000)}` : "0";
}

function age(milliseconds) {
  const past = Math.max(0, milliseconds);
  return past < 2 * HOUR ? `${Math.round(past / MINUTE)} min` : past < 2 * DAY ? `${Math.round(past / HOUR)} h` : `${Math.round(past / DAY)} days`;
}
