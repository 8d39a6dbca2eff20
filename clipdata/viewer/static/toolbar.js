// Version, order, scores side by side, and search.

import { get, sendPicture } from "./api.js";
import { byId, counted, el, told, whole } from "./dom.js";
import { current, go } from "./state.js";

const SORTABLE = ["number", "text", "boolean", "time"];

function fill(select, entries, value) {
  select.replaceChildren(...entries.map(([name, label]) => el("option", { value: name }, label)));
  select.value = value;
  if (select.value !== value) {
    select.append(el("option", { value }, value));
    select.value = value;
  }
}

export class Toolbar {
  constructor(fail) {
    this.fail = fail;
    const onchange = (id, change) => byId(id).addEventListener("change", (event) => change(event.target.value));
    onchange("version", (value) => go({ version: value, row: "" }));
    onchange("sort", (value) => go({ sort: value, descending: value === "~change" ? "1" : current().descending }));
    onchange("before", (value) => this.pair({ before: value }));
    onchange("after", (value) => this.pair({ after: value }));
    byId("direction").addEventListener("click", () => go({ descending: current().descending ? "" : "1" }));
    byId("search-form").addEventListener("submit", (event) => { event.preventDefault(); this.search(); });
    byId("search").addEventListener("search", () => { if (!byId("search").value) this.search(); });
    byId("by-picture").addEventListener("click", () => byId("picture-file").click());
    byId("picture-file").addEventListener("change", (event) => {
      this.searchBy(event.target.files[0]);
      event.target.value = "";
    });
    byId("by").addEventListener("change", () => { if (byId("search").value) this.search(); });
  }

  pair(changes) {
    const next = { ...current(), ...changes };
    if (next.sort === "~change" && !(next.before && next.after)) changes.sort = "";
    go(changes);
  }

  search() {
    const text = byId("search").value.trim(), by = byId("by").value;
    go({ text: by === "text" ? text : "", words: by === "words" ? text : "", like: "", picture: "" });
  }

  /** Search by a file that was chosen, dropped or pasted. */
  async searchBy(file) {
    if (!file) return;
    if (!this.canPicture) {
      this.fail({ message: "pictures are searched by a column of embeddings with a known model", hint: "clipdata map TABLE image-embedding embedding --model starter" });
      return;
    }
    try {
      const kept = await sendPicture(file);
      go({ picture: kept.picture, text: "", words: "", like: "", sort: "", lasso: "", view: "" });
    } catch (error) {
      this.fail(error);
    }
  }

  show(table) {
    const state = current();
    const numbers = table.columns.filter((column) => column.family === "number").map((column) => column.name);
    const sortable = table.columns.filter((column) => SORTABLE.includes(column.family)).map((column) => column.name);
    const change = state.before && state.after ? [["~change", `${state.after} − ${state.before}`]] : [];
    const own = state.text || state.words || state.like || state.picture ? "best match" : "as stored";
    fill(byId("sort"), [["", own], ...change, ...sortable.map((name) => [name, name])], state.sort);
    fill(byId("before"), [["", "–"], ...numbers.map((name) => [name, name])], state.before);
    fill(byId("after"), [["", "–"], ...numbers.map((name) => [name, name])], state.after);
    const direction = byId("direction");
    direction.textContent = state.descending ? "↓" : "↑";
    direction.setAttribute("aria-pressed", String(Boolean(state.descending)));
    direction.setAttribute("aria-label", "the highest first");
    direction.title = state.descending ? "the highest first" : "the lowest first";
    direction.disabled = !state.sort;
    for (const id of ["before", "after"]) byId(id).parentElement.hidden = numbers.length < 2;
    this.showSearch(table, state);
    this.showCount(table, state);
  }

  showSearch(table, state) {
    const ways = [];
    if (table.can.text) ways.push(["text", `by ${table.can.text.column}`]);
    if (table.can.words) ways.push(["words", `words in ${table.can.words}`]);
    byId("search-form").hidden = !ways.length;
    this.canPicture = Boolean(table.can.text);
    byId("by-picture").hidden = !this.canPicture;
    const asked = byId("asked");
    asked.hidden = !state.picture;
    if (state.picture) {
      asked.replaceChildren(el("img", { alt: "", src: `/asked/${state.picture}` }), told("span", table.asked || "picture", "name"),
        el("button", { type: "button", class: "quiet", "aria-label": "do not search by this picture", onclick: () => go({ picture: "" }) }, "×"));
    }
    fill(byId("by"), ways.length ? ways : [["", ""]], state.words ? "words" : ways.length ? (state.text ? "text" : ways[0][0]) : "");
    byId("by-field").hidden = ways.length < 2;
    byId("search").placeholder = ways.length ? (ways.length > 1 ? "a red house" : ways[0][1]) : "";
    if (document.activeElement !== byId("search")) byId("search").value = state.text || state.words;
  }

  showCount(table, state) {
    const all = table.num_found === table.num_rows && !state.where;
    const what = table.kind === "folder" ? "pictures" : "rows";
    const like = state.like ? ` like row ${state.like}` : state.picture ? " like the picture" : "";
    const count = all && !like
      ? counted(table.num_rows, what.slice(0, -1)) : `${whole(table.num_found)}${like} of ${whole(table.num_rows)} ${what}`;
    byId("count").textContent = [count, ...table.notes].join(", ");
  }

  async showVersions(table) {
    byId("version-field").hidden = !table.can.versions;
    if (!table.can.versions) return null;
    const found = await get("versions", new URLSearchParams());
    const entries = [["", `newest (${found.versions[0]?.version ?? table.version})`]];
    for (const [name, version] of Object.entries(found.tags)) entries.push([name, `${name} (${version})`]);
    for (const one of found.versions) {
      const what = one.verb || one.operation.toLowerCase();
      entries.push([String(one.version), `${one.version} · ${what} · ${one.when.slice(0, 16).replace("T", " ")}`]);
    }
    fill(byId("version"), entries, current().version);
    return found;
  }
}
