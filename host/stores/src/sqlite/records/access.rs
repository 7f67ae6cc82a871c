//! Rows of tokens, tenants and the audit log.

use lovage_core::{AuditEntry, AuditRow, Digest, Scope, Tenant, TenantId, Timestamp, Token};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS token (
        id TEXT PRIMARY KEY, tenant TEXT NOT NULL, scopes TEXT NOT NULL, secret_hash TEXT NOT NULL,
        label TEXT NOT NULL, created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL,
        revoked_at INTEGER
    ) STRICT;
    CREATE INDEX IF NOT EXISTS token_of_tenant ON token (tenant, created_at);
    CREATE TABLE IF NOT EXISTS tenant (id TEXT PRIMARY KEY, said TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS audit (
        number INTEGER PRIMARY KEY, at INTEGER NOT NULL, actor TEXT NOT NULL, tenant TEXT NOT NULL,
        action TEXT NOT NULL, subject TEXT NOT NULL, detail TEXT NOT NULL,
        previous TEXT NOT NULL, hash TEXT NOT NULL
    ) STRICT;";

const TOKEN: &str =
    "SELECT id, tenant, scopes, secret_hash, label, created_at, expires_at, revoked_at FROM token";

pub(super) fn token(connection: &Connection, id: &str) -> rusqlite::Result<Option<Token>> {
    let mut statement = connection.prepare_cached(&format!("{TOKEN} WHERE id = ?1"))?;
    statement.query_row([id], read_token).optional()
}

pub(super) fn tokens(connection: &Connection, tenant: &TenantId) -> rusqlite::Result<Vec<Token>> {
    let query = format!("{TOKEN} WHERE tenant = ?1 ORDER BY created_at, id");
    let mut statement = connection.prepare_cached(&query)?;
    statement.query_map([tenant.as_str()], read_token)?.collect()
}

pub(super) fn has_tokens(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT EXISTS (SELECT 1 FROM token)", [], |row| row.get(0))
}

fn read_token(row: &Row<'_>) -> rusqlite::Result<Token> {
    let scopes: String = row.get(2)?;
    let scopes = scopes
        .split(' ')
        .filter(|scope| !scope.is_empty())
        .map(|scope| scope.parse::<Scope>().map_err(|error| malformed(2, error)));
    Ok(Token {
        id: row.get(0)?,
        tenant: parsed(row, 1)?,
        scopes: scopes.collect::<rusqlite::Result<_>>()?,
        secret_hash: parsed(row, 3)?,
        label: row.get(4)?,
        created_at: Timestamp::from_micros(row.get(5)?),
        expires_at: Timestamp::from_micros(row.get(6)?),
        revoked_at: row.get::<_, Option<i64>>(7)?.map(Timestamp::from_micros),
    })
}

pub(super) fn add_token(connection: &Connection, token: &Token) -> rusqlite::Result<()> {
    let scopes: Vec<_> = token.scopes.iter().map(|scope| scope.as_str()).collect();
    connection.execute(
        "INSERT INTO token VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, NULL)",
        params![
            token.id,
            token.tenant.as_str(),
            scopes.join(" "),
            token.secret_hash.to_string(),
            token.label,
            token.created_at.as_micros(),
            token.expires_at.as_micros(),
        ],
    )?;
    Ok(())
}

pub(super) fn revoke_token(
    connection: &Connection,
    tenant: &TenantId,
    id: &str,
    at: Timestamp,
) -> rusqlite::Result<bool> {
    let revoked = connection.execute(
        "UPDATE token SET revoked_at = ?3 WHERE id = ?1 AND tenant = ?2 AND revoked_at IS NULL",
        params![id, tenant.as_str(), at.as_micros()],
    )?;
    Ok(revoked > 0)
}

pub(super) fn tenants(connection: &Connection) -> rusqlite::Result<Vec<Tenant>> {
    let mut statement = connection.prepare_cached("SELECT said FROM tenant ORDER BY id")?;
    let read = |row: &Row<'_>| {
        let said: String = row.get(0)?;
        serde_json::from_str(&said).map_err(|error| malformed(0, error))
    };
    statement.query_map([], read)?.collect()
}

pub(super) fn put_tenant(connection: &Connection, tenant: &Tenant) -> rusqlite::Result<()> {
    let said = serde_json::to_string(tenant)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    connection.execute(
        "INSERT INTO tenant VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET said = excluded.said",
        params![tenant.id.as_str(), said],
    )?;
    Ok(())
}

pub(super) fn remove_tenant(connection: &Connection, id: &TenantId) -> rusqlite::Result<bool> {
    let removed = connection.execute("DELETE FROM tenant WHERE id = ?1", [id.as_str()])?;
    if removed > 0 {
        connection.execute("DELETE FROM token WHERE tenant = ?1", [id.as_str()])?;
    }
    Ok(removed > 0)
}

/// Adds an entry behind the newest. The transaction holds the file's one write lock, so nobody else
/// adds one at the same time.
pub(super) fn append(connection: &Connection, entry: AuditEntry) -> rusqlite::Result<()> {
    let newest = "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1";
    let last = connection
        .prepare_cached(newest)?
        .query_row([], |row| Ok((number(row, 0)?, parsed::<Digest>(row, 1)?)))
        .optional()?;
    let AuditRow { number, entry, previous, hash } = AuditRow::after(last, entry);
    connection
        .prepare_cached("INSERT INTO audit VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?
        .execute(params![
            number.cast_signed(),
            entry.at.as_micros(),
            entry.actor,
            entry.tenant.as_str(),
            entry.action,
            entry.subject,
            entry.detail,
            previous.to_string(),
            hash.to_string(),
        ])?;
    Ok(())
}

pub(super) fn rows(
    connection: &Connection,
    after: u64,
    most: usize,
) -> rusqlite::Result<Vec<AuditRow>> {
    let mut statement = connection.prepare_cached(
        "SELECT number, at, actor, tenant, action, subject, detail, previous, hash FROM audit
         WHERE number > ?1 ORDER BY number LIMIT ?2",
    )?;
    let read = |row: &Row<'_>| {
        Ok(AuditRow {
            number: number(row, 0)?,
            entry: AuditEntry {
                at: Timestamp::from_micros(row.get(1)?),
                actor: row.get(2)?,
                tenant: parsed(row, 3)?,
                action: row.get(4)?,
                subject: row.get(5)?,
                detail: row.get(6)?,
            },
            previous: parsed(row, 7)?,
            hash: parsed(row, 8)?,
        })
    };
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    statement.query_map(params![after.cast_signed(), most], read)?.collect()
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

/// A text of ours, read back.
pub(super) fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|error| malformed(column, error))
}

fn malformed(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}
