//! The only door to chance, so that a simulation can replay it from a seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A source of random bytes.
#[derive(Clone, Debug)]
pub enum Entropy {
    /// The operating system's generator, fit for secrets.
    System,
    /// A counted sequence from a seed, for tests and simulations only.
    Seeded(Arc<AtomicU64>),
}

impl Entropy {
    /// `N` random bytes.
    ///
    /// # Panics
    /// If the operating system has no randomness to give: nothing secret can be made then, and
    /// a server that went on would hand out guessable sessions.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0u8; N];
        match self {
            Self::System => {
                #[expect(clippy::expect_used, reason = "see Panics")]
                getrandom::fill(&mut out).expect("the operating system gives random bytes");
            }
            Self::Seeded(state) => {
                for chunk in out.chunks_mut(8) {
                    let word = split_mix(state.fetch_add(1, Ordering::Relaxed));
                    for (to, from) in chunk.iter_mut().zip(word.to_le_bytes()) {
                        *to = from;
                    }
                }
            }
        }
        out
    }

    /// A random identifier of 32 lower-case hexadecimal digits, as `CouchDB` makes them.
    #[must_use]
    pub fn hex_id(&self) -> String {
        let bytes: [u8; 16] = self.bytes();
        let mut out = String::with_capacity(32);
        for byte in bytes {
            for nibble in [byte >> 4, byte & 15] {
                out.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
        out
    }
}

/// The mixing step of `SplitMix64` (Steele, Lea, Flood 2014).
fn split_mix(n: u64) -> u64 {
    let mut z = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
