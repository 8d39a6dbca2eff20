// The box of filters: names of columns are completed, and what is wrong is said beside it.

import { byId, el, told } from "./dom.js";
import { current, go } from "./state.js";

const WORD = /@[\p{L}\p{N}_-]*$|[\p{L}\p{N}_]+$/u, MOST = 8;
const WORDS = ["AND", "OR", "NOT", "IS NULL", "IS NOT NULL", "LIKE", "IN", "BETWEEN"];

export class FilterBox {
  constructor() {
    this.box = byId("filter");
    this.list = byId("completions");
    this.names = [];
    this.chosen = -1;
    this.terms = new Map();
    byId("filter-form").addEventListener("submit", (event) => { event.preventDefault(); this.apply(); });
    byId("clear").addEventListener("click", () => { this.box.value = ""; this.apply(); this.box.focus(); });
    this.box.addEventListener("input", () => this.complete());
    this.box.addEventListener("blur", () => setTimeout(() => this.hide(), 150));
    this.box.addEventListener("keydown", (event) => this.typed(event));
  }

  show(columns, selections = []) {
    this.names = [...columns.filter((column) => column.family !== "bytes").map((column) => column.name),
      ...selections.map((one) => `@${one.name}`)];
    this.follow();
  }

  /** Hold the box to the address, unless somebody types in it. */
  follow() {
    if (document.activeElement !== this.box || !this.dirty) this.box.value = current().where;
    byId("clear").hidden = !this.box.value;
  }

  apply() {
    this.hide();
    this.dirty = false;
    go({ where: this.box.value.trim(), like: "" });
    byId("clear").hidden = !this.box.value;
  }

  fail(error) {
    const place = byId("filter-error");
    place.hidden = !error;
    place.textContent = error ? error.message + (error.hint ? ` – ${error.hint}` : "") : "";
    this.box.setAttribute("aria-invalid", error ? "true" : "false");
    if (error) this.follow();
  }

  /** Add a term to the filter; it takes the place of the last one of the same column. */
  add(term, column) {
    const before = this.terms.get(column), where = current().where;
    const wrapped = where && / OR /i.test(where) && !where.startsWith("(") ? `(${where})` : where;
    const replaced = before && where.includes(before) ? where.replace(before, term) : null;
    if (column) this.terms.set(column, term);
    go({ where: replaced ?? (wrapped ? (wrapped.includes(term) ? wrapped : `${wrapped} AND ${term}`) : term) });
    this.box.value = current().where;
  }

  complete() {
    this.dirty = true;
    const start = this.box.selectionStart ?? 0;
    const word = this.box.value.slice(0, start).match(WORD)?.[0] ?? "";
    const lower = word.toLowerCase();
    const fits = (name) => name.toLowerCase().includes(lower) && name !== word;
    const found = word
      ? [...this.names.filter((name) => name.toLowerCase().startsWith(lower) && name !== word),
         ...this.names.filter((name) => fits(name) && !name.toLowerCase().startsWith(lower)),
         ...WORDS.filter((name) => name.toLowerCase().startsWith(lower) && name !== word)].slice(0, MOST)
      : [];
    this.list.replaceChildren(...found.map((name, place) => {
      const entry = told("li", name);
      entry.id = `completion-${place}`;
      entry.setAttribute("role", "option");
      entry.setAttribute("aria-selected", "false");
      entry.addEventListener("mousedown", (event) => { event.preventDefault(); this.take(name); });
      return entry;
    }));
    this.chosen = -1;
    this.list.hidden = !found.length;
    this.box.setAttribute("aria-expanded", String(found.length > 0));
    this.box.removeAttribute("aria-activedescendant");
  }

  take(name) {
    const start = this.box.selectionStart ?? 0, head = this.box.value.slice(0, start);
    const word = head.match(WORD)?.[0] ?? "";
    const written = /^(@.*|[a-z_][a-z0-9_]*)$/.test(name) || WORDS.includes(name) ? name : `\`${name}\``;
    this.box.value = `${head.slice(0, head.length - word.length)}${written} ${this.box.value.slice(start).trimStart()}`;
    const place = head.length - word.length + written.length + 1;
    this.box.setSelectionRange(place, place);
    this.hide();
  }

  hide() {
    this.list.hidden = true;
    this.box.setAttribute("aria-expanded", "false");
    this.box.removeAttribute("aria-activedescendant");
  }

  typed(event) {
    const entries = [...this.list.children];
    if (event.key === "Escape") {
      if (!this.list.hidden) this.hide();
      else byId("gallery")?.focus() ?? this.box.blur();
      event.stopPropagation();
      return;
    }
    if (this.list.hidden || !entries.length) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      this.chosen = (this.chosen + step + entries.length) % entries.length;
      entries.forEach((entry, place) => entry.setAttribute("aria-selected", String(place === this.chosen)));
      this.box.setAttribute("aria-activedescendant", `completion-${this.chosen}`);
    } else if (event.key === "Tab" || (event.key === "Enter" && this.chosen >= 0)) {
      event.preventDefault();
      this.take(entries[Math.max(0, this.chosen)].textContent);
    }
  }
}
