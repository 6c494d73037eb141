//! What goes in and comes out about accounts, for administrators.

use adea_accounts::StoredCredential;
use adea_accounts::directory::AccountRecord;
use adea_pod::{AccountChange, AccountError, AccountGiven, PodError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::api::auth::{EmailOfAccount, IdentityOfAccount};
use crate::error::ApiError;

/// An account as administrators see it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AccountItem {
    /// The immutable id.
    id: String,
    /// The name.
    name: String,
    /// The plain roles; those of memberships are not among them.
    roles: Vec<String>,
    /// Whether it may do everything on this server.
    admin: bool,
    /// Whether it may not sign in.
    blocked: bool,
    /// Whether it may not sign in because the address that it signed up with is not proved yet.
    pending: bool,
    /// Whether it is an account that nobody has claimed yet.
    anonymous: bool,
    /// The addresses.
    emails: Vec<EmailOfAccount>,
    /// Who it is at other providers.
    identities: Vec<IdentityOfAccount>,
    /// The profile.
    profile: Map<String, Value>,
    /// The language of mail.
    language: Option<String>,
    /// When it was made, in milliseconds since the Unix epoch.
    created_ms: u64,
    /// When it last signed in, in milliseconds since the Unix epoch; 0 if never.
    seen_ms: u64,
    /// Whether it has a second factor.
    second_factor: bool,
}

impl AccountItem {
    pub(super) fn of(record: &AccountRecord, roles: Vec<String>) -> Self {
        Self {
            id: record.id.clone(),
            name: record.name.clone(),
            roles,
            admin: record.flags.admin,
            blocked: record.flags.blocked,
            pending: record.flags.pending,
            anonymous: record.flags.anonymous,
            emails: EmailOfAccount::all(record),
            identities: IdentityOfAccount::all(record),
            profile: record.profile.clone(),
            language: record.language.clone(),
            created_ms: record.created_ms,
            seen_ms: record.seen_ms,
            second_factor: record.totp.is_some() || !record.passkeys.is_empty(),
        }
    }
}

/// An account that is to be made. A name, an address, or both.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountWanted {
    /// The name, 1 to 64 characters.
    #[schema(min_length = 1, max_length = 256)]
    name: Option<String>,
    /// An address.
    #[schema(min_length = 3, max_length = 254)]
    email: Option<String>,
    /// Whether the address is known to be his.
    #[serde(default)]
    email_verified: bool,
    /// The password in the clear.
    #[schema(min_length = 8, max_length = 256)]
    pub(super) password: Option<String>,
    /// What stands for the password: argon2id as a PHC string, bcrypt (`$2a$`, `$2b$`, `$2y$`), or
    /// as `CouchDB`'s configuration has it (`-pbkdf2:sha256-…`). It is made stronger at the first
    /// sign-in.
    #[schema(min_length = 1, max_length = 2048)]
    password_hash: Option<String>,
    /// The fields of a document of `CouchDB`'s `_users` that stand for the password:
    /// `password_scheme`, `derived_key`, `salt`, `iterations`, `pbkdf2_prf`, `password_sha`.
    couchdb: Option<Map<String, Value>>,
    /// Plain roles.
    #[serde(default)]
    #[schema(max_items = 100)]
    roles: Vec<String>,
    /// The language of mail, as a BCP 47 tag.
    #[schema(min_length = 2, max_length = 35)]
    language: Option<String>,
    /// The profile: at most 16 kB, 8 levels.
    #[serde(default)]
    profile: Map<String, Value>,
    /// Whether it may do everything on this server.
    #[serde(default)]
    admin: bool,
}

/// What a form asks for.
pub(super) fn given(asked: AccountWanted) -> Result<AccountGiven, ApiError> {
    let ways = [
        asked.password.is_some(),
        asked.password_hash.is_some(),
        asked.couchdb.is_some(),
    ];
    if ways.iter().filter(|given| **given).count() > 1 {
        let reason = "give one of `password`, `password_hash` and `couchdb`";
        return Err(ApiError::Input(reason.to_owned()));
    }
    let unreadable = |_| ApiError::from(PodError::from(AccountError::Credential));
    let credential = match (&asked.password_hash, &asked.couchdb) {
        (Some(text), _) => Some(StoredCredential::from_ini(text).map_err(unreadable)?),
        (None, Some(fields)) => {
            match StoredCredential::from_document(fields).map_err(unreadable)? {
                None => return Err(PodError::from(AccountError::Credential).into()),
                found => found,
            }
        }
        (None, None) => None,
    };
    Ok(AccountGiven {
        name: asked.name,
        address: asked.email,
        address_verified: asked.email_verified,
        password: asked.password,
        credential,
        roles: asked.roles,
        language: asked.language,
        profile: asked.profile,
        admin: asked.admin,
    })
}

/// The id of a new account.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NewAccountAnswer {
    ok: bool,
    /// The immutable id.
    id: String,
}

impl NewAccountAnswer {
    pub(super) fn of(id: String) -> Self {
        Self { ok: true, id }
    }
}

/// What is to be changed of an account; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountPatch {
    /// Whether it may do everything on this server.
    admin: Option<bool>,
    /// Whether it may not sign in; false also lets in who has not proved his address.
    blocked: Option<bool>,
    /// The plain roles, in place of those that there are.
    #[schema(max_items = 100)]
    roles: Option<Vec<String>>,
}

impl AccountPatch {
    pub(super) fn change(self) -> AccountChange {
        AccountChange {
            admin: self.admin,
            blocked: self.blocked,
            roles: self.roles,
        }
    }
}

/// Accounts that are to be imported.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ImportAsked {
    /// The accounts; without passwords in the clear, which would take too long.
    #[schema(max_items = 1000)]
    pub(super) accounts: Vec<AccountWanted>,
}

/// What became of each account.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ImportAnswer {
    /// In the order in which they were given.
    pub(super) results: Vec<ImportResult>,
}

/// What became of one account.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ImportResult {
    /// Whether it was made.
    ok: bool,
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// The word for what is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// And the sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl ImportResult {
    pub(super) fn made(id: String) -> Self {
        Self {
            ok: true,
            id: Some(id),
            error: None,
            reason: None,
        }
    }

    pub(super) fn refused(error: &ApiError) -> Self {
        Self {
            ok: false,
            id: None,
            error: Some(error.word().into_owned()),
            reason: Some(error.to_string()),
        }
    }
}

/// How many sessions were ended.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ended {
    /// How many.
    pub(super) ended: usize,
}
