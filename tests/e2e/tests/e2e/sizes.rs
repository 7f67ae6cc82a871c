//! Large messages, on every broker.

use serde_json::json;

use crate::bed::{Place, together};

/// A call of sixteen mebibytes is refused by what is configured, and taken where that allows it.
fn refused_or_taken(place: &Place) {
    let _machine = together();
    let refusing = place.worker(&["-c", "2"]);
    let seen = place.see("large", &[]);
    assert_eq!(seen["state"], "FAILURE", "{seen}");
    assert!(seen["arguments"].to_string().contains("argument"), "{seen}");
    assert!(refusing.terminate().success());
    let taking = place
        .start_worker(&["-c", "2"])
        .env("LOVAGE_SANDBOX__ARGUMENT_BYTES", "32MiB")
        .env("LOVAGE_SANDBOX__RESULT_BYTES", "32MiB")
        .start_until("ready:");
    assert_eq!(place.see("large", &[]), json!({"value": true, "state": "SUCCESS"}));
    assert!(taking.terminate().success());
}

#[test]
fn on_redis_sixteen_mebibytes_are_refused_or_taken_as_configured() {
    refused_or_taken(&Place::redis());
}

#[test]
fn on_sqlite_sixteen_mebibytes_are_refused_or_taken_as_configured() {
    refused_or_taken(&Place::sqlite());
}

#[test]
fn on_rabbitmq_sixteen_mebibytes_are_refused_or_taken_as_configured() {
    refused_or_taken(&Place::rabbit("classic", true));
    refused_or_taken(&Place::rabbit_beside_one("quorum"));
}
