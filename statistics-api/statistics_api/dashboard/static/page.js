// What every screen has: log-out, the state of the polling, errors, and things to copy. All text is set as text.

import { getFile, RequestFailed, send } from "./api.js";
import { ago, time } from "./format.js";
import { shared } from "./shared.js";

/** An element with text, attributes and children; nothing is ever parsed as HTML. */
export function element(name, { text, ...attributes } = {}, ...children) {
  const made = document.createElement(name);
  if (text !== undefined) {
    made.textContent = text;
  }
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value === true) {
      made.setAttribute(attribute, "");
    } else if (value !== undefined && value !== null && value !== false) {
      made.setAttribute(attribute, value);
    }
  }
  made.append(...children);
  return made;
}

/** What a person has chosen on this browser, or null. */
export function recall(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null; // storage may be forbidden
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // it lasts as long as the page
  }
}

export const sessions = () => document.body.dataset.sessions.split(" ").filter(Boolean);

const state = document.getElementById("state");
const notice = document.getElementById("notice");
let last = { failure: null, since: null };

/** Shows how the polling goes; for `Poll`. */
export function showState({ failure, since }) {
  last = { failure, since };
  if (failure?.status === 401) {
    endSession();
    return;
  }
  notice.textContent = failure ? inWords(failure) : "";
  refreshState();
}

function inWords(failure) {
  if (failure instanceof RequestFailed) {
    return failure.isTemporary ? `${failure.inWords} The page tries again by itself.` : failure.inWords;
  }
  console.error(failure);
  return "This page has made a mistake. Please load it again.";
}

function refreshState() {
  if (!state || (!last.since && !last.failure)) {
    return;
  }
  const { failure, since } = last;
  state.dataset.state = failure ? "stale" : "live";
  state.lastElementChild.textContent = failure
    ? since ? `Stale since ${ago(Date.now() - since)}` : "No figures yet"
    : `Live, ${time(since, undefined, "clock")}`;
}

setInterval(() => last.failure && refreshState(), 1_000);

// The server does not accept the session any more: without its cookies, the same URL is the log-in. Of a share that has
// ended, it is the page that says so.
async function endSession() {
  if (shared) {
    location.reload();
    return;
  }
  try {
    await send("DELETE", "/dashboard/session");
    ends.postMessage("ended");
  } finally {
    location.reload();
  }
}

// Other pages of this browser have lost their session, too: without one, some would show the project `default`.
const ends = new BroadcastChannel("sessions");
if (!shared && sessions().length) {
  ends.addEventListener("message", () => location.reload());
}

document.getElementById("log-out")?.addEventListener("click", endSession);

/** Gives a link the address of a CSV. A link sends no token of a share, so that page asks for the file itself. */
export function offerCsv(link, path) {
  if (!shared) {
    link.href = path;
    return;
  }
  link.href = "#";
  link.onclick = (event) => {
    event.preventDefault();
    saveFile(path);
  };
}

async function saveFile(path) {
  try {
    const blob = await getFile(path);
    const link = element("a", { href: URL.createObjectURL(blob), download: `${path.split("?")[0].split("/").at(-1)}.csv` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  } catch (failure) {
    notice.textContent = inWords(failure);
  }
}

/** Copies a text, or shows it to be copied where the browser does not allow that. */
export async function copy(text, button) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = label; }, 1_500);
  } catch {
    showText(text);
  }
}

function showText(text) {
  const area = element("textarea", { readonly: true, rows: "4", "aria-label": "To copy" });
  area.value = text;
  const close = element("button", { type: "button", text: "Close" });
  const dialog = element("dialog", { "aria-label": "To copy" }, area, close);
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  area.select();
}

/** Writes cells only where their text changes, so that a screen reader is not disturbed. */
export function setText(node, text) {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}
