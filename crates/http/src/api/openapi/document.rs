//! The table of routes as an `OpenAPI` document.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema};

use crate::api::{AREAS, Answer, Form, Route, Who, kind, providers};

/// The form of the description itself.
pub(super) const FORM: Form = Form {
    name: || Cow::Borrowed("OpenApi"),
    schema: || -> RefOr<Schema> {
        ObjectBuilder::new()
            .description(Some("A description of routes (OpenAPI 3.1)."))
            .into()
    },
    referred: |_| {},
};

/// What the areas are called, and what they are about; in the order of the first segments.
const TAGS: &[(&str, &str, &str)] = &[
    (
        "_auth",
        "Accounts and sessions",
        "Signing up and in, sessions, second factors, and one's own account.",
    ),
    (
        "_accounts",
        "Accounts, for administrators",
        "All accounts of the server.",
    ),
    (
        "_orgs",
        "Organisations",
        "Organisations: their members, quotas and domains.",
    ),
    (
        "_teams",
        "Teams",
        "Teams of organisations, and who is in them.",
    ),
    (
        "_memberships",
        "Memberships",
        "Who belongs to what, and as what.",
    ),
    (
        "_invitations",
        "Invitations",
        "Invitations, as the invited and as the inviting see them.",
    ),
    (
        "_apps",
        "Apps",
        "Apps: their databases, rules and accounts.",
    ),
    ("_mail", "Mail", "What is sent, and how it looks."),
    ("_audit", "Audit log", "Who did what, when and from where."),
    ("_adea", "Server", "The server itself."),
    ("_openapi.json", "Description", "This description."),
    ("_docs", "Description", "This description."),
];

const ABOUT: &str = "Routes of an Adea server that are not CouchDB's. JSON goes in and comes out. \
    Times are milliseconds since the Unix epoch; their names end in `_ms`. Every error is \
    `{\"error\": word, \"reason\": sentence}`. A member or parameter that is not described is \
    refused. Lists come a page at a time: `next` of one answer is `after` of the next request.";

/// The document as text, before and behind the server's address.
pub(super) struct Document {
    before: String,
    behind: String,
}

/// What stands in the document for the server's address, until that is known.
const ADDRESS: &str = "address of the server";

impl Document {
    pub(super) fn new() -> Self {
        let text = make().to_string();
        let mark = Value::from(ADDRESS).to_string();
        let (before, behind) = text.split_once(&mark).unwrap_or((&text, ""));
        Self {
            before: before.to_owned(),
            behind: behind.to_owned(),
        }
    }

    /// The document as it is served at `address`.
    pub(super) fn at(&self, address: &str) -> Bytes {
        let address = Value::from(address).to_string();
        Bytes::from([self.before.as_str(), &address, &self.behind, "\n"].concat())
    }
}

fn make() -> Value {
    let mut schemas = BTreeMap::new();
    schemas.insert("Error".to_owned(), error_schema());
    let mut paths: Map<String, Value> = Map::new();
    for route in AREAS.iter().flat_map(|area| area.iter()) {
        let item = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(item) = item.as_object_mut() {
            item.insert(
                route.method.to_ascii_lowercase(),
                operation(route, &mut schemas),
            );
        }
    }
    for (path, item) in super::others::paths() {
        paths.insert(path.to_owned(), item);
    }
    let mut tags: Vec<Value> = Vec::new();
    for (_, name, about) in TAGS {
        let tag = json!({"name": name, "description": about});
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Adea",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": ADDRESS}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": shared_answers(),
            "securitySchemes": security_schemes(),
        },
    })
}

/// The area that a path belongs to.
pub(super) fn tag_of(path: &str) -> &'static str {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or("");
    let found = TAGS.iter().find(|(known, ..)| *known == first);
    found.map_or("Others", |(_, name, _)| name)
}

fn operation(route: &Route, schemas: &mut BTreeMap<String, Value>) -> Value {
    let mut operation = json!({
        "operationId": route.name,
        "summary": route.summary,
        "tags": [tag_of(route.path)],
        "security": security(route),
        "x-who": who(route),
        "responses": answers(route, schemas),
    });
    let parameters = parameters(route);
    if let Some(members) = operation.as_object_mut() {
        if !parameters.is_empty() {
            members.insert("parameters".to_owned(), Value::Array(parameters));
        }
        if let Some(form) = route.body {
            let body = json!({
                "required": needs_body(form),
                "content": {"application/json": {"schema": reference(form, schemas)}},
            });
            members.insert("requestBody".to_owned(), body);
        }
        if route.name == "returnFromProviderByForm" {
            members.insert("requestBody".to_owned(), returned_form());
        }
    }
    operation
}

/// The form that the page of a provider sends: the fields that stand in an address else, and whatever it
/// adds besides.
fn returned_form() -> Value {
    let fields = providers::RETURNED_WITH.iter().map(|field| {
        let mut schema = kind::schema(field.kind);
        if let Some(members) = schema.as_object_mut() {
            members.insert("description".to_owned(), json!(field.about));
        }
        (field.name.to_owned(), schema)
    });
    let fields: Map<String, Value> = fields.collect();
    let schema = json!({"type": "object", "required": ["state"], "properties": fields});
    json!({
        "required": true,
        "content": {"application/x-www-form-urlencoded": {"schema": schema}},
    })
}

/// Whether a request without a body lacks something: an empty one is taken as `{}`.
fn needs_body(form: Form) -> bool {
    let schema = serde_json::to_value((form.schema)()).unwrap_or_default();
    let required = schema.get("required").and_then(Value::as_array);
    required.is_some_and(|names| !names.is_empty())
}

fn parameters(route: &Route) -> Vec<Value> {
    let of_path = route.parameters().map(|name| {
        let (about, kind) = kind::of_path(name);
        json!({
            "name": name, "in": "path", "required": true, "description": about,
            "schema": kind::path_schema(kind),
        })
    });
    let of_query = route.query.iter().map(|parameter| {
        json!({
            "name": parameter.name, "in": "query", "required": false,
            "description": parameter.about, "schema": kind::schema(parameter.kind),
        })
    });
    let by_cookie = changes(route).then(|| {
        json!({
            "name": "X-CSRF-Token", "in": "header", "required": false,
            "description": "Required where a cookie proves the session: what `/_auth/csrf` gives.",
            "schema": {"type": "string"},
        })
    });
    let by_cookie = by_cookie.filter(|_| route.who != Who::Anybody);
    of_path.chain(of_query).chain(by_cookie).collect()
}

fn changes(route: &Route) -> bool {
    route.method != "GET"
}

/// Who may call, in a word.
fn who(route: &Route) -> &'static str {
    match route.who {
        Who::Anybody => "anybody",
        Who::SignedIn => "signed_in",
        Who::Admin => "admin",
    }
}

/// How somebody proves who he is. Everybody may where nothing has to be proved.
fn security(route: &Route) -> Value {
    let mut ways = vec![
        json!({"bearer": []}),
        json!({"cookie": []}),
        json!({"basic": []}),
    ];
    if route.who == Who::Anybody {
        ways.insert(0, json!({}));
    }
    Value::Array(ways)
}

/// The answers that the row names, and those that follow from it.
fn answers(route: &Route, schemas: &mut BTreeMap<String, Value>) -> Value {
    let mut answers: BTreeMap<String, Value> = BTreeMap::new();
    for (status, name) in follow(route) {
        let reference = format!("#/components/responses/{name}");
        answers.insert(status.to_string(), json!({"$ref": reference}));
    }
    for answer in route.answers {
        let described = one_answer(route, answer, schemas);
        answers.insert(answer.status.to_string(), described);
    }
    json!(answers)
}

fn one_answer(route: &Route, answer: &Answer, schemas: &mut BTreeMap<String, Value>) -> Value {
    let mut described = json!({"description": answer.about});
    let schema = match answer.form {
        Some(form) => Some(reference(form, schemas)),
        None if answer.status >= 400 => Some(json!({"$ref": "#/components/schemas/Error"})),
        None => None,
    };
    if let (Some(schema), Some(described)) = (schema, described.as_object_mut()) {
        let mut content = json!({"application/json": {"schema": schema}});
        if let (true, Some(content)) = (in_lines(route), content.as_object_mut()) {
            let line = json!({"schema": {"type": "string"}});
            content.insert("application/x-ndjson".to_owned(), line);
        }
        described.insert("content".to_owned(), content);
    } else if let (Some(media), Some(described)) =
        (page_type(route, answer), described.as_object_mut())
    {
        described.insert(
            "content".to_owned(),
            json!({media: {"schema": {"type": "string"}}}),
        );
    }
    described
}

/// Whether the answer may be one JSON value a line.
fn in_lines(route: &Route) -> bool {
    let mut parameters = route.query.iter();
    parameters.any(|parameter| parameter.kind.split('|').any(|word| word == "ndjson"))
}

/// The type of an answer that is no JSON.
fn page_type(route: &Route, answer: &Answer) -> Option<&'static str> {
    let mut of_pages = ["/_docs", "/_auth/pages/"].into_iter();
    let page = of_pages.any(|start| route.path.starts_with(start)) && answer.status == 200;
    page.then(|| match route.path.rsplit('.').next() {
        Some("css") => "text/css",
        Some("js") => "text/javascript",
        _ => "text/html",
    })
}

/// Answers that follow from a row, by the names under which they are described once.
fn follow(route: &Route) -> Vec<(u16, &'static str)> {
    let mut all = vec![
        (400, "InvalidInput"),
        (401, "Unauthorized"),
        (403, "Forbidden"),
        (429, "TooManyRequests"),
        (503, "Unavailable"),
    ];
    // What is named in a path or a body may not be there, and neither may the caller's own account.
    let names = route.parameters().next().is_some() || route.body.is_some();
    if names || route.who != Who::Anybody {
        all.push((404, "NotFound"));
    }
    if route.body.is_some() || route.method == "POST" {
        all.extend([(413, "TooLarge"), (415, "NotJson")]);
    }
    all
}

fn shared_answers() -> Value {
    let answer = |about: &str| {
        json!({
            "description": about,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
        })
    };
    let wait = |about: &str| {
        let mut answer = answer(about);
        if let Some(members) = answer.as_object_mut() {
            let header = json!({
                "description": "After how many seconds to try again.",
                "schema": {"type": "integer", "minimum": 1},
            });
            members.insert("headers".to_owned(), json!({"Retry-After": header}));
        }
        answer
    };
    json!({
        "InvalidInput": answer("What was sent is not what is taken here."),
        "Unauthorized": answer("No credential, or one that proves nothing."),
        "Forbidden": answer("The caller may not do this, or has failed to sign in too often."),
        "NotFound": answer("There is no such thing, or the caller may not know of it."),
        "TooLarge": answer("The body has more than 64 KiB."),
        "Failed": answer("The server could not do it; its log knows more."),
        "NotJson": answer("The body is of another type than is taken, mostly JSON in UTF-8, or does not say so."),
        "TooManyRequests": wait("This was asked too often."),
        "Unavailable": wait("The server has too much to do, or cannot write."),
    })
}

fn error_schema() -> Value {
    json!({
        "type": "object",
        "description": "Why something was not done.",
        "required": ["error", "reason"],
        "properties": {
            "error": {"type": "string", "description": "A word for programs."},
            "reason": {"type": "string", "description": "A sentence for people."},
        },
    })
}

fn security_schemes() -> Value {
    json!({
        "bearer": {
            "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
            "description": "The access token of a session.",
        },
        "cookie": {
            "type": "apiKey", "in": "cookie", "name": "adea",
            "description": "The cookie of a session (`__Host-adea` behind TLS); what changes something needs `X-CSRF-Token`, too.",
        },
        "basic": {
            "type": "http", "scheme": "basic",
            "description": "A name and a password, or the temporary ones of a session.",
        },
    })
}

/// A reference to a form, which is described once with all that it refers to.
fn reference(form: Form, schemas: &mut BTreeMap<String, Value>) -> Value {
    let mut referred = Vec::new();
    (form.referred)(&mut referred);
    referred.push(((form.name)().into_owned(), (form.schema)()));
    for (name, schema) in referred {
        schemas
            .entry(name)
            .or_insert_with(|| serde_json::to_value(schema).unwrap_or_default());
    }
    json!({"$ref": format!("#/components/schemas/{}", (form.name)())})
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use crate::api::routes;

    #[test]
    fn every_route_has_a_name_of_its_own_a_summary_and_an_answer() {
        let mut names = BTreeSet::new();
        let mut places = BTreeSet::new();
        for route in routes() {
            let place = (route.path, route.method);
            assert!(names.insert(route.name), "{place:?}: {} twice", route.name);
            assert!(places.insert(place), "{place:?} twice");
            assert!(!route.summary.is_empty(), "{place:?} has no summary");
            assert!(!route.summary.contains('\n'), "{place:?}: one line");
            let all_is_well = |answer: &Answer| (200..400).contains(&answer.status);
            assert!(
                route.answers.iter().any(all_is_well),
                "{place:?} has no answer"
            );
            for answer in route.answers {
                assert!(!answer.about.is_empty(), "{place:?}: {}", answer.status);
            }
            assert_ne!(tag_of(route.path), "Others", "{place:?} belongs to no area");
            assert!(route.method != "GET" || route.body.is_none(), "{place:?}");
        }
    }

    #[test]
    fn no_name_of_a_form_stands_for_two() {
        let mut known: BTreeMap<String, Value> = BTreeMap::new();
        let mut check = |name: String, schema: Value| {
            let before = known.entry(name.clone()).or_insert_with(|| schema.clone());
            assert_eq!(*before, schema, "two forms are called {name}");
        };
        for route in routes() {
            let of_answers = route.answers.iter().filter_map(|answer| answer.form);
            for form in route.body.into_iter().chain(of_answers) {
                let mut referred = vec![((form.name)().into_owned(), (form.schema)())];
                (form.referred)(&mut referred);
                for (name, schema) in referred {
                    check(name, serde_json::to_value(schema).unwrap());
                }
            }
        }
    }

    #[test]
    fn pages_and_forms_have_types_of_their_own() {
        let document = make();
        let at = |path: &str, rest: &str| {
            let path = path.replace('/', "~1");
            let found = document.pointer(&format!("/paths/{path}/{rest}"));
            found.cloned().unwrap_or_else(|| panic!("{path}/{rest}"))
        };
        for (path, media) in [
            ("/_auth/pages/verify", "text~1html"),
            ("/_auth/pages/page.css", "text~1css"),
            ("/_auth/pages/page.js", "text~1javascript"),
            ("/_docs", "text~1html"),
        ] {
            at(path, &format!("get/responses/200/content/{media}/schema"));
        }
        let form = at(
            "/_auth/oidc/{provider}/callback",
            "post/requestBody/content/application~1x-www-form-urlencoded/schema",
        );
        assert_eq!(form["required"], json!(["state"]));
        for name in ["state", "code", "iss", "error"] {
            let field = &form["properties"][name];
            assert!(field["maxLength"].is_number(), "{name}");
            assert!(field["description"].is_string(), "{name}");
        }
    }

    #[test]
    fn every_reference_leads_to_something() {
        let document = make();
        let text = document.to_string();
        for part in text.split("\"$ref\":\"#/").skip(1) {
            let path = part.split('"').next().unwrap();
            assert!(document.pointer(&format!("/{path}")).is_some(), "{path}");
        }
        let served = Document::new().at("https://app.example");
        let served: Value = serde_json::from_slice(&served).unwrap();
        assert_eq!(served["servers"][0]["url"], "https://app.example");
        assert_eq!(served["openapi"], "3.1.0");
    }

    #[test]
    fn what_comes_in_is_bounded_and_nothing_unknown_is_taken() {
        for route in routes() {
            let Some(form) = route.body else { continue };
            let schema = serde_json::to_value((form.schema)()).unwrap();
            let name = (form.name)();
            assert_eq!(
                schema["additionalProperties"],
                Value::Bool(false),
                "{name} wants #[serde(deny_unknown_fields)]"
            );
            let members = schema["properties"]
                .as_object()
                .cloned()
                .unwrap_or_default();
            for (member, schema) in members {
                let is_text = schema["type"].to_string().contains("\"string\"");
                let bounded = ["maxLength", "enum", "const"]
                    .iter()
                    .any(|word| !schema[*word].is_null());
                assert!(!is_text || bounded, "{name}.{member} wants a max_length");
            }
        }
    }
}
