// A database whose documents say who may read them, and the naive model of it: what each user may read is what the
// administrator reads of the whole, taken apart by the lists in the documents. Nothing of the server's own reckoning
// of rights is used for the model.

import http from 'node:http';
import { ADMIN, Server, within } from './server.mjs';

export const PASSWORD = 'correct horse battery';
export const ANONYMOUS = null;

/** Numbers that follow from a seed (mulberry32), and what is chosen with them. */
export function chance(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const below = (n) => Math.floor(next() * n);
  const random = {
    below,
    pick: (list) => list[below(list.length)],
    one: (n) => below(n) === 0,
    /** Some of a list, at least one. */
    some: (list, most = list.length) => {
      const rest = [...list];
      const count = 1 + below(Math.min(most, rest.length));
      return Array.from({ length: count }, () => rest.splice(below(rest.length), 1)[0]);
    },
    /** One of the names of `weights`, as often as its weight says. */
    weighed: (weights) => {
      const entries = Object.entries(weights);
      let at = below(entries.reduce((sum, [, weight]) => sum + weight, 0));
      for (const [name, weight] of entries) {
        if (at < weight) return name;
        at -= weight;
      }
      throw new Error('weights are positive');
    },
  };
  return random;
}

/** Asks again until the condition holds; each asking awaits an answer, so nothing spins and nothing sleeps. */
export function until(condition, what, ms = 30_000) {
  let over = false;
  const holds = (async () => {
    while (!over) {
      const value = await condition();
      if (value) return value;
      await new Promise((resolve) => setImmediate(resolve));
    }
    return undefined;
  })();
  return within(holds, what, ms).finally(() => { over = true; });
}

/** `a/b c` as one segment of a path. */
export const segment = (name) => encodeURIComponent(name);

/** The list of who may read a document, as the default rule reads it. */
export function listOf(doc) {
  const list = Array.isArray(doc.access) ? doc.access : doc.access?.read;
  return list ?? ['_admin'];
}

const canonical = (value) => {
  if (Array.isArray(value)) return value.map(canonical);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, canonical(value[key])]));
};

/**
 * A document without its revision, with keys in order: the same on all replicas that agree. PouchDB counts `revpos`
 * anew for what it receives.
 */
export function content(doc) {
  const { _rev, _conflicts, _revisions, ...rest } = doc;
  for (const [name, { revpos, ...attachment }] of Object.entries(rest._attachments ?? {})) {
    rest._attachments = { ...rest._attachments, [name]: attachment };
  }
  return canonical(rest);
}

export class Bench {
  #agent = new http.Agent({ keepAlive: true, maxSockets: 16 });
  users = new Map();

  constructor(server, name) {
    this.server = server;
    this.name = name;
  }

  /** A server of its own with one database under rights. `settings` are laid over what a new one has. */
  static async start({ name = 'app', settings, users = {}, args = [] } = {}) {
    const bench = new Bench(await Server.start({ args }), name);
    await bench.create(name, settings);
    for (const [user, roles] of Object.entries(users)) await bench.user(user, roles);
    return bench;
  }

  async stop() {
    this.#agent.destroy();
    await this.server.stop();
  }

  as(who) {
    if (who === undefined) return ADMIN;
    return who === ANONYMOUS ? null : { name: who, password: PASSWORD };
  }

  /** A request as a user (a name), as nobody (null) or as the administrator (undefined). */
  ask(who, method, path, body, headers) {
    return this.server.request(method, path, { as: this.as(who), body, headers, agent: this.#agent });
  }

  /** The same, where one status is right; answers what was said. */
  async expect(status, who, method, path, body, headers) {
    const answer = await this.ask(who, method, path, body, headers);
    if (answer.status !== status) throw new Error(`${method} ${path} as ${who}: ${answer.status} instead of ${status}: ${answer.text.slice(0, 500)}`);
    try { return answer.json(); } catch { return answer.text; }
  }

  /** Makes a database under rights, and lays settings over what it has. */
  async create(name, settings) {
    await this.expect(201, undefined, 'PUT', `/${segment(name)}?access=true`);
    if (settings) await this.set(settings, name);
  }

  async set(settings, name = this.name) {
    const path = `/${segment(name)}/_access`;
    const answer = await this.ask(undefined, 'PUT', path, settings);
    if (answer.status >= 300) throw new Error(`PUT ${path}: ${answer.status} ${answer.text}`);
    await this.rebuilt(name);
    return answer.json();
  }

  /** Resolves when all documents are indexed by the rule that is set. */
  rebuilt(name = this.name) {
    return until(async () => {
      const state = await this.expect(200, undefined, 'GET', `/${segment(name)}/_access`);
      return state.state === 'ready' ? state : undefined;
    }, `the end of the rebuild of ${name}`);
  }

  path(face = 'mine', name = this.name) {
    return `/${segment(face === '' ? name : `${name}/${face}`)}`;
  }

  async user(name, roles = []) {
    const path = `/_users/org.couchdb.user:${segment(name)}`;
    await this.expect(201, undefined, 'PUT', path, { name, password: PASSWORD, type: 'user', roles });
    this.users.set(name, new Set(roles));
  }

  /** Gives a user other roles: they count from the next request on. */
  async roles(name, roles) {
    const path = `/_users/org.couchdb.user:${segment(name)}`;
    const doc = await this.expect(200, undefined, 'GET', path);
    await this.expect(201, undefined, 'PUT', path, { ...doc, roles: [...roles] });
    this.users.set(name, new Set(roles));
  }

  principals(name) {
    if (name === ANONYMOUS) return ['@anyone'];
    return [`user:${name}`, ...this.users.get(name), '@users', '@anyone'];
  }

  mayRead(name, doc) {
    const held = new Set(this.principals(name));
    return listOf(doc).some((principal) => held.has(principal));
  }

  /** All documents, as the administrator reads them. */
  async truth(name = this.name) {
    const { rows } = await this.expect(200, undefined, 'GET', `/${segment(name)}/_all_docs?include_docs=true&conflicts=true`);
    return rows.map(({ doc }) => doc);
  }

  /** What a user may read: id to content. */
  async visible(user, truth) {
    const docs = (truth ?? await this.truth()).filter((doc) => this.mayRead(user, doc));
    return Object.fromEntries(docs.map((doc) => [doc._id, content(doc)]));
  }

  /** The address of a face with a user's name and password in it, for PouchDB. */
  url(user, face = 'mine', port) {
    return this.server.urlAs(this.as(user), segment(`${this.name}/${face}`), port);
  }
}
