//! Properties of `place.rs`, against naive models.

use proptest::prelude::*;

use super::*;

const KEY: [u8; 32] = [7; 32];

fn place() -> impl Strategy<Value = Place> {
    let number = || prop_oneof![any::<u64>(), 0u64..100];
    let kind = prop_oneof![Just(PhaseKind::Lost), Just(PhaseKind::Gained)];
    let phase = (number(), kind, number()).prop_map(|(target, kind, cursor)| Phase {
        target,
        kind,
        cursor,
    });
    (number(), number(), proptest::option::of(phase)).prop_map(|(sequence, seen_at, phase)| Place {
        sequence,
        seen_at,
        phase,
    })
}

#[test]
fn a_token_looks_the_same_in_every_version() {
    let mut place = Place {
        sequence: 12,
        seen_at: 7,
        phase: None,
    };
    let token = place.encode("tag", &KEY, 3, "~ann");
    assert_eq!(token, "12-tag_7_a6jdfdvlm3ftdlcwskbzrjkzjy");
    place.phase = Some(Phase {
        target: 9,
        kind: PhaseKind::Gained,
        cursor: 5,
    });
    let token = place.encode("tag", &KEY, 3, "~ann");
    assert_eq!(token, "12-tag_7_9g5_a6jdfdvlm3ftdlcwskbzrjkzjy");
}

#[test]
fn what_is_no_token_is_none() {
    let decode = |token: &str| Place::decode(token, "tag", &KEY, 3, "~ann");
    let own = |text: &str| format!("{text}_{}", code(&KEY, 3, "~ann", "tag_2"));
    assert!(decode(&own("1-tag_2")).is_some());
    assert!(decode(&own("1-tag_2_3l4")).is_some());
    for text in [
        "",
        "0",
        "now",
        "12-tag",
        "1-tag_",
        "-tag_2",
        "1-tag_x",
        "1-tag_2_",
        "1-tag_2_3",
        "1-tag_2_3l",
        "1-tag_2_l4",
        "1-tag_2_3x4",
        "1-tag_2_3l4_5",
        "1-other_2",
        "1_2",
        "99999999999999999999-tag_1",
        "1-tag_2_3é4",
    ] {
        assert_eq!(decode(text), None, "{text}");
        assert_eq!(decode(&own(text)), None, "{text}");
    }
    assert_eq!(decode(&own(&"1".repeat(10_000))), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_place_survives_and_is_nobody_elses(
        place in place(),
        tag in "[A-Za-z0-9_=+/-]{0,40}",
        database: u64,
        reader in "[~a-z]{0,5}",
        other in "[~a-z]{0,5}",
        at in any::<proptest::sample::Index>(),
        bit in 0u8..7,
    ) {
        let token = place.encode(&tag, &KEY, database, &reader);
        prop_assert!(token.len() <= TOKEN_BYTES_MAX);
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"_=+/-".contains(&b);
        prop_assert!(token.bytes().all(plain), "{}", token);
        let begin = format!("{}-", place.sequence);
        prop_assert!(token.starts_with(&begin));
        let decode = |token: &str| Place::decode(token, &tag, &KEY, database, &reader);
        prop_assert_eq!(decode(&token), Some(place));

        prop_assert_eq!(Place::decode(&token, &tag, &[8; 32], database, &reader), None);
        prop_assert_eq!(Place::decode(&token, &tag, &KEY, database ^ 1, &reader), None);
        prop_assert_eq!(Place::decode(&token, &format!("{tag}x"), &KEY, database, &reader), None);
        if other != reader {
            prop_assert_eq!(Place::decode(&token, &tag, &KEY, database, &other), None);
        }
        let at = at.index(token.len());
        let mut flipped = token.clone().into_bytes();
        flipped[at] ^= 1 << bit;
        if let Ok(flipped) = String::from_utf8(flipped) {
            // The numbers are his own to change; the event is bound.
            prop_assert!(decode(&flipped).is_none_or(|found| found.seen_at == place.seen_at));
        }
        prop_assert_eq!(decode(&token[..at]), None);
        prop_assert_eq!(decode(&format!("{token}a")), None);
    }

    #[test]
    fn hostile_tokens_are_none(token in ".{0,60}") {
        prop_assert_eq!(Place::decode(&token, "tag", &KEY, 1, "~ann"), None);
    }
}
