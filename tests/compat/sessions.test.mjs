// Sessions over sockets: the three faces with fetch, PouchDB and nano; refresh and replay; tokens that others made up;
// requests of other sites; feeds that end with the session, the account or the rights of who listens.

import assert from 'node:assert/strict';
import { createHmac, createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import http from 'node:http';
import http2 from 'node:http2';
import { after, before, describe, it } from 'node:test';
import nano from 'nano';
import PouchDB from 'pouchdb';
import memory from 'pouchdb-adapter-memory';
import { ADMIN, Server, within } from './harness/server.mjs';

PouchDB.plugin(memory);

const basic = (name, password) => ({ authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}` });
const bearer = (token) => ({ authorization: `Bearer ${token}` });
const ROOT = basic(ADMIN.name, ADMIN.password);
const b64 = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const unpacked = (part) => JSON.parse(Buffer.from(part, 'base64url').toString());

async function ask(server, method, path, { headers = {}, body } = {}) {
  const answer = await within(fetch(server.origin + path, {
    method, redirect: 'manual',
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    body: body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body),
  }), `${method} ${path}`);
  const text = await answer.text();
  let json;
  try { json = JSON.parse(text); } catch { json = text; }
  return { status: answer.status, json, headers: answer.headers };
}
const get = (server, path, headers = {}) => ask(server, 'GET', path, { headers });
const post = (server, path, body, headers = {}) => ask(server, 'POST', path, { headers, body });

async function account(server, name, password, roles = []) {
  const body = { name, type: 'user', roles, password };
  const made = await ask(server, 'PUT', `/_users/org.couchdb.user:${name}`, { headers: ROOT, body });
  assert.equal(made.status, 201, JSON.stringify(made.json));
}
async function edit(server, name, change) {
  const path = `/_users/org.couchdb.user:${name}`;
  const { json } = await get(server, path, ROOT);
  const put = await ask(server, 'PUT', path, { headers: ROOT, body: { ...json, ...change } });
  assert.equal(put.status, 201, JSON.stringify(put.json));
}
async function database(server, name, security) {
  assert.equal((await ask(server, 'PUT', `/${name}`, { headers: ROOT })).status, 201);
  const set = await ask(server, 'PUT', `/${name}/_security`, { headers: ROOT, body: security });
  assert.equal(set.status, 200);
}
async function login(server, name, password, more = {}, headers = {}) {
  const answer = await post(server, '/_auth/login', { name, password, ...more }, headers);
  assert.equal(answer.status, 200, JSON.stringify(answer.json));
  return { ...answer.json, cookie: answer.headers.get('set-cookie')?.split(';')[0], setCookie: answer.headers.get('set-cookie') };
}
/** The headers of a request in a session; `changing` for one that changes something. */
function proof(session) {
  if (session.face === 'bearer') return bearer(session.access_token);
  if (session.face === 'basic') return basic(session.basic_name, session.basic_password);
  return { cookie: session.cookie, 'x-csrf-token': session.csrf };
}
/** An open feed: its lines as they come, and a promise of its end. */
function listen(server, path, headers) {
  const lines = [];
  let heard;
  const first = new Promise((resolve) => { heard = resolve; });
  const waiting = [];
  const hears = (pattern) => within(new Promise((resolve) => {
    const look = () => pattern.test(lines.join('')) && resolve();
    waiting.push(look);
    look();
  }), `a feed that tells ${pattern}`);
  const ended = new Promise((resolve, reject) => {
    const request = http.request({ host: '127.0.0.1', port: server.port, path, headers, agent: false }, (response) => {
      response.setEncoding('utf8');
      response.on('data', (chunk) => { lines.push(chunk); heard(); for (const look of waiting) look(); });
      response.on('end', () => resolve({ status: response.statusCode, text: lines.join('') }));
      response.on('error', reject);
    });
    request.on('error', reject);
    request.end();
  });
  return { lines, first, ended, hears };
}
const FACES = ['bearer', 'cookie', 'basic'];

describe('the three faces of a session', () => {
  let server;
  before(async () => {
    server = await Server.start();
    await account(server, 'ann', 'geheim', ['staff']);
    await database(server, 'notes', { members: { roles: ['staff'] }, admins: {} });
  });
  after(() => server.stop());

  for (const face of FACES) {
    it(`${face}: reads and writes on a database, lists itself and ends at once`, async () => {
      const session = await login(server, 'ann', 'geheim', { face, device: 'a test' });
      assert.equal(session.name, 'ann');
      assert.match(session.account, /^[a-z2-7]{26}$/);
      const who = await get(server, '/_session', proof(session));
      assert.deepEqual(who.json.userCtx, { name: 'ann', roles: ['staff', `user:${session.account}`] });
      assert.equal(who.json.info.authenticated, 'session');
      const put = await ask(server, 'PUT', `/notes/${face}`, { headers: proof(session), body: { n: 1 } });
      assert.equal(put.status, 201, JSON.stringify(put.json));
      assert.equal((await get(server, `/notes/${face}`, proof(session))).json.n, 1);
      assert.equal((await get(server, '/_users/_all_docs', proof(session))).status, 403);
      const listed = await get(server, '/_auth/sessions', proof(session));
      const own = listed.json.items.filter((item) => item.current);
      assert.deepEqual(own.map((item) => [item.id, item.face, item.device, item.method, item.address]),
        [[session.session, face, 'a test', 'password', '127.0.0.1']]);
      assert.equal((await post(server, '/_auth/logout', {}, proof(session))).status, 200);
      const gone = await get(server, '/notes', proof(session));
      assert.equal(gone.status, face === 'cookie' ? 403 : 401, JSON.stringify(gone.json));
      assert.equal((await get(server, '/notes')).status, 401);
    });

    it(`${face}: one device ends another, and all but itself`, async () => {
      const [one, two, three] = [await login(server, 'ann', 'geheim', { face }), await login(server, 'ann', 'geheim', { face }), await login(server, 'ann', 'geheim')];
      const alive = async (session) => (await get(server, '/notes', proof(session))).status === 200;
      assert.equal((await ask(server, 'DELETE', `/_auth/sessions/${two.session}`, { headers: proof(one) })).status, 200);
      assert.deepEqual([await alive(one), await alive(two), await alive(three)], [true, false, true]);
      assert.equal((await ask(server, 'DELETE', `/_auth/sessions/${two.session}`, { headers: proof(one) })).status, 404);
      assert.equal((await ask(server, 'DELETE', '/_auth/sessions?except=current', { headers: proof(one) })).status, 200);
      assert.deepEqual([await alive(one), await alive(three)], [true, false]);
      assert.equal((await ask(server, 'DELETE', '/_auth/sessions', { headers: proof(one) })).status, 200);
      assert.equal(await alive(one), false);
    });

    it(`${face}: a session of an administrator of the configuration, until his password changes`, async () => {
      const server = await Server.start();
      try {
        const root = await login(server, ADMIN.name, ADMIN.password, { face });
        assert.equal(root.account, `admin:${ADMIN.name}`);
        assert.equal((await get(server, '/_all_dbs', proof(root))).status, 200);
        assert.equal((await get(server, '/_auth/sessions', proof(root))).json.items.length, 1);
        assert.equal((await get(server, '/_auth/sessions', ROOT)).json.items.length, 1);
        const set = await ask(server, 'PUT', `/_node/_local/_config/admins/${ADMIN.name}`, { headers: ROOT, body: '"another one"' });
        assert.equal(set.status, 200, JSON.stringify(set.json));
        assert.ok([401, 403].includes((await get(server, '/_all_dbs', proof(root))).status));
      } finally { await server.stop(); }
    });

    it(`${face}: ends with the password, with the document, and with a block`, async () => {
      await account(server, `eve-${face}`, 'one', ['staff']);
      const open = () => login(server, `eve-${face}`, 'one', { face });
      const status = async (session) => (await get(server, '/notes', proof(session))).status;
      let session = await open();
      assert.equal(await status(session), 200);
      await edit(server, `eve-${face}`, { roles: ['other'] });
      assert.equal(await status(session), 403, 'roles are looked up with each request');
      await edit(server, `eve-${face}`, { roles: ['staff'] });
      assert.equal(await status(session), 200);
      await edit(server, `eve-${face}`, { password: 'two' });
      assert.notEqual(await status(session), 200);
      session = await login(server, `eve-${face}`, 'two', { face });
      assert.equal(await status(session), 200);
      await edit(server, `eve-${face}`, { _deleted: true });
      assert.notEqual(await status(session), 200);
    });
  }

  it('other users see and end none of it', async () => {
    await account(server, 'bob', 'bob', ['staff']);
    const [ann, bob] = [await login(server, 'ann', 'geheim'), await login(server, 'bob', 'bob')];
    const listed = await get(server, '/_auth/sessions', proof(bob));
    assert.deepEqual(listed.json.items.map((item) => item.id), [bob.session]);
    for (const id of [ann.session, 'a'.repeat(26), 'x', '..', '%00']) {
      const ended = await ask(server, 'DELETE', `/_auth/sessions/${id}`, { headers: proof(bob) });
      assert.ok([404, 400].includes(ended.status), `${id}: ${ended.status}`);
    }
    assert.equal((await get(server, '/notes', proof(ann))).status, 200);
    const byRoot = await ask(server, 'DELETE', `/_auth/sessions/${ann.session}`, { headers: ROOT });
    assert.equal(byRoot.status, 200);
    assert.equal((await get(server, '/notes', proof(ann))).status, 401);
  });

  it('wrong ones are told the same, whatever is wrong', async () => {
    const told = new Set();
    for (const body of [
      { name: 'ann', password: 'wrong' }, { name: 'nobody', password: 'geheim' }, { email: 'a@b.example', password: 'x' },
      { identifier: '~aaaaaaaaaaaaaaaaaaaaaaaaaa', password: 'x' }, { name: '', password: '' },
    ]) {
      const answer = await post(server, '/_auth/login', body);
      told.add(JSON.stringify([answer.status, answer.json]));
    }
    assert.deepEqual([...told], [JSON.stringify([401, { error: 'unauthorized', reason: 'Name or password is incorrect.' }])]);
  });

  it('bad input is refused before anything is done', async () => {
    for (const body of [
      {}, [], 'x', '{', { name: 'ann' }, { password: 'geheim' }, { name: 'ann', email: 'a@b.example', password: 'geheim' },
      { name: 'ann', password: 'geheim', face: 'passport' }, { name: 'ann', password: 'geheim', extra: 1 },
      { name: 7, password: 'geheim' }, { name: 'ann', password: ['geheim'] }, { name: 'ann', password: 'x'.repeat(5000) },
      { name: 'ann', password: 'geheim', device: 'd'.repeat(5000) }, '{"name":"ann","name":"bob","password":"x"}',
    ]) {
      const answer = await post(server, '/_auth/login', body);
      assert.equal(answer.status, 400, JSON.stringify([body, answer.json]).slice(0, 200));
      assert.equal(answer.json.error, 'invalid_input');
    }
    const form = await fetch(`${server.origin}/_auth/login`, { method: 'POST', body: new URLSearchParams({ name: 'ann', password: 'geheim' }) });
    assert.equal(form.status, 415);
    const noApp = await post(server, '/_auth/login', { name: 'ann', password: 'geheim', app: 'nowhere' });
    assert.ok(noApp.status >= 400 && noApp.status < 500);
    assert.equal((await post(server, '/_auth/logout', {})).status, 401);
    for (const refresh_token of ['', 'x', 'adea_r1_', `adea_r1_${'A'.repeat(110)}`, 'x'.repeat(1000)]) {
      assert.equal((await post(server, '/_auth/refresh', { refresh_token })).status, 401, refresh_token.slice(0, 20));
      assert.equal((await post(server, '/_auth/logout', { refresh_token })).status, 401);
    }
  });

  it('_session keeps its cookie of CouchDB, and ends sessions of ours', async () => {
    const couch = await post(server, '/_session', { name: 'ann', password: 'geheim' });
    assert.equal(couch.status, 200);
    const cookie = couch.headers.get('set-cookie').split(';')[0];
    assert.match(cookie, /^AuthSession=/);
    const who = await get(server, '/_session', { cookie });
    assert.deepEqual(who.json.userCtx, { name: 'ann', roles: ['staff'] });
    assert.equal(who.json.info.authenticated, 'cookie');
    for (const face of FACES) {
      const session = await login(server, 'ann', 'geheim', { face });
      const ended = await ask(server, 'DELETE', '/_session', { headers: proof(session) });
      assert.equal(ended.status, 200);
      assert.notEqual((await get(server, '/notes', proof(session))).status, 200);
    }
  });

  it('an admin of the accounts is none of the server, and does not become one', async () => {
    const server = await Server.start();
    try {
      for (const name of ['chief', 'keeper', 'user']) await account(server, name, 'geheim1', ['org:x:owner', 'staff']);
      const security = { admins: { names: ['keeper'], roles: [] }, members: { names: [], roles: [] } };
      assert.equal((await ask(server, 'PUT', '/_users/_security', { headers: ROOT, body: security })).status, 200);
      const chief = await login(server, 'chief', 'geheim1');
      const flagged = await ask(server, 'PATCH', `/_accounts/${chief.account}`, { headers: ROOT, body: { admin: true } });
      assert.equal(flagged.status, 200, JSON.stringify(flagged.json));
      const write = async (who, name, change, query = '') => {
        const path = `/_users/org.couchdb.user:${name}`;
        const { json } = await get(server, path, ROOT);
        return (await ask(server, 'PUT', path + query, { headers: basic(who, 'geheim1'), body: { ...json, ...change } })).status;
      };
      assert.equal(await write('keeper', 'user', { password: 'another1' }), 201);
      assert.equal(await write('keeper', 'chief', { password: 'another1' }), 403);
      assert.equal(await write('keeper', 'chief', { password: 'another1', _rev: '9-00000000000000000000000000000000' }, '?new_edits=false'), 403);
      const who = await get(server, '/_session', basic('chief', 'geheim1'));
      assert.deepEqual(who.json.userCtx.roles, ['staff', '_admin'], 'and a document makes nobody a member');
      assert.equal(await write('chief', 'chief', { note: 1 }), 201);
      assert.equal(await write('chief', 'keeper', { note: 1 }), 201);
    } finally { await server.stop(); }
  });

  it('whoever signs in at _session is not taken for who was signed in before', async () => {
    await account(server, 'newcomer', 'geheim1');
    const before = await login(server, 'ann', 'geheim', { face: 'cookie' });
    const [name] = before.cookie.split('=');
    for (const cookie of [before.cookie, `${name}=nonsense`]) {
      const answer = await post(server, '/_session', { name: 'newcomer', password: 'geheim1' }, { cookie });
      assert.equal(answer.status, 200, JSON.stringify(answer.json));
      const [couch, own, ...more] = answer.headers.getSetCookie();
      assert.match(couch, /^AuthSession=[^;]/);
      assert.ok(own.startsWith(`${name}=; `) && own.includes('Max-Age=0'), own);
      assert.deepEqual(more, []);
      const who = await get(server, '/_session', { cookie: couch.split(';')[0] });
      assert.equal(who.json.userCtx.name, 'newcomer');
    }
    const plain = await post(server, '/_session', { name: 'newcomer', password: 'geheim1' });
    assert.equal(plain.headers.getSetCookie().length, 1);
  });

  it('survives a restart of the server, and so does its end', async () => {
    const server = await Server.start();
    try {
      await account(server, 'ann', 'geheim');
      const all = await Promise.all(FACES.map((face) => login(server, 'ann', 'geheim', { face })));
      const gone = await login(server, 'ann', 'geheim');
      await post(server, '/_auth/logout', {}, proof(gone));
      await server.kill9();
      await server.up();
      for (const session of all) assert.equal((await get(server, '/_session', proof(session))).json.userCtx.name, 'ann');
      assert.equal((await get(server, '/_session', proof(gone))).status, 401);
    } finally { await server.stop(); }
  });

  it('an account has at most a hundred sessions; the one used longest ago goes', async () => {
    await account(server, 'many', 'many');
    const first = await login(server, 'many', 'many');
    for (let n = 0; n < 100; n++) await login(server, 'many', 'many');
    assert.equal((await get(server, '/_session', proof(first))).status, 401);
    const last = await login(server, 'many', 'many');
    let [next, count] = ['', 0];
    do {
      const page = await get(server, `/_auth/sessions?limit=30${next && `&after=${next}`}`, proof(last));
      assert.equal(page.status, 200, JSON.stringify(page.json));
      count += page.json.items.length;
      next = page.json.next;
    } while (next);
    assert.equal(count, 100);
  });
});

describe('clients that know nothing of sessions', () => {
  let server;
  before(async () => {
    server = await Server.start();
    await account(server, 'ann', 'geheim', ['staff']);
    await database(server, 'notes', { members: { roles: ['staff'] }, admins: {} });
  });
  after(() => server.stop());

  it('PouchDB replicates with a temporary name and password in the URL, until the session ends', async () => {
    const session = await login(server, 'ann', 'geheim', { face: 'basic' });
    const url = server.urlAs({ name: session.basic_name, password: session.basic_password }, 'notes');
    const local = new PouchDB('temporary', { adapter: 'memory' });
    await local.put({ _id: 'from-pouch' });
    const report = await within(local.sync(url), 'the replication');
    assert.equal(report.push.docs_written, 1);
    await post(server, '/_auth/logout', {}, proof(session));
    await assert.rejects(within(new PouchDB(url, { skip_setup: true }).get('from-pouch'), 'the refusal'), (error) => error.status === 401);
    await local.destroy();
  });

  it('PouchDB replicates with an access token that its fetch brings', async () => {
    const session = await login(server, 'ann', 'geheim');
    const remote = new PouchDB(`${server.origin}/notes`, {
      skip_setup: true,
      fetch: (url, options) => {
        options.headers.set('authorization', `Bearer ${session.access_token}`);
        return PouchDB.fetch(url, options);
      },
    });
    const local = new PouchDB('with-token', { adapter: 'memory' });
    await local.put({ _id: 'with-token' });
    const report = await within(local.sync(remote), 'the replication');
    assert.equal(report.push.docs_written, 1);
    await local.destroy();
  });

  it('nano works with both', async () => {
    const temporary = await login(server, 'ann', 'geheim', { face: 'basic' });
    const one = nano(server.urlAs({ name: temporary.basic_name, password: temporary.basic_password })).use('notes');
    assert.equal((await one.insert({ n: 1 }, 'nano-basic')).ok, true);
    const session = await login(server, 'ann', 'geheim');
    const two = nano({ url: server.origin, headers: bearer(session.access_token) }).use('notes');
    assert.equal((await two.get('nano-basic')).n, 1);
  });
});

describe('access and refresh tokens', () => {
  let server;
  before(async () => {
    server = await Server.start();
    await account(server, 'ann', 'geheim', ['staff']);
  });
  after(() => server.stop());
  const status = async (token, path = '/_session') => (await get(server, path, bearer(token))).status;

  it('are verified by others with what is published', async () => {
    const session = await login(server, 'ann', 'geheim');
    const [header, claims, signature] = session.access_token.split('.');
    const { keys } = (await get(server, '/_auth/jwks')).json;
    const key = keys.find((key) => key.kid === unpacked(header).kid);
    assert.deepEqual([key.kty, key.crv, key.alg, key.use], ['OKP', 'Ed25519', 'EdDSA', 'sig']);
    assert.equal('d' in key, false);
    const publicKey = createPublicKey({ key, format: 'jwk' });
    assert.ok(verify(null, Buffer.from(`${header}.${claims}`), publicKey, Buffer.from(signature, 'base64url')));
    const said = unpacked(claims);
    assert.equal(said.sub, session.account);
    assert.equal(said.sid, session.session);
    assert.equal(said.name, 'ann');
    assert.equal(said.exp - said.iat, session.expires_in_s);
    assert.equal('_couchdb.roles' in said, false);
  });

  it('forged, confused and mangled ones are 401 in the shape of all errors', async () => {
    const session = await login(server, 'ann', 'geheim');
    const [header, claims, signature] = session.access_token.split('.');
    const { kid } = unpacked(header);
    const { keys: [key] } = (await get(server, '/_auth/jwks')).json;
    const own = generateKeyPairSync('ed25519');
    const raw = Buffer.from(key.x, 'base64url');
    const pem = createPublicKey({ key, format: 'jwk' }).export({ type: 'spki', format: 'pem' });
    const make = (header, claimed, seal) => {
      const message = `${b64(header)}.${typeof claimed === 'string' ? claimed : b64(claimed)}`;
      return `${message}.${seal(Buffer.from(message)).toString('base64url')}`;
    };
    const hmac = (secret) => (message) => createHmac('sha256', secret).update(message).digest();
    const ed = (message) => sign(null, message, own.privateKey);
    const admin = { ...unpacked(claims), '_couchdb.roles': ['_admin'], sub: 'root' };
    const forged = [
      make({ alg: 'none', typ: 'JWT', kid }, claims, () => Buffer.alloc(0)),
      make({ alg: 'none', typ: 'JWT' }, claims, () => Buffer.alloc(0)),
      make({ alg: 'None', typ: 'JWT', kid }, admin, () => Buffer.alloc(0)),
      make({ alg: 'HS256', typ: 'JWT', kid }, claims, hmac(raw)),
      make({ alg: 'HS256', typ: 'JWT', kid }, claims, hmac(pem)),
      make({ alg: 'HS256', typ: 'JWT', kid }, claims, hmac('')),
      make({ alg: 'EdDSA', typ: 'JWT', kid }, claims, ed),
      make({ alg: 'EdDSA', typ: 'JWT', kid: 'other' }, claims, ed),
      make({ alg: 'EdDSA', typ: 'JWT', kid, jwk: own.publicKey.export({ format: 'jwk' }) }, claims, ed),
      make({ alg: 'EdDSA', typ: 'JWT', kid, jku: 'http://127.0.0.1:1/keys' }, claims, ed),
      make({ alg: 'EdDSA', typ: 'JWT', kid, crit: ['exp'] }, claims, ed),
      `${header}.${b64(admin)}.${signature}`,
      `${header}.${claims}.`, `${header}.${claims}`, `${header}..${signature}`, `.${claims}.${signature}`,
      `${session.access_token}A`, `${session.access_token}.`, `${session.access_token}=`, session.access_token.slice(0, -1),
      session.access_token.toLowerCase(), 'x', 'null', `${header}.${claims}.${signature}.${signature}`,
      `${header}.${b64('x'.repeat(9000))}.${signature}`,
      session.refresh_token,
    ];
    for (const token of forged) {
      for (const path of ['/_session', '/_all_dbs', '/_users', '/_auth/sessions']) {
        const answer = await get(server, path, { authorization: `Bearer ${token}` });
        assert.equal(answer.status, 401, `${token.slice(0, 60)} at ${path}: ${JSON.stringify(answer.json)}`);
        assert.equal(answer.json.error, 'unauthorized');
        assert.equal(typeof answer.json.reason, 'string');
      }
    }
    assert.equal(await status(session.access_token), 200);
  });

  it('a refresh token is good once; used again later it ends the session, with an entry in the audit log', async () => {
    const session = await login(server, 'ann', 'geheim');
    const refresh = (refresh_token) => post(server, '/_auth/refresh', { refresh_token });
    const one = await refresh(session.refresh_token);
    assert.equal(one.status, 200);
    assert.notEqual(one.json.refresh_token, session.refresh_token);
    assert.equal(await status(one.json.access_token), 200);
    // Two tabs ask with the same token: both are told the same next one.
    const again = await refresh(session.refresh_token);
    assert.equal(again.status, 200);
    assert.equal(again.json.refresh_token, one.json.refresh_token);
    const two = await refresh(one.json.refresh_token);
    assert.equal(two.status, 200);
    // The first one is now two steps behind: somebody else has it.
    assert.equal((await refresh(session.refresh_token)).status, 401);
    for (const { json } of [one, two]) assert.equal(await status(json.access_token), 401);
    assert.equal((await refresh(two.json.refresh_token)).status, 401);
  });

  it('a hundred tabs that refresh at once end with one and the same session', async () => {
    const session = await login(server, 'ann', 'geheim');
    const all = await Promise.all(Array.from({ length: 100 }, () => post(server, '/_auth/refresh', { refresh_token: session.refresh_token })));
    assert.deepEqual([...new Set(all.map((answer) => answer.status))], [200]);
    assert.equal(new Set(all.map((answer) => answer.json.refresh_token)).size, 1);
    assert.equal(await status(all[50].json.access_token), 200);
  });

  it('a new key signs from now on, and what was signed before stays good', async () => {
    const before = await login(server, 'ann', 'geheim');
    const user = await ask(server, 'POST', '/_auth/jwks/rotate', { headers: proof(before) });
    assert.equal(user.status, 403);
    assert.equal((await ask(server, 'POST', '/_auth/jwks/rotate')).status, 401);
    const rotated = await ask(server, 'POST', '/_auth/jwks/rotate', { headers: ROOT });
    assert.equal(rotated.status, 200, JSON.stringify(rotated.json));
    const later = await login(server, 'ann', 'geheim');
    assert.notEqual(unpacked(before.access_token.split('.')[0]).kid, unpacked(later.access_token.split('.')[0]).kid);
    assert.deepEqual([await status(before.access_token), await status(later.access_token)], [200, 200]);
  });

  it('stand beside tokens whose keys are configured', async () => {
    const server = await Server.start();
    try {
      await account(server, 'ann', 'geheim');
      const put = await ask(server, 'PUT', '/_node/_local/_config/jwt_keys/hmac:foreign', { headers: ROOT, body: '"aGVsbG8="' });
      assert.equal(put.status, 200, JSON.stringify(put.json));
      const message = `${b64({ alg: 'HS256', typ: 'JWT', kid: 'foreign' })}.${b64({ sub: 'them', exp: 4102444800 })}`;
      const foreign = `${message}.${createHmac('sha256', 'hello').update(message).digest('base64url')}`;
      const theirs = await get(server, '/_session', bearer(foreign));
      assert.equal(theirs.json.userCtx?.name, 'them', JSON.stringify(theirs.json));
      assert.equal(theirs.json.info.authenticated, 'jwt');
      const session = await login(server, 'ann', 'geheim');
      const ours = await get(server, '/_session', proof(session));
      assert.deepEqual([ours.json.userCtx.name, ours.json.info.authenticated], ['ann', 'session']);
      const { kid } = unpacked(session.access_token.split('.')[0]);
      const confused = `${b64({ alg: 'HS256', typ: 'JWT', kid })}.${session.access_token.split('.')[1]}`;
      const seal = createHmac('sha256', 'hello').update(confused).digest('base64url');
      assert.equal((await get(server, '/_session', bearer(`${confused}.${seal}`))).status, 401);
    } finally { await server.stop(); }
  });
});

describe('the cookie', () => {
  let server;
  before(async () => {
    server = await Server.start();
    await account(server, 'ann', 'geheim', ['staff']);
    await database(server, 'notes', { members: { roles: ['staff'] }, admins: {} });
  });
  after(() => server.stop());

  it('carries nothing but a session, far expiry, and over TLS the prefix', async () => {
    const plain = await login(server, 'ann', 'geheim', { face: 'cookie' });
    assert.match(plain.setCookie, /^adea=[A-Za-z0-9_-]{88}; Expires=[^;]*; Max-Age=34560000; Path=\/; HttpOnly; SameSite=Lax$/);
    const proto = { 'x-forwarded-proto': 'https' };
    const tls = await login(server, 'ann', 'geheim', { face: 'cookie' }, proto);
    assert.match(tls.setCookie, /^__Host-adea=[A-Za-z0-9_-]{88}; Expires=[^;]*; Max-Age=34560000; Path=\/; HttpOnly; SameSite=Lax; Secure$/);
    assert.equal((await get(server, '/_session', { ...proto, cookie: tls.cookie })).json.userCtx.name, 'ann');
    const without = tls.cookie.replace('__Host-', '');
    assert.equal((await get(server, '/_session', { ...proto, cookie: without })).json.userCtx.name, null);
    assert.equal(plain.access_token, undefined);
    assert.equal(plain.refresh_token, undefined);
  });

  it('an ended one and a forged one are told apart, and both are taken away', async () => {
    const session = await login(server, 'ann', 'geheim', { face: 'cookie' });
    await post(server, '/_auth/logout', {}, proof(session));
    const ended = await get(server, '/notes', { cookie: session.cookie });
    assert.deepEqual([ended.status, ended.json.error], [403, 'session_expired']);
    assert.match(ended.headers.get('set-cookie'), /^adea=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=\//);
    const value = session.cookie.slice('adea='.length);
    for (const forged of [`A${value.slice(1)}`, `${value.slice(0, -1)}${value.endsWith('A') ? 'B' : 'A'}`, 'x', value.slice(4), `${value}AAAA`]) {
      const answer = await get(server, '/notes', { cookie: `adea=${forged}` });
      assert.deepEqual([answer.status, answer.json.error], [403, 'session_forged'], forged);
      assert.match(answer.headers.get('set-cookie'), /^adea=; /);
    }
    // Who wants to sign in is not kept from it.
    const again = await login(server, 'ann', 'geheim', { face: 'cookie' }, { cookie: session.cookie });
    assert.equal((await get(server, '/notes', { cookie: again.cookie })).status, 200);
    const csrf = await get(server, '/_auth/csrf', { cookie: session.cookie });
    assert.deepEqual(csrf.json, { csrf: null, signed_in: false });
  });

  it('what changes something needs the token of the session and a page of ours, on every door', async () => {
    const session = await login(server, 'ann', 'geheim', { face: 'cookie' });
    const other = await login(server, 'ann', 'geheim', { face: 'cookie' });
    const { cookie, csrf } = session;
    assert.deepEqual((await get(server, '/_auth/csrf', { cookie })).json, { csrf, signed_in: true });
    assert.equal((await get(server, '/notes/_all_docs', { cookie })).status, 200);
    const doors = [
      ['PUT', '/notes/x', {}], ['POST', '/notes', {}], ['POST', '/notes/_bulk_docs', { docs: [] }], ['DELETE', '/notes/x', undefined],
      ['POST', '/notes/_find', { selector: {} }], ['PUT', '/notes/_local/x', {}], ['DELETE', '/_session', undefined],
      ['POST', '/_auth/logout', {}], ['DELETE', '/_auth/sessions', undefined], ['POST', '/_replicate', {}], ['PUT', '/notes/x/a', 'text'],
    ];
    for (const [method, path, body] of doors) {
      for (const more of [
        {}, { 'x-csrf-token': '' }, { 'x-csrf-token': other.csrf }, { 'x-csrf-token': `${csrf}A` },
        { 'x-csrf-token': csrf, origin: 'https://evil.example' }, { 'x-csrf-token': csrf, origin: 'null' },
        { 'x-csrf-token': csrf, 'sec-fetch-site': 'cross-site' }, { 'x-csrf-token': csrf, 'sec-fetch-site': 'same-site' },
      ]) {
        const answer = await ask(server, method, path, { headers: { cookie, ...more }, body });
        assert.deepEqual([answer.status, answer.json.error], [403, 'csrf'], `${method} ${path} ${JSON.stringify(more)}`);
      }
    }
    const own = { cookie, 'x-csrf-token': csrf, origin: server.origin, 'sec-fetch-site': 'same-origin' };
    assert.equal((await ask(server, 'PUT', '/notes/y', { headers: own, body: {} })).status, 201);
    // A page of another site reads nothing with it either, and gets none.
    const read = await get(server, '/_session', { cookie, origin: 'https://evil.example' });
    assert.equal(read.json.userCtx.name, null);
    const planted = await post(server, '/_auth/login', { name: 'ann', password: 'geheim', face: 'cookie' }, { origin: 'https://evil.example' });
    assert.equal(planted.status, 403);
    // What the page holds itself counts.
    const token = await login(server, 'ann', 'geheim', {}, { origin: 'https://evil.example' });
    const put = await ask(server, 'PUT', '/notes/z', { headers: { ...proof(token), cookie, origin: 'https://evil.example' }, body: {} });
    assert.equal(put.status, 201);
  });
});

describe('feeds end with who listens', () => {
  let server;
  before(async () => {
    server = await Server.start();
    await database(server, 'notes', { members: { roles: ['staff'] }, admins: {} });
  });
  after(() => server.stop());
  let number = 0;
  async function listener(face) {
    const name = `listener-${number++}`;
    await account(server, name, 'geheim', ['staff']);
    return { name, session: await login(server, name, 'geheim', { face }) };
  }
  const ENDS = {
    'at logout': ({ session }) => post(server, '/_auth/logout', {}, proof(session)),
    'when an administrator ends the session': ({ session }) => ask(server, 'DELETE', `/_auth/sessions/${session.session}`, { headers: ROOT }),
    'when the account loses its role': ({ name }) => edit(server, name, { roles: [] }),
    'when the account is deleted': ({ name }) => edit(server, name, { _deleted: true }),
    'when the password changes': ({ name }) => edit(server, name, { password: 'another' }),
    'when the account is blocked': ({ session }) => ask(server, 'PATCH', `/_accounts/${session.account}`, { headers: ROOT, body: { blocked: true } }),
  };
  const FORMS = ['longpoll', 'continuous', 'eventsource'];

  for (const [when, end] of Object.entries(ENDS)) {
    for (const form of FORMS) {
      it(`${form}, ${when}`, async () => {
        const who = await listener(FACES[number % 3]);
        const since = (await get(server, '/notes', ROOT)).json.update_seq;
        const feed = listen(server, `/notes/_changes?feed=${form}&since=${since}&heartbeat=60000`, proof(who.session));
        // One of another user goes on.
        const other = await listener('bearer');
        const others = listen(server, '/notes/_changes?feed=continuous&heartbeat=60000', proof(other.session));
        const mark = `${form}-${number}`;
        if (form === 'longpoll') await within(feed.first, 'the beginning of the feed');
        else {
          await ask(server, 'PUT', `/notes/${mark}`, { headers: ROOT, body: {} });
          await feed.hears(new RegExp(mark));
        }
        await end(who);
        const { text } = await within(feed.ended, `the end of the feed ${when}`, 10_000);
        if (form !== 'eventsource') assert.match(text, /"last_seq"/);
        await ask(server, 'PUT', `/notes/${mark}-after`, { headers: ROOT, body: {} });
        await others.hears(new RegExp(`${mark}-after`));
        await post(server, '/_auth/logout', {}, proof(other.session));
        const { text: told } = await within(others.ended, 'the end of the other feed', 10_000);
        assert.match(told, /-after/);
        assert.equal(text.includes(`${mark}-after`), false);
      });
    }
  }

  it('a change of roles that leaves the right lets the feed go on', async () => {
    const who = await listener('bearer');
    await ask(server, 'PUT', '/notes/is-open', { headers: ROOT, body: {} });
    const feed = listen(server, '/notes/_changes?feed=continuous&heartbeat=60000', proof(who.session));
    await feed.hears(/is-open/);
    await edit(server, who.name, { roles: ['staff', 'more'] });
    await ask(server, 'PUT', '/notes/goes-on', { headers: ROOT, body: {} });
    await feed.hears(/goes-on/);
    await ENDS['at logout'](who);
    await within(feed.ended, 'the end');
  });

  it('a member of a team listens for as long as he is one', async () => {
    const [owner, member] = [await listener('bearer'), await listener('cookie')];
    const org = await post(server, '/_orgs', { name: 'Firm' }, proof(owner.session));
    const put = await ask(server, 'PUT', `/_orgs/${org.json.id}/members/${member.session.account}`, { headers: ROOT, body: { role: 'member' } });
    assert.ok(put.status < 300, JSON.stringify(put.json));
    const team = await post(server, '/_teams', { organisation: org.json.id, name: 'Night' }, proof(owner.session));
    await database(server, 'night', { members: { roles: [`team:${team.json.id}`] }, admins: {} });
    assert.equal((await get(server, '/night', proof(member.session))).status, 403);
    const joined = await post(server, '/_memberships', { team: team.json.id, account: member.session.account, role: 'reader' }, proof(owner.session));
    assert.ok(joined.status < 300, JSON.stringify(joined.json));
    assert.equal((await get(server, '/night', proof(member.session))).status, 200, 'with the next request');
    await ask(server, 'PUT', '/night/watch', { headers: ROOT, body: {} });
    const feed = listen(server, '/night/_changes?feed=continuous&heartbeat=60000', proof(member.session));
    await feed.hears(/watch/);
    const removed = await ask(server, 'DELETE', `/_teams/${team.json.id}/members/${member.session.account}`, { headers: proof(owner.session) });
    assert.equal(removed.status, 204);
    assert.match((await within(feed.ended, 'the end', 10_000)).text, /last_seq/);
    assert.equal((await get(server, '/night', proof(member.session))).status, 403);
  });

  it('one that was opened with the permanent password ends when the right does', async () => {
    await account(server, 'permanent', 'geheim', ['staff']);
    const feed = listen(server, '/notes/_changes?feed=longpoll&since=now&heartbeat=60000', basic('permanent', 'geheim'));
    await within(feed.first, 'the beginning');
    await edit(server, 'permanent', { roles: [] });
    assert.match((await within(feed.ended, 'the end', 10_000)).text, /last_seq/);
    await edit(server, 'permanent', { roles: ['staff'] });
    const again = listen(server, '/notes/_changes?feed=continuous&heartbeat=60000', basic('permanent', 'geheim'));
    await within(again.first, 'the first rows');
    const session = await login(server, 'permanent', 'geheim');
    const changed = await post(server, '/_auth/changePassword', { old_password: 'geheim', new_password: 'another one' }, proof(session));
    assert.equal(changed.status, 200, JSON.stringify(changed.json));
    assert.match((await within(again.ended, 'the end', 10_000)).text, /last_seq/);
    assert.equal((await get(server, '/notes', proof(session))).status, 200, 'who changed it goes on');
  });

  it('what ends all sessions ends feeds that were opened with the password or the cookie of CouchDB, and the cookie', async () => {
    await account(server, 'everywhere', 'geheim1', ['staff']);
    const path = '/notes/_changes?feed=continuous&heartbeat=60000';
    for (const query of ['?except=current', '']) {
      const session = await login(server, 'everywhere', 'geheim1');
      const couch = await post(server, '/_session', { name: 'everywhere', password: 'geheim1' });
      const cookie = couch.headers.get('set-cookie').split(';')[0];
      const feeds = [listen(server, path, basic('everywhere', 'geheim1')), listen(server, path, { cookie })];
      for (const feed of feeds) await within(feed.first, 'the first rows');
      await edit(server, 'everywhere', { note: query });
      assert.equal((await get(server, '/_session', { cookie })).json.userCtx.name, 'everywhere', 'another change of the document ends nothing');
      assert.equal((await ask(server, 'DELETE', `/_auth/sessions${query}`, { headers: proof(session) })).status, 200);
      for (const feed of feeds) assert.match((await within(feed.ended, 'the end', 10_000)).text, /last_seq/);
      assert.equal((await get(server, '/_session', { cookie })).json.userCtx.name, null);
      assert.equal((await get(server, '/notes', proof(session))).status, query ? 200 : 401);
    }
  });

  it('one of an administrator of the configuration ends when he is none any more', async () => {
    const config = '/_node/_local/_config/admins/passing';
    assert.equal((await ask(server, 'PUT', config, { headers: ROOT, body: '"geheim1"' })).status, 200);
    const couch = await post(server, '/_session', { name: 'passing', password: 'geheim1' });
    const cookie = couch.headers.get('set-cookie').split(';')[0];
    const path = '/notes/_changes?feed=continuous&heartbeat=60000';
    const feeds = [
      listen(server, path, basic('passing', 'geheim1')), listen(server, path, { cookie }),
      listen(server, '/_db_updates?feed=continuous&heartbeat=60000', basic('passing', 'geheim1')),
    ];
    for (const feed of feeds) await within(feed.first, 'the first rows');
    assert.equal((await ask(server, 'DELETE', config, { headers: ROOT })).status, 200);
    for (const feed of feeds) assert.match((await within(feed.ended, 'the end', 10_000)).text, /last_seq/);
  });

  it('_db_updates ends with the session of an administrator', async () => {
    const root = await login(server, ADMIN.name, ADMIN.password);
    const feed = listen(server, '/_db_updates?feed=continuous&heartbeat=60000', proof(root));
    await within(feed.first, 'the first rows');
    await post(server, '/_auth/logout', {}, proof(root));
    assert.match((await within(feed.ended, 'the end', 10_000)).text, /last_seq/);
  });

  it('so it is over HTTP/2', async () => {
    const who = await listener('bearer');
    const client = http2.connect(server.origin);
    const stream = client.request({ ':path': '/notes/_changes?feed=continuous&since=now&heartbeat=60000', ...proof(who.session) });
    let text = '';
    stream.setEncoding('utf8').on('data', (chunk) => { text += chunk; });
    const ended = new Promise((resolve, reject) => { stream.on('end', resolve); stream.on('error', reject); });
    await within(new Promise((resolve) => stream.on('response', resolve)), 'the head');
    await post(server, '/_auth/logout', {}, proof(who.session));
    await within(ended, 'the end', 10_000);
    assert.match(text, /last_seq/);
    client.close();
  });

  it('a session that runs out ends its feeds', async () => {
    const server = await Server.start({ args: ['--session-idle', '2s', '--session-lifetime', '3s'] });
    try {
      await account(server, 'ann', 'geheim', ['staff']);
      await database(server, 'notes', { members: { roles: ['staff'] }, admins: {} });
      const session = await login(server, 'ann', 'geheim');
      const feed = listen(server, '/notes/_changes?feed=continuous&since=now&heartbeat=60000', proof(session));
      assert.match((await within(feed.ended, 'the end', 10_000)).text, /last_seq/);
      assert.equal((await get(server, '/notes', proof(session))).status, 401);
    } finally { await server.stop(); }
  });
});

describe('what is set', () => {
  it('with session.required a permanent password asks for a session and nothing else', async () => {
    const server = await Server.start({ args: ['--session-required', 'true'] });
    try {
      await account(server, 'ann', 'geheim', ['staff']);
      const permanent = basic('ann', 'geheim');
      for (const path of ['/_session', '/_all_dbs', '/_users']) {
        const answer = await get(server, path, permanent);
        assert.deepEqual([answer.status, answer.json.error], [403, 'session_required'], path);
      }
      assert.equal((await post(server, '/_session', { name: 'ann', password: 'geheim' })).status, 403);
      assert.equal((await get(server, '/_session', basic('ann', 'wrong'))).status, 401);
      assert.equal((await get(server, '/_all_dbs', ROOT)).status, 200, 'administrators of the configuration keep a way in');
      for (const face of FACES) {
        const session = await login(server, 'ann', 'geheim', { face });
        assert.equal((await get(server, '/_session', proof(session))).json.userCtx.name, 'ann');
      }
    } finally { await server.stop(); }
  });

  it('credentials over plain HTTP from another machine are refused, unless that is allowed', async () => {
    for (const allowed of [false, true]) {
      const server = await Server.start({ args: ['--auth-trusted-proxies', '127.0.0.1', '--session-plain-http', String(allowed)] });
      try {
        await account(server, 'ann', 'geheim');
        const far = { 'x-forwarded-for': '192.0.2.1' };
        const tls = { ...far, 'x-forwarded-proto': 'https' };
        assert.equal((await get(server, '/', far)).status, 200, 'without credentials');
        const sessions = await Promise.all(FACES.map((face) => login(server, 'ann', 'geheim', { face })));
        const withTls = await login(server, 'ann', 'geheim', { face: 'cookie' }, tls);
        for (const [attempt, overTls] of [
          ...[ROOT, ...sessions.map(proof)].map((headers) => [(more) => get(server, '/_session', { ...headers, ...more }), !headers.cookie]),
          [(more) => get(server, '/_session', { ...proof(withTls), ...more }), true],
          [(more) => post(server, '/_session', ADMIN, more), true],
          [(more) => post(server, '/_auth/login', ADMIN, more), true],
          [(more) => post(server, '/_auth/refresh', { refresh_token: sessions[0].refresh_token }, more), true],
        ]) {
          const plain = await attempt(far);
          if (allowed || (!overTls ? false : plain.json.userCtx?.name === null)) assert.equal(plain.status, 200, JSON.stringify(plain.json));
          else assert.deepEqual([plain.status, plain.json.error], [403, 'insecure_transport']);
          if (overTls) assert.equal((await attempt(tls)).status, 200);
        }
      } finally { await server.stop(); }
    }
  });

  it('what changes something, or brings a password, is refused over plain HTTP from another machine', async () => {
    const server = await Server.start({ args: ['--auth-trusted-proxies', '127.0.0.1', '--signup-inbox', 'inbox'] });
    try {
      assert.equal((await server.request('PUT', '/inbox')).status, 201);
      // As CouchDB 2 had it: everybody may sign up by a document.
      const open = await server.request('PUT', '/_users/_security', { body: { members: { names: [], roles: [] }, admins: { names: [], roles: [] } } });
      assert.equal(open.status, 200, open.text);
      const far = { 'x-forwarded-for': '192.0.2.1' };
      const tls = { ...far, 'x-forwarded-proto': 'https' };
      const user = (name, more) => ({ _id: `org.couchdb.user:${name}`, name, type: 'user', roles: [], password: 'correct horse', ...more });
      const attempts = [
        (n) => ['PUT', `/_users/org.couchdb.user:p${n}`, user(`p${n}`)],
        (n) => ['POST', '/_users', user(`q${n}`)],
        (n) => ['POST', '/_users/_bulk_docs', { docs: [user(`r${n}`)] }],
        (n) => ['PUT', `/inbox/${String(n).repeat(30)}`, { type: 'signup', name: `s${n}`, password: 'correct horse' }],
        () => ['POST', '/_invitations/look', { token: 'x'.repeat(43) }],
        () => ['POST', '/_auth/signup', { name: 'tom', password: 'correct horse' }],
        () => ['POST', '/_auth/logout', undefined],
        () => ['POST', '/_accounts', { name: 'x' }],
      ];
      for (const [at, attempt] of attempts.entries()) {
        for (const headers of [far, tls]) {
          const [method, path, body] = attempt(at);
          const answer = await server.request(method, path, { as: null, headers, body });
          const told = `${method} ${path}: ${answer.status} ${answer.text}`;
          // Some are refused to strangers however they came.
          const refused = answer.text.includes('insecure_transport');
          if (headers === tls) assert.ok(!refused, told);
          else assert.ok(refused || path === '/_accounts', told);
        }
      }
      assert.equal((await server.request('GET', '/_auth/providers', { as: null, headers: far })).status, 200);
      for (const name of ['p0', 'q1', 'r2']) assert.equal((await server.request('GET', `/_users/org.couchdb.user:${name}`)).status, 200, name);
    } finally { await server.stop(); }
  });
});
