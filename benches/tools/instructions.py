#!/usr/bin/env python3
"""Counts the user instructions per GET of the release program, over real sockets.

The program runs under callgrind, which counts its instructions and not those of the kernel. Each scenario
is run twice, the second time with twice as many requests. The difference of the two counts belongs to the
additional requests: the start, the connections and the end cancel out. With --check, the script fails if a
count is over its ceiling.
"""
import argparse
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

PACKAGE = pathlib.Path(__file__).resolve().parents[2]
FILE_BYTES = 700
REQUESTS = 1000  # in the shorter run; a multiple of all connections and batches

# A program's head: Host, a User-Agent of 50 bytes, Accept, Connection.
PROGRAM = """\
Host: localhost:8080
User-Agent: load-generator/1.0 (x86_64; Linux; keep-alive; v2)
Accept: */*
Connection: keep-alive"""

# A browser's head, which has 700 bytes with the request line.
BROWSER = """\
Host: localhost:8080
Connection: keep-alive
Cache-Control: max-age=0
sec-ch-ua: "Chromium";v="138", "Not)A;Brand";v="8", "Google Chrome";v="138"
sec-ch-ua-mobile: ?0
sec-ch-ua-platform: "Linux"
Upgrade-Insecure-Requests: 1
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,\
application/signed-exchange;v=b3;q=0.7
Sec-Fetch-Site: same-origin
Sec-Fetch-Mode: navigate
Sec-Fetch-User: ?1
Sec-Fetch-Dest: document
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-GB,en;q=0.9,de;q=0.8"""

# The file, and a path where none is, each with the status and the end of its answers.
FILE = ("/small.bin", b"HTTP/1.1 200 OK\r\n", b"x" * FILE_BYTES)
ABSENT = ("/absent.bin", b"HTTP/1.1 404 Not Found\r\n", b"no such file here\n")

# Name, connections, how many of them ask at a time, requests at once on each, field lines, target, flags, ceiling:
# about 1.015 times the count at the time of writing; 1.04 times where the count depends on how many requests come
# together.
SCENARIOS = [
    ("1 connection, 4 fields", 1, 1, 1, PROGRAM, FILE, [], 4_300),
    ("64 connections, one at a time, 4 fields", 64, 1, 1, PROGRAM, FILE, [], 4_300),
    ("64 connections, all at a time, 4 fields", 64, 64, 1, PROGRAM, FILE, [], 3_100),
    ("1 connection, 16 pipelined, 4 fields", 1, 1, 16, PROGRAM, FILE, [], 2_170),
    ("the same, with a 404 each", 1, 1, 16, PROGRAM, ABSENT, [], 4_700),
    ("1 connection, a browser's 15 fields", 1, 1, 1, BROWSER, FILE, ["--no-live"], 6_210),
    # The server remembers what a browser asks for.
    ("the same, with live reload", 1, 1, 1, BROWSER, FILE, [], 10_770),
]


def connect(port, server):
    """A connection to the server, as soon as it listens."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=60)
        except ConnectionRefusedError:
            time.sleep(0.05)
    sys.exit("the server does not listen")


def answers(client, count, status, end):
    """Reads this many answers with the status and the end of the content, and nothing else."""
    received = b""
    while received.count(end) < count:
        more = client.recv(1 << 16)
        if not more:
            sys.exit(f"the server ended the connection after {received!r}")
        received += more
    if received.count(status) != count or not received.endswith(end):
        sys.exit(f"a wrong answer: {received!r}")


def instructions(program, root, requests, connections, together, at_once, fields, target, flags):
    """The instructions of a whole run of the server."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.NamedTemporaryFile() as log:
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
        command += [f"--log-file={log.name}", program, "--port", str(port), "--log", "off", *flags, root]
        quiet = subprocess.DEVNULL
        server = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
        try:
            clients = [connect(port, server) for _ in range(connections)]
            path, status, end = target
            request = (f"GET {path} HTTP/1.1\r\n" + fields.replace("\n", "\r\n") + "\r\n\r\n").encode()
            for first in range(0, requests // at_once, together):
                asking = [clients[(first + n) % connections] for n in range(together)]
                for client in asking:
                    client.sendall(request * at_once)
                for client in asking:
                    answers(client, at_once, status, end)
            for client in clients:
                client.close()
            server.send_signal(signal.SIGINT)
            server.wait(60)
        finally:
            server.kill()
        said = pathlib.Path(log.name).read_text()
    collected = re.search(r"Collected : (\d+)", said)
    if not collected:
        sys.exit(f"callgrind has counted nothing: {said}")
    return int(collected[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", PACKAGE / "target"))
    usual = os.environ.get("ONELOOP_BIN", target / "release" / "oneloop")
    parser.add_argument("program", nargs="?", default=usual, help=f"[default: {usual}]")
    parser.add_argument("--check", action="store_true", help="fail if a count is over its ceiling")
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is missing; install it (`apt install valgrind`)")
    if not pathlib.Path(options.program).is_file():
        sys.exit(f"there is no program {options.program}; build it (`cargo build --release`)")
    exceeded = 0
    with tempfile.TemporaryDirectory() as root:
        # No content coding is tried for this type, so a browser's Accept-Encoding changes little.
        (pathlib.Path(root) / "small.bin").write_bytes(b"x" * FILE_BYTES)
        print("| scenario | user instructions per GET | ceiling |\n|---|--:|--:|")
        for name, connections, together, at_once, fields, target, flags, ceiling in SCENARIOS:
            requests = -(-REQUESTS // (connections * at_once)) * connections * at_once
            shorter, longer = (
                instructions(options.program, root, n, connections, together, at_once, fields, target, flags)
                for n in (requests, 2 * requests)
            )
            count = round((longer - shorter) / requests)
            exceeded += count > ceiling
            print(f"| {name} | {count:,} | {ceiling:,}{' EXCEEDED' if count > ceiling else ''} |", flush=True)
    if options.check and exceeded:
        sys.exit(f"{exceeded} over the ceiling")


if __name__ == "__main__":
    main()
