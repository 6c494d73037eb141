//! Signing up: an account for whoever may have one, and the same answer for everybody.
//!
//! | what is given | what happens | what is answered |
//! |---|---|---|
//! | a free name, no address | the account is made | `login` |
//! | a taken name, no address | nothing | `login` |
//! | an address that nobody has verified | the account is made, mail brings a link and a code | `verify` |
//! | the same, with a taken name | the account is made without that name, and the mail says so | `verify` |
//! | an address that somebody has verified | he is told by mail | `verify` |
//!
//! Invariants: each case hashes one password, makes one commit, and queues one mail where an address
//! is given; what is refused (a mode, a list, a form) depends on nothing that is stored of others.

use adea_accounts::directory::{self, Address, Flags, Ground};
use adea_accounts::names::{lookalike, normal_address};
use adea_accounts::{apps, audit};
use adea_mail::Kind;
use adea_store::{Decline, Transaction};
use serde_json::{Map, Value, json};

use super::create::{NewAccount, create_in};
use super::document::{self, with_users};
use super::letters::{Posted, letter};
use super::{AccountError, check_language, check_profile};
use crate::apps::Actor;
use crate::error::PodError;
use crate::limits::LimitKind;
use crate::mail::LinkKind;
use crate::pod::Pod;
use crate::settings::{SignUpMode, SignUpSettings};

/// What somebody brings who signs up.
#[derive(Clone, Debug, Default)]
pub struct SignUp {
    /// The name that he wants.
    pub name: Option<String>,
    /// His address.
    pub address: Option<String>,
    /// The password that he wants.
    pub password: String,
    /// The language that mail is to be written in.
    pub language: Option<String>,
    /// What he tells of himself.
    pub profile: Map<String, Value>,
    /// The app that he signs up for; empty for none.
    pub app: String,
    /// The secret of an invitation.
    pub invitation: Option<String>,
}

/// What is to be done after signing up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignUpNext {
    /// To prove the address.
    Verify,
    /// To sign in.
    Login,
}

/// What a transaction decides from.
struct Asked {
    ground: Ground,
    new: NewAccount,
    posted: Posted,
    recover_link: String,
    by: Actor,
    /// Whether the name is one of an administrator of the configuration, whom no record shows.
    of_admin: bool,
}

impl Pod {
    /// Signs somebody up.
    ///
    /// # Errors
    /// [`AccountError::SignUpClosed`] and its like as the mode says; [`AccountError::Name`],
    /// [`PodError::WeakPassword`] and such if something has not the form that it must have;
    /// [`PodError::Limited`]. None tells whether anybody has an account.
    pub async fn sign_up(&self, wanted: SignUp, by: Actor) -> Result<SignUpNext, PodError> {
        let address = match &wanted.address {
            None => None,
            Some(text) => Some(self.new_address(text)?),
        };
        if wanted.name.is_none() && address.is_none() {
            return Err(AccountError::NothingToCallItBy.into());
        }
        let (name, of_admin) = self.wanted_name(wanted.name.as_deref())?;
        check_profile(&wanted.profile)?;
        check_language(wanted.language.as_deref())?;
        self.check_new_password(&wanted.password)?;
        if !wanted.app.is_empty() {
            self.app(&wanted.app)?;
        }
        let rules = self.sign_up_rules(&wanted.app);
        may_sign_up(&rules, address.as_ref())?;
        if rules.mode == SignUpMode::Invited && wanted.invitation.is_none() {
            return Err(AccountError::NotInvited.into());
        }
        if let Some(address) = &address {
            self.limit(LimitKind::AccountMail, &address.normal)?;
        }
        let credential = self.hash_password_slowly(wanted.password).await?;
        let next = match &address {
            Some(_) => SignUpNext::Verify,
            None => SignUpNext::Login,
        };
        let asked = Asked {
            ground: self.ground()?,
            posted: self.posted(LinkKind::Verify, &wanted.app),
            recover_link: self.recover_link(&wanted.app),
            new: NewAccount {
                name,
                address,
                credential: Some(credential),
                flags: Flags::default(),
                roles: Vec::new(),
                language: wanted.language.or_else(|| self.app_language(&wanted.app)),
                profile: wanted.profile,
                app: wanted.app,
                identity: None,
            },
            by,
            of_admin,
        };
        let store = self.inner.store.clone();
        Self::to_the_end(async move {
            let signed_up = store.transact(Self::permit(), move |tx| decide(tx, &asked));
            signed_up.await.map_err(PodError::from)
        })
        .await?;
        Ok(next)
    }

    /// The form in which a name is kept that somebody wants, and whether an administrator has it:
    /// he is not told of that either.
    fn wanted_name(&self, name: Option<&str>) -> Result<(Option<String>, bool), PodError> {
        let Some(name) = name else {
            return Ok((None, false));
        };
        match self.checked_name(name) {
            Ok(name) => Ok((Some(name), false)),
            Err(PodError::Account(AccountError::NameTaken)) => {
                let normal = adea_accounts::names::normal_user_name(name)?;
                Ok((Some(normal), true))
            }
            Err(error) => Err(error),
        }
    }

    /// An address that is not verified yet.
    pub(crate) fn new_address(&self, text: &str) -> Result<Address, PodError> {
        let text = text.trim_matches(' ');
        Ok(Address {
            address: text.to_owned(),
            normal: normal_address(text)?,
            verified_ms: None,
        })
    }

    /// Refuses a new password that is too short, too long, or not as the rules want it.
    pub(crate) fn check_new_password(&self, password: &str) -> Result<(), PodError> {
        let length = password.chars().count();
        if length < super::PASSWORD_CHARS_MIN || length > super::PASSWORD_CHARS_MAX {
            return Err(AccountError::PasswordLength.into());
        }
        Ok(self.auth().passwords.check(password)?)
    }
}

/// Lets sign up whoever may. Whether an invitation is one is asked inside the transaction.
fn may_sign_up(rules: &SignUpSettings, address: Option<&Address>) -> Result<(), AccountError> {
    match rules.mode {
        SignUpMode::Open | SignUpMode::Invited => Ok(()),
        SignUpMode::Closed => Err(AccountError::SignUpClosed),
        SignUpMode::Listed => {
            let address = address.ok_or(AccountError::NotListed)?;
            match is_listed(rules, &address.normal) {
                true => Ok(()),
                false => Err(AccountError::NotListed),
            }
        }
    }
}

/// Whether an address in its normal form, or its domain, is listed.
pub(crate) fn is_listed(rules: &SignUpSettings, normal: &str) -> bool {
    let domain = normal.rsplit('@').next().unwrap_or_default();
    rules.allowed.iter().any(|listed| {
        let listed = listed.trim();
        match listed.strip_prefix('@').unwrap_or(listed) {
            address if address.contains('@') => {
                normal_address(address).is_ok_and(|listed| listed == normal)
            }
            listed => adea_accounts::names::normal_domain(listed).is_some_and(|d| d == domain),
        }
    })
}

fn decide(tx: &mut Transaction<'_>, asked: &Asked) -> Result<(), Decline<PodError>> {
    let (ground, mut new) = (&asked.ground, asked.new.clone());
    let owner = match &new.address {
        None => None,
        Some(address) => match directory::find_address(tx, &address.normal)? {
            Some(id) => directory::live(tx, ground.users, &id)?,
            None => None,
        },
    };
    let app = new.app.clone();
    if let (Some(owner), Some(address)) = (&owner, &new.address) {
        let data = json!({"link": asked.recover_link});
        let language = owner.language.as_deref();
        let mail = letter(
            Kind::AlreadyRegistered,
            &address.address,
            language,
            &app,
            data,
        );
        adea_mail::enqueue(tx, &ground.entropy, ground.now_ms, &mail);
        return note(tx, asked, "account.sign_up_again", &owner.id);
    }
    let name_taken = match &new.name {
        None => false,
        Some(name) => asked.of_admin || is_taken(tx, ground, name)?,
    };
    if name_taken {
        new.name = None;
        if new.address.is_none() {
            return note(tx, asked, "account.sign_up_again", "");
        }
    }
    let record = create_in(tx, ground, &new)?;
    if !app.is_empty() {
        let joined = apps::join(tx, &record.id, &app, ground.now_ms);
        joined.map_err(|decline| match decline {
            Decline::Refused(refused) => {
                Decline::Refused(crate::apps::AppError::from(refused).into())
            }
            Decline::Engine(error) => Decline::Engine(error),
        })?;
    }
    if let Some(address) = &new.address {
        let to = (address.address.as_str(), address.normal.as_str());
        let (entropy, now_ms) = (&ground.entropy, ground.now_ms);
        let posted = &asked.posted;
        posted.send_verification(tx, entropy, now_ms, &record, to, &app, name_taken);
    }
    note(tx, asked, "account.sign_up", &record.id)
}

fn note(
    tx: &mut Transaction<'_>,
    asked: &Asked,
    action: &str,
    target: &str,
) -> Result<(), Decline<PodError>> {
    let now_ms = asked.ground.now_ms;
    let entry = asked.by.entry(action, target, &asked.new.app, now_ms);
    Ok(audit::append(tx, &entry)?)
}

/// Whether somebody has the name, or one that looks like it.
fn is_taken(
    tx: &mut Transaction<'_>,
    ground: &Ground,
    name: &str,
) -> Result<bool, Decline<PodError>> {
    let probe = directory::AccountRecord {
        name: name.to_owned(),
        lookalike: Some(lookalike(name)),
        users: ground.users,
        ..directory::AccountRecord::default()
    };
    if directory::taken(tx, &probe)?.is_some() {
        return Ok(true);
    }
    let (found, _) = with_users(tx, ground.users, |writer| {
        Ok(document::read(writer, name)?.is_some())
    })?;
    Ok(found)
}
