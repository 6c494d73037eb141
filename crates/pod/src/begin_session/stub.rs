//! Until the directory of accounts is there.

use std::sync::Arc;

use adea_accounts::directory::{self, AccountRecord};
use adea_base::Caller;

use crate::error::PodError;
use crate::pod::Pod;

/// An account with what its holder may do.
pub(crate) struct Holder {
    pub(crate) record: Arc<AccountRecord>,
    pub(crate) caller: Caller,
}

impl Pod {
    pub(crate) fn holder(&self, id: &str) -> Result<Option<Holder>, PodError> {
        let Some(record) = directory::find(self.view().as_ref(), id)? else {
            return Ok(None);
        };
        let Some(caller) = self.caller_named(&record.name)? else {
            return Ok(None);
        };
        Ok(Some(Holder {
            record: Arc::new(record),
            caller: caller.with_account(id),
        }))
    }
}
