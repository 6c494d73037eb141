//! A query as it was asked.

use adea_documents::selector::{FieldPath, Selector};

/// A query as it was asked.
#[derive(Clone, Debug)]
pub struct FindQuery {
    /// Which documents are meant.
    pub selector: Selector,
    /// Whether it is one of `CouchDB`'s selectors that mean none, such as `{"$or": []}`.
    pub nothing: bool,
    /// At most so many are answered.
    pub limit: u64,
    /// So many are passed over before.
    pub skip: u64,
    /// By which fields they come.
    pub sort: Vec<String>,
    /// Whether they come downwards.
    pub descending: bool,
    /// Which fields are answered; `None` for all.
    pub fields: Option<Vec<FieldPath>>,
    /// Where another answer ended.
    pub bookmark: Option<String>,
    /// The design document whose index is to be used, and perhaps the index's name.
    pub use_index: Vec<String>,
    /// Whether another index, or none, will do.
    pub allow_fallback: bool,
    /// Whether the index is brought up to date first.
    pub update: bool,
    /// Whether conflicts are told of documents.
    pub conflicts: bool,
    /// The partition that alone is meant.
    pub partition: Option<String>,
}

impl FindQuery {
    /// Every document that `selector` means.
    #[must_use]
    pub fn of(selector: Selector) -> Self {
        Self {
            selector,
            nothing: false,
            limit: u64::MAX,
            skip: 0,
            sort: Vec::new(),
            descending: false,
            fields: None,
            bookmark: None,
            use_index: Vec::new(),
            allow_fallback: true,
            update: true,
            conflicts: false,
            partition: None,
        }
    }
}
