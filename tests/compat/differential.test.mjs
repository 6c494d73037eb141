// The same random history told to the server and to PouchDB in memory: edits, forks, deletions, deletions of one
// branch, purges, compactions, in the same order. Whoever looks afterwards must see the same in both: winners,
// conflicts, bodies, histories, listings and feeds. Revisions are made here and pushed with new_edits=false, for
// the two make different ids from the same content.
//
// PouchDB cannot purge in memory: there, the history is told again to a new database without what was purged.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { PouchDB, freshName, localDatabase } from './harness/pouch.mjs';
import { Server } from './harness/server.mjs';

const HISTORIES = Number(process.env.ADEA_HISTORIES ?? 12);
const STEPS = 120;
const IDS = ['a', 'b', 'ä/ö', 'd d', '_design/e'];

let server;
before(async () => { server = await Server.start(); });
after(() => server?.stop());

/** Mulberry32: small, and the same for a seed on every machine. */
function chance(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const below = (n) => Math.floor(next() * n);
  return { below, pick: (list) => list[below(list.length)], one: (n) => below(n) === 0 };
}

const digest = (text) => createHash('md5').update(text).digest('hex');

/** What happened to one document: each node has its path, newest first, as replication carries it. */
class Tree {
  nodes = [];

  leaves() {
    const parents = new Set(this.nodes.map(({ path }) => path[1]).filter(Boolean));
    return this.nodes.filter(({ path }) => !parents.has(path[0]));
  }
}

const generation = (path) => path.length;
const revision = (path) => `${generation(path)}-${path[0]}`;

function document(id, { path, deleted, body }) {
  return { _id: id, _rev: revision(path), _revisions: { start: generation(path), ids: path }, ...(deleted ? { _deleted: true } : {}), ...body };
}

/** Makes the next step: what to push, what to purge, or a compaction. */
function step(random, trees, number) {
  const kind = random.below(100);
  if (kind < 4) return { compact: true };
  const id = random.pick(IDS);
  const tree = trees.get(id) ?? new Tree();
  const leaves = tree.leaves();
  if (kind < 10 && leaves.length > 0) return { purge: { id, leaf: random.pick(leaves) } };
  const body = { n: number, text: random.pick(['', 'ü', 'a"b', '\u0000', '😀']), deep: { list: [number, null, 1.5, random.one(2)] } };
  let path;
  if (kind < 25 || tree.nodes.length === 0) {
    // A root of its own: two who never met made the same id.
    path = [digest(`${id} ${number} root`)];
  } else if (kind < 40) {
    // A fork of any revision, leaf or not.
    path = [digest(`${id} ${number} fork`), ...random.pick(tree.nodes).path];
  } else {
    path = [digest(`${id} ${number} edit`), ...random.pick(leaves).path];
  }
  // Some arrive with ancestors that nobody has seen.
  if (random.one(8)) path = [digest(`${id} ${number} jump`), ...path];
  const deleted = random.one(5);
  return { push: { id, node: { path, deleted, body: deleted && random.one(2) ? {} : body } } };
}

function applyToTrees(trees, { push, purge }) {
  if (push) {
    const tree = trees.get(push.id) ?? new Tree();
    trees.set(push.id, tree);
    for (let at = push.node.path.length - 1; at > 0; at -= 1) {
      const path = push.node.path.slice(at);
      if (!tree.nodes.some((node) => node.path[0] === path[0])) tree.nodes.push({ path, missing: true });
    }
    tree.nodes.push(push.node);
  }
  if (purge) {
    // The leaf goes, and with it all that only it descends from.
    const tree = trees.get(purge.id);
    let gone = purge.leaf;
    while (gone) {
      tree.nodes = tree.nodes.filter((node) => node !== gone);
      const parent = gone.path[1];
      gone = tree.leaves().find((leaf) => leaf.path[0] === parent);
    }
    if (tree.nodes.length === 0) trees.delete(purge.id);
  }
}

/** Tells a database a history from which what was purged has been taken out. */
async function retell(steps, trees) {
  const database = localDatabase('memory');
  for (const { push, compact } of steps) {
    if (compact) await database.compact();
    if (!push) continue;
    const kept = trees.get(push.id)?.nodes.includes(push.node);
    if (kept) await database.bulkDocs([document(push.id, push.node)], { new_edits: false });
  }
  return database;
}

const plain = (value) => JSON.parse(JSON.stringify(value));
const sorted = (list) => (list ?? []).slice().sort();

/** All that a reader can see of a database, in an order that does not depend on when it was told. */
async function visible(database) {
  const seen = { rows: [], changes: {}, documents: {} };
  const { rows } = await database.allDocs({ include_docs: true, conflicts: true });
  seen.rows = rows.map(({ id, key, value, doc }) => ({ id, key, rev: value.rev, doc: { ...plain(doc), _conflicts: sorted(doc._conflicts) } }));
  const { results } = await database.changes({ since: 0, style: 'all_docs' });
  for (const { id, changes, deleted } of results) {
    assert.equal(seen.changes[id], undefined, `${id} is in the feed once`);
    seen.changes[id] = { leaves: sorted(changes.map(({ rev }) => rev)), deleted: deleted ?? false };
  }
  for (const id of IDS) {
    const winner = await database.get(id, { revs: true, conflicts: true }).catch(({ status, reason }) => ({ status, reason }));
    if (winner._conflicts) winner._conflicts.sort();
    const open = await database.get(id, { open_revs: 'all', revs: true }).catch(({ status }) => status);
    const leaves = Array.isArray(open) ? open.map(({ ok }) => plain(ok)).sort((x, y) => (x._rev < y._rev ? -1 : 1)) : open;
    seen.documents[id] = { winner: plain(winner), leaves };
  }
  const { doc_count } = await database.info();
  seen.count = doc_count;
  return seen;
}

describe('a random history', () => {
  for (let seed = 1; seed <= HISTORIES; seed += 1) {
    it(`looks the same in PouchDB and on the server (seed ${seed})`, async () => {
      const random = chance(seed);
      const name = freshName('history');
      const remote = new PouchDB(server.url(name));
      await remote.info();
      const trees = new Map();
      const steps = [];
      let local = localDatabase('memory');
      for (let number = 0; number < STEPS; number += 1) {
        const next = step(random, trees, number);
        steps.push(next);
        applyToTrees(trees, next);
        if (next.push) {
          const doc = document(next.push.id, next.push.node);
          assert.deepEqual(await remote.bulkDocs([doc], { new_edits: false }), []);
          await local.bulkDocs([doc], { new_edits: false });
        } else if (next.purge) {
          const { id, leaf } = next.purge;
          const answer = await server.request('POST', `/${name}/_purge`, { body: { [id]: [revision(leaf.path)] } });
          assert.equal(answer.status, 201);
          assert.deepEqual(answer.json().purged[id], [revision(leaf.path)]);
          await local.destroy();
          local = await retell(steps, trees);
        } else {
          await remote.compact();
          await local.compact();
        }
        if (number % 20 === 19) assert.deepEqual(await visible(remote), await visible(local), `seed ${seed}, step ${number}`);
      }
      await local.destroy();
      await remote.destroy();
    });
  }
});
