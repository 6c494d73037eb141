//! The question what a target lacks, as JSON, and what can be made of its answer.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::peer::{ChangeRow, PeerError, Wanted};

/// The body of a request to `_revs_diff`.
pub(crate) fn question(rows: &[ChangeRow]) -> Result<Vec<u8>, PeerError> {
    let failed = |error: serde_json::Error| PeerError::Nonsense(error.to_string());
    let mut out = Vec::with_capacity(rows.len() * 96);
    out.push(b'{');
    for (n, row) in rows.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        serde_json::to_writer(&mut out, &row.id).map_err(failed)?;
        out.push(b':');
        serde_json::to_writer(&mut out, &row.revisions).map_err(failed)?;
    }
    out.push(b'}');
    Ok(out)
}

#[derive(Deserialize)]
struct Lacking {
    missing: Vec<String>,
    #[serde(default)]
    possible_ancestors: Vec<String>,
}

/// What the answer says is missing, in the order of the question. It may say so only of what was asked.
pub(crate) fn read(rows: &[ChangeRow], answer: &[u8]) -> Result<Vec<Wanted>, PeerError> {
    let nonsense = |reason: String| PeerError::Nonsense(reason);
    let mut told: HashMap<String, Lacking> =
        serde_json::from_slice(answer).map_err(|error| nonsense(error.to_string()))?;
    let mut wanted = Vec::new();
    for row in rows {
        let Some(lacking) = told.remove(&row.id) else {
            continue;
        };
        let ancestors: Arc<[String]> = lacking.possible_ancestors.into();
        for revision in lacking.missing {
            if !row.revisions.contains(&revision) {
                return Err(nonsense(format!(
                    "revision {revision} of {} is missing, which nobody asked about",
                    row.id
                )));
            }
            wanted.push(Wanted {
                id: row.id.clone(),
                revision,
                ancestors: Arc::clone(&ancestors),
            });
        }
    }
    match told.keys().next() {
        Some(id) => Err(nonsense(format!(
            "{id} is missing, which nobody asked about"
        ))),
        None => Ok(wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, revisions: &[&str]) -> ChangeRow {
        ChangeRow {
            id: id.to_owned(),
            revisions: revisions
                .iter()
                .map(|&revision| revision.to_owned())
                .collect(),
            sequence: None,
        }
    }

    #[test]
    fn what_is_missing_comes_in_the_order_of_the_question() {
        let rows = [
            row("b\"", &["1-x", "2-y"]),
            row("a", &["1-z"]),
            row("c", &["1-z"]),
        ];
        assert_eq!(
            question(&rows).unwrap(),
            br#"{"b\"":["1-x","2-y"],"a":["1-z"],"c":["1-z"]}"#
        );
        let answer =
            br#"{"a":{"missing":["1-z"],"possible_ancestors":["1-q"]},"b\"":{"missing":["2-y"]}}"#;
        let wanted = read(&rows, answer).unwrap();
        let shown: Vec<_> = wanted
            .iter()
            .map(|w| (w.id.as_str(), w.revision.as_str(), w.ancestors.len()))
            .collect();
        assert_eq!(shown, [("b\"", "2-y", 0), ("a", "1-z", 1)]);
    }

    #[test]
    fn a_target_cannot_lack_what_it_was_not_asked_about() {
        let rows = [row("a", &["1-z"])];
        for answer in [
            r#"{"a":{"missing":["9-z"]}}"#,
            r#"{"x":{"missing":["1-z"]}}"#,
            "[]",
            "",
            r#"{"a":[]}"#,
            r#"{"a":{"missing":[1]}}"#,
        ] {
            assert!(
                matches!(read(&rows, answer.as_bytes()), Err(PeerError::Nonsense(_))),
                "{answer}"
            );
        }
    }
}
