//! One data directory, its clients, and what they were told over the lives of many servers.

use tempfile::TempDir;

use super::http::{Client, request};
use super::load::{Trigger, Worker};
use super::process::{Place, Server};
use super::random::Random;
use super::verify::{self, Faults};

/// How many clients write at a time.
const CLIENTS: usize = 6;
/// Of all that is wrong, so much is told.
const FAULTS_TOLD: usize = 20;

/// The directory and the clients.
#[derive(Debug)]
pub(super) struct Campaign {
    pub(super) random: Random,
    pub(super) place: Place,
    workers: Vec<Worker>,
    databases: Vec<String>,
    /// Removed at the end, after the servers.
    directory: TempDir,
}

impl Campaign {
    pub(super) fn new(test: &str) -> Self {
        Self::within(test, tempfile::tempdir().unwrap())
    }

    pub(super) fn within(test: &str, directory: TempDir) -> Self {
        let mut random = Random::announced(test);
        let workers = (0..CLIENTS).map(|number| Worker::new(number, random.next()));
        Self {
            workers: workers.collect(),
            random,
            place: Place::within(directory.path()),
            databases: Vec::new(),
            directory,
        }
    }

    pub(super) fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().canonicalize().unwrap().join(name)
    }

    /// Lets the clients write to a new database from now on.
    pub(super) fn turn_to_new_database(&mut self, server: &Server) {
        let name = format!("load-{}", self.databases.len());
        let made = request("PUT", &format!("/{name}"), "application/json", b"");
        let answer = Client::new(server.address).send(&made).unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
        self.workers
            .iter_mut()
            .for_each(|worker| worker.turn_to(&name));
        self.databases.push(name);
    }

    /// All clients write at a time, until each has a reason to end.
    pub(super) fn load(&mut self, server: &Server, trigger: &Trigger) {
        std::thread::scope(|scope| {
            for worker in &mut self.workers {
                scope.spawn(|| worker.run(server, trigger));
            }
        });
    }

    /// Clients may be refused with a 5xx from now on, or not.
    pub(super) fn tolerate_refusals(&mut self, tolerant: bool) {
        self.workers
            .iter_mut()
            .for_each(|worker| worker.tolerant = tolerant);
    }

    /// What clients were refused with since the last call.
    pub(super) fn take_refusals(&mut self) -> Vec<(u16, String)> {
        let all = self.workers.iter_mut();
        all.flat_map(|worker| std::mem::take(&mut worker.refusals))
            .collect()
    }

    /// How many writes were acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.workers.iter().map(|worker| worker.acknowledged).sum()
    }

    /// Compares what is written to now; fails if anything is wrong.
    pub(super) fn verify(&mut self, server: &Server) {
        let newest = self.databases.len() - 1;
        self.verify_from(server, newest, false);
    }

    /// A server that refuses writes must still read: all of the newest database is compared, and
    /// what became of unanswered requests stays open, since this server does not know it.
    pub(super) fn reads_go_on(&mut self, server: &Server) {
        let known = self.workers.clone();
        self.verify_from(server, self.databases.len() - 1, true);
        self.workers = known;
    }

    /// Compares everything.
    pub(super) fn verify_all(&mut self, server: &Server) {
        self.verify_from(server, 0, true);
    }

    fn verify_from(&mut self, server: &Server, first: usize, everything: bool) {
        let mut faults = self.faults(server, first, everything);
        let count = faults.len();
        faults.truncate(FAULTS_TOLD);
        assert!(
            faults.is_empty(),
            "{count} faults:\n{}\nserver log:\n{}",
            faults.join("\n"),
            self.place.logged()
        );
    }

    /// What is wrong with the databases from the `first` on.
    pub(super) fn faults(&mut self, server: &Server, first: usize, everything: bool) -> Faults {
        let mut client = Client::new(server.address);
        let mut faults = verify::churned(&mut client, &mut self.workers);
        for name in &self.databases[first..] {
            let workers = &mut self.workers;
            faults.extend(verify::database(&mut client, name, workers, everything));
        }
        faults
    }

    /// `adea check` must find nothing; the server must not be running.
    pub(super) fn check(&self) {
        let (clean, told) = self.place.check();
        assert!(
            clean,
            "adea check: {told}\nserver log:\n{}",
            self.place.logged()
        );
    }
}
