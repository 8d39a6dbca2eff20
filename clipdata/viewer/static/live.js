// What happens meanwhile: a newer version of the table, and the figures of a run as they come.

import { get } from "./api.js";
import { byId, el, figure, told } from "./dom.js";
import { current } from "./state.js";

const EVERY_MS = 4000, ROWS_FIRST_MS = 300, WIDE = 150, TALL = 34, MOST = 4000;
const SVG = "http://www.w3.org/2000/svg";
const TELLING = /loss|accuracy|recall|top1|top5|rate|lr/i;

export class Watching {
  constructor(actions) {
    this.actions = actions;
    this.until = 0;
    this.series = new Map();
    this.place = el("section", { class: "run", "aria-label": "run", hidden: true });
    byId("facets").before(this.place);
    setTimeout(() => this.tick(), ROWS_FIRST_MS);
  }

  async tick() {
    if (!document.hidden) {
      try {
        const before = this.actions.seen();
        const now = await get("live", new URLSearchParams({ since: this.until }));
        if (now.run) this.draw(now.run);
        if (before && before === this.actions.seen()) await this.compare(before, now.version);
      } catch (error) {
        this.actions.fail(error);
      }
    }
    setTimeout(() => this.tick(), EVERY_MS);
  }

  async compare(table, version) {
    if (version === null || current().version || version === table.version) return;
    this.actions.say(`version ${version} of the table is there`);
    await this.actions.changed();
  }

  draw(run) {
    if (run.restarted) this.series.clear();
    this.until = run.until;
    for (const line of run.lines) {
      for (const [name, value] of Object.entries(line)) {
        if (name === "step" || name === "epoch" || !TELLING.test(name)) continue;
        if (!this.series.has(name)) this.series.set(name, []);
        const values = this.series.get(name);
        values.push([line.step ?? values.length, value]);
        if (values.length > MOST) values.splice(0, values.length - MOST);
      }
    }
    if (!run.lines.length && !this.place.hidden) return;
    const shown = [...this.series].filter(([, values]) => values.length).slice(0, 6);
    this.place.hidden = false;
    const charts = shown.map(([name, values]) => el("figure", {}, el("figcaption", {}, told("span", name, "name"),
      el("span", { class: "number" }, figure(values.at(-1)[1]))), line(values)));
    this.place.replaceChildren(told("h2", `run ${run.name}`), ...(charts.length ? charts : [el("p", { class: "small" }, "no figure yet")]));
  }
}

function line(values) {
  const made = document.createElementNS(SVG, "svg");
  made.setAttribute("viewBox", `0 0 ${WIDE} ${TALL}`);
  made.setAttribute("aria-hidden", "true");
  const numbers = values.map(([, value]) => value), steps = values.map(([step]) => step);
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)], [from, to] = [steps[0], steps.at(-1)];
  const points = values.map(([step, value]) => {
    const x = to > from ? ((step - from) / (to - from)) * WIDE : WIDE / 2;
    const y = high > low ? TALL - 2 - ((value - low) / (high - low)) * (TALL - 4) : TALL / 2;
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  });
  const path = document.createElementNS(SVG, "polyline");
  path.setAttribute("points", points.join(" "));
  made.append(path);
  return made;
}
