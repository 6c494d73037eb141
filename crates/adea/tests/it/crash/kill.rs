//! kill -9 at any moment: between requests, within a request's bytes, before an answer, while a
//! server starts.

use super::campaign::Campaign;
use super::load::{Action, Trigger};
use super::rounds;

/// After so many rounds the clients turn to a new database, so that a look stays cheap.
const ROUNDS_PER_DATABASE: usize = 10;
/// The scheduler's turns in which a start may be killed.
const TURNS_MAX: usize = 3_000;

#[test]
fn killed_under_load_nothing_acknowledged_is_lost() {
    let rounds = rounds(1);
    let mut campaign = Campaign::new("kill");
    let mut checks = 0;
    for round in 0..rounds {
        let server = campaign.place.start();
        if round > 0 {
            campaign.verify(&server);
        }
        if round % ROUNDS_PER_DATABASE == 0 {
            campaign.turn_to_new_database(&server);
        }
        let most = [10, 60, 400][campaign.random.below(3)];
        let at = 1 + campaign.random.next() % most;
        let action = if campaign.random.chance(50) {
            Action::Kill
        } else {
            Action::KillInRequest
        };
        campaign.load(&server, &Trigger::new(at, action));
        server.kill();
        if campaign.random.chance(20) {
            let turns = campaign.random.below(TURNS_MAX);
            campaign.place.start_and_kill(turns);
        }
        if round % 4 == 3 {
            campaign.check();
            checks += 1;
        }
    }
    let server = campaign.place.start();
    campaign.verify_all(&server);
    server.stop();
    campaign.check();
    let acknowledged = campaign.acknowledged();
    eprintln!(
        "kill: {rounds} rounds, {acknowledged} acknowledged writes verified, 0 lost, {} clean checks",
        checks + 1
    );
    assert!(acknowledged >= u64::try_from(rounds).unwrap());
}
