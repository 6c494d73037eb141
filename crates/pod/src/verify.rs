//! Checking a whole data directory: every database against itself, every count of references
//! against what refers, every attachment's bytes against their address.
//!
//! It changes nothing. It compares moments with each other that belong together only while
//! nobody writes, so it is for a pod that serves nobody.

use std::collections::{HashMap, HashSet};

use adea_base::DatabaseName;
use adea_documents::reader::Reader;
use adea_documents::{DatabaseNumber, database, everything, verify};
use adea_files::{Digest, Directory, Treatment, Upload, UploadOptions, references};
use adea_store::key::{
    ACCOUNTS, AUDIT, DATABASE, DATABASES, FILES, MAIL, POD, STORE, take_ordered,
};
use adea_store::{Direction, EngineError, KeyRange, Space, Store, View};
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use crate::error::PodError;
use crate::pod::Pod;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Databases.
    pub databases: u64,
    /// Documents, deleted or not.
    pub documents: u64,
    /// Bodies of documents.
    pub bodies: u64,
    /// Attachments' contents, each counted once however many documents have it.
    pub attachments: u64,
    /// What is wrong, a sentence each.
    pub faults: Vec<String>,
    /// What is odd and does no harm, a sentence each.
    pub notes: Vec<String>,
}

impl Pod {
    /// Checks everything. Nobody may write meanwhile.
    ///
    /// # Errors
    /// [`PodError`] if the store cannot be read at all; damage of parts is in the report.
    pub async fn check(&self) -> Result<Report, PodError> {
        check_store(self.inner.store.clone(), self.inner.files.clone()).await
    }
}

/// Checks what `store` and `files` hold.
pub(crate) async fn check_store(store: Store, files: Directory) -> Result<Report, PodError> {
    spawn_blocking(move || {
        let view = store.view();
        let mut check = Check {
            view: view.as_ref(),
            files: &files,
            sequence: store.sequence(),
            report: Report::default(),
            numbers: HashSet::new(),
            swept_later: false,
            referred: HashMap::new(),
        };
        check.databases()?;
        check.unknown_keys()?;
        check.attachments()?;
        Ok(check.report)
    })
    .await
    .map_err(|_| PodError::Interrupted)?
}

struct Check<'v> {
    view: &'v dyn View,
    files: &'v Directory,
    sequence: u64,
    report: Report,
    /// Of databases that are there, or dropped and not yet swept.
    numbers: HashSet<u64>,
    /// Whether dropped databases still hold references.
    swept_later: bool,
    /// How often the databases that are there refer to each address.
    referred: HashMap<[u8; 32], u64>,
}

impl Check<'_> {
    fn fault(&mut self, fault: String) {
        self.report.faults.push(fault);
    }

    fn note(&mut self, note: String) {
        self.report.notes.push(note);
    }

    fn databases(&mut self) -> Result<(), EngineError> {
        let names = database::names(self.view, None, None, Direction::Forward, usize::MAX)?;
        for name in names {
            self.report.databases += 1;
            if let Err(error) = self.database(&name) {
                self.fault(format!("database {name}: {error}"));
            }
        }
        let dropped = database::dropped(self.view)?;
        if !dropped.is_empty() {
            self.swept_later = true;
            let count = dropped.len();
            self.note(format!(
                "{count} dropped databases still take room; the next start gives it back"
            ));
        }
        self.numbers
            .extend(dropped.into_iter().map(|number| number.0));
        Ok(())
    }

    fn database(&mut self, text: &str) -> Result<(), EngineError> {
        let Ok(name) = DatabaseName::parse(text) else {
            self.fault(format!("{text:?} is no database's name"));
            return Ok(());
        };
        let Some(found) = database::find(self.view, &name)? else {
            self.fault(format!("database {name}: it has no settings"));
            return Ok(());
        };
        let number = found.number;
        if !self.numbers.insert(number.0) {
            self.fault(format!(
                "database {name}: another has its number {}",
                number.0
            ));
        }
        let last = database::statistics(self.view, number)?.update_sequence;
        if last > self.sequence || number.0 > self.sequence {
            self.fault(format!(
                "database {name}: sequences {} and {last} should be at most {}, the store's",
                number.0, self.sequence
            ));
        }
        let reader = Reader {
            view: self.view,
            database: number,
            scope: adea_access::aggregate(),
        };
        let findings = verify::check(&reader)?;
        self.report.documents += findings.documents;
        self.report.bodies += findings.bodies;
        for fault in findings.faults {
            self.fault(format!("database {name}: {fault}"));
        }
        for (address, count) in findings.references {
            *self.referred.entry(address).or_default() += count;
        }
        Ok(())
    }

    /// Looks for keys that nobody owns, and for entries of databases that are not there.
    fn unknown_keys(&mut self) -> Result<(), EngineError> {
        for space in [Space::Index, Space::Body] {
            let mut from = Vec::new();
            let mut cursor = self.view.range(space, whole(), Direction::Forward)?;
            let mut odd = Vec::new();
            // From owner to owner, and from database to database, without walking their entries.
            while let Some((key, _)) = cursor.next()? {
                let owned = owner(key);
                match owned {
                    Owner::Database(number) if !self.numbers.contains(&number) => {
                        odd.push(format!("entries of database {number}, which is not there"));
                    }
                    Owner::Nobody => odd.push(format!("key {key:02x?} belongs to nobody")),
                    Owner::Database(_) | Owner::Kind => {}
                }
                from.clear();
                from.extend(after(key, &owned));
                if from.first() == Some(&0xff) {
                    break;
                }
                cursor.seek(&from)?;
            }
            for what in odd {
                self.note(format!("{space:?}: {what}"));
            }
        }
        Ok(())
    }

    /// Compares counts of references with what refers, and contents with their addresses.
    fn attachments(&mut self) -> Result<(), PodError> {
        let mut inline = self.inline_contents()?;
        let mut files = HashSet::new();
        for digest in self.files.list() {
            files.insert(digest.map_err(adea_files::ReadError::Io)?);
        }
        for (digest, count) in references::all(self.view)? {
            self.report.attachments += 1;
            let referred = self.referred.remove(digest.as_bytes()).unwrap_or(0);
            if referred > count || (referred < count && !self.swept_later) {
                self.fault(format!(
                    "attachment {digest}: {count} references are counted, there are {referred}"
                ));
            }
            let is_inline = inline.remove(&digest);
            let is_file = files.remove(&digest);
            if !is_inline && let Err(error) = self.files.verify(digest) {
                self.fault(format!("attachment {digest}: {error}"));
            }
            if is_inline && is_file {
                self.note(format!(
                    "attachment {digest} lies in the store and in a file"
                ));
            }
        }
        let uncounted: Vec<_> = self.referred.drain().collect();
        for (address, referred) in uncounted {
            let digest = Digest::from_bytes(address);
            self.fault(format!(
                "attachment {digest}: no references are counted, there are {referred}"
            ));
        }
        for digest in inline {
            self.fault(format!(
                "attachment {digest} is stored and nobody refers to it"
            ));
        }
        if !files.is_empty() {
            let count = files.len();
            self.note(format!(
                "{count} files belong to no document; the next start removes them"
            ));
        }
        Ok(())
    }

    /// The addresses of contents in the store, each compared with its bytes.
    fn inline_contents(&mut self) -> Result<HashSet<Digest>, PodError> {
        let mut found = HashSet::new();
        let range = KeyRange::prefix(&[FILES]);
        let mut cursor = self.view.range(Space::Body, range, Direction::Forward)?;
        let mut faults = Vec::new();
        while let Some((key, value)) = cursor.next()? {
            let address = key
                .get(1..)
                .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
            let Some(digest) = address.map(Digest::from_bytes) else {
                faults.push(format!("key {key:02x?} is no attachment's address"));
                continue;
            };
            let actual = address_of(self.files, value)?;
            if actual != digest {
                faults.push(format!("attachment {digest} holds the bytes of {actual}"));
            }
            found.insert(digest);
        }
        drop(cursor);
        self.report.faults.extend(faults);
        Ok(found)
    }
}

/// The address of `content`, by the code that gave it its address. Nothing is written: an upload
/// below its threshold stays in memory.
fn address_of(files: &Directory, content: &[u8]) -> Result<Digest, PodError> {
    let options = UploadOptions {
        treatment: Treatment::Keep,
        memory_threshold: usize::MAX,
        max_length: u64::MAX,
    };
    let mut upload = Upload::new(files, options);
    let content = Bytes::copy_from_slice(content);
    let (blob, _pin) = Handle::current().block_on(async move {
        upload.write(content).await?;
        upload.finish().await
    })?;
    Ok(blob.digest)
}

/// Whose a key is.
enum Owner {
    Database(u64),
    Kind,
    Nobody,
}

fn owner(key: &[u8]) -> Owner {
    match key.split_first() {
        Some((&DATABASE, rest)) => {
            take_ordered(rest).map_or(Owner::Nobody, |(number, _)| Owner::Database(number))
        }
        Some((&(STORE | DATABASES | FILES | POD | ACCOUNTS | AUDIT | MAIL), _)) => Owner::Kind,
        Some(_) | None => Owner::Nobody,
    }
}

/// The first key behind all those of the owner of `key`.
fn after(key: &[u8], owner: &Owner) -> Vec<u8> {
    match owner {
        Owner::Database(number) => everything(DatabaseNumber(*number)).to,
        Owner::Kind | Owner::Nobody => match key.first() {
            Some(first) => KeyRange::prefix(&[*first]).to,
            None => vec![0],
        },
    }
}

/// Every key that a byte string below 0xff can begin.
fn whole() -> KeyRange {
    KeyRange {
        from: Vec::new(),
        to: vec![0xff],
    }
}
