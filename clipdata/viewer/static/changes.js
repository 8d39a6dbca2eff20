// Two versions held against each other: rows added, removed and changed, with their pictures.

import { get } from "./api.js";
import { counted, el, plain, told, whole } from "./dom.js";
import { current, go } from "./state.js";
import { strip } from "./strip.js";

export class Changes {
  constructor(actions) { this.actions = actions; }

  async show(root, table, versions) {
    const numbers = versions.versions.map((one) => String(one.version));
    const names = Object.entries(versions.tags).map(([name, version]) => [name, `${name} (${version})`]);
    const state = current();
    const to = state.to || numbers[0], from = state.from || numbers[1] || numbers[0];
    const select = (id, label, value, change) => el("label", { class: "field" }, el("span", {}, label),
      el("select", { id, onchange: (event) => go({ [change]: event.target.value, from: change === "from" ? event.target.value : from }) },
        ...[...names, ...versions.versions.map((one) => [String(one.version), `${one.version} · ${one.verb || one.operation.toLowerCase()}`])]
          .map(([name, words]) => el("option", { value: name, selected: name === value }, words))));
    const body = el("div", { class: "sections" }, el("p", { class: "small" }, "comparing …"));
    root.replaceChildren(el("div", { class: "bar tools" }, select("from", "from", from, "from"), select("to", "to", to, "to")), body);
    if (from === to) {
      body.replaceChildren(el("p", { class: "empty" }, "there is one version; nothing to hold it against"));
      return;
    }
    try {
      const where = state.where ? { where: state.where } : {};
      const found = await get("diff", new URLSearchParams({ from, to, ...where }));
      body.replaceChildren(...this.sections(found, table));
    } catch (error) {
      body.replaceChildren(el("p", { class: "error" }, error.message + (error.hint ? ` – ${error.hint}` : "")));
    }
  }

  sections(found, table) {
    const made = current().where ? [el("p", { class: "small" }, "of the rows that meet the filter, as they are after, or were before")] : [];
    for (const line of found.lacking) made.push(told("p", line));
    if (found.columns.length) {
      made.push(el("section", {}, el("h2", {}, "columns"), el("ul", { class: "plain" }, ...found.columns.map((line) => told("li", line)))));
    }
    for (const kind of ["added", "removed", "changed"]) {
      const count = found.counts[kind], rows = found[kind];
      if (!count) continue;
      const version = kind === "removed" ? found.before : found.after;
      const entries = rows.map((one) => ({
        row: one.row, label: one.key,
        lines: (one.values || []).slice(0, 3).map((value) => `${value.column}: ${plain(value.before) || "null"} → ${plain(value.after) || "null"}`),
      }));
      const shown = rows.length < count ? `, the first ${whole(rows.length)}` : "";
      made.push(el("section", {}, el("h2", {}, `${counted(count, "row")} ${kind}${shown}`),
        strip(entries, table, version, (row) => this.actions.open(row, version))));
    }
    if (current().where && !Object.values(found.counts).some(Boolean)) made.push(el("p", { class: "empty" }, "no row that meets the filter was added, removed or changed"));
    return made.length ? made : [el("p", { class: "empty" }, "the two versions are the same")];
  }
}
