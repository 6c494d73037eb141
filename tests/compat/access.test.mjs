// Who may read what, from outside: an administrator makes a database under rights, people sign up and write, and each
// sees what the lists in the documents say, through every face, at once when rights change. The number in brackets at
// the end of a test's name is the row of the requirements that it proves.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import http from 'node:http';
import { after, before, describe, it } from 'node:test';
import { ANONYMOUS, Bench, PASSWORD, content, segment, until } from './harness/access.mjs';
import { freshName, noise } from './harness/pouch.mjs';
import { within } from './harness/server.mjs';

let bench;
before(async () => { bench = await Bench.start({ users: { ann: [], ben: [], cat: [] } }); });
after(() => bench?.stop());

/** A fresh database under rights on the one server. */
async function fresh(settings) {
  bench.name = freshName('app');
  await bench.create(bench.name, settings);
  for (const user of bench.users.keys()) if (bench.users.get(user).size > 0) await bench.roles(user, []);
  return bench;
}

const whole = (path = '') => `${bench.path('')}${path}`;
const mine = (path = '') => `${bench.path('mine')}${path}`;
const ask = (...args) => bench.ask(...args);
const expect = (...args) => bench.expect(...args);
const put = async (who, id, doc) => (await expect(201, who, 'PUT', who === undefined ? whole(`/${segment(id)}`) : mine(`/${segment(id)}`), doc)).rev;
const get = (who, id) => expect(200, who, 'GET', who === undefined ? whole(`/${segment(id)}`) : mine(`/${segment(id)}`));
const change = async (who, id, more) => put(who, id, { ...await get(who, id), ...more });
const ids = async (who, face = 'mine') => (await expect(200, who, 'GET', `${bench.path(face)}/_all_docs`)).rows.map((row) => row.id);
const refused = async (status, who, method, path, body, word) => {
  const said = await expect(status, who, method, path, body);
  assert.equal(typeof said.reason, 'string', JSON.stringify(said));
  if (word) assert.equal(said.error, word, JSON.stringify(said));
  return said;
};
/** The signature by which partitions are named, worked out here once more. */
function signatureOf(list) {
  const alphabet = 'abcdefghijklmnopqrstuvwxyz234567';
  const hash = createHash('sha256');
  for (const principal of [...new Set(list)].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))) {
    const length = Buffer.alloc(8);
    length.writeBigUInt64BE(BigInt(Buffer.byteLength(principal)));
    hash.update(length).update(principal);
  }
  const bytes = hash.digest();
  let [bits, held, text] = [0, 0, ''];
  for (const byte of bytes) {
    held = (held << 8) | byte;
    bits += 8;
    while (bits >= 5) { bits -= 5; text += alphabet[(held >> bits) & 31]; held &= (1 << bits) - 1; }
  }
  return text.slice(0, 26);
}
const part = (list) => `p-${signatureOf(list)}`;

/** An open feed of a user's; `line` resolves with the first row that the predicate accepts. */
async function listen(who, query = 'feed=continuous&include_docs=true&heartbeat=1000&since=now', face = 'mine') {
  const rows = [];
  const waiting = new Set();
  const told = () => { for (const look of waiting) look(); };
  const wait = (found, what) => within(new Promise((resolve) => {
    const look = () => { const value = found(); if (value) { waiting.delete(look); resolve(value); } };
    waiting.add(look);
    look();
  }), what);
  let ended = false;
  const { name, password } = bench.as(who);
  const request = http.request({ host: '127.0.0.1', port: bench.server.port, path: `${bench.path(face)}/_changes?${query}`, auth: `${name}:${password}`, agent: false });
  const open = new Promise((resolve, reject) => {
    request.on('error', reject);
    request.on('response', (response) => {
      let rest = '';
      response.setEncoding('utf8');
      response.on('error', () => {});
      response.on('data', (chunk) => {
        rest += chunk;
        const lines = rest.split('\n');
        rest = lines.pop();
        for (const line of lines) if (line.trim()) rows.push(JSON.parse(line));
        told();
        // A heartbeat or a row: it has begun.
        resolve(response);
      });
      response.on('close', () => { ended = true; told(); });
    });
  });
  request.end();
  const response = await within(open, 'the beginning of a feed');
  return {
    rows,
    response,
    line: (accepts, what) => wait(() => rows.find(accepts), what),
    lineOrEnd: (accepts, what) => wait(() => rows.find(accepts) ?? (ended && 'ended'), what),
    close: () => request.destroy(),
  };
}

describe('a list of who may read', () => {
  before(() => fresh());

  it('shows a document to exactly those whom it names, by property and by role [A010 A022]', async () => {
    await bench.roles('ben', ['pilots']);
    await put('ann', 'to-ann', { access: ['user:ann'] });
    await put('ann', 'to-both', { access: ['user:ann', 'user:ben'] });
    await put(undefined, 'to-pilots', { access: ['pilots'] });
    await put(undefined, 'read', { access: { read: ['user:cat'] } });
    await put(undefined, 'to-admins', {});
    assert.deepEqual(await ids('ann'), ['to-ann', 'to-both']);
    assert.deepEqual(await ids('ben'), ['to-both', 'to-pilots']);
    assert.deepEqual(await ids('cat'), ['read']);
    assert.deepEqual(await ids(undefined), ['read', 'to-admins', 'to-ann', 'to-both', 'to-pilots']);
    for (const [who, id] of [['ann', 'to-pilots'], ['ben', 'to-ann'], ['cat', 'to-both'], ['ann', 'to-admins']]) {
      const there = await ask(who, 'GET', mine(`/${id}`));
      const nowhere = await ask(who, 'GET', mine('/none'));
      assert.deepEqual([there.status, there.text], [404, nowhere.text], `${id} for ${who}`);
    }
  });

  it('knows everybody who has a name, and everybody', async () => {
    await put(undefined, 'users', { access: ['@users'] });
    await put(undefined, 'anyone', { access: ['@anyone'] });
    for (const who of ['ann', 'ben', 'cat']) {
      await get(who, 'users');
      await get(who, 'anyone');
    }
    // Whoever has no name is let in only where that is set.
    assert.equal((await ask(ANONYMOUS, 'GET', mine('/anyone'))).status, 401);
    await expect(200, undefined, 'PUT', whole('/_security'), { members: { names: [], roles: [] }, admins: { names: [], roles: ['_admin'] } });
    assert.deepEqual(await ids(ANONYMOUS), ['anyone']);
    await expect(404, ANONYMOUS, 'GET', mine('/users'));
  });

  it('is nobody\'s to claim: roles that look like something else give nothing', async () => {
    await put(undefined, 'secret', { access: ['user:ann', '_admin'] });
    await bench.roles('cat', ['user:ann', '@users', '@anyone', 'x']);
    assert.ok(!(await ids('cat')).includes('secret'));
    await bench.roles('cat', []);
  });

  it('is named by a signature that order and repeats do not change [A023]', async () => {
    const [one, two, three] = await Promise.all([['b', 'a'], ['a', 'b', 'a'], ['a', 'c']].map((access) => expect(200, 'ann', 'POST', whole('/_signature'), { access })));
    assert.equal(one.signature, two.signature);
    assert.notEqual(one.signature, three.signature);
    assert.equal(one.signature, signatureOf(['a', 'b']), 'the same on every pod, always');
  });

  it('that is none is refused with the name of the field', async () => {
    for (const access of [[], 'user:ann', 7, [''], ['x'.repeat(257)], [1], Array.from({ length: 1001 }, (_, n) => `r${n}`), ['_secret'], { read: [] }]) {
      const said = await refused(400, 'ann', 'PUT', mine('/bad'), { access });
      assert.match(said.reason, /access/, JSON.stringify(said));
    }
  });

  it('changes what one sees with one\'s roles, at the next request [A012]', async () => {
    await put(undefined, 'crew', { access: ['crew'] });
    for (const has of [true, false, true, false]) {
      await bench.roles('cat', has ? ['crew'] : []);
      assert.equal((await ask('cat', 'GET', mine('/crew'))).status, has ? 200 : 404);
      assert.equal((await ids('cat')).includes('crew'), has);
    }
    const { _rev } = await get(undefined, 'crew');
    assert.match(_rev, /^1-/, 'the document was not touched');
  });

  it('made after one lost the role stays unknown to him [A010]', async () => {
    await bench.roles('cat', ['crew']);
    const told = await expect(200, 'cat', 'GET', mine('/_changes'));
    await bench.roles('cat', []);
    await put(undefined, 'late-secret', { access: ['crew'] });
    for (const since of ['0', told.last_seq]) assert.doesNotMatch((await ask('cat', 'GET', mine(`/_changes?since=${segment(since)}`))).text, /late-secret/);
    await expect(200, undefined, 'DELETE', whole(`/late-secret?rev=${(await get(undefined, 'late-secret'))._rev}`));
  });

  it('changes what an open feed tells, at once [A012 A102]', async () => {
    const feed = await listen('cat');
    await bench.roles('cat', ['crew']);
    const came = await feed.line((row) => row.id === 'crew' && !row.deleted, 'the document with the role');
    assert.equal(came.doc._id, 'crew');
    await bench.roles('cat', []);
    const went = await feed.line((row) => row.id === 'crew' && row.deleted, 'its end with the end of the role');
    assert.deepEqual(Object.keys(went.doc).sort(), ['_deleted', '_id', '_rev']);
    // What nobody told her of stays untold [A104].
    await put(undefined, 'unseen', { access: ['user:ann'] });
    await put(undefined, 'seen', { access: ['user:cat'] });
    await feed.line((row) => row.id === 'seen', 'what is hers');
    assert.ok(!JSON.stringify(feed.rows).includes('unseen'));
    feed.close();
  });
});

describe('the whole of a database', () => {
  it('is written by who is let in, and read by administrators alone, by whatever door [A018 A054 A010]', async () => {
    await fresh();
    await expect(201, undefined, 'PUT', whole('/_design/d'), {
      views: { v: { map: 'function (doc) { emit(doc._id, 1) }', reduce: '_sum' } }, language: 'javascript',
      shows: { s: 'function (doc) { return JSON.stringify(doc) }' }, lists: { l: 'function () { var row; while ((row = getRow())) send(row.id) }' },
      updates: { u: 'function (doc, req) { return [{ _id: req.uuid, access: ["user:" + req.userCtx.name] }, "made"] }' },
    });
    const { rev } = await expect(201, 'ann', 'PUT', whole('/hers'), { access: ['user:ann'], text: 'marker-of-ann' });
    await expect(201, 'ann', 'PUT', whole(`/hers/file?rev=${rev}`), 'attached', { 'content-type': 'text/plain' });
    const doors = [
      ['GET', ''], ['HEAD', ''], ['GET', '/hers'], ['HEAD', '/hers'], ['GET', '/hers/file'], ['GET', '/hers?open_revs=all'], ['GET', '/_all_docs'], ['POST', '/_all_docs', { keys: ['hers'] }],
      ['POST', '/_all_docs/queries', { queries: [{}] }], ['GET', '/_changes'], ['POST', '/_changes', {}], ['GET', '/_changes?feed=continuous&timeout=1'], ['GET', '/_changes?feed=longpoll'], ['GET', '/_changes?feed=eventsource'],
      ['POST', '/_bulk_get', { docs: [{ id: 'hers' }] }], ['POST', '/_find', { selector: {} }], ['POST', '/_explain', { selector: {} }], ['GET', '/_index'], ['POST', '/_index', { index: { fields: ['a'] } }],
      ['GET', '/_design/d'], ['GET', '/_design/d/_view/v'], ['GET', '/_design/d/_show/s/hers'], ['GET', '/_design/d/_list/l/v'], ['GET', '/_design/d/_info'], ['GET', '/_design_docs'], ['GET', '/_local_docs'],
      ['GET', '/_security'], ['GET', '/_revs_limit'], ['GET', '/_shards'], ['POST', '/_purge', {}], ['POST', '/_compact', {}], ['GET', '/_access'], ['PUT', '/_access', {}], ['GET', '/_why/hers?user=ann'],
    ];
    for (const [method, door, body] of doors) {
      const answer = await ask('ann', method, whole(door), body);
      assert.ok([403].includes(answer.status), `${method} ${door}: ${answer.status} ${answer.text.slice(0, 200)}`);
      assert.doesNotMatch(answer.text, /marker-of-ann/, door);
    }
    // What one does to write stays open.
    for (const [method, door, body, status] of [
      ['POST', '', { access: ['user:ann'] }, 201], ['POST', '/_bulk_docs', { docs: [{ _id: 'bulk', access: ['user:ann'] }] }, 201], ['POST', '/_revs_diff', { new: ['1-a'] }, 200],
      ['PUT', '/_local/mark', { n: 1 }, 201], ['GET', '/_local/mark', undefined, 200], ['POST', '/_design/d/_update/u', {}, 201],
    ]) {
      const answer = await ask('ann', method, whole(door), body);
      assert.equal(answer.status, status, `${method} ${door}: ${answer.text}`);
    }
    assert.equal((await ids('ann')).length, 4);
    assert.equal((await ask(ANONYMOUS, 'GET', whole('/hers'))).status, 401);
    assert.equal((await ask(ANONYMOUS, 'PUT', whole('/x'), { access: ['@anyone'] })).status, 401);
    // The administrator reads all of it.
    assert.equal((await get(undefined, 'hers')).text, 'marker-of-ann');
  });

  it('takes a command blindly and twice, with one effect, that its sender reads [A080 A014]', async () => {
    await fresh();
    const command = { _id: 'command-1', access: ['user:ann'], do: 'it' };
    const first = await expect(201, 'ann', 'POST', whole(), command);
    await expect(409, 'ann', 'POST', whole(), command);
    const { rev } = first;
    const again = { docs: [{ ...command, _rev: rev }], new_edits: false };
    for (let time = 0; time < 2; time += 1) await expect(201, 'ann', 'POST', whole('/_bulk_docs'), again);
    assert.equal((await get('ann', 'command-1'))._rev, rev);
    assert.equal((await expect(200, undefined, 'GET', whole('/command-1?revs=true')))._revisions.ids.length, 1);
  });

  it('is one database, that goes whole to another and back, with the same partitions there [A013 A044 A046]', async () => {
    await fresh();
    for (const [id, access] of [['a', ['user:ann']], ['b', ['user:ben']], ['c', ['user:ann', 'user:ben']]]) await put(undefined, id, { access });
    const from = bench.name;
    const to = freshName('copy');
    await bench.create(to);
    const replicate = () => expect(200, undefined, 'POST', '/_replicate', { source: from, target: to });
    await replicate();
    // Moved twice before the other looks.
    await change(undefined, 'a', { access: ['user:cat'] });
    await change(undefined, 'a', { access: ['user:ben'] });
    await replicate();
    const seen = {};
    for (const name of [from, to]) {
      bench.name = name;
      seen[name] = {};
      for (const who of ['ann', 'ben', 'cat', undefined]) seen[name][who] = await ids(who);
      seen[name].parts = (await expect(200, 'ben', 'GET', whole('/_partitions'))).partitions.map(({ signature, documents, doc_count }) => [signature, documents ?? doc_count]).sort();
    }
    assert.deepEqual(seen[to], seen[from]);
    assert.deepEqual(seen[to].ben, ['a', 'b', 'c']);
  });
});

describe('partitions', () => {
  it('are there with their first document, and hold each document once [A041 A025 A043]', async () => {
    await fresh();
    const lists = [['user:ann'], ['user:ann', 'crew'], ['@users'], ['user:ben'], ['_admin']];
    await put('ann', 'first', { access: ['user:ann', 'crew'] });
    assert.deepEqual(await ids('ann', part(['crew', 'user:ann'])), ['first']);
    const told = await expect(200, 'ann', 'GET', `${bench.path(part(['crew', 'user:ann']))}/_changes`);
    assert.deepEqual(told.results.map((row) => row.id), ['first']);
    for (const [n, access] of lists.entries()) for (let copy = 0; copy <= n; copy += 1) await put(undefined, `d${n}-${copy}`, { access });
    const places = new Map();
    for (const list of lists) for (const id of await ids(undefined, part(list))) places.set(id, (places.get(id) ?? 0) + 1);
    assert.deepEqual([...places.keys()].sort(), (await bench.truth()).map((doc) => doc._id).sort());
    assert.ok([...places.values()].every((count) => count === 1));
    const listed = await expect(200, undefined, 'GET', whole('/_partitions'));
    const counts = listed.partitions.map((one) => one.documents ?? one.doc_count);
    assert.equal(counts.reduce((sum, one) => sum + one, 0), places.size);
    // A document that moves is never in both, at no moment.
    await change(undefined, 'first', { access: ['user:ben'] });
    assert.equal((await ask('ann', 'GET', `${bench.path(part(['crew', 'user:ann']))}/first`)).status, 404);
    assert.equal((await ask('ben', 'GET', `${bench.path(part(['user:ben']))}/first`)).status, 200);
  });

  it('are listed for who may read them, with counts, and for nobody else [A026]', async () => {
    await fresh();
    await put(undefined, 'a', { access: ['user:ann'] });
    await put(undefined, 'b', { access: ['user:ben', 'user:ann'] });
    await put(undefined, 'c', { access: ['user:ben'] });
    const listed = async (who) => (await expect(200, who, 'GET', whole('/_partitions'))).partitions;
    assert.deepEqual((await listed('ann')).map((one) => one.signature).sort(), [signatureOf(['user:ann']), signatureOf(['user:ben', 'user:ann'])].sort());
    assert.deepEqual((await listed('cat')), []);
    for (const one of await listed('ann')) {
      assert.equal(one.documents ?? one.doc_count, 1);
      assert.ok(one.update_seq !== undefined, JSON.stringify(one));
      assert.equal(one.principals ?? undefined, undefined, 'whom else it is for is not told');
    }
    assert.equal((await listed(undefined)).length, 3);
  });

  it('that one may not read are as if they were not [A010]', async () => {
    await fresh();
    await put(undefined, 'b', { access: ['user:ben'] });
    const compare = async (who, method, path, body) => {
      const there = await ask(who, method, `${bench.path(part(['user:ben']))}${path}`, body);
      const nowhere = await ask(who, method, `${bench.path(part(['user:nobody']))}${path}`, body);
      const never = await ask(who, method, `${bench.path('nothing')}${path}`, body);
      assert.deepEqual([there.status, there.text], [nowhere.status, nowhere.text], `${method} ${path}`);
      assert.deepEqual([there.status, there.text], [never.status, never.text], `${method} ${path}`);
    };
    for (const [method, path, body] of [['GET', ''], ['GET', '/b'], ['GET', '/_all_docs'], ['GET', '/_changes'], ['POST', '/_bulk_get', { docs: [{ id: 'b' }] }], ['POST', '/_find', { selector: {} }]]) {
      await compare('ann', method, path, body);
    }
    assert.deepEqual(await ids('ben', part(['user:ben'])), ['b']);
  });

  it('hold nothing that the whole does not: a write there passes its rules, or is none [A014]', async () => {
    await fresh();
    await expect(201, undefined, 'PUT', whole('/_design/rules'), { validate_doc_update: 'function (doc) { if (doc.bad) throw { forbidden: "bad" } }' });
    await put(undefined, 'a', { access: ['user:ann'] });
    const answer = await ask('ann', 'PUT', `${bench.path(part(['user:ann']))}/new`, { access: ['user:ann'], bad: true });
    assert.ok([403, 405].includes(answer.status), answer.text);
    assert.deepEqual((await bench.truth()).map((doc) => doc._id).sort(), ['_design/rules', 'a']);
  });

  it('of hundreds come through one connection, gains and losses too [A102]', async () => {
    await fresh({ write_rules: false });
    const count = 300;
    const docs = Array.from({ length: count }, (_, n) => ({ _id: `d${String(n).padStart(3, '0')}`, access: [`group:${n}`, n % 2 ? 'odd' : 'even'] }));
    await expect(201, undefined, 'POST', whole('/_bulk_docs'), { docs });
    await bench.roles('ann', docs.map((_, n) => `group:${n}`));
    const told = await expect(200, 'ann', 'GET', mine('/_changes'));
    assert.equal(told.results.length, count);
    await bench.roles('ann', ['odd']);
    const later = await expect(200, 'ann', 'GET', mine(`/_changes?since=${segment(told.last_seq)}`));
    assert.deepEqual([later.results.length, later.results.filter((row) => row.deleted).length], [count / 2, count / 2]);
    assert.equal((await ids('ann')).length, count / 2);
  });
});

describe('what a client is told of databases', () => {
  it('is which to read for now [A103]', async () => {
    await fresh();
    const said = await expect(200, 'ann', 'GET', whole('/_sync'));
    assert.match(JSON.stringify(said), new RegExp(`${bench.name}(%2F|/)mine`));
  });

  it('is the counts of what it may read', async () => {
    await fresh();
    for (const [id, access] of [['a', ['user:ann']], ['b', ['user:ben']], ['c', ['user:ann', 'user:ben']], ['d', ['_admin']]]) await put(undefined, id, { access });
    for (const [who, count] of [['ann', 2], ['ben', 2], ['cat', 0], [undefined, 4]]) {
      const info = await expect(200, who, 'GET', mine());
      assert.equal(info.doc_count, count, who);
      assert.equal((await expect(200, who, 'GET', mine('/_all_docs?limit=0'))).total_rows, count, who);
    }
    const before = await expect(200, 'ann', 'GET', mine());
    const [etag] = [(await ask('ann', 'GET', mine())).headers.etag];
    await put(undefined, 'e', { access: ['user:ben'], large: 'x'.repeat(5000) });
    const after = await expect(200, 'ann', 'GET', mine());
    assert.deepEqual([after.doc_count, after.doc_del_count, after.sizes.external], [before.doc_count, before.doc_del_count, before.sizes.external]);
    assert.equal((await ask('ann', 'GET', mine())).headers.etag, etag);
  });
});

describe('organisations and teams', () => {
  it('move access at once with who is in them, open feeds too [X295 A012]', async () => {
    await fresh();
    const account = async (name) => (await expect(201, undefined, 'POST', '/_accounts', { name, password: PASSWORD, email: `${name}@example.org`, email_verified: true })).id;
    const [una, bob] = [await account('una'), await account('bob')];
    bench.users.set('una', new Set());
    bench.users.set('bob', new Set());
    const org = (await expect(201, 'una', 'POST', '/_orgs', { name: 'Blue Whale' })).id;
    const team = (await expect(201, 'una', 'POST', '/_teams', { organisation: org, name: 'Writers' })).id;
    await put(undefined, 'team-doc', { access: [`team:${team}:writer`] });
    await put(undefined, 'org-doc', { access: [`org:${org}`] });
    await put(undefined, 'by-account', { access: [`user:${bob}`] });
    await expect(404, 'bob', 'GET', mine('/team-doc'));
    await get('bob', 'by-account');
    await expect(404, 'una', 'GET', mine('/by-account'));
    const feed = await listen('bob');
    await expect(200, undefined, 'PUT', `/_orgs/${org}/members/${bob}`, { role: 'member' });
    await feed.line((row) => row.id === 'org-doc' && row.doc && !row.deleted, 'the organisation\'s document');
    await expect(200, 'una', 'PUT', `/_teams/${team}/members/${bob}`, { role: 'reader' });
    await expect(404, 'bob', 'GET', mine('/team-doc'));
    await expect(200, 'una', 'PATCH', `/_teams/${team}/members/${bob}`, { role: 'writer' });
    await feed.line((row) => row.id === 'team-doc' && !row.deleted, 'the team\'s document');
    await get('bob', 'team-doc');
    await expect(204, 'una', 'DELETE', `/_teams/${team}/members/${bob}`);
    await feed.line((row) => row.id === 'team-doc' && row.deleted, 'that it is gone');
    await expect(404, 'bob', 'GET', mine('/team-doc'));
    await expect(204, 'una', 'DELETE', `/_orgs/${org}/members/${bob}`);
    await feed.line((row) => row.id === 'org-doc' && row.deleted, 'that the other is gone');
    assert.deepEqual(await ids('bob'), ['by-account']);
    assert.deepEqual(await ids('una'), ['org-doc', 'team-doc']);
    feed.close();
  });
});

describe('settings', () => {
  it('are shown and set by administrators, and a fault is told by its field', async () => {
    await fresh();
    const shown = await expect(200, undefined, 'GET', whole('/_access'));
    const settings = shown.settings ?? shown;
    assert.deepEqual([settings.rule, settings.default, settings.conflicts], [{ property: 'access' }, 'admin', 'keep']);
    for (const [bad, field] of [
      [{ rule: { property: 7 } }, /rule/], [{ default: 'nobody' }, /default/], [{ conflicts: 'maybe' }, /conflicts/], [{ surprise: true }, /surprise/], [{ schemas: { types: { note: { type: 'no such' } } } }, /schemas/],
      [{ rule: { expression: ['user:${a..b}'] } }, /rule/], [{ rule: { function: { design: 'd', name: 1 } } }, /rule/],
    ]) {
      const said = await refused(400, undefined, 'PUT', whole('/_access'), bad);
      assert.match(said.reason, field, JSON.stringify(said));
    }
    for (const who of ['ann', ANONYMOUS]) for (const method of ['GET', 'PUT']) assert.ok([401, 403].includes((await ask(who, method, whole('/_access'), method === 'PUT' ? {} : undefined)).status));
    assert.ok([403, 404].includes((await ask(undefined, 'PUT', mine('/_access'), {})).status));
  });

  it('choose the property, and who reads what has no list [A022]', async () => {
    await fresh({ rule: { property: 'readers' }, default: 'author' });
    await put('ann', 'own', { text: 'x' });
    await put('ann', 'shared', { readers: ['user:ann', 'user:ben'], access: ['user:cat'] });
    assert.deepEqual([await ids('ann'), await ids('ben'), await ids('cat')], [['own', 'shared'], ['shared'], []]);
    await bench.set({ rule: { property: 'readers' }, default: ['@users'] });
    for (const who of ['ann', 'ben', 'cat']) await get(who, 'own');
  });

  it('take lists from paths in the whole document, without JavaScript [A027]', async () => {
    await fresh({ rule: { expression: ['user:${owner}', 'squad:${squad.id}:reader', 'user:${members[*].name}', { field: 'access' }] }, write_rules: false });
    await bench.roles('cat', ['squad:7:reader']);
    await put(undefined, 'a', { owner: 'ann', squad: { id: 7 } });
    await put(undefined, 'b', { members: [{ name: 'ben' }, { name: 'cat' }], access: 'user:ann' });
    await put(undefined, 'c', { nothing: true });
    assert.deepEqual([await ids('ann'), await ids('ben'), await ids('cat')], [['a', 'b'], ['b'], ['a', 'b']]);
    assert.equal((await ask(undefined, 'PUT', whole('/d'), { owner: { not: 'a text' } })).status, 400);
  });

  it('take lists from a function of a design document [A027]', async () => {
    await fresh();
    await put(undefined, '_design/app', { access: 'function (doc) { return doc.public ? ["@users"] : doc.to ? doc.to.map(function (name) { return "user:" + name }) : undefined }' });
    await bench.set({ rule: { function: { design: '_design/app', name: 'access' } }, write_rules: false });
    await put(undefined, 'a', { to: ['ann', 'ben'] });
    await put(undefined, 'b', { public: true, access: ['user:nobody'] });
    await put(undefined, 'c', {});
    assert.deepEqual([await ids('ann'), await ids('ben'), await ids('cat')], [['a', 'b'], ['a', 'b'], ['b']]);
  });

  it('that change the rule move every document, never show by the old what the new forbids, and tell feeds [A028 A101]', async () => {
    await fresh({ write_rules: false });
    const count = 400;
    const docs = Array.from({ length: count }, (_, n) => ({ _id: `d${String(n).padStart(3, '0')}`, access: ['user:ann'], later: [n % 4 ? 'user:ben' : 'user:ann'], text: 'x'.repeat(200) }));
    await expect(201, undefined, 'POST', whole('/_bulk_docs'), { docs });
    const told = await expect(200, 'ann', 'GET', mine('/_changes'));
    const feed = await listen('ann', `feed=continuous&include_docs=true&heartbeat=1000&since=${segment(told.last_seq)}`);
    const set = await ask(undefined, 'PUT', whole('/_access'), { rule: { property: 'later' }, write_rules: false });
    assert.ok(set.status < 300, set.text);
    // From the acknowledgement on, whatever is shown is shown by the new rule.
    for (const n of [1, 2, 3, 399, 200]) assert.equal((await ask('ann', 'GET', mine(`/${docs[n]._id}`))).status, docs[n].later[0] === 'user:ann' ? 200 : 404);
    await until(async () => {
      const list = await ask('ann', 'GET', mine('/_all_docs'));
      if (list.status === 503) {
        assert.equal(list.json().error, 'rebuilding');
        assert.ok(Number(list.headers['retry-after']) > 0);
        return false;
      }
      assert.equal(list.json().rows.length, count / 4);
      return true;
    }, 'the end of the rebuild');
    await bench.rebuilt();
    const later = await expect(200, 'ann', 'GET', mine(`/_changes?since=${segment(told.last_seq)}`));
    assert.equal(later.results.filter((row) => row.deleted).length, count * 3 / 4);
    // An open feed goes on, or ends and says so: then its reader comes again from where he was.
    const removal = (row) => row.id === 'd001' && row.deleted;
    const heard = await feed.lineOrEnd(removal, 'the removal in the open feed');
    assert.ok(heard !== 'ended' || later.results.some(removal));
    assert.equal((await ids('ben')).length, count * 3 / 4);
    feed.close();
  });

  it('that change the rule are carried out after a crash', async () => {
    const own = await Bench.start({ settings: { write_rules: false }, users: { ann: [], ben: [] } });
    try {
      const docs = Array.from({ length: 3000 }, (_, n) => ({ _id: `d${n}`, access: ['user:ann'], later: ['user:ben'], text: 'x'.repeat(100) }));
      await own.expect(201, undefined, 'POST', '/app/_bulk_docs', { docs });
      const set = own.ask(undefined, 'PUT', '/app/_access', { rule: { property: 'later' }, write_rules: false }).catch(() => {});
      await until(async () => (await own.ask('ann', 'GET', '/app%2Fmine/d2999')).status === 404, 'the new rule');
      await own.server.kill9();
      await set;
      await own.server.up();
      await own.rebuilt();
      assert.equal((await own.expect(200, 'ben', 'GET', '/app%2Fmine')).doc_count, 3000);
      assert.equal((await own.expect(200, 'ann', 'GET', '/app%2Fmine')).doc_count, 0);
    } finally {
      await own.stop();
    }
  });

  it('switch on in place, also for what was replicated in from a database without', async () => {
    await fresh();
    const [plain, copy] = [freshName('plain'), freshName('switched')];
    for (const name of [plain, copy]) await expect(201, undefined, 'PUT', `/${name}`);
    const docs = Array.from({ length: 50 }, (_, n) => ({ _id: `d${n}`, access: n % 2 ? ['user:ann'] : undefined, n }));
    await expect(201, undefined, 'POST', `/${plain}/_bulk_docs`, { docs });
    await expect(200, undefined, 'DELETE', `/${plain}/d1?rev=${(await expect(200, undefined, 'GET', `/${plain}/d1`))._rev}`);
    await expect(201, undefined, 'POST', `/${plain}/_bulk_docs`, { docs: [{ _id: 'd3', _rev: '1-other', access: ['user:ben'] }], new_edits: false });
    await expect(200, undefined, 'POST', '/_replicate', { source: plain, target: copy });
    for (const name of [plain, copy]) {
      bench.name = name;
      assert.equal((await ask('ann', 'GET', mine())).status, 404, 'there is no such face yet');
      const answer = await ask(undefined, 'PUT', whole('/_access'), {});
      assert.ok(answer.status < 300, answer.text);
      await bench.rebuilt();
      const truth = await bench.truth();
      assert.equal(truth.length, 49);
      for (const who of ['ann', 'ben']) {
        assert.deepEqual(await ids(who), Object.keys(await bench.visible(who, truth)).sort());
        assert.equal((await ask(who, 'GET', whole('/d3'))).status, 403);
      }
    }
    const off = await ask(undefined, 'DELETE', whole('/_access'));
    assert.ok([403, 405].includes(off.status), 'it is never switched off');
  });

  it('do not let databases be made where faces are', async () => {
    await fresh();
    for (const name of [`${bench.name}/mine`, `${bench.name}/${part(['a'])}`]) {
      const answer = await ask(undefined, 'PUT', `/${segment(name)}`);
      assert.equal(answer.status, 412, answer.text);
      const dropped = await ask(undefined, 'DELETE', `/${segment(name)}`);
      assert.ok([403, 404, 405].includes(dropped.status), dropped.text);
    }
    assert.equal((await ask(undefined, 'GET', whole())).status, 200);
  });
});

describe('why', () => {
  it('a user sees a document, or does not, is told to administrators', async () => {
    await fresh();
    await bench.roles('ann', ['crew']);
    await put(undefined, 'log', { access: ['crew', 'user:ben'] });
    await get('ann', 'log');
    const yes = await expect(200, undefined, 'GET', whole('/_why/log?user=ann'));
    assert.match(JSON.stringify(yes), /"crew"/);
    assert.match(JSON.stringify(yes), /access/);
    const no = await expect(200, undefined, 'GET', whole('/_why/log?user=cat'));
    assert.notDeepEqual({ ...no, user: '' }, { ...yes, user: '' });
    await expect(404, undefined, 'GET', whole('/_why/none?user=ann'));
    for (const who of ['ann', 'cat']) assert.equal((await ask(who, 'GET', whole('/_why/log?user=ann'))).status, 403);
  });
});

describe('writing', () => {
  it('is refused to who may read and not write, and the revision stays [A011 A024]', async () => {
    await fresh();
    await put('ann', 'hers', { access: ['user:ann', 'user:ben'], writers: ['user:ann'], n: 1 });
    const before = await get('ben', 'hers');
    await refused(403, 'ben', 'PUT', mine('/hers'), { ...before, n: 2 }, 'forbidden');
    await refused(403, 'ben', 'DELETE', mine(`/hers?rev=${before._rev}`), undefined, 'forbidden');
    await refused(403, 'ben', 'PUT', mine(`/hers/file?rev=${before._rev}`), 'x', 'forbidden');
    const bulk = await expect(201, 'ben', 'POST', mine('/_bulk_docs'), { docs: [{ ...before, n: 3 }, { _id: 'bens', access: ['user:ben'] }] });
    assert.deepEqual(bulk.map((one) => one.error), ['forbidden', undefined]);
    const pushed = await expect(201, 'ben', 'POST', mine('/_bulk_docs'), { new_edits: false, docs: [{ ...before, _rev: '2-forged', _revisions: { start: 2, ids: ['forged', before._rev.slice(2)] } }] });
    assert.equal(pushed[0]?.error, 'forbidden');
    assert.equal((await get('ann', 'hers'))._rev, before._rev);
    await put('ann', 'hers', { ...before, n: 4 });
  });

  it('with no writers named is for the readers, and only owners say who may', async () => {
    await fresh();
    await put('ann', 'note', { access: ['user:ann', 'user:ben'], n: 1 });
    await change('ben', 'note', { n: 2 });
    await refused(403, 'ben', 'PUT', mine('/note'), { ...await get('ben', 'note'), access: ['user:ann', 'user:ben', 'user:cat'] }, 'forbidden');
    await refused(403, 'ben', 'PUT', mine('/note'), { ...await get('ben', 'note'), owners: ['user:ben'] }, 'forbidden');
    await change('ann', 'note', { access: ['user:ann', 'user:ben', 'user:cat'] });
    await change('ann', 'note', { owners: ['user:ben'] });
    await refused(403, 'ann', 'PUT', mine('/note'), { ...await get('ann', 'note'), access: ['user:ann'] }, 'forbidden');
    await change('ben', 'note', { access: ['user:ben'] });
    await expect(404, 'ann', 'GET', mine('/note'));
  });

  it('over what one cannot see tells nothing of it', async () => {
    await fresh();
    await put('ann', 'secret', { access: ['user:ann'], text: 'marker-of-ann' });
    const { _rev } = await get('ann', 'secret');
    for (const [method, path, body] of [
      ['PUT', '/secret', { access: ['user:ben'] }], ['PUT', '/secret', { _rev, access: ['user:ben'] }], ['PUT', '/secret', { _rev: '1-wrong', access: ['user:ben'] }],
      ['DELETE', `/secret?rev=${_rev}`], ['DELETE', '/secret'], ['PUT', `/secret/file?rev=${_rev}`, 'x'],
    ]) {
      const answer = await ask('ben', method, mine(path), body);
      assert.ok([403, 404, 409].includes(answer.status), `${method} ${path} ${answer.status}`);
      assert.doesNotMatch(answer.text, /marker|user:ann/);
      if (!path.includes(_rev)) assert.ok(!answer.text.includes(_rev.slice(2)));
    }
    const { results } = await expect(200, 'ben', 'POST', mine('/_bulk_get'), { docs: [{ id: 'secret' }, { id: 'secret', rev: _rev }] });
    assert.doesNotMatch(JSON.stringify(results), /marker|user:ann/);
    assert.equal((await get('ann', 'secret'))._rev, _rev);
    const pushed = await expect(201, 'ben', 'POST', mine('/_bulk_docs'), { new_edits: false, docs: [{ _id: 'secret', _rev: '9-z', _deleted: true, _revisions: { start: 9, ids: ['z'] } }] });
    assert.equal(pushed[0]?.error, 'forbidden');
    assert.equal((await get('ann', 'secret'))._rev, _rev);
  });

  it('asks every validate_doc_update, by every door, and keeps what was sent as it was sent [A034 A035 A036 A037]', async () => {
    await fresh();
    await put(undefined, '_design/rules', {
      validate_doc_update: `function (doc, old, user, security) {
        if (doc._deleted) return;
        if (doc.updater !== user.name) throw { forbidden: "name yourself" };
        if (doc.quiet) throw { unauthorized: "not so" };
        if (old && old.n > doc.n) throw { forbidden: "never less" };
      }`,
    });
    const doc = { access: ['user:ann'], updater: 'ann', n: 1, z: 1.5e300, a: [{ b: null, '': '' }], 'ü': '😀' };
    const rev = await put('ann', 'doc', doc);
    const { _id, _rev, ...kept } = await get('ann', 'doc');
    assert.equal(JSON.stringify(kept), JSON.stringify(doc));
    assert.equal((await refused(403, 'ann', 'PUT', mine('/doc'), { ...doc, _rev: rev, updater: 'ben' }, 'forbidden')).reason, 'name yourself');
    assert.equal((await refused(401, 'ann', 'PUT', mine('/doc'), { ...doc, _rev: rev, quiet: true }, 'unauthorized')).reason, 'not so');
    const bulk = await expect(201, 'ann', 'POST', mine('/_bulk_docs'), { docs: [{ ...doc, _id: 'two' }, { ...doc, _id: 'three', updater: undefined }] });
    assert.deepEqual(bulk.map((one) => one.error), [undefined, 'forbidden']);
    const pushed = await expect(201, 'ann', 'POST', mine('/_bulk_docs'), { new_edits: false, docs: [{ ...doc, _id: 'doc', _rev: '2-x', _revisions: { start: 2, ids: ['x', rev.slice(2)] }, n: 0 }] });
    assert.equal(pushed[0].error, 'forbidden');
  });

  it('with a signature as proof takes the right one or none, and no wrong one [A038 A039 A040]', async () => {
    await fresh();
    await put('ann', 'note', { access: ['user:ann'] });
    const [old, next] = [signatureOf(['user:ann']), signatureOf(['user:ann', 'user:ben'])];
    const said = await expect(200, 'ann', 'POST', whole('/_signature'), { _id: 'note', access: ['user:ann', 'user:ben'] });
    assert.equal(said.signature ?? said.new, next);
    const property = said.property ?? '_signature';
    const now = await get('ann', 'note');
    const wrong = await ask('ann', 'PUT', mine('/note'), { ...now, access: ['user:ann', 'user:ben'], [property]: signatureOf(['x']) });
    assert.ok(wrong.status >= 400 && wrong.status < 500, wrong.text);
    await put('ann', 'note', { ...now, access: ['user:ann', 'user:ben'], [property]: old });
    await change('ann', 'note', { access: ['user:ann'] });
    await change('ann', 'note', { n: 1 });
    assert.deepEqual([await ids('ann'), await ids('ben')], [['note'], []]);
  });

  it('follows the schema of a document\'s type, with fields that clients do not set', async () => {
    await fresh({ schemas: { property: 'type', types: { note: { type: 'object', required: ['text'], properties: { text: { type: 'string', maxLength: 10 }, count: { type: 'integer', readOnly: true } } } } } });
    await put('ann', 'ok', { access: ['user:ann'], type: 'note', text: 'short' });
    await put('ann', 'other', { access: ['user:ann'], type: 'free', text: 7 });
    for (const bad of [{ text: 'much too long for it' }, { text: 7 }, {}]) {
      const said = await expect(400, 'ann', 'PUT', mine('/bad'), { access: ['user:ann'], type: 'note', ...bad });
      assert.match(said.reason, /text/, JSON.stringify(said));
    }
    const answer = await ask('ann', 'PUT', mine('/bad'), { access: ['user:ann'], type: 'note', text: 'x', count: 7 });
    assert.ok([400, 403].includes(answer.status), answer.text);
    assert.match(answer.text, /count/);
    await put(undefined, 'counted', { access: ['user:ann'], type: 'note', text: 'x', count: 7 });
    await change('ann', 'counted', { text: 'y' });
    assert.equal((await get('ann', 'counted')).count, 7);
    await refused(answer.status, 'ann', 'PUT', mine('/counted'), { ...await get('ann', 'counted'), count: 8 });
  });

  it('races of clients end with one of them, and no fork [A082]', async () => {
    await fresh();
    const rev = await put('ann', 'race', { access: ['user:ann', 'user:ben'] });
    const both = await Promise.all(['ann', 'ben'].map((who) => ask(who, 'PUT', mine('/race'), { _rev: rev, access: ['user:ann', 'user:ben'], by: who })));
    assert.deepEqual(both.map((answer) => answer.status).sort(), [201, 409]);
    assert.equal((await get('ann', 'race'))._conflicts, undefined);
    assert.equal((await expect(200, 'ann', 'GET', mine('/race?conflicts=true')))._conflicts, undefined);
  });
});

describe('conflicts', () => {
  const fork = async (body, settings) => {
    await fresh({ write_rules: false, ...settings });
    const rev = await put(undefined, 'doc', { access: ['@users'], a: 1, b: 1 });
    const one = await expect(201, 'ann', 'PUT', mine('/doc'), { _rev: rev, access: ['@users'], a: 2, b: 1, at: 1 });
    const pushed = await expect(201, 'ben', 'POST', mine('/_bulk_docs'), {
      new_edits: false, docs: [{ _id: 'doc', _rev: `2-${'f'.repeat(32)}`, _revisions: { start: 2, ids: ['f'.repeat(32), rev.slice(2)] }, access: ['@users'], a: 1, b: 3, at: 2 }],
    });
    return { one, pushed, doc: await expect(200, undefined, 'GET', whole('/doc?conflicts=true')) };
  };

  it('are kept where that is set [A083]', async () => {
    const { doc } = await fork({}, { conflicts: 'keep' });
    assert.equal(doc._conflicts.length, 1);
  });

  it('are refused where that is set, and never stored [A083]', async () => {
    const { one, pushed, doc } = await fork({}, { conflicts: 'reject' });
    assert.ok(['forbidden', 'conflict'].includes(pushed[0].error), JSON.stringify(pushed));
    assert.deepEqual([doc._rev, doc._conflicts], [one.rev, undefined]);
    assert.equal((await expect(200, undefined, 'GET', whole('/doc?open_revs=all'), undefined, { accept: 'application/json' })).length, 1);
  });

  for (const [resolver, wanted] of [['fields', { a: 2, b: 3 }], [{ newest: 'at' }, { a: 1, b: 3 }], [{ function: { design: '_design/m', name: 'merge' } }, { a: 2, b: 3, merged: true }]]) {
    it(`are merged by ${JSON.stringify(resolver)}, the same on every server [A083]`, async () => {
      const revs = [];
      for (let time = 0; time < 2; time += 1) {
        await fresh({ write_rules: false });
        await put(undefined, '_design/m', { merge: 'function (leaves, base) { return { access: ["@users"], a: 2, b: 3, merged: true } }', merges: { merge: 'function (leaves, base) { return { access: ["@users"], a: 2, b: 3, merged: true } }' } });
        await bench.set({ write_rules: false, conflicts: { merge: resolver } });
        const rev = await put(undefined, 'doc', { access: ['@users'], a: 1, b: 1 });
        await expect(201, 'ann', 'PUT', mine('/doc'), { _rev: rev, access: ['@users'], a: 2, b: 1, at: 1 });
        await expect(201, 'ben', 'POST', mine('/_bulk_docs'), {
          new_edits: false, docs: [{ _id: 'doc', _rev: `2-${'f'.repeat(32)}`, _revisions: { start: 2, ids: ['f'.repeat(32), rev.slice(2)] }, access: ['@users'], a: 1, b: 3, at: 2 }],
        });
        const doc = await until(async () => {
          const found = await expect(200, undefined, 'GET', whole('/doc?conflicts=true'));
          return found._conflicts ? undefined : found;
        }, 'the merge');
        for (const [field, value] of Object.entries(wanted)) assert.equal(doc[field], value, field);
        revs.push(doc._rev);
      }
      assert.equal(revs[0], revs[1]);
    });
  }
});

describe('post', () => {
  it('is put by anyone who is let in, and read by nobody but workers, where a database is for writing only [A054]', async () => {
    await fresh({ write_only: true });
    await expect(201, 'ann', 'PUT', whole('/letter'), { access: ['user:ann', '@users'], text: 'marker' });
    for (const who of ['ann', 'ben']) {
      for (const face of ['', 'mine', part(['user:ann', '@users'])]) {
        for (const path of ['/letter', '/_all_docs', '/_changes']) {
          const answer = await ask(who, 'GET', `${bench.path(face)}${path}`);
          // Its writer's own copy is taken from him, as of what he saw and sees no more.
          const told = who === 'ann' && path === '/_changes' && /"deleted":true/.test(answer.text);
          assert.ok([403, 404].includes(answer.status) || told || !answer.text.includes('letter'), `${who} ${face}${path}: ${answer.status} ${answer.text}`);
          assert.doesNotMatch(answer.text, /marker/);
        }
      }
    }
    assert.equal((await get(undefined, 'letter')).text, 'marker');
  });

  it('for somebody arrives in his mailbox alone [A070]', async () => {
    await fresh({ mailboxes: true });
    await expect(201, 'ann', 'PUT', whole('/hello'), { to: 'user:ben', text: 'hello' });
    assert.deepEqual([await ids('ben'), await ids('cat')], [['hello'], []]);
    assert.equal((await get('ben', 'hello')).text, 'hello');
    await expect(404, 'cat', 'GET', mine('/hello'));
  });
});

describe('reading through mine', () => {
  before(async () => {
    await fresh();
    await bench.roles('ben', ['crew']);
    await put(undefined, '_design/d', {
      views: {
        byKind: { map: 'function (doc) { emit(doc.kind, doc.amount) }', reduce: '_sum' }, count: { map: 'function (doc) { emit(doc._id, null) }', reduce: '_count' },
        own: { map: 'function (doc) { emit(doc.kind, doc.amount) }', reduce: 'function (keys, values) { return sum(values) }' }, stats: { map: 'function (doc) { emit(doc.kind, doc.amount) }', reduce: '_stats' },
      },
    });
    for (let n = 0; n < 40; n += 1) await put(undefined, `d${n}`, { access: [['user:ann'], ['crew'], ['user:ann', 'crew'], ['user:cat']][n % 4], kind: `k${n % 3}`, amount: n + 1 });
  });

  it('reduces over what the reader may read, and nothing else [A099]', async () => {
    const truth = await bench.truth();
    for (const who of ['ann', 'ben', 'cat']) {
      const docs = truth.filter((doc) => doc.amount && bench.mayRead(who, doc));
      const total = docs.reduce((sum, doc) => sum + doc.amount, 0);
      for (const view of ['byKind', 'own']) {
        const all = await expect(200, who, 'GET', mine(`/_design/d/_view/${view}`));
        assert.deepEqual(all.rows, total ? [{ key: null, value: total }] : []);
        const grouped = await expect(200, who, 'GET', mine(`/_design/d/_view/${view}?group=true`));
        assert.deepEqual(grouped.rows, ['k0', 'k1', 'k2'].map((key) => ({ key, value: docs.filter((doc) => doc.kind === key).reduce((sum, doc) => sum + doc.amount, 0) })).filter((row) => row.value));
      }
      assert.equal((await expect(200, who, 'GET', mine('/_design/d/_view/count'))).rows[0]?.value, docs.length);
      const stats = (await expect(200, who, 'GET', mine('/_design/d/_view/stats'))).rows[0].value;
      assert.deepEqual([stats.sum, stats.count, stats.min, stats.max], [total, docs.length, Math.min(...docs.map((doc) => doc.amount)), Math.max(...docs.map((doc) => doc.amount))]);
      const rows = await expect(200, who, 'GET', mine('/_design/d/_view/byKind?reduce=false&include_docs=true&skip=1&limit=3'));
      assert.ok(rows.rows.every((row) => bench.mayRead(who, row.doc)));
      assert.equal(rows.total_rows ?? docs.length, docs.length);
      const found = await expect(200, who, 'POST', mine('/_find'), { selector: { amount: { $gt: 0 } }, limit: 100 });
      assert.deepEqual(found.docs.map((doc) => doc._id).sort(), docs.map((doc) => doc._id).sort());
    }
  });

  it('keeps local documents to who wrote them', async () => {
    await expect(201, 'ann', 'PUT', mine('/_local/mark'), { of: 'ann' });
    await expect(404, 'ben', 'GET', mine('/_local/mark'));
    await expect(201, 'ben', 'PUT', mine('/_local/mark'), { of: 'ben' });
    assert.equal((await expect(200, 'ann', 'GET', mine('/_local/mark'))).of, 'ann');
    assert.ok(!(await ask('ben', 'GET', mine('/_local_docs?include_docs=true'))).text.includes('"ann"'));
  });

  it('gives attachments of what one may read, and none else', async () => {
    const bytes = noise(3000, 9);
    await put(undefined, 'photo', { access: ['user:ann'], _attachments: { 'a b.bin': { content_type: 'a/b', data: bytes.toString('base64') } } });
    const own = await ask('ann', 'GET', mine('/photo/a%20b.bin'));
    assert.equal(own.bytes.compare(bytes), 0);
    const [there, nowhere] = await Promise.all(['photo', 'none'].map((id) => ask('ben', 'GET', mine(`/${id}/a%20b.bin`))));
    assert.deepEqual([there.status, there.text], [404, nowhere.text]);
    assert.equal(there.headers.etag, undefined);
    const etag = own.headers.etag;
    assert.equal((await ask('ben', 'GET', mine('/photo/a%20b.bin'), undefined, { 'if-none-match': etag })).status, 404);
  });

  it('never says more of a token than that it is none: a stranger\'s begins from the start', async () => {
    const told = await expect(200, 'ann', 'GET', mine('/_changes'));
    const others = await expect(200, 'cat', 'GET', mine('/_changes'));
    const crossed = await expect(200, 'cat', 'GET', mine(`/_changes?since=${segment(told.last_seq)}`));
    assert.deepEqual(crossed.results.map((row) => row.id), others.results.map((row) => row.id));
    const same = await expect(200, 'cat', 'GET', mine(`/_changes?since=${segment(others.last_seq)}`));
    assert.deepEqual(same.results, []);
  });

  it('says the same in every mode of the feed', async () => {
    const wanted = (await expect(200, 'ben', 'GET', mine('/_changes?include_docs=true'))).results;
    const bare = (rows) => rows.map(({ id, changes, deleted, doc }) => ({ id, changes, deleted, doc: doc && content(doc) }));
    const longpoll = await expect(200, 'ben', 'GET', mine('/_changes?feed=longpoll&include_docs=true&timeout=1000'));
    assert.deepEqual(bare(longpoll.results), bare(wanted));
    const lines = (await ask('ben', 'GET', mine('/_changes?feed=continuous&include_docs=true&timeout=1'))).text.split('\n').filter((line) => line.includes('"id"')).map((line) => JSON.parse(line));
    assert.deepEqual(bare(lines), bare(wanted));
    const descending = await expect(200, 'ben', 'GET', mine('/_changes?descending=true'));
    assert.deepEqual(descending.results.map((row) => row.id), wanted.map((row) => row.id).reverse());
    let since = '0';
    const paged = [];
    for (;;) {
      const page = await expect(200, 'ben', 'GET', mine(`/_changes?include_docs=true&limit=3&since=${segment(since)}`));
      if (page.results.length === 0) break;
      paged.push(...page.results);
      since = page.last_seq;
    }
    assert.deepEqual(bare(paged), bare(wanted));
  });

  it('keeps what is the server\'s own from everybody [A015]', async () => {
    for (const who of ['ann', ANONYMOUS]) {
      for (const path of ['/_users/org.couchdb.user:ben', '/_users/_all_docs', '/_users/_changes']) assert.ok([401, 403, 404].includes((await ask(who, 'GET', path)).status), path);
    }
    assert.equal((await ask(undefined, 'PUT', '/_users/_access', {})).status >= 400, true);
  });
});
