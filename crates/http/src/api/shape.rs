//! Whether a JSON value has the form that the description gives it.
//!
//! The bounds that stand in a schema are checked by the schema, so that they hold and are told the
//! same. What a schema can say is more than is understood here: a keyword that is not (`pattern`,
//! `format`) is the matter of who reads the value.
//!
//! Invariant: as deep as the value, which was looked through before, and no deeper.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use parking_lot::RwLock;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// The form of a type, and of those that it refers to.
pub(super) struct Shape {
    form: Value,
    referred: HashMap<String, Value>,
}

/// Forms that were made before: making one costs more than checking a value.
static KNOWN: LazyLock<RwLock<HashMap<TypeId, Arc<Shape>>>> = LazyLock::new(RwLock::default);

impl Shape {
    /// The form of `T`.
    pub(super) fn of<T: ToSchema + 'static>() -> Arc<Self> {
        let id = TypeId::of::<T>();
        if let Some(known) = KNOWN.read().get(&id) {
            return Arc::clone(known);
        }
        let mut referred = Vec::new();
        T::schemas(&mut referred);
        let json = |schema| serde_json::to_value(schema).unwrap_or_default();
        let made = Arc::new(Self {
            form: json(T::schema()),
            referred: referred
                .into_iter()
                .map(|(name, schema)| (name, json(schema)))
                .collect(),
        });
        KNOWN.write().insert(id, Arc::clone(&made));
        made
    }

    /// Whether `value` has it.
    ///
    /// # Errors
    /// What is wrong with it, in words for who sent it.
    pub(super) fn check(&self, value: &Value) -> Result<(), String> {
        self.one(&self.form, value, "the body")
    }

    /// Whether `value`, which stands at `place`, has the form `form`.
    fn one(&self, form: &Value, value: &Value, place: &str) -> Result<(), String> {
        let Some(form) = form.as_object() else {
            return Ok(());
        };
        if let Some(name) = form.get("$ref").and_then(Value::as_str) {
            let name = name.rsplit('/').next().unwrap_or(name);
            if let Some(form) = self.referred.get(name) {
                self.one(form, value, place)?;
            }
        }
        has_type(form, value, place)?;
        if let Some(words) = form.get("enum").and_then(Value::as_array)
            && !words.contains(value)
        {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            return Err(format!("{place} must be one of {}", words.join(", ")));
        }
        self.alternatives(form, value, place)?;
        match value {
            Value::String(text) => {
                let length = text.chars().count() as u64;
                count(
                    form,
                    ["minLength", "maxLength"],
                    length,
                    place,
                    "characters",
                )
            }
            Value::Number(number) => in_bounds(form, number.as_f64().unwrap_or(0.0), place),
            Value::Array(items) => {
                let length = items.len() as u64;
                count(form, ["minItems", "maxItems"], length, place, "items")?;
                self.items(form, items, place)
            }
            Value::Object(members) => self.members(form, members, place),
            Value::Null | Value::Bool(_) => Ok(()),
        }
    }

    fn alternatives(
        &self,
        form: &Map<String, Value>,
        value: &Value,
        place: &str,
    ) -> Result<(), String> {
        for form in list(form, "allOf") {
            self.one(form, value, place)?;
        }
        for word in ["oneOf", "anyOf"] {
            let all = list(form, word);
            let mut faults = Vec::new();
            for form in all {
                match self.one(form, value, place) {
                    Ok(()) => break,
                    // That it might be null is not what somebody meant who sent something.
                    Err(reason) if form.get("type") == Some(&Value::from("null")) => {
                        faults.push(reason);
                    }
                    Err(reason) => faults.insert(0, reason),
                }
            }
            if faults.len() == all.len()
                && let Some(reason) = faults.into_iter().next()
            {
                return Err(reason);
            }
        }
        Ok(())
    }

    fn items(&self, form: &Map<String, Value>, items: &[Value], place: &str) -> Result<(), String> {
        let Some(form) = form.get("items") else {
            return Ok(());
        };
        items
            .iter()
            .enumerate()
            .try_for_each(|(n, item)| self.one(form, item, &format!("item {n} of {place}")))
    }

    fn members(
        &self,
        form: &Map<String, Value>,
        members: &Map<String, Value>,
        place: &str,
    ) -> Result<(), String> {
        let length = members.len() as u64;
        count(
            form,
            ["minProperties", "maxProperties"],
            length,
            place,
            "members",
        )?;
        for name in list(form, "required").iter().filter_map(Value::as_str) {
            if !members.contains_key(name) {
                return Err(format!("missing field `{name}`"));
            }
        }
        let known = form.get("properties").and_then(Value::as_object);
        let others = form.get("additionalProperties");
        for (name, value) in members {
            let form = known.and_then(|known| known.get(name));
            match (form, others) {
                (Some(form), _) => self.one(form, value, &format!("`{name}`"))?,
                (None, Some(Value::Bool(false))) => {
                    return Err(format!("unknown field `{name}`"));
                }
                (None, Some(form)) => self.one(form, value, &format!("`{name}`"))?,
                (None, None) => {}
            }
        }
        Ok(())
    }
}

fn list<'f>(form: &'f Map<String, Value>, word: &str) -> &'f [Value] {
    form.get(word)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn has_type(form: &Map<String, Value>, value: &Value, place: &str) -> Result<(), String> {
    let types = match form.get("type") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => return Ok(()),
    };
    let fits = |word: &&str| match *word {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    };
    if types.iter().any(fits) {
        return Ok(());
    }
    let article = |word: &&str| match *word {
        "null" => "null".to_owned(),
        word if word.starts_with(['a', 'e', 'i', 'o', 'u']) => format!("an {word}"),
        word => format!("a {word}"),
    };
    let types: Vec<String> = types.iter().map(article).collect();
    Err(format!("{place} must be {}", types.join(" or ")))
}

fn count(
    form: &Map<String, Value>,
    [least, most]: [&str; 2],
    length: u64,
    place: &str,
    unit: &str,
) -> Result<(), String> {
    let bound = |word| form.get(word).and_then(Value::as_u64);
    if let Some(least) = bound(least).filter(|least| length < *least) {
        return Err(format!("{place} must have at least {least} {unit}"));
    }
    if let Some(most) = bound(most).filter(|most| length > *most) {
        return Err(format!("{place} must have at most {most} {unit}"));
    }
    Ok(())
}

fn in_bounds(form: &Map<String, Value>, number: f64, place: &str) -> Result<(), String> {
    let bound = |word| form.get(word).and_then(Value::as_f64);
    if let Some(least) = bound("minimum").filter(|least| number < *least) {
        return Err(format!("{place} must be at least {least}"));
    }
    if let Some(most) = bound("maximum").filter(|most| number > *most) {
        return Err(format!("{place} must be at most {most}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Deserialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its form is looked at")]
    struct Asked {
        #[schema(min_length = 1, max_length = 4)]
        name: String,
        #[schema(minimum = 1, maximum = 9)]
        number: Option<u64>,
        kind: Option<Kind>,
        #[serde(default)]
        #[schema(max_items = 2)]
        inner: Vec<Inner>,
        profile: Option<Map<String, Value>>,
    }

    #[derive(Deserialize, ToSchema)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        One,
        Two,
    }

    #[derive(Deserialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its form is looked at")]
    struct Inner {
        on: bool,
    }

    fn check(value: &Value, expected: &str) {
        let found = Shape::of::<Asked>().check(value);
        assert_eq!(found.err().unwrap_or_default(), expected, "{value}");
    }

    #[test]
    fn what_has_the_form_passes() {
        check(&json!({"name": "änn"}), "");
        check(
            &json!({"name": "a", "number": 9, "kind": "two", "inner": [{"on": true}]}),
            "",
        );
        check(&json!({"name": "a", "number": null, "kind": null}), "");
        check(&json!({"name": "a", "profile": {"x": [1, {"y": 2}]}}), "");
    }

    #[test]
    fn what_has_not_is_told_why() {
        check(&json!([]), "the body must be an object");
        check(&json!({}), "missing field `name`");
        check(&json!({"name": 1}), "`name` must be a string");
        check(
            &json!({"name": ""}),
            "`name` must have at least 1 characters",
        );
        check(
            &json!({"name": "abcde"}),
            "`name` must have at most 4 characters",
        );
        check(&json!({"name": "a", "nam": 1}), "unknown field `nam`");
        check(
            &json!({"name": "a", "number": 0}),
            "`number` must be at least 1",
        );
        check(
            &json!({"name": "a", "number": 1.5}),
            "`number` must be an integer or null",
        );
        check(
            &json!({"name": "a", "kind": "three"}),
            "`kind` must be one of \"one\", \"two\"",
        );
        check(
            &json!({"name": "a", "inner": [{"on": true}, {"on": 1}]}),
            "`on` must be a boolean",
        );
        check(
            &json!({"name": "a", "inner": [{}, {}, {}]}),
            "`inner` must have at most 2 items",
        );
        check(
            &json!({"name": "a", "profile": 1}),
            "`profile` must be an object or null",
        );
    }
}
