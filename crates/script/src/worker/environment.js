// What design functions see, and the door through which the worker calls them.
//
// One realm holds one program. What the worker needs of the language is kept in constants before
// foreign code runs, so that a function which changes a built-in harms its own program alone.
// Every entry of the door answers with lines of text and never throws: JSON, or `!` and the JSON
// of [error, reason], or `F` and the same for what ends the whole call, or `M` for no memory left.
(function (host) {
  'use strict';
  const { parse, stringify } = JSON;
  const { freeze, keys: keysOf, hasOwn, prototype: objects } = Object;
  const { isArray: isList } = Array;
  const { apply } = Reflect;
  const text = String;
  const evaluate = eval; // Called by another name it runs global, sloppy code.
  const EngineError = InternalError;
  const Probe = Uint8Array;
  const wellFormed = text.prototype.toWellFormed;
  const tag = objects.toString;
  const TEXT_MAX = 2000;
  const SOURCE_MAX = 4000;
  const CHUNK = 32768;

  const cut = (string, most) => (string.length > most ? string.slice(0, most) + '…' : string);

  // An error in words; whatever was thrown, this gives a text.
  function describe(error) {
    try {
      if (typeof error !== 'object' || error === null) return cut(text(error), TEXT_MAX);
      if (error.name && error.message !== undefined) {
        return cut(text(error.name) + ': ' + text(error.message), TEXT_MAX);
      }
      return cut(text(stringify(error)), TEXT_MAX);
    } catch (_) {
      return 'an error that cannot be described';
    }
  }

  // Without memory for an error the engine throws null; but so may a function.
  function isExhausted(error) {
    if (error !== null) return error instanceof EngineError && error.message === 'out of memory';
    try {
      return new Probe(65536).length === 0;
    } catch (_) {
      return true;
    }
  }

  const fault = (mark, error, reason) =>
    mark + stringify([cut(text(error), 200), cut(text(reason), TEXT_MAX + SOURCE_MAX)]);

  // A thrown value as CouchDB's error word and sentence.
  function faultOf(thrown) {
    if (isExhausted(thrown)) return 'M';
    try {
      if (isList(thrown) && (thrown[0] === 'error' || thrown[0] === 'fatal')) {
        return fault('!', thrown[1], thrown[2]);
      }
      if (typeof thrown === 'object' && thrown !== null) {
        if (thrown.error && thrown.reason) return fault('!', thrown.error, thrown.reason);
        if (thrown.name) return fault('!', thrown.name, text(thrown.message));
      }
      return fault('!', 'unnamed_error', describe(thrown));
    } catch (_) {
      return fault('!', 'unnamed_error', describe(thrown));
    }
  }

  // ---- What functions may call ----

  let rows = [];
  let filtering = false;
  let emitted = false;

  function emit(key, value) {
    if (filtering) emitted = true;
    else rows.push(key, value);
  }

  function sum(values) {
    let total = 0;
    if (isList(values)) {
      for (let at = 0; at < values.length; at++) total += values[at];
    } else {
      for (const name in values) total += values[name];
    }
    return total;
  }

  function log(message) {
    const line = typeof message === 'string' ? message : stringify(message);
    host.log(apply(wellFormed, cut(text(line), TEXT_MAX), []));
  }

  const isArray = (value) => apply(tag, value, []) === '[object Array]';

  // ---- Modules ----

  // The place a path names, from a module's folder or from the root.
  function resolve(path, folder, root) {
    const names = text(path).split('/');
    const relative = names[0] === '.' || names[0] === '..';
    let place = relative ? folder : { current: root, parent: undefined, id: undefined };
    for (let at = 0; at < names.length; at++) {
      const name = names[at];
      if (name === '.' || name === '..') {
        const up = name === '.' ? place : place && place.parent;
        if (!up || !up.parent) {
          const shown = cut(text(stringify(place && place.current)), 200);
          throw ['error', 'invalid_require_path', 'Object has no parent ' + shown];
        }
        place = up;
        continue;
      }
      const within = place.current;
      if (typeof within !== 'object' || within === null || !hasOwn(within, name)) {
        const shown = cut(text(stringify(within)), 200);
        throw ['error', 'invalid_require_path', 'Object has no property "' + name + '". ' + shown];
      }
      place = {
        current: within[name],
        parent: place,
        id: place.id === undefined ? name : place.id + '/' + name,
      };
    }
    if (typeof place.current !== 'string') {
      const kind = typeof place.current;
      throw ['error', 'invalid_require_path', 'Must require a JavaScript string, not: ' + kind];
    }
    return place;
  }

  function requireFrom(root) {
    const loaded = { __proto__: null };
    const from = (folder) => (path) => {
      const place = resolve(path, folder, root);
      if (loaded[place.id]) return loaded[place.id].exports;
      const module = {
        current: place.current, parent: place.parent, id: place.id, exports: {},
      };
      loaded[place.id] = module;
      try {
        const run = evaluate('(function (module, exports, require) { ' + place.current + '\n })');
        apply(run, undefined, [module, module.exports, from(place.parent)]);
      } catch (error) {
        delete loaded[place.id];
        if (isExhausted(error)) throw error;
        const reason = "Module require('" + path + "') raised error " + describe(error);
        throw ['error', 'compilation_error', reason];
      }
      return module.exports;
    };
    return from(undefined);
  }

  // ---- Compiling ----

  // A function's source is an expression with anything around it that an expression statement
  // may have: comments, parentheses, semicolons. Else it may be a script that ends in one.
  function compile(source) {
    if (typeof source !== 'string' || source === '') {
      throw ['error', 'not_found', 'missing function'];
    }
    let value;
    try {
      value = evaluate('0,' + source);
    } catch (error) {
      if (isExhausted(error)) throw error;
      try {
        value = evaluate(source);
      } catch (_) {
        const shown = ' (' + cut(source, SOURCE_MAX) + ')';
        throw ['error', 'compilation_error', describe(error) + shown];
      }
    }
    if (typeof value !== 'function') {
      const shown = ' (' + cut(source, SOURCE_MAX) + ')';
      throw ['error', 'compilation_error', 'Expression does not eval to a function.' + shown];
    }
    return value;
  }

  let functions = [];
  let sizes = [];
  // Some function may change a document. As in CouchDB it cannot: its documents are frozen, which
  // costs as much as parsing them and is left out where nobody could tell.
  let changing = true;

  // Compiles all; an empty text, or the fault of the first that fails and its number before it.
  function load(library, sources) {
    functions = [];
    sizes = [];
    let at = 0;
    try {
      const lib = library === undefined ? {} : parse(library);
      globalThis.require = requireFrom({ views: { lib } });
      for (; at < sources.length; at++) {
        functions.push(compile(sources[at]));
        sizes.push(sources[at].length);
      }
      changing = sources.some((source) => apply(searched, CHANGE, [source]));
      return '';
    } catch (error) {
      return at + faultOf(error);
    }
  }

  // ---- Views ----

  // What the text of a function has if it may change an object: an assignment to a member, a
  // method that changes its array, something that reaches code from elsewhere. It is searched in
  // comments and strings too: to find too much costs time only.
  const CHANGE = new RegExp([
    /(?:[\])}]|\.\s*[\w$]+)\s*(?:[-+*\/%&|^]|<<|>>>?|\*\*|&&|\|\||\?\?)?=(?![=>])/.source,
    /(?:[\])]|\.\s*[\w$]+)\s*(?:\+\+|--)|(?:\+\+|--)\s*(?:\(|[\w$]+\s*[.[])/.source,
    /\bfor\s*\(\s*(?!var\b|let\b|const\b|;)|\/\*|`|\\u|\]\s*\(/.source,
    /\b(?:delete|eval|Function|constructor|require|with|this|globalThis|arguments|Proxy)\b/.source,
    /\b(?:prototype|__proto__|call|apply|bind|Reflect|assign|define\w*|set\w*|isFrozen)\b/.source,
    /\b(?:freeze|seal|preventExtensions|isSealed|isExtensible|__define\w+)\b/.source,
    /\b(?:push|pop|shift|unshift|splice|sort|reverse|fill|copyWithin)\b/.source,
  ].join('|'));
  const searched = CHANGE.test;

  // Nested objects too, so that one function's changes are not seen by the next.
  function seal(value) {
    freeze(value);
    for (const key in value) {
      const inner = value[key];
      if (typeof inner === 'object' && inner !== null) seal(inner);
    }
  }

  // What a map or reduce function threw. It ends the call if it asks to.
  function viewFault(error) {
    if (error === 'fatal_error') {
      return fault('F', 'map_runtime_error', "function raised 'fatal_error'");
    }
    if (isExhausted(error)) return 'M';
    try {
      if (isList(error) && error[0] === 'fatal') return fault('F', error[1], error[2]);
    } catch (_) {
      // Then it is an error like others.
    }
    return fault('!', 'function raised exception', describe(error));
  }

  let lines = '';
  let at = 0;

  // A line for each function from number `from` to before `to`; an `M` at the very end says that
  // the next found no memory.
  function map(document, from, to) {
    lines = '';
    let sealed = !changing;
    for (at = from; at < to; at++) {
      let line;
      rows = [];
      try {
        if (!sealed) {
          seal(document);
          sealed = true;
        }
        const mapped = functions[at];
        mapped(document);
        line = stringify(rows);
      } catch (error) {
        line = viewFault(error);
        if (line === 'M') return lines + line;
      }
      lines += line + '\n';
    }
    return lines;
  }

  // Where `map` was stopped: its lines so far; the function at work has none.
  const stopped = () => lines;

  function reduce(call) {
    const number = call[0];
    let line;
    try {
      const reduced = functions[number];
      if (reduced === undefined) return fault('!', 'not_found', 'missing function');
      line = stringify([reduced(call[1], call[2], call[1] === null)]);
    } catch (error) {
      line = viewFault(error);
      if (line[0] !== '!') return line;
      log(describe(error));
      return 'null';
    }
    const asked = call[3] + sizes[number];
    if (line.length > 200 && line.length * 2 > asked) {
      const shown = "Current output: '" + line.slice(0, 100) +
        "'... (first 100 of " + line.length + ' bytes)';
      return fault('!', 'reduce_overflow_error', 'Reduce output must shrink more rapidly: ' + shown);
    }
    return line.slice(1, -1);
  }

  // ---- Design documents ----

  let design = {};
  let compiled = { __proto__: null };

  function loadDesign(document) {
    try {
      design = parse(document);
      compiled = { __proto__: null };
      globalThis.require = requireFrom(design);
      return '';
    } catch (error) {
      return '0' + faultOf(error);
    }
  }

  // The function at a path; an empty text once it is compiled, else a fault.
  let chosen = null;

  function choose(path) {
    try {
      const key = stringify(path);
      if (compiled[key] === undefined) {
        let place = design;
        for (const name of path) {
          const inside = typeof place === 'object' && place !== null && hasOwn(place, name);
          place = inside ? place[name] : undefined;
        }
        if (!place) {
          const which = path[0] + ' function ' + path[path.length - 1];
          const on = ' on design doc ' + text(design._id);
          throw ['error', 'not_found', 'missing ' + which + on];
        }
        if (typeof place !== 'string') {
          const shown = 'Expression does not eval to a function. (' + describe(place) + ')';
          throw ['error', 'compilation_error', shown];
        }
        compiled[key] = compile(place);
      }
      chosen = compiled[key];
      return '';
    } catch (error) {
      return faultOf(error);
    }
  }

  const inWords = (message) => (typeof message === 'string' ? message : text(stringify(message)));

  function validate(call) {
    try {
      apply(chosen, design, call);
      return '["accepted"]';
    } catch (error) {
      if (isExhausted(error)) return 'M';
      try {
        if (typeof error === 'object' && error !== null && !(error.name && error.stack)) {
          for (const word of ['forbidden', 'unauthorized']) {
            if (hasOwn(error, word)) {
              return stringify([word, cut(inWords(error[word]), TEXT_MAX)]);
            }
          }
          if (!isList(error) && !(error.error && error.reason)) {
            const [first] = keysOf(error);
            const reason = first === undefined ? '' : inWords(error[first]);
            return fault('!', 'unknown_error', reason);
          }
        } else if (typeof error !== 'object' || error === null) {
          return fault('!', 'unknown_error', inWords(error));
        }
      } catch (_) {
        // A value that cannot be looked at is an error like others.
      }
      return faultOf(error);
    }
  }

  let request = null;

  function filter(document) {
    try {
      return apply(chosen, design, [document, request]) ? 'true' : 'false';
    } catch (error) {
      return faultOf(error);
    }
  }

  function viewFilter(document) {
    filtering = true;
    emitted = false;
    try {
      apply(chosen, design, [document]);
    } catch (error) {
      if (isExhausted(error)) return 'M';
      log('function raised exception ' + describe(error));
      return 'false';
    } finally {
      filtering = false;
    }
    return emitted ? 'true' : 'false';
  }

  // ---- Functions that answer with a value ----

  function answer(called) {
    try {
      const line = stringify(apply(chosen, design, called));
      return line === undefined ? 'null' : line;
    } catch (error) {
      return faultOf(error);
    }
  }

  // ---- Shows, lists, updates, rewrites ----

  const render = host.render({
    apply, cut, describe, faultOf, hasOwn, inWords, isExhausted, isList, keysOf, stringify, text,
    CHUNK, wellFormed, host,
    design: () => design,
    chosen: () => chosen,
  });

  for (const [name, value] of [
    ['emit', emit], ['sum', sum], ['log', log], ['isArray', isArray],
    ['toJSON', (value) => stringify(value)],
    ['provides', render.provides], ['registerType', render.registerType],
    ['start', render.start], ['send', render.send], ['getRow', render.getRow],
  ]) {
    globalThis[name] = value;
  }

  return {
    load, loadDesign, choose,
    setRequest: (value) => { request = value; },
    map, stopped, reduce, validate, filter, viewFilter, answer,
    call: render.call, list: render.list,
  };
})
