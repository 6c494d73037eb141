//! Who somebody is, and the proof: passwords, sessions, tokens, user documents and `_security`.
//!
//! Nothing here reads a socket or a clock. Rules are pure: they take documents, texts and the time,
//! and answer with a decision, so every one can be tested as a table. Verbs that store something take
//! a transaction and never commit it. What a caller may then do with documents is decided elsewhere;
//! here it only says who he is, whether he may enter a database, and what he may do to accounts.
//!
//! The rules and their words are those of `CouchDB` 3.5, since its clients read them.
//!
//! ```
//! use adea_accounts::{Account, PasswordScheme, SESSION_TIMEOUT_S, Sessions, prepare, verify_password};
//! use adea_base::Entropy;
//! use serde_json::json;
//!
//! let document = json!({
//!     "_id": "org.couchdb.user:ann", "type": "user", "name": "ann", "roles": [],
//!     "password": "correct horse",
//! });
//! // What is stored has a hash in place of the password ...
//! let stored = prepare(document, PasswordScheme::Argon2id, &Entropy::System).unwrap();
//! assert!(stored.get("password").is_none());
//! // ... against which a sign-in is verified, ...
//! let account = Account::from_document(&stored).unwrap();
//! let credential = account.credential.as_ref();
//! assert!(verify_password(credential, "correct horse"));
//! // ... which yields a cookie that ends when the password changes.
//! let sessions = Sessions::new(&Entropy::System.bytes::<32>(), SESSION_TIMEOUT_S);
//! let salt = credential.unwrap().fingerprint();
//! let cookie = sessions.issue(&account.name, salt, 1_000);
//! let session = sessions.verify(&cookie, 1_060, |_| Some(salt)).unwrap();
//! assert_eq!(session.name, "ann");
//! ```

pub mod apps;
pub mod audit;
mod credential;
pub mod directory;
pub mod keys;
mod lockout;
mod mac;
pub mod names;
pub mod oidc;
pub mod one_time;
pub mod organisations;
pub mod passkeys;
mod password;
mod password_rules;
mod proxy;
pub mod recovery_codes;
mod refusal;
pub mod second_step;
mod security;
mod session;
pub mod sessions;
pub mod stored;
mod token;
mod totp;
mod user_document;
mod verified;

pub use credential::{InvalidCredential, StoredCredential};
pub use lockout::{Attempt, LOCKED_OUT, Lockout, LockoutMode, LockoutRules, Verdict};
pub use password::{PBKDF2_ITERATIONS_MAX, Prf, hash_password, verify_password};
pub use password_rules::{
    InvalidRequirement, PBKDF2_ITERATIONS, PasswordRefused, PasswordRequirement, PasswordRules,
    PasswordScheme,
};
pub use proxy::ProxyRules;
pub use refusal::Refusal;
pub use security::{Access, InvalidSecurity, Security, USERS_SECURITY_IS_FIXED};
pub use session::{
    COOKIE_NAME, CookieAttributes, PresentedCookie, SESSION_TIMEOUT_S, SameSite, Session,
    SessionError, Sessions, clear_cookie, from_cookie_header, set_cookie,
};
pub use token::{
    ClaimPath, InvalidRequiredClaims, InvalidTokenKey, KeyKind, PresentedToken, PublishedKeys,
    RequiredClaims, TokenError, TokenHolder, TokenKeys, TokenRules, VerifiedTokens,
};
pub use totp::{Totp, new_totp_key, otpauth_url};
pub use user_document::{
    Account, USER_ID_PREFIX, new_password, prepare, public_view, put_credential, user_id, validate,
};
pub use verified::VerifiedCredentials;

/// The reason for every sign-in that fails, whichever half of it was wrong.
pub const WRONG_NAME_OR_PASSWORD: &str = "Name or password is incorrect.";
