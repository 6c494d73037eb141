//! The digits that a device shows, new ones every thirty seconds (TOTP, RFC 6238).
//!
//! An account that has a field `totp` wants them besides the password:
//!
//! ```json
//! {"totp":{"key":"GEZDGNBVGY3TQOJQ","algorithm":"sha","length":6}}
//! ```
//!
//! The key is in Base32, `algorithm` one of `sha` (the default), `sha256` and `sha512`, `length` the
//! number of digits (6). As in `CouchDB` such an account signs in for a session only, and the digits
//! before and after the present ones do as well.
//!
//! A key that is made here is in the account's record: 160 random bits, SHA-1 and six digits, which is
//! what every device that shows digits understands. There each step of time is taken once.
//!
//! Invariant: an account with a `totp` that cannot be read is signed in by nobody.

use adea_base::Entropy;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

/// How long digits are shown, in seconds.
const STEP_S: u64 = 30;
/// The longest key.
const KEY_BYTES_MAX: usize = 256;
/// The length of a key that is made here: that of the hash.
const KEY_BYTES: usize = 20;
/// The letters of Base32, in the order of their values.
const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// What makes an account's digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Totp {
    algorithm: Algorithm,
    key: Vec<u8>,
    length: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Sha1,
    Sha256,
    Sha512,
    /// No digits fit.
    Unreadable,
}

impl Totp {
    /// Reads the field `totp` of an account; `None` if there is none.
    #[must_use]
    pub fn from_field(field: Option<&Value>) -> Option<Self> {
        let field = field.filter(|field| !field.is_null())?;
        Some(Self::read(field).unwrap_or(Self {
            algorithm: Algorithm::Unreadable,
            key: Vec::new(),
            length: 6,
        }))
    }

    /// What makes the digits of a key that was made here.
    #[must_use]
    pub fn from_key(key: &str) -> Self {
        let key = base32(key).filter(|key| !key.is_empty());
        Self {
            algorithm: key
                .as_ref()
                .map_or(Algorithm::Unreadable, |_| Algorithm::Sha1),
            key: key.unwrap_or_default(),
            length: 6,
        }
    }

    fn read(field: &Value) -> Option<Self> {
        let algorithm = match field.get("algorithm") {
            None => Algorithm::Sha1,
            Some(name) => match name.as_str()? {
                "sha" => Algorithm::Sha1,
                "sha256" => Algorithm::Sha256,
                "sha512" => Algorithm::Sha512,
                _ => return None,
            },
        };
        let length = match field.get("length") {
            None => 6,
            Some(length) => u32::try_from(length.as_u64()?).ok()?,
        };
        let key = base32(field.get("key")?.as_str()?)?;
        let usable = (6..=9).contains(&length) && !key.is_empty();
        usable.then_some(Self {
            algorithm,
            key,
            length,
        })
    }

    /// Whether these digits are shown at `now_s`, or just before or after.
    #[must_use]
    pub fn accepts(&self, digits: &str, now_s: u64) -> bool {
        // All three, in the same time.
        let mut fits = Choice::from(0);
        for at_s in [
            now_s.saturating_sub(STEP_S),
            now_s,
            now_s.saturating_add(STEP_S),
        ] {
            if let Some(shown) = self.digits(at_s) {
                fits |= shown.as_bytes().ct_eq(digits.as_bytes());
            }
        }
        bool::from(fits)
    }

    /// The step of time that these digits are shown in, if it is the one of `now_s` or next to it, and
    /// later than `after`: whose digits were taken already, or came before those.
    #[must_use]
    pub fn step_of(&self, digits: &str, now_s: u64, after: u64) -> Option<u64> {
        let now = now_s / STEP_S;
        let (mut fits, mut found) = (Choice::from(0), 0);
        for step in [now.saturating_sub(1), now, now.saturating_add(1)] {
            let Some(shown) = self.digits(step.saturating_mul(STEP_S)) else {
                continue;
            };
            let this = shown.as_bytes().ct_eq(digits.as_bytes());
            let this = this & Choice::from(u8::from(step > after));
            found.conditional_assign(&step, this);
            fits |= this;
        }
        bool::from(fits).then_some(found)
    }

    /// The digits that are shown at a time; none if it cannot be read.
    #[must_use]
    pub fn digits(&self, at_s: u64) -> Option<String> {
        let counter = (at_s / STEP_S).to_be_bytes();
        let hash = match self.algorithm {
            Algorithm::Sha1 => {
                let mac = Hmac::<Sha1>::new_from_slice(&self.key).ok()?;
                mac.chain_update(counter).finalize().into_bytes().to_vec()
            }
            Algorithm::Sha256 => {
                let mac = Hmac::<Sha256>::new_from_slice(&self.key).ok()?;
                mac.chain_update(counter).finalize().into_bytes().to_vec()
            }
            Algorithm::Sha512 => {
                let mac = Hmac::<Sha512>::new_from_slice(&self.key).ok()?;
                mac.chain_update(counter).finalize().into_bytes().to_vec()
            }
            Algorithm::Unreadable => return None,
        };
        // RFC 4226: the last four bits say where the number begins.
        let offset = usize::from(hash.last()? & 15);
        let number = hash.get(offset..)?.first_chunk::<4>()?;
        let number = u32::from_be_bytes(*number) & 0x7fff_ffff;
        let width = usize::try_from(self.length).ok()?;
        let digits = number % 10_u32.checked_pow(self.length)?;
        Some(format!("{digits:0width$}"))
    }
}

/// A fresh key, in Base32.
#[must_use]
pub fn new_totp_key(entropy: &Entropy) -> String {
    let bytes: [u8; KEY_BYTES] = entropy.bytes();
    let (mut out, mut held, mut bits) = (String::new(), 0_u32, 0_u32);
    for byte in bytes {
        held = (held << 8 | u32::from(byte)) & 0xffff;
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            let place = usize::try_from(held >> bits & 31).unwrap_or(0);
            out.push(char::from(*LETTERS.get(place).unwrap_or(&b'A')));
        }
    }
    out
}

/// What a device scans to show the digits of `key`, for the account `name` at `issuer`.
#[must_use]
pub fn otpauth_url(issuer: &str, name: &str, key: &str) -> String {
    let (issuer, name) = (escaped(issuer), escaped(name));
    format!(
        "otpauth://totp/{issuer}:{name}?secret={key}&issuer={issuer}&algorithm=SHA1&digits=6&period={STEP_S}"
    )
}

/// Escapes everything that a part of a URL cannot hold as it is.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

/// The key stays out of logs.
impl std::fmt::Debug for Totp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Totp").finish_non_exhaustive()
    }
}

/// Reads Base32, with or without the padding behind it.
fn base32(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let (mut out, mut held, mut bits) = (Vec::new(), 0_u32, 0_u32);
    for letter in text.bytes() {
        let value = match letter.to_ascii_uppercase() {
            letter @ b'A'..=b'Z' => letter - b'A',
            digit @ b'2'..=b'7' => digit - b'2' + 26,
            _ => return None,
        };
        held = (held << 5 | u32::from(value)) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from(held >> bits & 0xff).ok()?);
        }
    }
    (out.len() <= KEY_BYTES_MAX).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_digits_are_those_of_the_rfc() {
        let keys = [
            ("sha", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"),
            (
                "sha256",
                "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZA====",
            ),
            (
                "sha512",
                "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNA",
            ),
        ];
        // RFC 6238, appendix B.
        let shown = [
            (59, ["94287082", "46119246", "90693936"]),
            (1_111_111_109, ["07081804", "68084774", "25091201"]),
            (20_000_000_000, ["65353130", "77737706", "47863826"]),
        ];
        for (at_s, digits) in shown {
            for ((algorithm, key), digits) in keys.iter().zip(digits) {
                let field = json!({"key":key,"algorithm":algorithm,"length":8});
                let totp = Totp::from_field(Some(&field)).unwrap();
                for (now_s, fits) in [(at_s, true), (at_s + 30, true), (at_s + 90, false)] {
                    assert_eq!(totp.accepts(digits, now_s), fits, "{algorithm} {now_s}");
                }
                assert!(!totp.accepts(&digits[1..], at_s) && !totp.accepts("", at_s));
            }
        }
        let six = Totp::from_field(Some(&json!({"key":keys[0].1}))).unwrap();
        assert!(six.accepts("287082", 59) && six.accepts("287082", 0));
    }

    #[test]
    fn digits_of_a_step_are_taken_once_and_next_to_now_only() {
        let totp = Totp::from_key("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        // RFC 6238, appendix B, of which the last six digits: 59 s is in step 1.
        assert_eq!(totp.step_of("287082", 59, 0), Some(1));
        for (now_s, after, step) in [
            (0, 0, Some(1)),
            (30, 0, Some(1)),
            (89, 0, Some(1)),
            (90, 0, None),
            (59, 1, None),
            (59, 2, None),
        ] {
            assert_eq!(
                totp.step_of("287082", now_s, after),
                step,
                "{now_s} {after}"
            );
        }
        for digits in ["", "287083", "87082", "2870820", "94287082"] {
            assert_eq!(totp.step_of(digits, 59, 0), None, "{digits}");
        }
        assert_eq!(totp.step_of("287082", u64::MAX, 0), None);
    }

    #[test]
    fn a_fresh_key_is_read_by_who_made_it() {
        let key = new_totp_key(&Entropy::System);
        assert_eq!(key.len(), 32);
        assert_ne!(key, new_totp_key(&Entropy::System));
        let (made, field) = (Totp::from_key(&key), json!({ "key": key }));
        assert!(made == Totp::from_field(Some(&field)).unwrap());
        assert_eq!(made.key.len(), KEY_BYTES);
        let url = otpauth_url("a b&c.example", "ann@x:y/ä", "KEY");
        assert_eq!(
            url,
            "otpauth://totp/a%20b%26c.example:ann%40x%3Ay%2F%C3%A4?secret=KEY\
             &issuer=a%20b%26c.example&algorithm=SHA1&digits=6&period=30"
        );
        for broken in ["", "=", "01", "ä"] {
            let totp = Totp::from_key(broken);
            assert_eq!(totp.step_of("000000", 59, 0), None);
            assert!(!totp.accepts("", 0), "{broken}");
        }
    }

    #[test]
    fn what_cannot_be_read_lets_nobody_in() {
        assert_eq!(Totp::from_field(None), None);
        assert_eq!(Totp::from_field(Some(&json!(null))), None);
        for field in [
            json!({}),
            json!("x"),
            json!({"key":""}),
            json!({"key":"01"}),
            json!({"key":"GEZA","algorithm":"md5"}),
            json!({"key":"GEZA","length":1}),
            json!({"key":"GEZA","length":99}),
        ] {
            let totp = Totp::from_field(Some(&field)).unwrap();
            assert!(
                !totp.accepts("", 0) && !totp.accepts("000000", 0),
                "{field}"
            );
        }
    }
}
