// The inspector. The server sends states, not events, and the page shows the last one: a frame that was skipped
// is missed by nobody. Only the ribbon of turns keeps what came before.

import { $, chips, count, make, MODES, num, put, show, slotOf, us } from "./dom.js";
import { drawFigures } from "./figures.js";
import { Grid, PAGE } from "./grid.js";
import { Modes } from "./modes.js";
import { drawPicked } from "./pipe.js";
import { Replay } from "./replay.js";
import { drawTurns, History, piece, Ribbon } from "./ribbon.js";
import { Ring, stepped } from "./ring.js";

const RETRY = [500, 1000, 2000, 4000]; // ms between two tries to reach the server
const PACE = 180; // ms between two drawings of what the server says
const STEP = 150; // ms until a step is over
const CALM = 300; // ms between two states of the numbers
const NOTICE = 10_000; // ms for a notice that nobody needs to keep
const HIDDEN = 2000; // ms: a page that nobody sees for so long lets the server rest

const controls = document.querySelectorAll("[data-control]");

// What the server said last, in its hello and in a frame
let hello = null;
let live = null;

// What the user has chosen
let picked = null;
let filter = "";
let froms = [0]; // the first slot of each page up to the shown one
let wish = null; // the moment that the address names, until it is restored

// The connection, and what is under way
let socket = null;
let failures = 0;
let retry = 0;
let isLost = false;
let freezing = false;
let blocking = null; // after “block the loop”

// The drawing
let scheduled = null;
let drawn = 0; // ms: the last time
let numbersDrawn = 0;
let turnsDrawn = 0;
let rates = []; // [ms, requests] of the last second
const counts = new Map(); // letter -> element
const past = new History();
const ribbon = new Ribbon();
const grid = new Grid();
const modes = new Modes();
const replay = new Replay();

// The connection to the server

function connect() {
  clearTimeout(retry);
  const url = new URL("watch", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const mine = (socket = new WebSocket(url));
  let wasOpen = false;
  mine.onopen = () => {
    failures = 0;
    wasOpen = true;
  };
  mine.onmessage = (e) => {
    if (mine === socket) take(JSON.parse(e.data));
  };
  mine.onclose = () => {
    if (mine !== socket) return;
    socket = null;
    const wait = RETRY[Math.min(failures++, RETRY.length - 1)];
    retry = setTimeout(connect, wait);
    isLost = true;
    if (!wasOpen && failures > 1) look();
    else lose();
    $("freeze").disabled = !replay.ring;
    for (const el of controls) el.disabled = true;
    put($("control-said"), "");
    blocking = null;
    ribbon.now = "last news";
    draw();
  };
}

/** Without a connection: whether the server is there, and shows no loop. */
async function look() {
  const answer = await fetch("status.json", { cache: "no-store" }).catch(() => null);
  if (socket?.readyState === WebSocket.OPEN) return;
  if (!answer || answer.ok) return lose();
  state("lost", "No loop is shown");
  notice("The server answers, but shows no loop (--inspect=off). The page tries again.");
}

function lose() {
  state("lost", "No connection");
  const old = live ? " Until then, the numbers are the last ones." : "";
  notice(`No connection to the server. The page tries again.${old}`);
}

function send(message) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function sendView() {
  const from = froms.at(-1);
  send({ view: { from, to: from + PAGE - 1, filter } });
}

let hiding = 0;
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) {
    hiding = setTimeout(() => {
      // Without a watcher the loop runs, and the page under test may be in the tab in front.
      if (live?.pace && live.pace !== "run") return;
      const old = socket;
      socket = null;
      clearTimeout(retry);
      old?.close();
      state("rest", "Resting, because the page is hidden.");
    }, HIDDEN);
  } else if (!socket) connect();
});
addEventListener("pageshow", (e) => {
  if (e.persisted && !socket) connect();
});

function take(message) {
  if (message.hello) return greet(message.hello);
  if (!hello) return;
  live = message;
  past.add(live);
  rates.push([live.at_ms, live.counters.requests]);
  while (rates.length > 2 && rates[0][0] < live.at_ms - 1050) rates.shift();
  if (wish) restore();
  if (blocking) watchBlock();
  draw(PACE);
}

function greet(it) {
  if (hello && hello.instance !== it.instance) {
    past.clear();
    rates = [];
    if (!replay.ring) pick(null);
    froms = [0];
    notice("The server was started again. All numbers begin anew, and older turns are gone.", NOTICE);
  } else {
    past.clear();
    if (isLost) notice("");
  }
  isLost = false;
  ribbon.now = "now";
  for (const el of controls) el.disabled = false;
  const isFirst = !hello || hello.transitions.length !== it.transitions.length;
  hello = it;
  if (isFirst) modes.build(hello);
  show($("control"), hello.control);
  show($("control-how"), !hello.control);
  for (const el of document.querySelectorAll("[data-limit]")) {
    const value = hello.limits?.[el.dataset.limit];
    if (value) put(el, el.dataset.limit.endsWith("_ms") ? `${num(value / 1000)} s` : `${num(value / 1024)} KiB`);
  }
  if (hello.pid) for (const el of document.querySelectorAll(".pid")) put(el, String(hello.pid));
  put($("foot"), `oneloop ${hello.version}, run ${hello.instance}. This page is the connection ${hello.you}.`);
  $("freeze").disabled = false;
  sendView();
  send({ pick: picked });
}

// What the page shows

function state(is, text) {
  $("state").dataset.is = is;
  put($("state"), text);
}

/** Shows a notice, for some time if `ms` says so. */
function notice(text, ms) {
  clearTimeout(noticing);
  if (ms) noticing = setTimeout(notice, ms, "");
  put($("notice"), text);
  show($("notice"), Boolean(text));
}
let noticing = 0;

/** Draws at the next frame of the browser, and never in a hidden page. News from the server may wait for `pace` ms. */
function draw(pace = 0) {
  const wait = Math.max(0, drawn + pace - performance.now());
  if (scheduled && wait >= scheduled.wait) return;
  clearTimeout(scheduled?.timer);
  scheduled = { wait, timer: setTimeout(() => requestAnimationFrame(drawNow), wait) };
}

const FROZEN = {
  run: "Frozen; the server goes on",
  slow: "Frozen; the server is in slow motion",
  paused: "Frozen; the server is paused, too",
};

function drawNow() {
  scheduled = null;
  drawn = performance.now();
  if (!live || !hello) return;
  const { ring } = replay;
  const pace = live.pace ?? (live.paused ? "paused" : "run");
  if (socket && ring) state("frozen", FROZEN[pace]);
  else if (socket && pace === "paused") state("paused", "Paused by control");
  else if (socket && pace === "slow") state("slow", "Slow motion by control: 4 turns a second");
  else if (socket) state("live", "Live");
  put($("freeze"), ring ? "Thaw" : "Freeze");
  document.body.classList.toggle("frozen", Boolean(ring));
  // Numbers that change ten times a second cannot be read.
  const calm = drawn - numbersDrawn < CALM;
  if (ring) drawPast(ring);
  else drawLive(calm);
  drawControl();
  if (calm) return;
  numbersDrawn = drawn;
  drawFigures(live, hello);
  put($("figures-says"), `the start was ${lasted(live.at_ms)} ago${ring ? "; live, not frozen" : ""}`);
  put($("util-all"), `${percent(live.loop.utilization)} % since the start of the server, ${lasted(live.at_ms)} ago`);
  put($("skipped"), num(live.skipped ?? 0));
}

function drawLive(calm) {
  drawSlots(live.slots, live.counters.open, live.modes, "");
  ribbon.draw(past.pieces, past.end);
  if (calm) return;
  const { turns, time, worked, longest } = past.sum(1e6);
  if (time) put($("util"), percent(worked / time));
  const [a, b] = [rates[0], rates.at(-1)];
  const seconds = b ? (b[0] - a[0]) / 1000 : 0;
  // A long turn reaches further back than a second.
  const spanned = time > 1.25e6 ? `${us(time)}, as far as a long turn reaches back` : "second";
  put($("util-says"), `of the last ${spanned}: the time that the loop worked instead of waiting in epoll_wait.`);
  put(
    $("util-more"),
    [
      time && `${num(Math.round((turns / time) * 1e6))} turns/s`,
      seconds > 0.1 && `${num(Math.max(0, Math.round((b[1] - a[1]) / seconds)))} requests/s`,
      time && `longest turn of this time ${us(longest)}`,
    ]
      .filter(Boolean)
      .join(" · "),
  );
  if (performance.now() - turnsDrawn > 1000) {
    turnsDrawn = performance.now();
    drawTurns(past.newest(24));
  }
  const cause = hello.causes.find(([name]) => name === live.picked?.cause)?.[1];
  drawPicked(live.picked, {
    cause,
    key: picked,
    you: hello.you,
    before: !live.picked && asked > performance.now() - 600,
  });
  modes.draw(live.ways);
  put($("modes-says"), "counts since the start of the server");
}

function drawPast(ring) {
  const { turn } = replay;
  const now = ring.state(replay.at);
  put($("util"), percent(ring.utilization));
  put($("util-says"), "of all turns in the ring: the time that the loop worked instead of waiting in epoll_wait.");
  put($("util-more"), `live: ${percent(past.sum(1e6).worked / (past.sum(1e6).time || 1))} % of the last second`);
  ribbon.draw(ring.pieces, turn.at + ribbon.window / 2, turn);
  if (performance.now() - turnsDrawn > 250) {
    turnsDrawn = performance.now();
    drawTurns(ring.turns.slice(Math.max(0, replay.at - 23), replay.at + 1).toReversed());
  }
  const from = froms.at(-1);
  const match = now.entries.filter(([key, letter]) => slotOf(key) >= from && (!filter || letter === filter));
  const list = filter ? match.slice(0, PAGE) : match.filter(([key]) => slotOf(key) < from + PAGE);
  const next = filter ? (match.length > PAGE ? slotOf(match[PAGE][0]) : null) : undefined;
  drawSlots({ count: now.count, from, list, next }, now.entries.length, lettersOf(now.entries), ` (turn ${turn.n})`);
  drawPicked(picked && ring.picked(now, picked), { key: picked, you: hello.you, past: true });
  modes.draw(now.ways, now.hot);
  put($("modes-says"), `counts in the ring up to turn ${num(turn.n)}; this turn’s ways stand out`);
  replay.draw(picked, live);
}

function drawSlots(slots, open, letters, when) {
  grid.draw(slots, { filter, picked, you: hello.you, when });
  const watchers = live.watchers > 1 ? `${live.watchers} inspectors are` : "This page’s own connection is";
  put(
    $("slots-says"),
    when
      ? `As the records tell${when}. Connections without a record are shown for the slots in view at the freeze.`
      : `${num(open)} open${hello.limits?.connections_max ? ` of at most ${num(hello.limits.connections_max)}` : ""}. ${watchers} marked, and not counted.`,
  );
  if (!filter && slots.from === 0 && slots.count <= PAGE) letters = lettersOf(slots.list);
  // The server counts R with those between two requests, because it looks at no connection to count.
  const isTogether = letters && letters["·"] === undefined && !when;
  for (const [letter, el] of counts) {
    const n = letter && letters ? num(letters[letter] ?? 0) : "";
    put(el, isTogether && letter === "·" ? "" : isTogether && letter === "R" ? `${n} with ·` : n);
  }
  const next = slots.next !== undefined ? slots.next : slots.from + PAGE < slots.count ? slots.from + PAGE : null;
  show($("pages"), froms.length > 1 || next !== null);
  $("p-back").disabled = froms.length < 2;
  $("p-next").disabled = next === null;
  $("p-next").dataset.next = next ?? "";
  put(
    $("p-says"),
    filter
      ? `from slot ${num(slots.from)}, of ${num(slots.count)}`
      : `slots ${num(slots.from)} to ${num(Math.min(slots.from + PAGE, slots.count) - 1)} of ${num(slots.count)}`,
  );
}

/** How many connections have each letter, without this page. */
function lettersOf(entries) {
  const letters = Object.fromEntries(Object.keys(MODES).map((letter) => [letter, 0]));
  for (const [key, letter] of entries) if (key !== hello.you) letters[letter]++;
  return letters;
}

function drawControl() {
  if (!hello.control) return;
  const pace = live.pace ?? (live.paused ? "paused" : null);
  for (const el of controls) {
    const on = (el.dataset.control === "pause" && pace === "paused") || el.dataset.control === pace;
    if (el.dataset.on !== String(on)) {
      el.dataset.on = on;
      el.setAttribute("aria-pressed", on);
    }
  }
}

/** After “block the loop”: looks for the long turn, and for how many events the next turn began with. */
function watchBlock() {
  let found = live.blocked?.turn > blocking.turn ? live.blocked : blocking.seen;
  if (!found) {
    const [turn, , worked_us] = live.turns.find(([n, , worked]) => n > blocking.turn && worked >= 1.5e6) ?? [];
    if (!turn) return;
    found = blocking.seen = { turn, worked_us };
  }
  const events = found.events_after ?? live.turns.find(([n]) => n === found.turn + 1)?.[3];
  if (events === undefined && live.turn <= found.turn + 1) return; // the next turn is not over
  blocking = null;
  const after =
    events === undefined
      ? "The turn after it was not sent one by one; freeze to see it."
      : `Then epoll_wait returned ${count(events, "event")} in one batch.`;
  put($("control-said"), `Turn ${num(found.turn)} took ${us(found.worked_us)}. Every cell stood still. ${after}`);
}

/** After a step: what it did, from the flight recorder. */
async function tellStep(since) {
  await new Promise((done) => setTimeout(done, STEP));
  let told = null;
  try {
    told = stepped(await (await fetch("ring", { cache: "no-store" })).text(), since, hello);
  } catch {} // the connection is lost, which the page says
  if (socket && live.paused) put($("control-said"), told ?? "One turn was made. Freeze shows its records.");
}

/** How long the server has run. */
function lasted(ms) {
  const units = [
    [36e5, "h"],
    [6e4, "min"],
    [1e3, "s"],
  ];
  const [unit, name] = units.find(([unit]) => ms >= 2 * unit) ?? units[2];
  return `${num(Math.floor(ms / unit))}\u00a0${name}`;
}

const percent = (share) => (share * 100).toFixed(share < 0.01 && share > 0 ? 1 : 0);

// What the user does

let asked = 0;
function pick(key) {
  picked = key;
  asked = performance.now();
  numbersDrawn = 0;
  send({ pick: key });
  writeHash();
  draw();
}

/** Picks a connection, and shows its slot and its pipe. */
function lead(key) {
  const from = Math.floor(slotOf(key) / PAGE) * PAGE;
  if (!filter && froms.at(-1) !== from) {
    froms = from ? [0, from] : [0];
    sendView();
  }
  pick(key);
  $("picked").scrollIntoView({ block: "nearest" });
}

grid.onpick = (key) => pick(key === picked ? null : key);
grid.onpage = (by) => {
  const next = $("p-next").dataset.next;
  if (by > 0 && next !== "") froms.push(Number(next));
  else if (by < 0 && froms.length > 1) froms.pop();
  else return;
  sendView();
  draw();
};
replay.onpick = pick;
replay.address = writeNow;
replay.onmove = () => {
  numbersDrawn = 0;
  draw();
  writeHash();
};
ribbon.onwindow = () => draw();
ribbon.onturn = (time) => {
  if (replay.ring) {
    replay.stop();
    replay.go(replay.ring.at(time));
  }
};
modes.onway = (i) => {
  if (!replay.ring) {
    const key = live?.ways[i]?.[1];
    return key && lead(key);
  }
  const [from, to] = hello.transitions[i];
  const found = replay.ring.took(from, to, replay.at);
  if (!found) return notice(`No record in the ring goes from ${from} to ${to}.`);
  replay.stop();
  lead(found.key);
  replay.go(found.turn);
};
$("freeze").addEventListener("click", () => (replay.ring ? thaw() : freeze()));
for (const el of controls) {
  el.addEventListener("click", () => {
    const { control } = el.dataset;
    send({ control });
    if (control === "block") {
      blocking = { turn: live?.turn ?? 0 };
      put($("control-said"), "The loop is blocked. Watch the cells.");
    } else if (control === "step" && live && !live.paused)
      put($("control-said"), "The loop is not paused. Pause it first; then each step is one turn.");
    else if (control === "step") tellStep(live?.turn ?? 0);
    else put($("control-said"), "");
  });
}

/** Links within the page must not replace the part of the address that holds the moment. */
document.addEventListener("click", (e) => {
  const link = e.target.closest?.('a[href^="#"]');
  const target = link && $(link.getAttribute("href").slice(1));
  if (!target || e.ctrlKey || e.metaKey || e.shiftKey) return;
  e.preventDefault();
  for (const old of document.querySelectorAll(".target")) old.classList.remove("target");
  if (target.tagName === "DT") target.classList.add("target");
  target.tabIndex = -1;
  target.focus({ preventScroll: true });
  target.scrollIntoView({ block: "start" });
});

function makeFilter() {
  const label = (letter, word) => {
    const n = make("small");
    counts.set(letter, n);
    return letter ? [make("b", { textContent: letter }), ` ${word} `, n] : [word, n];
  };
  const choices = [
    ["", label("", "all")],
    ...Object.entries(MODES).map(([letter, [, word]]) => [letter, label(letter, word)]),
  ];
  chips($("filter"), "filter", choices, filter, setFilter);
}

function setFilter(letter) {
  filter = letter;
  froms = [0];
  sendView();
  writeHash();
  draw();
}

// Freeze

async function freeze(turn) {
  if (freezing) return;
  freezing = true;
  $("freeze").disabled = true;
  try {
    const answer = await fetch("ring", { cache: "no-store" });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const ring = new Ring(await answer.text(), live, hello);
    if (!ring.turns.length) throw new Error("the ring is empty");
    prepare(ring);
    let at = ring.turns.length - 1;
    notice("");
    if (turn !== undefined) {
      const found = ring.indexOf(turn);
      if (found >= 0) at = found;
      else
        notice(
          `Turn ${num(turn)} is not in the ring any more. The ring holds turns ${num(ring.turns[0].n)} to ${num(ring.turns.at(-1).n)}; the last one is shown.`,
        );
    }
    ribbon.fit((ring.end - ring.pieces[0].at) / ring.turns.length);
    replay.open(ring, at);
    if (turn === undefined) $("r-at").focus();
    writeHash();
  } catch (e) {
    notice(`The ring was not downloaded: ${e.message}.`);
  }
  freezing = false;
  $("freeze").disabled = false;
  draw();
}

/** The ring in the shape that the ribbon draws. */
function prepare(ring) {
  ring.pieces = [];
  let time = 0;
  let worked = 0;
  for (let i = 0; i < ring.turns.length; i += 64) {
    const part = piece(ring.turns.slice(i, i + 64));
    worked += part.worked;
    time += part.end;
    const [first, last] = [part.list[0], part.list.at(-1)];
    ring.pieces.push({ ...part, at: first.at - first.waited, end: last.at + last.worked });
  }
  ring.end = ring.pieces.at(-1).end;
  ring.utilization = time ? worked / time : 0;
}

function thaw() {
  replay.close();
  ribbon.fit();
  notice("");
  writeHash();
  send({ pick: picked });
  draw();
  $("freeze").focus();
}

// The address holds the moment: #turn=812&slot=3%2317&filter=S&frozen=1&run=…

let writing = 0;
/** Writes soon: browsers refuse an address that changes too often. */
function writeHash() {
  clearTimeout(writing);
  writing = setTimeout(writeNow, 300);
}

function writeNow() {
  clearTimeout(writing);
  const parts = new URLSearchParams();
  if (replay.ring) parts.set("turn", replay.turn.n);
  if (picked) parts.set("slot", picked);
  if (filter) parts.set("filter", filter);
  if (replay.ring) {
    parts.set("frozen", 1);
    parts.set("run", hello.instance);
  }
  const text = parts.toString();
  history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  return location.href;
}

function readHash() {
  if (!location.hash.includes("=")) return;
  const parts = new URLSearchParams(location.hash.slice(1));
  wish = {
    turn: parts.has("turn") ? Number(parts.get("turn")) : undefined,
    frozen: parts.has("frozen"),
    run: parts.get("run"),
  };
  const slot = parts.get("slot");
  const letter = parts.get("filter") ?? "";
  picked = slot && /^\d+#\d+$/.test(slot) ? slot : null;
  filter = letter in MODES ? letter : "";
  const from = picked && !filter ? Math.floor(slotOf(picked) / PAGE) * PAGE : 0;
  froms = from ? [0, from] : [0];
  for (const input of document.querySelectorAll("#filter input")) input.checked = input.value === filter;
}

/** Shows the moment that the address names, as far as the server still has it. */
function restore() {
  const { turn, frozen, run } = wish;
  wish = null;
  if (run && run !== hello.instance) {
    picked = null;
    send({ pick: null });
    return notice(
      `This link names turn ${num(turn)} of another run of the server. That moment is gone; the page shows the present.`,
    );
  }
  if (frozen) freeze(turn);
}

addEventListener("hashchange", () => {
  if (!location.hash.includes("=")) return;
  if (replay.ring) thaw();
  readHash();
  sendView();
  send({ pick: picked });
});

// What a link leads to must not lie under the header, whose height depends on the width and the words.
new ResizeObserver(([entry]) =>
  document.documentElement.style.setProperty("--top", `${Math.ceil(entry.borderBoxSize[0].blockSize)}px`),
).observe(document.querySelector(".top"));

readHash();
makeFilter();
connect();
