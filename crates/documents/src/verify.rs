//! Checking a database: every index against every document, every count against what it counts.

use std::collections::{HashMap, HashSet};

use adea_store::{Direction, EngineError, Space};

use crate::count;
use crate::database;
use crate::index;
use crate::keys;
use crate::labels::LabelCheck;
use crate::reader::Reader;
use crate::record::{Body, Record, decode_change, encode_change};

/// What a check of one database found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Documents read, deleted or not.
    pub documents: u64,
    /// Bodies read.
    pub bodies: u64,
    /// What is wrong, a sentence each.
    pub faults: Vec<String>,
    /// How often each content address is referred to.
    pub references: HashMap<[u8; 32], u64>,
}

/// Checks the database that `reader` reads.
///
/// # Errors
/// [`EngineError`] if the store cannot be read at all; damage of single values is a finding.
pub fn check(reader: &Reader<'_>) -> Result<Findings, EngineError> {
    let mut check = Check {
        reader,
        findings: Findings::default(),
        named_bodies: HashSet::new(),
        blocks: HashMap::new(),
        totals: database::Statistics::default(),
        labels: LabelCheck::default(),
    };
    check.documents()?;
    check.changes()?;
    check.bodies()?;
    check.counts()?;
    check.indexes()?;
    let faults = std::mem::take(&mut check.labels).finish(reader)?;
    check.findings.faults.extend(faults);
    Ok(check.findings)
}

struct Check<'r, 'v> {
    reader: &'r Reader<'v>,
    findings: Findings,
    named_bodies: HashSet<u64>,
    blocks: HashMap<u64, u64>,
    totals: database::Statistics,
    labels: LabelCheck,
}

impl Check<'_, '_> {
    fn fault(&mut self, fault: String) {
        self.findings.faults.push(fault);
    }

    fn documents(&mut self) -> Result<(), EngineError> {
        let number = self.reader.database;
        let range = keys::documents(number);
        let mut cursor = self
            .reader
            .view
            .range(Space::Index, range, Direction::Forward)?;
        while let Some((key, value)) = cursor.next()? {
            self.findings.documents += 1;
            let id = keys::rest_of(number, key).unwrap_or_default();
            let id = String::from_utf8_lossy(id).into_owned();
            match Record::decode(value) {
                Ok(record) => self.document(&id, &record)?,
                Err(error) => self.fault(format!("document {id:?}: {error}")),
            }
        }
        Ok(())
    }

    fn document(&mut self, id: &str, record: &Record) -> Result<(), EngineError> {
        let number = self.reader.database;
        let key = keys::sequence(number, record.sequence);
        let change = self.reader.view.get(Space::Index, &key)?;
        let expected = encode_change(id, record.sequence, &record.tree);
        if change.as_deref() != Some(expected.as_slice()) {
            self.fault(format!(
                "document {id:?}: the change under sequence {} does not tell of it",
                record.sequence
            ));
        }
        *self
            .blocks
            .entry(count::block_of(record.sequence))
            .or_default() += 1;
        if record.tree.is_deleted() {
            self.totals.deleted += 1;
        } else {
            self.totals.documents += 1;
        }
        self.totals.external_bytes += record.external_bytes;
        self.totals.update_sequence = self.totals.update_sequence.max(record.sequence);
        self.labels.document(self.reader, id, record)?;
        for leaf in record.tree.leaves() {
            if leaf.body().is_none() {
                self.fault(format!(
                    "document {id:?}: leaf {} has no body",
                    leaf.revision()
                ));
            }
        }
        for node in record.tree.nodes() {
            if let Some(body) = node.body()
                && !self.named_bodies.insert(body)
            {
                self.fault(format!("document {id:?}: body {body} is named twice"));
            }
        }
        Ok(())
    }

    fn changes(&mut self) -> Result<(), EngineError> {
        let number = self.reader.database;
        let range = keys::sequences(number, 0, u64::MAX);
        let mut cursor = self
            .reader
            .view
            .range(Space::Index, range, Direction::Forward)?;
        let mut changes = 0;
        while let Some((key, value)) = cursor.next()? {
            changes += 1;
            let sequence = keys::number_of(number, key).unwrap_or_default();
            if let Err(error) = decode_change(value, sequence) {
                self.fault(format!("change {sequence}: {error}"));
            }
        }
        if changes != self.findings.documents {
            let documents = self.findings.documents;
            self.fault(format!("{changes} changes for {documents} documents"));
        }
        Ok(())
    }

    fn bodies(&mut self) -> Result<(), EngineError> {
        let number = self.reader.database;
        let range = keys::everything(number);
        let mut cursor = self
            .reader
            .view
            .range(Space::Body, range, Direction::Forward)?;
        while let Some((key, value)) = cursor.next()? {
            self.findings.bodies += 1;
            let sequence = keys::body_sequence_of(number, key).unwrap_or_default();
            if !self.named_bodies.remove(&sequence) {
                self.fault(format!("body {sequence} belongs to no revision"));
            }
            match Body::decode(value) {
                Ok(body) => self.body(sequence, &body)?,
                Err(error) => self.fault(format!("body {sequence}: {error}")),
            }
        }
        let lost: Vec<u64> = self.named_bodies.drain().collect();
        for sequence in lost {
            self.fault(format!("body {sequence} is missing"));
        }
        Ok(())
    }

    fn body(&mut self, sequence: u64, body: &Body) -> Result<(), EngineError> {
        if crate::json::normalise(&body.json).as_deref() != Ok(body.json.as_slice()) {
            self.fault(format!("body {sequence} is not JSON as it is stored"));
        }
        let addresses: Vec<[u8; 32]> = body.attachments.iter().map(|a| a.address).collect();
        let key = keys::attached(self.reader.database, sequence);
        let stored = self
            .reader
            .view
            .get(Space::Index, &key)?
            .unwrap_or_default();
        if stored != addresses.concat() {
            self.fault(format!("body {sequence}: its attachments are not listed"));
        }
        for address in addresses {
            *self.findings.references.entry(address).or_default() += 1;
        }
        Ok(())
    }

    fn counts(&mut self) -> Result<(), EngineError> {
        let stored = database::statistics(self.reader.view, self.reader.database)?;
        let found = self.totals;
        if (stored.documents, stored.deleted) != (found.documents, found.deleted) {
            self.fault(format!(
                "counts say {} documents and {} deleted, there are {} and {}",
                stored.documents, stored.deleted, found.documents, found.deleted
            ));
        }
        if stored.external_bytes != found.external_bytes {
            self.fault(format!(
                "counts say {} bytes, there are {}",
                stored.external_bytes, found.external_bytes
            ));
        }
        if stored.update_sequence < found.update_sequence {
            self.fault(format!(
                "the last sequence is told as {}, a change has {}",
                stored.update_sequence, found.update_sequence
            ));
        }
        let counts = count::stored_counts(self.reader.view, self.reader.database)?;
        if counts != self.blocks {
            self.fault("the counts of changes do not fit the changes".to_owned());
        }
        Ok(())
    }

    fn indexes(&mut self) -> Result<(), EngineError> {
        let (view, database) = (self.reader.view, self.reader.database);
        let update_sequence = database::statistics(view, database)?.update_sequence;
        for state in index::all(view, database)? {
            if state.sequence > update_sequence {
                let signature = state.signature;
                self.fault(format!("index {signature} is ahead of the documents"));
            }
            let faults = index::verify(view, database, &state)?;
            self.findings.faults.extend(faults);
        }
        Ok(())
    }
}
