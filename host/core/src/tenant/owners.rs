//! Who owns which queue.

use std::collections::HashMap;
use std::sync::Arc;

use super::{QueueGlob, Tenant};
use crate::QueueName;

/// The owners of queues, found without a walk over all of them: a worker asks several times a call,
/// and may have a thousand tenants.
#[derive(Debug, Clone, Default)]
pub(super) struct Owners {
    /// Globs that are whole names.
    exact: HashMap<QueueName, Arc<Tenant>>,
    /// Globs that are the beginning of names, without their star; nearly all others are of this kind.
    prefixes: HashMap<Box<str>, Arc<Tenant>>,
    /// How long these beginnings are, the longest first.
    lengths: Vec<usize>,
    /// All other globs, the longest first.
    globs: Vec<(QueueGlob, Arc<Tenant>)>,
}

impl Owners {
    /// Enters what a tenant owns; returns who owns it already, if somebody else does.
    pub(super) fn enter(
        &mut self,
        glob: &QueueGlob,
        tenant: &Arc<Tenant>,
    ) -> Result<(), Arc<Tenant>> {
        let before = if glob.is_exact() {
            self.exact.insert(QueueName::from(glob.as_str()), Arc::clone(tenant))
        } else if let Some(prefix) = prefix(glob) {
            if let Err(place) = self.lengths.binary_search_by(|it| prefix.len().cmp(it)) {
                self.lengths.insert(place, prefix.len());
            }
            self.prefixes.insert(prefix.into(), Arc::clone(tenant))
        } else {
            let order = |glob: &QueueGlob| (usize::MAX - glob.as_str().len(), glob.clone());
            match self.globs.binary_search_by_key(&order(glob), |(other, _)| order(other)) {
                Ok(place) => self.globs.get(place).map(|(_, owner)| Arc::clone(owner)),
                Err(place) => {
                    self.globs.insert(place, (glob.clone(), Arc::clone(tenant)));
                    None
                }
            }
        };
        before.filter(|owner| owner.id != tenant.id).map_or(Ok(()), Err)
    }

    /// Whoever names the queue, then whoever has the longest glob that fits.
    pub(super) fn of(&self, queue: &QueueName) -> Option<&Arc<Tenant>> {
        if let Some(owner) = self.exact.get(queue) {
            return Some(owner);
        }
        let name = queue.as_str();
        let begins = self.lengths.iter().find_map(|length| {
            let owner = self.prefixes.get(name.get(..*length)?)?;
            Some((length + "*".len(), owner))
        });
        let fits = self.globs.iter().find(|(glob, _)| glob.matches(name));
        match (begins, fits) {
            (Some((length, _)), Some((glob, owner))) if glob.as_str().len() > length => Some(owner),
            (Some((_, owner)), _) | (None, Some((_, owner))) => Some(owner),
            (None, None) => None,
        }
    }
}

/// What stands before the star, if that is the end.
fn prefix(glob: &QueueGlob) -> Option<&str> {
    glob.as_str().strip_suffix('*').filter(|prefix| !prefix.contains('*'))
}
