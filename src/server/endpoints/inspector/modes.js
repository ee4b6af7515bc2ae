// The diagram of the modes, drawn from what the server says in its hello: the modes and the ways between them.
// Closed and Lingering can be reached from every mode, so they are bars along the sides.

import { $, letterOf, make, num, put, short, svg } from "./dom.js";

const ROW = ["WebSocket", "ReadingHead", "ReadingBody", "AwaitingEndpoint", "Streaming"];
const HALF = { wide: [64, 24], tall: [65, 20] };

export class Modes {
  onway = () => {};
  #ways = []; // { from, to, group, label, row, count }
  #hello = null;
  #tall = null;
  #last = null;

  constructor() {
    new ResizeObserver(([entry]) => {
      const tall = entry.contentRect.width < 620;
      if (tall === this.#tall) return;
      this.#tall = tall;
      if (this.#hello) this.build(this.#hello);
    }).observe($("diagram").parentElement);
  }

  build(hello) {
    this.#hello = hello;
    this.#tall ??= $("diagram").parentElement.clientWidth < 620;
    const tall = this.#tall;
    const diagram = $("diagram");
    const [wide, high] = tall ? [350, 640] : [800, 380];
    diagram.setAttribute("viewBox", `0 0 ${wide} ${high}`);
    diagram.classList.toggle("tall", tall);
    const tip = (id) =>
      svg(
        "marker",
        { id, viewBox: "-8 -8 16 16", markerWidth: 7, markerHeight: 7, orient: "auto" },
        svg("path", { d: "M-7 -5 4 0 -7 5z" }),
      );
    const lines = svg("g");
    const boxes = svg("g", { class: "boxes" });
    const numbers = svg("g", { class: "numbers" });
    diagram.replaceChildren(svg("defs", {}, tip("tip"), tip("tip-hot")), lines, boxes, numbers);
    // Modes that this page does not know are appended to the row: the diagram follows the server.
    const row = [
      ...ROW.filter((m) => hello.modes.includes(m)),
      ...hello.modes.filter((m) => !ROW.includes(m) && m !== "Lingering" && m !== "Closed"),
    ];
    const place = this.#places(row, tall, wide, high);
    for (const mode of hello.modes) {
      const { x, y, w, h } = place[mode];
      const text = svg("text", { x, y: y + 5 });
      text.append(svg("tspan", { class: "letter" }), ` ${mode}`);
      text.firstChild.textContent = letterOf(mode);
      if (tall && w < 40) text.setAttribute("transform", `rotate(-90 ${x} ${y})`);
      boxes.append(
        svg(
          "g",
          { class: mode === "Closed" ? "gone" : "", "data-mode": mode },
          svg("rect", { x: x - w / 2, y: y - h / 2, width: w, height: h, rx: 9 }),
          text,
        ),
      );
    }
    this.#ways = hello.transitions.map(([from, to, why], i) => {
      const { d, at } = path(from, to, row, place, tall);
      const label = svg("text", { x: at[0], y: at[1] + 4 });
      const group = svg(
        "g",
        { class: "way" },
        svg("path", { class: "hit", d }),
        svg("path", { class: "line", d }),
        svg("title"),
      );
      group.lastChild.textContent = `${from} → ${to}: ${why}`;
      group.addEventListener("click", () => this.onway(i));
      lines.append(group);
      numbers.append(label);
      return { from, to, why, group, label, count: -1, last: undefined };
    });
    this.#table();
    if (this.#last) this.draw(...this.#last);
  }

  #places(row, tall, wide, high) {
    const place = {};
    const [hw, hh] = tall ? HALF.tall : HALF.wide;
    row.forEach((mode, i) => {
      const along = (i + 0.5) / row.length;
      place[mode] = tall
        ? { x: wide / 2, y: 20 + along * (high - 40), w: hw * 2, h: hh * 2 }
        : { x: 20 + along * (wide - 60), y: high / 2, w: hw * 2, h: hh * 2 };
    });
    place.Closed = tall ? { x: 17, y: high / 2, w: 28, h: high - 8 } : { x: wide / 2, y: 18, w: wide - 8, h: 30 };
    place.Lingering = tall
      ? { x: wide - 17, y: high / 2, w: 28, h: high - 60 }
      : { x: wide / 2 - 22, y: high - 18, w: wide - 52, h: 30 };
    return place;
  }

  #table() {
    $("ways").tBodies[0].replaceChildren(
      ...this.#ways.map((way, i) => {
        const button = make("button", { className: "link", textContent: "none", disabled: true });
        button.addEventListener("click", () => this.onway(i));
        way.button = button;
        way.cell = make("td", { textContent: "0" });
        return make(
          "tr",
          {},
          make("td", { textContent: way.from }),
          make("td", { textContent: way.to }),
          make("td", { textContent: way.why, className: "text" }),
          way.cell,
          make("td", {}, button),
        );
      }),
    );
  }

  /** `ways` are the counts and the last keys; `hot` the ways to stand out, by default those whose count has grown. */
  draw(ways, hot) {
    this.#last = [ways, hot];
    this.#ways.forEach((way, i) => {
      const [count, last] = ways[i] ?? [0, null];
      const isHot = hot ? hot.has(i) : way.count >= 0 && count > way.count;
      if (way.count !== count) {
        way.count = count;
        put(way.label, count ? short(count) : "");
        way.cell && put(way.cell, num(count));
        way.group.classList.toggle("none", !count);
      }
      if (way.hot !== isHot) {
        way.hot = isHot;
        way.group.classList.toggle("hot", isHot);
        way.label.classList.toggle("hot", isHot);
      }
      if (way.last !== last && way.button) {
        way.last = last;
        put(way.button, last ?? "none");
        way.button.disabled = !last;
      }
    });
  }
}

/** The path of an arrow, and the place of its number. */
function path(from, to, row, place, tall) {
  const a = place[from];
  const b = place[to];
  // All is computed for a row; a column has the axes exchanged.
  const swap = ([x, y]) => (tall ? [y, x] : [x, y]);
  const box = (p) => (tall ? { x: p.y, y: p.x, w: p.h, h: p.w } : p);
  const A = box(a);
  const B = box(b);
  const i = row.indexOf(from);
  const j = row.indexOf(to);
  let points;
  let at;
  let kind = "C";
  if (from === "Lingering") {
    const x = Math.max(...row.map((m) => box(place[m]).x + box(place[m]).w / 2)) + (tall ? 14 : 26);
    points = [
      [x, A.y - A.h / 2],
      [x, A.y],
      [x, B.y + B.h / 2],
      [x, B.y + B.h / 2 + 2],
    ];
    at = [x, (A.y + B.y) / 2];
  } else if (to === "Closed") {
    const x = A.x - A.w * 0.34;
    points = [
      [x, A.y - A.h / 2],
      [x, A.y - A.h / 2 - 20],
      [x, B.y + B.h / 2 + 20],
      [x, B.y + B.h / 2 + 2],
    ];
    at = [x, B.y + B.h / 2 + (tall ? 22 : 26)];
  } else if (to === "Lingering") {
    const x = A.x - A.w * 0.34;
    points = [
      [x, A.y + A.h / 2],
      [x, A.y + A.h / 2 + 20],
      [x, B.y - B.h / 2 - 20],
      [x, B.y - B.h / 2 - 2],
    ];
    at = [x, B.y - B.h / 2 - (tall ? 20 : 24)];
  } else if (from === to) {
    const y = A.y - A.h / 2;
    const x = A.x - A.w * 0.06;
    const r = tall ? 9 : 12;
    const up = tall ? 34 : 40;
    points = [
      [x - r * 0.6, y],
      [x - r * 2, y - up],
      [x + r * 2, y - up],
      [x + r * 0.6, y - 2],
    ];
    at = [x, y - up * 0.74 - 6];
  } else if (Math.abs(i - j) === 1) {
    const way = Math.sign(j - i);
    const y = A.y - way * A.h * 0.22;
    points = [
      [A.x + (way * A.w) / 2, y],
      [A.x + (way * A.w) / 2 + way * 6, y],
      [B.x - (way * B.w) / 2 - way * 8, y],
      [B.x - (way * B.w) / 2 - way * 2, y],
    ];
    at = [(A.x + B.x) / 2, y - way * (tall ? 16 : 11)];
  } else {
    // Over the boxes between: forward above, backward below.
    const way = Math.sign(j - i);
    const far = Math.abs(i - j);
    const rise = (tall ? 24 : 30) * far - (tall ? 8 : 0);
    const x1 = A.x + A.w * (way > 0 ? 0.22 + 0.1 * far - 0.2 : 0.02 + 0.16 * (far - 2));
    const x2 = B.x + B.w * (way > 0 ? 0.3 - 0.12 * (far - 2) : 0.22 + 0.12 * (far - 2));
    const y1 = A.y - (way * A.h) / 2;
    const y2 = B.y - (way * B.h) / 2;
    const top = y1 - way * rise * 1.3;
    points = [
      [x1, y1],
      [x1 + way * 30, top],
      [x2 - way * 30, top],
      [x2, y2 - way * 2],
    ];
    at = [(x1 + x2) / 2 + (far === 2 ? way * 8 : 0), y1 - way * rise * 0.975];
  }
  const [p, q, r, s] = points.map(swap).map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`);
  return { d: `M${p}${kind}${q} ${r} ${s}`, at: swap(at) };
}
