//! Reduced answers: group by group, each from stored nodes where they fit and bare rows where not.
//!
//! What a built-in reduce makes of a piece is small, so it is made at once. Pieces for a function
//! are collected for many groups and sent to its process together; only a group that would not fit
//! in memory is reduced on its way.

use std::ops::ControlFlow;
use std::sync::Arc;

use adea_documents::index::builtin::{Builtin, BuiltinError};
use adea_documents::index::{GroupStep, Material, Piece, RowRange, Signature};
use adea_documents::json::for_each_item;
use adea_script::{Owner, Purpose, ReduceCall, ReduceProgram};
use adea_store::Direction;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use crate::error::PodError;
use crate::indexing::{Reducer, call_of};
use crate::pod::Pod;
use crate::views::ask::{ViewAsk, ViewCursor};

/// Groups of one portion.
const GROUPS_MAX: usize = 2_000;
/// Bytes of one portion's pieces, and of one group's before it is reduced on its way.
const PIECES_BYTES_MAX: usize = 2 << 20;

/// A group, reduced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRow {
    /// Its key as JSON; `null` if all rows are one group.
    pub key: String,
    /// What became of it, as JSON; or why it grew instead of shrinking.
    pub value: Result<String, Overflow>,
}

/// What a function that does not reduce is told off with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overflow(pub String);

/// A group and what it is to be reduced from.
struct Group {
    key: String,
    pieces: Vec<Piece>,
}

impl Pod {
    /// The next groups; the cursor says whether there may be more.
    ///
    /// # Errors
    /// [`PodError::Reduce`] or [`PodError::Script`] if they cannot be reduced.
    pub async fn view_groups(
        &self,
        ask: &Arc<ViewAsk>,
        cursor: ViewCursor,
    ) -> Result<(Vec<GroupRow>, ViewCursor), PodError> {
        let Some((signature, reducer)) = &ask.reduce else {
            return Ok((Vec::new(), cursor));
        };
        let (pod, asked) = (self.clone(), Arc::clone(ask));
        let runtime = Handle::current();
        let read = spawn_blocking(move || {
            let mut cursor = cursor;
            let groups = pod.read_groups(&asked, &mut cursor, &runtime)?;
            Ok::<_, PodError>((groups, cursor))
        });
        let (groups, cursor) = read.await.map_err(|_| PodError::Interrupted)??;
        let database = ask.entry.number.0;
        let rows = match reducer {
            Reducer::Builtin(builtin) => {
                let rows = groups.into_iter().map(|group| {
                    let value = builtin_value(*builtin, &group.pieces)?;
                    let value = builtin.finalize(&value).map_err(refused)?;
                    Ok(GroupRow {
                        key: group.key,
                        value: Ok(value),
                    })
                });
                rows.collect::<Result<Vec<_>, PodError>>()?
            }
            Reducer::Script { source } => {
                let (keys, pieces): (Vec<_>, Vec<_>) = groups
                    .into_iter()
                    .map(|group| (group.key, group.pieces))
                    .unzip();
                if let Some(error) = self.trouble(&ask.entry, signature) {
                    return Err(error.into());
                }
                let values = self.reduce_pieces(database, source, pieces).await;
                if let Err(PodError::Script(error)) = &values {
                    self.note_trouble(&ask.entry, *signature, error);
                }
                let values = values?;
                let rows = keys.into_iter().zip(values);
                rows.map(|(key, value)| GroupRow { key, value }).collect()
            }
        };
        Ok((rows, cursor))
    }

    /// Reads groups until there is enough of them.
    fn read_groups(
        &self,
        ask: &ViewAsk,
        cursor: &mut ViewCursor,
        runtime: &Handle,
    ) -> Result<Vec<Group>, PodError> {
        let moment = self.view_moment(ask)?;
        let (Some(reader), Some((reduce, reducer))) = (moment.reader(ask), &ask.reduce) else {
            cursor.ranges.clear();
            return Ok(Vec::new());
        };
        let mut reading = Reading {
            pod: self,
            ask,
            reducer,
            runtime,
            groups: Vec::new(),
            bytes: 0,
            group_bytes: 0,
            fault: None,
        };
        while cursor.more() && !reading.is_full() {
            let Some(range) = cursor.ranges.front().cloned() else {
                break;
            };
            match ask.group_level() {
                None => reading.whole(&reader, &range, reduce, cursor)?,
                Some(level) => reading.each(&reader, &range, level, reduce, cursor)?,
            }
            if let Some(fault) = reading.fault.take() {
                return Err(fault);
            }
        }
        Ok(reading.groups)
    }

    /// Each group's pieces through the function.
    async fn reduce_pieces(
        &self,
        database: u64,
        source: &str,
        groups: Vec<Vec<Piece>>,
    ) -> Result<Vec<Result<String, Overflow>>, PodError> {
        let owner = Owner {
            database,
            purpose: Purpose::Reduce,
        };
        let program = ReduceProgram::new(None, vec![source.to_owned()]);
        let mut calls: Vec<ReduceCall> = Vec::new();
        for piece in groups.iter().flatten() {
            if let Piece::Rows(rows) = piece {
                calls.push(call_of(&Material::Rows(rows.clone())));
            }
        }
        let scripts = &self.inner.scripts;
        let mut reduced = Vec::new();
        if !calls.is_empty() {
            reduced = scripts.reduce(&owner, &program, calls).await?;
        }
        let mut reduced = reduced.into_iter();
        let (mut values, mut again) = (Vec::with_capacity(groups.len()), Vec::new());
        for pieces in groups {
            let mut parts: Vec<String> = Vec::with_capacity(pieces.len());
            let mut overflow = None;
            for piece in pieces {
                let part = match piece {
                    Piece::Value(value) => Ok(value),
                    Piece::Rows(_) => in_its_row(heard(reduced.next()))?,
                };
                match part {
                    Ok(value) => parts.push(value),
                    Err(error) => overflow = Some(error),
                }
            }
            values.push(match (overflow, parts.len()) {
                (Some(error), _) => Some(Err(error)),
                (None, 1) => parts.pop().map(Ok),
                (None, _) => {
                    again.push(call_of(&Material::Values(parts)));
                    None
                }
            });
        }
        let mut rereduced = Vec::new();
        if !again.is_empty() {
            rereduced = scripts.reduce(&owner, &program, again).await?;
        }
        let mut rereduced = rereduced.into_iter();
        let values = values
            .into_iter()
            .map(|value| value.map_or_else(|| in_its_row(heard(rereduced.next())), Ok));
        values.collect()
    }
}

fn null() -> String {
    "null".to_owned()
}

/// What a function answered; without any answer the question fails.
fn heard(answer: Option<Result<String, String>>) -> Result<String, PodError> {
    match answer {
        Some(Ok(value)) => Ok(value),
        Some(Err(reason)) if reason.starts_with("Reduce output must shrink") => {
            let error = OVERFLOW.to_owned();
            Err(PodError::Reduce { error, reason })
        }
        Some(Err(reason)) => Err(PodError::Reduce {
            error: "reduce_error".to_owned(),
            reason,
        }),
        None => Err(PodError::Interrupted),
    }
}

/// `CouchDB`'s word for a result that does not shrink.
const OVERFLOW: &str = "reduce_overflow_error";

/// A result that does not shrink is told in its row; the other rows are none the worse.
fn in_its_row(value: Result<String, PodError>) -> Result<Result<String, Overflow>, PodError> {
    match value {
        Ok(value) => Ok(Ok(value)),
        Err(PodError::Reduce { error, reason }) if error == OVERFLOW => Ok(Err(Overflow(reason))),
        Err(error) => Err(error),
    }
}

fn refused(error: BuiltinError) -> PodError {
    PodError::Reduce {
        error: error.error,
        reason: error.reason,
    }
}

fn builtin_value(builtin: Builtin, pieces: &[Piece]) -> Result<String, PodError> {
    let values = pieces.iter().map(|piece| match piece {
        Piece::Rows(rows) => builtin.reduce(rows).map_err(refused),
        Piece::Value(value) => Ok(value.clone()),
    });
    let mut values = values.collect::<Result<Vec<_>, _>>()?;
    match (values.len(), values.pop()) {
        (1, Some(only)) => Ok(only),
        (_, last) => {
            values.extend(last);
            builtin.rereduce(&values).map_err(refused)
        }
    }
}

/// Groups being read.
struct Reading<'r> {
    pod: &'r Pod,
    ask: &'r ViewAsk,
    reducer: &'r Reducer,
    runtime: &'r Handle,
    groups: Vec<Group>,
    bytes: usize,
    group_bytes: usize,
    fault: Option<PodError>,
}

impl Reading<'_> {
    fn is_full(&self) -> bool {
        self.groups.len() >= GROUPS_MAX || self.bytes >= PIECES_BYTES_MAX
    }

    /// All rows of a range as one group, if there are any.
    fn whole(
        &mut self,
        reader: &adea_documents::index::IndexReader<'_>,
        range: &RowRange,
        reduce: &Signature,
        cursor: &mut ViewCursor,
    ) -> Result<(), PodError> {
        cursor.ranges.pop_front();
        let before = self.groups.len();
        reader.cover(range, reduce, |piece| {
            if self.groups.len() == before {
                self.begin("null".to_owned());
            }
            self.add(piece)
        })?;
        if self.groups.len() > before {
            if cursor.skip > 0 {
                cursor.skip -= 1;
                self.groups.truncate(before);
            } else {
                cursor.left -= 1;
            }
        }
        Ok(())
    }

    /// The groups of a range.
    fn each(
        &mut self,
        reader: &adea_documents::index::IndexReader<'_>,
        range: &RowRange,
        level: adea_documents::index::GroupLevel,
        reduce: &Signature,
        cursor: &mut ViewCursor,
    ) -> Result<(), PodError> {
        let (ask, direction) = (self.ask, self.ask.direction());
        let mut stopped = None;
        reader.walk_groups(range, direction, level, reduce, |step| match step {
            GroupStep::Begin(key) => {
                let key = group_key(ask, key);
                self.begin(key);
                ControlFlow::Continue(())
            }
            GroupStep::Piece(piece) => {
                if cursor.skip > 0 {
                    return ControlFlow::Continue(());
                }
                self.add(piece)
            }
            GroupStep::End(position) => {
                if cursor.skip > 0 {
                    cursor.skip -= 1;
                    self.groups.pop();
                } else {
                    cursor.left -= 1;
                }
                if cursor.left == 0 || self.is_full() {
                    stopped = Some(position.clone());
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            }
        })?;
        cursor.ranges.pop_front();
        if let Some(position) = stopped {
            let rest = match direction {
                Direction::Forward => RowRange {
                    from: position,
                    to: range.to.clone(),
                },
                Direction::Reverse => RowRange {
                    from: range.from.clone(),
                    to: Some(position),
                },
            };
            if !rest.is_empty() {
                cursor.ranges.push_front(rest);
            }
        }
        Ok(())
    }

    fn begin(&mut self, key: String) {
        self.bytes += key.len() + 32;
        self.group_bytes = 0;
        let pieces = Vec::new();
        self.groups.push(Group { key, pieces });
    }

    fn add(&mut self, piece: Piece) -> ControlFlow<()> {
        let Some(group) = self.groups.last_mut() else {
            return ControlFlow::Continue(());
        };
        let bytes = match &piece {
            Piece::Value(value) => value.len() + 32,
            Piece::Rows(rows) => rows
                .iter()
                .map(|row| row.key.len() + row.id.len() + row.value.len() + 96)
                .sum(),
        };
        self.bytes += bytes;
        self.group_bytes += bytes;
        let piece = match (self.reducer, piece) {
            (Reducer::Builtin(builtin), Piece::Rows(rows)) => match builtin.reduce(&rows) {
                Ok(value) => Piece::Value(value),
                Err(error) => {
                    self.fault = Some(refused(error));
                    return ControlFlow::Break(());
                }
            },
            (_, piece) => piece,
        };
        group.pieces.push(piece);
        if self.group_bytes >= PIECES_BYTES_MAX {
            self.group_bytes = 0;
            let pieces = std::mem::take(&mut group.pieces);
            match self.collapsed(pieces) {
                Ok(value) => {
                    if let Some(group) = self.groups.last_mut() {
                        group.pieces.push(Piece::Value(value));
                    }
                }
                Err(error) => {
                    self.fault = Some(error);
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// One value for the pieces of a group that is large.
    fn collapsed(&self, pieces: Vec<Piece>) -> Result<String, PodError> {
        match self.reducer {
            Reducer::Builtin(builtin) => builtin_value(*builtin, &pieces),
            Reducer::Script { source } => {
                let database = self.ask.entry.number.0;
                let groups = vec![pieces];
                let reduced = self.pod.reduce_pieces(database, source, groups);
                let mut values = self.runtime.block_on(reduced)?;
                match values.pop() {
                    Some(Ok(value)) => Ok(value),
                    // It grows; so it will be when the whole group is reduced.
                    Some(Err(_)) | None => Ok(null()),
                }
            }
        }
    }
}

/// The key that stands for a group, from the key of its first row.
fn group_key(ask: &ViewAsk, key: &str) -> String {
    let shown = ask.parts.shown(key);
    let Some(level) = ask.query.group_level.filter(|level| *level > 0) else {
        return shown.to_owned();
    };
    let level = usize::try_from(level).unwrap_or(usize::MAX);
    let (mut out, mut count) = (String::from("["), 0);
    let read = for_each_item::<adea_documents::json::JsonError>(shown.as_bytes(), |item| {
        if count < level {
            out.push_str(if count > 0 { "," } else { "" });
            out.push_str(&String::from_utf8_lossy(item));
        }
        count += 1;
        Ok(())
    });
    if !matches!(read, Ok(true)) || count <= level {
        return shown.to_owned();
    }
    out.push(']');
    out
}
