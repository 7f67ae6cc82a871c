//! What every broker, result backend and ledger promises, as tests that any adapter can be put to.
//!
//! An adapter brings a *rig*: the server it talks to, started for one test, and the few things that
//! a test must do behind the adapter's back, such as sending a message as a foreign producer does.
//! One line then puts it to all of the promises:
//!
//! ```ignore
//! lovage_conformance::broker_suite!(RedisRig);
//! lovage_conformance::kept_suite!(RedisRig);
//! lovage_conformance::result_suite!(RedisRig);
//! ```
//!
//! What only one adapter promises (a wake-up without polling, a server that is restarted) is tested
//! beside its rig, in `tests/`.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a promise that is not kept fails its test loudly"
)]

pub mod broker;
pub mod kept;
pub mod ledger;
pub mod results;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lovage_core::ports::{Broker, KeptMessages, Ledger, ResultBackend};
use lovage_core::{Kept, LedgerKey, TaskId};

/// How long a test waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A lease that a test can outlive: short, and long enough for a busy machine.
pub const SHORT_LEASE: Duration = Duration::from_secs(2);

/// A lease that no test outlives.
pub const LONG_LEASE: Duration = Duration::from_mins(5);

/// Slots of a session that is not short of them.
pub const SLOTS: u16 = 1_000;

/// Which messages a transport delivers first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priorities {
    /// The oldest.
    None,
    /// Those with the lowest number.
    LowFirst,
    /// Those with the highest number.
    HighFirst,
}

/// A broker's server, and what a test does behind the adapter's back.
#[async_trait]
pub trait BrokerRig: Sized + Send + Sync + 'static {
    /// How the transport orders by priority; kombu's SQL tables do not.
    const PRIORITIES: Priorities;

    /// How long a backlog is tried with.
    const BACKLOG: usize = 100_000;

    /// Whether the server delivers before anybody asks.
    const DELIVERS_AHEAD: bool = false;

    /// Waits until everything that is sent in advance has come to a session.
    async fn connected(&self, _session: &dyn Broker, _queues: &[&str]) {}

    /// Whether what is handed back comes before what waits.
    const RELEASED_IS_NEXT: bool = true;

    /// How often a message that was delivered so many times says it was: classic queues of RabbitMQ
    /// only know whether it was before.
    fn counted(deliveries: u32) -> u32 {
        deliveries
    }

    /// Starts an empty server, ended when the rig is dropped.
    async fn start() -> Self;

    /// A worker's new session on these queues, with more slots than any test fills.
    async fn session(&self, queues: &[&str], lease: Duration) -> Arc<dyn Broker> {
        self.session_of(queues, lease, SLOTS).await
    }

    /// The same with so many slots: a transport that delivers ahead must not deliver more.
    async fn session_of(&self, queues: &[&str], lease: Duration, slots: u16) -> Arc<dyn Broker>;

    /// Puts a message into a queue, as a producer without any code of ours does.
    async fn send(&self, queue: &str, priority: u8, message: Bytes);

    /// How many messages wait in a queue for anybody to take them.
    async fn waiting(&self, queue: &str) -> usize;

    /// The bytes that were sent, of a message in the form in which the adapter shows what is kept.
    fn as_sent(&self, shown: Bytes) -> Bytes {
        shown
    }

    /// What was kept, oldest first, each with the bytes that were sent.
    async fn kept(&self) -> Vec<(Kept, Bytes)>;

    /// What the adapter makes of it.
    async fn keeper(&self) -> Arc<dyn KeptMessages>;
}

/// A result backend's server, and a caller's view of it.
#[async_trait]
pub trait ResultRig: Sized + Send + Sync + 'static {
    /// Starts an empty server, ended when the rig is dropped.
    async fn start() -> Self;

    /// The adapter.
    async fn backend(&self) -> Arc<dyn ResultBackend>;

    /// The state a caller sees, and the result value as JSON text; `None` when nothing is stored.
    async fn seen(&self, task: &TaskId) -> Option<(String, String)>;
}

/// A ledger's server, whose clock is the test's.
#[async_trait]
pub trait LedgerRig: Sized + Send + Sync + 'static {
    /// Starts an empty server, ended when the rig is dropped.
    async fn start() -> Self;

    /// A worker's new session; [`ledger::CRASHES_MAX`] workers may die under a call.
    async fn session(&self, lease: Duration) -> Arc<dyn Ledger>;

    /// Moves the store's clock on.
    async fn advance(&self, by: Duration);

    /// How long until the store forgets a record; `None` when it never does.
    async fn time_to_live(&self, key: &LedgerKey) -> Option<Duration>;
}

/// Puts a [`BrokerRig`] to every promise of a broker, one test a promise.
#[macro_export]
macro_rules! broker_suite {
    ($rig:ty) => {
        $crate::suite!($rig: BrokerRig, broker: [
            first_in_is_first_out,
            an_empty_queue_is_waited_for_and_no_longer_than_asked,
            a_waiting_session_is_woken_by_a_message,
            whatever_was_sent_is_delivered_as_its_bytes,
            a_message_of_sixteen_mebibytes_is_delivered,
            queues_take_turns,
            shares_are_served_in_order_and_no_further,
            only_what_is_asked_for_ends_a_watch,
            a_demand_without_shares_takes_nothing,
            queues_may_be_joined_and_left,
            priorities_come_first,
            what_is_acknowledged_is_gone,
            closing_may_be_repeated,
            what_is_released_is_next_and_counted,
            what_is_released_until_later_comes_then,
            what_is_kept_is_kept_as_it_came,
            what_is_published_is_delivered,
            what_is_published_for_later_comes_then,
            a_session_that_leaves_gives_everything_back_in_order,
            a_session_that_dies_loses_its_deliveries_to_another,
            a_session_that_renews_keeps_its_deliveries,
            a_session_that_renews_too_late_is_told_what_it_lost,
            sessions_side_by_side_share_a_queue_without_doubles,
            a_backlog_of_a_hundred_thousand_is_drained_in_order,
        ]);
    };
}

/// Puts a [`BrokerRig`] to every promise about what is kept, one test a promise.
#[macro_export]
macro_rules! kept_suite {
    ($rig:ty) => {
        $crate::suite!($rig: BrokerRig, kept: [
            everything_kept_is_listed_once_oldest_first,
            a_filter_chooses_and_pages_go_on,
            one_is_shown_with_its_bytes,
            what_is_replayed_is_delivered_as_if_for_the_first_time,
            a_replay_goes_to_the_queue_it_came_from_behind_what_waits,
            replaying_and_purging_may_be_repeated,
            whoever_replays_side_by_side_doubles_nothing,
        ]);
    };
}

/// Puts a [`ResultRig`] to every promise of a result backend, one test a promise.
#[macro_export]
macro_rules! result_suite {
    ($rig:ty) => {
        $crate::suite!($rig: ResultRig, results: [
            a_stored_result_is_seen,
            a_state_gives_way_to_the_next,
            a_success_is_never_overwritten,
            a_batch_is_stored_whole,
            storing_may_be_repeated,
            a_result_has_a_time_of_its_own,
        ]);
    };
}

/// Puts a [`LedgerRig`] to every promise of a ledger, one test a promise.
#[macro_export]
macro_rules! ledger_suite {
    ($rig:ty) => {
        $crate::suite!($rig: LedgerRig, ledger: [
            what_was_never_claimed_is_granted_once,
            a_repeated_claim_is_answered_as_the_first_time,
            a_batch_grants_a_key_once,
            sessions_side_by_side_share_keys_without_doubles,
            a_late_finisher_changes_nothing,
            one_heartbeat_keeps_everything_and_a_late_one_is_told,
            what_is_handed_back_is_free_at_once_and_costs_nothing,
            a_call_that_kills_its_workers_is_parked,
            only_what_is_settled_is_ever_forgotten,
            a_verdict_is_kept_while_somebody_needs_it,
            another_payload_is_refused,
            a_retry_is_run_when_it_is_due_and_older_copies_are_not,
            a_step_happens_once_and_doubt_is_its_authors,
            a_step_may_be_begun_again_if_it_surely_did_not_happen,
            purging_runs_a_call_again_with_or_without_its_steps,
            every_order_of_operations_is_answered_as_decided,
        ]);
    };
}

/// One `#[tokio::test]` for each promise. Use [`broker_suite!`], [`kept_suite!`], [`result_suite!`] or
/// [`ledger_suite!`].
#[doc(hidden)]
#[macro_export]
macro_rules! suite {
    ($rig:ty: $trait:ident, $module:ident: [$($promise:ident),* $(,)?]) => {
        mod $module {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    $crate::$module::$promise(&<$rig as $crate::$trait>::start().await).await;
                }
            )*
        }
    };
}
