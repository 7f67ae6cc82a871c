//! What a call costs, counted: the same on every machine, busy or not.

use lovage_test_support::{LovageCommand, Proxy};
use serde_json::json;

use crate::bed::{Place, QUEUE, alone, wait_until};

const CALLS: usize = 1_000;

/// Taking, claiming and settling are a round trip a batch each. How large batches are depends on how
/// fast the worker is; with 64 slots they can be no larger, and must not be much smaller.
const ROUND_TRIPS_MAX: usize = 200;

#[test]
fn a_thousand_calls_take_few_round_trips() {
    let _machine = alone();
    let place = Place::redis();
    let Place::Redis(server) = &place else { panic!("it is a Redis") };
    let proxy = Proxy::start(server.port());
    let through = |database| format!("redis://127.0.0.1:{}/{database}", proxy.port());
    let (broker, backend) = (through(0), through(1));
    let results = server.url(1);
    let ids = place.see("send", &["bench.add", "[2, 3]", &CALLS.to_string()]);
    let urls = ["-b", &broker, "--result-backend", &backend, "-Q", QUEUE, "-c", "64"];
    let worker = LovageCommand::worker().args(urls).start_until("ready:");
    let client = redis::Client::open(results).expect("a client");
    let mut connection = client.get_connection().expect("a connection");
    let mut done = || redis::cmd("DBSIZE").query::<usize>(&mut connection).expect("a size");
    wait_until("all results", || done() >= CALLS);
    let round_trips = proxy.exchanges();
    println!("{round_trips} round trips for {CALLS} calls, the worker's start included");
    assert!(round_trips <= ROUND_TRIPS_MAX, "{round_trips} round trips");
    // The results are beside the queue, but not of another server: the producer's name for it differs.
    assert!(ids.as_array().is_some_and(|ids| ids.len() == CALLS));
    assert_eq!(place.see("states", &[&ids.to_string()]), json!({"SUCCESS": CALLS}));
    assert!(worker.terminate().success());
}
