//! Sending a feed: as a stream in small memory, handed over to the bare socket where it waits.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;

use crate::body::{Body, Response};
use crate::couch::changes::{Feed, Form, Told, set_type};
use crate::reply;
use crate::router::Exchange;
use crate::server::{FeedChunk, FeedSource, HandOver};

/// A step of a feed: it, and what it told.
type Step = Pin<Box<dyn Future<Output = (Feed, Option<Told>)> + Send>>;

/// A feed as something that is polled.
struct Stepping {
    step: Option<Step>,
}

fn step(mut feed: Feed) -> Step {
    Box::pin(async move {
        let told = match feed.next().await {
            Ok(told) => told,
            Err(error) => {
                tracing::error!(%error, "a feed was cut off");
                None
            }
        };
        (feed, told)
    })
}

impl FeedSource for Stepping {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<FeedChunk>> {
        let Some(current) = &mut self.step else {
            return Poll::Ready(None);
        };
        let (feed, told) = ready!(current.as_mut().poll(cx));
        self.step = told.is_some().then(|| step(feed));
        Poll::Ready(told.map(|told| match told {
            Told::Own(text) => FeedChunk::Payload(text),
            Told::Shared { framed, .. } => FeedChunk::Framed(framed),
        }))
    }
}

/// Answers with a feed that may wait.
pub(crate) fn response(_exchange: &Exchange, feed: Feed) -> Response {
    let form = feed.form();
    let mut response = reply::empty(StatusCode::OK);
    set_type(&mut response, form);
    let source = Stepping {
        step: Some(step(feed)),
    };
    response
        .extensions_mut()
        .insert(HandOver::new(Box::new(source)));
    response
}

/// Answers with the rest of a feed that does not wait, after what is in `out` already.
pub(crate) fn streamed(_exchange: &Exchange, mut feed: Feed, out: Vec<u8>) -> Response {
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
