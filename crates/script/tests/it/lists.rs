//! List functions: rows in, text out, a little at a time.

use adea_script::{DesignProgram, Listing, Mapped, ScriptError};
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{HASTY, PATIENT, map_one, owner, scripts};

async fn list(body: &str, req: &str, rows: usize) -> Result<Listing, ScriptError> {
    let ddoc = serde_json::json!({
        "_id": "_design/d", "title": "t",
        "lists": {"l": format!("function(head, req) {{ {body} }}")},
    });
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        for n in 0..rows {
            let row = Bytes::from(format!("{{\"id\":\"d{n}\",\"key\":{n},\"value\":null}}"));
            if sender.send(row).await.is_err() {
                return;
            }
        }
    });
    let program = DesignProgram::new(ddoc.to_string());
    let (head, req) = ("{\"total_rows\":3,\"offset\":0}".to_owned(), req.to_owned());
    scripts(PATIENT)
        .list(&owner(1), &program, "l", head, req, receiver)
        .await
}

/// The start, the text, and the error at its end.
async fn collect(listing: Listing) -> (String, String, Option<ScriptError>) {
    let Listing { start, mut chunks } = listing;
    let mut text = Vec::new();
    let mut error = None;
    while let Some(chunk) = chunks.recv().await {
        assert_eq!(error, None, "an error is the last");
        match chunk {
            Ok(chunk) => text.extend_from_slice(&chunk),
            Err(fault) => error = Some(fault),
        }
    }
    (start, String::from_utf8(text).unwrap(), error)
}

#[tokio::test]
async fn lists_send_text() {
    let json = r#"{"code":200,"headers":{"Content-Type":"application/json"}}"#;
    for (body, start, text) in [
        (
            "start({code: 201, headers: {'X-A': 'b'}}); send('head'); var row; while (row = getRow()) send(row.key); return 'tail'",
            r#"{"code":201,"headers":{"Content-Type":"application/json","X-A":"b"}}"#,
            "head012tail",
        ),
        ("return 'only'", json, "only"),
        ("", json, ""),
        ("send(head.total_rows + this.title)", json, "3t"),
        (
            "var row, n = 0; while (row = getRow()) n++; start({headers: {'Content-Type': 'text/plain'}}); send(n); return getRow()",
            r#"{"code":200,"headers":{"Content-Type":"text/plain"}}"#,
            "3null",
        ),
        ("getRow(); send('a'); return 'b'", json, "ab"),
    ] {
        let listing = list(body, "{}", 3).await.unwrap();
        assert_eq!(
            collect(listing).await,
            (start.to_owned(), text.to_owned(), None),
            "{body}"
        );
    }
}

#[tokio::test]
async fn lists_provide_what_is_accepted() {
    let body = "provides('html', function() { send('<ul>'); var row; while (row = getRow()) send('<li>' + row.id); return '</ul>' });
        provides('csv', function() { return 'id,key' });";
    let (start, text, _) = collect(
        list(body, r#"{"headers":{"Accept":"text/html"}}"#, 2)
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(
        start,
        r#"{"code":200,"headers":{"Content-Type":"text/html; charset=utf-8"}}"#
    );
    assert_eq!(text, "<ul><li>d0<li>d1</ul>");
    let (start, text, _) = collect(
        list(body, r#"{"headers":{"Accept":"text/csv"}}"#, 2)
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(
        (start.as_str(), text.as_str()),
        (
            r#"{"code":200,"headers":{"Content-Type":"text/csv"}}"#,
            "id,key"
        )
    );
    let refused = list(body, r#"{"headers":{"Accept":"image/png"}}"#, 2).await;
    assert!(
        matches!(&refused, Err(ScriptError::Threw { error, .. }) if error == "not_acceptable"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn long_lists_stream() {
    let body = "var row; while (row = getRow()) send(row.key + ',')";
    let listing = list(body, "{}", 50_000).await.unwrap();
    let (_, text, error) = collect(listing).await;
    assert_eq!(error, None);
    let numbers: Vec<usize> = text
        .trim_end_matches(',')
        .split(',')
        .map(|number| number.parse().unwrap())
        .collect();
    assert_eq!(numbers, (0..50_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn errors_come_before_or_after_the_text() {
    let before = list("throw {error: 'e', reason: 'r'}", "{}", 3).await;
    assert_eq!(
        before.unwrap_err(),
        ScriptError::Threw {
            error: "e".to_owned(),
            reason: "r".to_owned()
        }
    );
    assert!(
        matches!(list("throw new Error('x')", "{}", 3).await, Err(ScriptError::Threw { error, .. }) if error == "render_error")
    );
    let after = list(
        "send(new Array(50000).join('x')); throw {error: 'e', reason: 'r'}",
        "{}",
        3,
    )
    .await
    .unwrap();
    let (_, text, error) = collect(after).await;
    assert_eq!(text.len(), 49_999);
    assert_eq!(
        error,
        Some(ScriptError::Threw {
            error: "e".to_owned(),
            reason: "r".to_owned()
        })
    );
}

#[tokio::test]
async fn a_list_that_hangs_is_stopped_and_others_go_on() {
    let scripts = scripts(HASTY);
    for body in [
        "while (true) {}",
        "new Array(1e9) + ''",
        "getRow(); while (true) {}",
    ] {
        let ddoc = serde_json::json!({"_id": "_design/d", "lists": {
            "hangs": format!("function(head, req) {{ send('x'); getRow(); {body} }}"),
            "works": "function(head, req) { return 'works' }",
        }});
        let program = DesignProgram::new(ddoc.to_string());
        let start = async |name: &str| {
            let (_, rows) = mpsc::channel(1);
            scripts
                .list(
                    &owner(1),
                    &program,
                    name,
                    "{}".to_owned(),
                    "{}".to_owned(),
                    rows,
                )
                .await
        };
        let (_, text, error) = collect(start("hangs").await.unwrap()).await;
        assert_eq!(
            (text.as_str(), error),
            ("x", Some(ScriptError::TimedOut)),
            "{body}"
        );
        let (_, text, error) = collect(start("works").await.unwrap()).await;
        assert_eq!((text.as_str(), error), ("works", None), "{body}");
    }
}

#[tokio::test]
async fn a_list_that_sends_for_ever_is_stopped_and_a_slow_client_is_waited_for() {
    let scripts = scripts(HASTY);
    let ddoc = serde_json::json!({"_id": "_design/d", "lists": {
        "l": "function() { var piece = new Array(40000).join('x'); for (;;) send(piece) }",
    }});
    let program = DesignProgram::new(ddoc.to_string());
    let (_rows, wanted) = mpsc::channel(1);
    let empty = || "{}".to_owned();
    let listing = scripts
        .list(&owner(1), &program, "l", empty(), empty(), wanted)
        .await;
    let mut chunks = listing.unwrap().chunks;
    let mut last = chunks.recv().await;
    // It is the client that takes nothing, while others have their whole time several times over.
    for _ in 0..3 {
        let hang = map_one(&scripts, &owner(2), "function(doc){while(true){}}", "{}").await;
        assert!(matches!(hang, Ok(Mapped::Threw(_))), "{hang:?}");
    }
    for _ in 0..8 {
        last = chunks.recv().await;
        assert!(matches!(last, Some(Ok(_))), "{last:?}");
    }
    while let Some(next) = chunks.recv().await {
        last = Some(next);
    }
    assert_eq!(last, Some(Err(ScriptError::TimedOut)));
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_list() {
    let scripts = scripts(PATIENT);
    let ddoc = serde_json::json!({"_id": "_design/d", "lists": {"l": "function() { for (;;) send(new Array(10000).join('x')) }"}});
    let program = DesignProgram::new(ddoc.to_string());
    let (_rows, wanted) = mpsc::channel(1);
    let mut listing = scripts
        .list(
            &owner(1),
            &program,
            "l",
            "{}".to_owned(),
            "{}".to_owned(),
            wanted,
        )
        .await
        .unwrap();
    assert!(listing.chunks.recv().await.unwrap().is_ok());
    drop(listing);
    let ended = async {
        while !scripts.processes().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENT, ended).await.unwrap();
}
