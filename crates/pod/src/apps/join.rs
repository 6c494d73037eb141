//! Joining and leaving an app.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use adea_accounts::apps::{self, App, AppAccount, AppLinks, JoinRefused, JoinedApp, SignUpWord};
use adea_accounts::audit;
use adea_accounts::directory::{self, AccountRecord};
use adea_accounts::organisations::{self, Acting, OrganisationError};
use adea_base::Caller;
use adea_store::{Decline, EngineError, Transaction};

use super::{Actor, AppError};
use crate::apps::registry::Known;
use crate::error::PodError;
use crate::pod::Pod;
use crate::settings::{SessionSettings, SignUpMode, SignUpSettings};

impl Pod {
    /// The app `id`, if it is registered.
    ///
    /// # Errors
    /// [`AppError::Unknown`] if it is not.
    pub fn app(&self, id: &str) -> Result<Arc<App>, PodError> {
        let known = self.inner.apps.find(id).ok_or(AppError::Unknown)?;
        Ok(Arc::clone(&known.app))
    }

    /// The id of the app that the host of a request stands for, in whatever form it is written.
    #[must_use]
    pub fn app_of_host(&self, host: &str) -> Option<String> {
        let (name, port) = host.rsplit_once(':').unwrap_or((host, ""));
        let name = if port.bytes().all(|b| b.is_ascii_digit()) {
            name
        } else {
            host
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        let known = self.inner.apps.of_host(&name.to_ascii_lowercase())?;
        Some(known.app.id.clone())
    }

    /// Who may sign up in `app`: as it says, and where it says nothing as the server does.
    #[must_use]
    pub fn sign_up_rules(&self, app: &str) -> SignUpSettings {
        let server = self.auth().accounts.sign_up.clone();
        let Some(known) = self.inner.apps.find(app) else {
            return server;
        };
        let own = &known.app.sign_up;
        let mode = own.mode.map_or(server.mode, |word| match word {
            SignUpWord::Open => SignUpMode::Open,
            SignUpWord::Listed => SignUpMode::Listed,
            SignUpWord::Invited => SignUpMode::Invited,
            SignUpWord::Closed => SignUpMode::Closed,
        });
        SignUpSettings {
            mode,
            allowed: own.allowed.clone().unwrap_or(server.allowed),
            anonymous: own.anonymous.unwrap_or(server.anonymous),
        }
    }

    /// How long sessions of `app` last: as it says, and where it says nothing as the server does.
    #[must_use]
    pub fn session_spans(&self, app: &str) -> SessionSettings {
        let server = self.auth().accounts.sessions.clone();
        let Some(known) = self.inner.apps.find(app) else {
            return server;
        };
        let own = known.app.sessions;
        SessionSettings {
            access_s: own
                .access_s
                .map_or(server.access_s, |own| own.min(server.access_s)),
            lifetime_s: own.lifetime_s.unwrap_or(server.lifetime_s),
            basic_s: own.basic_s.unwrap_or(server.basic_s),
            ..server
        }
    }

    /// Where links in mail of `app` lead, where it is not to the server's own pages.
    #[must_use]
    pub fn app_links(&self, app: &str) -> AppLinks {
        let known = self.inner.apps.find(app);
        known.map_or_else(AppLinks::default, |known| known.app.links.clone())
    }

    /// The language of mail of `app`, if it names one.
    #[must_use]
    pub fn app_language(&self, app: &str) -> Option<String> {
        self.inner.apps.find(app)?.app.language.clone()
    }

    /// Whether somebody who signs in or up in `app` may be sent to `address` afterwards.
    #[must_use]
    pub fn app_leads_to(&self, app: &str, address: &str) -> bool {
        let known = self.inner.apps.find(app);
        known.is_some_and(|known| known.app.may_lead_to(address))
    }

    /// Lets have a session of `app` whoever has joined it, and administrators of the configuration;
    /// no app is everybody's.
    ///
    /// # Errors
    /// [`AppError::Unknown`] or [`AppError::NotJoined`].
    pub fn may_use_app(&self, account: &str, app: &str) -> Result<(), PodError> {
        if app.is_empty() {
            return Ok(());
        }
        let view = self.view();
        let Some(found) = apps::find(view.as_ref(), app)? else {
            return Err(AppError::Unknown.into());
        };
        if account.starts_with("admin:") {
            return Ok(());
        }
        match apps::joined(view.as_ref(), account, &found)? {
            Some(_) => Ok(()),
            None => Err(AppError::NotJoined(found.id).into()),
        }
    }

    /// Has the caller join the app `id`, since he wants to. Answers since when he has joined, in
    /// milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`AppError::Unknown`], [`AppError::Closed`], [`AppError::NoAccount`] or
    /// [`AppError::QuotaExceeded`].
    pub async fn join_app(&self, id: &str, by: &Actor) -> Result<u64, PodError> {
        let known = self.inner.apps.find(id).ok_or(AppError::Unknown)?;
        let account = by.caller.account().ok_or(AppError::NoAccount)?.to_owned();
        let rules = self.sign_up_rules(id);
        let now_ms = self.inner.clock.now_unix_ms();
        let (id, told) = (
            known.app.id.clone(),
            by.entry("app.join", &account, id, now_ms),
        );
        let joining = self.inner.store.transact(Self::permit(), move |tx| {
            let record = directory::find(tx, &account)?;
            let record = record.ok_or(Decline::Refused(AppError::NoAccount))?;
            let app = apps::find(tx, &id)?.ok_or(Decline::Refused(AppError::Unknown))?;
            if let Some(joined) = apps::joined(tx, &account, &app)? {
                return Ok(joined.since_ms);
            }
            if !admitted(&rules, &record) {
                return Err(Decline::Refused(AppError::Closed(id)));
            }
            apps::join(tx, &account, &id, now_ms).map_err(of_join)?;
            audit::append(tx, &told)?;
            Ok(now_ms)
        });
        Ok(joining.await?)
    }

    /// Has the caller leave the app `id`: his rights there end at once, and his memberships in
    /// organisations of that app with them.
    ///
    /// # Errors
    /// [`AppError::NotJoined`], [`AppError::NoAccount`], or [`AppError::LastOwner`] if one of those
    /// organisations would be nobody's.
    pub async fn leave_app(&self, id: &str, by: &Actor) -> Result<(), PodError> {
        self.inner.apps.find(id).ok_or(AppError::Unknown)?;
        let account = by.caller.account().ok_or(AppError::NoAccount)?.to_owned();
        let now_ms = self.inner.clock.now_unix_ms();
        let told = by.entry("app.leave", &account, id, now_ms);
        let address = by.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let (id, acting) = (id.to_owned(), self.acting(&by.caller, address)?);
        let leaving = self.inner.store.transact(Self::permit(), move |tx| {
            if !apps::leave(tx, &account, &id)? {
                return Err(Decline::Refused(AppError::NotJoined(id).into()));
            }
            leave_organisations(tx, &acting, &id)?;
            audit::append(tx, &told)?;
            Ok::<_, Decline<PodError>>(())
        });
        Ok(leaving.await?)
    }

    /// Makes an account an administrator of the app `id`, or no longer one.
    ///
    /// # Errors
    /// [`AppError::Unknown`], [`AppError::UnknownAccount`], or [`AppError::QuotaExceeded`] if it would
    /// have to join.
    pub async fn appoint_app_admin(
        &self,
        id: &str,
        account: &str,
        admin: bool,
        by: &Actor,
    ) -> Result<(), PodError> {
        let now_ms = self.inner.clock.now_unix_ms();
        let action = if admin {
            "app.grant_admin"
        } else {
            "app.revoke_admin"
        };
        let told = by.entry(action, account, id, now_ms);
        let (id, account) = (id.to_owned(), account.to_owned());
        let appointing = self.inner.store.transact(Self::permit(), move |tx| {
            let app = apps::find(tx, &id)?.ok_or(Decline::Refused(AppError::Unknown))?;
            let known = adea_accounts::keys::is_id(&account);
            if !known || directory::find(tx, &account)?.is_none() {
                return Err(Decline::Refused(AppError::UnknownAccount));
            }
            let changed = apps::appoint(tx, &account, &app, admin, now_ms);
            if changed.map_err(of_join)? {
                audit::append(tx, &told)?;
            }
            Ok(())
        });
        Ok(appointing.await?)
    }

    /// The apps that an account has joined.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn apps_joined(&self, account: &str) -> Result<Vec<JoinedApp>, PodError> {
        Ok(apps::joined_apps(self.view().as_ref(), account)?)
    }

    /// The accounts that have joined the app `id`, from behind `after` on, for its administrators.
    ///
    /// # Errors
    /// [`AppError::Unknown`] or [`AppError::NotAdmin`].
    pub fn accounts_of_app(
        &self,
        id: &str,
        caller: &Caller,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AppAccount>, PodError> {
        let known = self.administered(id, caller)?;
        let view = self.view();
        Ok(apps::accounts(view.as_ref(), &known.app, after, limit)?)
    }

    /// Whether one more account can join the app `id`.
    ///
    /// # Errors
    /// [`AppError::Unknown`] or [`AppError::QuotaExceeded`].
    pub(crate) fn app_has_room(&self, id: &str) -> Result<(), PodError> {
        let known = self.inner.apps.find(id).ok_or(AppError::Unknown)?;
        let count = apps::count(self.view().as_ref(), id)?;
        if known.app.quota.accounts.is_some_and(|most| count >= most) {
            return Err(AppError::from(JoinRefused::Full).into());
        }
        Ok(())
    }

    /// Lets do what its administrators do in the app `id`.
    ///
    /// # Errors
    /// [`AppError::Unknown`] or [`AppError::NotAdmin`].
    pub fn may_administer(&self, id: &str, caller: &Caller) -> Result<(), PodError> {
        self.administered(id, caller).map(drop)
    }

    /// The app in whose words, and with whose links, a secret is sent to the owner of `address`: `app`,
    /// if he has joined it, and else none. Whoever leads an app gets hold of no secret of somebody
    /// who has nothing to do with it. An address that is nobody's gets no secret.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub(crate) fn app_in_mail(&self, address: &str, app: &str) -> Result<String, PodError> {
        let account = self.account_of_address(address)?;
        let joined = account.is_none_or(|account| self.may_use_app(&account, app).is_ok());
        Ok(if joined {
            app.to_owned()
        } else {
            String::new()
        })
    }

    /// The app `id`, if `caller` administers it.
    pub(super) fn administered(&self, id: &str, caller: &Caller) -> Result<Arc<Known>, PodError> {
        let known = self.inner.apps.find(id).ok_or(AppError::Unknown)?;
        if known.roles.administers(caller) {
            Ok(known)
        } else {
            Err(AppError::NotAdmin(id.to_owned()).into())
        }
    }
}

/// The app in whose words mail goes to `account`: `app`, if it has joined it, and else none.
pub(crate) fn words_for<'a>(
    tx: &Transaction<'_>,
    account: &str,
    app: &'a str,
) -> Result<&'a str, EngineError> {
    let joined = match apps::find(tx, app)? {
        Some(found) => apps::joined(tx, account, &found)?.is_some(),
        None => false,
    };
    Ok(if joined { app } else { "" })
}

/// Whether `rules` take the account of `record` when it comes of itself.
fn admitted(rules: &SignUpSettings, record: &AccountRecord) -> bool {
    if record.flags.keep_out() || (record.flags.anonymous && !rules.anonymous) {
        return false;
    }
    match rules.mode {
        SignUpMode::Open => true,
        SignUpMode::Listed => {
            let mut addresses = record.addresses.iter();
            addresses.any(|address| {
                address.verified_ms.is_some() && is_listed(&rules.allowed, &address.normal)
            })
        }
        SignUpMode::Invited | SignUpMode::Closed => false,
    }
}

/// Whether `address`, or its domain, is among `allowed`.
fn is_listed(allowed: &[String], address: &str) -> bool {
    let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
    allowed.iter().any(|listed| {
        let listed = listed.trim();
        let listed = listed.strip_prefix('@').unwrap_or(listed);
        let meant = if listed.contains('@') {
            address
        } else {
            domain
        };
        listed.eq_ignore_ascii_case(meant)
    })
}

fn of_join(decline: Decline<JoinRefused>) -> Decline<AppError> {
    match decline {
        Decline::Refused(refused) => Decline::Refused(refused.into()),
        Decline::Engine(error) => Decline::Engine(error),
    }
}

/// Has an account join `app`, to which it was let in already; no app is joined by everybody.
///
/// # Errors
/// [`AppError::Unknown`] or [`AppError::QuotaExceeded`], or that the store cannot be read.
pub(crate) fn join_in(
    tx: &mut Transaction<'_>,
    account: &str,
    app: &str,
    now_ms: u64,
) -> Result<(), Decline<PodError>> {
    match apps::join(tx, account, app, now_ms).map_err(of_join) {
        Ok(_) => Ok(()),
        Err(Decline::Refused(refused)) => Err(Decline::Refused(refused.into())),
        Err(Decline::Engine(error)) => Err(Decline::Engine(error)),
    }
}

/// Ends the memberships of whoever acts in organisations of the app `id`.
fn leave_organisations(
    tx: &mut Transaction<'_>,
    by: &Acting,
    id: &str,
) -> Result<(), Decline<PodError>> {
    match organisations::leave_app(tx, by, id) {
        Ok(()) => Ok(()),
        Err(Decline::Refused(OrganisationError::LastOwner)) => {
            Err(Decline::Refused(AppError::LastOwner.into()))
        }
        Err(Decline::Refused(error)) => Err(Decline::Refused(error.into())),
        Err(Decline::Engine(error)) => Err(Decline::Engine(error)),
    }
}
