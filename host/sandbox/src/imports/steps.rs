//! `steps`: named parts of a task that happen once over all its attempts.

use lovage_core::frames::{self, HostCall, HostReply};
use lovage_core::{JobNumber, Json};
use wasmtime::component::Resource;

use super::contract::lovage::task::steps::{Begun, Host, HostStep, OnDoubt};
use super::{HostError, invalid};
use crate::guest::Guest;
use crate::trap::Stop;

/// Bytes of a step's value.
const VALUE_BYTES_MAX: usize = 64 << 10;

/// A step that is under way.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "what is generated from the contract re-exports it")]
pub struct Step {
    name: String,
    key: String,
    ended: bool,
    /// The attempt it belongs to: an instance may be kept, and a handle with it.
    job: JobNumber,
}

impl Host for Guest {
    async fn begin(
        &mut self,
        name: String,
        input: String,
        doubt: OnDoubt,
    ) -> wasmtime::Result<Result<Begun, HostError>> {
        self.count_call()?;
        self.breathe(input.len()).await;
        if let Err(error) = check(&name, &input, self.limits.argument_bytes) {
            return Ok(Err(error));
        }
        if !self.steps.insert(name.clone()) {
            return Ok(Err(invalid(format!("the step {name} was begun in this attempt before"))));
        }
        let doubt = match doubt {
            OnDoubt::Retry => frames::OnDoubt::Retry,
            OnDoubt::Fail => frames::OnDoubt::Fail,
            OnDoubt::Ask => frames::OnDoubt::Ask,
        };
        let call = HostCall::StepBegin { name: &name, input: &input, doubt };
        let job = self.job;
        let step = |key| Step { name: name.clone(), key, ended: false, job };
        Ok(match self.call_worker(call).await {
            Ok(HostReply::StepRun(key)) => Ok(Begun::Run(self.open(step(key))?)),
            Ok(HostReply::StepAmbiguous(key)) => Ok(Begun::Ambiguous(self.open(step(key))?)),
            Ok(HostReply::StepReplay(value)) => Ok(Begun::Replay(value)),
            // Its author wants a person to decide: nothing of this attempt may go on.
            Ok(HostReply::StepDoubt) => return Err(Stop::Doubt(name).into()),
            Ok(HostReply::Done) => Err(HostError::Other("the host gave no step".into())),
            Ok(_) => Err(HostError::Other("the host gave an answer of another kind".into())),
            Err(error) => Err(error),
        })
    }
}

impl HostStep for Guest {
    async fn key(&mut self, step: Resource<Step>) -> wasmtime::Result<String> {
        self.count_call()?;
        Ok(self.table.get(&step)?.key.clone())
    }

    async fn commit(
        &mut self,
        step: Resource<Step>,
        value: String,
    ) -> wasmtime::Result<Result<(), HostError>> {
        self.count_call()?;
        self.breathe(value.len()).await;
        if value.len() > VALUE_BYTES_MAX {
            return Ok(Err(HostError::Limit(format!("{VALUE_BYTES_MAX} bytes of a step's value"))));
        }
        if let Err(error) = Json::parse(value.as_str()) {
            return Ok(Err(invalid(format!("value: {error}"))));
        }
        self.end(&step, Some(&value)).await
    }

    async fn abandon(&mut self, step: Resource<Step>) -> wasmtime::Result<Result<(), HostError>> {
        self.count_call()?;
        self.end(&step, None).await
    }

    async fn drop(&mut self, step: Resource<Step>) -> wasmtime::Result<()> {
        self.table.delete(step)?;
        Ok(())
    }
}

impl Guest {
    /// Keeps a step that was begun; requests that are sent from now on belong to it.
    fn open(&mut self, step: Step) -> wasmtime::Result<Resource<Step>> {
        self.open_steps.push(step.name.clone());
        Ok(self.table.push(step)?)
    }

    /// Ends a step, at most once: with a value, or abandoned. A call that fails may be made again.
    async fn end(
        &mut self,
        step: &Resource<Step>,
        value: Option<&str>,
    ) -> wasmtime::Result<Result<(), HostError>> {
        let found = self.table.get(step)?;
        if found.job != self.job {
            return Ok(Err(invalid(format!(
                "the step {} is of an attempt that is over",
                found.name
            ))));
        }
        if found.ended {
            return Ok(Err(invalid(format!("the step {} has ended already", found.name))));
        }
        let name = &found.name.clone();
        let call = match value {
            Some(value) => HostCall::StepCommit { name, value },
            None => HostCall::StepAbandon { name },
        };
        // Evidence that an effect took place is worth taking even after the soft limit.
        match self.call_worker_at_any_time(call).await {
            Ok(HostReply::Done) => {
                self.open_steps.retain(|open| open != name);
                self.table.get_mut(step)?.ended = true;
                Ok(Ok(()))
            }
            Ok(_) => Ok(Err(HostError::Other("the host gave an answer of another kind".into()))),
            Err(error) => Ok(Err(error)),
        }
    }
}

fn check(name: &str, input: &str, bytes_max: u32) -> Result<(), HostError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(allowed) {
        return Err(invalid("a step's name has 1 to 64 of [A-Za-z0-9_.:-]"));
    }
    if input.len() > bytes_max as usize {
        return Err(HostError::Limit(format!("{bytes_max} bytes of a step's input")));
    }
    Json::parse(input).map_err(|error| invalid(format!("input: {error}")))?;
    Ok(())
}
