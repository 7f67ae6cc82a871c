//! Celery's tables of results in PostgreSQL.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lovage_celery::ResultFormat;
use lovage_conformance::results::{record, success};
use lovage_conformance::{LedgerRig, ResultRig};
use lovage_core::ports::ResultBackend;
use lovage_core::{TaskId, Timestamp};
use lovage_stores::postgres::PostgresResults;

use crate::postgres::PostgresRig;

/// Results are kept for a day.
const EXPIRES: Duration = Duration::from_hours(24);

#[async_trait]
impl ResultRig for PostgresRig {
    async fn start() -> Self {
        <Self as LedgerRig>::start().await
    }

    async fn backend(&self) -> Arc<dyn ResultBackend> {
        let started = PostgresResults::start(self.url(), Some(EXPIRES), ResultFormat::default());
        Arc::new(started.await.unwrap())
    }

    /// The columns as Celery's client reads them.
    async fn seen(&self, task: &TaskId) -> Option<(String, String)> {
        let find = "SELECT status, convert_from(result, 'UTF8') FROM celery_taskmeta
            WHERE task_id = $1 AND id IS NOT NULL";
        let row = self.client().query_opt(find, &[&task.as_str()]).await.unwrap()?;
        Some((row.get(0), row.get(1)))
    }
}

lovage_conformance::result_suite!(PostgresRig);

#[tokio::test]
async fn what_is_older_than_it_may_be_goes_and_numbers_come_from_celerys_sequence() {
    let rig = <PostgresRig as ResultRig>::start().await;
    let (backend, _again) = (rig.backend().await, rig.backend().await);
    let day = i64::try_from(EXPIRES.as_micros()).unwrap();
    let mut old = record("old", success("1"));
    let new = record("new", success("2"));
    let now = new.at;
    old.at = Timestamp::from_micros(now.as_micros() - day - 60_000_000);
    for answer in backend.store(&[old, new]).await {
        answer.unwrap();
    }
    backend.expire(now).await.unwrap();
    assert_eq!(backend.load(&"old".into()).await.unwrap(), None);
    assert!(backend.load(&"new".into()).await.unwrap().is_some());
    let next = "SELECT nextval('task_id_sequence') > (SELECT max(id) FROM celery_taskmeta)";
    assert!(rig.client().query_one(next, &[]).await.unwrap().get::<_, bool>(0));
}
