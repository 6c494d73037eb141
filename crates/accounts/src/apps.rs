//! Apps: namespaces of databases, and who has joined them.
//!
//! A registered app `shop` owns the databases `shop` and `shop/…`, also those that were there before
//! it. Whoever has a name and is to enter one of them has joined the app, which gives him the role
//! `app:shop`; its administrators hold `app:shop:admin` besides. Databases of other names, and those
//! that are `CouchDB`'s own (`shop/_users`), are the server's.
//!
//! Invariants: a join belongs to one registration of an app, so that an app which is registered anew
//! under an old name has nobody in it; the two ways round of a join (by account, by app) are written
//! together; a domain leads to the one app that names it.

mod joined;
mod name;
mod record;
mod target;

pub use joined::{
    AppAccount, JoinRefused, Joined, JoinedApp, accounts, appoint, count, forget_accounts, join,
    joined, joined_apps, leave, leave_everywhere, roles_of,
};
pub use name::{AppRoles, is_app_id, namespace};
pub use record::{
    APPS_MAX, App, AppLinks, AppQuota, AppSignUp, InvalidApp, SessionSpans, SignUpWord, all,
    domain_taken, find, remove, store,
};
pub use target::{is_below, normal_host, normal_origin};
