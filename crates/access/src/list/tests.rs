//! Properties of `list.rs`, against naive models.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn parsed(value: &Value) -> Result<Option<Vec<String>>, String> {
    let list = AccessList::parse("access", value).map_err(|fault| fault.to_string())?;
    Ok(list.map(|list| list.principals().iter().map(ToString::to_string).collect()))
}

fn check(value: &Value, expected: Result<Option<&[&str]>, &str>) {
    let expected = expected
        .map(|list| list.map(|list| list.iter().map(|&text| text.to_owned()).collect()))
        .map_err(str::to_owned);
    assert_eq!(parsed(value), expected, "{value}");
}

#[test]
fn a_list_is_an_array_or_an_object_with_one_under_read() {
    check(&json!(["b", "a", "b"]), Ok(Some(&["a", "b"])));
    check(
        &json!({"read": ["é", "_admin"], "write": 1}),
        Ok(Some(&["_admin", "é"])),
    );
    check(&json!({"write": ["a"]}), Ok(None));
    check(
        &json!(["x".repeat(256)]),
        Ok(Some(&["x".repeat(256).as_str()])),
    );
    let most: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    assert_eq!(parsed(&json!(most)).unwrap().unwrap().len(), 1000);
}

#[test]
fn what_is_no_list_is_told_with_its_place() {
    for value in [json!(null), json!(1), json!("a"), json!(true)] {
        check(&value, Err("access must be an array of strings"));
    }
    check(
        &json!({"read": "a"}),
        Err("access.read must be an array of strings"),
    );
    check(
        &json!({"read": null}),
        Err("access.read must be an array of strings"),
    );
    check(&json!([]), Err("access must name at least one principal"));
    check(
        &json!({"read": []}),
        Err("access.read must name at least one principal"),
    );
    check(&json!(["a", 1]), Err("access[1] must be a string"));
    check(
        &json!({"read": ["a", ["b"]]}),
        Err("access.read[1] must be a string"),
    );
    check(&json!(["a", ""]), Err("access[1] must not be empty"));
    check(
        &json!(["x".repeat(257)]),
        Err("access[0] must not be longer than 256 bytes"),
    );
    for reserved in ["_", "_x", "_admins", "_Admin"] {
        let error = "access[1] must not begin with an underscore, unless it is _admin";
        check(&json!(["a", reserved]), Err(error));
    }
    let many: Vec<String> = (0..1001).map(|_| "a".to_owned()).collect();
    check(
        &json!(many),
        Err("access must not name more than 1000 principals"),
    );
}

#[test]
fn a_list_is_read_from_a_body() {
    let of_body = |body: &str| AccessList::of_body("acl", body.as_bytes());
    assert_eq!(of_body(r#"{"x":{"acl":["a"]}}"#), Ok(None));
    let list = of_body(r#"{"acl":["z"],"b":[{}],"acl":["a"]}"#)
        .unwrap()
        .unwrap();
    assert_eq!(list.principals().as_ref(), [Arc::from("a")]);
    assert_eq!(
        of_body(r#"{"acl":[]}"#).unwrap_err().fault,
        ListFault::Empty
    );
    assert_eq!(of_body("[]").unwrap_err().fault, ListFault::Unreadable);
}

/// Reckoned with Python: `b32encode(sha256(b"".join(len(p).to_bytes(8, "big") + p for p in ...)))`.
#[test]
fn signatures_are_the_same_in_every_version() {
    for (principals, expected) in [
        (&["_admin"][..], "2nqtrnvkj4xu2bye4unull5ws6"),
        (&["user:ann"], "y7fgdvqeijkkivdeqobyplzaao"),
        (&["team:42", "user:ann", "é"], "f4xli4s7u6fhcgo3hv2syl4vei"),
    ] {
        let list = AccessList::new("", principals.iter().map(|&text| Arc::from(text))).unwrap();
        assert_eq!(list.signature().as_ref(), expected);
    }
    assert_eq!(
        AccessList::admin().signature().as_ref(),
        "2nqtrnvkj4xu2bye4unull5ws6"
    );
    assert_eq!(
        AccessList::only(&Arc::from("user:ann"))
            .signature()
            .as_ref(),
        "y7fgdvqeijkkivdeqobyplzaao"
    );
}

#[test]
fn base32_is_that_of_rfc_4648() {
    for (bytes, expected) in [
        ("", ""),
        ("f", "my"),
        ("fo", "mzxq"),
        ("foo", "mzxw6"),
        ("foob", "mzxw6yq"),
        ("fooba", "mzxw6ytb"),
        ("foobar", "mzxw6ytboi"),
    ] {
        assert_eq!(base32(bytes.as_bytes()), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn lists_have_the_same_signature_if_and_only_if_they_are_the_same_set(
        left in proptest::collection::vec("[ab]{1,3}", 1..5),
        right in proptest::collection::vec("[ab]{1,3}", 1..5),
    ) {
        let list = |texts: &[String]| {
            AccessList::new("", texts.iter().map(|text| Arc::from(text.as_str()))).unwrap()
        };
        let set = |texts: &[String]| texts.iter().cloned().collect::<BTreeSet<_>>();
        let same = list(&left).signature() == list(&right).signature();
        prop_assert_eq!(same, set(&left) == set(&right));
        prop_assert_eq!(same, list(&left) == list(&right));
        prop_assert_eq!(list(&left).signature().len(), SIGNATURE_LENGTH);
        prop_assert!(list(&left).principals().windows(2).all(|pair| pair[0] < pair[1]));
    }
}
