//! Finds members of an object that a later one with the same key replaces.
//!
//! Almost no object has any, so the question must cost little: keys are told apart by a word made
//! of their ends, and only keys whose words agree are looked at. A hostile object with a hundred
//! thousand keys is sorted, never compared pair by pair.

/// Objects with at most this many members are compared pair by pair.
const FEW: usize = 16;

/// Which of `count` members are replaced by a later one, or `None` where no key comes twice.
pub(super) fn replaced<'k>(count: usize, key: impl Fn(usize) -> &'k [u8]) -> Option<Vec<bool>> {
    let suspicious = if count <= FEW {
        few_collide(count, &key)
    } else {
        many_collide(count, &key)
    };
    if suspicious {
        compare_all(count, key)
    } else {
        None
    }
}

/// Whether two of a few keys have the same fingerprint.
fn few_collide<'k>(count: usize, key: &impl Fn(usize) -> &'k [u8]) -> bool {
    let mut seen = [0u64; FEW];
    for (index, slot) in seen.iter_mut().enumerate().take(count) {
        *slot = fingerprint(key(index));
    }
    let mut rest = seen.get(..count).unwrap_or_default();
    while let Some((first, others)) = rest.split_first() {
        if others.contains(first) {
            return true;
        }
        rest = others;
    }
    false
}

/// Whether two of many keys have the same fingerprint.
fn many_collide<'k>(count: usize, key: &impl Fn(usize) -> &'k [u8]) -> bool {
    let mut seen: Vec<u64> = (0..count).map(|index| fingerprint(key(index))).collect();
    seen.sort_unstable();
    seen.windows(2)
        .any(|pair| matches!(pair, [one, other] if one == other))
}

/// The exact answer, in the time that sorting the keys takes.
fn compare_all<'k>(count: usize, key: impl Fn(usize) -> &'k [u8]) -> Option<Vec<bool>> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_unstable_by(|&one, &other| key(one).cmp(key(other)).then(one.cmp(&other)));
    let mut replaced = vec![false; count];
    let mut any = false;
    for pair in order.windows(2) {
        let &[earlier, later] = pair else { continue };
        if key(earlier) == key(later)
            && let Some(slot) = replaced.get_mut(earlier)
        {
            *slot = true;
            any = true;
        }
    }
    any.then_some(replaced)
}

/// A word that is equal for equal keys, and mostly different for others.
fn fingerprint(key: &[u8]) -> u64 {
    let length = u64::try_from(key.len()).unwrap_or_default() << 56;
    if let (Some(first), Some(last)) = (key.first_chunk::<8>(), key.last_chunk::<8>()) {
        u64::from_le_bytes(*first).rotate_left(29) ^ u64::from_le_bytes(*last) ^ length
    } else if let (Some(first), Some(last)) = (key.first_chunk::<4>(), key.last_chunk::<4>()) {
        let first = u64::from(u32::from_le_bytes(*first));
        (first << 24) ^ u64::from(u32::from_le_bytes(*last)) ^ length
    } else {
        let short = key
            .iter()
            .fold(0, |word, &byte| word << 8 | u64::from(byte));
        short ^ length
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn naive(keys: &[Vec<u8>]) -> Option<Vec<bool>> {
        let last: HashMap<_, _> = keys.iter().enumerate().map(|(i, key)| (key, i)).collect();
        let replaced: Vec<bool> = (0..keys.len()).map(|i| last[&keys[i]] != i).collect();
        replaced.contains(&true).then_some(replaced)
    }

    #[test]
    fn a_hundred_thousand_alike_keys_are_no_trouble() {
        let keys: Vec<String> = (0..100_000)
            .map(|i| format!("aaaaaaaa{i:08}aaaaaaaa"))
            .collect();
        assert_eq!(replaced(keys.len(), |i| keys[i].as_bytes()), None);
        let same = vec![b"k"; 100_000];
        let answer = replaced(same.len(), |i| same[i].as_slice()).unwrap();
        assert_eq!(answer.iter().filter(|&&gone| !gone).count(), 1);
        assert!(!answer[99_999]);
    }

    proptest! {
        #[test]
        fn agrees_with_a_map(keys in prop::collection::vec("[ab]{0,3}|[ab]{7,10}", 0..40)) {
            let keys: Vec<Vec<u8>> = keys.into_iter().map(String::into_bytes).collect();
            prop_assert_eq!(replaced(keys.len(), |i| keys[i].as_slice()), naive(&keys));
        }
    }
}
