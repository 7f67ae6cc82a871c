//! Steps of guests: named parts of a task that happen once over all its attempts.

use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE32_NOPAD;
use lovage_core::frames::{HostReply, OnDoubt};
use lovage_core::ports::{Ledger, PortError};
use lovage_core::{
    Grant, Job, Json, NUMBER_MAX, Recorded, STEP_NAME_BYTES_MAX, STEP_VALUE_BYTES_MAX, StepBegin,
    StepBegun, StepEnd, StepInput,
};
use sha2::{Digest as _, Sha256};

use crate::running::Attempt;

/// Tries of one call to a ledger that does not answer; the guest waits meanwhile.
const TRIES: u32 = 3;

/// Between two of them.
const PAUSE: Duration = Duration::from_millis(200);

/// Characters of a step's key: 130 bits.
const KEY_CHARACTERS: usize = 26;

/// Begins a step; its record is durable before the guest is told to go on.
pub(crate) async fn begin(
    ledger: Option<&dyn Ledger>,
    attempt: &Attempt,
    name: &str,
    input: &str,
    doubt: OnDoubt,
) -> HostReply {
    let (ledger, grant) = match having(ledger, attempt) {
        Ok(both) => both,
        Err(reply) => return reply,
    };
    if !is_name(name) {
        return HostReply::Invalid(format!("{name:?} is no name of a step"));
    }
    let input = match Json::parse(input) {
        Ok(input) => StepInput::of(&input),
        Err(error) => return HostReply::Invalid(format!("the input is {error}")),
    };
    // Every try of this begin has the same ticket, and no other begin has it: not even that of an
    // earlier run under the same grant, whose executor died.
    let ticket = fastrand::u64(..=NUMBER_MAX);
    let step = StepBegin { name: name.into(), input, doubt, ticket };
    let mut tries = 0;
    loop {
        tries += 1;
        match ledger.begin_step(&grant, &step).await {
            Ok(begun) => return told(begun, attempt, name),
            Err(error) if tries == TRIES || !error.is_transient() => return other(&error),
            Err(_) => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Keeps what came of a step.
pub(crate) async fn commit(
    ledger: Option<&dyn Ledger>,
    attempt: &Attempt,
    name: &str,
    value: &str,
) -> HostReply {
    if value.len() > STEP_VALUE_BYTES_MAX {
        return HostReply::Limit(format!(
            "a step's value has at most {STEP_VALUE_BYTES_MAX} bytes"
        ));
    }
    if let Err(error) = Json::parse(value) {
        return HostReply::Invalid(format!("the value is {error}"));
    }
    let end = StepEnd::Commit(Bytes::copy_from_slice(value.as_bytes()));
    finish(ledger, attempt, name, &end).await
}

/// Forgets that a step was begun: its author asserts that it did not happen.
pub(crate) async fn abandon(
    ledger: Option<&dyn Ledger>,
    attempt: &Attempt,
    name: &str,
) -> HostReply {
    finish(ledger, attempt, name, &StepEnd::Abandon).await
}

async fn finish(
    ledger: Option<&dyn Ledger>,
    attempt: &Attempt,
    name: &str,
    end: &StepEnd,
) -> HostReply {
    let (ledger, grant) = match having(ledger, attempt) {
        Ok(both) => both,
        Err(reply) => return reply,
    };
    let mut tries = 0;
    loop {
        tries += 1;
        match ledger.end_step(&grant, name, end).await {
            Ok(Recorded::Written) => return HostReply::Done,
            Ok(Recorded::Lost) => return lost(),
            Err(error) if tries == TRIES || !error.is_transient() => return other(&error),
            Err(_) => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn having<'a>(
    ledger: Option<&'a dyn Ledger>,
    attempt: &Attempt,
) -> Result<(&'a dyn Ledger, Grant), HostReply> {
    ledger.zip(attempt.grant).ok_or_else(|| {
        HostReply::Unavailable("steps need a ledger, and this worker has none".into())
    })
}

fn told(begun: StepBegun, attempt: &Attempt, name: &str) -> HostReply {
    match begun {
        StepBegun::Run => HostReply::StepRun(step_key(attempt, name)),
        StepBegun::Ambiguous => HostReply::StepAmbiguous(step_key(attempt, name)),
        StepBegun::Replay(value) => {
            HostReply::StepReplay(String::from_utf8_lossy(&value).into_owned())
        }
        // The same name for another effect: which of the two was meant only a person can say.
        StepBegun::Doubt | StepBegun::Mismatch => HostReply::StepDoubt,
        StepBegun::Lost => lost(),
    }
}

fn lost() -> HostReply {
    HostReply::Other("the right to run this call was lost: another worker may have it".into())
}

fn other(error: &PortError) -> HostReply {
    HostReply::Other(format!("the ledger cannot be asked: {error}"))
}

/// 1 to 64 characters of `[A-Za-z0-9_.:-]`.
fn is_name(name: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    (1..=STEP_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_good)
}

/// The key that a step's receiver de-duplicates on. Attempt, worker and fence do not enter: it is
/// the same however often the step is sent.
fn step_key(attempt: &Attempt, step: &str) -> String {
    effect_key(attempt, &[step])
}

/// The key of an effect of a call that these words tell from its other effects.
pub(crate) fn effect_key(attempt: &Attempt, effect: &[&str]) -> String {
    let mut hash = Sha256::new();
    let Job { tenant, invocation, key, .. } = &*attempt.job;
    let call = [tenant.id.as_str(), invocation.task.as_str(), key];
    for part in call.iter().chain(effect) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut text = BASE32_NOPAD.encode(&hash.finalize()).to_ascii_lowercase();
    text.truncate(KEY_CHARACTERS);
    format!("lv1-{text}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lovage_core::{Job, Receipt};

    use super::{is_name, step_key};
    use crate::running::Attempt;
    use crate::samples;

    fn attempt(key: &str, receipt: u64) -> Attempt {
        let mut job = Job { key: key.into(), ..samples::job(0) };
        job.invocation.delivery.receipt = Receipt(receipt);
        Attempt { job: Arc::new(job), grant: None, requests: None }
    }

    #[test]
    fn a_steps_key_is_the_same_over_deliveries_and_no_other_steps() {
        let key = step_key(&attempt("order:1", 1), "charge");
        assert_eq!(key.len(), 30);
        assert_eq!(key, step_key(&attempt("order:1", 2), "charge"));
        assert_ne!(key, step_key(&attempt("order:2", 1), "charge"));
        assert_ne!(key, step_key(&attempt("order:1", 1), "mail"));
    }

    #[test]
    fn names_of_steps_are_short_and_plain() {
        assert!(is_name("charge:v1.2_a-b") && is_name(&"x".repeat(64)));
        for name in ["", "a b", "é", "a\n", &"x".repeat(65)] {
            assert!(!is_name(name), "{name:?}");
        }
    }
}
