// The shares of a project, on the screen of its administration: their list, a new one, and an end.

import { now, send } from "./api.js";
import { count } from "./format.js";
import { copy, setText } from "./page.js";

const DAY = 86_400_000;
const VIEWS = { auth_events: "Auth events", requests: "API requests", store_events: "Store events", device: "Device" };

const byId = (id) => document.getElementById(id);

/**
 * `fill` writes the rows of a table, `ask` confirms a change in words, `reveal` shows a section, `pathOf` is a path below
 * the project that is shown, and `at` writes an instant.
 */
export class Shares {
  constructor({ fill, ask, reveal, pathOf, at }) {
    Object.assign(this, { fill, ask, reveal, pathOf, at });
    const form = byId("make-share");
    form.elements.view.addEventListener("change", () => this.#askForDevice(form));
    form.addEventListener("reset", () => setTimeout(() => this.#askForDevice(form)));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#make(form);
    });
    byId("link-copy").addEventListener("click", (event) => copy(byId("link-address").textContent, event.target));
    byId("link-hide").addEventListener("click", () => this.hideLink());
  }

  show(shares) {
    const table = byId("shares");
    setText(table.caption, shares.length ? `${count(shares.length)} ${shares.length === 1 ? "share" : "shares"}. Expired ones leave when another one is made.` : "Nothing is shared");
    this.fill(table, shares, {
      id: (share) => share.id,
      cells: (share) => [
        nameOf(share), inWords(share.range), share.frame_ancestors.join(" ") || "nobody",
        this.at(share.created_at), this.#endOf(share),
      ],
      actions: (share) => [["End", `End the share of ${nameOf(share)}, created ${this.at(share.created_at)}`, () => this.#end(share)]],
    });
  }

  /** Hide the link that was made last: nothing shows it again. */
  hideLink() {
    setText(byId("link-address"), "");
    byId("link").hidden = true;
  }

  #endOf({ expires_at: end }) {
    return end === null ? "never" : Date.parse(end) <= now() ? `expired ${this.at(end)}` : this.at(end);
  }

  // Only the share of a device names one.
  #askForDevice({ elements: { view, device_id: device } }) {
    device.required = view.value === "device";
    device.closest("label").hidden = !device.required;
  }

  #make(form) {
    const fields = new FormData(form);
    const life = fields.get("life");
    const draft = {
      view: fields.get("view"),
      device_id: fields.get("view") === "device" ? fields.get("device_id") : null,
      range: fields.get("range") || null,
      expires_at: life === "never" ? null : new Date(now() + life * DAY).toISOString(),
      frame_ancestors: fields.get("frame_ancestors").split(/\s+/).filter(Boolean),
    };
    const path = this.pathOf("shares");
    const until = draft.expires_at ? `until ${this.at(draft.expires_at)}` : "until you end it";
    const embedded = draft.frame_ancestors.length ? ` The pages of ${draft.frame_ancestors.join(", ")} may embed it.` : "";
    this.ask("Share this view?", `Everybody who gets the link sees all figures of “${nameOf(draft)}”, of any range, ${until}.${embedded}`, "Make the link", [], async () => {
      this.#showLink(await send("POST", path, draft));
      form.reset();
    });
  }

  #end(share) {
    const path = this.pathOf("shares", share.id);
    const text = `The link of “${nameOf(share)}”, created ${this.at(share.created_at)}, shows nothing any more, and pages that are open close.`;
    this.ask("End this share?", text, "End the share", [], () => send("DELETE", path));
  }

  #showLink(made) {
    setText(byId("link-text"), made.path
      ? `Of “${nameOf(made)}”. This page shows it once, and nobody can read it again: keep it now.`
      : "The share was made before, and its link cannot be shown again. End it, and make another.");
    setText(byId("link-address"), made.path ? location.origin + made.path : "");
    this.reveal(byId("link"));
  }
}

const nameOf = ({ view, device_id: device }) => (view === "device" ? `Device ${device}` : VIEWS[view] ?? view);

// As the form has it, or as the API took it.
const inWords = (range) => [...byId("make-share").elements.range.options].find(({ value }) => value === (range ?? ""))?.text ?? range;
