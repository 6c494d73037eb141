// A phone or a desk: an unmodified PouchDB with what it keeps of one user's documents. It goes offline between any
// two requests, is restarted on the same data, loses its checkpoints or gets old ones back, as after a restore.

import { PouchDB, freshName } from './pouch.mjs';
import { content } from './access.mjs';

const PASSING = { doc_count: 0, update_seq: 0, db_name: 'unreachable' };

// ADEA_ACCESS_TRACE, set, prints each request of each device and its answer.
export class Device {
  /** Documents whose edits the server has refused. */
  denied = [];
  #checkpoints = new Set();
  #live;

  constructor(bench, user, { face = 'mine', batch_size = 100 } = {}) {
    Object.assign(this, { bench, user, face, batch_size, name: freshName(`device_${user}`) });
    this.open();
  }

  open() {
    this.local = new PouchDB(this.name, { adapter: 'memory', auto_compaction: false });
    this.connect();
  }

  /** A line to the server: `line.budget` requests are answered before it is cut, for good. */
  connect() {
    const device = this;
    const line = { budget: Infinity };
    this.line = line;
    this.remote = new PouchDB(this.bench.url(this.user, this.face), {
      skip_setup: true,
      async fetch(address, options) {
        const found = /\/_local\/([^/?]+)/.exec(address);
        if (found) device.#checkpoints.add(`_local/${decodeURIComponent(found[1])}`);
        if (line.budget <= 0) throw new TypeError('the line is cut');
        line.budget -= 1;
        if (process.env.ADEA_ACCESS_TRACE === undefined) return PouchDB.fetch(address, options);
        const answer = await PouchDB.fetch(address, options);
        const text = await answer.clone().text();
        console.log(device.name, options?.method ?? 'GET', address.replace(/^.*@/, ''), String(options?.body ?? '').slice(0, 600), '->', answer.status, text.slice(0, 900).replaceAll('\n', ' '));
        return answer;
      },
    });
    // PouchDB's replicator asks info() for a progress number after each batch and lets a failure go unhandled.
    const ask = this.remote.info.bind(this.remote);
    let last = PASSING;
    this.remote.info = async () => {
      try { last = await ask(); } catch { /* what it last said is good enough */ }
      return last;
    };
  }

  /** The same data in a new process, as far as a test can have one. */
  async restart() {
    await this.rest();
    await this.local.close();
    this.open();
  }

  async destroy() {
    await this.rest();
    await this.local.destroy();
  }

  async #run(replication) {
    replication.on('denied', (refused) => this.denied.push((refused.doc ?? refused).id));
    return replication;
  }

  pull(options) {
    return this.#run(this.local.replicate.from(this.remote, { batch_size: this.batch_size, ...options }));
  }

  push(options) {
    return this.#run(this.local.replicate.to(this.remote, { batch_size: this.batch_size, ...options }));
  }

  /** Both ways once; answers how many documents were written on either side. */
  async sync(options) {
    const up = await this.push(options);
    const down = await this.pull(options);
    return up.docs_written + down.docs_written;
  }

  /**
   * Both ways, and the line is cut after so many requests. What it had then, it has. The next line is another one:
   * a replication of PouchDB's that has failed may still go on for a while, and would skip what it has given up.
   */
  async cutShort(requests) {
    this.line.budget = requests;
    try {
      await this.sync();
    } catch {
      // Cut, as it was meant to be.
    } finally {
      this.line.budget = 0;
      this.connect();
    }
  }

  /** Follows both ways until told to rest. */
  live() {
    if (this.#live) return;
    const options = { live: true, retry: true, back_off_function: () => 50, batch_size: this.batch_size };
    this.#live = this.local.sync(this.remote, options);
    this.errors = [];
    this.#live.on('error', (error) => this.errors.push(error));
    this.#live.on('denied', ({ doc }) => this.denied.push(doc.id));
    this.#live.catch(() => {});
  }

  get following() {
    return this.#live !== undefined;
  }

  async rest() {
    if (!this.#live) return;
    const sync = this.#live;
    this.#live = undefined;
    const ended = Promise.all([sync.push, sync.pull].map((one) => new Promise((resolve) => {
      if (one.state === 'complete' || one.canceled) resolve();
      one.once('complete', resolve);
      one.once('error', resolve);
    })));
    sync.cancel();
    await ended;
  }

  async #checkpointsOf(side) {
    const found = [];
    for (const id of this.#checkpoints) {
      try { found.push(await this[side].get(id)); } catch { /* not written yet */ }
    }
    return found;
  }

  /** Forgets where it was, on its own side or on the server's. */
  async loseCheckpoints(side) {
    for (const doc of await this.#checkpointsOf(side)) await this[side].remove(doc);
  }

  /** What says where it is now, for `restoreCheckpoints`. */
  async rememberCheckpoints() {
    return { local: await this.#checkpointsOf('local'), remote: await this.#checkpointsOf('remote') };
  }

  /** Brings back an older place on both sides, as a restored backup does. */
  async restoreCheckpoints(remembered) {
    for (const side of ['local', 'remote']) {
      for (const doc of remembered[side]) {
        const now = await this[side].get(doc._id).catch(() => ({}));
        await this[side].put({ ...doc, _rev: now._rev });
      }
    }
  }

  /** All live documents that it has: id to content. */
  async holds() {
    const { rows } = await this.local.allDocs({ include_docs: true });
    return Object.fromEntries(rows.map(({ doc }) => [doc._id, content(doc)]));
  }
}
