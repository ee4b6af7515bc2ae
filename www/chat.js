// The chat. A room is a WebSocket endpoint that sends every message to all members of the room. The
// server does not know which messages come from this page and which come from elsewhere (such as
// from curl); this module tells them apart.

import { $, bytes, clock, count, kept, make, ms, unique } from "./dom.js";
import { Link, afterLoad, inWords, show } from "./link.js";

const SHOWN = 200; // messages kept in the list
const NAME_MAX = 24;
const TEXT_MAX = 2_000;
const CONFIRM = 5_000; // ms for a message of our own to come back
const BIRDS = ["Avocet", "Bunting", "Crane", "Dunlin", "Eider", "Finch", "Godwit", "Heron", "Ibis", "Jackdaw",
  "Kestrel", "Lark", "Merlin", "Nuthatch", "Oriole", "Plover", "Quail", "Robin", "Siskin", "Teal", "Wren"];

const link = new Link();
const presence = new Link();
const log = $("log");
const lines = $("lines");

// ---- the room, named in the address

const legal = (name) => /^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$/.test(name);
const roomInAddress = () => {
  const name = new URLSearchParams(location.hash.slice(1)).get("room");
  return name && legal(name) ? name : null;
};
let room = roomInAddress() ?? kept.get("sessionStorage", "room") ?? "lobby";
let wanted = true;

function enter() {
  kept.set("sessionStorage", "room", room);
  for (const el of document.querySelectorAll("[data-room]")) el.textContent = room;
  $("room").value = room;
  $("second-tab").href = `#room=${room}`;
  clear();
  join();
  presence.open(`/rooms/${room}?presence`);
}
const join = () => link.open(`/rooms/${room}?last=50${wanted ? "" : "&deflate=off"}`);

addEventListener("hashchange", () => {
  const name = roomInAddress();
  if (!name || name === room) return;
  room = name;
  enter();
});
$("enter").onsubmit = (e) => {
  e.preventDefault();
  const name = $("room").value.trim();
  if (legal(name)) location.hash = `room=${name}`;
  else {
    $("chat-said").textContent = "The name of a room consists of at most 40 letters, digits, - and _, and begins with a letter or a digit.";
    $("room").value = room;
  }
};
$("chat-deflate").onchange = (e) => {
  wanted = e.target.checked;
  join();
};
if (navigator.clipboard) {
  $("copy-link").hidden = false;
  $("copy-link").onclick = async () => {
    await navigator.clipboard.writeText(new URL(`#room=${room}`, location.href).href);
    $("chat-said").textContent = "The link to this room is in the clipboard.";
  };
}

// ---- the number of members

let members = null;
function tellMembers() {
  const words = members === 1 && link.state === "open" ? "only you" : `${bytes(members ?? 0)} here`;
  $("members").textContent = members === null ? "" : words;
  $("now-members").textContent = members === null ? "–" : `${words} in ${room}`;
}
presence.onmessage = (data) => {
  if (!/^\d{1,9}$/.test(data)) return;
  members = Number(data);
  tellMembers();
};
presence.addEventListener("state", () => {
  members = null; // until the server sends the number again
  tellMembers();
});

const nameBox = $("name");
nameBox.value = kept.get("sessionStorage", "name")
  ?? `${BIRDS[Math.floor(Math.random() * BIRDS.length)]} ${10 + Math.floor(Math.random() * 90)}`;
kept.set("sessionStorage", "name", nameBox.value);
nameBox.onchange = () => {
  nameBox.value = nameBox.value.trim().slice(0, NAME_MAX) || "nameless";
  kept.set("sessionStorage", "name", nameBox.value);
};

/** Returns a hue in degrees. A name has the same colour in every browser. */
function hue(name) {
  let h = 0;
  for (const c of name) h = (h * 31 + c.codePointAt(0)) >>> 0;
  return (h % 12) * 30;
}

// ---- the messages

const mine = new Set(JSON.parse(kept.get("sessionStorage", "mine") ?? "[]")); // identifiers of our own messages
const shown = new Set(); // the identifiers in `mine` that the list already shows
const pending = new Map(); // identifier -> the time of sending
let entries = []; // the messages in the list, as received
let replay = []; // the messages that a new connection may send a second time
let queue = []; // messages to show with the next animation frame
let unread = 0;
let last = null;

link.onmessage = (data) => {
  const at = performance.now();
  const raw = typeof data === "string" ? data : `(a binary message of ${count(data.byteLength, "byte")})`;
  // After a reconnection, the room first sends its history. The history begins with messages that the end of
  // the list may show already, in the same order; these are skipped.
  const known = replay.indexOf(raw);
  replay = replay.slice(known + 1);
  if (known >= 0) return;
  replay = [];
  const message = typeof data === "string" ? parse(data) : null;
  if (message && pending.has(message.id)) {
    message.took = at - pending.get(message.id);
    pending.delete(message.id);
  }
  queue.push({ raw, message });
  if (queue.length > SHOWN) queue.shift(); // a page in the background gets no animation frames
  if (queue.length === 1) requestAnimationFrame(flush);
};

link.addEventListener("state", () => {
  const open = link.state === "open";
  $("send").disabled = !open;
  tellMembers();
  if (open) {
    $("chat-words").textContent = inWords(link.extensions, wanted);
    replay = [...entries, ...queue].map((e) => e.raw);
    log.setAttribute("aria-live", "off"); // a screen reader should not read the history aloud
    setTimeout(() => {
      replay = [];
      log.setAttribute("aria-live", "polite");
    }, 1_500);
    if (link.downFor && entries.length) {
      append(make("li", { className: "rule", textContent: `reconnected at ${clock(Date.now())}` }));
      last = null;
    }
  } else if (pending.size) {
    $("chat-said").textContent = `${count(pending.size, "message")} may not have arrived.`;
    pending.clear();
  }
});

function parse(text) {
  try {
    const { id, name, text: said, at } = JSON.parse(text);
    if ([id, name, said].some((s) => typeof s !== "string") || !name || [...name].length > NAME_MAX || said.length > TEXT_MAX) return null;
    return { id, name, text: said, at: Number.isFinite(at) && Math.abs(at) < 8e15 ? at : null };
  } catch {
    return null;
  }
}

function flush() {
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  for (const entry of queue) append(entry.message ? ours(entry.message) : outside(entry.raw), entry);
  const fresh = queue.length;
  const own = queue.some((e) => e.message?.took !== undefined);
  queue = [];
  if (atEnd || own) toEnd();
  else {
    unread += fresh;
    $("newer").textContent = `${unread} new below`;
    $("newer").hidden = false;
  }
}

function append(li, entry) {
  $("empty").hidden = true;
  if (entry) entries.push(entry);
  lines.append(li);
  if (entries.length > SHOWN) entries = entries.slice(-SHOWN);
  while (lines.children.length > SHOWN) lines.firstChild.remove();
}

function ours({ id, name, text, at, took }) {
  const own = mine.has(id) && !shown.has(id); // a second message with this identifier is a copy
  if (own) shown.add(id);
  const who = `${own}${name}`;
  const li = make("li", { className: own ? "own" : "" });
  if (who !== last) {
    const author = make("b", { textContent: own ? `${name} (you)` : name, dir: "auto" });
    author.style.setProperty("--hue", hue(name));
    li.append(make("p", { className: "by" }, author, " ", at === null ? "" : make("time", { textContent: clock(at).slice(0, 5) })));
  }
  last = who;
  li.append(make("p", { className: "text", textContent: text, dir: "auto" }));
  if (took !== undefined) li.append(make("small", { textContent: `back in ${ms(took)}` }));
  return li;
}

function outside(raw) {
  last = null;
  const text = raw.length > TEXT_MAX ? `${raw.slice(0, TEXT_MAX)}… (${count(raw.length, "character")})` : raw;
  return make("li", { className: "outside" }, make("p", { className: "by", textContent: "from outside" }),
    make("p", { className: "text", textContent: text, dir: "auto" }));
}

function remember() { kept.set("sessionStorage", "mine", JSON.stringify([...mine].slice(-SHOWN))); }

function clear() {
  lines.replaceChildren();
  entries = [];
  queue = [];
  last = null;
  shown.clear();
  pending.clear();
  $("empty").hidden = false;
  toEnd();
}

function toEnd() {
  log.scrollTop = log.scrollHeight;
  unread = 0;
  $("newer").hidden = true;
}
$("newer").onclick = toEnd;
log.onscroll = () => { if (log.scrollHeight - log.scrollTop - log.clientHeight < 40) toEnd(); };

// ---- sending a message

$("compose").onsubmit = (e) => {
  e.preventDefault();
  const text = $("text").value.trim();
  if (!text) return;
  const id = unique();
  mine.add(id);
  if (!link.send(JSON.stringify({ id, name: nameBox.value, text, at: Date.now() }))) {
    mine.delete(id);
    $("chat-said").textContent = "Not connected. The message stays in the box; send it again later.";
    return;
  }
  remember();
  pending.set(id, performance.now());
  setTimeout(() => {
    if (pending.delete(id)) $("chat-said").textContent = "The server has not sent one of your messages back yet.";
  }, CONFIRM);
  $("chat-said").textContent = "";
  $("text").value = "";
};

// ---- start

show(link, $("chat-state"), () => "Connected.");
afterLoad(() => {
  enter();
  if (roomInAddress()) $("chat").scrollIntoView();
});
