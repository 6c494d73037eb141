//! How often a route may be called from one address.
//!
//! Which limit counts a call follows from its row: what only asks, and what somebody does who has
//! signed in, is a request among others; what anybody may change counts as an attempt to sign in;
//! and the routes that are named here count as what they cause. A password is counted where it is
//! checked, behind every door alike, and so not here.

use adea_pod::LimitKind;

use super::{Route, Who};
use crate::caller::origin;
use crate::error::ApiError;
use crate::router::Exchange;

/// Routes whose limit does not follow from their row, by name.
const NAMED: &[(&str, LimitKind)] = &[
    // The password is counted where it is checked.
    ("login", LimitKind::Requests),
    ("logout", LimitKind::Requests),
    // A token that is renewed has been proved already, and one that was made up is a keyed hash.
    ("refresh", LimitKind::Requests),
    ("signup", LimitKind::SignUp),
    ("createOrganisation", LimitKind::SignUp),
    ("recover", LimitKind::Mail),
    ("startMail", LimitKind::Mail),
    ("anonymous", LimitKind::SignUp),
];

/// Which limit counts a call.
fn kind_of(route: &Route) -> LimitKind {
    if let Some((_, kind)) = NAMED.iter().find(|(name, _)| *name == route.name) {
        return *kind;
    }
    let asks = route.method == "GET";
    match route.who {
        Who::Anybody if !asks => LimitKind::SignIn,
        Who::Anybody | Who::SignedIn | Who::Admin => LimitKind::Requests,
    }
}

/// Refuses what comes too often.
pub(super) fn check(exchange: &Exchange, route: &Route) -> Result<(), ApiError> {
    let pod = &exchange.app.pod;
    let address = origin(&pod.auth(), &exchange.headers, exchange.peer);
    Ok(pod.limit_address(kind_of(route), address)?)
}
