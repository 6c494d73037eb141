//! One document as a client sent it: the fields with a meaning, and the body without them.

use super::JsonError;
use super::attachment::{AttachmentField, read_attachments};
use super::scanner::{Scalar, Scanner};
use crate::revision::RevisionId;

/// The most ids a `_revisions` may hold. `CouchDB` keeps a thousand unless told otherwise.
pub const MAX_REVISION_IDS: usize = 1_000_000;

/// How much of a wrong name an error repeats.
const NAME_SHOWN_MAX: usize = 128;

/// One document as a client sent it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// `_id`
    pub id: Option<Field>,
    /// `_rev`
    pub revision: Option<Field>,
    /// `_deleted`
    pub deleted: bool,
    /// `_revisions`; boxed, since only replicators send it.
    pub revisions: Option<Box<RevisionsField>>,
    /// `_signature`: what the client takes for the document's access signature.
    pub signature: Option<Field>,
    /// `_attachments`, in their order.
    pub attachments: Vec<AttachmentField>,
    /// The normal text of the object, without the fields that `CouchDB` keeps elsewhere.
    pub body: Vec<u8>,
    /// The Erlang term of that object, without its version byte.
    pub term: Vec<u8>,
}

/// A field that ought to be a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// It is.
    Text(String),
    /// It is another value.
    Other,
}

/// The revisions that lead to a document, the newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionsField {
    /// The generation of the first id; at least as many as there are ids.
    pub start: u64,
    /// The ids; there may be none.
    pub ids: Vec<RevisionId>,
}

/// Why bytes are not a document, or not a bulk request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// Not JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A document is another value than an object.
    #[error("Document must be a JSON object")]
    NotAnObject,
    /// A field that begins with `_` and has no meaning, or a value that it cannot have.
    #[error("Bad special document member: {0}")]
    UnknownField(String),
    /// `_revisions.start` is no integer, or one that no generation can have.
    #[error("_revisions.start isn't an integer.")]
    RevisionsStart,
    /// There are more `_revisions.ids` than generations.
    #[error("_revisions.start is less than the number of _revisions.ids")]
    RevisionsStartTooLow,
    /// `_revisions.ids` is no array.
    #[error("_revisions.ids isn't a array.")]
    RevisionsIds,
    /// One of `_revisions.ids` is no text.
    #[error("RevId isn't a string")]
    RevisionIdNotText,
    /// One of `_revisions.ids` cannot be a revision id.
    #[error("RevId isn't a valid hexadecimal")]
    RevisionIdInvalid,
    /// More than [`MAX_REVISION_IDS`].
    #[error("_revisions.ids holds more than {MAX_REVISION_IDS} ids")]
    TooManyRevisions,
    /// An attachment that is no object, whose data is missing or no Base64, or of which another
    /// field has a value that it cannot have.
    #[error("Invalid attachment data for {0}")]
    InvalidAttachment(String),
    /// A bulk request is another value than an object.
    #[error("Request body must be a JSON object")]
    BulkNotAnObject,
    /// A bulk request without documents.
    #[error("POST body must include `docs` parameter.")]
    NoDocuments,
    /// The documents of a bulk request are no array.
    #[error("`docs` parameter must be an array.")]
    DocumentsNotAnArray,
    /// More documents than a bulk request may hold.
    #[error(
        "`docs` parameter must not hold more than {} documents.",
        super::MAX_BULK_DOCUMENTS
    )]
    TooManyDocuments,
    /// `new_edits` is neither `true` nor `false`.
    #[error("`new_edits` parameter must be a boolean.")]
    NewEditsNotABoolean,
}

impl DraftError {
    /// A field that has no meaning where the document is written.
    #[must_use]
    pub fn no_such_field(name: &str) -> Self {
        Self::unknown_field(name.as_bytes())
    }

    pub(super) fn unknown_field(name: &[u8]) -> Self {
        let name = String::from_utf8_lossy(name.get(..NAME_SHOWN_MAX).unwrap_or(name));
        Self::UnknownField(name.into_owned())
    }

    /// Keeps this as the fault, unless there is one already. Reading goes on, since a fault in the
    /// syntax further on is the one to report.
    pub(super) fn note(self, fault: &mut Option<Self>) {
        fault.get_or_insert(self);
    }
}

/// What a field of a document is for.
enum Meaning {
    Body,
    Id,
    Revision,
    Deleted,
    Revisions,
    Attachments,
    Signature,
    Ignored,
    Unknown,
}

impl Meaning {
    fn of(key: &[u8]) -> Self {
        match key {
            b"_id" => Self::Id,
            b"_rev" => Self::Revision,
            b"_deleted" => Self::Deleted,
            b"_revisions" => Self::Revisions,
            b"_attachments" => Self::Attachments,
            b"_signature" => Self::Signature,
            // What a server adds to a document that it sends.
            b"_revs_info" | b"_conflicts" | b"_deleted_conflicts" | b"_local_seq" => Self::Ignored,
            // What a replicator writes into its own documents.
            b"_replication_id"
            | b"_replication_state"
            | b"_replication_state_time"
            | b"_replication_state_reason"
            | b"_replication_stats" => Self::Body,
            [b'_', ..] => Self::Unknown,
            _ => Self::Body,
        }
    }
}

/// Reads a document.
///
/// # Errors
///
/// Fails where the input is not JSON, and otherwise at the first field that a document cannot have.
pub fn parse_document(input: &[u8]) -> Result<Draft, DraftError> {
    let mut scanner = Scanner::new(input)?;
    scanner.reserve();
    let mut fault = None;
    let mut draft = read_draft(&mut scanner, &mut fault)?;
    scanner.end()?;
    if let Some(fault) = fault {
        return Err(fault);
    }
    let (text, term) = scanner.output();
    draft.body = fitting(std::mem::take(text));
    draft.term = fitting(std::mem::take(term));
    Ok(draft)
}

/// Gives room back where attachments took most of it.
fn fitting(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.capacity() / 2 > bytes.len() + 1024 {
        bytes.shrink_to_fit();
    }
    bytes
}

/// Reads a document; its body and term are what the scanner wrote.
pub(super) fn read_draft(
    scanner: &mut Scanner<'_>,
    fault: &mut Option<DraftError>,
) -> Result<Draft, JsonError> {
    let mut draft = Draft::default();
    scanner.clear();
    if scanner.peek() != b'{' {
        scanner.value()?;
        DraftError::NotAnObject.note(fault);
        return Ok(draft);
    }
    let object = scanner.open_object()?;
    let mut more = scanner.peek() != b'}';
    while more {
        scanner.key()?;
        match Meaning::of(scanner.last_key()) {
            Meaning::Body => {
                scanner.value()?;
                more = scanner.member_follows()?;
                continue;
            }
            Meaning::Id => draft.id = Some(read_field(scanner)?),
            Meaning::Revision => draft.revision = Some(read_field(scanner)?),
            Meaning::Deleted => match scanner.scalar()? {
                Scalar::Bool(deleted) => draft.deleted = deleted,
                Scalar::Null | Scalar::Text(_) | Scalar::Count(_) | Scalar::Other => {
                    DraftError::unknown_field(b"_deleted").note(fault);
                }
            },
            Meaning::Revisions => {
                draft.revisions = read_revisions(scanner, fault)?.map(Box::new);
            }
            Meaning::Attachments => draft.attachments = read_attachments(scanner, fault)?,
            Meaning::Signature => draft.signature = Some(read_field(scanner)?),
            Meaning::Ignored => scanner.skip()?,
            Meaning::Unknown => {
                DraftError::unknown_field(scanner.last_key()).note(fault);
                scanner.skip()?;
            }
        }
        more = scanner.member_follows()?;
        scanner.forget_member();
    }
    scanner.trim_comma();
    scanner.close_object(object)?;
    Ok(draft)
}

fn read_field(scanner: &mut Scanner<'_>) -> Result<Field, JsonError> {
    Ok(match scanner.scalar()? {
        Scalar::Text(text) => Field::Text(text.into_owned()),
        Scalar::Null | Scalar::Bool(_) | Scalar::Count(_) | Scalar::Other => Field::Other,
    })
}

/// Reads the value of `_revisions`.
fn read_revisions(
    scanner: &mut Scanner<'_>,
    fault: &mut Option<DraftError>,
) -> Result<Option<RevisionsField>, JsonError> {
    if scanner.peek() != b'{' {
        scanner.skip()?;
        DraftError::unknown_field(b"_revisions").note(fault);
        return Ok(None);
    }
    let mut start = None;
    let mut ids = None;
    scanner.each_member(|scanner, key| {
        match key.as_ref() {
            "start" => {
                start = match scanner.scalar()? {
                    Scalar::Count(start) => Some(start),
                    Scalar::Null | Scalar::Bool(_) | Scalar::Text(_) | Scalar::Other => None,
                }
            }
            "ids" if scanner.peek() == b'[' => ids = Some(read_ids(scanner)?),
            "ids" => {
                ids = None;
                scanner.skip()?;
            }
            _ => scanner.skip()?,
        }
        Ok::<(), JsonError>(())
    })?;
    let field = match (start, ids) {
        (None, _) => Err(DraftError::RevisionsStart),
        (_, None) => Err(DraftError::RevisionsIds),
        (_, Some(Err(error))) => Err(error),
        (Some(start), Some(Ok(ids))) => checked(start, ids),
    };
    match field {
        Ok(field) => Ok(Some(field)),
        Err(error) => {
            error.note(fault);
            Ok(None)
        }
    }
}

fn checked(start: u64, ids: Vec<RevisionId>) -> Result<RevisionsField, DraftError> {
    if start >= crate::revision::GENERATION_END {
        Err(DraftError::RevisionsStart)
    } else if usize::try_from(start).is_ok_and(|start| start < ids.len()) {
        Err(DraftError::RevisionsStartTooLow)
    } else {
        Ok(RevisionsField { start, ids })
    }
}

/// Reads an array of revision ids: all of them, or the first fault.
fn read_ids(scanner: &mut Scanner<'_>) -> Result<Result<Vec<RevisionId>, DraftError>, JsonError> {
    let mut ids = Vec::new();
    let mut fault = None;
    scanner.each_item(|scanner| {
        let id = match scanner.scalar()? {
            Scalar::Text(text) => {
                RevisionId::parse(&text).map_err(|_| DraftError::RevisionIdInvalid)
            }
            Scalar::Null | Scalar::Bool(_) | Scalar::Count(_) | Scalar::Other => {
                Err(DraftError::RevisionIdNotText)
            }
        };
        match id {
            Ok(_) if ids.len() == MAX_REVISION_IDS => {
                DraftError::TooManyRevisions.note(&mut fault);
            }
            Ok(id) => ids.push(id),
            Err(error) => error.note(&mut fault),
        }
        Ok::<(), JsonError>(())
    })?;
    Ok(fault.map_or(Ok(ids), Err))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::MAX_DEPTH;

    fn parse(json: &str) -> Draft {
        parse_document(json.as_bytes()).unwrap()
    }

    fn text(text: &str) -> Option<Field> {
        Some(Field::Text(text.to_owned()))
    }

    #[test]
    fn fields_with_a_meaning_leave_the_body() {
        let check = |json: &str, body: &str| {
            let draft = parse(json);
            assert_eq!(String::from_utf8(draft.body).unwrap(), body, "{json}");
            // The term is that of the body alone.
            assert_eq!(draft.term, parse(body).term, "{json}");
        };
        check("{}", "{}");
        check(" {\n} ", "{}");
        check(r#"{"_id":"a"}"#, "{}");
        check(r#"{"_id":"a","x":1}"#, r#"{"x":1}"#);
        check(r#"{"x":1,"_id":"a"}"#, r#"{"x":1}"#);
        check(r#"{"x":1,"_id":"a","y":[2]}"#, r#"{"x":1,"y":[2]}"#);
        check(
            r#"{ "x" : 1 , "_id" : "a" , "_rev" : "1-a" , "y" : [ 2 ] } "#,
            r#"{"x":1,"y":[2]}"#,
        );
        check(
            r#"{ "x" : 1 , "_id" : "a" , "_rev" : "1-a" }"#,
            r#"{"x":1}"#,
        );
        check(r#"{"x":{"_id":1,"_foo":2}}"#, r#"{"x":{"_id":1,"_foo":2}}"#);
        check(r#"{"\u005fid":"a","x":1}"#, r#"{"x":1}"#);
        check(r#"{"x":1,"\u005fid":"a","y":2}"#, r#"{"x":1,"y":2}"#);
        check(r#"{"_conflicts":[1,{"a":1.50}],"x":"\/"}"#, r#"{"x":"/"}"#);
        check(r#"{"x":1,"_id":"a","x":2}"#, r#"{"x":2}"#);
        check(r#"{"x":1,"x":2,"_id":"a"}"#, r#"{"x":2}"#);
        check(
            r#"{"_revs_info":[],"_conflicts":[],"_deleted_conflicts":[],"_local_seq":1,"a":0}"#,
            r#"{"a":0}"#,
        );
        check(
            r#"{"_replication_id":"x","_replication_state":1,"_id":"d"}"#,
            r#"{"_replication_id":"x","_replication_state":1}"#,
        );
    }

    #[test]
    fn fields_with_a_meaning_are_read() {
        let draft = parse(r#"{"_id":"\u00e9/","_rev":"1-a","_deleted":true,"why":"x"}"#);
        assert_eq!(draft.id, text("é/"));
        assert_eq!(draft.revision, text("1-a"));
        assert!(draft.deleted);
        assert_eq!(draft.revisions, None);

        let draft = parse(r#"{"_id":1,"_rev":null,"_deleted":false}"#);
        assert_eq!(draft.id, Some(Field::Other));
        assert_eq!(draft.revision, Some(Field::Other));
        assert!(!draft.deleted);

        assert_eq!(
            parse("{}"),
            Draft {
                body: b"{}".to_vec(),
                term: vec![104, 1, 106],
                ..Draft::default()
            }
        );
        // The later of two counts.
        assert_eq!(parse(r#"{"_id":"a","_id":"b"}"#).id, text("b"));
        assert_eq!(parse(r#"{"\u005f\u0069d":"a"}"#).id, text("a"));
    }

    #[test]
    fn revisions_are_read() {
        let draft =
            parse(r#"{"_revisions":{"start":3,"ids":["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","x"]}}"#);
        let expected = RevisionsField {
            start: 3,
            ids: vec![RevisionId::Md5([0xaa; 16]), RevisionId::Text("x".into())],
        };
        assert_eq!(draft.revisions.as_deref(), Some(&expected));
        let empty = parse(r#"{"_revisions":{"ids":[],"start":0}}"#).revisions;
        assert_eq!(empty.unwrap().ids, []);
    }

    #[test]
    fn documents_that_cannot_be_are_refused() {
        let check = |json: &str, expected: &str| {
            let error = parse_document(json.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), expected, "{json}");
        };
        check("nojson", "invalid UTF-8 JSON");
        check("", "invalid UTF-8 JSON");
        check("{} {}", "invalid UTF-8 JSON");
        check("[1]", "Document must be a JSON object");
        check("null", "Document must be a JSON object");
        check(r#"{"_zing":4}"#, "Bad special document member: _zing");
        check(r#"{"\u005fzing":4}"#, "Bad special document member: _zing");
        check(r#"{"_":4}"#, "Bad special document member: _");
        check(r#"{"_deleted":1}"#, "Bad special document member: _deleted");
        check(
            r#"{"_deleted":"true"}"#,
            "Bad special document member: _deleted",
        );
        check(
            r#"{"_revisions":[]}"#,
            "Bad special document member: _revisions",
        );
        check(
            r#"{"_revisions":{"ids":[]}}"#,
            "_revisions.start isn't an integer.",
        );
        check(
            r#"{"_revisions":{"start":"1","ids":[]}}"#,
            "_revisions.start isn't an integer.",
        );
        check(
            r#"{"_revisions":{"start":9007199254740992,"ids":[]}}"#,
            "_revisions.start isn't an integer.",
        );
        check(
            r#"{"_revisions":{"start":1}}"#,
            "_revisions.ids isn't a array.",
        );
        check(
            r#"{"_revisions":{"start":1,"ids":["a"],"ids":"b"}}"#,
            "_revisions.ids isn't a array.",
        );
        check(
            r#"{"_revisions":{"start":1,"ids":[1]}}"#,
            "RevId isn't a string",
        );
        check(
            r#"{"_revisions":{"start":1,"ids":[""]}}"#,
            "RevId isn't a valid hexadecimal",
        );
        check(
            r#"{"_revisions":{"start":1,"ids":["a","b"]}}"#,
            "_revisions.start is less than the number of _revisions.ids",
        );
        // A fault in the syntax comes first, wherever it stands.
        check(r#"{"_zing":4,}"#, "invalid UTF-8 JSON");
        check(r#"[1"#, "invalid UTF-8 JSON");
        // Errors do not repeat a whole request.
        let long = format!(r#"{{"_{}":1}}"#, "x".repeat(10_000));
        let error = parse_document(long.as_bytes()).unwrap_err().to_string();
        assert!(error.len() < 200);
    }

    #[test]
    fn attachments_leave_no_empty_room_behind() {
        let json = format!(
            r#"{{"a":1,"_attachments":{{"f":{{"data":"{}"}}}}}}"#,
            "A".repeat(4_000_000)
        );
        let draft = parse(&json);
        assert_eq!(draft.body, br#"{"a":1}"#);
        assert!(draft.body.capacity() + draft.term.capacity() < 10_000);
    }

    #[test]
    fn too_many_revisions_are_refused() {
        let ids = vec![r#""a""#; MAX_REVISION_IDS + 1].join(",");
        let json = format!(r#"{{"_revisions":{{"start":2000000,"ids":[{ids}]}}}}"#);
        assert_eq!(
            parse_document(json.as_bytes()),
            Err(DraftError::TooManyRevisions)
        );
    }

    #[test]
    fn a_document_may_be_deep_but_not_deeper() {
        let deep = |levels: usize| {
            let json = format!(
                r#"{{"a":{}{}}}"#,
                "[".repeat(levels - 1),
                "]".repeat(levels - 1)
            );
            parse_document(json.as_bytes()).map(|_| ())
        };
        assert_eq!(deep(MAX_DEPTH), Ok(()));
        assert_eq!(deep(MAX_DEPTH + 1), Err(JsonError::TooDeep.into()));
        assert_eq!(deep(100_000), Err(JsonError::TooDeep.into()));
    }
}
