//! Which changes a feed tells: all, design documents, named ones, those a selector matches, or those
//! that a function of a design document lets pass.
//!
//! A filter is read once, when the feed is asked for, and then only looks at rows; it keeps nothing
//! between them. A row that does not pass is passed over, never held back: the position moves on
//! behind it all the same. Documents that are named, and design documents, are found by their ids
//! where that is less work than to walk the feed. Functions are called elsewhere (`function.rs`).

use std::collections::HashSet;
use std::sync::Arc;

use adea_documents::json::{for_each_item, for_each_member, read_text};
use adea_documents::record::Leaf;
use adea_documents::selector::{Selector, StoredMatcher};
use adea_pod::{ChangeRow, DatabaseEntry};
use serde_json::Value;

use crate::couch::changes::function::{Called, Kind};
use crate::couch::design::request::{Asking, request_object};
use crate::error::ApiError;
use crate::router::Exchange;

/// The most ids a filter may name.
const IDS_MAX: usize = 100_000;

/// Which changes are told.
#[derive(Debug)]
pub(super) enum Filter {
    All,
    Design,
    Ids(HashSet<String>),
    Selector(Box<StoredMatcher>),
    Function(Arc<Called>),
}

/// Which leaves of a row are told.
pub(super) enum Passing {
    None,
    All,
    Some(Vec<Leaf>),
}

impl From<bool> for Passing {
    fn from(all: bool) -> Self {
        if all { Self::All } else { Self::None }
    }
}

impl Filter {
    /// Whether the filter looks into documents.
    pub(super) fn looks_inside(&self) -> bool {
        matches!(self, Self::Selector(_))
    }

    /// Which of the leaves of `row` are told.
    pub(super) fn passing(&self, row: &ChangeRow<'_>) -> Passing {
        match self {
            // What a function lets pass was found out before.
            Self::All | Self::Function(_) => Passing::All,
            Self::Design => row.id.starts_with("_design/").into(),
            Self::Ids(ids) => ids.contains(row.id).into(),
            // What is gone from sight is not the filter's to know.
            Self::Selector(_) if row.removal => Passing::All,
            Self::Selector(selector) => {
                let passing = row.matching(selector);
                match passing.len() {
                    0 => Passing::None,
                    all if all == row.leaves.len() => Passing::All,
                    _ => Passing::Some(passing.into_iter().cloned().collect()),
                }
            }
        }
    }
}

pub(super) fn read_filter(
    exchange: &Exchange,
    entry: &DatabaseEntry,
    body: &[u8],
) -> Result<Filter, ApiError> {
    let query = &exchange.query;
    match query.get("filter") {
        None | Some("") => Ok(Filter::All),
        Some("_design") => Ok(Filter::Design),
        Some("_doc_ids") => {
            let from_body = member(body, "doc_ids")?;
            let ids = match (&from_body, query.get("doc_ids")) {
                (Some(ids), _) => read_ids(ids)?,
                (None, Some(ids)) => read_ids(ids.as_bytes())?,
                (None, None) => {
                    return Err(ApiError::bad("`doc_ids` filter parameter is not provided."));
                }
            };
            Ok(Filter::Ids(ids))
        }
        Some("_selector") => {
            let selector = member(body, "selector")?.ok_or_else(|| {
                ApiError::bad("Filter selector requires a `selector` in the request body.")
            })?;
            let value: Value = serde_json::from_slice(&selector)
                .map_err(|_| ApiError::from(adea_documents::json::JsonError::Invalid))?;
            if !value.is_object() {
                return Err(ApiError::bad("Selector error: expected a JSON object"));
            }
            let selector =
                Selector::parse(&value).map_err(|error| ApiError::bad(error.reason()))?;
            Ok(Filter::Selector(Box::new(StoredMatcher::new(selector))))
        }
        Some("_view") => {
            let view = query
                .get("view")
                .ok_or_else(|| ApiError::bad("`view` filter parameter is not provided."))?;
            let (ddoc, view) = view
                .split_once('/')
                .ok_or_else(|| ApiError::bad("`view` must be of the form `designname/viewname`"))?;
            let called = called(exchange, entry, ddoc, Kind::View, view, String::new())?;
            Ok(Filter::Function(called))
        }
        Some(name) => {
            let (ddoc, function) = name.split_once('/').ok_or_else(|| {
                ApiError::bad("`filter` must be of the form `designname/filtername`")
            })?;
            let asking = Asking { id: None, body };
            let request = request_object(exchange, entry, &asking)?;
            let called = called(exchange, entry, ddoc, Kind::Filter, function, request)?;
            Ok(Filter::Function(called))
        }
    }
}

/// A function that is called, after it was made sure that there is one.
fn called(
    exchange: &Exchange,
    entry: &DatabaseEntry,
    ddoc: &str,
    kind: Kind,
    name: &str,
    request: String,
) -> Result<Arc<Called>, ApiError> {
    let called = Called {
        design: format!("_design/{ddoc}"),
        kind,
        name: name.to_owned(),
        request,
    };
    let pod = &exchange.app.pod;
    let design = pod.design_functions(entry, &exchange.caller, &called.design)?;
    match called.find_in(&design) {
        Ok(()) => Ok(Arc::new(called)),
        Err(missing) => Err(ApiError::NoMember(missing.to_owned())),
    }
}

/// The text of a member of a JSON body; an empty body has none.
fn member(body: &[u8], wanted: &str) -> Result<Option<Vec<u8>>, ApiError> {
    let mut found = None;
    if !body.iter().all(u8::is_ascii_whitespace) {
        for_each_member(body, |name, value| {
            if name == wanted {
                found = Some(adea_documents::json::normalise(value)?);
            }
            Ok::<_, ApiError>(())
        })?;
    }
    Ok(found)
}

fn read_ids(json: &[u8]) -> Result<HashSet<String>, ApiError> {
    let mut ids = HashSet::new();
    let is_array = for_each_item(json, |item| {
        if ids.len() == IDS_MAX {
            return Err(ApiError::TooMany(
                "Too many `doc_ids` in one filter.".into(),
            ));
        }
        ids.extend(read_text(item)?.map(std::borrow::Cow::into_owned));
        Ok::<_, ApiError>(())
    })?;
    if is_array {
        Ok(ids)
    } else {
        Err(ApiError::bad(
            "`doc_ids` filter parameter is not a list of doc ids.",
        ))
    }
}
