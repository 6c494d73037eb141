// What a database with access control says of writing, by functions that run: who may read what is written, how forks
// end, and what is told of a document that is not taken in.

import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { Bench } from './harness/access.mjs';
import { PouchDB, freshName } from './harness/pouch.mjs';
import { within } from './harness/server.mjs';

let bench;
before(async () => { bench = await Bench.start({ users: { ann: [], ben: [] }, args: ['--script-timeout', '1s'] }); });
after(() => bench?.stop());

async function fresh(settings, designs = {}) {
  bench.name = freshName('writing');
  await bench.create(bench.name);
  for (const [id, design] of Object.entries(designs)) await bench.expect(201, undefined, 'PUT', whole(`/_design/${id}`), design);
  if (settings) await bench.set(settings);
}
const whole = (path = '') => `${bench.path('')}${path}`;
const mine = (path = '') => `${bench.path('mine')}${path}`;
const expect = (...args) => bench.expect(...args);

it('a function says who reads, and what it does not say is not stored', async () => {
  const access = `function (doc) {
    if (doc.hangs) for (;;);
    if (doc.throws) throw 'no';
    return doc.gives === undefined ? ['user:' + doc.to] : doc.gives;
  }`;
  await fresh({ rule: { function: { design: '_design/app' } }, default: 'author' }, { app: { access } });
  await expect(201, 'ann', 'PUT', whole('/letter'), { to: 'ben' });
  assert.equal((await expect(200, 'ben', 'GET', mine('/letter'))).to, 'ben');
  await expect(404, 'ann', 'GET', mine('/letter'));
  await expect(201, 'ann', 'PUT', whole('/own'), { gives: null });
  assert.equal((await expect(200, 'ann', 'GET', mine('/own'))).gives, null);
  for (const bad of [{ throws: 1 }, { hangs: 1 }, { gives: 'user:ben' }, { gives: [] }, { gives: ['_users'] }, { gives: { a: 1, read: 2 } }]) {
    const said = await expect(403, 'ann', 'PUT', whole('/bad'), bad);
    assert.equal(said.error, 'forbidden');
    assert.match(said.reason, /access function/);
  }
  await expect(404, undefined, 'GET', whole('/bad'));
  const bulk = await expect(201, 'ann', 'POST', whole('/_bulk_docs'), { docs: [{ _id: 'x', to: 'ben' }, { _id: 'y', hangs: 1 }, { _id: 'z', to: 'ann' }] });
  assert.deepEqual(bulk.map((row) => row.error), [undefined, 'forbidden', undefined]);
  const { rows } = await expect(200, 'ben', 'GET', mine('/_all_docs'));
  assert.deepEqual(rows.map((row) => row.id), ['letter', 'x']);
});

it('another function is another rule for everything that is there', async () => {
  await fresh({ rule: { function: { design: '_design/app' } } }, { app: { access: 'function (doc) { return ["user:ann"]; }' } });
  await expect(201, 'ann', 'PUT', whole('/a'), {});
  await expect(200, 'ann', 'GET', mine('/a'));
  const design = await expect(200, undefined, 'GET', whole('/_design/app'));
  await expect(201, undefined, 'PUT', whole('/_design/app'), { ...design, access: 'function (doc) { return ["user:ben"]; }' });
  // From the answer on, nobody is shown it by the old one.
  assert.notEqual((await bench.ask('ann', 'GET', mine('/a'))).status, 200);
  await bench.rebuilt();
  await expect(200, 'ben', 'GET', mine('/a'));
  await expect(404, 'ann', 'GET', mine('/a'));
});

it('a function merges the winner, the others and their ancestor, and one that fails loses nothing', async () => {
  const merge = `function (winner, others, ancestor) {
    if (winner.fails) throw 'no';
    return { _id: 'ignored', access: ['@users'], sum: others.reduce(function (sum, other) { return sum + other.n - ancestor.n; }, winner.n) };
  }`;
  await fresh({ write_rules: false, conflicts: { merge: { function: { design: '_design/m', name: 'merge' } } } }, { m: { merge } });
  const push = (id, rev, parents, doc) => expect(201, undefined, 'POST', whole('/_bulk_docs'), {
    new_edits: false, docs: [{ _id: id, _rev: rev, _revisions: { start: Number(rev[0]), ids: [rev.slice(2), ...parents] }, access: ['@users'], ...doc }],
  });
  await push('a', '1-aa', [], { n: 10 });
  await push('a', '2-bb', ['aa'], { n: 12 });
  await push('a', '2-cc', ['aa'], { n: 15 });
  const doc = await expect(200, undefined, 'GET', whole('/a?conflicts=true'));
  assert.deepEqual([doc.sum, doc._conflicts, doc._rev[0]], [17, undefined, '3']);
  await push('b', '1-aa', [], { fails: true });
  await push('b', '1-bb', [], { fails: true });
  assert.equal((await expect(200, undefined, 'GET', whole('/b?conflicts=true')))._conflicts.length, 1);
});

it('PouchDB goes on with the others when a document is not taken in', async () => {
  const types = { order: { required: ['title'], properties: { paid: { 'x-client': 'refuse' } } } };
  await fresh({ conflicts: 'reject', schemas: { property: 'type', types } });
  const local = new PouchDB(freshName('local'), { adapter: 'memory' });
  const own = { access: ['user:ann'] };
  await local.bulkDocs([
    { _id: 'list', access: 'user:ann' }, { _id: 'away', access: ['user:ben'] }, { _id: 'untitled', type: 'order', ...own },
    { _id: 'paid', type: 'order', title: 'a', paid: true, ...own }, { _id: 'good', type: 'order', title: 'a', ...own },
  ]);
  const denied = [];
  const result = await within(new Promise((resolve, reject) => {
    local.replicate.to(bench.url('ann')).on('denied', (row) => denied.push(row.doc?.id ?? row.id)).on('complete', resolve).on('error', reject);
  }), 'the end of the push');
  assert.deepEqual([result.docs_written, denied.sort()], [1, ['away', 'list', 'paid', 'untitled']]);
  await local.destroy();
});

it('members that clients do not set are dropped where the schema says so', async () => {
  const types = { '*': { properties: { score: { 'x-client': 'drop' }, 'ä"': { 'x-client': 'drop' } } } };
  await fresh({ default: ['@users'], schemas: { property: 'type', types } });
  const body = '{"score":1,"x":1e2,"sc\\u006fre":2,"\\u00e4\\"":1,"in":{"__proto__":{"score":3}}}';
  const put = await bench.server.request('PUT', mine('/a'), { as: bench.as('ann'), body, headers: { 'content-type': 'application/json' } });
  assert.equal(put.status, 201, put.text);
  const text = (await bench.ask(undefined, 'GET', whole('/a'))).text;
  assert.match(text, /"x":100\.0,"in":\{"__proto__":\{"score":3\}\}/);
  assert.deepEqual(Object.keys(JSON.parse(text)).sort(), ['_id', '_rev', 'in', 'x']);
});
