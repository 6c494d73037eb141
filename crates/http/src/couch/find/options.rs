//! What a Mango request may say, and how it is refused: `CouchDB`'s options one by one, in its words.
//!
//! Options are taken out of the request as they are read; one that is left over is none.

use adea_documents::collation::Collation;
use adea_documents::selector::{
    FieldPath, Selector, SelectorError, erlang_term, erlang_term_pretty,
};
use adea_pod::FindQuery;
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::error::ApiError;

/// A refusal with a status of 400.
pub(super) fn refused(error: &'static str, reason: impl Into<String>) -> ApiError {
    ApiError::Mango {
        status: StatusCode::BAD_REQUEST,
        error,
        reason: reason.into(),
    }
}

impl From<SelectorError> for ApiError {
    fn from(error: SelectorError) -> Self {
        refused(error.error(), error.reason())
    }
}

/// The members of a request that were not read yet.
pub(super) struct Options {
    members: Map<String, Value>,
}

impl Options {
    /// Reads a request's body.
    pub(super) fn of(body: &[u8]) -> Result<Self, ApiError> {
        // One pass checks depth and size before a tree is built of it.
        let text = adea_documents::json::normalise(body)?;
        match adea_documents::json::skim::read_value(&text) {
            Some(Value::Object(members)) => Ok(Self { members }),
            Some(
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Array(_),
            )
            | None => Err(ApiError::bad("Request body must be a JSON object")),
        }
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.members.shift_remove(name)
    }

    pub(super) fn require(&mut self, name: &str) -> Result<Value, ApiError> {
        self.take(name).ok_or_else(|| {
            refused(
                "missing_required_key",
                format!("Missing required key: {name}"),
            )
        })
    }

    pub(super) fn boolean(&mut self, name: &str, default: bool) -> Result<bool, ApiError> {
        match self.take(name) {
            None => Ok(default),
            Some(Value::Bool(value)) => Ok(value),
            Some(other) => Err(refused(
                "invalid_boolean",
                format!("Invalid boolean value: {}", erlang_term(&other)),
            )),
        }
    }

    pub(super) fn count(&mut self, name: &str, default: u64) -> Result<u64, ApiError> {
        let Some(value) = self.take(name) else {
            return Ok(default);
        };
        count_of(&value).ok_or_else(|| {
            refused(
                "invalid_non_neg_integer",
                format!(
                    "{} is not an integer greater than or equal to zero",
                    erlang_term(&value)
                ),
            )
        })
    }

    pub(super) fn positive(&mut self, name: &str, default: u64) -> Result<String, ApiError> {
        let Some(value) = self.take(name) else {
            return Ok(default.to_string());
        };
        let positive = count_of(&value).is_some_and(|count| count > 0);
        if positive {
            Ok(value.to_string())
        } else {
            Err(refused(
                "invalid_pos_integer",
                format!(
                    "{} is not an integer greater than zero",
                    erlang_term(&value)
                ),
            ))
        }
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(refused(
                "invalid_string",
                format!("Invalid string: {}", erlang_term(&other)),
            )),
        }
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), ApiError> {
        match self.members.keys().next() {
            None => Ok(()),
            Some(key) => Err(refused(
                "invalid_key",
                format!("Invalid key {key} for this request."),
            )),
        }
    }
}

/// An integer that is not negative; one that is too large to count is all there is.
fn count_of(value: &Value) -> Option<u64> {
    let text = value.as_number()?.as_str();
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    (digits && !text.is_empty()).then(|| text.parse().unwrap_or(u64::MAX))
}

/// A sort: fields and their direction, which is the same for all.
pub(super) struct Sort {
    pub(super) fields: Vec<String>,
    pub(super) descending: bool,
}

impl Sort {
    pub(super) fn read(value: &Value) -> Result<Self, ApiError> {
        let Value::Array(items) = value else {
            return Err(refused(
                "invalid_sort_json",
                format!(
                    "Sort must be an array of sort specs, not: {}",
                    erlang_term_pretty(value)
                ),
            ));
        };
        let specs = items
            .iter()
            .map(sort_field)
            .collect::<Result<Vec<_>, _>>()?;
        let descending = specs.first().is_some_and(|(_, descending)| *descending);
        if specs.iter().any(|(_, other)| *other != descending) {
            return Err(refused(
                "unsupported_mixed_sort",
                "Sorts currently only support a single direction for all fields.",
            ));
        }
        Ok(Self {
            fields: specs.into_iter().map(|(field, _)| field).collect(),
            descending,
        })
    }

    pub(super) fn direction(&self) -> &'static str {
        if self.descending { "desc" } else { "asc" }
    }

    /// As `_explain` shows it.
    pub(super) fn to_json(&self) -> Value {
        let fields = self.fields.iter();
        let fields = fields.map(|field| (field.clone(), self.direction().into()));
        Value::Object(fields.collect())
    }
}

/// A field and whether it comes downwards.
fn sort_field(spec: &Value) -> Result<(String, bool), ApiError> {
    let invalid = || {
        refused(
            "invalid_sort_field",
            format!("Invalid sort field: {}", erlang_term_pretty(spec)),
        )
    };
    match spec {
        Value::String(name) if !name.is_empty() => Ok((name.clone(), false)),
        Value::Object(members) if members.len() == 1 => {
            let (name, direction) = members.iter().next().ok_or_else(invalid)?;
            match direction.as_str() {
                Some("asc") => Ok((name.clone(), false)),
                Some("desc") => Ok((name.clone(), true)),
                Some(_) | None => Err(invalid()),
            }
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => Err(invalid()),
    }
}

/// A field's path.
pub(super) fn field_path(name: &str) -> Result<FieldPath, ApiError> {
    FieldPath::parse(name)
        .map_err(|_| refused("invalid_field_name", format!("Invalid field name: {name}")))
}

/// The most fields that may be asked for.
const FIELDS_MAX: usize = 1_000;

/// The fields that are answered; `None` for all.
fn fields(value: &Value) -> Result<Option<Vec<FieldPath>>, ApiError> {
    let Value::Array(items) = value else {
        return Err(refused(
            "invalid_fields",
            format!(
                "Fields must be an array of strings, not: {}",
                erlang_term(value)
            ),
        ));
    };
    if items.len() > FIELDS_MAX {
        return Err(refused(
            "invalid_fields",
            format!("No more than {FIELDS_MAX} fields can be asked for."),
        ));
    }
    let field = |item: &Value| match item {
        Value::String(name) => field_path(name),
        other @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Array(_)
        | Value::Object(_)) => Err(refused(
            "invalid_field",
            format!("Invalid JSON for field spec: {}", erlang_term(other)),
        )),
    };
    let fields = items.iter().map(field).collect::<Result<Vec<_>, _>>()?;
    Ok((!fields.is_empty()).then_some(fields))
}

/// The index that is to be used: the design document without its front, and perhaps a name.
pub(super) fn use_index(value: &Value) -> Result<Vec<String>, ApiError> {
    let invalid = || {
        refused(
            "invalid_index_name",
            format!("Invalid index name: {}", erlang_term(value)),
        )
    };
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(name) => Ok(match name.split_once('/') {
            None => vec![name.clone()],
            Some(("_design", design)) => vec![design.to_owned()],
            Some((design, index)) => vec![design.to_owned(), index.to_owned()],
        }),
        Value::Array(items) if items.len() <= 2 => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or_else(invalid))
            .collect(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Err(invalid()),
    }
}

fn bookmark(value: Option<Value>) -> Result<Option<String>, ApiError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() || text == "nil" => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(refused(
            "invalid_bookmark",
            format!("Invalid bookmark value: {other}"),
        )),
    }
}

/// A query, and what of it only the answer shows.
pub(super) struct FindRequest {
    pub(super) query: FindQuery,
    pub(super) execution_stats: bool,
    /// The options as `_explain` shows them.
    pub(super) shown: Value,
    pub(super) stable: bool,
}

/// `CouchDB`'s limit where none is given.
const LIMIT_DEFAULT: u64 = 25;

impl FindRequest {
    /// Reads the body of `_find` and `_explain`.
    pub(super) fn read(body: &[u8], partition: Option<&str>) -> Result<Self, ApiError> {
        let mut options = Options::of(body)?;
        let selector = options.require("selector")?;
        let nothing = means_nothing(&selector);
        let selector = Selector::parse(&selector)?;
        let named = options.take("use_index").unwrap_or(Value::Null);
        let use_index = use_index(&named)?;
        let bookmark = bookmark(options.take("bookmark"))?;
        let limit = options.count("limit", LIMIT_DEFAULT)?;
        let skip = options.count("skip", 0)?;
        let sort = Sort::read(&options.take("sort").unwrap_or_else(|| json!([])))?;
        let fields = fields(&options.take("fields").unwrap_or_else(|| json!([])))?;
        let asked_partition = options.text("partition")?.filter(|name| !name.is_empty());
        let partition = partition.map(str::to_owned).or(asked_partition);
        let r = options.positive("r", 1)?;
        let conflicts = options.boolean("conflicts", false)?;
        let stale = stale(options.take("stale"))?;
        let update = options.boolean("update", true)?;
        let stable = options.boolean("stable", false)?;
        let execution_stats = options.boolean("execution_stats", false)?;
        let allow_fallback = options.boolean("allow_fallback", true)?;
        options.end()?;
        let shown_fields = fields.iter().flatten().map(FieldPath::name);
        let shown = json!({
            "use_index": use_index, "bookmark": bookmark.as_deref().unwrap_or("nil"),
            "limit": limit, "skip": skip, "sort": sort.to_json(),
            "fields": shown_fields.collect::<Vec<_>>(),
            "partition": partition.as_deref().unwrap_or_default(),
            "r": r.parse::<u64>().unwrap_or(u64::MAX), "conflicts": conflicts,
            "stale": if stale { json!("ok") } else { json!(false) },
            "update": update, "stable": stable, "execution_stats": execution_stats,
            "allow_fallback": allow_fallback,
        });
        Ok(Self {
            query: FindQuery {
                nothing,
                limit,
                skip,
                sort: sort.fields,
                descending: sort.descending,
                fields,
                bookmark,
                use_index,
                allow_fallback,
                update: update && !stale,
                conflicts,
                partition,
                ..FindQuery::of(selector)
            },
            execution_stats,
            shown,
            stable: stable || stale,
        })
    }
}

fn stale(value: Option<Value>) -> Result<bool, ApiError> {
    match value {
        None | Some(Value::Bool(false)) => Ok(false),
        Some(Value::String(text)) if text == "ok" => Ok(true),
        Some(Value::String(text)) if text == "false" => Ok(false),
        Some(other) => Err(refused(
            "invalid_ok_or_false_value",
            format!("Invalid value for stale: {}", erlang_term(&other)),
        )),
    }
}

/// Whether a selector is one of those that, alone and empty, mean no document at all.
pub(super) fn means_nothing(selector: &Value) -> bool {
    let Some(members) = selector.as_object().filter(|members| members.len() == 1) else {
        return false;
    };
    ["$all", "$and", "$or", "$in"].iter().any(|operator| {
        let list = members.get(*operator).and_then(Value::as_array);
        list.is_some_and(Vec::is_empty)
    })
}

/// The sort keys of two values in the order of view keys.
pub(super) fn compare(left: &Value, right: &Value) -> std::cmp::Ordering {
    Collation::Unicode.compare(left, right)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &Value, error: &str, reason: &str) {
        let Err(refused) = FindRequest::read(body.to_string().as_bytes(), None) else {
            panic!("{body} was taken");
        };
        assert_eq!(refused.status().1, error, "{body}");
        assert_eq!(refused.to_string(), reason, "{body}");
        assert_eq!(refused.status().0, StatusCode::BAD_REQUEST);
    }

    fn with(name: &str, value: Value) -> Value {
        let mut body = json!({"selector": {}});
        body[name] = value;
        body
    }

    #[test]
    fn refusals_are_couchdbs() {
        check(
            &json!([]),
            "bad_request",
            "Request body must be a JSON object",
        );
        check(
            &json!({}),
            "missing_required_key",
            "Missing required key: selector",
        );
        check(
            &json!({"selector": 1}),
            "invalid_selector_json",
            "Selector must be a JSON object, not: 1",
        );
        check(
            &json!({"selector": {"$gt": 2}}),
            "invalid_selector",
            "One or more conditions is missing a field name.",
        );
        check(
            &json!({"selector": {"a": {"$foo": 1}}}),
            "invalid_operator",
            "Invalid operator: $foo",
        );
        check(
            &json!({"selector": {"$text": "x"}}),
            "not_supported",
            "Unsupported operator: $text",
        );
        check(
            &with("limit", json!(-1)),
            "invalid_non_neg_integer",
            "-1 is not an integer greater than or equal to zero",
        );
        check(
            &with("limit", json!(1.5)),
            "invalid_non_neg_integer",
            "1.5 is not an integer greater than or equal to zero",
        );
        check(
            &with("skip", json!(null)),
            "invalid_non_neg_integer",
            "null is not an integer greater than or equal to zero",
        );
        check(
            &with("r", json!(0)),
            "invalid_pos_integer",
            "0 is not an integer greater than zero",
        );
        check(
            &with("conflicts", json!("x")),
            "invalid_boolean",
            "Invalid boolean value: <<120>>",
        );
    }

    #[test]
    fn refusals_of_sorts_are_couchdbs() {
        check(
            &with("sort", json!({"a": 1})),
            "invalid_sort_json",
            "Sort must be an array of sort specs, not: {[{<<\"a\">>,1}]}",
        );
        check(
            &with("sort", json!([2])),
            "invalid_sort_field",
            "Invalid sort field: 2",
        );
        check(
            &with("sort", json!([""])),
            "invalid_sort_field",
            "Invalid sort field: <<>>",
        );
        check(
            &with("sort", json!([{"a": "asc"}, {"b": "desc"}])),
            "unsupported_mixed_sort",
            "Sorts currently only support a single direction for all fields.",
        );
    }

    #[test]
    fn refusals_of_names_are_couchdbs() {
        check(
            &with("fields", json!("a")),
            "invalid_fields",
            "Fields must be an array of strings, not: <<97>>",
        );
        check(
            &with("fields", json!(["a", 2])),
            "invalid_field",
            "Invalid JSON for field spec: 2",
        );
        check(
            &with("fields", json!(["a..b"])),
            "invalid_field_name",
            "Invalid field name: a..b",
        );
        check(
            &with("use_index", json!(["a", "b", "c"])),
            "invalid_index_name",
            "Invalid index name: [<<97>>,<<98>>,<<99>>]",
        );
        check(
            &with("bookmark", json!(7)),
            "invalid_bookmark",
            "Invalid bookmark value: 7",
        );
        check(
            &with("foo", json!(1)),
            "invalid_key",
            "Invalid key foo for this request.",
        );
    }

    #[test]
    fn options_have_their_defaults() {
        let read = |body: Value| FindRequest::read(body.to_string().as_bytes(), None).unwrap();
        let plain = read(json!({"selector": {"a": 1}}));
        assert_eq!((plain.query.limit, plain.query.skip), (25, 0));
        assert!(plain.query.update && plain.query.allow_fallback && plain.query.fields.is_none());
        let names = |value: Value| {
            read(json!({"selector": {}, "use_index": value}))
                .query
                .use_index
        };
        assert_eq!(names(json!("_design/a")), ["a"]);
        assert_eq!(names(json!("a/b")), ["a", "b"]);
        assert_eq!(names(json!(["_design/a", "b"])), ["_design/a", "b"]);
        assert_eq!(names(json!(null)), Vec::<String>::new());
        assert!(!read(json!({"selector": {}, "stale": "ok"})).query.update);
        assert!(read(json!({"selector": {"$or": []}})).query.nothing);
        assert!(!read(json!({"selector": {"$or": [], "a": 1}})).query.nothing);
    }

    #[test]
    fn hostile_bodies_are_refused() {
        let deep = format!(
            "{{\"selector\":{}1{}}}",
            "{\"a\":".repeat(10_000),
            "}".repeat(10_000)
        );
        assert!(FindRequest::read(deep.as_bytes(), None).is_err());
        let nested = format!(
            "{{\"selector\":{}1{}}}",
            "{\"$not\":".repeat(200),
            "}".repeat(200)
        );
        assert!(FindRequest::read(nested.as_bytes(), None).is_err());
        let wide = json!({"selector": {"$or": vec![json!({"a": 1}); 20_000]}});
        check(
            &wide,
            "invalid_selector",
            "Selector is too large: no more than 10000 values and 1 MiB of field names",
        );
        check(
            &json!({"selector": {"a": {"$regex": "(a{1000}){1000}"}}}),
            "bad_arg",
            "Regular expressions in $regex are too large or too many",
        );
    }
}
