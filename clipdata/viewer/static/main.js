// The page: puts its parts together, and asks anew when the state changes.

import { get } from "./api.js";
import { Changes } from "./changes.js";
import { Copying } from "./copying.js";
import { Detail } from "./detail.js";
import { byId, el } from "./dom.js";
import { Choice } from "./edit.js";
import { Facets } from "./facets.js";
import { showFailures } from "./failures.js";
import { FilterBox } from "./filter.js";
import { Gallery } from "./gallery.js";
import { Groups } from "./groups.js";
import { Watching } from "./live.js";
import { RowMap } from "./map.js";
import { current, go, rowsQuery, sameRows, watch } from "./state.js";
import { Toolbar } from "./toolbar.js";

const TABS = [["", "gallery"], ["map", "map"], ["groups", "duplicates"], ["changes", "changes"], ["failures", "failures"]];

const ROWS_FIRST_MS = 250;

let table = null, versions = null, asked = 0;
const main = byId("main");

const say = (text) => { byId("news").textContent = text; byId("news").classList.remove("wrong"); };
const fail = (error) => {
  byId("news").textContent = error.message + (error.hint ? ` – ${error.hint}` : "");
  byId("news").classList.add("wrong");
};

const filter = new FilterBox(), toolbar = new Toolbar(fail), facets = new Facets(filter, fail);
const detail = new Detail({ fail, close: () => closeDetail() });
const openRow = (row, version = table.version) => detail.open({ ...table, version }, row);
const choice = new Choice({ say, fail, redraw: () => gallery.render(), changed: () => load(true, true) });
const gallery = new Gallery({
  fail,
  open: (row) => row && openRow(row.row),
  moved: (row) => { if (row && detail.isOpen) openRow(row.row); },
  choose: (row) => choice.only(row),
  toggle: (row) => choice.toggle(row),
  extend: (from, to) => choice.extend(from, to),
  isChosen: (row) => choice.has(row),
});
new Copying({ fail, keep: choice.can ? (name) => choice.keepAll(name) : null, columns: () => (gallery.layout ? gallery.layout.columns : []) });
const changes = new Changes({ open: openRow }), rowMap = new RowMap({ fail, open: openRow });
if (choice.can) facets.forget = (name) => choice.forget(name);
const groups = new Groups({ open: openRow }, choice);

function closeDetail() {
  detail.close();
  gallery.root.focus();
}

/** What stands in the page already, once: the answer for all rows of its version. */
function takeTold(query) {
  const place = byId("told"), given = place?.textContent;
  place?.remove();
  return given && [...query.keys()].every((name) => name === "version") ? JSON.parse(given) : null;
}

/** Ask what the state's table is, and show it. */
async function load(keep = false, anew = false) {
  const mine = (asked += 1);
  main.setAttribute("aria-busy", "true");
  try {
    const query = rowsQuery(current().version || null);
    const found = takeTold(query) ?? await get("table", query);
    if (mine !== asked) return;
    const first = table === null;
    table = found;
    main.classList.remove("stale");
    filter.fail(null);
    filter.show(table.columns, table.selections);
    toolbar.show(table);
    showTabs();
    choice.show(table);
    showView(keep);
    facets.show(table);
    if (first && document.activeElement === document.body) gallery.root.focus({ preventScroll: true });
    if (first || anew) {
      if (first && current().row) openRow(Number(current().row));
      setTimeout(listVersions, first ? ROWS_FIRST_MS : 0);
    }
  } catch (error) {
    if (mine !== asked) return;
    if (current().where || current().lasso) filter.fail(error);
    else fail(error);
    main.classList.add("stale");  // what is seen is of the state before
    if (table === null) await showFailed(error);
  } finally {
    if (mine === asked) main.removeAttribute("aria-busy");
  }
}

/** The page of a link whose rows cannot be told: with its filter to be mended, and all that is known without. */
async function showFailed(error) {
  main.replaceChildren(el("p", { class: "empty" }, error.message));
  try {
    const version = current().version;
    table = { ...(await get("table", new URLSearchParams(version ? { version } : {}))), num_found: 0 };
  } catch {
    return;
  }
  filter.show(table.columns, table.selections);
  toolbar.show(table);
  showTabs();
  choice.show(table);
  await listVersions();
}

async function listVersions() {
  try {
    versions = await toolbar.showVersions(table);
    if (current().view === "changes") showView(true);
  } catch (error) {
    fail(error);
  }
}

function showTabs() {
  const able = { "": true, map: true, groups: true, changes: table.can.versions, failures: table.can.versions };
  byId("tabs").replaceChildren(...TABS.filter(([name]) => able[name]).map(([name, words]) => el("button", {
    type: "button", "aria-current": current().view === name ? "page" : null, onclick: () => go({ view: name }),
  }, words)));
}

function showView(keep) {
  const view = current().view;
  if (view === "map") rowMap.show(main, table);
  else if (view === "groups") groups.show(main, table);
  else if (view === "changes") {
    if (versions) changes.show(main, table, versions);
  } else if (view === "failures") showFailures(main, table);
  else {
    if (gallery.root.parentElement !== main) main.replaceChildren(gallery.root);
    gallery.show(table, keep);
  }
}

watch((now, before) => {
  if (!table || !sameRows(now, before)) { load(false, now.version !== before.version); return; }
  if (now.view !== before.view || now.column !== before.column || now.score !== before.score || now.least !== before.least
    || now.from !== before.from || now.to !== before.to) { showTabs(); showView(true); }
  if (now.row !== before.row) {
    if (now.row) openRow(Number(now.row));
    else detail.close();
  }
});

document.addEventListener("keydown", (event) => {
  const isTyping = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
  if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    byId("filter").focus();
    byId("filter").select();
  } else if (event.key === "Escape" && detail.isOpen && !document.querySelector("dialog[open]")) closeDetail();
});

/** Files that are dropped or pasted anywhere are searched by. */
const carries = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
document.addEventListener("dragover", (event) => {
  if (!carries(event)) return;
  event.preventDefault();
  document.body.classList.add("dropping");
});
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dropping"); });
document.addEventListener("drop", (event) => {
  if (!carries(event)) return;
  event.preventDefault();
  document.body.classList.remove("dropping");
  toolbar.searchBy(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files || [])].find((one) => one.type.startsWith("image/"));
  if (file) toolbar.searchBy(file);
});

byId("columns").addEventListener("click", () => {
  const isOpen = document.body.classList.toggle("with-facets");
  byId("columns").setAttribute("aria-expanded", String(isOpen));
});

load().then(() => {
  const seen = () => (main.hasAttribute("aria-busy") ? null : table);  // what is being asked anew is no news
  new Watching({ seen, say, fail, changed: () => load(true, true) });
});
