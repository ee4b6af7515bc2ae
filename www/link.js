// A WebSocket that comes back: when it is lost it tries again, ever more rarely, and says when.

import { clock, make } from "./dom.js";

const FIRST_WAIT = 500;
const LONGEST_WAIT = 30_000;
const STEADY = 5_000; // open for that long, the waits begin anew
const PATIENCE = 10_000; // for the handshake

const links = new Set();

export class Link extends EventTarget {
  state = "idle"; // then trying, open, waiting
  why = ""; // it is not open
  absent = false; // the server is there, but not what was asked for
  lostAt = 0;
  retryAt = 0;
  downFor = 0; // before it was opened
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
    addEventListener("pagehide", () => this.#leave()); // so that Back can bring the page back as it was
    addEventListener("pageshow", (e) => { if (e.persisted && this.#path) this.#try(); });
  }

  /** Opens it, or leaves for another path. */
  open(path) {
    this.#path = path;
    this.#failures = 0;
    this.lostAt = 0;
    this.#try();
  }

  /** Whether it was sent: there is no queue for what could not be. */
  send(data) {
    if (this.state !== "open" || this.#socket.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(data);
    return true;
  }

  /** Tries now what it would have tried later. */
  hurry() { if (this.state === "waiting") this.#try(); }

  /** Gives up a connection that shows no life. */
  drop(why) { this.#lost(true, why); }

  /** What was agreed on for the connection. */
  get extensions() { return this.#socket?.extensions ?? ""; }

  #leave() {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null; // whose events count no more
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
    // The half that is random keeps a thousand pages from coming back in the same moment.
    const wait = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.#failures++) * (0.5 + Math.random() / 2);
    this.#timer = setTimeout(() => this.#try(), wait);
    this.retryAt = Date.now() + wait;
    this.lostAt ||= Date.now();
    if (known || !this.why) this.why = why;
    this.#become("waiting");
    if (known) return;
    // A page is not told why a handshake failed, but it can ask for a file.
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

/** Says in `el` how `link` does; `words` is for when all is well. */
export function show(link, el, words) {
  const said = make("span");
  const when = make("span", { className: "when", ariaHidden: "true" }); // a countdown read aloud is a nuisance
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

/** What the extensions of an open connection mean. `wanted`: compression was not declined by the page. */
export function inWords(extensions, wanted) {
  const [name, ...given] = extensions.split(";").map((s) => s.trim());
  if (name !== "permessage-deflate") {
    return wanted ? "Browser and server did not agree on compression. Messages travel as they are."
      : "The server was asked to decline compression. Messages travel as they are.";
  }
  const alone = (side) => given.includes(`${side}_no_context_takeover`);
  const how = alone("server") && alone("client") ? "each message by itself"
    : alone("server") ? "by the server each message by itself"
    : alone("client") ? "by the browser each message by itself" : "with the messages before in mind";
  return `Compressed with permessage-deflate, ${how}.`;
}

/** Opens sockets once the page is there, so as not to be in the way of its loading. */
export function afterLoad(act) {
  if (document.readyState === "complete") act();
  else addEventListener("load", act, { once: true });
}
