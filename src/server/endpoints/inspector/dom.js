// Functions that the other modules share: they find and make elements, and write numbers.

export const $ = (id) => document.getElementById(id);

/** Makes an element. Text is always set as text: what a peer has sent must never become markup. */
export function make(tag, props = {}, ...children) {
  const el = Object.assign(document.createElement(tag), props);
  el.append(...children);
  return el;
}

export function svg(tag, attributes = {}, ...children) {
  const el = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) el.setAttribute(name, value);
  el.append(...children);
  return el;
}

/** Sets a text only if it differs: an equal text costs no layout. */
export function put(el, text) {
  if (el.textContent !== text) el.textContent = text;
}
export function attr(el, name, value) {
  if (el.getAttribute(name) !== String(value)) el.setAttribute(name, value);
}
/** `hidden` keeps its element in the page, so that focus and anchors stay. */
export function show(el, is) {
  if (el.hidden === is) el.hidden = !is;
}

const round = (n) => (n < 10 ? n.toFixed(1).replace(".0", "") : n.toFixed(0));
const scaled = (n, step, units) => {
  let at = 0;
  while (n >= step * 0.9995 && at < units.length - 1) {
    n /= step;
    at++;
  }
  return [at ? round(n) : n.toFixed(0), units[at]];
};
export const size = (n) => (n == null ? "–" : scaled(n, 1000, ["B", "kB", "MB", "GB", "TB"]).join("\u00a0"));
export const us = (n) => {
  if (n == null) return "–";
  if (n > 0 && n < 1) return "<\u00a01\u00a0µs";
  return n >= 99.95e6 ? `${num(Math.round(n / 1e6))}\u00a0s` : scaled(n, 1000, ["µs", "ms", "s"]).join("\u00a0");
};
export const num = (n) => (n == null ? "–" : n.toLocaleString("en"));
export const short = (n) => scaled(n, 1000, ["", "k", "M", "G"]).join("");
export const count = (n, what) => `${num(n)} ${what}${n === 1 ? "" : "s"}`;

/** The slot of a key such as `3#17`. */
export const slotOf = (key) => Number(key.split("#")[0]);

/** The letters of the modes, with their names and a word for each. A dot is ReadingHead without a byte. */
export const MODES = {
  "·": ["ReadingHead", "idle"],
  R: ["ReadingHead", "reading a head"],
  B: ["ReadingBody", "reading a body"],
  A: ["AwaitingEndpoint", "with an endpoint"],
  S: ["Streaming", "streaming"],
  W: ["WebSocket", "WebSocket"],
  L: ["Lingering", "lingering"],
};
/** The letter of a mode. ReadingHead has two: this is the one without the dot. */
export const letterOf = (mode) => Object.keys(MODES).findLast((letter) => MODES[letter][0] === mode) ?? mode[0];

/** Offers `text` as a file. */
export function save(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Makes radio buttons that look like chips, in the fieldset `box`. */
export function chips(box, name, choices, chosen, on) {
  for (const [value, label] of choices) {
    const input = make("input", { type: "radio", name, value, checked: value === chosen });
    input.addEventListener("change", () => on(value));
    const text = make("span");
    text.append(...[label].flat());
    box.append(make("label", {}, input, text));
  }
}
