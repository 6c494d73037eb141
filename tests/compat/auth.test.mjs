// Signing in over sockets: tokens made with node's own cryptography, keys published at a URL, a proxy's headers,
// lock-outs, cookies, the rules of _users, databases for accounts, and pouchdb-authentication from sign-up to the
// end of an account.

import assert from 'node:assert/strict';
import { createHmac, createSign, generateKeyPairSync, sign, constants } from 'node:crypto';
import http from 'node:http';
import { after, before, describe, it } from 'node:test';
import PouchDB from 'pouchdb';
import authentication from 'pouchdb-authentication';
import { ADMIN, Server, within } from './harness/server.mjs';

PouchDB.plugin(authentication);

const b64 = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const now = () => Math.floor(Date.now() / 1000);
const basic = (name, password) => `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;
const ROOT = { authorization: basic(ADMIN.name, ADMIN.password) };

/** A request; answers with status, JSON body and headers. */
async function ask(server, method, path, { headers = {}, body, redirect = 'manual' } = {}) {
  const answer = await fetch(server.origin + path, {
    method, redirect,
    headers: { 'content-type': 'application/json', ...headers },
    body: body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body),
  });
  const text = await answer.text();
  let json;
  try { json = JSON.parse(text); } catch { json = text; }
  return { status: answer.status, json, headers: answer.headers };
}
const session = (server, headers) => ask(server, 'GET', '/_session', { headers });
const cookieOf = (answer) => /AuthSession=[^;]*/.exec(answer.headers.get('set-cookie') ?? '')?.[0];
const configure = (server, section, key, value) =>
  ask(server, 'PUT', `/_node/_local/_config/${section}/${encodeURIComponent(key)}`, { headers: ROOT, body: JSON.stringify(value) })
    .then((answer) => assert.equal(answer.status, 200, JSON.stringify(answer.json)));

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' });
const ed = generateKeyPairSync('ed25519');
const pem = ({ publicKey }) => publicKey.export({ type: 'spki', format: 'pem' }).replaceAll('\n', '\\n');

/** A token; `alg` says how it is signed, `header` what it says about that. */
function token(claims, { alg = 'HS256', kid, secret = 'hello', header = {} } = {}) {
  const message = `${b64({ alg, typ: 'JWT', ...(kid ? { kid } : {}), ...header })}.${b64(claims)}`;
  const bits = alg.slice(2);
  const signature = {
    HS: () => createHmac(`sha${bits}`, secret).update(message).digest(),
    RS: () => createSign(`RSA-SHA${bits}`).update(message).sign(rsa.privateKey),
    PS: () => sign(`sha${bits}`, Buffer.from(message), { key: rsa.privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }),
    ES: () => sign(`sha${bits}`, Buffer.from(message), { key: (bits === '256' ? p256 : p384).privateKey, dsaEncoding: 'ieee-p1363' }),
    Ed: () => sign(null, Buffer.from(message), ed.privateKey),
  }[alg.slice(0, 2)]();
  return `${message}.${signature.toString('base64url')}`;
}
const bearer = (...args) => ({ authorization: `Bearer ${token(...args)}` });

describe('bearer tokens', () => {
  let server;
  before(async () => {
    const keys = [
      `hmac:_default=${Buffer.from('hello').toString('base64')}`,
      `rsa:r=${pem(rsa)}`, `ec:e256=${pem(p256)}`, `ec:e384=${pem(p384)}`, `eddsa:d=${pem(ed)}`,
    ];
    server = await Server.start({ args: keys.flatMap((key) => ['--jwt-keys', key]).concat(['--jwt-required-claims', 'exp,{iss,"me"}']) });
  });
  after(() => server?.stop());
  const claims = (more = {}) => ({ sub: 'ann', iss: 'me', exp: now() + 60, '_couchdb.roles': ['staff'], ...more });

  it('of every algorithm say who it is', async () => {
    for (const [alg, kid] of [
      ['HS256'], ['HS384'], ['HS512'], ['RS256', 'r'], ['RS384', 'r'], ['RS512', 'r'], ['PS256', 'r'], ['PS384', 'r'],
      ['PS512', 'r'], ['ES256', 'e256'], ['ES384', 'e384'], ['EdDSA', 'd'],
    ]) {
      for (let again = 0; again < 2; again += 1) {
        const { status, json } = await session(server, bearer(claims(), { alg, kid }));
        assert.equal(status, 200, `${alg} ${JSON.stringify(json)}`);
        assert.deepEqual(json.userCtx, { name: 'ann', roles: ['staff'] });
        assert.deepEqual(json.info, { authentication_handlers: ['jwt', 'cookie', 'default'], authenticated: 'jwt' });
      }
    }
  });

  it('that prove nothing are refused, in CouchDB’s words', async () => {
    const refused = async (headers, status, error, reason) => {
      const answer = await session(server, headers);
      assert.deepEqual([answer.status, answer.json], [status, { error, reason }]);
    };
    const with_ = (text) => ({ authorization: `Bearer ${text}` });
    await refused(with_('nonsense'), 400, 'bad_request', 'Malformed token');
    await refused(with_(`${b64({ alg: 'none' })}.${b64(claims())}.`), 400, 'bad_request', 'Invalid alg header parameter');
    await refused(bearer(claims(), { secret: 'other' }), 400, 'bad_request', 'Bad HMAC');
    await refused(bearer(claims(), { alg: 'RS256', kid: 'e256' }), 400, 'bad_request', 'Unknown kid');
    await refused(bearer(claims(), { alg: 'ES256', kid: 'e384' }), 400, 'bad_request', 'Bad signature');
    // The public key as a shared secret.
    const secret = rsa.publicKey.export({ type: 'spki', format: 'pem' });
    await refused(bearer(claims(), { secret, kid: 'r' }), 400, 'bad_request', 'Unknown kid');
    await refused(bearer(claims({ exp: now() - 1 })), 401, 'unauthorized', 'exp not in future');
    await refused(bearer(claims({ nbf: now() + 60 })), 401, 'unauthorized', 'nbf not in past');
    await refused(bearer({ sub: 'ann', iss: 'me' }), 400, 'bad_request', 'Missing exp claim');
    await refused(bearer(claims({ iss: 'you' })), 400, 'bad_request', 'Invalid iss claim');
    await refused(bearer({ iss: 'me', exp: now() + 60 }), 401, 'unauthorized', 'Token missing sub claim.');
  });

  it('end when their time is over, also where they are remembered', async () => {
    const headers = bearer(claims({ exp: now() + 2 }));
    assert.equal((await session(server, headers)).status, 200);
    const over = async () => { while ((await session(server, headers)).status === 200); };
    await within(over(), 'the end of a token', 10_000);
    assert.equal((await session(server, headers)).json.reason, 'exp not in future');
  });

  it('may make administrators, and take roles from where the settings say', async () => {
    const root = bearer(claims({ sub: 'boss', '_couchdb.roles': ['_admin'] }));
    assert.equal((await ask(server, 'GET', '/_all_dbs', { headers: root })).status, 200);
    await configure(server, 'jwt_auth', 'roles_claim_path', 'resource_access.my\\.app.roles');
    const nested = bearer(claims({ resource_access: { 'my.app': { roles: ['deep'] } } }));
    assert.deepEqual((await session(server, nested)).json.userCtx.roles, ['deep']);
    await configure(server, 'jwt_keys', 'hmac:new', Buffer.from('fresh').toString('base64'));
    assert.equal((await session(server, bearer(claims(), { kid: 'new', secret: 'fresh' }))).status, 200);
    await ask(server, 'DELETE', '/_node/_local/_config/jwt_keys/hmac:new', { headers: ROOT });
    assert.equal((await session(server, bearer(claims(), { kid: 'new', secret: 'fresh' }))).json.reason, 'Unknown kid');
  });
});

describe('a proxy in front', () => {
  let server;
  const secret = '92de07df7e7a3fe14808cef90a7cc0d91';
  const proof = (name, hash) => createHmac(hash, secret).update(name).digest('hex');
  before(async () => { server = await Server.start({ args: ['--proxy-auth-enabled', '--proxy-auth-secret', secret] }); });
  after(() => server?.stop());

  it('says who it is, if it can prove to be it', async () => {
    for (const hash of ['sha1', 'sha256']) {
      const headers = { 'X-Auth-CouchDB-UserName': 'foo', 'X-Auth-CouchDB-Roles': 'users,blogger', 'X-Auth-CouchDB-Token': proof('foo', hash) };
      const { json } = await session(server, headers);
      assert.deepEqual(json.userCtx, { name: 'foo', roles: ['users', 'blogger'] });
      assert.deepEqual(json.info, { authentication_handlers: ['proxy', 'cookie', 'default'], authenticated: 'proxy' });
    }
    for (const token of [undefined, '', proof('bar', 'sha256'), proof('foo', 'sha512')]) {
      const headers = { 'X-Auth-CouchDB-UserName': 'foo', 'X-Auth-CouchDB-Roles': '_admin', ...(token === undefined ? {} : { 'X-Auth-CouchDB-Token': token }) };
      assert.equal((await session(server, headers)).json.userCtx.name, null);
    }
  });
});

describe('signing in', () => {
  let server;
  before(async () => { server = await Server.start({ args: ['--auth-trusted-proxies', '127.0.0.1'] }); });
  after(() => server?.stop());
  const signIn = (body, more = {}) => ask(server, 'POST', `/_session${more.query ?? ''}`, { body, headers: more.headers });

  it('gives a cookie for a name and password, in JSON or a form', async () => {
    const form = { headers: { 'content-type': 'application/x-www-form-urlencoded' } };
    for (const answer of [
      await signIn(ADMIN), await signIn({ username: ADMIN.name, password: ADMIN.password }),
      await signIn(`name=${ADMIN.name}&password=${ADMIN.password}`, form),
    ]) {
      assert.deepEqual([answer.status, answer.json], [200, { ok: true, name: ADMIN.name, roles: ['_admin'] }]);
      assert.match(answer.headers.get('set-cookie'), /^AuthSession=[\w-]+; Version=1; Expires=[^;]+; Max-Age=600; Path=\/; HttpOnly$/);
      const who = await session(server, { cookie: cookieOf(answer) });
      assert.equal(who.json.info.authenticated, 'cookie');
    }
    const reason = async (body) => { const { status, json } = await signIn(body); return [status, json.reason]; };
    assert.deepEqual(await reason({ password: 'x' }), [400, 'request body must contain a username']);
    assert.deepEqual(await reason({ name: 'a', username: 'b', password: 'x' }), [400, 'request body contains different usernames']);
  });

  it('leads on to pages of this server only', async () => {
    const to = async (query, body = ADMIN) => { const { status, headers } = await signIn(body, { query }); return [status, headers.get('location')]; };
    assert.deepEqual(await to('?next=%2Fapp%2Fhome'), [302, `${server.origin}/app/home`]);
    for (const next of ['https://evil.example/', '//evil.example', '/\\evil.example', 'evil']) {
      assert.deepEqual(await to(`?next=${encodeURIComponent(next)}`), [200, null]);
    }
    const wrong = { name: 'nobody', password: 'x' };
    assert.deepEqual(await to('?fail=%2Flogin', wrong), [302, `${server.origin}/login`]);
    const failed = await signIn(wrong);
    assert.deepEqual([failed.status, failed.json.reason, cookieOf(failed)], [401, 'Name or password is incorrect.', 'AuthSession=']);
  });

  it('ends with DELETE, and may be asked for', async () => {
    const gone = await ask(server, 'DELETE', '/_session');
    assert.deepEqual([gone.json, cookieOf(gone)], [{ ok: true }, 'AuthSession=']);
    const login = await ask(server, 'GET', '/_session?basic=true');
    assert.deepEqual([login.status, login.json], [401, { error: 'unauthorized', reason: 'Please login.' }]);
    assert.equal(login.headers.get('www-authenticate'), null);
    const wished = await ask(server, 'GET', '/_session?basic=true', { headers: { 'x-couchdb-www-authenticate': 'Cookie' } });
    assert.equal(wished.headers.get('www-authenticate'), 'Cookie');
  });

  it('makes who guesses wait, and nobody else', async () => {
    const from = (address) => ({ 'x-forwarded-for': address, 'x-forwarded-proto': 'https' });
    const guess = (password, address, kind) => kind === 'basic'
      ? session(server, { authorization: basic(ADMIN.name, password), ...from(address) })
      : signIn({ name: ADMIN.name, password }, { headers: from(address) });
    const told = async (...args) => { const { status, json } = await guess(...args); return [status, json.reason]; };
    const locked = [403, 'Account is temporarily locked due to multiple authentication failures'];
    for (let n = 0; n < 5; n += 1) assert.equal((await told(`x${n}`, '192.0.2.1', n % 2 ? 'basic' : 'form'))[0], 401);
    for (const kind of ['basic', 'form']) {
      assert.deepEqual(await told('x', '192.0.2.1', kind), locked);
      assert.deepEqual(await told(ADMIN.password, '192.0.2.1', kind), locked);
      assert.equal((await guess(ADMIN.password, '192.0.2.2', kind)).status, 200);
    }
    await configure(server, 'chttpd_auth_lockout', 'mode', 'warn');
    assert.equal((await guess(ADMIN.password, '192.0.2.1', 'basic')).status, 200);
    await configure(server, 'chttpd_auth_lockout', 'mode', 'enforce');
  });

  it('may be required of everybody', async () => {
    await configure(server, 'chttpd', 'require_valid_user_except_for_up', 'true');
    const stranger = await ask(server, 'GET', '/');
    assert.deepEqual([stranger.status, stranger.json.reason], [401, 'Authentication required.']);
    assert.equal(stranger.headers.get('www-authenticate'), 'Basic realm="server"');
    assert.equal((await ask(server, 'GET', '/_up')).status, 200);
    assert.equal((await signIn(ADMIN)).status, 200);
    for (const key of ['require_valid_user_except_for_up']) {
      await ask(server, 'DELETE', `/_node/_local/_config/chttpd/${key}`, { headers: ROOT });
    }
    assert.equal((await ask(server, 'GET', '/')).status, 200);
    await configure(server, 'chttpd_auth', 'authentication_redirect', '/app/login.html');
    const browser = await ask(server, 'GET', '/_all_dbs', { headers: { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' } });
    assert.deepEqual([browser.status, browser.headers.get('location')], [302, '/app/login.html?return=%2F_all_dbs&reason=You%20are%20not%20a%20server%20admin.']);
    assert.equal((await ask(server, 'GET', '/_all_dbs', { headers: { accept: 'application/json' } })).status, 401);
  });
});

describe('accounts', () => {
  let server;
  before(async () => { server = await Server.start({ args: ['--users-sign-up', '--peruser-enabled'] }); });
  after(() => server?.stop());
  const user = (name, more = {}) => ({ _id: `org.couchdb.user:${name}`, type: 'user', name, roles: [], ...more });
  const put = (headers, doc) => ask(server, 'PUT', `/_users/${encodeURIComponent(doc._id)}`, { headers, body: doc });
  const get = (headers, name) => ask(server, 'GET', `/_users/org.couchdb.user:${name}`, { headers });

  it('are made, seen and changed by their owners alone', async () => {
    const made = await put({}, user('ann', { password: 'geheim', mail: 'a@b' }));
    assert.equal(made.status, 201);
    const ann = { authorization: basic('ann', 'geheim') };
    const own = await get(ann, 'ann');
    assert.deepEqual([own.status, own.json.password, own.json.password_scheme], [200, undefined, 'argon2id']);
    await put({}, user('bob', { password: 'x' }));
    const bob = { authorization: basic('bob', 'x') };
    for (const headers of [bob, {}]) {
      const hidden = await get(headers, 'ann');
      assert.deepEqual([hidden.status, hidden.json], [404, { error: 'not_found', reason: 'missing' }]);
    }
    assert.equal((await put(bob, { ...own.json, mail: 'x' })).status, 404);
    const grab = await put(ann, { ...own.json, roles: ['boss'] });
    assert.deepEqual([grab.status, grab.json.reason], [403, 'Only _admin may edit roles']);
    const system = await put(ROOT, user('eve', { roles: ['_admin'] }));
    assert.deepEqual([system.status, system.json.reason], [403, 'No system roles (starting with underscore) in users db.']);
    for (const path of ['_all_docs', '_changes', '_design_docs']) {
      assert.equal((await ask(server, 'GET', `/_users/${path}`, { headers: ann })).status, 401, path);
    }
    assert.equal((await put(ann, { ...own.json, mail: 'new@b' })).status, 201);
  });

  it('show the fields that everybody may see, and no more', async () => {
    await put(ROOT, user('cid', { mail: 'c@d', phone: '1', _attachments: { face: { content_type: 'text/plain', data: 'YQ==' } } }));
    await configure(server, 'chttpd_auth', 'public_fields', 'mail');
    const seen = (await get({}, 'cid')).json;
    assert.deepEqual(Object.keys(seen).sort(), ['_id', '_rev', 'mail']);
    assert.equal((await ask(server, 'GET', '/_users/org.couchdb.user:cid/face')).status, 404);
    const listed = await ask(server, 'GET', '/_users/_all_docs?include_docs=true');
    const row = listed.json.rows.find(({ id }) => id === 'org.couchdb.user:cid');
    assert.deepEqual([Object.keys(row.doc).sort(), row.doc.mail], [['_id', '_rev', 'mail'], 'c@d']);
    assert.ok(!JSON.stringify(listed.json).includes('derived_key'));
    assert.equal((await ask(server, 'GET', '/_users/_changes')).status, 401);
    await ask(server, 'DELETE', '/_node/_local/_config/chttpd_auth/public_fields', { headers: ROOT });
    assert.equal((await get({}, 'cid')).status, 404);
  });

  it('must have passwords as the rules want them', async () => {
    await configure(server, 'chttpd_auth', 'password_regexp', '[{".{10,}", "Min length is 10 chars."}, "[A-Z]+"]');
    const said = async (password) => { const { status, json } = await put({}, user('dan', { password })); return [status, json.error, json.reason]; };
    assert.deepEqual(await said('short'), [400, 'bad_request', 'Password does not conform to requirements. Min length is 10 chars.']);
    assert.deepEqual(await said('longenoughbutlow'), [400, 'bad_request', 'Password does not conform to requirements.']);
    assert.equal((await said('Longenoughandhigh'))[0], 201);
    await ask(server, 'DELETE', '/_node/_local/_config/chttpd_auth/password_regexp', { headers: ROOT });
  });

  it('that CouchDB made sign in, and their hashes are made anew', async () => {
    // The example of CouchDB's documentation; the password is "apple".
    await put(ROOT, user('jan', {
      password_scheme: 'pbkdf2', iterations: 10, salt: '1112283cf988a34f124200a050d308a1', derived_key: 'e579375db0e0c6a6fc79cd9e36a36859f71575c3',
    }));
    const signedIn = await ask(server, 'POST', '/_session', { body: { name: 'jan', password: 'apple' } });
    assert.equal(signedIn.status, 200);
    assert.equal((await session(server, { cookie: cookieOf(signedIn) })).json.userCtx.name, 'jan');
    const { json } = await get(ROOT, 'jan');
    assert.deepEqual([json.password_scheme, json._rev[0], json.salt], ['argon2id', '2', undefined]);
    assert.equal((await session(server, { authorization: basic('jan', 'apple') })).status, 200);
  });

  it('have a database of their own', async () => {
    await put({}, user('zoë', { password: 'x' }));
    const path = `/userdb-${Buffer.from('zoë').toString('hex')}`;
    const zoe = { authorization: basic('zoë', 'x') };
    const there = async () => { while ((await ask(server, 'GET', path, { headers: ROOT })).status !== 200); };
    await within(there(), 'a database for the account');
    const mine = async () => { while ((await ask(server, 'PUT', `${path}/note`, { headers: zoe, body: {} })).status !== 201); };
    await within(mine(), 'the right to write there');
    assert.equal((await ask(server, 'GET', path, { headers: { authorization: basic('jan', 'apple') } })).status, 403);
    assert.equal((await ask(server, 'GET', path)).status, 401);
  });

  it('send their password with every request at no great cost', async () => {
    await put({}, user('often', { password: 'geheim' }));
    const headers = { authorization: basic('often', 'geheim') };
    await session(server, headers);
    const begun = process.hrtime.bigint();
    for (let n = 0; n < 200; n += 1) assert.equal((await session(server, headers)).status, 200);
    const each = Number(process.hrtime.bigint() - begun) / 200e6;
    assert.ok(each < 10, `${each} ms each`);
    const { json } = await get(headers, 'often');
    await put(headers, { ...json, password: 'neu' });
    assert.equal((await session(server, headers)).status, 401, 'a new password ends the old one at once');
    const again = { authorization: basic('often', 'neu') };
    const { json: now_ } = await get(again, 'often');
    await ask(server, 'DELETE', `/_users/org.couchdb.user:often?rev=${now_._rev}`, { headers: again });
    assert.equal((await session(server, again)).status, 401, 'so does the end of the account');
  });
});

describe('pouchdb-authentication', () => {
  let server;
  let db;
  before(async () => {
    server = await Server.start({ args: ['--users-sign-up'] });
    await ask(server, 'PUT', '/app', { headers: ROOT });
    await ask(server, 'PUT', '/app/_security', { headers: ROOT, body: {} });
    // Node has no jar for cookies: one that keeps what it is given.
    let jar = '';
    const keeping = async (url, options = {}) => {
      const headers = new Headers(options.headers);
      if (jar) headers.set('cookie', jar);
      const answer = await PouchDB.fetch(url, { ...options, headers });
      const given = answer.headers.get('set-cookie');
      if (given) jar = /AuthSession=[^;]*/.exec(given)[0];
      return answer;
    };
    db = new PouchDB(`${server.origin}/app`, { skip_setup: true, fetch: keeping });
  });
  after(() => server?.stop());

  it('signs up, in, changes the account and ends it', async () => {
    assert.equal((await db.signUp('batman', 'brucewayne', { metadata: { email: 'b@w' } })).ok, true);
    await assert.rejects(db.signUp('batman', 'other'), { status: 409 });
    await assert.rejects(db.logIn('batman', 'wrong'), { status: 401 });
    const signedIn = await db.logIn('batman', 'brucewayne');
    assert.deepEqual([signedIn.name, signedIn.roles], ['batman', []]);
    assert.equal((await db.getSession()).userCtx.name, 'batman');
    const user = await db.getUser('batman');
    assert.deepEqual([user.email, user.password], ['b@w', undefined]);
    assert.equal((await db.putUser('batman', { metadata: { likes: ['bats'] } })).ok, true);
    assert.deepEqual((await db.getUser('batman')).likes, ['bats']);
    await db.changePassword('batman', 'robin');
    await assert.rejects(db.getUser('batman'), { status: 404 }, 'a new password ends the session');
    await assert.rejects(db.logIn('batman', 'brucewayne'), { status: 401 });
    await db.logIn('batman', 'robin');
    assert.equal((await db.deleteUser('batman')).ok, true);
    await db.logOut();
    assert.equal((await db.getSession()).userCtx.name, null);
    await assert.rejects(db.logIn('batman', 'robin'), { status: 401 });
    await db.signUp('batman', 'again');
  });

  it('makes administrators and renames accounts, where an administrator asks', async () => {
    await db.logIn(ADMIN.name, ADMIN.password);
    await db.signUp('robin', 'boy');
    await db.changeUsername('robin', 'nightwing');
    assert.equal((await db.getUser('nightwing')).name, 'nightwing');
    await assert.rejects(db.getUser('robin'), { status: 404 });
  });
});

describe('keys published at a URL', () => {
  let server;
  let publisher;
  let published = [];
  let asked = 0;
  before(async () => {
    publisher = http.createServer((_, answer) => { asked += 1; answer.setHeader('content-type', 'application/json'); answer.end(JSON.stringify({ keys: published })); });
    await new Promise((resolve) => publisher.listen(0, '127.0.0.1', resolve));
    server = await Server.start({ args: ['--jwt-keys-url', `http://127.0.0.1:${publisher.address().port}/keys`] });
  });
  after(async () => { await server?.stop(); publisher?.close(); });
  const jwk = ({ publicKey }, kid) => ({ ...publicKey.export({ format: 'jwk' }), kid, use: 'sig' });

  it('verify tokens, and are not fetched for every stranger', async () => {
    published = [jwk(rsa, 'r'), jwk(ed, 'd')];
    for (const [alg, kid] of [['RS256', 'r'], ['EdDSA', 'd']]) {
      const { status, json } = await session(server, bearer({ sub: 'ann' }, { alg, kid }));
      assert.deepEqual([status, json.userCtx?.name], [200, 'ann'], JSON.stringify(json));
    }
    for (let n = 0; n < 20; n += 1) {
      assert.equal((await session(server, bearer({ sub: 'ann' }, { alg: 'RS256', kid: `x${n}` }))).json.reason, 'Unknown kid');
    }
    assert.ok(asked <= 2, `${asked} times`);
  });
});
