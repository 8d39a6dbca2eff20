// Columns at the side: how their values are spread over the rows in view; a click adds to the filter.

import { get } from "./api.js";
import { byId, counted, el, figure, told, whole } from "./dom.js";
import { go, rowsQuery } from "./state.js";

const FACETED = ["number", "text", "boolean", "texts", "time", "numbers", "other"], OPEN_AT_FIRST = 3, PICTURES_FIRST_MS = 200;
const DULL = /^(path|filename|file_name|folder|uri|etag|sha256|id|image_id|mtime|format|width|height|bytes)$/;
const WORDY = /caption|text|title|description|prompt/i;

export class Facets {
  constructor(filter, fail) {
    this.root = byId("facets");
    this.filter = filter;
    this.fail = fail;
    this.open = null;
    this.asked = 0;
  }

  show(table) {
    this.table = table;
    const columns = table.columns.filter((column) => FACETED.includes(column.family));
    columns.sort((one, other) => this.dullness(one) - this.dullness(other));
    if (this.open === null) {
      this.open = new Set(columns.slice(0, OPEN_AT_FIRST).map((one) => one.name));
    }
    const made = columns.map((column) => this.facet(column));
    const others = table.columns.filter((column) => !FACETED.includes(column.family));
    const listed = others.map((column) => el("li", {}, told("span", column.name, "name"), el("span", { class: "type" }, column.type)));
    const named = table.selections.length ? [this.selections(table.selections)] : [];
    const rest = others.length ? [el("details", { class: "others" }, el("summary", {}, `${others.length} not counted`), el("ul", {}, ...listed))] : [];
    this.root.replaceChildren(...named, el("h2", {}, "columns"), ...made, ...rest);
    this.asked += 1;
    for (const one of made) if (one.open) this.fill(one, this.asked);
  }

  /** Scores first, then classes and splits, texts, and last what only says where a row is from. */
  dullness(column) {
    if (column.is_key || DULL.test(column.name)) return 4;
    if (column.name.endsWith("__error")) return 3;
    if (column.family === "number") return 0;
    if (column.family === "other" || column.family === "numbers") return 3;
    return this.table.texts.includes(column.name) || WORDY.test(column.name) || column.family === "texts" ? 2 : 1;
  }

  /** Names of rows, each a filter. */
  selections(named) {
    const made = named.map((one) => {
      const use = this.value({ label: `@${one.name}`, count: one.num_rows, where: `@${one.name}` }, null, 0);
      use.title = `version ${one.version}${one.chosen_by ? `: ${one.chosen_by}` : ""}`;
      const away = this.forget ? [el("button", {
        type: "button", class: "quiet away-with", "aria-label": `remove the name @${one.name}`, title: "remove this name; its rows stay",
        onclick: () => this.forget(one.name),
      }, "×")] : [];
      return el("div", { class: "named" }, use, ...away);
    });
    return el("section", { class: "selections", "aria-label": "selections" }, el("h2", {}, "selections"), el("div", { class: "values" }, ...made));
  }

  facet(column) {
    const summary = el("summary", {}, told("span", column.name, "name"), el("span", { class: "type" }, column.type));
    if (column.made_by) summary.title = `made by ${column.made_by}`;
    const made = el("details", { open: this.open.has(column.name) }, summary, el("div", { class: "values" }));
    made.dataset.column = column.name;
    made.addEventListener("toggle", () => {
      if (made.open) { this.open.add(column.name); this.fill(made, this.asked); }
      else this.open.delete(column.name);
    });
    return made;
  }

  async fill(made, asked) {
    const column = made.dataset.column, place = made.querySelector(".values");
    if (made.dataset.asked === String(asked)) return;
    made.dataset.asked = String(asked);
    await new Promise((done) => setTimeout(done, PICTURES_FIRST_MS));
    if (this.asked !== asked) return;
    try {
      const facet = await get("facet", rowsQuery(this.table.version, { column }));
      if (this.asked !== asked) return;
      const shown = { bins: () => this.bins(facet), values: () => this.values(facet), told: () => [] }[facet.kind]();
      const words = facet.told ? [told("p", facet.told, "small")] : [];
      place.replaceChildren(...words, ...shown);
      for (const part of [facet.missing, ...facet.unordered]) if (part) place.append(this.value(part, facet.column, null));
    } catch (error) {
      place.replaceChildren(el("p", { class: "small" }, error.message));
    }
  }

  bins(facet) {
    if (!facet.parts.length) return [el("p", { class: "small" }, "no value")];
    const most = Math.max(...facet.parts.map((part) => part.count), 1);
    const bars = facet.parts.map((part) => {
      const bar = el("button", {
        type: "button", class: "bin", title: `${part.label}: ${whole(part.count)}`,
        "aria-label": `${facet.column} ${part.label}: ${counted(part.count, "row")}`, disabled: !part.count,
        onclick: () => this.filter.add(part.where, facet.column),
      }, el("span", { style: { height: `${part.count ? Math.max(4, (100 * part.count) / most) : 0}%` } }));
      return bar;
    });
    const ends = el("div", { class: "ends" }, el("span", {}, figure(facet.low)), el("span", {}, figure(facet.high)));
    const order = el("button", {
      type: "button", class: "quiet small", onclick: () => go({ sort: facet.column, descending: "1" }),
    }, "sort");
    ends.children[0].after(order);
    return [el("div", { class: "bins", role: "group", "aria-label": `values of ${facet.column}` }, ...bars), ends];
  }

  values(facet) {
    const most = Math.max(...facet.parts.map((part) => part.count), 1);
    if (most === 1 && facet.num_others) return [el("p", { class: "small" }, `${counted(facet.num_values, "value")}, each once`)];
    const made = facet.parts.map((part) => this.value(part, facet.column, part.count / most));
    if (facet.num_others) {
      const others = facet.num_values - facet.parts.length;
      made.push(el("p", { class: "small" }, `${whole(facet.num_others)} of ${whole(others)} other values`));
    }
    return made;
  }

  value(part, column, share) {
    const label = told("span", part.label === "" ? "(empty)" : part.label, share === null ? "label missing" : "label");
    const bar = el("span", { class: "share", style: { width: share === null ? "0" : `${100 * share}%` } });
    return el("button", { type: "button", class: "value", disabled: !part.where, onclick: () => this.filter.add(part.where, column) },
      bar, label, el("span", { class: "number" }, whole(part.count)));
  }
}
