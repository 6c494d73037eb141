// Apps: namespaces of databases that only who has joined them enters, whatever door he comes by.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import http from 'node:http';
import { after, before, describe, it } from 'node:test';
import Nano from 'nano';
import { PouchDB, freshName } from './harness/pouch.mjs';
import { Server, within } from './harness/server.mjs';

const ANN = { name: 'ann', password: 'correct horse ann' };
const BOB = { name: 'bob', password: 'correct horse bob' };
const EVERYBODY = { members: { names: [], roles: [] }, admins: { names: [], roles: ['_admin'] } };

let server;
before(async () => {
  server = await Server.start({ args: ['--vhosts', ':db.dbs.example.org=/:db', '--signup-inbox', 'inbox'] });
  for (const { name, password } of [ANN, BOB]) {
    const made = await server.request('PUT', `/_users/org.couchdb.user:${name}`, { body: { name, password, type: 'user', roles: [] } });
    assert.equal(made.status, 201);
  }
});
after(() => server?.stop());

const told = (answer) => [answer.status, answer.text ? answer.json().error : undefined];
const path = (name) => `/${encodeURIComponent(name)}`;
const ask = (method, pathname, as, body, headers) => server.request(method, pathname, { as, body, headers });

let counter = 0;
const freshApp = () => { counter += 1; return `app-${counter}`; };

/** Registers an app, and makes a database `<app>/notes` that everybody may enter whom the app lets in. */
async function app(settings = {}) {
  const id = freshApp();
  const made = await ask('POST', '/_apps', undefined, { id, title: `The app ${id}`, ...settings });
  assert.equal(made.status, 201, made.text);
  await database(`${id}/notes`);
  return id;
}

async function database(name) {
  assert.equal((await ask('PUT', path(name))).status, 201);
  assert.equal((await ask('PUT', `${path(name)}/_security`, undefined, EVERYBODY)).status, 200);
  assert.equal((await ask('PUT', `${path(name)}/seen`, undefined, { n: 1 })).status, 201);
}

const join = async (id, as) => {
  const answer = await ask('POST', `/_apps/${id}/join`, as, {});
  assert.equal(answer.status, 200, answer.text);
};

/** The id of an account, as the list of an app that it has joined tells it. */
async function accountOf(id, name) {
  const list = await ask('GET', `/_apps/${id}/accounts`);
  return list.json().items.find((account) => account.name === name)?.id;
}

describe('a database of an app', () => {
  it('is entered by who has joined the app, and by nobody else who has a name', async () => {
    const [one, other] = [await app(), await app()];
    await join(one, ANN);
    await join(other, BOB);
    for (const [as, mine, theirs] of [[ANN, one, other], [BOB, other, one]]) {
      assert.equal((await ask('GET', `${path(`${mine}/notes`)}/seen`, as)).status, 200);
      for (const [method, door] of [
        ['GET', ''], ['GET', '/seen'], ['HEAD', '/seen'], ['GET', '/_all_docs'], ['GET', '/_changes'], ['POST', '/_bulk_docs'],
        ['POST', '/_bulk_get'], ['POST', '/_find'], ['PUT', '/new'], ['DELETE', ''], ['POST', ''], ['POST', '/_revs_diff'],
        ['GET', '/_local/x'], ['GET', '/_design/x/_view/y'], ['GET', '/_security'], ['COPY', '/seen'], ['GET', '/none/at/all'],
      ]) {
        const answer = await ask(method, `${path(`${theirs}/notes`)}${door}`, as, method === 'POST' || method === 'PUT' ? {} : undefined);
        assert.equal(answer.status, 403, `${method} ${door}`);
        if (method !== 'HEAD') assert.equal(answer.json().error, 'not_joined', `${method} ${door}`);
      }
      // Nor is it told whether there is such a database.
      assert.deepEqual(told(await ask('GET', path(`${theirs}/none`), as)), [403, 'not_joined']);
      assert.match((await ask('GET', path(theirs), as)).json().reason, new RegExp(`/_apps/${theirs}/join`));
    }
    // Joined both: both.
    await join(other, ANN);
    for (const id of [one, other]) assert.equal((await ask('GET', `${path(`${id}/notes`)}/seen`, ANN)).status, 200);
  });

  it('is judged by what is set for it where nobody knows who asks', async () => {
    const id = await app();
    assert.equal((await ask('GET', `${path(`${id}/notes`)}/seen`, null)).status, 200);
    await ask('PUT', `${path(`${id}/notes`)}/_security`, undefined, { members: { names: ['ann'], roles: [] } });
    assert.equal((await ask('GET', `${path(`${id}/notes`)}/seen`, null)).status, 401);
  });

  it('is still asked for its own members, though one has joined the app', async () => {
    const id = await app();
    await join(id, ANN);
    await ask('PUT', `${path(`${id}/notes`)}/_security`, undefined, { members: { names: ['bob'], roles: [] } });
    assert.deepEqual(told(await ask('GET', `${path(`${id}/notes`)}/seen`, ANN)), [403, 'forbidden']);
    await ask('PUT', `${path(`${id}/notes`)}/_security`, undefined, { members: { names: [], roles: [`app:${id}`] } });
    assert.equal((await ask('GET', `${path(`${id}/notes`)}/seen`, ANN)).status, 200);
  });

  it('is the app\'s from the moment that the app is registered', async () => {
    const id = freshApp();
    await database(`${id}/old`);
    await database(id);
    assert.equal((await ask('GET', `${path(`${id}/old`)}/seen`, ANN)).status, 200);
    await ask('POST', '/_apps', undefined, { id, title: 'x' });
    for (const name of [id, `${id}/old`]) assert.equal((await ask('GET', `${path(name)}/seen`, ANN)).status, 403, name);
  });

  it('has no look-alikes', async () => {
    const id = await app();
    // Other names are the server's.
    for (const name of [`${id}x/a`, `${id}_a`, `${id}+/a`, `x/${id}`]) {
      await database(name);
      assert.equal((await ask('GET', `${path(name)}/seen`, ANN)).status, 200, name);
    }
    // Other ways to write the same name are no way around.
    for (const way of [`/${id}%2fnotes/seen`, `/${id}%2Fnotes/seen`, `//${id}%2Fnotes/seen`, `/%61pp-${id.slice(4)}%2fnotes/seen`, `/${id}%2Fnotes//seen`]) {
      const answer = await ask('GET', way, ANN);
      assert.ok([400, 403, 404].includes(answer.status), `${way} ${answer.status}`);
      assert.doesNotMatch(answer.text, /"n":1/, way);
    }
    for (const wrong of [`/${id.toUpperCase()}%2Fnotes`, `/${id}%20%2Fnotes`, `/${id}%2f..%2fnotes`, `/${id}%00%2Fnotes`]) {
      assert.ok([400, 404].includes((await ask('GET', wrong, ANN)).status), wrong);
    }
    for (const wrong of ['App', 'app ', ' app', 'app%2f..', 'app/x', 'a_b', '1a', '', '-', 'ä', 'a'.repeat(64), '_users']) {
      const answer = await ask('POST', '/_apps', undefined, { id: wrong, title: 'x' });
      assert.deepEqual(told(answer), [400, 'invalid_input'], wrong);
    }
  });

  it('is not reached by a host or a function that leads there', async () => {
    const [one, other] = [await app(), await app()];
    await join(one, ANN);
    const rewrites = [{ from: '/x', to: `../../../${other}%2Fnotes/seen` }, { from: '/y', to: `/../../${other}%2Fnotes/seen` }];
    assert.equal((await ask('PUT', `${path(`${one}/notes`)}/_design/r`, undefined, { rewrites })).status, 201);
    for (const way of ['x', 'y']) {
      const answer = await ask('GET', `${path(`${one}/notes`)}/_design/r/_rewrite/${way}`, ANN);
      assert.doesNotMatch(answer.text, /"n":1/);
      assert.ok(answer.status >= 400, `${answer.status}`);
    }
    await database(other);
    const host = `${other}.dbs.example.org`;
    assert.deepEqual(told(await ask('GET', '/seen', ANN, undefined, { host })), [403, 'not_joined']);
    await join(other, ANN);
    assert.equal((await ask('GET', '/seen', ANN, undefined, { host })).json().n, 1);
  });
});

describe('leaving', () => {
  it('is in force at once', async () => {
    const id = await app();
    await join(id, ANN);
    const seen = () => ask('GET', `${path(`${id}/notes`)}/seen`, ANN);
    assert.equal((await seen()).status, 200);
    assert.equal((await ask('POST', `/_apps/${id}/leave`, ANN, {})).status, 204);
    assert.deepEqual(told(await seen()), [403, 'not_joined']);
    assert.deepEqual(told(await ask('POST', `/_apps/${id}/leave`, ANN, {})), [403, 'not_joined']);
    await join(id, ANN);
    assert.equal((await seen()).status, 200);
  });

  it('is in force with the end of the account, and a new one of that name has joined nothing', async () => {
    const id = await app();
    const eve = { name: freshName('eve'), password: 'correct horse eve' };
    const document = `/_users/org.couchdb.user:${eve.name}`;
    const make = (rev) => ask('PUT', document, undefined, { ...eve, type: 'user', roles: [], ...(rev ? { _rev: rev } : {}) });
    const made = await make();
    assert.equal(made.status, 201);
    await join(id, eve);
    assert.equal((await ask('DELETE', `${document}?rev=${made.json().rev}`)).status, 200);
    assert.equal(await accountOf(id, eve.name), undefined);
    assert.equal((await make()).status, 201);
    assert.deepEqual(told(await ask('GET', `${path(`${id}/notes`)}/seen`, eve)), [403, 'not_joined']);
  });

  it('ends feeds that are open', async () => {
    const id = await app();
    await join(id, ANN);
    const authorization = 'Basic ' + Buffer.from(`${ANN.name}:${ANN.password}`).toString('base64');
    let opened;
    const hasOpened = new Promise((resolve) => { opened = resolve; });
    const ended = new Promise((resolve, reject) => {
      const request = http.get({
        host: '127.0.0.1', port: server.port, path: `${path(`${id}/notes`)}/_changes?feed=continuous&heartbeat=60000&since=0`,
        headers: { authorization },
      }, (response) => {
        let seen = '';
        response.setEncoding('utf8').on('data', (chunk) => { seen += chunk; if (seen.includes('\n')) opened(); });
        response.on('end', () => resolve(seen));
        response.on('error', () => resolve(seen));
      });
      request.on('error', reject);
    });
    await within(hasOpened, 'the first row of the feed');
    assert.equal((await ask('POST', `/_apps/${id}/leave`, ANN, {})).status, 204);
    await ask('PUT', `${path(`${id}/notes`)}/secret`, undefined, { n: 2 });
    const seen = await within(ended, 'the end of the feed', 10_000);
    assert.doesNotMatch(seen, /secret/);
  });
});

describe('a session of an app', () => {
  const login = (id, as, headers = {}) => ask('POST', '/_auth/login', null, { name: as.name, password: as.password, ...(id === undefined ? {} : { app: id }) }, headers);
  const bearer = (session) => ({ authorization: `Bearer ${session.access_token}` });
  const seen = (id, session) => ask('GET', `${path(`${id}/notes`)}/seen`, null, undefined, bearer(session));

  it('is for who has joined it, and is refused at another app until that is joined as well', async () => {
    const [one, other] = [await app(), await app()];
    assert.deepEqual(told(await login(one, ANN)), [403, 'not_joined']);
    assert.deepEqual(told(await login('none', ANN)), [404, 'unknown_app']);
    // Who does not know the password is not told who has joined what.
    assert.deepEqual(told(await login(one, { ...ANN, password: 'wrong horse' })), [401, 'unauthorized']);
    await join(one, ANN);
    const session = (await login(one, ANN)).json();
    assert.equal((await seen(one, session)).status, 200);
    assert.deepEqual(told(await seen(other, session)), [403, 'not_joined']);
    await join(other, ANN);
    assert.equal((await seen(other, session)).status, 200);
    assert.equal((await ask('POST', `/_apps/${one}/leave`, null, {}, bearer(session))).status, 204);
    assert.notEqual((await seen(one, session)).status, 200);
  });

  it('is of the app that the body, a header or the host tells', async () => {
    const domain = `${freshApp()}.example`;
    const id = await app({ domains: [domain] });
    for (const headers of [{ 'adea-app': id }, { host: domain }, { host: `${domain.toUpperCase()}.:8443` }]) {
      assert.deepEqual(told(await login(undefined, BOB, headers)), [403, 'not_joined'], JSON.stringify(headers));
      // What is said more plainly counts.
      assert.equal((await login('', BOB, headers)).status, 200, JSON.stringify(headers));
    }
    for (const headers of [{ host: `x.${domain}` }, { host: `${domain}.evil` }, { 'adea-app': '' }]) {
      assert.equal((await login(undefined, BOB, headers)).status, 200, JSON.stringify(headers));
    }
    assert.deepEqual(told(await login(undefined, BOB, { 'adea-app': 'none' })), [404, 'unknown_app']);
  });

  it('begins with signing up there, by the rules of the app', async () => {
    const [open, closed] = [await app({ sign_up: { mode: 'open' } }), await app({ sign_up: { mode: 'closed' } })];
    const eve = { name: freshName('eve').replaceAll('_', '-'), password: 'correct horse eve' };
    const email = `${eve.name}@example.org`;
    const refused = await ask('POST', '/_auth/signup', null, { ...eve, email, app: closed });
    assert.equal(refused.status, 403, refused.text);
    const signedUp = await ask('POST', '/_auth/signup', null, { ...eve, email, app: open });
    assert.ok([200, 201, 202].includes(signedUp.status), signedUp.text);
    const mails = (await ask('GET', '/_mail/captured')).json().items;
    const mail = mails.find((one) => one.to === email);
    assert.equal(mail.app, open);
    const [, token] = /token=([\w-]+)/.exec(mail.text) ?? [];
    const verified = await ask('POST', '/_auth/verifyEmail', null, { token });
    assert.equal(verified.status, 200, verified.text);
    assert.equal((await ask('GET', `${path(`${open}/notes`)}/seen`, eve)).status, 200);
    assert.equal((await ask('GET', `${path(`${closed}/notes`)}/seen`, eve)).status, 403);
    // Mail with a secret for somebody who has nothing to do with an app does not come in its words.
    const recover = async (id) => {
      await ask('DELETE', '/_mail/captured');
      assert.ok((await ask('POST', '/_auth/recover', null, { email, app: id })).status < 300);
      return (await ask('GET', '/_mail/captured')).json().items.find((one) => one.to === email).app;
    };
    assert.equal(await recover(closed), '');
    assert.equal(await recover(open), open);
    // Nor does any other that a stranger can have sent.
    const other = await app({ sign_up: { mode: 'open' } });
    const sent = async (route, body) => {
      await ask('DELETE', '/_mail/captured');
      assert.equal((await ask('POST', route, null, body)).status, 202);
      const { kind, app: words } = (await ask('GET', '/_mail/captured')).json().items.find((one) => one.to === body.email);
      return [kind, words];
    };
    const again = { password: 'another password', email };
    assert.deepEqual(await sent('/_auth/signup', { ...again, app: other }), ['already_registered', '']);
    assert.deepEqual(await sent('/_auth/signup', { ...again, app: open }), ['already_registered', open]);
    assert.deepEqual(await sent('/_auth/link/start', { email, kind: 'link', app: other }), ['sign_in', '']);
    assert.deepEqual(await sent('/_auth/link/start', { email, kind: 'link', app: open }), ['sign_in', open]);
    assert.deepEqual(await sent('/_auth/recover', { email: 'nobody8@example.org', app: other }), ['no_account', '']);
    assert.deepEqual(await sent('/_auth/link/start', { email: 'nobody7@example.org', kind: 'code', app: closed }), ['no_account', '']);
    assert.deepEqual(await sent('/_auth/link/start', { email: 'nobody7@example.org', kind: 'code', app: other }), ['sign_in', other]);
  });
});

describe('an app that takes only who is invited', () => {
  it('takes nobody by an invitation of another app', async () => {
    const [one, invited] = [await app(), await app({ sign_up: { mode: 'invited' } })];
    await join(one, ANN);
    const org = (await ask('POST', '/_orgs', ANN, { name: freshName('Org'), app: one })).json().id;
    const secretFor = async (email, organisation) => {
      assert.equal((await ask('POST', '/_invitations', undefined, { organisation, address: email })).status, 201);
      const mails = (await ask('GET', '/_mail/captured')).json().items;
      return /token=([\w-]+)/.exec(mails.find((one) => one.kind === 'invitation' && one.to === email).text)[1];
    };
    const who = () => ({ name: freshName('eve').replaceAll('_', '-'), password: 'correct horse eve' });
    const [eve, fay] = [who(), who()];
    const invitation = await secretFor('eve7@example.org', org);
    assert.deepEqual(told(await ask('POST', '/_auth/signup', null, { ...eve, app: invited, invitation })), [403, 'forbidden']);
    // Where everybody may sign up it is as if there were no invitation.
    const plain = await ask('POST', '/_auth/signup', null, { ...eve, email: 'eve7@example.org', invitation });
    assert.deepEqual([plain.status, plain.json().next], [202, 'verify'], plain.text);
    const there = await ask('POST', '/_auth/signup', null, { ...fay, app: one, invitation: await secretFor('fay7@example.org', org) });
    assert.deepEqual([there.status, there.json().next], [202, 'login'], there.text);
    assert.ok((await ask('GET', '/_session', fay)).json().userCtx.roles.includes(`app:${one}`));
  });
});

describe('the inbox for signing up', () => {
  const chosen = () => randomBytes(16).toString('hex');
  const person = () => ({ name: freshName('eve').replaceAll('_', '-'), password: 'correct horse eve' });
  const write = (id, document, as = null) => ask('PUT', `/inbox/${id}`, as, document);
  before(async () => { assert.equal((await ask('PUT', '/inbox')).status, 201); });

  it('signs up who reaches databases only, and answers him alone', async () => {
    const [id, eve] = [chosen(), person()];
    const inbox = new PouchDB(`${server.origin}/inbox`, { skip_setup: true });
    const email = `${eve.name}@example.org`;
    assert.ok((await inbox.put({ _id: id, type: 'signup', ...eve, email })).ok);
    const answer = await inbox.get(id);
    assert.deepEqual([answer.state, answer.next], ['done', 'verify']);
    const mail = (await ask('GET', '/_mail/captured')).json().items.find((one) => one.to === email);
    assert.ok(mail, 'the confirmation is mailed');
    // Nothing secret was stored, in any revision.
    for (const query of ['', '?open_revs=all', '?revs_info=true', `?rev=1-${'0'.repeat(32)}`]) {
      const stored = await ask('GET', `/inbox/${id}${query}`);
      assert.doesNotMatch(stored.text, /horse|example\.org/, query);
    }
    assert.equal((await ask('GET', '/_session', eve)).status, 401, 'the address is not proved yet');
    const [, token] = /token=([\w-]+)/.exec(mail.text) ?? [];
    assert.equal((await ask('POST', '/_auth/verifyEmail', null, { token })).status, 200);
    assert.equal((await ask('GET', '/_session', eve)).status, 200);
    await inbox.close();
  });

  it('shows nobody else anything', async () => {
    const id = chosen();
    assert.equal((await write(id, { type: 'signup', ...person() })).status, 201);
    assert.equal((await ask('PUT', `/inbox/${'s'.repeat(30)}`, undefined, { type: 'note', secret: 1 })).status, 201);
    for (const as of [null, ANN]) {
      for (const [method, door] of [
        ['GET', ''], ['GET', '/_all_docs'], ['GET', '/_changes'], ['POST', '/_bulk_get'], ['POST', '/_bulk_docs'], ['POST', '/_find'],
        ['POST', '/_revs_diff'], ['DELETE', `/${id}`], ['POST', ''], ['PUT', '/_design/x'], ['PUT', '/_local/x'], ['GET', '/_security'],
        ['PUT', '/_security'], ['GET', `/${id}/attachment`], ['PUT', `/${id}/attachment`], ['COPY', `/${id}`], ['GET', '/_local/x'],
      ]) {
        const answer = await ask(method, `/inbox${door}`, as, method === 'GET' || method === 'COPY' ? undefined : {});
        assert.ok([401, 403].includes(answer.status), `${method} ${door} ${answer.status}`);
      }
      assert.equal((await ask('GET', `/inbox/${'s'.repeat(30)}`, as)).status, 404);
      assert.equal((await ask('GET', `/inbox/${chosen()}`, as)).status, 404);
    }
  });

  it('refuses what is no signing up, and tells of refusals in the answer', async () => {
    for (const [id, document] of [
      ['short', { type: 'signup', ...person() }], ['x'.repeat(65), { type: 'signup', ...person() }], ['%C3%A4'.repeat(30), { type: 'signup', ...person() }],
      [chosen(), { type: 'note', ...person() }], [chosen(), { ...person() }], [chosen(), { type: 'signup', name: 'eve' }],
      [chosen(), { type: 'signup', ...person(), roles: ['_admin'] }], [chosen(), { type: 'signup', ...person(), _id: 'other' }], [chosen(), []],
    ]) {
      assert.deepEqual(told(await write(id, document)), [400, 'invalid_input'], JSON.stringify(document));
    }
    assert.equal((await write(chosen(), { type: 'signup', ...person(), app: 'none' })).status, 404);
    const [id, weak] = [chosen(), { ...person(), password: 'short' }];
    assert.equal((await write(id, { type: 'signup', ...weak })).status, 201);
    const answer = (await ask('GET', `/inbox/${id}`, null)).json();
    assert.equal(answer.state, 'refused');
    assert.ok(answer.error && answer.reason);
    // An id is good once.
    assert.equal((await write(id, { type: 'signup', ...person() })).status, 409);
  });
});

describe('organisations of an app', () => {
  it('are made by who has joined it, have their members join, and end with leaving', async () => {
    const id = await app();
    const make = (as) => ask('POST', '/_orgs', as, { name: freshName('Org'), app: id });
    assert.equal((await make(ANN)).status, 403);
    await join(id, ANN);
    const made = await make(ANN);
    assert.equal(made.status, 201, made.text);
    const org = made.json().id;
    const other = await app();
    await join(other, BOB);
    const bob = await accountOf(other, BOB.name);
    const added = await ask('PUT', `/_orgs/${org}/members/${bob}`, undefined, { role: 'member' });
    assert.ok(added.status < 300, added.text);
    assert.equal((await ask('GET', `${path(`${id}/notes`)}/seen`, BOB)).status, 200);
    const roles = async (as) => (await ask('GET', '/_session', as)).json().userCtx.roles;
    assert.ok((await roles(BOB)).includes(`org:${org}`));
    assert.equal((await ask('POST', `/_apps/${id}/leave`, BOB, {})).status, 204);
    assert.ok(!(await roles(BOB)).some((role) => role.includes(org) || role === `app:${id}`));
    assert.ok((await roles(BOB)).includes(`app:${other}`));
    // The last owner stays until there is another.
    assert.deepEqual(told(await ask('POST', `/_apps/${id}/leave`, ANN, {})), [409, 'last_owner']);
    assert.equal((await ask('GET', `${path(`${id}/notes`)}/seen`, ANN)).status, 200);
  });
});

describe('replication', () => {
  it('between apps is refused to who has not joined both', async () => {
    const [one, other] = [await app(), await app()];
    await join(one, ANN);
    const replicate = (source, target, as = ANN) => ask('POST', '/_replicate', as, { source, target });
    const mine = `${one}/copy`;
    await database(mine);
    assert.equal((await replicate(`${one}/notes`, mine)).status, 200);
    for (const [source, target] of [[`${other}/notes`, mine], [mine, `${other}/notes`]]) {
      const answer = await replicate(source, target);
      assert.ok(answer.status >= 400, answer.text);
      assert.deepEqual(told(answer), [401, 'unauthorized']);
    }
    assert.equal((await ask('GET', `${path(mine)}/seen`)).json().n, 1);
    await join(other, ANN);
    assert.equal((await replicate(`${other}/notes`, mine)).status, 200);
    // Who does not administer an app makes no database in it.
    const made = await ask('POST', '/_replicate', ANN, { source: mine, target: `${other}/new`, create_target: true });
    assert.ok(made.status >= 400, made.text);
    assert.equal((await ask('GET', path(`${other}/new`))).status, 404);
  });

  it('by the server follows its owner out of the app', async () => {
    const id = await app();
    await join(id, ANN);
    const outside = freshName('outside');
    await database(outside);
    const started = await ask('POST', '/_replicate', ANN, { source: `${id}/notes`, target: outside, continuous: true });
    assert.equal(started.status, 202, started.text);
    await ask('PUT', `${path(`${id}/notes`)}/before`, undefined, {});
    const arrives = async (doc) => {
      const answer = await ask('GET', `${path(outside)}/_changes?feed=longpoll&since=0&filter=_doc_ids&doc_ids=${encodeURIComponent(JSON.stringify([doc]))}&timeout=20000`);
      return answer.json().results.length > 0;
    };
    assert.ok(await arrives('before'));
    assert.equal((await ask('POST', `/_apps/${id}/leave`, ANN, {})).status, 204);
    await ask('PUT', `${path(`${id}/notes`)}/after`, undefined, {});
    const sees = await ask('GET', `${path(outside)}/_changes?feed=longpoll&since=0&filter=_doc_ids&doc_ids=${encodeURIComponent('["after"]')}&timeout=1500`);
    assert.deepEqual(sees.json().results, []);
    await ask('POST', '/_replicate', ANN, { source: `${id}/notes`, target: outside, continuous: true, cancel: true });
  });
});

describe('an administrator of an app', () => {
  const appoint = async (id, as) => {
    await join(id, as);
    const account = await accountOf(id, as.name);
    assert.equal((await ask('PUT', `/_apps/${id}/admins/${account}`)).status, 204);
    return account;
  };

  it('makes and drops databases in its namespace and nowhere else, within its quota', async () => {
    const [one, other] = [await app({ quota: { databases: 2 } }), await app()];
    const account = await appoint(one, ANN);
    assert.equal((await ask('PUT', path(`${one}/made`), ANN)).status, 201);
    assert.deepEqual(told(await ask('PUT', path(`${one}/more`), ANN)), [403, 'quota_exceeded']);
    for (const outside of [`${other}/made`, `${one}x`, `${one}_x`, `${one}/_users`, `${one}/_replicator`, 'elsewhere']) {
      const answer = await ask('PUT', path(outside), ANN);
      assert.ok([401, 403].includes(answer.status), `${outside} ${answer.status}`);
      assert.equal((await ask('HEAD', path(outside))).status, 404, outside);
    }
    assert.ok([401, 403].includes((await ask('DELETE', path(`${other}/notes`), ANN)).status));
    assert.ok([401, 403].includes((await ask('DELETE', '/_users', ANN)).status));
    // He administers what is there.
    assert.equal((await ask('PUT', `${path(`${one}/made`)}/_security`, ANN, EVERYBODY)).status, 200);
    assert.equal((await ask('PUT', `${path(`${one}/made`)}/_design/x`, ANN, { views: {} })).status, 201);
    assert.equal((await ask('DELETE', path(`${one}/made`), ANN)).status, 200);
    assert.equal((await ask('DELETE', `/_apps/${one}/admins/${account}`)).status, 204);
    assert.equal((await ask('PUT', path(`${one}/made`), ANN)).status, 401);
    assert.equal((await ask('GET', `${path(`${one}/notes`)}/seen`, ANN)).status, 200);
  });

  it('sees who has joined, and changes what is the app\'s own', async () => {
    const [id, other] = [await app(), await app()];
    await appoint(id, ANN);
    await join(id, BOB);
    const list = await ask('GET', `/_apps/${id}/accounts`, ANN);
    assert.deepEqual(list.json().items.map((account) => account.name).sort(), ['ann', 'bob']);
    assert.deepEqual(Object.keys(list.json().items[0]).sort(), ['id', 'name']);
    assert.deepEqual(told(await ask('GET', `/_apps/${id}/accounts`, BOB)), [403, 'forbidden']);
    assert.deepEqual(told(await ask('GET', `/_apps/${other}/accounts`, ANN)), [403, 'forbidden']);
    const page = await ask('GET', `/_apps/${id}/accounts?limit=1`, ANN);
    const rest = await ask('GET', `/_apps/${id}/accounts?limit=1&after=${page.json().next}`, ANN);
    assert.equal(new Set([page, rest].map((answer) => answer.json().items[0].name)).size, 2);
    const change = (body, as = ANN, of = id) => ask('PATCH', `/_apps/${of}`, as, body);
    assert.equal((await change({ title: 'New', sign_up: { mode: 'closed' } })).json().title, 'New');
    assert.deepEqual(told(await change({ domains: ['evil.example'] })), [403, 'forbidden']);
    assert.deepEqual(told(await change({ origins: ['https://evil.example'] })), [403, 'forbidden']);
    assert.deepEqual(told(await change({ quota: {} })), [200, undefined]);
    assert.deepEqual(told(await change({ quota: { accounts: 1 } })), [403, 'forbidden']);
    assert.deepEqual(told(await change({ links: { recover: 'https://evil.example/{token}' } })), [400, 'invalid_input']);
    assert.deepEqual(told(await change({ title: 'x' }, BOB)), [403, 'forbidden']);
    assert.deepEqual(told(await change({ title: 'x' }, ANN, other)), [403, 'forbidden']);
    assert.deepEqual(told(await change({ title: 'x' }, null)), [401, 'unauthorized']);
    const words = { subject: 'Hello', text: 'Hello {{ to }}', html: '<p>Hello</p>' };
    const choose = (kind, of, as = ANN) => ask('PUT', `/_mail/templates/${kind}/en${of && `?app=${of}`}`, as, words);
    assert.equal((await choose('password_changed', id)).status, 200);
    assert.equal((await ask('GET', `/_mail/templates/password_changed/en?app=${id}`, ANN)).json().subject, 'Hello');
    for (const [kind, of, as] of [['password_changed', other], ['password_changed', ''], ['recover', id], ['password_changed', id, BOB]]) {
      assert.deepEqual(told(await choose(kind, of, as)), [403, 'forbidden'], `${kind} ${of}`);
    }
    assert.equal((await ask('DELETE', `/_mail/templates/password_changed/en?app=${id}`, ANN)).status, 200);
    for (const [method, way] of [['POST', ''], ['DELETE', `/${id}?confirm=${id}`], ['PUT', `/${id}/admins/${'a'.repeat(26)}`]]) {
      assert.equal((await ask(method, `/_apps${way}`, ANN, method === 'POST' ? { id: 'x', title: 'x' } : undefined)).status, 403, way);
    }
  });
});

describe('the routes of apps', () => {
  it('register, show, change and remove', async () => {
    const id = freshApp();
    const settings = { id, title: 'Shop', domains: ['Shop.Example'], origins: ['http://localhost:5173'], language: 'de',
      links: { recover: 'https://shop.example/reset#{token}' }, sign_up: { mode: 'listed', allowed: ['firm.example'] }, sessions: { lifetime_s: 60 } };
    const made = await ask('POST', '/_apps', undefined, settings);
    assert.equal(made.status, 201, made.text);
    assert.deepEqual(made.json().settings.domains, ['shop.example']);
    assert.deepEqual(told(await ask('POST', '/_apps', undefined, settings)), [409, 'app_exists']);
    assert.deepEqual(told(await ask('POST', '/_apps', undefined, { ...settings, id: freshApp() })), [409, 'domain_taken']);
    const shown = await ask('GET', `/_apps/${id}`, null);
    assert.equal(shown.status, 200);
    assert.equal(shown.json().sign_up.mode, 'listed');
    assert.equal(shown.json().settings, undefined);
    assert.doesNotMatch(shown.text, /firm\.example/);
    const { revision } = (await ask('GET', `/_apps/${id}`)).json().settings;
    const changed = await ask('PATCH', `/_apps/${id}`, undefined, { title: 'Other', if_revision: revision });
    assert.equal(changed.json().settings.revision, revision + 1);
    assert.deepEqual(changed.json().settings.links.recover, 'https://shop.example/reset#{token}');
    assert.deepEqual(told(await ask('PATCH', `/_apps/${id}`, undefined, { title: 'Late', if_revision: revision })), [409, 'conflict']);
    assert.deepEqual(told(await ask('DELETE', `/_apps/${id}`)), [400, 'not_confirmed']);
    assert.deepEqual(told(await ask('DELETE', `/_apps/${id}?confirm=${id}&if_revision=${revision}`)), [409, 'conflict']);
    await database(`${id}/kept`);
    assert.equal((await ask('DELETE', `/_apps/${id}?confirm=${id}`)).status, 204);
    assert.deepEqual(told(await ask('GET', `/_apps/${id}`)), [404, 'unknown_app']);
    assert.equal((await ask('GET', `${path(`${id}/kept`)}/seen`, ANN)).status, 200);
    // The audit log is written; nobody who had joined has joined an app that is registered anew.
    assert.equal((await ask('POST', '/_apps', undefined, settings)).status, 201);
    assert.equal((await ask('GET', `${path(`${id}/kept`)}/seen`, ANN)).status, 403);
  });

  it('list the apps that one has joined, and all to administrators', async () => {
    const [one, other] = [await app(), await app()];
    const eve = { name: freshName('eve'), password: 'correct horse eve' };
    await ask('PUT', `/_users/org.couchdb.user:${eve.name}`, undefined, { ...eve, type: 'user', roles: [] });
    await join(one, eve);
    await join(one, eve);
    const mine = (await ask('GET', '/_apps', eve)).json();
    assert.deepEqual(mine.items.map((row) => [row.id, row.admin]), [[one, false]]);
    const ids = [];
    let after = '';
    do {
      const page = (await ask('GET', `/_apps?limit=2${after && `&after=${after}`}`)).json();
      ids.push(...page.items.map((row) => row.id));
      after = page.next;
    } while (after);
    assert.ok(ids.includes(one) && ids.includes(other));
    assert.equal(new Set(ids).size, ids.length);
    assert.equal((await ask('GET', '/_apps', null)).status, 401);
    for (const wrong of ['limit=x', 'limit=-1', 'after=%21', 'after=%FF', 'what=1']) {
      assert.equal((await ask('GET', `/_apps?${wrong}`)).status, 400, wrong);
    }
  });

  it('keep their rules of joining', async () => {
    for (const mode of ['closed', 'invited', 'listed']) {
      const id = await app({ sign_up: { mode } });
      assert.deepEqual(told(await ask('POST', `/_apps/${id}/join`, ANN, {})), [403, 'sign_up_closed'], mode);
    }
    const full = await app({ quota: { accounts: 1 } });
    await join(full, ANN);
    assert.deepEqual(told(await ask('POST', `/_apps/${full}/join`, BOB, {})), [403, 'quota_exceeded']);
    assert.deepEqual(told(await ask('POST', '/_apps/none/join', ANN, {})), [404, 'unknown_app']);
    assert.deepEqual(told(await ask('POST', `/_apps/${full}/join`, undefined, {})), [403, 'no_account']);
    assert.deepEqual(told(await ask('POST', `/_apps/${full}/join`, null, {})), [401, 'unauthorized']);
    assert.deepEqual(told(await ask('POST', `/_apps/${full}/join`, ANN, { as: 'admin' })), [400, 'invalid_input']);
    assert.deepEqual(told(await ask('PUT', `/_apps/${full}/admins/${'a'.repeat(26)}`)), [404, 'not_found']);
    assert.deepEqual(told(await ask('PUT', `/_apps/${full}/admins/ann`)), [404, 'not_found']);
    assert.deepEqual(told(await ask('PUT', `/_apps/none/admins/${'a'.repeat(26)}`)), [404, 'unknown_app']);
  });

  it('refuse what makes no sense', async () => {
    const base = { id: 'sense', title: 'x' };
    for (const wrong of [
      { ...base, title: '' }, { ...base, title: 'x'.repeat(129) }, { ...base, title: 1 }, { id: 'sense' }, { ...base, unknown: 1 },
      { ...base, domains: ['a b'] }, { ...base, domains: 'a' }, { ...base, domains: Array(33).fill('a.example') },
      { ...base, origins: ['http://a.example'] }, { ...base, origins: ['javascript://x'] }, { ...base, links: { recover: 'https://a.example/{token}' } },
      { ...base, sign_up: { mode: 'some' } }, { ...base, sign_up: { allowed: ['@'] } }, { ...base, quota: { databases: -1 } },
      { ...base, quota: { databases: 10_001 } }, { ...base, sessions: { access_s: 0 } }, { ...base, language: 'de\r\nBcc: x' }, [], null, 'x',
    ]) {
      const answer = await ask('POST', '/_apps', undefined, JSON.stringify(wrong), { 'content-type': 'application/json' });
      assert.deepEqual(told(answer), [400, 'invalid_input'], JSON.stringify(wrong));
    }
    assert.equal((await ask('POST', '/_apps', undefined, 'id=x', { 'content-type': 'application/x-www-form-urlencoded' })).status, 415);
    assert.equal((await ask('PUT', '/_apps', undefined, {})).status, 405);
  });
});

describe('clients of CouchDB', () => {
  it('run unchanged inside an app', async () => {
    const id = await app();
    await join(id, ANN);
    const remote = new PouchDB(server.urlAs(ANN, encodeURIComponent(`${id}/notes`)), { skip_setup: true });
    const local = new PouchDB(freshName('local'), { adapter: 'memory' });
    await local.put({ _id: 'mine', n: 2, _attachments: { a: { content_type: 'text/plain', data: Buffer.from('hi') } } });
    const done = await local.sync(remote);
    assert.deepEqual([done.push.ok, done.pull.ok], [true, true]);
    assert.equal((await local.get('seen')).n, 1);
    const couch = Nano(server.urlAs(ANN)).use(`${id}/notes`);
    assert.equal((await couch.get('mine')).n, 2);
    assert.equal((await couch.attachment.get('mine', 'a')).toString(), 'hi');
    assert.ok((await couch.bulk({ docs: [{ _id: 'x' }, { _id: 'y' }] })).every((row) => row.rev));
    assert.equal((await couch.find({ selector: { n: 2 } })).docs.length, 1);
    const stranger = new PouchDB(server.urlAs(BOB, encodeURIComponent(`${id}/notes`)), { skip_setup: true });
    await assert.rejects(local.sync(stranger).then(), { status: 403 });
    await Promise.all([local.destroy(), remote.close()]);
  });
});
