//! Map and reduce functions.

use std::sync::Arc;

use adea_script::{MapProgram, Mapped, ReduceCall, ReduceProgram, ScriptError};

use crate::{PATIENT, documents, emitted, map_one, owner, scripts};

/// Keys and values, as JSON.
type Rows = &'static [(&'static str, &'static str)];

/// A function, a document, and the rows.
const MAPS: &[(&str, &str, Rows)] = &[
    (
        "function(doc){emit(doc._id, doc.n)}",
        r#"{"_id":"a","n":1.0}"#,
        &[("\"a\"", "1")],
    ),
    ("function(doc){emit()}", "{}", &[("null", "null")]),
    (
        "function(doc){emit(undefined, NaN); emit(function(){}, new Date(0))}",
        "{}",
        &[("null", "null"), ("null", "\"1970-01-01T00:00:00.000Z\"")],
    ),
    ("function(doc){}", "{}", &[]),
    (
        "function(doc){emit([doc.a, {b: 'x\\ny'}], '\\u2028')}",
        r#"{"a":[1,[2]]}"#,
        &[("[[1,[2]],{\"b\":\"x\\ny\"}]", "\"\u{2028}\"")],
    ),
    (
        "function(doc){emit('\\ud800', '\\ud83d\\ude00')}",
        "{}",
        &[("\"\u{fffd}\"", "\"\u{1f600}\"")],
    ),
    (
        "function(doc){var o = {n: 1}; emit(o, 0); o.n = 2}",
        "{}",
        &[("{\"n\":2}", "0")],
    ),
    (
        "function(doc){doc.n = 2; delete doc.n; emit(doc.n, null)}",
        r#"{"n":1}"#,
        &[("1", "null")],
    ),
    (
        "function(doc){emit(sum([1,2,3]), sum({a:1,b:2})); emit(isArray([]), isArray({}))}",
        "{}",
        &[("6", "3"), ("true", "false")],
    ),
    (
        "function(doc){emit(toJSON({a:[1]}), typeof log('x') )}",
        "{}",
        &[("\"{\\\"a\\\":[1]}\"", "\"undefined\"")],
    ),
    (
        "function(doc){emit(doc.big, -0)}",
        r#"{"big":12345678901234567890}"#,
        &[("12345678901234567000", "0")],
    ),
    (
        "function(doc){emit(doc.__proto__, doc.constructor)}",
        r#"{"__proto__":1,"constructor":2}"#,
        &[("1", "2")],
    ),
    (
        "function(doc){emit(typeof std + typeof os + typeof print + typeof process, typeof setTimeout)}",
        "{}",
        &[("\"undefinedundefinedundefinedundefined\"", "\"undefined\"")],
    ),
    (
        "function(doc){emit(new Date(2020, 0, 1).toISOString(), typeof Math.random())}",
        "{}",
        &[("\"2020-01-01T00:00:00.000Z\"", "\"number\"")],
    ),
];

#[tokio::test]
async fn rows_are_those_of_couchdb() {
    let scripts = scripts(PATIENT);
    for (source, document, rows) in MAPS {
        let mapped = map_one(&scripts, &owner(1), source, document)
            .await
            .unwrap();
        assert_eq!(mapped, emitted(rows), "{source}");
    }
}

#[tokio::test]
async fn a_source_may_have_anything_around_its_function() {
    let scripts = scripts(PATIENT);
    for source in [
        "function(doc){emit(1,2)};",
        "function(doc){emit(1,2)} ;; \n // the end",
        "// the beginning\n/* of it */ function(doc){emit(1,2)}",
        "function map(doc){emit(1,2)}",
        "(function(doc){emit(1,2)})",
        "(doc) => { emit(1,2) }",
        "doc => emit(1,2);",
        "\n\n  function (doc)\n  {\n emit(1,2);\n }\n\n",
        "var f = function(doc){emit(1,2)}; f",
        "function(doc){'http://x'; emit(1,2)} // http://y",
    ] {
        assert_eq!(
            map_one(&scripts, &owner(1), source, "{}").await.unwrap(),
            emitted(&[("1", "2")]),
            "{source}"
        );
    }
}

#[tokio::test]
async fn what_is_no_function_does_not_compile() {
    let scripts = scripts(PATIENT);
    let compile = async |lib: Option<&str>, source: &str| {
        let functions = [
            ("good".to_owned(), "function(){}".to_owned()),
            ("bad".to_owned(), source.to_owned()),
        ];
        scripts.compile(&owner(1), lib, &functions).await
    };
    let reason = |result: Result<(), ScriptError>| match result {
        Err(ScriptError::Compilation { name, reason }) if name == "bad" => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(compile(None, "function(doc){}").await, Ok(()));
    assert_eq!(
        reason(compile(None, "1+1").await),
        "Expression does not eval to a function. (1+1)"
    );
    assert_eq!(
        reason(compile(None, "{}").await),
        "Expression does not eval to a function. ({})"
    );
    let syntax = reason(compile(None, "function(").await);
    assert!(
        syntax.starts_with("SyntaxError: ") && syntax.ends_with(" (function()"),
        "{syntax}"
    );
    let old = reason(compile(None, "function(doc){for each (x in doc) {}}").await);
    assert!(old.starts_with("SyntaxError: "), "{old}");
    let long = reason(compile(None, &format!("'{}'", "x".repeat(100_000))).await);
    assert!(long.len() < 10_000);
    assert!(matches!(
        compile(None, "").await,
        Err(ScriptError::Missing(_))
    ));
    // The process is none the worse for it.
    assert_eq!(
        compile(Some(r#"{"a":"exports.x = 1"}"#), "function(doc){}").await,
        Ok(())
    );
}

#[tokio::test]
async fn each_function_has_its_own_rows_and_errors() {
    let scripts = scripts(PATIENT);
    let program = MapProgram::new(
        None,
        vec![
            "function(doc){emit(doc.tags.length, 1)}".to_owned(),
            "function(doc){emit(1); if (doc.bad) throw new TypeError('no ' + doc._id)}".to_owned(),
            "function(doc){doc.tags.push('x'); emit(doc.tags, 3)}".to_owned(),
            "function(doc){var t = doc.tags.slice(); t.push('x'); emit(t.length, 4)}".to_owned(),
            "function(doc){var o = {}; o.o = o; emit(o)}".to_owned(),
        ],
    );
    let docs = documents(&[
        r#"{"_id":"a","tags":[]}"#,
        r#"{"_id":"b","tags":[1],"bad":true}"#,
    ]);
    let mapped = scripts.map(&owner(1), &program, &docs).await.unwrap();
    let one = |mapped: &Mapped, expected: &str| match mapped {
        Mapped::Threw(reason) => assert!(reason.contains(expected), "{reason}"),
        Mapped::Emitted(rows) => panic!("{rows:?}"),
    };
    assert_eq!(mapped.len(), 2);
    for (document, length) in mapped.iter().zip(["0", "1"]) {
        assert_eq!(document.len(), 5);
        assert_eq!(document[0], emitted(&[(length, "1")]));
        one(&document[2], "TypeError");
        one(&document[4], "circular");
    }
    assert_eq!(mapped[0][1], emitted(&[("1", "null")]));
    one(&mapped[1][1], "TypeError: no b");
    assert_eq!(mapped[0][3], emitted(&[("1", "4")]));
}

/// Ways to change a document, none of which may be seen by the next function.
const CHANGES: &[&str] = &[
    "doc.n = 2",
    "doc . n  += 1",
    "doc['n'] = 2",
    "doc.n++",
    "--doc.n",
    "++(doc.n)",
    "var d = doc; d.n = 2",
    "[doc.n] = [2]",
    "({a: doc.n} = {a: 2})",
    "for (doc.n of [2]);",
    "for (doc.n in {x: 1});",
    "delete doc.n",
    "doc.n ||= 2; doc.n &&= 2; doc.m ??= 2",
    "doc.n >>>= 1",
    "Object.assign(doc, {n: 2})",
    "Object.defineProperty(doc, 'n', {value: 2})",
    "doc.list.push(2)",
    "doc.list.length = 0",
    "doc.list.sort()",
    "[].push.call(doc.list, 2)",
    "doc.list.concat([2]).forEach(doc.list.push, doc.list)",
    "doc.list['pu' + 'sh'](2)",
    "doc.inner.list[0] /* here */ = 2",
    "Reflect.set(doc, 'n', 2)",
    "doc.__proto__ = {n: 2}",
    "(function () { doc.n = 2 })()",
    "doc.\\u006e = 2",
];

#[tokio::test]
async fn no_function_changes_what_the_next_one_sees() {
    let scripts = scripts(PATIENT);
    let look = "function(doc){emit(doc.n, [doc.m, doc.list, doc.inner, Object.keys(doc).length])}";
    let document = documents(&[r#"{"n":1,"list":[3,1],"inner":{"list":[1]}}"#]);
    for change in CHANGES {
        let change = format!("function(doc) {{ {change} }}");
        let program = MapProgram::new(None, vec![change.clone(), look.to_owned()]);
        let mapped = scripts.map(&owner(1), &program, &document).await.unwrap();
        let expected = emitted(&[("1", "[null,[3,1],{\"list\":[1]},3]")]);
        assert_eq!(mapped[0][1], expected, "after {change}");
    }
}

#[tokio::test]
async fn large_batches_come_back_in_order() {
    let scripts = scripts(PATIENT);
    let program = MapProgram::new(
        None,
        vec![
            "function(doc){emit(doc.n, doc.text)}".to_owned(),
            "function(doc){if (doc.n % 3 == 0) emit(doc.n, null)}".to_owned(),
        ],
    );
    let filler = "long ".repeat(1000);
    let docs: Vec<_> = (0..3000)
        .map(|n| {
            format!(
                "{{\"n\":{n},\"text\":\"{}\"}}",
                if n % 10 == 0 { &filler } else { "" }
            )
            .into()
        })
        .collect();
    let mapped = scripts.map(&owner(1), &program, &docs).await.unwrap();
    assert_eq!(mapped.len(), 3000);
    for (n, document) in mapped.iter().enumerate() {
        let text = if n % 10 == 0 {
            format!("\"{filler}\"")
        } else {
            "\"\"".to_owned()
        };
        assert_eq!(document[0], emitted(&[(&n.to_string(), &text)]));
        let third = n.to_string();
        assert_eq!(
            document[1],
            emitted(
                if n % 3 == 0 {
                    vec![(third.as_str(), "null")]
                } else {
                    Vec::new()
                }
                .as_slice()
            )
        );
    }
}

#[tokio::test]
async fn libraries_are_required() {
    let lib = r#"{"a":"exports.one = 1; exports.b = require('./b');","b":"exports.id = module.id; exports.up = require('../lib/deep/c').c;",
        "deep":{"c":"module.exports = {c: require('../d')}"},"d":"module.exports = 'd'","loop":"exports.self = require('./loop'); exports.done = true;",
        "broken":"syntax error here","throws":"throw new Error('at load')","object":{}}"#;
    let map = |source: &str| MapProgram::new(Some(lib.to_owned()), vec![source.to_owned()]);
    let scripts = scripts(PATIENT);
    let run = async |program: Arc<MapProgram>| {
        scripts
            .map(&owner(1), &program, &documents(&["{}"]))
            .await
            .map(|mut mapped| mapped.remove(0).remove(0))
    };
    let source = "function(doc){var a = require('views/lib/a'); emit(a.one, [a.b.id, a.b.up])}";
    assert_eq!(
        run(map(source)).await.unwrap(),
        emitted(&[("1", r#"["views/lib/b","d"]"#)])
    );
    let source = "function(doc){var l = require('views/lib/loop'); emit(l.done, l.self === l)}";
    assert_eq!(
        run(map(source)).await.unwrap(),
        emitted(&[("true", "true")])
    );
    for (path, expected) in [
        ("views/lib/none", "invalid_require_path"),
        ("nowhere", "invalid_require_path"),
        ("views/lib/object", "Must require a JavaScript string"),
        ("./a", "Object has no parent"),
        ("views/lib/broken", "raised error"),
        ("views/lib/throws", "at load"),
        ("views/lib/constructor", "invalid_require_path"),
    ] {
        let mapped = run(map(&format!("function(doc){{emit(require('{path}'))}}")))
            .await
            .unwrap();
        assert!(
            matches!(&mapped, Mapped::Threw(reason) if reason.contains(expected)),
            "{path}: {mapped:?}"
        );
    }
    let broken = MapProgram::new(
        Some("function".to_owned()),
        vec!["function(doc){}".to_owned()],
    );
    assert!(
        matches!(run(broken).await, Err(ScriptError::Threw { error, .. }) if error == "SyntaxError")
    );
}

#[tokio::test]
async fn a_function_may_end_the_whole_call() {
    let scripts = scripts(PATIENT);
    let fatal = map_one(
        &scripts,
        &owner(1),
        "function(doc){throw 'fatal_error'}",
        "{}",
    )
    .await;
    assert_eq!(
        fatal,
        Err(ScriptError::Threw {
            error: "map_runtime_error".to_owned(),
            reason: "function raised 'fatal_error'".to_owned(),
        })
    );
    let fatal = map_one(
        &scripts,
        &owner(1),
        "function(doc){throw ['fatal','mine','because']}",
        "{}",
    )
    .await;
    assert_eq!(
        fatal,
        Err(ScriptError::Threw {
            error: "mine".to_owned(),
            reason: "because".to_owned()
        })
    );
    assert_eq!(
        map_one(&scripts, &owner(1), "function(doc){emit(1)}", "{}").await,
        Ok(emitted(&[("1", "null")]))
    );
}

#[tokio::test]
async fn programs_of_one_process_do_not_see_each_other() {
    let scripts = scripts(PATIENT);
    let poison = "function(doc){ Array.prototype.push = function(){}; JSON.stringify = function(){ return 'x' };
        JSON.parse = null; Object.freeze = null; String = null; Array.isArray = null; globalThis.emit = null;
        Object.prototype.toJSON = function(){ return 'poison' }; }";
    for _ in 0..2 {
        map_one(&scripts, &owner(1), poison, "{}").await.unwrap();
    }
    let mapped = map_one(
        &scripts,
        &owner(1),
        "function(doc){emit([doc._id], {a:1})}",
        r#"{"_id":"a"}"#,
    )
    .await;
    assert_eq!(mapped, Ok(emitted(&[("[\"a\"]", "{\"a\":1}")])));
    assert_eq!(scripts.processes().len(), 1);
}

fn call(function: usize, keys: Option<&[&str]>, values: &[&str]) -> ReduceCall {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    ReduceCall {
        function,
        keys: keys.map(owned),
        values: owned(values),
    }
}

#[tokio::test]
async fn reduces_are_those_of_couchdb() {
    let scripts = scripts(PATIENT);
    let sources = [
        "function(keys, values, rereduce) { return [keys, values, rereduce] }",
        "function(keys, values) { return sum(values) }",
        "function(keys, values) { throw new Error('never mind') }",
        "function(keys, values) {}",
        "function(keys, values) { throw ['fatal', 'e', 'r'] }",
    ];
    let program = ReduceProgram::new(None, sources.map(str::to_owned).to_vec());
    let keys: &[&str] = &["[\"k\",\"id\"]", "[[1],\"id2\"]"];
    let calls = vec![
        call(0, Some(keys), &["1", "{\"a\":null}"]),
        call(0, None, &["1"]),
        call(1, Some(keys), &["1.5", "2"]),
        call(2, Some(keys), &["1", "2"]),
        call(3, Some(keys), &["1", "2"]),
        call(1, None, &[]),
        call(9, None, &[]),
    ];
    let results = scripts.reduce(&owner(1), &program, calls).await.unwrap();
    let good: Vec<_> = results[..6]
        .iter()
        .map(|result| result.as_deref().unwrap())
        .collect();
    let first = "[[[\"k\",\"id\"],[[1],\"id2\"]],[1,{\"a\":null}],false]";
    assert_eq!(good, [first, "[null,[1],true]", "3.5", "null", "null", "0"]);
    assert_eq!(results[6], Err("missing function".to_owned()));
    let fatal = scripts
        .reduce(&owner(1), &program, vec![call(4, None, &["1"])])
        .await;
    let expected = ScriptError::Threw {
        error: "e".to_owned(),
        reason: "r".to_owned(),
    };
    assert_eq!(fatal, Err(expected));
}

#[tokio::test]
async fn reduces_must_shrink() {
    let scripts = scripts(PATIENT);
    let source = "function(keys, values) { return values.join('') + new Array(300).join('x') }";
    let program = ReduceProgram::new(None, vec![source.to_owned()]);
    let grows = scripts
        .reduce(&owner(1), &program, vec![call(0, None, &["\"a\""])])
        .await
        .unwrap();
    let reason = grows[0].as_ref().unwrap_err();
    let begin = "Reduce output must shrink more rapidly: Current output: '[\"axxx";
    assert!(reason.starts_with(begin), "{reason}");
    assert!(
        reason.ends_with("'... (first 100 of 304 bytes)"),
        "{reason}"
    );
    let many = vec!["\"a\""; 400];
    let shrinks = scripts
        .reduce(&owner(1), &program, vec![call(0, None, &many)])
        .await
        .unwrap();
    assert!(shrinks[0].is_ok());
}

#[tokio::test]
async fn nothing_is_nothing() {
    let scripts = scripts(PATIENT);
    let none = MapProgram::new(None, Vec::new());
    assert_eq!(
        scripts.map(&owner(1), &none, &documents(&["{}"])).await,
        Ok(vec![vec![]])
    );
    let one = MapProgram::new(None, vec!["function(doc){}".to_owned()]);
    assert_eq!(scripts.map(&owner(1), &one, &[]).await, Ok(vec![]));
    assert!(scripts.processes().is_empty());
}
