//! How far a replication came, written down on both sides in the form of `CouchDB`.
//!
//! Each side has a local document with the sessions so far. A place counts only if both sides know the
//! session that reached it: who lost one of the databases, or restored an old one, finds the newest
//! session that both still know and goes on from there. Nothing is written before what it covers is on
//! stable storage at the target.

use serde_json::{Map, Value, json};

use crate::error::ReplicationError;
use crate::identity::VERSION;
use crate::patience::Patience;
use crate::peer::{LocalDocument, Peer};
use crate::sequence::Sequence;
use crate::stats::Stats;
use crate::stop::Stop;

/// Sessions that are remembered.
const HISTORY_MAX: usize = 50;

type Fields = Map<String, Value>;

/// Where both sides agree that everything before is there, and the sessions up to then.
#[must_use]
pub fn common(source: &Fields, target: &Fields) -> (Sequence, Vec<Value>) {
    let session = |log: &Fields| log.get("session_id").cloned();
    if session(source) == session(target) {
        let place = |log: &Fields| Sequence::of_value(log.get("source_last_seq"));
        let (there, here) = (place(source), place(target));
        // Both may be of one session and not of one moment, if a side was set back: the target knows
        // what it has.
        let ahead = there.number() >= here.number();
        let (log, place) = if ahead {
            (target, here)
        } else {
            (source, there)
        };
        return (place, history(log).to_vec());
    }
    common_of_histories(history(source), history(target))
}

fn history(log: &Fields) -> &[Value] {
    log.get("history")
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn common_of_histories(mut source: &[Value], mut target: &[Value]) -> (Sequence, Vec<Value>) {
    let knows = |entries: &[Value], entry: &Value| {
        let session = entry.get("session_id");
        session.is_some()
            && entries
                .iter()
                .any(|known| known.get("session_id") == session)
    };
    let reached = |entry: &Value| Sequence::of_value(entry.get("recorded_seq"));
    while let (Some((there, source_rest)), Some((here, target_rest))) =
        (source.split_first(), target.split_first())
    {
        if knows(target, there) {
            return (reached(there), source_rest.to_vec());
        }
        if knows(source_rest, here) {
            return (reached(here), target_rest.to_vec());
        }
        (source, target) = (source_rest, target_rest);
    }
    (Sequence::zero(), Vec::new())
}

/// The checkpoints of one session.
pub(crate) struct Checkpoint {
    /// The name of the local documents.
    name: String,
    session: String,
    started: String,
    source: Side,
    target: Side,
    /// The sessions before this one.
    history: Vec<Value>,
    /// Where this session began.
    pub(crate) began: Sequence,
    /// What was written last.
    committed: Sequence,
    of_ids: bool,
}

/// One side's document.
struct Side {
    revision: Option<String>,
    instance: String,
}

/// What a checkpoint says.
pub(crate) struct Reached<'r> {
    pub(crate) through: &'r Sequence,
    pub(crate) stats: &'r Stats,
    /// The time of day, as HTTP writes it.
    pub(crate) now: String,
}

/// What both sides know of a replication before a session.
pub(crate) struct Found {
    pub(crate) source: Option<LocalDocument>,
    pub(crate) target: Option<LocalDocument>,
}

/// The two ends of a session and how to speak to them.
#[derive(Clone, Copy)]
pub(crate) struct Ends<'e> {
    pub(crate) source: &'e dyn Peer,
    pub(crate) target: &'e dyn Peer,
    pub(crate) patience: &'e Patience,
    pub(crate) stop: &'e Stop,
}

impl Ends<'_> {
    /// Reads what both sides know.
    pub(crate) async fn find(&self, name: &str) -> Result<Found, ReplicationError> {
        let (source, target) =
            tokio::join!(self.read(self.source, name), self.read(self.target, name));
        Ok(Found {
            source: source?,
            target: target?,
        })
    }

    async fn read(
        &self,
        peer: &dyn Peer,
        name: &str,
    ) -> Result<Option<LocalDocument>, ReplicationError> {
        let reading = || peer.read_local(name);
        let insisted = self
            .patience
            .insist(self.stop, "_local", peer.shown(), reading);
        insisted.await
    }

    /// Brings both sides to stable storage; says which instances they are.
    async fn commit(&self) -> Result<(String, String), ReplicationError> {
        let (source, target) = tokio::join!(
            self.patience.ask(self.stop, || self.source.commit()),
            self.patience.ask(self.stop, || self.target.commit())
        );
        let failed = |side: &str, error| {
            ReplicationError::Checkpoint(format!("Failure on {side} commit: {error}"))
        };
        Ok((
            source.map_err(|error| failed("source", error))?,
            target.map_err(|error| failed("target", error))?,
        ))
    }

    async fn write(
        &self,
        side: &'static str,
        name: &str,
        document: &LocalDocument,
    ) -> Result<String, ReplicationError> {
        let peer = if side == "source" {
            self.source
        } else {
            self.target
        };
        let writing = || peer.write_local(name, document);
        let written = self.patience.ask(self.stop, writing).await;
        written.map_err(|error| {
            ReplicationError::Checkpoint(format!(
                "Error updating the {side} checkpoint document: {error}"
            ))
        })
    }
}

impl Checkpoint {
    pub(crate) fn new(
        name: String,
        session: String,
        started: String,
        instances: (String, String),
        found: Found,
        of_ids: bool,
    ) -> Self {
        let none = Fields::new();
        let fields = |found: &Option<LocalDocument>| found.as_ref().map(|log| log.json.clone());
        let (source, target) = (fields(&found.source), fields(&found.target));
        let (began, history) = common(
            source.as_ref().unwrap_or(&none),
            target.as_ref().unwrap_or(&none),
        );
        let side = |found: Option<LocalDocument>, instance| Side {
            revision: found.and_then(|log| log.revision),
            instance,
        };
        Self {
            name,
            session,
            started,
            source: side(found.source, instances.0),
            target: side(found.target, instances.1),
            history,
            committed: began.clone(),
            began,
            of_ids,
        }
    }

    /// Whether `through` is not written down yet.
    pub(crate) fn is_behind(&self, through: &Sequence) -> bool {
        self.committed != *through
    }

    /// The document as it stands when `reached`.
    pub(crate) fn document(&self, reached: &Reached<'_>) -> Fields {
        let through = reached.through.to_value();
        let mut entry = Fields::new();
        entry.insert("session_id".to_owned(), json!(self.session));
        entry.insert("start_time".to_owned(), json!(self.started));
        entry.insert("end_time".to_owned(), json!(reached.now));
        entry.insert("start_last_seq".to_owned(), self.began.to_value());
        entry.insert("end_last_seq".to_owned(), through.clone());
        entry.insert("recorded_seq".to_owned(), through.clone());
        for (name, count) in reached.stats.of_history() {
            entry.insert(name.to_owned(), count.into());
        }
        let mut document = Fields::new();
        document.insert("session_id".to_owned(), json!(self.session));
        document.insert("source_last_seq".to_owned(), through);
        document.insert("replication_id_version".to_owned(), json!(VERSION));
        if self.of_ids {
            // As `CouchDB` answers for a replication of named documents.
            for name in [
                "start_time",
                "end_time",
                "docs_read",
                "docs_written",
                "doc_write_failures",
            ] {
                let value = entry.get(name).cloned().unwrap_or_default();
                document.insert(name.to_owned(), value);
            }
        }
        let before = self.history.iter().take(HISTORY_MAX - 1).cloned();
        let history: Vec<Value> = std::iter::once(Value::Object(entry))
            .chain(before)
            .collect();
        document.insert("history".to_owned(), Value::Array(history));
        document
    }

    /// Writes down on both sides that everything up to `reached` is at the target.
    pub(crate) async fn write(
        &mut self,
        ends: Ends<'_>,
        reached: &Reached<'_>,
    ) -> Result<Fields, ReplicationError> {
        let (source, target) = ends.commit().await?;
        let out_of_step = match (
            source == self.source.instance,
            target == self.target.instance,
        ) {
            (true, true) => None,
            (true, false) => Some("Target database out of sync."),
            (false, true) => Some("Source database out of sync."),
            (false, false) => Some("Source and target databases out of sync."),
        };
        if let Some(reason) = out_of_step {
            return Err(ReplicationError::Checkpoint(format!(
                "{reason} It was made anew or restored meanwhile."
            )));
        }
        let document = self.document(reached);
        // The source first: a place that the target alone knows would be its word against nobody's.
        for side in ["source", "target"] {
            let own = if side == "source" {
                &mut self.source
            } else {
                &mut self.target
            };
            let log = LocalDocument {
                revision: own.revision.clone(),
                json: document.clone(),
            };
            own.revision = Some(ends.write(side, &self.name, &log).await?);
        }
        self.committed = reached.through.clone();
        Ok(document)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(sessions: &[(&str, u64)]) -> Fields {
        let history: Vec<Value> = sessions
            .iter()
            .map(|(session, place)| json!({"session_id": session, "recorded_seq": format!("{place}-x")}))
            .collect();
        let first = sessions.first().map_or(json!({}), |(session, place)| {
            json!({"session_id": session, "source_last_seq": format!("{place}-x"), "history": history})
        });
        first.as_object().unwrap().clone()
    }

    fn check(source: &[(&str, u64)], target: &[(&str, u64)], place: u64, left: usize) {
        let (found, history) = common(&log(source), &log(target));
        let expected = if place == 0 {
            "0".to_owned()
        } else {
            format!("\"{place}-x\"")
        };
        assert_eq!(
            (found.as_json(), history.len()),
            (expected.as_str(), left),
            "{source:?} {target:?}"
        );
    }

    #[test]
    fn the_newest_session_that_both_know_is_found() {
        check(&[], &[], 0, 0);
        check(&[("a", 5)], &[], 0, 0);
        check(&[], &[("a", 5)], 0, 0);
        check(&[("a", 5)], &[("a", 5)], 5, 1);
        check(&[("b", 9), ("a", 5)], &[("b", 9), ("a", 5)], 9, 2);
        check(&[("b", 9), ("a", 5)], &[("a", 5)], 5, 0);
        check(&[("a", 5)], &[("b", 9), ("a", 5)], 5, 0);
        check(&[("c", 9), ("a", 5)], &[("b", 7), ("a", 5), ("o", 1)], 5, 0);
        check(
            &[("c", 9), ("b", 5), ("o", 1)],
            &[("x", 7), ("y", 6), ("b", 5)],
            5,
            1,
        );
        check(&[("c", 9)], &[("b", 7)], 0, 0);
        // One side was set back within the session.
        check(&[("a", 9)], &[("a", 5)], 5, 1);
        check(&[("a", 5)], &[("a", 9)], 5, 1);
    }

    #[test]
    fn a_checkpoint_has_couchdbs_form_and_a_bound() {
        let sessions: Vec<(String, u64)> = (0..80).map(|n| (format!("s{n}"), 100 - n)).collect();
        let sessions: Vec<(&str, u64)> = sessions.iter().map(|(s, n)| (s.as_str(), *n)).collect();
        let document = || {
            Some(LocalDocument {
                revision: Some("0-3".to_owned()),
                json: log(&sessions),
            })
        };
        let checkpoint = Checkpoint::new(
            "name".to_owned(),
            "new".to_owned(),
            "then".to_owned(),
            ("1".to_owned(), "2".to_owned()),
            Found {
                source: document(),
                target: document(),
            },
            false,
        );
        assert_eq!(checkpoint.began.as_json(), "\"100-x\"");
        let through = Sequence::of_json("\"120-x\"");
        assert!(checkpoint.is_behind(&through));
        let stats = Stats {
            docs_read: 3,
            docs_written: 2,
            doc_write_failures: 1,
            ..Stats::default()
        };
        let reached = Reached {
            through: &through,
            stats: &stats,
            now: "now".to_owned(),
        };
        let document = checkpoint.document(&reached);
        assert_eq!(document["history"].as_array().unwrap().len(), HISTORY_MAX);
        assert_eq!(
            document["history"][0],
            json!({"session_id": "new", "start_time": "then", "end_time": "now", "start_last_seq": "100-x",
                "end_last_seq": "120-x", "recorded_seq": "120-x", "missing_checked": 0, "missing_found": 0,
                "docs_read": 3, "docs_written": 2, "doc_write_failures": 1, "bulk_get_docs": 0, "bulk_get_attempts": 0})
        );
        let names: Vec<&String> = document.keys().collect();
        assert_eq!(
            names,
            [
                "session_id",
                "source_last_seq",
                "replication_id_version",
                "history"
            ]
        );
    }
}
