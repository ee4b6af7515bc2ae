// The slab as a grid of cells: a letter and a colour for each connection. One cell has the focus of the keyboard
// (roving tabindex); arrow keys move, Enter picks.

import { $, attr, make, MODES, put, show, size, slotOf } from "./dom.js";

export const PAGE = 256; // slots
const SAID = 3000; // ms

export class Grid {
  onpick = () => {};
  onpage = () => {};
  #box = $("grid");
  #cells = []; // { el, text, is, label, key, in, out }
  #at = 0; // the cell with the focus
  #told = -1; // the cell that the line under the grid tells of

  constructor() {
    const box = this.#box;
    const index = (e) => this.#cells.findIndex(({ el }) => el === e.target.closest("[role=option]"));
    box.addEventListener("click", (e) => {
      const i = index(e);
      if (i >= 0) {
        this.#move(i, false);
        this.#pick();
      }
    });
    box.addEventListener("pointerover", (e) => this.#tell(index(e)));
    box.addEventListener("focusin", (e) => this.#tell(index(e)));
    box.addEventListener("keydown", (e) => this.#key(e));
    $("p-back").addEventListener("click", () => this.onpage(-1));
    $("p-next").addEventListener("click", () => this.onpage(1));
  }

  #pick() {
    this.onpick(this.#cells[this.#at]?.key ?? null);
  }

  #tell(i) {
    if (i < 0) return;
    this.#told = i;
    put($("hover"), this.#cells[i].now);
  }

  #move(i, focus = true) {
    if (i < 0 || i >= this.#cells.length) return;
    if (this.#cells[this.#at]) this.#cells[this.#at].el.tabIndex = -1;
    this.#at = i;
    this.#cells[i].el.tabIndex = 0;
    if (focus) this.#cells[i].el.focus();
  }

  #columns() {
    const top = this.#cells[0]?.el.offsetTop;
    const next = this.#cells.findIndex(({ el }) => el.offsetTop !== top);
    return next < 0 ? this.#cells.length : next;
  }

  #key(e) {
    const last = this.#cells.length - 1;
    const to = {
      ArrowRight: () => this.#at + 1,
      ArrowLeft: () => this.#at - 1,
      ArrowDown: () => this.#at + this.#columns(),
      ArrowUp: () => this.#at - this.#columns(),
      Home: () => 0,
      End: () => last,
    }[e.key];
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    if (to) this.#move(to());
    else if (e.key === "Enter" || e.key === " ") this.#pick();
    else if (e.key === "PageDown" || e.key === "PageUp") this.onpage(e.key === "PageDown" ? 1 : -1);
    else return;
    e.preventDefault();
  }

  /** Shows the connections of `slots`. Without a filter each slot has a cell, free or not. */
  draw(slots, { filter, picked, you, when }) {
    const wanted = [];
    if (filter) {
      for (const entry of slots.list) wanted.push([slotOf(entry[0]), entry]);
    } else {
      const by = new Map(slots.list.map((entry) => [slotOf(entry[0]), entry]));
      const end = Math.min(slots.from + PAGE, slots.count);
      for (let slot = slots.from; slot < end; slot++) wanted.push([slot, by.get(slot)]);
    }
    while (this.#cells.length < wanted.length) {
      const el = make("span", { tabIndex: -1 }, make("b"), " ", make("small"));
      el.setAttribute("role", "option");
      this.#cells.push({ el });
      this.#box.append(el);
    }
    while (this.#cells.length > wanted.length) this.#cells.pop().el.remove();
    wanted.forEach(([slot, entry], i) => this.#fill(this.#cells[i], slot, entry, picked, you, when));
    if (this.#cells.length && !this.#cells[this.#at]) this.#at = 0;
    if (this.#cells[this.#at] && this.#cells[this.#at].el.tabIndex) this.#cells[this.#at].el.tabIndex = 0;
    put($("hover"), this.#cells[this.#told]?.now ?? "");
    show($("grid-none"), !wanted.length);
    if (!wanted.length)
      put(
        $("grid-none"),
        filter ? `No connection is in this mode: ${MODES[filter]?.[1] ?? filter}.` : "No connection is open.",
      );
  }

  #fill(cell, slot, entry, picked, you, when) {
    const { el } = cell;
    const [key, letter = "", peer = "", why = "", inbox = 0, outbox = 0] = entry ?? [];
    const own = key !== undefined && key === you;
    const is = key === undefined ? "free" : letter;
    const name = own ? "this page" : (MODES[letter]?.[1] ?? letter);
    const held = (name, bytes) => (bytes ? `; ${name} ${size(bytes)}` : "");
    // The label begins with what is seen in the cell, and says the rest in a sentence.
    const label =
      key === undefined
        ? `${slot}: free${when}`
        : `${own ? "you" : letter} ${slot}: ${name}, ${why}${held("inbox", inbox)}${held("outbox", outbox)}; ${key}${peer && `, ${peer}`}${when}`;
    if (cell.is !== is || cell.own !== own) {
      cell.is = is;
      cell.own = own;
      el.dataset.mode = is;
      el.classList.toggle("own", own);
      put(el.firstChild, own ? "you" : letter);
    }
    if (cell.slot !== slot) {
      cell.slot = slot;
      put(el.lastChild, String(slot));
    }
    // A screen reader may read the label of the focused cell again when it changes: not too often.
    const now = performance.now();
    const isNew = cell.key !== key || !el.matches(":focus") || now - cell.said > SAID;
    cell.now = label;
    if (cell.label !== label && isNew) {
      cell.label = label;
      cell.said = now;
      el.setAttribute("aria-label", label);
    }
    cell.key = key;
    const is_picked = key !== undefined && key === picked;
    if (cell.picked !== is_picked) {
      cell.picked = is_picked;
      attr(el, "aria-selected", is_picked);
    }
    if (cell.out !== outbox) {
      cell.out = outbox;
      el.style.setProperty("--out", outbox ? Math.min(1, 0.1 + outbox / 262_144) : 0);
    }
  }
}
