//! Signing in by a link or a code in mail, without an account of one's own, and the notice of a new
//! device.
//!
//! Who reads the mail of an address is let in as its account, or becomes a new one where everybody may
//! sign up. What is asked is answered the same, and costs the same, whether somebody has the address or
//! not; the mail alone tells.
//!
//! A link is good by itself, for a quarter of an hour. A code is short, so it is good only together with
//! the continuation that its request was answered with: nobody can try codes for what somebody else asked
//! for. It is good for five attempts and ten minutes.
//!
//! Invariants: one of these is open at a time for each address, and the newest counts; no more than five
//! in an hour and fifteen in a day are sent there, so that all attempts of a day hit one code in ten
//! thousand at most; secrets are stored as hashes only, a code as one under its continuation.

use adea_store::{Decline, Transaction};
use parking_lot::Mutex;

use crate::apps::AppError;
use crate::directory::AccountError;
use crate::directory::sign_up::is_listed;
use crate::error::PodError;
use crate::pod::Pod;
use crate::settings::SignUpMode;

mod anonymous;
mod device;
mod mail;
mod promote;
#[cfg(test)]
mod tests;

pub use mail::{MailProof, MailStarted, MailWanted};
pub use promote::{Promoted, Promoting};

/// Why a use case here ended without doing what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The link or code is none, is over, or was used.
    #[error("This link or code is over, was used, or never was. Ask for a new one.")]
    Over,
    /// The code is another one.
    #[error("This is not the code that was sent.")]
    WrongCode,
    /// There are no accounts without anything here.
    #[error("Everybody has to sign up here: anonymous accounts are not allowed.")]
    NoAnonymous,
    /// The account belongs to somebody already.
    #[error("This account is not anonymous.")]
    NotAnonymous,
    /// A name without a password, or a password without a name or an address.
    #[error("A name needs a password, and a password a name or an address.")]
    Incomplete,
}

/// What is remembered between turns.
#[derive(Default)]
pub(crate) struct LinkMemory {
    /// Where to look next for accounts that nobody uses.
    abandoned_after: Mutex<Option<Vec<u8>>>,
    /// Where to look next for secrets that are over.
    swept: Mutex<Option<Vec<u8>>>,
}

/// Has a new account join the app that it was made in.
pub(crate) fn join_app(
    tx: &mut Transaction<'_>,
    account: &str,
    app: &str,
    now_ms: u64,
) -> Result<(), Decline<PodError>> {
    match adea_accounts::apps::join(tx, account, app, now_ms) {
        Ok(_) => Ok(()),
        Err(Decline::Refused(refused)) => Err(Decline::Refused(AppError::from(refused).into())),
        Err(Decline::Engine(error)) => Err(Decline::Engine(error)),
    }
}

impl Pod {
    /// Whether somebody who has proved this address, given in its normal form, or none, may have an
    /// account in `app`.
    ///
    /// # Errors
    /// What the mode says.
    pub(crate) fn admits(&self, address: Option<&str>, app: &str) -> Result<(), PodError> {
        let rules = self.sign_up_rules(app);
        let refused = match rules.mode {
            SignUpMode::Open => return Ok(()),
            SignUpMode::Listed => match address {
                Some(normal) if is_listed(&rules, normal) => return Ok(()),
                Some(_) | None => AccountError::NotListed,
            },
            SignUpMode::Invited => AccountError::NotInvited,
            SignUpMode::Closed => AccountError::SignUpClosed,
        };
        Err(refused.into())
    }
}
