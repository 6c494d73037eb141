//! `validate_doc_update`, filters, shows, updates and rewrites.

use std::sync::Arc;

use adea_script::{DesignProgram, ScriptError, Verdict};
use bytes::Bytes;

use crate::{PATIENT, documents, owner, scripts};

/// A design document of functions: section, name, source.
fn design(functions: &[(&str, &str, &str)]) -> Arc<DesignProgram> {
    let mut ddoc = serde_json::json!({
        "_id": "_design/d", "title": "the design", "views": {},
        "lib": {"words": "exports.hello = 'hello from ' + module.id;"},
    });
    for (section, name, source) in functions {
        match *section {
            "views" => ddoc["views"][name] = serde_json::json!({"map": source}),
            "" => ddoc[name] = (*source).into(),
            section => ddoc[section][name] = (*source).into(),
        }
    }
    DesignProgram::new(ddoc.to_string())
}

#[tokio::test]
async fn edits_are_judged() {
    let scripts = scripts(PATIENT);
    let threw = |error: &str, reason: &str| Verdict::Threw {
        error: error.to_owned(),
        reason: reason.to_owned(),
    };
    for (body, expected) in [
        ("", Verdict::Accepted),
        ("return false", Verdict::Accepted),
        (
            "throw {forbidden: 'no'}",
            Verdict::Forbidden("no".to_owned()),
        ),
        (
            "throw({unauthorized: 'who?'});",
            Verdict::Unauthorized("who?".to_owned()),
        ),
        (
            "throw {forbidden: {a: [1]}}",
            Verdict::Forbidden("{\"a\":[1]}".to_owned()),
        ),
        (
            "throw {forbidden: [doc._id, old, user.name, sec.admins]}",
            Verdict::Forbidden("[\"a\",null,\"ada\",{\"names\":[]}]".to_owned()),
        ),
        (
            "throw {forbidden: this.title + require('lib/words').hello}",
            Verdict::Forbidden("the designhello from lib/words".to_owned()),
        ),
        ("throw 'a text'", threw("unknown_error", "a text")),
        ("throw {other: 'thing'}", threw("unknown_error", "thing")),
        ("throw {error: 'e', reason: 'r'}", threw("e", "r")),
        ("throw ['error', 'e', 'r']", threw("e", "r")),
        ("throw new TypeError('wrong')", threw("TypeError", "wrong")),
        (
            "nothing.at.all",
            threw("ReferenceError", "nothing is not defined"),
        ),
    ] {
        let program = design(&[(
            "",
            "validate_doc_update",
            &format!("function(doc, old, user, sec) {{ {body} }}"),
        )]);
        let call = [
            "{\"_id\":\"a\"}",
            "null",
            "{\"name\":\"ada\"}",
            "{\"admins\":{\"names\":[]}}",
        ]
        .map(Bytes::from);
        let verdicts = scripts
            .validate(&owner(1), &program, &[call.clone(), call])
            .await
            .unwrap();
        assert_eq!(verdicts, [expected.clone(), expected], "{body}");
    }
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let scripts = scripts(PATIENT);
    let program = design(&[("filters", "broken", "function("), ("filters", "five", "5")]);
    let filter = async |name: &str| {
        scripts
            .filter(&owner(1), &program, name, &documents(&["{}"]), "{}")
            .await
    };
    let missing = "missing filters function nope on design doc _design/d".to_owned();
    assert_eq!(filter("nope").await, Err(ScriptError::Missing(missing)));
    assert!(matches!(
        filter("constructor").await,
        Err(ScriptError::Missing(_))
    ));
    for name in ["broken", "five"] {
        assert!(
            matches!(filter(name).await, Err(ScriptError::Compilation { .. })),
            "{name}"
        );
    }
    let validated = scripts
        .validate(
            &owner(1),
            &program,
            &[["{}", "{}", "{}", "{}"].map(Bytes::from)],
        )
        .await;
    assert!(
        matches!(validated, Err(ScriptError::Missing(_))),
        "{validated:?}"
    );
}

#[tokio::test]
async fn documents_are_filtered() {
    let scripts = scripts(PATIENT);
    let program = design(&[
        (
            "filters",
            "f",
            "function(doc, req) { if (doc.bad) throw new Error('bad'); return this.title && doc.n == req.query.n && 'yes' }",
        ),
        (
            "views",
            "v",
            "function(doc) { if (doc.bad) throw 1; if (doc.n) emit(null) }",
        ),
    ]);
    let docs = documents(&[r#"{"n":1}"#, r#"{"n":2}"#, r#"{"bad":1}"#, "{}"]);
    let passed = scripts
        .filter(&owner(1), &program, "f", &docs, r#"{"query":{"n":"2"}}"#)
        .await
        .unwrap();
    assert_eq!(
        passed,
        [Ok(false), Ok(true), Err("bad".to_owned()), Ok(false)]
    );
    let passed = scripts
        .view_filter(&owner(1), &program, "v", &docs)
        .await
        .unwrap();
    assert_eq!(passed, [true, true, false, false]);
}

async fn show(body: &str, doc: &str, req: &str) -> Result<serde_json::Value, ScriptError> {
    let program = design(&[("shows", "s", &format!("function(doc, req) {{ {body} }}"))]);
    let arguments = [doc.to_owned(), req.to_owned()];
    let answer = scripts(PATIENT)
        .call(&owner(1), &program, &["shows", "s"], &arguments)
        .await?;
    Ok(serde_json::from_str(&answer).unwrap())
}

#[tokio::test]
async fn shows_answer_whole() {
    let html = serde_json::json!({"Content-Type": "text/html; charset=utf-8"});
    for (body, expected) in [
        (
            "return 'hi ' + doc._id",
            serde_json::json!({"code": 200, "headers": html, "body": "hi a"}),
        ),
        (
            "return {body: 'x', code: 302, headers: {Location: '/', 'X-N': 1}}",
            serde_json::json!({"code": 302, "headers": {"Content-Type": "text/html; charset=utf-8", "Location": "/", "X-N": "1"}, "body": "x"}),
        ),
        (
            "return {json: {a: 1}}",
            serde_json::json!({"code": 200, "headers": {"Content-Type": "application/json"}, "json": {"a": 1}}),
        ),
        (
            "return {base64: 'aGk=', headers: {'content-type': 'image/png'}}",
            serde_json::json!({"code": 200, "headers": {"content-type": "image/png"}, "base64": "aGk="}),
        ),
        (
            "",
            serde_json::json!({"code": 200, "headers": {"Content-Type": "application/json"}}),
        ),
        (
            "start({headers: {'X-A': 'b'}}); send('one '); send(2); return ' three'",
            serde_json::json!({"code": 200, "headers": {"Content-Type": "text/html; charset=utf-8", "X-A": "b"}, "body": "one 2 three"}),
        ),
    ] {
        assert_eq!(
            show(body, "{\"_id\":\"a\"}", "{\"path\":[]}").await,
            Ok(expected),
            "{body}"
        );
    }
}

#[tokio::test]
async fn shows_provide_what_is_accepted() {
    let body = "registerType('foo', 'application/foo', 'application/x-foo');
        provides('html', function() { return 'html of ' + doc._id });
        provides('xml', function() { return {body: '<x/>', headers: {'X-Kind': 'xml'}} });
        provides('foo', function() { return this.title });";
    for (req, kind, text) in [
        ("{}", "text/html; charset=utf-8", "html of a"),
        (
            r#"{"headers":{"Accept":"*/*"}}"#,
            "text/html; charset=utf-8",
            "html of a",
        ),
        (
            r#"{"headers":{"Accept":"text/html,application/xhtml+xml,application/xml;q=0.9"}}"#,
            "text/html; charset=utf-8",
            "html of a",
        ),
        (
            r#"{"headers":{"Accept":"application/xml, text/html;q=0.5"}}"#,
            "application/xml",
            "<x/>",
        ),
        (
            r#"{"headers":{"Accept":"application/x-foo"}}"#,
            "application/x-foo",
            "the design",
        ),
        (
            r#"{"headers":{"Accept":"text/html"},"query":{"format":"xml"}}"#,
            "application/xml",
            "<x/>",
        ),
    ] {
        let answer = show(body, "{\"_id\":\"a\"}", req).await.unwrap();
        assert_eq!(answer["headers"]["Content-Type"], kind, "{req}");
        assert_eq!(answer["body"], text, "{req}");
    }
    for req in [
        r#"{"headers":{"Accept":"image/png"}}"#,
        r#"{"query":{"format":"nope"},"headers":{}}"#,
        r#"{"headers":{"Accept":"text/html;q=0"}}"#,
    ] {
        let refused = show(body, "{\"_id\":\"a\"}", req).await;
        assert!(
            matches!(&refused, Err(ScriptError::Threw { error, reason })
            if error == "not_acceptable" && reason.contains("try one of: text/html; charset=utf-8, application/xml")),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn shows_fail_in_couchdbs_words() {
    for (body, doc, req, expected) in [
        (
            "return doc._id",
            "null",
            r#"{"path":["db","_design","d","_show","s","none"]}"#,
            "not_found",
        ),
        (
            "return doc._id",
            "null",
            r#"{"path":["db","_design","d","_show","s"]}"#,
            "render_error",
        ),
        ("throw new Error('mine')", "{}", "{}", "render_error"),
        ("throw ['error', 'own', 'words']", "{}", "{}", "own"),
        ("throw {error: 'own', reason: 'words'}", "{}", "{}", "own"),
        ("return 5", "{}", "{}", "render_error"),
        (
            "return {nonsense: 1}",
            "{}",
            "{}",
            "external_response_error",
        ),
        ("return [1]", "{}", "{}", "render_error"),
    ] {
        match show(body, doc, req).await {
            Err(ScriptError::Threw { error, .. }) => assert_eq!(error, expected, "{body}"),
            other => panic!("{body}: {other:?}"),
        }
    }
}

async fn called(
    program: &Arc<DesignProgram>,
    path: &[&str],
    arguments: &[&str],
) -> Result<String, ScriptError> {
    let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
    scripts(PATIENT)
        .call(&owner(1), program, path, &arguments)
        .await
}

#[tokio::test]
async fn updates_answer_with_a_document_and_a_response() {
    let program = design(&[
        (
            "updates",
            "u",
            "function(doc, req) {
            if (!doc) return [{_id: req.id, new: true}, 'made'];
            doc.seen = true;
            return [doc, {code: 202, json: {ok: 1}}] }",
        ),
        (
            "updates",
            "none",
            "function(doc, req) { return [null, 'nothing'] }",
        ),
        (
            "updates",
            "bad",
            "function(doc, req) { return [null, undefined] }",
        ),
        ("updates", "worse", "function(doc, req) { return 'x' }"),
    ]);
    let put = r#"{"method":"PUT","id":"a"}"#;
    assert_eq!(
        called(&program, &["updates", "u"], &["null", put])
            .await
            .unwrap(),
        r#"[{"_id":"a","new":true},{"body":"made","headers":{"Content-Type":"text/html; charset=utf-8"}}]"#,
    );
    assert_eq!(
        called(&program, &["updates", "u"], &[r#"{"_id":"a"}"#, put])
            .await
            .unwrap(),
        r#"[{"_id":"a","seen":true},{"code":202,"json":{"ok":1},"headers":{"Content-Type":"application/json"}}]"#,
    );
    let none = called(&program, &["updates", "none"], &["null", put])
        .await
        .unwrap();
    assert!(none.starts_with("[null,{"), "{none}");
    for name in ["bad", "worse"] {
        let failed = called(&program, &["updates", name], &["null", put]).await;
        let render = |error: &str| error == "render_error";
        assert!(
            matches!(&failed, Err(ScriptError::Threw { error, .. }) if render(error)),
            "{failed:?}"
        );
    }
    let get = called(
        &program,
        &["updates", "u"],
        &["null", r#"{"method":"GET"}"#],
    )
    .await;
    let refused = ScriptError::Threw {
        error: "method_not_allowed".to_owned(),
        reason: "Update functions do not allow GET".to_owned(),
    };
    assert_eq!(get, Err(refused));
}

#[tokio::test]
async fn rewrites_name_a_path_or_nothing() {
    let program = design(&[(
        "",
        "rewrites",
        "function(req) {
        if (req.path[0] == 'no') return;
        if (req.path[0] == 'never') throw {forbidden: 'never'};
        return req.path[0] == 's' ? '/x/y' : {path: '/z', query: {a: '1'}} }",
    )]);
    for (req, answer) in [
        (
            r#"{"path":["s"],"method":"GET"}"#,
            r#"{"path":"/x/y","method":"GET"}"#,
        ),
        (r#"{"path":["o"]}"#, r#"{"path":"/z","query":{"a":"1"}}"#),
        (r#"{"path":["no"]}"#, "null"),
    ] {
        assert_eq!(
            called(&program, &["rewrites"], &[req]).await.unwrap(),
            answer
        );
    }
    let never = called(&program, &["rewrites"], &[r#"{"path":["never"]}"#]).await;
    let forbidden = ScriptError::Threw {
        error: "forbidden".to_owned(),
        reason: "never".to_owned(),
    };
    assert_eq!(never, Err(forbidden));
}
