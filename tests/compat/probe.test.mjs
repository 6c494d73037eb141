// The conformance probe asks the server two hundred things; a live CouchDB 3.5 was asked the same. Each answer
// must be CouchDB's, or stand in conformance/differences.json with the reason and our own answer. A difference
// that is listed and gone fails too: the list says what is so.
//
// The probe and CouchDB's recorded answers are kept beside the repository (../shared/conformance, or
// ADEA_CONFORMANCE); without them this file says so and skips.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { normalise } from './conformance/normalise.mjs';
import { REPOSITORY, Server, temporaryDirectory, within } from './harness/server.mjs';

const directory = process.env.ADEA_CONFORMANCE ?? path.join(REPOSITORY, '..', 'shared', 'conformance');
const probe = path.join(directory, 'couchdb-probe.mjs');
const recording = path.join(directory, 'couchdb-3.5.json');
const skip = existsSync(probe) && existsSync(recording) ? false : `no conformance probe at ${directory}`;
if (skip) console.log(`NOTICE: ${skip}: answers were not compared with CouchDB's`);

const { deliberate, notBuilt } = JSON.parse(readFileSync(new URL('conformance/differences.json', import.meta.url)));
const recorded = skip ? {} : JSON.parse(readFileSync(recording));

/** An endpoint that is not there yet says so: each status is 501, and nothing pretends to be a result. */
function saysNotBuilt(answer) {
  if (Array.isArray(answer)) return answer.length > 0 && answer.every(saysNotBuilt);
  if (typeof answer === 'string') return answer.includes('"not_implemented"');
  // Most probes keep status and body; some keep only the parsed body.
  return answer?.error === 'not_implemented' || (answer?.s === 501 && JSON.parse(answer.b).error === 'not_implemented');
}

function notBuiltReason(name) {
  return notBuilt.find(({ pattern }) => new RegExp(pattern).test(name))?.reason;
}

describe('two answers', () => {
  const same = (name, one, other) => JSON.stringify(normalise(name, one)) === JSON.stringify(normalise(name, other));

  it('are the same when only what is random differs', () => {
    assert.ok(same('db info', { s: 200, b: '{"db_name":"{db}","update_seq":"1-SEQ","instance_start_time":"17"}\n' }, { s: 200, b: '{"update_seq":"24-abc","db_name":"{db}","instance_start_time":"18"}\n' }));
    assert.ok(same('open_revs multipart/mixed', { s: 200, b: `--${'a'.repeat(32)}\r\nx\r\n--${'a'.repeat(32)}--` }, { s: 200, b: `--${'b'.repeat(32)}\r\nx\r\n--${'b'.repeat(32)}--` }));
  });

  it('differ by status, revision, header, order of keys and sequence form', () => {
    const answer = { s: 201, b: '{"ok":true,"id":"a","rev":"1-a"}\n', etag: '"1-a"' };
    for (const other of [{ ...answer, s: 200 }, { ...answer, b: answer.b.replace('1-a', '1-b') }, { ...answer, etag: '"1-b"' }, { ...answer, b: '{"id":"a","ok":true,"rev":"1-a"}\n' }, { ...answer, b: answer.b.trim() }]) {
      assert.ok(!same('put', answer, other), JSON.stringify(other));
    }
    assert.ok(!same('changes shape', { s: 200, b: '{"last_seq":"2-SEQ"}' }, { s: 200, b: '{"last_seq":2}' }));
  });
});

describe('the answers of CouchDB 3.5', { skip }, () => {
  let server;
  let answers;

  before(async () => {
    if (skip) return;
    server = await Server.start();
    const file = path.join(temporaryDirectory('probe'), 'answers.json');
    const child = spawn(process.execPath, [probe, server.url(), file], { stdio: 'inherit' });
    const code = await within(new Promise((resolve) => child.on('exit', resolve)), 'the end of the probe', 90_000);
    assert.equal(code, 0, 'the probe ran to its end');
    answers = JSON.parse(readFileSync(file));
    if (process.env.ADEA_PROBE_REPORT) console.log(JSON.stringify(report(), null, 1));
  });
  after(() => server?.stop());

  /** Every probe that differs, for whoever writes differences.json. */
  function report() {
    return Object.fromEntries(Object.keys(recorded)
      .filter((name) => !notBuiltReason(name))
      .map((name) => [name, { couchdb: normalise(name, recorded[name]), ours: normalise(name, answers[name]) }])
      .filter(([, { couchdb, ours }]) => JSON.stringify(couchdb) !== JSON.stringify(ours)));
  }

  it('are all asked for', () => {
    assert.deepEqual(Object.keys(answers).sort(), Object.keys(recorded).sort());
    for (const name of Object.keys(deliberate)) assert.ok(name in recorded, `differences.json names a probe that is not there: ${name}`);
    for (const { pattern } of notBuilt) assert.ok(Object.keys(recorded).some((name) => new RegExp(pattern).test(name)), `differences.json: nothing matches ${pattern}`);
  });

  for (const name of Object.keys(recorded)) {
    it(name, () => {
      const couchdb = normalise(name, recorded[name]);
      const ours = normalise(name, answers[name]);
      const listed = deliberate[name];
      if (listed) {
        assert.ok(listed.reason.length > 10, 'a difference needs its reason');
        assert.notDeepEqual(ours, couchdb, `no longer different: take "${name}" out of differences.json`);
        assert.deepEqual(ours, listed.answer, `a difference is listed (${listed.reason}), but this is another one`);
      } else if (notBuiltReason(name)) {
        assert.ok(saysNotBuilt(answers[name]), `not built yet, so each answer must be 501 not_implemented: ${JSON.stringify(answers[name])}`);
      } else {
        // As text: the order of keys in a document is part of the answer.
        assert.equal(JSON.stringify(ours, null, 1), JSON.stringify(couchdb, null, 1));
      }
    });
  }
});
