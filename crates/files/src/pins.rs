//! Who needs which file, between the moment it lies at its address and the commit that names it.
//!
//! A file that no document names may belong to a commit that is on its way, so the collector must
//! not judge by the documents alone. Each digest has at most one claim: some pins, or one removal.
//! A removal begins only without pins; who wants to pin meanwhile waits until it is over, and then
//! finds out by looking whether the file is still there. The lock is never held over I/O.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::blob::Digest;

/// The claims on the files of one directory.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    held: Mutex<HashMap<Digest, Claim>>,
    removal_ended: Condvar,
}

#[derive(Debug)]
enum Claim {
    Pins(usize),
    Removal,
}

/// While this lives, the file it was made for is not collected. Hold it until the commit that
/// names the file is done, or until it is clear that there will be none.
#[must_use = "the file may be collected as soon as the pin is gone"]
#[derive(Debug)]
pub struct Pin {
    /// Nothing for an inline blob, which the collector never sees.
    claim: Option<(Arc<Claims>, Digest)>,
}

impl Pin {
    /// The pin of a blob that is not a file.
    pub(crate) const fn of_nothing() -> Self {
        Self { claim: None }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let Some((claims, digest)) = self.claim.take() else {
            return;
        };
        let mut held = claims.held.lock();
        if let Entry::Occupied(mut claim) = held.entry(digest) {
            match claim.get_mut() {
                Claim::Pins(count) if *count > 1 => *count -= 1,
                Claim::Pins(_) => drop(claim.remove()),
                Claim::Removal => {}
            }
        }
    }
}

/// The right to remove one file.
#[derive(Debug)]
pub(crate) struct Removal<'a> {
    claims: &'a Claims,
    digest: Digest,
}

impl Drop for Removal<'_> {
    fn drop(&mut self) {
        self.claims.held.lock().remove(&self.digest);
        self.claims.removal_ended.notify_all();
    }
}

impl Claims {
    /// Pins a digest, after waiting for a removal of the same one if there is one.
    pub(crate) fn pin(self: &Arc<Self>, digest: Digest) -> Pin {
        let mut held = self.held.lock();
        loop {
            match held.entry(digest).or_insert(Claim::Pins(0)) {
                Claim::Pins(count) => {
                    *count += 1;
                    return Pin {
                        claim: Some((Arc::clone(self), digest)),
                    };
                }
                Claim::Removal => self.removal_ended.wait(&mut held),
            }
        }
    }

    /// The right to remove a digest, unless it is pinned or being removed.
    pub(crate) fn begin_removal(&self, digest: Digest) -> Option<Removal<'_>> {
        match self.held.lock().entry(digest) {
            Entry::Occupied(_) => None,
            Entry::Vacant(free) => {
                free.insert(Claim::Removal);
                Some(Removal {
                    claims: self,
                    digest,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const DIGEST: Digest = Digest::from_bytes([7; 32]);

    #[test]
    fn a_digest_is_free_when_its_last_pin_is_gone() {
        let claims = Arc::new(Claims::default());
        let (first, second) = (claims.pin(DIGEST), claims.pin(DIGEST));
        assert!(claims.begin_removal(DIGEST).is_none());
        drop(first);
        assert!(claims.begin_removal(DIGEST).is_none());
        drop(second);
        assert!(claims.begin_removal(DIGEST).is_some());
        assert!(claims.held.lock().is_empty());
    }

    #[test]
    fn a_pin_waits_for_a_removal_of_the_same_digest_only() {
        let claims = Arc::new(Claims::default());
        let removal = claims.begin_removal(DIGEST).unwrap();
        assert!(claims.begin_removal(DIGEST).is_none());
        drop(claims.pin(Digest::from_bytes([8; 32])));
        let (tell, told) = mpsc::channel();
        let waiting = {
            let (claims, tell) = (Arc::clone(&claims), tell.clone());
            std::thread::spawn(move || {
                let pin = claims.pin(DIGEST);
                tell.send("pinned").unwrap();
                pin
            })
        };
        tell.send("removed").unwrap();
        drop(removal);
        assert_eq!(
            [told.recv().unwrap(), told.recv().unwrap()],
            ["removed", "pinned"]
        );
        let pin = waiting.join().unwrap();
        assert!(claims.begin_removal(DIGEST).is_none());
        drop(pin);
    }
}
