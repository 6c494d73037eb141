// The second factor over sockets: digits by time (RFC 6238), recovery codes, passkeys as the second step, and the doors
// that must not lead around it. Each step of time is good once, so a test has two of them: this one confirms the key, and the
// next one signs in. However late either arrives, it is one that the server takes.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { Authenticator } from './harness/authenticator.mjs';
import { ADMIN, Server } from './harness/server.mjs';

const PASSWORD = 'correct horse battery';
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const basic = (name, password) => ({ authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}` });
const ROOT = basic(ADMIN.name, ADMIN.password);

function unbase32(text) {
  const bits = [...text].map((letter) => ALPHABET.indexOf(letter).toString(2).padStart(5, '0')).join('');
  return Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
}

/** What a device shows `steps` away from now. */
function digits(secret, steps = 0) {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + steps));
  const hash = createHmac('sha1', unbase32(secret)).update(counter).digest();
  const at = hash[19] & 15;
  return String((hash.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}

/** Digits that are none of now, nor next to it. */
function wrong(secret) {
  const right = [-2, -1, 0, 1, 2].map((steps) => digits(secret, steps));
  return ['000000', '111111', '222222', '333333', '444444', '555555'].find((one) => !right.includes(one));
}

function told(answer, status, error) {
  assert.equal(answer.status, status, JSON.stringify(answer.json));
  if (error) assert.equal(answer.json.error, error, JSON.stringify(answer.json));
  return answer.json;
}

describe('the second factor', () => {
  let server, origin;
  let accounts = 0;
  before(async () => {
    server = await Server.start();
    origin = `http://localhost:${server.port}`;
  });
  after(() => server?.stop());

  async function ask(method, path, body, headers = {}) {
    const answer = await fetch(origin + path, {
      method, headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await answer.text();
    let json;
    try { json = JSON.parse(text); } catch { json = text; }
    return { status: answer.status, json, headers: answer.headers };
  }
  const post = (path, body, headers) => ask('POST', path, body, headers);
  const bearer = ({ access_token: token }) => ({ authorization: `Bearer ${token}` });

  /** Somebody without a second factor, signed in. */
  async function somebody() {
    accounts += 1;
    const name = `ann${accounts}`;
    const made = await server.request('PUT', `/_users/org.couchdb.user:${name}`, { body: { name, type: 'user', roles: [], password: PASSWORD } });
    assert.equal(made.status, 201, made.text);
    const headers = bearer(told(await login(name), 200));
    return { name, headers };
  }
  const login = (name, more = {}) => post('/_auth/login', { name, password: PASSWORD, ...more });
  const second = (continuation, more) => post('/_auth/login/second', { continuation, ...more });

  /** Somebody with one; this step of time is taken. */
  async function secured() {
    const who = await somebody();
    const { secret, otpauth_url: url } = told(await post('/_auth/totp/start', {}, who.headers), 200);
    assert.match(secret, /^[A-Z2-7]{32}$/);
    assert.ok(url.startsWith('otpauth://totp/') && url.includes(`secret=${secret}`), url);
    const { recovery_codes: codes } = told(await post('/_auth/totp/confirm', { code: digits(secret) }, who.headers), 200);
    assert.equal(codes.length, 10);
    for (const code of codes) assert.match(code, /^[a-z2-7]{5}-[a-z2-7]{5}$/);
    return { ...who, secret, codes };
  }
  async function first(who, more) {
    const { second_factor: kinds, continuation } = told(await login(who.name, more), 202);
    return { kinds, continuation };
  }

  it('is asked for after a password, and digits begin the session that was asked for', async () => {
    const who = await secured();
    const { kinds, continuation } = await first(who, { face: 'cookie', device: 'My phone' });
    assert.deepEqual(kinds, ['totp', 'recovery_code']);
    const answer = await second(continuation, { totp: digits(who.secret, 1) });
    const session = told(answer, 200);
    assert.equal(session.name, who.name);
    assert.equal(session.face, 'cookie');
    assert.ok(answer.headers.get('set-cookie'));
    const { items } = told(await ask('GET', '/_auth/sessions', undefined, who.headers), 200);
    assert.ok(items.some((one) => one.method === 'password+totp' && one.device === 'My phone'), JSON.stringify(items));
  });

  it('takes digits once, a continuation once, and neither of somebody else', async () => {
    const [who, other] = [await secured(), await secured()];
    const one = await first(who);
    const now = digits(who.secret, 1);
    told(await second(one.continuation, { totp: digits(other.secret, 1) }), 401, 'unauthorized');
    told(await second(one.continuation, { totp: now }), 200);
    told(await second(one.continuation, { totp: digits(who.secret, 1) }), 410, 'gone');
    const two = await first(who);
    told(await second(two.continuation, { totp: now }), 401, 'unauthorized');
    const three = await first(other);
    told(await second(three.continuation, { recovery_code: who.codes[0] }), 401, 'unauthorized');
    told(await second('x'.repeat(43), { totp: digits(who.secret, 1) }), 410, 'gone');
  });

  it('lets in once when everything comes at once', async () => {
    const who = await secured();
    const { continuation } = await first(who);
    const totp = digits(who.secret, 1);
    const same = await Promise.all(Array.from({ length: 8 }, () => second(continuation, { totp })));
    assert.equal(same.filter(({ status }) => status === 200).length, 1, JSON.stringify(same.map(({ status }) => status)));
    // One code for many continuations.
    const many = await Promise.all(Array.from({ length: 4 }, () => first(who)));
    const answers = await Promise.all(many.map(({ continuation }) => second(continuation, { recovery_code: who.codes[1] })));
    assert.equal(answers.filter(({ status }) => status === 200).length, 1, JSON.stringify(answers.map(({ status }) => status)));
  });

  it('stands five wrong answers, and then nobody from there guesses on', async () => {
    const who = await secured();
    const { continuation } = await first(who);
    for (let n = 0; n < 5; n += 1) told(await second(continuation, { totp: wrong(who.secret) }), 401, 'unauthorized');
    told(await second(continuation, { totp: digits(who.secret, 1) }), 410, 'gone');
    told(await login(who.name), 403, 'forbidden');
  });

  it('takes recovery codes once each, however they are typed, and new ones in their place', async () => {
    const who = await secured();
    const typed = [who.codes[0], who.codes[1].toUpperCase(), who.codes[2].replace('-', ''), who.codes[3].replace('-', ' ')];
    for (const code of typed) told(await second((await first(who)).continuation, { recovery_code: code }), 200);
    const { continuation } = await first(who);
    told(await second(continuation, { recovery_code: who.codes[0] }), 401, 'unauthorized');
    const { recovery_codes: fresh } = told(await post('/_auth/recoveryCodes', {}, who.headers), 200);
    assert.equal(new Set([...fresh, ...who.codes]).size, 20);
    told(await second(continuation, { recovery_code: who.codes[5] }), 401, 'unauthorized');
    told(await second(continuation, { recovery_code: fresh[9] }), 200);
  });

  it('may be a passkey, of the same account only', async () => {
    const [who, other] = [await secured(), await somebody()];
    const devices = {};
    for (const [name, { headers }] of Object.entries({ own: who, others: other })) {
      const start = told(await post('/_auth/passkeys/register/start', {}, headers), 200);
      devices[name] = new Authenticator({ rp: 'localhost', origin });
      told(await post('/_auth/passkeys/register/finish', { continuation: start.continuation, credential: devices[name].create(start.options) }, headers), 201);
    }
    const passkey = async (device) => {
      const start = told(await post('/_auth/passkeys/login/start', {}), 200);
      return { continuation: start.continuation, credential: device.get(start.options) };
    };
    const { kinds, continuation } = await first(who);
    assert.deepEqual(kinds, ['totp', 'recovery_code', 'passkey']);
    told(await second(continuation, { passkey: await passkey(devices.others) }), 401, 'unauthorized');
    told(await second(continuation, { passkey: { continuation, credential: {} } }), 401, 'unauthorized');
    const answer = await passkey(devices.own);
    told(await second(continuation, { passkey: answer }), 200);
    told(await second((await first(who)).continuation, { passkey: answer }), 401, 'unauthorized');
    // By itself a passkey is two factors.
    told(await post('/_auth/passkeys/login/finish', await passkey(devices.own)), 200);
    // It asks for nothing where there are no digits.
    told(await login(other.name), 200);
  });

  it('is not led around by the doors of CouchDB', async () => {
    const who = await secured();
    const refused = told(await ask('GET', '/_session', undefined, basic(who.name, PASSWORD)), 401, 'unauthorized');
    assert.match(refused.reason, /second factor/);
    told(await ask('GET', '/_all_dbs', undefined, basic(who.name, PASSWORD)), 401);
    told(await post('/_session', { name: who.name, password: PASSWORD }), 401);
    told(await post('/_session', { name: who.name, password: PASSWORD, token: wrong(who.secret) }), 401);
    const token = digits(who.secret, 1);
    told(await post('/_session', { name: who.name, password: PASSWORD, token }), 200);
    told(await post('/_session', { name: who.name, password: PASSWORD, token }), 401);
    // A session in the face of Basic is what clients of CouchDB use then.
    const { continuation } = await first(who, { face: 'basic' });
    const session = told(await second(continuation, { recovery_code: who.codes[0] }), 200);
    const own = told(await ask('GET', '/_session', undefined, basic(session.basic_name, session.basic_password)), 200);
    assert.equal(own.userCtx.name, who.name);
  });

  it('is shown once, and stands in no document and no answer', async () => {
    const who = await secured();
    const document = (await server.request('GET', `/_users/org.couchdb.user:${who.name}`)).text;
    const answers = [document];
    for (const path of ['/_auth/me', '/_auth/sessions', '/_auth/passkeys', '/_session']) answers.push(JSON.stringify((await ask('GET', path, undefined, who.headers)).json));
    answers.push(JSON.stringify((await ask('GET', '/_audit?limit=1000', undefined, ROOT)).json), server.log);
    for (const answer of answers) {
      assert.ok(!answer.includes(who.secret), answer);
      for (const code of who.codes) assert.ok(!answer.includes(code), answer);
    }
    told(await post('/_auth/totp/start', {}, who.headers), 409, 'has_second_factor');
  });

  it('is confirmed before it is asked for, and changed only by who is there', async () => {
    const who = await somebody();
    told(await post('/_auth/totp/confirm', { code: '123456' }, who.headers), 410, 'gone');
    told(await post('/_auth/recoveryCodes', {}, who.headers), 409, 'no_second_factor');
    told(await ask('DELETE', '/_auth/totp', { password: PASSWORD }, who.headers), 409, 'no_second_factor');
    const { secret } = told(await post('/_auth/totp/start', {}, who.headers), 200);
    told(await login(who.name), 200);
    told(await post('/_auth/totp/confirm', { code: wrong(secret) }, who.headers), 401, 'unauthorized');
    for (const headers of [{}, ROOT]) {
      const status = headers === ROOT ? 403 : 401;
      for (const path of ['/_auth/totp/start', '/_auth/recoveryCodes']) told(await post(path, {}, headers), status);
      told(await post('/_auth/totp/confirm', { code: digits(secret) }, headers), status);
      told(await ask('DELETE', '/_auth/totp', { code: digits(secret) }, headers), status);
    }
    told(await post('/_auth/totp/start', {}, basic(who.name, PASSWORD)), 403, 'not_fresh');
    told(await post('/_auth/totp/start', { password: 'wrong' }, who.headers), 401);
    // A new start makes the key of the last one void.
    const again = told(await post('/_auth/totp/start', { password: PASSWORD }, who.headers), 200);
    told(await post('/_auth/totp/confirm', { code: digits(secret) }, who.headers), 401, 'unauthorized');
    told(await post('/_auth/totp/confirm', { code: digits(again.secret) }, who.headers), 200);
    told(await ask('DELETE', '/_auth/totp', {}, who.headers), 401, 'unauthorized');
    told(await ask('DELETE', '/_auth/totp', { code: wrong(again.secret) }, who.headers), 401, 'unauthorized');
    told(await ask('DELETE', '/_auth/totp', { code: digits(again.secret, 1) }, who.headers), 200);
    told(await login(who.name), 200);
  });

  it('is removed by an administrator for who has lost it, and by nobody else', async () => {
    const who = await secured();
    const { account } = told(await second((await first(who)).continuation, { totp: digits(who.secret, 1) }), 200);
    const other = await somebody();
    told(await ask('DELETE', `/_accounts/${account}/factors`), 401);
    told(await ask('DELETE', `/_accounts/${account}/factors`, undefined, other.headers), 403);
    told(await ask('DELETE', `/_accounts/${account}/factors`, undefined, ROOT), 200);
    told(await login(who.name), 200);
    told(await ask('DELETE', '/_accounts/aaaaaaaaaaaaaaaaaaaaaaaaaa/factors', undefined, ROOT), 404);
    told(await ask('DELETE', '/_accounts/%00/factors', undefined, ROOT), 404);
    const log = await ask('GET', '/_audit?action=factor.reset', undefined, ROOT);
    if (log.status !== 404) assert.equal(told(log, 200).items.length, 1);
  });

  it('says what is wrong with what is no answer', async () => {
    const who = await secured();
    const { continuation } = await first(who);
    const totp = digits(who.secret, 1);
    for (const body of [
      {}, { continuation }, { continuation, totp, recovery_code: who.codes[0] }, { continuation, totp: 123456 }, { continuation, totp: null, more: 1 },
      { continuation, totp: '1'.repeat(17) }, { continuation, recovery_code: 'x'.repeat(65) }, { continuation, passkey: {} }, { continuation: [], totp }, [], 'x',
    ]) {
      told(await post('/_auth/login/second', body), 400, 'invalid_input');
    }
    for (const text of ['', '０１２３４５', '1234 56', '-12345', '+123456', '1e5000']) {
      told(await second((await first(await secured())).continuation, { totp: text }), 401, 'unauthorized');
    }
    // None of these was a guess.
    told(await second(continuation, { totp }), 200);
  });
});
