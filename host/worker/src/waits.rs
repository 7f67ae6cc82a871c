//! What a call meets on its way that has nothing to do with what it is: that somebody revoked it,
//! that its task fails too much, that it begins too often.

use lovage_core::{DropReason, Invocation, Job, Settlement, Timestamp, Verdict};

use crate::claims::Answer;
use crate::event::Event;
use crate::operations::Turn;
use crate::pipeline::Pipeline;

impl Pipeline {
    /// Tells of a message that came in; whether its call was revoked. As with Celery, nobody hears of
    /// one that was revoked by its id before it came.
    pub(crate) fn greet(&self, invocation: &Invocation, now: Timestamp) -> bool {
        let revoked = &self.operations.revoked;
        let by_id = revoked.has_id(&invocation.id, now);
        if self.operations.is_news(invocation, by_id, now) {
            self.observe(&Event::Received { invocation });
        }
        by_id || revoked.has_stamp_of(invocation)
    }

    /// What is done with a job before it may be claimed: nothing, after it has waited for its turn.
    pub(crate) async fn hold_back(&self, job: &Job) -> Option<Answer> {
        if let Some(wait) = self.restraint.wait(job, self.clock.now()) {
            return Some(Answer::Later(wait));
        }
        if !self.operations.rates.concern(job) {
            return None;
        }
        let turn = Box::pin(self.operations.turn(job, self.clock.now())).await;
        let (invocation, revoked) = (&job.invocation, &self.operations.revoked);
        if revoked.has_id(&invocation.id, self.clock.now()) || revoked.has_stamp_of(invocation) {
            return Some(Answer::Revoked);
        }
        match turn {
            Turn::Now => None,
            Turn::Later(wait) => Some(Answer::Later(wait)),
        }
    }

    /// Keeps in mind what is to be shown of a call that this worker does not have any more.
    pub(crate) fn remember(&self, verdict: Verdict) {
        let Verdict { invocation, settlement, at: now, .. } = verdict;
        match settlement {
            Settlement::Release(Some(at)) if invocation.eta == Some(at) => {
                self.operations.roster.schedule(invocation, at, now);
            }
            Settlement::Drop(DropReason::Terminated) => {
                self.operations.revoked.take_signal(&invocation.id);
            }
            _ => {}
        }
    }
}
