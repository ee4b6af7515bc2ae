// The ring as Chrome JSON, which Perfetto opens. All slices are complete ("X"): slices of one track must nest.
// Records have no clock, so the records of a turn are spread evenly over it, in their order.

import { slotOf } from "./dom.js";
import { connectionOf, words } from "./ring.js";

const PERFETTO = "https://ui.perfetto.dev";

/** Returns the text of a Chrome JSON trace. Times are whole ns until they are written. */
export function toChrome(ring) {
  const events = [];
  const put = (event) => events.push(JSON.stringify({ pid: 1, ...event }));
  const ns = (us) => Math.round(us * 1000);
  const ts = (t) => t / 1000;
  const slice = (tid, name, from, to, args) =>
    put({ ph: "X", tid, ts: ts(from), dur: ts(Math.max(0, to - from)), name, ...(args && { args }) });
  const name = (tid, text) => {
    put({ ph: "M", tid, name: "thread_name", args: { name: text } });
    put({ ph: "M", tid, name: "thread_sort_index", args: { sort_index: tid } });
  };
  put({ ph: "M", tid: 1, name: "process_name", args: { name: "oneloop" } });
  name(1, "loop");
  const tenants = new Map(); // key -> { born, mode, since, died }
  const requests = new Map();
  const flows = [];
  const slots = new Set();
  const first = ring.turns[0];
  const start = first ? ns(first.at - first.waited) : 0;
  let end = start;
  let open = 0;
  const lives = (key, at, mode) => {
    if (tenants.has(key)) return tenants.get(key);
    const life = { born: at, since: at, mode, modes: [] };
    tenants.set(key, life);
    slots.add(slotOf(key));
    return life;
  };
  const finish = (key) => {
    const flow = requests.get(key);
    requests.delete(key);
    if (flow && flow.answered && flow.points.length > 1) flows.push(flow.points);
  };
  for (const turn of ring.turns) {
    const from = ns(turn.at);
    const to = Math.max(end, from + Math.max(1000, ns(turn.worked ?? 0)));
    const at0 = Math.max(end, from);
    const n = turn.to - turn.from;
    slice(1, `turn ${turn.n}`, at0, to, { events: turn.events, waited_us: turn.waited });
    for (let r = turn.from; r < turn.to; r++) {
      const record = ring.records[r];
      const key = connectionOf(record);
      const a = at0 + Math.floor(((to - at0) * (r - turn.from)) / (n + 1));
      const b = at0 + Math.floor(((to - at0) * (r - turn.from + 1)) / (n + 1));
      if (record.e === "turn") continue;
      slice(1, `${record.e}${key ? ` ${key}` : ""}`, a, b, { says: words(record, ring.hello) });
      if (!key) continue;
      const life = lives(key, record.e === "accept" ? a : start, record.from ?? null);
      if (record.e === "accept") {
        open++;
        life.mode = "ReadingHead";
      }
      if (record.e === "step" && record.to !== life.mode) {
        if (life.mode === null) life.mode = record.from;
        if (record.to !== life.mode) {
          life.modes.push([life.mode, life.since, b]);
          life.mode = record.to;
          life.since = b;
        }
      }
      if (record.e === "close") {
        life.died = b;
        life.cause = record.cause;
        open--;
      }
      // One flow for a request: its event, its first read, the send that ends its answer.
      const point = () => a + Math.floor((b - a) / 2);
      const flow = requests.get(key);
      if (record.e === "mark" && (!flow || flow.answered)) {
        finish(key);
        requests.set(key, { points: [point()], answered: false });
      } else if (record.e === "read" && record.n > 0) {
        if (!flow || flow.answered) {
          finish(key);
          requests.set(key, { points: [point()], answered: false, read: true });
        } else if (!flow.read) {
          flow.points.push(point());
          flow.read = true;
        }
      } else if (record.e === "step" && record.status && flow) flow.answered = true;
      else if (record.e === "send" && flow?.answered && record.n > 0) {
        if (flow.sent) flow.points.pop();
        flow.points.push(point());
        flow.sent = true;
        if (record.left === 0) finish(key);
      } else if (record.e === "close") finish(key);
    }
    put({ ph: "C", ts: ts(at0), name: "events", args: { n: turn.events } });
    end = to;
  }
  for (const key of [...requests.keys()]) finish(key);
  for (const slot of [...slots].sort((a, b) => a - b)) name(100 + slot, `#${slot}`);
  for (const [key, life] of tenants) {
    const tid = 100 + slotOf(key);
    const died = life.died ?? end;
    slice(
      tid,
      [key, ring.peers.get(key)].filter(Boolean).join(" "),
      life.born,
      died,
      life.cause && { cause: life.cause },
    );
    if (life.mode !== null && life.mode !== "Closed") life.modes.push([life.mode, life.since, died]);
    for (const [mode, a, b] of life.modes) if (mode !== null) slice(tid, mode, a, Math.min(b, died));
  }
  flows.forEach((points, i) =>
    points.forEach((at, j) => {
      const last = j === points.length - 1;
      put({
        ph: j === 0 ? "s" : last ? "f" : "t",
        tid: 1,
        ts: ts(at),
        id: i + 1,
        cat: "request",
        name: "request",
        ...(last && { bp: "e" }),
      });
    }),
  );
  return `[\n${events.join(",\n")}\n]\n`;
}

/** Opens the trace in Perfetto. The page is loaded from the internet; the trace goes to its window only. */
export function openInPerfetto(text, title, say) {
  const other = window.open(PERFETTO);
  if (!other) return say("The browser has not opened a window. Allow it, or save the trace as Chrome JSON.");
  say("Waiting for ui.perfetto.dev.");
  const buffer = new TextEncoder().encode(text).buffer;
  const stop = () => {
    clearInterval(timer);
    clearTimeout(late);
    removeEventListener("message", answer);
  };
  const answer = (e) => {
    if (e.source !== other || e.origin !== PERFETTO || e.data !== "PONG") return;
    stop();
    other.postMessage({ perfetto: { buffer, title } }, PERFETTO);
    say("Perfetto has the trace.");
  };
  addEventListener("message", answer);
  const timer = setInterval(() => other.postMessage("PING", PERFETTO), 50);
  const late = setTimeout(() => {
    stop();
    say(
      "ui.perfetto.dev has not answered. Without the internet, save the trace as Chrome JSON, and open it elsewhere.",
    );
  }, 30_000);
}
