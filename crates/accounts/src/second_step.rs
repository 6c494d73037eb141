//! The second step of signing in: a factor that is asked for besides the first.
//!
//! Between the two steps stands a secret that is good once and for a few minutes, the continuation.
//! What is wrong is counted in it, so that whoever knows the password has a handful of guesses and
//! not as many as he can send.
//!
//! Invariants: a continuation lets in once; after [`ATTEMPTS_MAX`] wrong answers it lets in nobody;
//! a wrong answer does not make it last longer.

use serde_json::{Map, Value};

use crate::directory::AccountRecord;
use crate::one_time::OneTime;
use crate::recovery_codes;
use crate::totp::Totp;

/// How many wrong answers a continuation stands.
pub const ATTEMPTS_MAX: u64 = 5;

/// Where wrong answers are counted among what is kept.
const ATTEMPTS: &str = "attempts";
/// Where the way of the first step stands.
const METHOD: &str = "method";

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

/// Whether `given` is what the account asks for; it is used up then.
#[must_use]
pub fn accepts(
    record: &mut AccountRecord,
    document: Option<&Totp>,
    given: Given<'_>,
    now_s: u64,
) -> bool {
    match given {
        Given::RecoveryCode(code) => recovery_codes::take(&mut record.recovery_codes, code),
        Given::Digits(digits) => {
            let own = record.totp.as_deref().map(Totp::from_key);
            let totp = own.as_ref().or(document);
            let step = totp.and_then(|totp| totp.step_of(digits, now_s, record.totp_step));
            record.totp_step = step.unwrap_or(record.totp_step);
            step.is_some()
        }
    }
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
        let mut ask = |given| accepts(&mut record, None, given, 59);
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
    fn the_digits_of_a_document_are_asked_for_too() {
        let field = json!({ "key": KEY });
        let document = Totp::from_field(Some(&field)).unwrap();
        let mut record = AccountRecord::default();
        assert_eq!(wanted(&record, false), [""; 0]);
        assert_eq!(wanted(&record, true), ["totp"]);
        let digits = Given::Digits("287082");
        assert!(!accepts(&mut record, None, digits, 59));
        assert!(accepts(&mut record, Some(&document), digits, 59));
        assert!(!accepts(&mut record, Some(&document), digits, 59));
        // A key of the record's own stands in its place.
        record = AccountRecord {
            totp: Some("A".repeat(32)),
            ..AccountRecord::default()
        };
        assert!(!accepts(&mut record, Some(&document), digits, 59));
    }
}
