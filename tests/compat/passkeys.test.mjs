// Passkeys: a real browser with a virtual authenticator (CTAP2, resident keys, user verification) on a page of the
// server's own origin, then a device that lies in every way that a browser does not.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { Authenticator, PRESENT } from './harness/authenticator.mjs';
import { launchBrowser } from './harness/browser.mjs';
import { ADMIN, Server, within } from './harness/server.mjs';

const PASSWORD = 'correct horse battery';

/** A request; answers with status, JSON body and headers. */
async function ask(origin, method, path, { headers = {}, body } = {}) {
  const answer = await fetch(origin + path, {
    method,
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await answer.text();
  let json;
  try { json = JSON.parse(text); } catch { json = text; }
  return { status: answer.status, json, headers: answer.headers };
}

function told(answer, status, error) {
  assert.equal(answer.status, status, JSON.stringify(answer.json));
  if (error) assert.equal(answer.json.error, error, JSON.stringify(answer.json));
  if (status >= 400) assert.equal(typeof answer.json.reason, 'string');
  return answer.json;
}

/** An account that CouchDB's way made. */
async function account(server, name) {
  const made = await server.request('PUT', `/_users/org.couchdb.user:${name}`, { body: { name, type: 'user', roles: [], password: PASSWORD } });
  assert.equal(made.status, 201, made.text);
}

describe('passkeys in a real browser', () => {
  let server, browser, origin;
  before(async () => {
    server = await Server.start();
    origin = `http://localhost:${server.port}`;
    browser = await launchBrowser();
    await account(server, 'ann');
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  /** A browser of its own: with a device, if it is to have one. */
  async function device({ passkeys = true } = {}) {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(`${origin}/`);
    const cdp = await context.newCDPSession(page);
    await cdp.send('WebAuthn.enable');
    let authenticatorId;
    if (passkeys) {
      ({ authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', {
        options: { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
      }));
    }
    const call = (method, path, body, csrf) => page.evaluate(async ([method, path, body, csrf]) => {
      const answer = await fetch(path, {
        method, body: body && JSON.stringify(body),
        headers: { ...(body ? { 'content-type': 'application/json' } : {}), ...(csrf ? { 'x-csrf-token': csrf } : {}) },
      });
      return { status: answer.status, json: await answer.json() };
    }, [method, path, body, csrf]);
    const create = (options) => page.evaluate(async (options) => {
      const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options.publicKey);
      return (await navigator.credentials.create({ publicKey })).toJSON();
    }, options);
    const get = (options) => page.evaluate(async (options) => {
      const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options.publicKey);
      // Without a device Chromium would wait for one to be plugged in.
      const signal = AbortSignal.timeout(3000);
      return (await navigator.credentials.get({ publicKey, signal })).toJSON();
    }, options);
    const credentials = async () => (await cdp.send('WebAuthn.getCredentials', { authenticatorId })).credentials;
    return { context, page, cdp, authenticatorId, call, create, get, credentials, close: () => context.close() };
  }

  it('signs up, makes a passkey, signs out, signs in without a name, and elsewhere nobody does', { timeout: 120_000 }, async () => {
    const own = await device();
    const begun = told(await own.call('POST', '/_auth/login', { name: 'ann', password: PASSWORD, face: 'cookie' }), 200);
    const csrf = begun.csrf;
    assert.ok(csrf);
    // A page of another site has no token.
    told(await own.call('POST', '/_auth/passkeys/register/start', {}), 403);
    const start = told(await own.call('POST', '/_auth/passkeys/register/start', {}, csrf), 200);
    assert.equal(start.options.publicKey.rp.id, 'localhost');
    assert.equal(start.options.publicKey.authenticatorSelection.residentKey, 'required');
    const credential = await own.create(start.options);
    const made = told(await own.call('POST', '/_auth/passkeys/register/finish', { continuation: start.continuation, credential, label: ' My laptop ' }, csrf), 201);
    assert.equal(made.label, 'My laptop');
    assert.equal(made.used_ms, null);
    const again = { continuation: start.continuation, credential };
    told(await own.call('POST', '/_auth/passkeys/register/finish', again, csrf), 410, 'gone');
    const [held] = await own.credentials();
    assert.equal(held.isResidentCredential, true);
    assert.equal(held.rpId, 'localhost');
    // The device knows that it has one.
    const second = told(await own.call('POST', '/_auth/passkeys/register/start', {}, csrf), 200);
    await assert.rejects(own.create(second.options), /InvalidStateError|already registered/i);

    told(await own.call('POST', '/_auth/logout', {}, csrf), 200);
    told(await own.call('GET', '/_auth/passkeys'), 401);

    const challenge = told(await own.call('POST', '/_auth/passkeys/login/start', {}), 200);
    assert.deepEqual(challenge.options.publicKey.allowCredentials, []);
    const answer = await own.get(challenge.options);
    const session = told(await own.call('POST', '/_auth/passkeys/login/finish', { continuation: challenge.continuation, credential: answer, face: 'cookie' }), 200);
    assert.equal(session.name, 'ann');
    const list = told(await own.call('GET', '/_auth/passkeys'), 200);
    assert.equal(list.items.length, 1);
    assert.equal(list.next, null);
    assert.ok(list.items[0].used_ms > 0);
    // What was answered once is answered.
    told(await own.call('POST', '/_auth/passkeys/login/finish', { continuation: challenge.continuation, credential: answer }), 410, 'gone');
    const sessions = told(await own.call('GET', '/_auth/sessions'), 200);
    assert.ok(sessions.items.some((one) => one.method === 'passkey'), JSON.stringify(sessions));

    const other = await device();
    const elsewhere = told(await other.call('POST', '/_auth/passkeys/login/start', {}), 200);
    await assert.rejects(other.get(elsewhere.options), /NotAllowedError|timed out|TimeoutError|AbortError/i);
    told(await other.call('GET', '/_auth/passkeys'), 401);
    await other.close();

    // Another challenge's answer, and one whose challenge is not that one.
    const [one, two] = [await own.call('POST', '/_auth/passkeys/login/start', {}), await own.call('POST', '/_auth/passkeys/login/start', {})].map((answer) => answer.json);
    const swapped = { continuation: two.continuation, credential: await own.get(one.options) };
    told(await own.call('POST', '/_auth/passkeys/login/finish', swapped), 401, 'unauthorized');
    const tampered = structuredClone(await own.get(one.options));
    const client = JSON.parse(Buffer.from(tampered.response.clientDataJSON, 'base64url'));
    tampered.response.clientDataJSON = Buffer.from(JSON.stringify({ ...client, origin: 'https://evil.example' })).toString('base64url');
    told(await own.call('POST', '/_auth/passkeys/login/finish', { continuation: one.continuation, credential: tampered }), 401, 'unauthorized');

    // What is removed is refused, though the device still has it.
    const removed = told(await own.call('DELETE', `/_auth/passkeys/${made.id}`, undefined, session.csrf), 200);
    assert.equal(removed.ok, true);
    const late = told(await own.call('POST', '/_auth/passkeys/login/start', {}), 200);
    const refused = { continuation: late.continuation, credential: await own.get(late.options) };
    told(await own.call('POST', '/_auth/passkeys/login/finish', refused), 401, 'unauthorized');
    await own.close();
  });

  it('signs up with a passkey alone, which is then the last way in', { timeout: 60_000 }, async () => {
    const own = await device();
    const start = told(await own.call('POST', '/_auth/passkeys/signup/start', { name: 'Zoe' }), 200);
    assert.equal(start.options.publicKey.user.name, 'Zoe');
    const credential = await own.create(start.options);
    const body = { continuation: start.continuation, credential, label: 'First' };
    assert.deepEqual(told(await own.call('POST', '/_auth/passkeys/signup/finish', body), 202), { ok: true, next: 'login' });
    told(await own.call('POST', '/_auth/passkeys/signup/finish', body), 410, 'gone');
    const challenge = told(await own.call('POST', '/_auth/passkeys/login/start', {}), 200);
    const answer = { continuation: challenge.continuation, credential: await own.get(challenge.options), face: 'cookie' };
    const session = told(await own.call('POST', '/_auth/passkeys/login/finish', answer), 200);
    // The account is the one that the device was told of.
    const handle = (bytes) => Buffer.from(bytes, 'base64url').toString('hex');
    assert.equal(handle(start.options.publicKey.user.id), handle(answer.credential.response.userHandle));
    const me = told(await own.call('GET', '/_auth/me'), 200);
    assert.equal(me.id ?? me.account, session.account, JSON.stringify(me));
    const { items } = told(await own.call('GET', '/_auth/passkeys'), 200);
    assert.deepEqual(items.map(({ label }) => label), ['First']);
    told(await own.call('DELETE', `/_auth/passkeys/${items[0].id}`, undefined, session.csrf), 409, 'last_way_in');
    assert.equal((await own.credentials()).length, 1);
    await own.close();
  });

  it('is not made by a device that does not verify its user', { timeout: 60_000 }, async () => {
    const own = await device();
    await own.cdp.send('WebAuthn.setUserVerified', { authenticatorId: own.authenticatorId, isUserVerified: false });
    const { csrf } = told(await own.call('POST', '/_auth/login', { name: 'ann', password: PASSWORD, face: 'cookie' }), 200);
    const start = told(await own.call('POST', '/_auth/passkeys/register/start', {}, csrf), 200);
    await assert.rejects(own.create(start.options), /NotAllowedError|timed out|not allowed/i);
    await own.close();
  });
});

describe('passkeys of a device that lies', () => {
  let server, origin, bearer;
  before(async () => {
    server = await Server.start();
    origin = `http://localhost:${server.port}`;
    await account(server, 'ann');
    await account(server, 'bob');
    bearer = { ann: await signIn('ann'), bob: await signIn('bob') };
  });
  after(() => server?.stop());

  const post = (path, body, headers) => ask(origin, 'POST', path, { body, headers });
  async function signIn(name) {
    const { access_token: token } = told(await post('/_auth/login', { name, password: PASSWORD }), 200);
    return { authorization: `Bearer ${token}` };
  }
  const device = (more) => new Authenticator({ rp: 'localhost', origin, ...more });
  async function register(own, who, label) {
    const start = told(await post('/_auth/passkeys/register/start', {}, who), 200);
    return post('/_auth/passkeys/register/finish', { continuation: start.continuation, credential: own.create(start.options), label }, who);
  }
  async function login(own, change = (body) => body) {
    const start = told(await post('/_auth/passkeys/login/start', {}), 200);
    return post('/_auth/passkeys/login/finish', change({ continuation: start.continuation, credential: own.get(start.options) }));
  }
  const list = async (who) => told(await ask(origin, 'GET', '/_auth/passkeys', { headers: who }), 200).items;
  const remove = (id, who) => ask(origin, 'DELETE', `/_auth/passkeys/${id}`, { headers: who });

  it('registers and signs in when it does not lie', async () => {
    const own = device();
    const { id } = told(await register(own, bearer.ann), 201);
    const session = told(await login(own), 200);
    assert.equal(session.name, 'ann');
    const headers = { authorization: `Bearer ${session.access_token}` };
    const shown = told(await ask(origin, 'PATCH', `/_auth/passkeys/${id}`, { headers, body: { label: 'Schlüssel' } }), 200);
    assert.equal(shown.label, 'Schlüssel');
    for (const label of ['', ' ', 'x'.repeat(65), 'a\nb', 7]) told(await ask(origin, 'PATCH', `/_auth/passkeys/${id}`, { headers, body: { label } }), 400, 'invalid_input');
    // Nobody else sees or touches it.
    assert.deepEqual(await list(bearer.bob), []);
    told(await remove(id, bearer.bob), 404, 'not_found');
    told(await ask(origin, 'PATCH', `/_auth/passkeys/${id}`, { headers: bearer.bob, body: { label: 'mine' } }), 404, 'not_found');
    told(await remove(id, headers), 200);
    told(await remove(id, headers), 404, 'not_found');
  });

  it('is refused for another origin, host, challenge or key, and without its user', async () => {
    const lies = {
      origin: (own) => { own.origin = 'https://evil.example'; },
      port: (own) => { own.origin = 'http://localhost:1'; },
      address: (own) => { own.origin = server.origin; },
      host: (own) => { own.rp = 'evil.example'; },
      user: (own) => { own.flags = PRESENT; },
      nobody: (own) => { own.flags = 0; },
    };
    for (const [name, lie] of Object.entries(lies)) {
      const liar = device();
      lie(liar);
      const answer = await register(liar, bearer.ann);
      told(answer, 400, 'passkey_refused');
      const own = device();
      told(await register(own, bearer.ann), 201);
      lie(own);
      const refused = told(await login(own), 401, 'unauthorized');
      assert.equal(refused.reason, 'The passkey was not accepted.', name);
    }
    for (const { id } of await list(bearer.ann)) told(await remove(id, bearer.ann), 200);
    const own = device();
    told(await register(own, bearer.ann), 201);
    const other = device();
    own.pair = other.pair;
    told(await login(own), 401, 'unauthorized');
  });

  it('is told nothing about who has an account', async () => {
    const own = device();
    told(await register(own, bearer.ann), 201);
    const refusals = [];
    for (const spoil of [
      (own) => { own.id = randomBytes(32); },
      (own) => { own.handle = randomBytes(16).toString('base64url'); },
      (own) => { own.pair = device().pair; },
    ]) {
      const liar = Object.assign(device(), { id: own.id, handle: own.handle, pair: own.pair });
      spoil(liar);
      const { status, json } = await login(liar);
      refusals.push(JSON.stringify([status, json]));
    }
    assert.equal(new Set(refusals).size, 1, refusals.join('\n'));
    const starts = [await post('/_auth/passkeys/login/start', {}), await post('/_auth/passkeys/login/start', {}, bearer.ann)].map((answer) => told(answer, 200));
    assert.deepEqual(...starts.map(({ options }) => ({ ...options.publicKey, challenge: '' })));
  });

  it('is refused when its counter goes back, and an administrator reads of it', async () => {
    const own = device();
    told(await register(own, bearer.ann), 201);
    told(await login(own), 200);
    own.counter -= 1;
    told(await login(own), 401, 'unauthorized');
    told(await login(own), 200);
    const log = await server.request('GET', '/_audit?action=passkey.refuse_copy');
    if (log.status !== 404) assert.equal(log.json().items.length, 1, log.text);
  });

  it('makes no passkey that another account has, and no more than twenty', async () => {
    const own = device();
    told(await register(own, bearer.ann), 201);
    const handle = own.handle;
    told(await register(own, bearer.bob), 409);
    own.handle = handle;
    assert.equal(told(await login(own), 200).name, 'ann');
    // The same device again: the challenge names what the account has.
    told(await register(own, bearer.ann), 400, 'passkey_refused');
    for (let n = (await list(bearer.ann)).length; n < 20; n += 1) told(await register(device(), bearer.ann), 201);
    told(await post('/_auth/passkeys/register/start', {}, bearer.ann), 409, 'too_many_passkeys');
    for (const { id } of await list(bearer.ann)) told(await remove(id, bearer.ann), 200);
  });

  it('answers one challenge with one of many equal answers', async () => {
    const own = device();
    told(await register(own, bearer.ann), 201);
    const start = told(await post('/_auth/passkeys/login/start', {}), 200);
    const body = { continuation: start.continuation, credential: own.get(start.options) };
    const answers = await Promise.all(Array.from({ length: 8 }, () => post('/_auth/passkeys/login/finish', body)));
    assert.equal(answers.filter(({ status }) => status === 200).length, 1, JSON.stringify(answers.map(({ status }) => status)));
    for (const answer of answers) if (answer.status !== 200) assert.ok([401, 410].includes(answer.status));
    const made = told(await post('/_auth/passkeys/register/start', {}, bearer.ann), 200);
    told(await post('/_auth/passkeys/register/finish', { continuation: made.continuation, credential: device().create(made.options) }, bearer.bob), 410, 'gone');
    told(await post('/_auth/passkeys/login/finish', { continuation: made.continuation, credential: own.get(start.options) }), 410, 'gone');
  });

  it('says what is wrong with what is no credential', async () => {
    const start = async () => told(await post('/_auth/passkeys/login/start', {}), 200).continuation;
    for (const credential of [{}, { id: 'x' }, { id: 'x', rawId: '!', type: 'public-key', response: {} }, device().create({ publicKey: { user: { id: 'AA' }, challenge: 'AA' } })]) {
      told(await post('/_auth/passkeys/login/finish', { continuation: await start(), credential }), 400, 'invalid_input');
    }
    const continuation = await start();
    for (const body of [{}, { continuation }, { continuation, credential: 'x' }, { continuation, credential: [] }, { continuation: 7, credential: {} }, { continuation, credential: {}, more: 1 }, { continuation: 'x'.repeat(65), credential: {} }, { continuation, credential: {}, face: 'mask' }]) {
      told(await post('/_auth/passkeys/login/finish', body), 400, 'invalid_input');
    }
    const deep = JSON.parse(`${'{"a":'.repeat(60)}1${'}'.repeat(60)}`);
    const answer = await post('/_auth/passkeys/login/finish', { continuation, credential: deep });
    assert.ok([400, 413].includes(answer.status), String(answer.status));
    const huge = await post('/_auth/passkeys/login/finish', { continuation, credential: { id: 'x'.repeat(100_000) } });
    told(huge, 413);
    told(await post('/_auth/passkeys/login/start', { name: 'ann' }), 400, 'invalid_input');
  });

  it('needs a host name, and believes none that the client makes up', async () => {
    told(await ask(server.origin, 'POST', '/_auth/passkeys/login/start', { body: {} }), 421, 'no_host_name');
    for (const host of ['app.example', 'localhost.evil.example', '[::1]', 'localhost@evil.example']) {
      const answer = await server.request('POST', '/_auth/passkeys/login/start', { as: null, body: {}, headers: { host } });
      assert.notEqual(answer.status, 200, host);
      assert.ok(answer.status < 500 || answer.status === 501, `${host} ${answer.status}`);
    }
  });

  it('is asked for only by who is there, and by nobody without an account', async () => {
    told(await post('/_auth/passkeys/register/start', {}), 401);
    const basic = (name, password) => ({ authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}` });
    // Who sends a password with each request has no session that is young.
    told(await post('/_auth/passkeys/register/start', {}, basic('bob', PASSWORD)), 403, 'not_fresh');
    told(await post('/_auth/passkeys/register/start', { password: PASSWORD }, basic('bob', PASSWORD)), 200);
    told(await post('/_auth/passkeys/register/start', { password: 'wrong' }, bearer.bob), 401);
    told(await post('/_auth/passkeys/register/start', {}, basic(ADMIN.name, ADMIN.password)), 403, 'no_account');
  });
});

describe('signing up with a passkey', () => {
  let server, origin;
  before(async () => {
    server = await Server.start();
    origin = `http://localhost:${server.port}`;
  });
  after(() => server?.stop());

  const post = (path, body, headers) => ask(origin, 'POST', path, { body, headers });
  async function signUp(wanted, own = new Authenticator({ rp: 'localhost', origin })) {
    const start = told(await post('/_auth/passkeys/signup/start', wanted), 200);
    const answer = await post('/_auth/passkeys/signup/finish', { continuation: start.continuation, credential: own.create(start.options) });
    return { own, answer };
  }
  async function signIn(own) {
    const start = told(await post('/_auth/passkeys/login/start', {}), 200);
    return post('/_auth/passkeys/login/finish', { continuation: start.continuation, credential: own.get(start.options) });
  }

  it('answers alike for names and addresses that are free and taken', async () => {
    const first = await signUp({ name: 'maria' });
    assert.deepEqual(told(first.answer, 202), { ok: true, next: 'login' });
    const second = await signUp({ name: 'maria' });
    assert.deepEqual(told(second.answer, 202), { ok: true, next: 'login' });
    assert.equal(told(await signIn(first.own), 200).name, 'maria');
    told(await signIn(second.own), 401, 'unauthorized');
    const mailed = [await signUp({ email: 'maria@example.org' }), await signUp({ email: 'maria@example.org', name: 'maria' })];
    for (const { answer } of mailed) assert.deepEqual(told(answer, 202), { ok: true, next: 'verify' });
  });

  it('takes nobody whom signing up with a password does not take', async () => {
    for (const wanted of [{}, { name: '' }, { name: 'a\u202eb' }, { email: 'no address' }, { name: 'x', password: 'y' }, { name: 'x'.repeat(300) }, { name: 'nina', language: '!!' }, { name: 'nina', app: 'nowhere' }]) {
      const answer = await post('/_auth/passkeys/signup/start', wanted);
      assert.ok([400, 404].includes(answer.status), `${JSON.stringify(wanted)} ${JSON.stringify(answer.json)}`);
    }
    const closed = await Server.start({ args: ['--signup-mode', 'closed'] });
    try {
      const answer = await ask(`http://localhost:${closed.port}`, 'POST', '/_auth/passkeys/signup/start', { body: { name: 'nina' } });
      told(answer, 403);
    } finally {
      await closed.stop();
    }
  });

  it('takes no device that lies, nor a passkey that another account has', async () => {
    const liar = new Authenticator({ rp: 'localhost', origin: 'https://evil.example' });
    told((await signUp({ name: 'olga' }, liar)).answer, 400, 'passkey_refused');
    const { own } = await signUp({ name: 'olga' });
    told(await signIn(own), 200);
    told((await signUp({ name: 'petra' }, own)).answer, 409);
    // A challenge to sign up makes no passkey for who has signed in, nor signs it in.
    const start = told(await post('/_auth/passkeys/signup/start', { name: 'petra' }), 200);
    told(await post('/_auth/passkeys/login/finish', { continuation: start.continuation, credential: own.get(start.options) }), 410, 'gone');
    const login = told(await post('/_auth/passkeys/login/start', {}), 200);
    told(await post('/_auth/passkeys/signup/finish', { continuation: login.continuation, credential: own.create(start.options) }), 410, 'gone');
  });
});

describe('passkeys of a server that knows its address', () => {
  it('belong to the host of public_url and to its origin alone', async () => {
    const server = await Server.start({ args: ['--public-url', 'https://app.example'] });
    try {
      await account(server, 'ann');
      const at = (path, body, headers) => within(ask(server.origin, 'POST', path, { body, headers }), path);
      const { access_token: token } = told(await at('/_auth/login', { name: 'ann', password: PASSWORD }), 200);
      const headers = { authorization: `Bearer ${token}` };
      for (const [origin, status] of [['https://app.example', 201], ['http://app.example', 400], ['https://app.example:8443', 400], ['https://sub.app.example', 400], [`http://localhost:${server.port}`, 400]]) {
        const start = told(await at('/_auth/passkeys/register/start', {}, headers), 200);
        assert.equal(start.options.publicKey.rp.id, 'app.example');
        const own = new Authenticator({ rp: 'app.example', origin });
        told(await at('/_auth/passkeys/register/finish', { continuation: start.continuation, credential: own.create(start.options) }, headers), status);
      }
    } finally {
      await server.stop();
    }
  });
});
