// A real OpenID Connect provider (panva's oidc-provider) as a process of its own, and a person at it who signs in
// with a browser that is a cookie jar. As a program (`node provider.mjs`) it is the provider: it prints its port,
// and takes changes as lines of JSON on stdin: {"clients":[..]}, {"rotate":true}. Imported, it starts such a
// process and drives it.
//
// Whoever signs in as `NAME` there has the address NAME@example.org, verified unless NAME begins with
// "unverified-"; with `sub` and address apart, as "sub=ADDRESS", the address is as given.

import { spawn } from 'node:child_process';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import http from 'node:http';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { within } from './server.mjs';

const HERE = fileURLToPath(import.meta.url);

/** The provider itself. */
async function serve() {
  // What it says of itself must not stand among what is read here.
  for (const level of ['log', 'info', 'warn']) console[level] = () => {};
  const { default: Oidc } = await import('oidc-provider');
  const newKey = () => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg: 'RS256' };
  };
  const state = { clients: [], keys: [newKey()] };
  let answer = () => {};
  const server = http.createServer((request, response) => answer(request, response));
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const build = () => {
    const provider = new Oidc(issuer, {
      clients: state.clients,
      jwks: { keys: state.keys },
      cookies: { keys: ['a key of the tests'] },
      claims: { openid: ['sub'], email: ['email', 'email_verified'] },
      pkce: { required: () => true },
      features: { devInteractions: { enabled: true } },
      findAccount: (_, id) => ({
        accountId: id,
        claims: () => {
          const [sub, address = `${sub.replace(/^unverified-/, '')}@example.org`] = id.split('=');
          return { sub: id, email: address, email_verified: !sub.startsWith('unverified-') };
        },
      }),
    });
    answer = provider.callback();
  };
  build();
  process.stdout.write(`${JSON.stringify({ issuer })}\n`);
  for await (const line of createInterface({ input: process.stdin })) {
    const asked = JSON.parse(line);
    if (asked.clients) state.clients = asked.clients;
    if (asked.rotate) state.keys = [newKey()];
    build();
    process.stdout.write('{"done":true}\n');
  }
  process.exit(0);
}

/** A provider that runs as a process of its own. */
export class OidcProvider {
  #child;
  #lines;

  static async start() {
    const provider = new OidcProvider();
    provider.#child = spawn(process.execPath, [HERE], { stdio: ['pipe', 'pipe', 'ignore'] });
    const child = provider.#child;
    process.on('exit', () => child.kill('SIGKILL'));
    provider.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    provider.issuer = (await provider.#line()).issuer;
    return provider;
  }

  async #line() {
    for (;;) {
      const { value, done } = await within(this.#lines.next(), 'a line of the provider');
      if (done) throw new Error('the provider has ended');
      if (value.startsWith('{')) return JSON.parse(value);
    }
  }

  /** Makes the clients known: `{client_id, client_secret, redirect_uris}`. */
  async setClients(clients) {
    this.#child.stdin.write(`${JSON.stringify({ clients })}\n`);
    return this.#line();
  }

  /** Signs with another key from now on, and publishes only that. */
  async rotate() {
    this.#child.stdin.write(`${JSON.stringify({ rotate: true })}\n`);
    return this.#line();
  }

  stop() {
    this.#child.kill('SIGKILL');
  }
}

/** Names and values of the hidden inputs of a page. */
const inputs = (page) => [...page.matchAll(/<input type="hidden" name="([^"]+)" value="([^"]*)"/g)]
  .map(([, name, value]) => [name, value.replaceAll('&amp;', '&')]);

/** A browser: it keeps cookies for the provider, follows it around, and stops where the provider lets it go. */
export class Person {
  #cookies = new Map();

  constructor(provider, login) {
    this.provider = provider;
    this.login = login;
  }

  async #ask(url, form) {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const answer = await within(fetch(url, {
      method: form ? 'POST' : 'GET', redirect: 'manual', headers: { cookie },
      body: form && new URLSearchParams(form),
    }), `the provider at ${url}`);
    for (const line of answer.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      if (value === '' || /expires=Thu, 01 Jan 1970/i.test(line)) this.#cookies.delete(name);
      else this.#cookies.set(name, value);
    }
    return answer;
  }

  /** Goes to `url` at the provider, signs in and agrees, and answers with the URL that it is sent back to, or with the
   *  form that it is sent back with. */
  async goes(url, { declines = false } = {}) {
    let answer = await this.#ask(url);
    for (let step = 0; step < 20; step += 1) {
      const target = answer.headers.get('location');
      if (target) {
        const next = new URL(target, this.provider.issuer);
        if (next.origin !== this.provider.issuer) return next.href;
        answer = await this.#ask(next);
        continue;
      }
      const page = await answer.text();
      const action = /<form[^>]* action="([^"]+)"/.exec(page)?.[1];
      if (!action) throw new Error(`the provider shows no form: ${answer.status} ${page.slice(0, 500)}`);
      const at = new URL(action, this.provider.issuer);
      // The page sends the browser back with a form.
      if (at.origin !== this.provider.issuer) return { at: at.href, form: Object.fromEntries(inputs(page)) };
      const prompt = /name="prompt" value="([a-z]+)"/.exec(page)[1];
      if (declines) {
        answer = await this.#ask(new URL(`${at.pathname}/abort`, at));
      } else {
        answer = await this.#ask(at, prompt === 'login' ? { prompt, login: this.login, password: 'x' } : { prompt });
      }
    }
    throw new Error('the provider sends in circles');
  }
}

if (process.argv[1] === HERE) await serve();
