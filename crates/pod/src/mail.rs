//! Mail: queued with the commit that causes it, sent in the background.
//!
//! What is to be sent stands in the store, so that it survives a restart; see [`delivery`] for how it
//! gets out. Where no server is set, mail is captured instead and shown to administrators.

mod admin;
mod delivery;

pub use admin::{MailPage, MailPreview, MailTemplates};

use adea_mail::InvalidTemplate;

use crate::pod::Pod;
use crate::settings::LinkTemplate;

/// Why a use case here ended without doing what was asked.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// Words that cannot be used.
    #[error(transparent)]
    Template(#[from] InvalidTemplate),
    /// Nobody has chosen such words.
    #[error("There is no such template.")]
    NoTemplate,
    /// There is no more room for words.
    #[error("There are as many templates as are kept, of all or of this app; delete one first.")]
    TooManyTemplates,
    /// There is no such mail in the queue.
    #[error("There is no such mail.")]
    NoMail,
    /// Mail cannot be sent there.
    #[error("The address is none.")]
    Address,
}

/// What a link in a mail is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// To prove that an address is yours.
    Verify,
    /// To set a new password.
    Recover,
    /// To sign in.
    SignIn,
    /// To accept an invitation.
    Invitation,
}

impl LinkKind {
    /// The page of this server that does it.
    fn page(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Recover => "reset",
            Self::SignIn => "link",
            Self::Invitation => "invitation",
        }
    }
}

impl Pod {
    /// The address of the page where `secret` does what `kind` says, in `app` (empty for none). It
    /// begins with what is set, and never with what a request says of the server.
    #[must_use]
    pub fn link(&self, kind: LinkKind, app: &str, secret: &str) -> String {
        let auth = self.auth();
        let links = &auth.accounts.mail.links;
        let apps = self.app_links(app);
        let (of_app, set) = match kind {
            LinkKind::Verify => (apps.verify, &links.verify),
            LinkKind::Recover => (apps.recover, &links.recover),
            LinkKind::SignIn => (apps.sign_in, &links.sign_in),
            LinkKind::Invitation => (apps.invitation, &links.invitation),
        };
        let of_app = of_app.as_deref().and_then(LinkTemplate::parse);
        let base = auth.accounts.public_url.as_deref();
        let base = base.unwrap_or(&auth.accounts.mail.own_url);
        let own = || LinkTemplate::own(base, kind.page(), app);
        let set = of_app.or_else(|| set.clone());
        set.unwrap_or_else(own).fill(app, secret)
    }
}

#[cfg(test)]
mod tests;
