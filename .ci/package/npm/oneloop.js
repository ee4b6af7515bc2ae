#!/usr/bin/env node
// Starts the program of the package for this machine, and ends as it ends.
'use strict';
const { spawn } = require('node:child_process');
const { constants } = require('node:os');

const platform = `${process.platform}-${process.arch}`;
let program;
try {
  program = require.resolve(`oneloop-${platform}/oneloop`);
} catch {
  const reason = process.platform === 'linux'
    ? `the package oneloop-${platform} is not installed; was npm told to leave out optional dependencies?`
    : 'oneloop runs on Linux; use it in WSL2 or in a container';
  console.error(`error: ${reason}`);
  process.exit(1);
}

const child = spawn(program, process.argv.slice(2), { stdio: 'inherit' });
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1']) {
  process.on(signal, () => {
    // Ctrl-C reaches the program by itself, and a second signal would cut off the answers in flight.
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
  });
}
child.on('error', (error) => {
  console.error(`error: cannot start ${program}: ${error.message}`);
  process.exit(1);
});
child.on('exit', (code, signal) => {
  process.exit(code ?? 128 + constants.signals[signal]);
});
