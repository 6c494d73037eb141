//! `_explain`: how a query would be answered, as `CouchDB` 3.5 shows it.
//!
//! The keys of the index's range are shown as `CouchDB` would have them: a prefix of the columns, of
//! each its bounds. Where several pieces are walked, they are the first and the last.

use std::ops::Bound;
use std::sync::Arc;

use adea_documents::selector::{FieldPath, Range};
use adea_pod::{Candidate, DatabaseEntry, FindPlan, FindQuery, MangoIndex, primary_index_json};
use http::StatusCode;
use serde_json::{Value, json};

use crate::body::Response;
use crate::couch::find::asked;
use crate::couch::find::options::{FindRequest, compare};
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;

/// Stands for what is greater than every key.
const MAX: &str = "<MAX>";

pub(super) async fn explain(
    mut exchange: Exchange,
    entry: Arc<DatabaseEntry>,
    partition: Option<&str>,
) -> Result<Response, ApiError> {
    let request = asked(&mut exchange, &entry, partition).await?;
    let pod = exchange.app.pod.clone();
    let explained = tokio::task::spawn_blocking(move || {
        let explained = pod.explain(&entry, &request.query)?;
        let shown = show(&entry, &request, &explained);
        Ok::<_, ApiError>(shown)
    });
    let shown = explained
        .await
        .map_err(|_| ApiError::from(adea_pod::PodError::Interrupted))??;
    Ok(reply::json(StatusCode::OK, format!("{shown}\n")))
}

fn show(entry: &DatabaseEntry, request: &FindRequest, explained: &adea_pod::Explained) -> Value {
    let query = &request.query;
    let plan = explained.plan.as_ref();
    let index = plan.map_or(Value::Null, |plan| {
        let index = plan.index();
        index.map_or_else(primary_index_json, |index| {
            if explained.hidden {
                hidden_index_json()
            } else {
                index.to_json()
            }
        })
    });
    let candidates = explained.candidates.iter();
    let fields = query.fields.iter().flatten().map(FieldPath::name);
    let mut shown = json!({
        "dbname": entry.face_name(),
        "index": index,
        "partitioned": entry.settings.partitioned,
        "selector": query.selector.to_json(),
        "opts": request.shown,
        "limit": query.limit,
        "skip": query.skip,
        "fields": fields.collect::<Vec<_>>(),
        "index_candidates": candidates.map(|one| show_candidate(one, query)).collect::<Vec<_>>(),
        "selector_hints": [selector_hints(query)],
    });
    if let (Some(plan), Some(members)) = (plan, shown.as_object_mut()) {
        let arguments = range_arguments(request, plan, explained.hidden);
        members.insert("mrargs".to_owned(), arguments);
        members.insert("covering".to_owned(), plan.covering.into());
    }
    shown
}

fn show_candidate(candidate: &Candidate, query: &FindQuery) -> Value {
    let index = candidate.index.as_ref();
    let fields = query.fields.as_ref();
    let covers = |index: &Arc<MangoIndex>| {
        fields.is_some_and(|fields| index.covers(fields.iter().map(FieldPath::name)))
    };
    json!({
        "index": index.map_or_else(primary_index_json, |index| index.to_json()),
        "analysis": {
            "usable": candidate.usable,
            "reasons": [{"name": candidate.reason.name()}],
            "ranking": candidate.ranking,
            "covering": index.map(covers),
        },
    })
}

fn selector_hints(query: &FindQuery) -> Value {
    let indexable = query.selector.indexable_fields();
    let all = query.selector.fields();
    let rest = all.iter().filter(|field| !indexable.contains(field));
    let names = |fields: Vec<&FieldPath>| {
        fields
            .into_iter()
            .map(FieldPath::name)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    json!({
        "type": "json",
        "indexable_fields": names(indexable.clone()),
        "unindexable_fields": names(rest.copied().collect()),
    })
}

/// Stands for an index whose definition is not for who asks.
fn hidden_index_json() -> Value {
    json!({"ddoc": null, "name": "_hidden", "type": "json", "def": {"fields": []}})
}

fn range_arguments(request: &FindRequest, plan: &FindPlan, hidden: bool) -> Value {
    let query = &request.query;
    let (mut start, mut end) = match plan.index() {
        Some(_) if hidden => (Value::Null, Value::Null),
        Some(index) => keys_of(index, query),
        None => ids_of(query),
    };
    if query.nothing || query.selector.is_never() {
        (start, end) = (Value::Null, Value::Null);
    }
    if query.descending {
        (start, end) = (end, start);
    }
    let conflicts = if query.conflicts {
        json!(true)
    } else {
        json!("undefined")
    };
    json!({
        "include_docs": !plan.covering,
        "view_type": "map",
        "reduce": false,
        "partition": query.partition,
        "start_key": start,
        "end_key": end,
        "direction": if query.descending { "rev" } else { "fwd" },
        "stable": request.stable,
        "update": query.update,
        "conflicts": conflicts,
        "estimated_rows": plan.rows,
    })
}

/// The first and the last key of an index that may match.
fn keys_of(index: &MangoIndex, query: &FindQuery) -> (Value, Value) {
    let (mut start, mut end) = (Vec::new(), Vec::new());
    let (mut from, mut to) = (true, true);
    let comparable = query.selector.indexable_fields();
    for column in index.column_names() {
        let known = comparable.iter().any(|field| field.name() == column);
        let Some(range) = query.selector.range_for(column).filter(|_| known) else {
            break;
        };
        if is_empty(&range) {
            return (Value::Null, Value::Null);
        }
        match range.low {
            Bound::Included(low) | Bound::Excluded(low) if from => start.push(low),
            Bound::Included(_) | Bound::Excluded(_) | Bound::Unbounded => from = false,
        }
        match range.high {
            Bound::Included(high) | Bound::Excluded(high) if to => end.push(high),
            Bound::Included(_) | Bound::Excluded(_) | Bound::Unbounded => to = false,
        }
    }
    end.push(MAX.into());
    (start.into(), end.into())
}

fn is_empty(range: &Range) -> bool {
    match (&range.low, &range.high) {
        (Bound::Included(low), Bound::Included(high)) => compare(low, high).is_gt(),
        (
            Bound::Included(low) | Bound::Excluded(low),
            Bound::Included(high) | Bound::Excluded(high),
        ) => compare(low, high).is_ge(),
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
    }
}

fn ids_of(query: &FindQuery) -> (Value, Value) {
    let range = query.selector.range_for("_id").unwrap_or(Range::FULL);
    let bound = |bound: Bound<Value>, otherwise: &str| match bound {
        Bound::Included(id) | Bound::Excluded(id) => id,
        Bound::Unbounded => otherwise.into(),
    };
    (bound(range.low, ""), bound(range.high, MAX))
}
