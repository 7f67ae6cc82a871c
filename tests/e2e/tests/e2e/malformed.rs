//! What nobody can read is kept with its reason, and stops nobody.

use serde_json::json;

use crate::bed::{Place, alone, chance};

const BAD: usize = 100_000;
const GOOD: usize = 1_000;

#[test]
fn a_hundred_thousand_malformed_messages_are_kept_and_a_thousand_good_ones_done() {
    let _machine = alone();
    let place = Place::redis();
    let worker = place.worker(&["-c", "64"]);
    let seed = chance("malformed").u32(..).to_string();
    let seen = place.script("malformed.py", &[&BAD.to_string(), &GOOD.to_string(), &seed]);
    println!("{seen}");
    assert_eq!(seen["good"], json!({"SUCCESS": GOOD}));
    assert_eq!(seen["waiting"], 0);
    assert_eq!(seen["kept"].as_u64(), Some(BAD as u64), "{seen}");
    let reasons = seen["reasons"].as_object().expect("reasons");
    assert!(reasons.len() > 3 && !reasons.contains_key(""), "{reasons:?}");
    assert!(worker.terminate().success(), "it never exited");
}
