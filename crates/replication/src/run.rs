//! The loop of a replication.
//!
//! A reader brings batches; several are carried over at once, and count as done in their order, so that
//! the place reached never stands before something that is still under way. That place is written down
//! every so often, and at the end, however it ends. One that goes on holds a place among those that work
//! only while it works, if its source is of this server; else it gives its place up now and then when
//! others wait.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use adea_base::Clock;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::batch::Route;
use crate::checkpoint::{Checkpoint, Ends, Reached};
use crate::description::{Description, Filter};
use crate::error::ReplicationError;
use crate::identity::ReplicationId;
use crate::patience::Patience;
use crate::peer::{ChangesAsked, Info, Peer, PeerError};
use crate::places::{Place, Places};
use crate::reader::{Batch, Reader, Told};
use crate::sequence::Sequence;
use crate::stats::{Progress, Stats};
use crate::stop::Stop;
use crate::time::rfc1123;

/// The longest attempt to write down how far it came when it has failed.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A replication that is to be run.
pub struct Job {
    /// What was asked for.
    pub description: Arc<Description>,
    /// Its name.
    pub id: ReplicationId,
    /// The name of this run.
    pub session: String,
    /// The time of day.
    pub clock: Clock,
    /// How often to try.
    pub patience: Patience,
    /// From where.
    pub source: Arc<dyn Peer>,
    /// To where.
    pub target: Arc<dyn Peer>,
    /// Where those that work wait for their turn.
    pub places: Arc<Places>,
    /// After how long one that goes on lets others have its place.
    pub turn: Duration,
    /// Shows how far it is.
    pub progress: Arc<Progress>,
}

/// How a replication ended, if not with an error.
#[derive(Debug)]
pub enum Ended {
    /// Everything was carried over; what is answered and written down.
    Completed(Map<String, Value>),
    /// It was told to.
    Stopped,
    /// It lets others have its place, and is to be run again.
    Yielded,
}

/// A batch under way.
struct Flight {
    task: JoinHandle<Result<Stats, ReplicationError>>,
    through: Sequence,
    pending: Option<u64>,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The reader, which ends with who listens.
struct Reading(JoinHandle<()>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A replication under way.
struct Run<'j> {
    job: &'j Job,
    route: Arc<Route>,
    checkpoint: Checkpoint,
    stats: Stats,
    through: Sequence,
    flights: VecDeque<Flight>,
    place: Option<Place>,
    place_until: Instant,
    checkpoint_due: Instant,
    /// Everything that was told is at the target.
    caught_up: bool,
    /// What was written down last.
    written: Option<Map<String, Value>>,
    /// What the source knew before.
    before: Map<String, Value>,
}

/// What the loop does next.
enum Next {
    Told(Option<Told>),
    Landed(Result<Stats, ReplicationError>),
    Checkpoint,
    Stop,
    Yield,
}

/// Runs a replication to its end.
///
/// # Errors
/// [`ReplicationError`]; what was carried over stays, and the next run goes on from what was written
/// down.
pub async fn run(job: &Job, mut stop: Stop) -> Result<Ended, ReplicationError> {
    let place = tokio::select! {
        place = job.places.take() => place,
        () = stop.wait() => return Ok(Ended::Stopped),
    };
    job.progress.change(|now| now.waiting = false);
    let route = Arc::new(Route {
        source: Arc::clone(&job.source),
        target: Arc::clone(&job.target),
        patience: job.patience.clone(),
        tuning: job.description.tuning.clone(),
        stop: stop.clone(),
        bulk_get: AtomicBool::new(job.description.tuning.bulk_get),
    });
    let opened = {
        let mut stop = stop.clone();
        let opening = Box::pin(Run::open(job, Arc::clone(&route), place));
        tokio::select! {
            opened = opening => opened?,
            () = stop.wait() => return Ok(Ended::Stopped),
        }
    };
    let (mut run, since) = opened;
    let (told, mut news) = mpsc::channel(route.tuning.workers);
    let description = &job.description;
    let reader = Reader {
        asked: ChangesAsked {
            filter: Arc::new(description.filter.clone()),
            winners_only: description.winning_revisions_only,
            limit: usize::MAX,
        },
        continuous: description.continuous,
        since,
        route,
        told,
    };
    let _reading = Reading(tokio::spawn(reader.run()));
    run.follow(&mut news, &mut stop).await
}

impl<'j> Run<'j> {
    /// Opens both ends, and finds where to begin.
    async fn open(
        job: &'j Job,
        route: Arc<Route>,
        place: Place,
    ) -> Result<(Self, Sequence), ReplicationError> {
        let description = &job.description;
        if let Some(parameters) = &description.create_target {
            let making = || route.target.create(parameters);
            let target = route.target.shown();
            job.patience
                .insist(&route.stop, "creating the target", target, making)
                .await?;
        }
        let (source, target) = tokio::join!(
            info(job, &route, &job.source),
            info(job, &route, &job.target)
        );
        let (source, target) = (source?, target?);
        let code = filter_code(job, &route).await?;
        let ends = Ends {
            source: job.source.as_ref(),
            target: job.target.as_ref(),
            patience: &job.patience,
            stop: &route.stop,
        };
        let name = job.id.checkpoint(code.as_deref());
        let found = ends.find(&name).await?;
        let before = found
            .source
            .as_ref()
            .map(|log| log.json.clone())
            .unwrap_or_default();
        let of_ids = matches!(description.filter, Filter::Ids(_));
        let checkpoint = Checkpoint::new(
            name,
            job.session.clone(),
            rfc1123(job.clock.now_unix_s()),
            (source.instance, target.instance),
            found,
            of_ids,
        );
        let since = description
            .since
            .clone()
            .unwrap_or_else(|| checkpoint.began.clone());
        job.progress.change(|now| {
            now.source_sequence = source.update_sequence.clone();
            now.through = since.clone();
            now.checkpointed = since.clone();
        });
        let interval = description.tuning.checkpoint_interval;
        let run = Self {
            job,
            route,
            checkpoint,
            // What runs before this one did counts, too.
            stats: job.progress.snapshot().stats,
            through: since.clone(),
            flights: VecDeque::new(),
            place: Some(place),
            place_until: Instant::now() + job.turn,
            checkpoint_due: Instant::now() + interval,
            caught_up: false,
            written: None,
            before,
        };
        Ok((run, since))
    }

    /// Follows the reader until the end.
    async fn follow(
        &mut self,
        news: &mut mpsc::Receiver<Told>,
        stop: &mut Stop,
    ) -> Result<Ended, ReplicationError> {
        let mut ended = false;
        loop {
            if ended && self.flights.is_empty() {
                self.write_down().await?;
                return Ok(Ended::Completed(self.summary()));
            }
            let done = match self.next(news, stop, ended).await {
                Next::Told(None) => Err(self.route.source_error("_changes", broken())),
                Next::Told(Some(Told::Failed(error))) => Err(error),
                Next::Told(Some(Told::Batch(batch))) => {
                    if self.launch(batch, stop).await {
                        Ok(())
                    } else {
                        return self.stopped().await;
                    }
                }
                Next::Told(Some(Told::CaughtUp(at))) => {
                    self.reached_end(at);
                    Ok(())
                }
                Next::Told(Some(Told::End(at))) => {
                    ended = true;
                    self.reached_end(at);
                    Ok(())
                }
                Next::Landed(landed) => landed.map(|stats| self.landed(&stats)),
                Next::Checkpoint => self.write_down().await,
                Next::Stop => return self.stopped().await,
                Next::Yield => {
                    self.write_down().await?;
                    return Ok(Ended::Yielded);
                }
            };
            if let Err(error) = done {
                self.last_words(&error).await;
                return Err(error);
            }
        }
    }

    async fn next(
        &mut self,
        news: &mut mpsc::Receiver<Told>,
        stop: &mut Stop,
        ended: bool,
    ) -> Next {
        let room = self.flights.len() < self.route.tuning.workers;
        let behind = self.route.tuning.checkpoints && self.checkpoint.is_behind(&self.through);
        let yields = self.job.description.continuous && self.place.is_some();
        let flight = async {
            match self.flights.front_mut() {
                Some(flight) => (&mut flight.task).await,
                None => std::future::pending().await,
            }
        };
        let mut flight = std::pin::pin!(flight);
        loop {
            tokio::select! {
                biased;
                () = stop.wait() => return Next::Stop,
                landed = &mut flight => {
                    let landed = landed.unwrap_or_else(|_| {
                        Err(self.route.source_error("carrying", broken()))
                    });
                    return Next::Landed(landed);
                }
                () = tokio::time::sleep_until(self.checkpoint_due), if behind => {
                    return Next::Checkpoint;
                }
                told = news.recv(), if room && !ended => return Next::Told(told),
                () = tokio::time::sleep_until(self.place_until), if yields => {
                    self.place_until = Instant::now() + self.job.turn;
                    if self.job.places.are_awaited() {
                        return Next::Yield;
                    }
                }
            }
        }
    }

    /// Sends a batch on its way; false if it is to stop instead.
    async fn launch(&mut self, batch: Batch, stop: &mut Stop) -> bool {
        self.caught_up = false;
        if self.place.is_none() {
            self.job.progress.change(|now| now.waiting = true);
            let place = tokio::select! {
                place = self.job.places.take() => place,
                () = stop.wait() => return false,
            };
            self.job.progress.change(|now| now.waiting = false);
            self.place = Some(place);
            self.place_until = Instant::now() + self.job.turn;
        }
        let Batch {
            rows,
            through,
            pending,
        } = batch;
        self.job
            .progress
            .change(|now| now.source_sequence = through.clone());
        let task = tokio::spawn(Arc::clone(&self.route).carry(rows));
        self.flights.push_back(Flight {
            task,
            through,
            pending,
        });
        true
    }

    /// Counts the first batch as done.
    fn landed(&mut self, stats: &Stats) {
        let Some(flight) = self.flights.pop_front() else {
            return;
        };
        self.stats.add(stats);
        self.through = flight.through.clone();
        self.job.progress.change(|now| {
            now.stats = self.stats;
            now.through = self.through.clone();
            now.pending = flight.pending;
        });
        self.rest_if_idle();
    }

    /// Everything up to `at` was told.
    fn reached_end(&mut self, at: Sequence) {
        self.caught_up = true;
        match self.flights.back_mut() {
            Some(flight) => flight.through = at,
            None => self.through = at,
        }
        self.job.progress.change(|now| {
            now.through = self.through.clone();
            now.pending = Some(0).filter(|_| self.flights.is_empty()).or(now.pending);
        });
        self.rest_if_idle();
    }

    /// Gives its place back while there is nothing to do, if waiting costs nothing.
    fn rest_if_idle(&mut self) {
        if self.caught_up && self.flights.is_empty() && self.job.source.is_local() {
            self.place = None;
        }
    }

    /// Writes down how far it came.
    async fn write_down(&mut self) -> Result<(), ReplicationError> {
        self.checkpoint_due = Instant::now() + self.route.tuning.checkpoint_interval;
        if !self.route.tuning.checkpoints || !self.checkpoint.is_behind(&self.through) {
            return Ok(());
        }
        let ends = Ends {
            source: self.job.source.as_ref(),
            target: self.job.target.as_ref(),
            patience: &self.job.patience,
            stop: &self.route.stop,
        };
        let reached = Reached {
            through: &self.through,
            stats: &self.stats,
            now: rfc1123(self.job.clock.now_unix_s()),
        };
        self.written = Some(self.checkpoint.write(ends, &reached).await?);
        let through = self.through.clone();
        self.job.progress.change(|now| now.checkpointed = through);
        Ok(())
    }

    /// What was reached is worth writing down also when it has failed, unless somebody lied; if that
    /// fails too, the error that is told is the first.
    async fn last_words(&mut self, error: &ReplicationError) {
        self.flights.clear();
        if matches!(error, ReplicationError::Failed { .. }) {
            let written = tokio::time::timeout(LAST_WORDS, self.write_down()).await;
            if !matches!(written, Ok(Ok(()))) {
                tracing::debug!("no checkpoint after a failure");
            }
        }
    }

    async fn stopped(&mut self) -> Result<Ended, ReplicationError> {
        self.flights.clear();
        let written = tokio::time::timeout(LAST_WORDS, self.write_down()).await;
        if let Ok(Err(error)) = written {
            tracing::info!(%error, "no checkpoint at the end: {error}");
        }
        Ok(Ended::Stopped)
    }

    /// What is answered at the end.
    fn summary(&self) -> Map<String, Value> {
        if !self.route.tuning.checkpoints {
            let reached = Reached {
                through: &self.through,
                stats: &self.stats,
                now: rfc1123(self.job.clock.now_unix_s()),
            };
            let mut told = self.checkpoint.document(&reached);
            told.insert("use_checkpoints".to_owned(), json!(false));
            return told;
        }
        match &self.written {
            Some(written) => written.clone(),
            None => {
                let mut told = Map::new();
                told.insert("no_changes".to_owned(), json!(true));
                told.extend(self.before.clone());
                told
            }
        }
    }
}

fn broken() -> PeerError {
    PeerError::Transient("a task broke".to_owned())
}

async fn info(job: &Job, route: &Route, peer: &Arc<dyn Peer>) -> Result<Info, ReplicationError> {
    let asking = || peer.info();
    job.patience
        .insist(&route.stop, "opening", peer.shown(), asking)
        .await
}

/// The code of the filter function, if there is one that the source keeps.
async fn filter_code(job: &Job, route: &Route) -> Result<Option<String>, ReplicationError> {
    let Filter::Function { name, .. } = &job.description.filter else {
        return Ok(None);
    };
    let Some((design, function)) = name.split_once('/').filter(|_| !name.starts_with('_')) else {
        return Ok(None);
    };
    let asking = || job.source.filter_code(design, function);
    let code = job.patience.ask(&route.stop, asking).await;
    let failed = |error: PeerError| ReplicationError::Filter(name.clone(), error.to_string());
    code.map(Some).map_err(failed)
}
