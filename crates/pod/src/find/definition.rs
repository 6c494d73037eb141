//! What a Mango index is, as a design document of `"language": "query"` says it.
//!
//! Each view of such a document is an index: its map is an object with the fields, and perhaps the
//! selector that decides who is indexed. Documents that came by replication are read the same way;
//! what is no index is passed over.

use std::sync::Arc;

use adea_documents::collation::Collation;
use adea_documents::index::Row;
use adea_documents::index::fields::FieldIndex;
use adea_documents::selector::{FieldPath, Selector};
use serde_json::{Map, Value};

use crate::indexing::{Extract, IndexPlan, Mapper};

/// The most fields an index may have.
pub const COLUMNS_MAX: usize = 64;

/// A Mango index.
#[derive(Debug)]
pub struct MangoIndex {
    /// The design document, `_design/` and all.
    pub design: String,
    /// The index's name in it.
    pub name: String,
    /// The fields and their directions, as they were asked for: rows lie upwards anyway.
    pub columns: Vec<(FieldPath, &'static str)>,
    /// The selector that decides who is indexed, in normal form.
    pub filter: Option<Value>,
    /// Whether it is parted like the database.
    pub partitioned: bool,
    pub(crate) plan: Arc<IndexPlan>,
}

impl Extract for FieldIndex {
    fn rows(&self, id: &str, json: &[u8]) -> Vec<Row> {
        self.extract(id, json).into_iter().collect()
    }
}

impl MangoIndex {
    /// Reads the view `name` of a design document.
    pub(crate) fn read(design: &str, name: &str, view: &Value, partitioned: bool) -> Option<Self> {
        let map = view.get("map")?.as_object()?;
        view.get("options")?.as_object()?;
        let columns = columns_of(map.get("fields")?)?;
        let empty = |filter: &&Value| !filter.as_object().is_some_and(Map::is_empty);
        // Once the filter was called `selector`.
        let filter = ["partial_filter_selector", "selector"];
        let filter = filter.iter().find_map(|name| map.get(*name)).filter(empty);
        let selector = filter.map(Selector::parse).transpose().ok()?;
        let paths = columns.iter().map(|(path, _)| path.clone()).collect();
        let filter = selector.as_ref().map(Selector::to_json);
        let fields = FieldIndex::new(paths, selector);
        Some(Self {
            design: design.to_owned(),
            name: name.to_owned(),
            columns,
            filter,
            partitioned,
            plan: Arc::new(IndexPlan {
                signature: fields.signature(partitioned),
                mapper: Mapper::Fields(Arc::new(fields)),
                reduces: Vec::new(),
                collation: Collation::Unicode,
                include_design: false,
                local_seq: false,
                partitioned,
                name: design.to_owned(),
            }),
        })
    }

    /// The names of its fields.
    #[must_use]
    pub fn column_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.columns.iter().map(|(path, _)| path.name())
    }

    /// Whether the index alone tells all of `fields`.
    #[must_use]
    pub fn covers<'a>(&self, fields: impl IntoIterator<Item = &'a str>) -> bool {
        let told = |field| field == "_id" || self.column_names().any(|column| column == field);
        fields.into_iter().all(told)
    }

    /// As lists of indexes show it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let field = |(path, direction): &(FieldPath, &'static str)| {
            let mut members = Map::new();
            members.insert(path.name().to_owned(), (*direction).into());
            Value::Object(members)
        };
        let mut definition = Map::new();
        let fields: Vec<Value> = self.columns.iter().map(field).collect();
        definition.insert("fields".to_owned(), fields.into());
        if let Some(filter) = &self.filter {
            definition.insert("partial_filter_selector".to_owned(), filter.clone());
        }
        serde_json::json!({
            "ddoc": self.design,
            "name": self.name,
            "type": "json",
            "partitioned": self.partitioned,
            "def": definition,
        })
    }
}

/// The primary index as lists of indexes show it.
#[must_use]
pub fn primary_index_json() -> Value {
    serde_json::json!({
        "ddoc": null, "name": "_all_docs", "type": "special", "def": {"fields": [{"_id": "asc"}]},
    })
}

/// The fields of a stored definition: an object of directions; of others make a list of names, or
/// of objects with one member each.
fn columns_of(fields: &Value) -> Option<Vec<(FieldPath, &'static str)>> {
    let column = |name: &str, direction: &Value| {
        let direction = match direction.as_str()? {
            "asc" => "asc",
            "desc" => "desc",
            _ => return None,
        };
        let path = FieldPath::parse(name).ok()?;
        (!name.is_empty()).then_some((path, direction))
    };
    let ascending = Value::from("asc");
    let columns: Option<Vec<_>> = match fields {
        Value::Object(members) => members
            .iter()
            .map(|(name, direction)| column(name, direction))
            .collect(),
        Value::Array(items) => items
            .iter()
            .map(|item| match item {
                Value::String(name) => column(name, &ascending),
                Value::Object(members) if members.len() == 1 => {
                    let (name, direction) = members.iter().next()?;
                    column(name, direction)
                }
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_) => None,
            })
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    };
    columns.filter(|columns| (1..=COLUMNS_MAX).contains(&columns.len()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[expect(
        clippy::needless_pass_by_value,
        reason = "calls read better with `json!`"
    )]
    fn read(view: Value) -> Option<MangoIndex> {
        MangoIndex::read("_design/d", "n", &view, false)
    }

    #[test]
    fn stored_definitions_are_read() {
        let index = read(json!({
            "map": {"fields": {"a": "asc", "b.c": "desc"}, "partial_filter_selector": {"x": 1}},
            "reduce": "_count", "options": {"def": {"fields": ["a"]}}
        }))
        .unwrap();
        assert_eq!(index.column_names().collect::<Vec<_>>(), ["a", "b.c"]);
        assert_eq!(
            index.to_json(),
            json!({"ddoc": "_design/d", "name": "n", "type": "json", "partitioned": false,
                "def": {"fields": [{"a": "asc"}, {"b.c": "desc"}], "partial_filter_selector": {"x": {"$eq": 1}}}})
        );
        assert!(index.covers(["b.c", "_id"]) && !index.covers(["b"]));
        let old = read(
            json!({"map": {"fields": {"a": "asc"}, "selector": {"a": {"$gt": 1}}}, "options": {}}),
        );
        assert_eq!(old.unwrap().filter, Some(json!({"a": {"$gt": 1}})));
        let plain = read(
            json!({"map": {"fields": ["a", {"b": "asc"}], "partial_filter_selector": {}}, "options": {}}),
        );
        assert_eq!(plain.unwrap().filter, None);
    }

    #[test]
    fn what_is_no_index_is_passed_over() {
        for junk in [
            json!({}),
            json!({"map": "function(doc) {}", "options": {}}),
            json!({"map": {"fields": {"a": "asc"}}}),
            json!({"map": {"fields": {}}, "options": {}}),
            json!({"map": {"fields": {"a": 1}}, "options": {}}),
            json!({"map": {"fields": {"a..b": "asc"}}, "options": {}}),
            json!({"map": {"fields": [["a"]]}, "options": {}}),
            json!({"map": {"fields": ["a"], "selector": {"a": {"$foo": 1}}}, "options": {}}),
        ] {
            assert!(read(junk.clone()).is_none(), "{junk}");
        }
    }
}
