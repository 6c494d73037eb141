//! Checking the index of labels against the documents: each stands under exactly one label, where its
//! record says, with a marker under each label that it left and is not under, and nothing else stands
//! there.

use std::collections::{BTreeMap, BTreeSet};

use adea_store::value::Reader as ValueReader;
use adea_store::{Direction, EngineError, KeyRange, Space};

use super::{Entry, Label, Labelled, all};
use crate::keys;
use crate::reader::Reader;
use crate::record::Record;
use crate::seen::{MOVES, NOBODY};

/// Labels read at once.
const LABELS_READ: usize = 1_000;

/// What the records say of labels, collected document by document.
#[derive(Debug, Default)]
pub(crate) struct LabelCheck {
    counts: BTreeMap<u64, Counted>,
    entries: u64,
    documents: u64,
    pub(crate) faults: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counted {
    documents: u64,
    deleted: u64,
    external_bytes: u64,
}

impl LabelCheck {
    /// Looks at one document.
    pub(crate) fn document(
        &mut self,
        reader: &Reader<'_>,
        id: &str,
        record: &Record,
    ) -> Result<(), EngineError> {
        let settings = crate::database::settings(reader.view, reader.database)?;
        let Some(settings) = settings.filter(|settings| settings.labels != 0) else {
            return Ok(());
        };
        let Some(labelled) = &record.labelled else {
            if settings.labelled >= settings.labels {
                self.faults
                    .push(format!("document {id:?} stands under no label"));
            }
            return Ok(());
        };
        let counted = self.counts.entry(labelled.label).or_default();
        if record.tree.is_deleted() {
            counted.deleted += 1;
        } else {
            counted.documents += 1;
        }
        counted.external_bytes += record.external_bytes;
        self.entries += 1;
        self.documents += 1;
        let key = keys::label_change(reader.database, labelled.label, record.sequence);
        let stored = reader.view.get(Space::Index, &key)?;
        if stored != Some(Entry::of(id, record)) {
            self.faults.push(format!(
                "document {id:?}: label {} does not tell of it at sequence {}",
                labelled.label, record.sequence
            ));
        }
        let key = keys::label_document(reader.database, labelled.label, id);
        let since = reader.view.get(Space::Index, &key)?;
        if since.and_then(|bytes| ValueReader::new(&bytes).varint()) != Some(labelled.since) {
            self.faults.push(format!(
                "document {id:?}: label {} does not list it",
                labelled.label
            ));
        }
        self.markers(reader, id, labelled)
    }

    fn markers(
        &mut self,
        reader: &Reader<'_>,
        id: &str,
        labelled: &Labelled,
    ) -> Result<(), EngineError> {
        let mut expected: BTreeSet<(u64, u64)> = BTreeSet::new();
        let mut last: BTreeMap<u64, u64> = BTreeMap::new();
        for era in &labelled.earlier {
            expected.insert((MOVES, era.until));
            last.insert(era.label, era.until);
        }
        last.remove(&labelled.label);
        expected.extend(last);
        self.entries += expected.len() as u64;
        for (label, until) in expected {
            let key = keys::label_change(reader.database, label, until);
            let stored = reader.view.get(Space::Index, &key)?;
            let tells = match &stored {
                Some(bytes) => Entry::decode(bytes)? == Entry::Left(id),
                None => false,
            };
            if !tells {
                self.faults.push(format!(
                    "document {id:?}: label {label} does not tell that it left at {until}"
                ));
            }
        }
        Ok(())
    }

    /// Compares what was collected with what is stored, once every document was looked at.
    pub(crate) fn finish(mut self, reader: &Reader<'_>) -> Result<Vec<String>, EngineError> {
        let rows = |range: KeyRange| -> Result<u64, EngineError> {
            let mut cursor = reader.view.range(Space::Index, range, Direction::Forward)?;
            let mut count = 0;
            while cursor.next()?.is_some() {
                count += 1;
            }
            Ok(count)
        };
        let (mut after, mut members) = (0, 0);
        loop {
            let some = all(reader.view, reader.database, after, LABELS_READ)?;
            let Some(last) = some.last() else { break };
            after = last.number;
            for label in &some {
                members += label.members.len() as u64;
                self.label(reader, label)?;
            }
        }
        self.counts.remove(&NOBODY);
        for label in self.counts.keys() {
            self.faults.push(format!(
                "documents stand under label {label}, which is none"
            ));
        }
        for (what, expected, range) in [
            (
                "entries",
                self.entries,
                keys::all_label_changes(reader.database),
            ),
            (
                "documents",
                self.documents,
                keys::all_label_documents(reader.database),
            ),
            ("members", members, keys::all_label_members(reader.database)),
        ] {
            let found = rows(range)?;
            if found != expected {
                self.faults.push(format!(
                    "labels have {found} {what}, by the documents there are {expected}"
                ));
            }
        }
        Ok(self.faults)
    }

    fn label(&mut self, reader: &Reader<'_>, label: &Label) -> Result<(), EngineError> {
        let number = label.number;
        let found = self.counts.remove(&number).unwrap_or_default();
        let stored = Counted {
            documents: label.documents,
            deleted: label.deleted,
            external_bytes: label.external_bytes,
        };
        if stored != found {
            self.faults.push(format!(
                "label {number} counts {stored:?}, there are {found:?}"
            ));
        }
        let named = super::named(reader.view, reader.database, &label.name)?;
        if named.is_none_or(|named| named.number != number) {
            self.faults
                .push(format!("label {number} is not found by its name"));
        }
        for member in label.members.iter() {
            let key = keys::label_member(reader.database, member, number);
            if reader.view.get(Space::Index, &key)?.is_none() {
                self.faults.push(format!(
                    "label {number} is not found by its member {member:?}"
                ));
            }
        }
        Ok(())
    }
}
