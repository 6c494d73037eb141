// Mail over sockets: captured where no server is set; handed to a real SMTP server process, once and whole, also
// after kill -9, after 4xx and over TLS; given up after 5xx; templates chosen, tried and previewed; the pages that
// links lead to.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Server, temporaryDirectory, within } from './harness/server.mjs';
import { launchBrowser } from './harness/browser.mjs';
import { CERTIFICATE, SmtpSink } from './harness/smtp.mjs';

const FROM = 'Ädea <no-reply@example.org>';

/** A request to a route of ours that must be answered with `status`. */
async function ask(server, method, pathname, { body, status = 200, as } = {}) {
  const answer = await server.request(method, pathname, { body, ...(as === undefined ? {} : { as }) });
  assert.equal(answer.status, status, `${method} ${pathname}: ${answer.text}`);
  return answer.json();
}
const test = (server, to) => ask(server, 'POST', '/_mail/test', { body: { to }, status: 202 });
const queue = async (server, state = 'waiting') => (await ask(server, 'GET', `/_mail/queue?state=${state}`)).items;

/** Asks again and again until `look` finds something. */
const until = (what, look) => within((async () => {
  for (;;) {
    const found = await look();
    if (found) return found;
  }
})(), what);
const tried = (server, attempts) => until(`${attempts} attempts`, async () =>
  (await queue(server)).find((mail) => mail.attempts === attempts));
const gone = (server) => until('an empty queue', async () => (await queue(server)).length === 0);

const smtp = (sink, ...more) => [
  '--mail-smtp', `smtp://127.0.0.1:${sink.port}`, '--mail-from', FROM, '--public-url', 'https://app.example.org', ...more,
];

describe('mail where no server is set', () => {
  let server;
  before(async () => { server = await Server.start(); });
  after(() => server.stop());

  it('is captured and shown to administrators', async () => {
    await test(server, 'ann@example.org');
    await test(server, 'bob@example.org');
    const { items } = await ask(server, 'GET', '/_mail/captured');
    assert.deepEqual(items.map((mail) => mail.to), ['bob@example.org', 'ann@example.org']);
    const [mail] = items;
    assert.deepEqual([mail.kind, mail.subject, mail.links], ['test', 'Mail works', []]);
    assert.match(mail.text, /bob@example\.org/);
    assert.match(mail.html, /^<!doctype html>/);
    await ask(server, 'GET', '/_mail/captured', { as: null, status: 401 });
    assert.deepEqual(await queue(server), []);
    await until('the line in the log', async () => { await queue(server); return /captured mail [0-9a-f]{32} \(test\)/.test(server.log); });
    assert.ok(!server.log.includes('bob@example.org'));
  });

  it('survives a restart, and only the last 200 are kept', async () => {
    await server.kill9();
    await server.up();
    assert.equal((await ask(server, 'GET', '/_mail/captured')).items.length, 2);
    for (let n = 0; n < 201; n += 1) await test(server, `n${n}@example.org`);
    const { items } = await ask(server, 'GET', '/_mail/captured');
    assert.equal(items.length, 200);
    assert.equal(items[0].to, 'n200@example.org');
    await ask(server, 'DELETE', '/_mail/captured');
    assert.deepEqual(await ask(server, 'GET', '/_mail/captured'), { items: [] });
  });

  it('is refused for what is no address', async () => {
    const addresses = ['', 'ann', 'ann@example.org\r\nBcc: bob@example.org', 'a b@example.org',
      'Ann <ann@example.org>', 'ann@example.org,bob@example.org', `${'a'.repeat(300)}@example.org`, 'ann@example.org\u0000'];
    for (const to of addresses) {
      const refused = await ask(server, 'POST', '/_mail/test', { body: { to }, status: 400 });
      assert.equal(refused.error, 'invalid_input', to);
    }
    for (const body of [{}, { to: 1 }, { to: 'ann@example.org', bcc: 'x@example.org' }, []]) {
      await ask(server, 'POST', '/_mail/test', { body, status: 400 });
    }
    // Sent as text, as a page of another site could without asking.
    await ask(server, 'POST', '/_mail/test', { body: JSON.stringify({ to: 'ann@example.org' }), status: 415 });
    assert.deepEqual(await ask(server, 'GET', '/_mail/captured'), { items: [] });
  });
});

describe('templates', () => {
  let server;
  before(async () => { server = await Server.start(); });
  after(() => server.stop());
  const preview = (body, status) => ask(server, 'POST', '/_mail/preview', { body, status });

  it('are built in for every kind in English and German', async () => {
    const { kinds, built_in: languages, items } = await ask(server, 'GET', '/_mail/templates');
    assert.deepEqual([kinds.length, languages, items], [12, ['en', 'de'], []]);
    for (const kind of kinds) {
      for (const language of languages) {
        const mail = await preview({ kind, language });
        assert.ok(mail.subject && mail.text && mail.html.includes(`lang="${language}"`), `${kind} ${language}`);
      }
    }
  });

  it('fall back from a language to a wider one, to that of the server and to English', async () => {
    const subject = async (language) => (await preview({ kind: 'recover', language })).subject;
    assert.equal(await subject('de-AT'), 'Wähle ein neues Passwort');
    assert.equal(await subject('fr'), 'Choose a new password');
    assert.equal(await subject(''), 'Choose a new password');
  });

  it('may be chosen for the server or for one app, and taken back', async () => {
    const words = (subject) => ({ subject, text: '{{ link }}', html: '<a href="{{ link }}">x</a>' });
    const subject = async (language, app) => (await preview({ kind: 'recover', language, app })).subject;
    await ask(server, 'PUT', '/_mail/templates/recover/en', { body: words('server {{ minutes }}') });
    await ask(server, 'PUT', '/_mail/templates/recover/en?app=shop', { body: words('shop') });
    assert.equal(await subject('en-GB', 'shop'), 'shop');
    assert.equal(await subject('en', 'other'), 'server 30');
    assert.equal(await subject('de', 'shop'), 'Wähle ein neues Passwort');
    assert.deepEqual((await ask(server, 'GET', '/_mail/templates')).items, [
      { kind: 'recover', app: '', language: 'en' }, { kind: 'recover', app: 'shop', language: 'en' },
    ]);
    assert.equal((await ask(server, 'GET', '/_mail/templates/recover/en?app=shop')).own, true);
    await ask(server, 'GET', '/_mail/templates/recover/en?app=none', { status: 404 });
    await ask(server, 'DELETE', '/_mail/templates/recover/en?app=shop');
    await ask(server, 'DELETE', '/_mail/templates/recover/en?app=shop', { status: 404 });
    await ask(server, 'DELETE', '/_mail/templates/recover/en');
    assert.equal((await ask(server, 'GET', '/_mail/templates/recover/en')).own, false);
    assert.equal(await subject('en', 'shop'), 'Choose a new password');
  });

  it('are escaped in HTML and not in text', async () => {
    const data = { organisation: '<script>alert(1)</script>', inviter: '"&', role: 'x', link: 'https://a.example/', days: 7 };
    const mail = await preview({ kind: 'invitation', data });
    assert.ok(mail.text.includes(data.organisation) && !mail.html.includes('<script'));
  });

  it('are tried before they are taken', async () => {
    const put = (text, subject = 'x') => ask(server, 'PUT', '/_mail/templates/recover/en', { body: { subject, text, html: '' }, status: 400 });
    const loops = '{% for a in "aaaaaaaaaaaaaaaa" %}'.repeat(20) + '{% endfor %}'.repeat(20);
    for (const [text, told] of [
      ['{{ nobody }}', 'there is no nobody'], ['{{ link', 'allowed are'], ['{% set a = 1 %}', 'allowed are'],
      ['{% include "x" %}', 'allowed are'], ['{{ "x" * 90000000 }}', 'allowed are'], [loops, ''],
      ['{{ "".__class__ }}', ''], ['{{ link|attr("x") }}', 'allowed are'],
      ['{{ [to*6600000, to*6600000]|length }}', 'allowed are'], ['{% if server == "x" %}{{ to ~ to }}{% endif %}', 'allowed are'],
    ]) {
      const refused = await put(text);
      assert.equal(refused.error, 'invalid_template', text);
      assert.ok(refused.reason.includes(told), refused.reason);
    }
    for (const subject of ['a\r\nBcc: x@example.org', ' ', 'x'.repeat(2000)]) await put('x', subject);
    await ask(server, 'PUT', '/_mail/templates/recover/en', { body: { subject: 'x', text: 'y'.repeat(63_990), html: 'zzzzzzzzzzzzz' }, status: 400 });
    await ask(server, 'PUT', '/_mail/templates/nothing/en', { body: { subject: 'x', text: '', html: '' }, status: 404 });
    await ask(server, 'PUT', '/_mail/templates/recover/d', { body: { subject: 'x', text: '', html: '' }, status: 404 });
    await ask(server, 'PUT', '/_mail/templates/recover/en?app=../x', { body: { subject: 'x', text: '', html: '' }, status: 400 });
    assert.deepEqual((await ask(server, 'GET', '/_mail/templates')).items, []);
    await preview({ kind: 'nothing' }, 400);
    await preview({ kind: 'recover', data: [] }, 400);
    const given = await preview({ kind: 'recover', template: { subject: '{{ server }}', text: '', html: '' } });
    assert.deepEqual(given, { subject: 'Adea', text: '', html: '' });
  });
});

describe('mail over SMTP', () => {
  let sink;
  let server;
  before(async () => {
    sink = await SmtpSink.start();
    server = await Server.start({ args: smtp(sink, '--log-access', 'false', '--mail-reply-to', 'help@example.org', '--mail-default-language', 'de') });
  });
  after(async () => { await server.stop(); await sink.stop(); });

  it('arrives once, with its headers and both parts', async () => {
    await test(server, 'ann@example.org');
    const [mail] = await sink.taken(1);
    assert.deepEqual([mail.from, mail.to], ['no-reply@example.org', ['ann@example.org']]);
    const names = mail.headers.map(([name]) => name);
    for (const name of ['message-id', 'date', 'from', 'to', 'subject', 'auto-submitted', 'reply-to', 'mime-version', 'content-type']) {
      assert.equal(names.filter((known) => known === name).length, 1, name);
    }
    assert.match(mail.header('message-id'), /^<[0-9a-f]{32}@example\.org>$/);
    assert.equal(mail.header('from'), '=?utf-8?b?w4RkZWE=?= <no-reply@example.org>');
    assert.equal(mail.header('reply-to'), 'help@example.org');
    assert.equal(mail.header('auto-submitted'), 'auto-generated');
    assert.equal(mail.header('subject'), 'Mail funktioniert');
    assert.ok(Math.abs(Date.parse(mail.header('date')) - Date.now()) < 60_000);
    assert.deepEqual(mail.parts.map((part) => part.type), ['text/plain', 'text/html']);
    assert.match(mail.parts[0].text, /Ädea Mail versenden/);
    assert.match(mail.parts[1].text, /<html lang="de">/);
    await gone(server);
    assert.deepEqual(await queue(server, 'failed'), []);
    assert.equal((await sink.counts()).mails, 1);
  });

  it('is tried again after 4xx, and after a connection was lost', async () => {
    let taken = sink.mails.length;
    for (const fault of [
      { stage: 'rcpt', reply: '451 4.3.0 not now' }, { stage: 'mail', reply: '421 4.7.0 too many' }, { stage: 'body', reply: 'drop' },
      { stage: 'end', reply: '452 4.3.1 full' }, { stage: 'connect', reply: '554 no' }, { stage: 'ehlo', reply: 'drop' },
    ]) {
      await sink.faults(fault);
      await test(server, 'bob@example.org');
      const waiting = await tried(server, 1);
      assert.deepEqual([waiting.state, waiting.kind, waiting.to, waiting.failed_ms], ['waiting', 'test', 'bob@example.org', null]);
      assert.ok(waiting.error.length > 3 && waiting.due_ms > waiting.queued_ms + 40_000, JSON.stringify(waiting));
      assert.ok(!('data' in waiting) && !('mail' in waiting));
      await ask(server, 'POST', `/_mail/queue/${waiting.id}/retry`);
      taken += 1;
      assert.equal((await sink.taken(taken)).at(-1).header('message-id'), `<${waiting.id}@example.org>`);
      await gone(server);
      assert.equal(sink.mails.length, taken);
    }
  });

  it('goes out again under the same id when nobody said that it was taken', async () => {
    const taken = sink.mails.length;
    await sink.faults({ stage: 'end', reply: 'lose' });
    await test(server, 'bob@example.org');
    const { id } = await tried(server, 1);
    await ask(server, 'POST', `/_mail/queue/${id}/retry`);
    const twice = (await sink.taken(taken + 2)).slice(taken);
    assert.equal(twice[0].data, twice[1].data);
    await gone(server);
  });

  it('is given up after 5xx, shown, tried again or deleted', async () => {
    const taken = sink.mails.length;
    await sink.faults({ stage: 'rcpt', reply: '550 5.1.1 no such\u0001user' }, { stage: 'rcpt', reply: '550 5.1.1 no' });
    await test(server, 'carl@example.org');
    await test(server, 'dora@example.org');
    const failed = await until('two failed', async () => {
      const items = await queue(server, 'failed');
      return items.length === 2 && items;
    });
    assert.deepEqual(failed.map(({ state, attempts, due_ms: due }) => [state, attempts, due]), [['failed', 1, null], ['failed', 1, null]]);
    for (const { error } of failed) assert.match(error, /^permanent error \(550\): 5\.1\.1 no/);
    assert.deepEqual(await queue(server), []);
    await until('the line in the log', async () => { await queue(server); return server.log.includes('was given up'); });
    const page = await ask(server, 'GET', '/_mail/queue?state=failed&limit=1');
    assert.deepEqual(page.items, [failed[0]]);
    const rest = await ask(server, 'GET', `/_mail/queue?state=failed&limit=1&after=${page.next}`);
    assert.deepEqual(rest, { items: [failed[1]], next: null });
    await ask(server, 'DELETE', `/_mail/queue/${failed[0].id}`);
    await ask(server, 'DELETE', `/_mail/queue/${failed[0].id}`, { status: 404 });
    await ask(server, 'POST', `/_mail/queue/${failed[1].id}/retry`);
    await sink.taken(taken + 1);
    await gone(server);
    assert.deepEqual(await queue(server, 'failed'), []);
    const { items } = await ask(server, 'GET', '/_audit?action=mail.&order=oldest');
    assert.deepEqual(items.slice(-4).map(({ action }) => action),
      ['mail.give_up', 'mail.give_up', 'mail.delete', 'mail.retry']);
    assert.ok(!JSON.stringify(items).includes('@example.org'));
  });

  it('is shown and changed only as it should be asked', async () => {
    for (const query of ['state=x', 'limit=0', 'limit=1001', 'limit=x', 'after=x', 'after=1-2', 'x=1']) {
      await ask(server, 'GET', `/_mail/queue?${query}`, { status: 400 });
    }
    for (const id of ['x', '%00', '0'.repeat(32), '%C3%A9', '..%2f']) {
      await ask(server, 'POST', `/_mail/queue/${id}/retry`, { status: 404 });
    }
    for (const [method, route] of [['GET', 'queue'], ['GET', 'templates'], ['POST', 'test'], ['POST', 'preview'], ['DELETE', 'queue/x'],
      ['POST', 'queue/x/retry'], ['PUT', 'templates/test/en'], ['DELETE', 'captured']]) {
      await ask(server, method, `/_mail/${route}`, { as: null, status: 401 });
    }
    await ask(server, 'POST', '/_mail/queue', { status: 405 });
  });

  it('survives kill -9 between the commit and the sending', async () => {
    const taken = sink.mails.length;
    await sink.faults(...Array.from({ length: 4 }, () => ({ stage: 'connect', reply: 'hang' })));
    await test(server, 'ann@example.org');
    await sink.happened();
    const [{ id }] = await queue(server);
    await server.kill9();
    await sink.faults();
    await server.up();
    assert.equal((await sink.taken(taken + 1)).at(-1).header('message-id'), `<${id}@example.org>`);
    await gone(server);
    assert.equal(sink.mails.length, taken + 1);
  });

  it('waits for one that hangs and sends others meanwhile', async () => {
    const taken = sink.mails.length;
    await sink.faults({ stage: 'end', reply: 'hang' });
    await test(server, 'ann@example.org');
    for (let n = 0; n < 20; n += 1) await test(server, `n${n}@example.org`);
    const all = (await sink.taken(taken + 20)).slice(taken);
    assert.equal(new Set(all.map((mail) => mail.header('message-id'))).size, 20);
    assert.equal((await until('one left', async () => { const left = await queue(server); return left.length === 1 && left; })).length, 1);
  });
});

describe('TLS to the mail server', () => {
  const certificates = path.join(temporaryDirectory('certificates'), 'ca.pem');
  before(() => writeFileSync(certificates, CERTIFICATE));

  /** Sends a mail to a server with these options; answers with what was taken, or why nothing was. */
  async function send({ scheme = 'smtp', who = '', query = '', trust = true, ...options }) {
    const sink = await SmtpSink.start(options);
    const server = await Server.start({
      args: ['--mail-smtp', `${scheme}://${who}127.0.0.1:${sink.port}${query}`, '--mail-from', 'a@example.org',
        ...(trust ? ['--mail-authorities', certificates] : [])],
    });
    await test(server, 'ann@example.org');
    const told = await until('a mail or an error', async () => {
      if (sink.mails.length) return sink.mails[0];
      return (await queue(server)).find((mail) => mail.attempts > 0)?.error;
    });
    await server.stop();
    await sink.stop();
    return told;
  }

  it('begins after the greeting, and a password goes over it', async () => {
    const mail = await send({ starttls: true, password: 'hush@', who: 'ann:hush%40@', query: '?tls=required' });
    assert.deepEqual([mail.encrypted, mail.name], [true, 'ann']);
  });

  it('begins with the connection', async () => {
    assert.equal((await send({ scheme: 'smtps', wrapped: true })).encrypted, true);
  });

  it('begins after the greeting if the server can, where that is enough', async () => {
    assert.equal((await send({ starttls: true, query: '?tls=opportunistic' })).encrypted, true);
    assert.equal((await send({ query: '?tls=opportunistic' })).encrypted, false);
  });

  it('keeps the mail back where it must be and is not, or where nobody vouches for the server', async () => {
    assert.match(await send({ query: '?tls=required' }), /STARTTLS is not supported/);
    assert.match(await send({ starttls: true, query: '?tls=required', trust: false }), /certificate/i);
    assert.match(await send({ scheme: 'smtps', wrapped: true, trust: false }), /certificate/i);
  });

  it('loses no mail over a wrong password', async () => {
    const told = await send({ starttls: true, password: 'right', who: 'ann:wrong@', query: '?tls=required' });
    assert.match(told, /signing in failed/);
    assert.ok(!told.includes('wrong'));
  });
});

describe('pages that links in mail lead to', () => {
  const TOKEN = 'nBH7lLwzgbNnvDOc_Xlqzn2tWm9vWc4rZzNq3WJtQ5M';
  const PAGES = ['verify', 'reset', 'link', 'invitation'];
  let server;
  let browser;
  before(async () => { server = await Server.start(); browser = await launchBrowser(); });
  after(async () => { await browser?.close(); await server.stop(); });

  it('are files with a strict policy, and asking for them is all that can be done', async () => {
    for (const page of [...PAGES, 'page.css', 'page.js']) {
      const answer = await server.request('GET', `/_auth/pages/${page}`, { as: null });
      assert.equal(answer.status, 200);
      assert.match(answer.headers['content-security-policy'], /^default-src 'none'; script-src 'self';/);
      assert.ok(!answer.headers['content-security-policy'].includes('unsafe'));
      assert.equal(answer.headers['referrer-policy'], 'no-referrer');
      assert.equal(answer.headers['x-content-type-options'], 'nosniff');
      assert.equal(answer.headers['x-frame-options'], 'DENY');
      assert.ok(!/https?:/.test(answer.text));
      const again = await server.request('GET', `/_auth/pages/${page}`, { as: null, headers: { 'if-none-match': answer.headers.etag } });
      assert.equal(again.status, 304);
      assert.equal((await server.request('POST', `/_auth/pages/${page}`, { as: null, body: {} })).status, 405);
      assert.equal((await server.request('GET', `/_auth/pages/${page}?token=x`, { as: null })).status, 400);
    }
    for (const page of ['', 'x', '..%2fpage.js', 'verify/x']) {
      assert.equal((await server.request('GET', `/_auth/pages/${page}`, { as: null })).status, 404, page);
    }
  });

  /** Opens a page, as somebody who reads `locale`, with a server behind it that answers as told. */
  async function open(page, { locale = 'en-GB', token = TOKEN, status = 200, json = { ok: true } } = {}) {
    const context = await browser.newContext({ locale });
    const tab = await context.newPage();
    const posted = [];
    const faults = [];
    tab.on('pageerror', (error) => faults.push(String(error)));
    tab.on('console', (message) => { if (/Content Security Policy/.test(message.text())) faults.push(message.text()); });
    await tab.route(/_auth\/(verifyEmail|reset|recover|link\/finish|csrf)$|_invitations\//, (route) => {
      const request = route.request();
      if (request.url().endsWith('/look')) return route.fulfill({ status: 200, json: { organisation_name: '<b>Müller', team_name: 'Design' } });
      if (request.method() === 'POST') {
        posted.push([new URL(request.url()).pathname, request.postDataJSON(), request.headers()['x-csrf-token']]);
        return route.fulfill({ status, json });
      }
      return route.fulfill({ status: 200, json: { csrf: 'of-the-cookie' } });
    });
    await tab.goto(`${server.origin}/_auth/pages/${page}#token=${token}&app=shop`);
    await tab.waitForFunction(() => document.title !== '…');
    return { tab, posted, faults, told: () => tab.textContent('#outcome'), close: () => context.close() };
  }
  const said = (tab) => tab.waitForFunction(() => document.querySelector('#outcome').textContent !== '');

  it('do what the mail says when the button is pressed, and nothing before', async () => {
    const routes = {
      verify: ['/_auth/verifyEmail', { token: TOKEN }, /confirmed/],
      reset: ['/_auth/reset', { token: TOKEN, password: 'correct horse' }, /password is set/],
      link: ['/_auth/link/finish', { token: TOKEN, face: 'cookie' }, /signed in/],
      invitation: ['/_invitations/accept', { token: TOKEN }, /accepted/],
    };
    for (const page of PAGES) {
      const { tab, posted, faults, told, close } = await open(page);
      assert.equal(tab.url(), `${server.origin}/_auth/pages/${page}`);
      assert.deepEqual(posted, []);
      if (page === 'reset') {
        await tab.click('#do');
        assert.deepEqual(posted, []);
        await tab.fill('#password', 'correct horse');
      }
      await tab.click('#do');
      await said(tab);
      const [route, body, words] = routes[page];
      assert.deepEqual(posted, [[route, body, 'of-the-cookie']]);
      assert.match(await told(), words);
      assert.equal(await tab.isVisible('#form'), false);
      assert.deepEqual(faults, []);
      await close();
    }
  });

  it('let an invitation be declined, and speak German', async () => {
    const { tab, posted, told, close } = await open('invitation', { locale: 'de-AT' });
    assert.equal(await tab.title(), 'Du bist eingeladen');
    await tab.waitForFunction(() => document.querySelector('#title').textContent === 'Du bist eingeladen zu <b>Müller, Team Design');
    assert.equal(await tab.getAttribute('html', 'lang'), 'de');
    await tab.click('#decline');
    await said(tab);
    assert.deepEqual(posted.map(([route, body]) => [route, body]), [['/_invitations/decline', { token: TOKEN }]]);
    assert.equal(await told(), 'Du hast die Einladung abgelehnt.');
    await close();
  });

  it('say what went wrong, and show nothing as HTML', async () => {
    for (const [page, status, json, words] of [
      ['verify', 410, {}, /used already/], ['verify', 404, {}, /used already/], ['invitation', 401, {}, /Sign in first/],
      ['verify', 429, {}, /too often/], ['verify', 409, { reason: '<img src=x>' }, /<img src=x>/], ['link', 200, { continuation: 'x' }, /second step/],
    ]) {
      const { tab, told, close } = await open(page, { status, json });
      await tab.click('#do');
      await said(tab);
      assert.match(await told(), words);
      assert.equal(await tab.locator('img').count(), 0);
      await close();
    }
    for (const token of ['', 'x', '%22%3E%3Cscript%3E']) {
      const { tab, told, close } = await open('verify', { token });
      assert.match(await told(), /incomplete/);
      assert.equal(await tab.isVisible('#form'), false);
      await close();
    }
  });

  it('ask for the address of who has forgotten his password, where there is no token yet', async () => {
    const { tab, posted, told, close } = await open('reset', { token: '', status: 202 });
    assert.equal(await tab.isVisible('#password'), false);
    await tab.fill('#address', 'ann@example.org');
    await tab.click('#do');
    await said(tab);
    assert.deepEqual(posted, [['/_auth/recover', { email: 'ann@example.org', app: 'shop' }, 'of-the-cookie']]);
    assert.match(await told(), /on its way/);
    await close();
  });

  /** Follows the newest link that was mailed to `to`, in a browser that may be signed in. */
  async function follow(context, to, kind, fill = () => {}) {
    const { items } = await ask(server, 'GET', '/_mail/captured');
    const mail = items.find((one) => one.to === to);
    assert.equal(mail.kind, kind);
    assert.ok(mail.links[0].startsWith(`${server.origin}/_auth/pages/`), mail.links[0]);
    const tab = await context.newPage();
    await tab.goto(mail.links[0]);
    await fill(tab);
    await tab.click('#do');
    await said(tab);
    const outcome = [await tab.getAttribute('#outcome', 'class'), await tab.textContent('#outcome')];
    await tab.close();
    return outcome;
  }

  it('verify an address, set a new password and sign in, by nothing but mail and a browser', async () => {
    const context = await browser.newContext({ locale: 'en-GB' });
    const to = 'ann@example.org';
    const sent = (route, body) => ask(server, 'POST', route, { body, status: 202, as: null });
    await sent('/_auth/signup', { name: 'ann', email: to, password: 'first password' });
    assert.deepEqual(await follow(context, to, 'verify_address'), ['good', 'Your address is confirmed. You can close this page.']);
    assert.match((await follow(context, to, 'verify_address'))[1], /used already/);
    await sent('/_auth/recover', { email: to });
    assert.equal((await follow(context, to, 'recover', (tab) => tab.fill('#password', 'second password')))[0], 'good');
    await server.request('GET', '/_session', { as: { name: 'ann', password: 'first password' } }).then(({ status }) => assert.equal(status, 401));
    await server.request('GET', '/_session', { as: { name: 'ann', password: 'second password' } }).then(({ status }) => assert.equal(status, 200));
    await sent('/_auth/signup', { name: 'ann2', email: to, password: 'third password' });
    assert.match((await follow(context, to, 'already_registered', (tab) => tab.fill('#address', to)))[1], /on its way/);
    await sent('/_auth/link/start', { email: to, kind: 'link' });
    assert.deepEqual(await follow(context, to, 'sign_in'), ['good', 'You are signed in with this browser.']);
    const tab = await context.newPage();
    await tab.goto(`${server.origin}/_auth/pages/verify`);
    assert.equal(await tab.evaluate(async () => (await (await fetch('/_auth/csrf')).json()).signed_in), true);
    await context.close();
  });

  it('accept an invitation, by whoever has signed in with this browser', async () => {
    const context = await browser.newContext({ locale: 'en-GB' });
    const post = async (route, body, status, bearer) => {
      const answer = await server.request('POST', route, { body, as: null, headers: bearer ? { authorization: `Bearer ${bearer}` } : {} });
      assert.equal(answer.status, status, `${route}: ${answer.text}`);
      return answer.json();
    };
    for (const name of ['carl', 'dora']) {
      await post('/_auth/signup', { name, email: `${name}@example.org`, password: `password of ${name}` }, 202);
      assert.equal((await follow(context, `${name}@example.org`, 'verify_address'))[0], 'good');
    }
    const { access_token: carl } = await post('/_auth/login', { email: 'carl@example.org', password: 'password of carl' }, 200);
    const { id: organisation } = await post('/_orgs', { name: 'Pilots' }, 201, carl);
    await post('/_invitations', { organisation, role: 'member', address: 'dora@example.org' }, 201, carl);
    const shown = async (tab) => { await tab.waitForFunction(() => document.querySelector('#title').textContent.includes('Pilots')); };
    assert.match((await follow(context, 'dora@example.org', 'invitation', shown))[1], /^Sign in first/);
    const invitation = (await ask(server, 'GET', '/_mail/captured')).items[0].links[0];
    await post('/_auth/link/start', { email: 'dora@example.org', kind: 'link' }, 202);
    assert.equal((await follow(context, 'dora@example.org', 'sign_in'))[0], 'good');
    const tab = await context.newPage();
    await tab.goto(invitation);
    await tab.click('#do');
    await said(tab);
    assert.equal(await tab.textContent('#outcome'), 'You have accepted the invitation.');
    await context.close();
  });
});
