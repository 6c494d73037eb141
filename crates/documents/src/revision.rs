//! The name of one version of a document: a generation and an id, written `3-abc`.
//!
//! The id of an edit made here is the MD5 of its content and its parent, computed as `CouchDB` does,
//! so that the same edit made twice, here and there, is one revision and no conflict. Ids that come
//! from elsewhere (`PouchDB` computes its own) are kept as they are.
//!
//! Invariant: two ids that print the same are equal. The printed form may stand between the quotes
//! of a JSON string or of a header as it is.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use md5::{Digest as _, Md5};

use crate::json::term;

/// Generations stay below this, so that clients can count in floats.
pub(crate) const GENERATION_END: u64 = 1 << 53;

/// The most bytes an id may have.
const ID_BYTES_MAX: usize = 256;

/// The most digits of a generation that are looked at; leading zeros are allowed.
const GENERATION_DIGITS_MAX: usize = 19;

/// Hexadecimal digits that make an MD5.
const MD5_DIGITS: usize = 32;

/// A text that is not a revision, or not one of a document that replicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid rev format")]
pub struct InvalidRevision;

/// What tells revisions of one generation apart.
///
/// Ids are ordered as bytes, of which the greatest wins among conflicting ones.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RevisionId {
    /// An id of 32 hexadecimal digits, whatever it was made from.
    Md5([u8; 16]),
    /// Any other id.
    Text(Box<str>),
}

impl RevisionId {
    /// Reads an id: 32 hexadecimal digits, or any other text of 1 to 256 bytes without quotes,
    /// backslashes and control characters, which would have to be escaped wherever ids are written.
    ///
    /// # Errors
    ///
    /// Fails on any other text.
    pub fn parse(text: &str) -> Result<Self, InvalidRevision> {
        if let Some(md5) = parse_md5(text.as_bytes()) {
            return Ok(Self::Md5(md5));
        }
        let is_plain = |byte: u8| byte >= 0x20 && !matches!(byte, b'"' | b'\\' | 0x7f);
        if text.is_empty() || text.len() > ID_BYTES_MAX || !text.bytes().all(is_plain) {
            return Err(InvalidRevision);
        }
        Ok(Self::Text(text.into()))
    }

    /// The bytes by which ids are ordered: of an MD5 its 16, of a text its own.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Md5(md5) => md5,
            Self::Text(text) => text.as_bytes(),
        }
    }

    /// Appends the printed form.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Md5(md5) => out.extend_from_slice(&hex(md5)),
            Self::Text(text) => out.extend_from_slice(text.as_bytes()),
        }
    }
}

impl Ord for RevisionId {
    fn cmp(&self, other: &Self) -> Ordering {
        // A text of 16 bytes may have those of an MD5; it comes after it.
        let is_text = |id: &Self| matches!(id, Self::Text(_));
        self.as_bytes()
            .cmp(other.as_bytes())
            .then_with(|| is_text(self).cmp(&is_text(other)))
    }
}

impl PartialOrd for RevisionId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for RevisionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Md5(md5) => {
                formatter.write_str(std::str::from_utf8(&hex(md5)).unwrap_or_default())
            }
            Self::Text(text) => formatter.write_str(text),
        }
    }
}

impl FromStr for RevisionId {
    type Err = InvalidRevision;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// One version of a document. Ordered by generation, then by id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    /// How many edits led to it; at least 1.
    pub generation: u64,
    /// Which of the versions with that many edits it is.
    pub id: RevisionId,
}

impl Revision {
    /// Reads a revision: a generation, a dash and an id. The generation 0, which only local
    /// documents have, is no revision.
    ///
    /// # Errors
    ///
    /// Fails on any other text.
    ///
    /// ```
    /// use adea_documents::revision::Revision;
    ///
    /// let revision = Revision::parse("1-967A00DFF5E02ADD41819138ABB3284D").unwrap();
    /// assert_eq!(revision.to_string(), "1-967a00dff5e02add41819138abb3284d");
    /// assert_eq!(Revision::parse("3-abc").unwrap().generation, 3);
    /// assert!(Revision::parse("abc").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, InvalidRevision> {
        let (generation, id) = text.split_once('-').ok_or(InvalidRevision)?;
        let is_number = generation.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number || generation.len() > GENERATION_DIGITS_MAX {
            return Err(InvalidRevision);
        }
        let generation = generation.parse().map_err(|_| InvalidRevision)?;
        if !(1..GENERATION_END).contains(&generation) {
            return Err(InvalidRevision);
        }
        Ok(Self {
            generation,
            id: RevisionId::parse(id)?,
        })
    }

    /// Appends the printed form.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(itoa::Buffer::new().format(self.generation).as_bytes());
        out.push(b'-');
        self.id.write_to(out);
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.generation, self.id)
    }
}

impl FromStr for Revision {
    type Err = InvalidRevision;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// What the id of a revision takes from an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachmentDigest<'a> {
    /// The name.
    pub name: &'a str,
    /// The content type.
    pub content_type: &'a str,
    /// The MD5 of the bytes as they are stored, which may be compressed.
    pub md5: [u8; 16],
}

/// The id of an edit: the MD5 of the term `[Deleted, Generation, ParentId, Body, Attachments]`.
///
/// `body_term` is the term of the body without a version byte, as [`crate::json::Draft`] holds it;
/// `attachments` are in the order in which the document lists them. The generation of the edit
/// itself is one more than that of its `parent`, and 1 without.
#[must_use]
pub fn next_revision(
    deleted: bool,
    parent: Option<&Revision>,
    body_term: &[u8],
    attachments: &[AttachmentDigest<'_>],
) -> RevisionId {
    let mut head = Vec::with_capacity(64);
    head.push(term::VERSION);
    term::put_list(&mut head, 5);
    term::put_atom(&mut head, if deleted { "true" } else { "false" });
    match parent {
        Some(parent) => {
            term::put_integer(&mut head, false, parent.generation);
            put_binary(&mut head, parent.id.as_bytes());
        }
        None => {
            term::put_integer(&mut head, false, 0);
            term::put_integer(&mut head, false, 0);
        }
    }
    let mut tail = Vec::new();
    if let Ok(count @ 1..) = u32::try_from(attachments.len()) {
        term::put_list(&mut tail, count);
        // CouchDB builds this list by putting each one in front.
        for attachment in attachments.iter().rev() {
            tail.extend_from_slice(&[term::TUPLE, 3]);
            put_binary(&mut tail, attachment.name.as_bytes());
            put_binary(&mut tail, attachment.content_type.as_bytes());
            put_binary(&mut tail, &attachment.md5);
        }
    }
    // The end of the attachments, and that of the outer list.
    tail.extend_from_slice(&[term::NIL, term::NIL]);

    let mut hash = Md5::new();
    hash.update(&head);
    hash.update(body_term);
    hash.update(&tail);
    RevisionId::Md5(hash.finalize().into())
}

/// Appends a binary that is known to be shorter than 4 GiB.
fn put_binary(out: &mut Vec<u8>, bytes: &[u8]) {
    let written = term::put_binary(out, bytes);
    debug_assert!(written.is_ok(), "a name or an id of 4 GiB");
}

/// The value of each hexadecimal digit; 16 and more for other bytes.
const DIGIT_VALUES: [u8; 256] = digit_values();

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "evaluated by the compiler, which checks both"
)]
const fn digit_values() -> [u8; 256] {
    let mut values = [u8::MAX; 256];
    let mut value = 0;
    while value < 16 {
        let digit = b"0123456789abcdef"[value];
        values[digit as usize] = value as u8;
        values[digit.to_ascii_uppercase() as usize] = value as u8;
        value += 1;
    }
    values
}

/// The two digits of each byte.
const HEX: [[u8; 2]; 256] = hex_digits();

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn hex_digits() -> [[u8; 2]; 256] {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    pairs
}

fn parse_md5(text: &[u8]) -> Option<[u8; 16]> {
    let (pairs, []) = text.first_chunk::<MD5_DIGITS>()?.as_chunks::<2>() else {
        return None;
    };
    if text.len() != MD5_DIGITS {
        return None;
    }
    let mut md5 = [0; 16];
    let mut wrong = 0;
    for (byte, &[high, low]) in md5.iter_mut().zip(pairs) {
        let high = value_of(high);
        let low = value_of(low);
        wrong |= high | low;
        *byte = high << 4 | low & 15;
    }
    (wrong < 16).then_some(md5)
}

fn value_of(digit: u8) -> u8 {
    DIGIT_VALUES
        .get(usize::from(digit))
        .copied()
        .unwrap_or(u8::MAX)
}

fn hex(md5: &[u8; 16]) -> [u8; MD5_DIGITS] {
    let mut digits = [0; MD5_DIGITS];
    let (pairs, _) = digits.as_chunks_mut::<2>();
    for (pair, &byte) in pairs.iter_mut().zip(md5) {
        *pair = HEX.get(usize::from(byte)).copied().unwrap_or_default();
    }
    digits
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use proptest::prelude::*;

    use super::*;
    use crate::json::parse_document;

    /// The revision that an edit makes, printed.
    fn edit(parent: Option<&str>, json: &str, attachments: &[(&str, &str, &str)]) -> String {
        let draft = parse_document(json.as_bytes()).unwrap();
        let parent = parent.map(|parent| Revision::parse(parent).unwrap());
        let digests: Vec<_> = attachments
            .iter()
            .map(|&(name, content_type, md5)| {
                let md5 = base64::prelude::BASE64_STANDARD.decode(md5).unwrap();
                AttachmentDigest {
                    name,
                    content_type,
                    md5: md5.try_into().unwrap(),
                }
            })
            .collect();
        let id = next_revision(draft.deleted, parent.as_ref(), &draft.term, &digests);
        let generation = parent.map_or(0, |parent| parent.generation) + 1;
        Revision { generation, id }.to_string()
    }

    #[test]
    fn first_edits_are_named_as_couchdb_names_them() {
        let check = |json: &str, expected: &str| assert_eq!(edit(None, json, &[]), expected);
        check("{}", "1-967a00dff5e02add41819138abb3284d");
        check(r#"{"a":1}"#, "1-23202479633c2b380f79507a776743d5");
        check(r#"{"a":1,"b":2}"#, "1-25f9b97d75a648d1fcd23f0a73d2776e");
        check(r#"{"b":2,"a":1}"#, "1-caca8b193c5fc9720d024664e9310ed2");
        check(r#"{"q":1}"#, "1-43c2bbff1656570ec5ebb361b5b89091");
        check(
            r#"{"i":369553424691494913,"big":123456789012345678901234567890,"f":1.0,"e":1e3,
                "E":1E2,"z":-0,"z2":-0.0,"s":0.00760939025925927263,"d":1.5e-7,
                "t":100000000000000000000000.0}"#,
            "1-847bbc359b31b27be28288fd2b9a4655",
        );
        check(
            r#"{"z":1,"a":2,"10":3,"2":4}"#,
            "1-16555d35f13f25f1b5aa043bb9c9453a",
        );
        check(r#"{"a":1,"a":2}"#, "1-3975759ccff3842adf690a5c10caee42");
        check(
            r#"{"_id":"tw","v":1}"#,
            "1-7a7e4b29f3af401e69b6f86e4c26b727",
        );
        check(r#"{"k":null}"#, "1-e68038d177175b23b32c2f9dc9b36888");
        check(r#"{"k":false}"#, "1-9d54a0de56ea0fc7967a9d5ea244990c");
    }

    #[test]
    fn later_edits_are_named_as_couchdb_names_them() {
        let check = |parent: &str, json: &str, expected: &str| {
            assert_eq!(edit(Some(parent), json, &[]), expected);
        };
        check(
            "1-23202479633c2b380f79507a776743d5",
            r#"{"a":2}"#,
            "2-71173597778497e0a6aa176963f222db",
        );
        check(
            "3-abc",
            r#"{"_rev":"3-abc","x":1}"#,
            "4-8ec1aa9cdf5f8573f83da9b4329c2587",
        );
        // A deletion without a body.
        let first = edit(None, r#"{"q":1}"#, &[]);
        check(
            &first,
            r#"{"_deleted":true}"#,
            "2-92d8da319ec33a0cd30bbe9d72ad259d",
        );
        check(
            "2-92d8da319ec33a0cd30bbe9d72ad259d",
            r#"{"again":1}"#,
            "3-a795121a42300e0ba608ae85ecde7fd8",
        );
        // A deletion that says why.
        check(
            &first,
            r#"{"_deleted":true,"why":"x"}"#,
            "2-1a7f316b8bbc5df9a9099acb413de382",
        );
    }

    #[test]
    fn a_chain_of_edits_is_named_as_couchdb_names_it() {
        let mut revision: Option<String> = None;
        let mut chain = Vec::new();
        for i in 0..6 {
            let next = edit(revision.as_deref(), &format!(r#"{{"i":{i}}}"#), &[]);
            chain.push(next.clone());
            revision = Some(next);
        }
        assert_eq!(
            chain.split_off(3),
            [
                "4-a585b1a061e6dd88abd5d7bc79532c19",
                "5-38c26cebfa5c59d7e5c82e5dfb2a37c4",
                "6-b4b96658f953b18a05378fec496fd713",
            ]
        );
    }

    #[test]
    fn attachments_count_from_the_last_to_the_first() {
        let hello = ("f.txt", "text/plain", "7mkg+nM0HN26sZkLN8KVSA==");
        assert_eq!(
            edit(None, "{}", &[hello]),
            "1-abdb3616f30d8d7c5403c939aee45fea"
        );
        let binary = (
            "b.bin",
            "application/octet-stream",
            "xWvVSA9uVBPLYqCtlmZhOg==",
        );
        assert_eq!(
            edit(
                Some("1-abdb3616f30d8d7c5403c939aee45fea"),
                "{}",
                &[binary, hello]
            ),
            "2-70c04c547d8734b3db7528994f690034"
        );
        let foo = ("foo.txt", "text/plain", "iMaiC8wqiFlD2NjLTemvCQ==");
        let bar = (
            "bar.bin",
            "application/octet-stream",
            "0W+zbwkR+HiZjBNhka9wXg==",
        );
        assert_eq!(
            edit(None, r#"{"m":1}"#, &[foo, bar]),
            "1-ad15306e45696d24679318461c4c4dd0"
        );
        let check = |name, content_type, md5, expected: &str| {
            assert_eq!(edit(None, "{}", &[(name, content_type, md5)]), expected);
        };
        check(
            "f",
            "application/octet-stream",
            "SfaKXIST7CwL9ImCHCH8Ow==",
            "1-4a263374ab346affaec5c4432eec3b30",
        );
        check(
            "z.txt",
            "text/plain",
            "iZnIgHaZ3ETVHDtRSQc4IA==",
            "1-8fcf0aaed724a468c7746d120a4d6db4",
        );
        check(
            "n",
            "application/octet-stream",
            "kzbr8lCH2RyBjubp7Cn4wQ==",
            "1-3e5d0eb4d9c33ff84331b31efe029902",
        );
    }

    #[test]
    fn revisions_are_read_and_printed() {
        let check = |text: &str, expected: Option<&str>| {
            let read = Revision::parse(text);
            assert_eq!(
                read.as_ref().ok().map(ToString::to_string).as_deref(),
                expected,
                "{text:?}"
            );
            if let Ok(revision) = read {
                let mut out = Vec::new();
                revision.write_to(&mut out);
                assert_eq!(out, revision.to_string().into_bytes());
            }
        };
        check("3-abc", Some("3-abc"));
        check("1-Xyz", Some("1-Xyz"));
        check("1-a-b", Some("1-a-b"));
        check("1-é", Some("1-é"));
        check("007-x", Some("7-x"));
        check("9007199254740991-a", Some("9007199254740991-a"));
        check(
            "1-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            Some("1-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        );
        check(
            "1-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaag",
            Some("1-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaag"),
        );
        for wrong in [
            "",
            "-",
            "foo",
            "1",
            "1-",
            "-a",
            "0-1",
            "a-1",
            "+1-a",
            "-1-a",
            " 1-a",
            "1.0-a",
            "9007199254740992-a",
            "18446744073709551616-a",
            "1-a\"b",
            "1-a\\",
            "1-a\nb",
            "1-\u{7f}",
        ] {
            check(wrong, None);
        }
        check(&format!("1-{}", "a".repeat(257)), None);
        assert!(Revision::parse(&format!("1-{}", "a".repeat(256))).is_ok());
        assert_eq!(InvalidRevision.to_string(), "Invalid rev format");
    }

    #[test]
    fn revisions_are_ordered_by_generation_and_then_bytes() {
        let parse = |text: &str| Revision::parse(text).unwrap();
        let check = |less: &str, more: &str| assert!(parse(less) < parse(more), "{less} {more}");
        check("1-b", "2-a");
        check("9-b", "10-a");
        check("1-a", "1-b");
        check("1-a", "1-aa");
        check("1-B", "1-a");
        check(
            "1-0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "1-a0000000000000000000000000000000",
        );
        // The same 16 bytes as an MD5 and as a text are two ids.
        let text = RevisionId::parse("abcdefghijklmnop").unwrap();
        let md5 = RevisionId::Md5(*b"abcdefghijklmnop");
        assert!(md5 < text);
        assert_ne!(md5, text);
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(
            generation in 1u64..GENERATION_END,
            id in "[0-9a-f]{32}|[!-~&&[^\"\\\\]]{1,40}",
        ) {
            let text = format!("{generation}-{id}");
            let revision = Revision::parse(&text).unwrap();
            prop_assert_eq!(revision.to_string().to_lowercase(), text.to_lowercase());
            prop_assert_eq!(Revision::parse(&revision.to_string()).unwrap(), revision);
        }

        #[test]
        fn order_agrees_with_equality(one in "[ab]{1,2}|[a-f]{16}|[0-9a-f]{32}", other in "[ab]{1,2}|[0-9a-f]{32}") {
            let (one, other) = (RevisionId::parse(&one).unwrap(), RevisionId::parse(&other).unwrap());
            prop_assert_eq!(one.cmp(&other) == Ordering::Equal, one == other);
            prop_assert_eq!(one.cmp(&other), other.cmp(&one).reverse());
        }

        #[test]
        fn no_text_is_trouble(text in any::<String>()) {
            if let Ok(revision) = Revision::parse(&text) {
                prop_assert!(revision.generation > 0);
            }
        }
    }
}
