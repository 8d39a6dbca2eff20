// "Copy as": the same rows as a command and as Python, and the link to this view.

import { get } from "./api.js";
import { byId, el } from "./dom.js";
import { rowsQuery, current } from "./state.js";

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
      this.popup.replaceChildren(this.part("command", told.command), this.part("Python", told.python), this.part("link", link));
      this.popup.hidden = false;
      this.button.setAttribute("aria-expanded", "true");
    } catch (error) {
      this.actions.fail(error);
    }
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
