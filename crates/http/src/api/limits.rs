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
    ("finishPasskeySignup", LimitKind::SignUp),
    ("anonymous", LimitKind::SignUp),
    ("createOrganisation", LimitKind::SignUp),
    ("recover", LimitKind::Mail),
    ("startMail", LimitKind::Mail),
    ("addEmail", LimitKind::Mail),
    ("createInvitation", LimitKind::Mail),
    ("resendInvitation", LimitKind::Mail),
    ("returnFromProvider", LimitKind::SignIn),
    // Attempts of somebody who is signed in to prove it again.
    ("confirmTotp", LimitKind::SignIn),
    ("removeTotp", LimitKind::SignIn),
    ("renewRecoveryCodes", LimitKind::SignIn),
    ("acceptInvitation", LimitKind::SignIn),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::routes;

    #[test]
    fn every_route_that_is_named_exists() {
        for (name, _) in NAMED {
            let found = routes().filter(|route| route.name == *name).count();
            assert_eq!(found, 1, "{name}");
            let named = NAMED.iter().filter(|(other, _)| other == name).count();
            assert_eq!(named, 1, "{name} is named twice");
        }
    }

    #[test]
    fn what_anybody_may_change_is_never_an_ordinary_request() {
        let ordinary = routes()
            .filter(|route| route.who == Who::Anybody && route.method != "GET")
            .filter(|route| kind_of(route) == LimitKind::Requests);
        let names: Vec<&str> = ordinary.map(|route| route.name).collect();
        assert_eq!(names, ["login", "logout", "refresh"]);
    }
}
