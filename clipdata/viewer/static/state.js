// What is shown, as it stands in the page's address: every state is a link.

const NAMES = [
  "view", "version", "where", "sort", "descending", "before", "after", "text", "words", "like", "picture", "x", "y", "lasso",
  "row", "column", "score", "least", "from", "to",
];
// What the server has to know to find the rows.
const ROWS = ["where", "sort", "descending", "before", "after", "text", "words", "like", "picture", "x", "y", "lasso"];

let state = read();
const watchers = [];

function read() {
  const query = new URLSearchParams(location.search);
  return Object.fromEntries(NAMES.map((name) => [name, query.get(name) || ""]));
}

function address(from) {
  const query = new URLSearchParams();
  for (const name of NAMES) if (from[name]) query.set(name, from[name]);
  const text = query.toString();
  return text ? `/?${text}` : "/";
}

export const current = () => state;
export const watch = (watcher) => watchers.push(watcher);

/** Go to another state; `quietly` leaves no entry to go back to, and asks for no rows. */
export function go(changes, quietly = false) {
  const before = state;
  state = { ...state };
  for (const [name, value] of Object.entries(changes)) state[name] = value ? String(value) : "";
  if (address(before) === address(state)) return;
  if (quietly) history.replaceState(null, "", address(state));
  else {
    history.pushState(null, "", address(state));
    for (const watcher of watchers) watcher(state, before);
  }
}

window.addEventListener("popstate", () => {
  const before = state;
  state = read();
  for (const watcher of watchers) watcher(state, before);
});

/** The query by which the server finds the rows of a state at a version. */
export function rowsQuery(version, more = {}) {
  const query = new URLSearchParams();
  if (version !== null && version !== undefined) query.set("version", version);
  for (const name of ROWS) if (state[name]) query.set(name, state[name]);
  for (const [name, value] of Object.entries(more)) {
    for (const one of Array.isArray(value) ? value : [value]) query.append(name, one);
  }
  return query;
}

export const sameRows = (one, other) => ["version", ...ROWS].every((name) => one[name] === other[name]);
