// PouchDB in a real browser, on a page of another origin: preflights, credentials, readable errors, live sync
// between two profiles, attachments as Blobs, a profile that goes offline and comes back.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { launchBrowser, openProfile, servePage } from './harness/browser.mjs';
import { PouchDB, freshName, leaves } from './harness/pouch.mjs';
import { ADMIN, Server, within } from './harness/server.mjs';

let server;
let site;
let browser;

before(async () => {
  site = await servePage();
  server = await Server.start();
  browser = await launchBrowser();
});
after(async () => {
  await browser?.close();
  await server?.stop();
  await site?.close();
});

/** A page in a profile of its own, with a local database and a handle on the server's. */
async function profile(name) {
  const { context, page, complaints } = await openProfile(browser, site);
  await page.evaluate((url) => {
    window.remote = new PouchDB(url);
    window.local = new PouchDB('local');
    window.startSync = () => {
      window.sync = window.local.sync(window.remote, { live: true, retry: true, back_off_function: () => 50 });
      window.syncErrors = [];
      window.sync.on('error', (error) => window.syncErrors.push(String(error)));
      // The promise that a sync also is must not be left to fail unseen.
      window.sync.catch(() => {});
    };
    // Resolves with the document when its local winner satisfies `field === value` (or is deleted, for value null).
    window.seen = (id, field, value) => new Promise((resolve) => {
      const feed = window.local.changes({ live: true, since: 0, include_docs: true, conflicts: true });
      feed.on('change', (change) => {
        if (change.id !== id) return;
        if (value === null ? change.deleted : JSON.stringify(change.doc[field]) === JSON.stringify(value)) {
          feed.cancel();
          resolve(change.doc);
        }
      });
    });
  }, server.url(name));
  return { context, page, complaints };
}

const seen = (page, id, field, value) => within(page.evaluate(([i, f, v]) => window.seen(i, f, v), [id, field, value]), `${id}.${field} = ${JSON.stringify(value)} in the browser`);
const put = (page, doc) => page.evaluate((d) => window.local.put(d), doc);

describe('another origin', () => {
  let name;
  beforeEach(async () => {
    name = freshName('web');
    await server.request('PUT', `/${name}`);
  });

  it('may read and write with credentials, and read headers and errors', async () => {
    const { page, context, complaints } = await profile(name);
    const answers = await page.evaluate(async ({ url, authorization }) => {
      const call = async (method, path, body) => {
        const response = await fetch(url + path, { method, credentials: 'include', headers: { authorization, accept: 'application/json', 'content-type': 'application/json' }, body: body && JSON.stringify(body) });
        return { status: response.status, etag: response.headers.get('etag'), type: response.headers.get('content-type'), body: await response.json() };
      };
      return { put: await call('PUT', '/a', { n: 1 }), get: await call('GET', '/a'), conflict: await call('PUT', '/a', { n: 2 }), missing: await call('GET', '/none'), bad: await call('POST', '/_bulk_docs', {}), remove: await call('DELETE', '/a?rev=1-f') };
    }, { url: `${server.origin}/${name}`, authorization: 'Basic ' + Buffer.from(`${ADMIN.name}:${ADMIN.password}`).toString('base64') });
    assert.deepEqual(Object.values(answers).map((answer) => answer.status), [201, 200, 409, 404, 400, 409]);
    assert.equal(answers.get.body.n, 1);
    assert.equal(answers.get.etag, `"${answers.get.body._rev}"`);
    assert.equal(answers.get.type, 'application/json');
    assert.equal(answers.conflict.body.error, 'conflict');
    assert.equal(answers.missing.body.reason, 'missing');
    assert.deepEqual(complaints, []);
    await context.close();
  });

  it('sees who it is not, without a login window', async () => {
    const { page, context } = await profile(name);
    const answer = await page.evaluate(async (url) => {
      const response = await fetch(url, { credentials: 'include' });
      return [response.status, (await response.json()).error, response.headers.get('www-authenticate')];
    }, `${server.origin}/${name}`);
    assert.deepEqual(answer, [401, 'unauthorized', null]);
    await context.close();
  });

  // Signs in from the page, writes with what the session gives, signs out; answers what happened at each step.
  const signInFromPage = async (page, origin) => page.evaluate(async ({ at, database, admin }) => {
    const session = (method, body) => fetch(`${at}/_session`, { method, credentials: 'include', headers: { 'content-type': 'application/json' }, body: body && JSON.stringify(body) }).then((response) => response.json());
    const outcome = (promise, value) => promise.then(value, (error) => error.status);
    const db = new PouchDB(`${at}/${database}`, { skip_setup: true });
    const signedIn = (await session('POST', admin)).name;
    const who = (await session('GET')).userCtx.name;
    const written = await outcome(db.put({ _id: 'by-cookie' }), (answer) => answer.ok);
    await session('DELETE');
    return { signedIn, who, written, later: await outcome(db.get('by-cookie'), () => 'read') };
  }, { at: origin, database: name, admin: ADMIN });

  it('signs in for a cookie and works with that, when it is listed', async () => {
    const own = await Server.start({ args: ['--cors-origins', site.origin] });
    await own.request('PUT', `/${name}`);
    const { page, context, complaints } = await profile(name);
    assert.deepEqual(await signInFromPage(page, own.origin), { signedIn: ADMIN.name, who: ADMIN.name, written: true, later: 401 });
    assert.deepEqual(complaints, []);
    await context.close();
    await own.stop();
  });

  it('has no use of a cookie when it is one of all', async () => {
    // Any page may ask, but only with credentials of its own: the visitor's session is not lent to it.
    const { page, context } = await profile(name);
    const outcome = await signInFromPage(page, server.origin);
    assert.deepEqual([outcome.who, outcome.written], [null, 401]);
    await context.close();
  });

  it('is kept out when others are listed', async () => {
    const own = await Server.start({ args: ['--cors-origins', 'https://other.example'] });
    const { page, context } = await profile(name);
    const outcome = await page.evaluate((url) => fetch(url, { headers: { authorization: 'Basic x' } }).then((response) => response.status, (error) => error.name), `${own.origin}/`);
    assert.equal(outcome, 'TypeError');
    await context.close();
    await own.stop();
  });
});

describe('two profiles', () => {
  it('sync live, both ways, with conflicts and deletions', async () => {
    const name = freshName('web');
    const there = new PouchDB(server.url(name));
    const [one, two] = await Promise.all([profile(name), profile(name)]);
    await put(one.page, { _id: 'early', from: 'one' });
    await Promise.all([one, two].map(({ page }) => page.evaluate(() => window.startSync())));
    await seen(two.page, 'early', 'from', 'one');
    await put(two.page, { _id: 'answer', from: 'two' });
    await seen(one.page, 'answer', 'from', 'two');
    await two.page.evaluate(async () => window.local.remove(await window.local.get('early')));
    await seen(one.page, 'early', '_deleted', null);
    await there.put({ _id: 'direct', n: 1 });
    await Promise.all([one, two].map(({ page }) => seen(page, 'direct', 'n', 1)));
    const states = await Promise.all([one, two].map(({ page }) => page.evaluate(async () => (await window.local.allDocs()).rows.map((row) => [row.id, row.value.rev]))));
    const expected = Object.entries(await leaves(there)).map(([id, [rev]]) => [id, rev]);
    assert.deepEqual(states, [expected, expected]);
    for (const { page, context, complaints } of [one, two]) {
      assert.deepEqual(await page.evaluate(() => window.syncErrors), []);
      assert.deepEqual(complaints, []);
      await context.close();
    }
  });

  it('exchange attachments as Blobs', async () => {
    const name = freshName('web');
    const there = new PouchDB(server.url(name));
    const [one, two] = await Promise.all([profile(name), profile(name)]);
    await Promise.all([one, two].map(({ page }) => page.evaluate(() => window.startSync())));
    const SIZE = 300_000;
    await one.page.evaluate(async (size) => {
      const bytes = new Uint8Array(size).map((_, at) => (at * 7 + (at >> 8)) & 0xff);
      await window.local.put({ _id: 'photo', step: 1, _attachments: { 'p.bin': { content_type: 'image/png', data: new Blob([bytes], { type: 'image/png' }) }, 't.txt': { content_type: 'text/plain', data: new Blob(['grüße'], { type: 'text/plain' }) } } });
    }, SIZE);
    await seen(two.page, 'photo', 'step', 1);
    const received = await two.page.evaluate(async () => {
      const blob = await window.local.getAttachment('photo', 'p.bin');
      const bytes = new Uint8Array(await blob.arrayBuffer());
      const text = await (await window.local.getAttachment('photo', 't.txt')).text();
      return { blob: blob instanceof Blob, type: blob.type, size: bytes.length, wrong: bytes.findIndex((byte, at) => byte !== ((at * 7 + (at >> 8)) & 0xff)), text };
    });
    assert.deepEqual(received, { blob: true, type: 'image/png', size: SIZE, wrong: -1, text: 'grüße' });
    const stored = await there.getAttachment('photo', 'p.bin');
    assert.equal(stored.length, SIZE);
    assert.equal(stored.findIndex((byte, at) => byte !== ((at * 7 + (at >> 8)) & 0xff)), -1);
    // Straight from the server, as a Blob too.
    const direct = await two.page.evaluate(async () => { const blob = await window.remote.getAttachment('photo', 't.txt'); return [blob.type, await blob.text()]; });
    assert.deepEqual(direct, ['text/plain', 'grüße']);
    for (const { context, complaints } of [one, two]) {
      assert.deepEqual(complaints, []);
      await context.close();
    }
  });

  it('find together again after one was offline', async () => {
    const name = freshName('web');
    const there = new PouchDB(server.url(name));
    const [one, two] = await Promise.all([profile(name), profile(name)]);
    await Promise.all([one, two].map(({ page }) => page.evaluate(() => window.startSync())));
    await put(one.page, { _id: 'shared', by: 'start' });
    const base = await seen(two.page, 'shared', 'by', 'start');
    const failed = two.page.waitForEvent('requestfailed');
    await two.context.setOffline(true);
    await put(two.page, { _id: 'shared', _rev: base._rev, by: 'offline' });
    await put(two.page, { _id: 'only-two', n: 2 });
    await put(one.page, { _id: 'shared', _rev: base._rev, by: 'online' });
    await put(one.page, { _id: 'only-one', n: 1 });
    await within(failed, 'a request to fail offline');
    assert.equal(await two.page.evaluate(() => window.local.get('only-one').then(() => 'there', (error) => error.status)), 404);
    await two.context.setOffline(false);
    await Promise.all([seen(two.page, 'only-one', 'n', 1), seen(one.page, 'only-two', 'n', 2)]);
    // Both edits live on as a conflict, and both profiles show the same winner.
    await Promise.all([one, two].map(({ page }) => within(page.evaluate(() => new Promise((resolve) => {
      const feed = window.local.changes({ live: true, since: 0, include_docs: true, conflicts: true });
      feed.on('change', (change) => { if (change.id === 'shared' && change.doc._conflicts?.length === 1) { feed.cancel(); resolve(); } });
    })), 'the conflict in both profiles')));
    const winners = await Promise.all([one, two].map(({ page }) => page.evaluate(() => window.local.get('shared', { conflicts: true }))));
    assert.deepEqual(winners[0], winners[1]);
    assert.deepEqual((await leaves(there)).shared, [winners[0]._rev, ...winners[0]._conflicts]);
    for (const { context } of [one, two]) await context.close();
  });
});
