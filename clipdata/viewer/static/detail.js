// One row: its picture as large as there is room, and all its columns with what made them.

import { get, pictureUrl } from "./api.js";
import { byId, el, plain, told } from "./dom.js";
import { current, go } from "./state.js";

export class Detail {
  constructor(actions) {
    this.root = byId("detail");
    this.actions = actions;
    this.asked = 0;
  }

  get isOpen() { return !this.root.hidden; }

  async open(table, row) {
    const asked = (this.asked += 1);
    go({ row: String(row) }, true);
    try {
      const query = new URLSearchParams({ row });
      if (table.version !== null) query.set("version", table.version);
      const found = await get("row", query);
      if (asked !== this.asked) return;
      const wasHidden = this.root.hidden;
      this.root.hidden = false;
      this.root.replaceChildren(...this.parts(table, row, found.cells));
      if (wasHidden && matchMedia("(max-width: 720px)").matches) this.root.querySelector(".close").focus();
    } catch (error) {
      this.actions.fail(error);
    }
  }

  close() {
    this.asked += 1;
    this.root.hidden = true;
    this.root.replaceChildren();
    go({ row: "" }, true);
  }

  parts(table, row, cells) {
    const name = table.title ? plain(cells[table.title]) : `row ${row}`;
    const head = el("div", { class: "head" }, told("h2", name || `row ${row}`),
      el("button", { type: "button", class: "quiet close", "aria-label": "close", onclick: () => this.actions.close() }, "×"));
    const made = [head];
    if (table.picture) {
      const image = el("img", { alt: name, src: pictureUrl(table.version, row, 1600) });
      const frame = el("div", { class: "full" }, image);
      image.addEventListener("error", () => this.explain(frame, table.version, row));
      made.push(frame);
    }
    if (table.can.like) {
      made.push(el("div", { class: "row-tools" }, el("button", {
        type: "button", onclick: () => go({ like: String(row), text: "", words: "", picture: "", sort: "", lasso: "", view: "" }),
      }, "rows alike")));
    }
    made.push(el("dl", {}, ...table.columns.filter((column) => column.name in cells)
      .flatMap((column) => this.entry(column, cells[column.name]))));
    return made;
  }

  async explain(frame, version, row) {
    const response = await fetch(pictureUrl(version, row, 1600), { credentials: "same-origin" });
    let why = "no picture";
    if (!response.ok) why = (await response.json().catch(() => ({}))).error || why;
    frame.replaceChildren(told("span", why, "none"));
  }

  entry(column, value) {
    const term = el("dt", {}, told("span", column.name, "name"), column.is_key ? el("span", { class: "badge" }, "key") : null);
    const empty = value === null || value === undefined;
    const given = el("dd", {}, ...(Array.isArray(value)
      ? [el("ol", {}, ...value.map((one) => told("li", plain(one))))]
      : [told("span", empty ? "null" : typeof value === "number" ? String(value) : plain(value), empty ? "null" : "")]));
    if (column.made_by) {
      const words = `made by ${column.model ? `${column.model}: ` : ""}${column.made_by}`;
      const hint = told("span", words, "lineage");
      hint.id = `lineage-${column.name}`;
      const more = el("button", { type: "button", class: "made", "aria-label": `what made ${column.name}`, "aria-describedby": hint.id }, "ƒ");
      term.append(more, hint);
    }
    return [term, given];
  }
}
