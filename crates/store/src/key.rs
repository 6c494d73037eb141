//! Who owns which keys. Every stored key begins with one of these bytes, so that two crates can
//! never collide; what follows is the owner's, listed in his `keys.rs`.

/// The store's own: sequence, terms.
pub const STORE: u8 = 0x01;
/// Crate `documents`: what is known of databases by name.
pub const DATABASES: u8 = 0x10;
/// Crate `documents`: everything inside one database, its number next.
pub const DATABASE: u8 = 0x11;
/// Crate `files`: attachments by content.
pub const FILES: u8 = 0x20;
/// Crate `pod`: secrets and identity of this installation.
pub const POD: u8 = 0x30;
/// Crate `accounts`: who there is, sessions, organisations, apps.
pub const ACCOUNTS: u8 = 0x40;
/// Crate `accounts`: the audit log.
pub const AUDIT: u8 = 0x41;
/// Crate `mail`: what is to be sent.
pub const MAIL: u8 = 0x42;

/// Appends `n` so that keys sort as the numbers do: its length in bytes, then big-endian without
/// leading zeros. Small numbers, which are most, take two bytes.
pub fn put_ordered(out: &mut Vec<u8>, n: u64) {
    let bytes = n.to_be_bytes();
    let zeros = (n.leading_zeros() / 8) as usize;
    out.push(u8::try_from(8 - zeros).unwrap_or(8));
    out.extend(bytes.iter().skip(zeros));
}

/// Takes off the front what [`put_ordered`] wrote.
#[must_use]
pub fn take_ordered(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    let (digits, rest) = rest.split_at_checked(usize::from(length))?;
    if length > 8 {
        return None;
    }
    let n = digits
        .iter()
        .fold(0u64, |n, byte| n << 8 | u64::from(*byte));
    Some((n, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_sort_as_their_numbers(a in 0u64.., b in 0u64.., shift in 0u32..64) {
            let (a, b) = (a >> shift, b >> (shift / 2));
            let (mut x, mut y) = (Vec::new(), Vec::new());
            put_ordered(&mut x, a);
            put_ordered(&mut y, b);
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!(take_ordered(&x), Some((a, &[][..])));
        }
    }
}
