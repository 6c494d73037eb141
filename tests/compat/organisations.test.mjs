// Organisations over sockets: the whole story of two people (an organisation, a team, an invitation by mail, what a
// role opens and closes at the next request), and each route with what it is for and with attempts to break it.

import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, describe, it } from 'node:test';
import { Server, within } from './harness/server.mjs';

const PASSWORD = 'correct horse battery';
const NOBODY = 'a'.repeat(26);
const as = (name) => (name === undefined ? undefined : name === null ? null : { name, password: PASSWORD });

/** Asks as `who` (a name, null for nobody, undefined for the administrator), and is answered with `status`. */
async function ask(server, who, method, path, body, status) {
  const options = { body };
  if (who !== undefined) options.as = as(who);
  const answer = await server.request(method, path, options);
  const wanted = status ?? { POST: 201, DELETE: 204 }[method] ?? 200;
  assert.equal(answer.status, wanted, `${method} ${path} as ${who}: ${answer.text}`);
  const json = answer.text === '' ? null : answer.json();
  if (answer.status >= 400) {
    assert.deepEqual(Object.keys(json), ['error', 'reason'], answer.text);
    assert.ok(json.reason.length > 3);
  }
  return json;
}
/** The same, refused with a word. */
async function refused(server, who, method, path, body, status, word) {
  const json = await ask(server, who, method, path, body, status);
  assert.equal(json.error, word, JSON.stringify(json));
}

/** An account of an administrator's making; answers its id. */
async function account(server, name, { email, verified = true } = {}) {
  const body = { name, password: PASSWORD };
  if (email !== undefined) Object.assign(body, { email, email_verified: verified });
  const made = await ask(server, undefined, 'POST', '/_accounts', body);
  return made.id;
}

/** The secret of the newest invitation that was sent to an address, once there are `count`. */
const secretOf = (server, to, count = 1) => within((async () => {
  for (;;) {
    const { items } = await ask(server, undefined, 'GET', '/_mail/captured');
    const mails = items.filter((mail) => mail.to === to && mail.kind === 'invitation');
    if (mails.length >= count) return /token=([A-Za-z0-9_-]{43})/.exec(mails[0].links.join(' '))[1];
  }
})(), `an invitation to ${to}`);

const organisation = async (server, who, name, more = {}) =>
  (await ask(server, who, 'POST', '/_orgs', { name, ...more })).id;
const team = async (server, who, of, name) =>
  (await ask(server, who, 'POST', '/_teams', { organisation: of, name })).id;
const invite = (server, who, body, status) => ask(server, who, 'POST', '/_invitations', body, status);

describe('the story of two people', () => {
  let server; let ann; let bob; let org; let writers;
  before(async () => {
    server = await Server.start();
    ann = await account(server, 'ann', { email: 'ann@example.org' });
    bob = await account(server, 'bob', { email: 'bob@example.org' });
    await account(server, 'eve', { email: 'eve@example.org' });
  });
  after(() => server.stop());

  it('ann makes an organisation and a team, and a database is the team\'s', async () => {
    const made = await ask(server, 'ann', 'POST', '/_orgs', { name: '  Blue   Whale ' });
    org = made.id;
    assert.match(org, /^[a-z2-7]{26}$/);
    assert.deepEqual([made.name, made.role, made.members, made.teams, made.revision, made.domain],
      ['Blue Whale', 'owner', 1, 0, 1, null]);
    writers = await team(server, 'ann', org, 'Writers');
    const me = await ask(server, 'ann', 'GET', '/_auth/me');
    const expected = [`org:${org}`, `org:${org}:member`, `org:${org}:admin`, `org:${org}:owner`,
      `team:${writers}`, `team:${writers}:reader`, `team:${writers}:writer`, `team:${writers}:admin`];
    assert.deepEqual([...me.roles].sort(), [...expected].sort());
    await ask(server, undefined, 'PUT', '/whales', undefined, 201);
    const security = { members: { roles: [`team:${writers}:writer`] }, admins: { roles: [`team:${writers}:admin`] } };
    await ask(server, undefined, 'PUT', '/whales/_security', security);
    await ask(server, 'ann', 'PUT', '/whales/one', { size: 30 }, 201);
    await ask(server, 'bob', 'GET', '/whales/one', undefined, 403);
  });

  it('bob is invited by mail, looks, accepts, and is in at the next request', async () => {
    const sent = await invite(server, 'ann', { team: writers, role: 'writer', address: 'Bob@Example.org' });
    assert.deepEqual([sent.state, sent.address, sent.role, sent.team_name, sent.organisation_name],
      ['pending', 'bob@example.org', 'writer', 'Writers', 'Blue Whale']);
    assert.equal(JSON.stringify(sent).includes('secret'), false);
    const token = await secretOf(server, 'bob@example.org');
    const seen = await ask(server, null, 'POST', '/_invitations/look', { token }, 200);
    assert.deepEqual([seen.organisation_name, seen.team_name, seen.role], ['Blue Whale', 'Writers', 'writer']);
    await ask(server, null, 'POST', '/_invitations/accept', { token }, 401);
    const joined = await ask(server, 'bob', 'POST', '/_invitations/accept', { token }, 200);
    assert.deepEqual([joined.organisation.role, joined.team.role, joined.team.account], ['member', 'writer', bob]);
    await ask(server, 'bob', 'PUT', '/whales/two', { size: 20 }, 201);
    await refused(server, 'bob', 'POST', '/_invitations/accept', { token }, 410, 'gone');
    await refused(server, 'eve', 'POST', '/_invitations/accept', { token }, 410, 'gone');
  });

  it('each change of what he is counts at the next request', async () => {
    const path = `/_teams/${writers}/members/${bob}`;
    await ask(server, 'ann', 'PATCH', path, { role: 'reader' });
    await ask(server, 'bob', 'GET', '/whales/one', undefined, 403);
    await ask(server, 'ann', 'PATCH', path, { role: 'admin' });
    await ask(server, 'bob', 'PUT', '/whales/three', { size: 3 }, 201);
    await ask(server, 'bob', 'DELETE', path);
    await ask(server, 'bob', 'GET', '/whales/one', undefined, 403);
    await ask(server, 'ann', 'POST', '/_memberships', { team: writers, account: bob, role: 'writer' });
    await ask(server, 'bob', 'GET', '/whales/one');
    await ask(server, 'bob', 'DELETE', `/_orgs/${org}/members/${bob}`);
    await ask(server, 'bob', 'GET', '/whales/one', undefined, 403);
    const me = await ask(server, 'bob', 'GET', '/_auth/me');
    assert.deepEqual(me.roles, []);
    assert.deepEqual((await ask(server, 'bob', 'GET', '/_memberships')).items, []);
  });

  it('a feed that is open ends with the membership that opened it', async () => {
    await ask(server, undefined, 'PUT', `/_orgs/${org}/members/${bob}`, { role: 'member' });
    await ask(server, 'ann', 'PUT', `/_teams/${writers}/members/${bob}`, { role: 'writer' });
    const listen = () => {
      const feed = http.request({
        host: '127.0.0.1', port: server.port, path: '/whales/_changes?feed=continuous&heartbeat=true', agent: false,
        auth: `bob:${PASSWORD}`,
      });
      const began = new Promise((resolve, reject) => {
        feed.on('error', reject);
        feed.on('response', (response) => {
          const ended = new Promise((done) => { response.on('close', done); });
          response.once('data', () => resolve({ ended }));
        });
      });
      feed.end();
      return within(began, 'the first change of the feed');
    };
    for (const [method, path] of [['DELETE', `/_teams/${writers}/members/${bob}`], ['DELETE', `/_orgs/${org}/members/${bob}`]]) {
      const { ended } = await listen();
      await ask(server, 'ann', method, path);
      await within(ended, `the end of the feed after ${method} ${path}`, 5_000);
      if (path.startsWith('/_teams')) await ask(server, 'ann', 'PUT', path, { role: 'writer' });
    }
    const temporary = await team(server, 'ann', org, 'Temporary');
    const security = { members: { roles: [`team:${writers}:writer`, `team:${temporary}`] }, admins: { roles: [`team:${writers}:admin`] } };
    await ask(server, undefined, 'PUT', '/whales/_security', security);
    await ask(server, undefined, 'PUT', `/_orgs/${org}/members/${bob}`, { role: 'member' });
    await ask(server, 'ann', 'PUT', `/_teams/${temporary}/members/${bob}`, { role: 'reader' });
    const { ended } = await listen();
    await ask(server, 'ann', 'DELETE', `/_teams/${temporary}`);
    await within(ended, 'the end of the feed after its team was deleted', 5_000);
    await ask(server, 'ann', 'DELETE', `/_orgs/${org}/members/${bob}`);
  });

  it('whoever is no member finds nothing of it', async () => {
    const sent = await invite(server, 'ann', { organisation: org, address: 'zoe@example.org' });
    const put = { role: 'member' };
    for (const [method, path, body] of [
      ['GET', `/_orgs/${org}`], ['PATCH', `/_orgs/${org}`, { name: 'Mine' }], ['DELETE', `/_orgs/${org}`],
      ['GET', `/_orgs/${org}/members`], ['GET', `/_orgs/${org}/members/${ann}`], ['GET', `/_orgs/${org}/teams`],
      ['PATCH', `/_orgs/${org}/members/${ann}`, put], ['DELETE', `/_orgs/${org}/members/${ann}`],
      ['PUT', `/_orgs/${org}/members/${bob}`, put], ['POST', `/_orgs/${org}/join`],
      ['PUT', `/_orgs/${org}/domain`, { name: 'example.org' }], ['DELETE', `/_orgs/${org}/domain`],
      ['POST', '/_teams', { organisation: org, name: 'Mine' }], ['GET', `/_teams?organisation=${org}`],
      ['GET', `/_teams/${writers}`], ['PATCH', `/_teams/${writers}`, { name: 'x' }], ['DELETE', `/_teams/${writers}`],
      ['GET', `/_teams/${writers}/members`], ['GET', `/_teams/${writers}/members/${ann}`],
      ['PUT', `/_teams/${writers}/members/${bob}`, { role: 'admin' }],
      ['PATCH', `/_teams/${writers}/members/${ann}`, { role: 'reader' }], ['DELETE', `/_teams/${writers}/members/${ann}`],
      ['POST', '/_memberships', { team: writers, account: bob, role: 'admin' }],
      ['GET', `/_memberships/${org}-${ann}`], ['PATCH', `/_memberships/${writers}-${ann}`, { role: 'reader' }],
      ['DELETE', `/_memberships/${org}-${ann}`],
      ['POST', '/_invitations', { organisation: org, address: 'eve@example.org' }],
      ['POST', '/_invitations', { team: writers, address: 'eve@example.org' }],
      ['GET', `/_invitations?organisation=${org}`], ['GET', `/_invitations/${sent.id}`],
      ['DELETE', `/_invitations/${sent.id}`], ['POST', `/_invitations/${sent.id}/resend`],
      ['POST', '/_invitations/accept', { invitation: sent.id }], ['POST', '/_invitations/decline', { invitation: sent.id }],
    ]) {
      await refused(server, 'eve', method, path, body, 404, 'not_found');
      const other = path.replaceAll(org, NOBODY).replaceAll(writers, NOBODY).replaceAll(sent.id, NOBODY);
      const there = await server.request(method, path, { body, as: as('eve') });
      const changed = JSON.parse(JSON.stringify(body ?? null)?.replaceAll(org, NOBODY).replaceAll(writers, NOBODY)
        .replaceAll(sent.id, NOBODY) ?? 'null') ?? undefined;
      const nowhere = await server.request(method, other, { body: changed, as: as('eve') });
      assert.equal(there.text, nowhere.text, `${method} ${path}`);
      await ask(server, null, method, path, body, path.endsWith('decline') ? 404 : 401);
    }
    const lists = ['/_orgs', '/_teams', '/_memberships', '/_invitations', '/_invitations?received=true', '/_orgs/joinable'];
    for (const path of lists) {
      assert.deepEqual(await ask(server, 'eve', 'GET', path), { items: [], next: null });
    }
    await ask(server, 'ann', 'DELETE', `/_invitations/${sent.id}`);
  });

  it('the last owner neither leaves nor steps down, and says what to do', async () => {
    const own = `/_orgs/${org}/members/${ann}`;
    await refused(server, 'ann', 'DELETE', own, undefined, 409, 'last_owner');
    await refused(server, 'ann', 'PATCH', own, { role: 'member' }, 409, 'last_owner');
    await refused(server, undefined, 'PATCH', own, { role: 'admin' }, 409, 'last_owner');
    await ask(server, undefined, 'PUT', `/_orgs/${org}/members/${bob}`, { role: 'admin' });
    await refused(server, 'bob', 'PATCH', own, { role: 'member' }, 403, 'forbidden');
    await refused(server, 'bob', 'PATCH', `/_orgs/${org}/members/${bob}`, { role: 'owner' }, 403, 'forbidden');
    await ask(server, 'ann', 'PATCH', `/_orgs/${org}/members/${bob}`, { role: 'owner' });
    await ask(server, 'ann', 'DELETE', own);
    await ask(server, 'ann', 'GET', '/whales/one', undefined, 403);
  });

  it('a deleted organisation is gone with all that was its own, also after a crash', async () => {
    await ask(server, 'bob', 'PUT', `/_teams/${writers}/members/${bob}`, { role: 'writer' });
    await invite(server, 'bob', { organisation: org, address: 'zoe@example.org' });
    const token = await secretOf(server, 'zoe@example.org', 2);
    await ask(server, 'bob', 'GET', '/whales/one');
    await ask(server, 'bob', 'DELETE', `/_orgs/${org}`);
    await ask(server, 'bob', 'GET', '/whales/one', undefined, 403);
    for (const path of [`/_orgs/${org}`, `/_teams/${writers}`]) {
      await ask(server, 'bob', 'GET', path, undefined, 404);
      await ask(server, undefined, 'GET', path, undefined, 404);
    }
    await ask(server, null, 'POST', '/_invitations/look', { token }, 404);
    await server.kill9();
    await server.up();
    assert.deepEqual((await ask(server, undefined, 'GET', '/_orgs?all=true')).items, []);
    assert.deepEqual((await ask(server, 'bob', 'GET', '/_auth/me')).roles, []);
    await organisation(server, 'ann', 'blue whale');
  });
});

describe('organisations', () => {
  let server; let ann; let bob;
  before(async () => {
    server = await Server.start({ args: ['--orgs-members-max', '3', '--orgs-owned-max', '3'] });
    ann = await account(server, 'ann', { email: 'ann@blue.example' });
    bob = await account(server, 'bob', { email: 'bob@blue.example' });
    await account(server, 'carl', { email: 'carl@gmail.com' });
    await account(server, 'dora');
  });
  after(() => server.stop());

  it('have names of their own, whatever they look like', async () => {
    await organisation(server, 'ann', 'Paypal');
    for (const name of ['paypal', ' PAYPAL ', 'Раураl', 'ｐａｙｐａｌ']) {
      await refused(server, 'bob', 'POST', '/_orgs', { name }, 409, 'name_taken');
    }
    for (const name of ['', ' ', 'a\u0000b', 'a\nb', 'a\u202eb', 'a\u200bb', 'x'.repeat(65), 'x'.repeat(200)]) {
      await refused(server, 'bob', 'POST', '/_orgs', { name }, 400, 'invalid_input');
    }
    for (const body of [{}, { name: 1 }, { name: null }, { name: 'x', colour: 'blue' }, { name: 'x', app: 'No App' }, [], 'x']) {
      await refused(server, 'bob', 'POST', '/_orgs', body, body === 'x' ? 415 : 400,
        body === 'x' ? 'bad_content_type' : 'invalid_input');
    }
    await refused(server, 'bob', 'POST', '/_orgs', { name: 'x', app: 'no-such-app' }, 400, 'invalid_input');
    await refused(server, 'bob', 'POST', '/_orgs', { name: 'x', owner: ann }, 403, 'forbidden');
    await refused(server, undefined, 'POST', '/_orgs', { name: 'x' }, 403, 'no_account');
    await ask(server, null, 'POST', '/_orgs', { name: 'x' }, 401);
    const made = await ask(server, undefined, 'POST', '/_orgs', { name: 'For Bob', owner: bob });
    assert.equal(made.role, null);
    assert.equal((await ask(server, 'bob', 'GET', `/_orgs/${made.id}`)).role, 'owner');
  });

  it('are listed in pages', async () => {
    for (const name of ['Two', 'Three']) await organisation(server, 'ann', name);
    await refused(server, 'ann', 'POST', '/_orgs', { name: 'Four' }, 403, 'quota_exceeded');
    const seen = [];
    for (let after = ''; after !== null;) {
      const page = await ask(server, 'ann', 'GET', `/_orgs?limit=1${after && `&after=${after}`}`);
      assert.equal(page.items.length, 1);
      seen.push(page.items[0].name);
      after = page.next;
    }
    assert.deepEqual(seen.sort(), ['Paypal', 'Three', 'Two']);
    const all = await ask(server, undefined, 'GET', '/_orgs?all=true&limit=3');
    assert.equal(all.items.length, 3);
    assert.equal((await ask(server, undefined, 'GET', `/_orgs?all=true&after=${all.next}`)).items.length, 1);
    await refused(server, 'ann', 'GET', '/_orgs?all=true', undefined, 403, 'forbidden');
    for (const query of ['limit=0', 'limit=1001', 'limit=x', 'after=%00', 'after=!', 'all=yes', 'page=2', 'limit=1&limit=2']) {
      await refused(server, 'ann', 'GET', `/_orgs?${query}`, undefined, 400, 'invalid_input');
    }
  });

  it('are changed by whoever has seen them as they are', async () => {
    const { items } = await ask(server, 'ann', 'GET', '/_orgs');
    const { id, revision } = items.find((one) => one.name === 'Two');
    const changed = await ask(server, 'ann', 'PATCH', `/_orgs/${id}`, { name: 'Second', if_revision: revision });
    assert.deepEqual([changed.name, changed.revision], ['Second', revision + 1]);
    await refused(server, 'ann', 'PATCH', `/_orgs/${id}`, { name: 'Third', if_revision: revision }, 409, 'conflict');
    await refused(server, 'ann', 'DELETE', `/_orgs/${id}?if_revision=${revision}`, undefined, 409, 'conflict');
    await refused(server, 'ann', 'PATCH', `/_orgs/${id}`, { name: 'PayPal' }, 409, 'name_taken');
    await refused(server, 'ann', 'PATCH', `/_orgs/${id}`, { quota: { members: 9 } }, 403, 'forbidden');
    await refused(server, 'ann', 'PATCH', `/_orgs/${id}`, { role: 'owner' }, 400, 'invalid_input');
    const same = await Promise.all([1, 2, 3, 4].map((n) => server.request('PATCH', `/_orgs/${id}`,
      { body: { name: `At once ${n}`, if_revision: revision + 1 }, as: as('ann') })));
    assert.deepEqual(same.map((answer) => answer.status).sort(), [200, 409, 409, 409]);
    // The name that it had is free.
    await ask(server, undefined, 'PATCH', `/_orgs/${items.find((one) => one.name === 'Three').id}`, { name: 'Two' });
    await ask(server, 'ann', 'DELETE', `/_orgs/${id}`);
    await ask(server, 'ann', 'DELETE', `/_orgs/${id}`, undefined, 404);
  });

  it('take in as many as there is room for, also at once', async () => {
    const id = (await ask(server, 'ann', 'GET', '/_orgs')).items.find((one) => one.name === 'Paypal').id;
    const more = await Promise.all([1, 2, 3, 4, 5].map((n) => account(server, `room${n}`)));
    const put = (who) => server.request('PUT', `/_orgs/${id}/members/${who}`, { body: { role: 'member' } });
    const statuses = (await Promise.all(more.map(put))).map((answer) => answer.status);
    assert.deepEqual(statuses.sort(), [200, 200, 403, 403, 403]);
    await refused(server, undefined, 'PUT', `/_orgs/${id}/members/${bob}`, { role: 'member' }, 403, 'quota_exceeded');
    const wider = await ask(server, undefined, 'PATCH', `/_orgs/${id}`, { quota: { members: 4, teams: 1 } });
    assert.deepEqual(wider.quota, { members: 4, teams: 1, invitations: 500 });
    await ask(server, undefined, 'PUT', `/_orgs/${id}/members/${bob}`, { role: 'member' });
    await team(server, 'ann', id, 'Only');
    await refused(server, 'ann', 'POST', '/_teams', { organisation: id, name: 'More' }, 403, 'quota_exceeded');
    await refused(server, 'bob', 'PATCH', `/_orgs/${id}`, { name: 'Bobs' }, 403, 'forbidden');
    await refused(server, 'bob', 'DELETE', `/_orgs/${id}`, undefined, 403, 'forbidden');
    const page = await ask(server, 'bob', 'GET', `/_orgs/${id}/members`);
    assert.deepEqual(page.items.map((member) => member.name).filter((name) => name === 'ann'), ['ann']);
    assert.equal(JSON.stringify(page).includes('@'), false, 'no addresses');
    await ask(server, undefined, 'PUT', `/_orgs/${id}/members/${NOBODY}`, { role: 'member' }, 403);
    await ask(server, 'bob', 'DELETE', `/_orgs/${id}/members/${bob}`);
  });

  it('let in by a domain who has an address there, if they want to', async () => {
    const id = (await ask(server, 'ann', 'GET', '/_orgs')).items.find((one) => one.name === 'Two').id;
    const domain = `/_orgs/${id}/domain`;
    for (const name of ['blue', 'bl ue.example', 'a@blue.example', '.', 'http://blue.example', 'x'.repeat(254)]) {
      await refused(server, 'ann', 'PUT', domain, { name }, 400, 'invalid_input');
    }
    await refused(server, 'ann', 'PUT', domain, { name: 'red.example' }, 403, 'domain_unproved');
    const set = await ask(server, 'ann', 'PUT', domain, { name: 'Blue.Example' });
    assert.deepEqual([set.domain.name, set.domain.join, set.domain.proof], ['blue.example', false, 'address']);
    await ask(server, 'bob', 'POST', `/_orgs/${id}/join`, undefined, 404);
    await ask(server, 'ann', 'PUT', domain, { name: 'blue.example', join: true });
    const { items } = await ask(server, 'bob', 'GET', '/_orgs/joinable');
    assert.deepEqual(items, [{ id, name: 'Two', app: '' }]);
    assert.equal((await ask(server, 'bob', 'POST', `/_orgs/${id}/join`)).role, 'member');
    await refused(server, 'bob', 'POST', `/_orgs/${id}/join`, undefined, 409, 'already_member');
    await ask(server, 'dora', 'POST', `/_orgs/${id}/join`, undefined, 404);
    await refused(server, 'bob', 'PUT', domain, { name: 'blue.example' }, 403, 'forbidden');
    // Nobody owns a domain where everybody gets an address, nor one of somebody else.
    const carls = await organisation(server, 'carl', 'Carls');
    await refused(server, 'carl', 'PUT', `/_orgs/${carls}/domain`, { name: 'gmail.com' }, 403, 'domain_unproved');
    await refused(server, undefined, 'PUT', `/_orgs/${carls}/domain`, { name: 'blue.example' }, 409, 'domain_taken');
    await ask(server, 'ann', 'DELETE', domain);
    await ask(server, 'ann', 'DELETE', domain, undefined, 404);
    const given = await ask(server, undefined, 'PUT', `/_orgs/${carls}/domain`, { name: 'blue.example' });
    assert.equal(given.domain.proof, 'administrator');
    await ask(server, 'bob', 'DELETE', `/_orgs/${id}/members/${bob}`);
  });
});

describe('teams and memberships', () => {
  let server; let ann; let bob; let carl; let org; let one;
  before(async () => {
    server = await Server.start();
    ann = await account(server, 'ann');
    bob = await account(server, 'bob');
    carl = await account(server, 'carl');
    org = await organisation(server, 'ann', 'Org');
    one = await team(server, 'ann', org, 'One');
    for (const who of [bob, carl]) await ask(server, undefined, 'PUT', `/_orgs/${org}/members/${who}`, { role: 'member' });
  });
  after(() => server.stop());

  it('have names of their own in their organisation', async () => {
    await refused(server, 'ann', 'POST', '/_teams', { organisation: org, name: 'ONE' }, 409, 'name_taken');
    await refused(server, 'ann', 'POST', '/_teams', { organisation: 'x', name: 'Two' }, 400, 'invalid_input');
    await refused(server, 'ann', 'POST', '/_teams', { organisation: NOBODY, name: 'Two' }, 404, 'not_found');
    await refused(server, 'bob', 'POST', '/_teams', { organisation: org, name: 'Two' }, 403, 'forbidden');
    await ask(server, 'ann', 'PATCH', `/_orgs/${org}`, { members_make_teams: true });
    const two = await team(server, 'bob', org, 'Two');
    await refused(server, 'bob', 'PATCH', `/_teams/${two}`, { name: 'Оnе' }, 409, 'name_taken');
    const renamed = await ask(server, 'bob', 'PATCH', `/_teams/${two}`, { name: 'Zwei', if_revision: 1 });
    assert.deepEqual([renamed.name, renamed.revision], ['Zwei', 2]);
    await refused(server, 'bob', 'PATCH', `/_teams/${two}`, { name: 'Drei', if_revision: 1 }, 409, 'conflict');
    await refused(server, 'carl', 'PATCH', `/_teams/${two}`, { name: 'Drei' }, 403, 'forbidden');
    const listed = await ask(server, 'carl', 'GET', `/_orgs/${org}/teams`);
    assert.deepEqual(listed.items.map((found) => found.name), ['One', 'Zwei']);
    assert.deepEqual(await ask(server, 'carl', 'GET', `/_teams?organisation=${org}`), listed);
    assert.deepEqual((await ask(server, 'bob', 'GET', '/_teams')).items.map((found) => found.id), [two]);
    await refused(server, 'bob', 'DELETE', `/_teams/${two}`, undefined, 403, 'forbidden');
    await ask(server, 'ann', 'DELETE', `/_teams/${two}`);
    assert.deepEqual((await ask(server, 'bob', 'GET', '/_teams')).items, []);
  });

  it('are joined by members of the organisation, and by nobody who adds himself', async () => {
    await refused(server, 'bob', 'POST', '/_memberships', { team: one, account: bob, role: 'reader' }, 403, 'forbidden');
    await refused(server, 'ann', 'POST', '/_memberships', { team: one, account: NOBODY, role: 'reader' }, 409, 'not_a_member');
    const stranger = await account(server, 'stranger');
    await refused(server, 'ann', 'POST', '/_memberships', { team: one, account: stranger, role: 'reader' }, 409, 'not_a_member');
    const made = await ask(server, 'ann', 'POST', '/_memberships', { team: one, account: bob, role: 'writer' });
    assert.deepEqual([made.id, made.role, made.revision], [`${one}-${bob}`, 'writer', 1]);
    await refused(server, 'ann', 'POST', '/_memberships', { team: one, account: bob, role: 'admin' }, 409, 'already_member');
    for (const role of ['owner', 'member', 'Writer', '', null, 1]) {
      await refused(server, 'ann', 'POST', '/_memberships', { team: one, account: carl, role }, 400, 'invalid_input');
    }
    await refused(server, 'bob', 'PATCH', `/_memberships/${one}-${bob}`, { role: 'admin' }, 403, 'forbidden');
    await refused(server, 'ann', 'PATCH', `/_memberships/${one}-${bob}`, { role: 'owner' }, 400, 'invalid_input');
    await refused(server, 'ann', 'PATCH', `/_memberships/${org}-${bob}`, { role: 'writer' }, 400, 'invalid_input');
    await refused(server, 'ann', 'PATCH', `/_memberships/${one}-${bob}`, { role: 'admin', if_revision: 7 }, 409, 'conflict');
    const raised = await ask(server, 'ann', 'PATCH', `/_memberships/${one}-${bob}`, { role: 'admin', if_revision: 1 });
    assert.deepEqual([raised.role, raised.revision], ['admin', 2]);
    // An administrator of the team adds others now, and takes them out again.
    await ask(server, 'bob', 'PUT', `/_teams/${one}/members/${carl}`, { role: 'reader' });
    assert.equal((await ask(server, 'carl', 'GET', `/_memberships/${one}-${carl}`)).name, 'carl');
    await refused(server, 'carl', 'DELETE', `/_memberships/${one}-${bob}`, undefined, 403, 'forbidden');
    await ask(server, 'bob', 'DELETE', `/_memberships/${one}-${carl}`);
    await ask(server, 'bob', 'DELETE', `/_memberships/${one}-${carl}`, undefined, 404);
    const own = (await ask(server, 'bob', 'GET', '/_memberships')).items;
    assert.deepEqual(own.map((found) => [found.team, found.role]).sort(), [[null, 'member'], [one, 'admin']].sort());
    for (const id of ['x', `${one}`, `${one}-`, `-${bob}`, `${one}-${bob}-x`, `${bob}-${one}`, '%00-%00', '..']) {
      const answer = await server.request('GET', `/_memberships/${id}`, { as: as('bob') });
      assert.ok([404, 400].includes(answer.status), `${id}: ${answer.text}`);
    }
  });

  it('end with the membership of the organisation and with the account', async () => {
    await ask(server, 'ann', 'PUT', `/_teams/${one}/members/${carl}`, { role: 'writer' });
    await ask(server, 'ann', 'DELETE', `/_memberships/${org}-${carl}`);
    const left = (await ask(server, 'ann', 'GET', `/_teams/${one}/members`)).items.map((member) => member.account);
    assert.deepEqual(left.sort(), [ann, bob].sort());
    // CouchDB's own way to delete an account.
    const document = await ask(server, undefined, 'GET', '/_users/org.couchdb.user:bob');
    await ask(server, undefined, 'DELETE', `/_users/org.couchdb.user:bob?rev=${document._rev}`, undefined, 200);
    assert.deepEqual((await ask(server, 'ann', 'GET', `/_teams/${one}/members`)).items.length, 1);
    assert.equal((await ask(server, 'ann', 'GET', `/_orgs/${org}`)).members, 1);
  });
});

describe('invitations', () => {
  let server; let org; let one;
  before(async () => {
    server = await Server.start({ args: ['--orgs-invitation-lifetime', '1h', '--limits-account-mail', 'off'] });
    await account(server, 'ann', { email: 'ann@example.org' });
    await account(server, 'bob', { email: 'bob@example.org' });
    await account(server, 'una', { email: 'una@example.org', verified: false });
    await account(server, 'nona');
    org = await organisation(server, 'ann', 'Org');
    one = await team(server, 'ann', org, 'One');
  });
  after(() => server.stop());

  it('are refused if they make no sense', async () => {
    for (const body of [
      {}, { organisation: org }, { address: 'x@example.org' }, { organisation: org, address: 'x' },
      { organisation: org, address: 'x@example.org\r\nBcc: y@example.org' }, { organisation: org, address: 'a,b@example.org' },
      { organisation: org, address: 'x@example.org', role: 'writer' }, { team: one, address: 'x@example.org', role: 'owner' },
      { organisation: org, address: 'x@example.org', role: 'boss' }, { organisation: 'x', address: 'x@example.org' },
      { organisation: org, address: 'x@example.org', secret: 'x' }, { organisation: org, address: `${'x'.repeat(250)}@example.org` },
    ]) await refused(server, 'ann', 'POST', '/_invitations', body, 400, 'invalid_input');
    for (const token of ['x', 'A'.repeat(43), 'é', '../..']) {
      await refused(server, null, 'POST', '/_invitations/look', { token }, 404, 'not_found');
      await refused(server, null, 'POST', '/_invitations/decline', { token }, 404, 'not_found');
      await refused(server, 'bob', 'POST', '/_invitations/accept', { token }, 404, 'not_found');
    }
    for (const body of [{}, { token: 'x', invitation: NOBODY }, { token: '' }, { token: 'x'.repeat(200) }, { token: 1 }]) {
      await refused(server, 'bob', 'POST', '/_invitations/accept', body, 400, 'invalid_input');
      await refused(server, null, 'POST', '/_invitations/decline', body, 400, 'invalid_input');
    }
    assert.deepEqual((await ask(server, undefined, 'GET', '/_mail/captured')).items, []);
  });

  it('are neither sent nor accepted by who has verified no address', async () => {
    const unas = await organisation(server, 'una', 'Unas');
    await refused(server, 'una', 'POST', '/_invitations', { organisation: unas, address: 'bob@example.org' }, 403, 'unverified');
    await invite(server, 'ann', { organisation: org, address: 'zoe@example.org' });
    const token = await secretOf(server, 'zoe@example.org');
    await refused(server, 'una', 'POST', '/_invitations/accept', { token }, 403, 'unverified');
    await refused(server, 'nona', 'POST', '/_invitations/accept', { token }, 403, 'unverified');
    await refused(server, undefined, 'POST', '/_invitations/accept', { token }, 403, 'no_account');
    // The address that she named herself is proved by the secret that was sent there.
    await invite(server, 'ann', { organisation: org, address: 'una@example.org' });
    const own = await secretOf(server, 'una@example.org');
    await ask(server, 'una', 'POST', '/_invitations/accept', { token: own }, 200);
    const { emails } = await ask(server, 'una', 'GET', '/_auth/me');
    assert.ok(emails[0].verified ?? emails[0].verified_ms, JSON.stringify(emails));
    // One that he did not name is not given to him: it could be somebody else's who wants his account.
    await ask(server, 'bob', 'POST', '/_invitations/accept', { token }, 200);
    assert.equal((await ask(server, 'bob', 'GET', '/_auth/me')).emails.length, 1);
  });

  it('tell the same of addresses with and without an account', async () => {
    const known = await invite(server, 'ann', { team: one, address: 'bob@example.org' });
    const unknown = await invite(server, 'ann', { team: one, address: 'nobody@example.org' });
    const shape = (sent) => JSON.stringify({ ...sent, id: '', address: '', created_ms: 0, sent_ms: 0, expires_ms: 0 });
    assert.equal(shape(known), shape(unknown));
    for (const address of ['bob@example.org', 'NOBODY@example.org']) {
      await refused(server, 'ann', 'POST', '/_invitations', { team: one, address }, 409, 'already_invited');
    }
  });

  it('are received, declined without signing in, and answered once', async () => {
    const { items } = await ask(server, 'bob', 'GET', '/_invitations?received=true');
    const pending = items.filter((found) => found.state === 'pending');
    assert.deepEqual(pending.map((found) => found.team), [one]);
    await refused(server, 'una', 'POST', '/_invitations/accept', { invitation: pending[0].id }, 404, 'not_found');
    const joined = await ask(server, 'bob', 'POST', '/_invitations/accept', { invitation: pending[0].id }, 200);
    assert.equal(joined.team.role, 'reader');
    const token = await secretOf(server, 'nobody@example.org');
    await ask(server, null, 'POST', '/_invitations/decline', { token }, 204);
    for (const way of ['decline', 'look', 'accept']) {
      await refused(server, 'bob', 'POST', `/_invitations/${way}`, { token }, 410, 'gone');
    }
    const sent = (await ask(server, 'ann', 'GET', '/_invitations')).items;
    assert.deepEqual(sent.map((found) => found.state).sort(), ['accepted', 'accepted', 'accepted', 'declined']);
    assert.deepEqual((await ask(server, 'ann', 'GET', `/_invitations?organisation=${org}`)).items.length, 4);
    await refused(server, 'bob', 'GET', `/_invitations?organisation=${org}`, undefined, 403, 'forbidden');
  });

  it('are revoked, and sent again no sooner than after a minute', async () => {
    const sent = await invite(server, 'ann', { organisation: org, role: 'admin', address: 'late@example.org' });
    const token = await secretOf(server, 'late@example.org');
    const again = await server.request('POST', `/_invitations/${sent.id}/resend`, { as: as('ann') });
    assert.equal(again.status, 429);
    assert.ok(Number(again.headers['retry-after']) > 0);
    await refused(server, 'bob', 'DELETE', `/_invitations/${sent.id}`, undefined, 403, 'forbidden');
    await ask(server, 'ann', 'DELETE', `/_invitations/${sent.id}`);
    await refused(server, 'ann', 'DELETE', `/_invitations/${sent.id}`, undefined, 410, 'gone');
    await refused(server, 'ann', 'POST', `/_invitations/${sent.id}/resend`, undefined, 410, 'gone');
    const { reason } = await ask(server, 'una', 'POST', '/_invitations/accept', { token }, 410);
    assert.match(reason, /revoked/);
    assert.equal((await ask(server, 'ann', 'GET', `/_invitations/${sent.id}`)).state, 'revoked');
  });

  it('make an account with the one who has none', async () => {
    await invite(server, 'ann', { team: one, role: 'writer', address: 'new@example.org' });
    const token = await secretOf(server, 'new@example.org');
    // Who says to have another address signs up as anybody does, and is not in.
    const other = { name: 'other', email: 'other@example.org', password: PASSWORD };
    const plain = await ask(server, null, 'POST', '/_auth/signup', { ...other, invitation: token }, 202);
    assert.equal(plain.next, 'verify');
    const { items: [waiting] } = await ask(server, undefined, 'GET', '/_accounts?name=other');
    assert.deepEqual([waiting.pending, waiting.roles], [true, []]);
    await ask(server, null, 'POST', '/_auth/signup', { ...other, invitation: 'A'.repeat(43) }, 410);
    const signed = await ask(server, null, 'POST', '/_auth/signup', { name: 'newcomer', password: PASSWORD, invitation: token }, 202);
    assert.equal(signed.next, 'login');
    const me = await ask(server, 'newcomer', 'GET', '/_auth/me');
    assert.ok(me.roles.includes(`team:${one}:writer`), JSON.stringify(me));
    assert.equal(me.emails[0].email ?? me.emails[0].address, 'new@example.org');
    await ask(server, null, 'POST', '/_auth/signup', { name: 'twice', password: PASSWORD, invitation: token }, 410);
  });

  it('are worth no more than who sent them', async () => {
    const members = (await ask(server, 'ann', 'GET', `/_orgs/${org}/members`)).items;
    const bob = members.find((member) => member.name === 'bob').account;
    await ask(server, 'ann', 'PATCH', `/_orgs/${org}/members/${bob}`, { role: 'admin' });
    await refused(server, 'bob', 'POST', '/_invitations', { organisation: org, role: 'owner', address: 'x@example.org' }, 403, 'forbidden');
    await invite(server, 'bob', { organisation: org, role: 'admin', address: 'back@example.org' });
    const token = await secretOf(server, 'back@example.org');
    await ask(server, 'ann', 'DELETE', `/_orgs/${org}/members/${bob}`);
    await refused(server, 'bob', 'POST', '/_invitations/accept', { token }, 410, 'gone');
    await ask(server, 'bob', 'GET', `/_orgs/${org}`, undefined, 404);
  });
});

describe('where only those sign up who were invited', () => {
  let server; let org;
  before(async () => {
    server = await Server.start({ args: ['--signup-mode', 'invited', '--orgs-invitation-lifetime', '1s'] });
    await account(server, 'ann', { email: 'ann@example.org' });
    org = await organisation(server, 'ann', 'Org');
  });
  after(() => server.stop());

  it('an invitation opens the door until it expires', async () => {
    const asked = { name: 'new', password: PASSWORD };
    await ask(server, null, 'POST', '/_auth/signup', asked, 403);
    await ask(server, null, 'POST', '/_auth/signup', { ...asked, invitation: 'A'.repeat(43) }, 403);
    await invite(server, 'ann', { organisation: org, address: 'new@example.org' });
    const token = await secretOf(server, 'new@example.org');
    const email = 'other@example.org';
    await ask(server, null, 'POST', '/_auth/signup', { ...asked, email, invitation: token }, 403);
    // Asked until its second is over.
    const answer = await within((async () => {
      for (;;) {
        const looked = await server.request('POST', '/_invitations/look', { body: { token }, as: null });
        if (looked.status !== 200) return looked;
      }
    })(), 'the end of the invitation');
    assert.equal(answer.status, 410);
    assert.match(answer.json().reason, /expired/);
    await ask(server, null, 'POST', '/_auth/signup', { ...asked, invitation: token }, 403);
    await refused(server, 'ann', 'POST', '/_invitations/accept', { token }, 410, 'gone');
    await refused(server, null, 'POST', '/_invitations/decline', { token }, 410, 'gone');
    assert.equal((await ask(server, 'ann', 'GET', '/_invitations')).items[0].state, 'expired');
    // It may be invited anew, for the one before is over.
    await invite(server, 'ann', { organisation: org, address: 'new@example.org' });
    const fresh = await secretOf(server, 'new@example.org', 2);
    await ask(server, null, 'POST', '/_auth/signup', { ...asked, invitation: fresh }, 202);
    assert.ok((await ask(server, 'new', 'GET', '/_auth/me')).roles.includes(`org:${org}`));
  });
});
