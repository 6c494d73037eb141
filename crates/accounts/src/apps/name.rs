//! Which databases are an app's, and what a role says of it.

use adea_base::{Caller, DatabaseName};

/// The longest id of an app.
const ID_MAX: usize = 63;

/// Whether `text` has the form of an app's id: a small letter, then small letters, digits and
/// hyphens. There is but one way to write each, so none looks like another in capitals, and no
/// database name of an app has to be escaped but for its slashes.
#[must_use]
pub fn is_app_id(text: &str) -> bool {
    text.len() <= ID_MAX
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// The id of the app that owns a database of this name, if an app of that id is registered; `None`
/// if no app can own it.
#[must_use]
pub fn namespace(database: &DatabaseName) -> Option<&str> {
    if database.is_system() {
        return None;
    }
    let first = database.as_str().split('/').next()?;
    is_app_id(first).then_some(first)
}

/// The roles that an app gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppRoles {
    /// Of whoever has joined it.
    pub member: String,
    /// Of its administrators.
    pub admin: String,
}

impl AppRoles {
    /// The roles of the app `id`.
    #[must_use]
    pub fn of(id: &str) -> Self {
        Self {
            member: format!("app:{id}"),
            admin: format!("app:{id}:admin"),
        }
    }

    /// Whether `caller` may enter databases of the app. Who has no name is judged by what is set for
    /// each database, and by nothing else.
    #[must_use]
    pub fn admit(&self, caller: &Caller) -> bool {
        let stranger = caller.name().is_none() && caller.roles().is_empty();
        stranger
            || caller.is_admin()
            || caller
                .roles()
                .iter()
                .any(|role| *role == self.member || *role == self.admin)
    }

    /// Whether `caller` administers the app.
    #[must_use]
    pub fn administers(&self, caller: &Caller) -> bool {
        caller.is_admin() || caller.roles().contains(&self.admin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(database: &str, expected: Option<&str>) {
        let name = DatabaseName::parse(database).unwrap();
        assert_eq!(namespace(&name), expected, "{database}");
    }

    #[test]
    fn an_app_owns_its_name_and_what_lies_below_it() {
        check("shop", Some("shop"));
        check("shop/mine", Some("shop"));
        check("shop/", Some("shop"));
        check("shop//x", Some("shop"));
        check("shop-2/x", Some("shop-2"));
        check("shops", Some("shops"));
        check("shop_x", None);
        check("shop+x/y", None);
        check("shop$/y", None);
        check("shop(/y", None);
    }

    #[test]
    fn system_databases_are_the_servers() {
        for name in ["_users", "_replicator", "shop/_users", "shop/x/_replicator"] {
            check(name, None);
        }
    }

    #[test]
    fn what_looks_like_an_id_is_none() {
        let long = "a".repeat(64);
        for text in [
            "", "App", "app ", " app", "app/", "1app", "-app", "_app", "äpp", "a\u{0}", "app%2f",
            &long,
        ] {
            assert!(!is_app_id(text), "{text:?}");
        }
        for text in ["a", "app", "my-app-2", &long[..63]] {
            assert!(is_app_id(text), "{text:?}");
        }
    }

    #[test]
    fn only_who_has_joined_is_admitted_unless_nobody_knows_him() {
        let roles = AppRoles::of("shop");
        let named = |held: &[&str]| {
            Caller::named("ann", held.iter().map(|role| (*role).to_owned()).collect())
        };
        let check = |held: &[&str], admitted: bool, administers: bool| {
            let caller = named(held);
            assert_eq!(roles.admit(&caller), admitted, "{held:?}");
            assert_eq!(roles.administers(&caller), administers, "{held:?}");
        };
        assert!(roles.admit(&Caller::anonymous()));
        assert!(!roles.administers(&Caller::anonymous()));
        check(&[], false, false);
        check(&["app:shop"], true, false);
        check(&["app:shop:admin"], true, true);
        check(&["_admin"], true, true);
        check(
            &["app:shops", "app:sho", "App:shop", "app:shop:", "shop"],
            false,
            false,
        );
        check(&["app:shop:administrator"], false, false);
        check(&["user:x", "org:y", "app:other:admin"], false, false);
    }

    proptest! {
        /// A database is an app's exactly if its name is the app's or begins with it and a slash.
        #[test]
        fn membership_of_a_namespace_is_what_is_said_of_it(
            app in "[a-z][a-z0-9-]{0,4}",
            database in "[a-z][a-z0-9_$()+/-]{0,8}",
        ) {
            let name = DatabaseName::parse(&database).unwrap();
            let owned = database == app || database.starts_with(&format!("{app}/"));
            prop_assert_eq!(namespace(&name) == Some(app.as_str()), owned && !name.is_system());
        }

        /// No database is in two apps.
        #[test]
        fn a_name_has_one_owner_at_most(database in "[a-z][a-z-]{0,3}(/[a-z_]{0,4}){0,2}") {
            let name = DatabaseName::parse(&database);
            prop_assume!(name.is_ok());
            let name = name.unwrap();
            if let Some(app) = namespace(&name) {
                prop_assert!(is_app_id(app));
                prop_assert!(!app.contains('/'));
            }
        }
    }
}
