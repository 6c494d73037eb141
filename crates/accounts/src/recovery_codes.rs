//! Recovery codes: what lets a user in who has lost the device that shows his digits.
//!
//! Ten are made at a time, shown once, and each is good once. A code is ten characters of base32,
//! 50 random bits, in two groups; in which case they are typed and what stands between the groups
//! does not matter.
//!
//! Invariant: only hashes are stored. They are compared in the same time, whichever fits.

use adea_base::Entropy;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

/// How many are made at a time.
pub const CODES: usize = 10;
/// The characters of a code, without what stands between its groups.
const LENGTH: usize = 10;
/// The longest text that is looked at.
const TYPED_MAX: usize = 64;

/// Fresh codes as they are shown, and the hashes that are stored of them.
#[must_use]
pub fn make(entropy: &Entropy) -> (Vec<String>, Vec<String>) {
    (0..CODES)
        .map(|_| {
            let code = one(entropy);
            let hash = hash(&code);
            let (first, second) = code.split_at(LENGTH / 2);
            (format!("{first}-{second}"), hash)
        })
        .unzip()
}

/// Takes the code that was typed out of `stored`; whether it was there.
#[must_use]
pub fn take(stored: &mut Vec<String>, typed: &str) -> bool {
    let Some(code) = normal(typed) else {
        return false;
    };
    let hash = hash(&code);
    let (mut found, mut place) = (Choice::from(0), 0_u64);
    for (n, known) in (0_u64..).zip(stored.iter()) {
        let fits = known.as_bytes().ct_eq(hash.as_bytes());
        place.conditional_assign(&n, fits);
        found |= fits;
    }
    if !bool::from(found) {
        return false;
    }
    let Ok(place) = usize::try_from(place) else {
        return false;
    };
    stored.remove(place);
    true
}

fn one(entropy: &Entropy) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let bytes: [u8; LENGTH] = entropy.bytes();
    let letters = bytes.iter().map(|byte| usize::from(byte & 31));
    letters
        .filter_map(|place| ALPHABET.get(place))
        .map(|letter| char::from(*letter))
        .collect()
}

/// A code as it was made, from what somebody typed; none if it can be no code.
fn normal(typed: &str) -> Option<String> {
    if typed.len() > TYPED_MAX {
        return None;
    }
    let between = |c: &char| !matches!(c, '-' | ' ');
    let code: String = typed
        .chars()
        .filter(between)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    (code.len() == LENGTH).then_some(code)
}

fn hash(code: &str) -> String {
    let digest = Sha256::digest(code.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_code_is_good_once_however_it_is_typed() {
        let (shown, mut stored) = make(&Entropy::System);
        assert_eq!((shown.len(), stored.len()), (CODES, CODES));
        assert_eq!(shown.iter().collect::<HashSet<_>>().len(), CODES);
        let typed: [fn(&str) -> String; 4] = [
            str::to_owned,
            str::to_uppercase,
            |code| code.replace('-', ""),
            |code| code.replace('-', "  "),
        ];
        for (code, typed) in shown.iter().zip(typed.iter().cycle()) {
            assert!(take(&mut stored, &typed(code)), "{code}");
            assert!(!take(&mut stored, code), "{code} a second time");
        }
        assert!(stored.is_empty());
    }

    #[test]
    fn what_is_no_code_takes_none() {
        let (shown, mut stored) = make(&Entropy::System);
        let hash = stored[0].clone();
        let long = shown[0].repeat(10);
        for typed in ["", "-", "abcde", "abcde-fghi", "ääääää", &hash, &long, "\0"] {
            assert!(!take(&mut stored, typed), "{typed}");
        }
        assert_eq!(stored.len(), CODES);
        assert!(stored.iter().all(|hash| hash.len() == 64));
        assert!(!stored.iter().any(|hash| shown.contains(hash)));
    }
}
