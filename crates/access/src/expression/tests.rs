//! Properties of `expression.rs`, against naive models.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn evaluated(expression: &Value, document: &Value) -> Result<Option<Vec<String>>, String> {
    let expression = PathExpression::parse(expression).map_err(|fault| fault.to_string())?;
    let list = expression.evaluate(document.as_object().unwrap());
    let of_body = expression.evaluate_body("doc", document.to_string().as_bytes());
    assert_eq!(list, of_body);
    let list = list.map_err(|fault| fault.to_string())?;
    Ok(list.map(|list| list.principals().iter().map(ToString::to_string).collect()))
}

fn document() -> Value {
    json!({
        "_id": "doc",
        "owner": "ann",
        "team": {"id": 42, "half": 0.5, "name": "", "none": null, "a b-ü": "odd"},
        "members": [{"name": "ann"}, {"name": "ben"}, {}, "x"],
        "teams": ["r", "s"],
        "nested": [[{"n": ["1", "2"]}], [{"n": ["3"]}]],
        "access": ["user:zoe", "_admin"],
        "one": "user:yan",
        "object": {},
        "yes": true,
        "bad": ["a", 1],
        "reserved": "_x",
        "empty": [],
    })
}

fn check(expression: &Value, expected: &[&str]) {
    let list = evaluated(expression, &document());
    let expected: Vec<String> = expected.iter().map(|&text| text.to_owned()).collect();
    assert_eq!(
        list,
        Ok((!expected.is_empty()).then_some(expected)),
        "{expression}"
    );
}

fn check_fault(expression: &Value, expected: &str) {
    assert_eq!(
        evaluated(expression, &document()),
        Err(expected.to_owned()),
        "{expression}"
    );
}

#[test]
fn terms_give_principals() {
    check(&json!(["editors"]), &["editors"]);
    check(&json!(["user:${owner}"]), &["user:ann"]);
    check(&json!(["team:${team.id}:reader"]), &["team:42:reader"]);
    check(
        &json!(["user:${members[*].name}"]),
        &["user:ann", "user:ben"],
    );
    check(
        &json!(["${teams[*]}:${members[*].name}"]),
        &["r:ann", "r:ben", "s:ann", "s:ben"],
    );
    check(&json!(["${nested[*][*].n[*]}"]), &["1", "2", "3"]);
    check(&json!([{"field": "access"}]), &["_admin", "user:zoe"]);
    check(
        &json!([{"field": "access[*]"}, {"field": "one"}]),
        &["_admin", "user:yan", "user:zoe"],
    );
    check(&json!(["doc:${_id}", "${team.a b-ü}"]), &["doc:doc", "odd"]);
    check(&json!(["}x{$}$", "${owner}"]), &["ann", "}x{$}$"]);
}

#[test]
fn what_a_document_has_not_gives_nothing() {
    for path in [
        "nothing",
        "owner.name",
        "team.none",
        "team.name",
        "owner[*]",
        "empty[*]",
        "team.id.x",
    ] {
        check(&json!([format!("user:${{{path}}}")]), &[]);
        check(&json!([format!("${{owner}}:${{{path}}}"), "x"]), &["x"]);
    }
    for path in ["nothing", "team.none", "empty", "object.x", "owner[*]"] {
        check(&json!([{"field": path}]), &[]);
    }
}

#[test]
fn what_a_document_has_wrong_is_a_fault_of_it() {
    for path in ["team", "team.half", "teams", "yes", "members[*]", "bad"] {
        check_fault(
            &json!([format!("u:${{{path}}}")]),
            &format!("{path} must be a string"),
        );
    }
    for path in ["team", "team.id", "yes", "bad", "members"] {
        check_fault(
            &json!([{"field": path}]),
            &format!("{path} must be a string"),
        );
    }
    let reserved = "reserved must not begin with an underscore, unless it is _admin";
    check_fault(&json!(["${reserved}"]), reserved);
    check_fault(&json!([{"field": "reserved"}]), reserved);
    check_fault(
        &json!([{"field": "team.name"}]),
        "team.name must not be empty",
    );
}

#[test]
fn what_a_document_gives_is_bounded() {
    let many: Vec<String> = (0..40).map(|n| format!("x{n}")).collect();
    let document = json!({"a": many, "long": "x".repeat(300), "all": vec!["x"; 1001]});
    let evaluated = |expression: Value| evaluated(&expression, &document);
    let too_many = |path: &str| Err(format!("{path} must not name more than 1000 principals"));
    assert_eq!(evaluated(json!(["${a[*]}${a[*]}"])), too_many("a[*]"));
    assert_eq!(evaluated(json!(["${all[*]}"])), too_many("all[*]"));
    assert_eq!(evaluated(json!([{"field": "all"}])), too_many("all"));
    let thirty = json!(vec!["${a[*]}"; 30]);
    assert_eq!(evaluated(thirty), too_many("a[*]"));
    let too_long = Err("long must not be longer than 256 bytes".to_owned());
    assert_eq!(evaluated(json!(["u:${long}"])), too_long);
    assert_eq!(evaluated(json!(["${long}".repeat(8)])), too_long);
    let expression = PathExpression::parse(&json!(["${a}"])).unwrap();
    assert!(expression.evaluate_body("x", b"[]").is_err());
}

fn check_no(value: &Value, term: usize, byte: usize, fault: ExpressionFault) {
    let expected = Err(InvalidExpression { term, byte, fault });
    assert_eq!(PathExpression::parse(value), expected, "{value}");
}

#[test]
fn what_is_no_expression_is_told_with_its_place() {
    for value in [json!(null), json!([]), json!({}), json!("user:${owner}")] {
        check_no(&value, 0, 0, ExpressionFault::NotTerms);
    }
    for term in [
        json!(1),
        json!(["a"]),
        json!({}),
        json!({"field": 1}),
        json!({"field": "a", "x": 1}),
    ] {
        check_no(&json!(["a", term]), 1, 0, ExpressionFault::NotATerm);
    }
    check_no(&json!(vec!["a"; 65]), 64, 0, ExpressionFault::TooManyTerms);
    check_no(
        &json!(["x".repeat(1025)]),
        0,
        1024,
        ExpressionFault::TermTooLong,
    );
    check_no(
        &json!(["${a}".repeat(9)]),
        0,
        32,
        ExpressionFault::TooManyPaths,
    );
    check_no(&json!(["user:${a"]), 0, 5, ExpressionFault::Unclosed);
    check_no(&json!(["${a}é${b"]), 0, 6, ExpressionFault::Unclosed);
}

#[test]
fn what_is_no_path_is_told_with_its_place() {
    check_no(&json!(["u${}"]), 0, 3, ExpressionFault::NameMissing);
    check_no(&json!(["u${a..b}"]), 0, 5, ExpressionFault::NameMissing);
    check_no(&json!(["u${[*]}"]), 0, 3, ExpressionFault::NameMissing);
    check_no(&json!([{"field": ""}]), 0, 0, ExpressionFault::NameMissing);
    check_no(
        &json!([{"field": "a."}]),
        0,
        2,
        ExpressionFault::NameMissing,
    );
    check_no(&json!(["u${a.b[0]}"]), 0, 6, ExpressionFault::BadCharacter);
    check_no(&json!(["u${a[*]b}"]), 0, 4, ExpressionFault::BadCharacter);
    check_no(&json!(["${a${b}"]), 0, 3, ExpressionFault::BadCharacter);
    check_no(
        &json!([{"field": "a.".repeat(17)}]),
        0,
        32,
        ExpressionFault::PathTooLong,
    );
    check_no(
        &json!([format!("${{a{}}}", "[*]".repeat(17))]),
        0,
        2,
        ExpressionFault::PathTooLong,
    );
    check_no(
        &json!([""]),
        0,
        0,
        ExpressionFault::NoPrincipal(ListFault::EmptyText),
    );
    check_no(
        &json!(["_x"]),
        0,
        0,
        ExpressionFault::NoPrincipal(ListFault::Reserved),
    );
    check_no(
        &json!(["_x${a}"]),
        0,
        0,
        ExpressionFault::NoPrincipal(ListFault::Reserved),
    );
    let fault = PathExpression::parse(&json!(["a", "user:${a"])).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "term 1, byte 5: the path is not closed by a brace"
    );
    assert!(PathExpression::parse(&json!(["_admin"])).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn hostile_expressions_never_panic(terms in proptest::collection::vec("[a${}.*é_\\[\\]]{0,12}", 1..4)) {
        if let Ok(expression) = PathExpression::parse(&json!(terms)) {
            let document = json!({"a": [{"a": "x"}, "y"], "é": "z"});
            drop(expression.evaluate(document.as_object().unwrap()));
            prop_assert_eq!(PathExpression::parse(expression.as_value()), Ok(expression));
        }
    }

    #[test]
    fn a_text_with_one_path_puts_in_what_is_there(before in "[a-z:]{0,5}", value in "[^_].{0,10}", after in "[a-z:]{0,5}") {
        let document = json!({"x": {"y": value}});
        let list = evaluated(&json!([format!("{before}${{x.y}}{after}")]), &document);
        prop_assert_eq!(list, Ok(Some(vec![[before, value, after].concat()])));
    }
}
