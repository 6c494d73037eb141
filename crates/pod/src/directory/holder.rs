//! Who an account is now, with all the roles that it holds.

use std::sync::Arc;

use adea_accounts::directory::{self, AccountRecord};
use adea_base::Caller;

use crate::error::PodError;
use crate::pod::Pod;

/// An account with what its holder may do. One that is blocked is shown as well.
#[derive(Clone, Debug)]
pub struct Holder {
    /// The record.
    pub record: Arc<AccountRecord>,
    /// The name, the id, and the roles of the document and of all memberships.
    pub caller: Caller,
    /// Whether it has a password that can be verified.
    pub has_password: bool,
    /// Whether its document wants digits besides the password, as `CouchDB` knows them (`totp`).
    pub document_wants_digits: bool,
}

impl Pod {
    /// Who account `id` is now; `None` if it is gone.
    ///
    /// # Errors
    /// [`PodError::Refused`] if its document has conflicts; [`PodError::Engine`] if the store cannot
    /// be read.
    pub fn holder(&self, id: &str) -> Result<Option<Holder>, PodError> {
        if !adea_accounts::keys::is_id(id) {
            return Ok(None);
        }
        let Some(known) = self.principal_of(id)? else {
            return Ok(None);
        };
        let Some(record) = known.record else {
            return Ok(None);
        };
        Ok(Some(Holder {
            record,
            caller: known.caller,
            has_password: known.credential.is_some(),
            document_wants_digits: known.document_wants_digits,
        }))
    }

    /// The record of account `id`.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn account_record(&self, id: &str) -> Result<Option<AccountRecord>, PodError> {
        if !adea_accounts::keys::is_id(id) {
            return Ok(None);
        }
        let users = self.users_number()?.0;
        Ok(directory::live(self.view().as_ref(), users, id)?)
    }

    /// The id of the account that has verified this address.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn account_of_address(&self, address: &str) -> Result<Option<String>, PodError> {
        let Ok(normal) = adea_accounts::names::normal_address(address) else {
            return Ok(None);
        };
        let users = self.users_number()?.0;
        let view = self.view();
        let Some(id) = directory::find_address(view.as_ref(), &normal)? else {
            return Ok(None);
        };
        let live = directory::live(view.as_ref(), users, &id)?;
        Ok(live.map(|record| record.id))
    }
}
