// The controls of the frozen ring: scrub, play, step, and the records of a turn in words.

import { $, attr, count, make, num, put, save, show, us } from "./dom.js";
import { openInPerfetto, toChrome } from "./chrome.js";
import { connectionOf, words } from "./ring.js";

const LISTED = 200; // records; those of the picked connection are always listed
const PACE = 150; // ms for a turn

export class Replay {
  ring = null;
  at = 0;
  onmove = () => {};
  address = () => ""; // of the moment
  onpick = () => {};
  #timer = 0;
  #picked = null;
  #drawn = "";

  constructor() {
    $("r-at").addEventListener("input", (e) => {
      this.stop();
      this.go(Number(e.target.value));
    });
    $("r-back").addEventListener("click", () => {
      this.stop();
      this.step(-1);
    });
    $("r-next").addEventListener("click", () => {
      this.stop();
      this.step(1);
    });
    $("r-play").addEventListener("click", () => (this.#timer ? this.stop() : this.#play()));
    $("r-save").addEventListener("click", () => save("oneloop-ring.jsonl", this.ring.text, "application/x-ndjson"));
    $("r-chrome").addEventListener("click", () => save("oneloop-ring.json", toChrome(this.ring), "application/json"));
    $("r-perfetto").addEventListener("click", () =>
      openInPerfetto(toChrome(this.ring), `oneloop, turns ${this.ring.turns[0].n} to ${this.ring.turns.at(-1).n}`, say),
    );
    $("r-link").addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(this.address());
        say("The link is copied. It works while the turn is in the server’s ring.");
      } catch {
        say("The browser has refused the clipboard. The address of this page is the link.");
      }
    });
    $("r-list").addEventListener("click", (e) => {
      const key = e.target.closest("[data-key]")?.dataset.key;
      if (key) this.onpick(key);
    });
    $("replay").addEventListener("keydown", (e) => {
      if (e.target.id === "r-at" || e.altKey || e.ctrlKey || e.metaKey || !["ArrowLeft", "ArrowRight"].includes(e.key))
        return;
      e.preventDefault();
      this.stop();
      this.step(e.key === "ArrowRight" ? 1 : -1);
    });
  }

  get turn() {
    return this.ring.turns[this.at];
  }

  open(ring, at) {
    this.ring = ring;
    this.at = at;
    this.#drawn = "";
    $("r-at").max = ring.turns.length - 1;
    say("");
    show($("replay"), true);
  }

  close() {
    this.stop();
    this.ring = null;
    show($("replay"), false);
  }

  go(at) {
    at = Math.max(0, Math.min(this.ring.turns.length - 1, at));
    if (at === this.at) return false;
    this.at = at;
    say("");
    this.onmove();
    return true;
  }

  /** Goes one turn on or back; with the box checked, to the next turn with the picked connection. */
  step(by) {
    const [side, end] = by > 0 ? ["later", "last"] : ["earlier", "first"];
    if (!$("r-only").checked || !this.#picked) {
      const has = this.go(this.at + by);
      if (!has) say(`This is the ${end} turn in the ring.`);
      return has;
    }
    const touched = this.ring.touches(this.#picked);
    const to = by > 0 ? touched.find((t) => t > this.at) : touched.findLast((t) => t < this.at);
    if (to === undefined) say(`The ring has no ${side} turn with ${this.#picked}.`);
    return to !== undefined && this.go(to);
  }

  #play() {
    if (this.at === this.ring.turns.length - 1) this.go(0);
    this.#timer = setInterval(() => {
      if (!this.step(1)) this.stop();
    }, PACE);
    this.#button();
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = 0;
    this.#button();
  }

  #button() {
    put($("r-play"), this.#timer ? "Stop" : "Play");
    attr($("r-play"), "aria-pressed", Boolean(this.#timer));
  }

  draw(picked, live) {
    this.#picked = picked;
    const { ring, turn } = this;
    if (live)
      put(
        $("r-live"),
        `live goes on: turn ${num(live.turn)}, ${num(Math.max(0, live.turn - ring.turns.at(-1).n))} since the freeze`,
      );
    const drawn = `${this.at} ${picked}`;
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    put($("r-turn"), num(turn.n));
    $("r-at").value = this.at;
    attr($("r-at"), "aria-valuetext", `turn ${turn.n}`);
    put($("r-who"), picked ?? "the picked connection");
    $("r-only").disabled = !picked;
    const last = this.at === ring.turns.length - 1;
    const times = ring.hasClock
      ? ` At ${(turn.at / 1e6).toFixed(4)} s: waited ${us(turn.waited)}, worked ${last ? "until after the freeze" : us(turn.worked)}.`
      : "";
    put(
      $("r-where"),
      `${num(this.at + 1)} of ${num(ring.turns.length)} turns in the ring, ${num(ring.turns[0].n)} to ${num(ring.turns.at(-1).n)}${ring.isWrapped ? "; older records are gone" : ""}.${times} ${count(turn.events, "event")}, ${count(turn.to - turn.from, "record")}.`,
    );
    const items = [];
    let more = 0;
    for (let r = turn.from; r < turn.to; r++) {
      const record = ring.records[r];
      const isMine = Boolean(picked) && record.c === picked;
      if (r - turn.from >= LISTED && !isMine) {
        more++;
        continue;
      }
      const text = words(record, ring.hello);
      const li = make("li", { className: isMine ? "mine" : "", value: r - turn.from + 1 });
      if (connectionOf(record)) {
        const button = make("button", { className: "link", textContent: record.c });
        button.dataset.key = record.c;
        li.append(button, text.slice(record.c.length));
      } else li.append(text);
      items.push(li);
    }
    if (more) items.push(make("li", { textContent: `${num(more)} more, of other connections` }));
    $("r-list").replaceChildren(...items);
  }
}

export function say(text) {
  put($("r-said"), text);
}
