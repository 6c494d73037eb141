//! Other ways in than a password: providers to sign in with, and the notice of a new device.

use std::sync::Arc;

use adea_accounts::oidc::Provider;

/// Other ways in than a password.
#[derive(Clone, Debug)]
pub struct ProviderSettings {
    /// Other providers to sign in with, each under another name.
    pub list: Vec<Arc<Provider>>,
    /// Whether a user gets a mail when somebody signs in as him from a new device.
    pub new_device_notice: bool,
}

impl Default for ProviderSettings {
    fn default() -> Self {
        Self {
            list: Vec::new(),
            new_device_notice: true,
        }
    }
}
