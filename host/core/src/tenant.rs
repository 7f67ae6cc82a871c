//! Who owns queues, modules, quotas and keys.
//!
//! A tenant owns queues by configuration and never by what a message says: whoever may write to a
//! queue calls on behalf of its owner. Whatever no other tenant owns belongs to the default tenant,
//! so that one team that names no tenants never meets the word.
//!
//! A [`Tenants`] is a value: all tenants at one moment. It changes while a worker runs, so whoever
//! decides by it takes it from a [`TenantTable`] each time.

mod capability;
mod owners;
mod queues;
mod quotas;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use capability::{Capabilities, Capability, CapabilityError};
pub use queues::{QueueGlob, QueueGlobError};
pub use quotas::Quotas;

use crate::QueueName;
use owners::Owners;

/// A tenant's name: 1 to 64 of `a-z 0-9 - _ .`, and no dot first. It is part of keys and of paths.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantId(Arc<str>);

/// A text that is no name of a tenant, a module or a channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to 64 of a-z, 0-9, `-`, `_` and `.`, and does not begin with a dot")]
pub struct NameError;

/// The name of the tenant that owns what no other does.
const DEFAULT: &str = "default";

/// Characters of a name.
const NAME_BYTES_MAX: usize = 64;

/// Whether a text may be part of keys, of paths and of addresses without any quoting.
pub fn is_plain_name(text: &str) -> bool {
    let plain = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && !text.starts_with('.')
        && text.as_bytes().iter().all(plain)
}

impl TenantId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the tenant that owns what no other does.
    pub fn is_default(&self) -> bool {
        &*self.0 == DEFAULT
    }
}

impl Default for TenantId {
    /// The tenant that owns what no other does.
    fn default() -> Self {
        Self(Arc::from(DEFAULT))
    }
}

impl std::str::FromStr for TenantId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_plain_name(text) { Ok(Self(Arc::from(text))) } else { Err(NameError) }
    }
}

impl TryFrom<String> for TenantId {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<TenantId> for String {
    fn from(id: TenantId) -> Self {
        id.as_str().to_owned()
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, formatter)
    }
}

/// Whether uploads must be signed by a key of the tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignaturePolicy {
    /// Signatures are not looked at.
    #[default]
    Off,
    /// An upload without a good signature is taken, and the log says so.
    Warn,
    /// An upload without a good signature is refused.
    Require,
}

/// A tenant as configured, or as made at run time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    /// Its name.
    pub id: TenantId,
    /// The queues it owns, such as `acme.*`.
    #[serde(default)]
    pub queues: Vec<QueueGlob>,
    /// Its share of the workers beside the others' shares; 1 to 1,000.
    #[serde(default = "one")]
    pub weight: u32,
    /// What its modules may be granted.
    #[serde(default)]
    pub grants: Capabilities,
    /// What it may use.
    #[serde(default)]
    pub quotas: Quotas,
    /// Whether its uploads must be signed.
    #[serde(default)]
    pub signatures: SignaturePolicy,
    /// The ed25519 public keys that sign its uploads, each as 64 hexadecimal digits.
    #[serde(default)]
    pub signing_keys: Vec<String>,
    /// How long its results and its old modules are kept, seconds; the worker's own, without.
    #[serde(default)]
    pub retention_s: Option<u64>,
}

const fn one() -> u32 {
    1
}

/// The largest weight.
pub const WEIGHT_MAX: u32 = 1_000;

impl Tenant {
    /// A tenant with nothing but a name: it owns no queue, and has the quotas of one that says
    /// nothing about them.
    pub fn new(id: TenantId) -> Self {
        let (grants, quotas) = if id.is_default() {
            (Capabilities::everything(), Quotas::unlimited())
        } else {
            (Capabilities::default(), Quotas::default())
        };
        Self {
            id,
            queues: Vec::new(),
            weight: 1,
            grants,
            quotas,
            signatures: SignaturePolicy::Off,
            signing_keys: Vec::new(),
            retention_s: None,
        }
    }

    /// How long its results and its old modules are kept, if it says so.
    pub fn retention(&self) -> Option<Duration> {
        self.retention_s.map(Duration::from_secs)
    }
}

/// All tenants at one moment; the default tenant is always among them.
#[derive(Debug, Clone)]
pub struct Tenants {
    by_id: HashMap<TenantId, Arc<Tenant>>,
    owners: Owners,
    default: Arc<Tenant>,
}

/// Why tenants cannot be together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TenantsError {
    /// Two have one name.
    #[error("the tenant `{0}` is there twice")]
    Twice(TenantId),
    /// A queue would have two owners.
    #[error("the tenants `{one}` and `{other}` both own the queues `{glob}`")]
    Shared {
        /// Who has them.
        one: TenantId,
        /// Who wants them.
        other: TenantId,
        /// The queues.
        glob: QueueGlob,
    },
    /// A weight of nothing, or one beyond all others.
    #[error("the tenant `{0}` has the weight {1}; it may be 1 to {WEIGHT_MAX}")]
    Weight(TenantId, u32),
}

impl Tenants {
    /// These tenants, and the default one if it is not among them.
    ///
    /// # Errors
    /// When two have one name or could own one queue, or a weight is out of bounds.
    pub fn new(tenants: impl IntoIterator<Item = Tenant>) -> Result<Self, TenantsError> {
        let mut by_id: HashMap<TenantId, Arc<Tenant>> = HashMap::new();
        let mut owners = Owners::default();
        for tenant in tenants {
            let tenant = Arc::new(tenant);
            if !(1..=WEIGHT_MAX).contains(&tenant.weight) {
                return Err(TenantsError::Weight(tenant.id.clone(), tenant.weight));
            }
            for glob in &tenant.queues {
                owners.enter(glob, &tenant).map_err(|owner| TenantsError::Shared {
                    one: owner.id.clone(),
                    other: tenant.id.clone(),
                    glob: glob.clone(),
                })?;
            }
            if let Some(before) = by_id.insert(tenant.id.clone(), tenant) {
                return Err(TenantsError::Twice(before.id.clone()));
            }
        }
        let id = TenantId::default();
        let default =
            Arc::clone(by_id.entry(id.clone()).or_insert_with(|| Arc::new(Tenant::new(id))));
        Ok(Self { by_id, owners, default })
    }

    /// Who owns a queue: whoever names it, then whoever has the longest glob that fits, then the
    /// default tenant.
    pub fn owner(&self, queue: &QueueName) -> &Arc<Tenant> {
        if self.is_alone() {
            return &self.default;
        }
        self.owners.of(queue).unwrap_or(&self.default)
    }

    /// The queue that a tenant's calls go to when nobody names one: `<tenant>.default`, if it owns
    /// that. The default tenant's is configured elsewhere.
    pub fn usual_queue(&self, tenant: &Tenant) -> Option<QueueName> {
        let usual = QueueName::from(format!("{}.default", tenant.id));
        (!tenant.id.is_default() && self.owner(&usual).id == tenant.id).then_some(usual)
    }

    /// The tenant of this name.
    pub fn get(&self, id: &TenantId) -> Option<&Arc<Tenant>> {
        self.by_id.get(id)
    }

    /// The tenant that owns what no other does.
    pub fn default_tenant(&self) -> &Arc<Tenant> {
        &self.default
    }

    /// Whether there is nobody but the default tenant.
    pub fn is_alone(&self) -> bool {
        self.by_id.len() == 1
    }

    /// All of them, by their names.
    pub fn all(&self) -> Vec<Arc<Tenant>> {
        let mut all: Vec<_> = self.by_id.values().cloned().collect();
        all.sort_by(|one, other| one.id.cmp(&other.id));
        all
    }
}

impl Default for Tenants {
    /// The default tenant alone.
    fn default() -> Self {
        let default = Arc::new(Tenant::new(TenantId::default()));
        Self {
            by_id: HashMap::from([(default.id.clone(), Arc::clone(&default))]),
            owners: Owners::default(),
            default,
        }
    }
}

/// The tenants as they are now, shared by everybody who decides by them.
#[derive(Debug, Default)]
pub struct TenantTable {
    current: RwLock<Arc<Tenants>>,
}

impl TenantTable {
    /// A table that begins with these.
    pub fn new(tenants: Tenants) -> Self {
        Self { current: RwLock::new(Arc::new(tenants)) }
    }

    /// The tenants now. They do not change in the caller's hand.
    pub fn now(&self) -> Arc<Tenants> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Who owns a queue now.
    pub fn owner(&self, queue: &QueueName) -> Arc<Tenant> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(current.owner(queue))
    }

    /// Replaces all of them.
    pub fn set(&self, tenants: Tenants) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tenants);
    }
}

#[cfg(test)]
mod tests {
    use super::{Tenant, TenantId, Tenants, TenantsError};

    fn tenant(id: &str, queues: &[&str]) -> Tenant {
        let queues = queues.iter().map(|glob| glob.parse().unwrap()).collect();
        Tenant { queues, ..Tenant::new(id.parse().unwrap()) }
    }

    #[test]
    fn a_queue_belongs_to_who_names_it_then_to_the_longest_glob_then_to_the_default_tenant() {
        let tenants = Tenants::new([
            tenant("acme", &["acme.*", "shared"]),
            tenant("beta", &["acme.beta.*", "acme.one"]),
            tenant("night", &["*.night", "*.beta.long*night"]),
        ])
        .unwrap();
        for (queue, owner) in [
            ("acme.x", "acme"),
            ("acme.beta.x", "beta"),
            ("acme.one", "beta"),
            ("x.night", "night"),
            ("acme.night", "night"),
            ("acme.beta.night", "beta"),
            ("acme.beta.long.night", "night"),
            ("shared", "acme"),
            ("celery", "default"),
            ("acme", "default"),
        ] {
            assert_eq!(tenants.owner(&queue.into()).id.as_str(), owner, "{queue}");
        }
        assert_eq!(Tenants::default().owner(&"acme.x".into()).id, TenantId::default());
        let usual = |id: &str| tenants.usual_queue(tenants.get(&id.parse().unwrap()).unwrap());
        assert_eq!(usual("acme"), Some("acme.default".into()));
        assert_eq!((usual("beta"), usual("default")), (None, None));
    }

    #[test]
    fn no_queue_has_two_owners_and_no_name_two_tenants() {
        let shared = Tenants::new([tenant("a", &["q.*"]), tenant("b", &["q.*"])]).unwrap_err();
        assert!(matches!(shared, TenantsError::Shared { .. }));
        let shared = Tenants::new([tenant("a", &["q"]), tenant("b", &["q"])]).unwrap_err();
        assert!(matches!(shared, TenantsError::Shared { .. }));
        let twice = Tenants::new([tenant("a", &[]), tenant("a", &[])]).unwrap_err();
        assert_eq!(twice, TenantsError::Twice("a".parse().unwrap()));
        let weight = Tenant { weight: 0, ..tenant("a", &[]) };
        assert!(matches!(Tenants::new([weight]).unwrap_err(), TenantsError::Weight(..)));
    }

    #[test]
    fn names_are_plain_enough_for_paths_and_keys() {
        for name in ["a", "acme-2.eu_x", &"a".repeat(64)] {
            assert!(name.parse::<TenantId>().is_ok(), "{name}");
        }
        for name in ["", "A", "a/b", "..", ".a", "a b", "ä", "a\0", &"a".repeat(65)] {
            assert!(name.parse::<TenantId>().is_err(), "{name}");
        }
    }
}
