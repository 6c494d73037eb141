// A real browser for the tests: the machine's own Chromium, driven by playwright-core, and a page with PouchDB
// in it that is served from another origin than the database, so that every request needs the server's consent.

import { accessSync, constants, readFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { chromium } from 'playwright-core';
import { REPOSITORY } from './server.mjs';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

function executable() {
  if (process.env.ADEA_CHROMIUM) return process.env.ADEA_CHROMIUM;
  for (const directory of (process.env.PATH ?? '').split(':')) {
    for (const name of NAMES) {
      const candidate = path.join(directory, name);
      try {
        accessSync(candidate, constants.X_OK);
        return candidate;
      } catch {
        // Not here: look on.
      }
    }
  }
  throw new Error('no Chromium found: install the package chromium, or set ADEA_CHROMIUM');
}

export function launchBrowser() {
  return chromium.launch({
    executablePath: executable(),
    headless: true,
    // Nothing but the page may open connections; root, as in containers, has no sandbox.
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage'],
  });
}

/** What a page of PouchDB runs: the package's own bundle. */
function pouchdb() {
  return readFileSync(path.join(REPOSITORY, 'tests/compat/node_modules/pouchdb/dist/pouchdb.min.js'));
}

/** Serves a page that runs `script`; its origin is the same host on another port, which browsers treat as another origin. */
export async function servePage(script = pouchdb()) {
  const listener = http.createServer((request, response) => {
    if (request.url === '/script.js') {
      response.writeHead(200, { 'content-type': 'text/javascript' }).end(script);
    } else {
      response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end('<!doctype html><title>page</title><script src="/script.js"></script>');
    }
  });
  await new Promise((resolve) => listener.listen(0, '127.0.0.1', resolve));
  return { origin: `http://127.0.0.1:${listener.address().port}`, close: () => new Promise((resolve) => { listener.closeAllConnections(); listener.close(resolve); }) };
}

/** A page of `site` in a profile of its own, and what it complains of: its errors, and what it may not ask of the server. */
export async function openProfile(browser, site) {
  const context = await browser.newContext();
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => { if (/CORS|Access-Control/.test(message.text())) complaints.push(message.text()); });
  await page.goto(site.origin);
  return { context, page, complaints };
}
