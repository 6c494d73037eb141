//! Where in a document a selector looks: `name.first`, `tags.0`, `dotted\.name`.
//!
//! A path is steps joined by dots. A backslash before a dot makes it part of the name; every
//! backslash is then dropped, so a name that holds one cannot be reached. A step into an array
//! is an index. These are `CouchDB`'s rules, with one distinction that matters to `$exists`:
//! a member that is not there is [`Lookup::Missing`], while a step into something that has no
//! such members at all (a number, an index past the end) is [`Lookup::Unreachable`].

use serde_json::Value;

/// A parsed path. The empty path means the value itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPath {
    name: String,
    steps: Vec<Box<str>>,
}

/// What is at the end of a path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Lookup<'a> {
    /// This value.
    Found(&'a Value),
    /// An object on the way lacks the next member.
    Missing,
    /// Something on the way cannot have the next step.
    Unreachable,
}

/// A path with an empty step, such as `a..b`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidFieldPath;

impl FieldPath {
    /// Parses a path as selectors, `fields` and `sort` write it.
    ///
    /// # Errors
    /// [`InvalidFieldPath`] if a step is empty.
    pub fn parse(name: &str) -> Result<Self, InvalidFieldPath> {
        let mut steps = Vec::new();
        if !name.is_empty() {
            let mut start = 0;
            let mut previous = b'.';
            for (at, byte) in name.bytes().enumerate() {
                if byte == b'.' && (previous != b'\\' || at == start) {
                    steps.push(step(name.get(start..at))?);
                    start = at + 1;
                }
                previous = byte;
            }
            steps.push(step(name.get(start..))?);
        }
        Ok(Self {
            name: name.to_owned(),
            steps,
        })
    }

    /// The path as it was written, with nested fields joined by dots.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The names along the path, without escapes.
    pub fn steps(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().map(AsRef::as_ref)
    }

    /// Follows the path into a value.
    #[must_use]
    pub fn find<'a>(&self, value: &'a Value) -> Lookup<'a> {
        let mut value = value;
        for step in self.steps() {
            let next = match value {
                Value::Object(members) => members.get(step).ok_or(Lookup::Missing),
                Value::Array(elements) => array_index(step)
                    .and_then(|at| elements.get(at))
                    .ok_or(Lookup::Unreachable),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                    Err(Lookup::Unreachable)
                }
            };
            value = match next {
                Ok(next) => next,
                Err(lost) => return lost,
            };
        }
        Lookup::Found(value)
    }
}

fn step(escaped: Option<&str>) -> Result<Box<str>, InvalidFieldPath> {
    match escaped {
        None | Some("") => Err(InvalidFieldPath),
        Some(escaped) => Ok(escaped.replace('\\', "").into_boxed_str()),
    }
}

/// A step as an index into an array, as Erlang reads integers: a sign and leading zeros are fine.
#[must_use]
pub fn array_index(step: &str) -> Option<usize> {
    step.parse::<i64>()
        .ok()
        .and_then(|at| usize::try_from(at).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_steps(name: &str, expected: &[&str]) {
        let path = FieldPath::parse(name).unwrap();
        assert_eq!(path.steps().collect::<Vec<_>>(), expected, "{name}");
        assert_eq!(path.name(), name);
    }

    #[test]
    fn dots_separate_unless_escaped() {
        check_steps("", &[]);
        check_steps("ab", &["ab"]);
        check_steps("a.b", &["a", "b"]);
        check_steps("a.b.c", &["a", "b", "c"]);
        check_steps(r"a\.b", &["a.b"]);
        check_steps(r"a.b\.c", &["a", "b.c"]);
        check_steps(r"a\\.b", &["a.b"]);
        check_steps(r"\a.\b", &["a", "b"]);
        check_steps(r"a.\", &["a", ""]);
        check_steps("授人以鱼。.é", &["授人以鱼。", "é"]);
    }

    #[test]
    fn empty_steps_are_refused() {
        for name in [".", "a.", ".a", "a..b", r"a\..", r".\.a"] {
            assert_eq!(FieldPath::parse(name), Err(InvalidFieldPath), "{name}");
        }
    }

    #[test]
    fn finding_tells_missing_from_unreachable() {
        let document = serde_json::json!({"a": {"b": [10, {"c": null}]}, "a.b": 1, "0": "zero"});
        let check = |name: &str, expected: Lookup<'_>| {
            assert_eq!(
                FieldPath::parse(name).unwrap().find(&document),
                expected,
                "{name}"
            );
        };
        check("", Lookup::Found(&document));
        check("a.b.0", Lookup::Found(&serde_json::json!(10)));
        check("a.b.+0", Lookup::Found(&serde_json::json!(10)));
        check("a.b.-0", Lookup::Found(&serde_json::json!(10)));
        check("a.b.01.c", Lookup::Found(&Value::Null));
        check(r"a\.b", Lookup::Found(&serde_json::json!(1)));
        check("0", Lookup::Found(&serde_json::json!("zero")));
        check("x", Lookup::Missing);
        check("a.x", Lookup::Missing);
        check("a.x.y", Lookup::Missing);
        check("a.b.2", Lookup::Unreachable);
        check("a.b.-1", Lookup::Unreachable);
        check("a.b.x", Lookup::Unreachable);
        check("a.b.99999999999999999999", Lookup::Unreachable);
        check("a.b.0.x", Lookup::Unreachable);
        check("a.b.1.c.x", Lookup::Unreachable);
    }
}
