//! Bodies that are refused, whole requests that are, and the cookie behind a proxy.

use std::io::Write as _;

use crate::client::Client;
use crate::serving::Serving;

const JSON: &str = "content-type: application/json";

fn compressed(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn sign_in(client: &mut Client, headers: &[&str]) -> String {
    let headers = [&[JSON], headers].concat();
    let body = br#"{"name":"admin","password":"secret"}"#;
    let answer = client.ask("POST", "/_session", &headers, body).expect(200);
    answer.header("set-cookie").unwrap().to_owned()
}

#[test]
fn nobody_signs_in_with_a_large_body() {
    let serving = Serving::in_memory();
    let mut large = br#"{"name":"admin","password":"secret","pad":""#.to_vec();
    large.resize(65 << 10, b'a');
    large.extend_from_slice(br#""}"#);
    let sent = serving.client().json("POST", "/_session", &large);
    sent.expect(413);
    let headers = [JSON, "content-encoding: gzip"];
    let grown = compressed(&large);
    assert!(grown.len() < 1 << 10);
    let mut client = serving.client();
    client
        .ask("POST", "/_session", &headers, &grown)
        .expect(413);
    let small = compressed(br#"{"name":"admin","password":"secret"}"#);
    client
        .ask("POST", "/_session", &headers, &small)
        .expect(200);
}

#[test]
fn a_body_that_decompresses_in_many_steps_arrives_whole() {
    let serving = Serving::in_memory();
    let mut client = serving.client();
    client.ask("PUT", "/db", &[], b"").expect(201);
    let pad = "x".repeat(1 << 20);
    let rows: Vec<String> = (0..20)
        .map(|n| format!(r#"{{"_id":"{n}","pad":"{pad}"}}"#))
        .collect();
    let body = format!(r#"{{"docs":[{}]}}"#, rows.join(","));
    let headers = [JSON, "content-encoding: gzip"];
    let body = compressed(body.as_bytes());
    let answer = client.ask("POST", "/db/_bulk_docs", &headers, &body);
    assert_eq!(answer.expect(201).json().as_array().unwrap().len(), 20);
    let last = client.get("/db/19").expect(200).json();
    assert_eq!(last["pad"].as_str().unwrap().len(), 1 << 20);
}

#[test]
fn a_bulk_request_with_one_bad_row_writes_nothing() {
    let serving = Serving::in_memory();
    let mut client = serving.client();
    client.ask("PUT", "/db", &[], b"").expect(201);
    let long = "n".repeat(8_193);
    for bad in [
        r#"{"_id":"_local/"}"#.to_owned(),
        format!(r#"{{"_id":"_local/{long}"}}"#),
        r#"{"_id":"other","_rev":"no-revision"}"#.to_owned(),
        r#"{"_id":"_local/other","_rev":"no-revision"}"#.to_owned(),
        r#"{"_id":"_local/other","_deleted":true,"_rev":"no-revision"}"#.to_owned(),
    ] {
        let body = format!(r#"{{"docs":[{{"_id":"_local/a"}},{{"_id":"b"}},{bad}]}}"#);
        client
            .json("POST", "/db/_bulk_docs", body.as_bytes())
            .expect(400);
        client.get("/db/_local/a").expect(404);
        client.get("/db/b").expect(404);
        client.json("POST", "/db", bad.as_bytes()).expect(400);
    }
    let body = br#"{"docs":[{"_id":"_local/a"},{"_id":"b"},{"_id":"_local/c","_deleted":true}]}"#;
    let rows = client.json("POST", "/db/_bulk_docs", body).expect(201);
    let rows = rows.json();
    assert_eq!(rows[0]["rev"], "0-1");
    assert_eq!(rows[1]["id"], "b");
    assert_eq!(rows[2]["rev"], "0-0");
    client.get("/db/_local/a").expect(200);
}

#[test]
fn a_refused_row_names_the_revision_that_was_made_elsewhere() {
    let serving = Serving::in_memory();
    let mut client = serving.client();
    client.ask("PUT", "/db", &[], b"").expect(201);
    let revision = format!("1-{}", "a".repeat(32));
    let pad = "x".repeat(8_000_001);
    let row = format!(r#"{{"_id":"a","_rev":"{revision}","pad":"{pad}"}}"#);
    let body = format!(r#"{{"new_edits":false,"docs":[{row}]}}"#);
    let answer = client.json("POST", "/db/_bulk_docs", body.as_bytes());
    let answer = answer.expect(201);
    let text = String::from_utf8(answer.body).unwrap();
    let wanted = format!(r#"[{{"id":"a","rev":"{revision}","error":"document_too_large","#);
    assert!(text.starts_with(&wanted), "{text}");
}

#[test]
fn a_purge_of_too_many_documents_is_refused_though_it_names_no_revision() {
    let serving = Serving::in_memory();
    let mut client = serving.client();
    client.ask("PUT", "/db", &[], b"").expect(201);
    let rows: Vec<String> = (0..100_001).map(|n| format!(r#""{n}":[]"#)).collect();
    let body = format!("{{{}}}", rows.join(","));
    client
        .json("POST", "/db/_purge", body.as_bytes())
        .expect(400);
    client
        .json("POST", "/db/_purge", br#"{"a":[]}"#)
        .expect(201);
}

#[test]
fn the_cookie_is_for_tls_only_where_a_proxy_took_it_off() {
    let listed = "https://app.example";
    let serving = Serving::with(|http| http.cors.origins = vec![listed.to_owned()]);
    let mut client = serving.client();
    let plain = sign_in(&mut client, &[]);
    assert!(plain.ends_with("; Path=/; HttpOnly"), "{plain}");
    assert!(!plain.contains("Secure"), "{plain}");
    let proxied = "x-forwarded-proto: https";
    let own = sign_in(&mut client, &[proxied]);
    let wanted = "; Secure; Path=/; HttpOnly; SameSite=Lax";
    assert!(own.ends_with(wanted), "{own}");
    let foreign = sign_in(&mut client, &[proxied, &format!("origin: {listed}")]);
    let wanted = "; Secure; Path=/; HttpOnly; SameSite=None";
    assert!(foreign.ends_with(wanted), "{foreign}");
    let unlisted = sign_in(&mut client, &[proxied, "origin: https://evil.example"]);
    assert!(unlisted.ends_with("SameSite=Lax"), "{unlisted}");
}

#[test]
fn no_body_is_longer_than_the_server_takes() {
    let serving = Serving::with(|http| http.request_bytes_max = 1_000);
    let mut client = serving.client();
    client.ask("PUT", "/db", &[], b"").expect(201);
    let content = "content-type: application/octet-stream";
    client
        .ask("PUT", "/db/a/fits", &[content], &[b'x'; 1_000])
        .expect(201);
    client
        .ask("PUT", "/db/b/declared", &[content], &[b'x'; 1_001])
        .expect(413);
    let chunk = [&b"3e9\r\n"[..], &[b'x'; 1_001], b"\r\n0\r\n\r\n"].concat();
    let mut client = serving.client();
    client.send_chunked("PUT", "/db/c/chunked", &[content], &chunk);
    client.answer("PUT").expect(413);
}

#[test]
fn lengths_that_are_only_declared_take_no_room() {
    let serving = Serving::in_memory();
    let mut client = serving.client();
    client.ask("PUT", "/db", &[], b"").expect(201);
    let mut promising: Vec<Client> = (0..8).map(|_| serving.client()).collect();
    for peer in &mut promising {
        peer.send_part("POST", "/db", &[JSON], 128 << 20, b"{\"text\":\"");
    }
    let large = format!(r#"{{"_id":"a","text":"{}"}}"#, "x".repeat(3 << 20));
    client.json("POST", "/db", large.as_bytes()).expect(201);
}

#[test]
fn over_http_2_a_location_names_the_host_of_the_uri() {
    let serving = Serving::in_memory();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let location = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(serving.address)
            .await
            .unwrap();
        let io = hyper_util::rt::TokioIo::new(stream);
        let executor = hyper_util::rt::TokioExecutor::new();
        let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io)
            .await
            .unwrap();
        let connection = tokio::spawn(connection);
        let request = http::Request::put("http://couch.example:5984/db")
            .header("authorization", "Basic YWRtaW46c2VjcmV0")
            .body(http_body_util::Empty::<bytes::Bytes>::new())
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        connection.abort();
        assert_eq!(response.status(), 201);
        response.headers()["location"].clone()
    });
    assert_eq!(location, "http://couch.example:5984/db");
}
