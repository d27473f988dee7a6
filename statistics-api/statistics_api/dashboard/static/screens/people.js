// The users of a project, one at a time: found, exported, erased. The URL has ids and receipts, and no personal data.

import { asCurl, get, getFile, quoted, RequestFailed, send } from "../api.js";
import { count, time } from "../format.js";
import { copy, element, setText, showState } from "../page.js";
import { Poll } from "../poll.js";
import { ProjectPicker } from "../project.js";
import { confirmed } from "../question.js";

const POLL_SECONDS = 5;
const [USERS, STORE_USERS, ERASURES] = ["/api/v1/users", "/api/user", "/api/erasure"];
const [USER, RECEIPT] = ["user", "receipt"];
// Anything else is no id, and some of it means another path to a browser.
const ID = /^[0-9A-Za-z-]+$/;

const byId = (id) => document.getElementById(id);
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const project = new ProjectPicker(byId("project"));
let user = null; // the one that is shown
let finished = null; // the receipt whose erasure needs not be asked for again

const chosen = (name) => new URLSearchParams(location.search).get(name);

async function refresh(signal) {
  await project.current(signal);
  const [id, receipt] = [chosen(USER), chosen(RECEIPT)];
  const { body: first } = await get(`${USERS}?limit=1`, { signal });
  byId("empty").hidden = first.length > 0;
  byId("user").hidden = id === null;
  byId("erasure").hidden = receipt === null;
  if (id === null) {
    user = null;
  } else if (user?.id !== id) {
    showUser(null);
    showUser(await readUser(id, signal));
  }
  if (receipt !== null && receipt !== finished) {
    await showErasure(receipt, signal);
  }
}

async function readUser(id, signal) {
  if (!ID.test(id)) {
    throw new RequestFailed("User not found", { status: 404 });
  }
  return (await get(`${USERS}/${id}`, { signal })).body;
}

/** Show a user, or nothing of one while it is read. */
function showUser(found) {
  user = found;
  setText(byId("export-failure"), "");
  for (const button of byId("user").querySelectorAll("button")) {
    button.disabled = found === null;
  }
  showFacts(byId("facts"), found === null ? [] : [
    ["Id", found.id], ["Username", found.username], ["E-mail address", found.email],
    [found.devices.length === 1 ? "Device" : "Devices", found.devices.length ? found.devices.map(deviceLink) : "none"],
  ]);
}

const deviceLink = ({ device_id: id, name }) => element("a", {
  href: `/dashboard/devices?${new URLSearchParams({ device: id })}`, text: name === null ? id : `${name} (${id})`,
});

/** Writes a list of names with a text, or with links. */
function showFacts(list, facts) {
  list.replaceChildren(...facts.flatMap(([name, value]) => [
    element("dt", { text: name }),
    typeof value === "string" ? element("dd", { text: value }) : element("dd", {}, ...value.map((each) => element("div", {}, each))),
  ]));
}

async function showErasure(receipt, signal) {
  if (!ID.test(receipt)) {
    throw new RequestFailed("Receipt not found", { status: 404 });
  }
  const { body } = await get(`${ERASURES}/${receipt}`, { signal });
  const isFinished = body.state === "finished";
  finished = isFinished ? receipt : null;
  setText(byId("erasure-text"), isFinished ? "Finished: nothing of the user is left, and no figure has moved." : "Running. It goes on by itself.");
  showFacts(byId("erasure-facts"), [
    ["Receipt", receipt], ["Users erased", count(body.users)], ["Events and measurements deleted", count(body.events)],
    ["Requested", at(body.requested_at)], ["Finished", body.finished_at ? at(body.finished_at) : "not yet"],
  ]);
}

const at = (text) => time(Date.parse(text), zone);

/** Show something else, whose name and id the URL has from now on. */
function open(name, id) {
  history.pushState(null, "", `${location.pathname}?${new URLSearchParams({ [name]: id })}`);
  [user, finished] = [null, null];
  poll.start();
}

byId("find").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = event.target.elements.user;
  setText(byId("find-failure"), "");
  try {
    const asked = field.value.trim();
    const { id } = asked.includes("@") ? (await get(`${STORE_USERS}/${encodeURIComponent(asked)}`)).body : await readUser(asked);
    field.value = "";
    open(USER, id);
    byId("user").hidden = false;
    byId("user-heading").focus();
  } catch (failure) {
    setText(byId("find-failure"), failure.inWords ?? "This page has made a mistake. Please load it again.");
    field.focus();
  }
});

byId("find-receipt").addEventListener("submit", (event) => {
  event.preventDefault();
  open(RECEIPT, event.target.elements.receipt.value.trim());
});

const exportPath = () => `${STORE_USERS}/${user.id}/export`;

// Not a link: what is cut off, or refused, must not be taken for the document.
byId("export").addEventListener("click", async (event) => {
  const [{ id }, path] = [user, exportPath()];
  event.target.disabled = true;
  setText(byId("export-failure"), "");
  try {
    const link = element("a", { href: URL.createObjectURL(await getFile(path)), download: `user-${id}.json` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  } catch (failure) {
    setText(byId("export-failure"), failure.inWords ?? "This page has made a mistake. Please load it again.");
  } finally {
    event.target.disabled = user === null;
  }
});

byId("export-curl").addEventListener("click", (event) => copy(asCurl(exportPath()), event.target));

byId("erase").addEventListener("click", async () => {
  const { id, username, email } = user;
  const typed = element("input", { name: "typed", autocomplete: "off", spellcheck: "false", required: true });
  const check = () => typed.setCustomValidity(
    typed.value.trim().toLowerCase() === email.toLowerCase() ? "" : "This is not the e-mail address of the user.");
  typed.addEventListener("input", check);
  check();
  const text = `Everything that is held about “${username}” is deleted: the fields, the devices with their measurements, and the events. No figure moves, and nobody can undo it. To confirm, type the e-mail address of the user: ${email}`;
  let receipt = null;
  if (await confirmed("Erase this user?", text, "Erase the user", [element("label", { text: "E-mail address " }, typed)], async () => {
    ({ receipt } = await send("DELETE", `${STORE_USERS}/${id}`));
  })) {
    open(RECEIPT, receipt);
    byId("user").hidden = true;
    showFacts(byId("facts"), []);
    byId("erasure").hidden = false;
    byId("erasure-heading").focus();
  }
});

byId("copy-receipt").addEventListener("click", (event) => copy(chosen(RECEIPT), event.target));
addEventListener("popstate", () => {
  [user, finished] = [null, null];
  poll.start();
});

const command = `curl -X POST ${quoted(`${location.origin}${STORE_USERS}`)} -H "X-API-Key: $API_KEY" -H 'Content-Type: application/json' -d '{"email":"bob@example.com","username":"bob","first_name":"Bob","last_name":"Brown","phone":"0301234567"}'`;
setText(byId("curl"), command);
byId("copy-curl").addEventListener("click", (event) => copy(command, event.target));

const poll = new Poll(refresh, POLL_SECONDS, showState);
poll.start();
