//! The tenants that a configuration names, each in a section `[tenants.NAME]`.

use std::collections::BTreeMap;
use std::str::FromStr;

use lovage_core::{Quotas, SignaturePolicy, Tenant, TenantId, Tenants};

use super::layers::Origin;
use super::parse::{Reader, size};

/// What is said of one tenant.
type Section = BTreeMap<&'static str, (String, Origin)>;

/// The tenants, and a problem for everything in them that cannot be meant.
pub(super) fn read(reader: &mut Reader<'_>) -> Tenants {
    let mut tenants = Vec::new();
    for (name, section) in reader.layers().tenants() {
        let mut problems = Problems { name, found: Vec::new() };
        match name.parse::<TenantId>() {
            Ok(id) => tenants.push(tenant(id, section, &mut problems)),
            Err(error) => problems.found.push(format!("tenants.{name}: {error}")),
        }
        problems.found.into_iter().for_each(|problem| reader.said_problem(problem));
    }
    Tenants::new(tenants).unwrap_or_else(|error| {
        reader.said_problem(error.to_string());
        Tenants::default()
    })
}

struct Problems<'a> {
    name: &'a str,
    found: Vec<String>,
}

fn tenant(id: TenantId, section: &Section, problems: &mut Problems<'_>) -> Tenant {
    let plain = Tenant::new(id);
    let usual = plain.quotas;
    let read = |key: &str| section.get(key).map(|(value, _)| value.trim());
    let queues = list(read("queues"), "queues", problems);
    let signing_keys: Vec<PublicKey> = list(read("signing_keys"), "signing_keys", problems);
    let grants = read("grants").is_some().then(|| list(read("grants"), "grants", problems));
    Tenant {
        queues,
        weight: one(read("weight"), "weight", problems).unwrap_or(plain.weight),
        grants: grants.map_or(plain.grants, |grants: Vec<_>| grants.into_iter().collect()),
        quotas: Quotas {
            running: one(read("max_in_flight"), "max_in_flight", problems).unwrap_or(usual.running),
            rate_per_s: one(read("rate_limit"), "rate_limit", problems).unwrap_or(usual.rate_per_s),
            queued: one(read("max_queued"), "max_queued", problems).unwrap_or(usual.queued),
            modules: one(read("max_modules"), "max_modules", problems).unwrap_or(usual.modules),
            uploads_per_minute: one(read("uploads_per_minute"), "uploads_per_minute", problems)
                .unwrap_or(usual.uploads_per_minute),
            fuel_per_minute: one(read("fuel_per_minute"), "fuel_per_minute", problems)
                .unwrap_or(usual.fuel_per_minute),
            storage_bytes: one::<Bytes>(read("storage"), "storage", problems)
                .map_or(usual.storage_bytes, |bytes| bytes.0),
        },
        signatures: one::<Policy>(read("signatures"), "signatures", problems)
            .map_or(plain.signatures, |policy| policy.0),
        signing_keys: signing_keys.into_iter().map(|key| key.0).collect(),
        retention_s: one(read("retention"), "retention", problems).filter(|time| *time > 0),
        ..plain
    }
}

/// One value, if it is said and can be meant.
fn one<T: FromStr>(said: Option<&str>, key: &str, problems: &mut Problems<'_>) -> Option<T> {
    let said = said?;
    let parsed = said.parse().ok();
    if parsed.is_none() {
        let name = problems.name;
        problems.found.push(format!("tenants.{name}.{key} = {said:?} cannot be meant"));
    }
    parsed
}

/// The elements of a list that can be meant.
fn list<T: FromStr>(said: Option<&str>, key: &str, problems: &mut Problems<'_>) -> Vec<T> {
    let elements = said.unwrap_or_default().split(',').map(str::trim);
    let elements = elements.filter(|element| !element.is_empty());
    elements.filter_map(|element| one(Some(element), key, problems)).collect()
}

struct Bytes(u64);

impl FromStr for Bytes {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        size(text).map(Self).ok_or(())
    }
}

struct Policy(SignaturePolicy);

impl FromStr for Policy {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(Self(match text {
            "off" => SignaturePolicy::Off,
            "warn" => SignaturePolicy::Warn,
            "require" => SignaturePolicy::Require,
            _ => return Err(()),
        }))
    }
}

/// A public key: 32 bytes in hexadecimal.
struct PublicKey(String);

impl FromStr for PublicKey {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hex && text.len() == 64 { Ok(Self(text.to_ascii_lowercase())) } else { Err(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use lovage_core::SignaturePolicy;

    use crate::config::{Config, Layers};

    fn config(text: &str) -> anyhow::Result<Config> {
        let mut layers = Layers::default();
        layers.file(Path::new("lovage.toml"), text).unwrap();
        Config::read(&layers)
    }

    #[test]
    fn a_section_is_a_tenant() {
        let text = "[tenants.acme]\nqueues = ['acme.*']\nweight = 4\nmax_in_flight = 8\n\
            storage = '1MiB'\ngrants = ['http:api.bank.example']\nsignatures = 'require'";
        let tenants = config(text).unwrap().tenants;
        let acme = tenants.owner(&"acme.default".into());
        assert_eq!((acme.id.as_str(), acme.weight), ("acme", 4));
        assert_eq!((acme.quotas.running, acme.quotas.storage_bytes), (8, 1 << 20));
        assert_eq!(acme.quotas.modules, 100);
        assert_eq!(acme.signatures, SignaturePolicy::Require);
        assert!(tenants.owner(&"celery".into()).id.is_default());
    }

    #[test]
    fn what_cannot_be_meant_is_told_with_its_place() {
        let text = "[tenants.acme]\nweight = 'much'\nqueus = ['a']\ngrants = ['http']\n\
            [tenants.Acme]\nweight = 1\n[tenants.beta]\nweight = 0";
        let error = config(text).unwrap_err().to_string();
        for part in ["tenants.acme.weight", "tenants.acme.queus", "tenants.acme.grants", "Acme"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        let error = config("[tenants.beta]\nweight = 0").unwrap_err().to_string();
        assert!(error.contains("beta"), "{error}");
    }
}
