//! What goes in and comes out about one's own account.

use adea_pod::{Holder, SignUpNext};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Somebody who signs up. A name, an address, or both.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignUpAsked {
    /// The name to sign in with, 1 to 64 characters.
    #[schema(min_length = 1, max_length = 256)]
    pub(super) name: Option<String>,
    /// An e-mail address; nothing signs in before it is verified, and then it does as well.
    #[schema(min_length = 3, max_length = 254)]
    pub(super) email: Option<String>,
    /// The password.
    #[schema(min_length = 8, max_length = 256)]
    pub(super) password: String,
    /// The language of mail, as a BCP 47 tag.
    #[schema(min_length = 2, max_length = 35)]
    pub(super) language: Option<String>,
    /// Whatever the app wants to know of its users: at most 16 kB, 8 levels.
    #[serde(default)]
    pub(super) profile: Map<String, Value>,
    /// The app to sign up for.
    #[schema(max_length = 63)]
    pub(super) app: Option<String>,
    /// The secret of an invitation.
    #[schema(min_length = 1, max_length = 256)]
    pub(super) invitation: Option<String>,
}

/// What is to be done next, whether there was such an account or not.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignedUp {
    ok: bool,
    /// `verify`: mail is on its way, and nobody signs in before the address is proved. `login`: sign in.
    next: &'static str,
}

impl SignedUp {
    pub(crate) fn of(next: SignUpNext) -> Self {
        Self {
            ok: true,
            next: match next {
                SignUpNext::Verify => "verify",
                SignUpNext::Login => "login",
            },
        }
    }
}

/// What proves an address: the token of a link, or the address and its code.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VerifyAsked {
    /// The token of the link.
    #[schema(min_length = 1, max_length = 256)]
    pub(super) token: Option<String>,
    /// The address.
    #[schema(min_length = 3, max_length = 254)]
    pub(super) email: Option<String>,
    /// The code that was sent to it.
    #[schema(min_length = 1, max_length = 32)]
    pub(super) code: Option<String>,
}

/// The address of an account that is to be recovered.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RecoverAsked {
    /// The address.
    #[schema(min_length = 3, max_length = 254)]
    pub(super) email: String,
    /// The app whose words and links the mail has.
    #[schema(max_length = 63)]
    pub(super) app: Option<String>,
}

/// A new password, and the token of a link that lets set it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResetAsked {
    /// The token of the link.
    #[schema(min_length = 1, max_length = 256)]
    pub(super) token: String,
    /// The new password.
    #[schema(min_length = 8, max_length = 256)]
    pub(super) password: String,
}

/// The old password and a new one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordChangeAsked {
    /// The password that there is; left out by who has none, in a session of the last ten minutes.
    #[schema(max_length = 256)]
    pub(super) old_password: Option<String>,
    /// The new password.
    #[schema(min_length = 8, max_length = 256)]
    pub(super) new_password: String,
}

/// A password, or none in a session of the last ten minutes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordAsked {
    /// The password.
    #[schema(max_length = 256)]
    pub(super) password: Option<String>,
}

/// What is to be changed of one's own account; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MePatch {
    /// The profile, in place of the one that there is: at most 16 kB, 8 levels.
    pub(super) profile: Option<Map<String, Value>>,
    /// The language of mail, as a BCP 47 tag; null for the server's own.
    #[schema(min_length = 2, max_length = 35, value_type = Option<String>)]
    #[serde(default, deserialize_with = "given")]
    pub(super) language: Option<Option<String>>,
    /// Another name, 1 to 64 characters.
    #[schema(min_length = 1, max_length = 256)]
    pub(super) name: Option<String>,
    /// The verified address that mail goes to.
    #[schema(min_length = 3, max_length = 254)]
    pub(super) primary_email: Option<String>,
    /// The password, where `name` or `primary_email` is given and the session is older than ten
    /// minutes.
    #[schema(max_length = 256)]
    pub(super) password: Option<String>,
}

/// Tells a null from a member that is not there.
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(from).map(Some)
}

/// An address to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EmailAsked {
    /// The address.
    #[schema(min_length = 3, max_length = 254)]
    pub(super) email: String,
    /// The password, where the session is older than ten minutes.
    #[schema(max_length = 256)]
    pub(super) password: Option<String>,
}

/// It is done, or taken in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Done {
    ok: bool,
}

impl Done {
    pub(crate) const OK: Self = Self { ok: true };
}

/// One's own account.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Me {
    /// The immutable id; null for administrators of the configuration, who have no account.
    id: Option<String>,
    /// The name; the id where none was chosen.
    name: String,
    /// The roles held now.
    roles: Vec<String>,
    /// Whether one is a server administrator.
    admin: bool,
    /// Whether it is an account that nobody has claimed yet.
    anonymous: bool,
    /// The addresses; the first verified one is written to.
    emails: Vec<EmailOfAccount>,
    /// The profile.
    profile: Map<String, Value>,
    /// The language of mail.
    language: Option<String>,
    /// When it was made, in milliseconds since the Unix epoch.
    created_ms: u64,
    /// Whether it has a password.
    has_password: bool,
    /// Whether digits are wanted besides.
    totp: bool,
    /// How many recovery codes are left.
    recovery_codes: usize,
    /// Its passkeys.
    passkeys: usize,
    /// Who it is at other providers.
    identities: Vec<IdentityOfAccount>,
}

/// An address of an account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EmailOfAccount {
    /// As it was given.
    email: String,
    /// Whether it was proved.
    verified: bool,
    /// When, in milliseconds since the Unix epoch.
    verified_ms: Option<u64>,
    /// Whether mail goes there.
    primary: bool,
}

/// Who an account is at another provider.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IdentityOfAccount {
    /// The provider.
    provider: String,
    /// The address that it told.
    email: Option<String>,
    /// Since when, in milliseconds since the Unix epoch.
    linked_ms: u64,
}

impl EmailOfAccount {
    pub(crate) fn all(record: &adea_accounts::directory::AccountRecord) -> Vec<Self> {
        let primary = record.verified_address().map(|address| &address.normal);
        let addresses = record.addresses.iter();
        addresses
            .map(|address| Self {
                email: address.address.clone(),
                verified: address.verified_ms.is_some(),
                verified_ms: address.verified_ms,
                primary: primary == Some(&address.normal),
            })
            .collect()
    }
}

impl IdentityOfAccount {
    pub(crate) fn all(record: &adea_accounts::directory::AccountRecord) -> Vec<Self> {
        let identities = record.identities.iter();
        identities
            .map(|known| Self {
                provider: known.provider.clone(),
                email: known.address.clone(),
                linked_ms: known.linked_ms,
            })
            .collect()
    }
}

impl Me {
    pub(super) fn of_account(holder: &Holder, roles: &[String]) -> Self {
        let record = &holder.record;
        Self {
            id: Some(record.id.clone()),
            name: record.name.clone(),
            roles: roles.to_vec(),
            admin: record.flags.admin,
            anonymous: record.flags.anonymous,
            emails: EmailOfAccount::all(record),
            profile: record.profile.clone(),
            language: record.language.clone(),
            created_ms: record.created_ms,
            has_password: holder.has_password,
            totp: record.totp.is_some() || holder.document_wants_digits,
            recovery_codes: record.recovery_codes.len(),
            passkeys: record.passkeys.len(),
            identities: IdentityOfAccount::all(record),
        }
    }

    pub(super) fn without_account(name: &str, roles: &[String], admin: bool) -> Self {
        Self {
            id: None,
            name: name.to_owned(),
            roles: roles.to_vec(),
            admin,
            anonymous: false,
            emails: Vec::new(),
            profile: Map::new(),
            language: None,
            created_ms: 0,
            has_password: true,
            totp: false,
            recovery_codes: 0,
            passkeys: 0,
            identities: Vec::new(),
        }
    }
}

/// All that the server keeps of an account, in one file.
#[derive(Debug, Serialize, ToSchema)]
#[serde(transparent)]
pub(super) struct Export(pub(super) Map<String, Value>);
