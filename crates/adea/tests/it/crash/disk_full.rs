//! A disk that is really full: a small file system in memory, written to until it takes no more,
//! then given more room.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::campaign::Campaign;
use super::load::{Action, Trigger};
use super::syscall_faults::refused_well;

/// A mounted tmpfs, unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    /// The error is what mount said.
    fn tmpfs(at: &Path, size: &str) -> Result<Self, String> {
        std::fs::create_dir(at).unwrap();
        mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], at)?;
        Ok(Self(at.to_owned()))
    }

    fn resize(&self, size: &str) {
        mount(&["-o", &format!("remount,size={size}")], &self.0).unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(&self.0).status());
    }
}

fn mount(arguments: &[&str], at: &Path) -> Result<(), String> {
    let output = Command::new("mount").args(arguments).arg(at).output();
    let output = output.map_err(|error| error.to_string())?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        Ok(())
    } else {
        Err(told)
    }
}

#[test]
fn a_full_disk_stops_writes_and_loses_nothing() {
    let mut campaign = Campaign::new("full disk");
    let small = campaign.path("small");
    let mounted = match Mount::tmpfs(&small, "24m") {
        Ok(mounted) => mounted,
        Err(told) => {
            let id = Command::new("id").arg("-u").output().unwrap();
            eprintln!("full disk: NOT TESTED, mounting a tmpfs is not permitted here: {told}");
            let is_root = id.stdout == b"0\n";
            let denied = [
                "permission denied",
                "not permitted",
                "must be superuser",
                "only root",
            ];
            let told = told.to_lowercase();
            assert!(
                !is_root || denied.iter().any(|word| told.contains(word)),
                "mount: {told}"
            );
            return;
        }
    };
    campaign.place.data = small.join("data");
    let server = campaign.place.start();
    campaign.turn_to_new_database(&server);
    campaign.tolerate_refusals(true);
    let trigger = Trigger::new(1_000_000, Action::Stop);
    campaign.load(&server, &trigger);
    let refusals = campaign.take_refusals();
    let mut kinds: Vec<String> = refusals
        .iter()
        .map(|(status, text)| format!("{status} {text}"))
        .collect();
    kinds.sort();
    kinds.dedup();
    eprintln!(
        "full disk: {} writes acknowledged before it was full, then {kinds:?}",
        campaign.acknowledged()
    );
    assert!(!refusals.is_empty());
    campaign.reads_go_on(&server);
    for (status, text) in &refusals {
        refused_well(*status, text);
    }
    server.kill();

    mounted.resize("256m");
    campaign.tolerate_refusals(false);
    let server = campaign.place.start();
    campaign.verify_all(&server);
    campaign.load(&server, &Trigger::new(50, Action::Kill));
    server.kill();
    campaign.check();
    let server = campaign.place.start();
    campaign.verify_all(&server);
    server.stop();
    campaign.check();
    eprintln!(
        "full disk: {} acknowledged writes verified, 0 lost",
        campaign.acknowledged()
    );
    // Unmounting needs that nobody is in it any more.
    drop(mounted);
}
