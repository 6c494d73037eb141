// The leak hunter. After a random history, in which each version of each document has a marker of its own (in its id,
// its fields, its text, its list, and the name and the bytes of its attachment), everybody calls every endpoint through
// every face. No byte of a marker may appear that is not the caller's to see, in status line, headers or body; what is
// counted is what he may read; and a document that he never could see answers exactly as one that never was, in the
// same time.
//
// ADEA_LEAK_SEEDS: how many histories; ADEA_LEAK_SEED: only this one.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { ANONYMOUS, Bench, chance, listOf, segment } from './harness/access.mjs';
import { freshName } from './harness/pouch.mjs';

const SEEDS = process.env.ADEA_LEAK_SEED ? [Number(process.env.ADEA_LEAK_SEED)] : Array.from({ length: Number(process.env.ADEA_LEAK_SEEDS ?? 2) }, (_, n) => n + 1);
const STEPS = 60;
const USERS = ['ann', 'ben', 'cat'];
const ROLES = ['r0', 'r1', 'r2'];
const READERS = [...USERS, ANONYMOUS];
const PUBLIC = { members: { names: [], roles: [] }, admins: { names: [], roles: ['_admin'] } };
const FREE = { write_rules: false, conflicts: 'keep' };

let bench;
before(async () => { bench = await Bench.start({ users: { ann: [], ben: [], cat: [] } }); });
after(() => bench?.stop());

const DESIGN = {
  views: {
    text: { map: 'function (doc) { emit(doc.text, doc.text) }', reduce: '_count' },
    longest: { map: 'function (doc) { emit(doc.text, doc.text) }', reduce: 'function (keys, values) { return values.sort().pop() }' },
    sum: { map: 'function (doc) { emit(null, doc.n || 0) }', reduce: '_stats' },
  },
  filters: { all: 'function (doc) { return true }' },
  shows: { s: 'function (doc, req) { return "show " + JSON.stringify(doc) + req.id }' },
  lists: { l: 'function (head, req) { var row; send(JSON.stringify(head)); while ((row = getRow())) send(JSON.stringify(row)) }' },
  updates: { u: 'function (doc, req) { return [null, "update " + JSON.stringify(doc)] }' },
  rewrites: 'function (req) { return { path: "../../" + req.path.slice(-1)[0], method: "GET" } }',
  access: ['@anyone'],
};

/** A database after a random history, and what each may see of it. */
class Scene {
  /** id -> { versions: [{ rev, path, marker, list, seenBy }], seenBy: Set of readers } */
  documents = new Map();
  /** Documents that nobody changes, so that there is always something that somebody never saw. */
  kept = new Set();
  log = [];
  #number = 0;

  constructor(seed) {
    this.random = chance(seed);
    this.seed = seed;
  }

  static async after(seed) {
    const scene = new Scene(seed);
    bench.name = freshName('leaks');
    await bench.create(bench.name, FREE);
    await bench.expect(200, undefined, 'PUT', `${bench.path('')}/_security`, PUBLIC);
    await bench.expect(201, undefined, 'PUT', `${bench.path('')}/_design/d`, DESIGN);
    for (const user of USERS) await bench.roles(user, []);
    for (const list of [['user:ann'], ['user:ben', 'user:cat'], ['_admin']]) scene.kept.add(await scene.document(list));
    for (let step = 0; step < STEPS; step += 1) await scene.step();
    // Everybody has looked, and has something of his own that nobody else reads.
    for (const reader of READERS) {
      await bench.ask(reader, 'GET', `${bench.path()}/_changes`);
      if (reader !== ANONYMOUS) await bench.expect(201, reader, 'PUT', `${bench.path()}/_local/mark`, { text: scene.localMarker(reader) });
    }
    return scene;
  }

  localMarker(reader) {
    return `local${this.seed}of${reader}zz`;
  }

  marker() {
    this.#number += 1;
    // Long enough to be nobody else's by chance, and the same for a seed.
    return `mk${this.seed}x${this.#number}x${this.random.below(1e9).toString(36).padStart(6, 'q')}`;
  }

  list() {
    if (this.random.one(8)) return ['_admin'];
    return this.random.some([...USERS.map((user) => `user:${user}`), ...ROLES, '@users', '@anyone'], 2);
  }

  body(marker, list) {
    const data = Buffer.from(`bytes ${marker}`).toString('base64');
    return {
      access: [...list, `role-${marker}`], text: marker, [`field${marker}`]: { deep: [marker] }, n: this.#number,
      _attachments: { [`file-${marker}.bin`]: { content_type: this.random.one(2) ? 'application/octet-stream' : 'text/plain', data } },
    };
  }

  async note(id, rev, marker, list) {
    if (!this.documents.has(id)) this.documents.set(id, { versions: [], seenBy: new Set() });
    const { _revisions: { start, ids } } = await bench.expect(200, undefined, 'GET', `${bench.path('')}/${id}?rev=${rev}&revs=true`);
    const path = ids.map((part, at) => `${start - at}-${part}`);
    this.documents.get(id).versions.push({ rev, path, marker, list, seenBy: new Set() });
  }

  async document(list = this.list()) {
    const marker = this.marker();
    const id = `doc-${marker}`;
    const { rev } = await bench.expect(201, undefined, 'PUT', `${bench.path('')}/${id}`, this.body(marker, list));
    await this.note(id, rev, marker, list);
    return id;
  }

  async step() {
    const kind = this.documents.size < 6 ? 'create' : this.random.weighed({ create: 3, edit: 4, remove: 1, fork: 2, roles: 3 });
    if (kind === 'create') await this.document();
    else if (kind === 'roles') {
      const user = this.random.pick(USERS);
      await bench.roles(user, this.random.one(3) ? [] : this.random.some(ROLES));
      if (process.env.ADEA_LEAK_LOOK) await bench.ask(user, 'GET', bench.path());
    }
    else await this.change(kind, this.random.pick([...this.documents.keys()].filter((id) => !this.kept.has(id))));
    // Who could see a document at any time has its id by right.
    const truth = await bench.truth();
    for (const doc of truth) {
      const known = this.documents.get(doc._id);
      for (const reader of READERS) {
        if (!known || !bench.mayRead(reader, doc)) continue;
        known.seenBy.add(reader);
        for (const { list, seenBy } of known.versions) if (bench.mayRead(reader, { access: list })) seenBy.add(reader);
      }
    }
    for (const reader of READERS) if (this.random.one(2)) await bench.ask(reader, 'GET', bench.path());
  }

  async change(kind, id) {
    const [path, marker, list] = [`${bench.path('')}/${id}`, this.marker(), this.list()];
    const now = await bench.ask(undefined, 'GET', path);
    const rev = now.status === 200 ? now.json()._rev : undefined;
    if (kind === 'remove') {
      if (rev) await bench.expect(200, undefined, 'DELETE', `${path}?rev=${rev}`);
    } else if (kind === 'edit') {
      const made = await bench.expect(201, undefined, 'PUT', path, { _rev: rev, ...this.body(marker, list) });
      await this.note(id, made.rev, marker, list);
    } else {
      const ids = [`${this.seed}${this.#number}`.padStart(32, 'f')];
      const made = `1-${ids[0]}`;
      await bench.expect(201, undefined, 'POST', `${bench.path('')}/_bulk_docs`, { new_edits: false, docs: [{ _id: id, _rev: made, _revisions: { start: 1, ids }, ...this.body(marker, list) }] });
      await this.note(id, made, marker, list);
    }
  }

  /** What a reader may never be told: each marker with what it is of. */
  async forbidden(reader) {
    const truth = new Map((await bench.truth()).map((doc) => [doc._id, doc]));
    const found = [];
    const held = new Set(bench.principals(reader));
    for (const [id, { versions, seenBy }] of this.documents) {
      const doc = truth.get(id);
      // Of a deleted document whoever saw it sees what was.
      const visible = doc ? bench.mayRead(reader, doc) : seenBy.has(reader);
      if (!seenBy.has(reader)) found.push({ id, bytes: versions[0].marker, what: 'a document that was never his' });
      for (const { rev, marker, list } of versions) {
        const shown = visible && list.some((principal) => held.has(principal));
        if (!shown && !id.endsWith(marker)) found.push({ id, bytes: marker, what: `version ${rev}` });
        if (!shown && id.endsWith(marker)) found.push({ id, bytes: `bytes ${marker}`, what: `version ${rev}` }, { id, bytes: `role-${marker}`, what: `version ${rev}` }, { id, bytes: `file-${marker}`, what: `version ${rev}` });
      }
    }
    for (const other of USERS) if (other !== reader) found.push({ bytes: this.localMarker(other), what: `what ${other} keeps` });
    return found;
  }

  /** The names of revisions that a reader never saw, nor one that is based on them. */
  unseen(reader) {
    const found = [];
    for (const [id, { versions }] of this.documents) {
      const named = new Set(versions.filter((version) => version.seenBy.has(reader)).flatMap((version) => version.path));
      for (const { rev } of versions) if (!named.has(rev)) found.push({ id, rev, bytes: rev.slice(rev.indexOf('-') + 1) });
    }
    return found;
  }
}

/** Everything that a document's id can be put into: [method, path, body, headers]. */
function* doorsOf(id, revs) {
  const it = `/${segment(id)}`;
  for (const query of ['', '?revs=true', '?revs_info=true', '?conflicts=true', '?deleted_conflicts=true', '?meta=true', '?local_seq=true', '?attachments=true', '?att_encoding_info=true', '?open_revs=all', '?open_revs=all&revs=true', '?rev=bad', '?open_revs=bad']) {
    yield ['GET', it + query];
  }
  yield ['GET', `${it}?open_revs=all`, undefined, { accept: 'application/json' }];
  yield ['GET', `${it}?attachments=true`, undefined, { accept: 'multipart/related' }];
  yield ['HEAD', it];
  yield ['GET', it, undefined, { 'if-none-match': `"${revs[0]}"` }];
  yield ['GET', `${it}/file`];
  yield ['GET', `${it}/file?rev=${revs[0]}`];
  yield ['DELETE', `${it}/file?rev=1-${'0'.repeat(32)}`];
  for (const rev of revs) {
    for (const more of ['', '&revs=true', '&latest=true', '&attachments=true', '&revs_info=true']) yield ['GET', `${it}?rev=${rev}${more}`];
    yield ['GET', `${it}?open_revs=${segment(JSON.stringify([rev]))}&latest=true&revs=true`];
    yield ['GET', `${it}?atts_since=${segment(JSON.stringify([rev]))}&attachments=true`];
  }
  const docs = [{ id }, ...revs.map((rev) => ({ id, rev })), { id, atts_since: revs }];
  for (const query of ['', '?revs=true&latest=true', '?attachments=true']) yield ['POST', `/_bulk_get${query}`, { docs }];
  yield ['POST', '/_bulk_get?revs=true', { docs }, { accept: 'multipart/mixed' }];
  yield ['POST', '/_revs_diff', { [id]: [...revs, '1-0', '99-0'] }];
  yield ['POST', '/_missing_revs', { [id]: [...revs, '1-0', '99-0'] }];
  yield ['GET', `/_all_docs?key=${segment(JSON.stringify(id))}`];
  yield ['GET', `/_all_docs?keys=${segment(JSON.stringify([id, id]))}&include_docs=true`];
  yield ['GET', `/_all_docs?startkey=${segment(JSON.stringify(id))}&limit=1`];
  yield ['GET', `/_all_docs?endkey=${segment(JSON.stringify(id))}&descending=false&include_docs=true&conflicts=true`];
  yield ['POST', '/_all_docs', { keys: [id], include_docs: true }];
  yield ['POST', '/_all_docs/queries', { queries: [{ keys: [id] }, { start_key: id, limit: 2 }] }];
  yield ['POST', '/_changes?filter=_doc_ids', { doc_ids: [id] }];
  yield ['POST', '/_changes?filter=_doc_ids&include_docs=true&style=all_docs&conflicts=true', { doc_ids: [id] }];
  yield ['POST', '/_changes?filter=_selector', { selector: { _id: id } }];
  yield ['POST', '/_find', { selector: { _id: id } }];
  yield ['POST', '/_find', { selector: { _id: { $gte: id } }, limit: 1, execution_stats: true }];
  yield ['GET', `/_design/d/_show/s/${segment(id)}`];
  yield ['POST', `/_design/d/_update/u/${segment(id)}`, {}];
  yield ['GET', `/_design/d/_rewrite/${segment(id)}`];
  yield ['GET', `/_design/d/_view/text?key=${segment(JSON.stringify(id))}`];
  yield ['GET', `/_why/${segment(id)}?user=ann`];
  yield ['POST', '/_signature', { _id: id, access: ['@users'] }];
  yield ['COPY', it, undefined, { destination: 'copied' }];
  yield ['GET', `/_local/${segment(id)}`];
}

/** All else that can be read. */
function* doors() {
  for (const method of ['GET', 'HEAD']) for (const path of ['', '/_all_docs', '/_changes', '/_design_docs', '/_local_docs', '/_partitions', '/_sync', '/_access', '/_security', '/_index', '/_shards', '/_revs_limit', '/_purged_infos', '/_purged_infos_limit', '/_design/d', '/_design/d/_info', '/_local/mark', '/_something']) yield [method, path];
  const lists = ['include_docs=true', 'descending=true', 'limit=2&skip=1', 'limit=0', 'update_seq=true', 'include_docs=true&attachments=true', 'include_docs=true&conflicts=true', 'startkey="doc-m"&endkey="doc-n"', 'inclusive_end=false&endkey="zz"', 'skip=1000', 'key="none"'];
  for (const query of lists) yield ['GET', `/_all_docs?${query}`];
  yield ['POST', '/_all_docs', {}];
  yield ['POST', '/_all_docs/queries', { queries: [{}, { include_docs: true, limit: 3 }, { descending: true }] }];
  yield ['GET', '/_local_docs?include_docs=true'];
  yield ['GET', '/_design_docs?include_docs=true'];
  for (const view of ['text', 'longest', 'sum']) {
    for (const query of ['', '?reduce=false', '?reduce=false&include_docs=true', '?group=true', '?group_level=1', '?reduce=false&descending=true&limit=3', '?reduce=false&skip=2', '?group=true&limit=2', '?update_seq=true', '?reduce=false&startkey="mk"&endkey="mk~"', '?reduce=false&conflicts=true&include_docs=true', '?update=false', '?stable=true&update=lazy', '?reduce=false&attachments=true&include_docs=true']) {
      yield ['GET', `/_design/d/_view/${view}${query}`];
    }
    yield ['POST', `/_design/d/_view/${view}`, { keys: ['a', 'mk'], reduce: false }];
    yield ['POST', `/_design/d/_view/${view}/queries`, { queries: [{ reduce: false }, { group: true }] }];
  }
  yield ['GET', '/_design/d/_list/l/text?reduce=false'];
  yield ['GET', '/_design/d/_list/l/text?reduce=false&include_docs=true'];
  yield ['GET', '/_design/d/_show/s'];
  yield ['GET', '/_design/d/_rewrite/_all_docs'];
  yield ['GET', '/_design/d/_rewrite/_changes'];
  const feeds = ['include_docs=true', 'style=all_docs', 'style=all_docs&include_docs=true&conflicts=true', 'descending=true&include_docs=true', 'limit=1', 'limit=3&include_docs=true', 'since=now', 'since=0&include_docs=true&attachments=true', 'filter=d/all&include_docs=true', 'filter=_view&view=d/text&include_docs=true', 'filter=_design', 'seq_interval=5', 'since=5-unknown', 'since=3', 'last-event-id=2', 'feed=longpoll&timeout=1&include_docs=true', 'feed=continuous&timeout=1&include_docs=true', 'feed=continuous&timeout=1&style=all_docs&since=0', 'feed=eventsource&timeout=1&include_docs=true', 'filter=nothing/there'];
  for (const query of feeds) yield ['GET', `/_changes?${query}`];
  yield ['POST', '/_changes?filter=_selector&include_docs=true', { selector: { n: { $gt: 0 } } }];
  yield ['POST', '/_changes?feed=continuous&timeout=1', {}];
  for (const selector of [{}, { n: { $gt: 0 } }, { text: { $regex: 'mk' } }, { _id: { $gt: null } }, { $not: { n: -1 } }, { access: { $elemMatch: { $regex: 'role' } } }]) {
    yield ['POST', '/_find', { selector, limit: 200 }];
    yield ['POST', '/_find', { selector, limit: 2, execution_stats: true, conflicts: true, r: 1 }];
    yield ['POST', '/_find', { selector, limit: 200, fields: ['_id', 'text'] }];
    yield ['POST', '/_explain', { selector }];
  }
  yield ['POST', '/_find', { selector: { n: { $gt: 0 } }, sort: [{ n: 'desc' }], limit: 5 }];
  yield ['POST', '/_find', { selector: 'wrong' }];
  yield ['POST', '/_index', { index: { fields: ['n'] } }];
  yield ['POST', '/_bulk_get', { docs: 'wrong' }];
  yield ['POST', '/_purge', { x: ['1-a'] }];
  yield ['GET', '/_partition/p'];
  yield ['GET', '/_partition/p/_all_docs'];
}

/** What is asked of the server and not of a database. */
function* serverDoors(name) {
  for (const path of ['/', '/_all_dbs', '/_dbs_info', '/_db_updates?timeout=1', '/_active_tasks', '/_scheduler/jobs', '/_scheduler/docs', '/_session', '/_up', '/_node/_local/_stats', '/_metrics', '/_audit', '/_auth/me', '/_auth/export']) yield ['GET', path];
  yield ['POST', '/_dbs_info', { keys: [name, `${name}/mine`] }];
}

const IGNORED = new Set(['date', 'x-couch-request-id', 'x-request-id', 'connection', 'keep-alive']);

/** All that is said, as one text; the headers that differ from request to request are left out. */
function said(answer) {
  const headers = [];
  for (let at = 0; at < answer.rawHeaders.length; at += 2) {
    if (!IGNORED.has(answer.rawHeaders[at].toLowerCase())) headers.push(`${answer.rawHeaders[at]}: ${answer.rawHeaders[at + 1]}`);
  }
  return { status: `${answer.status} ${answer.message}`, headers: headers.sort().join('\n'), body: answer.bytes.toString('latin1') };
}

/** Multipart answers have a boundary of their own each time. */
const withoutBoundary = (text) => text.replace(/boundary="?[0-9a-zA-Z-]+"?/g, 'boundary').replace(/--[0-9a-f]{32}/g, '--boundary');

const decoded = (text) => [text, text.replaceAll(/[A-Za-z0-9+/]{16,}={0,2}/g, (found) => Buffer.from(found, 'base64').toString('latin1')), unescape(text)].join('\n');

describe('after a random history', () => {
  for (const seed of SEEDS) {
    it(`nobody is told a byte of what is not his, by any door (ADEA_LEAK_SEED=${seed})`, async () => {
      const scene = await Scene.after(seed);
      const signatures = (await bench.expect(200, undefined, 'GET', `${bench.path('')}/_partitions`)).partitions.map((one) => one.signature);
      let asked = 0;
      for (const reader of READERS) {
        const forbidden = await scene.forbidden(reader);
        assert.ok(forbidden.length > 5, 'there is something to hide');
        const targets = [...new Set(forbidden.map(({ id }) => id).filter(Boolean))];
        const check = async (method, path, body, headers) => {
          asked += 1;
          const answer = await bench.ask(reader, method, path, body, headers);
          assert.ok(answer.status < 500 || answer.status === 501, `${method} ${path} as ${reader}: ${answer.status} ${answer.text.slice(0, 300)}`);
          const heard = said(answer);
          // What he sends himself may come back to him.
          const sent = decoded(`${unescape(path)} ${JSON.stringify(body ?? '')}`);
          const text = decoded(Object.values(heard).join('\n'));
          for (const { id, bytes, what } of forbidden) {
            if (!text.includes(bytes) || sent.includes(bytes)) continue;
            assert.fail(`${method} ${path} ${JSON.stringify(body)} as ${reader} tells ${what} of ${id}:\n${heard.status}\n${heard.headers}\n${heard.body.slice(0, 3000)}`);
          }
        };
        const faces = ['', 'mine', ...scene.random.some(signatures, 6).map((signature) => `p-${signature}`)];
        for (const face of faces) {
          const base = bench.path(face);
          for (const [method, path, body, headers] of doors()) await check(method, base + path, body, headers);
          for (const id of targets) {
            const revs = scene.documents.get(id).versions.map((version) => version.rev);
            for (const [method, path, body, headers] of doorsOf(id, revs)) await check(method, base + path, body, headers);
            for (const { marker } of scene.documents.get(id).versions) await check('GET', `${base}/${id}/file-${marker}.bin`);
          }
        }
        for (const [method, path, body] of serverDoors(bench.name)) await check(method, path, body);
      }
      assert.ok(asked > 1000, `${asked} requests`);
    });

    it(`nor the name of a revision that he never saw (ADEA_LEAK_SEED=${seed})`, { todo: 'closing tombstones name what they close' }, async () => {
      const scene = await Scene.after(seed);
      for (const reader of READERS) {
        for (const { id, rev, bytes } of scene.unseen(reader)) {
          for (const [method, path, body, headers] of [...doors(), ...doorsOf(id, [`1-${'0'.repeat(32)}`])]) {
            const answer = await bench.ask(reader, method, bench.path() + path, body, headers);
            assert.ok(!answer.text.includes(bytes), `${method} ${path} as ${reader} names ${rev} of ${id}: ${answer.text.slice(0, 2000)}`);
          }
        }
      }
    });

    it(`counts are those of what one may read (ADEA_LEAK_SEED=${seed})`, async () => {
      const scene = await Scene.after(seed);
      const truth = await bench.truth();
      for (const reader of READERS) {
        const own = truth.filter((doc) => bench.mayRead(reader, doc));
        const plain = own.filter((doc) => !doc._id.startsWith('_design/'));
        const get = (path, body) => bench.expect(200, reader, body ? 'POST' : 'GET', `${bench.path()}${path}`, body);
        assert.equal((await get('')).doc_count, own.length, `doc_count for ${reader}`);
        assert.equal((await get('/_all_docs?limit=0')).total_rows, own.length);
        assert.equal((await get('/_all_docs')).rows.length, own.length);
        const changes = (await get('/_changes')).results;
        assert.equal(changes.filter((row) => !row.deleted).length, own.length);
        const first = await get('/_changes?limit=1');
        if (changes.length > 0) assert.equal(first.pending, changes.length - 1, 'pending');
        const count = await get('/_design/d/_view/text');
        assert.equal(count.rows[0]?.value ?? 0, plain.length);
        const rows = await get('/_design/d/_view/text?reduce=false');
        assert.deepEqual([rows.rows.length, rows.total_rows], [plain.length, plain.length]);
        const stats = (await get('/_design/d/_view/sum')).rows[0]?.value;
        assert.equal(stats?.sum ?? 0, plain.reduce((sum, doc) => sum + doc.n, 0));
        const found = await get('/_find', { selector: { n: { $gt: 0 } }, limit: 500, execution_stats: true });
        assert.equal(found.docs.length, plain.length);
        assert.ok(found.execution_stats.total_docs_examined <= own.length, `examined ${found.execution_stats.total_docs_examined} of ${own.length}`);
        const parts = (await bench.expect(200, reader, 'GET', `${bench.path('')}/_partitions`)).partitions;
        assert.equal(parts.reduce((sum, one) => sum + (one.documents ?? one.doc_count), 0), own.length, `partitions of ${reader}`);
      }
      assert.ok(scene.documents.size > 4);
    });

    it(`what one never could see answers as what never was (ADEA_LEAK_SEED=${seed})`, async () => {
      const scene = await Scene.after(seed);
      let compared = 0;
      for (const reader of READERS) {
        const hidden = [...scene.documents].filter(([, { seenBy }]) => !seenBy.has(reader)).slice(0, 4);
        assert.ok(hidden.length > 0);
        for (const [id, { versions }] of hidden) {
          // Of the same length, and beside it in every order.
          const missing = `${id.slice(0, -1)}!`;
          const revs = versions.map((version) => version.rev);
          for (const face of ['', 'mine']) {
            const [here, there] = [[...doorsOf(id, revs)], [...doorsOf(missing, revs)]];
            for (const [at, [method, path, body, headers]] of here.entries()) {
              // A place that is taken is taken for everybody: only reading is compared.
              const [otherMethod, otherPath, otherBody, otherHeaders] = there[at];
              const one = said(await bench.ask(reader, method, bench.path(face) + path, body, headers));
              const two = said(await bench.ask(reader, otherMethod, bench.path(face) + otherPath, otherBody, otherHeaders));
              const plain = ({ status, headers: lines, body: text }, own) => withoutBoundary([status, lines, text].join('\n')).replaceAll(own, 'ID').replaceAll(segment(own), 'ID').replaceAll(/content-length: \d+/gi, '').replaceAll(/"execution_time_ms": *[\d.]+/g, '');
              assert.equal(plain(one, id), plain(two, missing), `${method} ${face}${path} as ${reader}`);
              compared += 1;
            }
          }
        }
      }
      assert.ok(compared > 100);
    });
  }
});

describe('a replication', () => {
  it('in somebody\'s name carries what he may read, and of the whole nothing', async () => {
    const scene = await Scene.after(77);
    const target = freshName('target');
    await bench.expect(201, undefined, 'PUT', `/${target}`);
    await bench.expect(200, undefined, 'PUT', `/${target}/_security`, { members: { names: ['ann'], roles: [] }, admins: { names: ['ann'], roles: [] } });
    const refused = await bench.ask('ann', 'POST', '/_replicate', { source: bench.name, target });
    assert.ok(refused.status >= 400, refused.text);
    for (const { bytes } of await scene.forbidden('ann')) assert.ok(!refused.text.includes(bytes));
    assert.equal((await bench.expect(200, undefined, 'GET', `/${target}`)).doc_count, 0);
    const done = await bench.ask('ann', 'POST', '/_replicate', { source: `${bench.name}/mine`, target });
    assert.equal(done.status, 200, done.text);
    const { rows } = await bench.expect(200, undefined, 'GET', `/${target}/_all_docs`);
    assert.deepEqual(rows.map((row) => row.id), Object.keys(await bench.visible('ann')).sort());
  });
});

describe('the time of an answer', () => {
  it('does not tell what is hidden from what never was', async () => {
    bench.name = freshName('timing');
    await bench.create(bench.name, FREE);
    // Large and long: whoever looked into it would take his time.
    let rev;
    for (let n = 0; n < 60; n += 1) ({ rev } = await bench.expect(201, undefined, 'PUT', `${bench.path('')}/doc-hidden-000000`, { _rev: rev, access: ['user:ben'], text: 'x'.repeat(n === 59 ? 900_000 : 100) }));
    const kinds = ['hidden-000000', 'missing-00000'];
    for (const [what, ask] of Object.entries({
      GET: (id) => bench.ask('ann', 'GET', `${bench.path()}/doc-${id}`),
      rev: (id) => bench.ask('ann', 'GET', `${bench.path()}/doc-${id}?rev=${rev}`),
      bulk: (id) => bench.ask('ann', 'POST', `${bench.path()}/_bulk_get`, { docs: [{ id: `doc-${id}` }] }),
    })) {
      const times = { [kinds[0]]: [], [kinds[1]]: [] };
      const median = (list) => list.sort((a, b) => a - b)[list.length >> 1];
      for (let n = 0; n < 400; n += 1) {
        // In turn, and each as often first: what else the machine does falls on both.
        for (const kind of n % 2 ? kinds : [...kinds].reverse()) {
          const began = performance.now();
          await ask(kind);
          times[kind].push(performance.now() - began);
        }
      }
      const [hidden, missing] = kinds.map((kind) => median(times[kind]));
      assert.ok(Math.abs(hidden - missing) < Math.max(0.5, 0.5 * Math.min(hidden, missing)), `${what}: ${hidden.toFixed(3)} ms for what is hidden, ${missing.toFixed(3)} ms for what never was`);
    }
  });
});

it('the model hides what no list names', () => {
  assert.deepEqual(listOf({}), ['_admin']);
});
