// Two people in two Chromium profiles, on a page of another origin, each with PouchDB in the page that follows `app/mine`
// live: a document is shared and unshared, and comes and goes in the page of the other.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Bench } from './harness/access.mjs';
import { launchBrowser, openProfile, servePage } from './harness/browser.mjs';
import { within } from './harness/server.mjs';

let bench;
let site;
let browser;
before(async () => {
  site = await servePage();
  bench = await Bench.start({ users: { ann: [], ben: [] } });
  browser = await launchBrowser();
});
after(async () => {
  await browser?.close();
  await bench?.stop();
  await site?.close();
});

/** A page of somebody's, that shows the documents it has: one list item each, with the text in it. */
async function profile(user) {
  const { context, page, complaints } = await openProfile(browser, site);
  await page.evaluate((url) => {
    const list = document.body.appendChild(document.createElement('ul'));
    window.local = new PouchDB('notes');
    const show = (doc) => {
      document.getElementById(doc._id)?.remove();
      if (doc._deleted) return;
      const item = document.createElement('li');
      item.id = doc._id;
      item.textContent = doc.text;
      list.append(item);
    };
    window.local.changes({ live: true, since: 0, include_docs: true }).on('change', (change) => show(change.doc));
    window.errors = [];
    window.startSync = () => {
      window.sync = window.local.sync(new PouchDB(url), { live: true, retry: true, back_off_function: () => 50 });
      window.sync.on('error', (error) => window.errors.push(String(error)));
      window.sync.on('denied', (error) => window.errors.push(`denied ${JSON.stringify(error)}`));
      window.sync.catch(() => {});
    };
    window.startSync();
    window.put = (doc) => window.local.put(doc);
    window.change = async (id, more) => window.local.put({ ...await window.local.get(id), ...more });
  }, bench.url(user));
  const shows = (id, text) => within(page.waitForFunction(([i, t]) => {
    const item = document.getElementById(i);
    return t === null ? !item : item?.textContent === t;
  }, [id, text]), `${id} ${text === null ? 'gone' : `with ${text}`} in the page of ${user}`);
  return { context, page, complaints, shows };
}

describe('two people in two browsers', () => {
  it('see a document come and go as it is shared and unshared, edits and roles too', async () => {
    const [ann, ben] = [await profile('ann'), await profile('ben')];
    const change = (of, id, more) => of.page.evaluate(([i, m]) => window.change(i, m), [id, more]);
    await ann.page.evaluate(() => window.put({ _id: 'note', text: 'dear diary', access: ['user:ann'] }));
    await ann.page.evaluate(() => window.put({ _id: 'list', text: 'eggs', access: ['user:ann', 'user:ben'] }));
    await ben.shows('list', 'eggs');
    await ben.shows('note', null);
    for (let time = 1; time <= 3; time += 1) {
      await change(ann, 'note', { access: ['user:ann', 'user:ben'], text: `shared ${time}` });
      await ben.shows('note', `shared ${time}`);
      await change(ann, 'note', { access: ['user:ann'] });
      await ben.shows('note', null);
      await ann.shows('note', `shared ${time}`);
    }
    await change(ben, 'list', { text: 'eggs and milk' });
    await ann.shows('list', 'eggs and milk');
    // A role gives and takes without anybody touching the document.
    await change(ann, 'note', { access: ['user:ann', 'crew'], text: 'for the crew' });
    for (let time = 0; time < 2; time += 1) {
      await bench.roles('ben', ['crew']);
      await ben.shows('note', 'for the crew');
      await bench.roles('ben', []);
      await ben.shows('note', null);
    }
    await bench.roles('ben', ['crew']);
    await ben.shows('note', 'for the crew');
    await change(ben, 'note', { text: 'by the crew' });
    await ann.shows('note', 'by the crew');
    for (const { page, complaints } of [ann, ben]) {
      assert.deepEqual(await page.evaluate(() => window.errors), []);
      assert.deepEqual(complaints, []);
    }
    assert.deepEqual((await bench.truth()).map((doc) => [doc._id, doc.text, doc._conflicts]), [['list', 'eggs and milk', undefined], ['note', 'by the crew', undefined]]);
    for (const { context } of [ann, ben]) await context.close();
  });

  it('find what was taken from them gone when they come back, and what was given there', async () => {
    const [ann, ben] = [await profile('ann'), await profile('ben')];
    await ann.page.evaluate(() => window.put({ _id: 'away', text: 'one', access: ['user:ann', 'user:ben'] }));
    await ben.shows('away', 'one');
    const failed = ben.page.waitForEvent('requestfailed');
    await ben.context.setOffline(true);
    await ben.page.evaluate(() => window.put({ _id: 'own', text: 'offline', access: ['user:ben', 'user:ann'] }));
    await within(failed, 'a request to fail offline');
    await ann.page.evaluate(() => window.change('away', { access: ['user:ann'] }));
    await ann.page.evaluate(() => window.put({ _id: 'given', text: 'two', access: ['user:ann', 'user:ben'] }));
    await ann.shows('given', 'two');
    await ben.shows('away', 'one');
    await ben.context.setOffline(false);
    await ben.shows('given', 'two');
    await ben.shows('away', null);
    await ann.shows('own', 'offline');
    for (const { context } of [ann, ben]) await context.close();
  });
});
