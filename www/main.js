// The page itself: the colours, the address of this server in the commands, and the browser's own record of
// the page load.

import { $, bytes, count, kept, make, ms } from "./dom.js";

const BURST = 12;

// ---- colours: those of the system, or the user's choice; a script in the head of the page applies the choice
// before the first paint

const THEMES = { auto: "Auto", light: "Light", dark: "Dark" };
let theme = kept.get("localStorage", "theme");
if (!Object.hasOwn(THEMES, theme)) theme = "auto";
$("theme-name").textContent = THEMES[theme];
$("theme").onclick = () => {
  const names = Object.keys(THEMES);
  theme = names[(names.indexOf(theme) + 1) % names.length];
  document.documentElement.dataset.theme = theme;
  $("theme-name").textContent = THEMES[theme];
  kept.set("localStorage", "theme", theme);
};

// ---- the folded parts: open in a wide window; in a narrow window, a link to the section opens its part

const wide = matchMedia("(min-width: 44rem)").matches;
for (const fold of document.querySelectorAll("details")) {
  const hash = `#${fold.closest("section").getAttribute("aria-labelledby")}`;
  fold.open = wide || location.hash === hash;
  document.querySelector(`nav [href="${hash}"]`)?.addEventListener("click", () => { fold.open = true; });
}

// ---- the address in the commands

if (location.host) {
  const at = {
    origin: location.origin,
    host: location.host,
    hostname: location.hostname,
    port: location.port || (location.protocol === "https:" ? "443" : "80"),
  };
  for (const el of document.querySelectorAll("[data-at]")) el.textContent = at[el.dataset.at];
}

if (navigator.clipboard) { // exists in secure contexts only
  for (const cmd of document.querySelectorAll(".cmd")) {
    const button = make("button", { type: "button", textContent: "Copy" });
    button.onclick = async () => {
      await navigator.clipboard.writeText(cmd.querySelector("code").textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    };
    cmd.firstChild.prepend(button); // the code flows round the button
  }
}

// ---- the fetches

const page = performance.getEntriesByType("navigation");
let burst = [];
let burstDone = false;

new PerformanceObserver((list) => {
  for (const e of list.getEntries()) {
    if (new URL(e.name).origin !== location.origin) continue;
    if (e.initiatorType !== "fetch") {
      // The browser fetches favicon.svg again for the tab, long after the rest.
      if (page.every((other) => other.name !== e.name)) page.push(e);
    } else if (e.name.endsWith("/favicon.svg")) burst.push(e); // a lost link fetches link.js
  }
  draw();
}).observe({ type: "resource", buffered: true });
addEventListener("load", draw);
draw();

function draw() {
  if (!page.length) return;
  page.sort((a, b) => a.fetchStart - b.fetchStart);
  const asked = page.filter((e) => source(e) !== "cached");
  const kept = page.length - asked.length;
  const connects = asked.filter((e) => e.connectEnd > e.fetchStart).length; // equal if the connection was open already
  const { from, span } = extent(page);
  const words = [];
  if (asked.length) {
    const same = asked.filter((e) => source(e) === "304").length;
    words.push(`${count(asked.length, "response")} from ${location.host}${same ? ` (not modified: ${same})` : ""}: `
               + `${bytes(total(asked))} bytes of body in ${ms(span)}.`);
    // Only connections that delayed a fetch are visible: a connection opened in advance looks like a kept one.
    words.push(connects ? `${connects} of them had to wait for a new connection.` : "None had to wait for a new connection.");
  }
  const share = serverShare(asked);
  if (share !== null) words.push(`The server’s own share was ${ms(share)}, by its field Server-Timing.`);
  if (kept) words.push(`${count(kept, "resource")} came from the browser’s cache.`);
  if (!asked.length) words.push("Reload the page to ask the server.");
  $("summary").textContent = words.join(" ");
  fill($("page"), page, from, span);
  if (burstDone && burst.length) {
    const { from, span } = extent(burst);
    $("status").textContent = `${count(burst.length, "response")} in ${ms(span)}.`;
    fill($("again"), burst, from, span);
    $("again").hidden = false;
  }
  $("now-load").textContent = asked.length ? `${count(asked.length, "response")}, ${ms(span)}` : "from the browser’s cache";
  $("measured").hidden = false;
}

// The milliseconds that the server has told with --server-timing; null without the flag. The writes of an answer
// come after its head, so the head of the next answer tells them.
function serverShare(entries) {
  const own = ["parse", "file", "endpoint", "send"];
  const times = entries.flatMap((e) => e.serverTiming ?? []).filter((t) => own.includes(t.name));
  return times.length ? times.reduce((sum, t) => sum + t.duration, 0) : null;
}

function extent(entries) {
  const from = Math.min(...entries.map((e) => e.fetchStart));
  return { from, span: Math.max(...entries.map((e) => e.responseEnd)) - from || 1 };
}

$("burst").onclick = async () => {
  burst = [];
  burstDone = false;
  performance.clearResourceTimings(); // the buffer of entries is finite
  $("burst").disabled = true;
  try {
    await Promise.all(Array.from({ length: BURST }, async () =>
      (await fetch("favicon.svg", { cache: "no-store" })).arrayBuffer()));
    burstDone = true; // the observer draws again for entries that arrive later
    draw();
  } catch {
    $("again").hidden = true;
    $("status").textContent = "The server did not answer. Is it still running?";
  }
  $("burst").disabled = false;
};

// ---- one table

function fill(table, entries, from, span) {
  const head = row(["Resource", "Bytes", "Time", "Protocol", `Timeline, 0 to ${ms(span)}`], "columnheader");
  const rows = entries.map((e) => {
    const name = new URL(e.name).pathname.split("/").pop() || "/";
    const status = source(e) === "304" ? 304 : e.responseStatus >= 400 ? e.responseStatus : "";
    const title = make("span", { textContent: name });
    if (status) title.append(" ", make("small", { textContent: status }));
    const cached = source(e) === "cached";
    return row([
      title,
      cached ? "cached" : bytes(body(e)),
      ms(e.responseEnd - e.fetchStart),
      (!cached && e.nextHopProtocol) || "–",
      lane(e, from, span),
    ], "cell");
  });
  table.replaceChildren(group("thead", [head]), group("tbody", rows));
}

function lane(e, from, span) {
  const at = (t) => (t - from).toFixed(1);
  const label = `from ${at(e.fetchStart)} to ${at(e.responseEnd)}\u00a0ms`;
  const bar = make("span", { className: "bar", role: "img", ariaLabel: label });
  const request = e.requestStart || e.fetchStart; // some browsers report 0 for cached resources
  const first = e.responseStart || e.responseEnd;
  for (const [kind, a, b] of [["before", e.fetchStart, request], ["first", request, first], ["rest", first, e.responseEnd]]) {
    if (b <= a) continue;
    const part = make("i", { className: kind });
    part.style.left = `${100 * (a - from) / span}%`;
    part.style.width = `${100 * (b - a) / span}%`;
    bar.append(part);
  }
  return bar;
}

function row(values, role) {
  const tr = make("tr", { role: "row" });
  values.forEach((value, i) => {
    const heading = role === "columnheader" || i === 0;
    const cell = make(heading ? "th" : "td", { role: heading && role === "cell" ? "rowheader" : role });
    cell.append(value);
    if (i === 4) cell.className = "lane";
    tr.append(cell);
  });
  return tr;
}

function group(tag, rows) {
  const g = make(tag, { role: "rowgroup" });
  g.append(...rows);
  return g;
}

// transferSize is the size of the body plus a fixed 300 for the header. 300 alone means "304 Not Modified"
// (an empty body would look the same, but this page has none). 0 means that the browser did not ask the server.
function source(e) {
  if (e.transferSize === 0) return "cached";
  if (e.responseStatus === 304 || e.transferSize === 300 || e.transferSize < e.encodedBodySize) return "304";
  return "wire";
}
function body(e) { return source(e) === "wire" ? e.encodedBodySize : 0; }
function total(entries) { return entries.reduce((n, e) => n + body(e), 0); }

// ---- the hand of the diagram goes round twice when the diagram comes into view

const turn = document.querySelector(".turn");
const watch = new IntersectionObserver(([seen]) => {
  if (!seen.isIntersecting) return;
  turn.classList.add("turning");
  watch.disconnect();
}, { threshold: 0.6 });
watch.observe(turn);
