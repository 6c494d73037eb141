// Makes two recordings of the conformance probe comparable: what differs between any two runs of any server
// (random ids, clocks, sizes, opaque tokens) becomes a placeholder, what CouchDB leaves open (the order of
// changes across shards, the order of keys in an answer that is no document) is put in one order. Everything
// else is left as it is, so that a difference stays a difference.

const TOKENS = [
  // Sequences are opaque; only the leading integer is promised (PouchDB parses it).
  [/"(seq|last_seq|update_seq|purge_seq)":"\d+(-[^"]*)?"/g, '"$1":"SEQ"'],
  [/^id: "?\d+-[^"\n]*"?$/gm, 'id: SEQ'],
  [/"_local_seq":\d+/g, '"_local_seq":"SEQ"'],
  [/"instance_start_time":"\d+"/g, '"instance_start_time":"TIME"'],
  [/"sizes":\{"file":\d+,"external":\d+,"active":\d+\}/g, '"sizes":"SIZES"'],
  [/,"ref":\d+/g, ''],
  [/"uuid":"[0-9a-f]{32}"/g, '"uuid":"UUID"'],
  [/"version":"[^"]*"/g, '"version":"VERSION"'],
  [/"git_sha":"[^"]*"/g, '"git_sha":"SHA"'],
  [/Expires=[^;]*;/g, 'Expires=DATE;'],
  [/Max-Age=\d+/g, 'Max-Age=N'],
  [/"bookmark": "g1[^"]*"/g, '"bookmark": "BOOKMARK"'],
  [/"execution_time_ms":[\d.]+/g, '"execution_time_ms":"TIME"'],
  // Multipart boundaries are random; CouchDB puts two dashes into those of _bulk_get.
  [/--(?:--)?[0-9a-f]{32}/g, '--BOUNDARY'],
  [/boundary="(?:--)?[0-9a-f]{32}"/g, 'boundary="BOUNDARY"'],
];

function text(value) {
  return TOKENS.reduce((line, [pattern, replacement]) => line.replace(pattern, replacement), value);
}

function anything(value) {
  if (typeof value === 'string') return text(value);
  if (Array.isArray(value)) return value.map(anything);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value)
    .filter(([key]) => key !== 'transfer-encoding')
    .map(([key, inner]) => [key, key === 'seq' && typeof inner === 'string' ? 'SEQ' : anything(inner)]));
}

/** The same JSON with keys in alphabetical order, for answers that are objects and not documents. */
function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]));
}

const onBody = (change) => (answer) => {
  try {
    return { ...answer, b: change(JSON.parse(answer.b)) };
  } catch {
    return answer;
  }
};
const unorderedBody = onBody(sorted);

/** Rows of a feed without which row it is: two shards answered in their own order. */
const anyRow = (answer) => ({ ...answer, b: answer.b.replace(/"id":"[^"]*","changes":\[\{"rev":"[^"]*"\}\]/g, 'ROW'), ...('etag' in answer ? { etag: 'OPAQUE' } : {}) });
const asSet = (answer) => (Array.isArray(answer) ? [...answer].sort() : answer);
const revisionSets = onBody((body) => {
  for (const entry of Object.values(body.missing_revs ?? body)) if (entry?.possible_ancestors) entry.possible_ancestors.sort();
  return sorted(body);
});
const opaque = (...headers) => (answer) => Object.fromEntries(Object.entries(answer).map(([key, value]) => [key, headers.includes(key) ? 'OPAQUE' : value]));
/** A wait that was asked for half a second or more may take longer on a busy machine, never shorter. */
const waited = ([answer, ms]) => [answer, ms >= 500 && ms <= 5000 ? 'WAITED' : ms];

/** One document has a random id, which sorts before the row asked for or, less often, after it. */
const offsetOf = (most) => (answer) => ({ ...answer, b: answer.b.replace(`"offset":${most - 1},`, `"offset":${most},`) });

const SPECIAL = {
  root: (answer) => opaque('server', 'x-couch-request-id', 'x-couchdb-body-time')(unorderedBody(answer)),
  'auth malformed "Basic: x" scheme is anonymous not 401 on /': unorderedBody,
  'db info': unorderedBody,
  'HEAD db': opaque('content-length'),
  revs_diff: revisionSets,
  missing_revs: revisionSets,
  'local put/get/update/delete': (answers) => (Array.isArray(answers) ? answers.map(opaque('etag')) : answers),
  'all_docs row': offsetOf(11),
  'all_docs key deleted': offsetOf(13),
  'changes shape': anyRow,
  'changes continuous limit=2': anyRow,
  'changes eventsource': anyRow,
  'changes limit=0': (answer) => ({ ...answer, lastseq: String(answer.lastseq).replace(/^\d+-.*/, 'SEQ') }),
  'changes since=now longpoll timeout': (answer) => (Array.isArray(answer) ? waited(answer) : answer),
  'changes _selector': asSet,
  'changes _design': asSet,
  'changes _view': asSet,
  '_session get / delete': (answers) => (Array.isArray(answers) ? answers.map(unorderedBody) : answers),
  _dbs_info: (answer) => {
    const [status, ...rest] = String(answer).split(' ');
    try {
      // The probe has asked for a compaction a moment before: it may still be running.
      return [status, sorted(JSON.parse(rest.join(' ').replace('"compact_running":true', '"compact_running":false')))];
    } catch {
      return answer;
    }
  },
};

/** One probe's answer, ready to be compared with the same probe's answer from another server. */
export function normalise(name, answer) {
  const plain = anything(answer);
  try {
    return SPECIAL[name] ? SPECIAL[name](plain) : plain;
  } catch {
    // A special form met an answer of another shape (an error text, say): then it is different, and says so.
    return plain;
  }
}
