// Unmodified PouchDB on `app/mine`, both ways. First each thing that can happen to a document and a reader, one by one;
// then random histories of several users with several devices each, that go offline between any two requests, restart,
// lose their checkpoints or get old ones back, race each other, lose and regain roles.
//
// At rest each device has exactly the documents that its user may read, by the naive model (harness/access.mjs), and
// the server has exactly the leaves that somebody has really written: virtual revisions that a two-way sync pushes
// back leave nothing behind.
//
// ADEA_ACCESS_HISTORIES: how many random histories; ADEA_ACCESS_STEPS: of how many steps; ADEA_ACCESS_SEED: only this one; ADEA_ACCESS_FROM: the first one.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { ANONYMOUS, Bench, chance, content, listOf, segment, until } from './harness/access.mjs';
import { Device } from './harness/device.mjs';
import { PouchDB, freshName, noise, sameBytes } from './harness/pouch.mjs';

const HISTORIES = Number(process.env.ADEA_ACCESS_HISTORIES ?? 20);
const STEPS = Number(process.env.ADEA_ACCESS_STEPS ?? 60);
const SEEDS = process.env.ADEA_ACCESS_SEED ? [Number(process.env.ADEA_ACCESS_SEED)] : Array.from({ length: HISTORIES }, (_, n) => n + Number(process.env.ADEA_ACCESS_FROM ?? 1));

// Whoever may enter may write anything: what is tested here is who sees what.
// ADEA_ACCESS_RULES: with the built-in rules of writing, so that some of what devices write is refused.
const RULES = process.env.ADEA_ACCESS_RULES !== undefined;
// ADEA_ACCESS_AWAY: authors also write what they themselves may not read.
const AWAY = process.env.ADEA_ACCESS_AWAY !== undefined;
const FREE = { write_rules: false, conflicts: 'keep' };

let bench;
before(async () => { bench = await Bench.start({ users: { ann: [], ben: [], cat: [] } }); });
after(() => bench?.stop());

/** A fresh database under rights, on the one server, with users without roles. */
async function fresh(settings = FREE) {
  bench.name = freshName('app');
  await bench.create(bench.name, settings);
  for (const user of bench.users.keys()) await bench.roles(user, []);
  return bench;
}

const put = async (id, access, more = {}) => {
  const { rev } = await bench.expect(201, undefined, 'PUT', `/${bench.name}/${segment(id)}`, { ...(access ? { access } : {}), ...more });
  return rev;
};
const current = (id) => bench.expect(200, undefined, 'GET', `/${bench.name}/${segment(id)}`);
/** Changes a document as the administrator. */
const change = async (id, more) => put(id, undefined, { ...await current(id), ...more });
const remove = async (id) => bench.expect(200, undefined, 'DELETE', `/${bench.name}/${segment(id)}?rev=${(await current(id))._rev}`);
const leavesOf = async (id) => {
  const rows = await bench.expect(200, undefined, 'GET', `/${bench.name}/${segment(id)}?open_revs=all`, undefined, { accept: 'application/json' });
  return rows.map(({ ok }) => ok);
};

/** The device has exactly what its user may read. */
async function agrees(device, message) {
  assert.deepEqual(await device.holds(), await bench.visible(device.user), message);
}

/** Lets live devices come to it, whatever order things arrive in. */
async function comesToAgree(device, what) {
  let state;
  try {
    await until(async () => {
      state = [await device.holds(), await bench.visible(device.user)];
      return JSON.stringify(state[0]) === JSON.stringify(state[1]);
    }, what, 20_000);
  } catch (error) {
    assert.deepEqual(...state, `${what}: ${error.message}`);
  }
}

describe('a replica of mine', () => {
  it('is what its user may read, and takes what he writes', async () => {
    await fresh();
    await bench.roles('ben', ['pilots']);
    await put('both', ['user:ann', 'user:ben']);
    await put('pilots', ['pilots']);
    await put('all', ['@users']);
    await put('everybody', ['@anyone']);
    await put('admins');
    const [ann, ben] = [new Device(bench, 'ann'), new Device(bench, 'ben')];
    await ann.local.put({ _id: 'from-ann', access: ['user:ann', 'pilots'], n: 1 });
    for (const device of [ann, ben, ann]) await device.sync();
    assert.deepEqual(Object.keys(await ann.holds()), ['all', 'both', 'everybody', 'from-ann']);
    assert.deepEqual(Object.keys(await ben.holds()), ['all', 'both', 'everybody', 'from-ann', 'pilots']);
    for (const device of [ann, ben]) await agrees(device);
  });

  it('is made with PouchDB as it comes, set-up request included', async () => {
    await fresh();
    await put('one', ['user:ann']);
    const remote = new PouchDB(bench.url('ann'));
    const info = await remote.info();
    assert.equal(info.doc_count, 1);
    assert.deepEqual((await remote.allDocs()).rows.map((row) => row.id), ['one']);
    const { rev } = await remote.put({ _id: 'two', access: ['user:ann'] });
    assert.equal((await remote.get('two'))._rev, rev);
  });

  it('holds a bearer of nothing to what anyone may read', async () => {
    await fresh();
    await bench.expect(200, undefined, 'PUT', `/${bench.name}/_security`, { members: { names: [], roles: [] }, admins: { names: [], roles: ['_admin'] } });
    await put('open', ['@anyone']);
    await put('shut', ['@users']);
    const remote = new PouchDB(`${bench.server.origin}${bench.path()}`, { skip_setup: true });
    const local = new PouchDB(freshName('nobody'), { adapter: 'memory' });
    await local.replicate.from(remote);
    assert.deepEqual((await local.allDocs()).rows.map((row) => row.id), ['open']);
    assert.equal(bench.mayRead(ANONYMOUS, { access: ['@anyone'] }), true);
  });

  it('loses a document with the role, gets it back with the role, and deletes it for nobody', async () => {
    await fresh();
    await bench.roles('ann', ['crew']);
    await bench.roles('ben', ['crew']);
    const rev = await put('log', ['crew'], { text: 'at night' });
    const [ann, ben] = [new Device(bench, 'ann'), new Device(bench, 'ben')];
    for (const device of [ann, ben]) { await device.sync(); await agrees(device); }
    for (let time = 1; time <= 4; time += 1) {
      await bench.roles('ann', []);
      await ann.sync();
      assert.deepEqual(await ann.holds(), {}, `gone, time ${time}`);
      // What it was told, it offers back.
      assert.equal(await ann.sync(), 0);
      await bench.roles('ann', ['crew']);
      await ann.sync();
      assert.equal((await ann.local.get('log')).text, 'at night', `back, time ${time}`);
      assert.equal(await ann.sync(), 0);
      await ben.sync();
      await agrees(ben);
      assert.equal((await ben.local.get('log'))._rev, rev, 'who never lost it sees the plain revision');
    }
    assert.deepEqual((await leavesOf('log')).map((leaf) => leaf._rev), [rev]);
  });

  it('that was away while a role went and came has nothing to do', async () => {
    await fresh();
    await bench.roles('ann', ['crew']);
    await put('log', ['crew']);
    const ann = new Device(bench, 'ann');
    await ann.sync();
    await bench.roles('ann', []);
    await bench.roles('ann', ['crew']);
    assert.equal(await ann.sync(), 0);
    await agrees(ann);
  });

  it('edits what came back, and everybody has the edit', async () => {
    await fresh();
    await bench.roles('ann', ['crew']);
    await bench.roles('ben', ['crew']);
    await put('log', ['crew'], { n: 0 });
    const [ann, ben, late] = [new Device(bench, 'ann'), new Device(bench, 'ben'), new Device(bench, 'ben')];
    for (const device of [ann, ben]) await device.sync();
    await bench.roles('ann', []);
    await ann.sync();
    await bench.roles('ann', ['crew']);
    await ann.sync();
    const { rev } = await ann.local.put({ ...await ann.local.get('log'), n: 1 });
    for (const device of [ann, ben, late]) await device.sync();
    for (const device of [ann, ben, late]) {
      await agrees(device);
      const doc = await device.local.get('log', { conflicts: true });
      assert.deepEqual([doc._rev, doc.n, doc._conflicts], [rev, 1, undefined]);
    }
    const live = (await leavesOf('log')).filter((leaf) => !leaf._deleted);
    assert.deepEqual(live.map((leaf) => leaf._rev), [rev]);
  });

  it('has another\'s later edit of what came back, and no revival beside it', async () => {
    await fresh();
    await bench.roles('ann', ['crew']);
    await put('log', ['crew'], { n: 0 });
    const ann = new Device(bench, 'ann');
    await ann.sync();
    for (let time = 0; time < 3; time += 1) {
      await bench.roles('ann', []);
      await ann.sync();
      await bench.roles('ann', ['crew']);
      await ann.sync();
    }
    const rev = await change('log', { n: 1 });
    await ann.sync();
    await agrees(ann);
    const doc = await ann.local.get('log', { conflicts: true });
    assert.deepEqual([doc._rev, doc.n, doc._conflicts], [rev, 1, undefined]);
    // And a deletion of that reaches it too.
    await remove('log');
    await ann.sync();
    await agrees(ann);
    assert.equal((await ann.local.info()).doc_count, 0);
  });

  it('that still has a tombstone when its document is edited on, gets the edit', async () => {
    await fresh();
    await bench.roles('ann', ['crew']);
    await put('log', ['crew'], { n: 0 });
    const ann = new Device(bench, 'ann');
    await ann.sync();
    await bench.roles('ann', []);
    await ann.sync();
    await change('log', { n: 1 });
    await ann.sync();
    await agrees(ann);
    await bench.roles('ann', ['crew']);
    await ann.sync();
    await agrees(ann);
    assert.equal((await ann.local.get('log')).n, 1);
  });

  it('follows a document that moves between lists, there and back', async () => {
    await fresh();
    await put('log', ['user:ann'], { n: 0 });
    const [ann, ben] = [new Device(bench, 'ann'), new Device(bench, 'ben')];
    for (const access of [['user:ben'], ['user:ann'], ['user:ann', 'user:ben'], ['user:cat'], ['@users'], ['user:ben'], ['user:ann']]) {
      await change('log', { access });
      for (const device of [ann, ben]) { await device.sync(); await agrees(device, access.join()); }
    }
    // Moved several times before anybody looks.
    for (const access of [['user:ben'], ['user:cat'], ['user:ben']]) await change('log', { access });
    for (const device of [ann, ben]) { await device.sync(); await agrees(device); }
    assert.equal((await leavesOf('log')).filter((leaf) => !leaf._deleted).length, 1);
  });

  it('learns of the end of a document that left its sight before, and of one made anew', async () => {
    await fresh();
    await put('log', ['user:ann'], { n: 0 });
    const ann = new Device(bench, 'ann');
    await ann.sync();
    await change('log', { access: ['user:ben'] });
    await remove('log');
    await ann.sync();
    await agrees(ann);
    await put('log', ['user:ann'], { n: 1 });
    await ann.sync();
    await agrees(ann);
    await remove('log');
    await put('log', ['user:ben'], { n: 2 });
    await ann.sync();
    await agrees(ann);
  });

  it('converges from no place, from an old place and with a place lost on either side', async () => {
    await fresh();
    await bench.roles('ann', ['crew']);
    for (let n = 0; n < 8; n += 1) await put(`d${n}`, n % 2 ? ['crew'] : ['user:ann'], { n });
    const ann = new Device(bench, 'ann', { batch_size: 3 });
    await ann.sync();
    const old = await ann.rememberCheckpoints();
    assert.equal(old.local.length, 2);
    assert.equal(old.remote.length, 2);
    const steps = [
      () => bench.roles('ann', []), () => change('d0', { access: ['user:ben'] }), () => bench.roles('ann', ['crew']),
      () => remove('d1'), () => change('d0', { access: ['crew'] }), () => bench.roles('ann', []), () => change('d3', { n: 30 }),
      () => bench.roles('ann', ['crew']),
    ];
    for (const [at, step] of steps.entries()) {
      await step();
      if (at % 4 === 0) await ann.restoreCheckpoints(old);
      if (at % 4 === 1) await ann.loseCheckpoints('local');
      if (at % 4 === 2) await ann.loseCheckpoints('remote');
      if (at % 4 === 3) await ann.restart();
      await ann.sync();
      await agrees(ann, `step ${at}`);
      const other = new Device(bench, 'ann');
      await other.sync();
      await agrees(other, `a new device at step ${at}`);
    }
  });

  it('is cut between any two requests, while rights change, and goes on', async () => {
    await fresh();
    await bench.roles('ann', ['a', 'b']);
    for (let n = 0; n < 9; n += 1) await put(`d${n}`, [['a'], ['b'], ['a', 'b']][n % 3], { n });
    const ann = new Device(bench, 'ann', { batch_size: 1 });
    const sets = [['a', 'b'], ['a'], ['b'], [], ['b'], ['a', 'b'], ['a']];
    for (let at = 0; at < 28; at += 1) {
      if (at % 2 === 0) await bench.roles('ann', sets[(at / 2) % sets.length]);
      if (at % 5 === 0) await change(`d${at % 9}`, { n: 100 + at });
      await ann.cutShort(3 + (at * 7) % 23);
    }
    await ann.sync();
    await agrees(ann);
  });

  it('has the attachments of what came back', async () => {
    await fresh();
    await bench.roles('ann', ['crew']);
    const bytes = noise(70_000, 5);
    await put('photo', ['crew'], { _attachments: { 'p.bin': { content_type: 'application/octet-stream', data: bytes.toString('base64') } } });
    const ann = new Device(bench, 'ann');
    for (const roles of [['crew'], [], ['crew'], [], ['crew']]) {
      await bench.roles('ann', roles);
      await ann.sync();
      await agrees(ann);
    }
    sameBytes(await ann.local.getAttachment('photo', 'p.bin'), bytes);
    await ann.local.put({ ...await ann.local.get('photo'), seen: true });
    await ann.sync();
    const other = new Device(bench, 'ann');
    await other.sync();
    sameBytes(await other.local.getAttachment('photo', 'p.bin'), bytes);
    await agrees(other);
  });

  it('of one user on two devices converges, however far apart they were', async () => {
    await fresh();
    await put('log', ['crew'], { n: 0 });
    const [phone, desk] = [new Device(bench, 'ann'), new Device(bench, 'ann')];
    for (let time = 0; time < 6; time += 1) {
      await bench.roles('ann', time % 2 ? [] : ['crew']);
      await phone.sync();
      await agrees(phone);
      if (time % 3 === 2) { await desk.sync(); await agrees(desk); }
    }
    await bench.roles('ann', ['crew']);
    for (const device of [desk, phone]) { await device.sync(); await agrees(device); }
    await desk.local.put({ ...await desk.local.get('log'), n: 1 });
    for (const device of [desk, phone, desk]) await device.sync();
    for (const device of [desk, phone]) await agrees(device);
    assert.equal((await phone.local.get('log')).n, 1);
    assert.equal((await current('log')).n, 1);
  });

  it('that gives a document away has it no more', async () => {
    await fresh();
    const [ann, ben] = [new Device(bench, 'ann'), new Device(bench, 'ben')];
    await ann.local.put({ _id: 'gift', access: ['user:ann'], n: 0 });
    await ann.local.put({ _id: 'sent', access: ['user:ben'], n: 0 });
    await ann.sync();
    await agrees(ann, 'what was made for another');
    await ann.local.put({ ...await ann.local.get('gift'), access: ['user:ben'] });
    for (const device of [ann, ben, ann]) await device.sync();
    for (const device of [ann, ben]) await agrees(device, 'what was given away');
    await ben.local.put({ ...await ben.local.get('gift'), access: ['user:ann', 'user:ben'], n: 1 });
    for (const device of [ben, ann]) await device.sync();
    for (const device of [ann, ben]) await agrees(device, 'what was given back');
  });

  it('of a partition follows what comes and goes there', async () => {
    await fresh();
    const signature = (await bench.expect(200, undefined, 'POST', `/${bench.name}/_signature`, { access: ['user:ann', 'crew'] })).signature;
    await put('one', ['user:ann', 'crew'], { n: 1 });
    await put('two', ['user:ann'], { n: 2 });
    const ann = new Device(bench, 'ann', { face: `p-${signature}` });
    const has = async (...ids) => { await ann.pull(); assert.deepEqual(Object.keys(await ann.holds()), ids); };
    await has('one');
    await change('two', { access: ['crew', 'user:ann', 'crew'] });
    await has('one', 'two');
    await change('one', { access: ['user:ann'] });
    await has('two');
    await change('one', { access: ['user:ann', 'crew'] });
    await remove('two');
    await has('one');
  });
});

describe('a live replica of mine', () => {
  it('has a document come and go as it is shared, as a role is given and taken, at once', async () => {
    await fresh();
    const [ann, ben] = [new Device(bench, 'ann'), new Device(bench, 'ben')];
    for (const device of [ann, ben]) device.live();
    await ann.local.put({ _id: 'note', access: ['user:ann'], n: 0 });
    await until(async () => (await bench.ask(undefined, 'GET', `/${bench.name}/note`)).status === 200, 'the note on the server');
    const steps = [
      () => change('note', { access: ['user:ann', 'user:ben'] }), () => change('note', { access: ['user:ann'] }),
      () => change('note', { access: ['user:ann', 'crew'] }), () => bench.roles('ben', ['crew']), () => bench.roles('ben', []),
      () => bench.roles('ben', ['crew']), () => change('note', { n: 1 }), () => bench.roles('ben', ['crew', 'other']), () => bench.roles('ben', []),
    ];
    for (const [at, step] of steps.entries()) {
      await step();
      for (const device of [ann, ben]) await comesToAgree(device, `step ${at}`);
    }
    for (const device of [ann, ben]) { await device.rest(); assert.deepEqual(device.errors, []); }
    assert.equal((await leavesOf('note')).filter((leaf) => !leaf._deleted).length, 1);
  });

  it('survives roles that flap faster than it hears of them', async () => {
    await fresh();
    for (let n = 0; n < 5; n += 1) await put(`d${n}`, ['crew'], { n });
    const ann = new Device(bench, 'ann', { batch_size: 2 });
    ann.live();
    for (let time = 0; time < 12; time += 1) await bench.roles('ann', time % 2 ? [] : ['crew', `r${time}`]);
    await comesToAgree(ann, 'after an even number of changes');
    await bench.roles('ann', ['crew']);
    await comesToAgree(ann, 'with the role');
    await ann.rest();
    assert.deepEqual(ann.errors, []);
    for (const { _id } of await bench.truth()) assert.equal((await leavesOf(_id)).length, 1);
  });

  it('goes on over the death of the server, with rights changed meanwhile', async () => {
    const own = await Bench.start({ settings: FREE, users: { ann: ['crew'], ben: [] } });
    try {
      const write = (id, doc) => own.expect(201, undefined, 'PUT', `/app/${id}`, doc);
      await write('a', { access: ['crew'] });
      const { rev } = await write('b', { access: ['user:ann'] });
      const ann = new Device(own, 'ann');
      ann.live();
      const same = (what) => until(async () => JSON.stringify(await ann.holds()) === JSON.stringify(await own.visible('ann')), what);
      await same('before');
      await own.server.kill9();
      await own.server.up();
      await own.roles('ann', []);
      await write('b', { _rev: rev, access: ['user:ben'] });
      await write('c', { access: ['user:ann'] });
      await same('after');
      assert.deepEqual(Object.keys(await ann.holds()), ['c']);
      await ann.destroy();
    } finally {
      await own.stop();
    }
  });
});

describe('a policy that allows no forks', () => {
  it('refuses a fork of PouchDB\'s as denied, and lets the rest of the batch through', async () => {
    await fresh({ write_rules: false, conflicts: 'reject' });
    await put('log', ['@users'], { n: 0 });
    const [ann, ben] = [new Device(bench, 'ann'), new Device(bench, 'ben')];
    for (const device of [ann, ben]) await device.sync();
    await ann.local.put({ ...await ann.local.get('log'), by: 'ann' });
    await ben.local.put({ ...await ben.local.get('log'), by: 'ben' });
    await ben.local.put({ _id: 'other', access: ['@users'] });
    await ann.push();
    await ben.push();
    assert.deepEqual(ben.denied, ['log']);
    assert.equal((await leavesOf('log')).length, 1);
    assert.equal((await current('log')).by, 'ann');
    assert.ok(await current('other'));
  });
});

/** What somebody has really written: of each document, its revisions and on which of them each is based. */
class Written {
  documents = new Map();

  note(id, path, deleted) {
    if (!this.documents.has(id)) this.documents.set(id, new Map());
    const revisions = this.documents.get(id);
    if (!revisions.has(path[0])) revisions.set(path[0], { path, deleted });
  }

  /** The revisions that nobody has based another on; virtual ones in between are nobody's. */
  leaves(id) {
    const revisions = this.documents.get(id) ?? new Map();
    const inner = new Set();
    for (const { path } of revisions.values()) {
      for (const ancestor of path.slice(1)) inner.add(ancestor);
    }
    return [...revisions.keys()].filter((rev) => !inner.has(rev)).sort();
  }
}

/** What was told of may be gone before it is fetched: then a replication that is not live ends, and comes again. */
function raced(error) {
  if (!/problem getting docs/.test(error.message)) throw error;
  return 'raced';
}

const pathOf = ({ start, ids }) => ids.map((id, at) => `${start - at}-${id}`);

class History {
  written = new Written();
  log = [];
  #number = 0;

  constructor(seed) {
    this.random = chance(seed);
    this.ids = Array.from({ length: 10 }, (_, n) => `d${n}`);
    this.roles = ['r0', 'r1', 'r2'];
    this.users = ['ann', 'ben', 'cat'];
    this.devices = ['ann', 'ann', 'ben', 'ben', 'cat'].map((user) => new Device(bench, user, { batch_size: 1 + this.random.below(4) }));
    this.places = new Map();
  }

  /** Who may read next; an author is always one of them. */
  list(author) {
    if (!author && this.random.one(12)) return undefined;
    const some = this.random.some([...this.users.map((user) => `user:${user}`), ...this.roles, '@users'], 3);
    return author && !AWAY ? [...new Set([...some, `user:${author}`])] : some;
  }

  body(from = {}) {
    this.#number += 1;
    return { ...from, n: this.#number };
  }

  async byAdmin() {
    const id = this.random.pick(this.ids);
    const kind = this.random.weighed({ edit: 4, move: 5, remove: 2 });
    const access = this.list();
    const path = `/${bench.name}/${id}`;
    const now = await bench.ask(undefined, 'GET', path);
    const doc = now.status === 200 ? now.json() : undefined;
    let answer;
    if (doc && kind === 'remove') {
      answer = await bench.ask(undefined, 'DELETE', `${path}?rev=${doc._rev}`);
    } else {
      const next = this.body(doc ?? { access });
      if (kind === 'move') next.access = access;
      if (this.random.one(6)) next._attachments = { [`a${next.n}`]: { content_type: 'a/b', data: Buffer.from(`bytes ${next.n}`).toString('base64') } };
      answer = await bench.ask(undefined, 'PUT', path, next);
    }
    if (answer.status >= 300) return `${kind} ${id} -> ${answer.status}`;
    const { rev } = answer.json();
    const made = await bench.expect(200, undefined, 'GET', `${path}?rev=${rev}&revs=true`);
    this.written.note(id, pathOf(made._revisions), made._deleted ?? false);
    return `admin ${kind} ${id} ${rev} ${JSON.stringify(made.access)}`;
  }

  async onDevice(device) {
    const { rows } = await device.local.allDocs({ include_docs: true });
    const kind = rows.length === 0 ? 'create' : this.random.weighed({ edit: 4, create: 2, move: 2, remove: 1 });
    let made;
    try {
      if (kind === 'create') {
        made = await device.local.put(this.body({ _id: this.random.pick(this.ids), access: this.list(device.user) }));
      } else {
        const { doc } = this.random.pick(rows);
        if (kind === 'remove') made = await device.local.remove(doc);
        else made = await device.local.put({ ...this.body(doc), access: kind === 'move' ? this.list(device.user) : [...new Set([...listOf(doc), `user:${device.user}`])] });
      }
    } catch (error) {
      if (error.status !== 409) throw error;
      return `${device.name} ${kind} -> 409`;
    }
    const doc = await device.local.get(made.id, { rev: made.rev, revs: true });
    this.written.note(made.id, pathOf(doc._revisions), doc._deleted ?? false);
    return `${device.name} ${kind} ${made.id} ${made.rev} ${JSON.stringify(doc.access)}`;
  }

  async checkpoints(device) {
    const kind = this.random.weighed({ local: 2, remote: 2, remember: 3, restore: 3 });
    if (kind === 'remember') this.places.set(device, await device.rememberCheckpoints());
    else if (kind === 'restore') { if (this.places.has(device)) await device.restoreCheckpoints(this.places.get(device)); } else await device.loseCheckpoints(kind);
    return `${device.name} checkpoints ${kind}`;
  }

  async one(kind) {
    const device = this.random.pick(this.devices);
    switch (kind) {
      case 'admin': return this.byAdmin();
      case 'write': return this.onDevice(device);
      case 'roles': {
        const user = this.random.pick(this.users);
        const roles = this.random.one(3) ? [] : this.random.some(this.roles);
        await bench.roles(user, roles);
        return `roles of ${user}: ${roles}`;
      }
      case 'flap': {
        const user = this.random.pick(this.users);
        const roles = [...bench.users.get(user)];
        await bench.roles(user, []);
        // Looked at in between, or not: only then has it happened.
        const looked = this.random.one(2);
        if (looked) await bench.ask(user, 'GET', bench.path());
        await bench.roles(user, roles);
        return `${user} flaps${looked ? ', looking' : ''}`;
      }
      case 'sync': { await device.rest(); return `${device.name} syncs: ${await device.sync({ batch_size: 1 + this.random.below(5) })}`; }
      case 'pull': { await device.rest(); await device.pull({ batch_size: 1 + this.random.below(3) }); return `${device.name} pulls`; }
      case 'cut': { await device.rest(); const most = 1 + this.random.below(25); await device.cutShort(most); return `${device.name} is cut after ${most}`; }
      case 'restart': await device.restart(); return `${device.name} restarts`;
      case 'live': if (device.following) await device.rest(); else device.live(); return `${device.name} ${device.following ? 'follows' : 'rests'}`;
      case 'places': await device.rest(); return this.checkpoints(device);
      default: throw new Error(kind);
    }
  }

  async step() {
    const kind = this.random.weighed({ admin: 9, write: 7, roles: 6, flap: 2, sync: 8, pull: 4, cut: 4, restart: 1, live: 2, places: 2, race: 4 });
    if (kind !== 'race') { this.log.push(await this.one(kind)); return; }
    // Everybody at once; one device does one thing at a time.
    const syncs = this.devices.filter(() => this.random.one(2)).map(async (device) => { await device.rest(); return `${device.name}: ${await device.sync().catch(raced)}`; });
    const others = ['admin', 'roles', 'admin'].filter(() => this.random.one(2)).map((other) => this.one(other));
    this.log.push(`race: ${(await Promise.all([...others, ...syncs])).join(' | ')}`);
  }

  /** Everybody syncs until nobody has anything to say any more. */
  async settle() {
    for (const device of this.devices) await device.rest();
    for (let round = 0; round < 8; round += 1) {
      let written = 0;
      for (const device of this.devices) written += await device.sync();
      this.log.push(`settling: ${written}`);
      if (written === 0) return;
    }
    assert.fail('the devices go on writing to each other');
  }

  /**
   * What a device holds, where of a forked document it may show another of the leaves: the revivals that it was told
   * of make its branches longer.
   */
  async forked(device, wanted) {
    const holds = await device.holds();
    // What was refused is its own, and nobody else has it.
    for (const id of device.denied) {
      if (wanted[id]) holds[id] = wanted[id];
      else delete holds[id];
    }
    for (const id of Object.keys(holds)) {
      if (!wanted[id] || isDeepStrictEqual(holds[id], wanted[id])) continue;
      const leaves = (await leavesOf(id)).filter((leaf) => !leaf._deleted && bench.mayRead(device.user, leaf));
      if (leaves.length > 1 && leaves.some((leaf) => isDeepStrictEqual(content(leaf), holds[id]))) holds[id] = wanted[id];
    }
    return holds;
  }

  async check() {
    const truth = await bench.truth();
    for (const device of this.devices) {
      const { user } = device;
      const wanted = await bench.visible(user, truth);
      assert.deepEqual(await this.forked(device, wanted), wanted, `${device.name} holds what ${user} may read`);
    }
    for (const user of this.users) {
      const wanted = await bench.visible(user, truth);
      const listed = await bench.expect(200, user, 'GET', `${bench.path()}/_all_docs?include_docs=true`);
      assert.deepEqual(Object.fromEntries(listed.rows.map(({ doc }) => [doc._id, content(doc)])), wanted, `_all_docs of ${user}`);
      assert.equal(listed.total_rows, Object.keys(wanted).length);
      const told = await bench.expect(200, user, 'GET', `${bench.path()}/_changes?include_docs=true`);
      const alive = told.results.filter((row) => !row.deleted);
      assert.deepEqual(Object.fromEntries(alive.map(({ doc }) => [doc._id, content(doc)]).sort()), wanted, `_changes of ${user}`);
      const twice = told.results.filter((row, at) => told.results.findIndex((other) => other.id === row.id) !== at);
      assert.deepEqual(twice.filter((row) => !row.deleted || alive.some(({ id }) => id === row.id)), [], 'each document once');
      const late = new Device(bench, user);
      await late.pull();
      assert.deepEqual(await late.holds(), wanted, `a new device of ${user}`);
      await late.destroy();
    }
    const refused = new Set(this.devices.flatMap((device) => device.denied));
    for (const id of this.ids.filter((one) => !refused.has(one))) {
      const answer = await bench.ask(undefined, 'GET', `/${bench.name}/${id}?open_revs=all`, undefined, { accept: 'application/json' });
      const leaves = answer.status === 200 ? answer.json().map(({ ok }) => ok) : [];
      const real = leaves.filter((leaf) => !leaf._deleted || this.written.documents.get(id)?.has(leaf._rev));
      assert.deepEqual(real.map((leaf) => leaf._rev).sort(), this.written.leaves(id), `the leaves of ${id} are those that were written`);
    }
  }

  async end() {
    for (const device of this.devices) await device.destroy();
  }
}

/** What differs, document by document. */
function told(error) {
  if (typeof error.actual !== 'object' || typeof error.expected !== 'object') return `${error.stack} ${JSON.stringify(error)}`;
  const differing = Object.keys({ ...error.actual, ...error.expected }).filter((key) => !isDeepStrictEqual(error.actual[key], error.expected[key]));
  const lines = differing.map((key) => `${key}: has ${JSON.stringify(error.actual[key])}, should have ${JSON.stringify(error.expected[key])}`);
  return `${error.message.split('\n')[0]}\n${lines.join('\n')}`;
}

describe('a random history', () => {
  for (const seed of SEEDS) {
    it(`leaves each device with what its user may read (ADEA_ACCESS_SEED=${seed})`, async () => {
      await fresh(RULES ? { conflicts: 'keep' } : FREE);
      const history = new History(seed);
      try {
        for (let number = 0; number < STEPS; number += 1) {
          await history.step();
          if (number % 30 === 29) { await history.settle(); await history.check(); }
        }
        await history.settle();
        await history.check();
      } catch (error) {
        throw new Error(`seed ${seed}, after:\n${history.log.map((line, at) => `${at} ${line}`).join('\n')}\n${told(error)}`);
      } finally {
        await history.end();
      }
    });
  }
});

// `listOf` is the model's one rule; that it reads both forms is seen here once.
it('the model reads both forms of a list', () => {
  assert.deepEqual([listOf({ access: ['a'] }), listOf({ access: { read: ['b'] } }), listOf({})], [['a'], ['b'], ['_admin']]);
});
