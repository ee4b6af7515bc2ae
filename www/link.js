// A WebSocket that reconnects. After a loss, the link tries again with growing pauses, and the page shows the
// time of the next try.

import { clock, make } from "./dom.js";

const FIRST_WAIT = 500; // ms
const LONGEST_WAIT = 30_000; // ms
const STEADY = 5_000; // ms: after a connection that was open longer, the pauses start again at FIRST_WAIT
const PATIENCE = 10_000; // ms for the handshake

const links = new Set();

export class Link extends EventTarget {
  state = "idle"; // later "trying", "open" or "waiting"
  why = ""; // the reason why the link is not open
  absent = false; // the server answers HTTP, but not with a WebSocket at this path
  lostAt = 0; // the time of the loss, 0 while open
  retryAt = 0;
  downFor = 0; // ms without a connection before the last opening
  onmessage = () => {};
  #path = "";
  #socket = null;
  #timer = 0;
  #failures = 0;

  constructor() {
    super();
    links.add(this);
    addEventListener("online", () => this.hurry());
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.hurry(); });
    addEventListener("pagehide", () => this.#leave()); // an open socket keeps the page out of the back/forward cache
    addEventListener("pageshow", (e) => { if (e.persisted && this.#path) this.#try(); });
  }

  /** Opens the link at `path`, and closes the connection to any other path. */
  open(path) {
    this.#path = path;
    this.#failures = 0;
    this.lostAt = 0;
    this.#try();
  }

  /** Sends `data`. Returns false if the link is not open; nothing is queued for later. */
  send(data) {
    if (this.state !== "open" || this.#socket.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(data);
    return true;
  }

  /** Makes the next try now instead of later. */
  hurry() { if (this.state === "waiting") this.#try(); }

  /** Gives up a connection that does not answer. */
  drop(why) { this.#lost(true, why); }

  /** The extensions that browser and server agreed on. */
  get extensions() { return this.#socket?.extensions ?? ""; }

  #leave() {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null; // later events of this socket are ignored
    socket?.close();
  }

  #try() {
    this.#leave();
    const url = new URL(this.#path, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    let opened = 0;
    socket.onopen = () => {
      if (socket !== this.#socket) return;
      clearTimeout(this.#timer);
      opened = performance.now();
      this.downFor = this.lostAt && Date.now() - this.lostAt;
      this.why = "";
      this.lostAt = 0;
      this.#become("open");
      for (const other of links) other.hurry();
    };
    socket.onmessage = (e) => { if (socket === this.#socket) this.onmessage(e.data); };
    socket.onclose = (e) => {
      if (socket !== this.#socket) return;
      if (opened && performance.now() - opened > STEADY) this.#failures = 0;
      this.#lost(opened, opened ? farewell(e) : "The server does not answer.");
    };
    this.#timer = setTimeout(() => this.#lost(true, "The server took too long to answer."), PATIENCE);
    this.#become("trying");
  }

  async #lost(known, why) {
    this.#leave();
    // Half of the pause is random, so that a thousand pages do not reconnect at the same moment.
    const wait = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.#failures++) * (0.5 + Math.random() / 2);
    this.#timer = setTimeout(() => this.#try(), wait);
    this.retryAt = Date.now() + wait;
    this.lostAt ||= Date.now();
    if (known || !this.why) this.why = why;
    this.#become("waiting");
    if (known) return;
    // Browsers do not tell a page why a handshake failed, so the page requests a file to find out.
    this.absent = await answers();
    this.why = this.absent ? `The server answers, but not with a WebSocket at ${this.#path.split("?")[0]}.` : why;
    if (this.state === "waiting") this.#become("waiting");
  }

  #become(state) {
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }
}

function farewell({ code, reason }) {
  const said = reason && `, “${reason}”`;
  if (code === 1001) return `The server is going away (1001${said}).`;
  if (code === 1006) return "The connection was lost.";
  return `The server closed the connection (${code}${said}).`;
}

let probe = null;
function answers() {
  probe ??= fetch("link.js", { method: "HEAD", cache: "no-store" }).then(() => true, () => false)
    .finally(() => { probe = null; });
  return probe;
}

/** Shows the state of `link` in `el`. `words` returns the text for an open link. */
export function show(link, el, words) {
  const said = make("span");
  const when = make("span", { className: "when", ariaHidden: "true" }); // screen readers skip the countdown
  el.append(make("i", { className: "dot" }), said, " ", when);
  const draw = () => {
    el.dataset.state = link.state;
    const down = link.lostAt > 0;
    const text = link.state === "open" ? words() : down ? `${link.why} Not connected since ${clock(link.lostAt)}.` : "Connecting…";
    if (said.textContent !== text) said.textContent = text;
    const left = Math.ceil((link.retryAt - Date.now()) / 1000);
    when.textContent = !down ? ""
      : link.state === "trying" || left <= 0 ? "Trying again…"
      : `Next try in ${left} s, at ${clock(link.retryAt)}.`;
  };
  link.addEventListener("state", draw);
  setInterval(() => { if (link.state === "waiting") draw(); }, 500);
  draw();
  return draw;
}

/** Describes the extensions of an open connection. `wanted`: the page did not decline compression. */
export function inWords(extensions, wanted) {
  const [name, ...given] = extensions.split(";").map((s) => s.trim());
  if (name !== "permessage-deflate") {
    return wanted ? "Browser and server did not agree on compression. Messages are sent uncompressed."
      : "The page asked the server to decline compression. Messages are sent uncompressed.";
  }
  const alone = (side) => given.includes(`${side}_no_context_takeover`);
  const how = alone("server") && alone("client") ? "each message separately"
    : alone("server") ? "the server compresses each message separately"
    : alone("client") ? "the browser compresses each message separately" : "with reference to earlier messages";
  return `Compressed with permessage-deflate, ${how}.`;
}

/** Runs `act` when the page has loaded, so that opening sockets does not delay the loading. */
export function afterLoad(act) {
  if (document.readyState === "complete") act();
  else addEventListener("load", act, { once: true });
}
