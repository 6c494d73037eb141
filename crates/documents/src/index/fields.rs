//! Mango indexes: the values of some fields of each document that has them all.
//!
//! A row's key is the array of the values, copied from the document's text as they stand there; its
//! value is null. Nothing is parsed for it but the way to the fields, unless a partial filter
//! decides who is indexed at all.
//!
//! Invariant: a document is in the index if and only if each field is found in it (a `null` is a
//! value), it passes the filter, and it is no design document. So an index answers for every
//! selector that requires its fields.

use serde_json::{Map, Value};

use super::portion::Row;
use super::state::Signature;
use crate::json::skim::{TextPath, Wanted};
use crate::json::write_json_string;
use crate::selector::{FieldPath, Selector};

/// Which fields are indexed, and of which documents.
#[derive(Clone, Debug)]
pub struct FieldIndex {
    columns: Vec<Column>,
    filter: Option<Filter>,
}

#[derive(Clone, Debug)]
struct Column {
    path: FieldPath,
    /// `None` for the document's id.
    text: Option<TextPath>,
}

#[derive(Clone, Debug)]
struct Filter {
    selector: Selector,
    wanted: Wanted,
}

impl FieldIndex {
    /// An index of `columns`, of those documents that `filter` matches.
    #[must_use]
    pub fn new(columns: Vec<FieldPath>, filter: Option<Selector>) -> Self {
        let column = |path: FieldPath| Column {
            text: (path.name() != "_id").then(|| TextPath::of(&path)),
            path,
        };
        Self {
            columns: columns.into_iter().map(column).collect(),
            filter: filter.map(|selector| Filter {
                wanted: selector.needed_fields(),
                selector,
            }),
        }
    }

    /// The fields, in their order.
    #[must_use]
    pub fn columns(&self) -> impl ExactSizeIterator<Item = &FieldPath> {
        self.columns.iter().map(|column| &column.path)
    }

    /// What decides which documents are indexed, if not all are.
    #[must_use]
    pub fn filter(&self) -> Option<&Selector> {
        self.filter.as_ref().map(|filter| &filter.selector)
    }

    /// Names what the index computes.
    #[must_use]
    pub fn signature(&self, partitioned: bool) -> Signature {
        let filter = self.filter().map(|filter| filter.to_json().to_string());
        let mut parts: Vec<&[u8]> =
            vec![b"mango 1", &[0], filter.as_deref().unwrap_or("").as_bytes()];
        if partitioned {
            parts.insert(1, b"partitioned");
        }
        parts.extend(self.columns().map(|path| path.name().as_bytes()));
        Signature::of(&parts)
    }

    /// The row of document `id`, whose text is `json`, if it has one. The text may tell the id and
    /// the revision, too; an index on `_rev` needs that.
    #[must_use]
    pub fn extract(&self, id: &str, json: &[u8]) -> Option<Row> {
        if id.starts_with("_design/") {
            return None;
        }
        let mut key = Vec::with_capacity(64);
        for column in &self.columns {
            key.push(if key.is_empty() { b'[' } else { b',' });
            match &column.text {
                None => write_json_string(&mut key, id),
                Some(text) => key.extend_from_slice(text.find(json)?),
            }
        }
        key.push(b']');
        if !self.passes(id, json) {
            return None;
        }
        Some(Row {
            key: String::from_utf8(key).ok()?,
            value: "null".to_owned(),
        })
    }

    fn passes(&self, id: &str, json: &[u8]) -> bool {
        let Some(filter) = &self.filter else {
            return true;
        };
        let mut members = Map::new();
        filter.wanted.read_into(json, &mut members);
        if filter.wanted.names("_id") {
            members.insert("_id".to_owned(), id.into());
        }
        filter.selector.matches(&Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::json::normalise;
    use crate::selector::Lookup;

    fn index(columns: &[&str], filter: Option<Value>) -> FieldIndex {
        let columns = columns.iter().map(|name| FieldPath::parse(name).unwrap());
        let filter = filter.map(|filter| Selector::parse(&filter).unwrap());
        FieldIndex::new(columns.collect(), filter)
    }

    fn check(index: &FieldIndex, id: &str, document: &str, expected: Option<&str>) {
        let text = normalise(document.as_bytes()).unwrap();
        let row = index.extract(id, &text);
        assert_eq!(row.as_ref().map(|row| &*row.key), expected, "{document}");
        assert!(row.is_none_or(|row| row.value == "null"));
    }

    #[test]
    fn documents_with_all_fields_are_indexed() {
        let plain = index(&["a", "b.c", "_id"], None);
        check(
            &plain,
            "x\"",
            r#"{"b":{"c":1.50},"a":null}"#,
            Some(r#"[null,1.5,"x\""]"#),
        );
        check(
            &plain,
            "x",
            r#"{"b":{"c":[{"d":1}]},"a":"é"}"#,
            Some(r#"["é",[{"d":1}],"x"]"#),
        );
        check(&plain, "x", r#"{"b":{},"a":1}"#, None);
        check(&plain, "x", r#"{"b":{"c":1}}"#, None);
        check(&plain, "_design/x", r#"{"b":{"c":1},"a":1}"#, None);
        check(
            &index(&["tags.1"], None),
            "x",
            r#"{"tags":[1,[2]]}"#,
            Some("[[2]]"),
        );
    }

    #[test]
    fn a_filter_keeps_others_out() {
        let some = index(&["a"], Some(json!({"b": {"$gt": 1}, "_id": {"$lt": "m"}})));
        check(&some, "c", r#"{"a":1,"b":2}"#, Some("[1]"));
        check(&some, "c", r#"{"a":1,"b":1}"#, None);
        check(&some, "c", r#"{"a":1}"#, None);
        check(&some, "n", r#"{"a":1,"b":2}"#, None);
    }

    #[test]
    fn what_decides_rows_decides_the_signature() {
        let all = [
            index(&["a"], None),
            index(&["b"], None),
            index(&["a", "b"], None),
            index(&["b", "a"], None),
            index(&["a"], Some(json!({"b": 1}))),
            index(&["a"], Some(json!({"b": 2}))),
        ];
        let signatures = all
            .iter()
            .flat_map(|index| [index.signature(false), index.signature(true)]);
        let distinct: std::collections::HashSet<_> = signatures.collect();
        assert_eq!(distinct.len(), 2 * all.len());
    }

    proptest! {
        /// The naive way to the same row, over a tree of the whole document.
        #[test]
        fn rows_are_those_of_the_tree(
            members in prop::collection::vec(("[abc]", prop_oneof![
                Just(json!(null)), any::<i8>().prop_map(Value::from), Just(json!({"c": {"d": [1, "x"]}})), Just(json!([{"b": 2}, 3])),
            ]), 0..4),
            columns in prop::collection::vec(prop::sample::select(vec!["a", "b", "a.c", "a.c.d", "b.0", "b.0.b", "c"]), 1..3),
        ) {
            let document = Value::Object(members.into_iter().collect());
            let text = normalise(document.to_string().as_bytes()).unwrap();
            let index = index(&columns, None);
            let values: Option<Vec<Value>> = index.columns().map(|path| match path.find(&document) {
                Lookup::Found(value) => Some(value.clone()),
                Lookup::Missing | Lookup::Unreachable => None,
            }).collect();
            let expected = values.map(|values| Value::Array(values).to_string());
            prop_assert_eq!(index.extract("x", &text).map(|row| row.key), expected);
        }
    }
}
