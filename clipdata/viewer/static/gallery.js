// The gallery: of a million rows those in sight stand in the page. Its height is bounded, since browsers cap it: small
// moves of the scroll bar go by pixels, large ones by share, and both are brought together when it stands still.

import { get } from "./api.js";
import { cardLayout, dropCard, emptyCard, fillCard } from "./card.js";
import { el } from "./dom.js";
import { current, rowsQuery } from "./state.js";

const MOST_HEIGHT = 6_000_000, BLOCK = 60, MOST_BLOCKS = 24, GAP = 8, WIDTH = 168, AHEAD = 2;

export class Gallery {
  constructor(actions) {
    this.actions = actions;
    this.spacer = el("div", { class: "spacer", role: "presentation" });
    this.root = el("div", {
      class: "gallery", id: "gallery", tabIndex: 0, role: "listbox", "aria-label": "rows", "aria-multiselectable": "true",
    });
    this.empty = el("p", { class: "empty", hidden: true }, "no row meets this filter");
    this.root.append(this.empty, this.spacer);
    this.cards = new Map();
    this.blocks = new Map();
    this.pending = new Map();
    this.active = 0;
    this.anchor = 0;
    this.top = 0;
    this.last = 0;
    this.num = 0;
    this.root.addEventListener("scroll", () => this.scrolled());
    this.root.addEventListener("click", (event) => this.clicked(event));
    this.root.addEventListener("dblclick", (event) => this.open(event));
    this.root.addEventListener("keydown", (event) => this.typed(event));
    new ResizeObserver(() => this.table && this.resized()).observe(this.root);
  }

  /** Show the rows of a table's state from the first on, or from where it stood. */
  show(table, keep = false) {
    this.forget();
    this.table = table;
    this.num = table.num_found;
    this.empty.hidden = this.num > 0;
    this.spacer.hidden = this.num === 0;
    this.empty.textContent = !table.num_rows ? "there are no rows yet" : current().text || current().words || current().picture || current().like
      ? "no row answers this search" : "no row meets this filter";
    if (!keep) this.active = this.anchor = 0;
    this.active = Math.max(0, Math.min(this.active, this.num - 1));
    this.measure();
    if (!keep) this.jump(0);
    else this.reveal(this.active);
    this.render();
  }

  forget() {
    for (const card of this.cards.values()) dropCard(card);
    this.cards.clear();
    for (const waiting of this.pending.values()) waiting.abort();
    this.pending.clear();
    this.blocks.clear();
  }

  measure() {
    this.layout = cardLayout(this.table, current());
    const inner = this.root.clientWidth - 2 * GAP;
    this.columns = Math.max(1, Math.floor((inner + GAP) / (WIDTH + GAP)));
    this.width = Math.floor((inner - (this.columns - 1) * GAP) / this.columns);
    this.rowHeight = this.layout.height + GAP;
    this.total = Math.ceil(this.num / this.columns) * this.rowHeight + GAP;
    this.height = Math.min(this.total, MOST_HEIGHT);
    this.spacer.style.height = `${this.height}px`;
  }

  resized() {
    const first = Math.floor(this.top / this.rowHeight) * this.columns;
    this.measure();
    for (const card of this.cards.values()) dropCard(card);
    this.cards.clear();
    this.jump(Math.floor(first / this.columns) * this.rowHeight);
    this.render();
  }

  get sight() { return this.root.clientHeight; }
  get lowest() { return Math.max(0, this.total - this.sight); }
  get farthest() { return Math.max(0, this.height - this.sight); }

  /** Go to a height among all rows. */
  jump(top) {
    this.top = Math.max(0, Math.min(top, this.lowest));
    this.last = this.lowest ? Math.round((this.top / this.lowest) * this.farthest) : 0;
    if (this.total <= this.height) this.last = Math.round(this.top);
    this.root.scrollTop = this.last;
    this.last = this.root.scrollTop;
  }

  scrolled() {
    const now = this.root.scrollTop, moved = now - this.last;
    if (!moved) return;
    if (this.total <= this.height) this.top = now;
    else if (now <= 0) this.top = 0;
    else if (now >= this.farthest - 1) this.top = this.lowest;
    else if (Math.abs(moved) < 3 * this.sight) this.top = Math.max(0, Math.min(this.top + moved, this.lowest));
    else this.top = (now / this.farthest) * this.lowest;
    this.last = now;
    if (!this.frame) this.frame = requestAnimationFrame(() => { this.frame = 0; this.render(); });
    clearTimeout(this.still);
    this.still = setTimeout(() => this.settle(), 160);
  }

  /** Bring the scroll bar to where the rows are. */
  settle() {
    if (this.total <= this.height) return;
    this.jump(this.top);
    this.render();
  }

  render() {
    if (!this.table || !this.num) return;
    const first = Math.max(0, (Math.floor(this.top / this.rowHeight) - AHEAD) * this.columns);
    const lines = Math.ceil(this.sight / this.rowHeight) + 1 + 2 * AHEAD;
    const end = Math.min(this.num, first + lines * this.columns);
    for (const [place, card] of this.cards) {
      if (place < first || place >= end) { dropCard(card); this.cards.delete(place); }
    }
    const shift = this.root.scrollTop - this.top;
    const made = [];
    for (let place = first; place < end; place += 1) {
      let card = this.cards.get(place);
      if (!card) {
        card = emptyCard(place, this.layout);
        card.style.width = `${this.width}px`;
        card.style.height = `${this.layout.height}px`;
        card.setAttribute("aria-setsize", this.num);
        card.setAttribute("aria-posinset", place + 1);
        this.cards.set(place, card);
        made.push(card);
      }
      const x = GAP + (place % this.columns) * (this.width + GAP);
      const y = GAP + Math.floor(place / this.columns) * this.rowHeight + shift;
      card.style.transform = `translate(${x}px, ${y}px)`;
      const row = this.rowAt(place);
      if (row && card.classList.contains("waiting")) fillCard(card, row, this.layout, this.table.version);
      this.mark(place, card);
    }
    this.spacer.append(...made);
    this.fetch(Math.floor(first / BLOCK), Math.floor((end - 1) / BLOCK));
    this.root.setAttribute("aria-activedescendant", this.cards.has(this.active) ? `card-${this.active}` : "");
  }

  mark(place, card) {
    card.classList.toggle("active", place === this.active);
    const row = this.rowAt(place);
    card.setAttribute("aria-selected", String(Boolean(row && this.actions.isChosen(row.row))));
  }

  rowAt(place) {
    return this.blocks.get(Math.floor(place / BLOCK))?.[place % BLOCK];
  }

  /** Ask for the blocks in sight, and no longer for those that are not. */
  fetch(first, end) {
    for (const [block, waiting] of this.pending) {
      if (block < first || block > end) { waiting.abort(); this.pending.delete(block); }
    }
    for (let block = first; block <= end; block += 1) {
      if (!this.blocks.has(block) && !this.pending.has(block)) this.load(block);
    }
  }

  async load(block) {
    const waiting = new AbortController();
    this.pending.set(block, waiting);
    const query = rowsQuery(this.table.version, { at: block * BLOCK, num: BLOCK, column: this.layout.columns });
    try {
      const found = await get("rows", query, waiting.signal);
      if (this.pending.get(block) !== waiting) return;
      this.blocks.set(block, found.rows);
      while (this.blocks.size > MOST_BLOCKS) this.blocks.delete(this.farthestBlock(block));
      this.pending.delete(block);
      this.render();
    } catch (error) {
      if (this.pending.get(block) === waiting) this.pending.delete(block);
      if (error.name !== "AbortError") this.actions.fail(error);
    }
  }

  farthestBlock(here) {
    return [...this.blocks.keys()].sort((one, other) => Math.abs(other - here) - Math.abs(one - here))[0];
  }

  clicked(event) {
    const card = event.target.closest(".card");
    if (!card) return;
    const place = Number(card.id.slice(5));
    if (event.shiftKey) this.extend(place);
    else if (event.ctrlKey || event.metaKey) this.toggle(place);
    else {
      this.anchor = place;
      this.move(place);
      this.actions.choose(this.rowAt(place));
      this.actions.open(this.rowAt(place));
    }
  }

  open() { if (this.rowAt(this.active)) this.actions.open(this.rowAt(this.active)); }

  typed(event) {
    const page = Math.max(1, Math.floor(this.sight / this.rowHeight)) * this.columns;
    const steps = {
      ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns, PageUp: -page, PageDown: page,
      Home: -this.num, End: this.num,
    };
    if (event.key in steps && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      const to = Math.max(0, Math.min(this.num - 1, this.active + steps[event.key]));
      if (event.shiftKey) this.extend(to);
      else { this.anchor = to; this.move(to); this.actions.moved(this.rowAt(to)); }
    } else if (event.key === "Enter") { event.preventDefault(); this.open(); }
    else if (event.key === " ") { event.preventDefault(); this.toggle(this.active); }
  }

  move(place) {
    this.active = place;
    this.reveal(place);
    this.render();
  }

  reveal(place) {
    const top = Math.floor(place / this.columns) * this.rowHeight;
    if (top < this.top) this.jump(top);
    else if (top + this.rowHeight + GAP > this.top + this.sight) this.jump(top + this.rowHeight + GAP - this.sight);
  }

  toggle(place) {
    this.anchor = place;
    this.move(place);
    const row = this.rowAt(place);
    if (row) this.actions.toggle(row);
    this.render();
  }

  async extend(place) {
    this.move(place);
    const [from, to] = [Math.min(this.anchor, place), Math.max(this.anchor, place)];
    await this.actions.extend(from, to);
    this.render();
  }
}
