//! A listener who does not read: alone in its process, whose memory it measures.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, which is what it should do then"
)]

#[allow(dead_code, reason = "this binary needs a part of it")]
#[path = "it/client.rs"]
mod client;
#[allow(dead_code, reason = "this binary needs a part of it")]
#[path = "it/serving.rs"]
mod serving;

use std::collections::BTreeSet;

use crate::client::{Chance, Client};
use crate::serving::Serving;

const BATCHES: usize = 50;
/// Ten to a batch: 50 MB in all.
const DOCUMENT_BYTES: usize = 100_000;

/// Bytes of this process in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kilobytes: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes << 10
}

/// Writes 50 MB of documents.
fn write(client: &mut Client, kind: &str) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    let mut chance = Chance::new(1);
    for batch in 0..BATCHES {
        let mut documents = Vec::new();
        for n in 0..10 {
            let id = format!("{kind}-{batch:03}-{n}");
            let text: String = (0..DOCUMENT_BYTES / 20)
                .map(|_| format!("{:020}", chance.below(usize::MAX)))
                .collect();
            documents.push(format!("{{\"_id\":\"{id}\",\"text\":\"{text}\"}}"));
            ids.insert(id);
        }
        let body = format!("{{\"docs\":[{}]}}", documents.join(","));
        let rows = client
            .json("POST", "/db/_bulk_docs", body.as_bytes())
            .expect(201)
            .json();
        assert!(rows.as_array().unwrap().iter().all(|row| row["ok"] == true));
    }
    ids
}

#[test]
fn a_listener_who_does_not_read_costs_little_and_misses_nothing() {
    let serving = Serving::on_disk();
    let mut client = serving.client();
    client.json("PUT", "/db", b"").expect(201);
    // The engine's buffers and caches are full after this.
    write(&mut client, "early");
    let forms = ["continuous", "eventsource", "continuous", "eventsource"];
    let mut listeners = forms.map(|form| {
        let mut listener = serving.client();
        let path = format!("/db/_changes?feed={form}&since=now&include_docs=true");
        listener.send("GET", &path, &[], b"");
        assert_eq!(listener.head().status, 200);
        listener
    });
    let before = resident();
    let ids = write(&mut client, "late");
    let grown = resident().saturating_sub(before);
    assert!(grown < 20 << 20, "{} MB more than before", grown >> 20);
    for (form, listener) in forms.iter().zip(&mut listeners) {
        let mut seen = BTreeSet::new();
        let mut unread = Vec::new();
        while seen.len() < ids.len() {
            unread.extend(listener.chunk().unwrap());
            while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = unread.drain(..=end).collect();
                let json = if *form == "eventsource" {
                    line.strip_prefix(b"data: ")
                } else {
                    Some(line.as_slice())
                };
                if let Some(json) = json.filter(|json| json.starts_with(b"{")) {
                    let row: serde_json::Value = serde_json::from_slice(json).unwrap();
                    let size = row["doc"]["text"].as_str().unwrap().len();
                    assert_eq!(size, DOCUMENT_BYTES);
                    assert!(seen.insert(row["id"].as_str().unwrap().to_owned()));
                }
            }
        }
        assert_eq!(seen, ids);
    }
}
