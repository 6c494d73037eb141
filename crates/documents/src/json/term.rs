//! Erlang's external term format, as far as a revision id needs it.
//!
//! `CouchDB` names a revision by the MD5 of the Erlang term of its content, so to come to the same
//! name for the same edit we write the bytes that `term_to_binary(Term, [{minor_version, 1}])`
//! would. A JSON value becomes: text a binary, an array a list, an object `{[{Key, Value}]}`.
//!
//! Invariant: what is written is what OTP 25 writes, byte for byte; nothing here is ever read back.

use super::JsonError;

/// The first byte of every external term.
pub(crate) const VERSION: u8 = 131;
/// The empty list, and the end of every other one.
pub(crate) const NIL: u8 = 106;
/// A list: a count of four bytes, the items, and a tail that is always [`NIL`] here.
pub(crate) const LIST: u8 = 108;
/// A tuple: a count of one byte and its items.
pub(crate) const TUPLE: u8 = 104;
/// A list of integers below 256: a length of two bytes and those bytes.
const STRING: u8 = 107;
const SMALL_INTEGER: u8 = 97;
const INTEGER: u8 = 98;
const SMALL_BIG: u8 = 110;
const LARGE_BIG: u8 = 111;
const FLOAT: u8 = 70;
const BINARY: u8 = 109;
const ATOM: u8 = 100;

/// Bytes between the start of a binary and its content: the tag and a length.
pub(super) const BINARY_HEAD: usize = 5;

/// Bytes that a small integer takes; no other value that can stand in a list takes two.
const SMALL_INTEGER_SIZE: usize = 2;

/// Appends the atom `true`, `false` or `null`; longer names are not needed.
pub(crate) fn put_atom(out: &mut Vec<u8>, name: &'static str) {
    let length = u8::try_from(name.len()).unwrap_or_default();
    out.extend_from_slice(&[ATOM, 0, length]);
    out.extend_from_slice(name.as_bytes());
}

/// Appends a binary.
pub(crate) fn put_binary(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), JsonError> {
    let length = u32::try_from(bytes.len()).map_err(|_| JsonError::Invalid)?;
    let [a, b, c, d] = length.to_be_bytes();
    out.reserve(BINARY_HEAD + bytes.len());
    out.extend_from_slice(&[BINARY, a, b, c, d]);
    out.extend_from_slice(bytes);
    Ok(())
}

/// Appends the head of a binary whose length is not known yet; see [`set_count`].
pub(super) fn put_binary_head(out: &mut Vec<u8>) {
    out.extend_from_slice(&[BINARY, 0, 0, 0, 0]);
}

/// Appends the head of a list whose count is not known yet; see [`set_count`].
pub(super) fn put_list_head(out: &mut Vec<u8>) {
    out.extend_from_slice(&[LIST, 0, 0, 0, 0]);
}

/// Appends the head of a list of `count` items.
pub(crate) fn put_list(out: &mut Vec<u8>, count: u32) {
    let [a, b, c, d] = count.to_be_bytes();
    out.extend_from_slice(&[LIST, a, b, c, d]);
}

/// Writes the count of the list, or the length of the binary, whose head stands at `head`.
pub(super) fn set_count(out: &mut [u8], head: usize, count: usize) -> Result<(), JsonError> {
    let count = u32::try_from(count).map_err(|_| JsonError::Invalid)?;
    out.get_mut(head + 1..head + BINARY_HEAD)
        .ok_or(JsonError::Invalid)?
        .copy_from_slice(&count.to_be_bytes());
    Ok(())
}

/// Whether the item that was appended from `start` on is an integer below 256.
pub(super) fn is_small_integer(out: &[u8], start: usize) -> bool {
    out.len() == start + SMALL_INTEGER_SIZE
}

/// Turns a list of `count` small integers, whose head stands at `head`, into the shorter form that
/// Erlang gives to such lists. Not for an empty one, nor for more than 65,535.
pub(super) fn make_string(out: &mut Vec<u8>, head: usize, count: u16) {
    let mut to = head + 3;
    for item in 0..usize::from(count) {
        let from = head + BINARY_HEAD + item * SMALL_INTEGER_SIZE + 1;
        out.copy_within(from..=from, to);
        to += 1;
    }
    out.truncate(to);
    if let Some(start) = out.get_mut(head..head + 3) {
        let [high, low] = count.to_be_bytes();
        start.copy_from_slice(&[STRING, high, low]);
    }
}

/// Appends an integer given as its sign and size.
pub(crate) fn put_integer(out: &mut Vec<u8>, negative: bool, size: u64) {
    match u8::try_from(size) {
        Ok(small) if !negative || small == 0 => out.extend_from_slice(&[SMALL_INTEGER, small]),
        Ok(_) | Err(_) => {
            let exact = i128::from(size) * if negative { -1 } else { 1 };
            if let Ok(word) = i32::try_from(exact) {
                let [a, b, c, d] = word.to_be_bytes();
                out.extend_from_slice(&[INTEGER, a, b, c, d]);
            } else {
                put_big(out, negative, &size.to_le_bytes());
            }
        }
    }
}

/// Appends an integer given as its sign and the bytes of its size, the least first. It must lie
/// outside of 32 bits: smaller ones have forms of their own.
pub(super) fn put_big(out: &mut Vec<u8>, negative: bool, size: &[u8]) {
    let length = size
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |last| last + 1);
    match u8::try_from(length) {
        Ok(small) => out.extend_from_slice(&[SMALL_BIG, small]),
        Err(_) => {
            let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
            out.extend_from_slice(&[LARGE_BIG, a, b, c, d]);
        }
    }
    out.push(u8::from(negative));
    out.extend_from_slice(size.get(..length).unwrap_or_default());
}

/// Appends a float.
pub(super) fn put_float(out: &mut Vec<u8>, number: f64) {
    out.push(FLOAT);
    out.extend_from_slice(&number.to_be_bytes());
}
