// Who may do what at the doors that are easily forgotten: pages of feeds that many share, copies, attachments,
// functions that rewrite, and replications in somebody's name.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { freshName } from './harness/pouch.mjs';
import { Server } from './harness/server.mjs';

const ANN = { name: 'ann', password: 'correct horse ann' };
const BOB = { name: 'bob', password: 'correct horse bob' };

let server;
before(async () => {
  server = await Server.start({ args: ['--replication-retry', '100ms'] });
  for (const { name, password } of [ANN, BOB]) {
    const made = await server.request('PUT', `/_users/org.couchdb.user:${name}`, { body: { name, password, type: 'user', roles: [] } });
    assert.equal(made.status, 201);
  }
});
after(() => server?.stop());

/** A database that Ann and Bob may enter. */
async function shared(name = freshName('shared')) {
  assert.equal((await server.request('PUT', `/${encodeURIComponent(name)}`)).status, 201);
  const members = { members: { names: [ANN.name, BOB.name], roles: [] }, admins: { names: [], roles: [] } };
  assert.equal((await server.request('PUT', `/${encodeURIComponent(name)}/_security`, { body: members })).status, 200);
  return name;
}

describe('descriptions of replications', () => {
  const SECRET = 'hunter2-of-ann';
  const description = { source: `http://ann:${SECRET}@127.0.0.1:1/none`, target: 'nowhere' };
  let base;
  let rev;
  before(async () => {
    const name = await shared(`${freshName('jobs')}/_replicator`);
    base = `/${encodeURIComponent(name)}`;
    const made = await server.request('PUT', `${base}/mine`, { as: ANN, body: description });
    assert.equal(made.status, 201);
    rev = made.json().rev;
  });

  it('keep their secrets in pages of feeds that their owner was told first', async () => {
    const ask = (as) => server.request('GET', `${base}/_changes?feed=longpoll&include_docs=true&since=0`, { as });
    assert.match((await ask(ANN)).text, new RegExp(SECRET));
    assert.doesNotMatch((await ask(BOB)).text, new RegExp(SECRET));
    assert.match((await ask(ANN)).text, new RegExp(SECRET));
  });

  it('are not replaced by a copy, nor copied to run as their owner', async () => {
    const over = await server.request('COPY', `${base}/mine`, { as: BOB, headers: { destination: 'copied' } });
    assert.equal(over.status, 403);
    await server.request('PUT', `${base}/bobs`, { as: BOB, body: { source: 'a', target: 'b' } });
    const replaced = await server.request('COPY', `${base}/bobs`, { as: BOB, headers: { destination: `mine?rev=${rev}` } });
    assert.ok([403, 409].includes(replaced.status), `${replaced.status}`);
    const kept = await server.request('GET', `${base}/mine`, { as: ANN });
    assert.equal(kept.json().source, description.source);
  });

  it('take attachments from administrators only', async () => {
    const put = await server.request('PUT', `${base}/mine/x.txt?rev=${rev}`, { as: BOB, body: 'x', headers: { 'content-type': 'text/plain' } });
    assert.equal(put.status, 401);
  });
});

describe('a function that rewrites', () => {
  const rewriting = async (path, method) => {
    const name = await shared();
    const rewrites = `function (req) { return { path: ${JSON.stringify(path)}, method: ${JSON.stringify(method)}, body: '"pw"' }; }`;
    assert.equal((await server.request('PUT', `/${name}/_design/r`, { body: { rewrites } })).status, 201);
    await server.request('PUT', `/${name}/seen`, { body: { n: 1 } });
    return name;
  };

  it('does not leave its database', async () => {
    const name = await rewriting('../../../_node/_local/_config/admins/evil', 'PUT');
    const answer = await server.request('GET', `/${name}/_design/r/_rewrite/x`);
    assert.ok(answer.status >= 400, `${answer.status}`);
    const admins = await server.request('GET', '/_node/_local/_config/admins');
    assert.equal(admins.json().evil, undefined);
  });

  it('does not make a link write', async () => {
    const name = await rewriting('../../new', 'PUT');
    assert.ok((await server.request('GET', `/${name}/_design/r/_rewrite/x`)).status >= 400);
    assert.equal((await server.request('GET', `/${name}/new`)).status, 404);
  });

  it('reads what is in its database', async () => {
    const name = await rewriting('../../seen', 'GET');
    const answer = await server.request('GET', `/${name}/_design/r/_rewrite/x`);
    assert.deepEqual([answer.status, answer.json().n], [200, 1]);
  });
});

describe('a replication that goes on', () => {
  /** Asks again until there is no job of this name. */
  async function ended(name) {
    for (;;) {
      const { jobs } = (await server.request('GET', '/_scheduler/jobs?limit=100')).json();
      if (!jobs.some((job) => job.user === name)) return;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async function arrived(name, id) {
    const page = await server.request('GET', `/${name}/_changes?feed=longpoll&timeout=20000&since=0`);
    const known = page.json();
    if (known.results.some((row) => row.id === id)) return;
    await server.request('GET', `/${name}/_changes?feed=longpoll&timeout=20000&since=${known.last_seq}`);
    assert.equal((await server.request('GET', `/${name}/${id}`)).status, 200, `${id} did not come`);
  }

  /** Somebody with two databases that only his role opens, one followed into the other. */
  async function following(name, roles = ['crew']) {
    const who = { name, password: `correct horse ${name}` };
    const user = `/_users/org.couchdb.user:${name}`;
    assert.equal((await server.request('PUT', user, { body: { ...who, type: 'user', roles } })).status, 201);
    const { id } = (await server.request('GET', '/_auth/me', { as: who })).json();
    const [source, target] = [freshName('from'), freshName('to')];
    for (const database of [source, target]) {
      await server.request('PUT', `/${database}`);
      const members = { members: { names: [], roles: ['crew'] }, admins: { names: [], roles: [] } };
      assert.equal((await server.request('PUT', `/${database}/_security`, { body: members })).status, 200);
    }
    await server.request('PUT', `/${source}/before`, { body: {} });
    return { who, user, id, source, target };
  }

  const LOSSES = {
    'is blocked': ({ id }) => server.request('PATCH', `/_accounts/${id}`, { body: { blocked: true } }),
    'is deleted': async ({ user }) => {
      const { _rev } = (await server.request('GET', user)).json();
      return server.request('DELETE', `${user}?rev=${_rev}`);
    },
    'has another password': async ({ user }) => {
      const document = (await server.request('GET', user)).json();
      return server.request('PUT', user, { body: { ...document, password: 'quite another one' } });
    },
  };
  for (const [what, loses] of Object.entries(LOSSES)) {
    it(`ends when its author ${what}, and carries nothing over any more`, async () => {
      const its = await following(`f${Object.keys(LOSSES).indexOf(what)}`);
      const { who, source, target } = its;
      const body = { source, target, continuous: true };
      assert.equal((await server.request('POST', '/_replicate', { as: who, body })).status, 202);
      await arrived(target, 'before');
      const lost = await loses(its);
      assert.ok(lost.status < 300, lost.text);
      await ended(who.name);
      await server.request('PUT', `/${source}/later`, { body: {} });
      assert.equal((await server.request('GET', `/${target}/later`)).status, 404);
    });
  }

  it('ends with the next write when its author has lost the role that let him in', async () => {
    const { who, user, source, target } = await following('gus');
    await server.request('POST', '/_replicate', { as: who, body: { source, target, continuous: true } });
    await arrived(target, 'before');
    const document = (await server.request('GET', user)).json();
    assert.equal((await server.request('PUT', user, { body: { ...document, roles: [] } })).status, 201);
    await server.request('PUT', `/${source}/later`, { body: {} });
    await ended(who.name);
    assert.equal((await server.request('GET', `/${target}/later`)).status, 404);
  });

  it('says in its document that its author is unauthorized, and goes on when he is not', async () => {
    const { who, id, source, target } = await following('hal');
    const jobs = `${await shared(`${freshName('jobs')}/_replicator`)}`;
    const path = `/${encodeURIComponent(jobs)}`;
    await server.request('PUT', `${path}/_security`, { body: { members: { names: [], roles: ['crew'] }, admins: {} } });
    const put = await server.request('PUT', `${path}/live`, { as: who, body: { source, target, continuous: true } });
    assert.equal(put.status, 201, put.text);
    await arrived(target, 'before');
    await server.request('PATCH', `/_accounts/${id}`, { body: { blocked: true } });
    for (;;) {
      const row = (await server.request('GET', `/_scheduler/docs/${jobs}/live`)).json();
      if (row.state === 'crashing') {
        assert.match(JSON.stringify(row), /unauthorized to access or create database/);
        break;
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    await server.request('PUT', `/${source}/later`, { body: {} });
    assert.equal((await server.request('GET', `/${target}/later`)).status, 404);
    await server.request('PATCH', `/_accounts/${id}`, { body: { blocked: false } });
    await arrived(target, 'later');
  });
});
