// Rows that belong together, such as near duplicates: a threshold, and one decision on all but the first of each.

import { get } from "./api.js";
import { counted, el, figure, told, whole } from "./dom.js";
import { current, go, rowsQuery } from "./state.js";
import { strip } from "./strip.js";

const FEW = 3;
const LIKELY = /(duplicate|cluster|group)/i;

export class Groups {
  constructor(actions, choice) {
    this.actions = actions;
    this.choice = choice;
  }

  async show(root, table) {
    const state = current();
    const able = table.columns.filter((column) => ["text", "number"].includes(column.family)).map((column) => column.name);
    const likely = able.filter((name) => LIKELY.test(name) && !name.endsWith("__error"));
    const column = state.column || likely[0] || (able.includes("sha256") ? "sha256" : able[0]);
    const numbers = table.columns.filter((one) => one.family === "number").map((one) => one.name);
    if (!column) {
      root.replaceChildren(el("p", { class: "empty" }, "no column puts rows together; clipdata map can make one: NearDuplicates"));
      return;
    }
    const pick = (id, label, names, value, change) => el("label", { class: "field" }, el("span", {}, label),
      el("select", { id, onchange: (event) => change(event.target.value) },
        ...names.map((name) => el("option", { value: name, selected: name === value }, name || "–"))));
    this.bar = el("div", { class: "bar tools" },
      pick("group-column", "together by", [...new Set([...likely, ...able])], column, (value) => go({ column: value, score: "", least: "" })),
      pick("group-score", "threshold on", ["", ...numbers], state.score, (value) => go({ score: value, least: "" })));
    this.body = el("div", { class: "sections packed" });
    root.replaceChildren(this.bar, this.body);
    await this.load(table, column);
  }

  async load(table, column) {
    const { score, least } = current();
    try {
      const more = { column, ...(score ? { score } : {}), ...(least ? { least } : {}) };
      const found = await get("groups", rowsQuery(table.version, more));
      this.controls(table, column, found, score, least);
      const sections = found.groups.map((group) => el("section", { class: group.rows.length > FEW ? "many" : null },
        el("h2", {}, told("span", String(group.value)), el("span", { class: "count" }, ` ${counted(group.count, "row")}`)),
        strip(group.rows.map((row) => ({ row, label: found.labels[row] || `row ${row}` })), table, table.version, (row) => this.actions.open(row))));
      this.body.replaceChildren(...(sections.length ? sections : [el("p", { class: "empty" }, "no two rows share a value")]));
    } catch (error) {
      this.body.replaceChildren(el("p", { class: "error" }, error.message));
    }
  }

  controls(table, column, found, score, least) {
    this.bar.querySelectorAll(".loaded").forEach((one) => one.remove());
    const parts = [];
    if (score && found.low !== null) {
      const value = least || found.low;
      const label = el("span", { class: "number" }, figure(Number(value)));
      parts.push(el("label", { class: "field loaded" }, el("span", {}, "at least"), el("input", {
        type: "range", id: "least", min: String(found.low), max: String(found.high), step: "any", value: String(value),
        oninput: (event) => { label.textContent = figure(Number(event.target.value)); },
        onchange: (event) => {
          go({ least: Number(event.target.value).toPrecision(6) }, true);
          this.load(table, column);
        },
      }), label));
    }
    const cut = found.groups.length < found.num_groups ? `, the largest ${found.groups.length} shown` : "";
    parts.push(el("p", { class: "count loaded" }, `${counted(found.num_groups, "group")}, ${counted(found.num_rows, "row")}${cut}`));
    if (this.choice.can && found.num_spare) {
      const value = el("input", { type: "text", value: "duplicate", size: 10, "aria-label": "decision on all but the first" });
      parts.push(el("form", { class: "group loaded", onsubmit: (event) => {
        event.preventDefault();
        const groups = { column, score: score || null, least: least ? Number(least) : null };
        this.choice.decideOn({ groups }, value.value.trim());
      } }, value, el("button", {}, `write on ${whole(found.num_spare)}, all but the first of each`)));
    }
    this.bar.append(...parts);
  }
}
