//! Documents as an index alone tells of them: their ids and the indexed fields.

use adea_documents::json::skim::{items, read_value};
use adea_documents::selector::FieldPath;
use serde_json::{Map, Value};

use super::MangoIndex;

/// Reads documents out of the keys of an index.
#[derive(Clone, Debug)]
pub(super) struct Covered {
    columns: Vec<FieldPath>,
    partitioned: bool,
}

impl Covered {
    pub(super) fn of(index: &MangoIndex) -> Self {
        Self {
            columns: index.columns.iter().map(|(path, _)| path.clone()).collect(),
            partitioned: index.partitioned,
        }
    }

    /// The texts of the indexed values in a row's key.
    pub(super) fn columns<'k>(&self, key: &'k str) -> Option<Vec<&'k [u8]>> {
        let key = key.as_bytes();
        let values = if self.partitioned {
            items(key).nth(1)?
        } else {
            key
        };
        let columns: Vec<&[u8]> = items(values).collect();
        (columns.len() == self.columns.len()).then_some(columns)
    }

    /// The text of an indexed field.
    pub(super) fn value<'k>(&self, columns: &[&'k [u8]], field: &FieldPath) -> Option<&'k [u8]> {
        let at = self
            .columns
            .iter()
            .position(|path| path.name() == field.name())?;
        columns.get(at).copied()
    }

    /// The document, as far as it is told: a selector over these fields finds in it what it would
    /// find in the whole.
    pub(super) fn document(&self, id: &str, columns: &[&[u8]]) -> Value {
        let mut members = Map::new();
        members.insert("_id".to_owned(), id.into());
        for (path, text) in self.columns.iter().zip(columns) {
            if path.name() != "_id"
                && let Some(value) = read_value(text)
            {
                let steps: Vec<&str> = path.steps().collect();
                put(&mut members, &steps, value);
            }
        }
        Value::Object(members)
    }
}

fn put(members: &mut Map<String, Value>, steps: &[&str], value: Value) {
    match steps {
        [] => {}
        [last] => {
            members.insert((*last).to_owned(), value);
        }
        [first, rest @ ..] => {
            let inner = members
                .entry(*first)
                .or_insert_with(|| Value::Object(Map::new()));
            // Where the whole is told already, so is what is inside.
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}
