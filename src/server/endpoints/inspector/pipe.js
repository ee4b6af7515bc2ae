// The picked connection as a pipe, to scale: the bytes between this process and the peer, and where they lie.

import { $, attr, letterOf, make, num, put, show, size, us } from "./dom.js";

const WAYS = ["unacked", "unsent", "outbox", "rq", "inbox"];
const parts = Object.fromEntries(WAYS.map((name) => [name, document.querySelector(`#k-pipe .${name}`)]));
let scaleOf = "";
let scale = 0;

/** Draws the connection `picked`, or says why there is none. `past`: the records of the ring are all there is. */
export function drawPicked(picked, { key, you, past, before, cause }) {
  show($("k-empty"), !key);
  show($("k-body"), Boolean(key));
  if (!key) return put($("h-picked"), "No connection is picked");
  const own = key === you;
  if (!picked || picked.key !== key || picked.mode === "Closed") {
    show($("k-body"), false);
    show($("k-empty"), true);
    put($("h-picked"), key);
    const words = cause ?? picked?.cause;
    const ending = words ? `: ${words}` : "";
    return put(
      $("k-empty"),
      past
        ? `${key} is not open at this turn${ending}.`
        : before
          ? "Asking for it."
          : `${key} is over${ending}. Freeze shows its last turns, if the ring still has them.`,
    );
  }
  put($("h-picked"), `${key}${own ? ", this page" : ""}`);
  why(picked);
  const meta = [
    picked.mode,
    picked.peer,
    picked.requests != null && `${num(picked.requests)} request${picked.requests === 1 ? "" : "s"}`,
    picked.received != null && `${size(picked.received)} received`,
    picked.sent != null && `${size(picked.sent)} sent`,
  ];
  put(
    $("k-meta"),
    [
      meta.filter(Boolean).join(" · "),
      deadline(picked),
      picked.queued ? "It is queued: it can move, and waits for its turn." : "",
    ]
      .filter(Boolean)
      .join(". "),
  );
  pipe(picked, past);
  flags(picked.ready, past);
  put($("k-ss"), picked.peer ? `ss -tinm dst ${picked.peer}` : "ss -tinm");
}

function deadline({ deadline_ms: ms }) {
  if (ms === undefined) return "";
  return ms === null ? "No deadline" : `Deadline in ${(Math.max(0, ms) / 1000).toFixed(1)} s`;
}

/** The sentence is a link to the help that explains it. */
function why({ why, see }) {
  const el = $("k-why");
  const target = see && $(see) ? `#${see}` : "";
  if (el.dataset.see !== target) {
    el.dataset.see = target;
    el.replaceChildren(target ? make("a", { href: target }) : make("span"));
  }
  put(el.firstChild, why);
}

function pipe(p, past) {
  const k = p.kernel;
  const bytes = {
    unsent: k?.not_sent ?? 0,
    unacked: k ? (k.unacked_bytes ?? Math.max(0, k.send_queue - (k.not_sent ?? 0))) : 0,
    outbox: p.outbox ?? 0,
    rq: k?.receive_queue ?? 0,
    inbox: p.inbox ?? 0,
  };
  const most = Math.max(bytes.unacked + bytes.unsent + bytes.outbox, bytes.rq + bytes.inbox);
  const wanted = nice(Math.max(most, 10_000));
  // The scale stays as long as the bytes fill a fifth of it: a scale that jumps cannot be read.
  if (scaleOf !== p.key || wanted > scale || wanted * 5 < scale) {
    scale = wanted;
    scaleOf = p.key;
  }
  for (const name of WAYS) {
    const share = (bytes[name] / scale) * 100;
    if (parts[name].dataset.share === share.toFixed(2)) continue;
    parts[name].dataset.share = share.toFixed(2);
    parts[name].style.setProperty("--w", `${share}%`);
    parts[name].classList.toggle("some", bytes[name] > 0);
  }
  put(document.querySelector("#k-pipe .scale"), `whole width: ${size(scale)}`);
  put($("k-mode"), letterOf(p.mode));
  const unknown = "unknown";
  list($("k-bytes"), [
    ["", "receive queue of the peer", k && (k.peer_window ?? k.receive_window) === 0 ? "full: its window is 0" : "not seen from here"],
    ["unacked", "sent, not acknowledged: on the way", k ? size(bytes.unacked) : unknown],
    ["unsent", "send queue of the kernel, not sent", k ? size(bytes.unsent) : unknown],
    [
      "outbox",
      "outbox of this process",
      p.outbox == null ? unknown : p.outbox_max ? `${size(bytes.outbox)} of ${size(p.outbox_max)}` : size(bytes.outbox),
    ],
    ["rq", "receive queue of the kernel", k ? size(bytes.rq) : unknown],
    ["inbox", "inbox of this process", p.inbox == null ? unknown : size(p.inbox)],
    ["", "round trip", k ? us(k.rtt_us) : unknown],
    ["", "congestion window", k ? `${num(k.congestion_window)} segments` : unknown],
    ["", "window of the peer", k ? size(k.peer_window ?? k.receive_window) : unknown],
    ["", "waited for the window of the peer", k ? us(k.peer_limited_us) : unknown],
    ["", "segments sent again", k ? num(k.retransmits) : unknown],
  ]);
  attr(
    $("k-pipe"),
    "aria-label",
    `The pipe, ${size(scale)} wide. To the peer: ${k ? `${size(bytes.unacked)} not acknowledged, ${size(bytes.unsent)} not sent, ` : ""}outbox ${size(bytes.outbox)}. From the peer: ${k ? `receive queue ${size(bytes.rq)}, ` : ""}inbox ${size(bytes.inbox)}.`,
  );
  const says = $("k-kernel");
  show(says, !k);
  if (k) return;
  if (says.dataset.past === String(past)) return;
  says.dataset.past = past;
  says.replaceChildren(
    past
      ? "The ring has no numbers of the kernel and no bytes of the inbox."
      : make("a", { href: "#kernel-unknown", textContent: "The kernel has not told its numbers." }),
  );
}

const FLAGS = [
  [
    "readable",
    "bytes may lie in the receive queue; the next read will tell.",
    "the receive queue is empty. The next bytes to arrive make an edge.",
  ],
  [
    "writable",
    "the send queue has space, as far as the server knows.",
    "the last write got EAGAIN. Space in the send queue will make an edge.",
  ],
  ["peer_closed", "the peer has ended its direction (FIN). Nothing clears this flag.", "the peer may still send."],
];

function flags(ready, past) {
  const box = $("k-flags");
  if (!box.childElementCount) {
    for (const [name] of FLAGS)
      box.append(make("li", {}, make("b", { textContent: name.replace("_", " ") }), make("span")));
  }
  FLAGS.forEach(([name, set, clear], i) => {
    const value = ready?.[name] ?? null;
    const el = box.children[i];
    if (el.dataset.set !== String(value)) {
      el.dataset.set = value;
      const text =
        value === null
          ? past
            ? "no record tells"
            : "unknown"
          : value === "probably"
            ? "probably clear: a short read clears it, and the record does not hold the size asked for."
            : value
              ? `set: ${set}`
              : `clear: ${clear}`;
      put(el.lastChild, text);
    }
  });
}

/** Fills a list of pairs. Its rows are made once. */
export function list(dl, rows) {
  if (dl.childElementCount !== rows.length) {
    dl.replaceChildren(
      ...rows.map(([name, text]) => {
        const dt = make("dt", { textContent: text });
        if (name) dt.prepend(make("i", { className: name }));
        return make("div", {}, dt, make("dd"));
      }),
    );
  }
  rows.forEach(([, , value], i) => put(dl.children[i].lastChild, value));
}

/** The next of 1, 2, 5, 10, 20 … */
function nice(n) {
  const base = 10 ** Math.floor(Math.log10(n));
  return base * [1, 2, 5, 10].find((step) => base * step >= n);
}
