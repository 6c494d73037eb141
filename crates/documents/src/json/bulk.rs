//! Many documents in one request.

use super::JsonError;
use super::draft::{Draft, DraftError, read_draft};
use super::scanner::{Scalar, Scanner};

/// The most documents one request may bring: each costs some hundred bytes even if it is empty.
pub const MAX_BULK_DOCUMENTS: usize = 200_000;

/// The body of a bulk request. Members that are not named here mean nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bulk {
    /// `docs`, in their order.
    pub docs: Vec<Draft>,
    /// `new_edits`, where it was sent.
    pub new_edits: Option<bool>,
    /// Whether `all_or_nothing` was sent as `true`.
    pub all_or_nothing: bool,
    /// Whether `atomic` was sent as `true`.
    pub atomic: bool,
}

/// What was read of a bulk request so far.
#[derive(Default)]
struct Parts {
    docs: Option<Result<Vec<Draft>, DraftError>>,
    new_edits: Option<Scalar<'static>>,
    all_or_nothing: bool,
    atomic: bool,
}

/// Reads the body of a bulk request. Members may come in any order.
///
/// # Errors
///
/// Fails where the input is not JSON, else where a parameter is missing or wrong, else at the first
/// document that is no document.
pub fn parse_bulk(input: &[u8]) -> Result<Bulk, DraftError> {
    let mut scanner = Scanner::new(input)?;
    if scanner.peek() != b'{' {
        scanner.skip()?;
        scanner.end()?;
        return Err(DraftError::BulkNotAnObject);
    }
    let mut parts = Parts::default();
    scanner.each_member(|scanner, key| {
        match key.as_ref() {
            "docs" if scanner.peek() == b'[' => parts.docs = Some(read_drafts(scanner)?),
            "docs" => {
                scanner.skip()?;
                parts.docs = Some(Err(DraftError::DocumentsNotAnArray));
            }
            "new_edits" => {
                parts.new_edits = Some(match scanner.scalar()? {
                    Scalar::Bool(flag) => Scalar::Bool(flag),
                    Scalar::Null | Scalar::Text(_) | Scalar::Count(_) | Scalar::Other => {
                        Scalar::Other
                    }
                });
            }
            "all_or_nothing" => {
                parts.all_or_nothing = matches!(scanner.scalar()?, Scalar::Bool(true));
            }
            "atomic" => parts.atomic = matches!(scanner.scalar()?, Scalar::Bool(true)),
            _ => scanner.skip()?,
        }
        scanner.clear();
        Ok::<(), JsonError>(())
    })?;
    scanner.end()?;
    let docs = match parts.docs {
        None => return Err(DraftError::NoDocuments),
        Some(Err(DraftError::DocumentsNotAnArray)) => return Err(DraftError::DocumentsNotAnArray),
        Some(docs) => docs,
    };
    let new_edits = match parts.new_edits {
        None => None,
        Some(Scalar::Bool(flag)) => Some(flag),
        Some(Scalar::Null | Scalar::Text(_) | Scalar::Count(_) | Scalar::Other) => {
            return Err(DraftError::NewEditsNotABoolean);
        }
    };
    Ok(Bulk {
        docs: docs?,
        new_edits,
        all_or_nothing: parts.all_or_nothing,
        atomic: parts.atomic,
    })
}

/// Reads an array of documents: all of them, or the first fault.
fn read_drafts(scanner: &mut Scanner<'_>) -> Result<Result<Vec<Draft>, DraftError>, JsonError> {
    let mut drafts = Vec::new();
    let mut fault = None;
    scanner.each_item(|scanner| {
        let mut draft = scanner.at_surface(|scanner| read_draft(scanner, &mut fault))?;
        let (text, term) = scanner.output();
        if drafts.len() == MAX_BULK_DOCUMENTS {
            DraftError::TooManyDocuments.note(&mut fault);
        } else if fault.is_none() {
            // The scanner's room is for the largest one; each takes as much as it needs.
            draft.body.extend_from_slice(text);
            draft.term.extend_from_slice(term);
            drafts.push(draft);
        }
        Ok::<(), JsonError>(())
    })?;
    Ok(fault.map_or(Ok(drafts), Err))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Field, MAX_DEPTH, parse_document};

    #[test]
    fn each_document_is_what_it_would_be_alone() {
        let documents = [
            r#"{"_id":"a","x":1}"#,
            r#"{ "x" : [1, 2.50] , "_rev":"1-a" }"#,
            "{}",
            r#"{"x":{"y":1,"y":2},"_deleted":true}"#,
            r#"{"_attachments":{"f":{"data":"aGk="}}}"#,
        ];
        let json = format!(r#" {{ "docs" : [ {} ] }} "#, documents.join(" , "));
        let bulk = parse_bulk(json.as_bytes()).unwrap();
        let alone: Vec<_> = documents
            .iter()
            .map(|json| parse_document(json.as_bytes()).unwrap())
            .collect();
        assert_eq!(bulk.docs, alone);
        assert_eq!(bulk.new_edits, None);
    }

    #[test]
    fn members_come_in_any_order() {
        let check = |json: &str, count: usize, new_edits: Option<bool>, all_or_nothing: bool| {
            let bulk = parse_bulk(json.as_bytes()).unwrap();
            assert_eq!(bulk.docs.len(), count, "{json}");
            assert_eq!(bulk.new_edits, new_edits, "{json}");
            assert_eq!(bulk.all_or_nothing, all_or_nothing, "{json}");
        };
        check(r#"{"docs":[]}"#, 0, None, false);
        check(r#"{"new_edits":false,"docs":[{}]}"#, 1, Some(false), false);
        check(r#"{"docs":[{},{}],"new_edits":true}"#, 2, Some(true), false);
        check(
            r#"{"x":[{"docs":1}],"docs":[{}],"w":1,"all_or_nothing":true}"#,
            1,
            None,
            true,
        );
        check(r#"{"docs":[{"a":1}],"docs":[]}"#, 0, None, false);
        check(r#"{"docs":[1],"docs":[]}"#, 0, None, false);
    }

    #[test]
    fn requests_that_cannot_be_are_refused() {
        let check = |json: &str, expected: &str| {
            let error = parse_bulk(json.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), expected, "{json}");
        };
        check("{}", "POST body must include `docs` parameter.");
        check("[]", "Request body must be a JSON object");
        check(r#"{"docs":{}}"#, "`docs` parameter must be an array.");
        check(r#"{"docs":null}"#, "`docs` parameter must be an array.");
        check(
            r#"{"new_edits":"false","docs":[]}"#,
            "`new_edits` parameter must be a boolean.",
        );
        check(
            r#"{"docs":[{"_x":1}],"new_edits":null}"#,
            "`new_edits` parameter must be a boolean.",
        );
        check(r#"{"docs":[1]}"#, "Document must be a JSON object");
        check(
            r#"{"docs":[{"_x":1},2]}"#,
            "Bad special document member: _x",
        );
        check(r#"{"docs":[{"_x":1}]"#, "invalid UTF-8 JSON");
        check(r#"{"docs":[{"_x":1},]}"#, "invalid UTF-8 JSON");
        check(r#"{"docs":[]}x"#, "invalid UTF-8 JSON");
    }

    #[test]
    fn a_document_may_be_as_deep_as_alone() {
        let deep = |levels: usize| {
            let document = format!(
                r#"{{"_id":"a","x":{}{}}}"#,
                "[".repeat(levels - 1),
                "]".repeat(levels - 1)
            );
            parse_bulk(format!(r#"{{"docs":[{document}]}}"#).as_bytes())
        };
        let id = Some(Field::Text("a".to_owned()));
        assert_eq!(deep(MAX_DEPTH).unwrap().docs[0].id, id);
        assert_eq!(deep(MAX_DEPTH + 1), Err(JsonError::TooDeep.into()));
    }

    #[test]
    fn too_many_documents_are_refused() {
        let many = |count: usize| {
            parse_bulk(format!(r#"{{"docs":[{}]}}"#, vec!["{}"; count].join(",")).as_bytes())
        };
        assert_eq!(
            many(MAX_BULK_DOCUMENTS).unwrap().docs.len(),
            MAX_BULK_DOCUMENTS
        );
        let error = many(MAX_BULK_DOCUMENTS + 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`docs` parameter must not hold more than 200000 documents."
        );
    }
}
