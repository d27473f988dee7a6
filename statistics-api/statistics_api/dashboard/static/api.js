// Asks the public API, as curl would. The session's cookie goes along by itself; the page of a share sends its token.

import { shared } from "./shared.js";

const answers = new Map(); // path -> {etag, body}: what If-None-Match asks about
const KEPT_MAX = 100;
const CREDENTIAL = shared ? { "X-API-Key": shared.token } : {};

/** A request that failed: a sentence for people, with the id under which the server's log has it. */
export class RequestFailed extends Error {
  constructor(message, { status = 0, code = "", requestId = "", retryAfterSeconds = 0 } = {}) {
    super(message);
    Object.assign(this, { status, code, requestId, retryAfterSeconds });
  }

  /** Whether the same request may succeed later. */
  get isTemporary() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }

  /** The API's own words as a sentence. */
  get inWords() {
    const whole = this.message.replace(/^./, (first) => first.toUpperCase()).replace(/[^.!?]$/, "$&.");
    return this.requestId ? `${whole} (request ${this.requestId})` : whole;
  }
}

let clockOffset = 0;

/** The time by the server's clock, in milliseconds: a wrong clock of the browser must not move a range. */
export const now = () => Date.now() + clockOffset;

/** GET a path; returns {body, changed}. An answer that has not changed costs a 304 without a body. */
export async function get(path, { signal } = {}) {
  const known = answers.get(path);
  const response = await request("GET", path, { signal, headers: known ? { "If-None-Match": known.etag } : {} });
  if (response.status === 304) {
    return { body: known.body, changed: false };
  }
  const body = await response.json();
  const etag = response.headers.get("ETag");
  if (etag) {
    if (answers.size >= KEPT_MAX) {
      answers.delete(answers.keys().next().value);
    }
    answers.set(path, { etag, body });
  }
  return { body, changed: true };
}

/** GET a path as a file, which is whole: an answer that breaks off fails. */
export async function getFile(path) {
  const response = await request("GET", path, {});
  try {
    return await response.blob();
  } catch {
    throw new RequestFailed("The answer broke off.");
  }
}

/** Send JSON; returns the body of the answer, or null. */
export async function send(method, path, content, { signal } = {}) {
  const options = { signal, headers: {} };
  if (content !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(content);
  }
  const response = await request(method, path, options);
  const text = await response.text();
  return text ? JSON.parse(text) : null;
}

async function request(method, path, { headers = {}, ...options }) {
  let response;
  try {
    response = await fetch(path, {
      method, cache: "no-store", redirect: "error", credentials: shared ? "omit" : "same-origin",
      headers: { ...headers, ...CREDENTIAL }, ...options,
    });
  } catch (error) {
    if (error.name === "AbortError") {
      throw error;
    }
    throw new RequestFailed("The server cannot be reached.");
  }
  const date = Date.parse(response.headers.get("Date") ?? "");
  // The header has whole seconds: less than that is no difference.
  clockOffset = Math.abs(date - Date.now()) > 2_000 ? date - Date.now() : 0;
  if (response.ok || response.status === 304) {
    return response;
  }
  throw await refusal(response);
}

async function refusal(response) {
  const problem = await response.json().catch(() => ({}));
  const fields = problem.errors ?? (Array.isArray(problem.detail) ? problem.detail : []);
  const sentences = fields.map((each) => `${each.field ?? each.loc?.join(".")}: ${each.message ?? each.msg}`);
  const detail = typeof problem.detail === "string" ? problem.detail : problem.reason ?? `The server answered ${response.status}.`;
  return new RequestFailed([detail, ...sentences].join(" "), {
    status: response.status,
    code: problem.code ?? "",
    requestId: response.headers.get("X-Request-ID") ?? "",
    retryAfterSeconds: Number(response.headers.get("Retry-After")) || 0,
  });
}

/** A command that asks the same, by POST if it has content. Credentials are named, and not shown: no script can read them. */
export function asCurl(path, content) {
  const sessions = document.body.dataset.sessions.split(" ");
  const ofProject = !path.startsWith("/api/v1/projects");
  let credential = "";
  if (shared) {
    credential = ` -H "X-API-Key: $SHARE_TOKEN"`;
  } else if (ofProject && sessions.includes("project")) {
    credential = ` -H "X-API-Key: $API_KEY"`;
  } else if (!ofProject && sessions.includes("account")) {
    credential = ` -H "Authorization: Bearer $TOKEN"`;
  } else if (!ofProject && sessions.includes("project")) {
    credential = ` -H "X-API-Key: $API_KEY"`;
  }
  const body = content === undefined ? "" : ` -H 'Content-Type: application/json' -d ${quoted(JSON.stringify(content))}`;
  return `curl ${quoted(location.origin + path)}${credential}${body}`;
}

/** A word of a shell's command. */
export const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
