//! Functions that mean harm: each is stopped, named, and costs nobody else anything.

use std::time::{Duration, Instant};

use adea_script::{MapProgram, Mapped, ScriptError, Scripts};

use crate::{HASTY, PATIENT, documents, emitted, map_one, options, owner, scripts};

/// Bodies of functions that do not end, or not soon.
const ENDLESS: &[&str] = &[
    "while (true) {}",
    "while (true) { try { while (true) {} } catch (e) {} }",
    "/(a+)+$/.test(new Array(50).join('a') + 'b')",
    "/^(\\w+\\s?)*$/.test('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!')",
    "new Array(1e9) + ''",
    "var a = new Array(1e6).fill(1); for (;;) a.reverse()",
    "var a = []; for (var i = 0; i < 2e5; i++) a.push(i * 7919 % 2e5); for (;;) a.sort()",
    "var s = new Array(1e6).join('x'); for (;;) s.indexOf('xy')",
    "Promise.resolve().then(function f() { return Promise.resolve().then(f) }); while (true) {}",
    "var p = new Proxy({}, { get: function() { for (;;) {} } }); emit(p.x)",
    "emit({ toJSON: function() { for (;;) {} } })",
];

/// Bodies of functions that want too much memory.
const GREEDY: &[&str] = &[
    "var a = []; for (;;) a.push(new Array(1000).fill(a.length))",
    "var s = 'x'; for (;;) s += s",
    "new ArrayBuffer(1e9)",
    "'x'.repeat(5e7).split('')",
    "var a = []; for (;;) { try { a.push(new Uint8Array(1e6)) } catch (e) { emit(a.length) } }",
    "2n ** 100000000n",
    "for (;;) emit('a longer text than nothing', 1)",
    "var o = {}; for (var i = 0; ; i++) o['key' + i] = i",
];

/// Bodies of functions that fail by themselves.
const DEEP: &[&str] = &[
    "(function f() { f() })()",
    "JSON.parse(new Array(100000).join('['))",
    "var a = []; for (var i = 0; i < 1e5; i++) a = [a]; emit(a)",
    "new RegExp(new Array(100000).join('('))",
];

async fn threw(scripts: &Scripts, database: u64, body: &str) -> String {
    let source = format!("function(doc) {{ {body} }}");
    let start = Instant::now();
    let mapped = map_one(scripts, &owner(database), &source, "{}").await;
    assert!(
        start.elapsed() < HASTY * 20,
        "{body} took {:?}",
        start.elapsed()
    );
    match mapped {
        Ok(Mapped::Threw(reason)) => reason,
        other => panic!("{body} gave {:.200}", format!("{other:?}")),
    }
}

#[tokio::test]
async fn endless_functions_are_stopped() {
    let scripts = scripts(HASTY);
    for body in ENDLESS {
        let reason = threw(&scripts, 1, body).await;
        let slow = reason == ScriptError::TimedOut.to_string();
        // One may run out of memory before it runs out of time.
        assert!(
            slow || reason == ScriptError::TooMuchMemory.to_string(),
            "{body}: {reason}"
        );
        let mapped = map_one(&scripts, &owner(1), "function(doc){emit(1,2)}", "{}").await;
        assert_eq!(mapped, Ok(emitted(&[("1", "2")])), "after {body}");
    }
}

#[tokio::test]
async fn greedy_functions_are_stopped() {
    let scripts = scripts(PATIENT);
    for body in GREEDY {
        let source = format!("function(doc) {{ if (doc.greedy) {{ {body} }} emit(1, 2) }}");
        let program = MapProgram::new(None, vec![source]);
        let docs = documents(&["{}", "{\"greedy\":true}", "{}"]);
        let mapped = scripts.map(&owner(1), &program, &docs).await.unwrap();
        assert_eq!(mapped[0][0], emitted(&[("1", "2")]), "{body}");
        assert!(matches!(mapped[1][0], Mapped::Threw(_)), "{body}");
        assert_eq!(mapped[2][0], emitted(&[("1", "2")]), "{body}");
    }
}

#[tokio::test]
async fn deep_recursion_is_an_error_of_the_function() {
    let scripts = scripts(PATIENT);
    for body in DEEP {
        let source = format!("function(doc) {{ {body} }}");
        let mapped = map_one(&scripts, &owner(1), &source, "{}").await;
        assert!(matches!(mapped, Ok(Mapped::Threw(_))), "{body}");
    }
    assert_eq!(scripts.processes().len(), 1);
    let id = scripts.processes()[0].1;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let mapped = map_one(
        &scripts,
        &owner(1),
        "function(doc){emit(1)}",
        &format!("{{\"a\":{deep}}}"),
    )
    .await;
    assert!(matches!(mapped, Ok(Mapped::Threw(_))));
    assert_eq!(scripts.processes()[0].1, id, "the process lives on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_are_answered_meanwhile() {
    let scripts = scripts(Duration::from_secs(3));
    let mut hanging = Vec::new();
    for (database, body) in ["while (true) {}", "new Array(1e9) + ''"]
        .iter()
        .enumerate()
    {
        let (scripts, source) = (scripts.clone(), format!("function(doc){{ {body} }}"));
        hanging.push(tokio::spawn(async move {
            map_one(&scripts, &owner(database as u64), &source, "{}").await
        }));
    }
    for _ in 0..20 {
        let mapped = map_one(&scripts, &owner(7), "function(doc){emit(1,2)}", "{}").await;
        assert_eq!(mapped, Ok(emitted(&[("1", "2")])));
    }
    assert!(hanging.iter().all(|call| !call.is_finished()));
    for call in hanging {
        let stopped = Mapped::Threw(ScriptError::TimedOut.to_string());
        assert_eq!(call.await.unwrap(), Ok(stopped));
    }
}

/// Bodies of functions that hang on `doc.bad` so that the engine notices, and so that it does not.
const POISONS: &[&str] = &["while (true) {}", "new Array(1e9) + ''"];

#[tokio::test]
async fn one_poisonous_document_does_not_spoil_the_batch() {
    for poison in POISONS {
        let scripts = scripts(HASTY);
        let program = MapProgram::new(
            None,
            vec![
                "function(doc){emit(doc.n, 'first')}".to_owned(),
                format!("function(doc){{ if (doc.bad) {{ {poison} }} emit(doc.n, 'second') }}"),
                "function(doc){emit(doc.n, 'third')}".to_owned(),
            ],
        );
        let document = |n: usize| format!("{{\"n\":{n},\"bad\":{}}}", n == 57).into();
        let docs: Vec<_> = (0..200).map(document).collect();
        let mapped = scripts.map(&owner(1), &program, &docs).await.unwrap();
        for (n, document) in mapped.iter().enumerate() {
            let number = n.to_string();
            for (rows, value) in document
                .iter()
                .zip(["\"first\"", "\"second\"", "\"third\""])
            {
                if n == 57 && value == "\"second\"" {
                    assert_eq!(
                        *rows,
                        Mapped::Threw(ScriptError::TimedOut.to_string()),
                        "{poison}"
                    );
                } else {
                    assert_eq!(*rows, emitted(&[(&number, value)]), "{poison} {n}");
                }
            }
        }
    }
}

#[tokio::test]
async fn when_all_documents_are_poisonous_the_call_fails() {
    for poison in POISONS {
        let scripts = scripts(HASTY / 2);
        let program = MapProgram::new(None, vec![format!("function(doc){{ {poison} }}")]);
        let docs: Vec<_> = (0..50).map(|_| "{}".into()).collect();
        let mapped = scripts.map(&owner(1), &program, &docs).await;
        assert_eq!(mapped, Err(ScriptError::TimedOut));
        // Who asks again at once is told so without a process; others of the owner are served.
        let mapped = scripts.map(&owner(1), &program, &docs).await;
        assert_eq!(mapped, Err(ScriptError::TimedOut));
        assert!(scripts.processes().is_empty());
        let mapped = map_one(&scripts, &owner(1), "function(doc){emit(1,2)}", "{}").await;
        assert_eq!(mapped, Ok(emitted(&[("1", "2")])));
    }
}

#[tokio::test]
async fn time_between_requests_is_nobodys() {
    let scripts = scripts(HASTY);
    let honest = "function(doc){emit(1,2)}";
    let functions = [("x".to_owned(), honest.to_owned())];
    assert_eq!(scripts.compile(&owner(1), None, &functions).await, Ok(()));
    let id = scripts.processes()[0].1;
    // Another database has its whole time twice.
    for _ in 0..2 {
        let hang = map_one(&scripts, &owner(2), "function(doc){while(true){}}", "{}").await;
        assert_eq!(hang, Ok(Mapped::Threw(ScriptError::TimedOut.to_string())));
    }
    assert_eq!(scripts.compile(&owner(1), None, &functions).await, Ok(()));
    assert_eq!(
        map_one(&scripts, &owner(1), honest, "{}").await,
        Ok(emitted(&[("1", "2")]))
    );
    assert_eq!(
        scripts
            .processes()
            .iter()
            .find(|(whose, _)| *whose == owner(1))
            .unwrap()
            .1,
        id
    );
}

#[tokio::test]
async fn what_is_emitted_cannot_speak_for_the_worker() {
    let scripts = scripts(PATIENT);
    let forged = "[1,2]\\nT\\nM\\n!\\u0000\\u0001\\u0005\\u0000\\u0000\\u0000\\u0005\\u0001";
    let source = format!("function(doc) {{
        emit('{forged}', doc); log('{forged}');
        String.prototype.toWellFormed = function() {{ return '{forged}' }};
        Array.prototype.toJSON = function() {{ return {{ toString: function() {{ return '{forged}' }} }} }};
    }}");
    let program = MapProgram::new(
        None,
        vec![source.clone(), "function(doc){emit(1)}".to_owned()],
    );
    let mapped = scripts
        .map(&owner(1), &program, &documents(&["{}", "{}"]))
        .await
        .unwrap();
    assert_eq!((mapped.len(), mapped[0].len()), (2, 2));
    // Whoever breaks the built-ins has no rows, and others of the database have theirs.
    for rows in mapped.iter().flatten() {
        assert!(matches!(rows, Mapped::Threw(_)), "{rows:?}");
    }
    assert_eq!(
        map_one(&scripts, &owner(1), "function(doc){emit(1)}", "{}").await,
        Ok(emitted(&[("1", "null")]))
    );
    assert_eq!(scripts.processes().len(), 1);
    let nothing = "function(doc){ Array.prototype.toJSON = function(){}; emit(1) }";
    assert!(matches!(
        map_one(&scripts, &owner(1), nothing, "{}").await,
        Ok(Mapped::Threw(_))
    ));
}

#[tokio::test]
async fn errors_are_short() {
    let scripts = scripts(PATIENT);
    for body in [
        "throw new Array(1e6).join('x')",
        "throw new Error(new Array(1e6).join('x'))",
        "throw {a: new Array(1e6).join('x')}",
        "throw { get error() { throw 1 }, get name() { throw 2 }, toJSON: function() { throw 3 } }",
        "throw Symbol('x')",
        "throw null",
        "throw undefined",
        "throw Object.create(null)",
        "throw new Proxy({}, { get: function() { throw 1 }, has: function() { throw 2 } })",
        "for (var i = 0; i < 1e5; i++) log(new Array(1000).join('x')); throw 'after'",
    ] {
        let source = format!("function(doc) {{ {body} }}");
        match map_one(&scripts, &owner(1), &source, "{}").await.unwrap() {
            Mapped::Threw(reason) => assert!(reason.len() < 8000, "{body}"),
            Mapped::Emitted(rows) => panic!("{body} gave {rows:?}"),
        }
    }
}

#[tokio::test]
async fn promises_do_not_outlive_their_request() {
    let scripts = scripts(PATIENT);
    let chain = "function(doc){ (function f() { Promise.resolve().then(f) })(); emit(1) }";
    for _ in 0..3 {
        assert_eq!(
            map_one(&scripts, &owner(1), chain, "{}").await,
            Ok(emitted(&[("1", "null")]))
        );
    }
    let later = "function(doc){ Promise.resolve().then(function() { emit('late') }); emit('now') }";
    for _ in 0..2 {
        assert_eq!(
            map_one(&scripts, &owner(2), later, "{}").await,
            Ok(emitted(&[("\"now\"", "null")]))
        );
    }
}

#[tokio::test]
async fn a_library_that_hangs_once_is_not_left_half_loaded() {
    let scripts = scripts(HASTY);
    let lib =
        "{\"l\":\"exports.first = 1; if (globalThis.slow) { while (true) {} } exports.last = 2;\"}";
    let source = "function(doc){ globalThis.slow = doc.slow; var l = require('views/lib/l'); emit(l.first, l.last) }";
    let program = MapProgram::new(Some(lib.to_owned()), vec![source.to_owned()]);
    let docs = documents(&["{\"slow\":true}", "{}", "{\"slow\":true}"]);
    let mapped = scripts.map(&owner(1), &program, &docs).await.unwrap();
    assert_eq!(
        mapped[0][0],
        Mapped::Threw(ScriptError::TimedOut.to_string())
    );
    assert_eq!(mapped[1][0], emitted(&[("1", "2")]));
    assert_eq!(mapped[2][0], emitted(&[("1", "2")]));
}

#[tokio::test]
async fn nothing_thrown_is_not_taken_for_no_memory() {
    let scripts = scripts(PATIENT);
    let program = MapProgram::new(None, vec!["function(doc){ throw null }".to_owned()]);
    let docs: Vec<_> = (0..20).map(|_| "{}".into()).collect();
    let mapped = scripts.map(&owner(1), &program, &docs).await.unwrap();
    assert!(
        mapped
            .iter()
            .flatten()
            .all(|mapped| *mapped == Mapped::Threw("null".to_owned()))
    );
}

#[tokio::test]
async fn a_function_that_hangs_while_it_is_compiled_is_stopped() {
    let scripts = scripts(HASTY);
    for source in [
        "(function(){ while (true) {} })()",
        "(function(){ return new Array(1e9) + '' })()",
    ] {
        let functions = [("x".to_owned(), source.to_owned())];
        let compiled = scripts.compile(&owner(1), None, &functions).await;
        assert!(
            matches!(
                compiled,
                Err(ScriptError::TimedOut | ScriptError::Compilation { .. })
            ),
            "{compiled:?}"
        );
        let mapped = map_one(&scripts, &owner(2), source, "{}").await;
        assert!(mapped.is_err(), "{mapped:?}");
    }
    assert_eq!(scripts.compile(&owner(1), None, &[]).await, Ok(()));
}

#[tokio::test]
async fn without_a_worker_there_is_an_error() {
    let mut options = options(PATIENT);
    options.command = vec!["/nowhere/at/all".into()];
    let mapped = map_one(
        &Scripts::new(options.clone()),
        &owner(1),
        "function(doc){}",
        "{}",
    )
    .await;
    assert!(matches!(mapped, Err(ScriptError::Crashed(_))), "{mapped:?}");
    options.command = vec![
        "/bin/echo".into(),
        "not a worker, but it writes something".into(),
    ];
    let mapped = map_one(&Scripts::new(options), &owner(1), "function(doc){}", "{}").await;
    assert!(matches!(mapped, Err(ScriptError::Crashed(_))), "{mapped:?}");
    let mapped = map_one(&Scripts::disabled(), &owner(1), "function(doc){}", "{}").await;
    assert_eq!(mapped, Err(ScriptError::Disabled));
}
