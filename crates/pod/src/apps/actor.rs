//! Who does something that is written down in the audit log.

use std::net::IpAddr;

use adea_accounts::audit::AuditEntry;
use adea_base::Caller;

/// Who does something, and from where.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The caller.
    pub caller: Caller,
    /// Where the request came from; `None` if it is the server itself.
    pub address: Option<IpAddr>,
}

impl Actor {
    /// `caller`, from `address`.
    #[must_use]
    pub fn of(caller: &Caller, address: Option<IpAddr>) -> Self {
        let caller = caller.clone();
        Self { caller, address }
    }

    /// The id of his account, or `admin:name` for an administrator of the configuration; empty for
    /// who has neither.
    #[must_use]
    pub fn account(&self) -> String {
        let name = self.caller.name().unwrap_or("");
        match self.caller.account() {
            Some(account) => account.to_owned(),
            None if self.caller.is_admin() && !name.is_empty() => format!("admin:{name}"),
            None => String::new(),
        }
    }

    /// An entry of the audit log: that he does `action` to `target` in `app`.
    pub(crate) fn entry(&self, action: &str, target: &str, app: &str, time_ms: u64) -> AuditEntry {
        let name = self.caller.name().unwrap_or("");
        AuditEntry {
            time_ms,
            action: action.to_owned(),
            account: self.account(),
            name: name.to_owned(),
            target: target.to_owned(),
            address: self
                .address
                .map_or_else(String::new, |address| address.to_string()),
            app: app.to_owned(),
            detail: serde_json::Value::Null,
        }
    }
}
