// nano, CouchDB's own client for node: documents, bulk, attachments, its changes reader and spooler, sign-in
// by cookie, rights. nano refuses redirects, posts with lower-case part headers and reads feeds by the line.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import Nano from 'nano';
import { freshName, noise } from './harness/pouch.mjs';
import { Server, within } from './harness/server.mjs';

let server;
let couch;
let db;
let name;

before(async () => {
  server = await Server.start();
  couch = Nano(server.url());
});
after(() => server?.stop());
beforeEach(async () => {
  name = freshName('nano');
  await couch.db.create(name);
  db = couch.use(name);
});

const until = (emitter, event, what) => within(new Promise((resolve, reject) => {
  emitter.once(event, resolve);
  if (event !== 'error') emitter.once('error', reject);
}), what);

describe('the server', () => {
  it('says who it is', async () => {
    const info = await couch.info();
    assert.equal(info.couchdb, 'Welcome');
    assert.match(info.uuid, /^[0-9a-f]{32}$/);
    assert.equal((await couch.uuids(3)).uuids.length, 3);
    assert.match((await couch.uuids()).uuids[0], /^[0-9a-f]{32}$/);
  });

  it('lists, creates and destroys databases', async () => {
    assert.ok((await couch.db.list()).includes(name));
    await assert.rejects(couch.db.create(name), { statusCode: 412, error: 'file_exists' });
    await assert.rejects(couch.db.create('Upper'), { statusCode: 400, error: 'illegal_database_name' });
    assert.equal((await couch.db.get(name)).db_name, name);
    assert.deepEqual(await couch.db.destroy(name), { ok: true });
    await assert.rejects(couch.db.get(name), { statusCode: 404, error: 'not_found' });
    assert.ok(!(await couch.db.list()).includes(name));
    await assert.rejects(couch.db.destroy(name), { statusCode: 404 });
  });

  it('compacts', async () => {
    assert.deepEqual(await db.compact(), { ok: true });
  });

  it('signs in by cookie and out again', async () => {
    const plain = Nano(server.origin);
    await assert.rejects(plain.auth('admin', 'wrong'), { statusCode: 401, error: 'unauthorized', reason: 'Name or password is incorrect.' });
    const signedIn = await plain.auth('admin', 'correct-horse');
    assert.deepEqual([signedIn.ok, signedIn.name, signedIn.roles], [true, 'admin', ['_admin']]);
    const session = await plain.session();
    assert.equal(session.userCtx.name, 'admin');
    assert.equal(session.info.authenticated, 'cookie');
    await plain.use(name).insert({ by: 'cookie' }, 'a');
    assert.equal((await plain.use(name).get('a')).by, 'cookie');
    await plain.request({ db: '_session', method: 'DELETE' });
    assert.equal((await plain.session()).userCtx.name, null);
    await assert.rejects(plain.use(name).get('a'), { statusCode: 401 });
  });
});

describe('documents', () => {
  it('insert, get, head, change, destroy', async () => {
    const one = await db.insert({ n: 1 }, 'a');
    assert.deepEqual([one.ok, one.id], [true, 'a']);
    assert.deepEqual(await db.get('a'), { _id: 'a', _rev: one.rev, n: 1 });
    const head = await db.head('a');
    assert.equal(head.etag, `"${one.rev}"`);
    assert.equal(head['content-type'], 'application/json');
    const two = await db.insert({ _rev: one.rev, n: 2 }, 'a');
    await assert.rejects(db.insert({ n: 3 }, 'a'), { statusCode: 409, error: 'conflict' });
    assert.deepEqual((await db.get('a', { revs: true }))._revisions.start, 2);
    await db.destroy('a', two.rev);
    await assert.rejects(db.get('a'), { statusCode: 404, reason: 'deleted' });
    await assert.rejects(db.head('a'), { statusCode: 404 });
    const generated = await db.insert({ n: 4 });
    assert.match(generated.id, /^[0-9a-f]{32}$/);
  });

  it('copy', async () => {
    const one = await db.insert({ n: 1 }, 'from');
    const copied = await server.request('COPY', `/${name}/from`, { headers: { destination: 'to' } });
    assert.equal(copied.status, 201);
    assert.deepEqual(await db.get('to'), { _id: 'to', _rev: one.rev, n: 1 });
    assert.equal((await server.request('COPY', `/${name}/from`, { headers: { destination: 'to' } })).status, 409);
    const over = await server.request('COPY', `/${name}/from`, { headers: { destination: `to?rev=${one.rev}` } });
    assert.match(over.json().rev, /^2-/);
  });

  it('bulk, list, fetch', async () => {
    const rows = await db.bulk({ docs: ['a', 'b', 'c'].map((_id) => ({ _id, is: _id })) });
    assert.deepEqual(rows.map((row) => [row.ok, row.id]), [[true, 'a'], [true, 'b'], [true, 'c']]);
    const list = await db.list({ startkey: 'b', include_docs: true });
    assert.deepEqual(list.rows.map((row) => row.doc.is), ['b', 'c']);
    assert.equal(list.total_rows, 3);
    const fetched = await db.fetch({ keys: ['c', 'none', 'a'] });
    assert.deepEqual(fetched.rows.map((row) => row.doc?.is ?? row.error), ['c', 'not_found', 'a']);
    const revisions = await db.fetchRevs({ keys: ['b'] });
    assert.deepEqual(revisions.rows, [{ id: 'b', key: 'b', value: { rev: rows[1].rev } }]);
    const chunks = [];
    for await (const chunk of db.listAsStream()) chunks.push(chunk);
    assert.equal(JSON.parse(Buffer.concat(chunks).toString()).rows.length, 3);
  });

  it('are rendered and written by functions of design documents', async () => {
    await db.insert({
      views: { ids: { map: 'function (doc) { emit(doc._id, null); }' } },
      shows: { name: 'function (doc) { return doc ? doc._id : "none"; }' },
      updates: { touch: 'function (doc, req) { var made = doc || { _id: req.id }; made.touched = req.query.by || JSON.parse(req.body).by; return [made, { json: { id: made._id } }]; }' },
      lists: { count: 'function () { var n = 0; while (getRow()) n += 1; start({ headers: { "Content-Type": "application/json" } }); return String(n); }' },
    }, '_design/functions');
    assert.equal(String(await db.show('functions', 'name', 'nobody')), 'none');
    assert.deepEqual(await db.atomic('functions', 'touch', 'touched', { by: 'nano' }), { id: 'touched' });
    assert.equal((await db.get('touched')).touched, 'nano');
    const listed = await db.viewWithList('functions', 'ids', 'count', { key: 'touched' });
    assert.equal(Number(listed), 1);
  });
});

describe('attachments', () => {
  it('insert, get, stream, destroy', async () => {
    const bytes = noise(100_000, 5);
    const one = await db.attachment.insert('doc', 'n.bin', bytes, 'application/octet-stream');
    assert.deepEqual(await db.attachment.get('doc', 'n.bin'), bytes);
    const two = await db.attachment.insert('doc', 't.txt', 'plain text', 'text/plain', { rev: one.rev });
    assert.equal((await db.attachment.get('doc', 't.txt')).toString(), 'plain text');
    const chunks = [];
    for await (const chunk of db.attachment.getAsStream('doc', 'n.bin')) chunks.push(chunk);
    assert.deepEqual(Buffer.concat(chunks), bytes);
    const three = await db.attachment.destroy('doc', 't.txt', { rev: two.rev });
    assert.match(three.rev, /^3-/);
    await assert.rejects(db.attachment.get('doc', 't.txt'), { statusCode: 404 });
    await assert.rejects(db.attachment.insert('doc', 'late', 'x', 'text/plain', { rev: one.rev }), { statusCode: 409 });
  });

  it('go in as multipart/related, parts matched by their order', async () => {
    const bytes = noise(70_000, 9);
    const inserted = await db.multipart.insert({ kind: 'parts' }, [
      { name: 'one.txt', data: 'first', content_type: 'text/plain' },
      { name: 'two.bin', data: bytes, content_type: 'application/octet-stream' },
      { name: 'three.json', data: '{"a":[1,2]}', content_type: 'application/json' },
    ], 'parts');
    assert.match(inserted.rev, /^1-/);
    const doc = await db.get('parts');
    assert.equal(doc.kind, 'parts');
    assert.deepEqual(Object.entries(doc._attachments).map(([file, { content_type, length, revpos }]) => [file, content_type, length, revpos]), [
      ['one.txt', 'text/plain', 5, 1], ['two.bin', 'application/octet-stream', 70_000, 1], ['three.json', 'application/json', 11, 1],
    ]);
    assert.equal((await db.attachment.get('parts', 'one.txt')).toString(), 'first');
    assert.deepEqual(await db.attachment.get('parts', 'two.bin'), bytes);
    assert.equal((await db.attachment.get('parts', 'three.json')).toString(), '{"a":[1,2]}');
  });

  it('go in although a part counts characters instead of bytes', async () => {
    // nano writes the length of a JavaScript string into a part's Content-Length: for "ü" that is one byte short.
    await db.multipart.insert({ grüße: 'schön' }, [{ name: 'a.txt', data: 'abc', content_type: 'text/plain' }], 'short');
    assert.equal((await db.get('short')).grüße, 'schön');
    assert.equal((await db.attachment.get('short', 'a.txt')).toString(), 'abc');
  });

  it('come out as multipart/related', async () => {
    await db.multipart.insert({ kind: 'parts' }, [
      { name: 'one.dat', data: 'the first body', content_type: 'application/x-one' },
      { name: 'two.dat', data: 'the second body', content_type: 'application/x-two' },
    ], 'parts');
    const raw = await server.request('GET', `/${name}/parts?attachments=true`, { headers: { accept: 'multipart/related' } });
    const [, boundary] = /^multipart\/related; boundary="([^"]+)"$/.exec(raw.headers['content-type']);
    const [preamble, json, one, two, end] = raw.text.split(`--${boundary}`);
    assert.deepEqual([preamble.trim(), end], ['', '--']);
    const doc = JSON.parse(json.split('\r\n\r\n')[1]);
    assert.deepEqual(Object.values(doc._attachments).map((attachment) => attachment.follows), [true, true]);
    for (const [part, file, type, body] of [[one, 'one.dat', 'application/x-one', 'the first body'], [two, 'two.dat', 'application/x-two', 'the second body']]) {
      const [headers, content] = part.split('\r\n\r\n');
      assert.ok(headers.includes(`Content-Disposition: attachment; filename="${file}"`), headers);
      assert.ok(headers.includes(`Content-Type: ${type}`), headers);
      assert.ok(headers.includes(`Content-Length: ${body.length}`), headers);
      assert.equal(content, `${body}\r\n`);
    }
    assert.ok((await db.multipart.get('parts')).includes('the second body'));
  });
});

describe('changes', () => {
  const docs = (count, prefix = 'd') => ({ docs: Array.from({ length: count }, (_, n) => ({ _id: `${prefix}${String(n).padStart(4, '0')}`, n })) });

  it('read all from the start, in batches, and end', async () => {
    await db.bulk(docs(250));
    const seen = [];
    const batches = [];
    const reader = db.changesReader.get({ since: 0, batchSize: 100, includeDocs: true, timeout: 1000 });
    reader.on('change', (change) => seen.push(change.doc.n));
    reader.on('batch', (batch) => batches.push(batch.length));
    const last = await until(reader, 'end', 'the end of the changes');
    assert.deepEqual(seen, Array.from({ length: 250 }, (_, n) => n));
    assert.deepEqual(batches, [100, 100, 50]);
    assert.equal(last, (await db.info()).update_seq);
  });

  it('read with a selector, and with sequences left out', async () => {
    await db.bulk(docs(50));
    const seen = [];
    const reader = db.changesReader.get({ since: 0, batchSize: 10, fastChanges: true, selector: { n: { $gte: 40 } }, timeout: 1000 });
    reader.on('change', (change) => seen.push(change.id));
    await until(reader, 'end', 'the end of the changes');
    assert.deepEqual(seen, docs(50).docs.slice(40).map((doc) => doc._id));
  });

  it('follow what comes, from now on', async () => {
    await db.bulk(docs(5));
    const since = (await db.info()).update_seq;
    const reader = db.changesReader.start({ since, timeout: 60_000 });
    const seen = [];
    const three = within(new Promise((resolve) => reader.on('change', (change) => { seen.push(change.id); if (seen.length === 3) resolve(); })), 'three changes');
    for (const id of ['x', 'y', 'z']) await db.insert({}, id);
    await three;
    // The request that waits is broken off, which nano reports as an error before it ends.
    const ended = new Promise((resolve) => reader.once('end', resolve));
    reader.on('error', () => {});
    db.changesReader.stop();
    await within(ended, 'the end of the reader');
    assert.deepEqual(seen, ['x', 'y', 'z']);
  });

  it('spool line by line', async () => {
    await db.bulk(docs(1000));
    const seen = [];
    const reader = db.changesReader.spool({ since: '0', batchSize: 300 });
    reader.on('batch', (batch) => seen.push(...batch.map((change) => change.id)));
    const last = await until(reader, 'end', 'the end of the spool');
    assert.deepEqual(seen, docs(1000).docs.map((doc) => doc._id));
    assert.equal(last, (await db.info()).update_seq);
  });

  it('stream', async () => {
    await db.bulk(docs(10));
    const chunks = [];
    for await (const chunk of db.changesAsStream()) chunks.push(chunk);
    assert.equal(JSON.parse(Buffer.concat(chunks).toString()).results.length, 10);
    assert.equal((await db.changes({ limit: 4 })).pending, 6);
  });
});

describe('rights', () => {
  const path = (user) => `org.couchdb.user:${user}`;
  const users = () => couch.use('_users');
  const client = (user) => Nano(server.urlAs({ name: user, password: `pw-${user}` }));

  beforeEach(async () => {
    const existing = await couch.db.list();
    if (!existing.includes('_users')) await couch.db.create('_users');
    for (const user of ['ann', 'bob']) {
      const known = await users().get(path(user)).catch(() => null);
      if (!known) await users().insert({ name: user, password: `pw-${user}`, roles: [], type: 'user' }, path(user));
    }
  });

  const secure = (members) => server.request('PUT', `/${name}/_security`, { body: { admins: { names: [], roles: [] }, members } });

  it('keep a database from everybody but its members', async () => {
    assert.deepEqual((await secure({ names: ['ann'], roles: [] })).json(), { ok: true });
    assert.deepEqual((await server.request('GET', `/${name}/_security`)).json().members, { names: ['ann'], roles: [] });
    const [ann, bob] = [client('ann').use(name), client('bob').use(name)];
    await ann.insert({ hers: true }, 'a');
    assert.equal((await ann.get('a')).hers, true);
    for (const attempt of [(as) => as.get('a'), (as) => as.insert({}, 'b'), (as) => as.list(), (as) => as.changes(), (as) => as.get('_local/x'), (as) => as.info(), (as) => as.attachment.get('a', 'f')]) {
      await assert.rejects(attempt(bob), { statusCode: 403, error: 'forbidden' });
    }
    const nobody = Nano(server.origin).use(name);
    for (const attempt of [(as) => as.get('a'), (as) => as.insert({}, 'b'), (as) => as.list()]) {
      await assert.rejects(attempt(nobody), { statusCode: 401, error: 'unauthorized' });
    }
    // A member may not change who is a member.
    assert.equal((await server.request('PUT', `/${name}/_security`, { as: { name: 'ann', password: 'pw-ann' }, body: {} })).status, 401);
    await assert.rejects(ann.insert({ views: {} }, '_design/d'), (error) => [401, 403].includes(error.statusCode));
  });

  it('are for admins only where nothing was said', async () => {
    await assert.rejects(client('ann').use(name).info(), { statusCode: 403 });
    await assert.rejects(client('ann').db.create(freshName()), (error) => [401, 403].includes(error.statusCode));
    await assert.rejects(client('ann').db.destroy(name), (error) => [401, 403].includes(error.statusCode));
    await assert.rejects(Nano(server.origin).db.create(freshName()), { statusCode: 401 });
  });

  it('never show a password', async () => {
    const doc = await users().get(path('ann'));
    assert.equal(doc.password, undefined);
    assert.ok(!JSON.stringify(doc).includes('pw-ann'));
    assert.equal((await client('ann').session()).userCtx.name, 'ann');
    await assert.rejects(Nano(server.urlAs({ name: 'ann', password: 'wrong' })).session(), { statusCode: 401 });
  });

  it('follow a changed password at once', async () => {
    const doc = await users().get(path('bob'));
    await users().insert({ ...doc, password: 'other' }, path('bob'));
    await assert.rejects(client('bob').session(), { statusCode: 401 });
    assert.equal((await Nano(server.urlAs({ name: 'bob', password: 'other' })).session()).userCtx.name, 'bob');
    await users().destroy(path('bob'), (await users().get(path('bob')))._rev);
    await assert.rejects(Nano(server.urlAs({ name: 'bob', password: 'other' })).session(), { statusCode: 401 });
  });
});
