// The description of our own routes (/_openapi.json) and the page that shows it, against the server
// that they describe. schemathesis makes requests of the description, good and bad ones, and says
// where an answer is not as described; it is installed by scripts/setup into a cache directory.
//
// Nothing here knows a route by name but those of the description itself: what is described is what
// is tried. ADEA_SCHEMATHESIS_EXAMPLES asks for more examples a route than fit into a minute.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ADMIN, Server, temporaryDirectory } from './harness/server.mjs';
import { launchBrowser } from './harness/browser.mjs';

const CACHE = path.join(process.env.XDG_CACHE_HOME ?? path.join(os.homedir(), '.cache'), 'adea');
const SCHEMATHESIS = process.env.ADEA_SCHEMATHESIS ?? path.join(CACHE, 'schemathesis', 'bin', 'schemathesis');
const EXAMPLES = process.env.ADEA_SCHEMATHESIS_EXAMPLES ?? '3';
const ANN = { name: 'ann', password: 'correct-horse-battery' };

// What must hold of every answer. That good data is taken is not among it: a schema cannot say that
// an address must have a domain, or a password is too easy.
const CHECKS = [
  'not_a_server_error', 'status_code_conformance', 'content_type_conformance',
  'response_headers_conformance', 'response_schema_conformance', 'negative_data_rejection',
];

// What a refusal of bad data may say: it is bad, or for what else is wrong with it the data was not looked at.
const SETTINGS = `[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 409, 410, 413, 415, 421, 429, 501, 503]
`;

/** A server with an account in it. */
async function begin() {
  const server = await Server.start();
  const document = { name: ANN.name, password: ANN.password, roles: [], type: 'user' };
  const made = await server.request('PUT', `/_users/org.couchdb.user:${ANN.name}`, { body: document });
  assert.equal(made.status, 201, made.text);
  return server;
}

describe('the description', () => {
  let server;
  before(async () => { server = await begin(); });
  after(() => server.stop());

  test('is OpenAPI 3.1 with a name, a summary and answers for each operation', async () => {
    const answer = await server.request('GET', '/_openapi.json', { as: null });
    assert.equal(answer.status, 200);
    const description = answer.json();
    assert.equal(description.openapi, '3.1.0');
    assert.equal(description.servers[0].url, server.origin);
    const names = new Set();
    for (const [route, item] of Object.entries(description.paths)) {
      for (const [method, operation] of Object.entries(item)) {
        const where = `${method} ${route}`;
        assert.ok(!names.has(operation.operationId), `${where}: ${operation.operationId} twice`);
        names.add(operation.operationId);
        assert.ok(operation.summary, where);
        assert.ok(Object.keys(operation.responses).some((status) => status < '4'), where);
        for (const status of ['400', '401', '403', '429', '503']) assert.ok(operation.responses[status], `${where}: ${status}`);
      }
    }
    assert.ok(names.size > 80, `${names.size} operations`);
  });

  test('says who may call: nobody else gets further than that, whatever he sends', async () => {
    const description = (await server.request('GET', '/_openapi.json', { as: null })).json();
    const tried = { admin: 0, signed_in: 0 };
    for (const [route, item] of Object.entries(description.paths)) {
      for (const [method, operation] of Object.entries(item)) {
        const who = operation['x-who'];
        if (who === 'anybody') continue;
        tried[who] += 1;
        const pathname = `${route.replace(/\{[a-z_]+\}/g, 'x')}?nonsense=1`;
        // A body that is none would be refused as such by whoever reads it.
        const options = method === 'get' ? {} : { body: '{', headers: { 'content-type': 'application/json' } };
        const stranger = await server.request(method.toUpperCase(), pathname, { as: null, ...options });
        assert.equal(stranger.status, 401, `${method} ${pathname} by nobody: ${stranger.text}`);
        const ann = await server.request(method.toUpperCase(), pathname, { as: ANN, ...options });
        if (route === '/_adea/backup') assert.equal(ann.status, 401, 'as CouchDB answers');
        else if (who === 'admin') assert.equal(ann.status, 403, `${method} ${pathname} by a user: ${ann.text}`);
        else assert.ok([400, 403, 404].includes(ann.status), `${method} ${pathname} with nonsense: ${ann.text}`);
      }
    }
    assert.ok(tried.admin > 10 && tried.signed_in > 30, JSON.stringify(tried));
  });

  test('has its steps in order: the credential, who may, the query, the body', async () => {
    const wrong = { name: 'ann', password: 'wrong' };
    const ask = async (as, pathname) => (await server.request('GET', pathname, { as })).status;
    assert.equal(await ask(wrong, '/_audit?x=1'), 401);
    assert.equal(await ask(null, '/_audit?x=1'), 401);
    assert.equal(await ask(ANN, '/_audit?x=1'), 403);
    assert.equal(await ask(ADMIN, '/_audit?x=1'), 400);
    assert.equal(await ask(ADMIN, '/_audit?limit=1001'), 400);
    assert.equal(await ask(ADMIN, '/_audit?limit=1&limit=2'), 400);
    assert.equal(await ask(ADMIN, '/_audit?limit=1000'), 200);
    const elsewhere = await server.request('PUT', '/_audit', { as: null });
    assert.equal(elsewhere.status, 405);
    assert.equal(elsewhere.headers.allow, 'GET, HEAD');
  });

  test('is not sent again to who has it', async () => {
    const first = await server.request('GET', '/_openapi.json', { as: null });
    const again = await server.request('GET', '/_openapi.json', { as: null, headers: { 'if-none-match': first.headers.etag } });
    assert.equal(again.status, 304);
    assert.equal(again.bytes.length, 0);
  });

  test('is shown on a page that asks nobody else, can be filtered and used by keyboard', async () => {
    const browser = await launchBrowser();
    try {
      const page = await browser.newPage();
      const elsewhere = [];
      const faults = [];
      page.on('request', (request) => { if (!request.url().startsWith(server.origin)) elsewhere.push(request.url()); });
      page.on('pageerror', (error) => faults.push(String(error)));
      page.on('console', (message) => { if (message.type() === 'error') faults.push(message.text()); });
      await page.goto(`${server.origin}/_docs`);
      await page.waitForSelector('details#describe');
      const all = await page.$$eval('details', (found) => found.length);
      assert.ok(all > 80, `${all} routes are shown`);
      await page.keyboard.press('/');
      await page.keyboard.type('_audit get');
      const left = await page.$$eval('details', (found) => found.filter((one) => !one.hidden).map((one) => one.id));
      assert.ok(left.includes('listAuditEntries') && left.length < 5, left.join());
      await page.focus('#listAuditEntries summary');
      await page.keyboard.press('Enter');
      await page.waitForFunction(() => document.querySelector('#listAuditEntries .within')?.textContent.includes('from_ms'));
      assert.deepEqual(elsewhere, []);
      assert.deepEqual(faults, []);
    } finally {
      await browser.close();
    }
  });
});

/** Runs schemathesis in the name of somebody; answers how it ended and what it said. */
function run(server, as, more = []) {
  const directory = temporaryDirectory('schemathesis');
  writeFileSync(path.join(directory, 'schemathesis.toml'), SETTINGS);
  const args = [
    // Called by its name, since passkeys belong to one.
    'run', `http://localhost:${server.port}/_openapi.json`, '--no-color', '--workers', '1', '--phases', 'fuzzing',
    '--max-examples', EXAMPLES, '--seed', '20260', '--checks', CHECKS.join(','), '--continue-on-failure',
    // It would write to the machine of whoever runs the tests.
    '--exclude-path', '/_adea/backup', '--suppress-health-check', 'all', '--warnings', 'off',
    '--generation-database', 'none', '--no-shrink', ...more,
  ];
  if (as) args.push('--auth', `${as.name}:${as.password}`);
  const child = spawn(SCHEMATHESIS, args, { cwd: directory, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => { said += text; });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, said }));
  });
}

const installed = existsSync(SCHEMATHESIS);

describe('schemathesis finds no 5xx, no status and no answer that is not described, and nothing bad that is taken', {
  skip: installed ? false : `no schemathesis at ${SCHEMATHESIS}: make test installs it where there is a python3`,
}, () => {
  // What an ordinary user may destroy is his own account: that is tried for strangers and administrators.
  const keepsAccount = ['--exclude-path', '/_auth/destroy', '--exclude-path', '/_auth/changePassword'];
  for (const [who, as, more] of [['an administrator', ADMIN, []], ['an ordinary user', ANN, keepsAccount], ['nobody', null, []]]) {
    test(`asked by ${who}`, async () => {
      // Of its own, since an administrator deletes accounts and settings that others need.
      const server = await begin();
      const { code, said } = await run(server, as, more);
      assert.equal(code, 0, said.slice(-20_000));
      assert.doesNotMatch(server.log, /panicked|broken invariant/);
      await server.stop();
    });
  }
});
