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

export const ms = (t, digits = 1) => `${t.toFixed(digits)}\u00a0ms`;
export const bytes = (n) => n.toLocaleString("en");
export const count = (n, what) => `${bytes(n)} ${what}${n === 1 ? "" : "s"}`;
export const clock = (t) => new Date(t).toLocaleTimeString("en-GB");

/** Returns a random identifier, practically unique. (`randomUUID` exists in secure contexts only.) */
export const unique = () => crypto.getRandomValues(new Uint32Array(3)).join("-");

/** Reads and writes storage. A browser may refuse access: then `get` returns null. */
export const kept = {
  get(store, key) { try { return globalThis[store].getItem(key); } catch { return null; } },
  set(store, key, value) { try { globalThis[store].setItem(key, value); } catch { /* the value is not kept */ } },
};
