// Administration of the projects of an account: API keys, retention, members and shares. Each change is confirmed in words.

import { get, now, quoted, send } from "../api.js";
import { count, time } from "../format.js";
import { showInstallation } from "../installation.js";
import { copy, element, setText, showState } from "../page.js";
import { Poll } from "../poll.js";
import { Shares } from "../shares.js";
import { confirmed } from "../question.js";

const PROJECTS = "/api/v1/projects/";
const POLL_SECONDS = 5;
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const OVERLAPS = [["0", "ends at once"], ["3600", "stays valid for 1 hour"], ["86400", "stays valid for 1 day"], ["604800", "stays valid for 7 days"]];
const SCOPES = { ingest: "record", read: "read", manage: "manage and delete" };

const byId = (id) => document.getElementById(id);
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const at = (text) => time(Date.parse(text), zone);
const lines = new Map(); // table and id -> the row: its buttons keep the focus while its texts change
let project = null;
let revealed = null;
let filled = null; // the key of the project whose settings are in the forms

// What is wrong with the installation is shown all the more when the projects cannot be read.
const refresh = (signal) => Promise.all([refreshProjects(signal), byId("service") && showInstallation(signal)]);

async function refreshProjects(signal) {
  const { body: projects } = await get(PROJECTS, { signal });
  byId("empty").hidden = projects.length > 0;
  byId("project").hidden = projects.length === 0;
  project = projects.find((each) => each.project_key === new URLSearchParams(location.search).get("project")) ?? projects[0] ?? null;
  if (project) {
    showProject(projects);
    const [keys, retention, members] = await Promise.all(["api-keys", "retention", "members"].map((name) => get(pathOf(name), { signal })));
    showKeys(keys.body);
    showRetention(retention.body);
    showMembers(members.body);
    if (isOwner()) {
      shares.show((await get(pathOf("shares"), { signal })).body);
    }
  }
}

const pathOf = (...segments) => `${PROJECTS}${[project.project_key, ...segments].map(encodeURIComponent).join("/")}`;
const isOwner = () => project.role === "owner";

function showProject(projects) {
  const select = byId("projects");
  const offered = projects.map((each) => element("option", { value: each.project_key, text: `${each.name} (${each.project_key})` }));
  if (JSON.stringify(projects.map((each) => [each.project_key, each.name])) !== select.dataset.offered) {
    select.replaceChildren(...offered);
    select.dataset.offered = JSON.stringify(projects.map((each) => [each.project_key, each.name]));
  }
  select.value = project.project_key;
  const role = isOwner() ? "You are an owner." : "You are a member: only an owner changes something.";
  const active = project.is_active ? "" : " The project is inactive: its keys are refused.";
  setText(byId("project-text"), `${role}${active} Figures are by ${project.timezone}, times here by ${zone}.`);
  for (const form of document.querySelectorAll(".owner")) {
    form.hidden = !isOwner();
  }
  if (filled !== project.project_key) {
    filled = project.project_key;
    byId("change-retention").elements.days.value = project.retention_days ?? "";
    hideSecret();
    shares.hideLink();
  }
}

/** Writes the rows of a table: one for each of `items`, found again by its id; `actions` are the buttons of a new one. */
function fill(table, items, { id, cells, actions = () => [], numbers = [], times = [] }) {
  const body = table.tBodies[0];
  const rows = items.map((item) => {
    const key = `${table.id} ${project?.project_key} ${id(item)}`;
    const texts = cells(item);
    if (!lines.has(key)) {
      const made = texts.map((_, index) => element(index ? "td" : "th", { scope: index ? null : "row", class: numbers.includes(index) ? "number" : times.includes(index) ? "time" : null }));
      const last = table.tHead.rows[0].cells.length > texts.length ? [element("td")] : [];
      lines.set(key, element("tr", {}, ...made, ...last));
    }
    const line = lines.get(key);
    texts.forEach((text, index) => setText(line.cells[index], text));
    if (line.cells.length > texts.length) {
      showActions(line.cells[texts.length], actions(item));
    }
    return line;
  });
  if (rows.length !== body.rows.length || rows.some((row, index) => row !== body.rows[index])) {
    body.replaceChildren(...rows);
  }
}

function showActions(cell, actions) {
  const names = actions.map(([name]) => name).join();
  if (cell.dataset.names !== names) {
    cell.dataset.names = names;
    cell.replaceChildren(...actions.map(([name, label]) => element("button", { type: "button", text: name, "aria-label": label })));
  }
  [...cell.children].forEach((button, index) => { button.onclick = actions[index][2]; });
}

// API keys

function showKeys(keys) {
  const active = keys.filter((each) => each.is_active).length;
  setText(byId("keys").caption, keys.length ? `${count(active)} of ${count(keys.length)} are active. Uses are up to a minute late.` : "No API key yet");
  fill(byId("keys"), keys, {
    id: (key) => key.id,
    numbers: [7],
    times: [4, 5, 6],
    cells: (key) => [
      key.prefix, key.name, key.scopes.join(", "), stateOf(key), at(key.created_at),
      key.expires_at ? at(key.expires_at) : "never", key.last_used_at ? at(key.last_used_at) : "never",
      count(key.total_requests), key.rate_limit ?? "none",
    ],
    actions: (key) => {
      if (!isOwner()) {
        return [];
      }
      const label = (verb) => `${verb} ${key.name}, ${key.prefix}`;
      const rotate = ["Rotate", label("Rotate"), () => rotateKey(key)];
      const limit = ["Limit", label("Limit"), () => limitKey(key)];
      if (key.is_active) {
        return [...(key.replaced_by ? [] : [rotate]), limit, ["Revoke", label("Revoke"), () => revokeKey(key)]];
      }
      return [];
    },
  });
}

function stateOf(key) {
  const left = key.expires_at ? Date.parse(key.expires_at) - now() : Infinity;
  if (!key.is_active) {
    return left <= 0 ? (key.replaced_by ? "replaced" : "expired") : "revoked";
  }
  return key.replaced_by ? `replaced, ends in ${remaining(left)}` : left < 7 * DAY ? `active, ends in ${remaining(left)}` : "active";
}

function remaining(milliseconds) {
  const minutes = Math.max(1, Math.round(milliseconds / 60_000));
  return minutes < 120 ? `${minutes} min` : minutes < 2_880 ? `${Math.round(minutes / 60)} h` : `${Math.round(minutes / 1_440)} days`;
}

byId("make-key").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  const fields = new FormData(form);
  const scopes = fields.getAll("scopes");
  const life = fields.get("life");
  const path = pathOf("api-keys");
  const draft = { name: fields.get("name"), scopes, rate_limit: fields.get("rate_limit") || null };
  draft.expires_at = life === "never" ? null : new Date(now() + life * DAY).toISOString();
  const may = scopes.length ? `may ${scopes.map((each) => SCOPES[each]).join(", ")}` : "may do nothing";
  const ends = draft.expires_at ? `is valid until ${at(draft.expires_at)}` : "is valid until you revoke it";
  ask("Make an API key?", `The key “${draft.name}” ${may} in the project “${project.name}”, ${ends}, and is shown once.`, "Make the key", [], async () => {
    showSecret(await send("POST", path, draft));
    form.reset();
  });
});

function rotateKey(key) {
  const choice = element("select", { name: "overlap" }, ...OVERLAPS.map(([value, text]) => element("option", { value, text })));
  choice.value = "86400";
  const path = pathOf("api-keys", key.id, "rotate");
  const text = `“${key.name}” (${key.prefix}) gets a successor with the same scopes, rate limit and length of life, which is shown once. Put it where the old key is used before that ends.`;
  ask("Replace this API key?", text, "Replace the key", [element("label", { text: "The old key " }, choice)], async () => {
    showSecret(await send("POST", path, { overlap_seconds: Number(choice.value) }));
  });
}

function revokeKey(key) {
  const path = pathOf("api-keys", key.id);
  const text = `“${key.name}” (${key.prefix}) and every session that was made with it are refused at once. It has served ${count(key.total_requests)} requests, the last ${key.last_used_at ? at(key.last_used_at) : "never"}.`;
  ask("Revoke this API key?", text, "Revoke the key", [], () => send("PATCH", path, { is_active: false }));
}

function limitKey(key) {
  const input = element("input", { name: "limit", autocomplete: "off", pattern: "[1-9][0-9]{0,6}/(second|minute|hour|day)" });
  input.value = key.rate_limit ?? "";
  const path = pathOf("api-keys", key.id);
  const text = `Requests with “${key.name}” (${key.prefix}) beyond the limit are refused with 429.`;
  ask("Change the rate limit?", text, "Change the limit", [element("label", { text: "Such as 600/minute (empty: none) " }, input)],
    () => send("PATCH", path, { rate_limit: input.value || null }));
}

function showSecret(made) {
  setText(byId("secret-text"), made.key
    ? `“${made.name}” (${made.prefix}). This page shows it once, and nobody can read it again: keep it now.`
    : "The key was made before and cannot be shown again. Revoke it, and make another.");
  setText(byId("secret-key"), made.key ?? "");
  reveal(byId("secret"));
}

/** Show what is shown once: it gets the focus when the question is closed. */
function reveal(section) {
  section.hidden = false;
  revealed = section;
}

function hideSecret() {
  setText(byId("secret-key"), "");
  byId("secret").hidden = true;
}

byId("secret-copy").addEventListener("click", (event) => copy(byId("secret-key").textContent, event.target));
byId("secret-hide").addEventListener("click", hideSecret);

// Retention

function showRetention(kinds) {
  const days = (number) => (number === null ? "for ever" : count(number));
  setText(byId("retention-text"), project.retention_days === null
    ? "The project has no retention of its own: raw rows are kept as the installation keeps them."
    : `The project keeps raw rows for ${count(project.retention_days)} days, or shorter where the installation does. Figures outlive them.`);
  setText(byId("retention").caption, kinds.length ? "As the last run found it" : "No run yet");
  fill(byId("retention"), kinds, {
    id: (each) => each.kind,
    numbers: [1, 3, 4],
    cells: (each) => [
      each.kind, days(each.retention_days), at(each.ran_at), count(each.deleted_rows), count(each.kept_rows),
      each.oldest_received_at ? at(each.oldest_received_at) : "–",
    ],
  });
}

byId("change-retention").addEventListener("submit", (event) => {
  event.preventDefault();
  const days = event.target.elements.days.value;
  const path = pathOf();
  const text = days
    ? `The next run deletes the raw rows of the project “${project.name}” that are older than ${count(Number(days))} days. They cannot be restored; counts and series stay.`
    : `Raw rows of the project “${project.name}” are kept as the installation keeps them.`;
  ask("Change the retention?", text, "Change it", [], () => send("PATCH", path, { retention_days: days ? Number(days) : null }));
});

// Members

function showMembers(members) {
  fill(byId("members"), members, {
    id: (each) => each.account_id,
    cells: (each) => [each.account_id, each.role, at(each.added_at)],
    actions: (each) => (isOwner() ? [["Remove", `Remove ${each.account_id}`, () => removeMember(each)]] : []),
  });
}

function removeMember({ account_id: id, role }) {
  const path = pathOf("members", id);
  const text = `The ${role} ${id} does not see the project “${project.name}” any more. Its API keys stay valid.`;
  ask("Remove this member?", text, "Remove the member", [], () => send("DELETE", path));
}

byId("add-member").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  const draft = Object.fromEntries(new FormData(form));
  const path = pathOf("members");
  const may = draft.role === "owner" ? "may do everything in the project, and remove you" : "sees the project, its members, its API keys and its figures";
  ask("Add a member?", `The account of ${draft.email} ${may}: “${project.name}”.`, "Add the member", [], async () => {
    await send("POST", path, draft);
    form.reset();
  });
});

// Its path is made before the question: a poll may show another project meanwhile.

async function ask(...question) {
  if (await confirmed(...question)) {
    poll.start();
  }
  // What is shown once is read first.
  revealed?.focus();
  revealed = null;
}

byId("projects").addEventListener("change", (event) => {
  history.pushState(null, "", `${location.pathname}?${new URLSearchParams({ project: event.target.value })}`);
  poll.start();
});
addEventListener("popstate", () => poll.start());

const shares = new Shares({ fill, ask, reveal, pathOf, at });

const json = "-H 'Content-Type: application/json'";
const command = [
  `TOKEN=$(curl -s ${quoted(`${location.origin}/api/v1/auth/login`)} ${json} -d "{\\"email\\":\\"$EMAIL\\",\\"password\\":\\"$PASSWORD\\"}" | sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')`,
  `curl ${quoted(location.origin + PROJECTS)} -H "Authorization: Bearer $TOKEN" ${json} -d '{"name":"Shop","timezone":"${zone}"}'`,
].join("\n");
setText(byId("curl"), command);
byId("copy-curl").addEventListener("click", (event) => copy(command, event.target));

const poll = new Poll(refresh, POLL_SECONDS, showState);
poll.start();
