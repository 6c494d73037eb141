// A real server process for a test: started on a free port with its own data directory, stopped,
// killed and started again on the same port. Nothing here waits by the clock: every wait ends with
// an event (a line on stdout, an exit, an answer) or fails at a deadline that says what was missing.
//
// Invariant: no process and no directory that a test made outlives the test file's process.

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const REPOSITORY = path.resolve(fileURLToPath(new URL('../../..', import.meta.url)));
export const ADMIN = { name: 'admin', password: 'correct-horse' };

const LOG_CHARS_MAX = 64 * 1024;
const live = new Set();
const directories = new Set();

process.on('exit', () => {
  for (const child of live) child.kill('SIGKILL');
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

/** The binary under test: ADEA_BIN, else the release build of this repository. */
export function binary() {
  const target = process.env.CARGO_TARGET_DIR ?? path.join(REPOSITORY, 'target');
  const chosen = process.env.ADEA_BIN ?? path.join(target, 'release', 'adea');
  if (!existsSync(chosen)) throw new Error(`no server at ${chosen}: build it (make test does), or set ADEA_BIN`);
  return chosen;
}

/** A directory that goes away with this process. */
export function temporaryDirectory(label) {
  const directory = mkdtempSync(path.join(os.tmpdir(), `adea-${label}-`));
  directories.add(directory);
  return directory;
}

/** Fails with what was waited for, instead of hanging until the runner gives up. */
export function within(promise, what, ms = 30_000) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export class Server {
  #child;
  #exited;
  log = '';

  constructor({ args = [], data = temporaryDirectory('data') } = {}) {
    this.args = args;
    this.data = data;
    this.port = 0;
  }

  /** Starts a server and waits until it says that it listens. */
  static async start(options) {
    const server = new Server(options);
    await server.up();
    return server;
  }

  get origin() {
    return `http://127.0.0.1:${this.port}`;
  }

  get pid() {
    return this.#child.pid;
  }

  get running() {
    return live.has(this.#child);
  }

  /** The address of a database, with the admin's name and password in it. */
  url(pathname = '') {
    return this.urlAs(ADMIN, pathname);
  }

  urlAs({ name, password }, pathname = '', port = this.port) {
    return `http://${encodeURIComponent(name)}:${encodeURIComponent(password)}@127.0.0.1:${port}/${pathname}`;
  }

  async up() {
    const child = spawn(binary(), [
      'serve', '--listen', `127.0.0.1:${this.port}`, '--data', this.data,
      '--admin-name', ADMIN.name, '--admin-password', ADMIN.password, ...this.args,
    ], {
      stdio: ['ignore', 'pipe', 'pipe'],
      // Neither the caller's settings nor an adea.toml where the test runs may change what is tested.
      cwd: this.data,
      env: Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('ADEA_'))),
    });
    this.#child = child;
    live.add(child);
    this.#exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => { live.delete(child); resolve({ code, signal }); });
    });
    const keep = (chunk) => { this.log = (this.log + chunk).slice(-LOG_CHARS_MAX); };
    child.stderr.setEncoding('utf8').on('data', keep);
    let out = '';
    const ready = new Promise((resolve, reject) => {
      child.stdout.setEncoding('utf8').on('data', (chunk) => {
        keep(chunk);
        if (out === null) return;
        out += chunk;
        const match = /^listening on http:\/\/127\.0\.0\.1:(\d+)\s*$/m.exec(out);
        if (match) { out = null; resolve(Number(match[1])); }
      });
      child.once('error', reject);
      this.#exited.then(({ code, signal }) => reject(new Error(`the server ended (${signal ?? code}) before it listened:\n${this.log}`)));
    });
    this.port = await within(ready, 'the line "listening on http://127.0.0.1:PORT"', 20_000);
  }

  /** Asks the server to end and waits until it has; answers its exit code and signal. */
  async stop(signal = 'SIGTERM') {
    this.#child.kill(signal);
    return within(this.#exited, `the server's end after ${signal}\n${this.log.slice(-2000)}`, 20_000);
  }

  async kill9() {
    return this.stop('SIGKILL');
  }

  /** Resident memory in kB, as the kernel counts it. */
  residentKb() {
    return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${this.pid}/status`, 'latin1'))[1]);
  }

  /** One request over its own connection; the body comes back as bytes. `as: null` sends no credentials. */
  request(method, pathname, { headers = {}, body, as = ADMIN, agent } = {}) {
    const sent = { ...headers };
    if (as) sent.authorization = 'Basic ' + Buffer.from(`${as.name}:${as.password}`).toString('base64');
    let bytes = body;
    if (body !== undefined && typeof body !== 'string' && !Buffer.isBuffer(body)) {
      bytes = JSON.stringify(body);
      sent['content-type'] ??= 'application/json';
    }
    if (bytes !== undefined) sent['content-length'] = Buffer.byteLength(bytes);
    const answered = new Promise((resolve, reject) => {
      const request = http.request({ host: '127.0.0.1', port: this.port, method, path: pathname, headers: sent, agent }, (response) => {
        const chunks = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const received = Buffer.concat(chunks);
          resolve({
            status: response.statusCode, message: response.statusMessage, headers: response.headers, rawHeaders: response.rawHeaders, bytes: received,
            text: received.toString('utf8'), json: () => JSON.parse(received.toString('utf8')),
          });
        });
      });
      request.on('error', reject);
      request.end(bytes);
    });
    return within(answered, `the answer to ${method} ${pathname}`);
  }
}
