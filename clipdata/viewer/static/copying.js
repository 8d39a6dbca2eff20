// "Copy as": the same rows as a command and as Python, and the link to this view.

import { get } from "./api.js";
import { byId, el } from "./dom.js";
import { current, go, rowsQuery } from "./state.js";

export class Copying {
  constructor(actions) {
    this.actions = actions;
    this.button = byId("copy");
    this.popup = byId("copies");
    this.button.addEventListener("click", () => (this.popup.hidden ? this.open() : this.close()));
    document.addEventListener("click", (event) => {
      if (!event.target.closest("#copy-menu")) this.close();
    });
    byId("copy-menu").addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !this.popup.hidden) { this.close(); this.button.focus(); event.stopPropagation(); }
    });
  }

  close() {
    this.popup.hidden = true;
    this.button.setAttribute("aria-expanded", "false");
  }

  async open() {
    try {
      const shown = { column: this.actions.columns() };
      if (current().view) shown.link = location.search.slice(1);  // a tab that no query says
      const told = await get("commands", rowsQuery(current().version || null, shown));
      const link = location.origin + location.pathname + location.search;
      const parts = [this.part("command", told.command), this.part("Python", told.python), this.part("link", link)];
      this.popup.replaceChildren(...(current().lasso ? [this.shorter()] : []), ...parts);
      this.popup.hidden = false;
      this.button.setAttribute("aria-expanded", "true");
    } catch (error) {
      this.actions.fail(error);
    }
  }

  /** The corners of a lasso are a long list: its rows under a name are a short one. */
  shorter() {
    if (!this.actions.keep) return el("p", { class: "small" }, "a lasso is told by its corners; with --edit its rows can be kept under a name, which is shorter");
    const name = el("input", { type: "text", size: 12, id: "lasso-name", placeholder: "island", required: true, dir: "auto" });
    return el("form", { class: "group", "aria-label": "shorten", onsubmit: async (event) => {
      event.preventDefault();
      const done = await this.actions.keep(name.value.trim().replace(/^@/, ""));
      if (!done) return;
      go({ where: `@${done.name}`, lasso: "" });
      await this.open();
    } }, el("label", { class: "field" }, el("span", {}, "keep these rows as @"), name), el("button", {}, "keep, and copy that"));
  }

  part(name, text) {
    const shown = el("pre", { tabIndex: 0, "aria-label": name });
    shown.textContent = text;
    const copy = el("button", { type: "button", onclick: async () => {
      try {
        await navigator.clipboard.writeText(text);
        copy.textContent = "copied";
      } catch {
        getSelection().selectAllChildren(shown);
        copy.textContent = "press Ctrl+C";
      }
      setTimeout(() => { copy.textContent = "copy"; }, 1500);
    } }, "copy");
    return el("div", { class: "copied" }, el("div", { class: "head" }, el("h3", {}, name), copy), shown);
  }
}
