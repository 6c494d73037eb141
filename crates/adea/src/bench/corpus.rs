//! The documents that are written and read: made from a seed, so that every run and every server
//! gets the same.
//!
//! A body must be neither random bytes (nothing compresses) nor the same each time (everything
//! does): it mixes words from a vocabulary in which few are frequent, numbers, a date, a UUID and
//! coordinates, as records of real applications do. Ids are 32 random hexadecimal digits, as
//! `CouchDB` and `PouchDB` make them.

use std::io::Write;
use std::ops::Range;

/// The smallest body that still has all its fields.
pub(super) const BODY_BYTES_MIN: usize = 400;

const WORDS: &str = "the of and to in a is that for it with as was on be at by this had not are but from \
or have an they which one you were her all she there would their we him been has when who will more no \
if out so said what up its about into than them can only other new some could time these two may then do \
first any my now such like our over man me even most made after also did many before must through back \
years where much your way well down should because each just those people how too little state good very \
make world still own see men work long get here between both life being under never day same another know \
while last might us great old year off come since against go came right used take three meeting invoice \
customer delivery garden kitchen window morning river project account summer winter coffee ticket station \
letter number question answer market village mountain server harbour bicycle library museum theatre music \
painting photograph recipe journey passport luggage telephone computer keyboard battery charger sensor";

/// All documents of a run.
#[derive(Clone, Debug)]
pub(super) struct Corpus {
    seed: u64,
    body_bytes: usize,
    words: Vec<&'static str>,
}

impl Corpus {
    /// Documents whose bodies have `body_bytes` bytes of JSON, but never fewer than
    /// [`BODY_BYTES_MIN`].
    pub(super) fn new(seed: u64, body_bytes: usize) -> Self {
        Self {
            seed,
            body_bytes: body_bytes.max(BODY_BYTES_MIN),
            words: WORDS.split_whitespace().collect(),
        }
    }

    /// The bytes of each body.
    pub(super) fn body_bytes(&self) -> usize {
        self.body_bytes
    }

    /// The id of document `number`.
    pub(super) fn id(&self, number: usize) -> String {
        let mut chance = self.chance(number);
        format!("{:016x}{:016x}", chance.next(), chance.next())
    }

    /// Appends the body of document `number`, without an id.
    pub(super) fn body(&self, number: usize, out: &mut Vec<u8>) {
        let start = out.len();
        let mut chance = self.chance(number);
        // The first two numbers are the id's.
        chance.next();
        chance.next();
        self.fields(&mut chance, out);
        self.notes(&mut chance, out, start);
    }

    /// Appends the body of a `_bulk_docs` request with the documents of `range`.
    pub(super) fn bulk(&self, range: Range<usize>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"docs\":[");
        let mut body = Vec::with_capacity(self.body_bytes);
        for (place, number) in range.enumerate() {
            body.clear();
            self.body(number, &mut body);
            out.extend_from_slice(if place == 0 { b"{" } else { b",{" });
            put(out, format_args!("\"_id\":\"{}\",", self.id(number)));
            out.extend_from_slice(body.get(1..).unwrap_or_default());
        }
        out.extend_from_slice(b"]}");
    }

    fn chance(&self, number: usize) -> Chance {
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        Chance(Chance(self.seed).next() ^ Chance(number.wrapping_add(1)).next())
    }

    fn fields(&self, chance: &mut Chance, out: &mut Vec<u8>) {
        let kinds = ["task", "note", "contact", "event", "order"];
        let kind = kinds.get(chance.below(kinds.len())).unwrap_or(&"task");
        put(out, format_args!("{{\"type\":\"{kind}\",\"title\":\""));
        for place in 0..4 {
            let gap = if place == 0 { "" } else { " " };
            put(out, format_args!("{gap}{}", self.word(chance)));
        }
        put(
            out,
            format_args!(
                "\",\"done\":{},\"priority\":{},\"created\":\"2026-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z\"",
                chance.below(2) == 1,
                chance.below(5),
                chance.below(12) + 1,
                chance.below(28) + 1,
                chance.below(24),
                chance.below(60),
                chance.below(60),
                chance.below(1000),
            ),
        );
        let uuid = (chance.next(), chance.next());
        put(
            out,
            format_args!(
                ",\"owner\":\"{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}\"",
                uuid.0 >> 32,
                (uuid.0 >> 16) & 0xffff,
                uuid.0 & 0xfff,
                (uuid.1 >> 48) & 0xfff,
                uuid.1 & 0xffff_ffff_ffff,
            ),
        );
        put(
            out,
            format_args!(
                ",\"tags\":[\"{}\",\"{}\"],\"amount\":{}.{:02},\"position\":{{\"lat\":{}.{:05},\"lon\":{}.{:05}}}",
                self.word(chance),
                self.word(chance),
                chance.below(10_000),
                chance.below(100),
                chance.below(90),
                chance.below(100_000),
                chance.below(180),
                chance.below(100_000),
            ),
        );
    }

    /// Fills up with words to the exact size.
    fn notes(&self, chance: &mut Chance, out: &mut Vec<u8>, start: usize) {
        out.extend_from_slice(b",\"notes\":\"");
        let end = start.saturating_add(self.body_bytes).saturating_sub(2);
        while out.len() < end {
            put(out, format_args!("{} ", self.word(chance)));
        }
        out.truncate(end.max(start));
        out.extend_from_slice(b"\"}");
    }

    /// A word; the square of an even chance makes the first ones frequent.
    fn word(&self, chance: &mut Chance) -> &'static str {
        let count = self.words.len();
        let place = chance.below(count) * chance.below(count) / count.max(1);
        self.words.get(place).copied().unwrap_or("the")
    }
}

/// Writing to memory cannot fail.
fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    drop(out.write_fmt(text));
}

/// `SplitMix64`: enough for documents, and the same everywhere.
#[derive(Clone, Debug)]
pub(super) struct Chance(pub(super) u64);

impl Chance {
    /// The next number.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `limit`, or 0 if that is 0.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % limit).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn bodies_are_json_of_the_exact_size_and_all_different() {
        let corpus = Corpus::new(1, 510);
        let mut seen = HashSet::new();
        for number in 0..500 {
            let mut body = Vec::new();
            corpus.body(number, &mut body);
            assert_eq!(body.len(), 510);
            let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert!(value["notes"].as_str().unwrap().len() > 50);
            assert!(seen.insert(body));
        }
        let mut smallest = Vec::new();
        Corpus::new(1, 0).body(3, &mut smallest);
        assert_eq!(smallest.len(), BODY_BYTES_MIN);
    }

    #[test]
    fn the_same_seed_makes_the_same_documents() {
        let (a, b, c) = (
            Corpus::new(7, 510),
            Corpus::new(7, 510),
            Corpus::new(8, 510),
        );
        assert_eq!(a.id(5), b.id(5));
        assert_ne!(a.id(5), c.id(5));
        assert_ne!(a.id(5), a.id(6));
        assert_eq!(a.id(5).len(), 32);
        let (mut x, mut y) = (Vec::new(), Vec::new());
        a.bulk(3..9, &mut x);
        b.bulk(3..9, &mut y);
        assert_eq!(x, y);
    }

    #[test]
    fn a_bulk_request_holds_each_document_once() {
        let corpus = Corpus::new(1, 510);
        let mut out = Vec::new();
        corpus.bulk(10..20, &mut out);
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let docs = value["docs"].as_array().unwrap();
        assert_eq!(docs.len(), 10);
        assert_eq!(docs[3]["_id"], corpus.id(13).as_str());
    }
}
