// PouchDB's API spoken straight to the server through its HTTP adapter: what an application does that
// keeps no local copy. Each answer is asserted exactly, the errors too.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { PouchDB, freshName, noise, sameBytes, untilChange } from './harness/pouch.mjs';
import { Server, within } from './harness/server.mjs';

const EMPTY_REV = '1-967a00dff5e02add41819138abb3284d';
const rev = (generation, letter) => `${generation}-${letter.repeat(32)}`;

let server;
let db;

before(async () => { server = await Server.start(); });
after(() => server?.stop());
beforeEach(async () => {
  db = new PouchDB(server.url(freshName()));
  await db.info();
});

/** The status, error and reason of a call that must fail. */
async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    return { status: error.status, name: error.name, reason: error.reason };
  }
  return assert.fail('the call succeeded');
}

const CONFLICT = { status: 409, name: 'conflict', reason: 'Document update conflict.' };
const MISSING = { status: 404, name: 'not_found', reason: 'missing' };
const DELETED = { status: 404, name: 'not_found', reason: 'deleted' };

/** A document with a live winner 2-c…, a live loser 2-b… and a deleted branch 3-d…, all from 1-a…. */
async function plantConflict(id = 'c') {
  await db.bulkDocs([
    { _id: id, _rev: rev(1, 'a'), v: 1 },
    { _id: id, _rev: rev(2, 'b'), v: 2, _revisions: { start: 2, ids: ['b'.repeat(32), 'a'.repeat(32)] } },
    { _id: id, _rev: rev(2, 'c'), v: 3, _revisions: { start: 2, ids: ['c'.repeat(32), 'a'.repeat(32)] } },
    { _id: id, _rev: rev(3, 'd'), _deleted: true, _revisions: { start: 3, ids: ['d'.repeat(32), 'e'.repeat(32), 'a'.repeat(32)] } },
  ], { new_edits: false });
}

describe('a database', () => {
  it('is made by the first use of a handle, and again after destroy', async () => {
    const info = await db.info();
    assert.equal(info.doc_count, 0);
    assert.equal(Number.parseInt(info.update_seq, 10), 0);
    await db.put({ _id: 'a' });
    assert.equal((await db.info()).doc_count, 1);
    assert.equal((await db.destroy()).ok, true);
    const again = new PouchDB(db.name);
    assert.equal((await again.info()).doc_count, 0);
    assert.deepEqual(await failure(again.get('a')), MISSING);
  });

  it('is not made with skip_setup', async () => {
    const absent = new PouchDB(server.url(freshName()), { skip_setup: true });
    assert.deepEqual(await failure(absent.get('a')), { status: 404, name: 'not_found', reason: 'Database does not exist.' });
    assert.equal((await server.request('HEAD', new URL(absent.name).pathname)).status, 404);
  });

  it('counts documents, deletions and sequences', async () => {
    const a = await db.put({ _id: 'a' });
    await db.put({ _id: 'b' });
    await db.put({ _id: '_local/uncounted' });
    const before = await db.info();
    await db.remove('a', a.rev);
    const info = await db.info();
    assert.equal(info.doc_count, 1);
    assert.equal((await server.request('GET', new URL(db.name).pathname)).json().doc_del_count, 1);
    assert.ok(Number.parseInt(info.update_seq, 10) > Number.parseInt(before.update_seq, 10));
    assert.equal(info.db_name, new URL(db.name).pathname.slice(1));
  });

  it('has a name that may hold a slash', async () => {
    const name = freshName('with') + '/slash';
    const slashed = new PouchDB(server.url(encodeURIComponent(name)));
    await slashed.put({ _id: 'a', in: 'slashed' });
    assert.equal((await slashed.get('a')).in, 'slashed');
    assert.equal((await slashed.info()).db_name, name);
    await slashed.destroy();
  });
});

describe('documents', () => {
  it('put, get, change, remove, and come back', async () => {
    const first = await db.put({ _id: 'a' });
    assert.deepEqual(first, { ok: true, id: 'a', rev: EMPTY_REV });
    const second = await db.put({ _id: 'a', _rev: first.rev, n: 1 });
    assert.match(second.rev, /^2-[0-9a-f]{32}$/);
    assert.deepEqual(await db.get('a'), { _id: 'a', _rev: second.rev, n: 1 });
    const third = await db.remove('a', second.rev);
    assert.match(third.rev, /^3-[0-9a-f]{32}$/);
    assert.deepEqual(await failure(db.get('a')), DELETED);
    assert.deepEqual(await db.get('a', { rev: third.rev }), { _id: 'a', _rev: third.rev, _deleted: true });
    const fourth = await db.put({ _id: 'a', back: true });
    assert.match(fourth.rev, /^4-[0-9a-f]{32}$/);
    assert.deepEqual(await db.get('a'), { _id: 'a', _rev: fourth.rev, back: true });
  });

  it('conflict without the right revision', async () => {
    const first = await db.put({ _id: 'a' });
    assert.deepEqual(await failure(db.put({ _id: 'a' })), CONFLICT);
    assert.deepEqual(await failure(db.put({ _id: 'a', _rev: rev(1, 'f') })), CONFLICT);
    await db.put({ _id: 'a', _rev: first.rev });
    assert.deepEqual(await failure(db.put({ _id: 'a', _rev: first.rev, late: true })), CONFLICT);
    assert.deepEqual(await failure(db.remove('a', first.rev)), CONFLICT);
  });

  it('miss with the right words', async () => {
    assert.deepEqual(await failure(db.get('never')), MISSING);
    assert.deepEqual(await failure(db.get('never', { rev: '1-a' })), MISSING);
    await db.put({ _id: 'a' });
    assert.deepEqual(await failure(db.get('a', { rev: rev(1, 'f') })), MISSING);
  });

  it('post under a generated id', async () => {
    const one = await db.post({ n: 1 });
    const two = await db.post({ n: 1 });
    assert.notEqual(one.id, two.id);
    assert.equal((await db.get(one.id)).n, 1);
    assert.equal(one.rev, two.rev, 'equal bodies have equal revisions');
  });

  it('keep every id, whatever its characters', async () => {
    const ids = ['a/b', 'a b', 'a+b', 'a%2Fb', '100%', 'q?x=1&y', 'h#ash', 'ü', '日本', '😀', '"quoted"', "it's", 'a:b@c', 'x'.repeat(300)];
    for (const id of ids) {
      const { rev: put } = await db.put({ _id: id, is: id });
      assert.deepEqual(await db.get(id), { _id: id, _rev: put, is: id });
    }
    assert.deepEqual((await db.allDocs()).rows.map((row) => row.id), [...ids].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
    for (const id of ids) await db.remove(await db.get(id));
    assert.equal((await db.info()).doc_count, 0);
  });

  it('keep bodies as they were sent', async () => {
    const text = '{"z":1,"a":[{},[],null,true,false,""],"10":3,"2":4,"big":123456789012345678901234567890,"i":369553424691494913,"f":1.5,"é":"\\u0000 \\ud83d\\ude00 \\" \\\\ /"}';
    const path = new URL(db.name).pathname + '/body';
    const put = await server.request('PUT', path, { body: text, headers: { 'content-type': 'application/json' } });
    assert.equal(put.status, 201);
    const expected = `{"_id":"body","_rev":"${put.json().rev}",` + text.slice(1).replace('\\ud83d\\ude00', '😀');
    assert.equal((await server.request('GET', path)).text, expected + '\n');
  });

  it('refuse what CouchDB refuses', async () => {
    assert.deepEqual(await failure(db.put({ _id: 'a', _zing: 1 })), { status: 400, name: 'doc_validation', reason: 'Bad special document member: _zing' });
    assert.deepEqual(await failure(db.bulkDocs([{ _id: '_under' }])), { status: 400, name: 'illegal_docid', reason: 'Only reserved document ids may start with underscore.' });
    assert.equal((await failure(db.put({ _id: 'a', _rev: 'nonsense' }))).status, 400);
    assert.equal((await db.info()).doc_count, 0);
  });

  it('store a design document like any other', async () => {
    const design = { _id: '_design/app', language: 'javascript', views: { by: { map: 'function (doc) { emit(doc._id) }' } } };
    const { rev: put } = await db.put(design);
    assert.deepEqual(await db.get('_design/app'), { ...design, _rev: put });
    assert.equal((await db.allDocs()).rows[0].id, '_design/app');
  });

  it('keep local documents out of every list', async () => {
    const first = await db.put({ _id: '_local/mine', n: 1 });
    assert.deepEqual(first, { ok: true, id: '_local/mine', rev: '0-1' });
    const second = await db.put({ _id: '_local/mine', _rev: '0-1', n: 2 });
    assert.equal(second.rev, '0-2');
    assert.deepEqual(await db.get('_local/mine'), { _id: '_local/mine', _rev: '0-2', n: 2 });
    assert.equal((await db.allDocs()).rows.length, 0);
    assert.equal((await db.changes()).results.length, 0);
    await db.remove(await db.get('_local/mine'));
    assert.deepEqual(await failure(db.get('_local/mine')), MISSING);
  });
});

describe('bulk writes', () => {
  it('answer a row for each document in order', async () => {
    await db.put({ _id: 'b' });
    const rows = await db.bulkDocs([{ _id: 'a' }, { _id: 'b' }, { _id: 'c' }, { _id: 'c', twice: true }, { n: 1 }]);
    assert.deepEqual(rows.slice(0, 4).map((row) => [row.ok ?? false, row.id, row.rev ?? row.name, row.status]), [
      [true, 'a', EMPTY_REV, undefined],
      [false, 'b', 'conflict', 409],
      [true, 'c', EMPTY_REV, undefined],
      [false, 'c', 'conflict', 409],
    ]);
    assert.equal(rows[4].ok, true);
    assert.equal((await db.info()).doc_count, 4);
  });

  it('delete and bring back in bulk', async () => {
    const [a] = await db.bulkDocs([{ _id: 'a' }]);
    const [gone] = await db.bulkDocs([{ _id: 'a', _rev: a.rev, _deleted: true, why: 'kept' }]);
    assert.deepEqual(await db.get('a', { rev: gone.rev }), { _id: 'a', _rev: gone.rev, _deleted: true, why: 'kept' });
    const [back] = await db.bulkDocs([{ _id: 'a' }]);
    assert.match(back.rev, /^3-/);
  });

  it('take foreign revisions with new_edits false, twice as once', async () => {
    await plantConflict();
    const before = await db.info();
    await plantConflict();
    assert.equal((await db.info()).update_seq, before.update_seq, 'a repeat writes nothing');
    const doc = await server.request('GET', new URL(db.name).pathname + '/c?conflicts=true&deleted_conflicts=true');
    assert.deepEqual(doc.json(), { _id: 'c', _rev: rev(2, 'c'), v: 3, _conflicts: [rev(2, 'b')], _deleted_conflicts: [rev(3, 'd')] });
    await db.bulkDocs([{ _id: 'odd', _rev: '7-Anything_Goes', v: 1 }], { new_edits: false });
    assert.equal((await db.get('odd'))._rev, '7-Anything_Goes');
  });

  it('give a 2,000 document batch its rows', async () => {
    const rows = await db.bulkDocs(Array.from({ length: 2000 }, (_, n) => ({ _id: `n${n}`, n })));
    assert.equal(rows.filter((row) => row.ok).length, 2000);
    assert.deepEqual(rows.map((row) => row.id), Array.from({ length: 2000 }, (_, n) => `n${n}`));
    assert.equal((await db.info()).doc_count, 2000);
  });
});

describe('revisions', () => {
  beforeEach(() => plantConflict());

  it('get by revision, with history', async () => {
    assert.deepEqual(await db.get('c', { rev: rev(1, 'a') }), { _id: 'c', _rev: rev(1, 'a'), v: 1 });
    assert.deepEqual((await db.get('c', { revs: true }))._revisions, { start: 2, ids: ['c'.repeat(32), 'a'.repeat(32)] });
    assert.deepEqual((await db.get('c', { rev: rev(3, 'd'), revs: true, revs_info: true }))._revs_info, [
      { rev: rev(3, 'd'), status: 'deleted' }, { rev: rev(3, 'e').replace('3-', '2-'), status: 'missing' }, { rev: rev(1, 'a'), status: 'available' },
    ]);
  });

  it('get the latest leaf below a revision', async () => {
    const doc = await db.get('c', { rev: rev(2, 'b'), latest: true });
    assert.deepEqual(doc, { _id: 'c', _rev: rev(2, 'b'), v: 2 });
    await db.bulkDocs([{ _id: 'c', _rev: rev(3, '9'), v: 9, _revisions: { start: 3, ids: ['9'.repeat(32), 'b'.repeat(32), 'a'.repeat(32)] } }], { new_edits: false });
    assert.equal((await db.get('c', { rev: rev(2, 'b'), latest: true }))._rev, rev(3, '9'));
    assert.equal((await db.get('c', { rev: rev(2, 'b') }))._rev, rev(2, 'b'));
  });

  it('get the open revisions', async () => {
    const all = await db.get('c', { open_revs: 'all' });
    assert.deepEqual(all.map((row) => row.ok._rev).sort(), [rev(2, 'b'), rev(2, 'c'), rev(3, 'd')]);
    const some = await db.get('c', { open_revs: [rev(2, 'b'), rev(9, 'f')], revs: true });
    assert.equal(some.length, 2);
    assert.deepEqual(some.find((row) => row.ok).ok, { _id: 'c', _rev: rev(2, 'b'), v: 2, _revisions: { start: 2, ids: ['b'.repeat(32), 'a'.repeat(32)] } });
    assert.equal(some.find((row) => row.missing).missing, rev(9, 'f'));
  });

  it('get in bulk, in the order asked', async () => {
    await db.put({ _id: 'plain' });
    const { results } = await db.bulkGet({ docs: [{ id: 'plain' }, { id: 'c', rev: rev(2, 'b') }, { id: 'none', rev: '1-a' }, { id: 'c', rev: rev(9, 'f') }, { id: 'plain' }], revs: true });
    assert.deepEqual(results.map((row) => row.id), ['plain', 'c', 'none', 'c', 'plain']);
    assert.deepEqual(results[0].docs, [{ ok: { _id: 'plain', _rev: EMPTY_REV, _revisions: { start: 1, ids: [EMPTY_REV.slice(2)] } } }]);
    assert.equal(results[1].docs[0].ok.v, 2);
    assert.deepEqual(results[2].docs, [{ error: { id: 'none', rev: '1-a', error: 'not_found', reason: 'missing' } }]);
    assert.deepEqual(results[3].docs, [{ error: { id: 'c', rev: rev(9, 'f'), error: 'not_found', reason: 'missing' } }]);
  });

  it('diff against what a peer has', async () => {
    const diff = await db.revsDiff({ c: [rev(1, 'a'), rev(2, 'b'), rev(3, 'f')], none: ['1-x', '2-y'], gone: [] });
    assert.deepEqual(Object.keys(diff).sort(), ['c', 'none']);
    assert.deepEqual(diff.c.missing, [rev(3, 'f')]);
    assert.deepEqual(diff.c.possible_ancestors.filter((r) => r.startsWith('2-')).sort(), [rev(2, 'b'), rev(2, 'c')]);
    assert.deepEqual(diff.none.missing.sort(), ['1-x', '2-y']);
  });

  it('lose a conflict by deleting the winner', async () => {
    await db.remove('c', rev(2, 'c'));
    assert.deepEqual(await db.get('c', { conflicts: true }), { _id: 'c', _rev: rev(2, 'b'), v: 2 });
    await db.remove('c', rev(2, 'b'));
    assert.deepEqual(await failure(db.get('c')), DELETED);
  });

  it('compact: leaves stay, what is behind them goes', async () => {
    const one = await db.put({ _id: 'k', n: 1 });
    const two = await db.put({ _id: 'k', _rev: one.rev, n: 2 });
    assert.equal((await db.get('k', { rev: one.rev })).n, 1);
    await within(db.compact({ interval: 20 }), 'compact_running to be false again');
    assert.deepEqual(await failure(db.get('k', { rev: one.rev })), MISSING);
    assert.equal((await db.get('k', { rev: two.rev })).n, 2);
    assert.deepEqual((await db.get('k', { revs_info: true }))._revs_info, [{ rev: two.rev, status: 'available' }, { rev: one.rev, status: 'missing' }]);
    assert.deepEqual((await db.get('c', { open_revs: 'all' })).map((row) => row.ok._rev).sort(), [rev(2, 'b'), rev(2, 'c'), rev(3, 'd')]);
    assert.equal((await db.get('c', { rev: rev(2, 'b') })).v, 2);
    assert.deepEqual(await db.viewCleanup(), { ok: true });
  });
});

describe('allDocs', () => {
  const ids = (result) => result.rows.map((row) => row.id ?? row.error);
  beforeEach(async () => {
    await db.bulkDocs(['a', 'b', 'c', 'd', 'e'].map((id, n) => ({ _id: id, n })));
    await db.remove(await db.get('c'));
  });

  it('selects by range, order, limit and skip', async () => {
    const cases = [
      [{}, ['a', 'b', 'd', 'e']],
      [{ startkey: 'b' }, ['b', 'd', 'e']],
      [{ endkey: 'b' }, ['a', 'b']],
      [{ startkey: 'b', endkey: 'd' }, ['b', 'd']],
      [{ startkey: 'b', endkey: 'd', inclusive_end: false }, ['b']],
      [{ startkey: 'bb' }, ['d', 'e']],
      [{ descending: true }, ['e', 'd', 'b', 'a']],
      [{ descending: true, startkey: 'd', endkey: 'b' }, ['d', 'b']],
      [{ limit: 2 }, ['a', 'b']],
      [{ limit: 2, skip: 1 }, ['b', 'd']],
      [{ limit: 0 }, []],
      [{ skip: 10 }, []],
      [{ key: 'b' }, ['b']],
      [{ key: 'c' }, []],
      [{ key: 'nope' }, []],
      [{ startkey: 'x' }, []],
    ];
    for (const [options, expected] of cases) assert.deepEqual(ids(await db.allDocs(options)), expected, JSON.stringify(options));
  });

  it('counts all and says where a page begins', async () => {
    const page = await db.allDocs({ limit: 1, skip: 2 });
    assert.equal(page.total_rows, 4);
    assert.equal(page.offset, 2);
  });

  it('answers keys in the order asked, missing and deleted too', async () => {
    const { rows } = await db.allDocs({ keys: ['e', 'none', 'c', 'a', 'e'], include_docs: true });
    assert.deepEqual(rows.map((row) => row.key), ['e', 'none', 'c', 'a', 'e']);
    assert.equal(rows[0].doc.n, 4);
    assert.deepEqual(rows[1], { key: 'none', error: 'not_found' });
    assert.equal(rows[2].value.deleted, true);
    assert.match(rows[2].value.rev, /^2-/);
    assert.equal(rows[2].doc, null);
    assert.deepEqual((await db.allDocs({ keys: [] })).rows, []);
  });

  it('includes documents, conflicts and attachments', async () => {
    await plantConflict('z');
    await db.putAttachment('att', 'f', Buffer.from('bytes'), 'application/octet-stream');
    const { rows } = await db.allDocs({ include_docs: true, conflicts: true, attachments: true, startkey: 'a' });
    const by = Object.fromEntries(rows.map((row) => [row.id, row.doc]));
    assert.deepEqual(by.z._conflicts, [rev(2, 'b')]);
    assert.equal(by.att._attachments.f.data, Buffer.from('bytes').toString('base64'));
    assert.deepEqual(by.a, { _id: 'a', _rev: by.a._rev, n: 0 });
    assert.equal((await db.allDocs({ startkey: 'z' })).rows[0].doc, undefined);
  });

  it('tells the sequence it was read at', async () => {
    const answer = await db.allDocs({ update_seq: true, limit: 1 });
    assert.equal(answer.update_seq, (await db.info()).update_seq);
  });
});

describe('changes', () => {
  it('tell each document once, in the order of the last write', async () => {
    const a = await db.put({ _id: 'a' });
    await db.put({ _id: 'b' });
    await db.put({ _id: 'c' });
    const again = await db.put({ _id: 'a', _rev: a.rev, n: 2 });
    const { results, last_seq } = await db.changes();
    assert.deepEqual(results.map((row) => row.id), ['b', 'c', 'a']);
    assert.deepEqual(results[2].changes, [{ rev: again.rev }]);
    assert.equal(results[2].seq, last_seq);
    const numbers = results.map((row) => Number.parseInt(row.seq, 10));
    assert.deepEqual(numbers, [...numbers].sort((x, y) => x - y));
    assert.deepEqual((await db.changes({ since: results[0].seq })).results.map((row) => row.id), ['c', 'a']);
    assert.deepEqual((await db.changes({ since: last_seq })).results, []);
    assert.deepEqual((await db.changes({ since: (await db.info()).update_seq })).results, []);
    assert.deepEqual((await db.changes({ since: 'now' })).results, []);
  });

  it('page, reverse, and count what is left', async () => {
    await db.bulkDocs(Array.from({ length: 30 }, (_, n) => ({ _id: String(n).padStart(2, '0') })));
    const page = await db.changes({ limit: 10 });
    assert.equal(page.results.length, 10);
    const rest = await db.changes({ since: page.last_seq });
    assert.equal(rest.results.length, 20);
    const pending = async (query) => (await server.request('GET', `${new URL(db.name).pathname}/_changes?${query}`)).json().pending;
    assert.equal(await pending('limit=10'), 20);
    assert.equal(await pending('limit=0'), 30);
    assert.equal(await pending(`limit=5&since=${encodeURIComponent(page.last_seq)}`), 15);
    assert.equal(await pending(`since=${encodeURIComponent(page.last_seq)}`), 0);
    assert.equal(new Set([...page.results, ...rest.results].map((row) => row.id)).size, 30);
    const all = (await db.changes()).results.map((row) => row.id);
    assert.deepEqual((await db.changes({ descending: true })).results.map((row) => row.id), all.reverse());
    assert.equal((await db.changes({ descending: true, limit: 3 })).results.length, 3);
  });

  it('show leaves, documents, conflicts and deletions', async () => {
    await plantConflict();
    const gone = await db.remove(await db.put({ _id: 'g' }).then(() => db.get('g')));
    const { results } = await db.changes({ style: 'all_docs', include_docs: true, conflicts: true });
    const [c, g] = ['c', 'g'].map((id) => results.find((row) => row.id === id));
    assert.deepEqual(c.changes.map((change) => change.rev), [rev(2, 'c'), rev(2, 'b'), rev(3, 'd')]);
    assert.deepEqual(c.doc, { _id: 'c', _rev: rev(2, 'c'), v: 3, _conflicts: [rev(2, 'b')] });
    assert.equal(c.deleted, undefined);
    assert.equal(g.deleted, true);
    assert.deepEqual(g.doc, { _id: 'g', _rev: gone.rev, _deleted: true });
  });

  it('filter by ids and by selector', async () => {
    await db.bulkDocs([{ _id: 'a', n: 1 }, { _id: 'b', n: 2 }, { _id: 'c', n: 3, in: { deep: ['x'] } }]);
    const ids = async (options) => (await db.changes(options)).results.map((row) => row.id);
    assert.deepEqual(await ids({ doc_ids: ['a', 'c', 'none'] }), ['a', 'c']);
    assert.deepEqual(await ids({ selector: { n: { $gt: 1 } } }), ['b', 'c']);
    assert.deepEqual(await ids({ selector: { 'in.deep': { $elemMatch: { $eq: 'x' } } } }), ['c']);
    assert.deepEqual(await ids({ selector: { $or: [{ n: 1 }, { n: 3 }] } }), ['a', 'c']);
    assert.deepEqual(await ids({ selector: { n: { $exists: false } } }), []);
    const designs = async () => (await server.request('GET', `${new URL(db.name).pathname}/_changes?filter=_design`)).json().results.map((row) => row.id);
    assert.deepEqual(await designs(), []);
    await db.put({ _id: '_design/d' });
    assert.deepEqual(await designs(), ['_design/d']);
  });

  it('include attachments as data', async () => {
    const bytes = noise(1000, 3);
    await db.putAttachment('doc', 'a.bin', bytes, 'application/octet-stream');
    const { results } = await db.changes({ include_docs: true, attachments: true, binary: true });
    sameBytes(results[0].doc._attachments['a.bin'].data, bytes);
    assert.equal((await db.changes({ include_docs: true })).results[0].doc._attachments['a.bin'].stub, true);
  });

  it('leave out sequences that were not asked for', async () => {
    await db.bulkDocs([{ _id: 'a' }, { _id: 'b' }, { _id: 'c' }, { _id: 'd' }]);
    const { results, last_seq } = await db.changes({ seq_interval: 2 });
    assert.equal(results.length, 4);
    assert.equal(results.filter((row) => row.seq === null).length, 2);
    assert.equal(typeof last_seq, 'string');
  });

  it('follow live with documents until cancelled', async () => {
    await db.put({ _id: 'before' });
    const feed = db.changes({ live: true, since: 'now', include_docs: true });
    const seen = [];
    const ended = new Promise((resolve, reject) => { feed.on('complete', resolve); feed.on('error', reject); });
    const two = new Promise((resolve) => feed.on('change', (change) => { seen.push(change.doc); if (seen.length === 2) resolve(); }));
    // since=now is settled by the feed's first request; a witness feed from zero shows that the server has
    // answered a request sent later, and the writes come after the feed's own first answer.
    await untilChange(db, (change) => change.id === 'before');
    let n = 0;
    const writing = (async () => { while (seen.length < 2 && n < 400) { n += 1; await db.put({ _id: `n${n}`, n }); } })();
    await within(two, 'two live changes');
    await writing;
    feed.cancel();
    await within(ended, 'the feed to end');
    assert.equal(seen[1].n, seen[0].n + 1, 'no change between two is lost');
    assert.ok(!seen.some((doc) => doc._id === 'before'));
  });

  it('end a waiting feed when its database goes', async () => {
    const path = new URL(db.name).pathname;
    await db.put({ _id: 'a' });
    const waiting = server.request('GET', `${path}/_changes?feed=longpoll&since=now&heartbeat=5000`);
    await server.request('GET', path);
    assert.equal((await server.request('DELETE', path)).status, 200);
    const answer = await waiting;
    // Either the feed was there first and ends empty, or the database was already gone.
    assert.ok(answer.status === 404 || (answer.status === 200 && answer.json().results.length === 0), `${answer.status} ${answer.text}`);
  });
});

describe('attachments', () => {
  const every = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));

  it('put, get, replace and remove', async () => {
    const one = await db.putAttachment('doc', 'all.bin', every, 'application/octet-stream');
    assert.match(one.rev, /^1-/);
    sameBytes(await db.getAttachment('doc', 'all.bin'), every);
    const two = await db.putAttachment('doc', 'text.txt', one.rev, Buffer.from('grüße'), 'text/plain');
    const doc = await db.get('doc');
    assert.deepEqual(Object.keys(doc._attachments).sort(), ['all.bin', 'text.txt']);
    assert.deepEqual([doc._attachments['all.bin'].length, doc._attachments['all.bin'].revpos, doc._attachments['all.bin'].stub], [256, 1, true]);
    assert.deepEqual([doc._attachments['text.txt'].content_type, doc._attachments['text.txt'].revpos], ['text/plain', 2]);
    assert.match(doc._attachments['text.txt'].digest, /^md5-[A-Za-z0-9+/]{22}==$/);
    assert.equal((await db.getAttachment('doc', 'text.txt')).toString(), 'grüße');
    const three = await db.putAttachment('doc', 'text.txt', two.rev, Buffer.from('neu'), 'text/plain');
    assert.equal((await db.getAttachment('doc', 'text.txt')).toString(), 'neu');
    assert.equal((await db.getAttachment('doc', 'text.txt', { rev: two.rev })).toString(), 'grüße');
    const four = await db.removeAttachment('doc', 'text.txt', three.rev);
    assert.match(four.rev, /^4-/);
    assert.equal((await failure(db.getAttachment('doc', 'text.txt'))).status, 404);
    assert.deepEqual(Object.keys((await db.get('doc'))._attachments), ['all.bin']);
    assert.deepEqual(await failure(db.putAttachment('doc', 'late', two.rev, every, 'a/b')), CONFLICT);
  });

  it('travel inside documents, as base64 and as bytes', async () => {
    await db.put({ _id: 'doc', _attachments: { 'a.txt': { content_type: 'text/plain', data: Buffer.from('hi').toString('base64') }, 'dir/b': { content_type: 'x/y', data: every }, empty: { content_type: 'x/y', data: '' } } });
    const inline = await db.get('doc', { attachments: true });
    assert.equal(inline._attachments['a.txt'].data, 'aGk=');
    assert.equal(inline._attachments.empty.data, '');
    const binary = await db.get('doc', { attachments: true, binary: true });
    sameBytes(binary._attachments['dir/b'].data, every);
    sameBytes(await db.getAttachment('doc', 'dir/b'), every);
    assert.equal((await db.getAttachment('doc', 'empty')).length, 0);
  });

  it('stay when a stub names them, and go when it does not', async () => {
    await db.put({ _id: 'doc', _attachments: { keep: { content_type: 'a/b', data: 'aGk=' }, drop: { content_type: 'a/b', data: 'aGk=' } } });
    const doc = await db.get('doc');
    delete doc._attachments.drop;
    doc.edited = true;
    await db.put(doc);
    const after = await db.get('doc');
    assert.deepEqual(Object.keys(after._attachments), ['keep']);
    assert.equal(after._attachments.keep.revpos, 1);
    assert.equal((await db.getAttachment('doc', 'keep')).toString(), 'hi');
  });

  it('refuse a stub of nothing, and a name that begins with an underscore', async () => {
    const missing = await failure(db.put({ _id: 's', _attachments: { f: { stub: true, content_type: 'a/b', digest: 'md5-SfaKXIST7CwL9ImCHCH8Ow==', length: 2, revpos: 1 } } }));
    assert.deepEqual([missing.status, missing.name], [412, 'missing_stub']);
    assert.equal((await failure(db.putAttachment('s', '_f', every, 'a/b'))).status, 400);
    assert.equal((await failure(db.put({ _id: 's', _attachments: { f: { content_type: 'a/b', data: '!!not base64!!' } } }))).status, 400);
    assert.deepEqual(await failure(db.get('s')), MISSING);
  });

  it('of five megabytes come back byte for byte', async () => {
    const big = noise(5 * 1024 * 1024, 7);
    await db.putAttachment('big', 'big.bin', big, 'application/octet-stream');
    sameBytes(await db.getAttachment('big', 'big.bin'), big);
    assert.equal((await db.get('big'))._attachments['big.bin'].length, big.length);
    const inline = await db.get('big', { attachments: true, binary: true });
    sameBytes(inline._attachments['big.bin'].data, big);
  });
});

describe('functions of design documents', () => {
  it('say what is not there instead of pretending', async () => {
    const { fetch } = PouchDB;
    await db.put({ _id: '_design/d', language: 'javascript' });
    for (const path of ['/_design/d/_search/i', '/_design/d/_nouveau/i']) {
      const answer = await fetch(db.name + path);
      const body = await answer.json();
      assert.deepEqual([path, answer.status, body.error, typeof body.reason], [path, 501, 'not_implemented', 'string']);
    }
  });

  it('validate what is written', async () => {
    await db.put({ _id: '_design/check', validate_doc_update: 'function (doc) { if (doc.no) throw({ forbidden: "no" }) }' });
    assert.deepEqual((({ status, name, reason }) => [status, name, reason])(await failure(db.put({ _id: 'a', no: true }))), [403, 'forbidden', 'no']);
    const rows = await db.bulkDocs([{ _id: 'a', _rev: '1-a', no: true }], { new_edits: false });
    assert.deepEqual(rows.map((row) => [row.id, row.name]), [['a', 'forbidden']]);
    assert.deepEqual(await failure(db.get('a')), MISSING);
    assert.equal((await db.put({ _id: '_local/a', no: true })).ok, true);
    await db.remove(await db.get('_design/check'));
    assert.equal((await db.put({ _id: 'a', no: true })).ok, true);
  });
});
