// Chosen rows, and what is written of them: a tag, a decision, or that they are gone. Only with --edit.

import { get, post } from "./api.js";
import { byId, counted, el, told as toldText, whole } from "./dom.js";
import { current, rowsQuery } from "./state.js";

const MOST_CHOSEN = 5000, PAGE = 240, ASK_MS = 400;
const MINE = ownId(), DECIDED_HERE = new URLSearchParams({ page: MINE });

/** Of this page, among those that the viewer serves; once reloaded it is the same one, and a copy of its tab is not. */
function ownId() {
  const isReloaded = performance.getEntriesByType("navigation")[0]?.type === "reload";
  const id = (isReloaded && sessionStorage.getItem("page")) || crypto.randomUUID();
  sessionStorage.setItem("page", id);
  return id;
}

export class Choice {
  constructor(actions) {
    this.root = byId("edit");
    this.can = this.root.dataset.edit === "yes";
    this.actions = actions;
    this.rows = new Set();  // where they stand
    this.version = null;  // at which
    this.followed = null;  // until they are found at the version that is seen
    this.awaited = null;
    if (this.can) this.build();
  }

  build() {
    this.told = el("strong", { class: "chosen" });
    this.column = el("input", { type: "text", value: "decision", size: 12, id: "decision-column" });
    this.value = el("input", { type: "text", placeholder: "keep", size: 10, id: "decision-value", dir: "auto" });
    this.kept = el("input", { type: "text", placeholder: "blurry", size: 10, id: "keep-name", dir: "auto" });
    this.name = el("input", { type: "text", placeholder: "reviewed", size: 12, id: "tag-name" });
    this.all = el("input", { type: "checkbox", id: "all-found", onchange: () => this.show() });
    const field = (label, input) => el("label", { class: "field" }, el("span", {}, label), input);
    const form = (name, onsubmit, ...parts) => el("form", {
      class: "group", "aria-label": name, onsubmit: (event) => { event.preventDefault(); onsubmit(); },
    }, ...parts);
    this.confirm = el("dialog", { "aria-labelledby": "confirm-told" });
    this.clear = el("button", { type: "button", class: "quiet", onclick: () => this.choose([]) }, "none");
    const more = el("button", { type: "button", class: "more", "aria-expanded": "false", "aria-controls": "edit", onclick: () => {
      more.setAttribute("aria-expanded", String(this.root.classList.toggle("open")));
    } }, "write …");
    this.root.replaceChildren(
      this.told, this.clear, el("label", { class: "tick" }, this.all, "all rows in view"), more,
      form("decide", () => this.decide(), field("column", this.column), field("decision", this.value), el("button", {}, "write")),
      form("keep", () => this.keep(), field("keep as @", this.kept), el("button", {}, "keep")),
      form("tag", () => this.tag(), field("tag this version", this.name), el("button", {}, "tag")),
      el("button", { type: "button", class: "danger", id: "delete", onclick: () => this.ask() }, "delete …"), this.confirm,
    );
    this.root.hidden = false;
    addEventListener("beforeunload", (event) => { if (this.awaited) event.preventDefault(); });
  }

  show(table = this.table) {
    if (!this.can || !table) return;
    const before = this.table;
    this.table = table;
    if (!before) this.recall();
    if (this.rows.size && table.version !== this.version) this.followed ??= this.follow();
    const num = this.all.checked ? table.num_found : this.rows.size;
    this.told.textContent = num ? `${whole(num)} chosen` : "no row chosen";
    this.clear.hidden = !this.rows.size || this.all.checked;
    const ofRows = ["[aria-label=decide] button", "[aria-label=keep] button", "#delete"];
    for (const button of ofRows) this.root.querySelector(button).disabled = !num;
    this.actions.redraw();
  }

  /** Chosen rows stay chosen at another version, wherever they stand there. */
  async follow() {
    try {
      while (this.rows.size && this.version !== this.table.version) {
        const { rows } = this, to = this.table.version;
        const found = await post("places", rowsQuery(this.version), { rows: [...rows], to: String(to) });
        if (this.rows === rows) this.choose(found.rows, to);  // else others were chosen meanwhile
      }
    } catch (error) {
      this.rows = new Set();
      this.actions.fail(error);
    }
    this.followed = null;
    this.show();
  }

  /** These rows and no other. */
  choose(rows, version = this.table.version) {
    this.rows = new Set(rows);
    this.version = version;
    this.show();
  }

  /** Add to what is chosen, or take from it, once that is found at the version that is seen. */
  async change(how) {
    const { version } = this.table;
    while (this.followed) await this.followed;
    if (this.table.version !== version) {
      this.actions.say("a newer version came meanwhile: choose again");
      return;
    }
    how(this.rows);
    this.version = version;
    this.show();
  }

  has(row) { return this.can && (this.all.checked || (this.version === this.table.version && this.rows.has(row))); }
  only(row) { if (this.can && row) this.choose([row.row]); }
  toggle(row) { if (this.can) this.change((rows) => rows.delete(row.row) || rows.add(row.row)); }

  /** Choose the rows between two places in the order. */
  async extend(from, to) {
    if (!this.can) return;
    const end = Math.min(to, from + MOST_CHOSEN - 1), { version } = this.table, found = [];
    for (let at = from; at <= end; at += PAGE) {
      const num = Math.min(PAGE, end - at + 1);
      found.push(...(await get("rows", rowsQuery(version, { at, num }))).rows);
    }
    if (this.table.version === version) await this.change((rows) => found.forEach((row) => rows.add(row.row)));
    else this.actions.say("a newer version came meanwhile: choose again");
  }

  get meant() { return this.all.checked ? { all: true } : { rows: [...this.rows] }; }
  get meantAt() { return this.all.checked ? this.table.version : this.version; }
  get number() { return this.all.checked ? this.table.num_found : this.rows.size; }

  decide() { return this.decideOn(this.meant, this.value.value.trim(), this.meantAt); }

  /** One decision on rows, be it on those that something else than a click chose. */
  decideOn(chosen, value, version = this.table.version) {
    const column = this.column.value.trim();
    return this.take("decide", version, { ...chosen, column, value, page: MINE },
      (taken) => `${whole(taken.rows)} ${taken.rows === 1 ? "row" : "rows"}: ${column} is “${value}”`);
  }

  async take(what, version, body, told) {
    try {
      const taken = await post(what, rowsQuery(version), body);
      if (taken.rows) {
        const words = told(taken), isFirst = this.awaited === null;
        this.actions.say(`${words} – pending`);
        this.awaited = { ticket: taken.ticket, words };
        if (isFirst) this.await();
      }
      if (taken.disputes) this.settle(taken.disputes);
    } catch (error) {
      this.actions.fail(error);
    }
  }

  /** Somebody else decided otherwise: say what, and ask which stands. Without an answer both are kept as they are. */
  settle(disputes) {
    if (this.confirm.open) return;
    const { num, num_over: numOver, lines, column } = disputes;
    const more = num > lines.length ? [el("li", {}, `… ${whole(num)} in all`)] : [];
    const one = (words, over, given) => el("button", { type: "button", ...given, onclick: () => {
      this.confirm.close();
      return this.answer(column, over);
    } }, words);
    const theirs = one(numOver ? "keep theirs" : "so be it", false, { autofocus: true });
    const mine = numOver ? [one(`write mine over ${whole(numOver)}`, true, { class: "danger" })] : [];
    this.confirm.replaceChildren(
      el("p", { id: "confirm-told" }, `${whole(num)} ${num === 1 ? "row was" : "rows were"} decided otherwise since this page looked:`),
      el("ul", { class: "disputes" }, ...lines.map((line) => toldText("li", line)), ...more), el("div", { class: "row-tools" }, ...mine, theirs),
    );
    this.confirm.showModal();
    theirs.focus();
  }

  async answer(column, over) {
    await this.take("settle", this.table.version, { column, over, page: MINE }, (taken) => `${whole(taken.rows)} decided again: ${column}`);
    if (!this.awaited) await this.recall();
  }

  /** What of this page's decisions is held back yet, such as since before it was reloaded. */
  async recall() {
    try {
      const { disputes } = await get("decisions", DECIDED_HERE);
      if (disputes.length) this.settle(disputes[0]);
    } catch (error) {
      this.actions.fail(error);
    }
  }

  /** Ask until the last decision is in the table; only then it is said to be. */
  async await() {
    while (this.awaited) {
      await new Promise((done) => setTimeout(done, ASK_MS));
      try {
        const now = await get("decisions", DECIDED_HERE);
        if (now.error) {
          this.actions.fail({ message: `${whole(now.waiting)} decisions are not written, and wait for the next one: ${now.error}` });
          this.awaited = null;
        } else if (this.awaited && now.written >= this.awaited.ticket) {
          const held = now.disputes.reduce((sum, one) => sum + one.num, 0);
          this.actions.say(held ? `${whole(held)} decisions are held back: others decided otherwise` : `${this.awaited.words} (version ${now.version})`);
          this.awaited = null;
          await this.actions.changed();
          if (now.disputes.length) this.settle(now.disputes[0]);
        } else if (now.waiting) this.actions.say(`${whole(now.waiting)} decisions pending`);
      } catch (error) {
        this.actions.fail(error);
        this.awaited = null;
      }
    }
  }

  keep(overwrite = false) {
    const body = { ...this.meant, name: this.kept.value.trim().replace(/^@/, ""), overwrite };
    return this.send("keep", body, (done) => `@${done.name} is ${counted(done.rows, "row")} (version ${done.version})`, this.meantAt);
  }

  /** Give all rows in view a name. */
  keepAll(name) {
    return this.send("keep", { all: true, name }, (done) => `@${done.name} is ${counted(done.rows, "row")} (version ${done.version})`);
  }

  forget(name) {
    return this.send("forget", { name }, (done) => `@${done.name} is no name any more (version ${done.version})`);
  }

  tag() {
    return this.send("tag", { name: this.name.value.trim() }, (done) => `version ${done.version} is called ${done.name}`);
  }

  ask() {
    const num = this.number;
    const words = `Delete ${counted(num, "row")}? Version ${this.table.version} keeps them.`;
    const yes = el("button", { type: "button", class: "danger", onclick: async () => {
      this.confirm.close();
      const told = (done) => `deleted ${counted(done.num_rows, "row")} (version ${done.version})`;
      const done = await this.send("delete", { ...this.meant, confirmed: num }, told, this.meantAt);
      if (done) { this.all.checked = false; this.choose([]); }
    } }, "delete");
    const no = el("button", { type: "button", autofocus: true, onclick: () => this.confirm.close() }, "keep them");
    this.confirm.replaceChildren(el("p", { id: "confirm-told" }, words), el("div", { class: "row-tools" }, yes, no));
    this.confirm.showModal();
    no.focus();
  }

  async send(what, body, words, version = this.table.version) {
    try {
      const done = await post(what, rowsQuery(version), body);
      this.actions.say(words(done));
      await this.actions.changed(current().version);
      return done;
    } catch (error) {
      this.actions.fail(error);
      return null;
    }
  }
}
