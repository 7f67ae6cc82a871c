//! A worker that dies between receiving and settling.

use std::time::Duration;

use lovage_conformance::broker::{envelope, names, receive_exactly, swept};
use lovage_conformance::{BrokerRig, LONG_LEASE};
use lovage_test_support::Process;

use crate::rig::{SqliteRig, begin, open};

/// Names the file to the process that is to be killed.
const FILE: &str = "LOVAGE_TEST_FILE";

const LEASE: Duration = Duration::from_secs(2);

/// The process of the next test. By itself it has no file, and nothing to do.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the test above says by it what to hold")]
async fn holds_two_messages_until_it_is_killed() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let session = begin(open(path.as_ref()).await, LEASE).await;
    let got = receive_exactly(&session, 2).await;
    println!("holding {}", got.len());
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn what_a_killed_process_held_comes_again_when_its_lease_is_over() {
    let rig = <SqliteRig as BrokerRig>::start().await;
    for name in ["a", "b", "c"] {
        rig.send("celery", 0, envelope(name)).await;
    }
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "killed::holds_two_messages_until_it_is_killed", "--nocapture"]);
    let holder = Process::start({
        command.env(FILE, rig.path());
        command
    });
    holder.wait_for_line("holding 2");
    holder.kill();
    let session = rig.session(&["celery"], LONG_LEASE).await;
    assert_eq!(names(&receive_exactly(&*session, 1).await), ["c"]);
    let again = swept(&*session, 2).await;
    assert_eq!(names(&again), ["a", "b"]);
    assert!(again.iter().all(|one| one.deliveries == 2 && one.redelivered));
}
