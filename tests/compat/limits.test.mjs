// How often something may be asked, from outside: what comes too often is refused with 429 and told when
// to come again, at every door where a password is tried, and keeps nobody else waiting.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ADMIN, Server, within } from './harness/server.mjs';
import { Wire } from './harness/wire.mjs';

let server;

// This machine is counted for once; it is not unless that is set.
before(async () => {
  server = await Server.start({ args: ['--limits-loopback', 'true', '--limits-sign-in', '20/1h', '--lockout-mode', 'off', '--auth-trusted-proxies', '127.0.0.1'] });
});

after(() => server.stop());

/** A request that says, as a proxy with TLS does, that it came from `address`. */
function from(address, method, pathname, options = {}) {
  return server.request(method, pathname, { as: null, ...options, headers: { 'x-forwarded-for': address, 'x-forwarded-proto': 'https', ...options.headers } });
}

async function untilRefused(ask, most) {
  for (let n = 0; n < most; n += 1) {
    const answer = await ask(n);
    if (answer.status === 429) return { n, answer };
  }
  throw new Error(`${most} requests, and none was refused`);
}

describe('who tries too many passwords is told when to come again', () => {
  const doors = {
    'POST /_session': (address) => (n) => from(address, 'POST', '/_session', { body: { name: `a${n}`, password: 'x' } }),
    'a name and a password with any request': (address) => (n) => from(address, 'GET', '/_all_dbs', { as: { name: `b${n}`, password: 'x' } }),
    'POST /_auth/login': (address) => (n) => from(address, 'POST', '/_auth/login', { body: { identifier: `c${n}`, password: 'x' } }),
  };
  let host = 10;
  for (const [door, asking] of Object.entries(doors)) {
    test(door, async () => {
      const address = `198.51.100.${host}`;
      host += 1;
      const { n, answer } = await untilRefused(asking(address), 60);
      assert.ok(n >= 20, `refused after ${n}`);
      assert.equal(answer.json().error, 'too_many_requests');
      assert.ok(Number(answer.headers['retry-after']) >= 1, answer.headers['retry-after']);
      // From elsewhere, and for what is no sign-in, nothing has changed.
      assert.equal((await from(`198.51.100.${host + 100}`, 'GET', '/', { as: ADMIN })).status, 200);
      assert.equal((await from(address, 'GET', '/_up')).status, 200);
      assert.equal((await from(address, 'GET', '/_openapi.json')).status, 200);
    });
  }

  test('a customer of IPv6 is one, whichever of his addresses he takes', async () => {
    const ask = (n) => from(`2001:db8:1:2::${(n + 1).toString(16)}`, 'POST', '/_session', { body: { name: `d${n}`, password: 'x' } });
    const { n } = await untilRefused(ask, 60);
    assert.ok(n >= 20 && n <= 40, `refused after ${n}`);
  });
});

test('a limit is changed while the server runs', async () => {
  const setting = '/_node/_local/_config/limits/requests';
  assert.equal((await server.request('GET', setting)).json(), '1200/1m');
  assert.equal((await server.request('PUT', setting, { body: '"nonsense"' })).status, 400);
  assert.equal((await server.request('PUT', setting, { body: '"3/1h"' })).status, 200);
  const address = '198.51.100.77';
  const { n } = await untilRefused(() => from(address, 'GET', '/_openapi.json'), 20);
  assert.ok(n >= 3 && n <= 7, `refused after ${n}`);
  assert.equal((await from(address, 'GET', '/')).status, 200, 'CouchDB\'s own routes are not counted');
  assert.equal((await server.request('PUT', setting, { body: '"off"' })).status, 200);
  assert.equal((await from(address, 'GET', '/_openapi.json')).status, 200);
  assert.equal((await server.request('DELETE', setting)).status, 200);
});

test('50,000 attempts to sign in keep nobody waiting and take no memory', { timeout: 180_000 }, async () => {
  const PER_CONNECTION = 5_000;
  const body = JSON.stringify({ name: 'nobody', password: 'guess' });
  const attempt = (address) => `POST /_session HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-Forwarded-For: ${address}\r\nX-Forwarded-Proto: https\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const before = server.residentKb();
  let flooding = true;
  const flood = async (n) => {
    const wire = await Wire.to(server.port);
    let counted = 0;
    let refused = 0;
    let tail = '';
    const all = new Promise((resolve) => {
      wire.socket.removeAllListeners('data');
      wire.socket.on('data', (chunk) => {
        const text = tail + chunk.toString('latin1');
        for (const [, status] of text.matchAll(/HTTP\/1\.1 (\d{3}) /g)) {
          counted += 1;
          if (status === '429') refused += 1;
          assert.ok(['401', '429', '503'].includes(status), text.slice(-600));
        }
        tail = text.slice(-12).replace(/HTTP\/1\.1 \d{3} /, '');
        if (counted >= PER_CONNECTION) resolve();
      });
    });
    const requests = attempt(`203.0.113.${n}`).repeat(50);
    for (let sent = 0; sent < PER_CONNECTION; sent += 50) assert.ok(await wire.send(requests), 'the connection stays open');
    await within(all, `${PER_CONNECTION} answers; there were ${counted}`, 150_000);
    wire.socket.destroy();
    return refused;
  };
  const floods = Promise.all(Array.from({ length: 10 }, (_, n) => flood(n))).finally(() => { flooding = false; });
  let answered = 0;
  while (flooding) {
    const answer = await from('198.51.100.200', 'GET', '/');
    assert.equal(answer.status, 200);
    answered += 1;
  }
  const refused = (await floods).reduce((sum, one) => sum + one, 0);
  assert.ok(refused > 49_000, `${refused} were refused`);
  assert.ok(answered > 20, `${answered} others were answered in the meantime`);
  const grown = server.residentKb() - before;
  assert.ok(grown < 64 * 1024, `the server has grown by ${grown} kB`);
});
