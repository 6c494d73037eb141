//! `_index`: making, listing and deleting Mango indexes.

use std::sync::Arc;

use adea_documents::selector::{Selector, erlang_term};
use adea_pod::{COLUMNS_MAX, DatabaseEntry, NewIndex, PodError, primary_index_json};
use http::StatusCode;
use serde_json::{Value, json};

use crate::body::Response;
use crate::couch::find::options::{Options, Sort, field_path, refused, use_index};
use crate::couch::find::{posted, read};
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;

/// The most design documents one request may name.
const DESIGNS_MAX: usize = 10_000;

pub(super) async fn route(
    exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    rest: &[String],
) -> Result<Response, ApiError> {
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    match (&*rest, exchange.method.as_str()) {
        ([], "GET" | "HEAD") => list(&exchange, &entry),
        ([], "POST") => create(exchange, entry).await,
        ([], _) => Err(ApiError::MethodNotAllowed("GET,POST")),
        (["_bulk_delete"], "POST") => bulk_delete(exchange, entry).await,
        (["_bulk_delete"], _) => Err(ApiError::MethodNotAllowed("POST")),
        ([design, kind, name] | ["_design", design, kind, name], "DELETE") => {
            delete(&exchange, entry, design, kind, name).await
        }
        ([_] | [_, _] | [_, _, _] | ["_design", ..], _) => {
            Err(ApiError::MethodNotAllowed("DELETE"))
        }
        _ => Err(ApiError::NotFound("missing")),
    }
}

fn list(exchange: &Exchange, entry: &DatabaseEntry) -> Result<Response, ApiError> {
    let indexes = exchange.app.pod.mango_indexes_seen(entry)?;
    let total = indexes.len() + 1;
    let number = |name: &str, default: usize, least: usize| {
        let given = exchange.query.get(name);
        given.map_or(Ok(default), |text| {
            let number = text.parse::<i128>().ok();
            let number = number.map(|number| usize::try_from(number.min(i128::from(u32::MAX))));
            match number {
                Some(Ok(number)) if number >= least => Ok(number),
                Some(_) | None => Err(ApiError::Mango {
                    status: StatusCode::INTERNAL_SERVER_ERROR,
                    error: "invalid_list_index_params",
                    reason: "Index parameter ranges: limit > 1, skip > 0".to_owned(),
                }),
            }
        })
    };
    let limit = number("limit", total, 1)?;
    let skip = number("skip", 0, 0)?;
    let all = std::iter::once(primary_index_json()).chain(indexes.iter().map(|one| one.to_json()));
    let shown: Vec<Value> = all.skip(skip).take(limit).collect();
    let body = json!({"total_rows": total, "indexes": shown});
    Ok(reply::json(StatusCode::OK, format!("{body}\n")))
}

async fn create(mut exchange: Exchange, entry: Arc<DatabaseEntry>) -> Result<Response, ApiError> {
    let body = posted(&mut exchange, &entry).await?;
    let new = read(body, read_new).await?;
    let pod = &exchange.app.pod;
    let made = pod.create_index(&entry, &exchange.caller, &new).await?;
    let body = json!({
        "result": if made.created { "created" } else { "exists" },
        "id": made.design,
        "name": made.name,
    });
    Ok(reply::json(StatusCode::OK, format!("{body}\n")))
}

fn read_new(body: &[u8]) -> Result<NewIndex, ApiError> {
    let mut options = Options::of(body)?;
    let definition = options.require("index")?;
    let kind = options.text("type")?.unwrap_or_else(|| "json".to_owned());
    let name = options.text("name")?;
    let design = options.text("ddoc")?;
    for given in [&name, &design].into_iter().flatten() {
        if given.is_empty() || given == "_design/" {
            let shown = erlang_term(&given.as_str().into());
            return Err(refused(
                "invalid_index_name",
                format!("Invalid index name: {shown}"),
            ));
        }
    }
    let quorum = options.positive("w", 2)?;
    let partitioned = match options.take("partitioned") {
        None => None,
        Some(Value::Bool(value)) => Some(value),
        Some(other) => {
            let shown = erlang_term(&other);
            return Err(refused(
                "invalid_partitioned_value",
                format!("Invalid value for partitioned: {shown}"),
            ));
        }
    };
    options.end()?;
    match kind.as_str() {
        "json" => {}
        "text" | "nouveau" => {
            return Err(ApiError::Mango {
                status: StatusCode::SERVICE_UNAVAILABLE,
                error: "required index service unavailable",
                reason: kind,
            });
        }
        other => {
            return Err(refused(
                "invalid_index",
                format!("Invalid type for index: {other}"),
            ));
        }
    }
    let (fields, filter) = read_definition(&definition)?;
    Ok(NewIndex {
        definition,
        fields,
        filter,
        name,
        design,
        partitioned,
        quorum,
    })
}

type Definition = (
    Vec<(adea_documents::selector::FieldPath, &'static str)>,
    Option<Selector>,
);

fn read_definition(definition: &Value) -> Result<Definition, ApiError> {
    let Value::Object(members) = definition else {
        let shown = erlang_term(definition);
        return Err(refused(
            "invalid_index",
            format!("JSON indexes must be an object, not: {shown}"),
        ));
    };
    let mut options = Options::of(Value::Object(members.clone()).to_string().as_bytes())?;
    let sort = Sort::read(&options.require("fields")?)?;
    let fields = sort.fields.iter();
    let fields = fields.map(|name| Ok((field_path(name)?, sort.direction())));
    let fields = fields.collect::<Result<Vec<_>, ApiError>>()?;
    if fields.is_empty() || fields.len() > COLUMNS_MAX {
        return Err(refused(
            "invalid_index",
            format!("An index must have between 1 and {COLUMNS_MAX} fields."),
        ));
    }
    let filter = options.take("partial_filter_selector");
    let filter =
        filter.filter(|filter| filter.as_object().is_none_or(|members| !members.is_empty()));
    let filter = filter.as_ref().map(Selector::parse).transpose()?;
    options.end()?;
    Ok((fields, filter))
}

async fn delete(
    exchange: &Exchange,
    entry: Arc<DatabaseEntry>,
    design: &str,
    kind: &str,
    name: &str,
) -> Result<Response, ApiError> {
    if kind != "json" {
        return Err(ApiError::NotFound("missing"));
    }
    let pod = &exchange.app.pod;
    pod.delete_index(&entry, &exchange.caller, design, Some(name))
        .await?;
    Ok(reply::ok(StatusCode::OK))
}

async fn bulk_delete(
    mut exchange: Exchange,
    entry: Arc<DatabaseEntry>,
) -> Result<Response, ApiError> {
    let body = posted(&mut exchange, &entry).await?;
    let designs = read_designs(&body)?;
    let (mut success, mut fail) = (Vec::new(), Vec::new());
    for design in designs {
        let id = format!(
            "_design/{}",
            design.strip_prefix("_design/").unwrap_or(&design)
        );
        let pod = &exchange.app.pod;
        match pod.delete_index(&entry, &exchange.caller, &id, None).await {
            Ok(()) => success.push(json!({"id": id, "ok": true})),
            Err(PodError::Missing) => fail.push(json!({"id": id, "error": "not_found"})),
            Err(error) => return Err(error.into()),
        }
    }
    let body = json!({"success": success, "fail": fail});
    Ok(reply::json(StatusCode::OK, format!("{body}\n")))
}

fn read_designs(body: &[u8]) -> Result<Vec<String>, ApiError> {
    let mut options = Options::of(body)?;
    let given = options.require("docids")?;
    options.positive("w", 2)?;
    options.end()?;
    let invalid = || {
        let shown = erlang_term(&given);
        refused(
            "invalid_bulk_docs",
            format!("Bulk Delete requires an array of non-null docids. Docids: {shown}"),
        )
    };
    let items = given.as_array().ok_or_else(invalid)?;
    if items.len() > DESIGNS_MAX {
        return Err(invalid());
    }
    items
        .iter()
        .map(|item| {
            use_index(item)?;
            item.as_str().map(str::to_owned).ok_or_else(invalid)
        })
        .collect()
}
