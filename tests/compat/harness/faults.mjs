// A bad line: a TCP proxy whose connections break at places that a seed chooses. Some end before they
// begin, some are reset, closed or left hanging in the middle of what the server says, and in some a byte
// of that becomes one that no text and no frame can have. What the client says is never changed, only cut:
// what is not a text any more is noticed by who reads it, and a changed text by nobody.

import net from 'node:net';

/** Numbers that follow from a seed (mulberry32). */
export function chances(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

const KINDS = ['refuse', 'reset', 'close', 'hang', 'corrupt'];

export class Faults {
  #listener;
  #sockets = new Set();
  #chance;
  /** How many connections are bad, of one. */
  rate = 0.5;
  /** How far into an answer a connection breaks at most. */
  reach = 200_000;
  counts = Object.fromEntries(KINDS.map((kind) => [kind, 0]));

  static async to(port, seed) {
    const faults = new Faults();
    faults.#chance = chances(seed);
    faults.#listener = net.createServer((client) => faults.#accept(client, port));
    await new Promise((resolve) => faults.#listener.listen(0, '127.0.0.1', resolve));
    return faults;
  }

  get port() {
    return this.#listener.address().port;
  }

  get total() {
    return Object.values(this.counts).reduce((sum, count) => sum + count, 0);
  }

  #accept(client, port) {
    client.on('error', () => {});
    const bad = this.#chance() < this.rate;
    const kind = bad ? KINDS[Math.floor(this.#chance() * KINDS.length)] : null;
    const at = Math.floor(this.#chance() ** 3 * this.reach);
    const struck = () => { this.counts[kind]++; };
    if (kind === 'refuse') {
      struck();
      client.resetAndDestroy();
      return;
    }
    const server = net.connect(port, '127.0.0.1');
    for (const [one, other] of [[client, server], [server, client]]) {
      this.#sockets.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => { other.destroy(); this.#sockets.delete(one); });
    }
    client.pipe(server);
    let passed = 0;
    server.on('data', (chunk) => {
      const begin = passed;
      passed += chunk.length;
      if (kind === null || passed <= at || begin > at) {
        if (kind === null || begin <= at) client.write(chunk);
        else if (kind === 'corrupt') client.write(chunk);
        return;
      }
      struck();
      const before = chunk.subarray(0, at - begin);
      if (kind === 'corrupt') {
        chunk[at - begin] = 0xff;
        client.write(chunk);
      } else if (kind === 'reset') {
        client.resetAndDestroy();
      } else if (kind === 'close') {
        client.end(before);
      } else {
        client.write(before);
      }
    });
    server.on('end', () => client.end());
  }

  async close() {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#listener.close(resolve));
  }
}
