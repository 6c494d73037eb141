//! Properties of `principals.rs`, against naive models.

use proptest::prelude::*;

use super::*;

const ANN: &str = "annannannannannannannann22";
const BEN: &str = "benbenbenbenbenbenbenben77";

fn caller(name: Option<&str>, account: Option<&str>, roles: &[&str]) -> Caller {
    let roles = roles.iter().map(|&role| role.to_owned());
    let caller = match name {
        Some(name) => Caller::named(name, roles.collect()),
        None => roles.fold(Caller::anonymous(), Caller::with_role),
    };
    match account {
        Some(account) => caller.with_account(account),
        None => caller,
    }
}

fn check(caller: &Caller, admin: bool, expected: &[&str]) {
    let held = Principals::of(caller, admin);
    let held: Vec<&str> = held.as_slice().iter().map(AsRef::as_ref).collect();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(held, expected, "{caller:?}");
}

#[test]
fn a_caller_holds_himself_and_his_roles() {
    let (ann, of_ann) = (Some("ann"), format!("user:{ANN}"));
    check(&Caller::anonymous(), false, &["@anyone"]);
    check(
        &caller(ann, None, &[]),
        false,
        &["@anyone", "@users", "user:ann"],
    );
    check(
        &caller(ann, Some(ANN), &["team:1", "editors", "team:1"]),
        false,
        &[
            "@anyone", "@users", "user:ann", &of_ann, "team:1", "editors",
        ],
    );
    check(
        &caller(ann, None, &["_admin"]),
        true,
        &["@anyone", "@users", "user:ann", "_admin"],
    );
    check(&Caller::anonymous(), true, &["@anyone", "_admin"]);
}

#[test]
fn nobody_holds_what_stands_for_another() {
    let of_ann = format!("user:{ANN}");
    let of_ben = format!("user:{BEN}");
    let own = ["@anyone", "@users", "user:ann", of_ann.as_str()];
    // Who is a server administrator is no administrator of the database by his role alone.
    for role in [
        "_admin", "_users", "_", "@users", "@anyone", "@", "user:ben", &of_ben, &of_ann, "user:",
        "",
    ] {
        check(&caller(Some("ann"), Some(ANN), &[role]), false, &own);
    }
    check(
        &caller(None, None, &["@users", "x"]),
        false,
        &["@anyone", "x"],
    );
    // A name that is another's account id, and one's own.
    check(
        &caller(Some(BEN), Some(ANN), &[]),
        false,
        &["@anyone", "@users", &of_ann],
    );
    check(&caller(Some(BEN), None, &[]), false, &["@anyone", "@users"]);
    check(
        &caller(Some(ANN), Some(ANN), &[]),
        false,
        &["@anyone", "@users", &of_ann],
    );
    // What no list can name is not remembered.
    let long = "x".repeat(PRINCIPAL_BYTES_MAX + 1);
    check(
        &caller(Some(&long), None, &[&long]),
        false,
        &["@anyone", "@users"],
    );
    check(&caller(Some(""), None, &[]), false, &["@anyone", "@users"]);
}

#[test]
fn authors_and_readers_have_names() {
    let long = "x".repeat(300);
    let author = |name, account| author(&caller(name, account, &["x"]));
    let own = Some(format!("user:{ANN}").into());
    assert_eq!(author(None, None), None);
    assert_eq!(author(Some("ann"), None), Some("user:ann".into()));
    assert_eq!(author(Some("ann"), Some(ANN)), Some("user:ann".into()));
    assert_eq!(author(Some(BEN), Some(ANN)), own);
    assert_eq!(author(Some(&long), Some(ANN)), own);
    assert_eq!(author(Some(BEN), None), None);
    let reader = |name, account| reader_name(&caller(name, account, &[]));
    assert_eq!(reader(None, None), None);
    assert_eq!(reader(Some("ann"), None).as_deref(), Some("~ann"));
    assert_eq!(reader(Some("ann"), Some(ANN)).as_deref(), Some(ANN));
    assert_eq!(reader(Some(BEN), None), Some(format!("~{BEN}")));
}

#[test]
fn one_of_several_or_the_administrator_is_enough() {
    let list = |names: &[&str]| {
        names
            .iter()
            .map(|&name| name.into())
            .collect::<Vec<Arc<str>>>()
    };
    let held = Principals::new(list(&["b", "a", "b"]));
    assert_eq!(held.as_slice(), list(&["a", "b"]));
    assert!(held.holds("a") && !held.holds("c") && !held.is_admin());
    assert!(held.holds_any(&list(&["c", "b"])) && !held.holds_any(&list(&["c"])));
    assert!(!held.holds_any(&[]));
    assert!(Principals::new(list(&["_admin"])).holds_any(&list(&["c"])));
    assert_eq!(
        held.fingerprint(),
        Principals::new(list(&["a", "b"])).fingerprint()
    );
    assert_ne!(
        held.fingerprint(),
        Principals::new(list(&["ab"])).fingerprint()
    );
}

fn text() -> impl Strategy<Value = String> {
    let account = prop_oneof![Just(ANN.to_owned()), Just(BEN.to_owned()), "[a-z2-7]{26}"];
    prop_oneof![
        "[a-z_@:]{0,6}",
        account.clone(),
        account.prop_map(|id| format!("user:{id}")),
        "user:[a-z]{0,3}",
        "(_admin|@users|@anyone|_[a-z]{1,4})",
        ".{0,300}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn principals_never_are_what_must_not_be(
        name in proptest::option::of(text()),
        account in proptest::option::of("[a-z2-7]{26}"),
        roles in proptest::collection::vec(text(), 0..8),
        admin: bool,
    ) {
        let borrowed: Vec<&str> = roles.iter().map(String::as_str).collect();
        let caller = caller(name.as_deref(), account.as_deref(), &borrowed);
        let held = Principals::of(&caller, admin);
        prop_assert!(held.as_slice().windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert_eq!(held.is_admin(), admin);
        prop_assert!(held.holds(ANYONE));
        prop_assert_eq!(held.holds(USERS), name.is_some());
        for principal in held.as_slice() {
            let principal = principal.as_ref();
            prop_assert!(!principal.is_empty() && principal.len() <= PRINCIPAL_BYTES_MAX);
            if let Some(user) = principal.strip_prefix("user:") {
                let own_account = account.as_deref() == Some(user);
                let own_name = name.as_deref() == Some(user) && !looks_like_account(user);
                prop_assert!(own_account || own_name, "{} is not his", principal);
            } else if principal.starts_with(['_', '@']) {
                prop_assert!([ADMIN, USERS, ANYONE].contains(&principal));
            } else {
                prop_assert!(roles.iter().any(|role| role == principal));
            }
        }
        if let Some(author) = author(&caller) {
            prop_assert!(held.holds(&author));
        }
    }
}
