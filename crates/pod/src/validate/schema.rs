//! Judging a draft by the schema of its type, before anything else looks at what it says.
//!
//! Members that clients do not set are taken out, or set back, in the draft itself: what is labelled,
//! shown to validation functions and stored is what is left. Under a replicated revision nothing can be
//! taken out, since its name says what it holds; such a draft is refused.

use adea_access::schema::{DocumentSchemas, SchemaRefusal, Standing};
use adea_accounts::Access;
use adea_documents::json::{parse_document, skim};
use adea_documents::record::Record;
use adea_documents::revision::Revision;
use serde_json::{Map, Value};

use super::standing::{Bodies, leaves_asked};
use crate::access::WriteRefused;
use crate::databases::DatabaseEntry;
use crate::error::PodError;
use crate::write_document::{DraftedEdit, Prepared};

/// Judges `draft`, and leaves in it what is to be stored.
pub(super) fn judge(
    entry: &DatabaseEntry,
    schemas: &DocumentSchemas,
    record: &Record,
    bodies: &mut Bodies<'_, '_>,
    draft: &mut Prepared,
    edited: Option<&Revision>,
) -> Result<Result<(), WriteRefused>, PodError> {
    if draft.deleted() {
        return Ok(Ok(()));
    }
    let is_client = entry.access(&draft.caller) != Access::Admin;
    let mut old = Vec::new();
    if is_client {
        for leaf in leaves_asked(record, draft, edited) {
            let body = bodies.get(leaf)?;
            old.push(body.map_or_else(Map::new, |body| members(&body.json)));
        }
    }
    let old: Vec<Standing<'_>> = old.iter().map(Standing).collect();
    let mut document = members(&draft.draft.json);
    let changed = match schemas.judge(&mut document, &old, is_client) {
        Ok(changed) => changed,
        Err(SchemaRefusal::Unsatisfied(path, reason)) => {
            return Ok(Err(WriteRefused::Schema { path, reason }));
        }
        Err(SchemaRefusal::NotForClients(path)) => {
            return Ok(Err(WriteRefused::NotForClients { path }));
        }
    };
    if changed {
        if matches!(draft.edit, DraftedEdit::Replicated(..)) {
            let path = String::new();
            return Ok(Err(WriteRefused::NotForClients { path }));
        }
        let parsed = parse_document(Value::Object(document).to_string().as_bytes())?;
        draft.draft.json = parsed.body;
        draft.draft.term = parsed.term;
    }
    Ok(Ok(()))
}

fn members(json: &[u8]) -> Map<String, Value> {
    match skim::read_value(json) {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    }
}
