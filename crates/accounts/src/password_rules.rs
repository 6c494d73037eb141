//! What a new password must be like, and how it is hashed.

use std::fmt;

use regex::{Regex, RegexBuilder};

use crate::credential::{Kind, StoredCredential};
use crate::password::{PBKDF2_ITERATIONS_MAX, Prf};

/// Rounds of PBKDF2 for a new password: what `CouchDB` 3.5 and OWASP have for SHA-256.
pub const PBKDF2_ITERATIONS: u32 = 600_000;
/// The most memory that one expression may take.
const REGEX_BYTES_MAX: usize = 1 << 20;
/// What stands between an expression and the reason that is told.
const SEPARATOR: &str = " -- ";
/// `CouchDB`'s reason of the 400.
const NOT_CONFORMING: &str = "Password does not conform to requirements.";

/// How a new password is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordScheme {
    /// As [`hash_password`](crate::hash_password) says.
    Argon2id,
    /// As `CouchDB` does, for accounts that are replicated to one.
    Pbkdf2 {
        /// The function under it.
        prf: Prf,
        /// Its rounds.
        iterations: u32,
    },
}

/// Rules for new passwords.
#[derive(Clone, Debug)]
pub struct PasswordRules {
    /// How they are hashed.
    pub scheme: PasswordScheme,
    /// What they must be like.
    pub requirements: Vec<PasswordRequirement>,
}

/// An expression that a new password must match, and what to say if it does not.
#[derive(Clone, Debug)]
pub struct PasswordRequirement {
    regex: Regex,
    reason: Option<String>,
}

/// A requirement that is no regular expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no regular expression")]
pub struct InvalidRequirement(String);

/// A password that is not as the rules want it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{NOT_CONFORMING}{}{}", if .0.is_empty() { "" } else { " " }, .0)]
pub struct PasswordRefused(String);

impl Default for PasswordRules {
    fn default() -> Self {
        Self {
            scheme: PasswordScheme::Argon2id,
            requirements: Vec::new(),
        }
    }
}

impl PasswordScheme {
    /// PBKDF2 with SHA-256 and so many rounds, within what a verification may cost.
    #[must_use]
    pub fn pbkdf2(iterations: u32) -> Self {
        Self::Pbkdf2 {
            prf: Prf::Sha256,
            iterations: iterations.clamp(1, PBKDF2_ITERATIONS_MAX),
        }
    }

    /// Whether `stored` is easier to attack than what this makes, so that it should be made anew
    /// when its password is at hand.
    #[must_use]
    pub fn is_better_than(&self, stored: &StoredCredential) -> bool {
        match (self, stored.kind()) {
            (_, Kind::Simple { .. } | Kind::Bcrypt(_)) | (Self::Argon2id, Kind::Pbkdf2 { .. }) => {
                true
            }
            (Self::Argon2id, Kind::Argon2(hash)) => hash.is_cheaper_than_ours(),
            (Self::Pbkdf2 { .. }, Kind::Argon2(_)) => false,
            (
                Self::Pbkdf2 {
                    prf: ours,
                    iterations: rounds,
                },
                Kind::Pbkdf2 {
                    prf, iterations, ..
                },
            ) => prf.output_bytes() < ours.output_bytes() || iterations < rounds,
        }
    }
}

impl PasswordRules {
    /// Whether `password` may be a new password.
    ///
    /// # Errors
    /// [`PasswordRefused`], with the reason of the first requirement that it does not meet.
    pub fn check(&self, password: &str) -> Result<(), PasswordRefused> {
        let unmet = self
            .requirements
            .iter()
            .find(|requirement| !requirement.regex.is_match(password));
        match unmet {
            None => Ok(()),
            Some(unmet) => Err(PasswordRefused(unmet.reason.clone().unwrap_or_default())),
        }
    }
}

impl PasswordRequirement {
    /// Reads an expression, with ` -- ` and a reason behind it if there is one.
    ///
    /// # Errors
    /// [`InvalidRequirement`] if it is no expression, or one that takes too much memory.
    pub fn parse(text: &str) -> Result<Self, InvalidRequirement> {
        match text.rsplit_once(SEPARATOR) {
            Some((pattern, reason)) => Self::new(pattern, Some(reason.trim())),
            None => Self::new(text, None),
        }
    }

    /// Reads a list as `CouchDB` writes it: `[{"EXPRESSION", "reason"}, "EXPRESSION"]`, in which
    /// `\\` is a backslash. `None` if it is none, or an expression is none.
    #[must_use]
    pub fn parse_list(text: &str) -> Option<Vec<Self>> {
        let text = text.trim();
        if text.is_empty() {
            return Some(Vec::new());
        }
        let mut letters = text.strip_prefix('[')?.strip_suffix(']')?.chars();
        let (mut found, mut group): (Vec<Self>, Vec<String>) = Default::default();
        let mut grouped = false;
        while let Some(letter) = letters.next() {
            match letter {
                '{' => grouped = true,
                '"' => {
                    let mut written = String::new();
                    loop {
                        match letters.next()? {
                            '"' => break,
                            '\\' => written.push(letters.next()?),
                            other => written.push(other),
                        }
                    }
                    group.push(written);
                }
                '}' => grouped = false,
                letter if letter == ',' || letter.is_whitespace() => {}
                _ => return None,
            }
            if !grouped && !group.is_empty() {
                let read = Self::new(group.first()?, group.get(1).map(String::as_str));
                found.push(read.ok()?);
                group.clear();
            }
        }
        (!grouped).then_some(found)
    }

    /// An expression, and what to say if a password does not match it.
    ///
    /// # Errors
    /// [`InvalidRequirement`] if it is no expression, or one that takes too much memory.
    pub fn new(pattern: &str, reason: Option<&str>) -> Result<Self, InvalidRequirement> {
        let regex = RegexBuilder::new(pattern)
            .size_limit(REGEX_BYTES_MAX)
            .build()
            .map_err(|_| InvalidRequirement(pattern.chars().take(128).collect()))?;
        Ok(Self {
            regex,
            reason: reason.map(str::to_owned),
        })
    }
}

/// As `CouchDB` writes it: `"EXPRESSION"`, or `{"EXPRESSION", "reason"}`.
impl fmt::Display for PasswordRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let pattern = quoted(self.regex.as_str());
        match &self.reason {
            None => write!(f, "\"{pattern}\""),
            Some(reason) => write!(f, "{{\"{pattern}\", \"{}\"}}", quoted(reason)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_requirement_must_be_met() {
        let rules = PasswordRules {
            requirements: [".{10,} -- Min length is 10 chars.", "[A-Z]+", "\\d+"]
                .map(|text| PasswordRequirement::parse(text).unwrap())
                .to_vec(),
            ..PasswordRules::default()
        };
        assert_eq!(rules.check("Abcdefghi1"), Ok(()));
        let said = |password| rules.check(password).unwrap_err().to_string();
        assert_eq!(
            said("short"),
            "Password does not conform to requirements. Min length is 10 chars."
        );
        assert_eq!(
            said("abcdefghij1"),
            "Password does not conform to requirements."
        );
        assert!(PasswordRequirement::parse("(").is_err());
        assert!(PasswordRequirement::parse("(a{1000}){1000}").is_err());
        assert_eq!(PasswordRules::default().check(""), Ok(()));
    }

    #[test]
    fn requirements_are_read_as_couchdb_writes_them() {
        let text = r#"[{".{10,}", "Min length is 10 chars."}, "[A-Z]+", "[a-z]+", "\\d+", {"x"}]"#;
        let read = PasswordRequirement::parse_list(text).unwrap();
        let shown: Vec<String> = read.iter().map(ToString::to_string).collect();
        assert_eq!(
            format!("[{}]", shown.join(", ")),
            text.replace("{\"x\"}", "\"x\"")
        );
        assert_eq!(
            PasswordRequirement::parse_list("").map(|all| all.len()),
            Some(0)
        );
        assert_eq!(
            PasswordRequirement::parse_list("[]").map(|all| all.len()),
            Some(0)
        );
        for bad in [
            "x",
            "[",
            "[\"a\"",
            "[{\"a\"]",
            "[\"a]",
            "[a]",
            "[\"\\\\\"x]",
        ] {
            assert!(PasswordRequirement::parse_list(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn what_is_easier_to_attack_is_made_anew() {
        let key = "e579375db0e0c6a6fc79cd9e36a36859f71575c3";
        let stored = |text: String| StoredCredential::from_ini(&text).unwrap();
        let simple = stored(format!("-hashed-{key},s"));
        let sha1 = stored(format!("-pbkdf2-{key},s,1000000"));
        let few = stored(format!("-pbkdf2:sha256-{key},s,10"));
        let many = stored(format!("-pbkdf2:sha256-{key},s,600000"));
        let phc = |m: u32| {
            format!(
                "$argon2id$v=19$m={m},t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
            )
        };
        let (small, large) = (stored(phc(64)), stored(phc(19_456)));
        let argon = PasswordScheme::Argon2id;
        let pbkdf2 = PasswordScheme::pbkdf2(600_000);
        let better = |scheme: PasswordScheme| {
            [&simple, &sha1, &few, &many, &small, &large].map(|s| scheme.is_better_than(s))
        };
        assert_eq!(better(argon), [true, true, true, true, true, false]);
        assert_eq!(better(pbkdf2), [true, true, true, false, false, false]);
    }
}
