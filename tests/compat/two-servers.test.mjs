// Two servers, and PouchDB's replicator between them: neither side is a PouchDB database, so every request of
// the replication protocol is answered by ours, as source and as target.

import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { PERSISTENT, PouchDB, cancel, freshName, leaves, noise, sameBytes, unreliableRemote, untilIds, untilRevision } from './harness/pouch.mjs';
import { Server } from './harness/server.mjs';

let left;
let right;
before(async () => { [left, right] = await Promise.all([Server.start(), Server.start()]); });
after(() => Promise.all([left?.stop(), right?.stop()]));

function pair() {
  const name = freshName('ring');
  return [left.url(name), right.url(name)].map((url) => new PouchDB(url));
}

it('are different servers with different names', async () => {
  const [one, two] = await Promise.all([left, right].map(async (server) => (await server.request('GET', '/')).json().uuid));
  assert.notEqual(one, two);
});

it('replicate a database with its conflicts, deletions and attachments', async () => {
  const [source, target] = pair();
  const bytes = noise(1_000_000, 21);
  await source.bulkDocs(Array.from({ length: 500 }, (_, n) => ({ _id: `doc-${n}`, n })));
  await source.remove(await source.get('doc-7'));
  await source.bulkDocs([{ _id: 'c', _rev: '1-a', v: 1 }, { _id: 'c', _rev: '1-b', v: 2 }, { _id: 'c', _rev: '2-gone', _deleted: true, _revisions: { start: 2, ids: ['gone', 'b'] } }, { _id: 'c', _rev: '1-c', v: 3 }], { new_edits: false });
  await source.put({ _id: 'att', _attachments: { 'n.bin': { content_type: 'application/octet-stream', data: bytes }, 't.txt': { content_type: 'text/plain', data: Buffer.from('text '.repeat(1000)) } } });
  const result = await PouchDB.replicate(source.name, target.name);
  assert.deepEqual([result.ok, result.doc_write_failures], [true, 0]);
  const expected = await leaves(source);
  assert.equal(Object.keys(expected).length, 501);
  assert.deepEqual(await leaves(target), expected);
  assert.deepEqual((await target.get('c', { open_revs: 'all', revs: true })).map((row) => row.ok._rev).sort(), ['1-a', '1-c', '2-gone']);
  sameBytes(await target.getAttachment('att', 'n.bin'), bytes);
  assert.equal((await target.getAttachment('att', 't.txt')).toString(), 'text '.repeat(1000));
  // What attachments are said to be is the same on both sides, digests too.
  assert.deepEqual((await target.get('att'))._attachments, (await source.get('att'))._attachments);
  const again = await PouchDB.replicate(source.name, target.name);
  assert.deepEqual([again.docs_read, again.docs_written], [0, 0]);
});

it('make the same revision of the same edit, so that nothing conflicts', async () => {
  const [one, two] = pair();
  for (const database of [one, two]) {
    const { rev } = await database.put({ _id: 'same', list: [1, 2.5, 'é', null], nested: { a: true } });
    await database.put({ _id: 'same', _rev: rev, edited: true });
  }
  await PouchDB.sync(one.name, two.name);
  assert.deepEqual(await leaves(one), await leaves(two));
  assert.equal((await leaves(one)).same.length, 1);
});

it('stay in step live, both ways, over a restart of one', async () => {
  const name = freshName('ring');
  const own = await Server.start();
  const [one, two] = [new PouchDB(left.url(name)), new PouchDB(own.url(name))];
  const remote = unreliableRemote(own.url(name));
  const sync = PouchDB.sync(one, remote, PERSISTENT);
  await one.bulkDocs([{ _id: 'a' }, { _id: 'b' }]);
  const there = await two.put({ _id: 'c' });
  await Promise.all([untilIds(two, ['a', 'b']), untilRevision(one, 'c', there.rev)]);
  await own.stop();
  await one.put({ _id: 'while-down' });
  await remote.untilFailures(10);
  await own.up();
  const back = await two.put({ _id: 'after' });
  await Promise.all([untilIds(two, ['while-down']), untilRevision(one, 'after', back.rev)]);
  await cancel(sync);
  assert.deepEqual(await leaves(one), await leaves(two));
  await own.stop();
});
