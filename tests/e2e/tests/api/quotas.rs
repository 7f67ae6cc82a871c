//! What a tenant may use holds over all workers together, and what is beyond it waits.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use lovage_test_support::paths;
use serde_json::{Value, json};

use crate::http::Client;
use crate::modules::says;
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

#[test]
fn uploads_are_bounded_by_their_bytes_and_by_the_minute() {
    let server = Server::configured(
        "[tenants.small]\nqueues = ['small.*']\nstorage = '100KiB'\nuploads_per_minute = 3\n",
    );
    let small = server.tenant("small");
    let kept = small.push("a", &says("a.task", "x")).ok();
    let large = fs::read(paths::guest("bench")).expect("a module");
    let refused = small.push("bench", &large);
    assert_eq!((refused.status, refused.code()), (403, "quota-exceeded"), "{}", refused.body);
    small.push("a", &says("a.task", "y")).ok();
    let refused = small.push("a", &says("a.task", "z"));
    assert_eq!((refused.status, refused.code()), (429, "rate-limited"), "{}", refused.body);
    assert_eq!(server.orphans().len(), 2, "{:?}", server.orphans());
    assert_eq!(kept["versions"].as_array().map(Vec::len), Some(1));
}

#[test]
fn results_and_versions_are_kept_as_long_as_their_tenant_says() {
    let brief = "[tenants.brief]\nqueues = ['brief.*']\nuploads_per_minute = 100\nretention = 2\n";
    let server = Server::on_redis_configured(brief);
    let redis = redis::Client::open(server.urls().1).expect("an address");
    let mut redis = redis.get_connection().expect("a connection");
    for (tenant, life) in [("brief", 0..=2), ("acme", 80_000..=86_400)] {
        let client = server.tenant(tenant);
        client.push("a", &says("a.task", "x")).ok();
        let view = client.post("/v1/tasks?wait=30", &json!({ "task": "a.task" })).ok();
        let key = format!("celery-task-meta-{}", view["id"].as_str().expect("an id"));
        let left: i64 = redis::cmd("TTL").arg(&key).query(&mut redis).expect("a time");
        assert!(life.contains(&left), "{tenant}: {left}");
    }
    let brief = server.tenant("brief");
    let begun = Instant::now();
    for number in 0_u32.. {
        let text = number.to_string();
        let pushed = brief.push("a", &says("a.task", &text)).ok();
        let versions = pushed["versions"].as_array().expect("versions");
        if versions.len() <= usize::try_from(number).expect("few") {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "all are kept: {pushed}");
        // Sleeps because a version's age is counted by the clock.
        thread::sleep(Duration::from_millis(500));
    }
    // What answers, and what a rollback goes to, stay however old they are.
    brief.post("/v1/modules/a/rollback", &json!({})).ok();
}
