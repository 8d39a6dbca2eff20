// A card: a picture, what it is called, its texts, and its scores before and after.

import { pictureUrl } from "./api.js";
import { el, figure, plain, told } from "./dom.js";

const PICTURE = 148, LINE = 17;

/** What a card of a table shows, and how high that makes it. */
export function cardLayout(table, state) {
  const columns = table.columns;
  const has = (name) => columns.some((column) => column.name === name && column.family !== "bytes");
  const scores = [state.before, state.after].filter(has);
  const sorted = state.sort && state.sort !== "~change" && has(state.sort) && !scores.includes(state.sort);
  const extra = sorted && state.sort !== table.title && !table.texts.includes(state.sort) ? state.sort : null;
  const failures = table.failures.filter((name) => state.where.includes(name)).slice(0, 1);
  const texts = [...failures, ...table.texts].slice(0, 2);
  const picture = table.picture ? PICTURE : 0;
  const height = picture + (table.title ? LINE : 0) + (texts.length ? 3 : 0) * LINE
    + (scores.length ? LINE + 2 : 0) + (extra ? LINE : 0) + 18;
  const shown = [...new Set([table.title, ...texts, ...scores, extra].filter(Boolean))];
  return { title: table.title, texts, scores, extra, picture, height, columns: shown };
}

export function emptyCard(place, layout) {
  const frame = layout.picture ? el("div", { class: "frame" }) : null;
  return el("div", { class: "card waiting", role: "option", id: `card-${place}`, "aria-selected": "false" }, frame);
}

/** Put a row into a card. */
export function fillCard(card, row, layout, version) {
  card.classList.remove("waiting");
  card.dataset.row = row.row;
  const title = layout.title ? plain(row.cells[layout.title]) : `row ${row.row}`;
  const parts = [];
  if (layout.picture) parts.push(frameOf(version, row.row, title));
  if (layout.title) parts.push(told("div", title || "–", "title"));
  if (layout.texts.length) {
    parts.push(el("div", { class: "texts" }, ...layout.texts.map((name) =>
      told("div", plain(row.cells[name]), name.endsWith("__error") ? "text failed" : "text"))));
  }
  if (layout.scores.length) parts.push(scoresOf(row.cells, layout.scores));
  if (layout.extra) parts.push(el("div", { class: "extra" }, told("span", layout.extra, "name"),
    told("span", plain(row.cells[layout.extra]) || "–", "value")));
  card.replaceChildren(...parts);
}

function frameOf(version, row, title) {
  const frame = el("div", { class: "frame" });
  const image = el("img", { alt: title, decoding: "async", draggable: false });
  image.addEventListener("load", () => frame.classList.add("drawn"));
  image.addEventListener("error", () => {
    if (!image.hasAttribute("src")) return;
    frame.replaceChildren(told("span", "no picture", "none"));
    tellWhy(frame, image.src);
  });
  image.src = pictureUrl(version, row, 320);
  frame.append(image);
  return frame;
}

/** Say in an empty frame why there is no picture: the server knows, and the browser keeps it to itself. */
async function tellWhy(frame, address) {
  try {
    const answer = await fetch(address, { credentials: "same-origin", cache: "no-store" });
    if (!answer.ok) frame.replaceChildren(told("span", (await answer.json()).error, "none"));
  } catch {
    // the server has ended, which is said elsewhere
  }
}

export function scoresOf(cells, names) {
  const values = names.map((name) => cells[name]);
  const made = el("div", { class: "scores" });
  made.append(told("span", figure(values[0]), "value"));
  if (names.length === 2) {
    made.append(el("span", { class: "arrow", "aria-hidden": "true" }, "→"), told("span", figure(values[1]), "value"));
    if (values.every((value) => typeof value === "number")) {
      const change = values[1] - values[0];
      const way = change > 0 ? "up" : change < 0 ? "down" : "same";
      made.append(told("span", `${change > 0 ? "+" : change < 0 ? "−" : ""}${figure(Math.abs(change))}`, way));
    }
  }
  made.title = names.join(" → ");
  return made;
}

/** Take a card's picture off the network when the card goes out of sight. */
export function dropCard(card) {
  card.querySelector("img")?.removeAttribute("src");
  card.remove();
}
