// RxDB in a real browser, on a page of another origin, live: two profiles with IndexedDB, their heartbeats and
// preflights, a profile that is offline for a while, and queries that change by themselves on the screen.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { build } from 'esbuild';
import { launchBrowser, openProfile, servePage } from './harness/browser.mjs';
import { freshName } from './harness/pouch.mjs';
import { ADMIN, REPOSITORY, Server, within } from './harness/server.mjs';

// What the page does: one collection, shown as a list, and replicated live.
const PAGE = `
import { createRxDatabase } from 'rxdb/plugins/core';
import { getFetchWithCouchDBAuthorization, replicateCouchDB } from 'rxdb/plugins/replication-couchdb';
import { getRxStorageDexie } from 'rxdb/plugins/storage-dexie';

const schema = {
  version: 0, primaryKey: 'id', type: 'object', required: ['id', 'title'],
  properties: { id: { type: 'string', maxLength: 50 }, title: { type: 'string' }, done: { type: 'boolean' } },
};
window.start = async ({ url, name, password }) => {
  const database = await createRxDatabase({ name: 'todo', storage: getRxStorageDexie(), multiInstance: false });
  const { todos } = await database.addCollections({ todos: { schema } });
  window.todos = todos;
  window.failures = [];
  window.replication = replicateCouchDB({
    replicationIdentifier: 'todos', collection: todos, url, live: true, retryTime: 50, waitForLeadership: false,
    fetch: getFetchWithCouchDBAuthorization(name, password), pull: { batchSize: 10, heartbeat: 2000 }, push: { batchSize: 10 },
  });
  window.replication.error$.subscribe((error) => window.failures.push(String(error.message)));
  const list = document.body.appendChild(document.createElement('ul'));
  todos.find({ sort: [{ id: 'asc' }] }).$.subscribe((docs) => {
    list.replaceChildren(...docs.map((doc) => Object.assign(document.createElement('li'), { id: doc.id, textContent: doc.title + (doc.done ? ' (done)' : '') })));
  });
  await window.replication.awaitInitialReplication();
};
`;

let server;
let site;
let browser;

before(async () => {
  const bundle = await build({
    stdin: { contents: PAGE, resolveDir: path.join(REPOSITORY, 'tests/compat') },
    bundle: true, write: false, format: 'iife', define: { 'process.env.NODE_ENV': '"production"', global: 'globalThis' }, logLevel: 'silent',
  });
  site = await servePage(bundle.outputFiles[0].text);
  server = await Server.start();
  browser = await launchBrowser();
});
after(async () => {
  await browser?.close();
  await server?.stop();
  await site?.close();
});

async function profile(name) {
  const { context, page, complaints } = await openProfile(browser, site);
  await within(page.evaluate((options) => window.start(options), { url: `${server.origin}/${name}/`, ...ADMIN }), 'the first replication in a browser');
  return { context, page, complaints };
}

const shown = (page, text) => page.getByText(text, { exact: true }).waitFor();
const gone = (page, text) => page.getByText(text, { exact: true }).waitFor({ state: 'detached' });

describe('two browsers through the server', () => {
  it('show each other what they write, also after one was offline', async () => {
    const name = freshName('todos');
    await server.request('PUT', `/${name}`);
    const [ann, bob] = [await profile(name), await profile(name)];

    await ann.page.evaluate(() => window.todos.insert({ id: 'milk', title: 'Buy milk', done: false }));
    await shown(bob.page, 'Buy milk');
    await bob.page.evaluate(async () => (await window.todos.findOne('milk').exec()).patch({ done: true }));
    await shown(ann.page, 'Buy milk (done)');

    await bob.context.setOffline(true);
    await bob.page.evaluate(() => window.todos.insert({ id: 'tea', title: 'Buy tea ü', done: false }));
    await ann.page.evaluate(() => window.todos.bulkInsert(Array.from({ length: 35 }, (_, n) => ({ id: `n${n}`, title: `Number ${n}`, done: false }))));
    await ann.page.evaluate(async () => (await window.todos.findOne('milk').exec()).remove());
    await shown(ann.page, 'Number 34');
    assert.equal(await bob.page.getByText('Number 34').count(), 0);
    await bob.context.setOffline(false);
    await shown(ann.page, 'Buy tea ü');
    await shown(bob.page, 'Number 34');
    await gone(bob.page, 'Buy milk (done)');
    await within(ann.page.evaluate(() => window.replication.awaitInSync()), 'a replication in step');

    const listed = (await server.request('GET', `/${name}/_all_docs`)).json();
    assert.deepEqual(listed.rows.map(({ id }) => id), ['tea', ...Array.from({ length: 35 }, (_, n) => `n${n}`)].sort());
    assert.deepEqual(ann.complaints, []);
    assert.deepEqual(await ann.page.evaluate(() => window.failures), []);
    for (const { context } of [ann, bob]) await context.close();
  });
});
