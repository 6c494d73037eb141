//! Reads a few members of a document's body and passes over the rest.

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

/// The members of the object `body` that have these names; of two with the same name the later.
/// `None` if it is no object, or one of them is nested too deeply to be looked at.
pub(crate) fn members(body: &[u8], wanted: &[&str]) -> Option<Map<String, Value>> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let found = deserializer.deserialize_map(Members { wanted }).ok()?;
    deserializer.end().ok()?;
    Some(found)
}

struct Members<'w> {
    wanted: &'w [&'w str],
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Map::new();
        // Keys are owned, since one with an escape cannot be borrowed.
        while let Some(name) = map.next_key::<String>()? {
            if self.wanted.contains(&name.as_str()) {
                found.insert(name, map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(body: &str, expected: Option<&Value>) {
        let found = members(body.as_bytes(), &["a", "é"]).map(Value::Object);
        assert_eq!(found.as_ref(), expected, "{body}");
    }

    #[test]
    fn the_members_asked_for_are_read_and_the_later_of_two_counts() {
        check("{}", Some(&json!({})));
        check(
            r#"{"b":[{"a":1}],"a":[2],"c":"a"}"#,
            Some(&json!({"a": [2]})),
        );
        check(
            r#"{"a":1,"\u0061":2,"\u00e9":3}"#,
            Some(&json!({"a": 2, "é": 3})),
        );
        let deep = format!(r#"{{"b":{}{},"a":1}}"#, "[".repeat(5000), "]".repeat(5000));
        check(&deep, Some(&json!({"a": 1})));
        check(&deep.replace("\"b\"", "\"a\""), None);
        for bad in ["", "[]", "null", r#"{"a":}"#, r#"{"a":1} x"#, r#"{"b":[}"#] {
            check(bad, None);
        }
    }
}
