//! A server that can be killed.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

pub(super) const NAME: &str = "admin";
pub(super) const PASSWORD: &str = "correct-horse";

/// A running server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    child: Mutex<Child>,
    /// Set before the signal is sent, so that who sees a broken connection knows whether it may.
    killed: AtomicBool,
}

/// Where a data directory lies, and beside it what its servers logged.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) data: PathBuf,
    pub(super) log: PathBuf,
}

impl Place {
    pub(super) fn within(directory: &Path) -> Self {
        let directory = directory.canonicalize().unwrap();
        Self {
            data: directory.join("data"),
            log: directory.join("server.log"),
        }
    }

    /// The end of the log, for the message of a test that failed.
    pub(super) fn logged(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let begin = text.len().saturating_sub(3_000);
        String::from_utf8_lossy(&text[begin..]).into_owned()
    }

    fn command(&self, environment: &[(String, String)]) -> Command {
        let mut appending = OpenOptions::new();
        let log: File = appending.create(true).append(true).open(&self.log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_adea"));
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--memory", "8MB"])
            .args(["--log-access", "false", "--data"])
            .arg(&self.data)
            .args(["--admin-name", NAME, "--admin-password", PASSWORD])
            .env_remove("ADEA_CRASH_ROUNDS")
            .env_remove("ADEA_CRASH_SEED")
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        command
    }

    /// Starts a server and waits until it answers requests; the error tells how it ended instead.
    #[expect(
        clippy::zombie_processes,
        reason = "a server that is returned is waited for when it is killed"
    )]
    pub(super) fn try_start(&self, environment: &[(String, String)]) -> Result<Server, ExitStatus> {
        let mut child = self.command(environment).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).unwrap() == 0 {
                return Err(child.wait().unwrap());
            }
            if let Some(address) = line.trim().strip_prefix("listening on http://") {
                return Ok(Server {
                    address: address.parse().unwrap(),
                    child: Mutex::new(child),
                    killed: AtomicBool::new(false),
                });
            }
        }
    }

    pub(super) fn start(&self) -> Server {
        self.start_with(&[])
    }

    pub(super) fn start_with(&self, environment: &[(String, String)]) -> Server {
        self.try_start(environment)
            .unwrap_or_else(|status| panic!("no start ({status}): {}", self.logged()))
    }

    /// Starts a server and kills it somewhere in its start: nobody waits for anything but a number
    /// of turns of the scheduler.
    pub(super) fn start_and_kill(&self, turns: usize) {
        let mut child = self.command(&[]).spawn().unwrap();
        for _ in 0..turns {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// `adea check` of the directory: clean or not, and what it said.
    pub(super) fn check(&self) -> (bool, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_adea"));
        command.arg("check").arg("--data").arg(&self.data);
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }
}

impl Server {
    /// Kills it like a crash; when this returns it is gone. Again is no harm.
    pub(super) fn kill(&self) {
        self.killed.store(true, Ordering::SeqCst);
        let mut child = self.child.lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Whether it may be dead by now.
    pub(super) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
    }

    /// How it ended by itself; `None` while it runs.
    pub(super) fn ended(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap().try_wait().unwrap()
    }

    /// Says that it will die by itself.
    pub(super) fn expect_death(&self) {
        self.killed.store(true, Ordering::SeqCst);
    }

    /// Asks it to end and waits until it has.
    pub(super) fn stop(&self) {
        self.killed.store(true, Ordering::SeqCst);
        let mut child = self.child.lock().unwrap();
        let mut telling = Command::new("kill");
        telling.arg("-TERM").arg(child.id().to_string());
        assert!(telling.status().unwrap().success());
        let status = child.wait().unwrap();
        assert!(status.success(), "an orderly end says {status}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
