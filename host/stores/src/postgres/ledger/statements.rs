//! The ledger's tables and statements.

/// Makes what is missing. The lock keeps two workers that start together from making it twice.
pub(super) const TABLES: &str = "
BEGIN;
SELECT pg_advisory_xact_lock(5498612079311);
CREATE TABLE IF NOT EXISTS lovage_ledger (
    key bytea PRIMARY KEY,
    state smallint NOT NULL,
    fence bigint NOT NULL,
    payload bytea NOT NULL,
    attempt bigint NOT NULL,
    crashes bigint NOT NULL,
    owner bigint,
    ticket bigint NOT NULL,
    moment_ms bigint,
    settled boolean NOT NULL,
    verdict bytea
);
CREATE INDEX IF NOT EXISTS lovage_ledger_expires ON lovage_ledger (moment_ms) WHERE state > 1;
CREATE TABLE IF NOT EXISTS lovage_ledger_step (
    key bytea NOT NULL,
    name text NOT NULL,
    fence bigint NOT NULL,
    input bytea NOT NULL,
    ticket bigint NOT NULL,
    doubted boolean NOT NULL,
    value bytea,
    expires_ms bigint,
    PRIMARY KEY (key, name)
);
CREATE INDEX IF NOT EXISTS lovage_ledger_step_expires ON lovage_ledger_step (expires_ms)
    WHERE expires_ms IS NOT NULL;
CREATE TABLE IF NOT EXISTS lovage_ledger_session (
    id bigserial PRIMARY KEY,
    until_ms bigint NOT NULL,
    left_at_ms bigint
);
CREATE SEQUENCE IF NOT EXISTS lovage_ledger_fence;
COMMIT;
";

/// Takes the lock that whoever changes a record or its steps in several statements holds.
pub(super) const LOCK: &str = "SELECT 1 FROM lovage_ledger WHERE key = $1 FOR UPDATE";

/// Writes a record that was not there.
pub(super) const INSERT: &str = "INSERT INTO lovage_ledger (key, state, fence, payload, attempt,
        crashes, owner, ticket, moment_ms, settled, verdict)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (key) DO NOTHING";

/// Writes a record that is still as it was read, which fence, state, owner and mark tell: within one
/// state nothing else changes. What its steps live on is written in the same statement.
pub(super) const UPDATE: &str = "WITH changed AS (
        UPDATE lovage_ledger SET state = $2, fence = $3, payload = $4, attempt = $5, crashes = $6,
            owner = $7, ticket = $8, moment_ms = $9, settled = $10, verdict = $11
        WHERE key = $1 AND fence = $12 AND state = $13 AND settled = $14
            AND owner IS NOT DISTINCT FROM $15
        RETURNING key
    ), steps AS (
        UPDATE lovage_ledger_step SET expires_ms = $16
        WHERE $16::bigint IS NOT NULL AND key IN (SELECT key FROM changed)
    )
    SELECT key FROM changed";

/// A step that did not expire.
pub(super) const FIND_STEP: &str = "SELECT fence, input, ticket, doubted, value
    FROM lovage_ledger_step
    WHERE key = $1 AND name = $2 AND (expires_ms IS NULL OR expires_ms > $3) FOR UPDATE";

/// Writes a step in the place of what was there.
pub(super) const SAVE_STEP: &str =
    "INSERT INTO lovage_ledger_step (key, name, fence, input, ticket,
        doubted, value)
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (key, name) DO UPDATE SET
        fence = excluded.fence, input = excluded.input, ticket = excluded.ticket,
        doubted = excluded.doubted, value = excluded.value, expires_ms = NULL";

/// The statements that name the clock.
pub(super) struct Statements {
    /// Inserts running records for claims that nobody made before.
    pub(super) claim: String,
    /// Finds records, each with how its owner does and a fence for it.
    pub(super) find: String,
    pub(super) extend: String,
    pub(super) begin: String,
    pub(super) leave: String,
    pub(super) forget_records: String,
    pub(super) forget_steps: String,
}

impl Statements {
    pub(super) fn new(clock: &str) -> Self {
        let alive = format!("left_at_ms IS NULL AND until_ms > {clock}");
        Self {
            claim: format!(
                "WITH alive AS (SELECT 1 FROM lovage_ledger_session WHERE id = $1 AND {alive}),
                fresh AS (
                    INSERT INTO lovage_ledger (key, state, fence, payload, attempt, crashes, owner,
                        ticket, settled)
                    SELECT key, 0, nextval('lovage_ledger_fence'), payload, attempt, 0, $1, ticket,
                        false
                    FROM unnest($2::bytea[], $3::bytea[], $4::bigint[], $5::bigint[])
                        WITH ORDINALITY AS claims (key, payload, attempt, ticket, number)
                    WHERE EXISTS (SELECT 1 FROM alive) ORDER BY key, number
                    ON CONFLICT (key) DO NOTHING RETURNING key, fence
                )
                SELECT EXISTS (SELECT 1 FROM alive), key, fence
                FROM (VALUES (1)) AS one LEFT JOIN fresh ON true"
            ),
            find: format!(
                "WITH now AS MATERIALIZED (SELECT {clock} AS ms)
                SELECT state, l.fence, payload, attempt, crashes, owner, ticket, moment_ms, settled,
                    verdict, now.ms, nextval('lovage_ledger_fence'), s.left_at_ms IS NOT NULL,
                    coalesce(s.until_ms, 0), EXISTS (SELECT 1 FROM lovage_ledger_session
                        WHERE id = $2 AND left_at_ms IS NULL AND until_ms > now.ms)
                FROM now, unnest($1::bytea[]) WITH ORDINALITY AS wanted (key, number)
                LEFT JOIN lovage_ledger l ON l.key = wanted.key
                LEFT JOIN lovage_ledger_session s ON s.id = l.owner
                ORDER BY wanted.number"
            ),
            extend: format!(
                "UPDATE lovage_ledger_session SET until_ms = {clock} + $2
                WHERE id = $1 AND {alive} RETURNING id"
            ),
            begin: format!(
                "INSERT INTO lovage_ledger_session (until_ms) VALUES ({clock} + $1) RETURNING id"
            ),
            leave: format!(
                "UPDATE lovage_ledger_session SET left_at_ms = {clock} WHERE id = $1 AND {alive}"
            ),
            forget_records: format!(
                "DELETE FROM lovage_ledger WHERE key IN (SELECT key FROM lovage_ledger
                WHERE state > 1 AND moment_ms <= {clock} LIMIT $1 FOR UPDATE SKIP LOCKED)"
            ),
            forget_steps: format!(
                "DELETE FROM lovage_ledger_step WHERE (key, name) IN (SELECT key, name
                FROM lovage_ledger_step WHERE expires_ms <= {clock}
                LIMIT $1 FOR UPDATE SKIP LOCKED)"
            ),
        }
    }
}
