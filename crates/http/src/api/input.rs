//! What comes in with a request to one of our own routes: bounded, typed, and nothing unknown.

use http::header;
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::ToSchema;

use super::shape::Shape;
use super::{Captures, Route, json, kind};
use crate::couch::intake;
use crate::error::ApiError;
use crate::router::Exchange;

/// The longest body of a request.
const BODY_MAX: u64 = 64 << 10;

/// Reads the body as a `T`. An empty one is taken as `{}`. What the schema of `T` says of lengths,
/// numbers and members is checked here.
pub(crate) async fn read<T>(exchange: &mut Exchange) -> Result<T, ApiError>
where
    T: DeserializeOwned + ToSchema + 'static,
{
    read_up_to(exchange, BODY_MAX).await
}

/// As [`read`], where a body may be of `most` bytes.
pub(crate) async fn read_up_to<T>(exchange: &mut Exchange, most: u64) -> Result<T, ApiError>
where
    T: DeserializeOwned + ToSchema + 'static,
{
    let body = intake::whole_up_to(exchange, most).await?;
    if body.is_empty() {
        return parse(b"{}");
    }
    // A form of another page could send any other type without asking.
    exchange.require_json()?;
    require_utf8(exchange)?;
    parse(&body)
}

fn parse<T: DeserializeOwned + ToSchema + 'static>(body: &[u8]) -> Result<T, ApiError> {
    json::look_through(body).map_err(ApiError::Input)?;
    let read_as = |error: serde_json::Error| ApiError::Input(json::told(&error));
    let value: Value = serde_json::from_slice(body).map_err(read_as)?;
    Shape::of::<T>().check(&value).map_err(ApiError::Input)?;
    serde_json::from_slice(body).map_err(read_as)
}

/// Refuses a body that says to be in another alphabet: JSON has one.
fn require_utf8(exchange: &Exchange) -> Result<(), ApiError> {
    let given = exchange.header(&header::CONTENT_TYPE).unwrap_or("");
    let charsets = given.split(';').skip(1).filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_charset = name.trim().eq_ignore_ascii_case("charset");
        is_charset.then(|| value.trim().trim_matches('"'))
    });
    let mut others = charsets.filter(|charset| !charset.eq_ignore_ascii_case("utf-8"));
    match others.next() {
        None => Ok(()),
        Some(_) => Err(ApiError::ContentType("application/json in UTF-8")),
    }
}

/// Refuses a parameter that the row does not name, so that a slip of the pen is noticed; one that
/// is there twice, of which nobody knows which counts; and one that is not of its kind.
pub(super) fn check_query(exchange: &Exchange, route: &Route) -> Result<(), ApiError> {
    let mut seen: Vec<&str> = Vec::new();
    for (name, value) in exchange.query.pairs() {
        let Some(parameter) = route.query.iter().find(|known| known.name == name) else {
            if route.query.iter().any(|known| known.kind == kind::RETURNED) {
                continue;
            }
            return Err(ApiError::Input(format!("unknown query parameter `{name}`")));
        };
        if seen.contains(&name) {
            return Err(ApiError::Input(format!("query parameter `{name}` twice")));
        }
        seen.push(name);
        kind::check(parameter.kind, value)
            .map_err(|wanted| ApiError::Input(format!("`{name}` must be {wanted}")))?;
    }
    Ok(())
}

/// Refuses a path that can lead nowhere: what stands in it is not of the kind that does.
pub(super) fn check_path(route: &Route, captures: &Captures) -> Result<(), ApiError> {
    let mut all = route.parameters().zip(&captures.0);
    let fits = all.all(|(name, text)| kind::check(kind::of_path(name).1, text).is_ok());
    match fits {
        true => Ok(()),
        false => Err(ApiError::NotFound("There is no such thing.")),
    }
}

/// The text of a header, if it is one.
pub(crate) fn header_text<'e>(exchange: &'e Exchange, name: &header::HeaderName) -> &'e str {
    exchange.header(name).unwrap_or("")
}
