//! The power goes: the process dies, and everything that no sync covered is gone with it.

use super::campaign::Campaign;
use super::load::{Action, Trigger};
use super::rounds;
use super::shim::{Shim, Unsynced};

const ROUNDS_PER_DATABASE: usize = 10;
/// A start on an empty directory syncs about this often; more does no harm.
const SYNCS_OF_A_FIRST_START: usize = 24;

#[test]
fn a_power_cut_under_load_loses_nothing_acknowledged() {
    let rounds = rounds(2);
    let mut campaign = Campaign::new("power cut");
    let mut shim = Shim::compile(&campaign.path(""), &campaign.place.data);
    let (mut bytes, mut names) = (0, 0);
    for round in 0..rounds {
        let fault = ["", "die-before-sync", "die-after-sync"][campaign.random.below(3)];
        let environment = shim.prepare(fault, campaign.random.below(40));
        let server = campaign.place.start_with(&environment);
        if round > 0 {
            campaign.verify(&server);
        }
        if round % ROUNDS_PER_DATABASE == 0 {
            campaign.turn_to_new_database(&server);
        }
        let most = [10, 60, 1_500][campaign.random.below(3)];
        let at = 1 + campaign.random.next() % most;
        let action = match fault {
            "" => Action::KillInRequest,
            _ => Action::Arm(shim.arm.clone()),
        };
        if !fault.is_empty() {
            server.expect_death();
        }
        campaign.load(&server, &Trigger::new(at, action));
        server.kill();
        let torn = campaign.random.chance(40);
        let unsynced = if torn { Unsynced::Torn } else { Unsynced::Lost };
        let (bytes_gone, names_gone) = shim.cut_power(unsynced, &mut campaign.random);
        (bytes, names) = (bytes + bytes_gone, names + names_gone);
        if round % 2 == 1 {
            campaign.check();
        }
    }
    let server = campaign.place.start();
    campaign.verify_all(&server);
    server.stop();
    campaign.check();
    let acknowledged = campaign.acknowledged();
    eprintln!(
        "power cut: {rounds} rounds, {acknowledged} acknowledged writes verified, 0 lost; \
         {bytes} bytes and {names} names were not synced and taken away"
    );
    assert!(acknowledged > 0 && bytes > 0);
}

/// Without syncs the same cut loses writes, and the clients see it: the tests above can fail.
#[test]
fn a_power_cut_without_syncs_is_seen_as_loss() {
    let mut campaign = Campaign::new("relaxed power cut");
    let mut shim = Shim::compile(&campaign.path(""), &campaign.place.data);
    let server = campaign.place.start();
    campaign.turn_to_new_database(&server);
    server.stop();
    let mut environment = shim.prepare("", 0);
    for (name, value) in [("DURABILITY", "relaxed"), ("DURABILITY_INTERVAL", "1m")] {
        environment.push((format!("ADEA_{name}"), value.to_owned()));
    }
    let server = campaign.place.start_with(&environment);
    campaign.load(&server, &Trigger::new(100, Action::Kill));
    server.kill();
    shim.cut_power(Unsynced::Lost, &mut campaign.random);
    campaign.check();
    let server = campaign.place.start();
    let faults = campaign.faults(&server, 0, true);
    eprintln!(
        "relaxed power cut: {} losses seen, as it should be",
        faults.len()
    );
    assert!(faults.len() > 10, "{faults:?}");
}

#[test]
fn a_first_start_that_is_cut_can_be_done_again() {
    let mut campaign = Campaign::new("first start");
    let mut shim = Shim::compile(&campaign.path(""), &campaign.place.data);
    let mut died = 0;
    for sync in 0..SYNCS_OF_A_FIRST_START {
        for fault in ["die-before-sync", "die-after-sync"] {
            for cut in [None, Some(Unsynced::Lost), Some(Unsynced::Torn)] {
                drop(std::fs::remove_dir_all(&campaign.place.data));
                let environment = shim.prepare(fault, sync);
                std::fs::write(&shim.arm, "").unwrap();
                let ended = campaign.place.try_start(&environment);
                died += usize::from(ended.is_err());
                drop(ended);
                if let Some(unsynced) = cut {
                    shim.cut_power(unsynced, &mut campaign.random);
                }
                let again = campaign.place.try_start(&[]);
                assert!(
                    again.is_ok(),
                    "{fault} {sync}, cut {cut:?}: no second start: {}",
                    campaign.place.logged()
                );
            }
        }
    }
    eprintln!("first start: {died} times cut, each time done again");
    assert!(died > 0);
}
