//! Which resources there are behind which face, and for whom.

use adea_accounts::Access;
use adea_pod::{AccessError, DatabaseEntry, DatabaseFace, PodError};
use http::Method;

use crate::error::ApiError;
use crate::router::Exchange;

/// What a path asks for, as far as rights are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// One document or what is attached to it.
    Documents,
    /// What is read of documents by their ids, by whatever method.
    Reading,
    /// A design document itself.
    Design,
    /// What is found by walking: while it is worked out anew who may read what, it is not known.
    List,
    /// A feed, which may wait.
    Changes,
    /// Documents are written, and nothing is read.
    Writing,
    /// What a replicator asks before it writes.
    Lacking,
    /// What a design document's function answers to, which may write.
    Update,
    /// What is kept for the caller alone.
    Own,
    /// What tells nothing of any document but those of the caller.
    Harmless,
    /// How a query would be answered: names indexes, and so design documents.
    Plan,
    /// All else.
    Other,
}

/// Lets pass what there is behind this face for this caller.
///
/// # Errors
/// [`AccessError`]: that only administrators read the whole, that a part has no such thing, or that it is
/// being worked out who may read what.
pub(crate) fn allow(
    exchange: &Exchange,
    entry: &DatabaseEntry,
    second: &str,
    more: &[String],
) -> Result<(), ApiError> {
    if !entry.has_access_control() {
        return Ok(());
    }
    let admin = entry.access(&exchange.caller) == Access::Admin;
    let asked = asked(second, more);
    let method = &exchange.method;
    match entry.face {
        DatabaseFace::Whole if admin => return Ok(()),
        DatabaseFace::Whole => {
            if !written_blind(asked, method) {
                return Err(closed(entry));
            }
        }
        DatabaseFace::Mine | DatabaseFace::Partition(_) => {
            if !of_part(asked, method, admin) {
                return Err(not_of_part(entry));
            }
        }
    }
    let waits = || {
        let feed = exchange.query.get("feed");
        feed.is_some_and(|feed| feed != "normal")
    };
    if asked == Asked::List || (asked == Asked::Changes && !waits()) {
        settled(exchange, entry)?;
    }
    Ok(())
}

/// Lets pass who may be told of the database itself.
///
/// # Errors
/// As [`allow`].
pub(super) fn allow_root(exchange: &Exchange, entry: &DatabaseEntry) -> Result<(), ApiError> {
    let admin = entry.access(&exchange.caller) == Access::Admin;
    match entry.face {
        DatabaseFace::Whole if admin || !entry.has_access_control() => Ok(()),
        DatabaseFace::Whole => Err(closed(entry)),
        DatabaseFace::Mine | DatabaseFace::Partition(_) => settled(exchange, entry),
    }
}

fn closed(entry: &DatabaseEntry) -> ApiError {
    PodError::from(AccessError::WholeIsClosed(entry.name.clone())).into()
}

pub(super) fn not_of_part(entry: &DatabaseEntry) -> ApiError {
    PodError::from(AccessError::NotOfPart(entry.name.clone())).into()
}

/// Refuses while it is being worked out who may read what.
fn settled(exchange: &Exchange, entry: &DatabaseEntry) -> Result<(), ApiError> {
    match exchange.app.pod.rebuilding(entry) {
        Some(rebuilding) => Err(PodError::from(rebuilding).into()),
        None => Ok(()),
    }
}

/// What one who reads nothing may do to the whole.
fn written_blind(asked: Asked, method: &Method) -> bool {
    match asked {
        Asked::Documents | Asked::Design => method == Method::PUT || method == Method::DELETE,
        Asked::Writing | Asked::Lacking | Asked::Update => {
            method == Method::POST || method == Method::PUT
        }
        Asked::Own | Asked::Harmless => true,
        Asked::Reading | Asked::List | Asked::Changes | Asked::Plan | Asked::Other => false,
    }
}

/// What there is behind a face that is a part.
fn of_part(asked: Asked, method: &Method, admin: bool) -> bool {
    match asked {
        Asked::Documents
        | Asked::Reading
        | Asked::List
        | Asked::Changes
        | Asked::Writing
        | Asked::Lacking
        | Asked::Update
        | Asked::Own
        | Asked::Harmless => true,
        Asked::Design => method == Method::GET || method == Method::HEAD,
        Asked::Plan => admin,
        Asked::Other => false,
    }
}

/// What the path behind the database's name asks for.
fn asked(second: &str, more: &[String]) -> Asked {
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    // `_design%2Fx/_view/y` is another way to write `_design/x/_view/y`.
    if let Some(design) = second.strip_prefix("_design/") {
        let path: Vec<&str> = std::iter::once(design).chain(more).collect();
        return asked_of_design(&path);
    }
    if second.starts_with("_local/") {
        return if more.is_empty() {
            Asked::Own
        } else {
            Asked::Other
        };
    }
    match (second, more.as_slice()) {
        ("_design", path) => asked_of_design(path),
        ("_local", [_]) => Asked::Own,
        ("_all_docs" | "_design_docs" | "_local_docs", [] | ["queries"]) => Asked::List,
        ("_find" | "_aggregate", []) => Asked::List,
        ("_explain", []) => Asked::Plan,
        ("_changes", []) => Asked::Changes,
        ("_bulk_get", []) => Asked::Reading,
        ("_bulk_docs", []) => Asked::Writing,
        ("_revs_diff" | "_missing_revs", []) => Asked::Lacking,
        ("_partition", [_, "_all_docs" | "_find"]) => Asked::List,
        ("_partition", [_, "_design", _, "_view", _]) => Asked::List,
        ("_partition", [_, design, "_view", _]) if design.starts_with("_design/") => Asked::List,
        ("_ensure_full_commit" | "_signature" | "_sync" | "_partitions", []) => Asked::Harmless,
        (special, _) if special.starts_with('_') => Asked::Other,
        _ => Asked::Documents,
    }
}

fn asked_of_design(path: &[&str]) -> Asked {
    match path {
        [_] => Asked::Design,
        [_, "_view" | "_list", ..] => Asked::List,
        // What a rewriting leads to is asked about anew.
        [_, "_show" | "_rewrite", ..] => Asked::Reading,
        [_, "_update", ..] => Asked::Update,
        [_, attachment, ..] if !attachment.starts_with('_') => Asked::Design,
        _ => Asked::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Asked {
        let mut words = text.split('/').map(|word| word.replace("%2F", "/"));
        let second = words.next().unwrap();
        asked(&second, &words.collect::<Vec<_>>())
    }

    #[test]
    fn paths_are_told_apart_by_what_they_read() {
        for (text, expected) in [
            ("note", Asked::Documents),
            ("note/picture.png", Asked::Documents),
            ("_bulk_get", Asked::Reading),
            ("_design/x/_show/s/note", Asked::Reading),
            ("_all_docs", Asked::List),
            ("_all_docs/queries", Asked::List),
            ("_find", Asked::List),
            ("_design/x", Asked::Design),
            ("_design%2Fx", Asked::Design),
            ("_design/x/file", Asked::Design),
            ("_design/x/_view/y", Asked::List),
            ("_design/x/_view/y/queries", Asked::List),
            ("_design%2Fx/_view/y", Asked::List),
            ("_design/x/_list/l/v", Asked::List),
            ("_design/x/_update/u", Asked::Update),
            ("_design/x/_info", Asked::Other),
            ("_design", Asked::Other),
            ("_local/c", Asked::Own),
            ("_local%2Fc", Asked::Own),
            ("_local/c/d", Asked::Other),
            ("_changes", Asked::Changes),
            ("_index", Asked::Other),
            ("_explain", Asked::Plan),
            ("_security", Asked::Other),
            ("_compact", Asked::Other),
            ("_compact/x", Asked::Other),
            ("_purge", Asked::Other),
            ("_access", Asked::Other),
            ("_why/note", Asked::Other),
            ("_something_new", Asked::Other),
            ("_partition/p", Asked::Other),
            ("_partition/p/_all_docs", Asked::List),
            ("_partition/p/_index", Asked::Other),
        ] {
            assert_eq!(path(text), expected, "{text}");
        }
    }

    #[test]
    fn the_whole_is_written_and_not_read_by_who_does_not_administer_it() {
        let may = |text: &str, method: &Method| written_blind(path(text), method);
        for text in ["note", "note/file", "_design/x"] {
            assert!(
                may(text, &Method::PUT) && may(text, &Method::DELETE),
                "{text}"
            );
            for method in [&Method::GET, &Method::HEAD, &Method::OPTIONS, &Method::POST] {
                assert!(!may(text, method), "{method} {text}");
            }
        }
        for text in [
            "_bulk_docs",
            "_revs_diff",
            "_missing_revs",
            "_design/x/_update/u",
        ] {
            assert!(
                may(text, &Method::POST) && !may(text, &Method::GET),
                "{text}"
            );
        }
        for text in [
            "_all_docs",
            "_changes",
            "_find",
            "_index",
            "_explain",
            "_security",
            "_bulk_get",
            "_design/x/_show/s/note",
            "_design/x/_view/y",
            "_partition/p",
            "_shards",
            "_purged_infos",
            "_what",
        ] {
            for method in [
                &Method::GET,
                &Method::HEAD,
                &Method::POST,
                &Method::PUT,
                &Method::DELETE,
                &Method::OPTIONS,
            ] {
                assert!(!may(text, method), "{method} {text}");
            }
        }
    }

    #[test]
    fn a_part_has_documents_and_nothing_of_the_database_itself() {
        let may = |text: &str, method: &Method| of_part(path(text), method, false);
        for text in [
            "note",
            "_all_docs",
            "_changes",
            "_find",
            "_bulk_docs",
            "_design/x/_view/y",
        ] {
            assert!(may(text, &Method::GET), "{text}");
        }
        assert!(may("_design/x", &Method::GET) && !may("_design/x", &Method::PUT));
        for text in [
            "_security",
            "_compact",
            "_purge",
            "_revs_limit",
            "_index",
            "_explain",
            "_x",
        ] {
            assert!(
                !may(text, &Method::GET) && !may(text, &Method::PUT),
                "{text}"
            );
        }
    }
}
