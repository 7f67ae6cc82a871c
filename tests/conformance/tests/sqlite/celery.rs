//! The file under real Celery: its producer and its `AsyncResult` on one side, ours on the other.

use lovage_celery::Accept;
use lovage_conformance::broker::{acknowledge, receive_exactly};
use lovage_conformance::results::{record, success};
use lovage_conformance::{BrokerRig, LONG_LEASE};
use lovage_core::ports::{Broker, ResultBackend};
use lovage_core::{Disposal, Failure, TaskState};
use lovage_stores::sqlite::SqliteResults;
use lovage_test_support::python;

use crate::rig::{SqliteRig, begin, open};

const SEND: &str = "
import sys
from celery import Celery
app = Celery(broker=f'sqla+sqlite:///{sys.argv[1]}', backend=f'db+sqlite:///{sys.argv[1]}')
for number in range(int(sys.argv[2])):
    app.send_task('bench.add', (2, number), task_id=f'task-{number}')
";

const READ: &str = "
import sys
from celery import Celery
app = Celery(broker=f'sqla+sqlite:///{sys.argv[1]}', backend=f'db+sqlite:///{sys.argv[1]}')
assert app.AsyncResult('good').get(timeout=10) == {'sum': [1, 2.5, None]}
try:
    app.AsyncResult('bad').get(timeout=10)
except ValueError as error:
    assert type(error) is ValueError and error.args == ('no such order',), repr(error)
else:
    raise AssertionError('no exception')
assert 'line of the guest' in app.AsyncResult('bad').traceback
assert app.AsyncResult('again').state == 'RETRY'
assert app.AsyncResult('good').date_done.year >= 2026
assert app.AsyncResult('again').date_done is None
print('read')
";

/// A Celery worker that says what it runs.
const WORK: &str = "
import sys
from celery import Celery
app = Celery(broker=f'sqla+sqlite:///{sys.argv[1]}', backend=f'db+sqlite:///{sys.argv[1]}')
app.conf.worker_redirect_stdouts = False
@app.task(name='demo.add')
def add(x, y):
    print('ran', x, y, flush=True)
    return x + y
app.worker_main(['worker', '-P', 'solo', '-l', 'ERROR'])
";

#[tokio::test]
async fn celery_sends_before_the_first_open_and_after() {
    let rig = SqliteRig::new();
    let path = rig.path().display().to_string();
    python::run(SEND, &[&path, "2"], &[]).expect_success();
    let session = begin(open(&rig.path()).await, LONG_LEASE).await;
    for round in 0..2 {
        let got = receive_exactly(&session, 2).await;
        acknowledge(&session, &got).await;
        for (number, delivery) in got.into_iter().enumerate() {
            let call = lovage_celery::decode(delivery, &Accept::default()).expect("decoded");
            assert_eq!(call.task.as_str(), "bench.add");
            assert_eq!(call.args.as_str(), format!("[2, {number}]"));
        }
        if round == 0 {
            python::run(SEND, &[&path, "2"], &[]).expect_success();
        }
    }
    assert_eq!(rig.waiting("celery").await, 0);
}

#[tokio::test]
async fn celery_reads_our_results_and_raises_our_failures() {
    let rig = SqliteRig::new();
    let results = SqliteResults::start(open(&rig.path()).await).await.unwrap();
    let mut failure = Failure::new("builtins", "ValueError", "no such order");
    failure.traceback = Some("line of the guest".into());
    let records = [
        record("good", success(r#"{"sum": [1, 2.5, null]}"#)),
        record("bad", TaskState::Failure(failure)),
        record("again", TaskState::Retry(Failure::new("builtins", "ValueError", "later"))),
    ];
    assert!(results.store(&records).await.iter().all(Result::is_ok));
    let path = rig.path().display().to_string();
    let out = python::run(READ, &[&path], &[]);
    assert_eq!(out.expect_success().trim(), "read");
}

#[tokio::test]
async fn a_celery_worker_runs_what_we_published_and_handed_back() {
    let rig = <SqliteRig as BrokerRig>::start().await;
    let session = begin(open(&rig.path()).await, LONG_LEASE).await;
    let publications: Vec<_> =
        (0..2).map(|n| lovage_conformance::broker::publication(n, None)).collect();
    session.publish(&publications).await.unwrap();
    let got = receive_exactly(&session, 2).await;
    let back: Vec<_> = got.iter().map(|one| (one.receipt, Disposal::Release(None))).collect();
    assert!(session.close(&back).await.iter().all(Result::is_ok));
    let path = rig.path().display().to_string();
    let worker = python::start(WORK, &[&path], &[]);
    worker.wait_for_line("ran 0 2");
    worker.wait_for_line("ran 1 2");
    session.sweep().await.unwrap();
    assert_eq!(rig.waiting("celery").await, 0);
    assert_eq!(rig.number("SELECT count(*) FROM kombu_message WHERE visible = 0"), 2);
}

#[tokio::test]
async fn what_we_read_of_celerys_results_is_its_document() {
    let rig = SqliteRig::new();
    let path = rig.path().display().to_string();
    let store = "
import sys
from celery import Celery
app = Celery(backend=f'db+sqlite:///{sys.argv[1]}')
app.backend.store_result('one', {'n': 1}, 'SUCCESS')
app.backend.store_result('two', ValueError('x'), 'FAILURE', traceback='tb')
";
    python::run(store, &[&path], &[]).expect_success();
    let results = SqliteResults::start(open(&rig.path()).await).await.unwrap();
    let one = results.load(&"one".into()).await.unwrap().unwrap();
    let one: serde_json::Value = serde_json::from_str(&one).unwrap();
    assert_eq!((&one["status"], &one["result"]["n"]), (&"SUCCESS".into(), &1.into()));
    assert!(one["date_done"].as_str().unwrap().ends_with("+00:00"));
    let two = results.load(&"two".into()).await.unwrap().unwrap();
    let two: serde_json::Value = serde_json::from_str(&two).unwrap();
    assert_eq!(
        (&two["result"]["exc_type"], &two["traceback"]),
        (&"ValueError".into(), &"tb".into())
    );
    assert_eq!(results.load(&"three".into()).await.unwrap(), None);
    // A success of Celery's is as final as one of ours.
    let failure = TaskState::Failure(Failure::new("builtins", "ValueError", "late"));
    assert!(results.store(&[record("one", failure)]).await[0].is_ok());
    assert!(results.load(&"one".into()).await.unwrap().unwrap().contains("SUCCESS"));
}

#[tokio::test]
async fn tables_of_our_making_are_what_sqlalchemy_makes() {
    let (ours, theirs) = (SqliteRig::new(), SqliteRig::new());
    begin(open(&ours.path()).await, LONG_LEASE).await;
    SqliteResults::start(open(&ours.path()).await).await.unwrap();
    let make = "
import sys
from celery import Celery
app = Celery(broker=f'sqla+sqlite:///{sys.argv[1]}', backend=f'db+sqlite:///{sys.argv[1]}')
app.send_task('bench.add', (2, 3))
app.backend.store_result('one', 1, 'SUCCESS')
";
    python::run(make, &[&theirs.path().display().to_string()], &[]).expect_success();
    let schema = |rig: &SqliteRig| -> Vec<String> {
        let connection = rig.connection();
        let find = "SELECT sql FROM sqlite_master
            WHERE sql NOT NULL AND name NOT LIKE 'lovage%' ORDER BY name";
        let mut statement = connection.prepare(find).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(schema(&ours), schema(&theirs));
    assert_eq!(schema(&ours).len(), 10);
}
