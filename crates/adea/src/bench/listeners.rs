//! Many continuous changes feeds that wait, and one change told to all of them.

use super::connection::{Connection, Request, Target};
use super::error::BenchError;
use super::wire::find;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// So many connect at a time.
const CONNECTING: usize = 64;

/// What a listener heard: who, the id of the document, and when.
struct Heard {
    listener: usize,
    id: String,
    at: Instant,
}

/// Feeds that are open and wait.
pub(super) struct Listeners {
    tasks: JoinSet<Result<(), BenchError>>,
    heard: mpsc::UnboundedReceiver<Heard>,
    count: usize,
}

impl Listeners {
    /// Opens `count` feeds, for each target in turn; returns when the server has begun to answer
    /// each.
    pub(super) async fn open(
        targets: &[Arc<Target>],
        database: &str,
        count: usize,
    ) -> Result<Self, BenchError> {
        let path = format!(
            "/{database}/_changes?feed=continuous&since=now&heartbeat=60000&timeout=600000"
        );
        let request = Arc::new(Request::new("GET", path));
        let (sender, heard) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let mut connecting = JoinSet::new();
        for (listener, target) in (0..count).zip(targets.iter().cycle()) {
            if connecting.len() >= CONNECTING {
                spawn_listening(&mut connecting, &mut tasks, &request, &sender).await?;
            }
            let (target, request) = (Arc::clone(target), Arc::clone(&request));
            connecting.spawn(async move {
                let mut connection = Connection::open(&target, listener).await?;
                connection.start(&request, 200).await?;
                Ok((listener, connection))
            });
        }
        while !connecting.is_empty() {
            spawn_listening(&mut connecting, &mut tasks, &request, &sender).await?;
        }
        Ok(Self {
            tasks,
            heard,
            count,
        })
    }

    /// Waits until every listener has heard of `id`, each once, and of nothing else. Returns when
    /// the last one heard.
    pub(super) async fn all_hear(&mut self, id: &str) -> Result<Instant, BenchError> {
        let mut told = vec![false; self.count];
        let mut last = Instant::now();
        for _ in 0..self.count {
            let heard = tokio::select! {
                heard = self.heard.recv() => heard,
                Some(ended) = self.tasks.join_next() => return Err(ended_early(ended)),
            };
            let Some(heard) = heard else {
                return Err(BenchError::content("continuous feed", "all feeds ended"));
            };
            let again = told
                .get_mut(heard.listener)
                .is_none_or(|told| std::mem::replace(told, true));
            if heard.id != id || again {
                return Err(BenchError::content(
                    "continuous feed",
                    format!(
                        "listener {} heard of {} when all were to hear of {id} once",
                        heard.listener, heard.id
                    ),
                ));
            }
            last = last.max(heard.at);
        }
        Ok(last)
    }
}

impl Listeners {
    /// Complains if any of them has heard of anything.
    pub(super) fn heard_nothing(&mut self) -> Result<(), BenchError> {
        match self.heard.try_recv() {
            Ok(heard) => Err(BenchError::content(
                "continuous feed",
                format!("listener {} heard of {}", heard.listener, heard.id),
            )),
            Err(_) => match self.tasks.try_join_next() {
                Some(ended) => Err(ended_early(ended)),
                None => Ok(()),
            },
        }
    }
}

type Connected = Result<(usize, Connection), BenchError>;

async fn spawn_listening(
    connecting: &mut JoinSet<Connected>,
    tasks: &mut JoinSet<Result<(), BenchError>>,
    request: &Arc<Request>,
    sender: &mpsc::UnboundedSender<Heard>,
) -> Result<(), BenchError> {
    let Some(connected) = connecting.join_next().await else {
        return Ok(());
    };
    let (listener, connection) = connected
        .map_err(|error| BenchError::io("opening a feed")(std::io::Error::other(error)))??;
    let (request, sender) = (Arc::clone(request), sender.clone());
    tasks.spawn(async move { listen(listener, connection, &request, &sender).await });
    Ok(())
}

/// Reads lines until the feed ends, which it must not.
async fn listen(
    listener: usize,
    mut connection: Connection,
    request: &Request,
    sender: &mpsc::UnboundedSender<Heard>,
) -> Result<(), BenchError> {
    let mut line = Vec::new();
    while let Some(piece) = connection.piece(request).await? {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(part);
            if line.last() != Some(&b'\n') {
                continue;
            }
            // An empty line is a heartbeat.
            if !line.trim_ascii().is_empty() {
                let id = row_id(&line).ok_or_else(|| {
                    let text = String::from_utf8_lossy(&line).trim().to_owned();
                    BenchError::content(request.name(), format!("not a row: {text}"))
                })?;
                let at = Instant::now();
                if sender.send(Heard { listener, id, at }).is_err() {
                    return Ok(());
                }
            }
            line.clear();
        }
    }
    Err(BenchError::content(request.name(), "the feed ended"))
}

/// The id of a row: `{"seq":"..","id":"..","changes":[..]}`.
fn row_id(line: &[u8]) -> Option<String> {
    let start = find(line, b"\"id\":\"")?;
    let id = line.get(start + 6..)?.split(|byte| *byte == b'"').next()?;
    String::from_utf8(id.to_vec()).ok()
}

fn ended_early(ended: Result<Result<(), BenchError>, tokio::task::JoinError>) -> BenchError {
    match ended {
        Ok(Err(error)) => error,
        Ok(Ok(())) => BenchError::content("continuous feed", "a feed ended"),
        Err(error) => BenchError::io("listening")(std::io::Error::other(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_its_id() {
        let row = b"{\"seq\":\"1-x\",\"id\":\"abc\",\"changes\":[{\"rev\":\"1-y\"}]}\n";
        assert_eq!(row_id(row).as_deref(), Some("abc"));
        assert_eq!(row_id(b"{\"last_seq\":\"1-x\",\"pending\":0}\n"), None);
    }
}
