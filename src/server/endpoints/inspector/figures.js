// The numbers: times, counters, answers by class, closes by cause, and what wrk would call them.

import { $, count, make, num, put, size, us } from "./dom.js";
import { list } from "./pipe.js";

const CLASSES = [
  "1xx, switched protocols",
  "2xx, success",
  "3xx, redirected or unchanged",
  "4xx, error of the client",
  "5xx, error of the server",
];
const PARTS = ["p50", "p99", "p999", "max"];

export function drawFigures(frame, hello) {
  const { loop, counters: c, memory } = frame;
  times([
    ["turn", loop.turn_us],
    ["service", loop.service_us],
  ]);
  put($("hidden"), us(loop.hidden_wait_us));
  list($("counters"), [
    ["", "connections; open now", `${num(c.connections)}; ${num(c.open)}`],
    ["", "requests", num(c.requests)],
    ["", "requests for each turn", loop.turns ? (c.requests / loop.turns).toFixed(2) : "–"],
    ["", "events for each turn", loop.turns ? (loop.events / loop.turns).toFixed(2) : "–"],
    ["", "reads; of them EAGAIN", `${num(c.reads)}; ${num(c.read_blocks)}`],
    ["", "writes; of them EAGAIN", `${num(c.writes)}; ${num(c.write_blocks)}`],
    ["", "system calls for each request", c.requests ? ((c.reads + c.writes) / c.requests).toFixed(2) : "–"],
    ["", "received", size(c.received_bytes)],
    ["", "sent", size(c.sent_bytes)],
    ["", "put off: by a spent budget; by a full queue", `${num(c.budgets_spent)}; ${num(c.throttled)}`],
    ["", "messages received; sent", `${num(c.messages_received)}; ${num(c.messages_sent)}`],
    ["", "messages that slow members missed", num(c.missed)],
    ["", "memory held for peers", memory ? `${size(memory.bytes)} of ${size(memory.bytes_max)}` : "–"],
  ]);
  bars(
    $("classes"),
    CLASSES.map((name, i) => [name, c.responses[i] ?? 0]),
  );
  const causes = hello.causes.map(([, words], i) => [words, frame.closed[i] ?? 0]);
  bars($("causes"), causes);
  wrk(frame, hello);
}

function times(rows) {
  const body = $("times").tBodies[0];
  if (!body.rows.length) {
    for (const [name] of rows)
      body.append(make("tr", {}, make("th", { scope: "row", textContent: name }), ...PARTS.map(() => make("td"))));
  }
  rows.forEach(([, values], i) => PARTS.forEach((part, j) => put(body.rows[i].cells[j + 1], us(values?.[part]))));
}

/** Numbers with a bar each. A row whose number is 0 is dim. */
function bars(dl, rows) {
  if (dl.childElementCount !== rows.length) {
    dl.replaceChildren(...rows.map(([name]) => make("div", {}, make("dt", { textContent: name }), make("dd"))));
  }
  const most = Math.max(1, ...rows.map(([, n]) => n));
  rows.forEach(([, n], i) => {
    const el = dl.children[i];
    if (el.dataset.n === `${n}/${most}`) return;
    el.dataset.n = `${n}/${most}`;
    put(el.lastChild, num(n));
    el.classList.toggle("none", !n);
    el.style.setProperty("--share", `${(n / most) * 100}%`);
  });
}

// Ends that wrk makes itself: it resets its connections when its time is over. A handshake has no request.
const ITS_OWN = ["peer_closed", "reset", "handshake"];

/** The ends that wrk counts as errors of its reads. */
function reads({ closed, interrupted }, causes) {
  const cut = [];
  const between = [];
  causes.forEach(([name, words], i) => {
    if (ITS_OWN.includes(name)) return;
    const n = interrupted ? (interrupted[i] ?? 0) : 0;
    // The last answer has told wrk that no other comes.
    const rest = name === "last_answer" ? 0 : (closed[i] ?? 0) - n;
    if (n) cut.push([n, words]);
    if (rest > 0) between.push([rest, words]);
  });
  const sum = (ends) => num(ends.reduce((sum, [n]) => sum + n, 0));
  const each = (ends) => ends.map(([n, words]) => `${num(n)} ${words}`).join(", ");
  // An older server does not tell which ends came in the middle of an answer.
  if (!interrupted) return between.length ? `at most ${sum(between)}: ${each(between)}` : "0: none has ended early";
  const first = cut.length ? `${sum(cut)}: ${each(cut)}` : "0: no answer was cut off";
  return between.length
    ? `${first}; at most ${sum(between)} more, if wrk had just asked again: ${each(between)}`
    : first;
}

function wrk(frame, hello) {
  const bad = (frame.counters.responses[3] ?? 0) + (frame.counters.responses[4] ?? 0);
  const rows = [
    ["connect", `${num(frame.counters.shed)} dropped without an answer`],
    ["read", reads(frame, hello.causes)],
    ["write", "the same ends, met while wrk was sending"],
    ["timeout", `longest turn ${us(frame.loop.turn_us?.max)}, longest service ${us(frame.loop.service_us?.max)}`],
    ["Non-2xx or 3xx", count(bad, "answer")],
  ];
  const body = $("wrk").tBodies[0];
  if (!body.rows.length)
    for (const [name] of rows)
      body.append(make("tr", {}, make("th", { scope: "row", textContent: name }), make("td", { className: "text" })));
  rows.forEach(([, text], i) => put(body.rows[i].cells[1], text));
}
