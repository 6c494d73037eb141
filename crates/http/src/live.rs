//! Options that may change while the server runs.
//!
//! Whoever answers a request takes the options that hold then, once, and keeps to them: one lock
//! for reading and one count, and never half of a change.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::server::HttpOptions;

/// The options in force. Clones are the same ones.
#[derive(Clone, Debug, Default)]
pub struct LiveOptions(Arc<RwLock<Arc<HttpOptions>>>);

impl LiveOptions {
    /// What holds now.
    #[must_use]
    pub fn current(&self) -> Arc<HttpOptions> {
        Arc::clone(&self.0.read())
    }

    /// From now on this holds. It is worked out while nobody else can change it.
    pub fn set(&self, options: impl FnOnce() -> HttpOptions) {
        let mut current = self.0.write();
        *current = Arc::new(options());
    }
}

impl From<HttpOptions> for LiveOptions {
    fn from(options: HttpOptions) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(options))))
    }
}
