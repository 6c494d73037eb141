// A wire that can be cut: a TCP proxy in front of the server. `cut` resets what is open and every new
// connection, as an unplugged network does; `mend` lets through again. `afterBytes` tells when so much
// has passed, so that a test cuts in the middle of a transfer and not at a time of day.

import net from 'node:net';

export class Proxy {
  #listener;
  #pairs = new Set();
  #whole = true;
  #passed = 0;
  #waiting = [];

  static async to(port) {
    const proxy = new Proxy();
    proxy.#listener = net.createServer((client) => proxy.#accept(client, port));
    await new Promise((resolve) => proxy.#listener.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get port() {
    return this.#listener.address().port;
  }

  #accept(client, port) {
    client.on('error', () => {});
    if (!this.#whole) {
      client.resetAndDestroy();
      return;
    }
    const upstream = net.connect(port, '127.0.0.1');
    const pair = [client, upstream];
    this.#pairs.add(pair);
    for (const [from, to] of [[client, upstream], [upstream, client]]) {
      from.on('data', (chunk) => this.#count(chunk.length));
      from.pipe(to);
      from.on('error', () => to.destroy());
      from.on('close', () => { to.destroy(); this.#pairs.delete(pair); });
    }
  }

  #count(bytes) {
    this.#passed += bytes;
    this.#waiting = this.#waiting.filter(({ at, resolve }) => {
      if (this.#passed < at) return true;
      resolve();
      return false;
    });
  }

  /** Resolves when so many more bytes have passed, in either direction. */
  afterBytes(bytes) {
    return new Promise((resolve) => this.#waiting.push({ at: this.#passed + bytes, resolve }));
  }

  cut() {
    this.#whole = false;
    for (const pair of this.#pairs) for (const socket of pair) socket.resetAndDestroy();
  }

  mend() {
    this.#whole = true;
  }

  async close() {
    this.cut();
    await new Promise((resolve) => this.#listener.close(resolve));
  }
}
