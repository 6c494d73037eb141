//! Answering with some fields of a document.
//!
//! The values are copied from the document's text as they stand; a nested field comes inside
//! objects that hold nothing else. Fields that are not there are left out.

use std::collections::HashMap;

use adea_documents::json::skim::{items, key_of, members};
use adea_documents::json::write_json_string;
use adea_documents::selector::{FieldPath, array_index};

/// The fields of an answer.
#[derive(Clone, Debug)]
pub(super) struct Projection {
    paths: Vec<FieldPath>,
    /// The names on the ways to them, so that a document is run over once however many they are.
    names: Names,
}

/// The steps that lead on from a place, and which paths end there.
#[derive(Clone, Debug, Default)]
struct Names {
    ends: Vec<usize>,
    inner: HashMap<Vec<u8>, Self>,
    indexes: HashMap<usize, Vec<u8>>,
}

/// An answer on its way: what is at a place, or what is inside it.
enum Node<'t> {
    Value(&'t [u8]),
    Object(Vec<(&'t str, Self)>),
}

impl Projection {
    pub(super) fn new(fields: &[FieldPath]) -> Self {
        let mut names = Names::default();
        for (at, field) in fields.iter().enumerate() {
            let end = field.steps().fold(&mut names, |node, step| node.step(step));
            end.ends.push(at);
        }
        Self {
            paths: fields.to_vec(),
            names,
        }
    }

    /// Whether a field is asked for that the server tells of a document, besides its id and
    /// revision.
    pub(super) fn needs_all_of_the_servers(&self) -> bool {
        let first = |path: &FieldPath| path.steps().next().map(str::to_owned);
        self.paths
            .iter()
            .filter_map(first)
            .any(|step| step.starts_with('_') && !matches!(&*step, "_id" | "_rev"))
    }

    /// Writes the fields of a document whose text is `text`; `given` tells, as JSON, those that are
    /// not in it.
    pub(super) fn write<'t>(
        &'t self,
        out: &mut Vec<u8>,
        text: &'t [u8],
        given: impl Fn(&FieldPath) -> Option<&'t [u8]>,
    ) {
        let mut found = vec![None; self.paths.len()];
        self.names.find(text, &mut found);
        let mut members = Vec::new();
        for (path, in_text) in self.paths.iter().zip(found) {
            if let Some(value) = given(path).or(in_text) {
                let steps: Vec<&str> = path.steps().collect();
                put(&mut members, &steps, value);
            }
        }
        write_members(out, &members);
    }
}

impl Names {
    /// The place behind one more step.
    fn step(&mut self, step: &str) -> &mut Self {
        let key = key_of(step);
        if let Some(index) = array_index(step) {
            // The first of several spellings; the others lead into objects only.
            self.indexes.entry(index).or_insert_with(|| key.clone());
        }
        self.inner.entry(key).or_default()
    }

    /// Puts the texts of the values at the ends of paths into their places.
    fn find<'t>(&self, text: &'t [u8], found: &mut [Option<&'t [u8]>]) {
        for at in &self.ends {
            if let Some(slot) = found.get_mut(*at) {
                *slot = Some(text);
            }
        }
        if self.inner.is_empty() {
            return;
        }
        match text.first() {
            Some(b'{') => {
                for (name, value) in members(text) {
                    if let Some(inner) = self.inner.get(name) {
                        inner.find(value, found);
                    }
                }
            }
            Some(b'[') if !self.indexes.is_empty() => {
                for (at, value) in items(text).enumerate() {
                    let key = self.indexes.get(&at);
                    if let Some(inner) = key.and_then(|key| self.inner.get(key)) {
                        inner.find(value, found);
                    }
                }
            }
            Some(_) | None => {}
        }
    }
}

/// Puts a value at the end of some steps.
fn put<'t>(members: &mut Vec<(&'t str, Node<'t>)>, steps: &[&'t str], value: &'t [u8]) {
    let Some((first, rest)) = steps.split_first() else {
        return;
    };
    let known = members.iter().position(|(name, _)| name == first);
    let at = known.unwrap_or_else(|| {
        members.push((first, Node::Object(Vec::new())));
        members.len() - 1
    });
    match members.get_mut(at) {
        Some((_, node)) if rest.is_empty() => *node = Node::Value(value),
        Some((_, Node::Object(inner))) => put(inner, rest, value),
        // The whole is there already.
        Some((_, Node::Value(_))) | None => {}
    }
}

fn write_members(out: &mut Vec<u8>, members: &[(&str, Node<'_>)]) {
    out.push(b'{');
    for (n, (name, node)) in members.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_json_string(out, name);
        out.push(b':');
        match node {
            Node::Value(value) => out.extend_from_slice(value),
            Node::Object(inner) => write_members(out, inner),
        }
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fields: &[&str], expected: &str) {
        let text = br#"{"a":{"b":1.0,"c":[2,{"d":3}]},"e":"\"","f.g":null}"#;
        let fields: Vec<FieldPath> = fields
            .iter()
            .map(|f| FieldPath::parse(f).unwrap())
            .collect();
        let mut out = Vec::new();
        let given = |path: &FieldPath| (path.name() == "_id").then_some(&b"\"x\""[..]);
        Projection::new(&fields).write(&mut out, text, given);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn fields_keep_their_place_and_their_text() {
        check(&["e", "_id"], r#"{"e":"\"","_id":"x"}"#);
        check(
            &["a.b", "zzz", "a.c.1.d"],
            r#"{"a":{"b":1.0,"c":{"1":{"d":3}}}}"#,
        );
        check(&["a.b", "a"], r#"{"a":{"b":1.0,"c":[2,{"d":3}]}}"#);
        check(&["a", "a.b"], r#"{"a":{"b":1.0,"c":[2,{"d":3}]}}"#);
        check(&[r"f\.g", "a.x"], r#"{"f.g":null}"#);
        check(&[], "{}");
    }
}
