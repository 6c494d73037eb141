//! What a client asks of a view: the parameters of its query and the members of its body.
//!
//! Both have the same names. In a query a value is text, and keys are JSON inside it; in a body it
//! is JSON. What is said in the query wins over what is said in the body; of several that mean the
//! same, the last wins. Names that nobody knows are passed over.

use adea_documents::json::JsonError;
use adea_pod::{Update, ViewQuery};
use serde_json::Value;

use crate::error::ApiError;
use crate::wire::query::Query;

/// The most keys one request may ask for.
const KEYS_MAX: usize = 1_000_000;
/// The most queries of one request.
const QUERIES_MAX: usize = 1_000;

/// What is asked, and of which partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Asked {
    pub(crate) query: ViewQuery,
    pub(crate) partition: Option<String>,
}

/// A parameter's value.
#[derive(Clone, Copy)]
enum Given<'g> {
    Text(&'g str),
    Json(&'g Value),
}

impl Asked {
    /// What a request without a body asks.
    pub(crate) fn of_query(query: &Query) -> Result<Self, ApiError> {
        Self::default().with_query(query)
    }

    /// What a request asks whose body is `body`.
    pub(crate) fn of_body(query: &Query, body: &[u8]) -> Result<Self, ApiError> {
        let members = read_object(body)?;
        let array = |name| match members.get(name) {
            None | Some(Value::Array(_)) => Ok(()),
            Some(_) => Err(ApiError::bad(format!(
                "`{name}` body member must be an array."
            ))),
        };
        array("queries")?;
        if members.contains_key("queries") {
            return Err(ApiError::bad(
                "The `queries` parameter is no longer supported at this endpoint",
            ));
        }
        array("keys")?;
        Self::default().with_members(&members)?.with_query(query)
    }

    /// What each of the `queries` of a body asks; the request's own query holds for all of them.
    pub(crate) fn of_queries(query: &Query, body: &[u8]) -> Result<Vec<Self>, ApiError> {
        let members = read_object(body)?;
        let queries = match members.get("queries") {
            Some(Value::Array(queries)) => queries,
            Some(_) => return Err(ApiError::bad("`queries` body member must be an array.")),
            None => {
                return Err(ApiError::bad("POST body must include `queries` parameter."));
            }
        };
        if queries.len() > QUERIES_MAX {
            let reason = format!("`queries` may have {QUERIES_MAX} members at most.");
            return Err(ApiError::TooMany(reason.into()));
        }
        let common = Self::of_query(query)?;
        let queries = queries.iter().map(|one| match one {
            Value::Object(members) => common.clone().with_members(members),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Err(ApiError::bad("Each of the `queries` must be an object.")),
        });
        queries.collect()
    }

    fn with_query(mut self, query: &Query) -> Result<Self, ApiError> {
        for (name, value) in query.pairs() {
            self.set(name, Given::Text(value))?;
        }
        Ok(self)
    }

    fn with_members(mut self, members: &serde_json::Map<String, Value>) -> Result<Self, ApiError> {
        for (name, value) in members {
            self.set(name, Given::Json(value))?;
        }
        Ok(self)
    }

    fn set(&mut self, name: &str, given: Given<'_>) -> Result<(), ApiError> {
        let query = &mut self.query;
        match name {
            "key" => {
                let key = given.json()?;
                query.start_key = Some(key.clone());
                query.end_key = Some(key);
            }
            "keys" => query.keys = Some(given.keys()?),
            "startkey" | "start_key" => query.start_key = Some(given.json()?),
            "endkey" | "end_key" => query.end_key = Some(given.json()?),
            "startkey_docid" | "start_key_doc_id" | "start_key_docid" => {
                query.start_id = Some(given.text("`start_key_docid` must be a string.")?);
            }
            "endkey_docid" | "end_key_doc_id" | "end_key_docid" => {
                query.end_id = Some(given.text("`end_key_docid` must be a string.")?);
            }
            "limit" => query.limit = given.count()?,
            "skip" => query.skip = given.count()?,
            "descending" => query.descending = given.boolean()?,
            "inclusive_end" => query.inclusive_end = given.boolean()?,
            "reduce" => query.reduce = Some(given.boolean()?),
            "group" => query.group = Some(given.boolean()?),
            "group_level" => query.group_level = Some(given.count()?),
            "include_docs" => query.include_docs = given.boolean()?,
            "conflicts" => query.conflicts = Some(given.boolean()?),
            "attachments" => query.attachments = given.boolean()?,
            "att_encoding_info" => query.encoding_info = given.boolean()?,
            "update_seq" => query.update_seq = given.boolean()?,
            "sorted" => query.sorted = given.boolean()?,
            "stale" => {
                query.update = match given.word() {
                    Some("ok") => Update::Never,
                    Some("update_after") => Update::After,
                    _ => return Err(ApiError::query("Invalid value for `stale`.")),
                }
            }
            "stable" => {
                query.stable = match given.word() {
                    Some("true") => true,
                    Some("false") => false,
                    _ => return Err(ApiError::query("Invalid value for `stable`.")),
                }
            }
            "update" => {
                query.update = match given.word() {
                    Some("true") => Update::Before,
                    Some("false") => Update::Never,
                    Some("lazy") => Update::After,
                    _ => return Err(ApiError::query("Invalid value for `update`.")),
                }
            }
            "partition" => {
                self.partition = Some(given.text("Invalid value for `partition`.")?);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Given<'_> {
    /// A key.
    fn json(self) -> Result<Value, ApiError> {
        match self {
            Self::Text(text) => read_json(text.as_bytes()),
            Self::Json(value) => Ok(value.clone()),
        }
    }

    fn keys(self) -> Result<Vec<Value>, ApiError> {
        let Value::Array(keys) = self.json()? else {
            return Err(ApiError::query("`keys` must be an array of strings."));
        };
        if keys.len() > KEYS_MAX {
            return Err(ApiError::TooMany("Too many keys in one request.".into()));
        }
        Ok(keys)
    }

    fn text(self, refusal: &'static str) -> Result<String, ApiError> {
        match self {
            Self::Text(text) => Ok(text.to_owned()),
            Self::Json(value) => match value.as_str() {
                Some(text) => Ok(text.to_owned()),
                None => Err(ApiError::query(refusal)),
            },
        }
    }

    /// A word out of a few; booleans count as their names.
    fn word(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Json(Value::Bool(true)) => Some("true"),
            Self::Json(Value::Bool(false)) => Some("false"),
            Self::Json(value) => value.as_str(),
        }
    }

    fn boolean(self) -> Result<bool, ApiError> {
        match self.word() {
            Some(word) if word.eq_ignore_ascii_case("true") => Ok(true),
            Some(word) if word.eq_ignore_ascii_case("false") => Ok(false),
            _ => Err(ApiError::query(format!(
                "Invalid boolean parameter: {}",
                self.shown()
            ))),
        }
    }

    /// A number that is not negative.
    fn count(self) -> Result<u64, ApiError> {
        let text = match self {
            Self::Json(Value::Number(number)) => number.to_string(),
            Self::Text(text) => text.trim().to_owned(),
            Self::Json(value) => value.as_str().unwrap_or("").trim().to_owned(),
        };
        text.parse().map_err(|_| {
            let kind = if text.parse::<i128>().is_ok() {
                "positive integer"
            } else {
                "integer"
            };
            ApiError::query(format!("Invalid value for {kind}: {}", self.shown()))
        })
    }

    /// The value as a complaint shows it.
    fn shown(&self) -> String {
        match self {
            Self::Text(text) => format!("{text:?}"),
            Self::Json(value) => value.to_string().chars().take(200).collect(),
        }
    }
}

fn read_json(text: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(text).map_err(|_| JsonError::Invalid.into())
}

fn read_object(body: &[u8]) -> Result<serde_json::Map<String, Value>, ApiError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(serde_json::Map::new());
    }
    match read_json(body)? {
        Value::Object(members) => Ok(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(ApiError::bad("Request body must be a JSON object"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn query(text: &str) -> Query {
        Query::parse(Some(text)).unwrap()
    }

    fn refusal(text: &str) -> (String, String) {
        let error = Asked::of_query(&query(text)).unwrap_err();
        (error.status().1.to_owned(), error.to_string())
    }

    #[test]
    fn a_query_and_a_body_say_the_same() {
        let text =
            "startkey=%5B1%5D&endkey_docid=x&limit=3&group=true&stale=ok&descending=TRUE&zork=1";
        let body = json!({"start_key": [1], "end_key_doc_id": "x", "limit": "3", "group": true,
            "update": false, "descending": "true", "zork": {}})
        .to_string();
        let asked = Asked::of_query(&query(text)).unwrap();
        assert_eq!(asked.query.start_key, Some(json!([1])));
        assert_eq!((asked.query.limit, asked.query.update), (3, Update::Never));
        assert_eq!(Asked::of_body(&query(""), body.as_bytes()).unwrap(), asked);
        // The query wins.
        let mixed = Asked::of_body(&query("limit=7"), body.as_bytes()).unwrap();
        assert_eq!(mixed.query.limit, 7);
    }

    #[test]
    fn what_cannot_be_is_refused_in_couchdbs_words() {
        let check = |text: &str, error: &str, reason: &str| {
            assert_eq!(
                refusal(text),
                (error.to_owned(), reason.to_owned()),
                "{text}"
            );
        };
        let word = "query_parse_error";
        check(
            "limit=-1",
            word,
            "Invalid value for positive integer: \"-1\"",
        );
        check("skip=x", word, "Invalid value for integer: \"x\"");
        check("descending=foo", word, "Invalid boolean parameter: \"foo\"");
        check("stale=no", word, "Invalid value for `stale`.");
        check("keys=7", word, "`keys` must be an array of strings.");
        check("startkey=foo", "bad_request", "invalid UTF-8 JSON");
    }

    #[test]
    fn queries_begin_where_the_request_does() {
        let body = br#"{"queries":[{"key":1},{"limit":2,"reduce":true}]}"#;
        let asked = Asked::of_queries(&query("reduce=false&limit=9"), body).unwrap();
        let told: Vec<_> = asked
            .iter()
            .map(|a| (a.query.limit, a.query.reduce))
            .collect();
        assert_eq!(told, [(9, Some(false)), (2, Some(true))]);
        for body in ["{}", "[]", "{\"queries\":7}", "{\"queries\":[7]}", "x"] {
            assert!(
                Asked::of_queries(&query(""), body.as_bytes()).is_err(),
                "{body}"
            );
        }
    }
}
