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
//! Invariant: an account with a `totp` that cannot be read is signed in by nobody.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::{Choice, ConstantTimeEq as _};

/// How long digits are shown, in seconds.
const STEP_S: u64 = 30;
/// The longest key.
const KEY_BYTES_MAX: usize = 256;

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
