// Pictures in a line: rows of changes and of groups, which stand outside the gallery.

import { pictureUrl } from "./api.js";
import { el, told } from "./dom.js";

export function strip(rows, table, version, open) {
  return el("ul", { class: "strip" }, ...rows.map((one) => {
    const inner = [];
    if (table.picture && one.row !== null) {
      const image = el("img", { alt: "", loading: "lazy", src: pictureUrl(version, one.row, 160) });
      image.addEventListener("error", () => image.replaceWith(told("span", "no picture", "none")));
      inner.push(el("span", { class: "frame" }, image));
    }
    inner.push(told("span", one.label, "title"));
    const more = (one.lines || []).map((line) => told("span", line, "line"));
    const button = el("button", { type: "button", class: "chip", disabled: one.row === null, onclick: () => open(one.row) }, ...inner, ...more);
    return el("li", {}, button);
  }));
}
