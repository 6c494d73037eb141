//! The second step of signing in: a factor that is asked for besides the first.
//!
//! Between the two steps stands a secret that is good once and for a few minutes, the continuation.
//! What is wrong is counted in it, so that whoever knows the password has a handful of guesses and
//! not as many as he can send.
//!
//! Six digits are few, and somebody may know the password and have many addresses. So wrong ones are
//! counted in the account as well: with [`WRONG_DIGITS_MAX`] of them none is taken for the rest of a
//! day. Its user then brings a recovery code or a passkey, which nobody guesses.
//!
//! Invariants: a continuation lets in once; after [`ATTEMPTS_MAX`] wrong answers it lets in nobody;
//! a wrong answer does not make it last longer; digits of a record are judged here and nowhere else.

use serde_json::{Map, Value};

use crate::directory::AccountRecord;
use crate::one_time::OneTime;
use crate::recovery_codes;
use crate::totp::Totp;

/// How many wrong answers a continuation stands.
pub const ATTEMPTS_MAX: u64 = 5;

/// How many digits of an account may be wrong within [`WRONG_DIGITS_MS`] of the first.
pub const WRONG_DIGITS_MAX: u64 = 20;
/// How long they are counted, in milliseconds.
const WRONG_DIGITS_MS: u64 = 86_400_000;

/// Where wrong answers are counted among what is kept.
const ATTEMPTS: &str = "attempts";
/// Where the way of the first step stands.
const METHOD: &str = "method";
/// Where the account's epoch stands, as it was before the first step.
const EPOCH: &str = "epoch";

/// What somebody brings for a second factor.
#[derive(Clone, Copy)]
pub enum Given<'g> {
    /// The digits of a device.
    Digits(&'g str),
    /// One of the codes that were shown once.
    RecoveryCode(&'g str),
}

/// How the first step was made.
#[must_use]
pub fn method(one_time: &OneTime) -> &str {
    let method = one_time.data.get(METHOD).and_then(Value::as_str);
    method.unwrap_or("password")
}

/// The account's epoch before the first step.
#[must_use]
pub fn epoch(one_time: &OneTime) -> Option<u64> {
    one_time.data.get(EPOCH).and_then(Value::as_u64)
}

/// Counts a wrong answer; whether there may be another.
#[must_use]
pub fn may_try_again(one_time: &mut OneTime) -> bool {
    let before = one_time.data.get(ATTEMPTS).and_then(Value::as_u64);
    let attempts = before.unwrap_or(0).saturating_add(1);
    if !one_time.data.is_object() {
        one_time.data = Value::Object(Map::new());
    }
    if let Some(data) = one_time.data.as_object_mut() {
        data.insert(ATTEMPTS.to_owned(), attempts.into());
    }
    attempts < ATTEMPTS_MAX
}

/// What an account asks for besides the first factor, and takes; nothing if it asks for none.
/// Its document in `_users` may ask for digits as well. A passkey is a way in and asks for nothing.
#[must_use]
pub fn wanted(record: &AccountRecord, document_asks: bool) -> Vec<&'static str> {
    let mut kinds = Vec::new();
    if record.totp.is_none() && !document_asks {
        return kinds;
    }
    kinds.push("totp");
    if !record.recovery_codes.is_empty() {
        kinds.push("recovery_code");
    }
    if !record.passkeys.is_empty() {
        kinds.push("passkey");
    }
    kinds
}

/// Until when no digits are taken, in milliseconds since the Unix epoch, if too many were wrong.
#[must_use]
pub fn closed_until(record: &AccountRecord, now_ms: u64) -> Option<u64> {
    let until = record.wrong_digits_ms.saturating_add(WRONG_DIGITS_MS);
    // Also if the clock was turned back, which must close nothing for long.
    let counts = now_ms.abs_diff(record.wrong_digits_ms) < WRONG_DIGITS_MS;
    (counts && record.wrong_digits >= WRONG_DIGITS_MAX).then_some(until)
}

/// Whether `given` is what the account asks for; it is used up then. Wrong digits are counted.
#[must_use]
pub fn accepts(
    record: &mut AccountRecord,
    document: Option<&Totp>,
    given: Given<'_>,
    now_ms: u64,
) -> bool {
    match given {
        Given::RecoveryCode(code) => recovery_codes::take(&mut record.recovery_codes, code),
        Given::Digits(_) if closed_until(record, now_ms).is_some() => false,
        Given::Digits(digits) => {
            let own = record.totp.as_deref().map(Totp::from_key);
            let totp = own.as_ref().or(document);
            let after = record.totp_step;
            match totp.and_then(|totp| totp.step_of(digits, now_ms / 1000, after)) {
                Some(step) => {
                    record.totp_step = step;
                    true
                }
                None => {
                    count_wrong_digits(record, now_ms);
                    false
                }
            }
        }
    }
}

fn count_wrong_digits(record: &mut AccountRecord, now_ms: u64) {
    if now_ms.abs_diff(record.wrong_digits_ms) >= WRONG_DIGITS_MS {
        record.wrong_digits = 0;
        record.wrong_digits_ms = now_ms;
    }
    record.wrong_digits = record.wrong_digits.saturating_add(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use adea_base::Entropy;
    use serde_json::json;

    const KEY: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    #[test]
    fn wrong_answers_are_counted_to_five() {
        let mut one_time = OneTime {
            purpose: crate::one_time::Purpose::SecondFactor,
            account: "id".to_owned(),
            app: "app".to_owned(),
            expires_ms: 301_000,
            data: json!({"method": "mail_code"}),
        };
        let again: Vec<bool> = (0..6).map(|_| may_try_again(&mut one_time)).collect();
        assert_eq!(again, [true, true, true, true, false, false]);
        assert_eq!(method(&one_time), "mail_code");
        assert_eq!(one_time.expires_ms, 301_000);
        one_time.data = json!(null);
        assert!(may_try_again(&mut one_time));
        one_time.data = json!({"attempts": u64::MAX});
        assert!(!may_try_again(&mut one_time));
    }

    #[test]
    fn digits_and_codes_are_used_up() {
        let (codes, hashes) = recovery_codes::make(&Entropy::System);
        let mut record = AccountRecord {
            totp: Some(KEY.to_owned()),
            recovery_codes: hashes,
            ..AccountRecord::default()
        };
        assert_eq!(wanted(&record, false), ["totp", "recovery_code"]);
        let mut ask = |given| accepts(&mut record, None, given, 59_000);
        assert!(!ask(Given::Digits("000000")));
        assert!(ask(Given::Digits("287082")));
        assert!(!ask(Given::Digits("287082")));
        assert!(ask(Given::RecoveryCode(&codes[3])));
        assert!(!ask(Given::RecoveryCode(&codes[3])));
        assert!(!ask(Given::RecoveryCode("287082")));
        assert_eq!(record.totp_step, 1);
        assert_eq!(record.recovery_codes.len(), recovery_codes::CODES - 1);
    }

    #[test]
    fn wrong_digits_close_the_door_for_a_day_and_to_digits_only() {
        let (codes, hashes) = recovery_codes::make(&Entropy::System);
        let mut record = AccountRecord {
            totp: Some(KEY.to_owned()),
            recovery_codes: hashes,
            ..AccountRecord::default()
        };
        let day = WRONG_DIGITS_MS;
        let right = Totp::from_key(KEY).digits(day / 1000).unwrap();
        for n in 0..WRONG_DIGITS_MAX {
            assert_eq!(closed_until(&record, day + n), None);
            assert!(!accepts(&mut record, None, Given::Digits("x"), day + n));
        }
        assert_eq!(closed_until(&record, day + 99), Some(2 * day));
        assert!(!accepts(&mut record, None, Given::Digits(&right), day));
        assert_eq!(record.wrong_digits, WRONG_DIGITS_MAX);
        let code = Given::RecoveryCode(&codes[0]);
        assert!(accepts(&mut record, None, code, day));
        let right = Totp::from_key(KEY).digits(2 * day / 1000).unwrap();
        assert!(accepts(&mut record, None, Given::Digits(&right), 2 * day));
        assert!(!accepts(&mut record, None, Given::Digits("x"), 2 * day));
        assert_eq!(record.wrong_digits, 1);
    }

    #[test]
    fn the_digits_of_a_document_are_asked_for_too() {
        let field = json!({ "key": KEY });
        let document = Totp::from_field(Some(&field)).unwrap();
        let mut record = AccountRecord::default();
        assert_eq!(wanted(&record, false), [""; 0]);
        assert_eq!(wanted(&record, true), ["totp"]);
        let digits = Given::Digits("287082");
        assert!(!accepts(&mut record, None, digits, 59_000));
        assert!(accepts(&mut record, Some(&document), digits, 59_000));
        assert!(!accepts(&mut record, Some(&document), digits, 59_000));
        // A key of the record's own stands in its place.
        record = AccountRecord {
            totp: Some("A".repeat(32)),
            ..AccountRecord::default()
        };
        assert!(!accepts(&mut record, Some(&document), digits, 59_000));
    }
}
