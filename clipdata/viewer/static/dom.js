// Elements of the page. Texts of a table reach it as text nodes alone.

export const byId = (id) => document.getElementById(id);

/** An element with properties, listeners (`onclick`), data and children (elements or texts). */
export function el(tag, given = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "class") made.className = value;
    else if (name === "style") Object.assign(made.style, value);
    else if (name in made && !name.startsWith("aria")) made[name] = value;
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** A text of a table: never markup, in the direction that its letters have. */
export function told(tag, text, className) {
  const made = el(tag, { class: className, dir: "auto" });
  made.textContent = text;
  return made;
}

/** A whole number with commas; the browser's own way loads tables of all languages first. */
export const whole = (number) => String(Number(number)).replace(/\B(?=(\d{3})+$)/g, ",");

/** A count with what is counted: "1 row", "1,024 rows". */
export const counted = (number, one) => `${whole(number)} ${one}${Number(number) === 1 ? "" : "s"}`;

/** A number as short as it stays telling. */
export function figure(value) {
  if (typeof value !== "number") return value === null || value === undefined ? "–" : String(value);
  if (Number.isInteger(value)) return whole(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e6)) return value.toExponential(2);
  return value.toFixed(size < 1 ? 3 : size < 100 ? 2 : 1);
}

/** Any value of a cell as one text. */
export function plain(value) {
  if (value === null || value === undefined) return "";
  if (Array.isArray(value)) return value.map(plain).join(" · ");
  if (typeof value === "object") return JSON.stringify(value);
  return typeof value === "number" ? figure(value) : String(value);
}
