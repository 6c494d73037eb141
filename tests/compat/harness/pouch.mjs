// PouchDB for the tests: the real package, with the memory and the leveldb adapter, databases with
// fresh names, and waits that hang on PouchDB's own feeds instead of the clock.

import assert from 'node:assert/strict';
import path from 'node:path';
import PouchDB from 'pouchdb';
import memoryAdapter from 'pouchdb-adapter-memory';
import { temporaryDirectory, within } from './server.mjs';

PouchDB.plugin(memoryAdapter);
// Every live feed listens for 'destroyed'; a suite holds more of them than Node's warning allows for.
PouchDB.setMaxListeners(200);

export { PouchDB };

/** Replication that never gives up and asks again soon, as a client on a bad line should. */
export const PERSISTENT = { live: true, retry: true, back_off_function: () => 50 };

let counter = 0;

export function freshName(label = 'db') {
  counter += 1;
  return `${label}_${process.pid}_${counter}`;
}

/** A local database that lives in memory or in a leveldb directory of its own. */
export function localDatabase(adapter = 'memory') {
  if (adapter === 'memory') return new PouchDB(freshName('local'), { adapter: 'memory' });
  return new PouchDB(path.join(temporaryDirectory('leveldb'), 'db'), { adapter: 'leveldb' });
}

/** A handle on a database of the server that notes each request as 'METHOD /path' in `requests`. */
export function countedRemote(url) {
  const requests = [];
  const database = new PouchDB(url, {
    fetch(address, options) {
      const target = new URL(address);
      requests.push(`${options?.method ?? 'GET'} ${target.pathname}`);
      return PouchDB.fetch(address, options);
    },
  });
  return { database, requests };
}

/**
 * A handle for a peer that will be unreachable for a while. Two faults of PouchDB's own are kept out of the way:
 *
 * - Its replicator reads info() after each batch, for a progress number, and leaves a failed read as an unhandled
 *   rejection, which the runner would count against the test. Here an unreachable peer answers what it last said.
 * - A replication that failed while a batch was still being written starts anew beside the old one; should the peer
 *   be back before the old one has noticed, the two share their state and skip batches. So the tests keep the peer
 *   away until `untilFailures` says that the client has run into it several times.
 */
export function unreliableRemote(url) {
  let failures = 0;
  let waiting = [];
  const database = new PouchDB(url, {
    async fetch(address, options) {
      try {
        return await PouchDB.fetch(address, options);
      } catch (error) {
        failures += 1;
        waiting = waiting.filter(({ at, resolve }) => failures < at || resolve());
        throw error;
      }
    },
  });
  const ask = database.info.bind(database);
  let last;
  database.info = async () => {
    try {
      last = await ask();
    } catch (error) {
      if (last === undefined || error.status) throw error;
    }
    return last;
  };
  database.untilFailures = (count) => within(new Promise((resolve) => waiting.push({ at: failures + count, resolve })), `${count} failed requests`);
  return database;
}

/** Resolves with the first change (document included) that the predicate accepts, past or future. */
export function untilChange(database, accepts, what = 'a change') {
  let feed;
  const seen = new Promise((resolve, reject) => {
    feed = database.changes({ live: true, since: 0, include_docs: true, conflicts: true });
    feed.on('change', (change) => { if (accepts(change)) resolve(change); });
    feed.on('error', reject);
  });
  return within(seen, what, 60_000).finally(() => feed.cancel());
}

/** Resolves when every id has been seen in the database's feed. */
export function untilIds(database, ids, what = `${ids.length} ids`) {
  const missing = new Set(ids);
  return untilChange(database, (change) => {
    missing.delete(change.id);
    return missing.size === 0;
  }, `${what} in ${database.name}`);
}

/** Resolves when the id's winner is at the revision. */
export function untilRevision(database, id, rev) {
  return untilChange(database, (change) => change.id === id && change.doc?._rev === rev, `${id} at ${rev}`);
}

/** Stops a live replication or sync and waits until it has stopped. */
export async function cancel(replication) {
  const stopped = new Promise((resolve) => {
    replication.once('complete', resolve);
    replication.once('error', resolve);
  });
  replication.cancel();
  await within(stopped, 'the end of a cancelled replication');
}

/** id -> [winner, ...sorted conflicts] of every live document: two replicas agree exactly when these are equal. */
export async function leaves(database) {
  const { rows } = await database.allDocs({ include_docs: true, conflicts: true });
  return Object.fromEntries(rows.map(({ id, doc }) => [id, [doc._rev, ...(doc._conflicts ?? []).sort()]]));
}

/** Bytes that look random and are the same in every run. */
export function noise(length, seed = 1) {
  const bytes = Buffer.alloc(length);
  let state = seed >>> 0 || 1;
  for (let at = 0; at < length; at += 1) {
    state ^= state << 13; state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5; state >>>= 0;
    bytes[at] = state & 0xff;
  }
  return bytes;
}

/** Compares by content: PouchDB hangs a `type` on its buffers, and a diff of megabytes helps nobody. */
export function sameBytes(actual, expected) {
  assert.ok(Buffer.isBuffer(actual), 'the attachment is a buffer');
  assert.equal(actual.length, expected.length);
  assert.equal(actual.compare(expected), 0, 'the bytes are equal');
}
