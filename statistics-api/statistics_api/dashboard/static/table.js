// A table that is sorted by its headings and filtered by a text; both are in the URL. Its rows stay where they can.

import { element, setText } from "./page.js";

const SHOWN_MAX = 100;

/**
 * Rows in a <table> whose <tbody> is empty.
 *
 * `columns` are {name, label, value, text, kind}: `value(row)` is sorted by, null last, and `text(row)` is shown; a
 * column of kind "text" is sorted upwards first. One of kind "drawn" has `draw(row, cell)` in place of both, and is not sorted by. `keyOf(row)` names a row for as long as the page is open, `detail(row)`
 * is what opens below it, and `sort` the column that it is sorted by at first. The first column heads each row.
 */
export class SortedTable {
  constructor(table, { columns, keyOf, detail, sort, filter, state }) {
    Object.assign(this, { table, columns, keyOf, detail, filter, state, first: `-${sort}`, rows: [], lines: new Map() });
    this.body = table.tBodies[0];
    const headings = columns.map((column) => {
      if (column.kind === "drawn") {
        return element("th", { scope: "col", text: column.label });
      }
      const button = element("button", { type: "button", class: "sort", text: column.label });
      button.addEventListener("click", () => this.#onHeading(column));
      return element("th", { scope: "col", class: classOf(column) }, button);
    });
    this.headings = headings;
    table.tHead.replaceChildren(element("tr", {}, ...headings));
    filter.addEventListener("input", () => { this.#keep("filter", filter.value); this.#show(); });
    addEventListener("popstate", () => { this.#readUrl(); this.#show(); });
    this.#readUrl();
  }

  /** Show these rows, those that were there before in their place. */
  draw(rows) {
    this.rows = rows;
    const keys = new Set(rows.map(this.keyOf));
    for (const key of this.lines.keys()) {
      if (!keys.has(key)) {
        this.lines.delete(key);
      }
    }
    this.#show();
  }

  #readUrl() {
    const query = new URLSearchParams(location.search);
    const sort = query.get("sort") ?? this.first;
    this.sort = this.columns.some(({ name, kind }) => kind !== "drawn" && name === sort.replace(/^-/, "")) ? sort : this.first;
    this.filter.value = query.get("filter") ?? "";
  }

  // Not a page of its own in the history: "back" leads to the range before.
  #keep(name, value) {
    const query = new URLSearchParams(location.search);
    query.delete(name);
    if (value) {
      query.set(name, value);
    }
    history.replaceState(null, "", `?${query}`);
  }

  #onHeading({ name, kind }) {
    const first = kind === "text" ? name : `-${name}`;
    const other = kind === "text" ? `-${name}` : name;
    this.sort = this.sort === first ? other : first;
    this.#keep("sort", this.sort);
    this.#show();
  }

  #show() {
    const isDown = this.sort.startsWith("-");
    const sorted = this.columns.findIndex(({ name }) => name === this.sort.replace(/^-/, ""));
    this.headings.forEach((heading, index) => {
      if (index === sorted) {
        heading.setAttribute("aria-sort", isDown ? "descending" : "ascending");
      } else {
        heading.removeAttribute("aria-sort");
      }
    });
    const wanted = this.filter.value.trim().toLowerCase();
    const [heads, by] = [this.columns[0], this.columns[sorted]];
    const found = this.rows.filter((row) => heads.text(row).toLowerCase().includes(wanted));
    found.sort((one, other) => compared(by.value(one), by.value(other), isDown));
    this.#place(found.slice(0, SHOWN_MAX));
    const number = Math.min(found.length, SHOWN_MAX);
    setText(this.state, number === this.rows.length ? `${number} rows` : `${number} of ${this.rows.length} rows`);
  }

  #place(rows) {
    const lines = rows.flatMap((row) => this.#lineOf(row));
    const isSame = lines.length === this.body.rows.length && lines.every((line, index) => line === this.body.rows[index]);
    if (!isSame) {
      const focused = document.activeElement;
      this.body.replaceChildren(...lines);
      if (this.body.contains(focused)) {
        focused.focus({ preventScroll: true });
      }
    }
  }

  #lineOf(row) {
    const key = this.keyOf(row);
    if (!this.lines.has(key)) {
      this.lines.set(key, this.#newLine());
    }
    const made = this.lines.get(key);
    const { line, button, below } = made;
    if (made.row !== row) {
      made.row = row;
      this.columns.forEach((column, index) => {
        if (column.kind === "drawn") {
          column.draw(row, line.cells[index]);
        } else {
          setText(index ? line.cells[index] : button, column.text(row));
        }
      });
      if (!below.hidden) {
        below.firstChild.replaceChildren(this.detail(row));
      }
    }
    return [line, below];
  }

  #newLine() {
    const button = element("button", { type: "button", class: "row", "aria-expanded": "false" });
    const cells = this.columns.map((column, index) => (index
      ? element("td", { class: classOf(column) })
      : element("th", { scope: "row" }, button)));
    const below = element("tr", { hidden: true }, element("td", { colspan: this.columns.length }));
    const made = { line: element("tr", {}, ...cells), button, below, row: null };
    button.addEventListener("click", () => {
      below.hidden = !below.hidden;
      button.setAttribute("aria-expanded", String(!below.hidden));
      if (!below.hidden) {
        below.firstChild.replaceChildren(this.detail(made.row));
      }
    });
    return made;
  }
}

const classOf = ({ kind }) => (kind === "text" || kind === "drawn" ? undefined : "number");

function compared(one, other, isDown) {
  if (one === null || other === null) {
    return (one === null) - (other === null);
  }
  const order = typeof one === "string" ? one.localeCompare(other) : one - other;
  return isDown ? -order : order;
}
