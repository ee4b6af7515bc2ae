// The functions that browser.py calls in a tab.

"use strict";

/** A socket that keeps received messages until the test reads them. */
class Client {
  constructor(target, protocols = []) {
    this.socket = new WebSocket(`ws://${location.host}${target}`, protocols);
    this.socket.binaryType = "arraybuffer";
    this.heard = [];
    this.wake = () => {};
    this.socket.onmessage = ({ data }) => {
      this.heard.push(data);
      this.wake();
    };
    this.opened = new Promise((resolve, reject) => {
      this.socket.onopen = () => resolve(this);
      this.socket.onerror = () => reject(new Error(`${target} does not open`));
    });
    this.closed = new Promise((resolve) => {
      this.socket.onclose = ({ code, reason, wasClean }) => resolve([code, reason, wasClean]);
    });
  }

  async hear() {
    while (this.heard.length === 0) await new Promise((resolve) => (this.wake = resolve));
    return this.heard.shift();
  }

  /** Sends a message, and checks whether the echo is the same. */
  async echoes(message) {
    this.socket.send(message);
    const got = await this.hear();
    if (typeof message === "string") return got === message;
    const sent = new Uint8Array(message instanceof Blob ? await message.arrayBuffer() : message);
    const came = new Uint8Array(got);
    return sent.length === came.length && sent.every((byte, at) => byte === came[at]);
  }
}

/** Bytes that cannot be compressed. */
function noise(length) {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65_536) {
    crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  }
  return bytes;
}

const open = (target, protocols) => new Client(target, protocols).opened;

/** The sockets that stay open between two calls. */
const kept = {};

async function keep(name, target) {
  kept[name] = await open(target);
}
