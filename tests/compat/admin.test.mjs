// The server and its databases from the administrator's side: settings that are read back and hold after a
// restart, set-up of a single node as tools do it, statistics, the feed of all databases in all its forms,
// tombstones and changes by time, partitioned databases, forms.

import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, describe, it } from 'node:test';
import { ADMIN, Server, within } from './harness/server.mjs';

let server;
let count = 0;
const fresh = (label = 'db') => `${label}${++count}`;
const config = (section, key) => `/_node/_local/_config/${section}/${key}`;
const put = (path, value, more) => server.request('PUT', path, { body: JSON.stringify(value), ...more });

async function ok(answer, status = 200) {
  const got = await answer;
  assert.equal(got.status, status, got.text);
  return got.text ? got.json() : undefined;
}

async function database(options = '') {
  const name = fresh();
  await ok(server.request('PUT', `/${name}${options}`), 201);
  return name;
}

const write = (db, id, doc = {}) => ok(put(`/${db}/${encodeURIComponent(id)}`, doc), 201);

before(async () => { server = await Server.start(); });
after(() => server?.stop());

describe('settings', () => {
  it('are answered as CouchDB does', async () => {
    assert.equal(await ok(server.request('GET', config('couchdb', 'max_document_size'))), '8000000');
    assert.equal((await server.request('GET', config('couchdb', 'nope'))).json().reason, 'unknown_config_value');
    assert.equal((await server.request('GET', config('couchdb', 'nope'))).status, 404);
    assert.equal(await ok(put(config('sect', 'key'), ' a ')), '');
    assert.equal(await ok(put(config('sect', 'key'), 'b')), 'a');
    assert.deepEqual(await ok(server.request('GET', '/_node/_local/_config/sect')), { key: 'b' });
    assert.equal(await ok(server.request('DELETE', config('sect', 'key'))), 'b');
    assert.equal((await server.request('DELETE', config('sect', 'key'))).status, 404);
    assert.deepEqual(await ok(server.request('GET', '/_node/_local/_config/sect')), {});
    for (const body of ['1', '{}', 'null', '"open']) assert.equal((await server.request('PUT', config('a', 'b'), { body })).status, 400, body);
    assert.equal((await put(config('query_servers', 'x'), 'sh')).status, 403);
    assert.equal((await put(config('couchdb', 'max_document_size'), 'many')).status, 400);
    assert.equal((await put(config('couchdb', 'uuid'), 'other')).status, 400);
    assert.equal((await server.request('GET', config('a', 'b'), { as: null })).status, 401);
    const all = await ok(server.request('GET', '/_node/_local/_config'));
    assert.equal(all.chttpd.port, String(server.port));
    assert.equal(all.cors.origins, '*');
    assert.equal(all.chttpd.enable_cors, 'true');
    assert.ok(!JSON.stringify(all).includes(ADMIN.password));
  });

  it('hold at once: origins, sizes, signing in', async () => {
    const preflight = (origin) => server.request('OPTIONS', '/', { as: null, headers: { origin, 'access-control-request-method': 'GET' } });
    await ok(put(config('cors', 'origins'), 'app://obsidian.md,http://localhost'));
    assert.equal(await ok(server.request('GET', config('cors', 'origins'))), 'app://obsidian.md,http://localhost');
    assert.equal((await preflight('app://obsidian.md')).headers['access-control-allow-origin'], 'app://obsidian.md');
    assert.equal((await preflight('http://other.example')).headers['access-control-allow-origin'], undefined);
    await ok(put(config('chttpd', 'enable_cors'), 'false'));
    assert.equal((await preflight('app://obsidian.md')).headers['access-control-allow-origin'], undefined);
    for (const key of [['chttpd', 'enable_cors'], ['cors', 'origins']]) await ok(server.request('DELETE', config(...key)));
    assert.equal((await preflight('http://other.example')).headers['access-control-allow-origin'], 'http://other.example');

    const db = await database();
    await ok(put(config('couchdb', 'max_document_size'), '200'));
    assert.equal((await put(`/${db}/big`, { text: 'x'.repeat(300) })).status, 413);
    await ok(server.request('DELETE', config('couchdb', 'max_document_size')));
    await write(db, 'big', { text: 'x'.repeat(300) });

    assert.equal((await server.request('GET', '/', { as: null })).status, 200);
    await ok(put(config('chttpd', 'require_valid_user'), 'true'));
    await ok(put(config('httpd', 'WWW-Authenticate'), 'Basic realm="couchdb"'));
    const refused = await server.request('GET', '/', { as: null });
    assert.equal(refused.status, 401);
    assert.equal(refused.json().reason, 'Authentication required.');
    assert.equal(refused.headers['www-authenticate'], 'Basic realm="couchdb"');
    assert.equal((await server.request('GET', '/_up', { as: null })).status, 401);
    assert.equal((await server.request('POST', '/_session', { as: null, body: ADMIN })).status, 200);
    await ok(server.request('DELETE', config('chttpd', 'require_valid_user')));
    await ok(server.request('DELETE', config('httpd', 'WWW-Authenticate')));
    assert.equal((await server.request('GET', '/', { as: null })).status, 200);

    await ok(put(config('chttpd_auth', 'timeout'), '77'));
    assert.match((await server.request('POST', '/_session', { body: ADMIN })).headers['set-cookie'][0], /Max-Age=77;/);
    await ok(server.request('DELETE', config('chttpd_auth', 'timeout')));
    await ok(put(config('couchdb', 'maintenance_mode'), 'true'));
    assert.deepEqual((await server.request('GET', '/_up')).json(), { status: 'maintenance_mode' });
    await ok(put(config('couchdb', 'maintenance_mode'), 'false'));
    assert.deepEqual(await ok(server.request('GET', '/_up', { as: null })), { status: 'ok', seeds: {} });
    await ok(put(config('log', 'level'), 'warning'));
    assert.equal((await put(config('log', 'level'), 'loud')).status, 400);
    await ok(server.request('DELETE', config('log', 'level')));
  });

  it('are there after a restart, and administrators too, unless they were for this run only', async () => {
    await ok(put(config('cors', 'credentials'), 'false'));
    await ok(put(config('couchdb', 'max_document_size'), '50000000'));
    await ok(put(config('sect', 'once'), 'x', { headers: { 'x-couch-persist': 'false' } }));
    assert.equal(await ok(server.request('GET', config('sect', 'once'))), 'x');
    assert.equal(await ok(put(config('admins', 'ann'), 'geheim')), '');
    const hash = await ok(server.request('GET', config('admins', 'ann')));
    assert.match(hash, /^\$argon2id\$|^-pbkdf2/);
    const ann = { name: 'ann', password: 'geheim' };
    await ok(server.request('GET', '/_all_dbs', { as: ann }));
    await server.kill9();
    await server.up();
    assert.equal(await ok(server.request('GET', config('cors', 'credentials'), { as: ann })), 'false');
    assert.equal(await ok(server.request('GET', config('couchdb', 'max_document_size'))), '50000000');
    assert.equal((await server.request('GET', config('sect', 'once'))).status, 404);
    assert.equal(await ok(put(config('admins', 'ann'), 'anders')), hash);
    assert.equal((await server.request('GET', '/_all_dbs', { as: ann })).status, 401);
    await ok(server.request('GET', '/_all_dbs', { as: { ...ann, password: 'anders' } }));
    assert.notEqual(await ok(server.request('DELETE', config('admins', 'ann'))), hash);
    assert.equal((await server.request('GET', config('admins', 'ann'))).status, 404);
    assert.equal((await server.request('GET', '/_all_dbs', { as: { ...ann, password: 'anders' } })).status, 401);
    assert.equal((await server.request('DELETE', config('admins', ADMIN.name))).status, 403);
    for (const key of [['cors', 'credentials'], ['couchdb', 'max_document_size']]) await ok(server.request('DELETE', config(...key)));
    await ok(server.request('PUT', config('sect', 'once'), { body: '"y"', headers: { 'x-couch-persist': 'false' } }));
    await ok(server.request('POST', '/_node/_local/_config/_reload', { body: {} }));
    assert.equal((await server.request('GET', config('sect', 'once'))).status, 404);
  });

  it('take what Obsidian LiveSync sets, and give it back', async () => {
    const wanted = [
      ['chttpd', 'require_valid_user', 'true'], ['chttpd_auth', 'require_valid_user', 'true'],
      ['httpd', 'WWW-Authenticate', 'Basic realm="couchdb"'], ['httpd', 'enable_cors', 'true'],
      ['chttpd', 'enable_cors', 'true'], ['chttpd', 'max_http_request_size', '4294967296'],
      ['couchdb', 'max_document_size', '50000000'], ['cors', 'credentials', 'true'],
      ['cors', 'origins', 'app://obsidian.md,capacitor://localhost,http://localhost'],
    ];
    const setup = { action: 'enable_single_node', username: ADMIN.name, password: ADMIN.password, bind_address: '0.0.0.0', port: 5984, singlenode: true };
    await ok(server.request('POST', '/_cluster_setup', { body: setup }), 201);
    for (const [section, key, value] of wanted) await ok(put(config(section, key), value));
    const all = await ok(server.request('GET', '/_node/_local/_config'));
    for (const [section, key, value] of wanted) assert.equal(all[section][key], value);
    for (const [section, key] of wanted) await ok(server.request('DELETE', config(section, key)));
  });
});

describe('the node', () => {
  it('has a name, numbers and versions', async () => {
    const { name } = await ok(server.request('GET', '/_node/_local'));
    await write(await database(), 'counted');
    assert.deepEqual(await ok(server.request('GET', '/_membership')), { all_nodes: [name], cluster_nodes: [name] });
    const { value, type } = await ok(server.request('GET', `/_node/${name}/_stats/couchdb/httpd/requests`));
    assert.ok(value > 10);
    assert.equal(type, 'counter');
    const stats = await ok(server.request('GET', '/_node/_local/_stats'));
    assert.ok(stats.couchdb.httpd_request_methods.GET.value > 5);
    assert.ok(stats.couchdb.httpd_status_codes['200'].value > 5);
    assert.ok(stats.couchdb.document_writes.value >= 1);
    assert.ok(stats.couchdb.request_time.value.n > 10);
    assert.equal(stats.couchdb.request_time.value.percentile.length, 6);
    assert.deepEqual(await ok(server.request('GET', '/_node/_local/_stats/nope/x')), {});
    const system = await ok(server.request('GET', '/_node/_local/_system'));
    assert.ok(system.memory.processes > 1e6 && system.uptime >= 0);
    assert.ok((await ok(server.request('GET', '/_node/_local/_versions'))).javascript_engine.name);
    assert.match((await server.request('GET', '/_node/_local/_prometheus')).text, /^# HELP/);
    await ok(server.request('GET', '/_node/_local/_smoosh/status'));
    const stranger = await server.request('GET', '/_node/nope@nowhere/_stats');
    assert.deepEqual([stranger.status, stranger.json().reason], [404, 'no such node: nope@nowhere']);
    assert.equal((await server.request('GET', '/_node')).status, 400);
    assert.equal((await server.request('POST', '/_node/_local/_restart', { body: {} })).status, 403);
  });

  it('is set up as a single node, again and again', async () => {
    assert.deepEqual(await ok(server.request('GET', '/_cluster_setup')), { state: 'single_node_enabled' });
    const missing = encodeURIComponent('["_users","not_there"]');
    assert.deepEqual(await ok(server.request('GET', `/_cluster_setup?ensure_dbs_exist=${missing}`)), { state: 'single_node_disabled' });
    const setup = { action: 'enable_single_node', username: 'second', password: 'x', ensure_dbs_exist: ['_users', '_global_changes'] };
    await ok(server.request('POST', '/_cluster_setup', { body: setup }), 201);
    await ok(server.request('GET', '/_global_changes'));
    await ok(server.request('GET', '/_all_dbs', { as: { name: 'second', password: 'x' } }));
    await ok(server.request('DELETE', config('admins', 'second')));
    await ok(server.request('POST', '/_cluster_setup', { body: { action: 'finish_cluster' } }), 201);
    for (const action of ['add_node', 'enable_cluster', 'dance']) await ok(server.request('POST', '/_cluster_setup', { body: { action } }), 400);
    assert.equal((await server.request('GET', '/_cluster_setup', { as: null })).status, 401);
    assert.equal((await ok(server.request('GET', '/_reshard'))).state, 'stopped');
    assert.deepEqual((await ok(server.request('GET', '/_reshard/jobs'))).jobs, []);
    for (const [path, status] of [['/_utils', 404], ['/_config', 410], ['/_oauth/x', 410], ['/favicon.ico', 204], ['/_what', 404]]) {
      assert.equal((await server.request('GET', path)).status, status, path);
    }
    await ok(server.request('POST', '/_reload_query_servers', { body: {} }));
  });

  it('lists databases and what is told of them', async () => {
    const [a, b] = [await database(), await database()];
    const range = `?startkey="${a}"&endkey="${b}"`;
    assert.deepEqual(await ok(server.request('GET', `/_all_dbs${range}`)), [a, b]);
    assert.deepEqual(await ok(server.request('GET', `/_all_dbs?startkey="${b}"&endkey="${a}"&descending=true`)), [b, a]);
    const infos = await ok(server.request('GET', `/_dbs_info${range}`));
    assert.deepEqual(infos.map((row) => [row.key, row.info.db_name]), [[a, a], [b, b]]);
    const rows = await ok(server.request('POST', '/_dbs_info', { body: { keys: [b, 'nope', a] } }));
    assert.deepEqual(rows.map((row) => row.error ?? row.info.db_name), [b, 'not_found', a]);
    const many = await server.request('POST', '/_dbs_info', { body: { keys: Array(101).fill(a) } });
    assert.deepEqual([many.status, many.json().reason], [400, 'too_many_keys']);
    const shards = await ok(server.request('GET', `/${a}/_shards`));
    assert.deepEqual(Object.keys(shards.shards), [(await ok(server.request('GET', `/${a}/_shards/x`))).range]);
  });
});

/** Follows a feed; answers its text so far, and waits for what is to come. */
function follow(path) {
  let text = '';
  const waiting = [];
  const request = http.get({ host: '127.0.0.1', port: server.port, path, headers: { authorization: 'Basic ' + Buffer.from(`${ADMIN.name}:${ADMIN.password}`).toString('base64') } });
  const look = () => { for (const one of [...waiting]) if (one.test(text)) { waiting.splice(waiting.indexOf(one), 1); one.done(text); } };
  const ended = new Promise((resolve) => {
    request.on('response', (response) => {
      response.setEncoding('utf8').on('data', (data) => { text += data; look(); });
      response.on('end', () => resolve(text));
      // Whoever closes a feed sees it cut.
      response.on('error', () => resolve(text));
    });
    request.on('error', () => resolve(text));
  });
  const until = (test, what) => within(new Promise((done) => { waiting.push({ test, done }); look(); }), what);
  return { until, ended, close: () => request.destroy() };
}

describe('the feed of all databases', () => {
  it('tells what was made, changed and dropped, once', async () => {
    const { last_seq: since } = await ok(server.request('GET', '/_db_updates?since=now'));
    assert.match(since, /^\d+-/);
    const [a, b] = [await database(), await database()];
    await write(a, 'x');
    await write(b, 'x');
    await write(a, 'y');
    await ok(server.request('DELETE', `/${b}`));
    const rows = async (query) => (await ok(server.request('GET', `/_db_updates?${query}`))).results;
    const told = await rows(`since=${since}`);
    assert.deepEqual(told.map((row) => [row.db_name, row.type]), [[a, 'created'], [a, 'updated'], [b, 'deleted']]);
    const page = await ok(server.request('GET', `/_db_updates?since=${since}&limit=2`));
    assert.deepEqual(page.results, told.slice(0, 2));
    assert.equal(page.last_seq, told[1].seq);
    assert.deepEqual(await rows(`since=${page.last_seq}`), told.slice(2));
    assert.deepEqual(await rows(`since=${told[2].seq}`), []);
    assert.deepEqual((await rows('descending=true&limit=3')), [...told].reverse());
    assert.equal((await server.request('GET', '/_db_updates', { as: null })).status, 401);
    assert.equal((await server.request('GET', '/_db_updates?feed=odd')).status, 400);
    assert.equal((await server.request('GET', '/_db_updates?since=x')).status, 400);
    await server.stop();
    await server.up();
    assert.deepEqual(await rows(`since=${since}`), told);
  });

  it('waits in every form', async () => {
    const longpoll = follow('/_db_updates?feed=longpoll&since=now');
    const continuous = follow('/_db_updates?feed=continuous&since=now&heartbeat=50');
    const events = follow('/_db_updates?feed=eventsource&since=now&heartbeat=50');
    await longpoll.until((text) => text.startsWith('{"results":['), 'the beginning of a longpoll');
    await continuous.until((text) => text.includes('\n'), 'a heartbeat');
    await events.until((text) => text.includes('event: heartbeat\ndata: \n\n'), 'a heartbeat');
    const name = await database();
    const body = JSON.parse(await within(longpoll.ended, 'the end of the longpoll'));
    assert.deepEqual(body.results.map((row) => [row.db_name, row.type]), [[name, 'created']]);
    assert.equal(body.last_seq, body.results[0].seq);
    for (let n = 0; n < 30; n += 1) await write(name, `d${n}`);
    await ok(server.request('DELETE', `/${name}`));
    const lines = await continuous.until((text) => text.includes('"deleted"'), 'the end of the database');
    const rows = lines.split('\n').filter(Boolean).map((line) => JSON.parse(line));
    assert.deepEqual([rows[0].type, rows.at(-1).type], ['created', 'deleted']);
    assert.ok(rows.every((row) => row.db_name === name));
    assert.match(await events.until((text) => text.includes('"deleted"'), 'the same as an event'), /data: \{"db_name".*\}\nid: "\d+-/);
    continuous.close();
    events.close();
    const ended = await within(follow('/_db_updates?feed=continuous&since=now&timeout=50').ended, 'the end by time');
    assert.match(ended, /^\{"last_seq":"\d+-.*"\}\n$/);
    const empty = JSON.parse(await within(follow('/_db_updates?feed=longpoll&since=now&timeout=50').ended, 'the end by time'));
    assert.deepEqual(empty.results, []);
  });

  it('misses nothing while many write', async () => {
    const names = await Promise.all(Array.from({ length: 8 }, () => database()));
    const { last_seq: since } = await ok(server.request('GET', '/_db_updates?since=now'));
    const feed = follow(`/_db_updates?feed=continuous&since=${since}&heartbeat=1000`);
    await Promise.all(names.map(async (name) => { for (let n = 0; n < 15; n += 1) await write(name, `d${n}`); }));
    const last = Object.fromEntries(await Promise.all(names.map(async (name) => [name, parseInt((await ok(server.request('GET', `/${name}`))).update_seq, 10)])));
    const reached = (text) => {
      const seen = {};
      for (const line of text.split('\n').filter(Boolean)) { const row = JSON.parse(line); seen[row.db_name] = parseInt(row.seq, 10); }
      return names.every((name) => seen[name] === last[name]);
    };
    await feed.until((text) => text.endsWith('\n') && reached(text), 'the last change of each database');
    feed.close();
  });
});

describe('time', () => {
  it('says how long tombstones are kept', async () => {
    const db = await database();
    assert.deepEqual(await ok(server.request('GET', `/${db}/_auto_purge`)), {});
    assert.deepEqual(await ok(put(`/${db}/_auto_purge`, { deleted_document_ttl: 3600 }), 201), { ok: true });
    assert.deepEqual(await ok(server.request('GET', `/${db}/_auto_purge`)), { deleted_document_ttl: 3600 });
    await ok(put(`/${db}/_auto_purge`, { deleted_document_ttl: '2_days' }), 201);
    assert.deepEqual(await ok(server.request('GET', `/${db}/_auto_purge`)), { deleted_document_ttl: 172800 });
    await ok(put(`/${db}/_auto_purge`, { deleted_document_ttl: null }), 201);
    assert.deepEqual(await ok(server.request('GET', `/${db}/_auto_purge`)), {});
    for (const wrong of [{ deleted_document_ttl: 0 }, { deleted_document_ttl: 'soon' }, { other: 1 }, []]) {
      assert.equal((await put(`/${db}/_auto_purge`, wrong)).status, 400, JSON.stringify(wrong));
    }
  });

  it('is taken for since, and errs to the side of too much', async () => {
    const db = await database();
    await write(db, 'a');
    const since = async (moment) => (await ok(server.request('GET', `/${db}/_changes?since=${encodeURIComponent(moment)}`))).results.length;
    assert.equal(await since('2001-01-01T00:00:00Z'), 1);
    assert.equal(await since(new Date(Date.now() - 1000).toISOString()), 1);
    assert.equal(await since(new Date(Date.now() + 3_600_000).toISOString()), 0);
    assert.equal((await server.request('GET', `/${db}/_changes?since=2001-01-01T00:00`)).status, 400);
    const table = await ok(server.request('GET', `/${db}/_time_seq`));
    for (const rows of Object.values(Object.values(table)[0])) for (const [moment, changes] of rows) assert.ok(!Number.isNaN(Date.parse(moment)) && changes > 0);
    assert.deepEqual(await ok(server.request('DELETE', `/${db}/_time_seq`)), { ok: true });
  });
});

describe('databases', () => {
  it('are partitioned: every id has its partition', async () => {
    const db = await database('?partitioned=true');
    assert.deepEqual((await ok(server.request('GET', `/${db}`))).props, { partitioned: true });
    await write(db, 'p:1');
    await write(db, '_design/d', {});
    await ok(put(`/${db}/_local/x`, {}), 201);
    const refused = async (answer) => { const { error, reason } = await ok(answer, 400); return [error, reason]; };
    assert.deepEqual(await refused(put(`/${db}/none`, {})), ['illegal_docid', 'Doc id must be of form partition:id']);
    assert.deepEqual(await refused(put(`/${db}/:x`, {})), ['illegal_partition', 'Partition must not be empty']);
    assert.deepEqual(await refused(server.request('POST', `/${db}`, { body: {} })), ['illegal_docid', 'Doc id must be of form partition:id']);
    assert.deepEqual(await refused(server.request('POST', `/${db}/_bulk_docs`, { body: { docs: [{ _id: 'p:2' }, { _id: 'bad' }] } })), ['illegal_docid', 'Doc id must be of form partition:id']);
    assert.equal((await server.request('GET', `/${db}/p:2`)).status, 404);
    assert.deepEqual(await refused(server.request('PUT', `/${db}/none/a.txt`, { body: 'x' })), ['illegal_docid', 'Doc id must be of form partition:id']);
    assert.deepEqual(await refused(server.request('COPY', `/${db}/p:1`, { headers: { destination: 'none' } })), ['illegal_docid', 'Doc id must be of form partition:id']);
    for (const [query, reason] of [['partitioned=x', /partitioned/], ['q=0', /`q`/], ['n=x', /`n`/], ['placement=x', /placement/], ['engine=odd', /engine/]]) {
      assert.match((await ok(server.request('PUT', `/${fresh()}?${query}`), 400)).reason, reason);
    }
    await ok(server.request('PUT', '/x%2F_replicator?partitioned=true'), 400);
  });

  it('have limits that are numbers, and purges within theirs', async () => {
    const db = await database();
    for (const limit of ['_revs_limit', '_purged_infos_limit']) {
      assert.equal(await ok(server.request('GET', `/${db}/${limit}`)), 1000);
      for (const body of ['0', '-1', '"x"', '1.5', '{}']) assert.equal((await server.request('PUT', `/${db}/${limit}`, { body })).status, 400, body);
      await ok(server.request('PUT', `/${db}/${limit}`, { body: '17' }));
      assert.equal(await ok(server.request('GET', `/${db}/${limit}`)), 17);
    }
    const { rev } = await write(db, 'a');
    await ok(put(config('purge', 'max_document_id_number'), '1'));
    const purge = (body) => server.request('POST', `/${db}/_purge`, { body });
    assert.equal((await ok(purge({ a: [rev], b: [rev] }), 400)).reason, 'Exceeded maximum number of documents.');
    await ok(server.request('DELETE', config('purge', 'max_document_id_number')));
    assert.deepEqual(await ok(purge({ a: [rev], b: [rev] }), 201), { purge_seq: null, purged: { a: [rev], b: [] } });
    assert.deepEqual((await ok(server.request('GET', `/${db}/_purged_infos`))).purged_infos, [{ id: 'a', revs: [rev] }, { id: 'b', revs: [rev] }]);
  });
});

describe('documents', () => {
  const boundary = 'XyZ';
  const form = (parts) => parts.map(([head, body]) => `--${boundary}\r\nContent-Disposition: form-data; ${head}\r\n\r\n${body}\r\n`).join('') + `--${boundary}--\r\n`;
  const post = (path, parts, headers = {}) => server.request('POST', path, {
    body: form(parts), headers: { 'content-type': `multipart/form-data; boundary=${boundary}`, referer: `http://127.0.0.1:${server.port}/page`, ...headers },
  });

  it('come from forms', async () => {
    const db = await database();
    const made = await ok(post(`/${db}/f`, [['name="_doc"', '{"a":1}'], ['name="_attachments"; filename="x.txt"\r\nContent-Type: text/plain', 'hello']]), 201);
    assert.equal((await server.request('GET', `/${db}/f/x.txt`)).text, 'hello');
    const next = await ok(post(`/${db}/f`, [['name="_rev"', made.rev], ['name="_attachments"; filename="y"', 'why'], ['name="submit"', 'Go']]), 201);
    const doc = await ok(server.request('GET', `/${db}/f`));
    assert.deepEqual([doc._rev, doc.a, Object.keys(doc._attachments)], [next.rev, 1, ['y', 'x.txt']]);
    await ok(post(`/${db}/f`, [['name="_rev"', next.rev], ['name="_attachments"; filename="x.txt"', 'new']]), 201);
    assert.equal((await server.request('GET', `/${db}/f/x.txt`)).text, 'new');
    assert.equal((await post(`/${db}/f`, [['name="_rev"', made.rev]])).status, 409);
    assert.equal((await post(`/${db}/f`, [['name="other"', 'x']])).status, 400);
    assert.equal((await post(`/${db}/g`, [['name="_doc"', '{}']], { referer: 'http://evil.example/' })).status, 400);
    assert.equal((await server.request('POST', `/${db}/g`, { body: {}, headers: { referer: `http://127.0.0.1:${server.port}/` } })).status, 415);
    assert.equal((await server.request('POST', `/${db}/g`, { body: {} })).status, 400);
  });

  it('are copied, also by who can only post, and between local and others', async () => {
    const db = await database();
    await write(db, 'a', { v: 1 });
    const copy = (from, to, method = 'COPY', headers = {}) => server.request(method, `/${db}/${from}`, { headers: { destination: to, ...headers } });
    await ok(copy('a', 'b'), 201);
    await ok(copy('a', 'c', 'POST', { 'x-http-method-override': 'COPY' }), 201);
    await ok(copy('a', '_local/l'), 201);
    await ok(copy('_local/l', '_local/m'), 201);
    await ok(copy('_local/m', 'd'), 201);
    for (const id of ['b', 'c', '_local/l', '_local/m', 'd']) assert.equal((await ok(server.request('GET', `/${db}/${id}`))).v, 1, id);
    assert.equal((await copy('a', 'b')).status, 409);
    assert.equal((await copy('nope', 'e')).status, 404);
    assert.equal((await server.request('COPY', `/${db}/a`)).status, 400);
    const got = await server.request('POST', `/${db}/a`, { headers: { 'x-http-method-override': 'GET' } });
    assert.equal(got.json().v, 1);
  });

  it('are listed by several queries at once, of every kind', async () => {
    const db = await database();
    for (const id of ['a', 'b', '_design/x', '_design/y']) await write(db, id, { id });
    for (const id of ['_local/m', '_local/n']) await ok(put(`/${db}/${id}`, {}), 201);
    const queries = [{ limit: 1 }, { keys: ['nope'] }, { descending: true, limit: 1 }];
    const ask = async (kind) => (await ok(server.request('POST', `/${db}/${kind}/queries`, { body: { queries } }))).results.map((result) => result.rows.map((row) => row.id ?? row.error));
    assert.deepEqual(await ask('_all_docs'), [['_design/x'], ['not_found'], ['b']]);
    assert.deepEqual(await ask('_design_docs'), [['_design/x'], ['not_found'], ['_design/y']]);
    assert.deepEqual(await ask('_local_docs'), [['_local/m'], [], ['_local/n']]);
    const wrong = await server.request('POST', `/${db}/_all_docs/queries`, { body: {} });
    assert.deepEqual([wrong.status, wrong.json().reason], [400, 'POST body must include `queries` parameter.']);
    const unsorted = await ok(server.request('GET', `/${db}/_all_docs?sorted=false`));
    assert.deepEqual([Object.keys(unsorted), unsorted.rows.length], [['rows'], 4]);
    const designs = await ok(server.request('GET', `/${db}/_design_docs`));
    assert.deepEqual([designs.total_rows, designs.rows.length], [2, 2]);
  });
});
