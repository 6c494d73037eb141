// A story, from outside only: two people sign up, verify their addresses, make an organisation with a team, invite,
// join, share documents through PouchDB and one open feed, leave, forget a password and recover, and are erased.
// Nothing but what a browser, a mailbox and PouchDB see is looked at; each chapter needs the ones before it.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import PouchDB from 'pouchdb';
import memory from 'pouchdb-adapter-memory';
import { ADMIN, Server, within } from './harness/server.mjs';

PouchDB.plugin(memory);

const basic = (name, password) => `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;
const ROOT = { authorization: basic(ADMIN.name, ADMIN.password) };
const PASSWORD = { ann: 'correct horse battery', ben: 'staple of a long night' };

describe('the story of a team', () => {
  let server;
  const ann = { email: 'Ann@Example.org' };
  const ben = { email: 'ben@example.org' };
  before(async () => { server = await Server.start(); });
  after(() => server?.stop());

  /** A request; answers with status, body and headers. */
  async function ask(method, path, { headers = {}, body, as } = {}) {
    const credential = as ? { authorization: `Bearer ${as.access}` } : {};
    const answer = await fetch(server.origin + path, {
      method,
      headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...credential, ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await answer.text();
    let json;
    try { json = JSON.parse(text); } catch { json = text; }
    return { status: answer.status, json, headers: answer.headers };
  }

  /** As `ask`, where only this status is right. */
  async function expect(status, method, path, rest) {
    const answer = await ask(method, path, rest);
    assert.equal(answer.status, status, `${method} ${path}: ${JSON.stringify(answer.json)}`);
    return answer.json;
  }

  /** The newest mail of a kind to an address. It is queued with what it tells, and captured in the background. */
  function mail(kind, to) {
    const look = async () => {
      for (;;) {
        const { json } = await ask('GET', '/_mail/captured', { headers: ROOT });
        const found = json.items.find((one) => one.kind === kind && one.to.toLowerCase() === to.toLowerCase());
        if (found) return found;
      }
    };
    return within(look(), `the mail ${kind} to ${to}`);
  }
  const tokenOf = (letter) => /#token=([A-Za-z0-9_-]{43})/.exec(letter.text)[1];

  async function signIn(person, password) {
    const begun = await expect(200, 'POST', '/_auth/login', { body: { email: person.email, password, device: 'test' } });
    person.access = begun.access_token;
    person.refresh = begun.refresh_token;
    person.id = begun.account;
  }

  it('signs both up', async () => {
    ann.answer = await expect(202, 'POST', '/_auth/signup', { body: { email: ann.email, password: PASSWORD.ann, language: 'de' } });
    await expect(202, 'POST', '/_auth/signup', { body: { email: ben.email, password: PASSWORD.ben, name: 'ben' } });
  });

  it('lets nobody in by an address that is not verified, and everybody after', async () => {
    await expect(401, 'POST', '/_auth/login', { body: { email: ann.email, password: PASSWORD.ann } });
    for (const [person, password] of [[ann, PASSWORD.ann], [ben, PASSWORD.ben]]) {
      const token = tokenOf(await mail('verify_address', person.email));
      await expect(200, 'POST', '/_auth/verifyEmail', { body: { token } });
      await expect(410, 'POST', '/_auth/verifyEmail', { body: { token } });
      await signIn(person, password);
    }
    assert.notEqual(ann.id, ben.id);
    // Who signs up with an address that is somebody's is told the same, and its owner is told of it.
    const again = await expect(202, 'POST', '/_auth/signup', { body: { email: ann.email, password: 'another one entirely' } });
    assert.deepEqual(again, ann.answer);
    await mail('already_registered', ann.email);
    const me = await expect(200, 'GET', '/_auth/me', { as: ann });
    assert.equal(me.id, ann.id);
    // The same account at CouchDB's door, by name and by address in any case.
    for (const name of ['ben', 'BEN@example.ORG']) {
      const session = await expect(200, 'GET', '/_session', { headers: { authorization: basic(name, PASSWORD.ben) } });
      assert.equal(session.userCtx.name, 'ben');
    }
  });

  it('has Ann make an organisation and a team, and invite Ben by mail', async () => {
    const org = await expect(201, 'POST', '/_orgs', { as: ann, body: { name: 'Pilots' } });
    const team = await expect(201, 'POST', '/_teams', { as: ann, body: { organisation: org.id, name: 'Night' } });
    Object.assign(ann, { org: org.id, team: team.id });
    // Whoever is not in it does not learn that it is there.
    await expect(404, 'GET', `/_orgs/${org.id}`, { as: ben });
    await expect(404, 'GET', `/_teams/${team.id}`, { as: ben });
    await expect(201, 'POST', '/_invitations', { as: ann, body: { organisation: org.id, team: team.id, role: 'writer', address: ben.email } });
  });

  it('lets Ben in where the team may enter as soon as he has accepted', async () => {
    await expect(201, 'PUT', '/log', { headers: ROOT });
    const rights = { admins: { names: [], roles: [] }, members: { names: [], roles: [`team:${ann.team}:writer`] } };
    await expect(200, 'PUT', '/log/_security', { headers: ROOT, body: rights });
    await expect(403, 'GET', '/log', { as: ben });
    const token = tokenOf(await mail('invitation', ben.email));
    await expect(200, 'POST', '/_invitations/accept', { as: ben, body: { token } });
    await expect(200, 'GET', '/log', { as: ben });
    const { json: { userCtx } } = await ask('GET', '/_session', { as: ben });
    for (const role of [`org:${ann.org}`, `team:${ann.team}`, `team:${ann.team}:writer`, `user:${ben.id}`]) {
      assert.ok(userCtx.roles.includes(role), role);
    }
    assert.ok(!userCtx.roles.includes(`team:${ann.team}:admin`));
  });

  it('syncs with PouchDB for both, with a token and with a temporary name', async () => {
    const temporary = await expect(200, 'POST', '/_auth/login', { body: { email: ben.email, password: PASSWORD.ben, face: 'basic' } });
    const url = new URL('/log', server.origin);
    const ofBen = new PouchDB(url.href, { auth: { username: temporary.basic_name, password: temporary.basic_password } });
    const ofAnn = new PouchDB(url.href, {
      fetch: (to, options) => {
        options.headers.set('authorization', `Bearer ${ann.access}`);
        return PouchDB.fetch(to, options);
      },
    });
    const [phone, desk] = ['phone', 'desk'].map((name) => new PouchDB(`story-${name}`, { adapter: 'memory' }));
    await phone.put({ _id: 'first', by: 'ben' });
    await phone.sync(ofBen);
    await desk.sync(ofAnn);
    assert.equal((await desk.get('first')).by, 'ben');
    await Promise.all([phone.destroy(), desk.destroy()]);
  });

  it('ends what Ben has open when he leaves, and tells his feed nothing more', async () => {
    const feed = await fetch(`${server.origin}/log/_changes?feed=continuous&since=now&heartbeat=60000`, {
      headers: { authorization: `Bearer ${ben.access}` },
    });
    assert.equal(feed.status, 200);
    const heard = feed.text().catch((error) => `broken: ${error}`);
    await expect(204, 'DELETE', `/_teams/${ann.team}/members/${ben.id}`, { as: ben });
    const told = await within(heard, 'the end of the feed');
    assert.ok(!told.includes('secret'), told);
    await expect(403, 'GET', '/log', { as: ben });
    await expect(201, 'PUT', '/log/secret', { as: ann, body: { text: 'after he left' } });
    await expect(403, 'GET', '/log/secret', { as: ben });
  });

  it('brings Ben back in with a new password when he has forgotten his, and ends his sessions', async () => {
    const known = await expect(202, 'POST', '/_auth/recover', { body: { email: ben.email } });
    const unknown = await expect(202, 'POST', '/_auth/recover', { body: { email: 'nobody@example.org' } });
    assert.deepEqual(known, unknown);
    const token = tokenOf(await mail('recover', ben.email));
    await expect(200, 'POST', '/_auth/reset', { body: { token, password: 'a wholly new secret' } });
    await expect(410, 'POST', '/_auth/reset', { body: { token, password: 'a wholly other secret' } });
    await expect(401, 'GET', '/_auth/me', { as: ben });
    await expect(401, 'POST', '/_auth/refresh', { body: { refresh_token: ben.refresh } });
    await expect(401, 'POST', '/_auth/login', { body: { email: ben.email, password: PASSWORD.ben } });
    await signIn(ben, 'a wholly new secret');
    assert.match((await mail('password_changed', ben.email)).text, /\S/);
  });

  it('gives Ben all that is his in one file', async () => {
    const mine = await expect(200, 'GET', '/_auth/export', { as: ben });
    const text = JSON.stringify(mine);
    assert.ok(text.includes('ben@example.org') && text.includes(ann.org), text);
    assert.doesNotMatch(text, /\$argon2|derived_key/);
  });

  it('erases Ben, and nothing of Ann', async () => {
    await expect(200, 'POST', '/_auth/destroy', { as: ben, body: { password: 'a wholly new secret' } });
    await expect(401, 'GET', '/_auth/me', { as: ben });
    await expect(401, 'POST', '/_auth/login', { body: { email: ben.email, password: 'a wholly new secret' } });
    await expect(404, 'GET', '/_users/org.couchdb.user:ben', { headers: ROOT });
    const { items } = await expect(200, 'GET', `/_orgs/${ann.org}/members`, { as: ann });
    assert.deepEqual(items.map((one) => one.account), [ann.id]);
    await expect(200, 'GET', '/log/secret', { as: ann });
    const first = await expect(200, 'GET', '/log/first', { as: ann });
    assert.equal(first.by, 'ben');
    // His address is free for somebody new, who is nobody's successor.
    await expect(202, 'POST', '/_auth/signup', { body: { email: ben.email, password: PASSWORD.ben, name: 'ben' } });
    const entries = await expect(200, 'GET', `/_audit?account=${ben.id}`, { headers: ROOT });
    assert.ok(entries.items.length > 0);
    assert.ok(entries.items.every((entry) => !JSON.stringify(entry).includes('ben@example.org')));
  });
});
