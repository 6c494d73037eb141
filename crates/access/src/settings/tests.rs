//! Properties of `settings.rs`, against naive models.

use proptest::prelude::*;

use super::*;

fn parsed(value: &Value) -> Result<AccessSettings, String> {
    AccessSettings::parse(&value.to_string()).map_err(|fault| fault.to_string())
}

fn check_fault(value: &Value, expected: &str) {
    assert_eq!(parsed(value), Err(expected.to_owned()), "{value}");
}

#[test]
fn what_is_not_said_is_as_usual() {
    let usual = AccessSettings::default();
    assert_eq!(parsed(&json!({})), Ok(usual.clone()));
    assert_eq!(
        usual.to_text(),
        r#"{"version":1,"rule":{"property":"access"},"default":"admin","write_rules":{"writers":"writers","owners":"owners"},"write_only":false,"mailboxes":false,"schemas":null,"conflicts":"keep"}"#
    );
    assert_eq!(
        parsed(&json!({"write_rules": true, "mailboxes": false, "schemas": null})),
        Ok(usual)
    );
}

#[test]
fn every_field_is_read_and_shown_back() {
    for value in [
        json!({"rule": {"property": "acl"}, "default": "author", "write_only": true}),
        json!({"rule": {"expression": ["user:${owner}", {"field": "a"}]}, "default": ["b", "a", "a"]}),
        json!({"rule": {"function": {"design": "app"}}, "write_rules": false, "conflicts": "reject"}),
        json!({"rule": {"function": {"design": "_design/app", "name": "f"}}, "mailboxes": true}),
        json!({"write_rules": {"writers": "w"}, "mailboxes": {"recipient": "r"}, "version": 1}),
        json!({"schemas": {"types": {"note": {"type": "object"}, "any": true}}}),
        json!({"schemas": {"property": "kind", "types": {}}, "conflicts": {"merge": {"x": [1.0]}}}),
    ] {
        let settings = parsed(&value).unwrap();
        let again = AccessSettings::parse(&settings.to_text()).unwrap();
        assert_eq!(again, settings, "{value}");
        assert_eq!(again.summary(), settings.summary());
        assert_ne!(settings, AccessSettings::default());
    }
    let settings = parsed(&json!({"rule": {"function": {"design": "app"}}})).unwrap();
    let expected = Rule::Function {
        design: "_design/app".to_owned(),
        name: "access".to_owned(),
    };
    assert_eq!(settings.rule, expected);
}

#[test]
fn what_is_wrong_is_told_by_the_name_of_its_field() {
    let fault = |text: &str| AccessSettings::parse(text).unwrap_err().to_string();
    assert_eq!(fault("{"), "invalid JSON");
    assert_eq!(fault(&"[".repeat(10_000)), "invalid JSON");
    assert_eq!(fault("[]"), "must be an object");
    assert_eq!(
        fault(&" ".repeat((1 << 20) + 1)),
        "larger than 1048576 bytes"
    );
    check_fault(
        &json!({"version": 2}),
        "version: this server knows version 1",
    );
    check_fault(
        &json!({"version": "1"}),
        "version: this server knows version 1",
    );
    check_fault(&json!({"rules": {}}), "rules: unknown field");
    check_fault(&json!({"rule": "access"}), "rule: must be an object");
    let kinds = "rule: must be an object with one of property, expression and function";
    check_fault(&json!({"rule": {}}), kinds);
    check_fault(
        &json!({"rule": {"property": "a", "expression": ["a"]}}),
        kinds,
    );
    check_fault(
        &json!({"rule": {"proprety": "a"}}),
        "rule.proprety: unknown field",
    );
    let property = "must be the name of a property, which begins with no underscore";
    for bad in [json!(""), json!("_id"), json!(1), json!("x".repeat(257))] {
        check_fault(
            &json!({"rule": {"property": bad}}),
            &format!("rule.property: {property}"),
        );
        check_fault(
            &json!({"write_rules": {"owners": bad}}),
            &format!("write_rules.owners: {property}"),
        );
    }
    check_fault(
        &json!({"rule": {"expression": ["a", "${"]}}),
        "rule.expression: term 1, byte 0: the path is not closed by a brace",
    );
    let text = "must be a string of 1 to 256 bytes";
    check_fault(
        &json!({"rule": {"function": {}}}),
        &format!("rule.function.design: {text}"),
    );
    check_fault(
        &json!({"rule": {"function": {"design": "_design/"}}}),
        "rule.function.design: must be the id of a design document",
    );
    check_fault(
        &json!({"rule": {"function": {"design": "a", "name": 1}}}),
        &format!("rule.function.name: {text}"),
    );
    check_fault(
        &json!({"rule": {"function": {"design": "a", "x": 1}}}),
        "rule.function.x: unknown field",
    );
}

#[test]
fn what_is_wrong_beside_the_rule_is_told_by_the_name_of_its_field() {
    let default = "default: must be \"admin\", \"author\" or a list of principals";
    for bad in [json!("x"), json!(null), json!({"read": ["a"]})] {
        check_fault(&json!({ "default": bad }), default);
    }
    check_fault(
        &json!({"default": ["a", "_x"]}),
        "default: default[1] must not begin with an underscore, unless it is _admin",
    );
    for field in ["write_rules", "mailboxes"] {
        check_fault(
            &json!({ field: null }),
            &format!("{field}: must be true, false or an object"),
        );
        check_fault(
            &json!({ field: {"x": 1} }),
            &format!("{field}.x: unknown field"),
        );
    }
    check_fault(
        &json!({"write_only": 1}),
        "write_only: must be true or false",
    );
    check_fault(&json!({"schemas": []}), "schemas: must be an object");
    check_fault(&json!({"schemas": {}}), "schemas.types: must be an object");
    check_fault(
        &json!({"schemas": {"types": {"a": 1}}}),
        "schemas.types.a: must be a JSON Schema",
    );
    let ways = "conflicts: must be \"keep\", \"reject\" or an object with merge";
    for bad in [json!("x"), json!(null), json!({})] {
        check_fault(&json!({ "conflicts": bad }), ways);
    }
    check_fault(
        &json!({"conflicts": {"merge": 1, "x": 1}}),
        "conflicts.x: unknown field",
    );
}

#[test]
fn the_default_says_who_reads_what_the_rule_gives_nothing_for() {
    let ann: Arc<str> = Arc::from("user:ann");
    let list = |value: Value, author| {
        parsed(&json!({ "default": value }))
            .unwrap()
            .default_list(author)
    };
    assert_eq!(list(json!("admin"), Some(&ann)), AccessList::admin());
    assert_eq!(list(json!("author"), Some(&ann)), AccessList::only(&ann));
    assert_eq!(list(json!("author"), None), AccessList::admin());
    assert_eq!(list(json!(["user:ann"]), None), AccessList::only(&ann));
}

#[test]
fn labels_differ_by_what_makes_them() {
    let usual = AccessSettings::default();
    for (value, expected) in [
        (json!({"write_rules": false, "conflicts": "reject"}), false),
        (json!({"write_only": true}), true),
        (json!({"rule": {"property": "acl"}}), true),
        (json!({"default": "author"}), true),
        (json!({"mailboxes": true}), true),
    ] {
        assert_eq!(
            usual.labels_differ(&parsed(&value).unwrap()),
            expected,
            "{value}"
        );
    }
}

proptest! {
    #[test]
    fn hostile_texts_never_panic(text in ".{0,40}") {
        prop_assert!(AccessSettings::parse(&text).is_err());
        drop(AccessSettings::parse(&format!("{{\"rule\":{{\"property\":{text}}}}}")));
    }
}
