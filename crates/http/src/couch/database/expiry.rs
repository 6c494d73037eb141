//! What of a database depends on time: `_auto_purge`, for how long tombstones are kept, and
//! `_time_seq`, how many documents changed when.

use adea_documents::json::{for_each_member, read_text};
use adea_pod::DatabaseEntry;
use http::StatusCode;

use crate::body::Response;
use crate::couch::database::require_admin;
use crate::couch::intake;
use crate::couch::node::{NODE, RANGE};
use crate::couch::sending::aside;
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;
use crate::wire::time;

/// The longest body of `_auto_purge`.
const BODY_MAX: u64 = 4 << 10;

/// Answers `_auto_purge`.
pub(super) async fn auto_purge(
    mut exchange: Exchange,
    entry: &DatabaseEntry,
) -> Result<Response, ApiError> {
    match exchange.method.as_str() {
        "GET" | "HEAD" => {
            let ttl_s = exchange.app.pod.deleted_document_ttl(entry)?;
            let property = ttl_s.map(|ttl_s| format!("\"deleted_document_ttl\":{ttl_s}"));
            let body = format!("{{{}}}\n", property.unwrap_or_default());
            Ok(reply::json(StatusCode::OK, body))
        }
        "PUT" => {
            require_admin(&exchange, entry)?;
            let body = intake::whole_up_to(&mut exchange, BODY_MAX).await?;
            let ttl_s = read_properties(&body)?;
            set(&exchange, entry, ttl_s).await
        }
        "DELETE" => {
            require_admin(&exchange, entry)?;
            set(&exchange, entry, None).await
        }
        _ => Err(ApiError::MethodNotAllowed("GET,PUT,DELETE")),
    }
}

async fn set(
    exchange: &Exchange,
    entry: &DatabaseEntry,
    ttl_s: Option<u64>,
) -> Result<Response, ApiError> {
    let pod = &exchange.app.pod;
    pod.set_deleted_document_ttl(entry, ttl_s).await?;
    Ok(reply::ok(StatusCode::CREATED))
}

/// The time that tombstones are kept; `None` for ever.
fn read_properties(body: &[u8]) -> Result<Option<u64>, ApiError> {
    let mut ttl_s = None;
    let is_object = for_each_member(body, |name, value| {
        if name != "deleted_document_ttl" {
            return Err(ApiError::bad(format!(
                "invalid auto purge property {name:?}"
            )));
        }
        ttl_s = read_span(value)?;
        Ok(())
    })?;
    if is_object {
        Ok(ttl_s)
    } else {
        Err(ApiError::bad("Request body must be a JSON object"))
    }
}

/// A number of seconds, or a number and a unit as `3_days`.
fn read_span(value: &[u8]) -> Result<Option<u64>, ApiError> {
    let wrong = || {
        ApiError::bad(
            "deleted_document_ttl must be a number of seconds greater than 0, as 86400 or \"1_day\", or null",
        )
    };
    let text = match read_text(value)? {
        Some(text) => text.into_owned(),
        None => std::str::from_utf8(value).unwrap_or("").trim().to_owned(),
    };
    if matches!(text.as_str(), "null" | "infinity") {
        return Ok(None);
    }
    let (digits, unit) = text.split_once('_').unwrap_or((&text, "seconds"));
    let unit = match unit {
        "s" | "sec" | "second" | "seconds" => 1,
        "min" | "minute" | "minutes" => 60,
        "h" | "hour" | "hours" => 3_600,
        "d" | "day" | "days" => 86_400,
        "w" | "week" | "weeks" => 7 * 86_400,
        "month" | "months" => 30 * 86_400,
        "y" | "year" | "years" => 365 * 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let ttl_s = number.checked_mul(unit).filter(|ttl_s| *ttl_s > 0);
    ttl_s.ok_or_else(wrong).map(Some)
}

/// Answers `_time_seq`.
pub(super) async fn time_seq(
    exchange: Exchange,
    entry: &DatabaseEntry,
) -> Result<Response, ApiError> {
    match exchange.method.as_str() {
        "GET" | "HEAD" => {
            let spans = aside(|| exchange.app.pod.changes_by_time(entry))?;
            let rows: Vec<String> = spans
                .into_iter()
                .map(|(unix_s, count)| format!("[\"{}\",{count}]", time::format(unix_s)))
                .collect();
            let rows = rows.join(",");
            let body = format!("{{\"{RANGE}\":{{\"{NODE}\":[{rows}]}}}}\n");
            Ok(reply::json(StatusCode::OK, body))
        }
        "DELETE" => {
            require_admin(&exchange, entry)?;
            exchange.app.pod.reset_times(entry).await?;
            Ok(reply::ok(StatusCode::OK))
        }
        _ => Err(ApiError::MethodNotAllowed("GET,DELETE")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_seconds_or_have_a_unit() {
        let check = |json: &str, expected: Option<u64>| {
            let body = format!("{{\"deleted_document_ttl\":{json}}}");
            assert_eq!(
                read_properties(body.as_bytes()).unwrap(),
                expected,
                "{json}"
            );
        };
        check("3600", Some(3_600));
        check("\"3600\"", Some(3_600));
        check("\"2_days\"", Some(172_800));
        check("null", None);
        check("\"infinity\"", None);
        for wrong in [
            "0",
            "-1",
            "1.5",
            "true",
            "{}",
            "\"\"",
            "\"1_eon\"",
            "99999999999999999999",
        ] {
            let body = format!("{{\"deleted_document_ttl\":{wrong}}}");
            assert!(read_properties(body.as_bytes()).is_err(), "{wrong}");
        }
        assert!(read_properties(b"[]").is_err());
        assert!(read_properties(b"{\"x\":1}").is_err());
        assert_eq!(read_properties(b"{}").unwrap(), None);
    }
}
