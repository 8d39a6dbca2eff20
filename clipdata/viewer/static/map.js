// The map: rows as points; near enough, their pictures stand in for the points. A lasso round some becomes a filter.

import { getBytes, pictureUrl } from "./api.js";
import { counted, el, told, whole } from "./dom.js";
import { current, go, rowsQuery } from "./state.js";

const NEAR = 90, SIDE = 56, MOST_PICTURES = 400, MOST_CORNERS = 96, MARGIN = 24;

/** A sentence in place of a map, and what to type. */
function nothing(words, command) {
  const made = el("div", { class: "empty" }, el("p", {}, words));
  if (command) made.append(told("pre", command));
  return made;
}

export class RowMap {
  constructor(actions) {
    this.actions = actions;
    this.pictures = new Map();
  }

  async show(root, table) {
    this.table = table;
    const state = current();
    const axes = table.axes.map(([x, y]) => [JSON.stringify([x, y]), y ? `${x}, ${y}` : `${x} (two main axes)`]);
    if (!axes.length) {
      root.replaceChildren(nothing("A map needs two columns of numbers such as x and y, or a column of embeddings, and there is none. "
        + "This makes one of the pictures:", table.kind === "table" ? `clipdata map ${table.typed} image-embedding embedding --model starter`
        : `clipdata ingest ${table.kind === "parquet" ? "parquet" : "images"} ${table.typed} --into TABLE.lance`));
      return;
    }
    if (!table.num_found) {
      root.replaceChildren(nothing(table.num_rows ? "No row meets this filter, so there is nothing to draw." : "There are no rows yet.", null));
      return;
    }
    if (!state.x) go({ x: table.axes[0][0], y: table.axes[0][1] || "" }, true);
    const chosen = JSON.stringify([current().x, current().y || null]);
    const select = el("select", { id: "axes", onchange: (event) => {
      const [x, y] = JSON.parse(event.target.value);
      go({ x, y: y || "", lasso: "" });
    } }, ...axes.map(([value, words]) => el("option", { value, selected: value === chosen }, words)));
    this.mode = el("button", { type: "button", id: "lasso", "aria-pressed": "false", onclick: () => this.setLasso(!this.lassoing) }, "lasso");
    const clear = el("button", { type: "button", class: "quiet", hidden: !current().lasso, onclick: () => go({ lasso: "" }) }, "no lasso");
    const look = el("button", { type: "button", hidden: !current().lasso, onclick: () => go({ view: "" }) }, "look at them");
    const fit = el("button", { type: "button", class: "quiet", onclick: () => { this.fit(); this.draw(); } }, "whole map");
    this.told = el("p", { class: "count" });
    this.canvas = el("canvas", {
      tabIndex: 0, role: "application",
      "aria-label": "map of the rows: arrows move, + and − zoom, L draws a lasso round what is in sight",
    });
    root.replaceChildren(el("div", { class: "bar tools" }, el("label", { class: "field" }, el("span", {}, "axes"), select),
      this.mode, look, clear, fit, this.told), el("div", { class: "map" }, this.canvas));
    this.listen();
    this.setLasso(false);
    await this.load();
  }

  async load() {
    try {
      const data = await getBytes("points", rowsQuery(this.table.version));
      this.num = data.byteLength / 12;
      this.rows = new Uint32Array(data, 0, this.num);
      this.xs = new Float32Array(data, 4 * this.num, this.num);
      this.ys = new Float32Array(data, 8 * this.num, this.num);
      this.told.textContent = this.table.num_found > this.num && !current().lasso
        ? `${whole(this.num)} of ${whole(this.table.num_found)} rows` : `${counted(this.num, "row")}`;
      if (current().lasso) this.told.textContent = `${whole(this.table.num_found)} of ${whole(this.num)} rows inside`;
      this.canvas.dataset.points = this.num;
      if (!this.num && !current().lasso) {
        this.canvas.parentElement.replaceWith(nothing(`None of the ${counted(this.table.num_found, "row")} has a place here: ${current().x} holds no value.`, null));
        return;
      }
      this.fit();
      this.draw();
    } catch (error) {
      this.actions.fail(error);
    }
  }

  listen() {
    const canvas = this.canvas;
    new ResizeObserver(() => this.xs && canvas.isConnected && this.draw()).observe(canvas);
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.from = [event.offsetX, event.offsetY];
      this.moved = false;
      if (this.lassoing) this.path = [[event.offsetX, event.offsetY]];
    });
    canvas.addEventListener("pointermove", (event) => this.dragged(event));
    canvas.addEventListener("pointerup", (event) => this.released(event));
    canvas.addEventListener("keydown", (event) => this.typed(event));
  }

  setLasso(on) {
    this.lassoing = on;
    this.mode.setAttribute("aria-pressed", String(on));
    this.canvas.classList.toggle("lassoing", on);
  }

  dragged(event) {
    if (!this.from) return;
    const to = [event.offsetX, event.offsetY];
    this.moved ||= Math.hypot(to[0] - this.from[0], to[1] - this.from[1]) > 3;
    if (this.lassoing) this.path.push(to);
    else if (this.moved) {
      this.centre = [this.centre[0] - (to[0] - this.from[0]) / this.scale, this.centre[1] + (to[1] - this.from[1]) / this.scale];
      this.from = to;
    }
    this.draw();
  }

  released(event) {
    if (!this.from) return;
    this.from = null;
    if (this.lassoing && this.path.length > 2) { this.close(this.path); return; }
    this.path = null;
    if (!this.moved) {
      const near = this.nearest(event.offsetX, event.offsetY);
      if (near !== null) this.actions.open(this.rows[near]);
    }
  }

  /** Make a polygon on the canvas the lasso of the view. */
  close(path) {
    const step = Math.max(1, Math.ceil(path.length / MOST_CORNERS));
    const corners = path.filter((_, place) => place % step === 0).map(([x, y]) => this.placed(x, y));
    this.path = null;
    this.setLasso(false);
    if (corners.length < 3) return;
    go({ lasso: corners.flat().map((number) => Number(number.toPrecision(6))).join(",") });
  }

  typed(event) {
    const far = 60 / this.scale;
    const moves = { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, far], ArrowDown: [0, -far] };
    const { clientWidth: wide, clientHeight: high } = this.canvas;
    if (event.key in moves) this.centre = this.centre.map((value, axis) => value + moves[event.key][axis]);
    else if (event.key === "+" || event.key === "=") this.zoom(1.4, wide / 2, high / 2);
    else if (event.key === "-") this.zoom(1 / 1.4, wide / 2, high / 2);
    else if (event.key.toLowerCase() === "l") { this.close([[0, 0], [wide, 0], [wide, high], [0, high]]); return; }
    else if (event.key === "Enter") {
      const near = this.nearest(wide / 2, high / 2, Infinity);
      if (near !== null) this.actions.open(this.rows[near]);
    } else return;
    event.preventDefault();
    this.draw();
  }

  zoom(factor, x, y) {
    const [atX, atY] = this.placed(x, y);
    this.scale *= factor;
    const [nowX, nowY] = this.placed(x, y);
    this.centre = [this.centre[0] + atX - nowX, this.centre[1] + atY - nowY];
    this.draw();
  }

  fit() {
    let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let place = 0; place < this.num; place += 1) {
      left = Math.min(left, this.xs[place]); right = Math.max(right, this.xs[place]);
      low = Math.min(low, this.ys[place]); high = Math.max(high, this.ys[place]);
    }
    if (!this.num) [left, right, low, high] = [-1, 1, -1, 1];
    const { clientWidth: wide, clientHeight: tall } = this.canvas;
    this.centre = [(left + right) / 2, (low + high) / 2];
    this.scale = Math.min((wide - 2 * MARGIN) / (right - left || 1), (tall - 2 * MARGIN) / (high - low || 1));
    this.whole = this.scale;
  }

  shown(x, y) {
    return [this.canvas.clientWidth / 2 + (x - this.centre[0]) * this.scale, this.canvas.clientHeight / 2 - (y - this.centre[1]) * this.scale];
  }

  placed(x, y) {
    return [this.centre[0] + (x - this.canvas.clientWidth / 2) / this.scale, this.centre[1] - (y - this.canvas.clientHeight / 2) / this.scale];
  }

  nearest(x, y, most = 20) {
    let found = null, best = most * most;
    for (let place = 0; place < this.num; place += 1) {
      const [atX, atY] = this.shown(this.xs[place], this.ys[place]);
      const far = (atX - x) ** 2 + (atY - y) ** 2;
      if (far < best) { best = far; found = place; }
    }
    return found;
  }

  draw() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => { this.frame = 0; this.paint(); });
  }

  paint() {
    const { clientWidth: wide, clientHeight: tall } = this.canvas;
    if (!wide || !tall) return;
    const dots = window.devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(wide * dots) || this.canvas.height !== Math.round(tall * dots)) {
      this.canvas.width = Math.round(wide * dots);
      this.canvas.height = Math.round(tall * dots);
    }
    const pen = this.canvas.getContext("2d"), style = getComputedStyle(this.canvas);
    pen.setTransform(dots, 0, 0, dots, 0, 0);
    pen.clearRect(0, 0, wide, tall);
    pen.fillStyle = style.getPropertyValue("--point");
    const seen = [];
    const size = this.num > 20000 ? 1.6 : this.num > 2000 ? 2.4 : 4;
    pen.globalAlpha = this.num > 20000 ? 0.5 : 0.75;
    for (let place = 0; place < this.num; place += 1) {
      const [x, y] = this.shown(this.xs[place], this.ys[place]);
      if (x < -SIDE || y < -SIDE || x > wide + SIDE || y > tall + SIDE) continue;
      seen.push([place, x, y]);
      pen.fillRect(x - size / 2, y - size / 2, size, size);
    }
    pen.globalAlpha = 1;
    const isNear = this.table.picture && (seen.length <= NEAR || this.scale > 6 * this.whole);
    if (isNear) this.paintPictures(pen, seen);
    this.canvas.dataset.near = isNear ? "yes" : "no";
    this.paintLasso(pen, style.getPropertyValue("--accent"));
  }

  /** Pictures in place of points, where none lies over another. */
  paintPictures(pen, seen) {
    const taken = new Set();
    for (const [place, x, y] of seen.slice(0, 4 * MOST_PICTURES)) {
      const cell = `${Math.round(x / SIDE)} ${Math.round(y / SIDE)}`;
      if (taken.has(cell)) continue;
      taken.add(cell);
      const image = this.pictureOf(this.rows[place]);
      if (!image.complete || !image.naturalWidth) continue;
      const scale = SIDE / Math.max(image.naturalWidth, image.naturalHeight);
      const [wide, tall] = [image.naturalWidth * scale, image.naturalHeight * scale];
      pen.drawImage(image, x - wide / 2, y - tall / 2, wide, tall);
    }
  }

  pictureOf(row) {
    let image = this.pictures.get(`${this.table.version} ${row}`);
    if (!image) {
      image = new Image();
      image.addEventListener("load", () => this.draw());
      image.src = pictureUrl(this.table.version, row, 160);
      this.pictures.set(`${this.table.version} ${row}`, image);
      if (this.pictures.size > MOST_PICTURES) this.pictures.delete(this.pictures.keys().next().value);
    }
    return image;
  }

  paintLasso(pen, colour) {
    const kept = current().lasso ? current().lasso.split(",").map(Number) : [];
    const corners = this.path || Array.from({ length: kept.length / 2 }, (_, place) => this.shown(kept[2 * place], kept[2 * place + 1]));
    if (corners.length < 2) return;
    pen.beginPath();
    for (const [x, y] of corners) pen.lineTo(x, y);
    if (!this.path) pen.closePath();
    pen.strokeStyle = colour;
    pen.lineWidth = 2;
    pen.stroke();
    pen.globalAlpha = 0.12;
    pen.fillStyle = colour;
    pen.fill();
    pen.globalAlpha = 1;
  }
}
