// Functions that the other modules share: they make elements, format numbers and store values.

export const $ = (id) => document.getElementById(id);

/** Makes an element. Text is always set as text: a message from another user must never become markup. */
export function make(tag, props = {}, ...children) {
  const el = Object.assign(document.createElement(tag), props);
  el.append(...children);
  return el;
}

export const svg = (tag, attributes) => {
  const el = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) el.setAttribute(name, value);
  return el;
};

/** Formats a time in ms. A time too short for the digits or for the browser’s clock is "< 0.1", not "0.0". */
export const figure = (t, digits = 1) => {
  const text = t.toFixed(digits);
  return Number(text) ? text : `<\u00a0${Number(Math.max(10 ** -digits, step()).toFixed(digits))}`;
};
export const ms = (t, digits) => `${figure(t, digits)}\u00a0ms`;
export const bytes = (n) => n.toLocaleString("en");
export const count = (n, what) => `${bytes(n)} ${what}${n === 1 ? "" : "s"}`;
export const clock = (t) => new Date(t).toLocaleTimeString("en-GB");

let least = Infinity;
/** Returns the smallest step of the clock in ms. Browsers make the clock coarse on purpose. */
export function step() {
  if (least < Infinity) return least;
  for (let i = 0; i < 5; i++) {
    const from = performance.now();
    let to;
    do to = performance.now(); while (to === from);
    least = Math.min(least, to - from);
  }
  return least;
}

/** Returns a random identifier, practically unique. (`randomUUID` exists in secure contexts only.) */
export const unique = () => crypto.getRandomValues(new Uint32Array(3)).join("-");

/** Reads and writes storage. A browser may refuse access: then `get` returns null. */
export const kept = {
  get(store, key) { try { return globalThis[store].getItem(key); } catch { return null; } },
  set(store, key, value) { try { globalThis[store].setItem(key, value); } catch { /* the value is not kept */ } },
};
