//! A selector against stored documents, of which only those members are read that it looks at.
//!
//! Reading a whole document into a tree costs more than all else that a search does with it, and a
//! selector names two or three of its members. Everything else is stepped across.

use serde_json::{Map, Value};

use super::{Selector, TooMuchEffort};
use crate::json::skim::Wanted;
use crate::render::Rendering;

/// A selector that is to meet many stored documents.
#[derive(Debug, Clone)]
pub struct StoredMatcher {
    selector: Selector,
    wanted: Wanted,
}

impl StoredMatcher {
    /// Prepares a selector.
    #[must_use]
    pub fn new(selector: Selector) -> Self {
        Self {
            wanted: selector.needed_fields(),
            selector,
        }
    }

    /// The selector.
    #[must_use]
    pub fn selector(&self) -> &Selector {
        &self.selector
    }

    /// Whether the selector looks at the conflicts that are told of a document.
    #[must_use]
    pub fn needs_conflicts(&self) -> bool {
        self.wanted.names("_conflicts")
    }

    /// Whether a document matches.
    ///
    /// # Errors
    /// [`TooMuchEffort`], as [`Selector::try_matches`].
    pub fn matches(&self, document: &Rendering<'_>) -> Result<bool, TooMuchEffort> {
        self.selector
            .try_matches(&read_part(&self.wanted, document))
    }
}

/// Those members of a document that are wanted.
#[must_use]
pub fn read_part(wanted: &Wanted, document: &Rendering<'_>) -> Value {
    let mut members = Map::new();
    if !wanted.names_any_of_the_servers() {
        wanted.read_into(document.json, &mut members);
    } else if wanted.names_only_id_and_rev_of_the_servers() {
        if wanted.names("_id") {
            members.insert("_id".to_owned(), document.id.into());
        }
        if wanted.names("_rev") {
            members.insert("_rev".to_owned(), document.revision.to_string().into());
        }
        wanted.read_into(document.json, &mut members);
    } else {
        let mut whole = Vec::with_capacity(document.json.len() + 256);
        document.write(&mut whole);
        wanted.read_into(&whole, &mut members);
    }
    Value::Object(members)
}
