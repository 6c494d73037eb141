//! Schemas: what clients set and what they do not, in every shape of a document.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn compile(types: &Value) -> Result<DocumentSchemas, InvalidSchema> {
    DocumentSchemas::compile(&Schemas {
        type_property: "type".to_owned(),
        types: types.as_object().unwrap().clone(),
    })
}

fn orders() -> DocumentSchemas {
    compile(&json!({
        "order": {
            "type": "object",
            "required": ["title"],
            "properties": {
                "title": { "type": "string", "maxLength": 10 },
                "paid": { "x-client": "refuse" },
                "score": { "x-client": "drop" },
                "meta": { "properties": { "by": { "x-client": "refuse" }, "at": { "x-client": "drop" } } },
                "lines": { "items": { "$ref": "#/$defs/line" } },
                "__proto__": { "readOnly": true },
            },
            "$defs": { "line": { "properties": { "price": { "x-client": "refuse" } } } },
        },
        "locked": { "additionalProperties": { "x-client": "refuse" }, "properties": { "note": {}, "type": {} } },
    }))
    .unwrap()
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is given what it was made of"
)]
fn judge(old: &[Value], new: Value, is_client: bool) -> Result<(bool, Value), SchemaRefusal> {
    let old: Vec<Map<String, Value>> = old.iter().map(|v| v.as_object().unwrap().clone()).collect();
    let standing: Vec<Standing<'_>> = old.iter().map(Standing).collect();
    let mut document = new.as_object().unwrap().clone();
    let changed = orders().judge(&mut document, &standing, is_client)?;
    Ok((changed, Value::Object(document)))
}

#[track_caller]
fn refused(old: &[Value], new: Value, at: &str) {
    let answer = judge(old, new, true);
    assert_eq!(answer, Err(SchemaRefusal::NotForClients(at.to_owned())));
}

#[track_caller]
fn taken(old: &[Value], new: Value, as_: Option<Value>) {
    let expected = as_.map_or((false, new.clone()), |as_| (true, as_));
    assert_eq!(judge(old, new, true), Ok(expected));
}

#[test]
fn a_schema_is_satisfied_or_the_place_is_named() {
    let answer = judge(&[], json!({ "type": "order", "title": 1 }), false);
    assert!(matches!(answer, Err(SchemaRefusal::Unsatisfied(at, _)) if at == "/title"));
    let answer = judge(&[], json!({ "type": "order" }), true);
    assert!(matches!(answer, Err(SchemaRefusal::Unsatisfied(at, _)) if at.is_empty()));
    taken(&[], json!({ "type": "note", "paid": true }), None);
    taken(&[], json!({ "type": "order", "title": "a" }), None);
    // Administrators set anything.
    let paid = json!({ "type": "order", "title": "a", "paid": true });
    assert_eq!(judge(&[], paid.clone(), false), Ok((false, paid)));
}

#[test]
fn what_clients_do_not_set_is_refused_or_taken_out() {
    let order = |more: Value| {
        let mut order = json!({ "type": "order", "title": "a" });
        order
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        order
    };
    refused(&[], order(json!({ "paid": true })), "/paid");
    refused(&[], order(json!({ "__proto__": {} })), "/__proto__");
    taken(&[], order(json!({ "score": 9 })), Some(order(json!({}))));
    let paid =
        order(json!({ "paid": true, "score": 1, "meta": { "by": "x", "at": 1, "free": 1 } }));
    // As it is, or back again.
    taken(std::slice::from_ref(&paid), paid.clone(), None);
    refused(
        std::slice::from_ref(&paid),
        order(json!({ "score": 1 })),
        "/meta/by",
    );
    let kept = json!({ "by": "x", "at": 1, "free": 2 });
    let new = order(json!({ "paid": true, "score": 5, "meta": { "by": "x", "at": 7, "free": 2 } }));
    taken(
        std::slice::from_ref(&paid),
        new,
        Some(order(json!({ "paid": true, "score": 1, "meta": kept }))),
    );
    refused(
        std::slice::from_ref(&paid),
        order(json!({ "paid": true, "score": 1, "meta": 1 })),
        "/meta/by",
    );
    // With what is around it.
    let at = order(json!({ "meta": { "at": 1, "free": 2 } }));
    taken(
        std::slice::from_ref(&at),
        order(json!({})),
        Some(order(json!({ "meta": { "at": 1 } }))),
    );
    taken(
        &[at],
        order(json!({ "meta": [] })),
        Some(order(json!({ "meta": { "at": 1 } }))),
    );
    // In arrays.
    refused(
        &[],
        order(json!({ "lines": [{}, { "price": 1 }] })),
        "/lines/1/price",
    );
    let lines = order(json!({ "lines": [{ "n": 1, "price": 1 }, { "price": 2 }] }));
    taken(
        std::slice::from_ref(&lines),
        order(json!({ "lines": [{ "n": 2, "price": 1 }] })),
        None,
    );
    refused(
        &[lines],
        order(json!({ "lines": [{ "price": 2 }] })),
        "/lines/0/price",
    );
    refused(
        &[],
        json!({ "type": "locked", "note": 1, "x/y": 1 }),
        "/x~1y",
    );
    taken(&[], json!({ "type": "locked", "note": 1 }), None);
}

#[test]
fn another_type_is_no_way_round() {
    let paid = json!({ "type": "order", "title": "a", "paid": true });
    refused(
        std::slice::from_ref(&paid),
        json!({ "type": "note", "title": "a" }),
        "/paid",
    );
    let note = json!({ "type": "note", "title": "a", "paid": true });
    taken(&[paid], note.clone(), None);
    refused(
        std::slice::from_ref(&note),
        json!({ "type": "order", "title": "a", "paid": true }),
        "/paid",
    );
    taken(&[note], json!({ "type": "order", "title": "a" }), None);
}

#[test]
fn every_live_revision_is_asked() {
    let (one, two) = (
        json!({ "type": "order", "title": "a", "paid": 1 }),
        json!({ "type": "order", "title": "a", "paid": 2 }),
    );
    refused(&[one.clone(), two], one, "/paid");
    let (one, two) = (
        json!({ "type": "order", "title": "a", "score": 1 }),
        json!({ "type": "order", "title": "a", "score": 2 }),
    );
    refused(&[one.clone(), two], one, "");
}

#[test]
fn what_is_not_understood_is_no_schema() {
    for (schema, at) in [
        (json!({ "x-client": "refuse" }), "/"),
        (
            json!({ "properties": { "a": { "x-client": true } } }),
            "/properties/a/x-client",
        ),
        (
            json!({ "patternProperties": { "a": { "x-client": "drop" } } }),
            "/patternProperties",
        ),
        (
            json!({ "properties": { "a": { "not": { "x-client": "drop" } } } }),
            "/properties/a/not",
        ),
        (json!({ "items": [{ "x-client": "drop" }] }), "/items"),
        (
            json!({ "allOf": [{ "additionalProperties": { "x-client": "drop" } }] }),
            "/allOf/additionalProperties",
        ),
        (
            json!({ "properties": { "a": { "x-client": "drop" } }, "$ref": "other" }),
            "/$ref",
        ),
    ] {
        let fault = compile(&json!({ "t": schema })).unwrap_err().fault;
        assert_eq!(fault, SchemaFault::Misplaced(at.to_owned()));
    }
    let deep = json!({ "$defs": { "t": { "properties": { "t": { "$ref": "#/$defs/t" }, "a": { "x-client": "drop" } } } }, "$ref": "#/$defs/t" });
    assert!(matches!(
        compile(&json!({ "t": deep })).unwrap_err().fault,
        SchemaFault::Misplaced(_)
    ));
    for wrong in [
        json!({ "type": "strong" }),
        json!({ "$ref": "https://example.org/schema.json" }),
        json!({ "$ref": "file:///etc/passwd" }),
        json!({ "pattern": "(?=a)b" }),
        json!({ "pattern": "(((a{1000}){1000}){1000})" }),
    ] {
        let fault = compile(&json!({ "t": wrong.clone() })).map(drop);
        assert!(
            matches!(fault.map_err(|e| e.fault), Err(SchemaFault::Invalid(_))),
            "{wrong}"
        );
    }
    let long = json!({ "t": { "description": "x".repeat(SCHEMA_BYTES_MAX) } });
    assert_eq!(compile(&long).unwrap_err().fault, SchemaFault::TooLong);
}

fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(json!(1)), Just(json!(2)), Just(json!(null))];
    let value = leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(
                prop::sample::select(vec!["by", "at", "price"]),
                inner,
                0..3
            )
            .prop_map(|map| map
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect::<Map<_, _>>()
                .into()),
        ]
    });
    let names = vec!["paid", "score", "meta", "lines", "free"];
    let types = prop::sample::select(vec!["order", "order", "order", "note", "locked"]);
    (
        types,
        prop::collection::btree_map(prop::sample::select(names), value, 0..5),
    )
        .prop_map(|(of, map)| {
            let mut document = json!({ "type": of, "title": "a" });
            for (name, value) in map {
                document[name] = value;
            }
            document
        })
}

proptest! {
    #[test]
    fn nothing_guarded_is_carried_through(old in documents(), new in documents()) {
        let guarded = [vec!["paid"], vec!["score"], vec!["meta", "by"], vec!["meta", "at"]];
        let find = |value: &Value, path: &[&str]| {
            path.iter().try_fold(value.clone(), |value, name| value.as_object()?.get(*name).cloned())
        };
        if let Ok((changed, taken)) = judge(std::slice::from_ref(&old), new.clone(), true) {
            prop_assert_eq!(changed, taken != new);
            for path in &guarded {
                if old["type"] == "order" {
                    prop_assert_eq!(find(&old, path), find(&taken, path));
                } else if taken["type"] == "order" && old["type"] == "note" {
                    prop_assert_eq!(find(&taken, path), None);
                }
            }
            // What was taken is taken again as it is.
            prop_assert_eq!(judge(&[old], taken.clone(), true), Ok((false, taken)));
        }
    }
}
