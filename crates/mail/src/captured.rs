//! Mail that was not sent because there is no server to send it to: the last ones are kept, to be
//! looked at while an app is made.

use adea_store::{Direction, EngineError, Op, Space, Transaction, View};
use serde::{Deserialize, Serialize};

use crate::kind::Kind;
use crate::stored::{decode, encode};
use crate::template::Rendered;
use crate::{keys, queue::Queued};

/// How many are kept.
pub const CAPTURED_MAX: usize = 200;

/// A mail that was captured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Captured {
    /// What tells it from all others.
    pub id: String,
    /// When it was captured, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// The address that it would have gone to.
    pub to: String,
    /// What it is about.
    pub kind: Kind,
    /// The app that it is about; empty for none.
    pub app: String,
    /// The language that was asked for; empty for the server's own.
    pub language: String,
    /// What it would have said.
    pub words: Rendered,
    /// The links in its text.
    pub links: Vec<String>,
}

impl Captured {
    /// What is kept of a mail.
    #[must_use]
    pub fn of(queued: &Queued, words: Rendered, time_ms: u64) -> Self {
        Self {
            id: queued.id.clone(),
            time_ms,
            to: queued.mail.to.clone(),
            kind: queued.mail.kind,
            app: queued.mail.app.clone(),
            language: queued.mail.language.clone(),
            links: links(&words.text),
            words,
        }
    }
}

/// Keeps a mail, and of the others the last ones. It comes behind them, also where the clock stood
/// still meanwhile.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn keep(tx: &mut Transaction<'_>, captured: &Captured) -> Result<(), EngineError> {
    let all = tx.range(Space::Index, &keys::all_captured(), 2 * CAPTURED_MAX)?;
    let last = all.last().and_then(|(key, _)| keys::parse_timed(key));
    let after_last_ms = last.map_or(0, |(time_ms, _)| time_ms.saturating_add(1));
    let key = keys::captured(captured.time_ms.max(after_last_ms), &captured.id);
    tx.put(Space::Index, key, encode(captured));
    let superfluous = (all.len() + 1).saturating_sub(CAPTURED_MAX);
    for (key, _) in all.into_iter().take(superfluous) {
        tx.delete(Space::Index, key);
    }
    Ok(())
}

/// All that are kept, the newest first.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn list(view: &dyn View) -> Result<Vec<Captured>, EngineError> {
    let mut cursor = view.range(Space::Index, keys::all_captured(), Direction::Reverse)?;
    let mut found = Vec::new();
    while let Some((_, value)) = cursor.next()? {
        found.push(decode(value, "a captured mail")?);
    }
    Ok(found)
}

/// Forgets all of them.
pub fn clear(tx: &mut Transaction<'_>) {
    tx.push(Op::DeleteRange {
        space: Space::Index,
        range: keys::all_captured(),
    });
}

/// The links in a text.
fn links(text: &str) -> Vec<String> {
    let words = text.split(|c: char| c.is_whitespace() || "<>\"()".contains(c));
    words
        .filter(|word| word.starts_with("https://") || word.starts_with("http://"))
        .map(|word| word.trim_end_matches(['.', ',']).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_in_a_text() {
        let text = "Open\n\nhttps://a.example/x#t-_1\n\nor <http://b.example/>, not httpx.";
        assert_eq!(
            links(text),
            ["https://a.example/x#t-_1", "http://b.example/"]
        );
    }
}
