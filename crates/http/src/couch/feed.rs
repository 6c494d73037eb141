//! Sending a feed: as a stream in small memory, handed over to the bare socket where it waits.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use adea_pod::PodError;
use bytes::Bytes;
use http::StatusCode;
use parking_lot::Mutex;

use crate::body::{Body, BodyError, FeedChunk, FeedSource, Response};
use crate::couch::changes::{Feed, Form, Told, set_type};
use crate::reply;

/// What tells one piece after the other, and waits in between.
pub(crate) trait Telling: Send + Sync + 'static {
    /// How it is told.
    fn form(&self) -> Form;

    /// The next piece; `None` at the end.
    fn next(&mut self) -> impl Future<Output = Result<Option<Told>, PodError>> + Send;
}

impl Telling for Feed {
    fn form(&self) -> Form {
        Self::form(self)
    }

    async fn next(&mut self) -> Result<Option<Told>, PodError> {
        Self::next(self).await
    }
}

/// A step of a feed: it, and what it told.
type Step<F> = Pin<Box<dyn Future<Output = (F, Result<Option<Told>, PodError>)> + Send>>;

/// A feed as something that is polled. The lock is never taken: it only says that nobody polls
/// from two threads at once.
struct Stepping<F> {
    step: Mutex<Option<Step<F>>>,
}

fn step<F: Telling>(mut feed: F) -> Step<F> {
    Box::pin(async move {
        let told = feed.next().await;
        (feed, told)
    })
}

impl<F: Telling> FeedSource for Stepping<F> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<FeedChunk, BodyError>>> {
        let slot = self.step.get_mut();
        let Some(current) = slot else {
            return Poll::Ready(None);
        };
        let (feed, told) = ready!(current.as_mut().poll(cx));
        *slot = None;
        Poll::Ready(match told {
            Ok(None) => None,
            Ok(Some(told)) => {
                *slot = Some(step(feed));
                Some(Ok(match told {
                    Told::Own(text) => FeedChunk::Payload(text),
                    Told::Shared { framed, .. } => FeedChunk::Framed(framed),
                }))
            }
            Err(error) => Some(Err(BodyError::new(error.to_string()))),
        })
    }
}

/// Answers with a feed that may wait.
pub(crate) fn response(feed: impl Telling) -> Response {
    let form = feed.form();
    let source = Stepping {
        step: Mutex::new(Some(step(feed))),
    };
    let mut response = Response::new(Body::feed(source));
    set_type(&mut response, form);
    response
}

/// Answers with the rest of a feed that does not wait, after what is in `out` already.
pub(crate) fn streamed(mut feed: Feed, out: Vec<u8>) -> Response {
    let (sender, body) = Body::channel(4);
    tokio::spawn(async move {
        if sender.send(Bytes::from(out)).await.is_err() {
            return;
        }
        loop {
            let piece = match feed.next().await {
                Ok(Some(Told::Own(text) | Told::Shared { text, .. })) => text,
                Ok(None) => return,
                Err(error) => {
                    tracing::error!(%error, "a feed was cut off");
                    sender.abort(error.to_string());
                    return;
                }
            };
            if sender.send(piece).await.is_err() {
                return;
            }
        }
    });
    let mut response = reply::with_type(StatusCode::OK, "application/json", body);
    set_type(&mut response, Form::Normal);
    response
}
