//! What a tenant may use holds over all workers together, and what is beyond it waits.

use std::fs;
use std::time::{Duration, Instant};

use lovage_test_support::paths;
use serde_json::{Value, json};

use crate::http::Client;
use crate::server::Server;

/// Sends so many calls and returns how long it took until all had succeeded.
fn run(client: &Client, count: usize, call: &Value) -> Duration {
    let begun = Instant::now();
    let sent: Vec<Value> = (0..count).map(|_| client.post("/v1/tasks", call).ok()).collect();
    for view in sent {
        let id = view["id"].as_str().expect("an id");
        let view = client.get(&format!("/v1/tasks/{id}?wait=60")).ok();
        assert_eq!(view["state"], "SUCCESS", "{view}");
    }
    begun.elapsed()
}

#[test]
fn quotas_hold_over_all_workers() {
    let server = Server::on_redis_configured(
        "[tenants.rated]\nqueues = ['rated.*']\nuploads_per_minute = 1000\nrate_limit = 10\n\
         [tenants.narrow]\nqueues = ['narrow.*']\nuploads_per_minute = 1000\nmax_in_flight = 2\n\
         [tenants.frugal]\nqueues = ['frugal.*']\nuploads_per_minute = 1000\n\
         fuel_per_minute = 600000000\n",
    );
    let _other = server.another();
    let bench = fs::read(paths::guest("bench")).expect("a module");
    for tenant in ["rated", "narrow", "frugal"] {
        server.tenant(tenant).push("bench", &bench).ok();
    }
    // Ten at once and ten a second: 40 take 3 s, and would take 1 s if each worker counted alone.
    let time = run(&server.tenant("rated"), 40, &json!({ "task": "bench.add", "args": [1, 2] }));
    assert!(time > Duration::from_millis(2_500), "40 calls at 10/s took {time:?}");
    // Two at once: eight calls of half a second take 2 s, and would take 1 s.
    let time = run(&server.tenant("narrow"), 8, &json!({ "task": "bench.sleep", "args": [500] }));
    assert!(time > Duration::from_millis(1_600), "8 calls, two at once, took {time:?}");
    // Ten million units of fuel a second, and a minute's at first: when those are used, calls wait.
    let frugal = server.tenant("frugal");
    let heavy = json!({ "task": "bench.sieve", "args": [1_000_000] });
    let waited = (0..200).any(|_| run(&frugal, 1, &heavy) > Duration::from_millis(800));
    assert!(waited, "calls went on after the fuel was used");
}
