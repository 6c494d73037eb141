// The server as the one that replicates: pulling, pushing, between its own databases, once and for as long
// as it is told to, from requests and from documents; over a line that breaks, and from a source that lies.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import { Faults } from './harness/faults.mjs';
import { Liar, related } from './harness/liar.mjs';
import { ADMIN, Server, within } from './harness/server.mjs';

let here;
let there;
const ARGS = ['--replication-retry', '100ms'];
before(async () => { [here, there] = await Promise.all([Server.start({ args: ARGS }), Server.start()]); });
after(() => Promise.all([here?.stop(), there?.stop()]));

let count = 0;
const fresh = (label = 'rep') => `${label}${process.pid}x${count++}`;

/** A request that has to succeed. */
async function ask(server, method, path, body, options = {}) {
  const answer = await server.request(method, path, { body, ...options });
  assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${answer.text.slice(0, 500)}`);
  return answer.json();
}

async function made(server, name = fresh(), docs = []) {
  await ask(server, 'PUT', `/${name}`);
  if (docs.length > 0) await written(server, name, docs);
  return name;
}

async function written(server, name, docs, newEdits = true) {
  for (let n = 0; n < docs.length; n += 5000) {
    const rows = await ask(server, 'POST', `/${name}/_bulk_docs`, { docs: docs.slice(n, n + 5000), new_edits: newEdits });
    assert.deepEqual(rows.filter((row) => row.error), []);
  }
}

const numbered = (length, from = 0) => Array.from({ length }, (_, n) => ({ _id: `doc-${String(n + from).padStart(6, '0')}`, n, text: 'ünïcode "\\ \u2028' }));

/** Everything that replication is to carry over, as it is on a server: leaves with their bodies and contents. */
async function state(server, name) {
  const { results } = await ask(server, 'GET', `/${name}/_changes?style=all_docs`);
  const wanted = results.flatMap((row) => row.changes.map(({ rev }) => ({ id: row.id, rev })));
  const rows = (await ask(server, 'POST', `/${name}/_bulk_get?revs=true`, { docs: wanted })).results;
  const leaves = {};
  for (const { docs } of rows) {
    for (const { ok } of docs) {
      const leaf = { ...ok };
      for (const attachment of Object.keys(ok._attachments ?? {})) {
        const { bytes } = await server.request('GET', `/${name}/${encodeURIComponent(ok._id)}/${attachment}?rev=${ok._rev}`);
        leaf._attachments[attachment].sha = createHash('sha256').update(bytes).digest('hex');
      }
      (leaves[ok._id] ??= {})[ok._rev] = leaf;
    }
  }
  return leaves;
}

async function same(one, first, two, second) {
  assert.deepEqual(await state(two, second), await state(one, first));
}

const replicate = (server, body, options) => ask(server, 'POST', '/_replicate', body, options);

/** Asks again until the answer will do. */
async function until(what, question, good, ms = 30_000) {
  const begun = performance.now();
  for (;;) {
    const answer = await question();
    if (good(answer)) return answer;
    if (performance.now() - begun > ms) throw new Error(`not within ${ms} ms: ${what}; last ${JSON.stringify(answer).slice(0, 1000)}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Waits until a database has a document, by its feed. */
async function untilThere(server, name, id) {
  let since = 0;
  for (;;) {
    const page = await ask(server, 'GET', `/${name}/_changes?feed=longpoll&timeout=20000&since=${since}`);
    if (page.results.some((row) => row.id === id)) return;
    assert.ok(page.results.length > 0, `${id} did not come to ${name}`);
    since = page.last_seq;
  }
}

/** A database with all that is awkward in it. */
async function awkward(server) {
  const name = await made(server, fresh(), numbered(1200));
  await written(server, name, [
    { _id: 'c', _rev: '1-a', v: 1 }, { _id: 'c', _rev: '1-b', v: 2 },
    { _id: 'c', _rev: '2-gone', _deleted: true, _revisions: { start: 2, ids: ['gone', 'b'] } },
    { _id: 'c', _rev: '3-d', _revisions: { start: 3, ids: ['d', 'x', 'a'] }, v: 3 },
    { _id: 'a/b?c#d%e ü', _rev: '1-odd' }, { _id: '_design/d', _rev: '1-d', views: {}, language: 'query' },
  ], false);
  const first = await ask(server, 'GET', `/${name}/doc-000007`);
  await ask(server, 'DELETE', `/${name}/doc-000007?rev=${first._rev}`);
  const { rev } = await ask(server, 'PUT', `/${name}/att`, {
    _attachments: {
      'n.bin': { content_type: 'application/octet-stream', data: randomBytes(100_000).toString('base64') },
      't.txt': { content_type: 'text/plain', data: Buffer.from('text '.repeat(3000)).toString('base64') },
      'empty': { content_type: 'text/plain', data: '' },
    },
  });
  await ask(server, 'PUT', `/${name}/att/later.bin?rev=${rev}`, randomBytes(70_000), { headers: { 'content-type': 'image/png' } });
  return name;
}

describe('once', () => {
  for (const [how, ends] of Object.entries({
    pulls: () => [there, here, (name) => there.url(name), (name) => name],
    pushes: () => [here, there, (name) => name, (name) => there.url(name)],
    'copies between its own databases': () => [here, here, (name) => name, (name) => name],
    'carries between others': () => [there, there, (name) => there.url(name), (name) => there.url(name)],
  })) {
    it(`${how}, conflicts and contents included, and knows afterwards that it did`, async () => {
      const [from, to, source, target] = ends();
      const one = await awkward(from);
      const two = fresh();
      const body = { source: source(one), target: target(two), create_target: true };
      const told = await replicate(here, body);
      assert.equal(told.ok, true);
      const [session] = told.history;
      assert.equal(session.doc_write_failures, 0);
      assert.equal(session.docs_written, session.docs_read);
      assert.equal(session.docs_written, 1200 + 2 + 2 + 1);
      assert.equal(session.session_id, told.session_id);
      await same(from, one, to, two);
      const again = await replicate(here, body);
      assert.equal(again.no_changes, true);
      assert.equal(again.session_id, told.session_id);
      // What changed since then, and only that; contents that the target has stay where they are.
      const { _rev } = await ask(from, 'GET', `/${one}/att`);
      await ask(from, 'PUT', `/${one}/att/more?rev=${_rev}`, 'more', { headers: { 'content-type': 'text/css' } });
      const more = await replicate(here, body);
      assert.deepEqual([more.history[0].docs_written, more.history.length], [1, 2]);
      assert.equal(more.history[0].start_last_seq, told.source_last_seq);
      await same(from, one, to, two);
    });
  }

  it('carries a large attachment without holding it', async () => {
    const [one, two] = [await made(there), await made(here)];
    const bytes = randomBytes(30 << 20);
    await ask(there, 'PUT', `/${one}/large/a.bin`, bytes, { headers: { 'content-type': 'application/octet-stream' } });
    const before = here.residentKb();
    const pulled = await replicate(here, { source: there.url(one), target: two });
    assert.equal(pulled.history[0].docs_written, 1);
    const grown = here.residentKb() - before;
    assert.ok(grown < 20_000, `${grown} kB more`);
    const back = fresh();
    await replicate(here, { source: two, target: there.url(back), create_target: true });
    const { bytes: arrived } = await there.request('GET', `/${back}/large/a.bin`);
    assert.ok(bytes.equals(arrived));
  });
});

describe('some documents', () => {
  let one;
  before(async () => {
    one = await made(there, fresh(), numbered(50));
    await written(there, one, [
      { _id: 'c', _rev: '2-x', _revisions: { start: 2, ids: ['x', 'a'] }, n: 1000 }, { _id: 'c', _rev: '1-b', n: 2 },
      { _id: '_design/f', _rev: '1-f', filters: { odd: 'function (doc, req) { return doc.n % 2 === 1; }', below: 'function (doc, req) { return doc.n < Number(req.query.most); }' }, views: { high: { map: 'function (doc) { if (doc.n >= 40) emit(doc.n); }' } } },
    ], false);
  });

  const ids = async (server, name) => (await ask(server, 'GET', `/${name}/_all_docs`)).rows.map((row) => row.id);
  const carried = async (more, from = there.url(one)) => {
    const target = fresh();
    const told = await replicate(here, { source: from, target, create_target: true, ...more });
    return { target, told, ids: await ids(here, target) };
  };

  it('by their names', async () => {
    const { ids, told } = await carried({ doc_ids: ['doc-000003', 'c', 'none'] });
    assert.deepEqual(ids, ['c', 'doc-000003']);
    // As CouchDB answers a replication by names.
    assert.equal(told.docs_written, 3);
  });

  it('that a selector matches', async () => {
    const { ids } = await carried({ selector: { n: { $gte: 48 } } });
    assert.deepEqual(ids, ['c', 'doc-000048', 'doc-000049']);
  });

  it('that are designs', async () => {
    assert.deepEqual((await carried({ filter: '_design' })).ids, ['_design/f']);
  });

  for (const [what, more, expected] of [
    ['a function', { filter: 'f/odd' }, ['doc-000001', 25]],
    ['a function, with parameters', { filter: 'f/below', query_params: { most: '3' } }, ['c', 3 + 1]],
    ['a map function', { filter: '_view', query_params: { view: 'f/high' } }, ['c', 1 + 10]],
  ]) {
    it(`that the source lets pass by ${what}, there and here`, async () => {
      const mine = await made(here);
      await replicate(here, { source: there.url(one), target: mine });
      for (const from of [there.url(one), mine]) {
        const { ids } = await carried(more, from);
        assert.deepEqual([ids[0], ids.length], expected, JSON.stringify(ids));
      }
    });
  }

  it('behind a place', async () => {
    const { last_seq } = await ask(there, 'GET', `/${one}/_changes?limit=40`);
    assert.equal((await carried({ since_seq: last_seq })).ids.length, 52 - 40);
  });

  it('in their winning revisions alone', async () => {
    const { target } = await carried({ winning_revs_only: true });
    assert.deepEqual(Object.keys((await state(here, target)).c), ['2-x']);
  });

  it('each on its own, and without a checkpoint', async () => {
    const source = await awkward(there);
    const { target, told } = await carried({ use_bulk_get: false, use_checkpoints: false, worker_batch_size: 7, worker_processes: 3, http_connections: 5 }, there.url(source));
    assert.equal(told.use_checkpoints, false);
    await same(there, source, here, target);
    const { rows } = await ask(here, 'GET', `/${target}/_local_docs`);
    assert.deepEqual(rows, []);
  });
});

describe('for as long as it is told to', () => {
  it('carries what is written, both ways, until it is cancelled', async () => {
    const [one, two] = [await made(there), await made(here)];
    const pull = { source: there.url(one), target: two, continuous: true, checkpoint_interval: 100 };
    const push = { ...pull, source: two, target: there.url(one) };
    const started = await replicate(here, pull);
    assert.match(started._local_id, /^[0-9a-f]{32}\+continuous$/);
    assert.deepEqual(await replicate(here, pull), started, 'the same job');
    await replicate(here, push);
    for (let n = 0; n < 5; n++) {
      await ask(there, 'PUT', `/${one}/there-${n}`, { n });
      await untilThere(here, two, `there-${n}`);
      await ask(here, 'PUT', `/${two}/here-${n}`, { n });
      await untilThere(there, one, `here-${n}`);
    }
    await same(there, one, here, two);
    const tasks = (await ask(here, 'GET', '/_active_tasks')).filter((task) => task.type === 'replication' && task.replication_id === started._local_id);
    assert.deepEqual(tasks.map(({ continuous, target }) => [continuous, target]), [[true, two]]);
    const job = await ask(here, 'GET', `/_scheduler/jobs/${encodeURIComponent(started._local_id)}`);
    assert.deepEqual([job.database, job.user, job.history.map((event) => event.type)], [null, 'admin', ['started', 'added']]);
    assert.ok(!JSON.stringify(job).includes(ADMIN.password));
    // What the other one wrote last is read, too, before it is cancelled.
    const { update_seq } = await ask(there, 'GET', `/${one}`);
    await until('all to be read', () => ask(here, 'GET', `/_scheduler/jobs/${encodeURIComponent(started._local_id)}`), ({ info }) => info.through_seq === update_seq);
    assert.deepEqual(await replicate(here, { ...pull, cancel: true }), { ok: true, _local_id: started._local_id });
    assert.equal((await here.request('POST', '/_replicate', { body: { ...pull, cancel: true } })).status, 404);
    await replicate(here, { cancel: true, replication_id: (await ask(here, 'GET', '/_scheduler/jobs')).jobs.find((job) => job.source === two).id });
    // The place where it was told to end is written down.
    const { rows } = await ask(here, 'GET', `/${two}/_local_docs?include_docs=true`);
    assert.ok(rows.some((row) => row.doc.source_last_seq === update_seq), JSON.stringify(rows));
  });

  it('runs many between its own databases, of which those that rest do nothing', async () => {
    const own = await Server.start({ args: ['--replication-max-jobs', '3'] });
    const source = await made(own);
    const targets = await Promise.all(Array.from({ length: 60 }, () => made(own)));
    await Promise.all(targets.map((target) => replicate(own, { source, target, continuous: true })));
    await ask(own, 'PUT', `/${source}/x`, {});
    await Promise.all(targets.map((target) => untilThere(own, target, 'x')));
    const { jobs, total_rows } = await ask(own, 'GET', '/_scheduler/jobs?limit=100');
    assert.deepEqual([total_rows, jobs.length], [60, 60]);
    assert.deepEqual((await own.stop()).code, 0);
  });

  it('gives others their turn', async () => {
    const own = await Server.start({ args: ['--replication-max-jobs', '1', '--replication-interval', '50ms'] });
    const [one, two] = [await made(there), await made(there)];
    const [first, second] = [await made(own), await made(own)];
    await replicate(own, { source: there.url(one), target: first, continuous: true });
    await replicate(own, { source: there.url(two), target: second, continuous: true });
    for (let n = 0; n < 3; n++) {
      await ask(there, 'PUT', `/${one}/a${n}`, {});
      await ask(there, 'PUT', `/${two}/b${n}`, {});
      await Promise.all([untilThere(own, first, `a${n}`), untilThere(own, second, `b${n}`)]);
    }
    await own.stop();
  });
});

describe('documents of _replicator', () => {
  const doc = (server, id, name = '_replicator') => ask(server, 'GET', `/${encodeURIComponent(name)}/${id}`);
  const ended = (server, id, name) => until(`the end of ${id}`, () => doc(server, id, name), (found) => found._replication_state);

  it('are run once, and say how that went', async () => {
    const [one, two] = [await awkward(there), fresh()];
    await ask(here, 'PUT', '/_replicator/once', { source: there.url(one), target: two, create_target: true });
    const found = await ended(here, 'once');
    assert.equal(found._replication_state, 'completed');
    assert.equal(found.owner, 'admin');
    assert.match(found._replication_state_time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    assert.equal(found._replication_stats.docs_written, 1205);
    await same(there, one, here, two);
    const { docs } = await ask(here, 'GET', '/_scheduler/docs?states=completed');
    const [shown] = docs.filter((row) => row.doc_id === 'once');
    assert.deepEqual([shown.state, shown.info.docs_written, shown.database], ['completed', 1205, '_replicator']);
    assert.ok(!JSON.stringify(shown).includes(ADMIN.password));
    assert.deepEqual(await ask(here, 'GET', '/_scheduler/docs/_replicator/once'), shown);
  });

  it('that make no sense are refused, and those that are replicated in fail', async () => {
    const refused = await here.request('PUT', '/_replicator/bad', { body: { source: 'a' } });
    assert.deepEqual([refused.status, refused.json().error], [403, 'forbidden']);
    await ask(here, 'PUT', '/_replicator/failed', { source: there.url('a'), _replication_state: 'failed' });
    assert.equal((await ask(here, 'GET', '/_scheduler/docs/_replicator/failed')).state, 'failed');
  });

  it('that fail are tried again, until what they need is there', async () => {
    const [one, two] = [fresh(), await made(here)];
    await ask(here, 'PUT', '/_replicator/again', { source: there.url(one), target: two, retries_per_request: 0 });
    const crashing = await until('a failure', () => ask(here, 'GET', '/_scheduler/docs/_replicator/again'), (row) => row.state === 'crashing' && row.error_count > 1);
    assert.match(crashing.info.error, /could not open http:\/\/admin:\*\*\*\*\*@127/);
    await made(there, one, numbered(3));
    assert.equal((await ended(here, 'again'))._replication_state, 'completed');
    assert.equal((await ask(here, 'GET', `/${two}`)).doc_count, 3);
  });

  it('of one replication are run once', async () => {
    const [one, two] = [await made(there), await made(here)];
    const body = { source: there.url(one), target: two, continuous: true };
    await ask(here, 'PUT', '/_replicator/first', body);
    await until('the first to run', () => ask(here, 'GET', '/_scheduler/docs/_replicator/first'), (row) => row.state === 'running');
    await ask(here, 'PUT', '/_replicator/second', body);
    const second = await ended(here, 'second');
    assert.equal(second._replication_state, 'failed');
    assert.match(second._replication_state_reason, /already started, triggered by document `first`/);
    // One that is changed is run anew, and one that is deleted ends.
    const { _rev } = await doc(here, 'first');
    const { rev } = await ask(here, 'PUT', '/_replicator/first', { ...body, _rev, target: two, selector: { n: 1 } });
    await written(there, one, [{ _id: 'n1', n: 1 }, { _id: 'n2', n: 2 }]);
    await untilThere(here, two, 'n1');
    assert.equal((await here.request('GET', `/${two}/n2`)).status, 404);
    await ask(here, 'DELETE', `/_replicator/first?rev=${rev}`);
    await until('its end', () => ask(here, 'GET', '/_scheduler/jobs'), ({ jobs }) => !jobs.some((job) => job.doc_id === 'first'));
  });

  it('go on after a restart, and after kill -9, from where they were', async () => {
    const own = await Server.start({ args: ARGS });
    const [one, name] = [await made(there, fresh(), numbered(500)), 'a/_replicator'];
    const two = await made(own);
    await ask(own, 'PUT', `/${encodeURIComponent(name)}`);
    await ask(own, 'PUT', `/${encodeURIComponent(name)}/live`, { source: there.url(one), target: two, continuous: true, checkpoint_interval: 100 });
    await untilThere(own, two, 'doc-000499');
    for (const [n, end] of [(() => own.stop()), (() => own.kill9())].entries()) {
      await until('a checkpoint', () => ask(own, 'GET', '/_scheduler/docs/a/_replicator/live'), (row) => row.info?.checkpointed_source_seq === row.info?.source_seq && row.info?.changes_pending === 0);
      await end();
      await ask(there, 'PUT', `/${one}/after-${n}`, {});
      await own.up();
      await untilThere(own, two, `after-${n}`);
      const { info } = await until('figures', () => ask(own, 'GET', '/_scheduler/docs/a/_replicator/live'), (row) => row.info?.docs_written > 0);
      assert.equal(info.missing_revisions_found, 1, 'only what is new');
      assert.ok(info.revisions_checked < 10, JSON.stringify(info));
    }
    await same(there, one, own, two);
    await own.stop();
  });

  it('are their owners\', and secret to others', async () => {
    const own = await Server.start();
    for (const name of ['ann', 'bob']) await ask(own, 'PUT', `/_users/org.couchdb.user:${name}`, { name, password: name, roles: [], type: 'user' });
    await ask(own, 'PUT', '/_replicator/_security', { members: { names: ['ann', 'bob'], roles: [] }, admins: { names: [], roles: ['_admin'] } });
    const [ann, bob] = ['ann', 'bob'].map((name) => ({ as: { name, password: name } }));
    const body = { source: { url: there.url('x'), headers: { 'x-key': 's3cret' } }, target: 'mine', continuous: true };
    await ask(own, 'PUT', '/_replicator/r', body, ann);
    assert.equal((await ask(own, 'GET', '/_replicator/r', undefined, ann)).source.headers['x-key'], 's3cret');
    for (const path of ['/_replicator/r', '/_replicator/_all_docs?include_docs=true', '/_replicator/_changes?include_docs=true', '/_replicator/r?open_revs=all', '/_scheduler/docs/_replicator/r']) {
      const { text, status } = await own.request('GET', path, { as: bob.as, headers: { accept: 'application/json' } });
      assert.equal(status, 200, path);
      assert.ok(!text.includes('s3cret') && !text.includes(ADMIN.password), `${path}: ${text}`);
      assert.ok(text.includes('127.0.0.1'), path);
    }
    for (const [path, body] of [['/_replicator/_changes?include_docs=true&filter=_doc_ids', { doc_ids: ['r'] }], ['/_replicator/_bulk_get', { docs: [{ id: 'r' }] }], ['/_replicator/_all_docs?include_docs=true', { keys: ['r'] }]]) {
      const { text, status } = await own.request('POST', path, { body, as: bob.as });
      assert.ok(status === 200 && text.includes('127.0.0.1') && !text.includes('s3cret') && !text.includes(ADMIN.password), `${path}: ${text}`);
    }
    assert.equal((await own.request('POST', '/_replicator/_find', { body: { selector: {} }, as: bob.as })).status, 401);
    const { _rev } = await ask(own, 'GET', '/_replicator/r', undefined, bob);
    assert.equal((await own.request('PUT', '/_replicator/r', { body: { ...body, _rev }, as: bob.as })).status, 403);
    assert.equal((await own.request('DELETE', `/_replicator/r?rev=${_rev}`, { as: bob.as })).status, 403);
    assert.equal((await own.request('PUT', '/_replicator/root', { body: { ...body, owner: 'admin' }, as: bob.as })).status, 403);
    // In his name it enters only what he may.
    await made(own, 'mine');
    const row = await until('a failure', () => ask(own, 'GET', '/_scheduler/docs/_replicator/r'), (row) => row.state === 'crashing');
    assert.match(row.info.error, /unauthorized to access or create database mine|could not open/);
    assert.equal((await own.request('POST', '/_replicate', { body, as: bob.as })).status, 403);
    assert.equal((await own.request('POST', '/_replicate', { body, as: null })).status, 401);
    assert.ok(!own.log.includes('s3cret') && !own.log.includes(ADMIN.password), 'no secret in the log');
    await own.stop();
  });
});

describe('what fails', () => {
  it('is told in CouchDB\'s words', async () => {
    const two = await made(here);
    const check = async (body, status, error, reason) => {
      const answer = await here.request('POST', '/_replicate', { body: { target: two, retries_per_request: 0, connection_timeout: 1000, ...body } });
      assert.deepEqual([answer.status, answer.json().error], [status, error], answer.text);
      assert.match(answer.json().reason, reason);
      assert.ok(!answer.text.includes(ADMIN.password) && !answer.text.includes('wr0ng'));
    };
    await check({ source: there.url('nothing-here') }, 404, 'db_not_found', /^could not open http:\/\/admin:\*\*\*\*\*@127\.0\.0\.1:\d+\/nothing-here\/$/);
    await check({ source: 'nothing-here' }, 404, 'db_not_found', /^could not open nothing-here$/);
    await check({ source: there.urlAs({ name: 'admin', password: 'wr0ng' }, 'x') }, 401, 'unauthorized', /^unauthorized to access or create database/);
    await check({ source: 'http://127.0.0.1:1/x' }, 500, 'http_request_failed', /no connection to 127\.0\.0\.1:1/);
    await check({ source: 'http://nothing.invalid/x' }, 500, 'http_request_failed', /cannot be resolved/);
    await check({ source: 'x://y' }, 400, 'bad_request', /invalid url/);
    await check({}, 400, 'bad_request', /Missing replicator database/);
    await check({ source: two, doc_ids: [], selector: {} }, 400, 'bad_request', /mutually exclusive/);
    await check({ source: there.url(await made(there)), filter: 'no/such' }, 500, 'filter_fetch_error', /no\/such/);
  });

  it('of single documents is counted, and nothing else is lost', async () => {
    const one = await made(there, fresh(), numbered(20));
    const small = await Server.start({ args: ['--max-document-size', '2kB'] });
    await written(there, one, [{ _id: 'large', text: 'x'.repeat(5000) }]);
    const two = await made(small);
    const told = await replicate(small, { source: there.url(one), target: two });
    assert.deepEqual([told.history[0].docs_written, told.history[0].doc_write_failures], [20, 1]);
    const three = await made(small);
    const pushed = await replicate(there, { source: one, target: small.url(three) });
    assert.deepEqual([pushed.history[0].docs_written, pushed.history[0].doc_write_failures], [20, 1]);
    await small.stop();
  });
});

describe('over a bad line', () => {
  const patient = { connection_timeout: 400, retries_per_request: 3, worker_batch_size: 50, checkpoint_interval: 100 };

  for (const [how, seed] of [['pulls', 11], ['pushes', 12]]) {
    it(`${how} everything, however often it has to ask`, async () => {
      const line = await Faults.to(there.port, seed);
      line.reach = 20_000;
      line.rate = 0.7;
      const through = (name) => there.urlAs(ADMIN, name, line.port);
      const from = how === 'pulls' ? there : here;
      const to = how === 'pulls' ? here : there;
      const one = await awkward(from);
      const two = await made(to);
      const body = how === 'pulls' ? { source: through(one), target: two } : { source: one, target: through(two) };
      let runs = 0;
      for (;;) {
        const answer = await here.request('POST', '/_replicate', { body: { ...body, ...patient } });
        runs++;
        if (answer.status === 200) {
          assert.equal(answer.json().history?.[0]?.doc_write_failures ?? 0, 0, answer.text);
          break;
        }
        assert.ok(runs < 60, answer.text);
      }
      assert.ok(line.total > 3, JSON.stringify(line.counts));
      await same(from, one, to, two);
      await line.close();
    });
  }

  it('stays in step, while both are written', async () => {
    const line = await Faults.to(there.port, 13);
    const [one, two] = [await made(there, fresh(), numbered(300)), await made(here)];
    const remote = there.urlAs(ADMIN, one, line.port);
    await ask(here, 'PUT', '/_replicator/bad-pull', { source: remote, target: two, continuous: true, ...patient });
    await ask(here, 'PUT', '/_replicator/bad-push', { source: two, target: remote, continuous: true, ...patient });
    for (let n = 0; n < 20; n++) {
      await written(there, one, numbered(20, 1000 + n * 20));
      await written(here, two, numbered(20, 5000 + n * 20));
    }
    line.rate = 0;
    const docs = 300 + 800;
    await until('all on both', async () => [(await ask(there, 'GET', `/${one}`)).doc_count, (await ask(here, 'GET', `/${two}`)).doc_count], ([a, b]) => a === docs && b === docs, 60_000);
    await same(there, one, here, two);
    for (const id of ['bad-pull', 'bad-push']) {
      const { _rev } = await ask(here, 'GET', `/_replicator/${id}`);
      await ask(here, 'DELETE', `/_replicator/${id}?rev=${_rev}`);
    }
    await line.close();
  });
});

describe('a source that is wrong', () => {
  const impatient = { retries_per_request: 0, connection_timeout: 1500 };
  const sent = (text) => ({ status: 200, headers: { 'content-type': 'application/json' }, body: text });
  const page = (rows, more = {}) => sent(JSON.stringify({ results: rows, last_seq: '2-x', pending: 0, ...more }));
  const md5 = (text) => 'md5-' + createHash('md5').update(text).digest('base64');

  /** Sends the same bytes until nobody takes them any more. */
  const endless = (head, piece) => async ({ response }) => {
    response.once('close', () => response.emit('drain'));
    response.writeHead(200, { 'content-type': 'application/json' });
    response.write(head);
    const block = Buffer.from(piece.repeat(Math.ceil(65536 / piece.length)));
    while (!response.destroyed) {
      if (!response.write(block)) await once(response, 'drain').catch(() => {});
    }
  };

  async function refused(lies, error, reason, { docs, more = {} } = {}) {
    const liar = await Liar.start(docs);
    liar.lies = lies;
    const target = await made(here);
    const answer = await within(here.request('POST', '/_replicate', { body: { source: liar.url, target, ...impatient, ...more } }), `the refusal of ${reason}`, 25_000);
    assert.deepEqual([answer.status, answer.json().error], [500, error], answer.text);
    assert.match(answer.json().reason, reason);
    const { rows } = await ask(here, 'GET', `/${target}/_all_docs`);
    assert.deepEqual(rows, [], 'nothing of it was taken');
    assert.deepEqual((await ask(here, 'GET', `/${target}/_local_docs`)).rows, [], 'nor that it was');
    await liar.close();
  }

  const nonsense = 'replication_protocol_error';
  const alone = { _bulk_get: () => sent('{"results":[{"id":"one","docs":[{"error":{}}]}]}') };
  const one = { docs: [{ _id: 'one' }] };

  for (const [what, lies, error, reason, options] of [
    ['a change without an id', { _changes: () => page([{ seq: '1-x', changes: [{ rev: '1-a' }] }]) }, nonsense, /a change without an id/],
    ['a change without a revision', { _changes: () => page([{ seq: '1-x', id: 'one', changes: [] }]) }, nonsense, /without a revision/],
    ['a revision that is none', { _changes: () => page([{ seq: '1-x', id: 'one', changes: [{ rev: 'x' }] }]) }, nonsense, /a revision of one/],
    ['a feed that stands still', { _changes: ({ url }) => page([{ seq: '1-x', id: 'one', changes: [{ rev: '1-a' }] }], { last_seq: url.searchParams.get('since') }) }, nonsense, /does not go forward/],
    ['a feed without an end', { _changes: endless('{"results":[', '{"seq":"1-x","id":"one","changes":[{"rev":"1-a"}]},\n') }, nonsense, /more changes than were asked for/],
    ['a change without an end', { _changes: endless('{"results":[{"id":"', 'x') }, nonsense, /a row is longer/],
    ['a feed that is none', { _changes: () => sent('<html>') }, nonsense, /ends in the middle/],
    ['a feed that is cut', { _changes: () => sent('{"results":[{"seq":"1-x","id":"one","changes":[{"rev":"1-a"}]}') }, nonsense, /ends in the middle/],
    ['another document', { _bulk_get: () => sent('{"results":[{"id":"one","docs":[{"ok":{"_id":"other","_rev":"1-a"}}]}]}'), one: () => related('other') }, nonsense, /other came where one was asked for/, one],
    ['a document without an end', { _bulk_get: endless('{"results":[{"id":"one","docs":[{"ok":{"_id":"one","x":"', 'x') }, nonsense, /a row is longer/, one],
    ['fewer documents, and then none that can be read', { _bulk_get: () => sent('{"results":[]}'), one: () => sent('{') }, nonsense, /cannot be read/, one],
    ['a document that is no JSON', { _bulk_get: () => sent('{"results":[{"id":"one","docs":[{"ok":{"_id":"one",]}]}]}') }, nonsense, /cannot be read/, one],
    ['silence', { _bulk_get: async () => {} }, 'http_request_failed', /silent for too long/, one],
    ['silence in the middle', { _bulk_get: ({ response }) => { response.writeHead(200); response.write('{"results":['); } }, 'http_request_failed', /silent for too long/, one],
    ['a digest that is wrong', { ...alone, one: () => related('one', { digest: md5('other') }) }, nonsense, /a\.bin is not what its digest says/, one],
    ['an attachment that is too short', { ...alone, one: () => related('one', { length: 6 }) }, nonsense, /a\.bin is shorter/, one],
    ['an attachment that is too long', { ...alone, one: () => related('one', { length: 4 }) }, nonsense, /a\.bin is longer/, one],
    ['an attachment that does not come', { ...alone, one: () => related('one', { parts: 0 }) }, nonsense, /did not come/, one],
    ['a multipart body that is cut', { ...alone, one: () => related('one', { end: '' }) }, nonsense, /ends before its closing boundary/, one],
    ['a page of HTML for everything', { '*': () => ({ status: 200, headers: { 'content-type': 'text/html' }, body: '<html>' }), _changes: () => sent('<html>'), info: () => sent('<html>'), _local: () => sent('<html>') }, nonsense, /cannot be read/],
  ]) {
    it(`is named and bounded: ${what}`, () => refused(lies, error, reason, options));
  }

  it('is named and bounded: a feed that goes round in circles', async () => {
    let turn = 0;
    await refused({ _changes: () => page([{ seq: '9-x', id: `d${turn++}`, changes: [{ rev: '1-a' }] }], { last_seq: turn % 2 ? '9-x' : '3-x', pending: 5 }), _revs_diff: () => sent('{}'), _bulk_get: ({ body }) => sent(JSON.stringify({ results: JSON.parse(body).docs.map(({ id }) => ({ id, docs: [] })) })) }, nonsense, /goes back again and again/);
  });

  it('costs a bounded room, however much it says', async () => {
    const before = here.residentKb();
    await refused({ _bulk_get: endless('{"results":[{"id":"one","docs":[{"ok":{"_id":"one","x":"', 'x') }, nonsense, /a row is longer/, one);
    assert.ok(here.residentKb() - before < 150_000, `${here.residentKb() - before} kB more`);
  });

  it('that answers `_bulk_get` in a form of its own is asked one by one', async () => {
    const liar = await Liar.start();
    const rows = (ids) => sent(JSON.stringify({ results: ids.map((id) => ({ id, docs: [{ ok: liar.docs.find((doc) => doc._id === id) }] })) }));
    for (const lie of [() => rows(['two', 'one']), () => rows(['one']), () => rows(['one', 'two', 'one']), () => ({ status: 404, headers: {}, body: '' }), () => ({ status: 405, headers: {}, body: '' })]) {
      liar.lies._bulk_get = lie;
      for (const { _id, ...doc } of liar.docs) {
        liar.lies[_id] = () => sent(JSON.stringify([{ ok: { _id, ...doc, _attachments: { a: { content_type: 'text/plain', data: 'eA==' } } } }]));
      }
      const target = await made(here);
      const told = await replicate(here, { source: liar.url, target, ...impatient });
      assert.equal(told.history[0].doc_write_failures, 0);
      const { rows: all } = await ask(here, 'GET', `/${target}/_all_docs?include_docs=true`);
      assert.deepEqual(all.map((row) => [row.id, row.doc.v, row.value.rev]), [['one', 1, '1-a'], ['two', 2, '1-a']]);
    }
    await liar.close();
  });

  it('a target that says it lacks what it was not asked about', async () => {
    const liar = await Liar.start([]);
    liar.lies._revs_diff = () => sent('{"other":{"missing":["1-a"]}}');
    const source = await made(here, fresh(), numbered(3));
    const answer = await here.request('POST', '/_replicate', { body: { source, target: liar.url, ...impatient } });
    assert.deepEqual([answer.status, answer.json().error], [500, nonsense]);
    assert.match(answer.json().reason, /other is missing, which nobody asked about/);
    await liar.close();
  });
});
