//! What a document is when it comes back: what it was when it went, numbers and order of fields
//! included.

use proptest::prelude::*;
use serde_json::Value;

use crate::client::Client;
use crate::serving::Serving;

fn any_number() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        "-?[1-9][0-9]{0,60}",
        any::<f64>()
            .prop_filter("JSON has no such number", |number| number.is_finite())
            .prop_map(|number| serde_json::to_string(&number).unwrap()),
        "-?(0|[1-9][0-9]{0,3})\\.[0-9]{1,20}",
        "-?[1-9](\\.[0-9]{1,5})?e-?[1-9][0-9]?",
        Just("0".to_owned()),
    ]
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[\\x00-\\x1f\"\\\\/\u{7f}\u{e9}\u{2028}\u{1f600}]{0,8}",
        "[a-z]{0,12}",
    ]
}

fn any_key() -> impl Strategy<Value = String> {
    any_text().prop_filter("belongs to the database", |key| !key.starts_with('_'))
}

/// An object's text, its fields in their order, none twice.
fn object(fields: Vec<(String, String)>) -> String {
    let mut seen = Vec::new();
    let mut parts = Vec::new();
    for (key, value) in fields {
        if !seen.contains(&key) {
            parts.push(format!(
                "{} : {value}",
                serde_json::to_string(&key).unwrap()
            ));
            seen.push(key);
        }
    }
    format!("{{{}}}", parts.join(" ,\n"))
}

fn any_value() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        any_number(),
        any_text().prop_map(|text| serde_json::to_string(&text).unwrap()),
        prop::sample::select(vec!["true", "false", "null", "{}", "[]"]).prop_map(str::to_owned),
    ];
    scalar.prop_recursive(6, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6)
                .prop_map(|items| format!("[{}]", items.join(", "))),
            // A field inside may begin with anything.
            prop::collection::vec((any_text(), inner), 0..6).prop_map(object),
        ]
    })
}

/// A document's fields without `_id` and `_rev`.
fn fields(mut document: Value) -> Value {
    let fields = document.as_object_mut().unwrap();
    fields.shift_remove("_id").unwrap();
    fields.shift_remove("_rev").unwrap();
    document
}

/// Compares as `Value` does, and the order of fields too. Integers are compared digit by digit,
/// other numbers as the floats that they are to every client.
fn same(found: &Value, sent: &Value) -> bool {
    match (found, sent) {
        (Value::Number(found), Value::Number(sent)) => {
            let (found, sent) = (found.to_string(), sent.to_string());
            let integer = |text: &str| !text.contains(['.', 'e', 'E']);
            if integer(&sent) {
                return found == sent;
            }
            let float = |text: &str| text.parse::<f64>().unwrap();
            // As floats are compared: of zero, CouchDB does not keep the sign.
            let same = float(&found).total_cmp(&float(&sent)).is_eq();
            !integer(&found)
                && (same || float(&found).abs().to_bits() == 0 && float(&sent).abs().to_bits() == 0)
        }
        (Value::Array(found), Value::Array(sent)) => {
            found.len() == sent.len() && found.iter().zip(sent).all(|(a, b)| same(a, b))
        }
        (Value::Object(found), Value::Object(sent)) => {
            found.len() == sent.len()
                && found
                    .iter()
                    .zip(sent)
                    .all(|(a, b)| a.0 == b.0 && same(a.1, b.1))
        }
        _ => found == sent,
    }
}

fn check(client: &mut Client, text: &str) {
    let sent: Value = serde_json::from_str(text).unwrap();
    let made = client
        .json("POST", "/db", text.as_bytes())
        .expect(201)
        .json();
    let id = made["id"].as_str().unwrap();
    let found = client.get(&format!("/db/{id}")).expect(200).json();
    assert_eq!(found["_id"], made["id"]);
    assert_eq!(found["_rev"], made["rev"]);
    let found = fields(found);
    assert!(same(&found, &sent), "{found} for {sent}");
    let path = format!("/db/_all_docs?include_docs=true&key=%22{id}%22");
    let mut listed = client.get(&path).expect(200).json();
    assert_eq!(
        fields(listed["rows"][0]["doc"].take()).to_string(),
        found.to_string()
    );
}

#[test]
fn a_document_comes_back_as_it_went() {
    let serving = Serving::in_memory();
    let mut client = serving.client();
    client.json("PUT", "/db", b"").expect(201);
    let fields = prop::collection::vec((any_key(), any_value()), 0..6).prop_map(object);
    let client = std::cell::RefCell::new(client);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&fields, |text| {
            let mut client = client.borrow_mut();
            check(&mut client, &text);
            Ok(())
        })
        .unwrap();
}
