// The ribbon of turns: time from left to right, to scale. In each column of pixels the height is the share of
// the time in which the loop worked. So wide windows show the utilization, and narrow ones single turns.

import { $, attr, chips, count, make, num, put, us } from "./dom.js";

const LONG = 10_000; // µs: from this length on, a turn stands out
const KEPT = 65e6; // µs of history
const KEPT_SINGLY = 12e6; // µs for which turns are kept one by one
const WINDOWS = [
  [1e4, "10 ms"],
  [1e5, "100 ms"],
  [1e6, "1 s"],
  [1e7, "10 s"],
  [6e7, "1 min"],
];

/** What the page has seen: a piece for each frame, with the turns that came one by one. Times are in µs. */
export class History {
  pieces = [];
  #end = 0;

  /** A frame after a loss leaves a hole before it. */
  clear() {
    this.pieces = [];
    this.#end = 0;
  }

  add({ at_ms, span, turns }) {
    if (!span?.turns) return;
    const list = turns.map(([n, waited, worked, events]) => ({ n, at: 0, waited, worked, events }));
    const listed = piece(list);
    const time = Math.max(0, span.waited_us + span.worked_us - (listed.end - listed.at));
    const isFirst = !this.#end; // its span reaches back to the start of the server
    let at = at_ms * 1000 - (listed.end - listed.at) - (isFirst ? 0 : time);
    // No seam from rounding, or from the turn under way.
    if (Math.abs(at - this.#end) < 250_000) at = this.#end;
    // The newest turns come one by one. The rest came before them.
    if (span.turns > turns.length && !isFirst) {
      const worked = Math.min(time, Math.max(0, span.worked_us - listed.worked));
      const longest = span.longest_us > listed.longest ? span.longest_us : 0;
      this.pieces.push({
        at,
        end: at + time,
        worked,
        turns: span.turns - turns.length,
        longest,
        list: [],
        isStep: true,
      });
      at += time;
    }
    if (list.length) this.pieces.push(piece(list, at));
    this.#end = at + listed.end - listed.at;
    while (this.pieces[0].end < this.#end - KEPT) this.pieces.shift();
    for (const old of this.pieces) {
      if (old.end > this.#end - KEPT_SINGLY) break;
      old.list = old.list.filter((t) => t.worked >= LONG);
      old.isStep = true;
    }
  }

  get end() {
    return this.#end;
  }
  /** The turns of the newest pieces, newest first. */
  newest(most) {
    const found = [];
    for (let i = this.pieces.length - 1; i >= 0 && found.length < most; i--)
      found.push(...this.pieces[i].list.toReversed());
    return found.slice(0, most);
  }
  /** Turns, time and work of the pieces that began in the last `time` µs. */
  sum(time) {
    const sum = { turns: 0, time: 0, worked: 0, longest: 0 };
    for (let i = this.pieces.length - 1; i >= 0; i--) {
      const p = this.pieces[i];
      if (p.end < this.#end - time && sum.turns) break;
      sum.turns += p.turns;
      sum.time += p.end - p.at;
      sum.worked += p.worked;
      sum.longest = Math.max(sum.longest, p.longest);
    }
    return sum;
  }
}

/** A piece of turns that are known one by one. With `at`, the turns get their times. */
export function piece(list, at) {
  let end = at ?? 0;
  let worked = 0;
  let longest = 0;
  for (const t of list) {
    if (at !== undefined) t.at = end + t.waited;
    end += t.waited + t.worked;
    worked += t.worked;
    longest = Math.max(longest, t.worked);
  }
  return { at: at ?? 0, end, worked, turns: list.length, longest, list, isStep: false };
}

export class Ribbon {
  onturn = () => {};
  onwindow = () => {};
  window = 1e7;
  #canvas = $("ribbon");
  #colours = null;
  #width = 0;
  #drawn = 0;
  #said = 0;
  #last = null;
  #chosen = 0;
  #now = "now";

  constructor() {
    chips($("window"), "window", WINDOWS, this.window, (value) => {
      this.window = value;
      this.#drawn = 0;
      this.onwindow();
    });
    for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) {
      matchMedia(query).addEventListener("change", () => {
        this.#colours = null;
        this.#drawn = 0;
        this.onwindow();
      });
    }
    new ResizeObserver(([entry]) => {
      this.#width = entry.contentRect.width;
      this.#drawn = 0;
      this.onwindow();
    }).observe(this.#canvas);
    this.#canvas.addEventListener("click", (e) => {
      if (!this.#last?.cursor) return;
      const { from, span } = this.#last;
      const time = from + (e.offsetX / this.#width) * span;
      this.onturn(time);
    });
  }

  /** Sets the window so that some turns of this mean length fit; without a length, back to the window before. */
  fit(length) {
    if (length) this.#chosen = this.window;
    this.window = length ? (WINDOWS.find(([time]) => time > length * 20) ?? WINDOWS.at(-1))[0] : this.#chosen;
    for (const input of $("window").querySelectorAll("input")) input.checked = Number(input.value) === this.window;
    this.#drawn = 0;
  }

  /** What the right end is called: without news from the server it is not the present. */
  set now(name) {
    if (name !== this.#now) this.#drawn = 0;
    this.#now = name;
  }

  /** Draws the pieces up to `end`. With a `cursor`, a turn of the ring, that turn is marked. */
  draw(pieces, end, cursor) {
    const now = performance.now();
    // A narrow window shows other turns in each frame, and would flicker.
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const pause = cursor ? 0 : this.window < 1e6 || calm ? 1000 : 0;
    if (this.#drawn && now - this.#drawn < pause) return;
    this.#drawn = now;
    const c = (this.#colours ??= colours());
    const ratio = devicePixelRatio || 1;
    const width = this.#width;
    const height = 84;
    const band = 46;
    const top = 18;
    if (!width) return;
    const canvas = this.#canvas;
    if (canvas.width !== Math.round(width * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = height * ratio;
    }
    const g = canvas.getContext("2d");
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.clearRect(0, 0, width, height);
    g.font = `11px ${getComputedStyle(document.body).fontFamily}`;
    const span = this.window;
    const from = end - span;
    const x = (t) => ((t - from) / span) * width;
    this.#last = { from, span, cursor };
    const columns = Math.ceil(width);
    const worked = new Float64Array(columns);
    const late = new Float64Array(columns);
    const rest = new Float64Array(columns);
    const spread = (into, a, b, density) => {
      a = Math.max(0, x(a));
      b = Math.min(columns, x(b));
      for (let i = Math.floor(a); i < b; i++) into[i] += (Math.min(b, i + 1) - Math.max(a, i)) * density;
    };
    g.fillStyle = c.track;
    g.fillRect(0, top + band - 1, width, 1);
    const labels = [];
    let longest = 0;
    let turns = 0;
    let work = 0;
    for (const p of pieces) {
      if (p.end < from || p.at > end) continue;
      const left = Math.max(0, x(p.at));
      g.fillRect(left, top, Math.min(width, x(p.end)) - left + 0.5, band);
      longest = Math.max(longest, p.longest);
      turns += p.turns;
      work += p.worked;
      // Where turns are narrower than a pixel, the share of work is all that can be seen: the piece is a step.
      const time = p.end - p.at || 1;
      const isStep = p.isStep || ((time / span) * width) / p.list.length < 1;
      const shown = isStep ? p.list.filter((t) => t.worked >= LONG) : p.list;
      if (isStep) {
        let long = 0;
        for (const t of shown) long += t.worked;
        if (!long && p.longest >= LONG) {
          long = p.longest; // somewhere in the piece
          spread(late, p.at, p.end, long / time);
        }
        spread(rest, p.at, p.end, Math.max(0, p.worked - long) / time);
        const seen = [Math.max(0, x(p.at)), Math.min(width, x(p.end))];
        if (seen[1] - seen[0] > 150)
          labels.push([(seen[0] + seen[1]) / 2, `${count(p.turns, "turn")}, not one by one`, 0]);
      }
      for (const t of shown) {
        if (t.at + t.worked < from || t.at > end) continue;
        const isLong = t.worked >= LONG;
        const wide = (t.worked / span) * width;
        spread(isLong ? late : worked, t.at, t.at + t.worked, 1);
        if (isLong) labels.push([x(t.at) + wide / 2, `${t.n}: ${us(t.worked)}`, 2]);
        else if (wide > 26 || ((t.worked + t.waited) / span) * width > 60)
          labels.push([x(t.at) + wide / 2, String(t.n), 1]);
      }
    }
    for (let i = 0; i < columns; i++) {
      let y = top + band;
      // Long turns stand at the bottom, so that nothing hides them.
      for (const [into, colour] of [
        [late, c.late],
        [worked, c.work],
        [rest, c.rest],
      ]) {
        if (!into[i]) continue;
        const h = Math.min(y - top, Math.max(2, into[i] * band));
        g.fillStyle = colour;
        g.fillRect(i, (y -= h), 1, h);
      }
    }
    if (cursor) {
      const a = x(cursor.at - cursor.waited);
      const b = x(cursor.at);
      const e = Math.max(b + 2, x(cursor.at + cursor.worked));
      g.strokeStyle = c.ink;
      g.lineWidth = 1.5;
      g.strokeRect(Math.max(0.75, a), top - 2, Math.max(3, e - Math.max(0.75, a)), band + 4);
    }
    // Labels: long turns first; a label that would cover another is left out.
    const taken = [];
    g.textAlign = "center";
    g.textBaseline = "alphabetic";
    for (const [at, text, weight] of labels.sort((a, b) => b[2] - a[2])) {
      const half = g.measureText(text).width / 2 + 4;
      const middle = Math.min(width - half, Math.max(half, at));
      if (taken.some(([a, b]) => middle - half < b && middle + half > a)) continue;
      taken.push([middle - half, middle + half]);
      g.fillStyle = weight === 2 ? c.ink : c.soft;
      g.fillText(text, middle, 12);
    }
    g.fillStyle = c.soft;
    for (let i = 0; i <= 4; i++) {
      const at = (i / 4) * width;
      g.textAlign = i === 0 ? "left" : i === 4 ? "right" : "center";
      const part = cursor ? i / 4 - 0.5 : i / 4 - 1;
      const text = part ? `${part < 0 ? "−" : "+"}${us(Math.abs(span * part))}` : cursor ? `turn ${cursor.n}` : this.#now;
      g.fillText(text, at, height - 4);
      g.fillRect(Math.min(width - 1, at), top + band, 1, 4);
    }
    if (now - this.#said > 5000 || cursor) {
      // a screen reader asks for it; it is not announced
      this.#said = now;
      const part = turns
        ? `The loop worked ${Math.round((work / span) * 100)} % of it. ${count(turns, "turn")}, the longest ${us(longest)}.`
        : "No turn.";
      attr(canvas, "aria-label", `The ribbon of turns: ${us(span)}. ${part}`);
      put($("ribbon-note"), pause === 1000 ? "Drawn once a second." : "");
    }
  }
}

/** Fills the table of turns, the newest first. It is drawn only while it is open. */
export function drawTurns(turns) {
  if (!$("turns-more").open) return;
  const cell = (text) => make("td", { textContent: text });
  $("turns").tBodies[0].replaceChildren(
    ...turns.map((t) => {
      const row = make("tr", {}, cell(num(t.n)), cell(us(t.waited)), cell(us(t.worked)), cell(num(t.events)));
      if (t.worked >= LONG) row.className = "late";
      return row;
    }),
  );
}

function colours() {
  const probe = $("probe");
  const found = {};
  for (const [name, value] of Object.entries({
    work: "--accent",
    rest: "--rest",
    late: "--late",
    track: "--track",
    ink: "--ink",
    soft: "--soft",
  })) {
    probe.style.color = `var(${value})`;
    found[name] = getComputedStyle(probe).color;
  }
  return found;
}
