// Shows the description of this server's routes. It reads /_openapi.json and nothing else, and puts
// what it read into the page as text only.
'use strict';

/** Makes an element; attributes whose value is undefined are left out. */
function make(name, attributes = {}, ...inside) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined) element.setAttribute(key, value);
  }
  element.append(...inside.filter((part) => part !== undefined && part !== ''));
  return element;
}

const byId = (id) => document.getElementById(id);

/** What a reference of the document leads to. */
function resolve(description, value) {
  if (!value || !value.$ref) return value;
  return value.$ref.replace(/^#\//, '').split('/').reduce((at, part) => at && at[part], description);
}

/** The bounds of a schema in words. */
function bounds(schema) {
  const words = [];
  const say = (key, text) => { if (schema[key] !== undefined) words.push(text(schema[key])); };
  say('enum', (all) => `one of ${all.map((one) => JSON.stringify(one)).join(', ')}`);
  say('format', (format) => format);
  say('minLength', (n) => `at least ${n} characters`);
  say('maxLength', (n) => `at most ${n} characters`);
  say('minimum', (n) => `at least ${n}`);
  say('maximum', (n) => `at most ${n}`);
  say('maxItems', (n) => `at most ${n} items`);
  say('pattern', (pattern) => pattern);
  say('default', (value) => `else ${JSON.stringify(value)}`);
  return words.join('; ');
}

/** The type of a schema in words. */
function typeName(description, schema) {
  if (!schema) return '';
  if (schema.$ref) return schema.$ref.split('/').pop();
  const several = schema.oneOf || schema.anyOf;
  if (several) return several.map((one) => typeName(description, one)).join(' or ');
  if (schema.type === 'array') return `list of ${typeName(description, schema.items) || 'anything'}`;
  return [].concat(schema.type || 'anything').join(' or ');
}

/** An example of what has this form. */
function example(description, given, depth = 0) {
  const schema = resolve(description, given) || {};
  if (schema.example !== undefined) return schema.example;
  if (Array.isArray(schema.examples)) return schema.examples[0];
  if (schema.const !== undefined) return schema.const;
  if (schema.default !== undefined) return schema.default;
  if (schema.enum) return schema.enum[0];
  const several = schema.oneOf || schema.anyOf;
  if (several) return example(description, several.find((one) => one.type !== 'null') || several[0], depth);
  const type = [].concat(schema.type || (schema.properties ? 'object' : 'any')).find((one) => one !== 'null');
  if (depth > 5) return null;
  switch (type) {
    case 'object': {
      const members = Object.entries(schema.properties || {});
      return Object.fromEntries(members.map(([name, one]) => [name, example(description, one, depth + 1)]));
    }
    case 'array': return [example(description, schema.items || {}, depth + 1)];
    case 'integer': case 'number': return schema.minimum || 0;
    case 'boolean': return true;
    case 'string': return '…';
    default: return {};
  }
}

function table(heads, rows) {
  const head = make('thead', {}, make('tr', {}, ...heads.map((text) => make('th', { scope: 'col' }, text))));
  const body = make('tbody', {}, ...rows.map((cells) => make('tr', {}, ...cells.map((cell) => make('td', {}, cell)))));
  return make('div', { class: 'scroll' }, make('table', {}, head, body));
}

/** The members of a schema, and an example of it. */
function form(description, given) {
  const parts = [];
  const schema = resolve(description, given) || {};
  if (schema.description) parts.push(make('p', {}, schema.description));
  const members = Object.entries(schema.properties || {});
  if (members.length > 0) {
    const required = new Set(schema.required || []);
    parts.push(table(['Member', 'Type', 'What'], members.map(([name, one]) => [
      make('code', {}, required.has(name) ? `${name} *` : name),
      typeName(description, one),
      make('span', {}, one.description || '', ' ', make('span', { class: 'bound' }, bounds(one))),
    ])));
  } else {
    parts.push(make('p', {}, typeName(description, given)));
  }
  parts.push(make('pre', { tabindex: '0' }, JSON.stringify(example(description, given), null, 2)));
  return parts;
}

function parameters(description, all) {
  return table(['Parameter', 'In', 'Type', 'What'], all.map((one) => [
    make('code', {}, one.required ? `${one.name} *` : one.name),
    one.in,
    typeName(description, one.schema),
    make('span', {}, one.description || '', ' ', make('span', { class: 'bound' }, bounds(one.schema || {}))),
  ]));
}

/** Who may call an operation, in words. */
function credentials(operation) {
  const ways = (operation.security || []).map((way) => Object.keys(way).join(' and '));
  const names = ways.filter((name) => name !== '');
  if (ways.length !== names.length) return 'Nobody has to sign in for this.';
  const who = operation['x-who'] === 'admin' ? 'For administrators of the server. ' : '';
  return `${who}Needs a credential: ${names.join(', ')}.`;
}

function within(description, operation) {
  const parts = [make('p', { class: 'bound' }, `${operation.operationId}. ${credentials(operation)}`)];
  if (operation.description) parts.push(make('p', {}, operation.description));
  if (operation.parameters) parts.push(make('h4', {}, 'Parameters'), parameters(description, operation.parameters));
  const body = operation.requestBody && operation.requestBody.content['application/json'];
  if (body) parts.push(make('h4', {}, 'Body'), ...form(description, body.schema));
  for (const [status, given] of Object.entries(operation.responses || {})) {
    const answer = resolve(description, given) || {};
    const content = Object.values(answer.content || {})[0];
    parts.push(make('h4', {}, `${status}  ${answer.description || ''}`));
    if (content && content.schema && Number(status) < 400) parts.push(...form(description, content.schema));
  }
  return parts;
}

function entry(description, path, method, operation) {
  const details = make('details', { id: operation.operationId },
    make('summary', {},
      make('span', { class: `method ${method}` }, method.toUpperCase()),
      make('code', { class: 'path' }, path),
      make('span', { class: 'what' }, operation.summary || '')));
  // What is inside is made when somebody looks.
  details.addEventListener('toggle', () => {
    if (details.open && details.children.length === 1) {
      details.append(make('div', { class: 'within' }, ...within(description, operation)));
    }
  });
  details.dataset.words = [path, method, operation.operationId, operation.summary, ...(operation.tags || [])].join(' ').toLowerCase();
  return details;
}

function show(description) {
  const groups = new Map((description.tags || []).map((tag) => [tag.name, { about: tag.description, entries: [] }]));
  for (const [path, item] of Object.entries(description.paths)) {
    for (const [method, operation] of Object.entries(item)) {
      const tag = (operation.tags || ['Others'])[0];
      if (!groups.has(tag)) groups.set(tag, { about: '', entries: [] });
      groups.get(tag).entries.push(entry(description, path, method, operation));
    }
  }
  const main = byId('routes');
  main.replaceChildren();
  for (const [name, group] of groups) {
    if (group.entries.length === 0) continue;
    const id = `group-${name.toLowerCase().replace(/[^a-z]+/g, '-')}`;
    main.append(make('section', { 'aria-labelledby': id },
      make('h2', { id, tabindex: '-1' }, name), make('p', { class: 'bound' }, group.about || ''), ...group.entries));
    byId('groups').append(make('a', { href: `#${id}` }, name));
  }
  byId('title').textContent = `${description.info.title}: routes`;
  byId('about').textContent = description.info.description || '';
  byId('version').textContent = `Version ${description.info.version}.`;
  byId('server').textContent = description.servers && description.servers[0] ? `Served at ${description.servers[0].url}.` : '';
}

/** Hides what does not have all words of the filter. */
function filter() {
  const words = byId('filter').value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const section of document.querySelectorAll('main section')) {
    let some = false;
    for (const details of section.querySelectorAll('details')) {
      const fits = words.every((word) => details.dataset.words.includes(word));
      details.hidden = !fits;
      some = some || fits;
      if (fits) shown += 1;
    }
    section.hidden = !some;
  }
  byId('count').textContent = `${shown} route${shown === 1 ? '' : 's'}`;
}

/** Opens the route that the address names. */
function openNamed() {
  const named = location.hash && byId(decodeURIComponent(location.hash.slice(1)));
  if (named && named.tagName === 'DETAILS') {
    named.open = true;
    named.scrollIntoView();
    named.querySelector('summary').focus();
  }
}

async function begin() {
  try {
    const answer = await fetch('/_openapi.json', { credentials: 'same-origin' });
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    show(await answer.json());
    filter();
    openNamed();
  } catch (error) {
    byId('routes').replaceChildren(make('p', { role: 'alert' }, `The description could not be read: ${error.message}`));
  }
}

byId('filter').addEventListener('input', filter);
window.addEventListener('hashchange', openNamed);
document.addEventListener('keydown', (event) => {
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName);
  if (event.key === '/' && !typing && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    byId('filter').focus();
  } else if (event.key === 'Escape' && document.activeElement === byId('filter')) {
    byId('filter').value = '';
    filter();
  }
});
begin();
