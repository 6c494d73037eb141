use super::*;

#[test]
fn everybody_is_anyone() {
    let held = Principals::of(&Caller::anonymous(), false);
    assert_eq!(held.as_slice(), [Arc::from(ANYONE)]);
}
