//! What comes in with a request to one of our own routes: bounded, typed, and nothing unknown.

use http::header;
use serde::de::DeserializeOwned;

use super::Route;
use crate::couch::intake;
use crate::error::ApiError;
use crate::router::Exchange;

/// The longest body of a request.
const BODY_MAX: u64 = 64 << 10;

/// Reads the body as a `T`. An empty one is taken as `{}`.
pub(crate) async fn read<T: DeserializeOwned>(exchange: &mut Exchange) -> Result<T, ApiError> {
    let body = intake::whole_up_to(exchange, BODY_MAX).await?;
    if body.is_empty() {
        return parse(b"{}");
    }
    // A form of another page could send any other type without asking.
    exchange.require_json()?;
    parse(&body)
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        let told = error.to_string();
        // Where it is says little in a body of one line.
        let reason = told.split(" at line ").next().unwrap_or(&told);
        ApiError::Input(reason.to_owned())
    })
}

/// Refuses a parameter that the row does not name, so that a slip of the pen is noticed.
pub(super) fn check_query(exchange: &Exchange, route: &Route) -> Result<(), ApiError> {
    let known = |name: &str| route.query.iter().any(|parameter| parameter.name == name);
    match exchange.query.names().find(|name| !known(name)) {
        None => Ok(()),
        Some(name) => Err(ApiError::Input(format!("unknown query parameter `{name}`"))),
    }
}

/// The text of a header, if it is one.
pub(crate) fn header_text<'e>(exchange: &'e Exchange, name: &header::HeaderName) -> &'e str {
    exchange.header(name).unwrap_or("")
}
