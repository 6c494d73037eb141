//! What is loaded into a process once and called many times.
//!
//! A program is named by the SHA-256 of its source, so that a process that has it is not sent it
//! again, whoever made the value.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::wire::{FrameWriter, ProgramKind};

/// Names a program by its source.
pub(crate) type Fingerprint = [u8; 32];

/// What a process can be given.
pub(crate) trait Load: Sync {
    /// Its name.
    fn fingerprint(&self) -> &Fingerprint;
    /// Its kind and sources.
    fn write(&self, frame: &mut FrameWriter);
}

/// Map functions that read each document together, with the library they may require.
#[derive(Debug)]
pub struct MapProgram(Functions);

impl MapProgram {
    /// `lib` is the JSON text of `views.lib`; `maps` are the sources.
    #[must_use]
    pub fn new(lib: Option<String>, maps: Vec<String>) -> Arc<Self> {
        Arc::new(Self(Functions::new(ProgramKind::Map, lib, maps)))
    }

    /// How many map functions there are.
    #[must_use]
    pub fn functions(&self) -> usize {
        self.0.sources.len()
    }
}

/// Reduce functions.
#[derive(Debug)]
pub struct ReduceProgram(Functions);

impl ReduceProgram {
    /// `lib` is the JSON text of `views.lib`; `reduces` are the sources.
    #[must_use]
    pub fn new(lib: Option<String>, reduces: Vec<String>) -> Arc<Self> {
        Arc::new(Self(Functions::new(ProgramKind::Reduce, lib, reduces)))
    }
}

/// A whole design document: its functions see it as `this` and by `require`.
#[derive(Debug)]
pub struct DesignProgram {
    document: String,
    fingerprint: Fingerprint,
}

impl DesignProgram {
    /// `document` is the JSON text.
    #[must_use]
    pub fn new(document: String) -> Arc<Self> {
        let mut frame = FrameWriter::default();
        write_design(&document, &mut frame);
        Arc::new(Self {
            fingerprint: Sha256::digest(frame.bytes()).into(),
            document,
        })
    }
}

#[derive(Debug)]
struct Functions {
    kind: ProgramKind,
    lib: Option<String>,
    sources: Vec<String>,
    fingerprint: Fingerprint,
}

impl Functions {
    fn new(kind: ProgramKind, lib: Option<String>, sources: Vec<String>) -> Self {
        let mut functions = Self {
            kind,
            lib,
            sources,
            fingerprint: [0; 32],
        };
        let mut frame = FrameWriter::default();
        functions.write(&mut frame);
        functions.fingerprint = Sha256::digest(frame.bytes()).into();
        functions
    }

    fn write(&self, frame: &mut FrameWriter) {
        frame.byte(self.kind.number());
        write_sources(self.lib.as_deref(), self.sources.iter(), frame);
    }
}

/// A library and sources, as requests have them.
pub(crate) fn write_sources<'s>(
    lib: Option<&str>,
    sources: impl ExactSizeIterator<Item = &'s String>,
    frame: &mut FrameWriter,
) {
    frame
        .option(lib.map(str::as_bytes))
        .number(sources.len() as u64);
    for source in sources {
        frame.text(source.as_bytes());
    }
}

fn write_design(document: &str, frame: &mut FrameWriter) {
    frame
        .byte(ProgramKind::Design.number())
        .text(document.as_bytes());
}

impl Load for MapProgram {
    fn fingerprint(&self) -> &Fingerprint {
        &self.0.fingerprint
    }

    fn write(&self, frame: &mut FrameWriter) {
        self.0.write(frame);
    }
}

impl Load for ReduceProgram {
    fn fingerprint(&self) -> &Fingerprint {
        &self.0.fingerprint
    }

    fn write(&self, frame: &mut FrameWriter) {
        self.0.write(frame);
    }
}

impl Load for DesignProgram {
    fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    fn write(&self, frame: &mut FrameWriter) {
        write_design(&self.document, frame);
    }
}
