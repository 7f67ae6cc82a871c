//! A ledger that is not where the queue is.

use lovage_test_support::{LovageCommand, PostgresServer};

use crate::bed::{Place, together};
use crate::crashes::Sink;

#[test]
fn a_ledger_in_postgresql_runs_a_key_once_for_a_queue_in_redis() {
    let _machine = together();
    let (place, sink, postgres) = (Place::redis(), Sink::new(), PostgresServer::start());
    let worker = sink
        .worker(&place, &["-c", "4"])
        .env("LOVAGE_LEDGER_URL", postgres.url("postgres"))
        .start_until("ready:");
    let (broker, backend) = (place.broker(), place.backend());
    for _ in 0..2 {
        let call = ["call", "bench.effect", "-a", r#"["retry", 0, 0]"#, "--idempotency-key", "k"];
        let urls = ["-b", &broker, "--result-backend", &backend];
        let (code, output) = LovageCommand::new().args(call).args(urls).finish();
        assert_eq!(code, Some(0), "{output}");
    }
    let seen = sink.seen();
    assert_eq!((seen.runs, seen.sends()), (1, 1));
    assert!(worker.terminate().success());
}
