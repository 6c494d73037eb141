//! Why somebody sees a document, or does not: what it says, what he holds, and since when both.

use std::sync::Arc;

use adea_access::{Mailboxes, Principals, Rule, reader_name};
use adea_accounts::Access;
use adea_base::{Caller, DocumentId, Span};
use adea_documents::json::skim;
use adea_documents::labels::{self, Era, Label};
use adea_documents::reader::Reader;
use adea_documents::record::{Record, split_body};
use adea_store::EngineError;

use super::AccessError;
use crate::databases::DatabaseEntry;
use crate::error::PodError;
use crate::pod::Pod;

/// What decides who may read a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A property of it.
    Property,
    /// The paths of the database's expression.
    Expression,
    /// The database's function.
    Function,
    /// Whom it is for, as a message.
    Mailbox,
    /// The database's default, since the rule gave nothing; or what it says of all documents alike.
    Default,
    /// It is deleted, and stays where it was.
    Deletion,
    /// It is still worked out, by a new rule: nobody but administrators sees it.
    Pending,
}

/// A stretch of the database's order, with times where they are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The first sequence of it.
    pub from: u64,
    /// When that was, at the earliest, in seconds since the Unix epoch.
    pub from_unix_s: Option<u64>,
    /// The first sequence behind it; `None` if it lasts.
    pub to: Option<u64>,
    /// When that was, at the earliest.
    pub to_unix_s: Option<u64>,
}

/// A list under which a document stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stood {
    /// Its signature; empty for a document that nobody but administrators saw.
    pub signature: Arc<str>,
    /// Its principals.
    pub principals: Arc<[Arc<str>]>,
    /// When.
    pub stretch: Stretch,
    /// When the user held one of them, as far as he was seen to.
    pub held: Vec<Stretch>,
}

/// Why somebody sees a document, or does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// Whether he would see it if he asked now.
    pub visible: bool,
    /// Whether he administers the database, and sees all.
    pub admin: bool,
    /// Whether he is let in by the database's `_security` and its app.
    pub let_in: bool,
    /// By which of his principals.
    pub by: Vec<Arc<str>>,
    /// Since when without a break, as far as he was seen to hold them.
    pub since: Option<Stretch>,
    /// Whether the document is deleted.
    pub deleted: bool,
    /// What decided who may read it.
    pub source: Source,
    /// Where it stands and stood, the newest first.
    pub stood: Vec<Stood>,
    /// What he holds now.
    pub holds: Vec<Arc<str>>,
    /// What he held when he was last seen here.
    pub issued: Vec<Arc<str>>,
    /// When that changed last.
    pub issued_at: Option<Stretch>,
}

impl Pod {
    /// Who has the name `user`, with the roles that he has now; one who has no account holds nothing but
    /// his name. The empty text is who has not signed in.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn caller_for_why(&self, user: &str) -> Result<Caller, PodError> {
        if user.is_empty() {
            return Ok(Caller::anonymous());
        }
        if let Some(holder) = self.holder(user)? {
            return Ok(holder.caller);
        }
        let known = self.principal(user)?.map(|known| known.caller);
        Ok(known.unwrap_or_else(|| Caller::named(user, Vec::new())))
    }

    /// Why `user` sees the document `id`, or does not.
    ///
    /// # Errors
    /// [`PodError::Missing`] if there is no such document; [`AccessError::Off`] if there is no access
    /// control.
    pub fn why(
        &self,
        entry: &DatabaseEntry,
        id: &DocumentId,
        user: &Caller,
    ) -> Result<Why, PodError> {
        if !entry.has_access_control() {
            return Err(AccessError::Off(entry.name.clone()).into());
        }
        let view = self.view();
        let reader = Reader {
            view: view.as_ref(),
            database: entry.number,
            scope: adea_access::aggregate(),
        };
        let record = reader.record(id.as_str())?.ok_or(PodError::Missing)?;
        let access = entry.access(user);
        let admin = access == Access::Admin;
        let let_in = access.require_member().is_ok() && self.may_enter(user, &entry.name).is_ok();
        let principals = Principals::of(user, admin);
        let history = match reader_name(user) {
            Some(name) => self.read_history(entry.number, &name)?,
            None => adea_access::History::constant(&principals),
        };
        let settled = record
            .labelled
            .as_ref()
            .is_some_and(|labelled| labelled.generation == entry.settings.labels);
        let mut stood = Vec::new();
        for (label, from, to) in eras(&reader, &record)? {
            let spans = history.spans(&label.members);
            stood.push(Stood {
                held: spans
                    .iter()
                    .map(|span| self.stretch(span.from, span.to))
                    .collect(),
                signature: label.name,
                principals: label.members,
                stretch: self.stretch(from, to),
            });
        }
        let list: &[Arc<str>] = stood.first().map_or(&[], |now| &now.principals);
        let by: Vec<Arc<str>> = list
            .iter()
            .filter(|principal| principals.holds(principal))
            .cloned()
            .collect();
        let visible = let_in && (admin || settled && !by.is_empty());
        Ok(Why {
            visible,
            admin,
            let_in,
            since: visible.then(|| self.seen_since(&stood)).flatten(),
            deleted: record.tree.is_deleted(),
            source: source(entry, &reader, id, &record, settled)?,
            by,
            stood,
            holds: principals.as_slice().to_vec(),
            issued: history.holds_now().as_slice().to_vec(),
            issued_at: match history.turned_at() {
                0 => None,
                turned => Some(self.stretch(turned, Span::OPEN)),
            },
        })
    }

    /// Since when he sees it without a break.
    fn seen_since(&self, stood: &[Stood]) -> Option<Stretch> {
        let mut since: Option<u64> = None;
        for one in stood {
            let end = since.or(one.stretch.to).unwrap_or(Span::OPEN);
            let held = one
                .held
                .iter()
                .rfind(|held| held.from < end && held.to.unwrap_or(Span::OPEN) >= end);
            let Some(held) = held else { break };
            since = Some(held.from.max(one.stretch.from));
            if held.from > one.stretch.from {
                break;
            }
        }
        since.map(|since| self.stretch(since, Span::OPEN))
    }

    fn stretch(&self, from: u64, to: u64) -> Stretch {
        let moments = self.inner.moments.read();
        let open = to == Span::OPEN;
        Stretch {
            from,
            from_unix_s: moments.when(from),
            to: (!open).then_some(to),
            to_unix_s: if open { None } else { moments.when(to) },
        }
    }
}

/// The labels under which a document stands and stood, and when, the newest first.
fn eras(reader: &Reader<'_>, record: &Record) -> Result<Vec<(Label, u64, u64)>, EngineError> {
    let Some(labelled) = &record.labelled else {
        return Ok(Vec::new());
    };
    let now = Era {
        label: labelled.label,
        from: labelled.since,
        until: Span::OPEN,
    };
    let all = labelled.earlier.iter().chain([&now]).rev();
    all.map(|era| {
        let label = labels::label(reader.view, reader.database, era.label)?;
        Ok((label, era.from, era.until))
    })
    .collect()
}

/// What decided who may read a document.
fn source(
    entry: &DatabaseEntry,
    reader: &Reader<'_>,
    id: &DocumentId,
    record: &Record,
    settled: bool,
) -> Result<Source, PodError> {
    if !settled {
        return Ok(Source::Pending);
    }
    let Some(winner) = record.tree.winner().filter(|winner| !winner.is_deleted()) else {
        return Ok(Source::Deletion);
    };
    let Some(settings) = &entry.access else {
        return Ok(Source::Default);
    };
    let stored = winner.body().map(|body| reader.body(body)).transpose()?;
    let Some(stored) = stored.flatten() else {
        return Ok(Source::Default);
    };
    let (_, json) = split_body(&stored)?;
    let has = |name: &str| {
        let key = skim::key_of(name);
        skim::members(json).any(|(member, _)| member == key)
    };
    let addressed = |boxes: &Mailboxes| has(&boxes.recipient);
    Ok(match &settings.rule {
        _ if settings.write_only => Source::Default,
        _ if settings.mailboxes.as_ref().is_some_and(addressed) => Source::Mailbox,
        Rule::Function { .. } => Source::Function,
        Rule::Property(name) if has(name) => Source::Property,
        Rule::Property(_) => Source::Default,
        Rule::Expression(expression) => match expression.evaluate_body(id.as_str(), json) {
            Ok(Some(_)) => Source::Expression,
            Ok(None) | Err(_) => Source::Default,
        },
    })
}
