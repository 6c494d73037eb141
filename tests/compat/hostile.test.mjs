// What a server meets in the open: headers without end, clients that never finish, lengths that lie, JSON made
// to hurt. Each must end in a clear refusal (or in a plain answer where the request was only large), in bounded
// memory, and while a neighbour goes on getting quick answers.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import zlib from 'node:zlib';
import { freshName } from './harness/pouch.mjs';
import { Server, within } from './harness/server.mjs';
import { AUTHORIZATION, Wire, assertRefusal, besideNeighbour } from './harness/wire.mjs';

const JSON_TYPE = { 'content-type': 'application/json' };
const HEADER_TIMEOUT_MS = 2000;

let server;
let db;
const wires = [];

before(async () => {
  server = await Server.start({ args: ['--header-timeout', `${HEADER_TIMEOUT_MS / 1000}s`] });
  await server.request('PUT', '/neighbour');
  await server.request('PUT', '/neighbour/doc', { body: { text: 'undisturbed' } });
  db = freshName('hostile');
  await server.request('PUT', `/${db}`);
});
after(async () => {
  assert.equal((await server.stop()).code, 0, 'after all that it still ends in order');
});
afterEach(async () => {
  for (const wire of wires.splice(0)) wire.destroy();
  if (server.running) return;
  // The next test gets a server all the same; this one has failed.
  const { log } = server;
  await server.up();
  assert.fail(`the server died:\n${log.slice(-2000)}`);
});

async function dial() {
  const wire = await Wire.to(server.port);
  wires.push(wire);
  return wire;
}

/** Sends one request as written and answers what came back. */
async function exchange(text) {
  const wire = await dial();
  await wire.send(text);
  return wire.answer();
}

const head = (method, path, ...headers) => [`${method} ${path} HTTP/1.1`, 'Host: test', AUTHORIZATION, ...headers, '', ''].join('\r\n');
const putText = (id, body) => server.request('PUT', `/${db}/${id}`, { body, headers: JSON_TYPE });
const absent = async (id) => assert.equal((await server.request('GET', `/${db}/${id}`)).status, 404, `${id} must not have been made`);

describe('headers', () => {
  for (const [what, line] of [['many lines', `X-Pad: ${'a'.repeat(1000)}\r\n`], ['one line', 'a'.repeat(1008)]]) {
    it(`a hundred megabytes in ${what} are cut off early`, async () => {
      const wire = await dial();
      await besideNeighbour(server, async () => {
        await wire.send('GET / HTTP/1.1\r\nHost: test\r\n' + (what === 'one line' ? 'X-Pad: ' : ''));
        const chunk = line.repeat(64);
        while (wire.sent < 100e6 && await wire.send(chunk));
        await within(wire.closed, 'the server to hang up');
      }, { growthKb: 16 * 1024 });
      // Sent counts what the kernel buffers on both sides, and what a server reads away so that its answer arrives.
      assert.ok(wire.sent < 40e6, `it took ${wire.sent} bytes of headers`);
      const { status } = await wire.answer();
      assert.ok([0, 400, 431].includes(status), `status ${status}`);
    });
  }

  it('a request line of a megabyte is refused', async () => {
    const answer = await exchange(head('GET', `/${db}/${'a'.repeat(1e6)}`));
    assert.ok([0, 400, 414, 431].includes(answer.status), `status ${answer.status}`);
  });

  it('thousands of them are refused', async () => {
    const answer = await exchange(head('GET', '/', ...Array.from({ length: 5000 }, (_, n) => `X-${n}: 1`)));
    assert.ok([400, 431].includes(answer.status), `status ${answer.status}`);
  });

  it('that are no HTTP end the connection', async () => {
    for (const bytes of ['\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'.repeat(20), 'GET\r\n\r\n', '\0'.repeat(1000) + '\r\n\r\n', 'GET / HTTP/9.9\r\n\r\n', 'GET / HTTP/1.1\r\nno colon\r\n\r\n', 'GET / HTTP/1.1\r\nHost: a\r\nX: \x01\x02\r\n\r\n']) {
      const wire = await dial();
      await wire.send(Buffer.from(bytes, 'latin1'));
      wire.socket.end();
      const { status } = await wire.answer();
      assert.ok(status === 0 || (status >= 400 && status < 500), `${JSON.stringify(bytes.slice(0, 20))}: ${status}`);
    }
  });

  it('that never end are given up on after the header timeout', async () => {
    await besideNeighbour(server, async () => {
      const began = performance.now();
      const silent = await Promise.all(Array.from({ length: 200 }, dial));
      await Promise.all(silent.map((wire) => wire.send('GET / HTTP/1.1\r\nHost: test\r\nX-Slow: ')));
      // These give a byte now and then, which must not buy them time.
      const dripping = await Promise.all(Array.from({ length: 50 }, dial));
      await Promise.all(dripping.map((wire) => wire.send('GET / HTTP/1.1\r\nHost: test\r\nX-Slow: ')));
      const drip = setInterval(() => { for (const wire of dripping) if (wire.open) wire.socket.write('a'); }, 200);
      try {
        await within(Promise.all([...silent, ...dripping].map((wire) => wire.closed)), 'the server to hang up on 250 slow clients', HEADER_TIMEOUT_MS + 8000);
      } finally {
        clearInterval(drip);
      }
      const waited = performance.now() - began;
      assert.ok(waited > HEADER_TIMEOUT_MS / 2, `it hung up after ${waited} ms already`);
      for (const wire of silent) assert.doesNotMatch(wire.text, /^HTTP\/1\.1 2/);
    });
  });
});

describe('lengths that lie', () => {
  it('too short: the body is cut there and what follows is no request', async () => {
    const wire = await dial();
    await wire.send(head('PUT', `/${db}/short`, 'Content-Type: application/json', 'Content-Length: 5') + '{"a":1234567}\r\n\r\n');
    assertRefusal(await wire.answer(), [400]);
    await within(wire.closed, 'the end of a connection that is out of step');
    await absent('short');
  });

  it('too long: nothing is stored when the client goes away', async () => {
    const wire = await dial();
    await wire.send(head('PUT', `/${db}/long`, 'Content-Type: application/json', 'Content-Length: 1000') + '{"a":1}');
    wire.socket.end();
    const { status } = await wire.answer();
    assert.ok(status === 0 || status === 400, `status ${status}`);
    await absent('long');
  });

  for (const lie of ['Content-Length: -1', 'Content-Length: abc', 'Content-Length: 99999999999999999999999', 'Content-Length: 7\r\nContent-Length: 8', 'Content-Length: 7\r\nTransfer-Encoding: gzip', 'Transfer-Encoding: chunked, gzip']) {
    it(`${JSON.stringify(lie)} is refused`, async () => {
      const answer = await exchange(head('PUT', `/${db}/lie`, 'Content-Type: application/json', lie) + '{"a":1}');
      assert.ok([0, 400, 413, 411, 501].includes(answer.status), `status ${answer.status}`);
      await absent('lie');
    });
  }

  for (const garbage of ['zz\r\n{"a":1}\r\n0\r\n\r\n', '-7\r\n{"a":1}\r\n0\r\n\r\n', 'FFFFFFFFFFFFFFFFFF\r\n{"a":1}\r\n0\r\n\r\n', '7\r\n{"a":1}XX0\r\n\r\n', '7;' + 'x'.repeat(100_000) + '\r\n{"a":1}\r\n0\r\n\r\n']) {
    it(`chunks like ${JSON.stringify(garbage.slice(0, 20))} are refused`, async () => {
      const answer = await exchange(head('PUT', `/${db}/chunks`, 'Content-Type: application/json', 'Transfer-Encoding: chunked') + garbage);
      assert.ok([0, 400, 413].includes(answer.status), `status ${answer.status}`);
      await absent('chunks');
    });
  }

  it('chunks of one byte each are a document all the same', async () => {
    const body = '{"text":"one byte at a time"}';
    const answer = await exchange(head('PUT', `/${db}/bytes`, 'Content-Type: application/json', 'Transfer-Encoding: chunked') + [...body].map((byte) => `1\r\n${byte}\r\n`).join('') + '0\r\n\r\n');
    assert.equal(answer.status, 201, answer.body);
    assert.equal((await server.request('GET', `/${db}/bytes`)).json().text, 'one byte at a time');
  });
});

describe('multipart', () => {
  const boundary = 'limit';
  const part = (headers, body) => `--${boundary}\r\n${headers}\r\n\r\n${body}\r\n`;
  const json = (attachments) => part('Content-Type: application/json', JSON.stringify({ _attachments: attachments }));
  const follows = (length) => ({ follows: true, length, content_type: 'a/b' });
  const put = (id, body) => server.request('PUT', `/${db}/${id}`, { body, headers: { 'content-type': `multipart/related; boundary=${boundary}` } });

  it('cut in the middle leaves nothing behind', async () => {
    const body = json({ f: follows(1_000_000) }) + part('Content-Type: a/b', 'x'.repeat(1_000_000)) + `--${boundary}--`;
    const wire = await dial();
    await wire.send(head('PUT', `/${db}/half`, `Content-Type: multipart/related; boundary=${boundary}`, `Content-Length: ${body.length}`) + body.slice(0, 500_000));
    wire.socket.end();
    const { status } = await wire.answer();
    assert.ok(status === 0 || (status >= 400 && status < 500), `status ${status}`);
    await absent('half');
  });

  const cases = {
    'without its last boundary': json({ f: follows(3) }) + `--${boundary}\r\nContent-Type: a/b\r\n\r\nabc`,
    'that promises a part and has none': json({ f: follows(3) }) + `--${boundary}--`,
    'with a part that is longer than said': json({ f: follows(3) }) + part('Content-Type: a/b', 'abcdef') + `--${boundary}--`,
    'with a part that is shorter than said': json({ f: follows(30) }) + part('Content-Type: a/b', 'abc') + `--${boundary}--`,
    'without a document': `--${boundary}--`,
    'with a document that is no JSON': part('Content-Type: application/json', '{nonsense') + `--${boundary}--`,
    'with headers that never end': json({ f: follows(3) }) + `--${boundary}\r\n` + 'X-Pad: aaaaaaaaaa\r\n'.repeat(100_000),
    'of another boundary': '--other\r\n\r\n{}\r\n--other--',
    empty: '',
  };
  for (const [what, body] of Object.entries(cases)) {
    it(`${what} is refused`, async () => {
      const answer = await within(put('refused', body), `an answer to a multipart ${what}`, 15_000);
      assertRefusal(answer, [400, 412, 413]);
      await absent('refused');
    });
  }

  it('without a boundary in its type is refused', async () => {
    assertRefusal(await server.request('PUT', `/${db}/refused`, { body: 'x', headers: { 'content-type': 'multipart/related' } }), [400, 415]);
  });

  it('whose content looks like its boundary, but is not, is taken whole', async () => {
    const tricky = `\r\n--limi\r\n-\r\n--\r\n\r\n--limi${'\r\n--'.repeat(1000)}`;
    const answer = await put('tricky', json({ f: follows(tricky.length) }) + part('Content-Type: a/b', tricky) + `--${boundary}--`);
    assert.equal(answer.status, 201, answer.text);
    assert.equal((await server.request('GET', `/${db}/tricky/f`)).text, tricky);
  });
});

describe('JSON', () => {
  const INVALID = { error: 'bad_request', reason: 'invalid UTF-8 JSON' };

  for (const [what, body] of Object.entries({
    'nothing': '', 'half an object': '{"a":', 'two objects': '{}{}', 'a comment': '{/**/}', 'a trailing comma': '{"a":1,}', 'single quotes': "{'a':1}",
    'a lone high surrogate': '{"a":"\\ud800"}', 'a lone low surrogate': '{"a":"\\udc00x"}', 'surrogates the wrong way round': '{"a":"\\udc00\\ud800"}', 'a lone surrogate in a key': '{"\\ud800":1}',
    'a number too large': '{"a":1e400}', 'a leading zero': '{"a":01}', 'a bare minus': '{"a":-}', 'a point without digits': '{"a":1.}', 'NaN': '{"a":NaN}',
    'a raw newline in a string': '{"a":"\n"}', 'an unknown escape': '{"a":"\\x"}', 'an unfinished escape': '{"a":"\\u12"}',
  })) {
    it(`of ${what} is refused`, async () => {
      const answer = await putText('bad', body);
      assert.deepEqual([answer.status, answer.json()], [400, INVALID]);
    });
  }

  it('in broken UTF-8 is refused', async () => {
    for (const bytes of [[0xff], [0xc3], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf5, 0x80, 0x80, 0x80], [0xe2, 0x82]]) {
      const answer = await putText('bad', Buffer.concat([Buffer.from('{"a":"'), Buffer.from(bytes), Buffer.from('"}')]));
      assert.deepEqual([answer.status, answer.json()], [400, INVALID], Buffer.from(bytes).toString('hex'));
    }
    await absent('bad');
  });

  it('too deep is refused everywhere, at once', async () => {
    for (const depth of [100_000, 1_000_000]) {
      const nest = (open, close) => open.repeat(depth) + close.repeat(depth);
      const bodies = [['PUT', '/deep', `{"a":${nest('[', ']')}}`], ['PUT', '/deep', `{"a":${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}}`], ['POST', '/_bulk_docs', `{"docs":[{"_id":"deep","a":${nest('[', ']')}}]}`],
        ['POST', '/_revs_diff', nest('[', ']')], ['POST', '/_changes?filter=_selector', `{"selector":${'{"$and":['.repeat(depth)}{}${']}'.repeat(depth)}}`], ['POST', '/_all_docs', `{"keys":${nest('[', ']')}}`], ['PUT', '/_security', nest('[', ']')], ['PUT', '/_local/deep', `{"a":${nest('[', ']')}}`]];
      for (const [method, path, body] of bodies) {
        const answer = await besideNeighbour(server, () => server.request(method, `/${db}${path}`, { body, headers: JSON_TYPE }), { growthKb: 256 * 1024 });
        assertRefusal(answer, [400, 413]);
      }
    }
    await absent('deep');
  });

  it('as deep as anyone writes it is taken', async () => {
    const body = `{"a":${'['.repeat(100)}${']'.repeat(100)}}`;
    assert.equal((await putText('hundred', body)).status, 201);
    assert.ok((await server.request('GET', `/${db}/hundred`)).text.endsWith(`"a":${'['.repeat(100)}${']'.repeat(100)}}\n`));
  });

  it('with keys twice means the last', async () => {
    assert.equal((await putText('twice', '{"a":1,"b":0,"a":2}')).status, 201);
    const { _rev, ...rest } = (await server.request('GET', `/${db}/twice`)).json();
    assert.deepEqual(rest, { _id: 'twice', a: 2, b: 0 });
    for (const body of ['{"_id":"one","_id":"two"}', '{"_rev":"1-a","_rev":"2-b"}', '{"_deleted":true,"_deleted":false}', '{"_attachments":{},"_attachments":{"f":{"data":"aGk="}}}']) {
      const answer = await putText(`dup-${body.length}`, body);
      assert.ok(answer.status < 500, `${body}: ${answer.status} ${answer.text}`);
    }
  });

  it('with a number of half a million digits is answered in time', async () => {
    const answer = await besideNeighbour(server, () => within(putText('digits', `{"n":${'7'.repeat(500_000)}}`), 'an answer to a long number', 10_000));
    if (answer.status === 201) assert.ok((await server.request('GET', `/${db}/digits`)).text.includes('7'.repeat(500_000)), 'taken, it comes back digit for digit');
    else assertRefusal(answer, [400, 413]);
  });

  it('of another shape than expected is refused, never a fault', async () => {
    const shapes = ['null', 'true', '0', '""', '[]', '[1]', '{}', '{"docs":1}', '{"docs":[1]}', '{"docs":[null]}', '{"docs":[{"_id":1}]}', '{"docs":[{"_id":"x","_rev":1}]}', '{"docs":[{"_id":"x","_revisions":1}],"new_edits":false}', '{"docs":[{"_id":"x","_revisions":{"start":-1,"ids":[]}}],"new_edits":false}', '{"docs":[{"_id":"x","_revisions":{"start":1e300,"ids":["a"]}}],"new_edits":false}', '{"docs":[{"_id":"x","_revisions":{"start":1,"ids":["a","b","c"]}}],"new_edits":false}', '{"docs":[{"_id":"x","_attachments":1}]}', '{"docs":[{"_id":"x","_attachments":{"f":1}}]}', '{"docs":[{"_id":"x","_attachments":{"f":{"data":1}}}]}', '{"docs":[{"_id":"x","_deleted":"yes"}]}', '{"x":"1-a"}', '{"x":[1]}', '{"x":["bad"]}', '{"keys":1}', '{"keys":[1,null,{}]}', '{"selector":1}', '{"doc_ids":1}', '{"doc_ids":[1]}'];
    const targets = [['POST', '/_bulk_docs'], ['POST', '/_bulk_get'], ['POST', '/_revs_diff'], ['POST', '/_missing_revs'], ['POST', '/_all_docs'], ['POST', '/_changes?filter=_doc_ids'], ['POST', '/_changes?filter=_selector'], ['POST', '/_purge'], ['PUT', '/_security'], ['PUT', '/_revs_limit'], ['PUT', '/shape'], ['PUT', '/_local/shape'], ['POST', ''], ['POST', '/_find']];
    const own = freshName('shapes');
    await server.request('PUT', `/${own}`);
    for (const [method, path] of targets) {
      for (const body of shapes) {
        const answer = await server.request(method, `/${own}${path}`, { body, headers: JSON_TYPE });
        assert.ok(answer.status < 500 || answer.status === 501, `${method} ${path} ${body}: ${answer.status} ${answer.text}`);
        if (answer.status >= 400) assertRefusal(answer, [answer.status]);
      }
    }
  });
});

describe('paths and queries', () => {
  it('are refused or answered, never a fault', async () => {
    const paths = ['%', '%zz', '%00', '%ff%fe', 'a%00b', '..', '../..', '..%2f..%2fetc%2fpasswd', '_local', '_local/', '_local/%00', '_design', '_design/', '_design/x/', '_design/x/_view', '_changes/x', '_all_docs/x', `${'a'.repeat(20_000)}`, 'doc/%00', 'doc/_x', 'doc/', 'doc//', '//', '_bulk_docs', '_nonsense', '_revs_diff', '_security/x'];
    const queries = ['', '?rev=', '?rev=x', '?rev=1', '?rev=1-', '?rev=-1-a', '?rev=99999999999999999999-a', '?open_revs=x', '?open_revs=[1]', '?open_revs=', '?atts_since=x', '?limit=-1', '?limit=99999999999999999999', '?skip=-1', '?startkey={', '?keys=x', '?keys=[', '?since=x', '?since=-1', '?since=99999999999999999999-x', '?descending=maybe', '?feed=x', '?heartbeat=-1', '?timeout=-1', '?%ff=%ff', '?a=%zz', '?=', '?&&&', `?${'a=1&'.repeat(2000)}`];
    const own = freshName('paths');
    for (const path of paths) {
      for (const method of ['GET', 'PUT', 'DELETE']) {
        // Slashes alone name the database itself, so that it may be gone again.
        await server.request('PUT', `/${own}`);
        const answer = await exchange(head(method, `/${own}/${path}`, 'Connection: close', ...(method === 'PUT' ? ['Content-Type: application/json', 'Content-Length: 2'] : [])) + (method === 'PUT' ? '{}' : ''));
        assert.ok(answer.status >= 200 && answer.status < 500 || answer.status === 501, `${method} ${path.slice(0, 50)}: ${answer.status} ${answer.body}`);
      }
    }
    for (const path of ['', '/neighbour/doc', '/neighbour/_all_docs', '/neighbour/_changes', '/neighbour/doc/att', '/_all_dbs', '/_uuids']) {
      for (const query of queries) {
        const answer = await exchange(head('GET', (path || '/') + query, 'Connection: close'));
        assert.ok(answer.status >= 200 && answer.status < 500, `GET ${path}${query.slice(0, 50)}: ${answer.status} ${answer.body}`);
      }
    }
    assert.equal((await server.request('GET', '/neighbour/doc')).status, 200, 'the neighbour’s document is still there');
  });
});

describe('size', () => {
  it('a document of ten megabytes is too large, alone and in bulk', async () => {
    const text = 'x'.repeat(10 * 1024 * 1024);
    const alone = await besideNeighbour(server, () => putText('large', JSON.stringify({ text })), { growthKb: 128 * 1024 });
    assertRefusal(alone, [413], 'document_too_large');
    const bulk = await server.request('POST', `/${db}/_bulk_docs`, { body: { docs: [{ _id: 'small' }, { _id: 'large', text }] } });
    assert.equal(bulk.status, 201);
    assert.deepEqual(bulk.json().map((row) => [row.id, row.ok ?? row.error]), [['small', true], ['large', 'document_too_large']]);
    await absent('large');
    assert.equal((await putText('fits', JSON.stringify({ text: 'x'.repeat(7_900_000) }))).status, 201);
  });

  it('an attachment of four gigabytes is refused before it is sent', async () => {
    const wire = await dial();
    await wire.send(head('PUT', `/${db}/four/gigabytes`, 'Content-Type: a/b', `Content-Length: ${4 * 2 ** 30 + 1}`));
    assertRefusal(await wire.answer(), [413]);
    await absent('four');
  });

  it('a body that grows when unpacked is cut off', async () => {
    const bomb = zlib.gzipSync(Buffer.concat([Buffer.from('{"docs":[{"_id":"bomb","a":"'), Buffer.alloc(300e6, 0x30), Buffer.from('"}]}')]), { level: 1 });
    const answer = await besideNeighbour(server, () => server.request('POST', `/${db}/_bulk_docs`, { body: bomb, headers: { ...JSON_TYPE, 'content-encoding': 'gzip' } }), { growthKb: 192 * 1024 });
    assertRefusal(answer, [400, 413]);
    await absent('bomb');
  });

  it('a body that is no gzip is refused', async () => {
    for (const body of ['not gzip at all', zlib.gzipSync('{"a":1}').subarray(0, 15)]) {
      assertRefusal(await server.request('PUT', `/${db}/nogzip`, { body, headers: { ...JSON_TYPE, 'content-encoding': 'gzip' } }), [400, 415]);
    }
    await absent('nogzip');
  });

  it('a million ids to compare are compared, or refused', async () => {
    const body = `{${Array.from({ length: 1_000_000 }, (_, n) => `"d${n}":["1-a"]`).join(',')}}`;
    const answer = await besideNeighbour(server, () => server.request('POST', `/${db}/_revs_diff`, { body, headers: JSON_TYPE }), { growthKb: 768 * 1024, worstMs: 3000 });
    if (answer.status === 200) assert.equal(Object.keys(answer.json()).length, 1_000_000);
    else assertRefusal(answer, [400, 413]);
    const one = await besideNeighbour(server, () => server.request('POST', `/${db}/_revs_diff`, { body: `{"d":[${Array.from({ length: 1_000_000 }, (_, n) => `"1-${n}"`).join(',')}]}`, headers: JSON_TYPE }), { growthKb: 768 * 1024, worstMs: 3000 });
    if (one.status === 200) assert.equal(one.json().d.missing.length, 1_000_000);
    else assertRefusal(one, [400, 413]);
  });

  it('a history of a hundred thousand revisions is stemmed, or refused', async () => {
    const ids = Array.from({ length: 100_000 }, (_, n) => n.toString(16).padStart(32, '0'));
    const answer = await besideNeighbour(server, () => server.request('POST', `/${db}/_bulk_docs`, { body: { new_edits: false, docs: [{ _id: 'history', _rev: `100000-${ids[0]}`, _revisions: { start: 100_000, ids } }] } }), { growthKb: 192 * 1024 });
    if (answer.status === 201) assert.deepEqual((await server.request('GET', `/${db}/history?revs=true`)).json()._revisions, { start: 100_000, ids: ids.slice(0, 1000) });
    else assertRefusal(answer, [400, 413]);
  });

  it('a document of very many branches is refused when it is too many', async () => {
    const BATCH = 2000;
    const refused = await besideNeighbour(server, async () => {
      for (let from = 0; from < 200_000; from += BATCH) {
        const docs = Array.from({ length: BATCH }, (_, n) => ({ _id: 'branches', _rev: `1-${(from + n).toString(16).padStart(32, '0')}` }));
        const answer = await server.request('POST', `/${db}/_bulk_docs`, { body: { new_edits: false, docs } });
        if (answer.status >= 400) return answer;
        const [row] = answer.json();
        if (row) return { status: 400, text: JSON.stringify(row) };
      }
      return assert.fail('two hundred thousand branches were taken');
    }, { growthKb: 256 * 1024 });
    assertRefusal(refused, [400, 413], 'too_many_conflicts');
    const winner = await within(server.request('GET', `/${db}/branches`), 'the document of many branches', 5000);
    assert.equal(winner.status, 200);
    assert.equal((await server.request('PUT', `/${db}/beside`, { body: {} })).status, 201, 'the database takes other documents');
  });

  it('a million keys are answered, or refused', async () => {
    const body = `{"keys":[${Array.from({ length: 1_000_000 }, (_, n) => `"k${n}"`).join(',')}]}`;
    const answer = await besideNeighbour(server, () => server.request('POST', `/${db}/_all_docs`, { body, headers: JSON_TYPE }), { growthKb: 768 * 1024, worstMs: 3000 });
    if (answer.status === 200) assert.equal(answer.json().rows.length, 1_000_000);
    else assertRefusal(answer, [400, 413]);
  });
});

describe('waiting', () => {
  it('five hundred listeners cost little, and all hear of one change', async () => {
    const own = freshName('listeners');
    await server.request('PUT', `/${own}`);
    await besideNeighbour(server, async () => {
      const listeners = await Promise.all(Array.from({ length: 500 }, dial));
      const heard = listeners.map((wire) => new Promise((resolve) => { wire.onData = () => { if (wire.text.includes('"id":"news"')) resolve(); }; }));
      const waiting = listeners.map((wire) => within(new Promise((resolve) => { const before = wire.onData; wire.onData = () => { before(); if (wire.text.includes('\r\n\r\n')) resolve(); }; }), 'the head of a waiting feed'));
      for (const wire of listeners) await wire.send(head('GET', `/${own}/_changes?feed=continuous&since=now&heartbeat=20000`));
      await Promise.all(waiting);
      await server.request('PUT', `/${own}/news`, { body: {} });
      await within(Promise.all(heard), 'the news at every listener', 10_000);
    }, { growthKb: 500 * 24 });
  });

  it('a reader that never reads holds nobody up', async () => {
    const own = freshName('slow');
    await server.request('PUT', `/${own}`);
    const wire = await dial();
    wire.socket.pause();
    await wire.send(head('GET', `/${own}/_changes?feed=continuous&include_docs=true&heartbeat=1000`));
    await besideNeighbour(server, async () => {
      const text = 'y'.repeat(100_000);
      for (let n = 0; n < 300; n += 1) assert.equal((await server.request('PUT', `/${own}/n${n}`, { body: { n, text } })).status, 201);
    }, { growthKb: 96 * 1024 });
    const seen = new Set();
    let rest = '';
    const all = new Promise((resolve) => {
      wire.socket.on('data', (chunk) => {
        rest += chunk.toString('latin1');
        for (const [, id] of rest.matchAll(/"id":"(n\d+)"/g)) seen.add(id);
        rest = rest.slice(-200);
        if (seen.size === 300) resolve();
      });
    });
    wire.socket.resume();
    await within(all, 'every change, when it reads at last', 20_000).catch((error) => assert.fail(`${error.message}: saw ${seen.size} of 300`));
  });
});

it('a stop is not held up by clients that never finish', async () => {
  const own = await Server.start();
  await own.request('PUT', '/held');
  const open = await Promise.all(Array.from({ length: 4 }, () => Wire.to(own.port)));
  wires.push(...open);
  await open[0].send('GET / HTTP/1.1\r\nHost: te');
  await open[1].send(head('PUT', '/held/doc', 'Content-Type: application/json', 'Content-Length: 1000') + '{');
  await open[2].send(head('GET', '/held/_changes?feed=continuous&heartbeat=60000'));
  await open[3].send(head('GET', '/held/_changes?feed=longpoll&since=now&heartbeat=60000'));
  const begun = new Promise((resolve) => { open[2].onData = () => { if (open[2].text.includes('\r\n\r\n')) resolve(); }; open[2].onData(); });
  await within(begun, 'a feed to wait');
  const ended = await within(own.stop(), 'the end of a server with clients that hang', 15_000);
  assert.deepEqual(ended, { code: 0, signal: null });
  assert.doesNotMatch(open[3].text, /^HTTP\/1\.1 5/);
});
