//! What the API keeps, in one SQLite file beside the registry: tokens, tenants made at run time, the
//! audit log, and the history of calls.
//!
//! A change and its audit row are one transaction. The history is bounded for each tenant: its oldest
//! calls are forgotten first. It is for people, and nothing that is promised depends on it.

mod access;
mod history;

use std::path::Path;

use async_trait::async_trait;
use lovage_core::admin_ports::Records;
use lovage_core::ports::PortError;
use lovage_core::{
    AuditEntry, AuditRow, QueueName, Submission, Submitted, TaskCursor, TaskFilter, TaskId,
    TaskPage, TaskRow, Tenant, TenantId, Token,
};
use lovage_sqlite::{Database, Settings};
use rusqlite::Connection;

/// Records in a SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteRecords {
    database: Database,
    history_max: u32,
}

impl SqliteRecords {
    /// Opens the file, and makes it and its tables if they are missing. Of each tenant the newest
    /// `history_max` calls are remembered.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn open(path: &Path, history_max: u32) -> Result<Self, PortError> {
        let database = Database::open(path, Settings::default()).await?;
        database.write("make the tables of the API", prepare).await?;
        Ok(Self { database, history_max })
    }
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(access::TABLES)?;
    connection.execute_batch(history::TABLES)
}

#[async_trait]
impl Records for SqliteRecords {
    async fn token(&self, id: &str) -> Result<Option<Token>, PortError> {
        let id = id.to_owned();
        self.database.read("read a token", move |it| access::token(it, &id)).await
    }

    async fn tokens(&self, tenant: &TenantId) -> Result<Vec<Token>, PortError> {
        let tenant = tenant.clone();
        self.database.read("read tokens", move |it| access::tokens(it, &tenant)).await
    }

    async fn has_tokens(&self) -> Result<bool, PortError> {
        self.database.read("look for tokens", access::has_tokens).await
    }

    async fn add_token(&self, token: &Token, audit: AuditEntry) -> Result<(), PortError> {
        let token = token.clone();
        let add = move |it: &Connection| {
            access::add_token(it, &token)?;
            access::append(it, audit)
        };
        self.database.write("add a token", add).await
    }

    async fn revoke_token(
        &self,
        tenant: &TenantId,
        id: &str,
        audit: AuditEntry,
    ) -> Result<bool, PortError> {
        let (tenant, id) = (tenant.clone(), id.to_owned());
        let revoke = move |it: &Connection| {
            let revoked = access::revoke_token(it, &tenant, &id, audit.at)?;
            if revoked {
                access::append(it, audit)?;
            }
            Ok(revoked)
        };
        self.database.write("revoke a token", revoke).await
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, PortError> {
        self.database.read("read tenants", access::tenants).await
    }

    async fn put_tenant(&self, tenant: &Tenant, audit: AuditEntry) -> Result<(), PortError> {
        let tenant = tenant.clone();
        let put = move |it: &Connection| {
            access::put_tenant(it, &tenant)?;
            access::append(it, audit)
        };
        self.database.write("write a tenant", put).await
    }

    async fn remove_tenant(&self, tenant: &TenantId, audit: AuditEntry) -> Result<bool, PortError> {
        let tenant = tenant.clone();
        let remove = move |it: &Connection| {
            let removed = access::remove_tenant(it, &tenant)?;
            if removed {
                access::append(it, audit)?;
            }
            Ok(removed)
        };
        self.database.write("remove a tenant", remove).await
    }

    async fn audit(&self, entry: AuditEntry) -> Result<(), PortError> {
        self.database.write("write the audit log", move |it| access::append(it, entry)).await
    }

    async fn audit_rows(&self, after: u64, most: usize) -> Result<Vec<AuditRow>, PortError> {
        self.database.read("read the audit log", move |it| access::rows(it, after, most)).await
    }

    async fn submit(&self, submission: &Submission) -> Result<Submitted, PortError> {
        let submission = submission.clone();
        self.database
            .write("remember a submission", move |it| history::submit(it, &submission))
            .await
    }

    async fn submitted(&self, submission: &Submission) -> Result<(), PortError> {
        let submission = submission.clone();
        self.database
            .write_unsynced("remember a submission", move |it| history::sent(it, &submission))
            .await
    }

    async fn remember(&self, rows: Vec<TaskRow>) -> Result<(), PortError> {
        let most = self.history_max;
        let remember = move |it: &Connection| history::remember(it, &rows, most);
        self.database.write_unsynced("write the history", remember).await
    }

    async fn task(&self, tenant: &TenantId, id: &TaskId) -> Result<Option<TaskRow>, PortError> {
        let (tenant, id) = (tenant.clone(), id.clone());
        self.database.read("read the history", move |it| history::task(it, &tenant, &id)).await
    }

    async fn tasks(
        &self,
        tenant: &TenantId,
        filter: &TaskFilter,
        after: Option<&TaskCursor>,
        most: usize,
    ) -> Result<TaskPage, PortError> {
        let (tenant, filter, after) = (tenant.clone(), filter.clone(), after.cloned());
        let page = move |it: &Connection| {
            history::page(it, &tenant, &filter, after.map(|after| after.place), most)
        };
        self.database.read("read the history", page).await
    }

    async fn queues(&self, tenant: &TenantId) -> Result<Vec<(QueueName, u64)>, PortError> {
        let tenant = tenant.clone();
        self.database.read("read the history", move |it| history::queues(it, &tenant)).await
    }
}

#[cfg(test)]
mod tests {
    use lovage_core::admin_ports::Records as _;
    use lovage_core::{
        AuditEntry, Digest, Scope, Submission, Submitted, TaskFilter, TaskRow, Tenant, TenantId,
        Timestamp, Token, verify_audit,
    };
    use rusqlite::Connection;
    use tempfile::TempDir;

    use super::SqliteRecords;

    async fn records(folder: &TempDir) -> SqliteRecords {
        SqliteRecords::open(&folder.path().join("lovage.db"), 10).await.unwrap()
    }

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    fn entry(action: &str) -> AuditEntry {
        AuditEntry {
            at: at(7),
            actor: "me".into(),
            tenant: "acme".parse().unwrap(),
            action: action.into(),
            subject: "it".into(),
            detail: String::new(),
        }
    }

    fn token(id: &str) -> Token {
        Token {
            id: id.into(),
            tenant: "acme".parse().unwrap(),
            scopes: vec![Scope::TasksSend, Scope::ModulesWrite],
            secret_hash: Digest::from_bytes([9; 32]),
            label: "ci".into(),
            created_at: at(1),
            expires_at: at(100),
            revoked_at: None,
        }
    }

    #[tokio::test]
    async fn a_token_is_revoked_by_its_tenant_only_and_once() {
        let folder = TempDir::new().unwrap();
        let records = records(&folder).await;
        assert!(!records.has_tokens().await.unwrap());
        records.add_token(&token("a"), entry("token.add")).await.unwrap();
        assert_eq!(records.token("a").await.unwrap(), Some(token("a")));
        let (acme, beta): (TenantId, TenantId) = ("acme".parse().unwrap(), "beta".parse().unwrap());
        let revoke = |tenant: TenantId| {
            let records = records.clone();
            async move { records.revoke_token(&tenant, "a", entry("token.revoke")).await.unwrap() }
        };
        assert!(!revoke(beta).await);
        assert!(revoke(acme.clone()).await);
        assert!(!revoke(acme.clone()).await);
        let tokens = records.tokens(&acme).await.unwrap();
        assert_eq!(tokens[0].revoked_at, Some(at(7)));
        assert!(!tokens[0].is_good(at(8)));
        assert_eq!(records.audit_rows(0, 10).await.unwrap().len(), 2, "what did nothing is no row");
    }

    #[tokio::test]
    async fn tenants_come_and_go_with_their_tokens() {
        let folder = TempDir::new().unwrap();
        let records = records(&folder).await;
        let mut tenant = Tenant::new("acme".parse().unwrap());
        tenant.queues = vec!["acme.*".parse().unwrap()];
        records.put_tenant(&tenant, entry("tenant.put")).await.unwrap();
        records.add_token(&token("a"), entry("token.add")).await.unwrap();
        assert_eq!(records.tenants().await.unwrap(), [tenant.clone()]);
        assert!(records.remove_tenant(&tenant.id, entry("tenant.remove")).await.unwrap());
        assert_eq!(records.tenants().await.unwrap(), []);
        assert_eq!(records.token("a").await.unwrap(), None);
    }

    #[tokio::test]
    async fn whoever_alters_the_file_breaks_the_chain() {
        for tamper in [
            "UPDATE audit SET subject = 'other' WHERE number = 3",
            "DELETE FROM audit WHERE number = 3",
            "UPDATE audit SET number = CASE number WHEN 2 THEN 103 WHEN 3 THEN 102 END
                WHERE number IN (2, 3);
             UPDATE audit SET number = number - 100 WHERE number > 100",
        ] {
            let folder = TempDir::new().unwrap();
            let records = records(&folder).await;
            for number in 0..5 {
                records.audit(entry(&format!("change.{number}"))).await.unwrap();
            }
            let rows = records.audit_rows(0, 100).await.unwrap();
            assert_eq!(verify_audit(None, &rows).unwrap().unwrap().0, 5);
            let file = Connection::open(folder.path().join("lovage.db")).unwrap();
            file.execute_batch(tamper).unwrap();
            let rows = records.audit_rows(0, 100).await.unwrap();
            assert!(verify_audit(None, &rows).is_err(), "{tamper}");
        }
    }

    #[tokio::test]
    async fn a_key_is_submitted_once() {
        let folder = TempDir::new().unwrap();
        let records = records(&folder).await;
        let submission = |id: &str, body: u8| Submission {
            tenant: "acme".parse().unwrap(),
            key_hash: Digest::from_bytes([1; 32]),
            body_hash: Digest::from_bytes([body; 32]),
            id: id.into(),
            at: at(1),
        };
        let submit = |it: Submission| {
            let records = records.clone();
            async move { records.submit(&it).await.unwrap() }
        };
        let again = |is_sent| Submitted::Again { id: "1".into(), is_sent };
        assert_eq!(submit(submission("1", 1)).await, Submitted::First);
        assert_eq!(submit(submission("2", 1)).await, again(false));
        records.submitted(&submission("1", 1)).await.unwrap();
        assert_eq!(submit(submission("2", 1)).await, again(true));
        assert_eq!(submit(submission("2", 2)).await, Submitted::Other);
        let other = Submission { tenant: "beta".parse().unwrap(), ..submission("3", 2) };
        assert_eq!(submit(other).await, Submitted::First);
    }

    fn row(tenant: &str, id: u32, state: &str) -> TaskRow {
        TaskRow {
            tenant: tenant.parse().unwrap(),
            id: id.to_string().into(),
            task: "shop.charge".into(),
            queue: format!("{tenant}.default").into(),
            state: state.into(),
            sent_at: at(id.into()),
            changed_at: at(id.into()),
            digest: Some(Digest::from_bytes([1; 32])),
            error: (state == "FAILURE").then(|| "ValueError: no".into()),
        }
    }

    #[tokio::test]
    async fn the_history_is_bounded_filtered_and_each_tenants_own() {
        let folder = TempDir::new().unwrap();
        let records = records(&folder).await;
        let acme: TenantId = "acme".parse().unwrap();
        for id in 0..25 {
            let state = if id % 2 == 0 { "SUCCESS" } else { "FAILURE" };
            records.remember(vec![row("acme", id, state)]).await.unwrap();
        }
        records.remember(vec![row("beta", 24, "SUCCESS")]).await.unwrap();
        let all = TaskFilter::default();
        let first = records.tasks(&acme, &all, None, 6).await.unwrap();
        let ids = |rows: &[TaskRow]| rows.iter().map(|it| it.id.to_string()).collect::<Vec<_>>();
        assert_eq!(ids(&first.rows), ["24", "23", "22", "21", "20", "19"]);
        let rest = records.tasks(&acme, &all, first.next.as_ref(), 6).await.unwrap();
        assert_eq!(ids(&rest.rows), ["18", "17", "16", "15"], "the oldest are forgotten");
        assert_eq!(rest.next, None);
        let failed = TaskFilter {
            state: Some("FAILURE".into()),
            error: Some("ValueError".into()),
            ..TaskFilter::default()
        };
        let failed = records.tasks(&acme, &failed, None, 2).await.unwrap();
        assert_eq!(ids(&failed.rows), ["23", "21"]);
        assert_eq!(records.task(&acme, &"24".into()).await.unwrap().unwrap().state, "SUCCESS");
        assert_eq!(records.task(&"gamma".parse().unwrap(), &"24".into()).await.unwrap(), None);
        assert_eq!(records.queues(&acme).await.unwrap(), [("acme.default".into(), 10)]);
    }

    #[tokio::test]
    async fn a_final_state_stays() {
        let folder = TempDir::new().unwrap();
        let records = records(&folder).await;
        let acme: TenantId = "acme".parse().unwrap();
        for (state, shown) in [
            ("PENDING", "PENDING"),
            ("RETRY", "RETRY"),
            ("SUCCESS", "SUCCESS"),
            ("PENDING", "SUCCESS"),
        ] {
            records.remember(vec![row("acme", 1, state)]).await.unwrap();
            assert_eq!(records.task(&acme, &"1".into()).await.unwrap().unwrap().state, shown);
        }
    }
}
