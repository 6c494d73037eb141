// Accounts over sockets: CouchDB's clients write _users while our routes are used; each route as it is meant and as it
// is not; administrators; and what may tell who has an account, by words or by time.

import assert from 'node:assert/strict';
import { createHash, pbkdf2Sync } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import nano from 'nano';
import { ADMIN, Server, within } from './harness/server.mjs';

const basic = (name, password) => ({ authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}` });
const ROOT = basic(ADMIN.name, ADMIN.password);
const PASSWORD = 'correct horse battery';

function client(server) {
  async function ask(method, path, { headers = {}, body, as } = {}) {
    const sent = { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...as, ...headers };
    const answer = await within(fetch(server.origin + path, {
      method, headers: sent, body: body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body),
    }), `${method} ${path}`);
    const text = await answer.text();
    let json;
    try { json = JSON.parse(text); } catch { json = text; }
    return { status: answer.status, json, headers: answer.headers };
  }
  async function expect(status, method, path, rest) {
    const answer = await ask(method, path, rest);
    assert.equal(answer.status, status, `${method} ${path} ${JSON.stringify(rest?.body)}: ${JSON.stringify(answer.json)}`);
    return answer.json;
  }
  /** The newest mail of a kind to an address; captured in the background. */
  const mail = (kind, to, not) => within((async () => {
    for (;;) {
      const { json } = await ask('GET', '/_mail/captured', { as: ROOT });
      const found = json.items.find((one) => one.kind === kind && one.to === to && one.id !== not?.id);
      if (found) return found;
    }
  })(), `the mail ${kind} to ${to}`);
  const mails = async (to) => (await expect(200, 'GET', '/_mail/captured', { as: ROOT })).items.filter((one) => one.to === to);
  async function login(name, password = PASSWORD) {
    const begun = await expect(200, 'POST', '/_auth/login', { body: { name, password } });
    return { authorization: `Bearer ${begun.access_token}` };
  }
  /** An account with a verified address. */
  async function person(name, email = `${name}@example.org`) {
    await expect(202, 'POST', '/_auth/signup', { body: { name, email, password: PASSWORD } });
    const token = tokenOf(await mail('verify_address', email));
    await expect(200, 'POST', '/_auth/verifyEmail', { body: { token } });
    const as = await login(name);
    return { name, email, as, id: (await expect(200, 'GET', '/_auth/me', { as })).id };
  }
  return { ask, expect, mail, mails, login, person };
}
const tokenOf = (letter) => /#token=([A-Za-z0-9_-]{43})/.exec(letter.text)[1];
const codeOf = (letter) => /: (\d[\d ]{6,}\d)/.exec(letter.text)[1];

describe('accounts and their documents', () => {
  let server, users;
  let ask, expect, login, person;
  before(async () => {
    server = await Server.start({ args: ['--limits-account-mail', '1000/1h'] });
    ({ ask, expect, login, person } = client(server));
    users = nano(server.urlAs(ADMIN)).use('_users');
  });
  after(() => server?.stop());
  const find = async (name) => {
    const { items } = await expect(200, 'GET', `/_accounts?name=${encodeURIComponent(name)}`, { as: ROOT });
    return items.find((one) => one.name === name);
  };

  it('gives an account to whoever a CouchDB client writes, and takes it with the document', async () => {
    const doc = { _id: 'org.couchdb.user:carl', type: 'user', name: 'carl', roles: ['staff'], password: PASSWORD };
    const made = await users.insert(doc);
    const first = await find('carl');
    assert.deepEqual(first.roles, ['staff']);
    const as = await login('carl');
    assert.equal((await expect(200, 'GET', '/_auth/me', { as })).id, first.id);
    // A change of roles is in force at once, also in a session; a new password ends it.
    const { password, ...known } = await users.get(doc._id);
    const edited = await users.insert({ ...known, roles: ['staff', 'boss'] });
    assert.ok((await expect(200, 'GET', '/_auth/me', { as })).roles.includes('boss'));
    const again = await users.insert({ ...known, _rev: edited.rev, password: 'another password' });
    await expect(401, 'GET', '/_auth/me', { as });
    assert.equal((await find('carl')).id, first.id);
    await users.destroy(doc._id, again.rev);
    assert.equal(await find('carl'), undefined);
    await expect(404, 'GET', `/_accounts/${first.id}`, { as: ROOT });
    await users.insert(doc);
    assert.notEqual((await find('carl')).id, first.id, 'an id is never given twice');
    assert.ok(made.ok);
  });

  it('follows _bulk_docs, replicated branches and purges', async () => {
    const doc = (name) => ({ _id: `org.couchdb.user:${name}`, type: 'user', name, roles: [], password: PASSWORD });
    const bulk = await users.bulk({ docs: [doc('dora'), doc('emil')] });
    assert.ok(bulk.every((row) => row.ok));
    assert.ok(await find('dora') && await find('emil'));
    const branch = { _id: 'org.couchdb.user:fred', type: 'user', name: 'fred', roles: [], _rev: '3-c', _revisions: { start: 3, ids: ['c', 'b', 'a'] } };
    await users.bulk({ docs: [branch], new_edits: false });
    const id = (await find('fred')).id;
    await users.bulk({ docs: [{ ...branch, _rev: '4-d', _deleted: true, _revisions: { start: 4, ids: ['d', 'c', 'b', 'a'] } }], new_edits: false });
    assert.equal(await find('fred'), undefined);
    await expect(404, 'GET', `/_accounts/${id}`, { as: ROOT });
    const { _rev } = await users.get('org.couchdb.user:emil');
    await expect(201, 'POST', '/_users/_purge', { as: ROOT, body: { 'org.couchdb.user:emil': [_rev] } });
    assert.equal(await find('emil'), undefined);
    await expect(401, 'GET', '/_session', { as: basic('emil', PASSWORD) });
  });

  it('shows an account of ours as a document, and renames it with all that it has', async () => {
    const gus = await person('gus');
    assert.equal((await users.get('org.couchdb.user:gus')).name, 'gus');
    await expect(200, 'PATCH', '/_auth/me', { as: gus.as, body: { name: 'Gustav', profile: { city: 'Ulm' }, language: 'de' } });
    const me = await expect(200, 'GET', '/_auth/me', { as: gus.as });
    assert.deepEqual([me.id, me.name, me.profile, me.language], [gus.id, 'Gustav', { city: 'Ulm' }, 'de']);
    await assert.rejects(users.get('org.couchdb.user:gus'));
    for (const name of ['Gustav', 'GUS@example.ORG']) {
      const { userCtx } = await expect(200, 'GET', '/_session', { as: basic(name, PASSWORD) });
      assert.equal(userCtx.name, 'Gustav');
    }
    await expect(401, 'GET', '/_session', { as: basic('gus', PASSWORD) });
    // Rights may stand somewhere under the name that was given up: nobody else gets it, nor one that looks like either.
    for (const name of ['gus', 'GUS']) await expect(409, 'POST', '/_accounts', { as: ROOT, body: { name, password: PASSWORD } });
    await expect(202, 'POST', '/_auth/signup', { body: { name: 'gus', password: PASSWORD } });
    await expect(401, 'GET', '/_session', { as: basic('gus', PASSWORD) });
    const looks = await expect(409, 'POST', '/_accounts', { as: ROOT, body: { name: 'GUSTАV', password: PASSWORD } });
    assert.equal(looks.error, 'conflict');
  });

  it('forgets everybody with a database that is dropped', async () => {
    const { id } = await person('hans');
    await expect(200, 'DELETE', '/_users', { as: ROOT });
    await expect(201, 'PUT', '/_users', { as: ROOT });
    assert.equal((await ask('GET', `/_accounts/${id}`, { as: ROOT })).status, 404);
    await expect(401, 'GET', '/_session', { as: basic('hans@example.org', PASSWORD) });
    const again = await person('hans');
    assert.notEqual(again.id, id);
  });
});

describe('the routes of an account', () => {
  let server;
  let ask, expect, mail, mails, login, person;
  before(async () => {
    server = await Server.start({ args: ['--limits-account-mail', '1000/1h'] });
    ({ ask, expect, mail, mails, login, person } = client(server));
  });
  after(() => server?.stop());

  it('signs up with a form and with nothing else', async () => {
    const signup = (body) => ask('POST', '/_auth/signup', { body });
    const long = 'x'.repeat(300);
    for (const body of [
      {}, [], 'null', '{', { name: 'a' }, { password: PASSWORD }, { name: 7, password: PASSWORD }, { name: 'ida', password: 'short' },
      { name: 'ida', password: long }, { name: '', password: PASSWORD }, { name: long, password: PASSWORD },
      { name: 'a:b', password: PASSWORD }, { name: 'a@b', password: PASSWORD }, { name: '_ida', password: PASSWORD },
      { name: 'i\nda', password: PASSWORD }, { name: 'i\u200bda', password: PASSWORD }, { name: 'ida', password: PASSWORD, admin: true },
      { name: 'ida', password: PASSWORD, roles: ['_admin'] }, '{"name":"ida","name":"eve","password":"correct horse"}',
      { email: 'ida', password: PASSWORD }, { email: 'ida@x.org\r\nBcc: eve@x.org', password: PASSWORD }, { email: 'a@b@c', password: PASSWORD },
      { email: `${long}@x.org`, password: PASSWORD }, { email: 'ida@x.org,eve@x.org', password: PASSWORD }, { name: 'ida', password: PASSWORD, language: 'x\r\ny' },
      { name: 'ida', password: PASSWORD, profile: { long: 'x'.repeat(17_000) } }, { name: 'ida', password: PASSWORD, profile: [] },
      { name: 'ida', password: PASSWORD, profile: { a: { b: { c: { d: { e: { f: { g: { h: { i: 1 } } } } } } } } } },
    ]) {
      const answer = await signup(body);
      assert.equal(answer.status, 400, `${JSON.stringify(body).slice(0, 90)}: ${JSON.stringify(answer.json)}`);
      assert.ok(answer.json.error && answer.json.reason);
    }
    assert.equal((await ask('POST', '/_auth/signup', { headers: { 'content-type': 'text/plain' }, body: '{}' })).status, 415);
    assert.equal((await ask('GET', '/_auth/signup')).status, 405);
    assert.equal((await ask('POST', '/_auth/signup?x=1', { body: { name: 'ida', password: PASSWORD } })).status, 400);
    assert.deepEqual((await expect(200, 'GET', '/_accounts', { as: ROOT })).items, []);
  });

  it('answers the same whatever there is already, and tells the rest by mail', async () => {
    const ina = await person('ina');
    const taken = await expect(202, 'POST', '/_auth/signup', { body: { name: 'eva', email: ina.email, password: PASSWORD } });
    const free = await expect(202, 'POST', '/_auth/signup', { body: { name: 'eva', email: 'eva@example.org', password: PASSWORD } });
    assert.deepEqual(taken, free);
    assert.match((await mail('already_registered', ina.email)).text, /\S/);
    // A name that is taken, or looks so, or is an administrator's: the account is called by its id, and mail says why.
    for (const [n, name] of ['ina', 'INA', 'ínа'.normalize('NFD').replace('\u0301', ''), ADMIN.name].entries()) {
      const email = `other${n}@example.org`;
      const answer = await expect(202, 'POST', '/_auth/signup', { body: { name, email, password: PASSWORD } });
      assert.deepEqual(answer, free);
      const letter = await mail('verify_address', email);
      assert.match(letter.text, /taken/);
      await expect(200, 'POST', '/_auth/verifyEmail', { body: { token: tokenOf(letter) } });
      const me = await expect(200, 'GET', '/_auth/me', { as: await login(email) });
      assert.equal(me.name, me.id);
    }
    assert.doesNotMatch((await mail('verify_address', 'eva@example.org')).text, /taken/);
    const without = await expect(202, 'POST', '/_auth/signup', { body: { name: 'ina', password: 'not her password' } });
    const fresh = await expect(202, 'POST', '/_auth/signup', { body: { name: 'ivo', password: PASSWORD } });
    assert.deepEqual(without, fresh);
    await expect(401, 'GET', '/_session', { as: basic('ina', 'not her password') });
    await expect(200, 'GET', '/_session', { as: basic('ivo', PASSWORD) });
  });

  it('gives an address to the first who proves it, once, by link or code', async () => {
    const email = 'jan@example.org';
    for (const name of ['jan', 'eve2']) await expect(202, 'POST', '/_auth/signup', { body: { name, email, password: PASSWORD } });
    const second = await mail('verify_address', email);
    const first = await mail('verify_address', email, second);
    for (const body of [{}, { token: 'x' }, { token: 7 }, { email }, { code: '12345678' }, { token: tokenOf(first), email, code: '1' }]) {
      const { status } = await ask('POST', '/_auth/verifyEmail', { body });
      assert.ok(status === 400 || status === 410, JSON.stringify(body));
    }
    await expect(410, 'POST', '/_auth/verifyEmail', { body: { email, code: '00000000' } });
    await expect(410, 'POST', '/_auth/verifyEmail', { body: { email: 'other@example.org', code: codeOf(first) } });
    // A key under which something else is stored is no token.
    await expect(410, 'POST', '/_auth/verifyEmail', { body: { token: `wrong codes\n${email}` } });
    await expect(200, 'POST', '/_auth/verifyEmail', { body: { email: 'JAN@example.org', code: codeOf(first) } });
    await expect(410, 'POST', '/_auth/verifyEmail', { body: { email, code: codeOf(first) } });
    await expect(410, 'POST', '/_auth/verifyEmail', { body: { token: tokenOf(first) } });
    await expect(409, 'POST', '/_auth/verifyEmail', { body: { token: tokenOf(second) } });
    const me = await expect(200, 'GET', '/_auth/me', { as: await login(email) });
    assert.ok(['jan', 'eve2'].includes(me.name) && me.emails[0].verified);
  });

  it('lets nobody in by any door before the address is proved, and tells no name that is taken so', async () => {
    const wanted = { password: PASSWORD, email: 'una@example.org', name: 'una' };
    assert.equal((await expect(202, 'POST', '/_auth/signup', { body: wanted })).next, 'verify');
    const bodyless = ({ status, json }) => [status, json];
    const nobody = await ask('POST', '/_auth/login', { body: { name: 'nobody-at-all', password: PASSWORD } });
    for (const identifier of [{ name: 'una' }, { email: wanted.email }]) {
      // Twice: a password that was right is remembered.
      for (let n = 0; n < 2; n += 1) {
        const answer = await ask('POST', '/_auth/login', { body: { ...identifier, password: PASSWORD } });
        assert.deepEqual(bodyless(answer), bodyless(nobody));
      }
    }
    await expect(401, 'GET', '/_session', { as: basic('una', PASSWORD) });
    await expect(401, 'POST', '/_session', { body: { name: 'una', password: PASSWORD } });
    const { items: [waiting] } = await expect(200, 'GET', '/_accounts?name=una', { as: ROOT });
    assert.equal(waiting.pending, true);
    await expect(200, 'POST', '/_auth/verifyEmail', { body: { token: tokenOf(await mail('verify_address', wanted.email)) } });
    const me = await expect(200, 'GET', '/_auth/me', { as: await login('una') });
    assert.equal(me.id, waiting.id);
    // An administrator lets in whom he trusts.
    await expect(202, 'POST', '/_auth/signup', { body: { ...wanted, name: 'uli', email: 'uli@example.org' } });
    const { items: [uli] } = await expect(200, 'GET', '/_accounts?name=uli', { as: ROOT });
    await expect(200, 'PATCH', `/_accounts/${uli.id}`, { as: ROOT, body: { blocked: false } });
    await login('uli');
  });

  it('takes no code after twenty wrong ones', async () => {
    const email = 'kai@example.org';
    await expect(202, 'POST', '/_auth/signup', { body: { name: 'kai', email, password: PASSWORD } });
    const letter = await mail('verify_address', email);
    for (let n = 0; n < 20; n += 1) await expect(410, 'POST', '/_auth/verifyEmail', { body: { email, code: String(90_000_000 + n) } });
    await expect(410, 'POST', '/_auth/verifyEmail', { body: { email, code: codeOf(letter) } });
    await expect(200, 'POST', '/_auth/verifyEmail', { body: { token: tokenOf(letter) } });
  });

  it('recovers by a verified address only, once, and ends what was open', async () => {
    const lea = await person('lea');
    for (const body of [{}, { email: 7 }, { email: 'x' }, { email: 'a@b', x: 1 }]) {
      assert.equal((await ask('POST', '/_auth/recover', { body })).status, 400, JSON.stringify(body));
    }
    const known = await expect(202, 'POST', '/_auth/recover', { body: { email: lea.email } });
    assert.deepEqual(await expect(202, 'POST', '/_auth/recover', { body: { email: 'nobody9@example.org' } }), known);
    const first = await mail('recover', lea.email);
    assert.deepEqual((await mails('nobody9@example.org')).map((one) => one.kind), ['no_account']);
    await expect(202, 'POST', '/_auth/recover', { body: { email: lea.email } });
    const token = tokenOf(await mail('recover', lea.email, first));
    await expect(400, 'POST', '/_auth/reset', { body: { token, password: 'short' } });
    await expect(410, 'POST', '/_auth/verifyEmail', { body: { token } });
    await expect(200, 'POST', '/_auth/reset', { body: { token, password: 'a new password' } });
    await expect(410, 'POST', '/_auth/reset', { body: { token, password: 'a newer password' } });
    // The one that was sent before is of the password before.
    await expect(410, 'POST', '/_auth/reset', { body: { token: tokenOf(first), password: 'a newer password' } });
    await expect(401, 'GET', '/_auth/me', { as: lea.as });
    await expect(401, 'GET', '/_session', { as: basic('lea', PASSWORD) });
    await expect(200, 'GET', '/_session', { as: basic('lea', 'a new password') });
    await mail('password_changed', lea.email);
  });

  it('changes a password for who knows the old one, and keeps his session only', async () => {
    const mia = await person('mia');
    const other = await login('mia');
    const change = (body, as = mia.as) => ask('POST', '/_auth/changePassword', { as, body });
    assert.equal((await change({ old_password: 'wrong password', new_password: 'a new password' })).json.error, 'wrong_password');
    assert.equal((await change({ new_password: 'a new password' })).status, 403);
    assert.equal((await change({ old_password: PASSWORD, new_password: 'x' })).status, 400);
    assert.equal((await change({ old_password: PASSWORD, new_password: 'a new password', name: 'x' })).status, 400);
    assert.equal((await change({ old_password: PASSWORD, new_password: 'a new password' }, {})).status, 401);
    assert.equal((await change({ old_password: PASSWORD, new_password: 'a new password' }, ROOT)).status, 403);
    assert.equal((await change({ old_password: PASSWORD, new_password: 'a new password' })).status, 200);
    await expect(200, 'GET', '/_auth/me', { as: mia.as });
    await expect(401, 'GET', '/_auth/me', { as: other });
    await expect(401, 'GET', '/_session', { as: basic('mia', PASSWORD) });
    const told = await mail('password_changed', mia.email);
    // As CouchDB's clients do it.
    const document = await expect(200, 'GET', '/_users/org.couchdb.user:mia', { as: ROOT });
    await expect(201, 'PUT', '/_users/org.couchdb.user:mia', { as: ROOT, body: { ...document, password: 'a newer password' } });
    await mail('password_changed', mia.email, told);
  });

  it('adds and removes addresses, and leaves a way in', async () => {
    const ned = await person('ned');
    const add = (email) => ask('POST', '/_auth/me/emails', { as: ned.as, body: { email } });
    assert.equal((await add('x\r\n@y')).status, 400);
    assert.equal((await ask('POST', '/_auth/me/emails', { body: { email: 'n@x.org' } })).status, 401);
    // Basic proves nothing lately: the password has to be said again, wherever an account could change hands.
    const basically = (method, path, body) => ask(method, path, { as: basic('ned', PASSWORD), body });
    for (const [method, path, body] of [
      ['POST', '/_auth/me/emails', { email: 'eve@x.org' }], ['DELETE', `/_auth/me/emails/${ned.email}`, {}],
      ['PATCH', '/_auth/me', { name: 'eve3' }], ['PATCH', '/_auth/me', { primary_email: ned.email }],
    ]) {
      assert.equal((await basically(method, path, body)).json.error, 'not_fresh', path);
      assert.equal((await basically(method, path, { ...body, password: 'not the password' })).json.error, 'wrong_password', path);
    }
    assert.equal((await basically('PATCH', '/_auth/me', { primary_email: ned.email, password: PASSWORD })).status, 200);
    assert.equal((await basically('PATCH', '/_auth/me', { language: 'en' })).status, 200);
    const second = await add('ned@work.example');
    assert.equal(second.status, 202);
    // Somebody else's is answered the same, and he is told.
    await person('otto');
    assert.deepEqual((await add('otto@example.org')).json, second.json);
    await mail('already_registered', 'otto@example.org');
    await expect(404, 'PATCH', '/_auth/me', { as: ned.as, body: { primary_email: 'ned@work.example' } });
    await expect(200, 'POST', '/_auth/verifyEmail', { body: { token: tokenOf(await mail('verify_address', 'ned@work.example')) } });
    await mail('address_changed', ned.email);
    const me = await expect(200, 'PATCH', '/_auth/me', { as: ned.as, body: { primary_email: 'NED@work.example' } });
    assert.deepEqual(me.emails.map((one) => [one.email, one.primary])[0], ['ned@work.example', true]);
    await expect(404, 'DELETE', '/_auth/me/emails/nobody@example.org', { as: ned.as });
    await expect(200, 'DELETE', `/_auth/me/emails/${encodeURIComponent(ned.email)}`, { as: ned.as });
    await expect(401, 'GET', '/_session', { as: basic(ned.email, PASSWORD) });
    await expect(200, 'GET', '/_session', { as: basic('ned@work.example', PASSWORD) });
    for (let n = 0; n < 8; n += 1) assert.equal((await add(`ned${n}@x.org`)).status, 202);
    assert.equal((await add('ned9@x.org')).status, 409);
    // Who has no name but his id keeps his last verified address.
    await expect(202, 'POST', '/_auth/signup', { body: { email: 'pia@example.org', password: PASSWORD } });
    await expect(200, 'POST', '/_auth/verifyEmail', { body: { token: tokenOf(await mail('verify_address', 'pia@example.org')) } });
    await expect(409, 'DELETE', '/_auth/me/emails/pia@example.org', { as: await login('pia@example.org') });
  });

  it('takes no profile that is too large, too deep or no object, and no name that is another’s', async () => {
    const { as } = await person('quin');
    await person('rosa');
    for (const [body, status] of [
      [{ profile: 'x' }, 400], [{ profile: { x: 'y'.repeat(17_000) } }, 400], [{ id: 'x' }, 400], [{ roles: ['_admin'] }, 400],
      [{ admin: true }, 400], [{ name: 'ROSA' }, 409], [{ name: 'rоsa' }, 409], [{ name: ADMIN.name }, 409], [{ name: 'a:b' }, 400],
      [{ language: 'not a tag' }, 400], [{ primary_email: 'rosa@example.org' }, 404], [{ language: null, profile: { deep: [[[[1]]]] } }, 200],
    ]) {
      const answer = await ask('PATCH', '/_auth/me', { as, body });
      assert.equal(answer.status, status, `${JSON.stringify(body).slice(0, 80)}: ${JSON.stringify(answer.json)}`);
    }
    assert.equal((await expect(200, 'GET', '/_auth/me', { as: ROOT })).id, null);
    await expect(403, 'PATCH', '/_auth/me', { as: ROOT, body: { language: 'de' } });
    await expect(401, 'GET', '/_auth/me');
  });

  it('erases an account with all that is personal, for who proves himself', async () => {
    const sam = await person('sam');
    await expect(200, 'PATCH', '/_auth/me', { as: sam.as, body: { profile: { secret: 'samantha' } } });
    assert.equal((await ask('POST', '/_auth/destroy', { as: basic('sam', PASSWORD), body: {} })).json.error, 'not_fresh');
    assert.equal((await ask('POST', '/_auth/destroy', { as: sam.as, body: { password: 'not the password' } })).json.error, 'wrong_password');
    await expect(403, 'POST', '/_auth/destroy', { as: ROOT, body: { password: ADMIN.password } });
    // A session of the last ten minutes does without the password.
    await expect(200, 'POST', '/_auth/destroy', { as: sam.as, body: {} });
    await expect(401, 'GET', '/_auth/me', { as: sam.as });
    await mail('erased', sam.email);
    const { json: doc } = await ask('GET', '/_users/org.couchdb.user:sam?open_revs=all&revs=true', { as: ROOT, headers: { accept: 'application/json' } });
    assert.deepEqual(Object.keys(doc[0].ok).sort(), ['_deleted', '_id', '_rev', '_revisions']);
    const [newest, older] = doc[0].ok._revisions.ids;
    assert.ok(newest);
    await expect(404, 'GET', `/_users/org.couchdb.user:sam?rev=${doc[0].ok._revisions.start - 1}-${older}`, { as: ROOT });
    const entries = await expect(200, 'GET', `/_audit?account=${sam.id}`, { as: ROOT });
    assert.ok(entries.items.length > 0 && entries.items.every((entry) => entry.name === null && entry.address === null), JSON.stringify(entries.items));
  });

  it('does not erase the last owner of an organisation with others in it', async () => {
    const [tom, ute] = [await person('tom'), await person('ute')];
    const org = await expect(201, 'POST', '/_orgs', { as: tom.as, body: { name: 'Toms' } });
    await expect(201, 'POST', '/_invitations', { as: tom.as, body: { organisation: org.id, address: ute.email } });
    await expect(200, 'POST', '/_invitations/accept', { as: ute.as, body: { token: tokenOf(await mail('invitation', ute.email)) } });
    assert.equal((await ask('POST', '/_auth/destroy', { as: tom.as, body: { password: PASSWORD } })).json.error, 'last_owner');
    await expect(200, 'POST', '/_auth/destroy', { as: ute.as, body: { password: PASSWORD } });
    await expect(200, 'POST', '/_auth/destroy', { as: tom.as, body: { password: PASSWORD } });
  });

  it('exports without a secret', async () => {
    const vera = await person('vera');
    const { json, headers } = await ask('GET', '/_auth/export', { as: vera.as });
    assert.match(headers.get('content-disposition'), /attachment/);
    assert.deepEqual([json.account.id, json.emails[0].email, json.document.name], [vera.id, vera.email, 'vera']);
    assert.ok(json.sessions.length === 1 && json.audit.length > 0);
    assert.doesNotMatch(JSON.stringify(json), /\$argon2|derived_key|password_sha|"salt"|access_token/);
    await expect(403, 'GET', '/_auth/export', { as: ROOT });
  });
});

describe('accounts in the hands of administrators', () => {
  let server;
  let ask, expect, login, person;
  before(async () => {
    server = await Server.start();
    ({ ask, expect, login, person } = client(server));
  });
  after(() => server?.stop());

  it('opens and shuts every door at the next request', async () => {
    const wim = await person('wim');
    const patch = (body) => expect(200, 'PATCH', `/_accounts/${wim.id}`, { as: ROOT, body });
    for (const [method, path] of [['GET', '/_accounts'], ['POST', '/_accounts'], ['GET', `/_accounts/${wim.id}`], ['PATCH', `/_accounts/${wim.id}`],
      ['DELETE', `/_accounts/${wim.id}`], ['DELETE', `/_accounts/${wim.id}/sessions`], ['POST', '/_accounts/import']]) {
      await expect(403, method, path, { as: wim.as });
      await expect(401, method, path);
    }
    assert.equal((await patch({ admin: true })).admin, true);
    await expect(200, 'GET', '/_accounts', { as: wim.as });
    await expect(200, 'GET', '/_all_dbs', { as: basic('wim', PASSWORD) });
    await patch({ admin: false });
    await expect(403, 'GET', '/_accounts', { as: wim.as });
    const cookie = (await ask('POST', '/_session', { body: { name: 'wim', password: PASSWORD } })).headers.get('set-cookie').split(';')[0];
    await patch({ blocked: true });
    await expect(401, 'GET', '/_auth/me', { as: wim.as });
    await expect(401, 'GET', '/_session', { as: basic('wim', PASSWORD) });
    await expect(401, 'POST', '/_session', { body: { name: 'wim', password: PASSWORD } });
    await expect(401, 'POST', '/_auth/login', { body: { name: 'wim', password: PASSWORD } });
    assert.equal((await expect(200, 'GET', '/_session', { headers: { cookie } })).userCtx.name, null);
    await patch({ blocked: false, roles: ['pilot'] });
    const as = await login('wim');
    assert.ok((await expect(200, 'GET', '/_auth/me', { as })).roles.includes('pilot'));
    assert.equal((await expect(200, 'DELETE', `/_accounts/${wim.id}/sessions`, { as: ROOT })).ended, 1);
    await expect(401, 'GET', '/_auth/me', { as });
    for (const body of [{ admin: 'yes' }, { roles: ['_admin'] }, { roles: ['org:x'] }, { roles: 'x' }, { name: 'x' }]) {
      await expect(400, 'PATCH', `/_accounts/${wim.id}`, { as: ROOT, body });
    }
    await expect(404, 'PATCH', `/_accounts/${'a'.repeat(26)}`, { as: ROOT, body: { admin: true } });
    await expect(200, 'DELETE', `/_accounts/${wim.id}`, { as: ROOT });
    await expect(401, 'GET', '/_session', { as: basic('wim', PASSWORD) });
    const { items } = await expect(200, 'GET', `/_audit?target=${wim.id}`, { as: ROOT });
    for (const action of ['account.change', 'account.end_sessions', 'account.delete']) {
      assert.ok(items.some((entry) => entry.action === action), action);
    }
  });

  it('imports hashes of others, which become ours at the first sign-in', async () => {
    const derived = pbkdf2Sync('apple pie a la mode', 'salty', 1000, 32, 'sha256').toString('hex');
    const accounts = [
      { name: 'xavi', password_hash: '$2b$04$.......................' },
      { name: 'yann', couchdb: { password_scheme: 'pbkdf2', pbkdf2_prf: 'sha256', salt: 'salty', iterations: 1000, derived_key: derived } },
      { name: 'zoe', password_hash: `-hashed-${createHash('sha1').update('apple piesalt').digest('hex')},salt` },
      { name: 'yann' }, { name: 'a:b' }, { name: 'abe', password_hash: '$2b$31$' + 'a'.repeat(53) }, { email: 'bea@example.org', email_verified: true },
      // "U*U" at cost 5, of the test vectors that every bcrypt knows.
      { name: 'cleo', password_hash: '$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW' },
    ];
    const { results } = await expect(200, 'POST', '/_accounts/import', { as: ROOT, body: { accounts } });
    assert.deepEqual(results.map((one) => one.ok), [false, true, true, false, false, false, true, true], JSON.stringify(results));
    assert.deepEqual([results[3].error, results[4].error, results[5].error], ['conflict', 'invalid_input', 'invalid_input']);
    for (const [name, password] of [['yann', 'apple pie a la mode'], ['zoe', 'apple pie'], ['cleo', 'U*U']]) {
      await expect(401, 'GET', '/_session', { as: basic(name, 'wrong') });
      for (const again of [1, 2]) assert.ok(await expect(200, 'GET', '/_session', { as: basic(name, password) }), `${again}`);
      const doc = await expect(200, 'GET', `/_users/org.couchdb.user:${name}`, { as: ROOT });
      assert.equal(doc.password_scheme, 'argon2id');
    }
    await expect(400, 'POST', '/_accounts/import', { as: ROOT, body: { accounts: Array(1001).fill({ name: 'x' }) } });
    await expect(400, 'POST', '/_accounts/import', { as: ROOT, body: { accounts: {} } });
  });

  it('lists by name and by address, a page at a time', async () => {
    const accounts = Array.from({ length: 25 }, (_, n) => ({ name: `list${String(n).padStart(2, '0')}`, email: `l${n}@list.example`, email_verified: true }));
    await expect(200, 'POST', '/_accounts/import', { as: ROOT, body: { accounts } });
    const seen = [];
    let after = '';
    do {
      const page = await expect(200, 'GET', `/_accounts?name=list&limit=10${after && `&after=${after}`}`, { as: ROOT });
      seen.push(...page.items.map((one) => one.name));
      after = page.next;
    } while (after);
    assert.deepEqual(seen, accounts.map((one) => one.name));
    const { items } = await expect(200, 'GET', '/_accounts?email=L2', { as: ROOT });
    assert.deepEqual(items.map((one) => one.name).sort(), ['list02', 'list20', 'list21', 'list22', 'list23', 'list24']);
    for (const query of ['limit=0', 'limit=x', 'after=%00', 'name=a&email=b', 'name=a&name=b', 'x=y']) {
      await expect(400, 'GET', `/_accounts?${query}`, { as: ROOT });
    }
  });
});

describe('who may sign up', () => {
  const modes = [
    ['closed', [], [['a@x.org', 403], [undefined, 403]]],
    ['listed', ['--signup-allowed', 'ok.example,ann@x.org'], [['a@x.org', 403], ['Ann@X.org', 202], ['b@OK.example', 202], ['b@not.ok.example', 403], [undefined, 403]]],
    ['invited', [], [['a@x.org', 403], [undefined, 403]]],
  ];
  for (const [mode, args, cases] of modes) {
    it(`is told by the mode ${mode}`, async () => {
      const server = await Server.start({ args: ['--signup-mode', mode, ...args] });
      try {
        const { expect, mail, login } = client(server);
        for (const [n, [email, status]] of cases.entries()) {
          await expect(status, 'POST', '/_auth/signup', { body: { name: `n${n}`, email, password: PASSWORD } });
        }
        if (mode !== 'invited') return;
        await expect(201, 'POST', '/_accounts', { as: ROOT, body: { name: 'boss', email: 'boss@x.org', email_verified: true, password: PASSWORD } });
        const as = await login('boss');
        const org = await expect(201, 'POST', '/_orgs', { as, body: { name: 'Invited' } });
        await expect(201, 'POST', '/_invitations', { as, body: { organisation: org.id, address: 'new@x.org' } });
        const invitation = tokenOf(await mail('invitation', 'new@x.org'));
        await expect(403, 'POST', '/_auth/signup', { body: { name: 'new', email: 'other@x.org', password: PASSWORD, invitation } });
        await expect(403, 'POST', '/_auth/signup', { body: { name: 'new', password: PASSWORD, invitation: 'x'.repeat(43) } });
        const { next } = await expect(202, 'POST', '/_auth/signup', { body: { name: 'new', password: PASSWORD, invitation } });
        assert.equal(next, 'login');
        const me = await expect(200, 'GET', '/_auth/me', { as: await login('new@x.org') });
        assert.ok(me.roles.includes(`org:${org.id}`) && me.emails[0].verified);
        await expect(403, 'POST', '/_auth/signup', { body: { name: 'new2', password: PASSWORD, invitation } });
      } finally {
        await server.stop();
      }
    });
  }
});

describe('time', () => {
  it('does not tell who has an account', async () => {
    const server = await Server.start({ args: ['--limits-account-mail', '1000/1h', '--lockout-mode', 'off'] });
    try {
      const { ask, expect, person } = client(server);
      const known = await person('known');
      const timed = async (path, body, status) => {
        const begun = performance.now();
        const answer = await ask('POST', path, { body });
        assert.equal(answer.status, status, JSON.stringify(answer.json));
        return performance.now() - begun;
      };
      const kinds = {
        signup: (n, there) => timed('/_auth/signup', { email: there ? known.email : `new${n}@example.org`, password: PASSWORD }, 202),
        recover: (n, there) => timed('/_auth/recover', { email: there ? known.email : `none${n}@example.org` }, 202),
        login: (n, there) => timed('/_auth/login', { name: there ? 'known' : `none${n}`, password: `wrong ${n}` }, 401),
        basic: async (n, there) => {
          const begun = performance.now();
          await expect(401, 'GET', '/_session', { as: basic(there ? 'known' : `none${n}`, `wrong ${n}`) });
          return performance.now() - begun;
        },
      };
      for (const [kind, measure] of Object.entries(kinds)) {
        const times = { true: [], false: [] };
        // By turns, so that what else the machine does falls on both.
        for (let n = 0; n < 40; n += 1) {
          for (const there of n % 2 ? [true, false] : [false, true]) times[there].push(await measure(n, there));
        }
        const median = (all) => all.sort((a, b) => a - b)[all.length / 2];
        const [one, other] = [median(times.true), median(times.false)];
        const apart = Math.abs(one - other);
        assert.ok(apart < 5 || apart < 0.4 * Math.min(one, other), `${kind}: ${one.toFixed(1)} ms and ${other.toFixed(1)} ms`);
      }
    } finally {
      await server.stop();
    }
  });
});
