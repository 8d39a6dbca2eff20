// What went wrong with rows: steps that failed on one, and files that were refused.

import { get } from "./api.js";
import { el, told, whole } from "./dom.js";
import { go } from "./state.js";

export async function showFailures(root, table) {
  root.replaceChildren(el("p", { class: "small" }, "reading …"));
  const query = new URLSearchParams(table.version === null ? {} : { version: table.version });
  try {
    const found = await get("failures", query);
    const steps = found.failures.filter((one) => one.column !== null);
    const made = [];
    if (steps.length) made.push(el("section", {}, el("h2", {}, "rows on which a step failed"), stepsTable(steps)));
    if (found.num_rejects) {
      const more = found.rejects.length < found.num_rejects ? `, the first ${whole(found.rejects.length)}` : "";
      made.push(el("section", {}, el("h2", {}, `${whole(found.num_rejects)} refused${more}`), rejectsTable(found.rejects)));
    }
    root.replaceChildren(el("div", { class: "sections" }, ...(made.length ? made
      : [el("p", { class: "empty" }, "no step failed on a row, and nothing was refused")])));
  } catch (error) {
    root.replaceChildren(el("p", { class: "error" }, error.message));
  }
}

function grid(names, rows) {
  return el("div", { class: "wide", tabIndex: 0, role: "region", "aria-label": "table" }, el("table", {},
    el("thead", {}, el("tr", {}, ...names.map((name) => el("th", { scope: "col" }, name)))), el("tbody", {}, ...rows)));
}

function stepsTable(steps) {
  return grid(["column", "reason", "rows", "such as"], steps.map((one) => {
    const literal = one.reason.replaceAll("'", "''");
    const where = `\`${one.column}__error\` LIKE '${literal}%'`;
    const open = el("button", { type: "button", class: "link", onclick: () => go({ view: "", where, sort: "" }) });
    open.textContent = one.reason;
    return el("tr", {}, told("td", one.column), el("td", {}, open), el("td", { class: "number" }, whole(one.count)),
      told("td", one.examples.map((example) => `${example.row}: ${example.reason}`).join("; ")));
  }));
}

function rejectsTable(rejects) {
  return grid(["path", "reason", "detail"], rejects.map((one) => el("tr", {}, told("td", one.path ?? ""),
    told("td", one.reason ?? ""), told("td", one.detail ?? ""))));
}
