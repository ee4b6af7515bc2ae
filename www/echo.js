// The echo: measures how long a message takes to come back, and checks that the message is unchanged.

import { $, bytes, clock, count, figure, make, ms, step, svg } from "./dom.js";
import { Link, afterLoad, inWords, show } from "./link.js";

const ROUNDS = 100;
const WARM_UP = 5;
const RUNS = 6; // measurements kept in the table
const SAID = 8; // messages kept in the list
const HEARTBEAT = 5_000; // ms
const SILENCE = 10_000; // ms without an answer after which a connection counts as dead

const link = new Link();
const awaited = []; // messages on their way, in the order of sending and of coming back
let measuring = false;

link.onmessage = (data) => {
  const now = performance.now();
  const one = awaited.shift();
  if (!one) return;
  clearTimeout(one.timer);
  one.done({ time: now - one.sent, same: same(one.data, data), data });
};

link.addEventListener("state", () => {
  if (link.state === "open") return;
  for (const one of awaited.splice(0)) {
    clearTimeout(one.timer);
    one.failed(new Error("lost"));
  }
});

function ping(data) {
  return new Promise((done, failed) => {
    const one = { data, done, failed, sent: performance.now() };
    if (!link.send(data)) return failed(new Error("not connected"));
    one.timer = setTimeout(() => link.drop("The echo does not answer."), SILENCE);
    awaited.push(one);
  });
}

function same(a, b) {
  if (typeof a === "string") return a === b;
  if (!(b instanceof ArrayBuffer) || b.byteLength !== a.byteLength) return false;
  const other = new Uint8Array(b);
  return a.every((byte, i) => byte === other[i]);
}

// ---- the connection, and the notice that the connection is lost

let wanted = true;
const connect = () => link.open(wanted ? "/echo" : "/echo?deflate=off");
$("echo-deflate").onchange = (e) => {
  wanted = e.target.checked;
  connect();
};
show(link, $("echo-state"), () => "Connected.");
link.addEventListener("state", () => {
  const open = link.state === "open";
  $("run").disabled = !open || measuring;
  $("say-it").disabled = !open;
  if (!open) return;
  $("echo-words").textContent = inWords(link.extensions, wanted);
  setTimeout(beat, 1_000); // until then the page is still loading
});

const notice = $("notice");
const speak = show(link, $("notice-words"), () =>
  link.downFor ? `The server is back, after ${count(Math.round(link.downFor / 1000), "second")}.` : "");
$("now-try").onclick = () => link.hurry();
let fade = 0;
link.addEventListener("state", () => {
  clearTimeout(fade);
  const down = link.lostAt > 0;
  if (down) notice.hidden = link.absent; // without the endpoint, the message beside the echo is enough
  else if (link.state === "open") fade = setTimeout(() => { notice.hidden = true; }, link.downFor ? 4_000 : 0);
  $("now-try").hidden = !down;
  speak();
});
afterLoad(connect);

// ---- the heartbeat, which also detects a dead connection

async function beat() {
  if (document.hidden || measuring || awaited.length) return;
  try {
    await ping("still there?"); // not measured: wakes sleeping processes, which takes longest
    const { time } = await ping("still there?");
    $("now-trip").textContent = ms(time);
  } catch {
    $("now-trip").textContent = "–";
  }
}
setInterval(() => { if (link.state === "open") beat(); }, HEARTBEAT);

// ---- the measurement

$("measure").onsubmit = async (e) => {
  e.preventDefault();
  const form = new FormData(e.target);
  const size = Number(form.get("size"));
  const random = form.get("kind") === "random";
  const name = `${size < 1024 ? `${size} B` : `${size / 1024} KiB`} ${random ? "random" : "text"}`;
  const compressed = link.extensions.includes("permessage-deflate");
  const times = [];
  let sound = true;
  measuring = true;
  $("run").disabled = true;
  $("run").textContent = "Warming up";
  try {
    for (let i = -WARM_UP; i < ROUNDS; i++) {
      const { time, same } = await ping(random ? noise(size) : prose(size, i + WARM_UP));
      sound &&= same;
      if (i >= 0) times.push(time);
      if (i % 10 === 0) $("run").textContent = `${i} of ${ROUNDS}`;
    }
    const result = summarise(times);
    draw(times, result);
    const tick = step();
    $("caption").textContent = `${name}, compression ${compressed ? "on" : "off"}: ${count(ROUNDS, "round trip")}, one after the other. `
      + (sound ? "All came back unchanged. " : "Some came back changed! ")
      + `Mean ${ms(result.mean, 2)}; this browser’s clock moves in steps of ${tick >= 1 ? ms(tick, 0) : ms(tick, tick < 0.05 ? 3 : 1)}.`
      + (compressed ? await onTheWire(size, random) : "");
    enter(name, compressed, result);
  } catch {
    $("caption").textContent = "The connection was lost during the measurement.";
  }
  measuring = false;
  $("run").textContent = "Measure";
  $("run").disabled = link.state !== "open";
};

const noise = (size) => crypto.getRandomValues(new Uint8Array(size));

/** Returns text like the messages of many programs: records that resemble each other. */
function prose(size, turn) {
  let text = "";
  for (let n = turn * 7; text.length < size; n++) {
    text += `{"turn":${n},"slot":${n % 64},"ready":"${n % 3 ? "read" : "write"}"}\n`;
  }
  return text.slice(0, size);
}

async function onTheWire(size, random) {
  if (!globalThis.CompressionStream) return "";
  try {
    const packed = new Blob([random ? noise(size) : prose(size, 0)]).stream().pipeThrough(new CompressionStream("deflate-raw"));
    const { byteLength } = await new Response(packed).arrayBuffer();
    return ` Deflate compresses ${bytes(size)} such bytes to ${bytes(byteLength)} (calculated in this page: browsers do not tell pages the size on the wire).`;
  } catch {
    return "";
  }
}

function summarise(times) {
  const sorted = times.toSorted((a, b) => a - b);
  const rank = (p) => sorted[Math.ceil(p * sorted.length) - 1];
  return {
    min: sorted[0], median: rank(0.5), p95: rank(0.95), max: sorted.at(-1),
    mean: times.reduce((a, b) => a + b) / times.length,
  };
}

function draw(times, { min, median, p95, max }) {
  for (const [id, value] of Object.entries({ min, median, p95 })) $(id).textContent = figure(value);
  const top = Math.min(max, 2.5 * p95) || 1;
  const y = (t) => 118 - 112 * Math.min(t / top, 1);
  $("chart").replaceChildren(
    ...times.map((t, i) => svg("rect", { class: t > p95 ? "slow" : "", x: i * 6 + 1, width: 4, y: y(t), height: 120 - y(t) })),
    svg("path", { d: `M0 ${y(median)}H600M0 ${y(p95)}H600` }));
  $("chart").setAttribute("aria-label", `The time of each round trip, in order: ${ms(min)} to ${ms(max)}.`);
  $("scale").textContent = `One bar per round trip, scale 0 to ${ms(top)}${max > top ? ` (the slowest took ${ms(max)})` : ""}. Lines: median and p95.`;
}

function enter(name, compressed, { min, median, p95 }) {
  const rows = $("runs").tBodies[0];
  rows.prepend(make("tr", {}, make("th", { scope: "row", textContent: name }),
    ...[compressed ? "on" : "off", figure(min), figure(median), figure(p95)].map((textContent) => make("td", { textContent }))));
  while (rows.rows.length > RUNS) rows.deleteRow(-1);
  $("runs").hidden = false;
}

// ---- one message typed by the user

$("say").onsubmit = async (e) => {
  e.preventDefault();
  const text = $("say-text").value;
  if (!text) return;
  let line;
  try {
    const { time, same, data } = await ping(text);
    const told = `${same ? "unchanged" : "changed!"}, ${ms(time)}`;
    line = make("li", {}, make("q", { textContent: typeof data === "string" ? data : "(binary)", dir: "auto" }), " ",
      make("small", { textContent: `${told}, ${clock(Date.now())}` }));
    $("say-text").value = "";
  } catch {
    line = make("li", {}, make("small", { textContent: "The message did not come back: the connection was lost." }));
  }
  $("said").prepend(line);
  while ($("said").children.length > SAID) $("said").lastChild.remove();
};
