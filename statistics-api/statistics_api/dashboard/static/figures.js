// The big figures of a screen, each with a note below it.

import { element, setText } from "./page.js";

/** A list of figures in a <dl class="figures">, in the order in which they are first shown. */
export class Figures {
  constructor(list) {
    Object.assign(this, { list, shown: new Map() });
  }

  /** Show a figure; `direction` of a note that is a change is "up" or "down". */
  show(name, text, note = "", direction = "") {
    if (!this.shown.has(name)) {
      const value = element("dd", {}, element("span"), element("span", { class: "note" }));
      this.shown.set(name, value);
      this.list.append(element("div", {}, element("dt", { text: name }), value));
    }
    const [value, below] = this.shown.get(name).children;
    setText(value, text);
    setText(below, note);
    below.className = `note ${direction}`.trim();
  }
}
