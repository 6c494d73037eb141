// Functions of design documents over real sockets: validation by JavaScript and by selector, filters in every form
// of the feed, shows, lists, updates, rewriting, virtual hosts, and bulks that are written as a whole.

import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, it } from 'node:test';
import { PouchDB, freshName } from './harness/pouch.mjs';
import { ADMIN, Server, within } from './harness/server.mjs';

let server;
before(async () => {
  server = await Server.start({ args: ['--script-timeout', '1s', '--vhosts', 'app.example.org=/vhosted/_design/d/_rewrite, :db.dbs.example.org=/:db'] });
});
after(() => server?.stop());

/** A database with these documents and design documents, and the ways to ask it. */
async function database({ docs = [], designs = {}, name = freshName('design') } = {}) {
  const ask = (method, path, body, options = {}) => server.request(method, `/${name}${path}`, { body, ...options });
  assert.equal((await ask('PUT', '')).status, 201);
  if (docs.length > 0) assert.equal((await ask('POST', '/_bulk_docs', { docs })).status, 201);
  for (const [design, members] of Object.entries(designs)) {
    const put = await ask('PUT', `/_design/${design}`, members);
    assert.equal(put.status, 201, put.text);
  }
  return { name, ask, url: server.url(name) };
}

const refusal = (answer) => { const { error, reason } = answer.json(); return [answer.status, error, reason]; };

const STRICT = {
  validate_doc_update: `function (newDoc, oldDoc, userCtx, secObj) {
    if (newDoc.forbid) throw({ forbidden: newDoc.forbid });
    if (newDoc.unauth) throw({ unauthorized: 'who are you' });
    if (newDoc.throws) throw newDoc.throws;
    if (newDoc.breaks) null.x;
    if (oldDoc && !oldDoc._deleted && oldDoc.owner !== userCtx.name && userCtx.roles.indexOf('_admin') < 0) throw({ forbidden: 'not yours' });
    if (newDoc.look) throw({ forbidden: JSON.stringify({ newDoc: newDoc, oldDoc: oldDoc, user: userCtx, sec: Object.keys(secObj).sort() }) });
  }`,
};

it('validation refuses in CouchDB\'s words', async () => {
  const { ask } = await database({ designs: { v: STRICT } });
  assert.equal((await ask('PUT', '/ok', {})).status, 201);
  assert.deepEqual(refusal(await ask('PUT', '/a', { forbid: 'no' })), [403, 'forbidden', 'no']);
  assert.deepEqual(refusal(await ask('PUT', '/a', { unauth: 1 })), [401, 'unauthorized', 'who are you']);
  assert.deepEqual(refusal(await ask('PUT', '/a', { throws: 'text' })), [500, 'unknown_error', 'text']);
  const [status, error] = refusal(await ask('PUT', '/a', { breaks: true }));
  assert.deepEqual([status, error], [500, 'TypeError']);
  const bulk = await ask('POST', '/_bulk_docs', { docs: [{ _id: 'a', forbid: 'x' }, { _id: 'b' }, { _id: 'c', throws: 's' }, { _id: 'b' }] });
  assert.equal(bulk.status, 201);
  assert.deepEqual(bulk.json().map(({ id, ok, error, reason }) => [id, ok ?? error, reason]), [
    ['a', 'forbidden', 'x'], ['b', true, undefined], ['c', 'unknown_error', 's'], ['b', 'conflict', 'Document update conflict.']]);
  const replicated = await ask('POST', '/_bulk_docs', { new_edits: false, docs: [{ _id: 'r', _rev: '1-a', forbid: 'no' }, { _id: 's', _rev: '1-b' }] });
  assert.deepEqual(replicated.json(), [{ id: 'r', rev: '1-a', error: 'forbidden', reason: 'no' }]);
  assert.equal((await ask('GET', '/a')).status, 404);
  assert.equal((await ask('GET', '/s')).status, 200);
  // A local document and a design document are not validated.
  assert.equal((await ask('PUT', '/_local/l', { forbid: 'no' })).status, 201);
  assert.equal((await ask('PUT', '/_design/other', { forbid: 'no' })).status, 201);
});

it('validation is shown what CouchDB shows', async () => {
  const { ask, name } = await database({ designs: { v: STRICT } });
  const look = async (path, body, query = '') => JSON.parse((await ask('PUT', `/${path}${query}`, { ...body, look: true })).json().reason);
  const fresh = await look('d', { a: 1 });
  assert.deepEqual(fresh, { newDoc: { _id: 'd', a: 1, look: true }, oldDoc: null, user: { db: name, name: ADMIN.name, roles: ['_admin'] }, sec: ['admins', 'members'] });
  const { rev } = (await ask('PUT', '/d', { a: 1, _attachments: { f: { content_type: 'text/plain', data: 'aGk=' } } })).json();
  const [n, id] = rev.split('-');
  const edited = await look('d', { _rev: rev, _attachments: { f: { stub: true } } });
  assert.equal(edited.newDoc._rev, rev);
  assert.deepEqual(edited.newDoc._revisions, { start: Number(n), ids: [id] });
  assert.equal(edited.newDoc._attachments.f.stub, true);
  assert.equal(edited.oldDoc.a, 1);
  assert.equal(edited.oldDoc._rev, rev);
  assert.equal(edited.oldDoc._attachments.f.length, 2);
  // A replicated branch is judged against the nearest ancestor that is here.
  const branch = (await ask('POST', '/_bulk_docs', { new_edits: false, docs: [{ _id: 'd', look: true, _revisions: { start: 3, ids: ['ccc', 'bbb', id] } }] })).json()[0];
  const shown = JSON.parse(branch.reason);
  assert.equal(shown.newDoc._rev, '3-ccc');
  assert.equal(shown.oldDoc._rev, rev);
  // Deleting shows the deletion; what is made again has nothing before it.
  await ask('PUT', '/gone', {});
  const gone = (await ask('GET', '/gone')).json();
  assert.deepEqual((await look('gone', { _rev: gone._rev, _deleted: true })).newDoc._deleted, true);
  assert.equal((await ask('DELETE', `/gone?rev=${gone._rev}`)).status, 200);
  assert.equal((await look('gone', {})).oldDoc, null);
});

it('validation holds for every way of writing', async () => {
  const { ask } = await database({ docs: [{ _id: 'src', kind: 'bad' }, { _id: 'doc', kind: 'good' }], designs: {
    v: { validate_doc_update: 'function (n) { if (n._deleted || n.kind !== "good" || (n._attachments && n._attachments.bad)) throw({ forbidden: "bad" }); }' } } });
  const bad = (answer) => assert.deepEqual([answer.status, answer.json().error], [403, 'forbidden']);
  const { _rev } = (await ask('GET', '/doc')).json();
  bad(await ask('PUT', '/new', {}));
  bad(await ask('POST', '', { kind: 'bad' }));
  bad(await ask('DELETE', `/doc?rev=${_rev}`));
  bad(await ask('COPY', '/src', undefined, { headers: { destination: 'copy' } }));
  bad(await ask('PUT', `/doc/bad?rev=${_rev}`, 'x', { headers: { 'content-type': 'text/plain' } }));
  assert.equal((await ask('COPY', '/doc', undefined, { headers: { destination: 'copy' } })).status, 201);
  const put = await ask('PUT', `/doc/good?rev=${_rev}`, 'x', { headers: { 'content-type': 'text/plain' } });
  assert.equal(put.status, 201);
  assert.equal((await ask('DELETE', `/doc/good?rev=${put.json().rev}`)).status, 200);
});

it('several validators are asked in the order of their names, and what they say goes with them', async () => {
  const refuse = (word) => ({ validate_doc_update: `function (n) { if (n.x) throw({ forbidden: '${word}' }); }` });
  const { ask } = await database({ designs: { b: refuse('second'), a: refuse('first') } });
  assert.equal((await ask('PUT', '/d', { x: 1 })).json().reason, 'first');
  const { _rev } = (await ask('GET', '/_design/a')).json();
  assert.equal((await ask('DELETE', `/_design/a?rev=${_rev}`)).status, 200);
  assert.equal((await ask('PUT', '/d', { x: 1 })).json().reason, 'second');
  const second = (await ask('GET', '/_design/b')).json();
  assert.equal((await ask('PUT', '/_design/b', { ...second, validate_doc_update: undefined })).status, 201);
  assert.equal((await ask('PUT', '/d', { x: 1 })).status, 201);
});

it('a selector validates', async () => {
  const { ask } = await database();
  const design = (selector) => ({ language: 'query', validate_doc_update: selector });
  const first = await ask('PUT', '/_design/q', design({ newDoc: { type: { $type: 'string' }, year: { $lt: 2026 } } }));
  assert.equal(first.status, 201);
  assert.equal((await ask('PUT', '/d1', { type: 'movie', year: 1994 })).status, 201);
  assert.deepEqual(refusal(await ask('PUT', '/d2', { type: 42, year: 1994 })), [403, 'forbidden', 'document is not valid']);
  const replaced = { ...design({ $or: [{ oldDoc: null }, { 'oldDoc.type': 'movie', 'userCtx.name': ADMIN.name }] }), _rev: first.json().rev };
  assert.equal((await ask('PUT', '/_design/q', replaced)).status, 201);
  assert.equal((await ask('PUT', '/d2', { type: 'song' })).status, 201);
  const [movie, song] = [(await ask('GET', '/d1')).json(), (await ask('GET', '/d2')).json()];
  assert.equal((await ask('PUT', '/d1', movie)).status, 201);
  assert.equal((await ask('PUT', '/d2', song)).status, 403);
  const wrong = await ask('PUT', '/_design/w', design({ newDoc: { a: { $what: 1 } } }));
  assert.deepEqual([wrong.status, wrong.json().error], [400, 'compilation_error']);
});

it('a validator that hangs refuses its own database and nobody else', async () => {
  const { ask } = await database({ designs: { v: { validate_doc_update: 'function (n) { while (n.hang) {} }' } } });
  const neighbour = await database();
  const begun = performance.now();
  const hanging = ask('PUT', '/h', { hang: true });
  for (let n = 0; n < 20; n += 1) assert.equal((await neighbour.ask('PUT', `/d${n}`, {})).status, 201);
  const neighbours = performance.now() - begun;
  const answer = await hanging;
  assert.deepEqual([answer.status, answer.json().error], [500, 'os_process_error']);
  assert.ok(neighbours < performance.now() - begun, 'the neighbour was served meanwhile');
  assert.equal((await ask('GET', '/h')).status, 404);
  assert.equal((await ask('PUT', '/ok', {})).status, 201);
  // One document that hangs takes no other of its batch with it.
  const rows = (await ask('POST', '/_bulk_docs', { docs: [{ _id: '1' }, { _id: '2', hang: true }, { _id: '3' }] })).json();
  assert.deepEqual(rows.map((row) => row.ok ?? row.error), [true, 'os_process_error', true]);
});

it('a push from PouchDB is judged document by document', async () => {
  const { url } = await database({ designs: { v: { validate_doc_update: 'function (n) { if (n.bad) throw({ forbidden: "bad" }); }' } } });
  const local = new PouchDB(freshName('local'), { adapter: 'memory' });
  await local.bulkDocs([{ _id: 'a' }, { _id: 'b', bad: true }, { _id: 'c' }]);
  const denied = [];
  const result = await within(new Promise((resolve, reject) => {
    local.replicate.to(url).on('denied', (row) => denied.push(row)).on('complete', resolve).on('error', reject);
  }), 'the end of the push');
  assert.deepEqual([result.docs_written, result.doc_write_failures], [2, 1]);
  assert.deepEqual(denied.map((row) => [row.doc?.id ?? row.id, row.doc?.name ?? row.name]), [['b', 'forbidden']]);
  const remote = new PouchDB(url);
  assert.deepEqual((await remote.allDocs()).rows.map((row) => row.id), ['_design/v', 'a', 'c']);
  await local.destroy();
});

const FILTERS = {
  filters: {
    even: 'function (doc, req) { return doc.n % 2 === 0; }',
    asked: 'function (doc, req) { return doc._id === req.query.id; }',
    gone: 'function (doc) { return !!doc._deleted; }',
    throws: 'function (doc) { throw "oops"; }',
    req: 'function (doc, req) { throw(JSON.stringify(req)); }',
    never: 'function () { return false; }',
    leaf: 'function (doc) { return doc.side === "left"; }',
  },
  views: { odd: { map: 'function (doc) { if (doc.n % 2) emit(doc.n, null); }' } },
};
const numbered = (count) => Array.from({ length: count }, (_, n) => ({ _id: `d${n}`, n }));

it('filters let pass what they say', async () => {
  const { ask } = await database({ docs: numbered(6), designs: { f: FILTERS } });
  const ids = async (query, body) => (await ask(body ? 'POST' : 'GET', `/_changes?${query}`, body)).json().results.map((row) => row.id).join();
  assert.equal(await ids('filter=f/even'), 'd0,d2,d4');
  assert.equal(await ids('filter=f/asked&id=d3'), 'd3');
  assert.equal(await ids('filter=_view&view=f/odd'), 'd1,d3,d5');
  assert.equal(await ids('filter=_design'), '_design/f');
  assert.equal(await ids('filter=f/even&limit=2'), 'd0,d2');
  assert.equal(await ids('filter=f/even&descending=true'), 'd4,d2,d0');
  assert.equal(await ids('filter=_doc_ids&descending=true', { doc_ids: ['d1', 'd4', 'none'] }), 'd4,d1');
  assert.equal(await ids('filter=f/even', {}), 'd0,d2,d4');
  const { _rev } = (await ask('GET', '/d2')).json();
  await ask('DELETE', `/d2?rev=${_rev}`);
  const feed = (await ask('GET', '/_changes?filter=f/gone&include_docs=true')).json();
  assert.deepEqual(feed.results.map((row) => [row.id, row.deleted, row.doc._deleted]), [['d2', true, true]]);
  assert.equal(feed.pending, 0);
  const page = (await ask('GET', '/_changes?filter=f/even&limit=1')).json();
  const rest = (await ask('GET', `/_changes?filter=f/even&since=${page.last_seq}`)).json();
  assert.deepEqual(rest.results.map((row) => row.id), ['d4']);
});

it('filters see each leaf, and tell those that pass', async () => {
  const { ask } = await database({ designs: { f: FILTERS } });
  await ask('POST', '/_bulk_docs', { new_edits: false, docs: [
    { _id: 'c', side: 'right', _revisions: { start: 2, ids: ['b', 'a'] } }, { _id: 'c', side: 'left', _revisions: { start: 2, ids: ['a', 'a'] } }] });
  const leaves = async (query, body) => (await ask(body ? 'POST' : 'GET', `/_changes?${query}`, body)).json().results.map((row) => [row.id, row.changes.map(({ rev }) => rev).join()]);
  assert.deepEqual(await leaves('filter=f/leaf'), []);
  assert.deepEqual(await leaves('filter=f/leaf&style=all_docs'), [['c', '2-a']]);
  const selector = { selector: { side: 'left' } };
  assert.deepEqual(await leaves('filter=_selector', selector), []);
  assert.deepEqual(await leaves('filter=_selector&style=all_docs', selector), [['c', '2-a']]);
  assert.deepEqual(await leaves('filter=_selector&style=all_docs', { selector: { _id: 'c' } }), [['c', '2-b,2-a']]);
  assert.deepEqual(await leaves('filter=_doc_ids&style=all_docs', { doc_ids: ['c'] }), [['c', '2-b,2-a']]);
});

it('filters that are wrong say what is wrong', async () => {
  const { ask } = await database({ docs: numbered(1), designs: { f: FILTERS, g: { views: {} } } });
  const wrong = async (query) => refusal(await ask('GET', `/_changes?${query}`));
  assert.deepEqual(await wrong('filter=no/no'), [404, 'not_found', 'missing']);
  assert.deepEqual(await wrong('filter=f/no'), [404, 'not_found', 'missing json key: no']);
  assert.deepEqual(await wrong('filter=g/no'), [404, 'not_found', 'missing json key: filters']);
  assert.deepEqual(await wrong('filter=f'), [400, 'bad_request', '`filter` must be of the form `designname/filtername`']);
  assert.deepEqual(await wrong('filter=_view'), [400, 'bad_request', '`view` filter parameter is not provided.']);
  assert.deepEqual((await wrong('filter=_view&view=f/no')).slice(0, 2), [404, 'not_found']);
  const [status, , reason] = await wrong('filter=f/throws');
  assert.equal(status, 500);
  assert.match(reason, /oops/);
});

it('filters are given the whole request', async () => {
  const { ask, name } = await database({ docs: numbered(1), designs: { f: FILTERS } });
  const headers = { 'x-foo': 'bar', cookie: 'a=b; c=d', 'content-type': 'application/json' };
  const answer = await ask('POST', `/_changes?filter=f/req&startkey=%5B1%5D&q=x`, '{"k":1}', { headers });
  const req = JSON.parse(/\{.*\}/s.exec(answer.json().reason)[0]);
  assert.equal(req.method, 'POST');
  assert.deepEqual(req.path, [name, '_changes']);
  assert.deepEqual(req.requested_path, req.path);
  assert.equal(req.raw_path, `/${name}/_changes?filter=f/req&startkey=%5B1%5D&q=x`);
  assert.deepEqual(req.query, { filter: 'f/req', startkey: [1], q: 'x' });
  assert.deepEqual([req.headers['X-Foo'], req.headers['Content-Type'], typeof req.headers.Host], ['bar', 'application/json', 'string']);
  assert.deepEqual([req.body, req.id, req.form, req.cookie], ['{"k":1}', null, {}, { a: 'b', c: 'd' }]);
  assert.deepEqual(req.userCtx, { db: name, name: ADMIN.name, roles: ['_admin'] });
  assert.deepEqual([req.info.db_name, req.info.doc_count, req.peer, req.uuid.length], [name, 2, '127.0.0.1', 32]);
  assert.ok(req.secObj.members);
});

/** A feed that is listened to: what has come so far, and a wait for more. */
function listen(path, headers = {}) {
  let text = '';
  let wake = () => {};
  const credentials = 'Basic ' + Buffer.from(`${ADMIN.name}:${ADMIN.password}`).toString('base64');
  const ended = new Promise((resolve) => {
    const request = http.request({ host: '127.0.0.1', port: server.port, path, headers: { authorization: credentials, ...headers } }, (response) => {
      response.setEncoding('utf8').on('data', (piece) => { text += piece; wake(); });
      response.on('end', () => resolve(text));
      response.on('error', () => resolve(text));
    });
    request.on('error', () => resolve(text));
    request.end();
    listen.close = () => request.destroy();
  });
  const close = listen.close;
  const until = (test, what) => within(new Promise((resolve) => { wake = () => { if (test(text)) resolve(text); }; wake(); }), `${what}, in ${path}`);
  return { until, ended, close };
}

it('live feeds are filtered', async () => {
  const { ask, name } = await database({ docs: numbered(3), designs: { f: FILTERS } });
  const continuous = listen(`/${name}/_changes?feed=continuous&filter=f/even&heartbeat=50`);
  await continuous.until((text) => text.includes('"d2"'), 'the last even document');
  const events = listen(`/${name}/_changes?feed=eventsource&filter=_view&view=f/odd&heartbeat=5000`);
  await events.until((text) => text.includes('"d1"'), 'an event');
  const since = (await ask('GET', '')).json().update_seq;
  const poll = listen(`/${name}/_changes?feed=longpoll&filter=f/even&since=${since}&heartbeat=50`);
  await poll.until((text) => text.endsWith('\n\n'), 'a heartbeat');
  await ask('POST', '/_bulk_docs', { docs: [{ _id: 'x7', n: 7 }, { _id: 'x8', n: 8 }] });
  const whole = JSON.parse(await within(poll.ended, 'the answer of the longpoll'));
  assert.deepEqual(whole.results.map((row) => row.id), ['x8']);
  const lines = (await continuous.until((text) => text.includes('"x8"'), 'x8')).split('\n').filter(Boolean).map((line) => JSON.parse(line).id);
  assert.deepEqual(lines, ['d0', 'd2', 'x8']);
  assert.match(await events.until((text) => text.includes('"x7"'), 'x7'), /^data: \{"seq":"[^"]+","id":"d1".*\}\nid: "[^"]+"\n\n/);
  const named = listen(`/${name}/_changes?feed=continuous&filter=_doc_ids&doc_ids=%5B%22late%22%5D&heartbeat=5000`);
  await ask('PUT', '/other', {});
  await ask('PUT', '/late', {});
  const told = await named.until((text) => text.includes('"late"'), 'the named document');
  assert.ok(!told.includes('"other"'));
  continuous.close(); events.close(); named.close();
});

it('a filter that lets nothing pass of thousands of changes keeps its listener alive', async () => {
  const { ask, name } = await database({ docs: numbered(3000), designs: { f: { filters: { slow: 'function (doc) { for (var i = 0; i < 60000; i++); return false; }' } } } });
  const feed = listen(`/${name}/_changes?feed=longpoll&filter=f/slow&heartbeat=20`);
  const text = await feed.until((text) => text.length >= '{"results":[\n'.length + 5, 'heartbeats');
  assert.match(text, /^\{"results":\[\n\n+$/);
  feed.close();
  // It is CPU in its own process: the server answers meanwhile.
  assert.equal((await ask('GET', '/d1')).status, 200);
});

it('a live feed goes on with what its filter has become, and ends when there is none', async () => {
  const { ask, name } = await database({ designs: { f: { filters: { x: 'function (doc) { return doc.a; }' } } } });
  const feed = listen(`/${name}/_changes?feed=continuous&filter=f/x&heartbeat=60000`);
  await ask('PUT', '/one', { a: true });
  await feed.until((text) => text.includes('"one"'), 'the first');
  const design = (await ask('GET', '/_design/f')).json();
  await ask('PUT', '/_design/f', { ...design, filters: { x: 'function (doc) { return doc.b; }' } });
  await ask('PUT', '/two', { a: true });
  await ask('PUT', '/three', { b: true });
  const text = await feed.until((text) => text.includes('"three"'), 'the third');
  assert.ok(!text.includes('"two"'));
  await ask('PUT', '/_design/f', { _rev: (await ask('GET', '/_design/f')).json()._rev });
  assert.match(await within(feed.ended, 'the end of the feed'), /\{"last_seq":"[^"]+","pending":\d+\}\n\n$/);
});

it('named documents are found without walking the feed, whatever happens meanwhile', async () => {
  const { ask, name } = await database({ docs: numbered(2000) });
  const ids = ['d7', 'd1999', 'd0', 'nope'];
  const feed = (await ask('POST', '/_changes?filter=_doc_ids&include_docs=true', { doc_ids: ids })).json();
  assert.deepEqual(feed.results.map((row) => [row.id, row.doc.n]), [['d0', 0], ['d7', 7], ['d1999', 1999]]);
  assert.equal(feed.pending, 0);
  assert.equal((await ask('POST', `/_changes?filter=_doc_ids&since=${feed.last_seq}`, { doc_ids: ids })).json().results.length, 0);
  const one = (await ask('POST', '/_changes?filter=_doc_ids&limit=1', { doc_ids: ids })).json();
  assert.deepEqual(one.results.map((row) => row.id), ['d0']);
  const rest = (await ask('POST', `/_changes?filter=_doc_ids&since=${one.last_seq}`, { doc_ids: ids })).json();
  assert.deepEqual(rest.results.map((row) => row.id), ['d7', 'd1999']);
  // PouchDB follows them while they change.
  const seen = [];
  const db = new PouchDB(server.url(name));
  const changes = db.changes({ since: 'now', live: true, doc_ids: ['d7', 'd9'] });
  const done = new Promise((resolve) => changes.on('change', (row) => { seen.push(row.id); if (row.id === 'd9') resolve(); }));
  await db.put({ ...(await db.get('d8')), x: 1 });
  await db.put({ ...(await db.get('d7')), x: 1 });
  await db.put({ ...(await db.get('d9')), x: 1 });
  await within(done, 'd9');
  changes.cancel();
  assert.deepEqual(seen.filter((id) => id === 'd8'), []);
});

it('PouchDB replicates by a filter and by a view', async () => {
  const { url } = await database({ docs: numbered(10), designs: { f: FILTERS } });
  for (const [options, expected] of [
    [{ filter: 'f/even' }, ['d0', 'd2', 'd4', 'd6', 'd8']], [{ filter: '_view', view: 'f/odd' }, ['d1', 'd3', 'd5', 'd7', 'd9']],
    [{ filter: 'f/asked', query_params: { id: 'd5' } }, ['d5']], [{ doc_ids: ['d3'] }, ['d3']], [{ selector: { n: { $gt: 7 } } }, ['d8', 'd9']]]) {
    const local = new PouchDB(freshName('filtered'), { adapter: 'memory' });
    await local.replicate.from(url, options);
    assert.deepEqual((await local.allDocs()).rows.map((row) => row.id), expected, JSON.stringify(options));
    await local.destroy();
  }
});

const RENDER = {
  shows: {
    hello: 'function (doc, req) { return doc ? "Hello World" : (req.id ? "New World" : "Empty World"); }',
    name: 'function (doc, req) { return doc ? { body: "Just " + doc.name } : { body: "No such doc", code: 404 }; }',
    json: 'function (doc, req) { return { json: doc }; }',
    req: 'function (doc, req) { return { json: req }; }',
    etag: 'function () { return { headers: { Etag: "skipped" }, body: "x" }; }',
    binary: 'function () { return { headers: { "Content-Type": "image/png" }, base64: "aGVsbG8=" }; }',
    provides: 'function (doc) { registerType("foo", "application/foo", "application/x-foo"); provides("html", function () { return "said " + doc.word; }); provides("foo", function () { return "foofoo"; }); }',
    chunks: 'function () { start({ headers: { "X-Test": "Yeah" } }); send("Hey "); return "Dude"; }',
    breaks: 'function () { return noSuchVariable; }',
  },
  updates: {
    hello: 'function (doc, req) { if (!doc) return req.id ? [{ _id: req.id, made: true }, "New World"] : [null, "Empty World"]; doc.world = "hello"; doc.by = req.userCtx.name; return [doc, "hello doc"]; }',
    bump: 'function (doc) { doc.counter = (doc.counter || 0) + 1; return [doc, { code: 202, headers: { "X-Mine": "1" }, json: { counter: doc.counter } }]; }',
    form: 'function (doc, req) { doc.form = req.form; return [doc, "formed"]; }',
    stale: 'function (doc) { doc._rev = "1-abc"; return [doc, "never"]; }',
    empty: 'function () { return [{}, "oops"]; }',
    uuid: 'function (doc, req) { return [null, req.uuid]; }',
    breaks: 'function () { superFail.badCrash; }',
  },
};

it('shows render documents', async () => {
  const { ask, name } = await database({ docs: [{ _id: 'd', word: 'plankton', name: 'Rusty' }, { _id: 'a/b', a: 1 }], designs: { r: RENDER } });
  const show = (path, headers) => ask('GET', `/_design/r/_show/${path}`, undefined, { headers });
  const hello = await show('hello/d');
  assert.deepEqual([hello.text, hello.headers['content-type'], hello.headers.vary], ['Hello World', 'text/html; charset=utf-8', 'Accept']);
  assert.equal(hello.headers['content-security-policy'], 'sandbox');
  assert.equal((await show('hello/none')).text, 'New World');
  assert.equal((await show('hello')).text, 'Empty World');
  const missing = await show('name/none');
  assert.deepEqual([missing.status, missing.text], [404, 'No such doc']);
  assert.equal((await show('json/a/b')).json().a, 1);
  assert.deepEqual((await ask('POST', '/_design/r/_show/req/d?foo=bar', { k: 1 })).json().query, { foo: 'bar' });
  assert.equal((await show('req/d')).json().path[5], 'd');
  const binary = await show('binary');
  assert.deepEqual([binary.text, binary.headers['content-type']], ['hello', 'image/png']);
  const chunks = await show('chunks');
  assert.deepEqual([chunks.text, chunks.headers['x-test']], ['Hey Dude', 'Yeah']);
  const html = await show('provides/d', { accept: 'text/html,application/atom+xml; q=0.9' });
  assert.deepEqual([html.text, html.headers['content-type']], ['said plankton', 'text/html; charset=utf-8']);
  assert.equal((await show('provides/d', { accept: 'application/x-foo' })).headers['content-type'], 'application/x-foo');
  const none = await show('provides/d', { accept: 'text/monkeys' });
  assert.deepEqual([none.status, none.json().error], [406, 'not_acceptable']);
  // The ETag goes with document, function and what is accepted.
  const tag = (await show('etag/d')).headers.etag;
  assert.match(tag, /^"[0-9A-F]+"$/);
  assert.equal((await show('etag/d', { 'if-none-match': tag })).status, 304);
  assert.notEqual((await show('etag/d', { accept: 'image/png' })).headers.etag, tag);
  const { _rev } = (await ask('GET', '/d')).json();
  await ask('PUT', '/d', { _rev, name: 'Crusty' });
  assert.equal((await show('etag/d', { 'if-none-match': tag })).status, 200);
  assert.deepEqual(refusal(await show('no/d')), [404, 'not_found', 'missing json key: no']);
  assert.deepEqual(refusal(await show('')), [404, 'show_error', 'Invalid path.']);
  assert.equal((await ask('GET', '/_design/none/_show/x')).status, 404);
  assert.equal((await show('breaks/d')).status, 500);
  assert.equal((await server.request('GET', `/${name}/_design/r/_show/hello`, { as: null })).status, 401);
});

it('update functions write documents', async () => {
  const { ask } = await database({ docs: [{ _id: 'd', n: 1 }], designs: { u: RENDER } });
  const update = (path, body, options) => ask('PUT', `/_design/u/_update/${path}`, body, options);
  const hello = await update('hello/d');
  assert.deepEqual([hello.status, hello.text, hello.headers['x-couch-id']], [201, 'hello doc', 'd']);
  assert.equal(hello.headers['content-security-policy'], 'sandbox');
  const doc = (await ask('GET', '/d')).json();
  assert.deepEqual([doc.world, doc.by, doc.n, doc._rev], ['hello', ADMIN.name, 1, hello.headers['x-couch-update-newrev']]);
  const made = await update('hello/new/one');
  assert.deepEqual([made.status, made.headers['x-couch-id']], [201, 'new%2Fone']);
  assert.equal((await ask('GET', '/new%2Fone')).json().made, true);
  const idle = await ask('POST', '/_design/u/_update/hello');
  assert.deepEqual([idle.status, idle.text], [200, 'Empty World']);
  const bump = await update('bump/d');
  assert.deepEqual([bump.status, bump.json(), bump.headers['x-mine'], bump.headers['content-type']], [202, { counter: 1 }, '1', 'application/json']);
  assert.equal((await update('form/d', 'a=b&c=d+e', { headers: { 'content-type': 'application/x-www-form-urlencoded' } })).status, 201);
  assert.deepEqual((await ask('GET', '/d')).json().form, { a: 'b', c: 'd e' });
  assert.deepEqual(refusal(await update('stale/d')), [409, 'conflict', 'Document update conflict.']);
  assert.deepEqual((await update('empty/x')).json().reason, 'Document id must not be empty');
  assert.equal((await ask('POST', '/_design/u/_update/uuid/')).text.length, 32);
  assert.equal((await update('breaks/d')).status, 500);
  assert.deepEqual(refusal(await ask('GET', '/_design/u/_update/hello')).slice(0, 2), [405, 'method_not_allowed']);
  assert.deepEqual(refusal(await ask('POST', '/_design/u/_update/')), [404, 'update_error', 'Invalid path.']);
  // What they write is validated like anything else.
  await ask('PUT', '/_design/v', { validate_doc_update: 'function (n) { if (n.world) throw({ forbidden: "no" }); }' });
  assert.equal((await update('hello/d')).status, 403);
});

const LISTS = {
  views: {
    n: { map: 'function (doc) { if ("n" in doc) emit(doc.n, doc._id); }' },
    sum: { map: 'function (doc) { if ("n" in doc) emit(doc.n % 2, doc.n); }', reduce: '_sum' },
  },
  lists: {
    keys: 'function (head, req) { var row; send("head"); while (row = getRow()) send(row.key); return "tail"; }',
    json: 'function (head, req) { start({ headers: { "Content-Type": "application/json" } }); var rows = [], row; while (row = getRow()) rows.push(row); return toJSON({ head: head, rows: rows, q: req.query }); }',
    few: 'function () { var row, n = 0; send("head"); while ((row = getRow()) && n++ < 3) send(" " + row.key); return " tail"; }',
    code: 'function () { start({ code: 418, headers: { "X-My": "1" } }); send("short"); }',
    breaks: 'function () { send("head"); getRow(); send(fooBarBam); }',
    html: 'function () { provides("html", function () { send("<ul>"); var row; while (row = getRow()) send("<li>" + row.key + "</li>"); return "</ul>"; }); }',
  },
};

it('lists are given the rows of a view', async () => {
  const { ask } = await database({ docs: numbered(10), designs: { l: LISTS, other: { views: { neg: { map: 'function (doc) { if ("n" in doc) emit(-doc.n, null); }' } } } } });
  const list = (path, body, headers) => ask(body ? 'POST' : 'GET', `/_design/l/_list/${path}`, body, { headers });
  const plain = await list('keys/n');
  assert.deepEqual([plain.status, plain.text, plain.headers['content-type']], [200, 'head0123456789tail', 'application/json']);
  assert.equal(plain.headers['content-security-policy'], 'sandbox');
  assert.equal((await list('keys/n?startkey=3&endkey=5')).text, 'head345tail');
  assert.equal((await list('keys/n?startkey=30')).text, 'headtail');
  assert.equal((await list('keys/n', { keys: [2, 4] })).text, 'head24tail');
  assert.equal((await list('keys/n?keys=[2,4]')).text, 'head24tail');
  assert.equal((await list('keys/other/neg?startkey=-2')).text, 'head-2-10tail');
  assert.equal((await list('few/n')).text, 'head 0 1 2 tail');
  const json = (await list('json/n?limit=2&include_docs=true&update_seq=true')).json();
  assert.deepEqual([json.head.total_rows, json.head.offset, typeof json.head.update_seq], [10, 0, 'string']);
  assert.deepEqual(json.rows.map((row) => [row.id, row.key, row.doc.n]), [['d0', 0, 0], ['d1', 1, 1]]);
  assert.deepEqual((await list('json/sum?group=true')).json().rows, [{ key: 0, value: 20 }, { key: 1, value: 25 }]);
  assert.equal((await list('json/_all_docs?limit=3')).json().rows.length, 3);
  const code = await list('code/n');
  assert.deepEqual([code.status, code.text, code.headers['x-my']], [418, 'short', '1']);
  assert.equal((await list('html/n?limit=1', undefined, { accept: 'text/html' })).text, '<ul><li>0</li></ul>');
  assert.match((await list('breaks/n')).text, /ReferenceError/);
  assert.deepEqual((await list('keys/none')).status, 404);
  assert.deepEqual(refusal(await list('none/n')), [404, 'not_found', 'missing json key: none']);
  assert.equal((await list('keys/n?limit=x')).status, 400);
  assert.deepEqual(refusal(await list('keys')), [404, 'list_error', 'Invalid path.']);
});

it('rewriting leads elsewhere, as the same caller', async () => {
  const { ask, name } = await database({ docs: numbered(3), designs: {
    d: { ...RENDER, ...LISTS, rewrites: [
      { from: 'hello/:id', to: '_update/hello/:id', method: 'PUT' }, { from: '/show/:id', to: '_show/hello/:id' },
      { from: 'range/:start/:end', to: '_list/keys/n', query: { startkey: ':start', endkey: ':end' }, formats: { start: 'int', end: 'int' } },
      { from: 'db/*', to: '../../*' }, { from: 'up', to: '../../../_users/_all_docs' }, { from: 'loop', to: '_rewrite/loop' }, { from: '', to: '_view/n' }] },
    f: { rewrites: `function (req) {
      if (req.path[4] === 'code') return { code: 403, body: 'no', headers: { 'x-test': '1' } };
      if (req.path[4] === 'none') return;
      if (req.path[4] === 'put') return { path: '../../' + req.query.id, method: 'PUT', body: JSON.stringify({ by: req.userCtx.name, got: req.body }), query: {} };
      return { path: '../../' + req.path[4] };
    }` } } });
  const to = (path, method = 'GET', body) => ask(method, `/_design/d/_rewrite${path}`, body);
  assert.equal((await to('/hello/d1', 'PUT')).text, 'hello doc');
  assert.equal((await ask('GET', '/d1')).json().world, 'hello');
  assert.equal((await to('/show/d1')).text, 'Hello World');
  assert.equal((await to('/range/1/2')).text, 'head12tail');
  assert.equal((await to('/db/d2?revs_info=true')).json()._revs_info.length, 1);
  assert.equal((await to('')).json().total_rows, 3);
  assert.equal((await to('/hello/d1')).status, 404);
  assert.deepEqual(refusal(await to('/up')).slice(0, 2), [500, 'insecure_rewrite_rule']);
  assert.deepEqual(refusal(await to('/loop')), [400, 'bad_request', 'Exceeded rewrite recursion limit']);
  const by = (path, options) => ask('POST', `/_design/f/_rewrite${path}`, 'the body', options);
  const no = await by('/code');
  assert.deepEqual([no.status, no.text, no.headers['x-test']], [403, 'no', '1']);
  assert.equal((await by('/none')).status, 404);
  assert.equal((await by('/put?id=made')).status, 201);
  assert.deepEqual((({ by, got }) => [by, got])((await ask('GET', '/made')).json()), [ADMIN.name, 'the body']);
  assert.equal((await ask('GET', '/_design/f/_rewrite/d2')).json().n, 2);
  // Rights are those of who asks.
  assert.equal((await server.request('GET', `/${name}/_design/d/_rewrite/db/d2`, { as: null })).status, 401);
});

it('a host stands for a path', async () => {
  const { ask } = await database({ name: 'vhosted', docs: numbered(2), designs: { d: { shows: { req: 'function (doc, req) { return { json: req }; }' }, rewrites: [{ from: 'doc/:id', to: '../../:id' }, { from: 'req', to: '_show/req' }] } } });
  const at = (host, path) => server.request('GET', path, { headers: { host } });
  assert.equal((await at('app.example.org', '/doc/d1')).json().n, 1);
  assert.equal((await at('app.example.org:5984', '/_session')).json().ok, true);
  assert.equal((await at('vhosted.dbs.example.org', '/d0')).json().n, 0);
  assert.equal((await at('localhost', '/vhosted/d0')).json().n, 0);
  const req = (await at('app.example.org', '/req?a=b')).json();
  assert.deepEqual([req.requested_path, req.path, req.query.a], [['req'], ['vhosted', '_design', 'd', '_show', 'req'], 'b']);
  await ask('DELETE', '');
});

it('JSONP is not spoken, as CouchDB does not unless told to', async () => {
  const { ask } = await database();
  const answer = await ask('GET', '?callback=jsonp');
  assert.deepEqual([answer.headers['content-type'], answer.text[0]], ['application/json', '{']);
});

it('an atomic bulk is written as a whole or not at all', async () => {
  const { ask } = await database({ docs: [{ _id: 'old' }] });
  const bulk = (docs, more = {}) => ask('POST', '/_bulk_docs', { atomic: true, docs, ...more });
  const count = async () => (await ask('GET', '')).json().doc_count;
  const whole = await bulk([{ _id: 'a', n: 1 }, { _id: 'b', _attachments: { f: { content_type: 'text/plain', data: 'aGk=' } } }]);
  assert.equal(whole.status, 201);
  assert.deepEqual(whole.json().map(({ ok, id }) => [ok, id]), [[true, 'a'], [true, 'b']]);
  assert.equal((await ask('GET', '/b/f')).text, 'hi');
  const conflict = await bulk([{ _id: 'c' }, { _id: 'old' }, { _id: 'd' }]);
  assert.deepEqual([conflict.status, conflict.json().error], [409, 'conflict']);
  assert.match(conflict.json().reason, /nothing was written/);
  assert.deepEqual(conflict.json().results, [{ id: 'c' }, { id: 'old', error: 'conflict', reason: 'Document update conflict.' }, { id: 'd' }]);
  assert.equal(await count(), 3);
  const twice = await bulk([{ _id: 'e' }, { _id: 'e' }]);
  assert.deepEqual([twice.status, twice.json().results[1].error], [409, 'conflict']);
  await ask('PUT', '/_design/v', { validate_doc_update: 'function (n) { if (n.bad) throw({ forbidden: "bad" }); }' });
  const refused = await bulk([{ _id: 'f' }, { _id: 'g', bad: true }]);
  assert.deepEqual([refused.status, refused.json().error, refused.json().results[1].reason], [403, 'forbidden', 'bad']);
  const both = await bulk([{ _id: 'g', bad: true }, { _id: 'old' }]);
  assert.equal(both.status, 409);
  assert.equal((await bulk([{ _id: 'f' }, { _id: 'g' }])).status, 201);
  assert.equal(await count(), 6);
  assert.equal((await bulk([{ _id: 'x', _rev: '1-a' }], { new_edits: false })).status, 400);
  assert.equal((await bulk([{ _id: '_local/x' }])).status, 400);
  const many = await bulk(Array.from({ length: 1001 }, () => ({})));
  assert.deepEqual([many.status, many.json().error], [413, 'too_many']);
  const old = await ask('POST', '/_bulk_docs', { all_or_nothing: true, docs: [{ _id: 'x' }] });
  assert.equal(old.status, 417);
  assert.match(old.json()[0].reason, /atomic/);
});
