//! The attachments that a document brings, names or promises in `_attachments`.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::scanner::{Scalar, Scanner};
use super::{DraftError, JsonError, duplicate_keys};

/// Base64 as Erlang decodes it: padded, whatever the unused bits say.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// One member of `_attachments`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachmentField {
    /// The key. Whether such a name is allowed is not checked here.
    pub name: String,
    /// `content_type`
    pub content_type: Option<String>,
    /// Where its bytes are.
    pub content: AttachmentContent,
    /// `digest`, as it was sent: `md5-` and Base64.
    pub digest: Option<String>,
    /// `length`, of the bytes before any encoding.
    pub length: Option<u64>,
    /// `encoding`
    pub encoding: Option<String>,
    /// `encoded_length`
    pub encoded_length: Option<u64>,
    /// `revpos`
    pub revpos: Option<u64>,
}

/// Where the bytes of an attachment are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttachmentContent {
    /// In the document, as Base64.
    Inline(Vec<u8>),
    /// In an earlier revision: `"stub":true`.
    Stub,
    /// In a later part of the same request: `"follows":true`.
    Follows,
}

/// What was read of a member of `_attachments` so far.
#[derive(Default)]
struct Raw {
    content_type: Option<String>,
    data: Option<Vec<u8>>,
    stub: bool,
    follows: bool,
    digest: Option<String>,
    length: Option<u64>,
    encoding: Option<String>,
    encoded_length: Option<u64>,
    revpos: Option<u64>,
    /// A field had a value that it cannot have.
    is_wrong: bool,
}

impl Raw {
    fn named(self, name: String) -> Result<AttachmentField, DraftError> {
        let content = match self.data {
            _ if self.stub => Some(AttachmentContent::Stub),
            _ if self.follows => Some(AttachmentContent::Follows),
            data => data.map(AttachmentContent::Inline),
        };
        match content {
            Some(content) if !self.is_wrong => Ok(AttachmentField {
                name,
                content_type: self.content_type,
                content,
                digest: self.digest,
                length: self.length,
                encoding: self.encoding,
                encoded_length: self.encoded_length,
                revpos: self.revpos,
            }),
            Some(_) | None => Err(DraftError::InvalidAttachment(name)),
        }
    }

    /// Reads the value of a field. `null` is as good as none.
    fn read(&mut self, scanner: &mut Scanner<'_>, key: &str) -> Result<(), JsonError> {
        let value = scanner.scalar()?;
        match key {
            "content_type" => self.content_type = self.text(value),
            "digest" => self.digest = self.text(value),
            "encoding" => self.encoding = self.text(value),
            "length" => self.length = self.count(&value),
            "encoded_length" => self.encoded_length = self.count(&value),
            "revpos" => self.revpos = self.count(&value),
            "stub" => self.stub = matches!(value, Scalar::Bool(true)),
            "follows" => self.follows = matches!(value, Scalar::Bool(true)),
            "data" => {
                self.data = match value {
                    Scalar::Text(data) => decode_base64(data.as_bytes()),
                    Scalar::Null | Scalar::Bool(_) | Scalar::Count(_) | Scalar::Other => None,
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, value: Scalar<'_>) -> Option<String> {
        match value {
            Scalar::Text(text) => Some(text.into_owned()),
            Scalar::Null => None,
            Scalar::Bool(_) | Scalar::Count(_) | Scalar::Other => {
                self.is_wrong = true;
                None
            }
        }
    }

    fn count(&mut self, value: &Scalar<'_>) -> Option<u64> {
        match value {
            Scalar::Count(count) => Some(*count),
            Scalar::Null => None,
            Scalar::Text(_) | Scalar::Bool(_) | Scalar::Other => {
                self.is_wrong = true;
                None
            }
        }
    }
}

/// Reads the value of `_attachments`. Of two with one name the later counts.
pub(super) fn read_attachments(
    scanner: &mut Scanner<'_>,
    fault: &mut Option<DraftError>,
) -> Result<Vec<AttachmentField>, JsonError> {
    if scanner.peek() != b'{' {
        scanner.skip()?;
        DraftError::unknown_field(b"_attachments").note(fault);
        return Ok(Vec::new());
    }
    let mut attachments: Vec<AttachmentField> = Vec::new();
    scanner.each_member(|scanner, name| {
        let mut raw = Raw::default();
        if scanner.peek() == b'{' {
            scanner.each_member(|scanner, key| raw.read(scanner, &key))?;
        } else {
            scanner.skip()?;
            raw.is_wrong = true;
        }
        match raw.named(name.into_owned()) {
            Ok(attachment) => attachments.push(attachment),
            Err(error) => error.note(fault),
        }
        Ok::<(), JsonError>(())
    })?;
    let name = |index: usize| attachments.get(index).map_or("", |one| one.name.as_str());
    let replaced = duplicate_keys::replaced(attachments.len(), |index| name(index).as_bytes());
    if let Some(replaced) = replaced {
        let mut replaced = replaced.into_iter();
        attachments.retain(|_| !replaced.next().unwrap_or_default());
    }
    Ok(attachments)
}

/// Decodes Base64; white space between the letters is allowed, since mail programs break lines.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    if let Ok(bytes) = BASE64.decode(text) {
        return Some(bytes);
    }
    let letters: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
        .collect();
    if letters.len() == text.len() {
        return None;
    }
    BASE64.decode(letters).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse_document;

    fn attachments(json: &str) -> Result<Vec<AttachmentField>, DraftError> {
        let document = format!(r#"{{"_attachments":{json}}}"#);
        parse_document(document.as_bytes()).map(|draft| draft.attachments)
    }

    fn one(json: &str) -> Result<AttachmentField, DraftError> {
        let mut all = attachments(&format!(r#"{{"f":{json}}}"#))?;
        assert_eq!(all.len(), 1);
        Ok(all.remove(0))
    }

    #[test]
    fn base64_is_read_as_erlang_reads_it() {
        let check = |data: &str, expected: Option<&[u8]>| {
            let read = one(&format!(r#"{{"data":{data}}}"#));
            match expected {
                Some(bytes) => assert_eq!(
                    read.unwrap().content,
                    AttachmentContent::Inline(bytes.to_vec()),
                    "{data}"
                ),
                None => assert_eq!(
                    read.unwrap_err().to_string(),
                    "Invalid attachment data for f",
                    "{data}"
                ),
            }
        };
        check(r#""aGk=""#, Some(b"hi"));
        check(r#""aGl=""#, Some(b"hi"));
        check(r#""aGk\u003d""#, Some(b"hi"));
        check(r#""aG\r\nk= ""#, Some(b"hi"));
        check(r#""""#, Some(b""));
        check(r#""aGk""#, None);
        check(r#""\u0001!!""#, None);
        check("null", None);
        check("1", None);
        check(r#"{"a":[]}"#, None);
    }

    #[test]
    fn all_fields_are_read() {
        let read = one(
            r#"{ "content_type" : "text/plain", "revpos":2, "digest":"md5-x==", "length":5,
                "follows":true, "encoding":"gzip", "encoded_length":25, "other":[1,{}] }"#,
        );
        let expected = AttachmentField {
            name: "f".to_owned(),
            content_type: Some("text/plain".to_owned()),
            content: AttachmentContent::Follows,
            digest: Some("md5-x==".to_owned()),
            length: Some(5),
            encoding: Some("gzip".to_owned()),
            encoded_length: Some(25),
            revpos: Some(2),
        };
        assert_eq!(read, Ok(expected));
    }

    #[test]
    fn a_stub_counts_before_the_rest() {
        let check = |json: &str, expected: AttachmentContent| {
            assert_eq!(one(json).unwrap().content, expected, "{json}");
        };
        check(r#"{"stub":true}"#, AttachmentContent::Stub);
        check(
            r#"{"data":"!","follows":true,"stub":true}"#,
            AttachmentContent::Stub,
        );
        check(r#"{"data":"!","follows":true}"#, AttachmentContent::Follows);
        check(
            r#"{"stub":false,"follows":0,"data":""}"#,
            AttachmentContent::Inline(Vec::new()),
        );
    }

    #[test]
    fn fields_that_cannot_be_are_refused() {
        let check = |json: &str, expected: &str| {
            assert_eq!(
                attachments(json).unwrap_err().to_string(),
                expected,
                "{json}"
            );
        };
        check("[]", "Bad special document member: _attachments");
        check("null", "Bad special document member: _attachments");
        check(r#"{"a":1}"#, "Invalid attachment data for a");
        check(r#"{"a":{}}"#, "Invalid attachment data for a");
        check(
            r#"{"a":{"stub":true,"length":-1}}"#,
            "Invalid attachment data for a",
        );
        check(
            r#"{"a":{"stub":true,"content_type":1}}"#,
            "Invalid attachment data for a",
        );
        assert_eq!(one(r#"{"stub":true,"length":null}"#).unwrap().length, None);
    }

    #[test]
    fn order_is_kept_and_the_later_of_two_counts() {
        let all = attachments(
            r#"{"z":{"stub":true,"revpos":1},"a":{"stub":true},"z":{"stub":true,"revpos":2}}"#,
        )
        .unwrap();
        let read: Vec<_> = all
            .iter()
            .map(|one| (one.name.as_str(), one.revpos))
            .collect();
        assert_eq!(read, [("a", None), ("z", Some(2))]);
        assert_eq!(attachments("{}"), Ok(Vec::new()));
    }
}
