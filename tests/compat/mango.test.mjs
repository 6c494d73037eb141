// Mango: `_find`, `_index`, `_explain` over raw HTTP, in CouchDB's shapes and words; pouchdb-find through
// PouchDB's HTTP adapter; and `_aggregate`, which is ours alone.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import findPlugin from 'pouchdb-find';
import { PouchDB, freshName } from './harness/pouch.mjs';
import { ADMIN, Server } from './harness/server.mjs';

PouchDB.plugin(findPlugin);

const basic = ({ name, password }) => 'Basic ' + Buffer.from(`${name}:${password}`).toString('base64');

let server;
let name;

before(async () => { server = await Server.start(); });
after(() => server?.stop());
beforeEach(async () => {
  name = freshName();
  assert.equal((await call('PUT', '')).status, 201);
});

/** A request to the test's database; what is sent and what comes back is JSON unless it is text. */
async function call(method, path, body, { as = ADMIN, headers = {} } = {}) {
  const response = await fetch(`${server.origin}/${name}${path}`, {
    method,
    headers: { ...(as && { authorization: basic(as) }), ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
    body: body === undefined || typeof body === 'string' ? body : JSON.stringify(body),
  });
  const text = await response.text();
  return { status: response.status, text, ...(text.startsWith('{') && { json: JSON.parse(text) }) };
}

async function ok(method, path, body) {
  const answer = await call(method, path, body);
  assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${answer.text}`);
  return answer.json;
}

const post = (path, body) => ok('POST', path, body);
const find = (query) => post('/_find', query);
const explain = (query) => post('/_explain', query);
const index = (fields, { index: more, ...rest } = {}) => post('/_index', { index: { fields, ...more }, ...rest });
const ids = (answer) => answer.docs.map(({ _id }) => _id);

async function refused(path, body, status, error, reason) {
  const answer = await call('POST', path, body);
  assert.deepEqual({ status: answer.status, ...answer.json }, { status, error, reason }, JSON.stringify(body));
}

const PEOPLE = [
  { _id: '0', name: { first: 'Stephanie', last: 'Kirkland' }, age: 48, company: 'Dreamia', favorites: ['Ruby', 'C', 'Python'] },
  { _id: '1', name: { first: 'Faith', last: 'Hess' }, age: 33, company: 'Pharmex', twitter: '@faith', favorites: ['Erlang', 'C', 'Erlang'] },
  { _id: '2', name: { first: 'Mathis', last: 'Hernandez' }, age: 75, company: 'Lyria', manager: true, favorites: ['Lisp', 'Lisp', 'Ruby', 'C'] },
  { _id: '3', name: { first: 'Whitley', last: 'Harvey' }, age: 78, company: 'Globoil', manager: false, favorites: [] },
  { _id: '4', name: { first: 'Ünsal', last: 'Äß' }, age: null, company: 'Manglo', manager: true, twitter: null },
  { _id: '5', name: { first: 'Livingston', last: 'Watts' }, age: '48', company: 'lyria', manager: true, favorites: [[1, 2], { a: 1 }] },
];
const people = () => post('/_bulk_docs', { docs: PEOPLE });

describe('_index', () => {
  it('writes the design document that CouchDB writes', async () => {
    assert.deepEqual(await index(['foo', 'bar'], { name: 'n', ddoc: 'd' }), { result: 'created', id: '_design/d', name: 'n' });
    assert.deepEqual(await index(['foo', 'bar'], { name: 'n', ddoc: '_design/d' }), { result: 'exists', id: '_design/d', name: 'n' });
    const stored = await call('GET', '/_design/d');
    assert.match(stored.text, /^\{"_id":"_design\/d","_rev":"1-[0-9a-f]{32}","language":"query","views":\{"n":\{"map":\{"fields":\{"foo":"asc","bar":"asc"\},"partial_filter_selector":\{\}\},"reduce":"_count","options":\{"def":\{"fields":\["foo","bar"\]\}\}\}\}\}\n$/);
    await index(['baz'], { name: 'm', ddoc: 'd' });
    await index([{ foo: 'desc' }], { index: { partial_filter_selector: { x: 1 } } });
    const listed = await ok('GET', '/_index');
    assert.deepEqual(listed.indexes[0], { ddoc: null, name: '_all_docs', type: 'special', def: { fields: [{ _id: 'asc' }] } });
    assert.deepEqual(listed.indexes.slice(2), [
      { ddoc: '_design/d', name: 'm', type: 'json', partitioned: false, def: { fields: [{ baz: 'asc' }] } },
      { ddoc: '_design/d', name: 'n', type: 'json', partitioned: false, def: { fields: [{ foo: 'asc' }, { bar: 'asc' }] } },
    ]);
    assert.deepEqual(listed.indexes[1].def, { fields: [{ foo: 'desc' }], partial_filter_selector: { x: { $eq: 1 } } });
    assert.equal(listed.total_rows, 4);
  });

  it('lists a part', async () => {
    for (let n = 1; n <= 5; n += 1) await index([`field${n}`], { name: `idx_0${n}` });
    const list = async (query) => (await ok('GET', `/_index?${query}`)).indexes.length;
    assert.deepEqual([await list('limit=2'), await list('limit=5&skip=4'), await list('skip=6'), await list('skip=100'), await list('limit=10000000')], [2, 2, 0, 0, 6]);
    for (const query of ['limit=0', 'skip=-1', 'limit=x']) {
      const answer = await call('GET', `/_index?${query}`);
      assert.deepEqual([answer.status, answer.json.error], [500, 'invalid_list_index_params'], query);
    }
  });

  it('deletes by all spellings of the design document, and the last index takes it along', async () => {
    for (const spelling of ['_design/d', '_design%2Fd', 'd']) {
      await index(['a'], { name: 'one', ddoc: 'd' });
      await index(['b'], { name: 'two', ddoc: 'd' });
      assert.deepEqual(await ok('DELETE', `/_index/${spelling}/json/one`), { ok: true });
      assert.equal((await call('GET', '/_design/d')).status, 200);
      assert.deepEqual(await ok('DELETE', `/_index/${spelling}/json/two`), { ok: true });
      assert.equal((await call('GET', '/_design/d')).json.reason, 'deleted');
      assert.equal((await ok('GET', '/_index')).total_rows, 1);
    }
    await index(['a'], { name: 'one', ddoc: 'd' });
    for (const path of ['/_index/x/json/one', '/_index/d/json/x', '/_index/d/text/one']) {
      const answer = await call('DELETE', path);
      assert.deepEqual({ status: answer.status, ...answer.json }, { status: 404, error: 'not_found', reason: 'missing' });
    }
    await index(['b'], { name: 'two', ddoc: 'e' });
    assert.deepEqual(await post('/_index/_bulk_delete', { docids: ['_design/d', 'e', '_design/none'] }), {
      success: [{ id: '_design/d', ok: true }, { id: '_design/e', ok: true }], fail: [{ id: '_design/none', error: 'not_found' }],
    });
    assert.equal((await call('GET', '/_index/foo')).status, 405);
    assert.equal((await call('PUT', '/_index', {})).status, 405);
  });

  it('refuses what cannot be an index, in the words for it', async () => {
    const definition = (fields) => ({ index: { fields } });
    await refused('/_index', {}, 400, 'missing_required_key', 'Missing required key: index');
    await refused('/_index', { index: {} }, 400, 'missing_required_key', 'Missing required key: fields');
    await refused('/_index', { index: 'x' }, 400, 'invalid_index', 'JSON indexes must be an object, not: <<120>>');
    await refused('/_index', definition('bing'), 400, 'invalid_sort_json', 'Sort must be an array of sort specs, not: <<"bing">>');
    await refused('/_index', definition([{ foo: 2 }]), 400, 'invalid_sort_field', 'Invalid sort field: {[{<<"foo">>,2}]}');
    await refused('/_index', definition(['']), 400, 'invalid_sort_field', 'Invalid sort field: <<>>');
    await refused('/_index', definition([{ a: 'asc' }, { b: 'desc' }]), 400, 'unsupported_mixed_sort', 'Sorts currently only support a single direction for all fields.');
    await refused('/_index', { index: { fields: ['a'], selector: {} } }, 400, 'invalid_key', 'Invalid key selector for this request.');
    await refused('/_index', { ...definition(['a']), name: '' }, 400, 'invalid_index_name', 'Invalid index name: <<>>');
    await refused('/_index', { ...definition(['a']), ddoc: 1.5 }, 400, 'invalid_string', 'Invalid string: 1.5');
    await refused('/_index', { ...definition(['a']), type: 'geo' }, 400, 'invalid_index', 'Invalid type for index: geo');
    await refused('/_index', { ...definition(['a']), type: null }, 400, 'invalid_string', 'Invalid string: null');
    for (const type of ['text', 'nouveau']) await refused('/_index', { ...definition(['a']), type }, 503, 'required index service unavailable', type);
    await refused('/_index', { ...definition(['a']), foo: 1 }, 400, 'invalid_key', 'Invalid key foo for this request.');
    await ok('PUT', '/_design/js', { views: {} });
    const answer = await call('POST', '/_index', { ...definition(['a']), ddoc: 'js' });
    assert.deepEqual([answer.status, answer.json.error], [400, 'invalid_ddoc_lang']);
    assert.equal((await call('POST', '/_index', definition(['a']), { headers: { 'content-type': 'text/plain' } })).status, 415);
  });

  it('is made by administrators and used by members', async () => {
    const user = { name: `u${name}`, password: 'p' };
    const users = await fetch(`${server.origin}/_users/org.couchdb.user:${user.name}`, { method: 'PUT', headers: { authorization: basic(ADMIN), 'content-type': 'application/json' }, body: JSON.stringify({ ...user, type: 'user', roles: [] }) });
    assert.equal(users.status, 201);
    await ok('PUT', '/_security', { members: { names: [user.name], roles: [] }, admins: { names: [], roles: ['_admin'] } });
    await index(['a'], { name: 'a', ddoc: 'a' });
    await post('/_bulk_docs', { docs: [{ a: 1 }] });
    const asUser = (method, path, body) => call(method, path, body, { as: user });
    assert.equal((await asUser('POST', '/_find', { selector: { a: 1 } })).json.docs.length, 1);
    assert.equal((await asUser('POST', '/_index', { index: { fields: ['a'] }, name: 'a', ddoc: 'a' })).json.result, 'exists');
    assert.equal((await asUser('POST', '/_index', { index: { fields: ['b'] } })).json.reason, 'You are not a db or server admin.');
    assert.equal((await asUser('DELETE', '/_index/a/json/a')).status, 401);
    assert.equal((await call('POST', '/_find', { selector: {} }, { as: null })).status, 401);
  });

  it('works when it came as a design document', async () => {
    await people();
    await ok('PUT', '/_design/old', { language: 'query', views: { old: { map: { fields: { age: 'asc' }, selector: { age: { $gte: 50 } } }, reduce: '_count', options: { def: { fields: ['age'] } } } } });
    assert.deepEqual(ids(await find({ selector: { age: { $gt: 0, $lt: 100 } }, use_index: 'old' })), ['2', '3']);
    assert.equal((await explain({ selector: { age: 1 } })).index.type, 'special');
  });
});

describe('_find', () => {
  it('has CouchDB’s shape', async () => {
    await people();
    const { text } = await call('POST', '/_find', { selector: { _id: '1' }, fields: ['_id', 'name.first'] });
    assert.match(text, /^\{"docs":\[\r\n\{"_id":"1","name":\{"first":"Faith"\}\}\r\n\],\r\n"bookmark": "g1[\w-]+",\r\n"warning": "No matching index found, create an index to optimize query time\."\}\r\n\n$/);
    const none = await call('POST', '/_find', { selector: { nope: 1 } });
    assert.match(none.text, /^\{"docs":\[\r\n\],\r\n"bookmark": "nil",\r\n"warning": "/);
  });

  it('compares across types, as views collate', async () => {
    await people();
    await index(['age'], { ddoc: 'age', name: 'age' });
    const ages = async (condition) => ids(await find({ selector: { age: condition } }));
    assert.deepEqual(await ages({ $gt: null }), ['1', '0', '2', '3', '5']);
    assert.deepEqual(await ages({ $lt: 48 }), ['4', '1']);
    assert.deepEqual(await ages({ $in: [48, '48', null] }), ['4', '0', '5']);
    assert.deepEqual(await ages({ $type: 'string' }), ['5']);
    assert.deepEqual(await ages({ $ne: 48 }), ['4', '1', '2', '3', '5']);
    assert.deepEqual(await ages({ $mod: [5, 3] }), ['1', '0', '3']);
    const found = async (selector) => ids(await find({ selector }));
    assert.deepEqual(await found({ company: { $gt: 'k', $lt: 'n' } }), ['2', '4', '5']);
    assert.deepEqual(await found({ 'favorites.3': 'C' }), ['2']);
    assert.deepEqual(await found({ favorites: { $elemMatch: { $eq: 'Erlang' } } }), ['1']);
    assert.deepEqual(await found({ favorites: { $all: ['Ruby', 'C'] } }), ['0', '2']);
    assert.deepEqual(await found({ favorites: { $size: 0 } }), ['3']);
    assert.deepEqual(await found({ twitter: { $exists: true } }), ['1', '4']);
    assert.deepEqual(await found({ $not: { manager: true } }), ['3']);
    assert.deepEqual(await found({ $or: [{ age: 33 }, { 'name.last': 'Watts' }] }), ['1', '5']);
    assert.deepEqual(await found({ 'name.first': { $regex: '^[LÜ]' } }), ['4', '5']);
    assert.deepEqual(await found({ 'name.first': { $beginsWith: 'Li' } }), ['5']);
    assert.deepEqual(await found({ name: { $keyMapMatch: { $eq: 'last' } } }), ['0', '1', '2', '3', '4', '5']);
    assert.deepEqual(await found({ name: { first: 'Faith', last: 'Hess' } }), ['1']);
  });

  it('answers equality with objects, on which CouchDB 3.5 fails', async () => {
    await people();
    const whole = { selector: { name: { $eq: { first: 'Faith', last: 'Hess' } } } };
    assert.deepEqual(ids(await find(whole)), ['1']);
    await index(['name'], { ddoc: 'name', name: 'name' });
    assert.equal((await explain(whole)).index.name, 'name');
    assert.deepEqual(ids(await find(whole)), ['1']);
    assert.deepEqual(ids(await find({ selector: { name: { $eq: { last: 'Hess', first: 'Faith' } } } })), []);
    assert.deepEqual(ids(await find({ selector: { favorites: { $elemMatch: { $eq: { a: 1 } } } } })), ['5']);
    assert.deepEqual(ids(await find({ selector: { name: { $gt: {} } }, sort: ['name'] })), ['1', '5', '2', '0', '4', '3']);
  });

  it('knows the empty selectors', async () => {
    await people();
    await ok('PUT', '/_design/x', {});
    assert.equal((await find({ selector: {} })).docs.length, 6);
    for (const operator of ['$or', '$and']) assert.deepEqual(ids(await find({ selector: { [operator]: [] } })), []);
    assert.deepEqual(ids(await find({ selector: { age: 33, $or: [] } })), ['1']);
    assert.deepEqual(ids(await find({ selector: { age: 33, company: { $in: [] } } })), []);
    assert.equal((await find({ selector: { company: { $nin: [] } } })).docs.length, 6);
  });

  it('sorts by an index, or says that there is none', async () => {
    await people();
    await index(['company', 'manager'], { ddoc: 'cm', name: 'cm' });
    await index(['age'], { ddoc: 'age', name: 'age' });
    const sorted = async (sort, selector = { company: { $gt: null } }) => ids(await find({ selector, sort }));
    assert.deepEqual(await sorted(['company', 'manager']), ['3', '5', '2', '4']);
    assert.deepEqual(await sorted([{ company: 'desc' }, { manager: 'desc' }]), ['4', '2', '5', '3']);
    assert.deepEqual(await sorted(['manager'], { company: 'Lyria', manager: true }), ['2']);
    assert.deepEqual(await sorted(['age'], {}), ['4', '1', '0', '2', '3', '5']);
    await refused('/_find', { selector: { company: { $gt: null } }, sort: ['company'] }, 400, 'no_usable_index', 'No index exists for this sort, try indexing by the sort fields.');
    await refused('/_find', { selector: { q: 1 }, sort: ['q'] }, 400, 'no_usable_index', 'No index exists for this sort, try indexing by the sort fields.');
    assert.deepEqual(await sorted([{ _id: 'desc' }], { _id: { $gt: '2' } }), ['5', '4', '3']);
  });

  it('warns', async () => {
    await people();
    await index(['company', 'manager'], { ddoc: 'cm', name: 'cm' });
    const warning = async (query) => (await find(query)).warning;
    const none = 'No matching index found, create an index to optimize query time.';
    assert.equal(await warning({ selector: { company: 'Pharmex' }, use_index: '_design/cm' }), `_design/cm was not used because it does not contain a valid index for this query.\n${none}`);
    assert.equal(await warning({ selector: { company: 'Pharmex' }, use_index: ['cm', 'cm'] }), `_design/cm, cm was not used because it is not a valid index for this query.\n${none}`);
    assert.equal(await warning({ selector: { company: 'Lyria', manager: true } }), undefined);
    await post('/_bulk_docs', { docs: Array.from({ length: 100 }, (_, n) => ({ company: 'x', manager: n === 50 })) });
    assert.equal(await warning({ selector: { company: 'x', manager: { $ne: false } }, use_index: 'cm' }), 'The number of documents examined is high in proportion to the number of results returned. Consider adding a more specific index to improve this.');
    await refused('/_find', { selector: { company: 'x' }, use_index: 'cm', allow_fallback: false }, 400, 'invalid_index', '_design/cm specified by `use_index` could not be found or it is not suitable.');
    await refused('/_find', { selector: { company: 'x' }, allow_fallback: false }, 400, 'invalid_index', 'You must specify an index with the `use_index` parameter.');
  });

  it('goes through pages by bookmarks', async () => {
    await post('/_bulk_docs', { docs: Array.from({ length: 50 }, (_, n) => ({ _id: `d${String(n).padStart(2, '0')}`, n: (n * 7) % 50, even: n % 2 === 0 })) });
    const walk = async (query) => {
      const seen = [];
      for (let bookmark = null; ;) {
        const answer = await find({ ...query, ...(bookmark && { bookmark }) });
        seen.push(...answer.docs);
        if (answer.docs.length === 0) {
          assert.equal(answer.bookmark, 'nil');
          return seen;
        }
        assert.notEqual(answer.bookmark, bookmark);
        bookmark = answer.bookmark;
      }
    };
    assert.deepEqual((await walk({ selector: { even: true }, limit: 4 })).length, 25);
    await index(['n'], { ddoc: 'n', name: 'n' });
    const down = await walk({ selector: { n: { $gte: 10 }, even: true }, sort: [{ n: 'desc' }], limit: 3, fields: ['n'] });
    assert.deepEqual(down.map(({ n }) => n), down.map(({ n }) => n).sort((a, b) => b - a));
    assert.equal(down.length, 20);
    assert.equal((await find({ selector: {}, limit: 0 })).bookmark, 'nil');
    assert.equal((await find({ selector: { n: { $gte: 0 } }, skip: 48 })).docs.length, 2);
    await refused('/_find', { selector: { n: 1 }, bookmark: 'garbage' }, 400, 'invalid_bookmark', 'Invalid bookmark value: "garbage"');
    await refused('/_find', { selector: { n: 1 }, bookmark: 5 }, 400, 'invalid_bookmark', 'Invalid bookmark value: 5');
  });

  it('tells what it cost', async () => {
    await people();
    await index(['age'], { ddoc: 'age', name: 'age' });
    const { execution_stats: stats } = await find({ selector: { age: { $gt: 40, $lt: 80 } }, execution_stats: true });
    assert.deepEqual({ ...stats, execution_time_ms: 0 }, { total_keys_examined: 3, total_docs_examined: 3, total_quorum_docs_examined: 0, results_returned: 3, execution_time_ms: 0 });
    assert.ok(stats.execution_time_ms > 0);
    const covered = await find({ selector: { age: { $gt: 40 } }, fields: ['_id', 'age'], limit: 2, execution_stats: true });
    assert.deepEqual(covered.docs, [{ _id: '0', age: 48 }, { _id: '2', age: 75 }]);
    assert.equal(covered.execution_stats.total_docs_examined, 0);
  });

  it('sees conflicts, tombstones and later writes', async () => {
    await post('/_bulk_docs', { new_edits: false, docs: [{ _id: 'c', _rev: '1-a', v: 1 }, { _id: 'c', _rev: '1-b', v: 2 }] });
    await index(['v'], { ddoc: 'v', name: 'v' });
    assert.deepEqual((await find({ selector: { v: { $gt: 0 } }, conflicts: true })).docs, [{ _id: 'c', _rev: '1-b', v: 2, _conflicts: ['1-a'] }]);
    assert.equal((await find({ selector: { _conflicts: { $exists: true } }, conflicts: true })).docs.length, 1);
    await post('/_bulk_docs', { docs: [{ _id: 'n', v: 7 }] });
    assert.deepEqual(ids(await find({ selector: { v: 7 }, update: false })), []);
    assert.deepEqual(ids(await find({ selector: { v: 7 } })), ['n']);
    assert.deepEqual(ids(await find({ selector: { v: 7 }, stale: 'ok' })), ['n']);
    const { _rev } = (await find({ selector: { v: 7 } })).docs[0];
    await ok('DELETE', `/n?rev=${_rev}`);
    assert.deepEqual(ids(await find({ selector: { v: 7 }, update: false })), []);
  });

  it('refuses what would cost too much', async () => {
    await post('/_bulk_docs', { docs: [{ _id: 'long', text: 'a'.repeat(200_000), list: Array.from({ length: 5_000 }, (_, n) => n) }] });
    const nested = (depth) => '{"a":'.repeat(depth) + '1' + '}'.repeat(depth);
    for (const selector of [nested(10_000), `{"$or":[${Array.from({ length: 20_000 }, () => '{"a":1}').join(',')}]}`]) {
      assert.equal((await call('POST', '/_find', `{"selector":${selector}}`)).status, 400);
    }
    await refused('/_find', { selector: { text: { $regex: '(a{1000}){1000}' } } }, 400, 'bad_arg', 'Regular expressions in $regex are too large or too many');
    await refused('/_find', { selector: { text: { $regex: '(?=a)' } } }, 400, 'bad_arg', 'Unsupported regular expression in $regex: look-around, including look-ahead and look-behind, is not supported');
    // What ruins a backtracking engine is nothing here.
    assert.deepEqual(ids(await find({ selector: { text: { $regex: '^(a+)+$' } } })), ['long']);
    const costly = { selector: { list: { $allMatch: { $in: Array.from({ length: 5_000 }, (_, n) => 'x'.repeat(200) + n) } }, $and: Array.from({ length: 200 }, () => ({ list: { $not: { $elemMatch: { $regex: '[\\w\\s]{50}z' } } } })) } };
    const answer = await call('POST', '/_find', costly);
    assert.ok([200, 400].includes(answer.status), answer.text);
    assert.equal((await call('POST', '/_find', 'x'.repeat(9 << 20))).status, 413);
    await refused('/_find', { selector: { $text: 'x' } }, 400, 'not_supported', 'Unsupported operator: $text');
    await refused('/_find', '[]', 400, 'bad_request', 'Request body must be a JSON object');
    assert.equal((await call('GET', '/_find')).status, 405);
  });

  it('streams a long answer', async () => {
    await post('/_bulk_docs', { docs: Array.from({ length: 3_000 }, (_, n) => ({ _id: String(n).padStart(5, '0'), text: 'x'.repeat(400) })) });
    const answer = await find({ selector: {}, limit: 100_000, execution_stats: true });
    assert.deepEqual(ids(answer), Array.from({ length: 3_000 }, (_, n) => String(n).padStart(5, '0')));
    assert.equal(answer.execution_stats.results_returned, 3_000);
  });
});

describe('_explain', () => {
  it('shows the plan as CouchDB 3.5 does', async () => {
    await people();
    await index(['age'], { ddoc: 'age', name: 'age' });
    await index(['company', 'manager'], { ddoc: 'cm', name: 'cm' });
    const shown = await explain({ selector: { age: { $gt: 23 } }, fields: ['twitter'] });
    assert.deepEqual(Object.keys(shown), ['dbname', 'index', 'partitioned', 'selector', 'opts', 'limit', 'skip', 'fields', 'index_candidates', 'selector_hints', 'mrargs', 'covering']);
    assert.deepEqual(shown.index, { ddoc: '_design/age', name: 'age', type: 'json', partitioned: false, def: { fields: [{ age: 'asc' }] } });
    assert.deepEqual([shown.dbname, shown.selector, shown.fields, shown.covering, shown.limit], [name, { age: { $gt: 23 } }, ['twitter'], false, 25]);
    assert.deepEqual({ ...shown.mrargs, estimated_rows: 0 }, { include_docs: true, view_type: 'map', reduce: false, partition: null, start_key: [23], end_key: ['<MAX>'], direction: 'fwd', stable: false, update: true, conflicts: 'undefined', estimated_rows: 0 });
    assert.deepEqual(shown.index_candidates, [
      { index: { ddoc: '_design/cm', name: 'cm', type: 'json', partitioned: false, def: { fields: [{ company: 'asc' }, { manager: 'asc' }] } }, analysis: { usable: false, reasons: [{ name: 'field_mismatch' }], ranking: 2, covering: false } },
      { index: { ddoc: null, name: '_all_docs', type: 'special', def: { fields: [{ _id: 'asc' }] } }, analysis: { usable: true, reasons: [{ name: 'unfavored_type' }], ranking: 1, covering: null } },
    ]);
    assert.deepEqual(shown.selector_hints, [{ type: 'json', indexable_fields: ['age'], unindexable_fields: [] }]);
    const none = await explain({ selector: { q: 1 }, sort: ['q'] });
    assert.equal(none.index, null);
    assert.deepEqual(none.index_candidates.at(-1).analysis, { usable: false, reasons: [{ name: 'field_mismatch' }], ranking: 1, covering: null });
    const covered = await explain({ selector: { company: { $exists: true }, manager: true }, fields: ['company'] });
    assert.deepEqual([covered.covering, covered.mrargs.include_docs], [true, false]);
    const down = await explain({ selector: { age: { $gt: 0, $lt: 9 } }, sort: [{ age: 'desc' }] });
    assert.deepEqual([down.mrargs.direction, down.mrargs.start_key, down.mrargs.end_key], ['rev', [9, '<MAX>'], [0]]);
  });

  it('prefers as CouchDB does where indexes are about as good', async () => {
    await people();
    const chosen = async (selector) => (await explain({ selector })).index.ddoc;
    await index(['name.last', 'age', 'company'], { ddoc: 'aaa' });
    await index(['name.last'], { ddoc: 'zzz' });
    assert.equal(await chosen({ 'name.last': 'Hess' }), '_design/zzz');
    await index(['name.last', 'age'], { ddoc: 'bbb' });
    assert.equal(await chosen({ 'name.last': 'Hess', age: { $gte: 12 } }), '_design/bbb');
    assert.equal(await chosen({ 'name.last': 'Hess', number: { $lte: 16 } }), '_design/zzz');
    await index(['name.last'], { ddoc: 'yyy' });
    assert.equal(await chosen({ 'name.last': 'Hess' }), '_design/yyy');
  });
});

describe('a partitioned database', () => {
  it('is asked partition by partition', async () => {
    name = freshName();
    assert.equal((await call('PUT', '?partitioned=true')).status, 201);
    await post('/_bulk_docs', { docs: Array.from({ length: 20 }, (_, n) => ({ _id: `${n % 2 ? 'odd' : 'even'}:${String(n).padStart(2, '0')}`, n })) });
    await index(['n'], { ddoc: 'part', name: 'part' });
    await index(['n'], { ddoc: 'whole', name: 'whole', partitioned: false });
    const within = await post('/_partition/odd/_find', { selector: { n: { $gt: 10 } }, sort: [{ n: 'desc' }] });
    assert.deepEqual(ids(within), ['odd:19', 'odd:17', 'odd:15', 'odd:13', 'odd:11']);
    assert.equal((await post('/_partition/odd/_explain', { selector: { n: 1 } })).index.name, 'part');
    assert.equal((await explain({ selector: { n: 1 } })).index.name, 'whole');
    assert.deepEqual(ids(await post('/_partition/even/_find', { selector: { n: { $exists: true }, _id: { $gt: 'even:14' } } })), ['even:16', 'even:18']);
    await refused('/_find', { selector: { m: 1 }, sort: ['m'] }, 400, 'no_usable_index', 'No global index exists for this sort, try indexing by the sort fields.');
    await refused('/_partition/odd/_find', { selector: { m: 1 }, sort: ['m'] }, 400, 'no_usable_index', 'No partitioned index exists for this sort, try indexing by the sort fields.');
    await refused('/_index', { index: { fields: ['x'] }, ddoc: 'whole' }, 400, 'invalid_partitioned_option', 'Requested partitioned option does not match existing value on design document _design/whole');
  });
});

describe('pouchdb-find', () => {
  it('makes, lists, uses and deletes indexes over HTTP', async () => {
    const db = new PouchDB(server.url(name));
    await db.bulkDocs(PEOPLE);
    const made = await db.createIndex({ index: { fields: ['age'], name: 'by-age', ddoc: 'mine' } });
    assert.equal(made.result, 'created');
    assert.equal((await db.createIndex({ index: { fields: ['age'], name: 'by-age', ddoc: 'mine' } })).result, 'exists');
    const { indexes } = await db.getIndexes();
    assert.deepEqual(indexes.map((one) => one.name), ['_all_docs', 'by-age']);
    const found = await db.find({ selector: { age: { $gte: 40 } }, sort: ['age'], fields: ['_id', 'age'] });
    assert.deepEqual(found.docs, [{ _id: '0', age: 48 }, { _id: '2', age: 75 }, { _id: '3', age: 78 }, { _id: '5', age: '48' }]);
    assert.equal((await db.find({ selector: { company: 'Lyria' } })).docs[0]._id, '2');
    assert.equal((await db.explain({ selector: { age: 48 } })).index.name, 'by-age');
    await assert.rejects(db.find({ selector: { company: 'x' }, sort: ['company'] }), { status: 400 });
    await assert.rejects(db.find({ selector: { age: { $foo: 1 } } }), /Invalid operator/);
    assert.deepEqual(await db.deleteIndex(indexes[1]), { ok: true });
    assert.equal((await db.getIndexes()).indexes.length, 1);
    const unnamed = await db.createIndex({ index: { fields: ['name.last'] } });
    assert.match(unnamed.name, /^[0-9a-f]{40}$/);
    assert.equal(unnamed.id, `_design/${unnamed.name}`);
  });

  it('answers a live replication’s selector and its own queries alike', async () => {
    const db = new PouchDB(server.url(name));
    await db.bulkDocs(PEOPLE);
    const local = new PouchDB(freshName(), { adapter: 'memory' });
    await local.replicate.from(db, { selector: { manager: true } });
    const there = await db.find({ selector: { manager: true } });
    const here = await local.find({ selector: { manager: true } });
    assert.deepEqual(there.docs, here.docs);
    await local.destroy();
  });
});

describe('_aggregate', () => {
  const sums = async (query) => post('/_aggregate', query);

  it('counts and sums up by groups', async () => {
    await post('/_bulk_docs', { docs: [
      { kind: 'b', n: 1, price: 10 }, { kind: 'a', n: 2, price: 0.1 }, { kind: 'a', n: 3, price: 0.2 },
      { n: 5, price: 'free' }, { kind: null, n: 6 },
    ] });
    await post('/_bulk_docs', '{"docs":[{"kind":"A","n":4,"price":9007199254740993}]}');
    const query = { selector: { n: { $gte: 1 } }, group: ['kind'], aggregate: { n: { count: true }, priced: { count: 'price' }, total: { sum: 'price' }, least: { min: 'n' }, most: { max: 'n' }, mean: { avg: 'n' } } };
    const { text } = await call('POST', '/_aggregate', query);
    assert.match(text, /"total":9007199254740993,/, 'integers are exact');
    const answer = await sums(query);
    assert.deepEqual(answer.groups.map(({ key, n, mean }) => [key, n, mean]), [[{}, 1, 5], [{ kind: null }, 1, 6], [{ kind: 'a' }, 2, 2.5], [{ kind: 'A' }, 1, 4], [{ kind: 'b' }, 1, 1]]);
    assert.deepEqual(answer.groups[2], { key: { kind: 'a' }, n: 2, priced: 2, total: 0.30000000000000004, least: 2, most: 3, mean: 2.5 });
    assert.deepEqual([answer.groups[0].total, answer.groups[0].priced, answer.total_groups], [0, 1, 5]);
    const most = await sums({ ...query, sort: [{ n: 'desc' }, 'kind'], limit: 2 });
    assert.deepEqual(most.groups.map(({ key }) => key), [{ kind: 'a' }, {}]);
    assert.deepEqual((await sums({ selector: { n: 99 }, aggregate: { n: { count: true }, s: { sum: 'n' }, m: { max: 'n' }, a: { avg: 'n' } } })).groups, [{ key: {}, n: 0, s: 0, m: null, a: null }]);
  });

  it('is answered by the index alone where it can be', async () => {
    await post('/_bulk_docs', { docs: Array.from({ length: 1_000 }, (_, n) => ({ kind: n % 4, n })) });
    await index(['kind', 'n'], { ddoc: 'kn', name: 'kn' });
    const counted = await sums({ selector: { kind: { $gte: 1 }, n: { $exists: true } }, group: ['kind'], aggregate: { n: { count: true } }, execution_stats: true });
    assert.deepEqual(counted.groups, [1, 2, 3].map((kind) => ({ key: { kind }, n: 250 })));
    assert.deepEqual([counted.execution_stats.total_keys_examined, counted.execution_stats.total_docs_examined], [0, 0]);
    const summed = await sums({ selector: { kind: 1, n: { $lt: 100 } }, group: ['kind'], aggregate: { total: { sum: 'n' } }, execution_stats: true });
    assert.deepEqual([summed.groups, summed.execution_stats.total_docs_examined], [[{ key: { kind: 1 }, total: 1225 }], 0]);
  });

  it('is bounded', async () => {
    await post('/_bulk_docs', { docs: Array.from({ length: 10_001 }, (_, n) => ({ n })) });
    await refused('/_aggregate', { selector: {}, group: ['n'], aggregate: { c: { count: true } } }, 400, 'too_many_groups', 'The documents fall into more than 10000 groups: group by fewer fields, or narrow the selector.');
    await refused('/_aggregate', { selector: {}, aggregate: { c: { median: 'n' } } }, 400, 'invalid_aggregate', '`aggregate.c` must be one of {"count": true}, {"count": "field"}, {"sum": "field"}, {"min": "field"}, {"max": "field"}, {"avg": "field"}.');
    await refused('/_aggregate', { selector: {} }, 400, 'missing_required_key', 'Missing required key: aggregate');
  });
});
