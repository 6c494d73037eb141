// A database that lies: it answers a replicator's requests as a right one would, except where a test has
// it say something else.

import http from 'node:http';

const json = (value, status = 200) => ({ status, headers: { 'content-type': 'application/json' }, body: JSON.stringify(value) });

export class Liar {
  #server;
  /** What is asked, by method and the last part of the path. */
  asked = [];
  lies = {};

  static async start(docs = [{ _id: 'one', v: 1 }, { _id: 'two', v: 2 }]) {
    const liar = new Liar();
    liar.docs = docs.map((doc) => ({ ...doc, _rev: doc._rev ?? '1-a' }));
    liar.#server = http.createServer((request, response) => liar.#answer(request, response));
    await new Promise((resolve) => liar.#server.listen(0, '127.0.0.1', resolve));
    return liar;
  }

  get url() {
    return `http://127.0.0.1:${this.#server.address().port}/db`;
  }

  rows() {
    return this.docs.map((doc, n) => ({ seq: `${n + 1}-x`, id: doc._id, changes: [{ rev: doc._rev }] }));
  }

  async #answer(request, response) {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString();
    const url = new URL(request.url, 'http://x');
    const parts = url.pathname.split('/').filter(Boolean).map(decodeURIComponent);
    const what = parts[1] ?? 'info';
    this.asked.push(`${request.method} ${what}`);
    const lie = this.lies[what] ?? this.lies[parts[1] === '_local' ? '_local' : '*'];
    const told = lie ? await lie({ request, response, url, body, liar: this }) : this.honest(what, url, body, request.method);
    if (!told || response.writableEnded || response.destroyed) return;
    response.writeHead(told.status, told.headers);
    response.end(told.body);
  }

  honest(what, url, body, method) {
    const last = this.rows().at(-1)?.seq ?? '0';
    switch (what) {
      case 'info': return json({ db_name: 'db', update_seq: last, instance_start_time: '0' });
      case '_changes': {
        const since = Number.parseInt(url.searchParams.get('since'), 10) || 0;
        return json({ results: this.rows().slice(since), last_seq: last, pending: 0 });
      }
      case '_local': return method === 'GET' ? json({ error: 'not_found', reason: 'missing' }, 404) : json({ ok: true, id: '_local/x', rev: '0-1' }, 201);
      case '_ensure_full_commit': return json({ ok: true, instance_start_time: '0' }, 201);
      case '_revs_diff': return json(Object.fromEntries(Object.entries(JSON.parse(body)).map(([id, missing]) => [id, { missing }])));
      case '_bulk_docs': return json([], 201);
      case '_bulk_get': return json({ results: JSON.parse(body).docs.map(({ id }) => ({ id, docs: [{ ok: this.docs.find((doc) => doc._id === id) }] })) });
      default: return json({ error: 'not_found', reason: 'missing' }, 404);
    }
  }

  async close() {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** A document with one attachment, as `open_revs` sends it; `change` spoils it. */
export function related(id, { content = 'hello', digest, length = content.length, parts = 1, end = '\r\n--in--\r\n--out--' } = {}) {
  const doc = {
    _id: id, _rev: '1-a', _revisions: { start: 1, ids: ['a'] },
    _attachments: { 'a.bin': { content_type: 'application/octet-stream', revpos: 1, digest, length, follows: true } },
  };
  const part = `\r\n--in\r\ncontent-disposition: attachment; filename="a.bin"\r\n\r\n${content}`;
  return {
    status: 200,
    headers: { 'content-type': 'multipart/mixed; boundary="out"' },
    body: `--out\r\ncontent-type: multipart/related; boundary="in"\r\n\r\n--in\r\ncontent-type: application/json\r\n\r\n${JSON.stringify(doc)}${part.repeat(parts)}${end}`,
  };
}
