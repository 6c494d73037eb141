// RxDB's replication-couchdb plugin: two RxDB databases, in memory, kept in step live through the server.
// RxDB pulls with include_docs, pushes with _all_docs and _bulk_docs, and puts sequences into URLs unescaped.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { createRxDatabase } from 'rxdb/plugins/core';
import { getFetchWithCouchDBAuthorization, replicateCouchDB } from 'rxdb/plugins/replication-couchdb';
import { getRxStorageMemory } from 'rxdb/plugins/storage-memory';
import { filter, firstValueFrom } from 'rxjs';
import { PouchDB, freshName } from './harness/pouch.mjs';
import { ADMIN, Server, within } from './harness/server.mjs';

const SCHEMA = {
  version: 0,
  primaryKey: 'id',
  type: 'object',
  properties: { id: { type: 'string', maxLength: 100 }, name: { type: 'string' }, age: { type: 'number' }, tags: { type: 'array', items: { type: 'string' } } },
  required: ['id', 'name'],
};

let server;
const opened = [];
before(async () => { server = await Server.start(); });
after(() => server?.stop());
afterEach(async () => { for (const close of opened.splice(0).reverse()) await close(); });

/** A collection of its own that replicates with the server's database, live. */
async function client(name, { on = server } = {}) {
  const database = await createRxDatabase({ name: freshName('rx'), storage: getRxStorageMemory(), multiInstance: false });
  const { people } = await database.addCollections({ people: { schema: SCHEMA } });
  const replication = replicateCouchDB({
    replicationIdentifier: `people-${name}`,
    collection: people,
    url: `${on.origin}/${name}/`,
    fetch: getFetchWithCouchDBAuthorization(ADMIN.name, ADMIN.password),
    live: true,
    retryTime: 50,
    waitForLeadership: false,
    pull: { batchSize: 20, heartbeat: 5000 },
    push: { batchSize: 20 },
  });
  const failures = [];
  replication.error$.subscribe((error) => failures.push(error));
  opened.push(async () => { await replication.cancel(); await database.close(); });
  await within(replication.awaitInitialReplication(), 'the initial replication');
  return { people, replication, failures };
}

async function database() {
  const name = freshName('people');
  await server.request('PUT', `/${name}`);
  return name;
}

/** Resolves when the collection's document satisfies the predicate (null when there is none). */
const when = (people, id, accepts, what) => within(firstValueFrom(people.findOne(id).$.pipe(filter((doc) => accepts(doc?.toMutableJSON() ?? null)))), `${what ?? id}`);
const count = (people, n) => within(firstValueFrom(people.find().$.pipe(filter((docs) => docs.length === n))), `${n} documents`);

describe('two collections through the server', () => {
  it('see each other insert, change and delete', async () => {
    const name = await database();
    const [one, two] = [await client(name), await client(name)];
    await one.people.insert({ id: 'ann', name: 'Ann', age: 30, tags: ['a', 'ü'] });
    await when(two.people, 'ann', (doc) => doc?.age === 30);
    assert.deepEqual((await two.people.findOne('ann').exec()).toMutableJSON().tags, ['a', 'ü']);
    const ann = await two.people.findOne('ann').exec();
    await ann.patch({ age: 31 });
    await when(one.people, 'ann', (doc) => doc?.age === 31);
    await (await one.people.findOne('ann').exec()).remove();
    await when(two.people, 'ann', (doc) => doc === null);
    const remote = new PouchDB(server.url(name));
    await one.replication.awaitInSync();
    await assert.rejects(remote.get('ann'), { status: 404, reason: 'deleted' });
    // The id comes back over its tombstone.
    await two.people.insert({ id: 'ann', name: 'Ann again' });
    await when(one.people, 'ann', (doc) => doc?.name === 'Ann again');
    await two.replication.awaitInSync();
    assert.equal((await remote.get('ann', { conflicts: true }))._conflicts, undefined);
    assert.deepEqual([one.failures, two.failures], [[], []]);
  });

  it('carry five hundred documents in pages', async () => {
    const name = await database();
    const one = await client(name);
    await one.people.bulkInsert(Array.from({ length: 500 }, (_, n) => ({ id: `p${String(n).padStart(3, '0')}`, name: `person ${n}`, age: n })));
    await within(one.replication.awaitInSync(), 'the push');
    assert.equal((await new PouchDB(server.url(name)).info()).doc_count, 500);
    const two = await client(name);
    await count(two.people, 500);
    assert.equal((await two.people.findOne('p499').exec()).age, 499);
  });

  it('take what another client wrote, conflicts settled by the server’s state', async () => {
    const name = await database();
    const [one, two] = [await client(name), await client(name)];
    const remote = new PouchDB(server.url(name));
    await remote.put({ _id: 'bob', name: 'Bob', age: 1 });
    await when(one.people, 'bob', (doc) => doc?.age === 1);
    await when(two.people, 'bob', (doc) => doc?.age === 1);
    // Both edit what they think is the newest: one is pushed, the other is told of the conflict and follows.
    const [a, b] = await Promise.all([one, two].map(({ people }) => people.findOne('bob').exec()));
    await Promise.all([a.patch({ age: 10 }), b.patch({ age: 20 })]);
    await Promise.all([one, two].map(({ replication }) => within(replication.awaitInSync(), 'both in sync')));
    const settled = await remote.get('bob', { conflicts: true });
    assert.ok([10, 20].includes(settled.age), `it is one of the two edits: ${settled.age}`);
    assert.equal(settled._conflicts, undefined);
    await when(one.people, 'bob', (doc) => doc?.age === settled.age);
    await when(two.people, 'bob', (doc) => doc?.age === settled.age);
  });
});

it('goes on after a restart of the server', async () => {
  const own = await Server.start();
  const name = freshName('people');
  await own.request('PUT', `/${name}`);
  const [one, two] = [await client(name, { on: own }), await client(name, { on: own })];
  await one.people.insert({ id: 'before', name: 'before' });
  await when(two.people, 'before', (doc) => doc !== null);
  await own.kill9();
  const failed = within(firstValueFrom(one.replication.error$), 'a failed push');
  await one.people.insert({ id: 'while-down', name: 'kept' });
  await failed;
  await own.up();
  await when(two.people, 'while-down', (doc) => doc?.name === 'kept');
  await two.people.insert({ id: 'after', name: 'after' });
  await when(one.people, 'after', (doc) => doc !== null);
  for (const close of opened.splice(0).reverse()) await close();
  await own.stop();
});
