//! Whether a server has all that clients were told: each document in its last acknowledged state,
//! attachments byte for byte, a changes feed without gaps or disorder, sequences that never went back.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::http::Client;
use super::load::{Worker, Written, sequence_of};
use super::model::{Churned, Content, Found, Record};

/// How many ancestors of a revision the server keeps at least.
const ANCESTORS: usize = 900;

/// What is wrong, in sentences.
pub(super) type Faults = Vec<String>;

/// Compares one database with what all clients know of it. `everything`: also attachments and
/// histories that were not touched since the last look.
pub(super) fn database(
    client: &mut Client,
    name: &str,
    workers: &mut [Worker],
    everything: bool,
) -> Faults {
    let mut faults = Faults::new();
    let found = listed(client, name, workers, &mut faults);
    let mut known: BTreeSet<String> = BTreeSet::from(["shared".to_owned()]);
    for worker in &mut *workers {
        let number = worker.number;
        let Some(written) = worker.written.get_mut(name) else {
            continue;
        };
        for (id, record) in &mut written.documents {
            known.insert(id.clone());
            if let Err(fault) = record.settle(found.get(id)) {
                faults.push(format!("{name}/{id}: {fault}"));
            }
        }
        let ids: Vec<String> = match everything {
            true => written.documents.keys().cloned().collect(),
            false => written.touched.iter().cloned().collect(),
        };
        written.touched.clear();
        for id in ids {
            let record = &written.documents[&id];
            blobs(client, name, &id, record, &mut faults);
            history(client, name, &id, &record.revisions, &mut faults);
        }
        local(client, name, number, written, &mut faults);
        history(client, name, "shared", &written.shared, &mut faults);
    }
    for id in found.keys().filter(|id| !known.contains(*id)) {
        faults.push(format!("{name}/{id}: nobody wrote it"));
    }
    faults
}

/// The databases that clients make and drop.
pub(super) fn churned(client: &mut Client, workers: &mut [Worker]) -> Faults {
    let mut faults = Faults::new();
    for worker in workers {
        let name = format!("churned-{}", worker.number);
        let known = &mut worker.churned;
        let status = client.get(&format!("/{name}")).status;
        let exists = status == 200;
        if !exists && status != 404 {
            faults.push(format!("{name}: {status}"));
        } else if exists != known.exists {
            if !known.in_doubt {
                faults.push(format!("{name}: there: {exists}, acknowledged: {known:?}"));
            }
            *known = Churned {
                exists,
                ..Churned::default()
            };
        }
        known.in_doubt = false;
        let found = if exists {
            listed(client, &name, &[], &mut faults)
        } else {
            BTreeMap::new()
        };
        for (id, record) in &mut known.documents {
            if let Err(fault) = record.settle(found.get(id)) {
                faults.push(format!("{name}/{id}: {fault}"));
            }
        }
        for id in found.keys().filter(|id| !known.documents.contains_key(*id)) {
            faults.push(format!("{name}/{id}: left over from before it was dropped"));
        }
    }
    faults
}

/// Everything in a database, from its feed and its list of documents, which must say the same.
fn listed(
    client: &mut Client,
    name: &str,
    workers: &[Worker],
    faults: &mut Faults,
) -> BTreeMap<String, Found> {
    let about = client.get(&format!("/{name}"));
    if about.status != 200 {
        faults.push(format!("{name}: {} {}", about.status, about.text()));
        return BTreeMap::new();
    }
    let (about, seen) = (
        about.json(),
        workers.iter().filter_map(|worker| worker.written.get(name)),
    );
    let seen = seen.map(|written| written.sequence).max().unwrap_or(0);
    let reached = sequence_of(&about["update_seq"]);
    if reached < seen {
        faults.push(format!(
            "{name}: sequence {reached}, and {seen} was seen before"
        ));
    }
    let mut found = feed(client, name, reached, faults);
    let rows = client
        .get(&format!("/{name}/_all_docs?include_docs=true"))
        .json();
    let rows = rows["rows"].as_array().unwrap();
    for row in rows {
        let (id, document) = (row["id"].as_str().unwrap(), &row["doc"]);
        match found.get_mut(id) {
            Some(found) if !found.deleted && row["value"]["rev"] == found.revision => {
                *found = read(document);
                if let Some(value) = found.value
                    && document
                        .get("padding")
                        .is_some_and(|text| text != &Content::padding(value))
                {
                    faults.push(format!("{name}/{id}: another body"));
                }
            }
            other => faults.push(format!(
                "{name}/{id}: listed as {row}, in the feed {other:?}"
            )),
        }
    }
    let deleted = found.values().filter(|found| found.deleted).count();
    let counts = (&about["doc_count"], &about["doc_del_count"]);
    if (counts.0.as_u64(), counts.1.as_u64())
        != (u64::try_from(rows.len()).ok(), u64::try_from(deleted).ok())
        || rows.len() + deleted != found.len()
    {
        let feed = found.len();
        faults.push(format!(
            "{name}: counts {counts:?}, listed {}, deleted {deleted}, in the feed {feed}",
            rows.len()
        ));
    }
    found
}

fn read(document: &Value) -> Found {
    let blobs = document.get("_attachments").and_then(Value::as_object);
    let lengths = blobs.into_iter().flatten().map(|(name, stub)| {
        let length = stub["length"].as_u64().unwrap();
        (name.clone(), usize::try_from(length).unwrap())
    });
    Found {
        revision: document["_rev"].as_str().unwrap().to_owned(),
        deleted: false,
        value: document["value"].as_u64(),
        blobs: lengths.collect(),
    }
}

/// The changes feed: ordered, without a document twice.
fn feed(
    client: &mut Client,
    name: &str,
    reached: u64,
    faults: &mut Faults,
) -> BTreeMap<String, Found> {
    let answer = client.get(&format!("/{name}/_changes")).json();
    let (mut found, mut last) = (BTreeMap::new(), 0);
    for row in answer["results"].as_array().unwrap() {
        let (id, sequence) = (row["id"].as_str().unwrap(), sequence_of(&row["seq"]));
        if sequence <= last || sequence > reached {
            faults.push(format!(
                "{name}/{id}: sequence {sequence} after {last}, of {reached}"
            ));
        }
        last = sequence;
        let document = Found {
            revision: row["changes"][0]["rev"].as_str().unwrap().to_owned(),
            deleted: row.get("deleted").is_some(),
            value: None,
            blobs: BTreeMap::new(),
        };
        if found.insert(id.to_owned(), document).is_some() {
            faults.push(format!("{name}/{id}: twice in the feed"));
        }
    }
    found
}

fn blobs(client: &mut Client, name: &str, id: &str, record: &Record, faults: &mut Faults) {
    let Some(Content::Holds { blobs, .. }) = &record.acknowledged else {
        return;
    };
    for (file, blob) in blobs {
        let answer = client.get(&format!("/{name}/{id}/{file}"));
        if answer.status != 200 || answer.body != blob.bytes() {
            let (status, length) = (answer.status, answer.body.len());
            faults.push(format!(
                "{name}/{id}/{file}: {status}, {length} bytes for {blob:?}"
            ));
        }
    }
}

/// Each acknowledged revision must be an ancestor of the newest, or that one.
fn history(client: &mut Client, name: &str, id: &str, revisions: &[String], faults: &mut Faults) {
    let Some(newest) = revisions.last() else {
        return;
    };
    let query = match id {
        "shared" => "revs=true".to_owned(),
        _ => format!("revs=true&rev={newest}"),
    };
    let answer = client.get(&format!("/{name}/{id}?{query}"));
    if answer.status != 200 {
        faults.push(format!("{name}/{id}: {} for {newest}", answer.status));
        return;
    }
    let told = &answer.json()["_revisions"];
    let (start, ids) = (
        told["start"].as_u64().unwrap(),
        told["ids"].as_array().unwrap(),
    );
    let ancestors: BTreeSet<String> = (0..=start)
        .rev()
        .zip(ids)
        .map(|(generation, hash)| format!("{generation}-{}", hash.as_str().unwrap()))
        .collect();
    for revision in revisions.iter().rev().take(ANCESTORS) {
        if !ancestors.contains(revision) {
            faults.push(format!(
                "{name}/{id}: {revision} was acknowledged and is no ancestor"
            ));
        }
    }
}

fn local(
    client: &mut Client,
    name: &str,
    number: usize,
    written: &mut Written,
    faults: &mut Faults,
) {
    let answer = client.get(&format!("/{name}/_local/w{number}"));
    let found = (answer.status == 200).then(|| read(&answer.json()));
    if let Err(fault) = written.local.settle(found.as_ref()) {
        faults.push(format!("{name}/_local/w{number}: {fault}"));
    }
}
