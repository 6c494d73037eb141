// IBM's Cloudant SDK and couchbackup, unmodified: sessions, gzip bodies, the ChangesFollower, pagers, and a backup
// that is restored into another database.

import assert from 'node:assert/strict';
import { createReadStream, createWriteStream } from 'node:fs';
import path from 'node:path';
import { finished } from 'node:stream/promises';
import { after, before, describe, it } from 'node:test';
import couchbackup from '@cloudant/couchbackup';
import { BasicAuthenticator, ChangesFollower, CloudantV1, CouchdbSessionAuthenticator, PagerType, Pagination } from '@ibm-cloud/cloudant';
import { PouchDB, freshName, leaves } from './harness/pouch.mjs';
import { ADMIN, Server, temporaryDirectory, within } from './harness/server.mjs';

let server;
before(async () => { server = await Server.start(); });
after(() => server?.stop());

function client(authenticator = new CouchdbSessionAuthenticator({ username: ADMIN.name, password: ADMIN.password })) {
  return new CloudantV1({ authenticator, serviceUrl: server.origin });
}

async function filled(count, name = freshName('cloudant')) {
  const service = client();
  await service.putDatabase({ db: name });
  const docs = Array.from({ length: count }, (_, n) => ({ _id: `doc${String(n).padStart(4, '0')}`, n, even: n % 2 === 0 }));
  const { result } = await service.postBulkDocs({ db: name, bulkDocs: { docs } });
  assert.equal(result.filter(({ ok }) => ok).length, count);
  return { service, name };
}

describe('the Cloudant SDK', () => {
  for (const [kind, authenticator] of [['a session', undefined], ['Basic', new BasicAuthenticator({ username: ADMIN.name, password: ADMIN.password })]]) {
    it(`writes and reads documents with ${kind}`, async () => {
      const service = client(authenticator);
      const db = freshName('cloudant');
      assert.equal((await service.headUpInformation()).status, 200);
      assert.equal((await service.putDatabase({ db })).result.ok, true);
      const { result: put } = await service.putDocument({ db, docId: 'a/b ü', document: { n: 1 } });
      const { result: got } = await service.getDocument({ db, docId: 'a/b ü' });
      assert.deepEqual(got, { _id: 'a/b ü', _rev: put.rev, n: 1 });
      await assert.rejects(service.putDocument({ db, docId: 'a/b ü', document: { n: 2 } }), { status: 409 });
      await service.putAttachment({ db, docId: 'a/b ü', attachmentName: 'x.txt', attachment: Buffer.from('hello'), contentType: 'text/plain', rev: put.rev });
      const { result: info } = await service.getDatabaseInformation({ db });
      assert.equal(info.docCount, 1);
      const { result: infos } = await service.postDbsInfo({ keys: [db, 'none'] });
      assert.deepEqual(infos.map(({ key, error, info: told }) => [key, error ?? told.docCount]), [[db, 1], ['none', 'not_found']]);
      assert.ok((await service.getAllDbs()).result.includes(db));
      assert.deepEqual((await service.getSessionInformation()).result.userCtx.name, ADMIN.name);
      assert.equal((await service.headDatabase({ db })).status, 200);
      await assert.rejects(service.headDatabase({ db: 'none' }), { status: 404 });
      assert.equal((await service.deleteDatabase({ db })).result.ok, true);
    });
  }

  it('compresses what it sends', async () => {
    const service = client();
    service.setEnableGzipCompression?.(true);
    const db = freshName('cloudant');
    await service.putDatabase({ db });
    const text = 'gzip '.repeat(2000);
    await service.putDocument({ db, docId: 'z', document: { text } });
    assert.equal((await service.getDocument({ db, docId: 'z' })).result.text, text);
  });

  it('follows changes to their end, and goes on when there are more', async () => {
    const { service, name } = await filled(300);
    const once = [];
    const follower = new ChangesFollower(service, { db: name, limit: 300 });
    const stream = follower.startOneOff();
    stream.on('data', (items) => once.push(...(Array.isArray(items) ? items : [items])));
    await within(finished(stream), 'the end of a one-off feed');
    assert.equal(new Set(once.map(({ id }) => id)).size, 300);

    const live = new ChangesFollower(service, { db: name, since: 'now' });
    const heard = new Promise((resolve, reject) => {
      const feed = live.start();
      feed.on('data', (items) => { const item = [items].flat()[0]; if (item?.id === 'late') resolve(item); });
      feed.on('error', reject);
    });
    // Whether the feed has begun is not told; a change made again and again is heard once it has.
    let rev;
    let done = false;
    heard.finally(() => { done = true; }).catch(() => {});
    const write = async () => {
      while (!done) {
        const { result } = await service.putDocument({ db: name, docId: 'late', document: { _rev: rev } });
        rev = result.rev;
        await Promise.race([heard, service.getDatabaseInformation({ db: name })]);
      }
    };
    await within(Promise.all([heard, write()]), 'a change in a live feed');
    live.stop();
  });

  it('pages through all documents, a view and a query', async () => {
    const { service, name } = await filled(45);
    await service.putDesignDocument({ db: name, ddoc: 'd', designDocument: { views: { n: { map: 'function (doc) { emit(doc.n % 3, null); }' } } } });
    await service.postIndex({ db: name, index: { fields: ['n'] } });
    const pages = async (type, params) => {
      const found = [];
      for await (const page of Pagination.newPagination(service, type, { db: name, limit: 10, ...params }).pages()) found.push(...page);
      return found;
    };
    const all = await pages(PagerType.POST_ALL_DOCS, {});
    assert.equal(all.filter(({ id }) => id.startsWith('doc')).length, 45);
    const rows = await pages(PagerType.POST_VIEW, { ddoc: 'd', view: 'n' });
    assert.deepEqual(rows.map(({ key }) => key), [0, 1, 2].flatMap((key) => Array(15).fill(key)));
    assert.equal(new Set(rows.map(({ id }) => id)).size, 45);
    const docs = await pages(PagerType.POST_FIND, { selector: { n: { $gte: 5 } } });
    assert.deepEqual(docs.map(({ n }) => n).sort((x, y) => x - y), Array.from({ length: 40 }, (_, n) => n + 5));
  });

  it('administers: security, tasks, membership, scheduler, shards', async () => {
    const { service, name } = await filled(1);
    await service.putSecurity({ db: name, admins: { names: [], roles: [] }, members: { names: ['x'], roles: [] } });
    assert.deepEqual((await service.getSecurity({ db: name })).result.members.names, ['x']);
    assert.ok(Array.isArray((await service.getActiveTasks()).result));
    assert.equal((await service.getMembershipInformation()).result.allNodes.length, 1);
    assert.ok(Array.isArray((await service.getSchedulerJobs()).result.jobs));
    assert.ok(Array.isArray((await service.getSchedulerDocs()).result.docs));
    assert.ok((await service.getShardsInformation({ db: name })).result.shards);
    assert.equal((await service.getUuids({ count: 3 })).result.uuids.length, 3);
  });
});

describe('couchbackup', () => {
  it('backs up a database and restores it into another', async () => {
    const { name } = await filled(700);
    const remote = new PouchDB(server.url(name));
    await remote.bulkDocs([{ _id: 'forked', _rev: '2-b', _revisions: { start: 2, ids: ['b', 'a'] } }, { _id: 'forked', _rev: '2-c', _revisions: { start: 2, ids: ['c', 'a'] } }], { new_edits: false });
    await remote.remove(await remote.get('doc0007'));
    const directory = temporaryDirectory('couchbackup');
    const file = path.join(directory, 'backup.txt');
    const run = (start) => within(new Promise((resolve, reject) => start((error, data) => (error ? reject(error) : resolve(data)))), 'couchbackup', 60_000);
    const out = createWriteStream(file);
    await run((done) => couchbackup.backup(server.url(name), out, { log: path.join(directory, 'log'), parallelism: 2, bufferSize: 100 }, done));
    out.end();
    const copy = freshName('restored');
    await server.request('PUT', `/${copy}`);
    await run((done) => couchbackup.restore(createReadStream(file), server.url(copy), { parallelism: 2, bufferSize: 100 }, done));
    const restored = new PouchDB(server.url(copy));
    assert.deepEqual(await leaves(restored), await leaves(remote));
    await assert.rejects(restored.get('doc0007'), { status: 404 });
  });
});
