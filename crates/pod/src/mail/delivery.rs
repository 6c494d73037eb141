//! Getting mail out: what is due is rendered and handed to the server, a few at a time.
//!
//! Nothing polls: whoever queues a mail wakes this with his commit, and else it sleeps until the next
//! one is due. A mail is taken out of the queue after the server has taken it, so one that was on its
//! way when this process ended goes out again, under the same Message-ID.
//!
//! Invariants: of one mail there is at most one handing over at a time; one that breaks its task leaves
//! room for the others, and has failed once more.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use adea_accounts::audit::{self, AuditEntry};
use adea_mail::captured::{self, Captured};
use adea_mail::queue::{self, Fate, Queued};
use adea_mail::{Letter, QUEUE_TOPIC, Rendered, SendError, Sender, SmtpServer, templates};
use adea_store::{Health, TransactError};
use serde_json::json;
use tokio::task::{Id, JoinSet};

use crate::error::PodError;
use crate::pod::Pod;
use crate::settings::MailSettings;

/// Mails that are handed over at a time.
const SENDING_MAX: usize = 4;
/// Mails that are looked at in one view.
const LOOKED_AT_MAX: usize = 100;
/// The longest sleep.
const SLEEP_MAX: Duration = Duration::from_secs(3_600);
/// How long to wait when the store fails. What was sent meanwhile and could not be taken out of the
/// queue would else go out again at once, and again.
const PAUSE: Duration = Duration::from_secs(60);

/// Mails on their way, by what sends them.
#[derive(Default)]
struct Sending {
    tasks: JoinSet<()>,
    ids: HashMap<Id, String>,
}

impl Sending {
    fn start(&mut self, id: String, send: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(send).id();
        self.ids.insert(task, id);
    }

    fn is_full(&self) -> bool {
        self.ids.len() >= SENDING_MAX
    }

    fn holds(&self, id: &str) -> bool {
        self.ids.values().any(|known| known == id)
    }

    /// The next mail that is no more on its way, and whether its task broke; `None` if there is none.
    async fn done(&mut self) -> Option<(String, bool)> {
        let (task, broke) = match self.tasks.join_next_with_id().await? {
            Ok((task, ())) => (task, false),
            Err(error) => (error.id(), true),
        };
        Some((self.ids.remove(&task)?, broke))
    }
}

impl Pod {
    /// Sends what is due, and then whatever becomes so, for as long as this is polled.
    pub(crate) async fn deliver_mail(&self) {
        let mut woken = self.inner.store.watch().subscribe(QUEUE_TOPIC);
        let mut sending = Sending::default();
        let mut swept_hour = 0;
        loop {
            let changed = self.inner.auth_changed.notified();
            woken.mark_seen();
            let pause = match self.start_due(&mut sending).await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::error!(%error, "mail waits: {error}");
                    PAUSE
                }
            };
            tokio::select! {
                () = woken.changed() => {}
                () = changed => {}
                Some((id, broke)) = sending.done() => {
                    if broke && let Err(error) = self.note_broken(&id).await {
                        tracing::error!(id, %error, "that mail {id} broke off was not noted: {error}");
                    }
                }
                () = tokio::time::sleep(pause) => {}
            }
            self.sweep_mail(&mut swept_hour).await;
        }
    }

    /// Starts to send what is due, as far as there is room, and says when to come again.
    async fn start_due(&self, sending: &mut Sending) -> Result<Duration, PodError> {
        let auth = self.auth();
        let settings = &auth.accounts.mail;
        let Some(server) = &settings.server else {
            self.capture_due().await?;
            return Ok(self.until_next(self.next_due(None)?.1));
        };
        if self.health() != Health::Healthy {
            return Ok(PAUSE);
        }
        let (due, next) = self.next_due(Some(sending))?;
        for id in due {
            if sending.is_full() {
                // Whichever is done first wakes this.
                return Ok(SLEEP_MAX);
            }
            let (pod, server, settings) = (self.clone(), server.clone(), settings.clone());
            sending.start(id.clone(), async move {
                pod.send_and_note(&id, &server, &settings).await;
            });
        }
        Ok(self.until_next(next))
    }

    /// Ids of mails that are due and not among `sending`, and when the next one behind them is.
    fn next_due(&self, sending: Option<&Sending>) -> Result<(Vec<String>, Option<u64>), PodError> {
        let now_ms = self.inner.clock.now_unix_ms();
        let (mut due, next) = queue::due(self.view().as_ref(), now_ms, LOOKED_AT_MAX)?;
        due.retain(|id| !sending.is_some_and(|sending| sending.holds(id)));
        Ok((due, next))
    }

    fn until_next(&self, due_ms: Option<u64>) -> Duration {
        let now_ms = self.inner.clock.now_unix_ms();
        let wait = due_ms.map(|due_ms| Duration::from_millis(due_ms.saturating_sub(now_ms)));
        // Never none at all: mails that are on their way are due, too.
        let wait = wait.unwrap_or(SLEEP_MAX).max(Duration::from_millis(50));
        wait.min(SLEEP_MAX)
    }

    /// Sends one mail, and writes down what came of it.
    async fn send_and_note(&self, id: &str, server: &SmtpServer, settings: &MailSettings) {
        let noted = match self.send(id, server, settings).await {
            Ok(None) => Ok(()),
            Ok(Some((queued, sent))) => self.note_sent(&queued, sent).await,
            Err(error) => Err(error),
        };
        if let Err(error) = noted {
            tracing::error!(id, %error, "what became of mail {id} was not noted: {error}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Writes down that the task which sent a mail broke, as one more try that failed: it would else be
    /// tried again at once, and for ever.
    async fn note_broken(&self, id: &str) -> Result<(), PodError> {
        let Some(queued) = queue::find(self.view().as_ref(), id)? else {
            return Ok(());
        };
        let told = "Sending it broke off; the log of the server tells where.".to_owned();
        self.note_sent(&queued, Err(SendError::Failed(told))).await
    }

    async fn send(
        &self,
        id: &str,
        server: &SmtpServer,
        settings: &MailSettings,
    ) -> Result<Option<(Queued, Result<(), SendError>)>, PodError> {
        let Some(queued) = queue::find(self.view().as_ref(), id)? else {
            return Ok(None);
        };
        let words = match self.words(&queued, settings)? {
            Ok(words) => words,
            Err(told) => return Ok(Some((queued, Err(SendError::Refused(told))))),
        };
        let Some(from) = &settings.from else {
            let told = "mail.from is not set".to_owned();
            return Ok(Some((queued, Err(SendError::Failed(told)))));
        };
        let letter = Letter {
            id,
            from,
            reply_to: settings.reply_to.as_ref(),
            to: &queued.mail.to,
            written_ms: queued.queued_ms,
            words: &words,
        };
        let sent = server.send(&letter).await;
        Ok(Some((queued, sent)))
    }

    /// What a mail says; the inner error tells why nothing can be said.
    fn words(
        &self,
        queued: &Queued,
        settings: &MailSettings,
    ) -> Result<Result<Rendered, String>, PodError> {
        let name = server_name(settings);
        let of_app = self.app_language(&queued.mail.app);
        let of_app = of_app.as_deref().and_then(adea_mail::Language::parse);
        let language = of_app.as_ref().unwrap_or(&settings.language);
        let rendered = templates::render(self.view().as_ref(), &queued.mail, name, language)?;
        Ok(rendered.map_err(|error| error.to_string()))
    }

    async fn note_sent(
        &self,
        queued: &Queued,
        sent: Result<(), SendError>,
    ) -> Result<(), PodError> {
        let (id, kind) = (queued.id.clone(), queued.mail.kind.name());
        let Err(error) = sent else {
            let removed = self.transact_mail(move |tx| queue::remove(tx, &id)).await;
            removed?;
            tracing::info!(id = queued.id, kind, "sent mail {} ({kind})", queued.id);
            return Ok(());
        };
        let (permanent, told) = (error.is_permanent(), error.to_string());
        match self.note_failure(queued, permanent, &told).await? {
            Fate::Later(due_ms) => {
                let wait_s = due_ms.saturating_sub(self.inner.clock.now_unix_ms()) / 1_000;
                tracing::warn!(
                    id,
                    kind,
                    told,
                    "mail {id} ({kind}) waits {wait_s} s: {told}"
                );
            }
            Fate::GivenUp => {
                tracing::error!(id, kind, told, "mail {id} ({kind}) was given up: {told}");
            }
            Fate::Gone => {}
        }
        Ok(())
    }

    async fn note_failure(
        &self,
        queued: &Queued,
        permanent: bool,
        told: &str,
    ) -> Result<Fate, PodError> {
        let now_ms = self.inner.clock.now_unix_ms();
        let entropy = self.inner.entropy.clone();
        let (queued, told) = (queued.clone(), told.to_owned());
        self.transact_mail(move |tx| {
            let fate = queue::failed(tx, &entropy, &queued.id, &told, permanent, now_ms)?;
            if fate == Fate::GivenUp {
                let kind = queued.mail.kind.name();
                let entry = AuditEntry {
                    time_ms: now_ms,
                    action: "mail.give_up".to_owned(),
                    account: String::new(),
                    name: String::new(),
                    target: queued.id,
                    address: String::new(),
                    app: queued.mail.app.clone(),
                    // What the server said may name the address; it stands with the mail.
                    detail: json!({"kind": kind}),
                };
                audit::append(tx, &entry)?;
            }
            Ok(fate)
        })
        .await
    }

    /// Captures what is due, where no server is set.
    pub(crate) async fn capture_due(&self) -> Result<(), PodError> {
        let auth = self.auth();
        let settings = &auth.accounts.mail;
        if settings.server.is_some() {
            return Ok(());
        }
        loop {
            let (due, _) = self.next_due(None)?;
            if due.is_empty() {
                return Ok(());
            }
            for id in due {
                self.capture(&id, settings).await?;
            }
        }
    }

    async fn capture(&self, id: &str, settings: &MailSettings) -> Result<(), PodError> {
        let Some(queued) = queue::find(self.view().as_ref(), id)? else {
            return Ok(());
        };
        let words = match self.words(&queued, settings)? {
            Ok(words) if adea_mail::address_is_valid(&queued.mail.to) => words,
            Ok(_) => {
                let told = "The address is none.".to_owned();
                return self.note_sent(&queued, Err(SendError::Refused(told))).await;
            }
            Err(told) => return self.note_sent(&queued, Err(SendError::Refused(told))).await,
        };
        let kind = queued.mail.kind.name();
        let captured = Captured::of(&queued, words, self.inner.clock.now_unix_ms());
        let kept = self.transact_mail(move |tx| {
            // Somebody else may have captured it meanwhile.
            let there = queue::remove(tx, &captured.id)?;
            if there {
                captured::keep(tx, &captured)?;
            }
            Ok(there)
        });
        if kept.await? {
            let at = &settings.own_url;
            tracing::info!(
                id,
                kind,
                "captured mail {id} ({kind}), since mail.smtp is not set; look at it at \
                 {at}/_mail/captured"
            );
        }
        Ok(())
    }

    /// Forgets, once an hour, what was counted before.
    async fn sweep_mail(&self, swept_hour: &mut u64) {
        let now_ms = self.inner.clock.now_unix_ms();
        let hour = now_ms / 3_600_000;
        if std::mem::replace(swept_hour, hour) == hour {
            return;
        }
        let swept = self.transact_mail(move |tx| {
            queue::sweep(tx, now_ms);
            Ok(())
        });
        if let Err(error) = swept.await {
            tracing::warn!(%error, "counts of mails stay remembered: {error}");
        }
    }

    /// A transaction that can fail only with the store.
    pub(super) async fn transact_mail<T: Send + 'static>(
        &self,
        decide: impl FnOnce(&mut adea_store::Transaction<'_>) -> Result<T, adea_store::EngineError>
        + Send
        + 'static,
    ) -> Result<T, PodError> {
        let done: Result<T, TransactError<PodError>> = self
            .inner
            .store
            .transact(Self::permit(), move |tx| Ok(decide(tx)?))
            .await;
        Ok(done?)
    }
}

/// What the server calls itself in mail.
pub(super) fn server_name(settings: &MailSettings) -> &str {
    settings.from.as_ref().map_or("Adea", Sender::name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn mails_that_break_their_tasks_leave_room_for_others() {
        let mut sending = Sending::default();
        for id in 0..SENDING_MAX {
            sending.start(id.to_string(), async { panic!("a mail that breaks") });
        }
        assert!(sending.is_full() && sending.holds("0"));
        let mut done = Vec::new();
        while let Some((id, broke)) = sending.done().await {
            assert!(broke);
            done.push(id);
        }
        done.sort();
        assert_eq!(done, ["0", "1", "2", "3"]);
        assert!(!sending.is_full() && !sending.holds("0"));
        sending.start("5".to_owned(), async {});
        assert_eq!(sending.done().await, Some(("5".to_owned(), false)));
        assert_eq!(sending.done().await, None);
    }
}
