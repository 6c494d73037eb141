//! Properties of `history.rs`, against naive models.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Wake, Waker};

use adea_store::{Decline, Memory, Store, StoreOptions, WritePermit};
use proptest::prelude::*;

use super::*;

const NAMES: [&str; 6] = ["_admin", "a", "b", "c", "d", "e"];
const TIGHT: Limits = Limits {
    principals: 2,
    spans: 4,
    spans_total: 9,
};
const WIDE: Limits = Limits {
    principals: 1000,
    spans: 1000,
    spans_total: 10_000,
};

/// What a reader held from each sequence on, as whole sets.
#[derive(Default)]
struct Model(Vec<(u64, BTreeSet<&'static str>)>);

impl Model {
    fn at(&self, sequence: u64) -> &BTreeSet<&'static str> {
        let then = self.0.iter().rfind(|(from, _)| *from <= sequence);
        then.map_or(const { &BTreeSet::new() }, |(_, set)| set)
    }

    fn visible(&self, label: &[Arc<str>], sequence: u64) -> bool {
        let set = self.at(sequence);
        set.contains(ADMIN) || label.iter().any(|member| set.contains(member.as_ref()))
    }

    fn spans(&self, label: &[Arc<str>]) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        for (from, _) in &self.0 {
            let open = spans.last().is_some_and(Span::is_open);
            match (open, self.visible(label, *from)) {
                (false, true) => spans.push(Span {
                    from: *from,
                    to: Span::OPEN,
                    times: 1,
                }),
                (true, false) => spans.last_mut().unwrap().to = *from,
                _ => {}
            }
        }
        spans
    }
}

fn set(bits: u8) -> BTreeSet<&'static str> {
    let names = NAMES.iter().enumerate();
    names
        .filter(|(bit, _)| bits & (1 << bit) != 0)
        .map(|(_, name)| *name)
        .collect()
}

fn arcs<'n>(names: impl IntoIterator<Item = &'n str>) -> Vec<Arc<str>> {
    names.into_iter().map(Arc::from).collect()
}

fn principals(set: &BTreeSet<&'static str>) -> Principals {
    Principals::new(arcs(set.iter().copied()))
}

/// All sets of members, but the empty one.
fn labels() -> Vec<Vec<Arc<str>>> {
    (1u8..64).map(|bits| arcs(set(bits))).collect()
}

/// As documents have it: how far a reader is on the chain under a revision written then.
fn step(spans: &[Span], written: u64) -> u64 {
    let seen = spans.iter().filter(|span| span.to > written);
    let times: u64 = seen.map(|span| u64::from(span.times)).sum();
    let gone = !spans.last().is_some_and(Span::is_open);
    2 * times.saturating_sub(1) + u64::from(gone)
}

/// Random sets with `_admin` seldom, at sequences some way apart.
fn events(most: usize) -> impl Strategy<Value = Vec<(u8, u64)>> {
    let bits = prop_oneof![9 => (0u8..32).prop_map(|bits| bits << 1), 1 => 0u8..64];
    proptest::collection::vec((bits, 1u64..4), 1..most)
}

fn play(
    limits: Limits,
    steps: &[(u8, u64)],
    mut each: impl FnMut(&History, &Model, &[Arc<str>]),
) -> History {
    let (mut history, mut model, mut sequence) = (History::default(), Model::default(), 5);
    for (bits, apart) in steps {
        sequence += apart;
        let now = set(*bits);
        let change = history.observe(&principals(&now));
        let last = model.at(sequence);
        assert_eq!(change.is_some(), *last != now);
        let Some(change) = change else { continue };
        assert_eq!(change.gained, arcs(now.difference(last).copied()));
        assert_eq!(change.lost, arcs(last.difference(&now).copied()));
        let returned = history.append_within(limits, sequence, &change);
        model.0.push((sequence, now));
        assert_eq!(history.turned_at(), sequence);
        each(&history, &model, &returned);
    }
    history
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn spans_are_those_of_the_sets_that_were_held(steps in events(30)) {
        play(WIDE, &steps, |history, model, _| {
            let now = model.0.last().unwrap().0;
            for label in labels() {
                let spans = history.spans(&label);
                assert_eq!(spans, model.spans(&label), "{label:?}");
                for sequence in 0..now + 3 {
                    assert_eq!(history.was_visible_at(&label, sequence), model.visible(&label, sequence));
                }
            }
            for sequence in 0..now + 3 {
                assert_eq!(history.held_at(sequence), principals(model.at(sequence)));
                let event = model.0.iter().any(|(at, _)| *at == sequence);
                assert_eq!(history.is_event(sequence), event);
            }
            assert_eq!(history.holds_now(), principals(model.at(now)));
            assert_eq!(history.known_from(), 0);
            assert_eq!(History::decode(&history.encode()).as_ref(), Some(history));
        });
    }

    #[test]
    fn what_is_let_go_is_never_shown_again_and_never_lowers_a_step(steps in events(60)) {
        let mut told: BTreeMap<(Vec<Arc<str>>, u64), u64> = BTreeMap::new();
        play(TIGHT, &steps, |history, model, _| {
            let now = model.0.last().unwrap().0;
            for label in labels() {
                let spans = history.spans(&label);
                assert!(spans.iter().all(|span| span.from < span.to && span.times > 0));
                assert!(spans.windows(2).all(|pair| pair[0].to < pair[1].from), "{spans:?}");
                let visible = spans.last().is_some_and(Span::is_open);
                assert_eq!(visible, model.visible(&label, now));
                for sequence in 0..now + 3 {
                    let shown = spans.iter().any(|span| span.contains(sequence));
                    let was = model.visible(&label, sequence);
                    assert!(was || !shown, "{label:?} is shown at {sequence}");
                    assert!(shown == was || sequence < history.known_from(), "{label:?} at {sequence}");
                }
                // What was written after he lost the label he never saw, so he was told nothing.
                let seen = spans.last().map_or(0, |span| span.to.min(now));
                for written in (0..seen).step_by(3) {
                    let (step, exact) = (step(&spans, written), step(&model.spans(&label), written));
                    assert!(step >= exact && step % 2 == exact % 2, "{label:?} {step} {exact}");
                    let told = told.entry((label.clone(), written)).or_default();
                    assert!(*told <= step, "{label:?} fell from {told} to {step}");
                    *told = step;
                }
            }
            for sequence in history.known_from()..now + 3 {
                assert_eq!(history.held_at(sequence), principals(model.at(sequence)));
            }
            for sequence in (0..now + 3).filter(|sequence| history.is_event(*sequence)) {
                assert!(model.0.iter().any(|(at, _)| *at == sequence));
                assert_eq!(history.held_at(sequence), principals(model.at(sequence)));
            }
            assert_eq!(History::decode(&history.encode()).as_ref(), Some(history));
        });
    }

    /// The writer of documents asks, of the members of a label and of `_admin`, how often something
    /// may have come back through it: the answer must not be too low for what anybody sees.
    #[test]
    fn no_label_in_sight_came_back_more_often_than_was_told(steps in events(60), tight: bool) {
        let mut noted: BTreeMap<Arc<str>, u32> = BTreeMap::new();
        play(if tight { TIGHT } else { WIDE }, &steps, |history, model, returned| {
            for principal in returned {
                let noted = noted.entry(Arc::clone(principal)).or_default();
                *noted = (*noted).max(history.returns());
            }
            let now = model.0.last().unwrap().0;
            for label in labels().iter().filter(|label| model.visible(label, now)) {
                let names = label.iter().map(AsRef::as_ref).chain([ADMIN]);
                let most = names.filter_map(|name| noted.get(name)).max().copied();
                let came_back = step(&history.spans(label), 0) / 2;
                assert!(came_back <= u64::from(most.unwrap_or(0)), "{label:?} {came_back} {most:?}");
            }
        });
    }

    #[test]
    fn hostile_bytes_are_no_history_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        prop_assert!(bytes.first() == Some(&FORMAT) || History::decode(&bytes).is_none());
        let with_format = [&[FORMAT], bytes.as_slice()].concat();
        if let Some(history) = History::decode(&with_format) {
            drop(history.spans(&arcs(["a", "b"])));
            prop_assert!(history.returns() >= history.forgotten);
        }
    }
}

#[test]
fn a_reader_who_flaps_for_long_has_a_short_history() {
    let mut history = History::default();
    let (on, off) = (
        Principals::new(arcs(["a", "b"])),
        Principals::new(arcs(["b"])),
    );
    for sequence in 1..=20_000 {
        let now = if sequence % 2 == 0 { &off } else { &on };
        let change = history.observe(now).unwrap();
        history.append(sequence, &change);
    }
    assert!(history.encode().len() < 1000);
    assert_eq!(step(&history.spans(&arcs(["a"])), 0), 2 * 9_999 + 1);
    assert_eq!(step(&history.spans(&arcs(["b"])), 0), 0);
    assert!(history.known_from() > 19_000);
}

#[test]
fn a_reader_of_ever_new_roles_has_a_bounded_history() {
    let mut history = History::default();
    for sequence in 1..=10_000u64 {
        let now = Principals::new(vec![format!("team:{sequence}").into(), Arc::from("me")]);
        let change = history.observe(&now).unwrap();
        history.append(sequence, &change);
    }
    assert!(history.ever_held().len() <= LIMITS.principals + 2);
    assert!(history.known_from() > 1000);
    // What is in sight all the time is nevertheless, at the cost of revivals that need not be.
    let spans = history.spans(&arcs(["me"]));
    assert_eq!(
        (spans.len(), spans[0].from, spans[0].is_open()),
        (1, 1, true)
    );
}

#[test]
fn a_constant_history_sees_all_the_time_what_it_holds() {
    let history = History::constant(&Principals::new(arcs(["@anyone"])));
    assert_eq!(history.spans(&arcs(["@anyone", "x"])), [Span::ALWAYS]);
    assert_eq!(history.spans(&arcs(["x"])), []);
    assert_eq!((history.turned_at(), history.returns()), (0, 0));
    assert!(history.is_event(0));
}

fn block_on<F: Future>(future: F) -> F::Output {
    struct Parked(std::thread::Thread);
    impl Wake for Parked {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Parked(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
        std::thread::park();
    }
}

#[test]
fn a_history_is_recorded_when_the_set_is_another() {
    const KEY: &[u8] = b"reader";
    let store = Store::open(Arc::new(Memory::new()), StoreOptions::default()).unwrap();
    let recorded = |names: &[&'static str]| {
        let now = Principals::new(arcs(names.iter().copied()));
        let decide = move |tx: &mut Transaction<'_>| -> Result<_, Decline<EngineError>> {
            let before = tx.sequence();
            let recorded = record(tx, KEY, &now, u64::MAX - 1)?;
            // A sequence is drawn for an event, and for nothing else.
            assert_eq!(tx.sequence() - before, u64::from(recorded.changed));
            assert_eq!(recorded.history.holds_now(), now);
            Ok((recorded, tx.sequence()))
        };
        let (recorded, sequence) =
            block_on(store.transact(WritePermit::of_term(1), decide)).unwrap();
        assert_eq!(
            &load(store.view().as_ref(), KEY).unwrap(),
            recorded.history.as_ref()
        );
        assert!(!recorded.changed || recorded.history.turned_at() == sequence);
        (recorded.changed, recorded.returned, recorded.returns)
    };
    assert_eq!(
        load(store.view().as_ref(), KEY).unwrap(),
        History::default()
    );
    assert_eq!(recorded(&["a", "b"]), (true, vec![], 0));
    assert_eq!(recorded(&["b", "a", "a"]), (false, vec![], 0));
    assert_eq!(recorded(&["a"]), (true, vec![], 0));
    assert_eq!(recorded(&["a", "b", "c"]), (true, arcs(["b", "c"]), 1));
    assert_eq!(recorded(&[]), (true, vec![], 1));
    assert_eq!(recorded(&["a"]), (true, arcs(["a"]), 2));
    assert_eq!(recorded(&["a"]), (false, vec![], 2));

    let decide = |tx: &mut Transaction<'_>| -> Result<(), Decline<EngineError>> {
        tx.put(Space::Index, KEY.to_vec(), vec![FORMAT + 1]);
        let refused = record(tx, KEY, &Principals::new(arcs(["a"])), 0);
        assert!(matches!(refused, Err(EngineError::Corrupt(_))));
        Ok(())
    };
    block_on(store.transact(WritePermit::of_term(1), decide)).unwrap();
    assert!(load(store.view().as_ref(), KEY).is_err());
}
