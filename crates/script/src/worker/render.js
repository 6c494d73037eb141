// Shows, lists, updates and rewrites: content by what the caller accepts, text sent in pieces,
// and answers made whole, so that nobody after this has to know what a function may leave out.
(function (kept) {
  'use strict';
  const { apply, cut, describe, faultOf, hasOwn, inWords, isExhausted, isList } = kept;
  const { keysOf, stringify, text, CHUNK, wellFormed, host } = kept;

  // ---- Content types ----

  let typesByName = { __proto__: null };
  let nameByType = { __proto__: null };

  function registerType(name, ...types) {
    typesByName[name] = types;
    for (const type of types) nameByType[type] = name;
  }

  const DEFAULT_TYPES = [
    ['all', '*/*'],
    ['text', 'text/plain; charset=utf-8', 'txt'],
    ['html', 'text/html; charset=utf-8'],
    ['xhtml', 'application/xhtml+xml', 'xhtml'],
    ['xml', 'application/xml', 'text/xml', 'application/x-xml'],
    ['js', 'text/javascript', 'application/javascript', 'application/x-javascript'],
    ['css', 'text/css'],
    ['ics', 'text/calendar'],
    ['csv', 'text/csv'],
    ['rss', 'application/rss+xml'],
    ['atom', 'application/atom+xml'],
    ['yaml', 'application/x-yaml', 'text/yaml'],
    ['multipart_form', 'multipart/form-data'],
    ['url_encoded_form', 'application/x-www-form-urlencoded'],
    ['json', 'application/json', 'text/x-json'],
  ];

  // `text/html; q=0.5` in parts; the quality is 1 unless it is said well.
  function mediaRange(range) {
    const parts = range.split(';');
    const parameters = { __proto__: null };
    for (let at = 1; at < parts.length; at++) {
      const [name, value, more] = parts[at].split('=');
      if (value !== undefined && more === undefined) parameters[name.trim()] = value.trim();
    }
    const full = parts[0].trim();
    const [type, subtype] = (full === '*' ? '*/*' : full).split('/');
    const said = parseFloat(parameters.q);
    const quality = said >= 0 && said <= 1 ? said : 1;
    return { type, subtype, parameters, quality };
  }

  // How closely the best range names the type: [closeness, quality].
  function fit(type, ranges) {
    const wanted = mediaRange(type);
    let best = [-1, 0];
    for (const range of ranges) {
      const sameType = range.type === wanted.type;
      const sameSubtype = range.subtype === wanted.subtype;
      const types = sameType || range.type === '*' || wanted.type === '*';
      const subtypes = sameSubtype || range.subtype === '*' || wanted.subtype === '*';
      if (!types || !subtypes) continue;
      let closeness = (sameType ? 100 : 0) + (sameSubtype ? 10 : 0);
      for (const name in wanted.parameters) {
        if (name !== 'q' && range.parameters[name] === wanted.parameters[name]) closeness += 1;
      }
      if (closeness > best[0]) best = [closeness, range.quality];
    }
    return best;
  }

  // The type that fits best; of equals the last.
  function bestType(types, accept) {
    const ranges = cut(text(accept), 4096).split(',').map(mediaRange);
    let best = '';
    let most = [-2, 0];
    for (const type of types) {
      const [closeness, quality] = fit(type, ranges);
      if (closeness > most[0] || (closeness === most[0] && quality >= most[1])) {
        most = [closeness, quality];
        best = type;
      }
    }
    return most[1] > 0 ? best : '';
  }

  // ---- What is provided ----

  let offers = [];
  let contentType = null;

  function provides(name, make) {
    offers.push([name, make]);
  }

  function runProvided(req) {
    const headers = (req && req.headers) || {};
    const accept = headers.Accept || headers.accept;
    const format = req && req.query && req.query.format;
    let name;
    if (format) {
      name = text(format);
      contentType = typesByName[name] ? typesByName[name][0] : null;
    } else if (accept) {
      const types = [];
      for (let at = offers.length - 1; at >= 0; at--) {
        for (const type of typesByName[offers[at][0]] || []) types.push(type);
      }
      contentType = bestType(types, accept);
      name = nameByType[contentType];
    } else {
      name = offers[0][0];
      contentType = typesByName[name] ? typesByName[name][0] : null;
    }
    for (const [offered, make] of offers) {
      if (offered === name) return apply(make, kept.design(), []);
    }
    const supported = offers.map(([offered]) => (typesByName[offered] || [offered]).join(', '));
    const asked = 'Content-Type ' + (accept || name) + ' not supported, try one of: ';
    throw ['error', 'not_acceptable', asked + supported.join(', ')];
  }

  // ---- Text in pieces ----

  let streaming = false;
  let pending = '';
  let response = {};
  let sent = false;
  let batch = [];
  let next = 0;
  let ended = false;

  function reset(stream) {
    typesByName = { __proto__: null };
    nameByType = { __proto__: null };
    for (const type of DEFAULT_TYPES) registerType(...type);
    offers = [];
    contentType = null;
    streaming = stream;
    pending = '';
    response = {};
    sent = false;
    batch = [];
    next = 0;
    ended = false;
  }

  function start(answer) {
    response = answer || {};
  }

  function send(piece) {
    pending += text(piece);
    if (streaming && pending.length >= CHUNK) flush();
  }

  function begin() {
    if (sent) return;
    sent = true;
    const answer = whole(typed(response), 200);
    host.start(stringify({ code: answer.code, headers: answer.headers }));
  }

  function flush() {
    if (pending === '') return;
    begin();
    const piece = apply(wellFormed, pending, []);
    pending = '';
    host.chunk(piece);
  }

  function getRow() {
    if (!streaming || ended) return null;
    if (next >= batch.length) {
      flush();
      batch = host.rows();
      next = 0;
      if (batch.length === 0) {
        ended = true;
        return null;
      }
    }
    const row = batch[next];
    batch[next] = undefined;
    next += 1;
    return row;
  }

  // ---- Answers ----

  const wrapped = (answer) => (typeof answer === 'string' ? { body: answer } : answer);

  // The type that `provides` chose, unless the function says another.
  function typed(answer) {
    const headers = answer.headers || {};
    if (contentType && !headers['Content-Type']) headers['Content-Type'] = contentType;
    answer.headers = headers;
    return answer;
  }

  // With a content type, header values as text, and the code if one is given.
  function whole(answer, code) {
    const result = {};
    let type = 'application/json';
    let given = {};
    if (code !== undefined) result.code = code;
    for (const key of keysOf(answer)) {
      const value = answer[key];
      if (value === undefined || key === '' || key === 'stop') continue;
      if (key === 'code') {
        result.code = value;
      } else if (key === 'json') {
        result.json = value;
        type = 'application/json';
      } else if (key === 'body') {
        result.body = apply(wellFormed, inWords(value), []);
        type = 'text/html; charset=utf-8';
      } else if (key === 'base64') {
        result.base64 = text(value);
        type = 'application/binary';
      } else if (key === 'headers') {
        given = value || {};
      } else {
        const shown = '{' + stringify(key) + ',' + cut(text(stringify(value)), 200) + '}';
        throw ['error', 'external_response_error', 'Invalid data from external server: ' + shown];
      }
    }
    const names = keysOf(given);
    result.headers = {};
    if (!names.some((name) => name.toLowerCase() === 'content-type')) {
      result.headers['Content-Type'] = type;
    }
    for (const name of names) result.headers[name] = inWords(given[name]);
    return result;
  }

  const isAnswer = (answer) => typeof answer === 'object' && answer !== null && !isList(answer);

  function show(args) {
    let answer = wrapped(apply(kept.chosen(), kept.design(), args) || {});
    if (pending !== '') {
      const headers = (isAnswer(response) && response.headers) || {};
      answer.headers = Object.assign({}, headers, answer.headers);
      if (answer.code === undefined && response.code !== undefined) answer.code = response.code;
      answer.body = pending + (answer.body || '');
      pending = '';
    }
    if (offers.length > 0) {
      const provided = wrapped(runProvided(args[1]) || {});
      answer.body = (answer.body || '') + pending + (provided.body || '');
      pending = '';
      for (const key of keysOf(provided)) {
        if (key !== 'body' && answer[key] === undefined) answer[key] = provided[key];
      }
      answer = typed(answer);
    }
    if (!isAnswer(answer)) {
      throw ['error', 'render_error', 'undefined response from show function'];
    }
    return whole(answer, 200);
  }

  function update(args) {
    if (args[1] && args[1].method === 'GET') {
      throw ['error', 'method_not_allowed', 'Update functions do not allow GET'];
    }
    const result = apply(kept.chosen(), kept.design(), args);
    const document = result[0];
    const answer = wrapped(result[1]);
    if (!isAnswer(answer)) {
      throw ['error', 'render_error', 'undefined response from update function'];
    }
    return [document === undefined ? null : document, whole(answer)];
  }

  function rewrite(args) {
    let result;
    try {
      result = apply(kept.chosen(), kept.design(), args);
    } catch (error) {
      for (const word of ['forbidden', 'unauthorized']) {
        if (typeof error === 'object' && error !== null && hasOwn(error, word)) {
          throw ['error', word, inWords(error[word])];
        }
      }
      throw error;
    }
    if (!result) return null;
    return typeof result === 'string' ? { path: result, method: args[0].method } : result;
  }

  // What a rendering function threw: its own error, or a `render_error` in words.
  function renderFault(error) {
    if (isExhausted(error)) return 'M';
    try {
      const own = (error.error && error.reason) || error[0] === 'error' || error[0] === 'fatal';
      if (own) return faultOf(error);
      const stack = cut(text(error.stack), 1000);
      const words = 'function raised error: ' + describe(error) + ' \nstacktrace: ' + stack;
      return faultOf(['error', 'render_error', words]);
    } catch (_) {
      return faultOf(['error', 'render_error', 'function raised error: ' + describe(error)]);
    }
  }

  function call(kind, args) {
    try {
      reset(false);
      let result;
      if (kind === 'shows') result = show(args);
      else if (kind === 'updates') result = update(args);
      else if (kind === 'rewrites') result = rewrite(args);
      else result = apply(kept.chosen(), kept.design(), args);
      const line = stringify(result);
      return line === undefined ? 'null' : line;
    } catch (error) {
      const info = args[1];
      const missing = kind === 'shows' && args[0] === null && info && info.path;
      if (missing && info.path.length > 5 && !isExhausted(error)) {
        return faultOf(['error', 'not_found', 'document not found']);
      }
      return renderFault(error);
    }
  }

  // An empty text at the end, or a fault.
  function list(args) {
    try {
      reset(true);
      let tail = apply(kept.chosen(), kept.design(), args);
      if (offers.length > 0) tail = runProvided(args[1]);
      if (tail !== undefined) pending += text(tail);
      flush();
      begin();
      return '';
    } catch (error) {
      return renderFault(error);
    }
  }

  return { provides, registerType, start, send, getRow, call, list };
})
