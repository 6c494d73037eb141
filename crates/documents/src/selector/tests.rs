//! Tables of what `CouchDB` answers, and properties against a naive evaluation.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn selector(json: &Value) -> Selector {
    Selector::parse(json).unwrap_or_else(|error| panic!("{error}: {:.200}", json.to_string()))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "tables read better without borrows"
)]
fn check(selector_json: Value, document: Value, expected: bool) {
    assert_eq!(
        selector(&selector_json).matches(&document),
        expected,
        "{selector_json} on {document}"
    );
}

/// A condition on `x`, and its negation, against documents that have `x`.
#[expect(
    clippy::needless_pass_by_value,
    reason = "tables read better without borrows"
)]
fn check_condition(condition: Value, expected: Vec<(bool, Value)>) {
    for (matches, value) in expected {
        check(json!({"x": condition}), json!({"x": value}), matches);
        check(
            json!({"x": {"$not": condition}}),
            json!({"x": value}),
            !matches,
        );
        check(
            json!({"$nor": [{"x": condition}]}),
            json!({"x": value}),
            !matches,
        );
        check(
            json!({"$not": {"$not": {"x": condition}}}),
            json!({"x": value}),
            matches,
        );
        check(
            json!({"y": {"$elemMatch": {"x": condition}}}),
            json!({"y": [{"x": value}]}),
            matches,
        );
    }
}

fn check_error(selector_json: &str, error: &str, reason: &str) {
    let refused = Selector::parse(&serde_json::from_str(selector_json).unwrap()).unwrap_err();
    assert_eq!(
        (refused.error(), refused.reason().as_str()),
        (error, reason),
        "{selector_json}"
    );
}

#[test]
fn comparisons() {
    check_condition(
        json!({"$lt": 5}),
        vec![(true, json!(4)), (false, json!(5)), (false, json!(6))],
    );
    check_condition(
        json!({"$lte": 5}),
        vec![(true, json!(4)), (true, json!(5.0)), (false, json!(6))],
    );
    check_condition(
        json!({"$gt": 5}),
        vec![(false, json!(4)), (false, json!(5)), (true, json!(5.1))],
    );
    check_condition(
        json!({"$gte": 5}),
        vec![(false, json!(4)), (true, json!(5)), (true, json!(6))],
    );
    check_condition(
        json!({"$eq": 5}),
        vec![(true, json!(5)), (true, json!(5.0)), (false, json!("5"))],
    );
    check_condition(
        json!({"$ne": 5}),
        vec![(false, json!(5)), (true, json!(6)), (true, json!(null))],
    );
    check_condition(
        json!({"$lt": [1, 2, 3]}),
        vec![
            (true, json!([1, 2, 2])),
            (true, json!([1, 2])),
            (false, json!([1, 2, 3])),
            (false, json!([1, 3])),
        ],
    );
    check_condition(
        json!({"$lt": "hello"}),
        vec![
            (true, json!("held")),
            (true, json!("HELD")),
            (false, json!("hello")),
            (false, json!("Hello")),
        ],
    );
}

#[test]
fn comparisons_reach_across_types() {
    check_condition(
        json!({"$gt": null}),
        vec![
            (false, json!(null)),
            (true, json!(false)),
            (true, json!({})),
        ],
    );
    check_condition(
        json!({"$lt": 1}),
        vec![(true, json!(null)), (true, json!(true)), (false, json!(""))],
    );
    check_condition(
        json!({"$lt": {}}),
        vec![
            (true, json!([1])),
            (true, json!("x")),
            (false, json!({"a": 1})),
        ],
    );
    check_condition(
        json!({"$gte": "a"}),
        vec![(true, json!([])), (false, json!(9)), (true, json!("A"))],
    );
}

#[test]
fn equality_of_objects_counts_order_and_every_member() {
    let object = json!({"b": 1, "a": [2, {"c": null}]});
    for condition in [json!({"$eq": object}), json!({"$in": [7, object]})] {
        check_condition(
            condition,
            vec![
                (true, json!({"b": 1, "a": [2, {"c": null}]})),
                (true, json!({"b": 1.0, "a": [2, {"c": null}]})),
                (false, json!({"a": [2, {"c": null}], "b": 1})),
                (false, json!({"b": 1})),
                (false, json!({"b": 1, "a": [2, {"c": null}], "d": 0})),
                (false, json!({"b": 1, "a": [2, {"c": 0}]})),
            ],
        );
    }
    check(
        json!({"x": {"$eq": {"$gt": 1}}}),
        json!({"x": {"$gt": 1}}),
        true,
    );
    check(
        json!({"$and": [{"x": {"$eq": 5}}, {"x": {"$gt": 5}}]}),
        json!({"x": 5}),
        false,
    );
}

#[test]
fn big_integers_compare_exactly() {
    let document: Value = serde_json::from_str(r#"{"x": 123456789012345678901234567890}"#).unwrap();
    for (text, expected) in [
        (r#"{"x": 123456789012345678901234567890}"#, true),
        (r#"{"x": 123456789012345678901234567891}"#, false),
        (r#"{"x": {"$gt": 123456789012345678901234567889}}"#, true),
        (r#"{"x": {"$mod": [10, 0]}}"#, true),
        (r#"{"x": {"$mod": [9007199254740993, 0]}}"#, false),
    ] {
        check(
            serde_json::from_str(text).unwrap(),
            document.clone(),
            expected,
        );
    }
}

#[test]
fn a_missing_field_matches_only_not_exists() {
    for condition in [
        json!(1),
        json!(null),
        json!({"$ne": 1}),
        json!({"$lt": 1}),
        json!({"$lte": null}),
        json!({"$gte": null}),
        json!({"$in": [1]}),
        json!({"$nin": [1]}),
        json!({"$exists": true}),
        json!({"$type": "null"}),
        json!({"$not": {"$eq": 1}}),
        json!({"$not": {"$regex": "a"}}),
        json!({"$not": {"$size": 1}}),
        json!({"$not": {"$exists": false}}),
        json!({"$not": {"$elemMatch": {"$eq": 1}}}),
    ] {
        check(json!({"x": condition}), json!({"y": 1}), false);
        check(json!({"x.y": condition}), json!({"x": {}}), false);
        check(json!({"x.y": condition}), json!({"x": 1}), false);
        check(json!({"x.3": condition}), json!({"x": [1]}), false);
    }
    check(json!({"x": {"$exists": false}}), json!({"y": 1}), true);
    check(json!({"x": {"$exists": false}}), json!({"x": null}), false);
    check(json!({"x.y": {"$exists": false}}), json!({}), true);
    check(json!({"x.y": {"$exists": false}}), json!({"x": {}}), true);
    check(json!({"x": {"$not": {"$exists": true}}}), json!({}), true);
    // What cannot have the member at all is no match either, as in CouchDB.
    check(json!({"x.y": {"$exists": false}}), json!({"x": 1}), false);
    check(json!({"x.1": {"$exists": false}}), json!({"x": [1]}), false);
    let negated = json!({"x": {"$not": {"$exists": true, "$eq": 0}}});
    check(negated.clone(), json!({"x": 1}), true);
    check(negated.clone(), json!({"x": 0}), false);
    check(negated, json!({}), true);
}

#[test]
fn in_looks_into_arrays() {
    check_condition(
        json!({"$in": []}),
        vec![(false, json!(0)), (false, json!("")), (false, json!([]))],
    );
    check_condition(
        json!({"$nin": []}),
        vec![(true, json!(0)), (true, json!("")), (true, json!([]))],
    );
    let candidates = json!([42, false, "bar", [["nested"], "list"], {"b": 2}]);
    let table = [
        (true, json!(42)),
        (true, json!(42.0)),
        (true, json!(false)),
        (true, json!("bar")),
        (true, json!({"b": 2})),
        (false, json!(43)),
        (false, json!(true)),
        (false, json!("bars")),
        (false, json!({"b": 2, "c": 3})),
        (true, json!([0, 42])),
        (true, json!([0, {"b": 2}])),
        (false, json!([["nested"], "list"])),
        (true, json!([0, [["nested"], "list"]])),
        (false, json!([])),
    ];
    check_condition(json!({"$in": candidates}), table.to_vec());
    check_condition(
        json!({"$nin": candidates}),
        table.map(|(matches, value)| (!matches, value)).to_vec(),
    );
}

#[test]
fn all_needs_every_one() {
    check_condition(
        json!({"$all": []}),
        vec![
            (false, json!([])),
            (false, json!([42])),
            (false, json!("foo")),
        ],
    );
    check_condition(
        json!({"$all": [1, 2, 3]}),
        vec![
            (true, json!([3, 0, 2, 1])),
            (false, json!([3, 2])),
            (false, json!([])),
            (false, json!(1)),
        ],
    );
    check_condition(
        json!({"$all": [[1, 2]]}),
        vec![
            (true, json!([1, 2])),
            (true, json!([1.0, 2])),
            (false, json!([2, 1])),
            (true, json!([5, [1, 2]])),
            (false, json!([5, [1.0, 2]])),
            (false, json!([5, [2, 1]])),
        ],
    );
    check_condition(
        json!({"$all": ["hello"]}),
        vec![(false, json!("hello")), (true, json!([0, "hello"]))],
    );
    check_condition(
        json!({"$all": [{"a": 1, "b": [true]}]}),
        vec![
            (true, json!([{"a": 1, "b": [true]}])),
            (false, json!([{"a": 1}])),
            (false, json!([{"b": [true], "a": 1}])),
            (false, json!([{"a": 1.0, "b": [true]}])),
        ],
    );
    // No collation here: these strings are equal to ICU, not to Erlang.
    check_condition(
        json!({"$all": ["a"]}),
        vec![(false, json!(["a\u{0}"])), (true, json!(["a"]))],
    );
}

#[test]
fn types() {
    for (name, value) in [
        ("null", json!(null)),
        ("boolean", json!(false)),
        ("number", json!(1.5)),
        ("string", json!("")),
        ("array", json!([])),
        ("object", json!({})),
    ] {
        for other in [
            "null", "boolean", "number", "string", "array", "object", "integer", "",
        ] {
            check_condition(
                json!({"$type": other}),
                vec![(other == name, value.clone())],
            );
        }
    }
}

#[test]
fn modulo() {
    check_condition(
        json!({"$mod": [28, 1]}),
        vec![
            (true, json!(1)),
            (true, json!(29)),
            (false, json!(58)),
            (false, json!("57")),
            (false, json!(29.0)),
            (false, json!(true)),
        ],
    );
    check_condition(
        json!({"$mod": [3, -1]}),
        vec![(true, json!(-4)), (false, json!(4)), (false, json!(2))],
    );
    check_condition(
        json!({"$mod": [-3, 1]}),
        vec![(true, json!(4)), (false, json!(-4))],
    );
    check_condition(
        json!({"$mod": [1, 0]}),
        vec![(true, json!(7)), (true, json!(-7)), (false, json!(null))],
    );
}

#[test]
fn strings() {
    check_condition(
        json!({"$regex": "^[0-9a-f]+$"}),
        vec![
            (false, json!("")),
            (true, json!("3a0df5e")),
            (false, json!("3a0gf5e")),
            (false, json!(42)),
            (false, json!(["a"])),
        ],
    );
    check_condition(
        json!({"$regex": "(?i)new.*"}),
        vec![(true, json!("a New York")), (false, json!("ne w"))],
    );
    check_condition(
        json!({"$regex": r"^\/a\-b\.c$"}),
        vec![(true, json!("/a-b.c")), (false, json!("/a-bxc"))],
    );
    check_condition(
        json!({"$beginsWith": "foo"}),
        vec![
            (true, json!("foo")),
            (true, json!("food")),
            (false, json!("Foo")),
            (false, json!("fo")),
            (false, json!(42)),
            (false, json!(["foo"])),
        ],
    );
    check_condition(
        json!({"$beginsWith": ""}),
        vec![(true, json!("")), (true, json!("x")), (false, json!(null))],
    );
}

#[test]
fn sizes() {
    check_condition(
        json!({"$size": 3}),
        vec![
            (true, json!([0, 0, 0])),
            (false, json!([0])),
            (false, json!(3)),
            (false, json!("fun")),
            (false, json!({"a": 1, "b": 2, "c": 3})),
        ],
    );
    check_condition(json!({"$size": 0}), vec![(true, json!([]))]);
    let enormous: Value = serde_json::from_str(r#"{"$size": 99999999999999999999999}"#).unwrap();
    check_condition(enormous, vec![(false, json!([])), (false, json!([1]))]);
}

#[test]
fn elements() {
    check_condition(
        json!({"$elemMatch": {"$eq": 0}}),
        vec![
            (false, json!([])),
            (true, json!([0])),
            (false, json!([1])),
            (true, json!([0, 1])),
            (false, json!(0)),
        ],
    );
    check_condition(
        json!({"$allMatch": {"$eq": 0}}),
        vec![
            (false, json!([])),
            (true, json!([0])),
            (false, json!([1])),
            (false, json!([0, 1])),
            (false, json!(0)),
        ],
    );
    check_condition(
        json!({"$elemMatch": {"$gte": 80, "$lt": 85}}),
        vec![(true, json!([82, 85, 88])), (false, json!([75, 88, 89]))],
    );
    check_condition(
        json!({"$elemMatch": {"foo": {"$gte": 1}, "bam": true}}),
        vec![
            (false, json!([{"foo": 1, "bar": 2}])),
            (true, json!([{"foo": 2, "bam": true}])),
            (false, json!([1, "foo", null])),
        ],
    );
    check_condition(
        json!({"$allMatch": {"foo": {"$mod": [2, 1]}, "bar.0": {"$mod": [2, 0]}}}),
        vec![
            (
                true,
                json!([{"foo": 1, "bar": [2]}, {"foo": 3, "bar": [4]}]),
            ),
            (
                false,
                json!([{"foo": 1, "bar": [2]}, {"foo": 4, "bar": [4]}]),
            ),
        ],
    );
    check_condition(
        json!({"$elemMatch": {"$elemMatch": {"a": {"b": 1}}}}),
        vec![(true, json!([[], [{"a": {"b": 1, "c": 2}}]]))],
    );
    check_condition(
        json!({"$elemMatch": {}}),
        vec![(true, json!([{}])), (false, json!([{"a": 1}]))],
    );
    check_condition(
        json!({"$elemMatch": {"$or": [1, 2]}}),
        vec![(true, json!([3, 2])), (false, json!([3]))],
    );
    check_condition(
        json!({"$elemMatch": {"$exists": false}}),
        vec![(false, json!([3]))],
    );
    check_condition(
        json!({"$elemMatch": {"$exists": true}}),
        vec![(true, json!([null])), (false, json!([]))],
    );
}

#[test]
fn negations_inside_elements_stay_logical() {
    check_condition(
        json!({"$elemMatch": {"$not": {"a": 1}}}),
        vec![
            (true, json!([{"a": 2}])),
            (true, json!([{}])),
            (true, json!([7])),
            (false, json!([{"a": 1}])),
        ],
    );
    check_condition(
        json!({"$elemMatch": {"a": {"$not": {"$eq": 1}}}}),
        vec![
            (true, json!([{"a": 2}])),
            (true, json!([{}])),
            (false, json!([{"a": 1}])),
        ],
    );
    check_condition(
        json!({"$allMatch": {"$nor": [{"a": 1}, {"$gt": {"a": 5}}]}}),
        vec![
            (true, json!([{"a": 2}, {}])),
            (false, json!([{"a": 2}, {"a": 1}])),
            (false, json!([{"b": 0}])),
        ],
    );
}

#[test]
fn keys() {
    check_condition(
        json!({"$keyMapMatch": {"$regex": "^[a-z]+$"}}),
        vec![
            (true, json!({"hello": 0})),
            (true, json!({"b4": 2, "a": 1})),
            (false, json!({"b4": 2})),
            (false, json!({})),
            (false, json!(["a"])),
        ],
    );
    check_condition(
        json!({"$keyMapMatch": {"$eq": "zip"}}),
        vec![(true, json!({"zip": 1})), (false, json!({"x": {"zip": 1}}))],
    );
    check_condition(
        json!({"$keyMapMatch": {"a": 1}}),
        vec![(false, json!({"a": 1}))],
    );
}

#[test]
fn objects_are_selectors_unless_empty() {
    check(json!({}), json!({}), true);
    check(json!({}), json!({"x": 1}), true);
    check_condition(
        json!({}),
        vec![
            (true, json!({})),
            (false, json!({"a": 1})),
            (false, json!([])),
        ],
    );
    check(json!({"x": {}}), json!({}), false);
    check(json!({"$not": {"x": {}}}), json!({}), false);
    check(json!({"x": {"a": 1}}), json!({"x": {"a": 1, "b": 2}}), true);
    check(json!({"x": {"a": 1}}), json!({"x": {"b": 2}}), false);
    check(json!({"x": {"a": 1}}), json!({"x": 1}), false);
    check(
        json!({"x": {"a": 1, "b": {"$gt": 1}}}),
        json!({"x": {"a": 1, "b": 2}}),
        true,
    );
    check(
        json!({"x": {"a": 1, "b": {"$gt": 1}}}),
        json!({"x": {"a": 1}}),
        false,
    );
    check(
        json!({"x": {"a.b": {"c": 1}}}),
        json!({"x": {"a": {"b": {"c": 1}}}}),
        true,
    );
    check(json!({"x.b": 2}), json!({"x": {"a": 1, "b": 2}}), true);
    check(
        json!({"x": {"$gt": {}, "b": 2}}),
        json!({"x": {"b": 2}}),
        true,
    );
    // An empty object in a list is no empty selector: it means an empty document.
    check(json!({"$and": [{}]}), json!({"_id": "a"}), false);
    check(json!({"$and": [{}]}), json!({}), true);
}

#[test]
fn paths() {
    check(
        json!({"favorites.3": "C"}),
        json!({"favorites": ["a", "b", "c", "C"]}),
        true,
    );
    check(
        json!({"favorites": {"3": "C"}}),
        json!({"favorites": ["a", "b", "c", "C"]}),
        true,
    );
    check(
        json!({"favorites.3": null}),
        json!({"favorites": ["a"]}),
        false,
    );
    check(json!({r"foo\.bar": "a"}), json!({"foo.bar": "a"}), true);
    check(
        json!({r"foo\.bar": "a"}),
        json!({"foo": {"bar": "a"}}),
        false,
    );
    check(
        json!({"foo.bar.0foobar": "a"}),
        json!({"foo": {"bar": {"0foobar": "a"}}}),
        true,
    );
    check(
        json!({"授人以鱼不如授人以渔。": "a"}),
        json!({"授人以鱼不如授人以渔。": "a"}),
        true,
    );
    check(json!({r"a.\$b": 1}), json!({"a": {"$b": 1}}), true);
    check(
        json!({"_rev": {"$beginsWith": "1-"}, "_deleted": true}),
        json!({"_rev": "1-a", "_deleted": true}),
        true,
    );
}

#[test]
fn combinations() {
    let two = json!({"$or": [{"$lt": 3}, {"$gt": 7}]});
    check_condition(
        two,
        vec![(false, json!(6)), (true, json!(2)), (true, json!(9))],
    );
    check_condition(
        json!({"$and": [{"$gt": 3}, {"$lt": 7}]}),
        vec![(true, json!(6)), (false, json!(2)), (false, json!(9))],
    );
    check_condition(
        json!({"$gt": 3, "$lt": 7}),
        vec![(true, json!(6)), (false, json!(2)), (false, json!(9))],
    );
    check_condition(
        json!({"$nor": [{"$lt": 3}, {"$gt": 7}]}),
        vec![(true, json!(6)), (false, json!(2)), (false, json!(9))],
    );
    check_condition(
        json!({"$or": [1, "a"]}),
        vec![(true, json!(1)), (true, json!("a")), (false, json!(2))],
    );
    // Empty lists hold, negated or not, with the field or without it.
    for operator in ["$and", "$or", "$nor"] {
        for document in [json!({"x": 0}), json!({})] {
            check(json!({"x": {operator: []}}), document.clone(), true);
            check(
                json!({"x": {"$not": {operator: []}}}),
                document.clone(),
                true,
            );
            check(json!({operator: []}), document, true);
        }
    }
    check(json!({"$not": {"x": 5}}), json!({}), false);
    check(
        json!({"$nor": [{"x": 1}, {"y": 2}]}),
        json!({"x": 2, "y": 1}),
        true,
    );
    check(
        json!({"$nor": [{"x": 1}, {"y": 2}]}),
        json!({"x": 2}),
        false,
    );
    check(
        json!({"$not": {"$or": [{"x": 1}, {"$nor": [{"y": 2}]}]}}),
        json!({"x": 2, "y": 2}),
        true,
    );
    check(
        json!({"age": {"$gte": 75}, "$or": [{"name.first": "Nancy"}, {"name.first": "Mick"}]}),
        json!({"age": 76, "name": {"first": "Mick"}}),
        true,
    );
}

#[test]
fn the_id_compares_raw() {
    check(json!({"_id": {"$lt": "a"}}), json!({"_id": "B"}), true);
    check(json!({"x": {"$lt": "a"}}), json!({"x": "B"}), false);
    check(json!({"_id": {"$gt": null}}), json!({"_id": ""}), true);
    check(json!({"_id": {"$lt": {}}}), json!({"_id": "a"}), false);
    check(json!({"_id": {"$lt": []}}), json!({"_id": "a"}), false);
    check(
        json!({"_id": {"$in": ["b", "B", "a"]}}),
        json!({"_id": "B"}),
        true,
    );
    check(
        json!({"_id": {"$in": ["b", "B", "a"]}}),
        json!({"_id": "C"}),
        false,
    );
    check(json!({"_id": "a"}), json!({"_id": "a\u{0}"}), false);
    check(json!({"x": "a"}), json!({"x": "a\u{0}"}), true);
    check(
        json!({"x": {"$elemMatch": {"_id": {"$lt": "a"}}}}),
        json!({"x": [{"_id": "B"}]}),
        true,
    );
    check(
        json!({"_id": {"$elemMatch": {"$lt": "a"}}}),
        json!({"_id": ["B"]}),
        true,
    );
    check(
        json!({"x._id": {"$lt": "a"}}),
        json!({"x": {"_id": "B"}}),
        false,
    );
}

#[test]
fn errors_are_couchdbs() {
    for (selector, operator) in [
        (r#"{"k":{"$foo":1}}"#, "$foo"),
        (r#"{"$noor":[]}"#, "$noor"),
        (r#"{"k":{"$":1}}"#, "$"),
        (r#"{"k":{"$beginsWith":true}}"#, "$beginsWith"),
        (r#"{"k":{"$regex":1}}"#, "$regex"),
    ] {
        check_error(
            selector,
            "invalid_operator",
            &format!("Invalid operator: {operator}"),
        );
    }
    for operator in [
        "$where",
        "$near",
        "$nearSphere",
        "$geoWithin",
        "$geoIntersects",
        "$text",
    ] {
        let selector = format!(r#"{{"k":{{"{operator}":"x"}}}}"#);
        check_error(
            &selector,
            "not_supported",
            &format!("Unsupported operator: {operator}"),
        );
    }
    for selector in [
        r#"{"$gt":2}"#,
        r#"{"$not":{"$gt":2}}"#,
        r#"{"":2}"#,
        r#"{"$elemMatch":{"a":1}}"#,
    ] {
        check_error(
            selector,
            "invalid_selector",
            "One or more conditions is missing a field name.",
        );
    }
    check_error(
        r#"{"a..b":2}"#,
        "invalid_field_name",
        "Invalid field name: a..b",
    );
    check_error(
        r#"{"a":{"":2}}"#,
        "invalid_field_name",
        "Invalid field name: a.",
    );
    for (selector, term) in [
        ("null", "null"),
        ("1.0", "1.0"),
        (r#"[null,"bin"]"#, "[null,<<98,105,110>>]"),
    ] {
        let reason = format!("Selector must be a JSON object, not: {term}");
        check_error(selector, "invalid_selector_json", &reason);
    }
}

#[test]
fn bad_arguments_are_quoted_as_couchdb_quotes_them() {
    let check = |operator: &str, argument: &str, term: &str| {
        let selector = format!(r#"{{"k":{{"{operator}":{argument}}}}}"#);
        check_error(
            &selector,
            "bad_arg",
            &format!("Bad argument for operator {operator}: {term}"),
        );
    };
    for operator in ["$and", "$or", "$nor", "$in", "$nin", "$all"] {
        check(operator, r#"{"a":1}"#, "{[{<<97>>,1}]}");
    }
    for operator in [
        "$not",
        "$elemMatch",
        "$allMatch",
        "$keyMapMatch",
        "$exists",
        "$type",
        "$size",
        "$mod",
    ] {
        check(operator, "null", "null");
    }
    check("$text", r#"["x"]"#, "[<<120>>]");
    for (argument, term) in [
        ("-1", "-1"),
        ("1.0", "1.0"),
        ("[1]", "[1]"),
        (r#""1""#, "<<49>>"),
    ] {
        check("$size", argument, term);
    }
    for argument in [
        "[0,0]", "[-0,0]", "[2]", "[2,1,0]", "[2.0,0]", "[2,0.5]", "[null,1]",
    ] {
        check("$mod", argument, &argument.replace("-0", "0"));
    }
    check("$mod", r#"{"gte":3}"#, "{[{<<103,116,101>>,3}]}");
    check(
        "$mod",
        "[99999999999999999999999999999999999999,1]",
        "[99999999999999999999999999999999999999,1]",
    );
}

#[test]
fn expressions_that_cannot_run_are_refused() {
    check_error(
        r#"{"k":{"$regex":"a("}}"#,
        "bad_arg",
        "Bad argument for operator $regex: <<97,40>>",
    );
    check_error(
        r#"{"k":{"$regex":"(?=a)b"}}"#,
        "bad_arg",
        "Unsupported regular expression in $regex: look-around, including look-ahead and look-behind, is not supported",
    );
    check_error(
        r#"{"k":{"$regex":"(a)\\1"}}"#,
        "bad_arg",
        "Unsupported regular expression in $regex: backreferences are not supported",
    );
    check_error(
        r#"{"k":{"$regex":"(\\w{100}){100}"}}"#,
        "bad_arg",
        "Regular expressions in $regex are too large or too many",
    );
    let several = |count: usize, pattern: &str| {
        Selector::parse(&json!({"$or": vec![json!({"k": {"$regex": pattern}}); count]}))
    };
    assert!(several(1000, "^(foo|bar)/.*x$").is_ok());
    assert!(several(3, r"^\w{1,50}$").is_ok());
    assert_eq!(
        several(5, r"^\w{1,50}$").unwrap_err(),
        SelectorError::RegexTooLarge
    );
    // What people write compiles.
    for pattern in [
        r"^\w+@\w+\.\w{2,10}$",
        r"^\p{L}{1,20}$",
        r"(?i)^[a-z0-9._%+-]{1,64}@.{1,100}$",
        r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}",
        ".{0,200}x",
    ] {
        selector(&json!({"k": {"$regex": pattern}}));
    }
}

/// A selector in which every level holds the next.
fn nested(levels: usize, wrap: impl Fn(Value) -> Value) -> Value {
    (0..levels).fold(json!({"a": 1}), |inside, _| wrap(inside))
}

#[test]
fn depth_is_bounded() {
    let deepest = nested(MAX_DEPTH - 2, |inside| json!({"$not": inside}));
    check(deepest, json!({"a": 1}), true);
    type Wrap = fn(Value) -> Value;
    let wraps: [Wrap; 5] = [
        |inside| json!({"$not": inside}),
        |inside| json!({"$and": [inside]}),
        |inside| json!({"a": inside}),
        |inside| json!({"a": {"$elemMatch": inside}}),
        |inside| json!({"a": {"$eq": inside}}),
    ];
    for wrap in wraps {
        let accepted = nested(62, wrap);
        let document = nested(400, |inside| json!({"a": [inside]}));
        let _whatever = selector(&accepted).matches(&document);
        let refused = nested(400, wrap);
        assert_eq!(
            Selector::parse(&refused).unwrap_err(),
            SelectorError::TooDeep
        );
    }
}

#[test]
fn size_is_bounded() {
    check(
        json!({"a": {"$in": vec![0; MAX_VALUES - 3]}}),
        json!({"a": 0}),
        true,
    );
    for refused in [
        json!({"a": {"$in": vec![0; MAX_VALUES]}}),
        json!({"$or": vec![json!({"a": 1}); MAX_VALUES / 2]}),
        json!({"a": vec![0; 1_000_000]}),
        json!(vec![json!([]); 1_000_000]),
    ] {
        assert_eq!(
            Selector::parse(&refused).unwrap_err(),
            SelectorError::TooLarge
        );
    }
    // One long name above many conditions would be copied to each.
    let members: serde_json::Map<String, Value> =
        (0..5_000).map(|n| (n.to_string(), json!(n))).collect();
    let long_name = json!({"x".repeat(10_000): members});
    assert_eq!(
        Selector::parse(&long_name).unwrap_err(),
        SelectorError::TooLarge
    );
}

#[test]
fn effort_is_bounded() {
    let check = |json: Value, document: &Value| {
        let selector = selector(&json);
        assert_eq!(
            selector.try_matches(document),
            Err(TooMuchEffort),
            "{json:.80}"
        );
    };
    let ones = json!({"a": vec![1; 20_000]});
    let equals =
        |operands: std::ops::Range<i32>| operands.map(|n| json!({"$eq": n})).collect::<Vec<_>>();
    check(
        json!({"a": {"$elemMatch": {"$or": equals(2..4000)}}}),
        &ones,
    );
    check(
        json!({"a": {"$all": vec![1; 9000]}}),
        &json!({"a": vec![0; 30_000].into_iter().chain([1]).collect::<Vec<_>>()}),
    );
    let weightless = json!({"a": ["\u{0}".repeat(8 << 20)]});
    check(
        json!({"$or": (0..2000).map(|n| json!({"a": [n.to_string()]})).collect::<Vec<_>>()}),
        &weightless,
    );
    check(
        json!({"$or": (0..1000).map(|n| json!({"a": {"$in": [n.to_string(), "b", "c"]}})).collect::<Vec<_>>()}),
        &weightless,
    );
    let digits: Value =
        serde_json::from_str(&format!("{{\"a\": {}}}", "7".repeat(1 << 20))).unwrap();
    check(
        json!({"$or": (1..1900).map(|n| json!({"a": {"$mod": [n, n]}})).collect::<Vec<_>>()}),
        &digits,
    );
    check(
        json!({"$or": (1..4900).map(|n| json!({"a": n})).collect::<Vec<_>>()}),
        &digits,
    );
    let text = json!({"a": "ab".repeat(4 << 20)});
    check(
        json!({"a": {"$regex": "(?:[ab]*a[ab]{3000}){5}[^ab]"}}),
        &text,
    );
    check(
        json!({"$or": (1..200).map(|n| json!({"a": {"$regex": format!("a[ab]{{{n}}}x")}})).collect::<Vec<_>>()}),
        &text,
    );
    // One ordinary expression may search the largest document.
    let hexadecimal = selector(&json!({"a": {"$regex": "^[0-9a-f]+x$"}}));
    assert_eq!(hexadecimal.try_matches(&text), Ok(false));
    // Giving up is no match, also where a negation stands before it.
    let elements = json!({"$elemMatch": {"$or": equals(2..4000)}});
    assert!(!selector(&json!({"a": {"$not": elements}})).matches(&ones));
}

#[test]
fn ranges_for_an_index() {
    let range = |json: Value, field: &str| selector(&json).range_for(field);
    let between = |low: Bound<Value>, high: Bound<Value>| Some(Range { low, high });
    assert_eq!(
        range(json!({"a": 1}), "a"),
        between(Bound::Included(json!(1)), Bound::Included(json!(1)))
    );
    assert_eq!(range(json!({"a": 1}), "b"), None);
    assert_eq!(
        range(json!({"a": {"b": {"$gt": 1}}}), "a.b"),
        between(Bound::Excluded(json!(1)), Bound::Unbounded)
    );
    assert_eq!(
        range(
            json!({"a": {"$gt": 1, "$gte": 1, "$lt": 9, "$lte": 8}, "b": 3}),
            "a"
        ),
        between(Bound::Excluded(json!(1)), Bound::Included(json!(8)))
    );
    assert_eq!(
        range(json!({"$not": {"a": {"$gte": 5}}}), "a"),
        between(Bound::Unbounded, Bound::Excluded(json!(5)))
    );
    assert_eq!(range(json!({"a": {"$exists": false}}), "a"), None);
    assert_eq!(
        range(json!({"a": {"$exists": true}}), "a"),
        Some(Range::FULL)
    );
    assert_eq!(range(json!({"a": {"$ne": 1}}), "a"), Some(Range::FULL));
    assert_eq!(range(json!({"$or": [{"a": 1}, {"a": 2}]}), "a"), None);
    assert_eq!(range(json!({"a": {"$elemMatch": {"b": 1}}}), "b"), None);
    assert_eq!(
        range(json!({"a": {"$beginsWith": "x"}}), "a"),
        between(Bound::Included(json!("x")), Bound::Excluded(json!([])))
    );
    assert_eq!(
        range(json!({"_id": {"$beginsWith": "x"}}), "_id"),
        between(Bound::Included(json!("x")), Bound::Excluded(json!("y")))
    );
}

/// The rules said once more, without a tree: where the negation is decides as the JSON is read.
mod naive {
    use super::*;

    #[derive(Clone, Copy)]
    pub(super) struct At<'a> {
        pub(super) path: &'a str,
        pub(super) raw: bool,
        pub(super) negated: bool,
        pub(super) inside: bool,
    }

    pub(super) fn holds(selector: &Value, document: &Value, at: At<'_>) -> bool {
        let negate = At {
            negated: !at.negated,
            ..at
        };
        let all = |selectors: &[Value], at: At<'_>| {
            selectors
                .iter()
                .all(|selector| holds(selector, document, at))
        };
        let any = |selectors: &[Value], at: At<'_>| {
            selectors.is_empty()
                || selectors
                    .iter()
                    .any(|selector| holds(selector, document, at))
        };
        let singles: Vec<(&String, &Value)> = selector.as_object().into_iter().flatten().collect();
        match singles.as_slice() {
            [] => condition("$eq", selector, document, at),
            [(name, argument)] => {
                let list = argument.as_array().map_or(&[][..], Vec::as_slice);
                match (name.as_str(), at.negated) {
                    ("$and", false) | ("$or", true) => all(list, at),
                    ("$and", true) | ("$or", false) => any(list, at),
                    ("$nor", _) if at.inside => {
                        list.iter().all(|selector| !holds(selector, document, at))
                    }
                    ("$nor", false) => all(list, negate),
                    ("$nor", true) => any(list, negate),
                    ("$not", _) if at.inside => !holds(argument, document, at),
                    ("$not", _) => holds(argument, document, negate),
                    (operator, _) if operator.starts_with('$') => {
                        condition(operator, argument, document, at)
                    }
                    (field, _) if at.path.is_empty() => {
                        holds(argument, document, At { path: field, ..at })
                    }
                    (field, _) => holds(
                        argument,
                        document,
                        At {
                            path: &format!("{}.{field}", at.path),
                            ..at
                        },
                    ),
                }
            }
            several => {
                let singles: Vec<Value> = several
                    .iter()
                    .map(|(name, member)| json!({*name: member}))
                    .collect();
                if at.negated {
                    any(&singles, at)
                } else {
                    all(&singles, at)
                }
            }
        }
    }

    fn condition(operator: &str, argument: &Value, document: &Value, at: At<'_>) -> bool {
        let wanted_missing = operator == "$exists" && argument.as_bool() == Some(at.negated);
        let mut value = document;
        for step in at.path.split('.').filter(|step| !step.is_empty()) {
            let next = match value {
                Value::Object(members) => match members.get(step) {
                    None => return wanted_missing,
                    found => found,
                },
                Value::Array(elements) => {
                    step.parse::<usize>().ok().and_then(|at| elements.get(at))
                }
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
            };
            let Some(next) = next else { return false };
            value = next;
        }
        at.negated
            != satisfied(
                operator,
                argument,
                value,
                At {
                    raw: at.raw || at.path == "_id",
                    ..at
                },
            )
    }

    fn satisfied(operator: &str, argument: &Value, value: &Value, at: At<'_>) -> bool {
        let collation = if at.raw {
            Collation::Raw
        } else {
            Collation::Unicode
        };
        let order = collation.compare(value, argument);
        let equal = |l: &Value, r: &Value| collation.compare(l, r).is_eq();
        let list = argument.as_array().map_or(&[][..], Vec::as_slice);
        let is_listed = |value: &Value| list.iter().any(|one| equal(one, value));
        let is_member = |value: &Value| {
            value.as_array().map_or_else(
                || is_listed(value),
                |elements| elements.iter().any(is_listed),
            )
        };
        let inner = At {
            path: "",
            negated: false,
            inside: true,
            ..at
        };
        match operator {
            "$lt" => order.is_lt(),
            "$lte" => order.is_le(),
            "$eq" => order.is_eq(),
            "$ne" => order.is_ne(),
            "$gte" => order.is_ge(),
            "$gt" => order.is_gt(),
            "$in" => is_member(value),
            "$nin" => !is_member(value),
            "$exists" => argument == &json!(true),
            "$size" => {
                value.as_array().map(|elements| json!(elements.len())) == Some(argument.clone())
            }
            "$beginsWith" => value
                .as_str()
                .is_some_and(|text| text.starts_with(argument.as_str().unwrap())),
            "$elemMatch" => value.as_array().is_some_and(|elements| {
                elements
                    .iter()
                    .any(|element| holds(argument, element, inner))
            }),
            "$allMatch" => value.as_array().is_some_and(|elements| {
                !elements.is_empty()
                    && elements
                        .iter()
                        .all(|element| holds(argument, element, inner))
            }),
            "$keyMapMatch" => value.as_object().is_some_and(|members| {
                members
                    .keys()
                    .any(|key| holds(argument, &json!(key), inner))
            }),
            _ => unreachable!("{operator} is not generated"),
        }
    }
}

fn any_name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "_id", "0", "a.b", "b.0"]).prop_map(str::to_owned)
}

fn any_scalar() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!(null),
        json!(false),
        json!(true),
        json!(0),
        json!(1),
        json!(1.0),
        json!(2),
        json!("a"),
        json!("A"),
        json!("ab"),
        json!("b"),
        json!("ä"),
        json!("a\u{308}"),
    ])
}

fn any_document() -> impl Strategy<Value = Value> {
    let value = any_scalar().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            members(inner).prop_map(Value::Object),
        ]
    });
    members(value).prop_map(Value::Object)
}

fn members(
    value: impl Strategy<Value = Value>,
) -> impl Strategy<Value = serde_json::Map<String, Value>> {
    let name = prop::sample::select(vec!["a", "b", "_id"]).prop_map(str::to_owned);
    prop::collection::vec((name, value), 0..4).prop_map(|members| members.into_iter().collect())
}

fn any_selector() -> impl Strategy<Value = Value> {
    let operand = prop_oneof![
        any_scalar(),
        any_document(),
        prop::collection::vec(any_scalar(), 0..3).prop_map(Value::Array)
    ];
    let comparison = prop::sample::select(vec!["$lt", "$lte", "$eq", "$ne", "$gte", "$gt"]);
    let terminal = prop_oneof![
        any_scalar(),
        (comparison, operand.clone()).prop_map(|(operator, operand)| json!({operator: operand})),
        (
            prop::sample::select(vec!["$in", "$nin"]),
            prop::collection::vec(operand, 0..9)
        )
            .prop_map(|(operator, list)| json!({operator: list})),
        any::<bool>().prop_map(|expected| json!({"$exists": expected})),
        (0..3).prop_map(|size| json!({"$size": size})),
        prop::sample::select(vec!["", "a", "ä"]).prop_map(|prefix| json!({"$beginsWith": prefix})),
    ];
    let condition = terminal.prop_recursive(5, 24, 3, |inner| {
        prop_oneof![
            (any_name(), inner.clone()).prop_map(|(name, condition)| json!({name: condition})),
            (any_name(), inner.clone(), any_name(), inner.clone())
                .prop_map(|(n, c, m, d)| json!({n: c, m: d})),
            inner
                .clone()
                .prop_filter("not takes an object", Value::is_object)
                .prop_map(|condition| json!({"$not": condition})),
            (
                prop::sample::select(vec!["$elemMatch", "$allMatch", "$keyMapMatch"]),
                inner.clone()
            )
                .prop_filter("these take an object", |(_, condition)| condition
                    .is_object())
                .prop_map(|(operator, condition)| json!({operator: condition})),
            (
                prop::sample::select(vec!["$and", "$or", "$nor"]),
                prop::collection::vec(inner, 0..3)
            )
                .prop_map(|(operator, list)| json!({operator: list})),
        ]
    });
    let field = (any_name(), condition).prop_map(|(name, condition)| json!({name: condition}));
    field.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|selector| json!({"$not": selector})),
            (
                prop::sample::select(vec!["$and", "$or", "$nor"]),
                prop::collection::vec(inner, 0..3)
            )
                .prop_map(|(operator, list)| json!({operator: list})),
        ]
    })
}

fn any_json() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        prop::sample::select(vec![
            "$and",
            "$or",
            "$nor",
            "$not",
            "$all",
            "$elemMatch",
            "$allMatch",
            "$keyMapMatch",
            "$lt",
            "$eq",
            "$exists",
            "$type",
            "$in",
            "$nin",
            "$size",
            "$mod",
            "$regex",
            "$beginsWith",
            "$text",
            "$where",
            "a",
            "a.b",
            "_id",
            "",
            ".",
            "\\",
        ])
        .prop_map(str::to_owned),
        ".{0,3}",
    ];
    let leaf = prop_oneof![
        any_scalar(),
        ".{0,4}".prop_map(Value::String),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from)
    ];
    leaf.prop_recursive(6, 32, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((name.clone(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn matching_agrees_with_naive_evaluation(json in any_selector(), documents in prop::collection::vec(any_document(), 1..8)) {
        let selector = selector(&json);
        for document in documents {
            let at = naive::At { path: "", raw: false, negated: false, inside: false };
            prop_assert_eq!(selector.matches(&document), naive::holds(&json, &document, at), "{} on {}", json, document);
        }
    }

    #[test]
    fn a_range_holds_every_match(json in any_selector(), documents in prop::collection::vec(any_document(), 1..8), field in any_name()) {
        let selector = selector(&json);
        let collation = if field == "_id" { Collation::Raw } else { Collation::Unicode };
        for document in documents {
            if let (true, Some(range)) = (selector.matches(&document), selector.range_for(&field)) {
                let Lookup::Found(value) = FieldPath::parse(&field).unwrap().find(&document) else {
                    return Err(TestCaseError::fail(format!("{json} has {range:?} but matches {document}")));
                };
                prop_assert!(range.contains(value, collation), "{} has {:?} but matches {}", json, range, document);
            }
        }
    }

    #[test]
    fn a_prefix_range_holds_every_string_with_the_prefix(prefix in "\\PC{0,3}", rest in ".{0,3}", field in prop::sample::select(vec!["a", "_id"])) {
        let collation = if field == "_id" { Collation::Raw } else { Collation::Unicode };
        let range = selector(&json!({field: {"$beginsWith": prefix}})).range_for(field).unwrap();
        prop_assert!(range.contains(&json!(prefix.clone() + &rest), collation), "{}{} in {:?}", prefix, rest, range);
        prop_assert!(range.contains(&json!(prefix), collation));
    }

    #[test]
    fn nothing_panics(json in any_json(), document in any_json()) {
        match Selector::parse(&json) {
            Ok(selector) => {
                let _matches = selector.matches(&document);
                let _range = selector.range_for("a");
            }
            Err(error) => prop_assert!(!error.reason().is_empty() && error.reason().len() < 4096),
        }
    }
}
