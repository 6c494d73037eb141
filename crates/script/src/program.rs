//! What is loaded into a process once and called many times.
//!
//! A program is named by the SHA-256 of its source, so that a process that has it is not sent it
//! again, whoever made the value.

use std::sync::Arc;

/// Map functions that read each document together, with the library they may require.
#[derive(Debug)]
pub struct MapProgram {
    pub(crate) lib: Option<String>,
    pub(crate) maps: Vec<String>,
}

impl MapProgram {
    /// `lib` is the JSON text of `views.lib`; `maps` are the sources.
    #[must_use]
    pub fn new(lib: Option<String>, maps: Vec<String>) -> Arc<Self> {
        Arc::new(Self { lib, maps })
    }
}

/// Reduce functions.
#[derive(Debug)]
pub struct ReduceProgram {
    pub(crate) lib: Option<String>,
    pub(crate) reduces: Vec<String>,
}

impl ReduceProgram {
    /// `lib` is the JSON text of `views.lib`; `reduces` are the sources.
    #[must_use]
    pub fn new(lib: Option<String>, reduces: Vec<String>) -> Arc<Self> {
        Arc::new(Self { lib, reduces })
    }
}

/// A whole design document: its functions see it as `this` and by `require`.
#[derive(Debug)]
pub struct DesignProgram {
    pub(crate) document: String,
}

impl DesignProgram {
    /// `document` is the JSON text.
    #[must_use]
    pub fn new(document: String) -> Arc<Self> {
        Arc::new(Self { document })
    }
}
