//! What a genuine token must say, and what is taken from it.
//!
//! `required_claims` is written as in `CouchDB`: names, and `{name, "value"}` where the value
//! counts, as in `exp, {iss, "https://id.example.org"}, {aud, "notes"}`. A value that begins with
//! `^` is a regular expression, which the whole claim must match; this is more than `CouchDB` has,
//! and so are claims other than its own eight.

use std::borrow::Cow;
use std::fmt;

use adea_base::Caller;
use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use super::{TokenError, TokenHolder, invalid};

/// The claim that holds the roles, unless another is named.
const ROLES: &str = "_couchdb.roles";
/// The most memory that the regular expression of a claim may take.
const REGEX_BYTES_MAX: usize = 1 << 20;
/// 31 December 9999.
const UNIX_S_MAX: f64 = 253_402_300_799.0;

/// What tokens must say, and how they are read.
#[derive(Clone, Debug)]
pub struct TokenRules {
    /// The claims that must be there.
    pub required: RequiredClaims,
    /// Where the roles stand.
    pub roles: ClaimPath,
    /// By how many seconds the clock of who makes the tokens may differ from ours.
    pub leeway_s: u64,
    /// Whether a token may give roles that begin with `_`, as `_admin`.
    pub system_roles: bool,
}

/// The way to a claim: the name of a member, and of a member of that, and so on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath(Vec<String>);

/// The claims that a token must have.
#[derive(Clone, Debug, Default)]
pub struct RequiredClaims(Vec<(String, Wanted)>);

/// What a claim must be.
#[derive(Clone, Debug)]
enum Wanted {
    Anything,
    Exactly(String),
    Like(Box<Regex>),
}

/// A list of required claims that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequiredClaims {
    /// It is not written as a list of names and `{name, "value"}`.
    #[error("it is no list of names and {{name, \"value\"}}, from \"{0}\" on")]
    Syntax(String),
    /// A regular expression is none, or one that takes too much memory.
    #[error("\"{0}\" is no regular expression")]
    Regex(String),
}

impl Default for TokenRules {
    fn default() -> Self {
        Self {
            required: RequiredClaims::default(),
            roles: ClaimPath::name(ROLES),
            leeway_s: 0,
            system_roles: true,
        }
    }
}

impl ClaimPath {
    /// The claim called `name`, whatever characters are in it.
    #[must_use]
    pub fn name(name: &str) -> Self {
        Self(vec![name.to_owned()])
    }

    /// A path of names between dots; `\.` is a dot in a name.
    #[must_use]
    pub fn parse(path: &str) -> Self {
        let mut names = vec![String::new()];
        let mut letters = path.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '.' => names.push(String::new()),
                '\\' if letters.peek() == Some(&'.') => {
                    letters.next();
                    names.last_mut().into_iter().for_each(|name| name.push('.'));
                }
                other => names
                    .last_mut()
                    .into_iter()
                    .for_each(|name| name.push(other)),
            }
        }
        Self(names)
    }

    /// The name, if it is a single one.
    #[must_use]
    pub fn as_name(&self) -> Option<&str> {
        match self.0.as_slice() {
            [name] => Some(name),
            _ => None,
        }
    }

    fn find<'c>(&self, claims: &'c Map<String, Value>) -> Option<&'c Value> {
        let (first, rest) = self.0.split_first()?;
        rest.iter()
            .try_fold(claims.get(first)?, |value, name| value.get(name))
    }
}

impl RequiredClaims {
    /// Reads the list as `CouchDB`'s configuration has it; an empty text is an empty list.
    ///
    /// # Errors
    /// [`InvalidRequiredClaims`], which says where or what.
    pub fn parse(text: &str) -> Result<Self, InvalidRequiredClaims> {
        let mut claims = Vec::new();
        let mut rest = text.trim_start_matches([',', ' ', '\t']);
        while !rest.is_empty() {
            let bad = || InvalidRequiredClaims::Syntax(rest.chars().take(40).collect());
            let (claim, after) = match rest.strip_prefix('{') {
                None => {
                    let (name, after) = name(rest).ok_or_else(bad)?;
                    ((name.to_owned(), Wanted::Anything), after)
                }
                Some(inside) => {
                    let (name, after) = name(inside.trim_start()).ok_or_else(bad)?;
                    let after = after.trim_start().strip_prefix(',').ok_or_else(bad)?;
                    let after = after.trim_start().strip_prefix('"').ok_or_else(bad)?;
                    let (value, after) = after.split_once('"').ok_or_else(bad)?;
                    let after = after.trim_start().strip_prefix('}').ok_or_else(bad)?;
                    ((name.to_owned(), Wanted::parse(value)?), after)
                }
            };
            claims.push(claim);
            let next = after.trim_start();
            if !next.is_empty() && !next.starts_with(',') {
                return Err(bad());
            }
            rest = next.trim_start_matches([',', ' ', '\t']);
        }
        Ok(Self(claims))
    }
}

/// As [`RequiredClaims::parse`] reads it.
impl fmt::Display for RequiredClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (name, wanted)) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str(", ")?;
            }
            match wanted {
                Wanted::Anything => f.write_str(name)?,
                Wanted::Exactly(value) => write!(f, "{{{name}, \"{value}\"}}")?,
                Wanted::Like(regex) => write!(f, "{{{name}, \"{}\"}}", regex.as_str())?,
            }
        }
        Ok(())
    }
}

/// As [`ClaimPath::parse`] reads it.
impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(|name| name.replace('.', "\\.")).collect();
        f.write_str(&names.join("."))
    }
}

/// The name of a claim, and what follows it.
fn name(text: &str) -> Option<(&str, &str)> {
    let end = text.find([',', '{', '}', '"', ' ', '\t']);
    let (name, rest) = text.split_at(end.unwrap_or(text.len()));
    (!name.is_empty()).then_some((name, rest))
}

impl Wanted {
    fn parse(value: &str) -> Result<Self, InvalidRequiredClaims> {
        let Some(pattern) = value.strip_prefix('^') else {
            return Ok(Self::Exactly(value.to_owned()));
        };
        let pattern = pattern.strip_suffix('$').unwrap_or(pattern);
        // The whole claim: half a match would let `https://id.example.org.evil` pass.
        let regex = RegexBuilder::new(&format!("^(?:{pattern})$"))
            .size_limit(REGEX_BYTES_MAX)
            .build()
            .map_err(|_| InvalidRequiredClaims::Regex(value.to_owned()))?;
        Ok(Self::Like(Box::new(regex)))
    }

    fn accepts(&self, claim: &Value) -> bool {
        match (self, claim) {
            (Self::Anything, _) => true,
            (Self::Exactly(wanted), Value::String(claim)) => wanted == claim,
            (Self::Like(regex), Value::String(claim)) => regex.is_match(claim),
            // An audience is a text or a list of them; one that fits is enough.
            (_, Value::Array(items)) => items
                .iter()
                .any(|item| item.is_string() && self.accepts(item)),
            (_, Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => false,
        }
    }
}

impl TokenRules {
    /// Checks what of the header is required.
    pub(super) fn check_header(
        &self,
        kid: Option<&str>,
        typ: Option<&str>,
    ) -> Result<(), TokenError> {
        let required = |name: &str| self.required.0.iter().any(|(claim, _)| claim == name);
        if required("kid") && kid.is_none() {
            return Err(invalid("Missing kid claim"));
        }
        if required("typ") {
            let typ = typ.ok_or(invalid("Missing typ header parameter"))?;
            if !typ.eq_ignore_ascii_case("jwt") {
                return Err(invalid("Invalid typ header parameter"));
            }
        }
        Ok(())
    }

    /// Reads the claims of a genuine token.
    pub(super) fn read(
        &self,
        claims: &Map<String, Value>,
        now_s: u64,
    ) -> Result<TokenHolder, TokenError> {
        for (name, wanted) in &self.required.0 {
            // These stand in the header.
            if matches!(name.as_str(), "alg" | "kid" | "typ" | "sig") {
                continue;
            }
            let claim = claims
                .get(name)
                .ok_or_else(|| said(format!("Missing {name} claim")))?;
            let integer = name != "iat" || claim.is_i64() || claim.is_u64();
            if !integer || !wanted.accepts(claim) {
                return Err(said(format!("Invalid {name} claim")));
            }
        }
        if let Some(not_before_s) = time(claims, "nbf")?
            && not_before_s > now_s.saturating_add(self.leeway_s)
        {
            return Err(TokenError::Refused(Cow::Borrowed("nbf not in past")));
        }
        let expires_s = time(claims, "exp")?.map(|at_s| at_s.saturating_add(self.leeway_s));
        if expires_s.is_some_and(|at_s| at_s <= now_s) {
            return Err(TokenError::Refused(Cow::Borrowed("exp not in future")));
        }
        let name = claims.get("sub").and_then(Value::as_str);
        let name = name
            .filter(|name| !name.is_empty())
            .ok_or(TokenError::Refused(Cow::Borrowed(
                "Token missing sub claim.",
            )))?;
        Ok(TokenHolder {
            caller: Caller::named(name, self.roles_of(claims)?),
            expires_s,
        })
    }

    fn roles_of(&self, claims: &Map<String, Value>) -> Result<Vec<String>, TokenError> {
        let roles = match self.roles.find(claims) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(roles) => roles.as_array(),
        };
        let texts = roles.and_then(|roles| {
            let texts = roles.iter().map(|role| role.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<String>>>()
        });
        let mut texts = texts.ok_or(invalid("Invalid roles claim"))?;
        if !self.system_roles {
            texts.retain(|role| !role.starts_with('_'));
        }
        Ok(texts)
    }
}

/// A time claim in whole seconds.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, TokenError> {
    let Some(claim) = claims.get(name) else {
        return Ok(None);
    };
    let seconds = claim.as_f64().filter(|seconds| seconds.is_finite());
    let seconds = seconds.ok_or_else(|| said(format!("Invalid {name} claim")))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and the year 9999, rounded down"
    )]
    let whole = seconds.clamp(0.0, UNIX_S_MAX) as u64;
    Ok(Some(whole))
}

const fn said(reason: String) -> TokenError {
    TokenError::Invalid(Cow::Owned(reason))
}
