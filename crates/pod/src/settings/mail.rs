//! How mail is sent.

/// How mail is sent.
#[derive(Clone, Debug, Default)]
pub struct MailSettings {}
