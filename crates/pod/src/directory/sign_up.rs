//! Signing up: an account for whoever may have one, and the same answer for everybody.
//!
//! | what is given | what happens | what is answered |
//! |---|---|---|
//! | a free name, no address | the account is made | `login` |
//! | a taken name, no address | nothing | `login` |
//! | an address that nobody has verified | the account is made, mail brings a link and a code | `verify` |
//! | the same, with a taken name | the account is made without that name, and the mail says so | `verify` |
//! | an address that somebody has verified | he is told by mail | `verify` |
//! | an invitation that was sent to the address, in the same app | the account is made, verified, and joins | `login` |
//!
//! Until the address is proved the account is pending: nobody signs in to it, and it is removed after a
//! week. So neither the answer nor an attempt to sign in tells whether a name was free.
//!
//! Invariants: each case hashes one password, makes one commit, and queues one mail where an address
//! is given; what is refused (a mode, a list, a form) depends on nothing that is stored of others.

use adea_accounts::audit;
use adea_accounts::directory::{self, Address, Ground, StoredPasskey};
use adea_accounts::names::{lookalike, normal_address};
use adea_accounts::organisations::{self, Acting};
use adea_mail::Kind;
use adea_store::{Decline, Transaction};
use serde_json::{Map, Value, json};

use super::create::{NewAccount, create_in};
use super::document::{self, with_users};
use super::letters::{Posted, letter};
use super::{AccountError, check_language, check_profile};
use crate::apps::{Actor, words_for};
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

/// What is wanted, in the forms that are kept.
pub(crate) struct Checked {
    name: Option<String>,
    address: Option<Address>,
    /// The secret of an invitation that was sent to the address.
    invitation: Option<String>,
    of_admin: bool,
}

impl Checked {
    const fn next(&self) -> SignUpNext {
        match (&self.address, &self.invitation) {
            (Some(_), None) => SignUpNext::Verify,
            (Some(_), Some(_)) | (None, _) => SignUpNext::Login,
        }
    }
}

/// What a transaction decides from.
struct Asked {
    ground: Ground,
    new: NewAccount,
    posted: Posted,
    recover_link: String,
    /// The server's own, for who has not joined the app.
    own_recover_link: String,
    by: Actor,
    /// The secret of an invitation that was sent to the address, and what it is accepted with.
    invitation: Option<(String, Acting)>,
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
        let checked = self.check_sign_up(&wanted)?;
        self.check_new_password(&wanted.password)?;
        self.limit_sign_up(&checked)?;
        let password = wanted.password.clone();
        let credential = self.hash_password_slowly(password).await?;
        let next = checked.next();
        let mut asked = self.asked_sign_up(wanted, checked, by)?;
        asked.new.credential = Some(credential);
        self.make_signed_up(asked, |_| Ok(())).await?;
        Ok(next)
    }

    /// Signs somebody up with a passkey, which was made for the account `id`, in place of a password.
    /// `take` uses up what it was made for.
    ///
    /// # Errors
    /// As [`Pod::sign_up`]; what `take` refuses.
    pub(crate) async fn sign_up_with_passkey(
        &self,
        wanted: SignUp,
        id: String,
        passkey: StoredPasskey,
        by: Actor,
        take: impl FnOnce(&mut Transaction<'_>) -> Result<(), Decline<PodError>> + Send + 'static,
    ) -> Result<SignUpNext, PodError> {
        let checked = self.check_sign_up(&wanted)?;
        self.limit_sign_up(&checked)?;
        let next = checked.next();
        let mut asked = self.asked_sign_up(wanted, checked, by)?;
        asked.new.id = Some(id);
        asked.new.passkey = Some(passkey);
        self.make_signed_up(asked, take).await?;
        Ok(next)
    }

    /// Refuses what may not sign up, or has not the form that it must have.
    pub(crate) fn check_sign_up(&self, wanted: &SignUp) -> Result<Checked, PodError> {
        let mut address = match &wanted.address {
            None => None,
            Some(text) => Some(self.new_address(text)?),
        };
        let rules = self.sign_up_rules(&wanted.app);
        let invitation = self.invitation_brought(wanted, &rules, &mut address)?;
        if wanted.name.is_none() && address.is_none() {
            return Err(AccountError::NothingToCallItBy.into());
        }
        let (name, of_admin) = self.wanted_name(wanted.name.as_deref())?;
        check_profile(&wanted.profile)?;
        check_language(wanted.language.as_deref())?;
        if !wanted.app.is_empty() {
            self.app(&wanted.app)?;
            // Asked before it is known whether there is an account, or the answer would tell that.
            self.app_has_room(&wanted.app)?;
        }
        may_sign_up(&rules, address.as_ref())?;
        Ok(Checked {
            name,
            address,
            invitation,
            of_admin,
        })
    }

    fn limit_sign_up(&self, checked: &Checked) -> Result<(), PodError> {
        match &checked.address {
            Some(address) => self.limit(LimitKind::AccountMail, &address.normal),
            None => Ok(()),
        }
    }

    fn asked_sign_up(
        &self,
        wanted: SignUp,
        checked: Checked,
        by: Actor,
    ) -> Result<Asked, PodError> {
        let invitation = match checked.invitation {
            None => None,
            Some(secret) => {
                let from = by.address.unwrap_or(std::net::Ipv4Addr::LOCALHOST.into());
                let acting = self.acting(&adea_base::Caller::anonymous(), from)?;
                Some((secret, acting))
            }
        };
        Ok(Asked {
            ground: self.ground()?,
            posted: self.posted(LinkKind::Verify, &wanted.app),
            recover_link: self.recover_link(&wanted.app),
            own_recover_link: self.recover_link(""),
            new: NewAccount {
                name: checked.name,
                address: checked.address,
                language: wanted.language.or_else(|| self.app_language(&wanted.app)),
                profile: wanted.profile,
                app: wanted.app,
                ..NewAccount::default()
            },
            by,
            invitation,
            of_admin: checked.of_admin,
        })
    }

    async fn make_signed_up(
        &self,
        asked: Asked,
        take: impl FnOnce(&mut Transaction<'_>) -> Result<(), Decline<PodError>> + Send + 'static,
    ) -> Result<(), PodError> {
        let store = self.inner.store.clone();
        Self::to_the_end(async move {
            let signed_up = store.transact(Self::permit(), move |tx| {
                take(tx)?;
                decide(tx, &asked)
            });
            signed_up.await.map_err(PodError::from)
        })
        .await
    }

    /// The invitation that somebody brings, if it was sent to his address and is of an organisation of the
    /// app that he signs up for; who gives no address gets the one that it was sent to.
    fn invitation_brought(
        &self,
        wanted: &SignUp,
        rules: &SignUpSettings,
        address: &mut Option<Address>,
    ) -> Result<Option<String>, PodError> {
        let wants = rules.mode == SignUpMode::Invited;
        let none = match wants {
            true => AccountError::NotInvited,
            false => AccountError::Spent,
        };
        let Some(secret) = &wanted.invitation else {
            return if wants { Err(none.into()) } else { Ok(None) };
        };
        let Ok(invited) = self.look_at_invitation(secret) else {
            return Err(none.into());
        };
        // Into one app nobody is invited by the organisations of another.
        let of_app = invited.organisation.app == wanted.app;
        let invited = invited.invitation.address;
        if address.is_none() {
            *address = Some(self.new_address(&invited)?);
        }
        let his = address.as_ref().is_some_and(|own| own.normal == invited);
        if !his || !of_app {
            return if wants { Err(none.into()) } else { Ok(None) };
        }
        Ok(Some(secret.clone()))
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
        if !(super::PASSWORD_CHARS_MIN..=super::PASSWORD_CHARS_MAX).contains(&length) {
            return Err(AccountError::PasswordLength.into());
        }
        Ok(self.auth().passwords.check(password)?)
    }
}

/// Lets sign up whoever may; who is invited was asked before.
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
        let words = words_for(tx, &owner.id, &app)?;
        let link = match words.is_empty() {
            true => &asked.own_recover_link,
            false => &asked.recover_link,
        };
        let (kind, language) = (Kind::AlreadyRegistered, owner.language.as_deref());
        let mail = letter(
            kind,
            &address.address,
            language,
            words,
            json!({"link": link}),
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
    // Else a name that is free could be told from one that is taken by signing in with it, and
    // whoever does not own the address could leave something behind for who does.
    new.flags.pending = new.address.is_some() && asked.invitation.is_none();
    let record = create_in(tx, ground, &new)?;
    if let Some((secret, acting)) = &asked.invitation {
        let acting = Acting {
            account: Some(record.id.clone()),
            name: record.name.clone(),
            ..acting.clone()
        };
        let accepted = organisations::accept_at_sign_up(tx, &acting, secret);
        accepted.map_err(|decline| match decline {
            Decline::Refused(refused) => Decline::Refused(refused.into()),
            Decline::Engine(error) => Decline::Engine(error),
        })?;
    } else if let Some(address) = &new.address {
        let posted = &asked.posted;
        posted.send_verification(tx, ground, &record, address, &app, name_taken);
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

/// Whether somebody has the name, or one that looks like it, or had it.
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
    if directory::taken(tx, &probe)?.is_some() || directory::is_retired(tx, &probe)? {
        return Ok(true);
    }
    let (found, _) = with_users(tx, ground.users, |writer| {
        Ok(document::read(writer, name)?.is_some())
    })?;
    Ok(found)
}
