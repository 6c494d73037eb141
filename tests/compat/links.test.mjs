// Links and codes in mail, anonymous accounts, and the notice of a new device, over sockets; mail is read where the
// server shows what it has captured.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { ADMIN, Server, within } from './harness/server.mjs';

const ROOT = `Basic ${Buffer.from(`${ADMIN.name}:${ADMIN.password}`).toString('base64')}`;

let server;
let closed;
before(async () => {
  server = await Server.start({ args: ['--signup-anonymous', 'true'] });
  closed = await Server.start({ args: ['--signup-mode', 'closed'] });
});
after(async () => { await server?.stop(); await closed?.stop(); });

async function ask(method, path, { body, token, status = 200, at = server, headers = {} } = {}) {
  const sent = { ...headers };
  if (body !== undefined) sent['content-type'] = 'application/json';
  if (token) sent.authorization = `Bearer ${token}`;
  const answer = await within(fetch(at.origin + path, {
    method, redirect: 'manual', headers: sent, body: body === undefined ? undefined : JSON.stringify(body),
  }), `${method} ${path}`);
  const text = await answer.text();
  assert.equal(answer.status, status, `${method} ${path}: ${text}`);
  return text === '' ? undefined : JSON.parse(text);
}

/** The mails to an address, the newest first, when there are so many. */
async function mails(to, count, at = server) {
  return within((async () => {
    for (;;) {
      const { items } = await ask('GET', '/_mail/captured', { at, headers: { authorization: ROOT } });
      const own = items.filter((mail) => mail.to === to);
      if (own.length >= count) return own;
    }
  })(), `${count} mails to ${to}`);
}
const codeIn = (mail) => /\b(\d{3} ?\d{3})\b/.exec(mail.text)[1];
const tokenIn = (mail) => new URLSearchParams(new URL(mail.links[0]).hash.slice(1)).get('token');
const start = (email, kind, at = server) => ask('POST', '/_auth/link/start', { body: { email, kind }, status: 202, at });
const finish = (body, status = 200, at = server) => ask('POST', '/_auth/link/finish', { body, status, at });
const me = (session) => ask('GET', '/_auth/me', { token: session.access_token });

/** Signs in by a code, from beginning to end. */
async function byCode(email, count = 1, headers = {}) {
  const { continuation } = await start(email, 'code');
  const [mail] = await mails(email, count);
  return ask('POST', '/_auth/link/finish', { body: { continuation, code: codeIn(mail) }, headers });
}

describe('a code in mail', () => {
  it('makes an account the first time and finds it the second', async () => {
    const first = await byCode('ann@example.org', 1);
    const shown = await me(first);
    assert.deepEqual(shown.emails.map(({ email, verified }) => [email, verified]), [['ann@example.org', true]]);
    const second = await byCode('ANN@example.org'.toLowerCase(), 2);
    assert.equal(second.account, first.account);
    const [mail] = await mails('ann@example.org', 2);
    assert.equal(mail.kind, 'sign_in');
  });

  it('is good once', async () => {
    const { continuation } = await start('bea@example.org', 'code');
    const [mail] = await mails('bea@example.org', 1);
    await finish({ continuation, code: codeIn(mail) });
    await finish({ continuation, code: codeIn(mail) }, 410);
  });

  it('is good for five attempts', async () => {
    const { continuation } = await start('cem@example.org', 'code');
    const [mail] = await mails('cem@example.org', 1);
    const right = codeIn(mail).replace(' ', '');
    const wrong = String((Number(right) + 1) % 1_000_000).padStart(6, '0');
    for (let n = 0; n < 5; n += 1) assert.equal((await finish({ continuation, code: wrong }, 403)).error, 'wrong_code');
    assert.equal((await finish({ continuation, code: right }, 410)).error, 'link_over');
  });

  it('is good for who asked for it and nobody else', async () => {
    const mine = await start('dan@example.org', 'code');
    const [mail] = await mails('dan@example.org', 1);
    const mallorys = await start('mallory@example.org', 'code');
    await finish({ continuation: mallorys.continuation, code: codeIn(mail) }, 403);
    await finish({ continuation: 'x'.repeat(43), code: codeIn(mail) }, 410);
    await finish({ token: mine.continuation }, 410);
    assert.ok((await finish({ continuation: mine.continuation, code: codeIn(mail) })).access_token);
  });

  it('is over when a newer one was asked for, and no more than five are sent in an hour', async () => {
    const email = 'eve@example.org';
    const first = await start(email, 'code');
    const [old] = await mails(email, 1);
    let last;
    for (let n = 0; n < 4; n += 1) last = await start(email, 'code');
    await finish({ continuation: first.continuation, code: codeIn(old) }, 410);
    const all = await mails(email, 5);
    const sixth = await start(email, 'code');
    assert.equal(typeof sixth.continuation, 'string');
    assert.equal((await mails(email, 5)).length, 5);
    await finish({ continuation: sixth.continuation, code: codeIn(all[0]) }, 410);
    // What was sent last is as good as before.
    assert.ok((await finish({ continuation: last.continuation, code: codeIn(all[0]) })).access_token);
  });
});

describe('a link in mail', () => {
  it('signs in once', async () => {
    const answer = await start('fay@example.org', 'link');
    assert.equal(answer.continuation, null);
    const [mail] = await mails('fay@example.org', 1);
    const token = tokenIn(mail);
    const session = await finish({ token });
    assert.ok(session.access_token);
    await finish({ token }, 410);
    await start('fay@example.org', 'link');
    const [again] = await mails('fay@example.org', 2);
    assert.equal((await finish({ token: tokenIn(again) })).account, session.account);
  });

  it('is taken with nothing else, and nothing else for it', async () => {
    for (const body of [{}, { token: 'a', code: '123456' }, { continuation: 'a' }, { code: '123456' }, { continuation: 'a', token: 'b' }]) {
      await finish(body, 400);
    }
    await finish({ token: '' }, 410);
    await finish({ token: 'sent\0fay@example.org' }, 400);
    await finish({ token: 'code\nfay@example.org\n123456' }, 410);
    await finish({ token: 'x'.repeat(257) }, 400);
    await ask('POST', '/_auth/link/start', { body: { email: 'a@b.example\r\nbcc: x@y.example', kind: 'link' }, status: 400 });
    await ask('POST', '/_auth/link/start', { body: { email: 'nobody', kind: 'link' }, status: 400 });
    await ask('POST', '/_auth/link/start', { body: { email: 'a@b.example', kind: 'letter' }, status: 400 });
  });
});

describe('where nobody may sign up', () => {
  it('the answer tells nothing, and the mail that there is no account', async () => {
    const { continuation } = await start('gus@example.org', 'code', closed);
    const [mail] = await mails('gus@example.org', 1, closed);
    assert.equal(mail.kind, 'no_account');
    assert.doesNotMatch(mail.text, /\d{3} ?\d{3}/);
    for (let n = 0; n < 5; n += 1) await finish({ continuation, code: `00000${n}` }, 403, closed);
    await finish({ continuation, code: '000005' }, 410, closed);
  });

  it('nobody is without a name either', async () => {
    assert.equal((await ask('POST', '/_auth/anonymous', { body: {}, status: 403, at: closed })).error, 'no_anonymous_accounts');
  });
});

describe('an account of nobody', () => {
  const anonymous = () => ask('POST', '/_auth/anonymous', { body: {} });

  /** A database that only one account may enter, with a document of his. */
  async function own(session) {
    const name = `/own-${session.account}`;
    const headers = { authorization: ROOT };
    await ask('PUT', name, { headers, status: 201 });
    const members = { admins: { names: [], roles: [] }, members: { names: [], roles: [`user:${session.account}`] } };
    await ask('PUT', `${name}/_security`, { headers, body: members });
    await ask('PUT', `${name}/mine`, { token: session.access_token, body: { n: 1 }, status: 201 });
    return name;
  }

  it('keeps its id, session, data and access when it gets a name and a password', async () => {
    const session = await anonymous();
    const name = await own(session);
    assert.equal((await me(session)).anonymous, true);
    const promoted = await ask('POST', '/_auth/promote', {
      token: session.access_token, body: { name: 'hana', password: 'correct horse hana' },
    });
    assert.deepEqual([promoted.name, promoted.promoted, promoted.verification], ['hana', true, null]);
    const shown = await me(session);
    assert.deepEqual([shown.id, shown.name, shown.anonymous], [session.account, 'hana', false], JSON.stringify(shown));
    assert.equal((await ask('GET', `${name}/mine`, { token: session.access_token })).n, 1);
    const again = await ask('POST', '/_auth/login', { body: { name: 'hana', password: 'correct horse hana' } });
    assert.equal(again.account, session.account);
    assert.equal((await ask('GET', `${name}/mine`, { token: again.access_token })).n, 1);
    await ask('POST', '/_auth/promote', { token: session.access_token, body: { name: 'hana2', password: 'correct horse hana' }, status: 409 });
    await ask('GET', `/_users/org.couchdb.user:${session.account}`, { headers: { authorization: ROOT }, status: 404 });
  });

  it('gets an address by a code, and is somebody then', async () => {
    const session = await anonymous();
    const { promoted, verification } = await ask('POST', '/_auth/promote', { token: session.access_token, body: { email: 'ivo@example.org' } });
    assert.equal(promoted, false);
    assert.equal((await me(session)).anonymous, true);
    const [mail] = await mails('ivo@example.org', 1);
    assert.equal(mail.kind, 'verify_address');
    const signedIn = await finish({ continuation: verification.continuation, code: codeIn(mail) });
    assert.equal(signedIn.account, session.account);
    assert.equal((await me(session)).anonymous, false);
    assert.equal((await byCode('ivo@example.org', 2)).account, session.account);
  });

  it('gets nothing that is another\'s, and no way in that is none', async () => {
    await byCode('jo@example.org');
    const session = await anonymous();
    const promote = (body, status) => ask('POST', '/_auth/promote', { token: session.access_token, body, status });
    const { verification } = await promote({ email: 'jo@example.org' }, 200);
    const [mail] = await mails('jo@example.org', 2);
    await finish({ continuation: verification.continuation, code: codeIn(mail) }, 409);
    await promote({ name: 'hana', password: 'correct horse jo' }, 409);
    await promote({ name: 'admin', password: 'correct horse jo' }, 409);
    await promote({}, 400);
    await promote({ name: 'jo' }, 400);
    await promote({ password: 'correct horse jo' }, 400);
    await promote({ name: 'jo', password: 'x' }, 400);
    await promote({ name: 'a/b', password: 'correct horse jo' }, 400);
    await ask('POST', '/_auth/promote', { body: { name: 'jo', password: 'correct horse jo' }, status: 401 });
    assert.equal((await me(session)).anonymous, true);
  });

  it('is not for who has one', async () => {
    const somebody = await byCode('kay@example.org');
    const answer = await ask('POST', '/_auth/promote', { token: somebody.access_token, body: { name: 'kay', password: 'correct horse kay' }, status: 409 });
    assert.equal(answer.error, 'not_anonymous');
  });
});

describe('the notice of a new device', () => {
  it('comes when the device is new and not the first', async () => {
    const email = 'lou@example.org';
    const as = (agent) => ({ 'user-agent': agent });
    const firefox = 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0';
    await byCode(email, 1, as(firefox));
    await byCode(email, 2, as(firefox.replaceAll('128', '140')));
    assert.deepEqual((await mails(email, 2)).map((mail) => mail.kind), ['sign_in', 'sign_in']);
    const { continuation } = await start(email, 'code');
    const [mail] = await mails(email, 3);
    await ask('POST', '/_auth/link/finish', { body: { continuation, code: codeIn(mail) }, headers: as('curl/8.0 <b>') });
    const [notice] = await mails(email, 4);
    assert.equal(notice.kind, 'new_device');
    assert.match(notice.text, /curl\/8\.0/);
    assert.match(notice.text, /127\.0\.0\.1/);
    assert.match(notice.text, /\d{4}-\d{2}-\d{2} \d{2}:\d{2} UTC/);
    assert.doesNotMatch(notice.html, /<b>/);
  });
});
