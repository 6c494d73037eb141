//! Properties of `sight.rs`, against naive models.

use adea_base::Scope;

use crate::scope::{aggregate, anonymous_scope, nothing_scope, partition_scope, reader_scope};
use crate::{Change, History, Principals};

use super::*;

const KEY: [u8; 32] = [9; 32];

fn arcs(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|&name| name.into()).collect()
}

fn sight(scope: &Scope) -> Arc<dyn Sight> {
    let sight = Arc::clone(scope.sight().unwrap());
    assert_eq!(sight.key(), &KEY);
    assert!(!format!("{sight:?}").contains("9, 9"), "the key is printed");
    sight
}

#[test]
fn a_reader_sees_by_what_he_held() {
    let mut history = History::default();
    for (sequence, gained, lost) in [
        (3, &["a", "b"][..], &[][..]),
        (5, &["_admin"], &["a"]),
        (8, &[], &["_admin"]),
    ] {
        let (gained, lost) = (arcs(gained), arcs(lost));
        history.append(sequence, &Change { gained, lost });
    }
    let before = sight(&reader_scope(
        Arc::new(history.clone()),
        "~ann",
        KEY,
        Arc::default(),
    ));
    assert_eq!((before.reader(), before.turned_at()), ("~ann", 8));
    assert_eq!(before.reach(), Reach::Everything);
    let span = |from, to| Span { from, to, times: 1 };
    assert_eq!(before.spans("", &arcs(&["a"])), [span(3, 8)]);
    assert_eq!(
        before.spans("", &arcs(&["a", "b", "c"])),
        [span(3, Span::OPEN)]
    );
    assert_eq!(before.spans("", &arcs(&["_admin"])), [span(5, 8)]);
    assert_eq!(before.spans("", &arcs(&["x"])), [span(5, 8)]);
}

#[test]
fn a_reader_reaches_what_he_ever_held() {
    let mut history = History::default();
    let change = |gained, lost| Change { gained, lost };
    history.append(1, &change(arcs(&["a", "b"]), vec![]));
    history.append(2, &change(vec![], arcs(&["a"])));
    let sight = sight(&reader_scope(Arc::new(history), "r", KEY, Arc::default()));
    assert_eq!(sight.reach(), Reach::Members(arcs(&["a", "b"]).into()));
    assert_eq!(sight.spans("", &arcs(&["c"])), []);
}

#[test]
fn the_others_see_one_label_or_constant_ones_or_none_or_all() {
    let partition = sight(&partition_scope("sig", "~ann", KEY));
    assert_eq!(partition.spans("sig", &[]), [Span::ALWAYS]);
    assert_eq!(partition.spans("other", &arcs(&["user:ann"])), []);
    assert_eq!(partition.reach(), Reach::Label(Arc::from("sig")));
    assert_eq!((partition.reader(), partition.turned_at()), ("~ann", 0));

    let anonymous = sight(&anonymous_scope(&Principals::new(arcs(&["@anyone"])), KEY));
    assert_eq!(
        anonymous.spans("", &arcs(&["@anyone", "x"])),
        [Span::ALWAYS]
    );
    assert_eq!(anonymous.spans("", &arcs(&["x"])), []);
    assert_eq!(anonymous.reach(), Reach::Members(arcs(&["@anyone"]).into()));
    assert_eq!((anonymous.reader(), anonymous.turned_at()), ("~", 0));

    let nothing = sight(&nothing_scope("~ann", KEY));
    assert_eq!(nothing.spans("", &arcs(&["@anyone"])), []);
    assert_eq!(nothing.reach(), Reach::Members(Arc::from([])));

    assert!(aggregate().sight().is_none());
}
