// Signing in with another provider, over sockets and with a real one: panva's oidc-provider in a process of its own,
// and browsers that are cookie jars. New people and known ones, linking and unlinking, keys that change, and every way
// to get in with somebody else's attempt.

import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, describe, it } from 'node:test';
import { OidcProvider, Person } from './harness/provider.mjs';
import { ADMIN, Server, within } from './harness/server.mjs';

let provider;
let plain;
let server;
let linked = 0;

/** A provider that speaks OAuth 2.0 only, as GitHub does. */
async function plainProvider() {
  const state = { asked: [], user: {}, emails: [] };
  const listener = http.createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    state.asked.push({ path: request.url, body: new URLSearchParams(body), headers: request.headers });
    const answers = {
      '/token': body.includes('code=good') ? { access_token: 'gho_1', token_type: 'bearer', scope: '' } : { error: 'bad_verification_code' },
      '/user': state.user, '/user/emails': state.emails,
    };
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answers[request.url]));
  });
  await new Promise((resolve) => { listener.listen(0, '127.0.0.1', resolve); });
  return Object.assign(state, { origin: `http://127.0.0.1:${listener.address().port}`, stop: () => listener.close() });
}

before(async () => {
  provider = await OidcProvider.start();
  plain = await plainProvider();
  const of = (name, more) => `name=${name};issuer=${provider.issuer};client_id=${name}-client;client_secret=hush-${name}${more}`;
  const providers = [
    of('one', ';label=The One;trust_email=true'),
    of('two', ''),
    'name=down;issuer=http://127.0.0.1:1;client_id=x',
    of('form', ';preset=apple;label=By form;trust_email=true'),
    `name=github;client_id=gh;client_secret=hush-gh;authorize=${plain.origin}/authorize;token=${plain.origin}/token;user=${plain.origin}/user;emails=${plain.origin}/user/emails;trust_email=true`,
  ];
  server = await Server.start({ args: ['--providers', providers.join('\n'), '--cors-origins', 'https://app.example.org'] });
  await provider.setClients(['one', 'two', 'form'].map((name) => ({
    token_endpoint_auth_method: name === 'form' ? 'client_secret_post' : 'client_secret_basic',
    client_id: `${name}-client`, client_secret: `hush-${name}`, response_types: ['code'], grant_types: ['authorization_code'],
    redirect_uris: [`${server.origin}/_auth/oidc/${name}/callback`],
  })));
});
after(async () => { await server?.stop(); provider?.stop(); plain?.stop(); });

async function ask(method, path, { body, token, status = 200, basic } = {}) {
  const headers = {};
  if (body !== undefined) headers['content-type'] = 'application/json';
  if (token) headers.authorization = `Bearer ${token}`;
  if (basic) headers.authorization = `Basic ${Buffer.from(basic).toString('base64')}`;
  const answer = await within(fetch(server.origin + path, {
    method, redirect: 'manual', headers, body: body === undefined ? undefined : JSON.stringify(body),
  }), `${method} ${path}`);
  const text = await answer.text();
  assert.equal(answer.status, status, `${method} ${path}: ${text}`);
  return answer.headers.get('content-type')?.startsWith('application/json') ? JSON.parse(text) : { answer, text };
}
const start = (name, more = {}) => ask('POST', `/_auth/oidc/${name}/start`, { body: more });
/** Brings a browser back to us; answers the code. */
const comesBack = async (url) => (await ask('GET', url.slice(server.origin.length))).code;
const finish = (code, continuation, more = {}) => ask('POST', '/_auth/oidc/finish', { body: { code, continuation }, ...more });

/** Signs somebody in from beginning to end. */
async function signIn(name, login) {
  const { url, continuation } = await start(name);
  const code = await comesBack(await new Person(provider, login).goes(url));
  return finish(code, continuation);
}
/** Links a session's account with who `login` is. */
async function link(name, login, token, status = 201) {
  const { url, continuation } = await ask('POST', `/_auth/oidc/${name}/link/start`, { body: {}, token });
  const code = await comesBack(await new Person(provider, login).goes(url));
  return finish(code, continuation, { token, status });
}
/** An account with a password, and a session of it. */
async function withPassword(more = {}) {
  const name = `local-${linked += 1}`;
  const body = { name, type: 'user', roles: [], password: 'correct horse battery', ...more };
  await ask('PUT', `/_users/org.couchdb.user:${name}`, { body, status: 201, basic: `${ADMIN.name}:${ADMIN.password}` });
  return ask('POST', '/_auth/login', { body: { name, password: body.password } });
}
const me = (session) => ask('GET', '/_auth/me', { token: session.access_token });
const identities = async (session) => (await ask('GET', '/_auth/identities', { token: session.access_token })).items;
const unlink = (name, session, status = 200) => ask('DELETE', `/_auth/identities/${name}`, { token: session.access_token, status });

describe('signing in with a provider', () => {
  it('shows which there are, and no secret', async () => {
    const { items } = await ask('GET', '/_auth/providers');
    assert.deepEqual(items.map(({ name, label }) => [name, label]), [
      ['one', 'The One'], ['two', 'two'], ['down', 'down'], ['form', 'By form'], ['github', 'GitHub'],
    ]);
    assert.ok(!server.log.includes('hush-'));
  });

  it('makes an account the first time and finds it the second', async () => {
    const first = await signIn('one', 'ann');
    const shown = await me(first);
    assert.deepEqual(shown.emails.map(({ email, verified }) => [email, verified]), [['ann@example.org', true]]);
    const second = await signIn('one', 'ann');
    assert.equal(second.account, first.account);
    assert.notEqual(second.session, first.session);
    const other = await signIn('one', 'bob');
    assert.notEqual(other.account, first.account);
    const [identity] = await identities(first);
    assert.equal(identity.provider, 'one');
    assert.equal(identity.email, 'ann@example.org');
  });

  it('sends a browser back to its page with a code in the fragment', async () => {
    const { url, continuation } = await start('one', { redirect_to: '/_auth/pages/in?x=1' });
    const back = await new Person(provider, 'carl').goes(url);
    const { answer } = await ask('GET', back.slice(server.origin.length), { status: 303 });
    const location = answer.headers.get('location');
    assert.match(location, /^\/_auth\/pages\/in\?x=1#code=[A-Za-z0-9_-]{43}$/);
    assert.equal(answer.headers.get('referrer-policy'), 'no-referrer');
    assert.equal(answer.headers.get('cache-control'), 'no-store');
    const session = await finish(location.split('#code=')[1], continuation);
    assert.ok(session.access_token);
  });

  it('tells a page that somebody does not want to, in words of its own', async () => {
    const { url } = await start('one', { redirect_to: 'https://app.example.org/in' });
    const back = new URL(await new Person(provider, 'carl').goes(url, { declines: true }));
    back.searchParams.set('error_description', '<script>alert(1)</script>');
    const { answer } = await ask('GET', back.pathname + back.search, { status: 303 });
    assert.equal(answer.headers.get('location'), 'https://app.example.org/in#error=provider_declined');
  });

  it('works on when the provider has changed its keys', async () => {
    const before = await signIn('one', 'dora');
    await provider.rotate();
    // Keys are fetched again ten seconds after the last time at the soonest.
    const session = await within((async () => {
      for (;;) {
        const { url, continuation } = await start('one');
        const back = await new Person(provider, 'dora').goes(url);
        const answer = await fetch(back, { redirect: 'manual' });
        const { code } = await answer.json();
        if (code) return finish(code, continuation);
        assert.equal(answer.status, 502);
      }
    })(), 'the new keys', 25_000);
    assert.equal(session.account, before.account);
  });

  it('says when a provider is unknown or cannot be asked', async () => {
    await ask('POST', '/_auth/oidc/none/start', { body: {}, status: 404 });
    await ask('GET', '/_auth/oidc/none/callback?state=x&code=y', { status: 404 });
    assert.equal((await ask('POST', '/_auth/oidc/down/start', { body: {}, status: 502 })).error, 'provider_unreachable');
  });
});

describe('providers that do it in another way', () => {
  it('send a browser back with a form of their page', async () => {
    const { url, continuation } = await start('form');
    assert.match(url, /response_mode=form_post/);
    const { at, form } = await new Person(provider, 'fritz').goes(url);
    assert.equal(at, `${server.origin}/_auth/oidc/form/callback`);
    const answer = await fetch(at, { method: 'POST', body: new URLSearchParams(form), headers: { origin: provider.issuer } });
    assert.equal(answer.status, 200);
    const session = await finish((await answer.json()).code, continuation);
    assert.deepEqual((await me(session)).emails.map((one) => one.email), ['fritz@example.org']);
  });

  it('tell of the bearer of a token where there is no ID token', async () => {
    plain.user = { id: 583231, login: 'octocat', email: 'shown@example.org' };
    plain.emails = [{ email: 'other@example.org', primary: false, verified: true }, { email: 'octo@example.org', primary: true, verified: true }];
    const signIn = async (code, status) => {
      const { url, continuation } = await start('github');
      assert.ok(url.startsWith(`${plain.origin}/authorize?`), url);
      assert.doesNotMatch(url, /nonce/);
      const state = new URL(url).searchParams.get('state');
      const answer = await ask('GET', `/_auth/oidc/github/callback?code=${code}&state=${state}`, { status });
      return status === 200 ? finish(answer.code, continuation) : answer;
    };
    const session = await signIn('good', 200);
    assert.deepEqual((await me(session)).emails.map((one) => one.email), ['octo@example.org']);
    const [token, user] = plain.asked;
    assert.equal(token.body.get('client_secret'), 'hush-gh');
    assert.match(token.body.get('code_verifier'), /^[\w-]{43}$/);
    assert.equal(user.headers.authorization, 'Bearer gho_1');
    assert.match(user.headers['user-agent'], /^adea\//);
    plain.emails[1].verified = false;
    assert.equal((await signIn('good', 200)).account, session.account, 'by the id');
    assert.equal((await signIn('bad', 502)).error, 'provider_untrusted');
    plain.user = { login: 'nobody' };
    assert.equal((await signIn('good', 502)).error, 'provider_untrusted');
  });
});

describe('the attempt of somebody else', () => {
  it('is good once: a state and a code that come again are refused', async () => {
    const { url, continuation } = await start('one');
    const back = await new Person(provider, 'erin').goes(url);
    const code = await comesBack(back);
    assert.equal((await ask('GET', back.slice(server.origin.length), { status: 410 })).error, 'attempt_over');
    await finish(code, continuation);
    await finish(code, continuation, { status: 410 });
  });

  it('lets in nobody who has not begun it, and then nobody at all', async () => {
    // Mallory begins; the victim is lured to the address and agrees at the provider.
    const mallorys = await start('one');
    const victims = await start('one');
    const code = await comesBack(await new Person(provider, 'victim').goes(mallorys.url));
    // The victim's page does not take it, ...
    await finish(code, victims.continuation, { status: 410 });
    // ... and it is used up.
    await finish(code, mallorys.continuation, { status: 410 });
    await finish(victims.continuation, victims.continuation, { status: 410 });
    const state = new URL(victims.url).searchParams.get('state');
    await finish(state, victims.continuation, { status: 410 });
  });

  it('is not taken by the callback of another provider', async () => {
    const { url, continuation } = await start('one');
    const back = await new Person(provider, 'frank').goes(url);
    const elsewhere = back.replace('/oidc/one/', '/oidc/two/');
    await ask('GET', elsewhere.slice(server.origin.length), { status: 410 });
    // It is as good as before at its own.
    await finish(await comesBack(back), continuation);
  });

  it('is not taken from a browser that another issuer sends, or none', async () => {
    for (const iss of ['https://evil.example', '']) {
      const { url } = await start('one');
      const back = new URL(await new Person(provider, 'gina').goes(url));
      back.searchParams.set('iss', iss);
      assert.equal((await ask('GET', back.pathname + back.search, { status: 502 })).error, 'provider_untrusted');
    }
  });

  it('is not begun with a code of another attempt', async () => {
    const first = await start('one');
    const stolen = new URL(await new Person(provider, 'hugo').goes(first.url)).searchParams.get('code');
    const second = await start('one');
    const back = new URL(await new Person(provider, 'mallory').goes(second.url));
    back.searchParams.set('code', stolen);
    // The verifier is another one.
    assert.equal((await ask('GET', back.pathname + back.search, { status: 502 })).error, 'provider_untrusted');
  });

  it('is nothing without a state, with two, or with a made-up one', async () => {
    for (const query of ['', '?code=x', '?state=x&code=y', `?state=${'a'.repeat(43)}&code=y`, '?error=access_denied']) {
      await ask('GET', `/_auth/oidc/one/callback${query}`, { status: 410 });
    }
    await ask('GET', '/_auth/oidc/one/callback?state=x&state=y', { status: 400 });
    await ask('GET', `/_auth/oidc/one/callback?state=${'x'.repeat(5_000)}`, { status: 400 });
    const answer = await fetch(`${server.origin}/_auth/oidc/one/callback`, { method: 'POST', body: new URLSearchParams({ state: 'x' }) });
    assert.equal(answer.status, 410);
    await ask('POST', '/_auth/oidc/one/callback', { body: { state: 'x' }, status: 415 });
  });

  it('leads to no page that is not listed', async () => {
    for (const target of [
      'https://evil.example/', '//evil.example', '/\\evil.example', 'https://app.example.org.evil.example/',
      'https://app.example.org@evil.example/', 'http://app.example.org/', 'javascript:alert(1)', 'app.example.org',
      'https://app.example.org/#x', '/a\r\nset-cookie: x=y', '', `${server.origin}.evil.example/`, 'data:text/html,x',
      '/shop/_design/x/_show/y', '/_utils/../shop/_design/x/_show/y', `${server.origin}/shop/_design/x/_show/y`, '/in?a=b',
    ]) {
      assert.equal((await ask('POST', '/_auth/oidc/one/start', { body: { redirect_to: target }, status: 400 })).error, 'invalid_redirect', target);
    }
    for (const target of ['/', '/_utils/?a=b', 'https://app.example.org', 'https://app.example.org/in']) await start('one', { redirect_to: target });
    const forged = await fetch(`${server.origin}/_auth/oidc/one/start`, {
      method: 'POST', body: '{"redirect_to":1}', headers: { 'content-type': 'application/json' },
    });
    assert.equal(forged.status, 400);
  });

  it('is not begun for a host that a request makes up', async () => {
    const answer = await server.request('POST', '/_auth/oidc/one/start', { as: null, body: {}, headers: { host: 'evil.example' } });
    assert.equal(answer.status, 403);
    assert.equal(answer.json().error, 'no_public_url');
  });
});

describe('linking', () => {
  it('adds an identity to an account and takes it away', async () => {
    const session = await withPassword();
    assert.deepEqual(await link('two', 'ida', session.access_token), { provider: 'two' });
    assert.deepEqual((await identities(session)).map((one) => one.provider), ['two']);
    assert.equal((await signIn('two', 'ida')).account, session.account);
    await unlink('one', session, 404);
    await unlink('two', session);
    assert.deepEqual(await identities(session), []);
    assert.notEqual((await signIn('two', 'ida')).account, session.account);
  });

  it('is done by who began it, and only while he is signed in', async () => {
    const [one, other] = [await withPassword(), await withPassword()];
    for (const token of [undefined, other.access_token]) {
      const { url, continuation } = await ask('POST', '/_auth/oidc/two/link/start', { body: {}, token: one.access_token });
      const code = await comesBack(await new Person(provider, 'jack').goes(url));
      await finish(code, continuation, { token, status: 403 });
    }
    await ask('POST', '/_auth/oidc/two/link/start', { body: {}, status: 401 });
    assert.deepEqual(await identities(one), []);
  });

  it('wants the password where it is not asked from a fresh session', async () => {
    const session = await withPassword();
    const name = (await me(session)).name;
    const basic = `${name}:correct horse battery`;
    const link = (body, status) => ask('POST', '/_auth/oidc/two/link/start', { body, basic, status });
    assert.equal((await link({}, 403)).error, 'not_fresh');
    await link({ password: 'wrong' }, 403);
    await link({ password: 'correct horse battery' }, 200);
  });

  it('leaves to everybody his own: one account an identity, one identity a provider', async () => {
    const [one, other] = [await withPassword(), await withPassword()];
    await link('two', 'kim', one.access_token);
    await link('two', 'kim', one.access_token);
    await link('two', 'kim', other.access_token, 409);
    assert.deepEqual(await link('two', 'lee', one.access_token, 409), {
      error: 'already_linked', reason: 'The account is linked with this provider already.',
    });
  });

  it('does not take away the only way in', async () => {
    // Two is not trusted in addresses, so nothing but the identity leads to the account.
    const session = await signIn('two', 'mona');
    assert.equal((await unlink('two', session, 409)).error, 'last_way_in');
    await link('one', 'mona2', session.access_token);
    await unlink('two', session);
    assert.equal((await unlink('one', session, 409)).error, 'last_way_in');
  });
});

describe('an address', () => {
  it('leads to the account that has verified it, if the provider is trusted in that', async () => {
    const first = await signIn('one', 'nora');
    // Another identity of another provider, with the same verified address: two is not trusted.
    const stranger = await signIn('two', 'x=nora@example.org');
    assert.notEqual(stranger.account, first.account);
    assert.deepEqual((await me(stranger)).emails, []);
    // Another person of the same provider, to whom the address was given later.
    const later = await signIn('one', 'y=nora@example.org');
    assert.notEqual(later.account, first.account);
    assert.deepEqual((await me(later)).emails, []);
    await unlink('one', first, 200);
    assert.equal((await signIn('one', 'nora')).account, first.account, 'by the address');
  });

  it('leads nowhere if the provider has not verified it', async () => {
    const first = await signIn('one', 'otto');
    await unlink('one', first);
    const stranger = await signIn('one', 'unverified-otto');
    assert.notEqual(stranger.account, first.account);
    assert.deepEqual((await me(stranger)).emails, []);
  });

  it('that an account holds unverified lets its owner in and not who wrote it down first', async () => {
    await ask('POST', '/_auth/signup', {
      body: { name: 'mallory', email: 'paula@example.org', password: 'correct horse mallory' }, status: 202,
    });
    await ask('POST', '/_auth/login', { body: { name: 'mallory', password: 'correct horse mallory' }, status: 401 });
    const { items: [mallory] } = await ask('GET', '/_accounts?name=mallory', { basic: `${ADMIN.name}:${ADMIN.password}` });
    const paula = await signIn('one', 'paula');
    assert.notEqual(paula.account, mallory.id);
    assert.equal((await signIn('one', 'paula')).account, paula.account);
  });
});
