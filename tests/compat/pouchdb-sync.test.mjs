// Replication by the real PouchDB: to the server, from it, through it, over a line that breaks and a
// server that dies. What is asserted is the end state of both sides, revision by revision.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  PERSISTENT, PouchDB, cancel, countedRemote, freshName, leaves, localDatabase, noise, sameBytes,
  unreliableRemote, untilChange, untilIds, untilRevision,
} from './harness/pouch.mjs';
import { Proxy } from './harness/proxy.mjs';
import { ADMIN, Server, within } from './harness/server.mjs';

let server;
before(async () => { server = await Server.start(); });
after(() => server?.stop());

const remote = (name = freshName()) => new PouchDB(server.url(name));
const numbered = (count, prefix = 'doc') => Array.from({ length: count }, (_, n) => ({ _id: `${prefix}-${String(n).padStart(5, '0')}`, n, text: `the body of ${prefix} ${n}` }));
const ids = (docs) => docs.map((doc) => doc._id);

async function sameLeaves(...databases) {
  const [first, ...others] = await Promise.all(databases.map(leaves));
  for (const other of others) assert.deepEqual(other, first);
  return first;
}

for (const adapter of ['memory', 'leveldb']) {
  describe(`one-shot, ${adapter} adapter`, () => {
    it('pushes and pulls', async () => {
      const [here, there, other] = [localDatabase(adapter), remote(), localDatabase(adapter)];
      await here.bulkDocs(numbered(100));
      const push = await here.replicate.to(there);
      assert.deepEqual([push.ok, push.docs_read, push.docs_written, push.doc_write_failures], [true, 100, 100, 0]);
      const pull = await other.replicate.from(there);
      assert.deepEqual([pull.ok, pull.docs_read, pull.docs_written, pull.doc_write_failures], [true, 100, 100, 0]);
      assert.equal(Object.keys(await sameLeaves(here, there, other)).length, 100);
      assert.equal((await other.get('doc-00042')).text, 'the body of doc 42');
    });

    it('keeps conflicts on both sides and agrees on the winner', async () => {
      const [one, two, there] = [localDatabase(adapter), localDatabase(adapter), remote()];
      await one.put({ _id: 'c', v: 0 });
      await one.sync(there);
      await two.sync(there);
      const base = await one.get('c');
      await one.put({ ...base, v: 'one' });
      await two.put({ ...base, v: 'two' });
      await one.sync(there);
      await two.sync(there);
      await one.sync(there);
      const all = await sameLeaves(one, two, there);
      assert.equal(all.c.length, 2);
      const winner = await there.get('c', { conflicts: true });
      const loser = await there.get('c', { rev: winner._conflicts[0] });
      assert.deepEqual([winner.v, loser.v].sort(), ['one', 'two']);
      // Settled on one client, it is settled everywhere.
      await two.remove('c', winner._conflicts[0]);
      await two.sync(there);
      await one.sync(there);
      assert.deepEqual(await sameLeaves(one, two, there), { c: [winner._rev] });
    });

    it('carries deletions, and documents that come back', async () => {
      const [one, two, there] = [localDatabase(adapter), localDatabase(adapter), remote()];
      await one.bulkDocs(numbered(10));
      await one.sync(there);
      await two.sync(there);
      await two.remove(await two.get('doc-00003'));
      await there.remove(await there.get('doc-00004'));
      await two.sync(there);
      await one.sync(there);
      for (const database of [one, two, there]) {
        await assert.rejects(database.get('doc-00003'), { status: 404, reason: 'deleted' });
        await assert.rejects(database.get('doc-00004'), { status: 404, reason: 'deleted' });
      }
      assert.equal((await there.info()).doc_count, 8);
      await one.put({ _id: 'doc-00003', back: true });
      await one.sync(there);
      await two.sync(there);
      assert.equal((await two.get('doc-00003')).back, true);
      assert.match((await sameLeaves(one, two, there))['doc-00003'][0], /^3-/);
    });

    it('carries attachments: every byte value, text, fifty at once, five megabytes', async () => {
      const [here, there, other] = [localDatabase(adapter), remote(), localDatabase(adapter)];
      const big = noise(5 * 1024 * 1024, 11);
      const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
      await here.put({ _id: 'mixed', _attachments: { 'all.bin': { content_type: 'application/octet-stream', data: bytes }, 'grüße.txt': { content_type: 'text/plain', data: Buffer.from('schöne grüße') }, 'dir/in dir': { content_type: 'a/b', data: Buffer.from('slash') }, empty: { content_type: 'a/b', data: Buffer.alloc(0) } } });
      await here.put({ _id: 'many', _attachments: Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`f${n}`, { content_type: 'text/plain', data: Buffer.from(`file ${n}`) }])) });
      await here.put({ _id: 'big', _attachments: { big: { content_type: 'application/octet-stream', data: big } } });
      await here.replicate.to(there);
      await other.replicate.from(there);
      for (const database of [there, other]) {
        sameBytes(await database.getAttachment('mixed', 'all.bin'), bytes);
        assert.equal((await database.getAttachment('mixed', 'grüße.txt')).toString(), 'schöne grüße');
        assert.equal((await database.getAttachment('mixed', 'dir/in dir')).toString(), 'slash');
        assert.equal((await database.getAttachment('mixed', 'empty')).length, 0);
        assert.equal((await database.getAttachment('many', 'f49')).toString(), 'file 49');
        assert.equal(Object.keys((await database.get('many'))._attachments).length, 50);
        sameBytes(await database.getAttachment('big', 'big'), big);
      }
      // An edit that keeps the attachments by their stubs keeps their bytes, on the other side too.
      const doc = await other.get('mixed');
      doc._attachments.later = { content_type: 'text/plain', data: Buffer.from('later') };
      delete doc._attachments.empty;
      await other.put(doc);
      await other.replicate.to(there);
      await here.replicate.from(there);
      const received = await here.get('mixed', { attachments: true, binary: true });
      assert.deepEqual(Object.keys(received._attachments).sort(), ['all.bin', 'dir/in dir', 'grüße.txt', 'later']);
      sameBytes(received._attachments['all.bin'].data, bytes);
      sameBytes(received._attachments.later.data, Buffer.from('later'));
      await sameLeaves(here, there, other);
    });
  });

  it(`syncs live both ways, ${adapter} adapter`, async () => {
    const [here, there] = [localDatabase(adapter), remote()];
    await here.put({ _id: 'before-here' });
    await there.put({ _id: 'before-there' });
    const sync = here.sync(there, PERSISTENT);
    await Promise.all([untilIds(there, ['before-here']), untilIds(here, ['before-there'])]);
    const one = await here.put({ _id: 'made-here', n: 1 });
    await untilRevision(there, 'made-here', one.rev);
    const two = await there.put({ _id: 'made-here', _rev: one.rev, n: 2 });
    await untilRevision(here, 'made-here', two.rev);
    const three = await here.remove('made-here', two.rev);
    await untilChange(there, (change) => change.id === 'made-here' && change.deleted && change.changes[0].rev === three.rev);
    await cancel(sync);
    assert.deepEqual(Object.keys(await sameLeaves(here, there)).sort(), ['before-here', 'before-there']);
  });
}

describe('what a replica holds', () => {
  it('has the same history, leaf for leaf', async () => {
    const [here, there, other] = [localDatabase(), remote(), localDatabase()];
    let { rev } = await here.put({ _id: 'h', n: 0 });
    for (let n = 1; n < 20; n += 1) ({ rev } = await here.put({ _id: 'h', _rev: rev, n }));
    await here.bulkDocs([{ _id: 'h', _rev: '5-side', _revisions: { start: 5, ids: ['side', 'x4', 'x3', 'x2', 'x1'] }, side: true }, { _id: 'h', _rev: '30-dead', _revisions: { start: 30, ids: ['dead', 'y29'] }, _deleted: true }], { new_edits: false });
    await here.replicate.to(there);
    await other.replicate.from(there);
    const history = async (database) => (await database.get('h', { open_revs: 'all', revs: true })).map((row) => row.ok).sort((a, b) => (a._rev < b._rev ? -1 : 1));
    const expected = await history(here);
    assert.equal(expected.length, 3);
    assert.deepEqual(await history(there), expected);
    assert.deepEqual(await history(other), expected);
    assert.equal((await there.get('h', { revs: true }))._revisions.ids.length, 20);
  });

  it('has the same ids and bodies, whatever is in them', async () => {
    const [here, there, other] = [localDatabase(), remote(), localDatabase()];
    const bodies = [
      { _id: 'a/b c+d%2F?#&=', s: '\u0000\u001f"\\/\u2028\u{1F600}' }, { _id: '日本語' }, { _id: '😀' }, { _id: 'ä'.normalize('NFC') }, { _id: 'ä'.normalize('NFD') },
      { _id: 'numbers', list: [0, -1, 1.5, 1e-7, 1e21, 9007199254740991, 123456789.123] },
      { _id: 'shapes', null: null, empty: {}, list: [[[]]], '': 'empty key', constructor: 'a word', toString: 1 },
      { _id: 'deep', in: Array.from({ length: 100 }).reduce((inner) => ({ inner }), 'core') },
      { _id: '_design/app', views: { v: { map: 'function (doc) { emit(doc._id) }' } } },
    ];
    await here.bulkDocs(bodies);
    await here.replicate.to(there);
    await other.replicate.from(there);
    // One by one: PouchDB's own adapters leave some of these ids out of allDocs.
    for (const body of bodies) {
      const expected = await here.get(body._id);
      for (const database of [there, other]) assert.deepEqual(await database.get(body._id), expected);
      const { _rev, ...rest } = expected;
      assert.deepEqual(rest, body);
    }
    assert.equal((await there.allDocs()).rows.length, bodies.length);
  });

  it('leaves local documents at home', async () => {
    const [here, there] = [localDatabase(), remote()];
    await here.put({ _id: '_local/secret', n: 1 });
    await here.put({ _id: 'open' });
    await here.sync(there);
    await assert.rejects(there.get('_local/secret'), { status: 404 });
    assert.equal((await there.info()).doc_count, 1);
  });

  it('is what doc_ids, selector and since ask for', async () => {
    const there = remote();
    await there.bulkDocs(numbered(50));
    const pulled = async (options) => {
      const here = localDatabase();
      await here.replicate.from(there, options);
      return (await here.allDocs()).rows.map((row) => row.id);
    };
    assert.deepEqual(await pulled({ doc_ids: ['doc-00007', 'doc-00011', 'none'] }), ['doc-00007', 'doc-00011']);
    assert.deepEqual(await pulled({ selector: { n: { $gte: 47 } } }), ['doc-00047', 'doc-00048', 'doc-00049']);
    const { last_seq: middle } = await there.changes({ limit: 45 });
    assert.equal((await pulled({ since: middle })).length, 5);
    const here = localDatabase();
    await here.bulkDocs(numbered(20, 'mine'));
    await here.replicate.to(there, { filter: (doc) => doc.n >= 15 });
    assert.equal((await there.allDocs({ startkey: 'mine', endkey: 'mine\ufff0' })).rows.length, 5);
  });

  it('follows from now on with since=now', async () => {
    const [here, there] = [localDatabase(), remote()];
    await there.bulkDocs(numbered(10));
    const { update_seq: now } = await there.info();
    const replication = here.replicate.from(there, { ...PERSISTENT, since: now });
    await there.put({ _id: 'after' });
    await untilIds(here, ['after']);
    await cancel(replication);
    assert.deepEqual((await here.allDocs()).rows.map((row) => row.id), ['after']);
  });
});

describe('five thousand documents', () => {
  const docs = numbered(5000);

  it('go up and come down, and a second run asks for nothing again', async () => {
    const [here, other] = [localDatabase(), localDatabase()];
    const { database: there, requests } = countedRemote(server.url(freshName()));
    await here.bulkDocs(docs);
    const push = await here.replicate.to(there, { batch_size: 500 });
    assert.equal(push.docs_written, 5000);
    assert.equal((await there.info()).doc_count, 5000);
    const pull = await other.replicate.from(there, { batch_size: 500 });
    assert.equal(pull.docs_written, 5000);
    assert.equal(Object.keys(await sameLeaves(here, there, other)).length, 5000);

    const heavy = () => requests.splice(0).filter((request) => /_bulk_docs|_bulk_get|_revs_diff|POST .*_all_docs/.test(request));
    heavy();
    assert.equal((await here.replicate.to(there)).docs_read, 0);
    assert.equal((await other.replicate.from(there)).docs_read, 0);
    assert.deepEqual(heavy(), [], 'a checkpoint holds: nothing is compared or sent again');

    await there.put({ _id: 'one-more' });
    requests.length = 0;
    const resumed = await other.replicate.from(there);
    assert.deepEqual([resumed.docs_read, resumed.docs_written], [1, 1]);
    assert.equal(requests.filter((request) => request.endsWith('/_changes')).length, 2, 'a page with what is new and the empty one after it, not all of them again');
    assert.equal(requests.filter((request) => request.endsWith('/_bulk_get')).length, 1);
  });

  it('resume from the last checkpoint after an interrupted run', async () => {
    const [here, name] = [localDatabase(), freshName()];
    const { database: there, requests } = countedRemote(server.url(name));
    await there.bulkDocs(docs.slice(0, 1000));
    const interrupted = here.replicate.from(there, { batch_size: 100 });
    await within(new Promise((resolve) => interrupted.on('change', (info) => { if (info.docs_written >= 300) resolve(); })), 'three batches');
    await cancel(interrupted);
    const had = (await here.info()).doc_count;
    assert.ok(had >= 300 && had < 1000, `the run was interrupted at ${had}`);
    requests.length = 0;
    const rest = await here.replicate.from(there, { batch_size: 100 });
    assert.ok(rest.docs_read <= 1000 - 300, `it read ${rest.docs_read} again`);
    assert.equal((await here.info()).doc_count, 1000);
    await sameLeaves(here, there);
  });
});

describe('two clients through the server', () => {
  it('see each other live and end equal, conflicts included', async () => {
    const [one, two, there] = [localDatabase(), localDatabase('leveldb'), remote()];
    const syncs = [one.sync(there, PERSISTENT), two.sync(there, PERSISTENT)];
    await Promise.all([one.bulkDocs(numbered(50, 'one')), two.bulkDocs(numbered(50, 'two')), one.put({ _id: 'both', by: 'one' }), two.put({ _id: 'both', by: 'two' })]);
    const everything = [...ids(numbered(50, 'one')), ...ids(numbered(50, 'two'))];
    await Promise.all([untilIds(one, everything), untilIds(two, everything)]);
    const conflicted = (change) => change.id === 'both' && change.doc._conflicts?.length === 1;
    await Promise.all([one, two, there].map((database) => untilChange(database, conflicted, 'both bodies everywhere')));
    await Promise.all(syncs.map(cancel));
    const all = await sameLeaves(one, two, there);
    assert.equal(Object.keys(all).length, 101);
    assert.equal((await one.get('both')).by, (await two.get('both')).by);
  });
});

describe('a line that breaks', () => {
  it('is survived in the middle of a transfer, both ways', async () => {
    const name = freshName();
    const proxy = await Proxy.to(server.port);
    const [here, direct] = [localDatabase(), remote(name)];
    const through = unreliableRemote(server.urlAs(ADMIN, name, proxy.port));
    await direct.bulkDocs(numbered(1000, 'down'));
    await here.bulkDocs(numbered(1000, 'up'));
    const halfway = proxy.afterBytes(150_000);
    const sync = here.sync(through, { ...PERSISTENT, batch_size: 50 });
    await within(halfway, '150 kB through the proxy');
    proxy.cut();
    // Both sides go on working while they cannot hear each other.
    await here.put({ _id: 'offline-here', n: 1 });
    await direct.put({ _id: 'offline-there', n: 2 });
    await through.untilFailures(10);
    proxy.mend();
    const everything = [...ids(numbered(1000, 'down')), ...ids(numbered(1000, 'up')), 'offline-here', 'offline-there'];
    await Promise.all([untilIds(here, everything), untilIds(direct, everything)]);
    await cancel(sync);
    assert.equal(Object.keys(await sameLeaves(here, direct)).length, 2002);
    for (const id of everything) assert.equal((await direct.get(id, { conflicts: true }))._conflicts, undefined);
    await proxy.close();
  });
});

for (const signal of ['SIGTERM', 'SIGKILL']) {
  it(`a live sync goes on after ${signal} and a restart of the server`, async () => {
    const own = await Server.start();
    const name = freshName();
    const there = new PouchDB(own.url(name));
    const [one, two] = [localDatabase(), localDatabase()];
    await there.info();
    const { uuid } = (await own.request('GET', '/')).json();
    const remotes = [one, two].map(() => unreliableRemote(own.url(name)));
    const syncs = [one, two].map((database, n) => database.sync(remotes[n], { ...PERSISTENT, batch_size: 20 }));

    // Direct writes whose acknowledgements are kept: each one must outlive the process.
    const acknowledged = new Map();
    const writer = (async () => {
      for (let n = 0; ; n += 1) {
        try {
          const { id, rev } = await there.put({ _id: `direct-${String(n).padStart(5, '0')}`, n });
          acknowledged.set(id, rev);
        } catch {
          return;
        }
      }
    })();
    await one.bulkDocs(numbered(300, 'one'));
    await untilIds(two, ids(numbered(100, 'one')), 'the sync to be under way');
    const seqBefore = Number.parseInt((await there.info()).update_seq, 10);
    const ended = await own.stop(signal);
    if (signal === 'SIGTERM') assert.deepEqual(ended, { code: 0, signal: null }, own.log);
    await writer;
    assert.ok(acknowledged.size > 0);
    await one.put({ _id: 'while-down', n: 1 });
    await Promise.all(remotes.map((handle) => handle.untilFailures(10)));
    await own.up();

    assert.equal((await own.request('GET', '/')).json().uuid, uuid, 'checkpoints hang on the uuid');
    assert.ok(Number.parseInt((await there.info()).update_seq, 10) >= seqBefore, 'sequences never rewind');
    const found = await leaves(there);
    for (const [id, rev] of acknowledged) assert.deepEqual(found[id], [rev], `${id} was acknowledged`);
    const everything = [...ids(numbered(300, 'one')), ...acknowledged.keys(), 'while-down'];
    await Promise.all([untilIds(two, everything), untilIds(one, everything)]);
    const last = await there.put({ _id: 'after-restart' });
    await Promise.all([one, two].map((database) => untilRevision(database, 'after-restart', last.rev)));
    await Promise.all(syncs.map(cancel));
    const all = await sameLeaves(one, two, there);
    for (const id of everything) assert.equal(all[id].length, 1, `${id} has no conflict with itself`);
    assert.equal((await own.stop()).code, 0);
  });
}
