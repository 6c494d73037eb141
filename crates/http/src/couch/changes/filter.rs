//! Which changes a feed tells: all, design documents, named ones, or those a selector matches.
//!
//! A filter is read once, when the feed is asked for, and then only looks at rows; it keeps nothing
//! between them. A row that does not pass is passed over, never held back: the position moves on
//! behind it all the same. Filters that are functions of a design document are not run; that they
//! exist is checked before this is said.

use std::collections::HashSet;

use adea_documents::json::{for_each_item, for_each_member, read_text};
use adea_documents::selector::Selector;
use adea_pod::ChangeRow;
use serde_json::Value;

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
    Selector(Box<Selector>),
}

impl Filter {
    /// Whether `row` is told.
    pub(super) fn passes(&self, row: &ChangeRow<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Design => row.id.starts_with("_design/"),
            Self::Ids(ids) => ids.contains(row.id),
            Self::Selector(selector) => {
                let Some(document) = &row.document else {
                    return false;
                };
                let Ok(mut value) = serde_json::from_slice::<Value>(document.json) else {
                    return false;
                };
                if let Some(fields) = value.as_object_mut() {
                    fields.insert("_id".to_owned(), row.id.into());
                    fields.insert("_rev".to_owned(), row.winner.revision.to_string().into());
                    if row.winner.deleted {
                        fields.insert("_deleted".to_owned(), true.into());
                    }
                }
                selector.matches(&value)
            }
        }
    }
}

pub(super) fn read_filter(exchange: &Exchange, body: &[u8]) -> Result<Filter, ApiError> {
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
            Ok(Filter::Selector(Box::new(selector)))
        }
        Some("_view") if query.get("view").is_none() => {
            Err(ApiError::bad("`view` filter parameter is not provided."))
        }
        Some("_view") => Err(ApiError::NotImplemented("A filter by a view")),
        Some(name) if !name.contains('/') => Err(ApiError::bad(
            "`filter` must be of the form `designname/filtername`",
        )),
        Some(name) => {
            let (ddoc, function) = name.split_once('/').unwrap_or((name, ""));
            let id = format!("_design/{ddoc}");
            let told = adea_pod::Told::default();
            let database = exchange.app.pod.database(&database_of(exchange)?)?;
            let which = adea_pod::Which::Winner;
            let found = exchange
                .app
                .pod
                .read(&database, &exchange.caller, &id, &which, told)?;
            let filters = member(&found.body.json, "filters")?.unwrap_or_default();
            if member(&filters, function)?.is_none() {
                return Err(ApiError::NoMember(function.to_owned()));
            }
            Err(ApiError::NotImplemented(
                "A filter by a design document's function",
            ))
        }
    }
}

fn database_of(exchange: &Exchange) -> Result<adea_base::DatabaseName, ApiError> {
    Ok(adea_base::DatabaseName::parse(&exchange.database)?)
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
