// The flight recorder as it was downloaded: what was open at each turn is made again from its records.

import { letterOf, size, slotOf } from "./dom.js";

export class Ring {
  header = {};
  records = [];
  peers = new Map(); // key -> address
  turns = []; // { n, at, waited, worked, events, from, to }: times in µs, records from..to
  hasClock = true;
  #touched = new Map(); // key -> indexes of turns
  #last = null; // the state that was asked for last
  #before = new Map(); // key -> what is known of a connection that was open before the first record

  /** `text`: JSON lines. `snapshot`: the frame of the moment, for connections that no record names. */
  constructor(text, snapshot, hello) {
    this.text = text;
    this.hello = hello;
    for (const line of text.split("\n")) {
      if (!line) continue;
      let record;
      try {
        record = JSON.parse(line);
      } catch {
        continue;
      } // a cut last line
      if ("oneloop-trace" in record) {
        this.header = record;
        continue;
      }
      this.#take(record);
    }
    const last = this.turns.at(-1);
    if (last) last.to = this.records.length;
    this.hasClock = this.turns.some((t) => t.timed);
    if (!this.hasClock) this.turns.forEach((t, i) => Object.assign(t, { at: i * 1000, waited: 100, worked: 900 }));
    // The ring may begin in the middle of a turn, whose own record is gone.
    for (let i = this.turns.length - 2; i >= 0; i--) {
      const t = this.turns[i];
      const next = this.turns[i + 1];
      if (t.at === null) t.at = next.at - next.waited - (t.worked ?? 0);
    }
    if (last) last.at ??= 0;
    this.#takeSnapshot(snapshot);
  }

  #take(record) {
    const at = this.records.length;
    let turn = this.turns.at(-1);
    if (record.e === "turn" || !turn) {
      if (turn) {
        turn.to = at;
        if (record.worked_us !== undefined) turn.worked = record.worked_us;
      }
      const timed = record.at_us !== undefined;
      turn = {
        n: record.t,
        at: timed ? record.at_us : null,
        waited: record.waited_us ?? 0,
        worked: 0,
        events: record.events ?? 0,
        from: at,
        to: at,
        timed,
      };
      this.turns.push(turn);
    }
    this.records.push(record);
    const key = connectionOf(record);
    if (!key) return;
    if (record.port) this.peers.set(key, `port ${record.port}`);
    const touched = this.#touched.get(key) ?? [];
    if (!touched.length) {
      this.#touched.set(key, touched);
      if (record.e !== "accept") this.#before.set(key, { mode: null, peer: "" });
    }
    if (touched.at(-1) !== this.turns.length - 1) touched.push(this.turns.length - 1);
    const known = this.#before.get(key);
    if (known && known.mode === null && record.e === "step") known.mode = record.from;
  }

  #takeSnapshot(snapshot) {
    const names = Object.fromEntries(this.hello.modes.map((mode) => [letterOf(mode), mode]));
    for (const [key, letter, peer, , , outbox] of snapshot?.slots?.list ?? []) {
      this.peers.set(key, peer);
      const mode = letter === "·" ? "ReadingHead" : names[letter];
      // No record at all: this connection was as it is now all the time.
      if (!this.#touched.has(key)) this.#before.set(key, { mode, still: true, outbox });
      else {
        const known = this.#before.get(key);
        if (known && known.mode === null) known.mode = mode;
      }
    }
    this.count = snapshot?.slots?.count ?? 0;
    for (const key of this.#touched.keys()) this.count = Math.max(this.count, slotOf(key) + 1);
  }

  get isWrapped() {
    return Boolean(this.header.wrapped);
  }

  /** The index of the turn with the number `n`, or -1. */
  indexOf(n) {
    const { turns } = this;
    let low = 0;
    let high = turns.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      if (turns[middle].n === n) return middle;
      if (turns[middle].n < n) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }

  /** The index of the turn under way at `time`. */
  at(time) {
    const next = this.turns.findIndex((t) => t.at - t.waited > time);
    return next < 0 ? this.turns.length - 1 : Math.max(0, next - 1);
  }

  touches(key) {
    return this.#touched.get(key) ?? [];
  }

  /** The last turn that took the way from `from` to `to`, up to the turn `i` if one did, and its connection. */
  took(from, to, i) {
    const isIt = (record) => record.e === "step" && record.from === from && record.to === to;
    let r = this.records.slice(0, this.turns[i].to).findLastIndex(isIt);
    if (r < 0) r = this.records.findLastIndex(isIt);
    return r < 0 ? null : { turn: this.turns.findLastIndex((t) => t.from <= r), key: this.records[r].c };
  }

  /** What was open at the end of the turn `i`, as far as the records say. */
  state(i) {
    if (this.#last?.i !== i) this.#last = { i, state: this.#state(i) };
    return this.#last.state;
  }

  #state(i) {
    const turn = this.turns[i];
    const open = new Map();
    const gone = new Map();
    const ways = this.hello.transitions.map(() => [0, null]);
    const hot = new Set();
    const index = new Map(this.hello.transitions.map(([from, to], n) => [`${from} ${to}`, n]));
    for (const [key, { mode, still, outbox }] of this.#before)
      open.set(key, { mode, still, unread: false, left: outbox ?? null, ready: {}, last: -1 });
    for (let r = 0; r < turn.to; r++) {
      const record = this.records[r];
      const key = connectionOf(record);
      if (!key) continue;
      if (record.e === "accept") {
        open.set(key, {
          mode: "ReadingHead",
          unread: false,
          left: 0,
          ready: { readable: true, writable: true, peer_closed: false },
          last: r,
        });
        continue;
      }
      if (record.e === "step") {
        const way = index.get(`${record.from} ${record.to}`);
        if (way !== undefined) {
          ways[way][0]++;
          ways[way][1] = key;
          if (r >= turn.from) hot.add(way);
        }
      }
      const c = open.get(key);
      if (!c) continue;
      c.last = r;
      if (record.e === "close") {
        open.delete(key);
        gone.set(key, record.cause);
      } else follow(c, record);
    }
    const entries = [...open].map(([key, c]) => this.#entry(key, c)).sort((a, b) => slotOf(a[0]) - slotOf(b[0]));
    return { entries, open, gone, ways, hot, count: this.count };
  }

  #entry(key, c) {
    const letter = c.mode === null ? "?" : c.mode === "ReadingHead" && !c.unread ? "·" : letterOf(c.mode);
    return [key, letter, this.peers.get(key) ?? "", this.#sentence(c), 0, c.left ?? 0];
  }

  #sentence(c) {
    if (c.still) return "no record in the ring: nothing happened to it";
    if (c.last < 0) return "open before the first record";
    const record = this.records[c.last];
    return `${words(record, this.hello).slice(record.c.length).replace(/^:? /, "")} (turn ${record.t})`;
  }

  /** The connection `key` in the shape of the server's `picked`. */
  picked({ open, gone }, key) {
    const c = open.get(key);
    if (!c) return { key, mode: "Closed", cause: this.hello.causes.find(([name]) => name === gone.get(key))?.[1] };
    const [, , peer, why] = this.#entry(key, c);
    return { key, mode: c.mode ?? "unknown", peer, why, outbox: c.left, ready: c.ready, kernel: null };
  }
}

/** The key of the connection that a record is about. An effect may name a request instead, such as `3/5`. */
export const connectionOf = ({ c }) => (c?.includes("#") ? c : undefined);

/** What a record says about its connection. */
function follow(c, { e, ready = "", n, end, left, to, drained }) {
  if (e === "mark") {
    if (ready.includes("r")) c.ready.readable = true;
    if (ready.includes("w")) c.ready.writable = true;
    if (ready.includes("c")) c.ready.peer_closed = true;
  } else if (e === "read") {
    if (end === "blocked" || drained) c.ready.readable = false;
    else if (n > 0) c.ready.readable = "probably";
    if (n > 0) c.unread = true;
  } else if (e === "send") {
    if (end === "blocked") c.ready.writable = false;
    if (left !== undefined) c.left = left;
  } else if (e === "step") {
    c.mode = to;
    c.unread = false;
  }
}

/** A record in words. The key stands first. */
export function words(r, hello) {
  switch (r.e) {
    case "turn":
      return `epoll_wait returned ${r.events} event${r.events === 1 ? "" : "s"}`;
    case "accept":
      return `${r.c} was accepted, and has slot ${slotOf(r.c)}`;
    case "mark": {
      const flags = { r: "readable", w: "writable", c: "peer closed" };
      const told = [...r.ready].map((letter) => flags[letter]).join(", ");
      return told
        ? `${r.c}: an event told of: ${told} (${r.ready.length > 1 ? "these flags are" : "this flag is"} set)`
        : `${r.c}: an event told of nothing`;
    }
    case "read":
      if (r.end === "blocked") return `${r.c} read nothing (EAGAIN): the receive queue is empty, readable is clear`;
      if (r.end === "eof") return `${r.c} read 0: the end, the peer has sent its FIN`;
      if (r.end) return `${r.c} could not read: the connection failed`;
      return `${r.c} read ${size(r.n)}${r.drained ? "; a short read, so readable is cleared" : ""}`;
    case "step": {
      const why = hello.transitions.find(([from, to]) => from === r.from && to === r.to)?.[2];
      const way = r.from === r.to ? `stays in ${r.to}` : `${r.from} → ${r.to}`;
      return `${r.c} ${way}${r.status ? `, status ${r.status}` : ""}${why ? `: ${why}` : ""}`;
    }
    case "send": {
      const left = r.left ? `${size(r.left)} left` : "nothing left";
      if (r.end === "blocked")
        return `${r.c} sent nothing (EAGAIN), ${left}: the send queue is full, writable is clear`;
      if (r.end) return `${r.c} could not send: the connection failed`;
      return `${r.c} sent ${size(r.n)}, ${left}`;
    }
    case "fin":
      return `${r.c} ended our direction (FIN)`;
    case "close":
      return `${r.c} is closed: ${hello.causes.find(([name]) => name === r.cause)?.[1] ?? r.cause}`;
    case "expire":
      return `${r.c} reached its deadline`;
    case "effect":
      return `${r.c ?? "the program"} left an effect, which is carried out: ${EFFECTS[r.what] ?? r.what}`;
    case "postponed":
      return r.why === "throttled"
        ? `${r.c} pauses: the queue of effects is full`
        : `${r.c} has spent its budget, and goes on in a later turn`;
    case "signal":
      return `a signal: ${r.what}`;
    case "lost":
      return `${r.n} records were lost`;
    default:
      return `${r.c ? `${r.c} ` : ""}${r.e}`;
  }
}

/**
 * What the last step of a paused loop did, in words; `null`: the records do not show it. `text`: the ring. The page's
 * own connection reads the wish in one turn, and the next turn is the step. What was held back is read before.
 */
export function stepped(text, since, hello) {
  const records = text
    .split("\n")
    .filter((line) => line.endsWith("}"))
    .map((line) => JSON.parse(line));
  const asked = records.findLast(({ e, c, t }) => e === "read" && c === hello.you && t > since);
  const n = asked && asked.t + 1;
  if (!asked || records.at(-1).t < n) return null;
  const unread = new Map();
  const did = new Map();
  for (const r of records) {
    const key = connectionOf(r);
    if (!key || key === hello.you) continue;
    if (r.e === "read" && r.n) unread.set(key, (unread.get(key) ?? 0) + r.n);
    if (r.t === n && ["step", "send", "close"].includes(r.e)) {
      const it = did.get(key) ?? { sent: 0, steps: [] };
      did.set(key, it);
      if (r.e === "step") {
        if (unread.has(key)) it.steps.push(`read ${size(unread.get(key))}`);
        if (r.status) it.steps.push(`answered ${r.status}`);
        else if (r.to !== r.from && r.to !== "Closed") it.steps.push(`went to ${r.to}`);
      } else if (r.e === "send") it.sent += r.n ?? 0;
      else it.end = hello.causes.find(([name]) => name === r.cause)?.[1] ?? r.cause;
    }
    if (r.e === "step") unread.delete(key);
  }
  const all = [...did].map(([key, { steps, sent, end }]) => {
    const said = [...steps, ...(sent ? [`sent ${size(sent)}`] : []), ...(end ? [`ended: ${end}`] : [])];
    return `${key} ${said.join(", ") || "took a step"}`;
  });
  const more = all.length > STEPS ? `; ${all.length - STEPS} more` : "";
  const told = all.length ? `${all.slice(0, STEPS).join("; ")}${more}` : "no connection had anything to do";
  return `Turn ${n.toLocaleString("en")}: ${told}.`;
}
const STEPS = 6; // connections

const EFFECTS = {
  ask: "a request goes to its endpoint",
  answer: "an answer of an endpoint, or a part of one",
  end: "an endpoint ends a connection",
  room: "a connection joins, watches or leaves a room",
  publish: "a message for one connection or many",
};
