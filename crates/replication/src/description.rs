//! What a user asks for: from where to where, which documents, and how.
//!
//! The same object is posted to `_replicate` and stored in `_replicator`. Fields that nobody knows are
//! passed over, as `CouchDB` does; those that are known are checked, and bounded.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::endpoint::Endpoint;
use crate::sequence::Sequence;

/// The most ids that a replication may name.
const IDS_MAX: usize = 100_000;

/// Why something is no description of a replication.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidDescription(pub Cow<'static, str>);

/// Which documents are replicated.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Filter {
    /// All.
    #[default]
    All,
    /// Those named.
    Ids(Vec<String>),
    /// Those that a selector matches.
    Selector(Map<String, Value>),
    /// Those that a function of the source passes, with parameters for it.
    Function {
        /// `design/name`, or a built-in one that begins with `_`.
        name: String,
        /// The query's parameters.
        parameters: Map<String, Value>,
    },
}

/// How the work is divided, within bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Batches that are on their way at once.
    pub workers: usize,
    /// Changes of one batch.
    pub batch: usize,
    /// Requests under way at once at each end.
    pub connections: usize,
    /// How long a peer may be silent.
    pub timeout: Duration,
    /// How often a request is made again.
    pub retries: u32,
    /// Whether the place reached is written down.
    pub checkpoints: bool,
    /// How often.
    pub checkpoint_interval: Duration,
    /// Whether documents are asked for many at once.
    pub bulk_get: bool,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            workers: 4,
            batch: 500,
            connections: 20,
            timeout: Duration::from_secs(30),
            retries: 5,
            checkpoints: true,
            checkpoint_interval: Duration::from_secs(30),
            bulk_get: true,
        }
    }
}

/// A replication as it was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// From where.
    pub source: Endpoint,
    /// To where.
    pub target: Endpoint,
    /// Whether it goes on when everything is there.
    pub continuous: bool,
    /// Whether the target is made if it is not there, and how.
    pub create_target: Option<Vec<(String, String)>>,
    /// Which documents.
    pub filter: Filter,
    /// Where to begin, instead of where the last one ended.
    pub since: Option<Sequence>,
    /// Whether only winners are carried over.
    pub winning_revisions_only: bool,
    /// How.
    pub tuning: Tuning,
}

fn bad(reason: impl Into<Cow<'static, str>>) -> InvalidDescription {
    InvalidDescription(reason.into())
}

fn boolean(
    fields: &Map<String, Value>,
    name: &'static str,
    default: bool,
) -> Result<bool, InvalidDescription> {
    match fields.get(name) {
        None => Ok(default),
        Some(Value::Bool(value)) => Ok(*value),
        Some(_) => Err(bad(format!("parameter `{name}` must be a boolean"))),
    }
}

fn object<'f>(
    fields: &'f Map<String, Value>,
    name: &'static str,
) -> Result<Option<&'f Map<String, Value>>, InvalidDescription> {
    match fields.get(name) {
        None => Ok(None),
        Some(Value::Object(value)) => Ok(Some(value)),
        Some(_) => Err(bad(format!("parameter `{name}` must be a JSON object"))),
    }
}

/// A count, also as text, kept within bounds.
fn count(
    fields: &Map<String, Value>,
    name: &'static str,
    (least, default, most): (u64, u64, u64),
) -> Result<u64, InvalidDescription> {
    let wrong = || bad(format!("parameter `{name}` must be an integer"));
    let given = match fields.get(name) {
        None => default,
        Some(Value::Number(number)) => number.as_u64().ok_or_else(wrong)?,
        Some(Value::String(text)) => text.trim().parse().map_err(|_| wrong())?,
        Some(_) => return Err(wrong()),
    };
    Ok(given.clamp(least, most))
}

fn text<'f>(fields: &'f Map<String, Value>, name: &str) -> Option<&'f str> {
    fields.get(name)?.as_str().filter(|text| !text.is_empty())
}

impl Description {
    /// Reads a description.
    ///
    /// # Errors
    /// [`InvalidDescription`], in `CouchDB`'s words.
    pub fn read(fields: &Map<String, Value>) -> Result<Self, InvalidDescription> {
        let (source_proxy, target_proxy) = proxies(fields)?;
        let create = boolean(fields, "create_target", false)?;
        let parameters = object(fields, "create_target_params")?;
        Ok(Self {
            source: Endpoint::read(fields.get("source"), source_proxy)?,
            target: Endpoint::read(fields.get("target"), target_proxy)?,
            continuous: boolean(fields, "continuous", false)?,
            create_target: create.then(|| parameters.map_or_else(Vec::new, as_parameters)),
            filter: read_filter(fields)?,
            since: fields
                .get("since_seq")
                .filter(|since| !since.is_null())
                .map(|since| Sequence::of_value(Some(since))),
            winning_revisions_only: boolean(fields, "winning_revs_only", false)?,
            tuning: read_tuning(fields)?,
        })
    }
}

fn proxies(
    fields: &Map<String, Value>,
) -> Result<(Option<&str>, Option<&str>), InvalidDescription> {
    let (source, target) = (text(fields, "source_proxy"), text(fields, "target_proxy"));
    match text(fields, "proxy") {
        None => Ok((source, target)),
        Some(_) if source.is_some() => {
            Err(bad("`proxy` is mutually exclusive with `source_proxy`"))
        }
        Some(_) if target.is_some() => {
            Err(bad("`proxy` is mutually exclusive with `target_proxy`"))
        }
        Some(proxy) => Ok((Some(proxy), Some(proxy))),
    }
}

/// The parameters of a query; values other than texts as JSON.
pub(crate) fn as_parameters(fields: &Map<String, Value>) -> Vec<(String, String)> {
    let shown = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    fields
        .iter()
        .map(|(name, value)| (name.clone(), shown(value)))
        .collect()
}

fn read_filter(fields: &Map<String, Value>) -> Result<Filter, InvalidDescription> {
    let ids = fields.get("doc_ids").filter(|ids| !ids.is_null());
    let selector = object(fields, "selector")?;
    let name = match fields.get("filter") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) if !name.is_empty() => Some(name),
        Some(_) => return Err(bad("parameter `filter` must be a non-empty string")),
    };
    let parameters = object(fields, "query_params")?;
    match (ids, selector, name) {
        (None, None, None) => Ok(Filter::All),
        (Some(Value::Array(ids)), None, None) => read_ids(ids).map(Filter::Ids),
        (Some(_), None, None) => Err(bad("parameter `doc_ids` must be an array")),
        (None, Some(selector), None) => Ok(Filter::Selector(selector.clone())),
        (None, None, Some(name)) => Ok(Filter::Function {
            name: name.clone(),
            parameters: parameters.cloned().unwrap_or_default(),
        }),
        _ => Err(bad("`doc_ids`,`filter`,`selector` are mutually exclusive")),
    }
}

fn read_ids(ids: &[Value]) -> Result<Vec<String>, InvalidDescription> {
    if ids.len() > IDS_MAX {
        return Err(bad("parameter `doc_ids` names too many documents"));
    }
    let read = |id: &Value| id.as_str().map(str::to_owned);
    let read: Option<Vec<String>> = ids.iter().map(read).collect();
    let mut ids = read.ok_or_else(|| bad("parameter `doc_ids` must be an array of strings"))?;
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

fn read_tuning(fields: &Map<String, Value>) -> Result<Tuning, InvalidDescription> {
    let count = |name, bounds| count(fields, name, bounds);
    let size = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    Ok(Tuning {
        workers: size(count("worker_processes", (1, 4, 16))?),
        batch: size(count("worker_batch_size", (1, 500, 2_000))?),
        connections: size(count("http_connections", (2, 20, 100))?),
        timeout: Duration::from_millis(count("connection_timeout", (100, 30_000, 3_600_000))?),
        retries: u32::try_from(count("retries_per_request", (0, 5, 20))?).unwrap_or(5),
        checkpoints: boolean(fields, "use_checkpoints", true)?,
        checkpoint_interval: Duration::from_millis(count(
            "checkpoint_interval",
            (100, 30_000, 86_400_000),
        )?),
        bulk_get: boolean(fields, "use_bulk_get", true)?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<Description, InvalidDescription> {
        let Value::Object(fields) = value else {
            panic!()
        };
        Description::read(&fields)
    }

    #[test]
    fn a_description_is_read_and_shows_no_secret() {
        let read = read(json!({
            "source": {"url": "https://h.example/db", "auth": {"basic": {"username": "u", "password": "s3cret"}},
                "headers": {"X-Key": "s3cret", "host": "evil"}},
            "target": "here", "continuous": true, "create_target": true, "create_target_params": {"q": 1},
            "doc_ids": ["b", "a", "b"], "worker_batch_size": "9999999", "http_connections": 0,
            "checkpoint_interval": 5_000, "since_seq": "4-x", "unknown": 1, "winning_revs_only": true,
        }))
        .unwrap();
        assert_eq!(
            read.filter,
            Filter::Ids(vec!["a".to_owned(), "b".to_owned()])
        );
        assert_eq!((read.tuning.batch, read.tuning.connections), (2_000, 2));
        assert_eq!(
            read.create_target,
            Some(vec![("q".to_owned(), "1".to_owned())])
        );
        assert_eq!(read.since.as_ref().unwrap().as_parameter(), "4-x");
        let shown = format!("{read:?} {}", read.source);
        assert!(!shown.contains("s3cret"), "{shown}");
        let Endpoint::Remote(remote) = &read.source else {
            panic!()
        };
        assert_eq!(remote.headers.len(), 1);
        assert_eq!(remote.address.path(), "/db/");
    }

    #[test]
    fn what_is_wrong_is_said_in_couchdbs_words() {
        let ends = |more: Value| {
            let mut fields = json!({"source": "a", "target": "b"});
            fields
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            fields
        };
        for (fields, reason) in [
            (json!({"source": "a"}), "Missing replicator database"),
            (
                json!({"source": "a", "target": 1}),
                "Missing replicator database",
            ),
            (
                json!({"source": {"url": "x://y"}, "target": "b"}),
                "endpoint has an invalid url",
            ),
            (
                ends(json!({"continuous": 1})),
                "parameter `continuous` must be a boolean",
            ),
            (
                ends(json!({"create_target": "yes"})),
                "parameter `create_target` must be a boolean",
            ),
            (
                ends(json!({"doc_ids": {}})),
                "parameter `doc_ids` must be an array",
            ),
            (
                ends(json!({"selector": []})),
                "parameter `selector` must be a JSON object",
            ),
            (
                ends(json!({"doc_ids": [], "filter": "a/b"})),
                "`doc_ids`,`filter`,`selector` are mutually exclusive",
            ),
            (
                ends(json!({"worker_processes": "many"})),
                "parameter `worker_processes` must be an integer",
            ),
            (
                ends(json!({"proxy": "http://p", "source_proxy": "http://q"})),
                "`proxy` is mutually exclusive with `source_proxy`",
            ),
        ] {
            assert_eq!(read(fields).unwrap_err().to_string(), reason);
        }
    }
}
