// Bytes on a wire, as no client library would send them, and a neighbour who must not notice.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { ADMIN, within } from './server.mjs';

export const AUTHORIZATION = 'Authorization: Basic ' + Buffer.from(`${ADMIN.name}:${ADMIN.password}`).toString('base64');

/** A connection whose every byte is the test's own. */
export class Wire {
  sent = 0;
  #received = [];

  static async to(port) {
    const wire = new Wire();
    wire.socket = net.connect(port, '127.0.0.1');
    wire.socket.on('error', () => {});
    wire.socket.on('data', (chunk) => { wire.#received.push(chunk); wire.onData?.(); });
    wire.closed = new Promise((resolve) => wire.socket.on('close', resolve));
    await within(Promise.race([new Promise((resolve) => wire.socket.once('connect', resolve)), wire.closed]), 'a connection');
    assert.ok(wire.open, `nobody listens on port ${port}`);
    return wire;
  }

  get text() {
    return Buffer.concat(this.#received).toString('latin1');
  }

  get open() {
    return !this.socket.destroyed && this.socket.writable;
  }

  /** Writes, waiting for the peer to take it; answers false once the peer has closed. */
  async send(bytes) {
    if (!this.open) return false;
    this.sent += Buffer.byteLength(bytes);
    if (!this.socket.write(bytes)) {
      await Promise.race([new Promise((resolve) => this.socket.once('drain', resolve)), this.closed]);
    }
    return this.open;
  }

  /** The first answer's status and body, or status 0 when the peer closed without one. */
  async answer(ms = 20_000) {
    const complete = new Promise((resolve) => {
      this.onData = () => {
        const [head, ...rest] = this.text.split('\r\n\r\n');
        if (rest.length === 0) return;
        const length = /^content-length: *(\d+)/im.exec(head);
        const body = rest.join('\r\n\r\n');
        if (length ? body.length >= Number(length[1]) : body.endsWith('0\r\n\r\n') || !/chunked/i.test(head)) resolve();
      };
      this.onData();
    });
    await within(Promise.race([complete, this.closed]), `an answer or an end; got ${JSON.stringify(this.text.slice(0, 200))}`, ms);
    const [head = '', ...rest] = this.text.split('\r\n\r\n');
    const length = /^content-length: *(\d+)/im.exec(head);
    return { status: Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1] ?? 0), body: rest.join('\r\n\r\n').slice(0, length ? Number(length[1]) : undefined) };
  }

  destroy() {
    this.socket.destroy();
  }
}

/** A 4xx that says what is wrong the way CouchDB does. */
export function assertRefusal(response, statuses, error) {
  const { status } = response;
  const text = response.text ?? response.body;
  assert.ok(statuses.includes(status), `status ${status}, expected ${statuses}: ${text.slice(0, 300)}`);
  const body = JSON.parse(text);
  assert.equal(typeof body.error, 'string', text);
  assert.equal(typeof body.reason, 'string', text);
  if (error) assert.equal(body.error, error);
}

/**
 * Runs an attack while a well-behaved client reads one document after the other on a connection of its own.
 * The neighbour must get every answer, each within `worstMs`; the server's memory must not peak more than
 * `growthKb` above where it was, and the server must be the same process at the end.
 */
export async function besideNeighbour(server, attack, { worstMs = 1500, growthKb = 96 * 1024 } = {}) {
  const { pid } = server;
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const ask = async () => {
    const began = performance.now();
    const answer = await server.request('GET', '/neighbour/doc', { agent });
    assert.equal(answer.status, 200, answer.text);
    return performance.now() - began;
  };
  await ask();
  // Makes the kernel forget the highest memory use so far: what VmHWM says afterwards is the attack's.
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
  const before = server.residentKb();
  let attacking = true;
  const watch = (async () => {
    let worst = 0;
    let count = 0;
    do {
      worst = Math.max(worst, await ask());
      count += 1;
    } while (attacking);
    return { worst, count };
  })();
  // A neighbour's failure is reported below, not as an unhandled rejection meanwhile.
  watch.catch(() => {});
  let result;
  try {
    result = await attack();
  } finally {
    attacking = false;
    const { worst, count } = await watch;
    agent.destroy();
    const peak = Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))[1]);
    assert.ok(count > 0 && worst <= worstMs, `the neighbour waited ${Math.round(worst)} ms for one of ${count} answers`);
    assert.ok(peak - before <= growthKb, `memory peaked ${peak - before} kB above ${before} kB`);
    assert.equal(server.pid, pid);
  }
  return result;
}
