//! Making one of conflicting revisions: what a database declares, and the merges that need no
//! JavaScript.
//!
//! A merge is a function of the live leaves in their rank order and of their nearest common
//! ancestor. It takes no time and no chance, so that two servers which see the same leaves make the
//! same document, and with it the same revision.

use serde_json::{Map, Value};

/// A document's members.
pub type Members = Map<String, Value>;

/// How a database merges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolver {
    /// Member by member against the common ancestor; where two changed the same, the winner's stays.
    Fields,
    /// The revision whose member of this name is the greatest.
    Newest(String),
    /// A JavaScript function of `(winner, others, ancestor)`: the design document and the member's
    /// name.
    Function {
        /// The id of the design document.
        design: String,
        /// The name of the function in it.
        name: String,
    },
}

/// A value that declares no merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a merge is \"fields\", {{\"newest\": \"<property>\"}} or {{\"function\": {{\"design\": \"_design/<name>\", \"name\": \"<function>\"}}}}"
)]
pub struct InvalidResolver;

/// The longest name in a resolver.
const NAME_BYTES_MAX: usize = 512;

impl Resolver {
    /// Reads what a database declares.
    ///
    /// # Errors
    /// [`InvalidResolver`].
    pub fn parse(value: &Value) -> Result<Self, InvalidResolver> {
        if value.as_str() == Some("fields") {
            return Ok(Self::Fields);
        }
        let object = value.as_object().filter(|object| object.len() == 1);
        let (kind, inner) = object
            .and_then(|o| o.iter().next())
            .ok_or(InvalidResolver)?;
        match kind.as_str() {
            "newest" => Ok(Self::Newest(name(inner)?)),
            "function" => {
                let design = inner.get("design").ok_or(InvalidResolver)?;
                let function = inner.get("name").map_or(Ok("merge".to_owned()), name)?;
                let design = name(design)?;
                if !design.starts_with("_design/") {
                    return Err(InvalidResolver);
                }
                let name = function;
                Ok(Self::Function { design, name })
            }
            _ => Err(InvalidResolver),
        }
    }
}

fn name(value: &Value) -> Result<String, InvalidResolver> {
    let text = value
        .as_str()
        .filter(|text| !text.is_empty() && text.len() <= NAME_BYTES_MAX);
    text.map(str::to_owned).ok_or(InvalidResolver)
}

/// Merges member by member: what only one of two changed since the ancestor is taken from it; of
/// what both changed, objects are merged in the same way and anything else stays the winner's.
#[must_use]
pub fn by_fields<'v>(
    winner: &Members,
    others: impl IntoIterator<Item = &'v Members>,
    ancestor: Option<&Members>,
) -> Members {
    let mut merged = winner.clone();
    for other in others {
        merged = members(&merged, other, ancestor);
    }
    merged
}

fn members(ours: &Members, theirs: &Members, base: Option<&Members>) -> Members {
    let mut merged = Members::new();
    let before = |name: &str| base.and_then(|base| base.get(name));
    for (name, value) in ours {
        let kept = member(before(name), Some(value), theirs.get(name));
        merged.extend(kept.map(|kept| (name.clone(), kept)));
    }
    for (name, value) in theirs {
        if !ours.contains_key(name) {
            let kept = member(before(name), None, Some(value));
            merged.extend(kept.map(|kept| (name.clone(), kept)));
        }
    }
    merged
}

fn member(base: Option<&Value>, ours: Option<&Value>, theirs: Option<&Value>) -> Option<Value> {
    if ours == theirs || theirs == base {
        return ours.cloned();
    }
    if ours == base {
        return theirs.cloned();
    }
    match (ours, theirs) {
        (Some(Value::Object(ours)), Some(Value::Object(theirs))) => {
            let base = base.and_then(Value::as_object);
            Some(Value::Object(members(ours, theirs, base)))
        }
        // Somebody changed what the other took away: nothing that was written is lost.
        (Some(kept), _) | (None, Some(kept)) => Some(kept.clone()),
        (None, None) => None,
    }
}

/// Which of the revisions, in their rank order, has the greatest value in the member `name`: numbers
/// are greater than anything but texts, texts than anything. Of equals the first stays.
#[must_use]
pub fn newest<'v>(name: &str, revisions: impl IntoIterator<Item = &'v Members>) -> usize {
    let mut best = (0, Age::Unknown);
    for (at, revision) in revisions.into_iter().enumerate() {
        let age = Age::of(revision.get(name));
        if age.is_after(&best.1) {
            best = (at, age);
        }
    }
    best.0
}

/// What a member says of when its revision was made.
#[derive(Clone, Copy, Debug)]
enum Age<'v> {
    Unknown,
    Number(f64),
    Text(&'v str),
}

impl<'v> Age<'v> {
    fn of(value: Option<&'v Value>) -> Self {
        match value {
            Some(Value::Number(number)) => number.as_f64().map_or(Self::Unknown, Self::Number),
            Some(Value::String(text)) => Self::Text(text),
            None | Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
                Self::Unknown
            }
        }
    }

    fn is_after(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unknown, _) => false,
            (_, Self::Unknown) => true,
            (Self::Number(own), Self::Number(others)) => own > others,
            (Self::Number(_), Self::Text(_)) => false,
            (Self::Text(_), Self::Number(_)) => true,
            (Self::Text(own), Self::Text(others)) => own > others,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn of(value: &Value) -> Members {
        value.as_object().unwrap().clone()
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "it is given what it was made of"
    )]
    fn check(winner: Value, other: Value, ancestor: Option<Value>, expected: &Value) {
        let (winner, other, ancestor) = (of(&winner), of(&other), ancestor.map(|a| of(&a)));
        let merged = by_fields(&winner, [&other], ancestor.as_ref());
        assert_eq!(&Value::Object(merged), expected);
    }

    #[test]
    fn what_one_changed_is_taken_and_of_what_both_changed_the_winners_stays() {
        let base = || Some(json!({"a": 1, "b": 1, "c": {"x": 1, "y": 1}}));
        check(
            json!({"a": 2, "b": 1}),
            json!({"a": 1, "b": 3}),
            base(),
            &json!({"a": 2, "b": 3}),
        );
        check(json!({"a": 2}), json!({"a": 3}), base(), &json!({"a": 2}));
        check(
            json!({"c": {"x": 2, "y": 1}}),
            json!({"c": {"x": 1, "y": 5, "z": 1}}),
            base(),
            &json!({"c": {"x": 2, "y": 5, "z": 1}}),
        );
        // Taken away by one and left alone by the other; taken away by one and changed by the other.
        check(
            json!({"b": 1}),
            json!({"a": 1, "b": 1}),
            base(),
            &json!({"b": 1}),
        );
        check(json!({}), json!({"a": 9}), base(), &json!({"a": 9}));
        check(
            json!({"a": 1}),
            json!({"b": 2}),
            None,
            &json!({"a": 1, "b": 2}),
        );
    }

    #[test]
    fn the_newest_has_the_greatest_value_and_of_equals_the_winner() {
        let find = |list: Value| {
            let list: Vec<Members> = list.as_array().unwrap().iter().map(of).collect();
            newest("at", &list)
        };
        assert_eq!(find(json!([{"at": 1}, {"at": 3}, {"at": 2}])), 1);
        assert_eq!(find(json!([{"at": 3}, {"at": 3}])), 0);
        assert_eq!(find(json!([{}, {"at": null}, {"at": -1}])), 2);
        assert_eq!(
            find(json!([{"at": "2026"}, {"at": 9e9}, {"at": "2027"}])),
            2
        );
        assert_eq!(find(json!([{}, {}])), 0);
    }

    #[test]
    fn a_resolver_is_read_or_refused() {
        let parse = |value: Value| Resolver::parse(&value);
        assert_eq!(parse(json!("fields")), Ok(Resolver::Fields));
        assert_eq!(
            parse(json!({"newest": "at"})),
            Ok(Resolver::Newest("at".into()))
        );
        let function = json!({"function": {"design": "_design/a"}});
        assert!(matches!(parse(function), Ok(Resolver::Function { name, .. }) if name == "merge"));
        for wrong in [
            json!("x"),
            json!({}),
            json!({"newest": 1}),
            json!({"newest": ""}),
            json!(null),
            json!({"function": {"design": "a"}}),
            json!({"newest": "a", "x": 1}),
        ] {
            assert_eq!(parse(wrong), Err(InvalidResolver));
        }
    }

    fn documents() -> impl Strategy<Value = Members> {
        let value = prop_oneof![
            (0..3).prop_map(Value::from),
            Just(json!({"k": 1})),
            Just(json!({"k": 2, "l": 1}))
        ];
        prop::collection::btree_map("[a-c]", value, 0..4).prop_map(|map| map.into_iter().collect())
    }

    proptest! {
        #[test]
        fn a_merge_with_what_nobody_changed_changes_nothing(base in documents(), ours in documents()) {
            prop_assert_eq!(&by_fields(&ours, [&base], Some(&base)), &ours);
            prop_assert_eq!(&by_fields(&ours, [&ours], Some(&base)), &ours);
            let theirs = by_fields(&base, [&ours], Some(&base));
            prop_assert_eq!(Value::Object(theirs), Value::Object(ours));
        }
    }
}
