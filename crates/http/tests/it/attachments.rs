//! Attachments over the wire: of sizes around every threshold, whole and in parts, alone and with
//! their documents, cut into any pieces on the way.

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::client::{Answer, Chance, Client};
use crate::md5::md5;
use crate::serving::Serving;

/// What is kept in the store, in a file, and sent in several pieces.
const SIZES: [usize; 6] = [0, 1, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, 1 << 20];
const BINARY: &str = "application/octet-stream";

fn digest(stored: &[u8]) -> String {
    format!("md5-{}", BASE64.encode(md5(stored)))
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn text(chance: &mut Chance, length: usize) -> Vec<u8> {
    (0..length)
        .map(|_| b"abcdefgh \n"[chance.below(10)])
        .collect()
}

/// Cuts `bytes` anywhere.
fn pieces<'b>(chance: &mut Chance, mut bytes: &'b [u8]) -> Vec<&'b [u8]> {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let most = [3, 200, 40_000][chance.below(3)];
        let (piece, rest) = bytes.split_at(bytes.len().min(1 + chance.below(most)));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

fn ready() -> (Serving, Client) {
    let serving = Serving::in_memory();
    let mut client = serving.client();
    client.json("PUT", "/db", b"").expect(201);
    (serving, client)
}

/// What the document says of its attachment.
fn stub(client: &mut Client, document: &str, name: &str) -> Value {
    let path = format!("/db/{document}?att_encoding_info=true");
    let found = client.get(&path).expect(200).json();
    found["_attachments"][name].clone()
}

fn check_conditional(client: &mut Client, path: &str, etag: &str) {
    let header = format!("if-none-match: {etag}");
    let answer = client.ask("GET", path, &[&header], b"").expect(304);
    assert_eq!((answer.header("etag"), answer.body.len()), (Some(etag), 0));
    let other = client.ask("GET", path, &["if-none-match: \"AAAA\""], b"");
    assert_eq!(other.status, 200);
}

fn check_ranges(client: &mut Client, chance: &mut Chance, path: &str, content: &[u8]) {
    let whole = content.len();
    let ask = |client: &mut Client, range: String| -> Answer {
        client.ask("GET", path, &[&format!("range: bytes={range}")], b"")
    };
    for _ in 0..6 {
        if whole == 0 {
            break;
        }
        let first = chance.below(whole);
        let last = first + chance.below(whole * 2 - first);
        let end = whole.min(last + 1);
        let suffix = 1 + chance.below(whole * 2);
        let start = whole.saturating_sub(suffix);
        for (range, from, to) in [
            (format!("{first}-{last}"), first, end),
            (format!("{first}-"), first, whole),
            (format!("-{suffix}"), start, whole),
        ] {
            let answer = ask(client, range).expect(206);
            assert_eq!(answer.body, &content[from..to]);
            let told = format!("bytes {from}-{}/{whole}", to - 1);
            assert_eq!(answer.header("content-range"), Some(told.as_str()));
        }
    }
    ask(client, format!("{whole}-")).expect(416);
}

#[test]
fn bytes_of_any_size_come_back_whole_and_in_ranges() {
    let (_serving, mut client) = ready();
    let mut chance = Chance::new(11);
    for size in SIZES {
        let content = chance.bytes(size);
        let path = format!("/db/b{size}/file");
        let header = format!("content-type: {BINARY}");
        let cut = pieces(&mut chance, &content);
        client.send_in_pieces("PUT", &path, &[&header], &cut);
        client.answer("PUT").expect(201);
        let told = stub(&mut client, &format!("b{size}"), "file");
        let wanted = json!({
            "content_type": BINARY, "revpos": 1, "digest": digest(&content), "length": size,
            "stub": true,
        });
        assert_eq!(told, wanted);
        for accept in ["x-nothing: asked", "accept-encoding: gzip"] {
            let answer = client.ask("GET", &path, &[accept], b"").expect(200);
            assert!(answer.body == content, "{size}");
            assert_eq!(answer.header("content-type"), Some(BINARY));
            assert_eq!(answer.header("accept-ranges"), Some("bytes"));
            assert_eq!(answer.header("content-encoding"), None);
        }
        let length = size.to_string();
        let head = client.ask("HEAD", &path, &[], b"").expect(200);
        assert_eq!(head.header("content-length"), Some(length.as_str()));
        let etag = format!("\"{}\"", BASE64.encode(md5(&content)));
        assert_eq!(head.header("etag"), Some(etag.as_str()));
        check_conditional(&mut client, &path, &etag);
        check_ranges(&mut client, &mut chance, &path, &content);
    }
}

#[test]
fn text_is_compressed_at_rest_and_comes_back_either_way() {
    let (_serving, mut client) = ready();
    let mut chance = Chance::new(12);
    for size in SIZES {
        let content = text(&mut chance, size);
        let path = format!("/db/t{size}/file");
        let cut = pieces(&mut chance, &content);
        client.send_in_pieces("PUT", &path, &["content-type: text/plain"], &cut);
        client.answer("PUT").expect(201);
        let answer = client.get(&path).expect(200);
        assert!(answer.body == content, "{size}");
        assert_eq!(answer.header("accept-ranges"), Some("none"));
        let packed = client
            .ask("GET", &path, &["accept-encoding: gzip"], b"")
            .expect(200);
        assert_eq!(packed.header("content-encoding"), Some("gzip"));
        assert!(gunzip(&packed.body) == content, "{size}");
        let told = stub(&mut client, &format!("t{size}"), "file");
        let wanted = json!({
            "content_type": "text/plain", "revpos": 1, "digest": digest(&packed.body),
            "length": size, "stub": true, "encoding": "gzip", "encoded_length": packed.body.len(),
        });
        assert_eq!(told, wanted);
        let etag = format!("\"{}\"", BASE64.encode(md5(&packed.body)));
        check_conditional(&mut client, &path, &etag);
    }
}

#[test]
fn what_is_uploaded_as_gzip_is_kept_as_it_is() {
    let (_serving, mut client) = ready();
    let mut chance = Chance::new(13);
    for (size, kind) in SIZES
        .into_iter()
        .zip(["text/plain", BINARY].into_iter().cycle())
    {
        let content = text(&mut chance, size);
        let packed = gzip(&content);
        let path = format!("/db/g{size}/file");
        let kind = format!("content-type: {kind}");
        let cut = pieces(&mut chance, &packed);
        client.send_in_pieces("PUT", &path, &[&kind, "content-encoding: gzip"], &cut);
        client.answer("PUT").expect(201);
        let answer = client
            .ask("GET", &path, &["accept-encoding: gzip"], b"")
            .expect(200);
        assert_eq!(answer.header("content-encoding"), Some("gzip"));
        assert!(answer.body == packed, "{size}");
        assert!(client.get(&path).expect(200).body == content, "{size}");
        let told = stub(&mut client, &format!("g{size}"), "file");
        assert_eq!(told["digest"], digest(&packed));
        assert_eq!(told["encoded_length"], packed.len());
    }
}

/// The parts of a multipart body: their heads and contents.
fn parts(content_type: &str, body: &[u8]) -> Vec<(String, Vec<u8>)> {
    let (_, boundary) = content_type.split_once("boundary=").unwrap();
    let delimiter = format!("\r\n--{}", boundary.trim_matches('"'));
    let body = [b"\r\n", body].concat();
    let mut places = memchr::memmem::find_iter(&body, delimiter.as_bytes()).peekable();
    let mut parts = Vec::new();
    while let Some(place) = places.next() {
        let begin = place + delimiter.len();
        let Some(end) = places.peek() else {
            assert_eq!(&body[begin..begin + 2], b"--");
            break;
        };
        let part = &body[begin..*end];
        let split = memchr::memmem::find(part, b"\r\n\r\n").unwrap();
        let head = String::from_utf8(part[..split].to_vec()).unwrap();
        parts.push((head, part[split + 4..].to_vec()));
    }
    parts
}

fn header<'h>(head: &'h str, name: &str) -> &'h str {
    let line = |line: &'h str| line.strip_prefix(name)?.strip_prefix(": ");
    head.split("\r\n").find_map(line).unwrap_or("")
}

/// A revision made elsewhere, with attachments that follow it.
struct Sent {
    revision: String,
    files: Vec<(String, &'static str, Vec<u8>)>,
}

impl Sent {
    fn new(chance: &mut Chance, revision: &str) -> Self {
        let mut files = Vec::new();
        for (n, size) in [0, 1, 5_000, 66_000, 300_000].into_iter().enumerate() {
            let (kind, mut content) = if n.is_multiple_of(2) {
                (BINARY, chance.bytes(size))
            } else {
                ("text/plain", text(chance, size))
            };
            // What looks like the end of the part, nearly.
            for near in ["\r\n--boundar", "\r\n--\r\n", "\r\n\r\n--boundarz", "\r\n-"] {
                let place = chance.below(content.len() + 1);
                content.splice(place..place, near.bytes());
            }
            files.push((format!("file {n}"), kind, content));
        }
        Self {
            revision: revision.to_owned(),
            files,
        }
    }

    fn body(&self) -> Vec<u8> {
        let mut stubs = serde_json::Map::new();
        for (name, kind, content) in &self.files {
            let stub = json!({ "content_type": kind, "length": content.len(), "follows": true });
            stubs.insert(name.clone(), stub);
        }
        let id = self.revision.strip_prefix("1-").unwrap();
        let document = json!({
            "_id": "doc", "_rev": self.revision, "value": self.revision, "_attachments": stubs,
            "_revisions": { "start": 1, "ids": [id] },
        });
        let mut body = b"preamble\r\n--boundary\r\ncontent-type: application/json\r\n\r\n".to_vec();
        body.extend(document.to_string().bytes());
        for (name, _, content) in &self.files {
            let head = format!(
                "\r\n--boundary\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n\
                 Content-Length: {}\r\n\r\n",
                content.len()
            );
            body.extend(head.bytes());
            body.extend(content);
        }
        body.extend(b"\r\n--boundary--epilogue");
        body
    }

    /// That a part of an answer is this revision with all that belongs to it.
    fn check(&self, head: &str, body: &[u8]) {
        let inner = parts(header(head, "Content-Type"), body);
        let (first, rest) = inner.split_first().unwrap();
        let document: Value = serde_json::from_slice(&first.1).unwrap();
        assert_eq!(document["_rev"], self.revision.as_str());
        assert_eq!(document["value"], self.revision.as_str());
        assert_eq!(rest.len(), self.files.len());
        for ((name, kind, content), (head, stored)) in self.files.iter().zip(rest) {
            let told = &document["_attachments"][name];
            assert_eq!(told["follows"], true);
            assert_eq!(told["content_type"], *kind);
            assert_eq!(told["digest"], digest(stored));
            assert_eq!(told["length"], content.len());
            assert!(
                header(head, "Content-Disposition").contains("filename="),
                "{head}"
            );
            assert_eq!(header(head, "Content-Length"), stored.len().to_string());
            let plain = match header(head, "Content-Encoding") {
                "gzip" => gunzip(stored),
                _ => stored.clone(),
            };
            assert!(plain == *content, "{name}");
        }
    }
}

#[test]
fn documents_travel_with_their_attachments_in_parts() {
    let (_serving, mut client) = ready();
    let mut chance = Chance::new(14);
    let revisions = ["1-aa", "1-bb"].map(|revision| Sent::new(&mut chance, revision));
    for sent in &revisions {
        let body = sent.body();
        for quoted in ["boundary", "\"boundary\""] {
            let kind = format!("content-type: multipart/related; boundary={quoted}");
            let cut = pieces(&mut chance, &body);
            client.send_in_pieces("PUT", "/db/doc?new_edits=false", &[&kind], &cut);
            client.answer("PUT").expect(201);
        }
    }
    let path = "/db/doc?revs=true&open_revs=[\"1-bb\",\"9-none\",\"1-aa\"]";
    let path = path.replace('"', "%22");
    let answer = client
        .ask("GET", &path, &["accept: multipart/mixed"], b"")
        .expect(200);
    let mixed = parts(answer.header("content-type").unwrap(), &answer.body);
    assert_eq!(mixed.len(), 3);
    // In whatever order they come.
    for (head, body) in &mixed {
        if header(head, "Content-Type").contains("error=\"true\"") {
            let missing: Value = serde_json::from_slice(body).unwrap();
            assert_eq!(missing["missing"], "9-none");
            continue;
        }
        let sent = revisions.iter().find(|sent| {
            let revision = format!("\"_rev\":\"{}\"", sent.revision);
            memchr::memmem::find(body, revision.as_bytes()).is_some()
        });
        sent.unwrap().check(head, body);
    }
    let related = client.ask(
        "GET",
        "/db/doc?attachments=true",
        &["accept: multipart/related"],
        b"",
    );
    let head = format!("Content-Type: {}", related.header("content-type").unwrap());
    revisions[1].check(&head, &related.body);
    let whole = client.ask(
        "GET",
        "/db/doc?attachments=true",
        &["accept: application/json"],
        b"",
    );
    let whole = whole.expect(200).json();
    for (name, _, content) in &revisions[1].files {
        let data = whole["_attachments"][name]["data"].as_str().unwrap();
        assert!(BASE64.decode(data).unwrap() == *content, "{name}");
    }
}

#[test]
fn half_a_multipart_body_writes_nothing() {
    let (_serving, mut client) = ready();
    let mut chance = Chance::new(15);
    let body = Sent::new(&mut chance, "1-aa").body();
    let kind = "content-type: multipart/related; boundary=boundary";
    for _ in 0..10 {
        // Whole as far as HTTP is concerned, and cut within the parts.
        let cut = 30 + chance.below(body.len() - 60);
        let answer = client.ask("PUT", "/db/doc?new_edits=false", &[kind], &body[..cut]);
        assert_eq!(answer.status / 100, 4, "cut at {cut} of {}", body.len());
        client = client.again();
        client.get("/db/doc").expect(404);
    }
}

/// A document with gzip in parts, of which `length` is told as the length without.
fn packed(id: &str, stored: &[u8], length: usize) -> Vec<u8> {
    let stub = json!({
        "content_type": BINARY, "follows": true, "encoding": "gzip",
        "length": length, "encoded_length": stored.len(),
    });
    let document = json!({ "_id": id, "_attachments": { "file": stub } });
    let head = format!("--boundary\r\n\r\n{document}\r\n--boundary\r\n\r\n");
    [head.as_bytes(), stored, b"\r\n--boundary--"].concat()
}

#[test]
fn nobody_stores_gzip_that_is_none_or_has_another_length() {
    let (_serving, mut client) = ready();
    let content = text(&mut Chance::new(16), 3_000);
    let stored = gzip(&content);
    let kind = "content-type: multipart/related; boundary=boundary";
    let cut = &stored[..stored.len() - 1];
    for (n, (body, length, status)) in [
        (&stored[..], content.len(), 201),
        // What is told of gzip that was uploaded as it is.
        (&stored[..], stored.len(), 201),
        (&stored[..], content.len() + 1, 400),
        (&stored[..], 0, 400),
        (cut, content.len(), 400),
        (&content[..], content.len(), 400),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/db/parts{n}");
        let sent = packed(&format!("parts{n}"), body, length);
        let answer = client.ask("PUT", &path, &[kind], &sent);
        assert_eq!(answer.status, status, "{n}");
        client = client.again();
        if status == 201 {
            let read = client.get(&format!("{path}/file")).expect(200);
            assert!(read.body == content, "{n}");
        } else {
            client.get(&path).expect(404);
        }
    }
    let raw = ["content-type: text/plain", "content-encoding: gzip"];
    let refused = client
        .ask("PUT", "/db/raw/file", &raw, &content)
        .expect(400);
    assert_eq!(
        refused.json(),
        json!({ "error": "bad_request", "reason": "The attachment is not gzip as it says." })
    );
}

#[test]
fn many_small_parts_come_back_whether_held_or_not() {
    let (_serving, mut client) = ready();
    let mut chance = Chance::new(17);
    let files: Vec<_> = (0..24)
        .map(|n| (format!("file{n}"), BINARY, chance.bytes(60_000 + n)))
        .collect();
    let sent = Sent {
        revision: "1-aa".to_owned(),
        files,
    };
    let kind = "content-type: multipart/related; boundary=boundary";
    client
        .ask("PUT", "/db/doc?new_edits=false", &[kind], &sent.body())
        .expect(201);
    for (name, _, content) in &sent.files {
        let read = client.get(&format!("/db/doc/{name}")).expect(200);
        assert!(read.body == *content, "{name}");
    }
}
