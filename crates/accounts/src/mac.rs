//! The one keyed hash of this crate: HMAC-SHA256, for session cookies and for cache keys.

use hmac::{Hmac, KeyInit};
use sha2::Sha256;

/// Bytes in a tag.
pub(crate) const TAG_BYTES: usize = 32;

/// A keyed hash that has taken in its key and nothing else; cloning it saves hashing the key again.
pub(crate) fn keyed(key: &[u8]) -> Hmac<Sha256> {
    #[expect(
        clippy::expect_used,
        reason = "HMAC is defined for keys of every length; the error exists for other keyed hashes"
    )]
    Hmac::new_from_slice(key).expect("HMAC takes keys of every length")
}
