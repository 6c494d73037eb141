// The audit log, from outside: what administrators do through CouchDB's doors and ours stands in it, a user
// sees what is about himself and nothing else, and it is read by pages and as lines.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ADMIN, Server } from './harness/server.mjs';

const ANN = { name: 'ann', password: 'correct-horse-battery' };
let server;

before(async () => { server = await Server.start(); });
after(() => server.stop());

async function done(method, pathname, body, as = ADMIN) {
  const answer = await server.request(method, pathname, { body, as });
  assert.ok(answer.status < 300, `${method} ${pathname}: ${answer.text}`);
  return answer.json();
}

/** All entries that a query finds, read a few at a time. */
async function entries(query = '', as = ADMIN, route = '/_audit') {
  const all = [];
  let after = '';
  do {
    const page = await done('GET', `${route}?limit=2&order=oldest${query}${after}`, undefined, as);
    assert.ok(page.items.length <= 2);
    all.push(...page.items);
    after = page.next && `&after=${page.next}`;
  } while (after);
  return all;
}

describe('the audit log', () => {
  test('has what administrators do through the doors of CouchDB, and no secret', async () => {
    await done('PUT', '/watched');
    await done('PUT', '/watched/_security', { members: { names: ['ann'], roles: [] } });
    await done('PUT', '/_node/_local/_config/admins/second', '"geheimnis-eins"');
    await done('PUT', '/_node/_local/_config/chttpd_auth/timeout', '"1234"');
    await done('DELETE', '/_node/_local/_config/chttpd_auth/timeout');
    await done('DELETE', '/_node/_local/_config/admins/second');
    await done('PUT', `/_users/org.couchdb.user:${ANN.name}`, { name: ANN.name, password: ANN.password, roles: [], type: 'user' });
    await done('DELETE', '/watched');
    const found = await entries('&account=admin:admin');
    const told = found.map((entry) => `${entry.action} ${entry.target}`);
    for (const wanted of [
      'database.create watched', 'database.security watched', 'admin.set admin:second', 'configuration.set chttpd_auth/timeout',
      'configuration.unset chttpd_auth/timeout', 'admin.remove admin:second', 'database.drop watched',
    ]) assert.ok(told.includes(wanted), `${wanted} is not among ${told.join(', ')}`);
    const made = found.find((entry) => entry.action === 'account.create');
    assert.match(made.target, /^[a-z2-7]{26}$/);
    for (const entry of found) assert.ok(entry.time_ms > 1_600_000_000_000 && entry.name === ADMIN.name);
    assert.equal(found.find((entry) => entry.action === 'database.create').address, '127.0.0.1');
    assert.doesNotMatch(JSON.stringify(found), /geheimnis|correct-horse|1234/);
  });

  test('is found by action, target and time, and read as lines', async () => {
    const all = await entries();
    assert.deepEqual(await entries('&action=database.'), all.filter((entry) => entry.action.startsWith('database.')));
    assert.deepEqual(await entries('&target=watched'), all.filter((entry) => entry.target === 'watched'));
    const middle = all[Math.floor(all.length / 2)].time_ms;
    assert.deepEqual(await entries(`&from_ms=${middle}`), all.filter((entry) => entry.time_ms >= middle));
    assert.deepEqual(await entries(`&to_ms=${middle}`), all.filter((entry) => entry.time_ms < middle));
    const lines = await server.request('GET', '/_audit?format=ndjson&order=oldest');
    assert.equal(lines.headers['content-type'], 'application/x-ndjson');
    assert.deepEqual(lines.text.trim().split('\n').map((line) => JSON.parse(line)), all);
    for (const query of ['after=nonsense!', 'after=AAAA', 'limit=0', 'from_ms=-1', 'order=up', 'acount=x']) {
      assert.equal((await server.request('GET', `/_audit?${query}`)).status, 400, query);
    }
  });

  test('shows a user what is about himself, but not where others sit', async () => {
    const own = await entries('', ANN, '/_auth/audit');
    const made = own.find((entry) => entry.action === 'account.create');
    assert.ok(made, JSON.stringify(own));
    assert.equal(made.address, null);
    assert.ok(own.every((entry) => entry.target === made.target || entry.account === made.target));
    assert.equal((await server.request('GET', '/_audit', { as: ANN })).status, 403);
    assert.equal((await server.request('GET', '/_auth/audit', { as: null })).status, 401);
    assert.equal((await server.request('DELETE', '/_audit')).status, 405);
  });

  test('cannot be wiped by keeping nothing', async () => {
    const answer = await server.request('PUT', '/_node/_local/_config/audit/keep', { body: '"1"' });
    assert.equal(answer.status, 400, answer.text);
  });
});
