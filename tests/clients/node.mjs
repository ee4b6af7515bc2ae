// Tests a server with Node's ws: node.mjs http://HOST:PORT FOLDER, with ws in FOLDER/node_modules.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createRequire } from "node:module";

const [http, folder] = process.argv.slice(2);
const { WebSocket } = createRequire(`${folder}/`)("ws");
const base = http.replace("http", "ws");

// The largest message, in bytes.
const MESSAGE_BYTES_MAX = 16 << 20;
// The longest wait, in ms. A working server comes nowhere near this time.
const PATIENCE = 20_000;

// Whole lines only: a cut within a pair of surrogates would not be valid text.
const lines = (n) => "0123456789 häßlich, schön 😀\n".repeat(n);
const text = lines(40_000);
const noise = Buffer.alloc(MESSAGE_BYTES_MAX);
for (let at = 0, state = 1; at < noise.length; at++) {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  noise[at] = state >>> 24;
}

/** Opens a socket that keeps received messages until the test reads them. */
async function open(target, perMessageDeflate = false, protocols = []) {
  const socket = new WebSocket(base + target, protocols, { perMessageDeflate });
  socket.heard = [];
  // The socket's property "extensions" lacks the parameters.
  socket.on("upgrade", ({ headers }) => {
    socket.agreed = headers["sec-websocket-extensions"] ?? "";
  });
  socket.on("message", (data, isBinary) => {
    socket.heard.push(isBinary ? data : data.toString());
    socket.emit("heard");
  });
  await once(socket, "open", { signal: AbortSignal.timeout(PATIENCE) });
  return socket;
}

async function hear(socket) {
  while (socket.heard.length === 0) {
    await once(socket, "heard", { signal: AbortSignal.timeout(PATIENCE) });
  }
  return socket.heard.shift();
}

async function echo(socket, ...messages) {
  for (const message of messages) {
    socket.send(message);
    const got = await hear(socket);
    const same = typeof message === "string" ? got === message : message.equals(got);
    assert(same, `${message.length} bytes or characters come back changed`);
  }
}

/** Closes a socket. Returns the code of the server's close frame. */
async function close(socket, ...args) {
  const closed = once(socket, "close", { signal: AbortSignal.timeout(PATIENCE) });
  socket.close(...args);
  return (await closed)[0];
}

/** Sends messages of all kinds and sizes. Returns the answer about extensions. */
async function everything(perMessageDeflate) {
  const socket = await open("/echo", perMessageDeflate);
  const bytes = Buffer.from.bind(Buffer);
  await echo(socket, "", "a", "hällo", "a".repeat(125), "a".repeat(126), text);
  await echo(socket, bytes(""), bytes([0]), Buffer.alloc(65_535), noise.subarray(0, 1 << 20));
  // The same message twice: the second must neither need the first nor be disturbed by it.
  await echo(socket, lines(10), lines(10), lines(5_000), lines(5_000));
  await echo(socket, noise, Buffer.alloc(MESSAGE_BYTES_MAX));
  assert.equal(await close(socket, 1000), 1000);
  return socket.agreed;
}

const checks = [];
const check = (what, run) => checks.push([what, run]);

check("messages of all kinds and sizes, without compression", async () => {
  assert.equal(await everything(false), "");
});

check("messages of all kinds and sizes, with compression as it comes", async () => {
  assert.match(await everything(true), /^permessage-deflate/);
});

check("compression declined with ?deflate=off", async () => {
  const socket = await open("/echo?deflate=off", true);
  assert.equal(socket.agreed, "");
  await echo(socket, text);
  assert.equal(await close(socket, 1000), 1000);
});

const bits = [9, 10, 11, 12, 13, 14, 15];
for (const parameters of [
  ...bits.map((serverMaxWindowBits) => ({ serverMaxWindowBits })),
  ...bits.map((clientMaxWindowBits) => ({ clientMaxWindowBits })),
  { clientMaxWindowBits: true },
  { clientMaxWindowBits: false },
  { serverNoContextTakeover: true },
  { clientNoContextTakeover: true },
  {
    serverNoContextTakeover: true,
    clientNoContextTakeover: true,
    serverMaxWindowBits: 10,
    clientMaxWindowBits: 11,
  },
]) {
  const what = Object.entries(parameters).map(([name, value]) => `${name}=${value}`);
  check(`compression with ${what.join(", ")}`, async () => {
    // Compress short and empty messages, too.
    const agreed = await everything({ ...parameters, threshold: 0 });
    assert.match(agreed, /^permessage-deflate/);
    const asked = parameters.serverMaxWindowBits;
    if (asked) assert(agreed.includes(`server_max_window_bits=${asked}`), agreed);
  });
}

check("a window of 8 bits is declined, and it goes on without compression", async () => {
  assert.equal(await everything({ serverMaxWindowBits: 8 }), "");
});

check("a message in fragments, with a ping between them", async () => {
  for (const perMessageDeflate of [false, { threshold: 0 }]) {
    const socket = await open("/echo", perMessageDeflate);
    socket.send("in ", { fin: false });
    socket.send("", { fin: false });
    const pong = once(socket, "pong", { signal: AbortSignal.timeout(PATIENCE) });
    socket.ping("between");
    assert.equal(String((await pong)[0]), "between");
    socket.send("many ", { fin: false });
    socket.send("pieces", { fin: true });
    assert.equal(await hear(socket), "in many pieces");
    socket.terminate();
  }
});

check("a hundred messages at once come back in order", async () => {
  const socket = await open("/echo", { threshold: 0 });
  const messages = Array.from({ length: 100 }, (_, n) => lines(n));
  messages.forEach((message) => socket.send(message));
  for (const message of messages) assert.equal(await hear(socket), message);
  assert.equal(await close(socket), 1005);
});

check("a ping is answered", async () => {
  const socket = await open("/echo");
  for (const content of ["", "ping", "x".repeat(125)]) {
    const pong = once(socket, "pong", { signal: AbortSignal.timeout(PATIENCE) });
    socket.ping(content);
    assert.equal(String((await pong)[0]), content);
  }
  socket.terminate();
});

for (const code of [undefined, 1000, 1001, 1011, 3000, 4999]) {
  check(`a close with ${code ?? "no code"} is answered with it`, async () => {
    const args = code ? [code, "bye"] : [];
    // 1005 stands for a close frame without a code.
    assert.equal(await close(await open("/echo"), ...args), code ?? 1005);
  });
}

for (const perMessageDeflate of [false, true]) {
  check(`a message that is too large is refused, compression ${perMessageDeflate}`, async () => {
    const socket = await open("/echo", perMessageDeflate);
    const closed = once(socket, "close", { signal: AbortSignal.timeout(PATIENCE) });
    socket.send(Buffer.alloc(MESSAGE_BYTES_MAX + 1));
    const [code, reason] = await closed;
    assert.deepEqual([code, String(reason)], [1009, "the message is too large"]);
  });
}

check("the first subprotocol is chosen", async () => {
  const socket = await open("/echo", false, ["mqtt", "chat"]);
  assert.equal(socket.protocol, "mqtt");
  socket.terminate();
});

check("a room: members, the last messages, presence, and a post", async () => {
  const watcher = await open("/rooms/node?presence");
  const one = await open("/rooms/node", true);
  const other = await open("/rooms/node");
  while ((await hear(watcher)) !== "2");
  for (const message of ["hällo", lines(100)]) {
    one.send(message);
    assert.equal(await hear(one), message);
    assert.equal(await hear(other), message);
  }
  const answer = await fetch(`${http}/rooms/node`, { method: "POST", body: "from outside" });
  assert.equal(await answer.text(), "2 members hear it\n");
  assert.equal(await hear(one), "from outside");
  assert.equal(await hear(other), "from outside");
  const late = await open("/rooms/node?last=2", true);
  assert.equal(await hear(late), lines(100));
  assert.equal(await hear(late), "from outside");
  assert.equal(await hear(watcher), "3");
  late.terminate();
  assert.equal(await hear(watcher), "2");
  [watcher, one, other].forEach((socket) => socket.terminate());
});

let failed = 0;
for (const [what, run] of checks) {
  try {
    await run();
    console.log(`ok: ${what}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED: ${what}: ${error.message.split("\n")[0]}`);
  }
}
process.exit(failed ? 1 : 0);
