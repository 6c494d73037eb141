//! `_aggregate`: documents counted and summed up by groups, which `CouchDB` has not.
//!
//! `{"selector": …, "group": ["kind"], "aggregate": {"n": {"count": true}, "total": {"sum": "price"}}}`
//! answers `{"groups": [{"key": {"kind": "a"}, "n": 3, "total": 12}]}`, in the order of the keys
//! unless `sort` names fields of the key or results.

use std::sync::Arc;

use adea_documents::json::write_json_string;
use adea_documents::selector::{FieldPath, Selector};
use adea_pod::{Aggregate, AggregateQuery, Aggregated, DatabaseEntry, FindQuery, Group};
use http::StatusCode;
use serde_json::Value;

use crate::body::Response;
use crate::couch::find::options::{
    Options, compare, field_path, means_nothing, refused, use_index,
};
use crate::couch::find::{posted, read, write_statistics};
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;

/// Groups that are answered where no limit is given.
const LIMIT_DEFAULT: u64 = 10_000;
/// Fields to group by, and results, of one request.
const NAMES_MAX: usize = 64;

/// A request, and what of it only the answer shows.
struct AggregateRequest {
    query: AggregateQuery,
    sort: Vec<(Sorted, bool)>,
    limit: u64,
    skip: u64,
    execution_stats: bool,
}

/// What groups are sorted by: a field of the key, or a result.
#[derive(Clone, Copy)]
enum Sorted {
    Key(usize),
    Result(usize),
}

pub(super) async fn aggregate(
    mut exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    partition: Option<&str>,
) -> Result<Response, ApiError> {
    let body = posted(&mut exchange, &entry).await?;
    let partition = partition.map(str::to_owned);
    let request = read(body, move |body| AggregateRequest::read(body, partition));
    let request = request.await?;
    if request.query.find.partition.is_some() && !entry.settings.partitioned {
        return Err(ApiError::bad("database is not partitioned"));
    }
    let AggregateRequest {
        query,
        sort,
        limit,
        skip,
        execution_stats,
    } = request;
    let (pod, asked) = (exchange.app.pod.clone(), query.clone());
    let mut done = pod.aggregate(&entry, &exchange.caller, query).await?;
    let shown = tokio::task::spawn_blocking(move || {
        done.groups.sort_by(|a, b| in_order(a, b, &sort));
        show(&done, &asked, (skip, limit), execution_stats)
    });
    let shown = shown
        .await
        .map_err(|_| ApiError::from(adea_pod::PodError::Interrupted))?;
    Ok(reply::json(StatusCode::OK, shown))
}

fn in_order(a: &Group, b: &Group, sort: &[(Sorted, bool)]) -> std::cmp::Ordering {
    for (by, descending) in sort {
        let order = match *by {
            Sorted::Key(at) => {
                let value = |group: &Group| group.key.get(at).cloned().flatten();
                match (value(a), value(b)) {
                    (Some(a), Some(b)) => compare(&a, &b),
                    (a, b) => a.is_some().cmp(&b.is_some()),
                }
            }
            Sorted::Result(at) => match (a.values.get(at), b.values.get(at)) {
                (Some(a), Some(b)) => compare(a, b),
                (a, b) => a.is_some().cmp(&b.is_some()),
            },
        };
        if order.is_ne() {
            return if *descending { order.reverse() } else { order };
        }
    }
    std::cmp::Ordering::Equal
}

fn show(
    done: &Aggregated,
    query: &AggregateQuery,
    (skip, limit): (u64, u64),
    execution_stats: bool,
) -> Vec<u8> {
    let mut out = b"{\"groups\":[".to_vec();
    let skip = usize::try_from(skip).unwrap_or(usize::MAX);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    for (n, group) in done.groups.iter().skip(skip).take(limit).enumerate() {
        out.extend_from_slice(if n == 0 { b"\r\n" } else { b",\r\n" });
        show_group(&mut out, group, query);
    }
    let total = done.groups.len();
    out.extend_from_slice(format!("\r\n],\r\n\"total_groups\": {total}").as_bytes());
    if execution_stats {
        out.extend_from_slice(b",\r\n\"execution_stats\": ");
        write_statistics(&mut out, &done.statistics);
    }
    if !done.warnings.is_empty() {
        out.extend_from_slice(b",\r\n\"warning\": ");
        write_json_string(&mut out, &done.warnings.join("\n"));
    }
    out.extend_from_slice(b"}\n");
    out
}

fn show_group(out: &mut Vec<u8>, group: &Group, query: &AggregateQuery) {
    out.extend_from_slice(b"{\"key\":{");
    let present = query.group.iter().zip(&group.key);
    let present = present.filter_map(|(field, value)| Some((field.name(), value.as_ref()?)));
    for (n, (name, value)) in present.enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_json_string(out, name);
        out.extend_from_slice(format!(":{value}").as_bytes());
    }
    out.push(b'}');
    for ((name, _), value) in query.aggregates.iter().zip(&group.values) {
        out.push(b',');
        write_json_string(out, name);
        out.extend_from_slice(format!(":{value}").as_bytes());
    }
    out.push(b'}');
}

impl AggregateRequest {
    fn read(body: &[u8], partition: Option<String>) -> Result<Self, ApiError> {
        let mut options = Options::of(body)?;
        let selector = options.require("selector")?;
        let nothing = means_nothing(&selector);
        let selector = Selector::parse(&selector)?;
        let group = group(options.take("group"))?;
        let aggregates = aggregates(&options.require("aggregate")?)?;
        let sort = sort(options.take("sort"), &group, &aggregates)?;
        let named = options.take("use_index").unwrap_or(Value::Null);
        let asked_partition = options.text("partition")?.filter(|name| !name.is_empty());
        let request = Self {
            sort,
            limit: options.count("limit", LIMIT_DEFAULT)?,
            skip: options.count("skip", 0)?,
            execution_stats: options.boolean("execution_stats", false)?,
            query: AggregateQuery {
                find: FindQuery {
                    nothing,
                    use_index: use_index(&named)?,
                    allow_fallback: options.boolean("allow_fallback", true)?,
                    update: options.boolean("update", true)?,
                    partition: partition.or(asked_partition),
                    ..FindQuery::of(selector)
                },
                group,
                aggregates,
            },
        };
        options.end()?;
        Ok(request)
    }
}

fn invalid(reason: impl Into<String>) -> ApiError {
    refused("invalid_aggregate", reason)
}

fn group(value: Option<Value>) -> Result<Vec<FieldPath>, ApiError> {
    let words = "`group` must be an array of at most 64 field names.";
    let Some(value) = value else {
        return Ok(Vec::new());
    };
    let items = value.as_array().filter(|items| items.len() <= NAMES_MAX);
    let items = items.ok_or_else(|| invalid(words))?;
    let mut fields: Vec<FieldPath> = Vec::new();
    for item in items {
        let name = item.as_str().filter(|name| !name.is_empty());
        let field = field_path(name.ok_or_else(|| invalid(words))?)?;
        if !fields.contains(&field) {
            fields.push(field);
        }
    }
    Ok(fields)
}

fn aggregates(value: &Value) -> Result<Vec<(String, Aggregate)>, ApiError> {
    let members = value
        .as_object()
        .filter(|members| members.len() <= NAMES_MAX);
    let members = members.ok_or_else(|| {
        invalid(
            "`aggregate` must be an object of at most 64 results, each as {\"sum\": \"field\"}.",
        )
    })?;
    members
        .iter()
        .map(|(name, asked)| {
            if name == "key" {
                return Err(invalid("A result cannot be called `key`."));
            }
            Ok((name.clone(), aggregate_of(name, asked)?))
        })
        .collect()
}

fn aggregate_of(name: &str, asked: &Value) -> Result<Aggregate, ApiError> {
    let wrong = || {
        invalid(format!(
            "`aggregate.{name}` must be one of {{\"count\": true}}, {{\"count\": \"field\"}}, {{\"sum\": \"field\"}}, {{\"min\": \"field\"}}, {{\"max\": \"field\"}}, {{\"avg\": \"field\"}}."
        ))
    };
    let members = asked.as_object().filter(|members| members.len() == 1);
    let (what, of) = members
        .and_then(|members| members.iter().next())
        .ok_or_else(wrong)?;
    if what == "count" && *of == Value::Bool(true) {
        return Ok(Aggregate::Count(None));
    }
    let field = of.as_str().filter(|field| !field.is_empty());
    let field = field_path(field.ok_or_else(wrong)?)?;
    match what.as_str() {
        "count" => Ok(Aggregate::Count(Some(field))),
        "sum" => Ok(Aggregate::Sum(field)),
        "min" => Ok(Aggregate::Min(field)),
        "max" => Ok(Aggregate::Max(field)),
        "avg" => Ok(Aggregate::Avg(field)),
        _ => Err(wrong()),
    }
}

fn sort(
    value: Option<Value>,
    group: &[FieldPath],
    aggregates: &[(String, Aggregate)],
) -> Result<Vec<(Sorted, bool)>, ApiError> {
    let words = "`sort` must be an array of names, or of {\"name\": \"asc\" or \"desc\"}, each a field of `group` or a result.";
    let Some(value) = value else {
        return Ok(Vec::new());
    };
    let items = value.as_array().filter(|items| items.len() <= NAMES_MAX);
    let items = items.ok_or_else(|| invalid(words))?;
    let read = |item: &Value| {
        let (name, descending) = match item.as_object() {
            None => (item.as_str()?, false),
            Some(members) if members.len() == 1 => {
                let (name, direction) = members.iter().next()?;
                match direction.as_str()? {
                    "asc" => (name.as_str(), false),
                    "desc" => (name.as_str(), true),
                    _ => return None,
                }
            }
            Some(_) => return None,
        };
        let result = aggregates.iter().position(|(known, _)| known == name);
        let field = || group.iter().position(|field| field.name() == name);
        let by = result
            .map(Sorted::Result)
            .or_else(|| field().map(Sorted::Key));
        Some((by?, descending))
    };
    items
        .iter()
        .map(|item| read(item).ok_or_else(|| invalid(words)))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requests_are_read_or_refused() {
        let read = |body: Value| AggregateRequest::read(body.to_string().as_bytes(), None);
        let whole = json!({"selector": {"a": 1}, "group": ["b", "c.d"], "aggregate": {"n": {"count": true}, "t": {"sum": "x"}},
            "sort": [{"n": "desc"}, "b"], "limit": 5});
        let request = read(whole.clone()).ok().unwrap();
        assert_eq!(
            (request.sort.len(), request.limit, request.query.group.len()),
            (2, 5, 2)
        );
        for (name, wrong) in [
            ("group", json!("a")),
            ("group", json!([1])),
            ("group", json!(["a..b"])),
            ("aggregate", json!([])),
            ("aggregate", json!({"n": {"count": false}})),
            ("aggregate", json!({"n": {"median": "x"}})),
            ("aggregate", json!({"n": {"sum": "x", "min": "x"}})),
            ("aggregate", json!({"key": {"count": true}})),
            ("sort", json!(["zzz"])),
            ("sort", json!([{"n": "up"}])),
            ("bookmark", json!("x")),
        ] {
            let mut body = whole.clone();
            body[name] = wrong.clone();
            let refused = read(body).err().unwrap();
            assert_eq!(
                refused.status().0,
                StatusCode::BAD_REQUEST,
                "{name}: {wrong}"
            );
        }
    }
}
