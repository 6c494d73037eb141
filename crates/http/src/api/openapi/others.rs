//! Routes of our own that stand among those of `CouchDB`, and so in no table.

use serde_json::{Value, json};

use super::document::tag_of;

/// Their paths, as the description has them.
pub(super) fn paths() -> Vec<(&'static str, Value)> {
    vec![("/_adea/backup", json!({"post": backup()}))]
}

fn backup() -> Value {
    let shared = |name: &str| json!({"$ref": format!("#/components/responses/{name}")});
    let report = json!({
        "type": "object",
        "required": ["ok", "to", "documents", "files", "bytes", "faults"],
        "properties": {
            "ok": {"const": true},
            "to": {"type": "string"},
            "documents": {"type": "integer", "minimum": 0},
            "files": {"type": "integer", "minimum": 0},
            "bytes": {"type": "integer", "minimum": 0},
            "faults": {"type": "array", "items": {"type": "string"}},
        },
    });
    let body = json!({
        "type": "object",
        "required": ["to"],
        "properties": {
            "to": {
                "type": "string", "maxLength": 4096, "pattern": "^/",
                "description": "An absolute path on the machine of the server, where nothing is yet.",
            },
        },
    });
    json!({
        "operationId": "backUp",
        "summary": "Back up the server, while it serves, into a directory of its machine",
        "tags": [tag_of("/_adea/backup")],
        "security": [{"basic": []}, {"bearer": []}],
        "x-who": "admin",
        "requestBody": {"required": true, "content": {"application/json": {"schema": body}}},
        "responses": {
            "201": {
                "description": "The backup is made and was checked.",
                "content": {"application/json": {"schema": report}},
            },
            "400": shared("InvalidInput"),
            "401": shared("Unauthorized"),
            "403": shared("Forbidden"),
            "413": shared("TooLarge"),
            "415": shared("NotJson"),
            "429": shared("TooManyRequests"),
            "500": shared("Failed"),
            "503": shared("Unavailable"),
        },
    })
}
