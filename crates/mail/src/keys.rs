//! Every key that this crate stores, one function a kind.

use adea_store::KeyRange;
use adea_store::key::MAIL;

/// Kinds of entries. Numbers are for ever: a kind that goes leaves its number unused.
const ENTRY: u8 = 1;
const DUE: u8 = 2;
const FAILED: u8 = 3;
const CAPTURED: u8 = 4;
const TEMPLATE: u8 = 5;
const RATE: u8 = 6;

/// The number of bytes of a mail's id.
pub(crate) const ID_BYTES: usize = 32;

/// mail → what is to be sent.
pub(crate) fn entry(id: &str) -> Vec<u8> {
    [&[MAIL, ENTRY], id.as_bytes()].concat()
}

/// time and mail → nothing; mails that wait, in the order in which they are due.
pub(crate) fn due(due_ms: u64, id: &str) -> Vec<u8> {
    timed(DUE, due_ms, id)
}

/// All that wait.
pub(crate) fn dues() -> KeyRange {
    KeyRange::prefix(&[MAIL, DUE])
}

/// time and mail → nothing; mails that were given up, in the order in which they were.
pub(crate) fn failed(failed_ms: u64, id: &str) -> Vec<u8> {
    timed(FAILED, failed_ms, id)
}

/// All that were given up.
pub(crate) fn all_failed() -> KeyRange {
    KeyRange::prefix(&[MAIL, FAILED])
}

/// time and mail → what it would have been.
pub(crate) fn captured(time_ms: u64, id: &str) -> Vec<u8> {
    timed(CAPTURED, time_ms, id)
}

/// All that were captured.
pub(crate) fn all_captured() -> KeyRange {
    KeyRange::prefix(&[MAIL, CAPTURED])
}

/// kind, app and language → the words that somebody chose.
pub(crate) fn template(kind: &str, app: &str, language: &str) -> Vec<u8> {
    let parts = [kind.as_bytes(), app.as_bytes(), language.as_bytes()];
    [&[MAIL, TEMPLATE], parts.join(&0).as_slice()].concat()
}

/// All words that somebody chose.
pub(crate) fn templates() -> KeyRange {
    KeyRange::prefix(&[MAIL, TEMPLATE])
}

/// hour, group of kinds and address → how many mails of that group it got in that hour.
pub(crate) fn rate(hour: u64, group: u8, address: &str) -> Vec<u8> {
    let hour = hour.to_be_bytes();
    [&[MAIL, RATE], hour.as_slice(), &[group], address.as_bytes()].concat()
}

/// All counts of hours before `hour`.
pub(crate) fn rates_before(hour: u64) -> KeyRange {
    KeyRange {
        from: vec![MAIL, RATE],
        to: [&[MAIL, RATE], hour.to_be_bytes().as_slice()].concat(),
    }
}

fn timed(kind: u8, time_ms: u64, id: &str) -> Vec<u8> {
    let time = time_ms.to_be_bytes();
    [&[MAIL, kind], time.as_slice(), id.as_bytes()].concat()
}

/// Time and mail of a key of [`due`], [`failed`] or [`captured`].
pub(crate) fn parse_timed(key: &[u8]) -> Option<(u64, &str)> {
    let (time, id) = key.get(2..)?.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*time), std::str::from_utf8(id).ok()?))
}

/// Kind, app and language of a key of [`template`].
pub(crate) fn parse_template(key: &[u8]) -> Option<(&str, &str, &str)> {
    let text = std::str::from_utf8(key.get(2..)?).ok()?;
    let mut parts = text.splitn(3, '\0');
    Some((parts.next()?, parts.next()?, parts.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_were_written() {
        assert_eq!(parse_timed(&due(7, "ab")), Some((7, "ab")));
        let key = template("recover", "", "de-at");
        assert_eq!(parse_template(&key), Some(("recover", "", "de-at")));
        assert_eq!(parse_timed(&[MAIL]), None);
    }

    #[test]
    fn counts_before_an_hour_are_those_of_earlier_ones() {
        let range = rates_before(5);
        let inside = |key: Vec<u8>| range.from <= key && key < range.to;
        assert!(inside(rate(4, 9, "z")) && !inside(rate(5, 0, "")));
    }
}
