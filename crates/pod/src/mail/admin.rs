//! What administrators do with mail: choose its words and look at them, try whether it arrives, see
//! what was captured and what waits.

use adea_accounts::audit::{self, AuditEntry};
use adea_mail::captured::{self, Captured};
use adea_mail::queue::{self, Listed, Queued};
use adea_mail::templates::{self, Which};
use adea_mail::{Kind, Outgoing, Rendered, Template};
use adea_store::{Decline, TransactError};
use serde_json::Value;

use super::MailError;
use super::delivery::server_name;
use crate::apps::Actor;
use crate::error::PodError;
use crate::pod::Pod;

/// Templates that there are.
#[derive(Clone, Debug)]
pub struct MailTemplates {
    /// Those that somebody chose.
    pub own: Vec<Which>,
    /// Languages in which each kind is built in.
    pub built_in: &'static [&'static str],
}

/// Mails of the queue.
#[derive(Clone, Debug)]
pub struct MailPage {
    /// The mails.
    pub items: Vec<Queued>,
    /// Whether there are more behind them.
    pub more: bool,
}

/// A mail that is to be looked at before it is sent.
#[derive(Clone, Debug)]
pub struct MailPreview {
    /// What it is about.
    pub kind: Kind,
    /// The language it is written in; the server's own if empty.
    pub language: String,
    /// The app whose words are used; empty for none.
    pub app: String,
    /// What is filled in; `None` for a sample.
    pub data: Option<Value>,
    /// The words, if not those that are in use.
    pub template: Option<Template>,
}

impl Pod {
    /// Mails that were captured because there is no server to send them to, the newest first. What
    /// is due is captured before.
    ///
    /// # Errors
    /// [`PodError`] if the store cannot be read or written.
    pub async fn captured_mail(&self) -> Result<Vec<Captured>, PodError> {
        self.capture_due().await?;
        Ok(captured::list(self.view().as_ref())?)
    }

    /// Forgets all mails that were captured.
    ///
    /// # Errors
    /// [`PodError`] if the store cannot be read or written.
    pub async fn clear_captured_mail(&self, by: &Actor) -> Result<(), PodError> {
        self.capture_due().await?;
        let entry = by.entry(
            "mail.clear_captured",
            "",
            "",
            self.inner.clock.now_unix_ms(),
        );
        self.transact_mail(move |tx| {
            captured::clear(tx);
            audit::append(tx, &entry)
        })
        .await
    }

    /// Queues a mail that says that mail works.
    ///
    /// # Errors
    /// [`MailError::Address`] if none can be sent there.
    pub async fn send_test_mail(&self, to: &str) -> Result<(), PodError> {
        if !adea_mail::address_is_valid(to) {
            return Err(MailError::Address.into());
        }
        let mail = Outgoing {
            kind: Kind::Test,
            to: to.to_owned(),
            language: String::new(),
            app: String::new(),
            data: Value::Null,
        };
        let (entropy, now_ms) = (self.inner.entropy.clone(), self.inner.clock.now_unix_ms());
        self.transact_mail(move |tx| {
            adea_mail::enqueue(tx, &entropy, now_ms, &mail);
            Ok(())
        })
        .await
    }

    /// The templates that there are.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn mail_templates(&self) -> Result<MailTemplates, PodError> {
        Ok(MailTemplates {
            own: templates::list(self.view().as_ref())?,
            built_in: templates::built_in_languages(),
        })
    }

    /// A template, and whether somebody chose it; for the server as a whole, those that are built in
    /// stand in for one that nobody chose.
    ///
    /// # Errors
    /// [`MailError::NoTemplate`] if there is none.
    pub fn mail_template(&self, which: &Which) -> Result<(Template, bool), PodError> {
        if let Some(own) = templates::find(self.view().as_ref(), which)? {
            return Ok((own, true));
        }
        let built_in = templates::built_in(which.kind, which.language.tag());
        let built_in = built_in.filter(|_| which.app.is_empty());
        Ok((built_in.ok_or(MailError::NoTemplate)?, false))
    }

    /// From now on these words are used.
    ///
    /// # Errors
    /// [`MailError::Template`] if they cannot be, or [`MailError::TooManyTemplates`].
    pub async fn put_mail_template(
        &self,
        which: Which,
        template: Template,
        by: &Actor,
    ) -> Result<(), PodError> {
        template.check(which.kind).map_err(MailError::from)?;
        let entry = self.template_entry(by, "template.put", &which);
        let put = self.transact_mail(move |tx| {
            let put = templates::put(tx, &which, &template)?;
            if put {
                audit::append(tx, &entry)?;
            }
            Ok(put)
        });
        if put.await? {
            return Ok(());
        }
        Err(MailError::TooManyTemplates.into())
    }

    /// From now on the words are used that stood behind these.
    ///
    /// # Errors
    /// [`MailError::NoTemplate`] if nobody chose these.
    pub async fn delete_mail_template(&self, which: Which, by: &Actor) -> Result<(), PodError> {
        let entry = self.template_entry(by, "template.delete", &which);
        let removed = self.transact_mail(move |tx| {
            let removed = templates::remove(tx, &which)?;
            if removed {
                audit::append(tx, &entry)?;
            }
            Ok(removed)
        });
        if removed.await? {
            return Ok(());
        }
        Err(MailError::NoTemplate.into())
    }

    fn template_entry(&self, by: &Actor, action: &str, which: &Which) -> AuditEntry {
        let target = format!("{}/{}", which.kind.name(), which.language.tag());
        by.entry(action, &target, &which.app, self.inner.clock.now_unix_ms())
    }

    /// What a mail would say.
    ///
    /// # Errors
    /// [`MailError::Template`] if the words cannot be filled in.
    pub fn preview_mail(&self, preview: MailPreview) -> Result<Rendered, PodError> {
        let auth = self.auth();
        let settings = &auth.accounts.mail;
        let sample = || preview.kind.sample();
        let mail = Outgoing {
            kind: preview.kind,
            to: "ann@example.org".to_owned(),
            language: preview.language,
            app: preview.app,
            data: preview.data.unwrap_or_else(sample),
        };
        let template = match preview.template {
            Some(template) => template,
            None => {
                let view = self.view();
                let (kind, language) = (mail.kind, &settings.language);
                let chosen =
                    templates::choose(view.as_ref(), kind, &mail.app, &mail.language, language)?;
                chosen.template
            }
        };
        let filled = templates::fill(&template, &mail, server_name(settings));
        Ok(filled.map_err(MailError::from)?)
    }

    /// At most `limit` mails of the queue, those behind the one of that time and id. What they fill
    /// in is taken out: it may be good for signing in.
    ///
    /// # Errors
    /// [`PodError::Engine`] if the store cannot be read.
    pub fn mail_queue(
        &self,
        listed: Listed,
        after: Option<(u64, &str)>,
        limit: usize,
    ) -> Result<MailPage, PodError> {
        let (mut items, more) = queue::list(self.view().as_ref(), listed, after, limit)?;
        for queued in &mut items {
            queued.mail.data = Value::Null;
        }
        Ok(MailPage { items, more })
    }

    /// Tries to send a mail of the queue now.
    ///
    /// # Errors
    /// [`MailError::NoMail`] if it is not there.
    pub async fn retry_mail(&self, id: &str, by: &Actor) -> Result<(), PodError> {
        let now_ms = self.inner.clock.now_unix_ms();
        let entry = by.entry("mail.retry", id, "", now_ms);
        self.change_mail(id, entry, move |tx, id| queue::retry(tx, id, now_ms))
            .await
    }

    /// Takes a mail out of the queue.
    ///
    /// # Errors
    /// [`MailError::NoMail`] if it is not there.
    pub async fn delete_mail(&self, id: &str, by: &Actor) -> Result<(), PodError> {
        let entry = by.entry("mail.delete", id, "", self.inner.clock.now_unix_ms());
        self.change_mail(id, entry, queue::remove).await
    }

    async fn change_mail(
        &self,
        id: &str,
        entry: AuditEntry,
        change: impl FnOnce(
            &mut adea_store::Transaction<'_>,
            &str,
        ) -> Result<bool, adea_store::EngineError>
        + Send
        + 'static,
    ) -> Result<(), PodError> {
        let id = id.to_owned();
        let changed: Result<(), TransactError<MailError>> = self
            .inner
            .store
            .transact(Self::permit(), move |tx| match change(tx, &id)? {
                true => Ok(audit::append(tx, &entry)?),
                false => Err(Decline::Refused(MailError::NoMail)),
            })
            .await;
        Ok(changed?)
    }
}
