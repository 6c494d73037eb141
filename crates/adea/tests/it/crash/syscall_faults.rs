//! The disk fails below the engine: a sync that fails, a write-ahead log that takes no more or
//! only half. What cannot be made durable is refused; what was is there.

use super::campaign::Campaign;
use super::http::Client;
use super::load::{Action, Trigger};
use super::rounds;
use super::shim::Shim;

/// How a disk fails, how often, and what clients were told.
#[derive(Debug, Default)]
struct Told {
    refusals: usize,
    by_status: std::collections::BTreeMap<u16, usize>,
}

/// Lets the disk fail under load; the server must refuse, go on reading, say so, and have
/// everything when it is started anew on a disk that works.
fn fails_and_recovers(test: &str, fault: &str) {
    let rounds = rounds(4);
    let mut campaign = Campaign::new(test);
    let mut shim = Shim::compile(&campaign.path(""), &campaign.place.data);
    let mut told = Told::default();
    for round in 0..rounds {
        let environment = shim.prepare(fault, campaign.random.below(12));
        let server = campaign.place.start_with(&environment);
        if round % 10 == 0 {
            campaign.turn_to_new_database(&server);
        }
        campaign.tolerate_refusals(true);
        let at = 1 + campaign.random.next() % 200;
        campaign.load(&server, &Trigger::new(at, Action::Arm(shim.arm.clone())));
        for (status, text) in campaign.take_refusals() {
            told.refusals += 1;
            *told.by_status.entry(status).or_default() += 1;
            refused_well(status, &text);
        }
        let mut client = Client::new(server.address);
        let up = client.get("/_up");
        assert_eq!(up.status, 404, "{}", up.text());
        assert_eq!(up.json()["status"], "read_only", "{}", up.text());
        campaign.reads_go_on(&server);
        server.kill();

        campaign.tolerate_refusals(false);
        let server = campaign.place.start();
        campaign.verify(&server);
        campaign.load(&server, &Trigger::new(20, Action::Kill));
        server.kill();
        campaign.check();
    }
    let server = campaign.place.start();
    campaign.verify_all(&server);
    let acknowledged = campaign.acknowledged();
    eprintln!(
        "{test}: {rounds} rounds, {acknowledged} acknowledged writes verified, 0 lost; {told:?}"
    );
    assert!(told.refusals >= rounds);
}

/// An answer in `CouchDB`'s shape that says that the service, not the request, is at fault.
pub(super) fn refused_well(status: u16, text: &str) {
    assert_eq!(status, 503, "{text}");
    let told: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(told["error"], "service_unavailable", "{text}");
    assert!(
        told["reason"]
            .as_str()
            .is_some_and(|reason| !reason.is_empty()),
        "{text}"
    );
}

#[test]
fn a_sync_that_fails_stops_writes_and_loses_nothing() {
    fails_and_recovers("failing fsync", "sync-fails");
}

#[test]
fn a_log_without_room_stops_writes_and_loses_nothing() {
    fails_and_recovers("log without room", "log-full");
}

#[test]
fn a_log_cut_short_stops_writes_and_loses_nothing() {
    fails_and_recovers("log cut short", "log-short-full");
}

#[test]
fn short_writes_of_the_log_are_finished() {
    let mut campaign = Campaign::new("short writes");
    let mut shim = Shim::compile(&campaign.path(""), &campaign.place.data);
    let environment = shim.prepare("log-short", 0);
    std::fs::write(&shim.arm, "").unwrap();
    let server = campaign.place.start_with(&environment);
    campaign.turn_to_new_database(&server);
    campaign.load(&server, &Trigger::new(400, Action::Kill));
    server.kill();
    let server = campaign.place.start();
    campaign.verify_all(&server);
    server.stop();
    campaign.check();
    eprintln!(
        "short writes: {} acknowledged writes verified, 0 lost",
        campaign.acknowledged()
    );
    assert!(campaign.acknowledged() >= 400);
}
