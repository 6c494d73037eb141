//! What readers see, as documents ask for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use adea_base::{Reach, Sight, Span};

use crate::history::History;

/// What a reader sees who holds principals: now, and since when he was known to.
#[derive(Clone)]
pub(crate) struct ReaderSight {
    history: Arc<History>,
    reader: Arc<str>,
    key: [u8; 32],
    served: Arc<AtomicU64>,
}

/// One label, always.
#[derive(Clone)]
pub(crate) struct PartitionSight {
    signature: Arc<str>,
    reader: Arc<str>,
    key: [u8; 32],
}

/// Nothing, ever.
#[derive(Clone)]
pub(crate) struct NoSight {
    reader: Arc<str>,
    key: [u8; 32],
}

impl ReaderSight {
    pub(crate) fn new(
        history: Arc<History>,
        reader: &str,
        key: [u8; 32],
        served: Arc<AtomicU64>,
    ) -> Self {
        Self {
            history,
            reader: Arc::from(reader),
            key,
            served,
        }
    }
}

impl PartitionSight {
    pub(crate) fn new(signature: &str, reader: &str, key: [u8; 32]) -> Self {
        Self {
            signature: Arc::from(signature),
            reader: Arc::from(reader),
            key,
        }
    }
}

impl NoSight {
    pub(crate) fn new(reader: &str, key: [u8; 32]) -> Self {
        Self {
            reader: Arc::from(reader),
            key,
        }
    }
}

impl Sight for ReaderSight {
    fn spans(&self, _: &str, members: &[Arc<str>]) -> Vec<Span> {
        self.history.spans(members)
    }

    fn reach(&self) -> Reach {
        if self.history.was_admin() {
            Reach::Everything
        } else {
            Reach::Members(self.history.ever_held())
        }
    }

    fn turned_at(&self) -> u64 {
        self.history.turned_at()
    }

    fn serve(&self, sequence: u64) {
        // Mostly he was shown later ones already.
        if self.served.load(Ordering::Relaxed) < sequence {
            self.served.fetch_max(sequence, Ordering::AcqRel);
        }
    }

    fn reader(&self) -> &str {
        &self.reader
    }

    fn key(&self) -> &[u8; 32] {
        &self.key
    }
}

impl Sight for PartitionSight {
    fn spans(&self, name: &str, _: &[Arc<str>]) -> Vec<Span> {
        if name == self.signature.as_ref() {
            vec![Span::ALWAYS]
        } else {
            Vec::new()
        }
    }

    fn reach(&self) -> Reach {
        Reach::Label(Arc::clone(&self.signature))
    }

    fn turned_at(&self) -> u64 {
        0
    }

    fn reader(&self) -> &str {
        &self.reader
    }

    fn key(&self) -> &[u8; 32] {
        &self.key
    }
}

impl Sight for NoSight {
    fn spans(&self, _: &str, _: &[Arc<str>]) -> Vec<Span> {
        Vec::new()
    }

    fn reach(&self) -> Reach {
        Reach::Members(Arc::from([]))
    }

    fn turned_at(&self) -> u64 {
        0
    }

    fn reader(&self) -> &str {
        &self.reader
    }

    fn key(&self) -> &[u8; 32] {
        &self.key
    }
}

/// Keys are secret: what is printed of a sight is without them.
macro_rules! debug_without_key {
    ($sight:ty, $($field:ident),*) => {
        impl std::fmt::Debug for $sight {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($sight))
                    $(.field(stringify!($field), &self.$field))*
                    .finish_non_exhaustive()
            }
        }
    };
}

debug_without_key!(ReaderSight, history, reader);
debug_without_key!(PartitionSight, signature, reader);
debug_without_key!(NoSight, reader);

#[cfg(test)]
mod tests;
