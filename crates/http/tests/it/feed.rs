//! The change feed under load: several write, several read in every way there is, and nobody misses
//! anything.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::thread;

use serde_json::{Value, json};

use crate::client::{Chance, Client};
use crate::serving::Serving;

/// The document that is written when all else is.
const END: &str = "end";

/// The revision of each document that was acknowledged last.
type Acknowledged = Mutex<HashMap<String, String>>;

/// What a reader has seen.
#[derive(Default)]
struct Seen {
    last: u64,
    token: Option<String>,
    revisions: HashMap<String, String>,
}

fn sequence(token: &Value) -> u64 {
    let token = token.as_str().unwrap();
    token.split_once('-').unwrap().0.parse().unwrap()
}

fn generation(revision: &str) -> u64 {
    revision.split_once('-').unwrap().0.parse().unwrap()
}

impl Seen {
    fn row(&mut self, row: &Value) {
        let at = sequence(&row["seq"]);
        assert!(at > self.last, "{at} after {}", self.last);
        self.last = at;
        self.token = Some(row["seq"].as_str().unwrap().to_owned());
        let id = row["id"].as_str().unwrap().to_owned();
        let revision = row["changes"][0]["rev"].as_str().unwrap().to_owned();
        if let Some(document) = row.get("doc") {
            assert_eq!(document["_rev"], revision.as_str());
        }
        let before = self.revisions.insert(id, revision.clone());
        assert!(before.is_none_or(|before| generation(&before) < generation(&revision)));
    }

    fn since(&self) -> String {
        self.token.clone().unwrap_or_else(|| "0".to_owned())
    }

    fn is_over(&self) -> bool {
        self.revisions.contains_key(END)
    }
}

fn create(serving: &Serving) {
    serving.client().json("PUT", "/db", b"").expect(201);
}

/// Creates, edits and deletes documents of its own; notes what is acknowledged.
fn write(mut client: Client, writer: usize, acknowledged: &Acknowledged) {
    let mut chance = Chance::new(writer as u64 + 1);
    let mut own: HashMap<String, String> = HashMap::new();
    for round in 0..150 {
        let count = 1 + if writer.is_multiple_of(2) {
            0
        } else {
            chance.below(6)
        };
        let mut documents: BTreeMap<String, Value> = BTreeMap::new();
        for _ in 0..count {
            let id = format!("doc-{writer}-{}", chance.below(12));
            let mut document = json!({ "_id": id, "round": round });
            if let Some(revision) = own.get(&id) {
                document["_rev"] = revision.as_str().into();
                document["_deleted"] = (chance.below(10) == 0).into();
            }
            documents.insert(id, document);
        }
        let documents: Vec<Value> = documents.into_values().collect();
        let body = json!({ "docs": documents }).to_string();
        let rows = client
            .json("POST", "/db/_bulk_docs", body.as_bytes())
            .expect(201)
            .json();
        for (row, document) in rows.as_array().unwrap().iter().zip(&documents) {
            assert_eq!(row["ok"], true, "{row}");
            let id = row["id"].as_str().unwrap().to_owned();
            let revision = row["rev"].as_str().unwrap().to_owned();
            acknowledged
                .lock()
                .unwrap()
                .insert(id.clone(), revision.clone());
            if document["_deleted"] == true {
                own.remove(&id);
            } else {
                own.insert(id, revision);
            }
        }
    }
}

/// Pages through the feed.
fn read_pages(mut client: Client, seed: u64) -> Seen {
    let (mut seen, mut chance) = (Seen::default(), Chance::new(seed));
    while !seen.is_over() {
        let limit = 1 + chance.below(9);
        let docs = chance.below(2) == 0;
        let since = seen.since();
        let path = format!("/db/_changes?since={since}&limit={limit}&include_docs={docs}");
        let page = client.get(&path).expect(200).json();
        let rows = page["results"].as_array().unwrap();
        assert!(rows.len() <= limit);
        rows.iter().for_each(|row| seen.row(row));
        if rows.len() == limit {
            assert_eq!(page["last_seq"], rows[limit - 1]["seq"]);
        }
        assert!(sequence(&page["last_seq"]) >= seen.last);
        seen.last = sequence(&page["last_seq"]);
        seen.token = Some(page["last_seq"].as_str().unwrap().to_owned());
    }
    seen
}

/// Asks and waits, again and again.
fn read_longpoll(mut client: Client) -> Seen {
    let mut seen = Seen::default();
    while !seen.is_over() {
        let path = format!(
            "/db/_changes?feed=longpoll&since={}&style=all_docs",
            seen.since()
        );
        client.send("GET", &path, &[], b"");
        let answer = client.answer("GET").expect(200);
        if answer.header("connection") == Some("close") {
            client = client.again();
        }
        let page = answer.json();
        let rows = page["results"].as_array().unwrap();
        assert!(!rows.is_empty());
        rows.iter().for_each(|row| seen.row(row));
        assert!(sequence(&page["last_seq"]) >= seen.last);
        seen.token = Some(page["last_seq"].as_str().unwrap().to_owned());
        seen.last = sequence(&page["last_seq"]);
    }
    seen
}

/// Listens, goes away in the middle, and comes back where it was.
fn read_on(first: &Client, seed: u64, events: bool) -> Seen {
    let (mut seen, mut chance) = (Seen::default(), Chance::new(seed));
    while !seen.is_over() {
        let mut client = first.again();
        let since = seen.since();
        if events {
            // As it stood in the event, with its quotes.
            let header = format!("last-event-id: \"{since}\"");
            client.send(
                "GET",
                "/db/_changes?feed=eventsource&heartbeat=5000",
                &[&header],
                b"",
            );
        } else {
            let path = format!("/db/_changes?feed=continuous&since={since}&include_docs=true");
            client.send("GET", &path, &[], b"");
        }
        assert_eq!(client.head().status, 200);
        let mut rows = 1 + chance.below(60);
        let mut lines = Lines::new(client);
        while rows > 0 && !seen.is_over() {
            let line = lines.next();
            let row = match (events, line.strip_prefix("data: ")) {
                (true, None | Some("")) => continue,
                (true, Some(row)) => row,
                (false, _) if line.is_empty() => continue,
                (false, _) => &line,
            };
            seen.row(&serde_json::from_str(row).unwrap());
            if events {
                assert_eq!(lines.next(), format!("id: \"{}\"", seen.since()));
            }
            rows -= 1;
        }
    }
    seen
}

/// The lines of a feed.
struct Lines {
    client: Client,
    unread: Vec<u8>,
}

impl Lines {
    fn new(client: Client) -> Self {
        Self {
            client,
            unread: Vec::new(),
        }
    }

    fn next(&mut self) -> String {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return String::from_utf8(line).unwrap().trim_end().to_owned();
            }
            self.unread
                .extend(self.client.chunk().expect("the feed ended"));
        }
    }
}

/// Asks for everything, and finds all that was acknowledged before it asked.
fn read_fresh(mut client: Client, acknowledged: &Acknowledged) {
    loop {
        let before = acknowledged.lock().unwrap().clone();
        let page = client.get("/db/_changes").expect(200).json();
        let mut seen = Seen::default();
        page["results"]
            .as_array()
            .unwrap()
            .iter()
            .for_each(|row| seen.row(row));
        for (id, revision) in &before {
            assert!(
                generation(&seen.revisions[id]) >= generation(revision),
                "{id}"
            );
        }
        if seen.is_over() {
            assert_eq!(page["pending"], 0);
            return;
        }
    }
}

fn check_pending(mut client: Client) {
    let all = client.get("/db/_changes").expect(200).json();
    let rows = all["results"].as_array().unwrap();
    assert_eq!(all["pending"], 0);
    let mut chance = Chance::new(7);
    for (at, row) in rows.iter().enumerate() {
        let limit = 1 + chance.below(rows.len());
        let since = row["seq"].as_str().unwrap();
        let path = format!("/db/_changes?since={since}&limit={limit}");
        let page = client.get(&path).expect(200).json();
        let end = rows.len().min(at + 1 + limit);
        assert_eq!(page["results"].as_array().unwrap(), &rows[at + 1..end]);
        assert_eq!(page["pending"], rows.len() - end);
    }
    let descending = client
        .get("/db/_changes?descending=true")
        .expect(200)
        .json();
    let backwards: Vec<&Value> = descending["results"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .collect();
    assert_eq!(backwards, rows.iter().collect::<Vec<_>>());
}

#[test]
fn every_reader_sees_the_last_revision_of_every_document() {
    let serving = Serving::in_memory();
    create(&serving);
    let acknowledged = Acknowledged::default();
    let known = &acknowledged;
    thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|n| {
                let client = serving.client();
                scope.spawn(move || write(client, n, known))
            })
            .collect();
        let mut readers = Vec::new();
        for seed in 1..=2 {
            let client = serving.client();
            readers.push(scope.spawn(move || read_pages(client, seed)));
            let client = serving.client();
            readers.push(scope.spawn(move || read_longpoll(client)));
            let client = serving.client();
            readers.push(scope.spawn(move || read_on(&client, seed, false)));
            let client = serving.client();
            readers.push(scope.spawn(move || read_on(&client, seed, true)));
        }
        let client = serving.client();
        let fresh = scope.spawn(move || read_fresh(client, known));
        for writer in writers {
            writer.join().unwrap();
        }
        let end = serving
            .client()
            .json("PUT", "/db/end", b"{}")
            .expect(201)
            .json();
        let revision = end["rev"].as_str().unwrap().to_owned();
        known.lock().unwrap().insert(END.to_owned(), revision);
        for reader in readers {
            assert_eq!(reader.join().unwrap().revisions, *known.lock().unwrap());
        }
        fresh.join().unwrap();
    });
    check_pending(serving.client());
}

/// Feeds of every form that wait, each with its one row told or its answer begun.
fn waiting(serving: &Serving) -> Vec<(&'static str, Client)> {
    let mut client = serving.client();
    client.json("PUT", "/db/doc", b"{}").expect(201);
    let forms = [
        ("longpoll", "feed=longpoll&since=now"),
        ("continuous", "feed=continuous"),
        ("filtered", "feed=continuous&filter=_design"),
        ("beating", "feed=continuous&heartbeat=30000"),
        ("eventsource", "feed=eventsource"),
    ];
    forms
        .map(|(form, query)| {
            let mut client = serving.client();
            client.send("GET", &format!("/db/_changes?{query}"), &[], b"");
            assert_eq!(client.head().status, 200);
            if form != "filtered" {
                // The row, or the beginning of what will be an answer.
                assert!(client.chunk().is_some());
            }
            (form, client)
        })
        .into()
}

fn ends_well(form: &str, client: &mut Client) {
    let mut rest = Vec::new();
    while let Some(chunk) = client.chunk() {
        rest.extend(chunk);
    }
    let rest = String::from_utf8(rest).unwrap();
    if form == "longpoll" {
        assert!(rest.contains("],\n\"last_seq\":\""), "{form}: {rest}");
    } else if form != "eventsource" {
        assert!(rest.contains("{\"last_seq\":\""), "{form}: {rest}");
    }
}

#[test]
fn feeds_end_in_good_order_when_their_database_is_dropped() {
    let serving = Serving::in_memory();
    // Often, since a feed is woken by the change and by the end, in any order.
    for _ in 0..30 {
        create(&serving);
        let feeds = waiting(&serving);
        serving.client().ask("DELETE", "/db", &[], b"").expect(200);
        for (form, mut client) in feeds {
            ends_well(form, &mut client);
        }
    }
}

#[test]
fn feeds_end_in_good_order_when_the_server_stops() {
    let mut serving = Serving::in_memory();
    create(&serving);
    let feeds = waiting(&serving);
    serving.stop();
    for (form, mut client) in feeds {
        ends_well(form, &mut client);
    }
    serving.stopped();
}

/// A feed that is asked for once tells of every document there was, also of one that is changed,
/// and so moves to the end, while the feed is on its way.
#[test]
fn a_document_changed_while_a_feed_is_sent_is_in_it() {
    let serving = Serving::in_memory();
    create(&serving);
    let mut writer = serving.client();
    // More than sockets hold, so that the feed waits for its reader.
    let text = "x".repeat(200_000);
    for n in 0..150 {
        let body = format!("{{\"text\":\"{text}\"}}");
        writer
            .json("PUT", &format!("/db/doc{n:03}"), body.as_bytes())
            .expect(201);
    }
    let first = writer.json("PUT", "/db/moved", b"{}").expect(201).json();
    let mut reader = serving.client();
    reader.send("GET", "/db/_changes?include_docs=true", &[], b"");
    let path = format!("/db/moved?rev={}", first["rev"].as_str().unwrap());
    let mut begun = reader.head();
    begun.body.extend(reader.chunk().unwrap());
    let second = writer.json("PUT", &path, b"{}").expect(201).json();
    while let Some(chunk) = reader.chunk() {
        begun.body.extend(chunk);
    }
    let page = begun.json();
    let mut seen = Seen::default();
    page["results"]
        .as_array()
        .unwrap()
        .iter()
        .for_each(|row| seen.row(row));
    assert_eq!(seen.revisions.len(), 151);
    assert_eq!(seen.revisions["moved"], second["rev"].as_str().unwrap());
    assert_eq!(sequence(&page["last_seq"]), seen.last);
    assert_eq!(page["pending"], 0);
}

#[test]
fn a_selector_looks_through_more_than_a_page_holds() {
    let serving = Serving::in_memory();
    create(&serving);
    let mut client = serving.client();
    let filling = "x".repeat(100_000);
    let docs: Vec<Value> = (0..40)
        .map(|n| json!({ "_id": format!("doc{n:02}"), "n": n, "filling": filling }))
        .collect();
    let body = json!({ "docs": docs }).to_string();
    client
        .json("POST", "/db/_bulk_docs", body.as_bytes())
        .expect(201);
    let selector = json!({ "selector": { "n": { "$gte": 37 } } }).to_string();
    for (way, expected) in [
        ("", ["doc37", "doc38", "doc39"]),
        ("&descending=true", ["doc39", "doc38", "doc37"]),
        ("&feed=longpoll", ["doc37", "doc38", "doc39"]),
    ] {
        let path = format!("/db/_changes?filter=_selector{way}");
        let told = client.json("POST", &path, selector.as_bytes()).expect(200);
        let told = told.json();
        let rows = told["results"].as_array().unwrap();
        let ids: Vec<&str> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
        assert_eq!(ids, expected, "{way}");
    }
}

#[test]
fn a_long_answer_of_what_is_lacking_is_whole_and_asks_once_an_id() {
    let serving = Serving::in_memory();
    create(&serving);
    let mut client = serving.client();
    client.json("PUT", "/db/known", b"{}").expect(201);
    let asked: Vec<String> = (0..3_000)
        .map(|n| format!("\"document{n}\":[\"1-aa\"]"))
        .chain((0..3_000).map(|n| format!("\"known\":[\"2-{n:04x}\"]")))
        .collect();
    let body = format!("{{{}}}", asked.join(","));
    let answer = client
        .json("POST", "/db/_revs_diff", body.as_bytes())
        .expect(200);
    let text = String::from_utf8(answer.body.clone()).unwrap();
    assert_eq!(text.matches("\"known\"").count(), 1);
    assert_eq!(text.matches("possible_ancestors").count(), 1);
    let told = answer.json();
    assert_eq!(told.as_object().unwrap().len(), 3_001);
    assert_eq!(told["known"]["missing"].as_array().unwrap().len(), 3_000);
    assert_eq!(told["document2999"], json!({ "missing": ["1-aa"] }));
}

#[test]
fn a_row_of_many_leaves_is_told_whole() {
    let serving = Serving::in_memory();
    create(&serving);
    let mut client = serving.client();
    let filling = "x".repeat(40_000);
    let docs: Vec<Value> = (0..20)
        .map(|n| {
            let ids = json!([format!("{n:04x}"), "aa"]);
            json!({ "_id": "doc", "_revisions": { "start": 2, "ids": ids }, "filling": filling })
        })
        .collect();
    let body = json!({ "docs": docs, "new_edits": false }).to_string();
    client
        .json("POST", "/db/_bulk_docs", body.as_bytes())
        .expect(201);
    let row = json!({ "id": "doc", "rev": "1-aa" });
    for count in [1, 2] {
        let body = json!({ "docs": vec![row.clone(); count] }).to_string();
        let path = "/db/_bulk_get?latest=true";
        let told = client.json("POST", path, body.as_bytes()).expect(200);
        let told = told.json();
        let rows = told["results"].as_array().unwrap();
        assert_eq!(rows.len(), count);
        for row in rows {
            let docs = row["docs"].as_array().unwrap();
            let told = docs.iter().map(|doc| doc["ok"]["_rev"].as_str().unwrap());
            let expected = (0..20).map(|n| format!("2-{n:04x}"));
            assert!(told.eq(expected), "{count} rows");
        }
    }
}
