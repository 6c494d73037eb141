//! What was acknowledged is there after every way to die: kill -9 under load, a disk that fails
//! below the engine, a power cut, a full disk.
//!
//! Clients ([`load`]) write and remember what was acknowledged and what was not answered any more
//! ([`model`]); the server ([`process`]) dies; started anew it must have everything of the first kind,
//! and of the second each write whole or not at all. `ADEA_CRASH_ROUNDS` says how often
//! (by default a few; `make crash` asks for hundreds), `ADEA_CRASH_SEED` repeats a run's choices.

mod campaign;
mod disk_full;
mod http;
mod kill;
mod load;
mod model;
mod power_cut;
mod process;
mod random;
mod shim;
mod syscall_faults;
mod verify;

/// How often to die, as asked; tests that cost more take a share of it.
fn rounds(share: usize) -> usize {
    let asked = std::env::var("ADEA_CRASH_ROUNDS").ok();
    let all = asked.map_or(8, |text| text.parse().unwrap());
    (all / share).max(1)
}
