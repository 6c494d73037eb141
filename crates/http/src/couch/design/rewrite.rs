//! `_rewrite`: a path below a design document that stands for another one of the same server.
//!
//! Rules are tried in order, or a function decides. What comes out is a request like any other: it
//! is routed anew, as the same caller and with the same checks, and counted, so that rules that lead
//! to themselves come to an end.

use adea_base::DocumentId;
use adea_documents::json::{for_each_member, read_text};
use adea_pod::{DatabaseEntry, DesignFunctions};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Map, Value};

use crate::body::{Body, Response};
use crate::couch::design::answer::{read_headers, sandbox};
use crate::couch::design::request::rewritten_object;
use crate::couch::intake;
use crate::error::ApiError;
use crate::reply::path_segment;
use crate::router::{self, Exchange};
use crate::wire::path::{decode, segments};

/// How often one request may be rewritten.
const REWRITES_MAX: u32 = 100;
/// How far up the path of a rule may lead: to the database and no further.
const STEPS_UP_MAX: usize = 2;
/// Parameters of a query that are JSON.
const JSON_KEYS: [&str; 6] = ["key", "startkey", "start_key", "endkey", "end_key", "keys"];

/// What a path or a query says of a name.
type Bindings = Vec<(String, Value)>;

/// Answers for `/{db}/_design/{ddoc}/_rewrite/…`.
pub(super) async fn rewrite(
    mut exchange: Exchange,
    entry: &DatabaseEntry,
    ddoc: &DocumentId,
    rest: &[String],
) -> Result<Response, ApiError> {
    if exchange.rewrites >= REWRITES_MAX {
        return Err(ApiError::bad("Exceeded rewrite recursion limit"));
    }
    exchange.rewrites += 1;
    let pod = &exchange.app.pod;
    let design = pod.design_functions(entry, &exchange.caller, ddoc.as_str())?;
    let rules = design.rewrites.as_deref().map(rules_of);
    let name = ddoc.as_str().strip_prefix("_design/").unwrap_or("");
    let database = entry.face_name();
    let prefix = [database.as_str(), "_design", name];
    match rules {
        Some(Value::Array(rules)) => {
            let query = exchange.query.pairs().map(|(name, value)| {
                let json = JSON_KEYS
                    .contains(&name)
                    .then(|| serde_json::from_str(value).ok())
                    .flatten();
                (name.to_owned(), json.unwrap_or_else(|| value.into()))
            });
            let query: Bindings = query.collect();
            let target = rewritten(&rules, exchange.method.as_str(), rest, &query)?;
            Err(router::reroute(exchange, &target.uri(&prefix)))
        }
        Some(Value::String(_)) => by_function(exchange, entry, &design, &prefix).await,
        Some(_) | None => Err(ApiError::InvalidPath("rewrite_error")),
    }
}

fn rules_of(json: &[u8]) -> Value {
    serde_json::from_slice(json).unwrap_or(Value::Null)
}

/// A segment of the path of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Name(String),
    Rest,
    Up,
}

fn parts(path: &str) -> Vec<Part> {
    path.split('/')
        .filter(|part| !part.is_empty())
        .map(|part| match part.strip_prefix(':') {
            Some(name) => Part::Name(name.to_owned()),
            None if part == "*" => Part::Rest,
            None if part == ".." => Part::Up,
            None => Part::Text(part.to_owned()),
        })
        .collect()
}

/// Where a request leads, below the design document.
#[derive(Debug, PartialEq)]
struct Target {
    /// How many segments are left of the design document's own path.
    up: usize,
    segments: Vec<String>,
    query: Vec<(String, String)>,
}

impl Target {
    fn uri(&self, prefix: &[&str]) -> String {
        let kept = prefix.len().saturating_sub(self.up);
        let front = prefix.iter().take(kept).copied();
        let below = self.segments.iter().map(String::as_str);
        let mut uri = String::new();
        for segment in front.chain(below) {
            uri.push('/');
            uri.push_str(&path_segment(segment));
        }
        if uri.is_empty() {
            uri.push('/');
        }
        for (n, (name, value)) in self.query.iter().enumerate() {
            uri.push(if n == 0 { '?' } else { '&' });
            uri.push_str(&path_segment(name));
            uri.push('=');
            uri.push_str(&path_segment(value));
        }
        uri
    }
}

/// What the first rule that fits makes of a request.
fn rewritten(
    rules: &[Value],
    method: &str,
    path: &[String],
    query: &Bindings,
) -> Result<Target, ApiError> {
    for rule in rules {
        let Some(rule) = rule.as_object() else {
            continue;
        };
        let text = |name| rule.get(name).and_then(Value::as_str);
        let fits = text("method").is_none_or(|wanted| wanted == "*" || wanted == method);
        let from = parts(text("from").unwrap_or("*"));
        if let (true, Some((mut bindings, rest))) = (fits, bind(&from, path)) {
            bindings.extend(query.iter().cloned());
            let to = text("to").ok_or_else(|| fault("invalid_rewrite_target"))?;
            return applied(rule, &parts(to), bindings, rest);
        }
    }
    Err(ApiError::NotFound("missing"))
}

fn fault(word: &'static str) -> ApiError {
    let reason = match word {
        "insecure_rewrite_rule" => "too many ../.. segments",
        "invalid_rewrite_target" => "A rewrite rule must have a `to`.",
        _ => "Rewrite result must produce a new path.",
    };
    ApiError::BadAnswer(word, reason.to_owned())
}

/// What the names of a path are bound to, and what `*` stands for; `None` if it does not fit.
fn bind<'p>(from: &[Part], path: &'p [String]) -> Option<(Bindings, &'p [String])> {
    let (mut bindings, mut path) = (Bindings::new(), path);
    for (n, part) in from.iter().enumerate() {
        if *part == Part::Rest && n + 1 == from.len() {
            let rest = path.join("/");
            if !path.is_empty() {
                bindings.push(("*".to_owned(), rest.into()));
            }
            return Some((bindings, path));
        }
        let (first, more) = path.split_first()?;
        match part {
            Part::Name(name) => bindings.push((name.clone(), first.as_str().into())),
            Part::Text(text) if text == first => {}
            Part::Up if first == ".." => {}
            Part::Text(_) | Part::Rest | Part::Up => return None,
        }
        path = more;
    }
    path.is_empty().then_some((bindings, path))
}

/// Fills in a rule.
fn applied(
    rule: &Map<String, Value>,
    to: &[Part],
    bindings: Bindings,
    rest: &[String],
) -> Result<Target, ApiError> {
    let empty = Map::new();
    let object = |name| rule.get(name).and_then(Value::as_object).unwrap_or(&empty);
    let formats = object("formats");
    let set: Bindings = object("query")
        .iter()
        .map(|(name, value)| (name.clone(), filled(value, &bindings, formats)))
        .collect();
    let mut all: Bindings = bindings;
    all.retain(|(name, _)| set.iter().all(|(known, _)| known != name));
    all.extend(set);
    let mut target = Target {
        up: 0,
        segments: Vec::new(),
        query: Vec::new(),
    };
    let mut ups = 0;
    for part in to {
        match part {
            Part::Text(text) => target.segments.push(text.clone()),
            Part::Name(name) => {
                let bound = all.iter().find(|(known, _)| known == name);
                let text = bound.map_or_else(|| "undefined".to_owned(), |(_, value)| plain(value));
                target.segments.push(text);
            }
            Part::Up => {
                ups += 1;
                if ups > STEPS_UP_MAX {
                    return Err(fault("insecure_rewrite_rule"));
                }
                if target.segments.pop().is_none() {
                    target.up += 1;
                }
            }
            Part::Rest => {
                target.segments.extend(rest.iter().cloned());
                break;
            }
        }
    }
    let told = all.into_iter().filter(|(name, _)| name != "*");
    target.query = told
        .map(|(name, value)| {
            let text = if JSON_KEYS.contains(&name.as_str()) {
                value.to_string()
            } else {
                plain(&value)
            };
            (name, text)
        })
        .collect();
    Ok(target)
}

/// A text as it is, anything else as JSON.
fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// A value of a rule's query, with its names replaced by what they are bound to.
fn filled(value: &Value, bindings: &Bindings, formats: &Map<String, Value>) -> Value {
    match value {
        Value::String(text) => {
            let name = match text.strip_prefix(':') {
                Some(name) => name,
                None if text == "*" => "*",
                None => return value.clone(),
            };
            let bound = bindings.iter().find(|(known, _)| known == name);
            let format = formats.get(name).and_then(Value::as_str);
            bound.map_or_else(|| value.clone(), |(_, bound)| formatted(bound, format))
        }
        Value::Array(items) => {
            let items = items.iter();
            items
                .map(|item| {
                    if item.is_string() {
                        filled(item, bindings, formats)
                    } else {
                        item.clone()
                    }
                })
                .collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.clone(),
    }
}

fn formatted(value: &Value, format: Option<&str>) -> Value {
    let (Some(format), Value::String(text)) = (format, value) else {
        return value.clone();
    };
    let read = match format {
        "int" => text.parse::<i64>().ok().map(Value::from),
        "bool" => match text.to_ascii_lowercase().as_str() {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
        _ => None,
    };
    read.unwrap_or_else(|| value.clone())
}

/// What a function answered to a request.
#[derive(Debug, Default)]
struct Decision {
    code: Option<StatusCode>,
    path: Option<String>,
    method: Option<Method>,
    query: Option<Vec<(String, String)>>,
    headers: HeaderMap,
    body: Option<String>,
}

async fn by_function(
    mut exchange: Exchange,
    entry: &DatabaseEntry,
    design: &DesignFunctions,
    prefix: &[&str],
) -> Result<Response, ApiError> {
    let body = intake::whole(&mut exchange).await?;
    let request = rewritten_object(&exchange, entry, &body);
    let pod = &exchange.app.pod;
    let returned = pod
        .call_function(entry, design, &["rewrites"], &[request])
        .await?;
    let Some(decision) = decision_of(returned.as_bytes())? else {
        return Err(ApiError::InvalidPath("rewrite_error"));
    };
    if let Some(code) = decision.code {
        let mut response = Response::new(Body::from(decision.body.unwrap_or_default()));
        *response.status_mut() = code;
        *response.headers_mut() = decision.headers;
        sandbox(response.headers_mut());
        return Ok(response);
    }
    let path = decision.path.ok_or_else(|| fault("rewrite_error"))?;
    let query = decision.query.unwrap_or_else(|| {
        let own = exchange.query.pairs();
        own.map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    });
    let target = below(&path, query)?;
    if let Some(method) = decision.method {
        // Whoever follows a link must not find that he has written something.
        if exchange.reads() && method != Method::GET && method != Method::HEAD {
            return Err(fault("insecure_rewrite_rule"));
        }
        exchange.method = method;
    }
    exchange.headers.remove(http::header::CONTENT_ENCODING);
    for (name, value) in &decision.headers {
        exchange.headers.insert(name.clone(), value.clone());
    }
    exchange
        .body
        .replace(decision.body.map_or(body, bytes::Bytes::from));
    Err(router::reroute(exchange, &target.uri(prefix)))
}

/// Where a path leads that a function gave, which begins at the design document.
fn below(path: &str, mut query: Vec<(String, String)>) -> Result<Target, ApiError> {
    let (path, own) = path.split_once('?').unwrap_or((path, ""));
    for pair in own.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        query.push((decode(name, true)?, decode(value, true)?));
    }
    let mut target = Target {
        up: 0,
        segments: Vec::new(),
        query,
    };
    for segment in segments(path)? {
        match segment.as_str() {
            "" | "." => {}
            ".." => {
                if target.segments.pop().is_none() {
                    target.up += 1;
                }
                if target.up > STEPS_UP_MAX {
                    return Err(fault("insecure_rewrite_rule"));
                }
            }
            _ => target.segments.push(segment),
        }
    }
    Ok(target)
}

/// Reads what a function returned; `None` if it has nothing to say to the request.
fn decision_of(returned: &[u8]) -> Result<Option<Decision>, ApiError> {
    let bad = |what: &str| ApiError::BadAnswer("rewrite_error", format!("bad {what}"));
    if returned == b"null" {
        return Ok(None);
    }
    if let Some(path) = read_text(returned)? {
        return Ok(Some(Decision {
            path: Some(path.into_owned()),
            ..Decision::default()
        }));
    }
    let mut decision = Decision::default();
    let text = |value: &[u8], what: &str| match read_text(value)? {
        Some(text) => Ok(text.into_owned()),
        None => Err(bad(what)),
    };
    let is_object = for_each_member(returned, |name, value| {
        match name {
            "path" => decision.path = Some(text(value, "path")?),
            "body" => decision.body = Some(text(value, "body")?),
            "method" => {
                let method = text(value, "method")?;
                let method = Method::from_bytes(method.as_bytes());
                decision.method = Some(method.map_err(|_| bad("method"))?);
            }
            "headers" => read_headers(value, &mut decision.headers)?,
            "query" => {
                let mut query = Vec::new();
                for_each_member(value, |name, value| {
                    query.push((name.to_owned(), text(value, "query")?));
                    Ok::<_, ApiError>(())
                })?;
                decision.query = Some(query);
            }
            "code" => {
                let code = std::str::from_utf8(value).ok();
                let code = code.and_then(|code| code.trim().parse::<u16>().ok());
                let code = code.filter(|code| (200..600).contains(code));
                let code = code.and_then(|code| StatusCode::from_u16(code).ok());
                decision.code = Some(code.ok_or_else(|| bad("code"))?);
            }
            _ => {}
        }
        Ok::<_, ApiError>(())
    })?;
    if is_object {
        Ok(Some(decision))
    } else {
        Err(bad("rewrite"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(rules: &Value, method: &str, path: &str, query: &str, expected: Option<&str>) {
        let path = segments(path).unwrap();
        let query = crate::wire::query::Query::parse(Some(query)).unwrap();
        let query = query
            .pairs()
            .map(|(name, value)| {
                let json = JSON_KEYS
                    .contains(&name)
                    .then(|| serde_json::from_str(value));
                (
                    name.to_owned(),
                    json.map_or_else(|| value.into(), Result::unwrap),
                )
            })
            .collect();
        let target = rewritten(rules.as_array().unwrap(), method, &path, &query);
        let uri = target
            .ok()
            .map(|target| target.uri(&["db", "_design", "t"]));
        assert_eq!(uri.as_deref(), expected);
    }

    #[test]
    fn the_first_rule_that_fits_is_taken() {
        let rules = json!([
            { "from": "foo", "to": "foo.txt" },
            { "from": "hello/:id", "to": "_update/hello/:id", "method": "PUT" },
            { "from": "/welcome/:name", "to": "_show/welcome", "query": { "name": ":name" } },
            { "from": "/welcome4/*", "to": "_show/welcome3", "query": { "name": "*" } },
            { "from": "path/:start/:end", "to": "_view/v",
              "query": { "startkey": ":start", "endkey": ":end" },
              "formats": { "start": "int", "end": "int" } },
            { "from": "pair/:a/:b", "to": "_view/v", "query": { "key": [":a", ":b"] } },
            { "from": "fixed", "to": "_view/v", "query": { "startkey": 3 } },
            { "from": "/", "to": "_view/all" },
            { "from": "/db/*", "to": "../../*" },
            { "from": "above", "to": "../../../_uuids" },
            { "from": "gone/:x", "to": "a/:y" },
        ]);
        let check = |method: &str, path: &str, query: &str, expected: Option<&str>| {
            check(&rules, method, path, query, expected);
        };
        check("GET", "/foo", "", Some("/db/_design/t/foo.txt"));
        check(
            "GET",
            "/foo",
            "a=b%20c",
            Some("/db/_design/t/foo.txt?a=b%20c"),
        );
        check("GET", "/hello/x", "", None);
        check(
            "PUT",
            "/hello/x%2Fy",
            "",
            Some("/db/_design/t/_update/hello/x%2Fy?id=x%2Fy"),
        );
        check(
            "GET",
            "/welcome/ann",
            "",
            Some("/db/_design/t/_show/welcome?name=ann"),
        );
        check(
            "GET",
            "/welcome4/ann",
            "",
            Some("/db/_design/t/_show/welcome3?name=ann"),
        );
        check(
            "GET",
            "/path/3/8",
            "",
            Some("/db/_design/t/_view/v?start=3&end=8&startkey=3&endkey=8"),
        );
        check(
            "GET",
            "/pair/a/b",
            "",
            Some("/db/_design/t/_view/v?a=a&b=b&key=%5B%22a%22%2C%22b%22%5D"),
        );
        check(
            "GET",
            "/fixed",
            "startkey=4&k=1",
            Some("/db/_design/t/_view/v?k=1&startkey=3"),
        );
        check("GET", "/", "", Some("/db/_design/t/_view/all"));
        check(
            "GET",
            "/db/_design/t",
            "meta=true",
            Some("/db/_design/t?meta=true"),
        );
        // What stands in the request is a name and no direction.
        check("GET", "/db/../../_users", "", Some("/db/../../_users"));
        check("GET", "/above", "", None);
        check("GET", "/gone/1", "", Some("/db/_design/t/a/undefined?x=1"));
        check("GET", "/nowhere", "", None);
    }

    #[test]
    fn a_function_decides_by_what_it_returns() {
        let path = |returned: &str| {
            let decision = decision_of(returned.as_bytes()).unwrap()?;
            Some(
                below(&decision.path?, Vec::new())
                    .unwrap()
                    .uri(&["db", "_design", "t"]),
            )
        };
        assert_eq!(path("null"), None);
        assert_eq!(
            path(r#""_show/x""#).as_deref(),
            Some("/db/_design/t/_show/x")
        );
        assert_eq!(
            path(r#"{"path":"../../a%2Fb?x=1"}"#).as_deref(),
            Some("/db/a%2Fb?x=1")
        );
        // Nothing leads out of the database.
        assert!(below("/../../../../_session", Vec::new()).is_err());
        assert!(below("a/../../../../_session", Vec::new()).is_err());
        let told = decision_of(br#"{"code":403,"body":"no"}"#)
            .unwrap()
            .unwrap();
        assert_eq!(told.code, Some(StatusCode::FORBIDDEN));
        for wrong in [
            "[]",
            "1",
            r#"{"path":1}"#,
            r#"{"code":99}"#,
            r#"{"query":{"a":1}}"#,
        ] {
            assert!(decision_of(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
