//! What is stored in place of a password, in the forms that documents and configurations carry.
//!
//! A user document has one of these sets of fields:
//!
//! | `password_scheme` | other fields | made by |
//! |---|---|---|
//! | `argon2id` | `derived_key`: a PHC string, which holds costs and salt too | us |
//! | `bcrypt` | `derived_key`: the text that begins with `$2a$`, `$2b$` or `$2y$` | others, when accounts are imported |
//! | `pbkdf2` | `derived_key` (hexadecimal), `salt` (a text, whose bytes are the salt), `iterations`, `pbkdf2_prf` (absent: `sha`) | `CouchDB` since 1.3, and us where told so |
//! | `simple` or absent | `password_sha` (hexadecimal SHA-1 of password and salt), `salt` | `CouchDB` before |
//!
//! A server administrator is one text, as in `CouchDB`'s configuration file:
//! `-pbkdf2:sha256-<key>,<salt>,<iterations>`, `-pbkdf2-<key>,..` (`sha`), `-hashed-<sha>,<salt>`,
//! or, ours, the PHC string.
//!
//! Invariant: a [`StoredCredential`] can be verified at a bounded cost; a dearer one is not made.

use std::fmt;

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::password::{Argon2Hash, BcryptHash, PBKDF2_ITERATIONS_MAX, Prf, decimal};

/// The longest salt that is looked at; `CouchDB` makes 32 bytes.
const SALT_BYTES_MAX: usize = 1024;
/// The shortest derived key: fewer bytes could be hit by chance.
const DERIVED_KEY_BYTES_MIN: usize = 16;
/// The longest derived key.
const DERIVED_KEY_BYTES_MAX: usize = 64;
/// Bytes of a SHA-1.
const SHA1_BYTES: usize = 20;

/// The stored form of one password, ready to be verified.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredCredential {
    kind: Kind,
    fingerprint: [u8; 32],
}

/// The scheme and what belongs to it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Argon2(Argon2Hash),
    Bcrypt(BcryptHash),
    Pbkdf2 {
        prf: Prf,
        derived_key: Vec<u8>,
        salt: String,
        iterations: u32,
    },
    Simple {
        password_sha: Vec<u8>,
        salt: String,
    },
}

/// A stored credential that cannot be verified, or not at a bearable cost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCredential {
    /// `password_scheme` is none of `argon2id`, `bcrypt`, `pbkdf2` and `simple`.
    #[error("Password scheme `{0}` not supported.")]
    UnknownScheme(String),
    /// PBKDF2 without a number of rounds.
    #[error("iterations must be a number.")]
    IterationsNotNumber,
    /// No rounds at all.
    #[error("Iteration count is too low for this server")]
    TooFewIterations,
    /// More than [`PBKDF2_ITERATIONS_MAX`] rounds, counted over the length of the key.
    #[error("Iteration count is too high for this server")]
    TooManyIterations,
    /// No derived key.
    #[error("derived_key must be a string.")]
    DerivedKeyNotText,
    /// The derived key is not what its scheme makes.
    #[error("derived_key is malformed.")]
    MalformedDerivedKey,
    /// A PHC string that is none, or that asks for more memory or passes than this server gives.
    #[error("derived_key must be an argon2id PHC string of a cost that this server accepts.")]
    MalformedPhc,
    /// A bcrypt hash that is none, or asks for more rounds than this server gives.
    #[error("derived_key must be a bcrypt hash of a cost that this server accepts.")]
    MalformedBcrypt,
    /// `password_sha` is no SHA-1.
    #[error("password_sha must be a SHA-1 in hexadecimal digits.")]
    MalformedPasswordSha,
    /// The old scheme without its salt.
    #[error(
        "Users with password_sha must have a salt.See /_utils/script/couch.js for example code."
    )]
    NoSalt,
    /// A salt that is no text, or longer than any that `CouchDB` makes.
    #[error("salt must be a string of at most {SALT_BYTES_MAX} bytes.")]
    MalformedSalt,
    /// `pbkdf2_prf` is none that `CouchDB` knows.
    #[error("PRF is invalid")]
    UnknownPrf,
    /// A configured password that is not hashed, or in no form that is known.
    #[error("this is no hashed password")]
    NotHashed,
}

impl StoredCredential {
    /// Reads the credential of a user document; `None` if it has none, and nobody can sign in.
    ///
    /// # Errors
    /// [`InvalidCredential`] if there is one that cannot be verified.
    pub fn from_document(document: &Map<String, Value>) -> Result<Option<Self>, InvalidCredential> {
        match document.get("password_scheme") {
            None | Some(Value::Null) => Self::simple_from(document),
            Some(Value::String(scheme)) => match scheme.as_str() {
                "" | "simple" => Self::simple_from(document),
                "pbkdf2" => Self::pbkdf2_from(document).map(Some),
                "argon2id" => {
                    let phc = text_field(document, "derived_key")
                        .ok_or(InvalidCredential::DerivedKeyNotText)?;
                    Argon2Hash::parse(phc)
                        .map(|hash| Some(Self::argon2(hash)))
                        .ok_or(InvalidCredential::MalformedPhc)
                }
                "bcrypt" => {
                    let hash = text_field(document, "derived_key")
                        .ok_or(InvalidCredential::DerivedKeyNotText)?;
                    BcryptHash::parse(hash)
                        .map(|hash| Some(Self::new(Kind::Bcrypt(hash))))
                        .ok_or(InvalidCredential::MalformedBcrypt)
                }
                _ => Err(InvalidCredential::UnknownScheme(
                    scheme.chars().take(64).collect(),
                )),
            },
            Some(other) => {
                let shown = other.to_string().chars().take(64).collect();
                Err(InvalidCredential::UnknownScheme(shown))
            }
        }
    }

    /// Reads an administrator's hash as `CouchDB`'s configuration has it, or our PHC string.
    ///
    /// # Errors
    /// [`InvalidCredential::NotHashed`] if it is a password in the clear; others as their names say.
    pub fn from_ini(text: &str) -> Result<Self, InvalidCredential> {
        if text.starts_with("$argon2id$") {
            return Argon2Hash::parse(text)
                .map(Self::argon2)
                .ok_or(InvalidCredential::MalformedPhc);
        }
        if text.starts_with("$2") {
            return BcryptHash::parse(text)
                .map(|hash| Self::new(Kind::Bcrypt(hash)))
                .ok_or(InvalidCredential::MalformedBcrypt);
        }
        if let Some(rest) = text.strip_prefix("-hashed-") {
            let (sha, salt) = rest.split_once(',').ok_or(InvalidCredential::NoSalt)?;
            return Self::simple(sha, salt);
        }
        let (prf, rest) = if let Some(rest) = text.strip_prefix("-pbkdf2-") {
            (Prf::Sha1, rest)
        } else {
            let rest = text
                .strip_prefix("-pbkdf2:")
                .ok_or(InvalidCredential::NotHashed)?;
            let (prf, rest) = rest.split_once('-').ok_or(InvalidCredential::UnknownPrf)?;
            (Prf::parse(prf).ok_or(InvalidCredential::UnknownPrf)?, rest)
        };
        let (key, rest) = rest.split_once(',').ok_or(InvalidCredential::NoSalt)?;
        let (salt, iterations) = rest
            .rsplit_once(',')
            .ok_or(InvalidCredential::IterationsNotNumber)?;
        if !iterations.bytes().all(|b| b.is_ascii_digit()) || iterations.is_empty() {
            return Err(InvalidCredential::IterationsNotNumber);
        }
        // Digits that do not fit are simply too many.
        let iterations = decimal(iterations).ok_or(InvalidCredential::TooManyIterations)?;
        Self::pbkdf2(prf, key, salt, u64::from(iterations))
    }

    /// The credential as one text, which [`from_ini`](Self::from_ini) reads back.
    #[must_use]
    pub fn to_text(&self) -> String {
        match &self.kind {
            Kind::Argon2(hash) => hash.to_phc(),
            Kind::Bcrypt(hash) => hash.as_str().to_owned(),
            Kind::Pbkdf2 {
                prf,
                derived_key,
                salt,
                iterations,
            } => {
                format!(
                    "-pbkdf2:{}-{},{salt},{iterations}",
                    prf.as_str(),
                    to_hex(derived_key)
                )
            }
            Kind::Simple { password_sha, salt } => {
                format!("-hashed-{},{salt}", to_hex(password_sha))
            }
        }
    }

    /// 32 bytes that another password, or the same one hashed again, does not have.
    ///
    /// It is the per-user salt of sessions, so that a new password ends them, and part of the key
    /// under which a verified password is remembered.
    #[must_use]
    pub const fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    pub(crate) fn argon2(hash: Argon2Hash) -> Self {
        Self::new(Kind::Argon2(hash))
    }

    pub(crate) fn made(kind: Kind) -> Self {
        Self::new(kind)
    }

    /// The fields that a user document carries for it, `password_scheme` first.
    pub(crate) fn to_fields(&self) -> Vec<(&'static str, Value)> {
        match &self.kind {
            Kind::Argon2(hash) => vec![
                ("password_scheme", "argon2id".into()),
                ("derived_key", hash.to_phc().into()),
            ],
            Kind::Bcrypt(hash) => vec![
                ("password_scheme", "bcrypt".into()),
                ("derived_key", hash.as_str().into()),
            ],
            Kind::Pbkdf2 {
                prf,
                derived_key,
                salt,
                iterations,
            } => vec![
                ("password_scheme", "pbkdf2".into()),
                ("pbkdf2_prf", prf.as_str().into()),
                ("salt", salt.as_str().into()),
                ("iterations", (*iterations).into()),
                ("derived_key", to_hex(derived_key).into()),
            ],
            Kind::Simple { password_sha, salt } => vec![
                ("password_scheme", "simple".into()),
                ("password_sha", to_hex(password_sha).into()),
                ("salt", salt.as_str().into()),
            ],
        }
    }

    pub(crate) const fn kind(&self) -> &Kind {
        &self.kind
    }

    fn new(kind: Kind) -> Self {
        let mut unprinted = Self {
            kind,
            fingerprint: [0; 32],
        };
        unprinted.fingerprint = Sha256::digest(unprinted.to_text()).into();
        unprinted
    }

    fn pbkdf2_from(document: &Map<String, Value>) -> Result<Self, InvalidCredential> {
        let Some(Value::Number(iterations)) = document.get("iterations") else {
            return Err(InvalidCredential::IterationsNotNumber);
        };
        let key =
            text_field(document, "derived_key").ok_or(InvalidCredential::DerivedKeyNotText)?;
        let prf = match document.get("pbkdf2_prf") {
            None | Some(Value::Null) => Prf::Sha1,
            Some(name) => name
                .as_str()
                .and_then(Prf::parse)
                .ok_or(InvalidCredential::UnknownPrf)?,
        };
        let salt = match document.get("salt") {
            None => "",
            Some(salt) => salt.as_str().ok_or(InvalidCredential::MalformedSalt)?,
        };
        let iterations = match iterations.as_u64() {
            Some(iterations) => iterations,
            None if iterations.as_f64().is_some_and(|n| n < 1.0) => 0,
            None if iterations.as_i64().is_none() && !iterations.is_f64() => u64::MAX,
            None => return Err(InvalidCredential::IterationsNotNumber),
        };
        Self::pbkdf2(prf, key, salt, iterations)
    }

    fn pbkdf2(prf: Prf, key: &str, salt: &str, iterations: u64) -> Result<Self, InvalidCredential> {
        let derived_key = from_hex(key).ok_or(InvalidCredential::MalformedDerivedKey)?;
        if !(DERIVED_KEY_BYTES_MIN..=DERIVED_KEY_BYTES_MAX).contains(&derived_key.len()) {
            return Err(InvalidCredential::MalformedDerivedKey);
        }
        if salt.len() > SALT_BYTES_MAX {
            return Err(InvalidCredential::MalformedSalt);
        }
        let runs = derived_key.len().div_ceil(prf.output_bytes());
        let iterations =
            u32::try_from(iterations).map_err(|_| InvalidCredential::TooManyIterations)?;
        let rounds = u64::from(iterations) * u64::try_from(runs).unwrap_or(u64::from(u32::MAX));
        if rounds > u64::from(PBKDF2_ITERATIONS_MAX) {
            return Err(InvalidCredential::TooManyIterations);
        }
        if iterations == 0 {
            return Err(InvalidCredential::TooFewIterations);
        }
        Ok(Self::new(Kind::Pbkdf2 {
            prf,
            derived_key,
            salt: salt.to_owned(),
            iterations,
        }))
    }

    fn simple_from(document: &Map<String, Value>) -> Result<Option<Self>, InvalidCredential> {
        match document.get("password_sha") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(sha)) => {
                let salt = match document.get("salt") {
                    None | Some(Value::Null) => Err(InvalidCredential::NoSalt),
                    Some(salt) => salt.as_str().ok_or(InvalidCredential::MalformedSalt),
                };
                Self::simple(sha, salt?).map(Some)
            }
            Some(_) => Err(InvalidCredential::MalformedPasswordSha),
        }
    }

    fn simple(sha: &str, salt: &str) -> Result<Self, InvalidCredential> {
        let password_sha = from_hex(sha)
            .filter(|sha| sha.len() == SHA1_BYTES)
            .ok_or(InvalidCredential::MalformedPasswordSha)?;
        if salt.is_empty() {
            return Err(InvalidCredential::NoSalt);
        }
        if salt.len() > SALT_BYTES_MAX {
            return Err(InvalidCredential::MalformedSalt);
        }
        Ok(Self::new(Kind::Simple {
            password_sha,
            salt: salt.to_owned(),
        }))
    }
}

/// Says the scheme only: hashes do not belong in logs.
impl fmt::Debug for StoredCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match &self.kind {
            Kind::Argon2(_) => "argon2id",
            Kind::Bcrypt(_) => "bcrypt",
            Kind::Pbkdf2 { .. } => "pbkdf2",
            Kind::Simple { .. } => "simple",
        };
        f.debug_struct("StoredCredential")
            .field("scheme", &scheme)
            .finish_non_exhaustive()
    }
}

fn text_field<'a>(document: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    document.get(name).and_then(Value::as_str)
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// At most 64 bytes of hexadecimal digits, in either case.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    if text.len() > 2 * DERIVED_KEY_BYTES_MAX || !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|n| u8::try_from(n).ok())
    };
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const KEY: &str = "e579375db0e0c6a6fc79cd9e36a36859f71575c3";

    fn read(document: &Value) -> Result<Option<StoredCredential>, InvalidCredential> {
        StoredCredential::from_document(document.as_object().expect("an object"))
    }

    #[test]
    fn documents_of_every_scheme_are_read() {
        for (document, scheme) in [
            (
                json!({"password_scheme":"pbkdf2","derived_key":KEY,"salt":"s","iterations":10}),
                "pbkdf2",
            ),
            (
                json!({"password_scheme":"pbkdf2","derived_key":KEY.to_uppercase(),"iterations":1}),
                "pbkdf2",
            ),
            (
                json!({"password_scheme":"pbkdf2","pbkdf2_prf":"sha256","derived_key":KEY,"salt":"s","iterations":600_000}),
                "pbkdf2",
            ),
            (
                json!({"password_scheme":"simple","password_sha":KEY,"salt":"s"}),
                "simple",
            ),
            (json!({"password_sha":KEY,"salt":"s"}), "simple"),
            (
                json!({"password_scheme":"argon2id","derived_key":"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"}),
                "argon2id",
            ),
        ] {
            let shown = format!("{:?}", read(&document).unwrap().unwrap());
            assert_eq!(
                shown,
                format!("StoredCredential {{ scheme: {scheme:?}, .. }}")
            );
        }
        for none in [
            json!({}),
            json!({"password_scheme":null}),
            json!({"password_scheme":"simple","salt":"s"}),
        ] {
            assert_eq!(read(&none), Ok(None));
        }
    }

    /// `fields` are those of a PBKDF2 document besides its scheme and, unless given, its key.
    fn refused_pbkdf2(fields: &Value, reason: &str) {
        let mut document = json!({"password_scheme":"pbkdf2","derived_key":KEY});
        for (name, value) in fields.as_object().expect("an object").clone() {
            document[name] = value;
        }
        refused(&document, reason);
    }

    fn refused(document: &Value, reason: &str) {
        assert_eq!(
            read(document).unwrap_err().to_string(),
            reason,
            "{document}"
        );
    }

    #[test]
    fn pbkdf2_that_cannot_be_verified_is_refused_in_couchdbs_words() {
        let not_number = "iterations must be a number.";
        for iterations in [json!(null), json!("10"), json!(10.5), json!([10])] {
            refused_pbkdf2(&json!({ "iterations": iterations }), not_number);
        }
        refused(
            &json!({"password_scheme":"pbkdf2","derived_key":KEY}),
            not_number,
        );
        let too_low = "Iteration count is too low for this server";
        for iterations in [json!(0), json!(-3), json!(-0.5)] {
            refused_pbkdf2(&json!({ "iterations": iterations }), too_low);
        }
        let too_high = "Iteration count is too high for this server";
        for iterations in [10_000_001, u64::from(u32::MAX) + 1, u64::MAX] {
            refused_pbkdf2(&json!({ "iterations": iterations }), too_high);
        }
        // 64 bytes of HMAC-SHA1 are four runs of the rounds.
        let four_runs = json!({"derived_key":"ab".repeat(64),"iterations":2_500_001});
        refused_pbkdf2(&four_runs, too_high);

        let not_text = "derived_key must be a string.";
        refused_pbkdf2(&json!({"derived_key":null,"iterations":10}), not_text);
        refused_pbkdf2(&json!({"derived_key":7,"iterations":10}), not_text);
        for key in [
            "",
            "ab",
            "abc",
            &"zz".repeat(20),
            &"ab".repeat(65),
            &"ä".repeat(20),
        ] {
            let fields = json!({"derived_key":key,"iterations":10});
            refused_pbkdf2(&fields, "derived_key is malformed.");
        }
        for prf in [json!("md5"), json!("sha1"), json!(1)] {
            refused_pbkdf2(&json!({"iterations":10,"pbkdf2_prf":prf}), "PRF is invalid");
        }
        for salt in [json!(7), json!(null), json!("s".repeat(1025))] {
            let fields = json!({"iterations":10,"salt":salt});
            refused_pbkdf2(&fields, "salt must be a string of at most 1024 bytes.");
        }
    }

    #[test]
    fn other_schemes_that_cannot_be_verified_are_refused() {
        refused(
            &json!({"password_scheme":"md5"}),
            "Password scheme `md5` not supported.",
        );
        refused(
            &json!({"password_scheme":5}),
            "Password scheme `5` not supported.",
        );
        refused(
            &json!({"password_sha":KEY}),
            "Users with password_sha must have a salt.See /_utils/script/couch.js for example code.",
        );
        for sha in [json!("ab"), json!(1)] {
            refused(
                &json!({"password_sha":sha,"salt":"s"}),
                "password_sha must be a SHA-1 in hexadecimal digits.",
            );
        }
        refused(
            &json!({"password_scheme":"argon2id"}),
            "derived_key must be a string.",
        );
        refused(
            &json!({"password_scheme":"argon2id","derived_key":KEY}),
            "derived_key must be an argon2id PHC string of a cost that this server accepts.",
        );
    }

    #[test]
    fn numbers_beyond_every_machine_word_are_too_high() {
        let document: Value = serde_json::from_str(&format!(
            r#"{{"password_scheme":"pbkdf2","derived_key":"{KEY}","iterations":123456789012345678901234567890}}"#
        ))
        .unwrap();
        assert!(read(&document).is_err());
    }

    #[test]
    fn the_text_form_round_trips() {
        for text in [
            format!("-pbkdf2:sha-{KEY},salt,10"),
            format!("-pbkdf2:sha512-{},a,b,10", "0f".repeat(64)),
            format!("-hashed-{KEY},salt"),
            "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        ] {
            assert_eq!(StoredCredential::from_ini(&text).unwrap().to_text(), text);
        }
        let short = StoredCredential::from_ini(&format!("-pbkdf2-{KEY},salt,10")).unwrap();
        assert_eq!(short.to_text(), format!("-pbkdf2:sha-{KEY},salt,10"));
    }

    #[test]
    fn a_configured_text_that_is_no_hash_is_refused() {
        for (text, error) in [
            (String::new(), InvalidCredential::NotHashed),
            ("secret".to_owned(), InvalidCredential::NotHashed),
            ("-pbkdf2".to_owned(), InvalidCredential::NotHashed),
            ("-pbkdf2:".to_owned(), InvalidCredential::UnknownPrf),
            (
                format!("-pbkdf2:md5-{KEY},s,1"),
                InvalidCredential::UnknownPrf,
            ),
            (format!("-pbkdf2-{KEY}"), InvalidCredential::NoSalt),
            (
                format!("-pbkdf2-{KEY},s"),
                InvalidCredential::IterationsNotNumber,
            ),
            (
                format!("-pbkdf2-{KEY},s,"),
                InvalidCredential::IterationsNotNumber,
            ),
            (
                format!("-pbkdf2-{KEY},s,x"),
                InvalidCredential::IterationsNotNumber,
            ),
            (
                format!("-pbkdf2-{KEY},s,99999999999999999999"),
                InvalidCredential::TooManyIterations,
            ),
            (
                format!("-pbkdf2-{KEY},s,10000001"),
                InvalidCredential::TooManyIterations,
            ),
            (format!("-hashed-{KEY}"), InvalidCredential::NoSalt),
            (format!("-hashed-{KEY},"), InvalidCredential::NoSalt),
            (
                "-hashed-x,s".to_owned(),
                InvalidCredential::MalformedPasswordSha,
            ),
            ("$argon2id$".to_owned(), InvalidCredential::MalformedPhc),
        ] {
            assert_eq!(StoredCredential::from_ini(&text), Err(error), "{text}");
        }
    }

    #[test]
    fn every_field_changes_the_fingerprint() {
        let base = format!("-pbkdf2-{KEY},salt,10");
        let print = |text: &str| {
            *StoredCredential::from_ini(text)
                .expect("valid")
                .fingerprint()
        };
        for other in [
            format!("-pbkdf2-{KEY},salt,11"),
            format!("-pbkdf2-{KEY},salu,10"),
            format!("-pbkdf2:sha256-{KEY},salt,10"),
            format!("-pbkdf2-{},salt,10", KEY.replace('e', "f")),
            format!("-hashed-{KEY},salt"),
        ] {
            assert_ne!(print(&base), print(&other), "{other}");
        }
        assert_eq!(print(&base), print(&base));
    }
}
