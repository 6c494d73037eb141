// Views over HTTP: as raw requests, whose answers are compared byte by byte where CouchDB's form matters, and as
// PouchDB's db.query sends them.

import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { PouchDB, freshName } from './harness/pouch.mjs';
import { Server, within } from './harness/server.mjs';

let server;
before(async () => { server = await Server.start({ args: ['--script-timeout', '1s'] }); });
after(() => server?.stop());

/** Asks until the answer will do; for what comes behind an answer. */
async function until(ask, accepts, what) {
  let late = false;
  const asking = async () => {
    for (;;) {
      const answer = await ask();
      if (late || accepts(answer)) return answer;
    }
  };
  return within(asking(), what).finally(() => { late = true; });
}

/** A database with these documents and design documents, and the ways to ask it. */
async function database({ docs = [], designs = {}, query = '', on = server } = {}) {
  const name = freshName('views');
  const ask = async (method, path, body) => on.request(method, `/${name}${path}`, { body });
  assert.equal((await ask('PUT', query)).status, 201);
  for (const [design, members] of Object.entries(designs)) {
    const put = await ask('PUT', `/_design/${design}`, members);
    assert.equal(put.status, 201, put.text);
  }
  if (docs.length > 0) assert.equal((await ask('POST', '/_bulk_docs', { docs })).status, 201);
  const view = async (path, body) => {
    const [design, rest] = path.split('/');
    const [view, options = ''] = rest.split('?');
    const answer = await ask(body ? 'POST' : 'GET', `/_design/${design}/_view/${view}?${options}`, body);
    if (answer.status !== 200) return { status: answer.status, ...answer.json() };
    return answer.json();
  };
  return { name, ask, view, rows: async (path, body) => (await view(path, body)).rows };
}

const FRUIT = ['apple', 'banana', 'cherry', 'date', 'elder'].map((name, n) => ({ _id: name, n, tags: [name[0], n % 2 ? 'odd' : 'even'] }));
const BY_N = { views: { n: { map: 'function (doc) { emit(doc.n, doc._id); }', reduce: '_count' } } };
const j = (value) => encodeURIComponent(JSON.stringify(value));
const ids = (rows) => rows.map((row) => row.id);

it('answer in the form that CouchDB has', async () => {
  const { ask } = await database({ docs: FRUIT, designs: { d: BY_N } });
  const text = async (options) => (await ask('GET', `/_design/d/_view/n?${options}`)).text;
  assert.equal(await text('reduce=false&limit=2'), '{"total_rows":5,"offset":0,"rows":[\r\n{"id":"apple","key":0,"value":"apple"},\r\n{"id":"banana","key":1,"value":"banana"}\r\n]}\n');
  assert.equal(await text('reduce=false&startkey=3&limit=1'), '{"total_rows":5,"offset":3,"rows":[\r\n{"id":"date","key":3,"value":"date"}\r\n]}\n');
  assert.equal(await text('reduce=false&key=99'), '{"total_rows":5,"offset":5,"rows":[\r\n\r\n]}\n');
  assert.equal(await text(''), '{"rows":[\r\n{"key":null,"value":5}\r\n]}\n');
  assert.equal(await text('key=99'), '{"rows":[\r\n\r\n]}\n');
  assert.equal(await text('sorted=false&reduce=false&key=1'), '{"rows":[\r\n{"id":"banana","key":1,"value":"banana"}\r\n]}\n');
  const head = await ask('HEAD', '/_design/d/_view/n');
  assert.deepEqual([head.status, head.text, head.headers.etag], [200, '', undefined]);
});

it('give the ranges asked for', async () => {
  const { rows } = await database({ docs: [...FRUIT, { _id: 'zz', n: 1 }], designs: { d: BY_N } });
  const asked = async (options, body) => ids(await rows(`d/n?reduce=false&${options}`, body)).join();
  assert.equal(await asked('startkey=1&endkey=3'), 'banana,zz,cherry,date');
  assert.equal(await asked('start_key=1&end_key=3&inclusive_end=false'), 'banana,zz,cherry');
  assert.equal(await asked('startkey=3&endkey=1&descending=true'), 'date,cherry,zz,banana');
  assert.equal(await asked('startkey=1&startkey_docid=c'), 'zz,cherry,date,elder');
  assert.equal(await asked('endkey=1&endkey_docid=c'), 'apple,banana');
  assert.equal(await asked('descending=true&startkey=1&startkey_docid=c'), 'banana,apple');
  assert.equal(await asked('skip=1&limit=2'), 'banana,zz');
  assert.equal(await asked('skip=99'), '');
  assert.equal(await asked('key=1'), 'banana,zz');
  assert.equal(await asked(`keys=${j([3, 1, 3, 'x'])}`), 'date,banana,zz,date');
  assert.equal(await asked('', { keys: [3, 1], descending: true }), 'date,zz,banana');
  assert.equal(await asked('skip=1', { keys: [1, 4] }), 'zz,elder');
  assert.equal(await asked('limit=1', { start_key: 2, limit: 9 }), 'cherry');
});

it('reduce, whole and in groups', async () => {
  const docs = Array.from({ length: 300 }, (_, n) => ({ _id: `d${String(n).padStart(3, '0')}`, n, path: [n % 3, n % 2 ? 'odd' : 'even', n] }));
  const emit = 'function (doc) { emit(doc.path, doc.n); }';
  const views = Object.fromEntries(['_sum', '_count', '_stats'].map((reduce) => [reduce.slice(1), { map: emit, reduce }]));
  views.own = { map: emit, reduce: 'function (keys, values, rereduce) { return rereduce ? sum(values) : values.length; }' };
  views.ids = { map: emit, reduce: 'function (keys, values, rereduce) { return rereduce ? Math.min.apply(null, values) : Math.min.apply(null, keys.map(function (k) { return Number(k[1].slice(1)); })); }' };
  const { rows, view } = await database({ docs, designs: { d: { views } } });
  assert.deepEqual(await rows('d/sum'), [{ key: null, value: 44_850 }]);
  assert.deepEqual(await rows('d/own?group_level=1'), [0, 1, 2].map((n) => ({ key: [n], value: 100 })));
  assert.deepEqual(await rows('d/count?group_level=2&descending=true&limit=2&skip=1'), [{ key: [2, 'even'], value: 50 }, { key: [1, 'odd'], value: 50 }]);
  assert.deepEqual(await rows(`d/own?startkey=${j([1])}&endkey=${j([1, {}])}`), [{ key: null, value: 100 }]);
  assert.deepEqual((await rows('d/stats?group=true&limit=1')), [{ key: [0, 'even', 0], value: { sum: 0, count: 1, min: 0, max: 0, sumsqr: 0 } }]);
  assert.deepEqual(await rows('d/sum?group=true', { keys: [[1, 'odd', 1], [9], [0, 'even', 6]] }), [{ key: [1, 'odd', 1], value: 1 }, { key: [0, 'even', 6], value: 6 }]);
  assert.deepEqual(await rows('d/ids?group_level=1'), [0, 1, 2].map((n) => ({ key: [n], value: n })));
  assert.equal((await rows('d/sum?group=true')).length, 300);
  for (const [options, reason] of [
    ['include_docs=true', '`include_docs` is invalid for reduce'],
    ['conflicts=true', '`conflicts` is invalid for reduce views.'],
    [`keys=${j([1, 2])}`, 'Multi-key fetches for reduce views must use `group=true`'],
    ['group=true&reduce=false', 'Invalid use of grouping on a map view.'],
    ['group_level=x', 'Invalid value for integer: "x"'],
    ['startkey=2&endkey=1', 'No rows can match your key range, reverse your start_key and end_key or set descending=true'],
  ]) assert.deepEqual(await view(`d/sum?${options}`), { status: 400, error: 'query_parse_error', reason });
});

it('follow edits, deletions, conflicts and purges', async () => {
  const { ask, rows } = await database({ docs: FRUIT, designs: { d: BY_N } });
  const count = async () => (await rows('d/n'))[0]?.value ?? 0;
  assert.equal(await count(), 5);
  const apple = (await ask('GET', '/apple')).json();
  await ask('PUT', '/apple', { ...apple, n: 77 });
  assert.deepEqual(ids(await rows('d/n?reduce=false&startkey=4')), ['elder', 'apple']);
  const date = (await ask('GET', '/date')).json();
  await ask('DELETE', `/date?rev=${date._rev}`);
  assert.equal(await count(), 4);
  // A conflict that loses changes nothing; one that wins is what is seen.
  await ask('POST', '/_bulk_docs', { new_edits: false, docs: [{ _id: 'banana', _rev: '1-0', n: 500 }] });
  assert.deepEqual(await rows('d/n?reduce=false&key=500'), []);
  await ask('POST', '/_bulk_docs', { new_edits: false, docs: [{ _id: 'banana', _rev: '9-f', n: 600 }] });
  assert.deepEqual(ids(await rows('d/n?reduce=false&key=600')), ['banana']);
  await ask('POST', '/_purge', { banana: ['9-f'] });
  assert.deepEqual(ids(await rows('d/n?reduce=false&key=1')), ['banana']);
  const elder = (await ask('GET', '/elder')).json();
  await ask('POST', '/_purge', { elder: [elder._rev] });
  assert.equal(await count(), 3);
});

it('carry documents, their own and those that values name', async () => {
  const map = 'function (doc) { if (doc.link) emit(doc._id, doc.link); else emit(doc._id); }';
  const docs = [{ _id: 'a', v: 1 }, { _id: 'b', link: { _id: 'a' } }, { _id: 'c', link: { _id: 'gone' } }, { _id: 'd', link: { _id: 'never' } }, { _id: 'e', link: { _id: null } }, { _id: 'f', _attachments: { t: { content_type: 'text/plain', data: 'aGk=' } } }, { _id: 'gone' }];
  const { ask, rows } = await database({ docs, designs: { d: { views: { v: { map } } } } });
  const first = (await ask('GET', '/a')).json()._rev;
  await ask('PUT', '/a', { _rev: first, v: 2 });
  await ask('PUT', '/g', { link: { _id: 'a', _rev: first } });
  await ask('DELETE', `/gone?rev=${(await ask('GET', '/gone')).json()._rev}`);
  const found = Object.fromEntries((await rows('d/v?include_docs=true')).map((row) => [row.key, row]));
  assert.deepEqual([found.a.doc.v, found.b.doc._id, found.b.doc.v, found.g.doc.v], [2, 'a', 2, 1]);
  assert.deepEqual([found.c.doc, found.e.doc, found.f.doc._attachments.t.stub], [null, null, true]);
  assert.deepEqual(found.d, { key: 'd', error: 'missing' });
  const whole = await rows('d/v?include_docs=true&attachments=true');
  assert.equal(whole.find((row) => row.id === 'f').doc._attachments.t.data, 'aGk=');
  assert.equal(whole.length, 7);
  await ask('POST', '/_bulk_docs', { new_edits: false, docs: [{ _id: 'a', _rev: '1-0', v: 9 }] });
  const [conflicted] = await rows('d/v?include_docs=true&conflicts=true&key=%22a%22');
  assert.deepEqual(conflicted.doc._conflicts, ['1-0']);
});

it('answer several queries in one', async () => {
  const { ask } = await database({ docs: FRUIT, designs: { d: BY_N } });
  const answer = await ask('POST', '/_design/d/_view/n/queries', { queries: [{ key: 1 }, { reduce: false, limit: 1 }, { group: true, keys: [2, 3] }] });
  assert.equal(answer.text, '{"results":[\r\n{"rows":[\r\n{"key":null,"value":1}\r\n]},\r\n{"total_rows":5,"offset":0,"rows":[\r\n{"id":"apple","key":0,"value":"apple"}\r\n]},\r\n{"rows":[\r\n{"key":2,"value":1},\r\n{"key":3,"value":1}\r\n]}\r\n]}\n');
  assert.equal((await ask('POST', '/_design/d/_view/n/queries', { queries: [{ limit: -1 }] })).status, 400);
  assert.equal((await ask('POST', '/_design/d/_view/n/queries', {})).status, 400);
  assert.equal((await ask('GET', '/_design/d/_view/n/queries')).status, 405);
});

it('take lib, options and raw collation', async () => {
  const docs = [{ _id: 'a', w: 'Straße' }, { _id: 'b', w: 'b' }, { _id: 'c', w: 'B' }, { _id: 'd', w: 7 }];
  const { rows, ask } = await database({
    docs,
    designs: {
      lib: { views: { lib: { shout: 'exports.shout = function (text) { return require("./twice").twice(text); };', twice: 'exports.twice = function (text) { return text + text; };' }, v: { map: 'function (doc) { if (doc.w) emit(require("views/lib/shout").shout(String(doc.w)), null); }' } } },
      raw: { options: { collation: 'raw' }, views: { v: { map: 'function (doc) { if (doc.w) emit(doc.w); }' } } },
      all: { options: { include_design: true, local_seq: true }, views: { v: { map: 'function (doc) { emit(doc._id, doc._local_seq); }' } } },
    },
  });
  assert.deepEqual((await rows('lib/v')).map((row) => row.key), ['77', 'bb', 'BB', 'StraßeStraße']);
  assert.deepEqual((await rows('raw/v')).map((row) => row.key), [7, 'B', 'Straße', 'b']);
  const all = await rows('all/v');
  assert.deepEqual(ids(all).slice(0, 3), ['_design/all', '_design/lib', '_design/raw']);
  assert.ok(all.every((row) => Number.isInteger(row.value)));
  // The functions see documents as clients read them.
  await ask('PUT', '/_design/see', { views: { v: { map: 'function (doc) { emit(Object.keys(doc)); }' } } });
  assert.deepEqual((await rows('see/v?limit=1'))[0].key, ['_id', '_rev', 'w']);
});

it('say clearly what is wrong with a design document', async () => {
  const { ask, view } = await database({ designs: { d: BY_N } });
  const put = async (members) => { const answer = await ask('PUT', '/_design/x', members); return [answer.status, answer.json().error, answer.json().reason]; };
  const compiled = await put({ views: { v: { map: 'function (' } } });
  assert.deepEqual(compiled.slice(0, 2), [400, 'compilation_error']);
  assert.match(compiled[2], /^Compilation of the map function in the 'v' view failed: /);
  assert.match((await put({ views: { v: { map: 'function (doc) {}', reduce: '7 +' } } }))[2], /^Compilation of the reduce function in the 'v' view failed: /);
  assert.deepEqual(await put({ views: { v: { map: 'function (doc) {}', reduce: '_nope' } } }), [400, 'invalid_design_doc', '`_nope` is not a supported reduce function.']);
  assert.deepEqual(await put({ views: [] }), [400, 'invalid_design_doc', '`views` field must have object type']);
  assert.deepEqual(await put({ views: { v: { reduce: '_sum' } } }), [400, 'invalid_design_doc', 'View `v` must contain map function']);
  assert.deepEqual(await put({ views: { v: { map: {} } } }), [400, 'invalid_design_doc', '`views.v.map` field must have string type']);
  const rows = (await ask('POST', '/_bulk_docs', { docs: [{ _id: 'fine' }, { _id: '_design/x', views: { v: { map: 'function (' } } }] })).json();
  assert.deepEqual([rows[0].ok, rows[1].id, rows[1].error], [true, '_design/x', 'compilation_error']);
  assert.deepEqual(await view('d/nope'), { status: 404, error: 'not_found', reason: 'missing_named_view' });
  assert.deepEqual(await view('nope/n'), { status: 404, error: 'not_found', reason: 'missing' });
  await ask('DELETE', `/_design/d?rev=${(await ask('GET', '/_design/d')).json()._rev}`);
  assert.deepEqual(await view('d/n'), { status: 404, error: 'not_found', reason: 'deleted' });
});

it('pass over a document whose map throws, and no other', async () => {
  const map = 'function (doc) { emit(doc._id); if (doc._id === "cherry") throw "no"; if (doc._id === "date") null.x; emit(doc._id, 2); }';
  const { rows } = await database({ docs: FRUIT, designs: { d: { views: { v: { map } } } } });
  assert.deepEqual(ids(await rows('d/v')), ['apple', 'apple', 'banana', 'banana', 'elder', 'elder']);
});

it('see conflicts, and order rows of one key by value', async () => {
  const conflicts = 'function (doc) { if (doc._conflicts) emit(doc._conflicts, doc._deleted_conflicts); }';
  const many = "function (doc) { if (!doc.foo) return; emit('foo', 'b'); emit('bar', 'multiple values!'); emit('foo'); emit('bar', 'crayon!'); emit('bar'); emit('foo', {}); emit('foo', []); emit('foo', 3); }";
  const { ask, rows } = await database({ docs: [{ _id: 'one', foo: 1 }], designs: { d: { views: { c: { map: conflicts }, m: { map: many } } } } });
  await ask('POST', '/_bulk_docs', { new_edits: false, docs: [{ _id: 'c', _rev: '2-b' }, { _id: 'c', _rev: '2-a' }, { _id: 'c', _rev: '1-x', _deleted: true }] });
  assert.deepEqual(await rows('d/c'), [{ id: 'c', key: ['2-a'], value: ['1-x'] }]);
  assert.deepEqual((await rows('d/m?key=%22bar%22')).map((row) => row.value), [null, 'crayon!', 'multiple values!']);
  assert.deepEqual((await rows('d/m?key=%22foo%22')).map((row) => row.value), [3, null, {}, [], 'b']);
});

it('bound reduces: what grows is told in its row, what never ends fails alone', async () => {
  const map = 'function (doc) { emit(doc.n, doc.n); }';
  const views = {
    big: { map, reduce: "function (keys, values) { var all = []; for (var i = 0; i < 1000; i += 1) all.push('wazzap'); return all; }" },
    throws: { map, reduce: 'function (keys, values) { throw "no"; }' },
    endless: { map, reduce: 'function (keys, values) { for (;;) {} }' },
    named: { map, reduce: '_sumorama\nare awesome' },
    text: { map: 'function (doc) { emit(doc.n, doc._id); }', reduce: '_sum' },
  };
  const { rows, view } = await database({ docs: FRUIT, designs: { d: { views } } });
  const [big] = await rows('d/big');
  assert.deepEqual([big.key, big.error], [null, 'reduce_overflow_error']);
  assert.deepEqual(await rows('d/throws'), [{ key: null, value: null }]);
  assert.equal((await view('d/endless')).status, 500);
  assert.equal((await rows('d/endless?reduce=false')).length, 5);
  assert.deepEqual(await rows('d/named'), [{ key: null, value: 10 }]);
  assert.equal((await rows('d/text'))[0].value.error, 'builtin_reduce_error');
});

it('let an endless map cost its own database an error, and nobody else anything', async () => {
  const endless = await database({ docs: FRUIT, designs: { d: { views: { v: { map: 'function (doc) { for (;;) {} }' }, w: { map: 'function (doc) { emit(1); }' } } } } });
  const other = await database({ docs: FRUIT, designs: { d: BY_N } });
  const waiting = endless.view('d/v');
  for (let n = 0; n < 20; n += 1) {
    await other.ask('PUT', `/x${n}`, { n: 100 + n });
    assert.deepEqual(await other.rows('d/n'), [{ key: null, value: 6 + n }]);
  }
  const failed = await waiting;
  assert.equal(failed.status, 500);
  assert.match(failed.reason, /too long/);
  // The other view of the same design document answers, too.
  assert.equal((await endless.rows('d/w')).length, 5);
});

it('answer from what is there when asked to', async () => {
  const { ask, view, rows } = await database({ docs: FRUIT, designs: { d: BY_N } });
  assert.deepEqual(await view('d/n?reduce=false&stale=ok'), { total_rows: 0, offset: 0, rows: [] });
  assert.equal((await rows('d/n?reduce=false')).length, 5);
  await ask('PUT', '/new', { n: 9 });
  assert.equal((await rows('d/n?reduce=false&update=false')).length, 5);
  assert.equal((await rows('d/n?reduce=false&stale=update_after')).length, 5);
  // It comes behind the answer.
  await until(() => rows('d/n?reduce=false&stale=ok'), (found) => found.length === 6, 'the index behind a lazy answer');
  const { update_seq: sequence } = await view('d/n?reduce=false&update_seq=true&limit=0');
  assert.equal(sequence, (await ask('GET', '')).json().update_seq);
});

it('tell of an index, compact it, and drop what nobody names', async () => {
  const { ask, rows } = await database({ docs: FRUIT, designs: { d: BY_N } });
  const info = async () => (await ask('GET', '/_design/d/_info')).json();
  assert.equal((await info()).view_index.updates_pending.total, 6);
  await rows('d/n');
  const { name, view_index: index } = await info();
  assert.equal(name, 'd');
  assert.deepEqual([index.language, index.updater_running, index.updates_pending.total, index.waiting_clients], ['javascript', false, 0, 0]);
  assert.match(index.signature, /^[0-9a-f]{32}$/);
  assert.deepEqual(Object.keys(index.sizes).sort(), ['active', 'external', 'file']);
  assert.equal((await ask('POST', '/_compact/d', {})).status, 202);
  assert.equal((await ask('POST', '/_compact/nope', {})).status, 404);
  const rev = (await ask('GET', '/_design/d')).json()._rev;
  const changed = { _rev: rev, views: { n: { map: 'function (doc) { emit(-doc.n); }' } } };
  assert.equal((await ask('PUT', '/_design/d', changed)).status, 201);
  assert.deepEqual(ids(await rows('d/n')).reverse(), FRUIT.map((doc) => doc._id));
  assert.equal((await ask('POST', '/_view_cleanup', {})).status, 202);
  assert.equal((await rows('d/n')).length, 5);
});

it('survive a restart and kill -9', async () => {
  const own = await Server.start();
  const docs = Array.from({ length: 2_000 }, (_, n) => ({ _id: `d${n}`, n }));
  const { ask, rows, view } = await database({ docs, designs: { d: BY_N }, on: own });
  assert.deepEqual(await rows('d/n'), [{ key: null, value: 2_000 }]);
  await own.stop();
  await own.up();
  assert.equal((await view('d/n?reduce=false&stale=ok&limit=1')).total_rows, 2_000);
  await ask('POST', '/_bulk_docs', { docs: docs.map(({ n }) => ({ _id: `e${n}`, n: -n })) });
  const asked = rows('d/n').catch(() => {});
  await own.kill9();
  await asked;
  await own.up();
  assert.deepEqual(await rows('d/n'), [{ key: null, value: 4_000 }]);
  assert.equal((await rows('d/n?reduce=false')).length, 4_000);
  await own.stop();
});

it('send a long answer whole', async () => {
  const docs = Array.from({ length: 20_000 }, (_, n) => ({ _id: `doc-${String(n).padStart(6, '0')}`, n }));
  const { rows, view } = await database({ docs, designs: { d: BY_N } });
  const all = await view('d/n?reduce=false');
  assert.equal(all.total_rows, 20_000);
  assert.deepEqual(ids(all.rows), docs.map((doc) => doc._id));
  assert.deepEqual((await rows('d/n?reduce=false&include_docs=true&descending=true')).map((row) => row.doc.n), docs.map((doc) => doc.n).reverse());
  assert.equal((await rows('d/n?group=true')).length, 20_000);
  assert.deepEqual(await view('d/n?reduce=false&skip=19999'), { total_rows: 20_000, offset: 19_999, rows: [{ id: 'doc-019999', key: 19_999, value: 'doc-019999' }] });
});

it('keep partitions apart', async () => {
  const docs = ['p', 'q'].flatMap((part) => [1, 2, 3].map((n) => ({ _id: `${part}:${n}`, n })));
  const level = { views: { v: { map: 'function (doc) { emit(["a", doc.n]); }', reduce: '_count' } }, options: { include_design: true } };
  const designs = { d: BY_N, g: { ...BY_N, options: { partitioned: false } }, l: level };
  const { ask, view, rows } = await database({ docs, designs, query: '?partitioned=true' });
  const inside = async (path, body) => (await ask(body ? 'POST' : 'GET', `/_partition/${path}`, body)).json();
  assert.deepEqual(await inside('p/_design/d/_view/n'), { rows: [{ key: null, value: 3 }] });
  assert.deepEqual(ids((await inside('q/_design/d/_view/n?reduce=false&startkey=2')).rows), ['q:2', 'q:3']);
  assert.deepEqual(ids((await inside('q/_design/d/_view/n?reduce=false&descending=true')).rows), ['q:3', 'q:2', 'q:1']);
  assert.deepEqual((await inside('q/_design/d/_view/n?group=true&limit=2')).rows, [{ key: 1, value: 1 }, { key: 2, value: 1 }]);
  assert.deepEqual((await inside('p/_design/d/_view/n', { keys: [3, 1], reduce: false })).rows.map((row) => row.key), [3, 1]);
  assert.deepEqual(await inside('r/_design/d/_view/n?reduce=false'), { total_rows: 0, offset: 0, rows: [] });
  assert.deepEqual(ids((await inside('p/_all_docs')).rows), ['p:1', 'p:2', 'p:3']);
  assert.deepEqual(ids((await inside(`p/_all_docs?startkey=${j('p:2')}&endkey=${j('z')}`)).rows), ['p:2', 'p:3']);
  const info = await inside('p');
  assert.deepEqual([info.partition, info.doc_count, info.doc_del_count], ['p', 3, 0]);
  assert.deepEqual(await view('d/n'), { status: 400, error: 'query_parse_error', reason: '`partition` parameter is mandatory for queries to this view.' });
  assert.deepEqual(await rows('g/n'), [{ key: null, value: 6 }]);
  assert.equal((await inside('p/_design/g/_view/n')).reason, '`partition` parameter is not supported in this design doc');
  assert.match((await inside('p/_design/d/_view/n?partition=q')).reason, /Conflicting value/);
  assert.deepEqual((await inside('p/_design/l/_view/v?group_level=1')).rows, [{ key: ['a'], value: 3 }]);
  assert.deepEqual((await inside('q/_design/l/_view/v?group_level=2')).rows.map((row) => row.key), [['a', 1], ['a', 2], ['a', 3]]);
  const unparted = await ask('PUT', '/nopart', {});
  assert.deepEqual([unparted.status, unparted.json().reason], [400, 'Doc id must be of form partition:id']);
  const plain = await database();
  assert.equal((await plain.ask('GET', '/_partition/p')).json().reason, 'database is not partitioned');
});

it('show a run among the tasks', async () => {
  const docs = Array.from({ length: 3_000 }, (_, n) => ({ _id: `d${n}`, n }));
  const map = 'function (doc) { for (var i = 0, x = 0; i < 20000; i += 1) x += i; emit(doc.n, x); }';
  const { name, rows } = await database({ docs, designs: { d: { views: { v: { map } } } } });
  const done = rows('d/v?limit=1');
  const look = async () => (await server.request('GET', '/_active_tasks')).json().find((task) => task.type === 'indexer' && task.database === name);
  const seen = await until(look, (task) => task, 'the run among the tasks');
  assert.deepEqual([seen.design_document, seen.total_changes >= 3_000], ['_design/d', true]);
  await done;
});

it('answer PouchDB', async () => {
  const db = new PouchDB(server.url(freshName('query')));
  await db.bulkDocs([...FRUIT, { _id: '_design/fruit', views: { tags: { map: "function (doc) { (doc.tags || []).forEach(function (tag) { emit(tag, doc.n); }); }", reduce: '_sum' } } }]);
  assert.deepEqual(await db.query('fruit/tags', { group: true, startkey: 'e' }), { rows: [{ key: 'e', value: 4 }, { key: 'even', value: 6 }, { key: 'odd', value: 4 }] });
  const { rows } = await db.query('fruit/tags', { reduce: false, keys: ['odd', 'nope', 'a'], include_docs: true });
  assert.deepEqual(rows.map((row) => [row.key, row.doc._id]), [['odd', 'banana'], ['odd', 'date'], ['a', 'apple']]);
  await assert.rejects(db.query('fruit/none'), { status: 404 });
  await assert.rejects(db.query('fruit/tags', { group: true, reduce: false }), { status: 400 });
  assert.deepEqual(await db.viewCleanup(), { ok: true });
});
