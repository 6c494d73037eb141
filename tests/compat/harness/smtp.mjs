// A mail server of its own process for tests: takes mail over SMTP, with STARTTLS, TLS and a password
// where asked to, and goes wrong as it is told. What it takes is handed to the test, parsed.
//
// The parent (SmtpSink) forks this file; the child serves. Faults are a list that each connection
// looks through: the first one of its stage is used up. Stages: connect, ehlo, auth, mail, rcpt, data
// (before the mail's text), body (during it), end (after it). A fault is a reply ("451 …"), "hang"
// (no answer at all), "drop" (the connection is cut), or "lose" (the mail is taken, and the connection
// cut before that is said).

import { fork } from 'node:child_process';
import net from 'node:net';
import tls from 'node:tls';
import { fileURLToPath } from 'node:url';
import { within } from './server.mjs';

// A certificate for 127.0.0.1 and localhost that nobody but these tests believes, with its key.
const KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgf1MdQOl9cN2dmqNI
rwE5dDKROmjZcQp8OlrfAcVvKKShRANCAASm1H53lgzcWe7IV35udLA5hf2/B7qj
ysDTapCKcMjvwdilfh3O8CoIxf3BWA6pF4ft0UMc6hloyGNOZk6c0Pbc
-----END PRIVATE KEY-----`;
export const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBZTCCAQqgAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlhZGVhIHRl
c3QwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CWFkZWEgdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABKbUfneWDNxZ7shX
fm50sDmF/b8HuqPKwNNqkIpwyO/B2KV+Hc7wKgjF/cFYDqkXh+3RQxzqGWjIY05m
TpzQ9tyjSzBJMBoGA1UdEQQTMBGHBH8AAAGCCWxvY2FsaG9zdDAMBgNVHRMBAf8E
AjAAMB0GA1UdDgQWBBQDClKr7pNftv3I2U1r9p5rm9fLIjAKBggqhkjOPQQDAgNJ
ADBGAiEA7mYwEPjdRTJP+PrQB4DqnZb5X8P2A4c/jRuFu2SeYqgCIQDg9b5Qbaq9
+xSAlGiy/N5Ir1EuexhJCJQJQR6Ulr7nKg==
-----END CERTIFICATE-----\n`;

export class SmtpSink {
  #child;
  #waiting = [];
  #answers = [];
  /** All mails that were taken, in their order. */
  mails = [];

  static async start(options = {}) {
    const sink = new SmtpSink();
    sink.#child = fork(fileURLToPath(import.meta.url), ['sink', JSON.stringify(options)]);
    process.once('exit', () => sink.#child.kill('SIGKILL'));
    sink.#child.on('message', (message) => {
      if (message.mail) { sink.mails.push(parse(message.mail)); sink.#wake(); }
      else sink.#answers.shift()?.(message);
    });
    sink.port = (await sink.#ask({ listen: options.port ?? 0 })).port;
    return sink;
  }

  #ask(message) {
    const answered = new Promise((resolve) => { this.#answers.push(resolve); });
    this.#child.send(message);
    return within(answered, 'an answer of the mail server');
  }

  #wake() {
    this.#waiting = this.#waiting.filter(({ count, resolve }) => this.mails.length < count || resolve());
  }

  /** Waits until `count` mails were taken since the start. */
  async taken(count, ms) {
    const there = new Promise((resolve) => { this.#waiting.push({ count, resolve }); });
    this.#wake();
    await within(there, `${count} mails, and not ${this.mails.length}`, ms);
    return this.mails;
  }

  /** From now on goes wrong like this, once each: [{ stage, reply }]. */
  faults(...faults) { return this.#ask({ faults }); }

  /** Waits until a fault of this stage has happened that was not waited for yet. */
  async happened() { return (await this.#ask({ happened: true })).fault; }

  /** How many connections there were, and how many mails began. */
  counts() { return this.#ask({ counts: true }); }

  stop() {
    const gone = new Promise((resolve) => { this.#child.once('exit', resolve); });
    this.#child.kill('SIGKILL');
    return gone;
  }
}

/** Headers (unfolded, in their order) and parts of a mail. */
function parse(mail) {
  const [head, body] = cut(mail.data);
  const headers = fields(head);
  const boundary = /boundary="([^"]+)"/.exec(value(headers, 'content-type') ?? '')?.[1];
  const parts = boundary === undefined ? [] : body.split(`--${boundary}`).slice(1, -1).map((part) => {
    const [partHead, text] = cut(part.replace(/^\r\n/, ''));
    const own = fields(partHead);
    const type = value(own, 'content-type').split(';')[0];
    return { type, text: decode(text.replace(/\r\n$/, ''), value(own, 'content-transfer-encoding')) };
  });
  return { ...mail, headers, header: (name) => value(headers, name), parts };
}
function cut(text) {
  const end = text.indexOf('\r\n\r\n');
  return [text.slice(0, end), text.slice(end + 4)];
}
const fields = (head) => head.replace(/\r\n[ \t]+/g, ' ').split('\r\n').map((line) => {
  const colon = line.indexOf(':');
  return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
});
const value = (headers, name) => headers.find(([known]) => known === name)?.[1];
function decode(text, encoding = '7bit') {
  if (encoding === 'base64') return Buffer.from(text, 'base64').toString('utf8');
  if (encoding !== 'quoted-printable') return text;
  const bytes = text.replace(/=\r\n/g, '').replace(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
  return Buffer.from(bytes, 'latin1').toString('utf8');
}

/** The child: serves until it is killed. */
function serve(options) {
  const secure = { key: KEY, cert: CERTIFICATE };
  let faults = [];
  const happened = [];
  const listeners = [];
  const counts = { connections: 0, mails: 0 };

  const fault = (stage) => {
    const found = faults.findIndex((known) => known.stage === stage);
    if (found < 0) return undefined;
    const [{ reply }] = faults.splice(found, 1);
    happened.push(stage);
    while (listeners.length && happened.length) listeners.shift()(happened.shift());
    return reply;
  };

  function speak(socket, state) {
    const say = (line) => { if (!socket.destroyed) socket.write(`${line}\r\n`); };
    /** Says `line` unless something is to go wrong here; whether all is well. */
    const step = (stage, line) => {
      const reply = fault(stage);
      if (reply === undefined) { if (line) say(line); return true; }
      if (reply === 'drop') socket.destroy();
      else if (reply !== 'hang') say(reply);
      return false;
    };
    let mail = null;
    let buffer = '';
    socket.setEncoding('latin1');
    socket.on('error', () => {});
    const command = (line) => {
      const verb = line.split(' ')[0].toUpperCase();
      if (verb === 'EHLO') {
        const able = ['sink', '8BITMIME', 'SMTPUTF8'];
        if (options.starttls && !state.encrypted) able.push('STARTTLS');
        if (options.password) able.push('AUTH PLAIN');
        step('ehlo', able.map((word, n) => `250${n + 1 < able.length ? '-' : ' '}${word}`).join('\r\n'));
      } else if (verb === 'STARTTLS' && options.starttls) {
        say('220 go on');
        socket.removeAllListeners('data');
        const wrapped = new tls.TLSSocket(socket, { isServer: true, ...secure });
        speak(wrapped, { ...state, encrypted: true });
      } else if (verb === 'AUTH') {
        const [, name, password] = Buffer.from(line.split(' ')[2] ?? '', 'base64').toString().split('\0');
        state.signedIn = password === options.password;
        state.name = name;
        step('auth', state.signedIn ? '235 welcome' : '535 5.7.8 no');
      } else if (options.password && !state.signedIn && verb !== 'QUIT') {
        say('530 5.7.0 sign in first');
      } else if (verb === 'MAIL') {
        counts.mails += 1;
        mail = { from: /<([^>]*)>/.exec(line)[1], to: [], data: null, encrypted: Boolean(state.encrypted), name: state.name };
        step('mail', '250 ok');
      } else if (verb === 'RCPT') {
        if (step('rcpt', '250 ok')) mail.to.push(/<([^>]*)>/.exec(line)[1]);
      } else if (verb === 'DATA') {
        if (step('data', '354 go on')) mail.data = '';
      } else if (verb === 'QUIT') {
        say('221 bye');
        socket.end();
      } else say(verb === 'RSET' || verb === 'NOOP' ? '250 ok' : '502 what?');
    };
    const text = (line) => {
      if (mail.data === '' && line !== '.') step('body', null);
      if (line !== '.') { mail.data += `${line.startsWith('.') ? line.slice(1) : line}\r\n`; return; }
      const taken = mail;
      mail = null;
      const lost = faults.some(({ stage, reply }) => stage === 'end' && reply === 'lose');
      if (lost) { fault('end'); process.send({ mail: taken }); socket.destroy(); return; }
      if (step('end', null)) { process.send({ mail: taken }); say('250 taken'); }
    };
    socket.on('data', (chunk) => {
      buffer += chunk;
      for (let end = buffer.indexOf('\r\n'); end >= 0 && !socket.destroyed; end = buffer.indexOf('\r\n')) {
        const line = buffer.slice(0, end);
        buffer = buffer.slice(end + 2);
        if (mail?.data !== null && mail !== null) text(line); else command(line);
      }
    });
    if (!state.encrypted || options.wrapped) { if (!state.greeted) { state.greeted = true; step('connect', '220 sink'); } }
  }

  const connected = (socket) => { counts.connections += 1; speak(socket, { encrypted: Boolean(options.wrapped) }); };
  const server = options.wrapped ? tls.createServer(secure, connected) : net.createServer(connected);
  process.on('message', (message) => {
    if (message.listen !== undefined) server.listen(message.listen, '127.0.0.1', () => process.send({ port: server.address().port }));
    else if (message.faults) { faults = message.faults; process.send({ ok: true }); }
    else if (message.counts) process.send({ ...counts });
    else if (message.happened) {
      const told = (stage) => process.send({ fault: stage });
      if (happened.length) told(happened.shift()); else listeners.push(told);
    }
  });
  process.on('disconnect', () => process.exit());
}

if (process.argv[2] === 'sink' && process.send) serve(JSON.parse(process.argv[3]));
