//! Changes to a shelf, each of them whole or not at all.

use crate::{Digest, ModuleName, Percentage, Quotas, Shelf, TaskName, Timestamp, Version};

use super::{Canary, Rejection, Shelved, permission_changes};

/// Where a new version goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// It is kept, and answers nothing yet.
    Stored,
    /// It answers a share of the calls.
    Canary(Percentage),
    /// It answers all of them.
    Live,
}

/// What is to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// One version, which no channel points to.
    Version(Digest),
    /// The module with all its versions, none of which a channel points to.
    Module,
    /// The module, whatever answers calls now: they wait until it comes back.
    ModuleInUse,
}

/// Why a change is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShelfError {
    /// There is no such module.
    #[error("there is no module `{0}`")]
    NoModule(ModuleName),
    /// The module has no such version.
    #[error("the module has no version {0}")]
    NoVersion(String),
    /// There is nothing to go to: no canary to promote, nothing live before.
    #[error("the module has no {0}")]
    Nowhere(&'static str),
    /// A channel points to it.
    #[error("the version {0} answers calls")]
    InUse(String),
    /// Another module of the tenant implements one of its tasks.
    #[error("the task `{task}` is implemented by the module `{module}`")]
    TaskTaken {
        /// The task.
        task: TaskName,
        /// Who has it.
        module: ModuleName,
    },
    /// It may do more than the version that answers calls now, and nobody said that it may.
    #[error("it may do more than the live version: {}", .0.join("; "))]
    PermissionsChanged(Vec<String>),
    /// The tenant has as much as it may have.
    #[error("the tenant may have {most} {what}")]
    Quota {
        /// Of what.
        what: &'static str,
        /// How much.
        most: u64,
    },
}

/// Refusals that are remembered; beyond them the oldest is forgotten.
const REJECTED_MAX: usize = 500;

/// Former live versions that a module remembers.
const BEFORE_MAX: usize = 20;

impl Shelf {
    /// Adds a version and places it. Bytes that are there already are placed anew. Permissions that
    /// grow are taken where `placement` says that they were accepted.
    ///
    /// # Errors
    /// When a quota, another module's task, or permissions that nobody accepted stand against it.
    pub fn push(
        &mut self,
        name: &ModuleName,
        version: Version,
        (placement, accept): (Placement, bool),
        quotas: &Quotas,
    ) -> Result<(), ShelfError> {
        self.check_tasks(name, &version)?;
        let is_new = !self.modules.contains_key(name);
        if is_new && self.modules.len() as u64 >= u64::from(quotas.modules) {
            return Err(ShelfError::Quota { what: "modules", most: quotas.modules.into() });
        }
        let known = self.modules.get(name).and_then(|module| module.version(&version.digest));
        if known.is_none() && self.bytes().saturating_add(version.bytes) > quotas.storage_bytes {
            let (what, most) = ("bytes of modules", quotas.storage_bytes);
            return Err(ShelfError::Quota { what, most });
        }
        if let Some(live) = self.modules.get(name).and_then(Shelved::live_version) {
            let changes = permission_changes(live, &version);
            if !accept && placement != Placement::Stored && !changes.is_empty() {
                return Err(ShelfError::PermissionsChanged(changes));
            }
        }
        let module = self.modules.entry(name.clone()).or_default();
        let digest = version.digest;
        if module.version(&digest).is_none() {
            module.versions.push(version);
        }
        place(module, digest, placement);
        Ok(())
    }

    fn check_tasks(&self, name: &ModuleName, version: &Version) -> Result<(), ShelfError> {
        for task in &version.manifest.tasks {
            for (other, module) in self.modules.iter().filter(|(other, _)| *other != name) {
                let channels = [module.live, module.canary.map(|canary| canary.digest)];
                let mut versions =
                    channels.iter().flatten().filter_map(|digest| module.version(digest));
                if versions.any(|it| it.manifest.tasks.iter().any(|its| its.name == task.name)) {
                    let (task, module) = (task.name.clone(), other.clone());
                    return Err(ShelfError::TaskTaken { task, module });
                }
            }
        }
        Ok(())
    }

    /// Has a version answer all calls: the one that is named, or the canary.
    ///
    /// # Errors
    /// When there is no such module, version or canary, or permissions grow and nobody accepts it.
    pub fn promote(
        &mut self,
        name: &ModuleName,
        digest: Option<Digest>,
        accept: bool,
    ) -> Result<Digest, ShelfError> {
        let module = self.module(name)?;
        let canary = module.canary.map(|canary| canary.digest);
        let digest = digest.or(canary).ok_or(ShelfError::Nowhere("canary"))?;
        let version = module.version(&digest).ok_or_else(|| no_version(&digest))?.clone();
        let accepted = accept || canary == Some(digest);
        if let Some(live) = module.live_version().filter(|_| !accepted) {
            let changes = permission_changes(live, &version);
            if !changes.is_empty() {
                return Err(ShelfError::PermissionsChanged(changes));
            }
        }
        place(module, digest, Placement::Live);
        self.check_tasks(name, &version)?;
        Ok(digest)
    }

    /// Has a version answer a share of the calls; without one, no version does any more.
    ///
    /// # Errors
    /// When there is no such module or version, or permissions grow and nobody accepts it.
    pub fn set_canary(
        &mut self,
        name: &ModuleName,
        canary: Option<Canary>,
        accept: bool,
    ) -> Result<(), ShelfError> {
        let module = self.module(name)?;
        if let Some(canary) = canary {
            let version = module.version(&canary.digest);
            let version = version.ok_or_else(|| no_version(&canary.digest))?.clone();
            let changes = module.live_version().map(|live| permission_changes(live, &version));
            if let Some(changes) = changes.filter(|changes| !accept && !changes.is_empty()) {
                return Err(ShelfError::PermissionsChanged(changes));
            }
            module.canary = Some(canary);
            return self.check_tasks(name, &version);
        }
        module.canary = None;
        Ok(())
    }

    /// Has the version answer calls that did before the one that does now; the canary goes.
    ///
    /// # Errors
    /// When there is no such module, or nothing was live before.
    pub fn rollback(&mut self, name: &ModuleName) -> Result<Digest, ShelfError> {
        let module = self.module(name)?;
        let digest = module.before.pop().ok_or(ShelfError::Nowhere("version to go back to"))?;
        module.live = Some(digest);
        module.canary = None;
        let version = module.version(&digest).ok_or_else(|| no_version(&digest))?.clone();
        self.check_tasks(name, &version)?;
        Ok(digest)
    }

    /// Removes a version or a module; returns the digests that nothing here needs any more.
    ///
    /// # Errors
    /// When it is not there, or a channel points to it.
    pub fn remove(
        &mut self,
        name: &ModuleName,
        removal: Removal,
    ) -> Result<Vec<Digest>, ShelfError> {
        let module = self.module(name)?;
        let canary = module.canary.map(|canary| canary.digest);
        let used = |digest: &Digest| module.live == Some(*digest) || canary == Some(*digest);
        let gone: Vec<_> = match removal {
            Removal::Version(digest) => {
                module.version(&digest).ok_or_else(|| no_version(&digest))?;
                vec![digest]
            }
            _ => module.versions.iter().map(|version| version.digest).collect(),
        };
        if let Some(digest) = gone.iter().find(|digest| used(digest))
            && removal != Removal::ModuleInUse
        {
            return Err(ShelfError::InUse(digest.short()));
        }
        match removal {
            Removal::Version(digest) => {
                module.versions.retain(|version| version.digest != digest);
                module.before.retain(|before| *before != digest);
            }
            _ => {
                self.modules.remove(name);
            }
        }
        Ok(gone.into_iter().filter(|digest| !self.has(digest)).collect())
    }

    /// Removes versions of a module that were uploaded before a moment, that answer nothing, and that a
    /// rollback does not go to; returns the digests that nothing here needs any more.
    pub fn retire(&mut self, name: &ModuleName, before: Timestamp) -> Vec<Digest> {
        let Some(module) = self.modules.get_mut(name) else { return Vec::new() };
        let needed =
            [module.live, module.canary.map(|it| it.digest), module.before.last().copied()];
        let is_over = |it: &Version| it.at < before && !needed.contains(&Some(it.digest));
        let over = module.versions.iter().filter(|it| is_over(it)).map(|it| it.digest);
        let over: Vec<_> = over.collect();
        module.versions.retain(|it| !over.contains(&it.digest));
        module.before.retain(|digest| !over.contains(digest));
        over.into_iter().filter(|digest| !self.has(digest)).collect()
    }

    /// Remembers why bytes were refused.
    pub fn reject(&mut self, digest: &Digest, rejection: Rejection) {
        self.rejected.insert(digest.to_string(), rejection);
        while self.rejected.len() > REJECTED_MAX {
            let oldest = self.rejected.iter().min_by_key(|(_, rejection)| rejection.at);
            let Some(oldest) = oldest.map(|(digest, _)| digest.clone()) else { return };
            self.rejected.remove(&oldest);
        }
    }

    fn module(&mut self, name: &ModuleName) -> Result<&mut Shelved, ShelfError> {
        self.modules.get_mut(name).ok_or_else(|| ShelfError::NoModule(name.clone()))
    }
}

fn place(module: &mut Shelved, digest: Digest, placement: Placement) {
    match placement {
        Placement::Stored => {}
        Placement::Canary(share) => module.canary = Some(Canary { digest, share }),
        Placement::Live => {
            if let Some(before) = module.live.replace(digest).filter(|before| *before != digest) {
                module.before.push(before);
                let more = module.before.len().saturating_sub(BEFORE_MAX);
                module.before.drain(..more);
            }
            module.canary = None;
        }
    }
}

fn no_version(digest: &Digest) -> ShelfError {
    ShelfError::NoVersion(digest.short())
}

#[cfg(test)]
mod tests {
    use crate::{
        Canary, Digest, Manifest, Percentage, Placement, Quotas, Rejection, Removal, Shelf,
        ShelfError, Timestamp, Version,
    };

    fn digest(number: u8) -> Digest {
        Digest::from_bytes([number; 32])
    }

    fn version(number: u8, tasks: &str) -> Version {
        let text = format!(r#"{{"v":1,"module":"m","tasks":[{tasks}]}}"#);
        Version {
            digest: digest(number),
            bytes: 100,
            at: Timestamp::from_micros(number.into()),
            by: "me".into(),
            manifest: Manifest::parse(&text).unwrap(),
            imports: Vec::new(),
            signed_by: None,
        }
    }

    fn push(shelf: &mut Shelf, name: &str, version: Version) -> Result<(), ShelfError> {
        shelf.push(&name.parse().unwrap(), version, (Placement::Live, false), &Quotas::default())
    }

    const A: &str = r#"{"name":"a"}"#;

    #[test]
    fn a_version_goes_live_by_way_of_a_canary_and_back() {
        let (mut shelf, name) = (Shelf::default(), "shop".parse().unwrap());
        push(&mut shelf, "shop", version(1, A)).unwrap();
        let ten = Percentage::new(10).unwrap();
        let quotas = Quotas::default();
        shelf.push(&name, version(2, A), (Placement::Canary(ten), false), &quotas).unwrap();
        let module = &shelf.modules[&name];
        assert_eq!(module.live, Some(digest(1)));
        assert_eq!(module.canary, Some(Canary { digest: digest(2), share: ten }));
        assert_eq!(shelf.promote(&name, None, false), Ok(digest(2)));
        let module = &shelf.modules[&name];
        assert_eq!((module.live, module.canary), (Some(digest(2)), None));
        assert_eq!(shelf.rollback(&name), Ok(digest(1)));
        assert_eq!(shelf.modules[&name].live, Some(digest(1)));
        assert!(matches!(shelf.rollback(&name), Err(ShelfError::Nowhere(_))));
        assert!(matches!(shelf.promote(&name, None, false), Err(ShelfError::Nowhere(_))));
    }

    #[test]
    fn what_answers_calls_is_not_removed() {
        let (mut shelf, name) = (Shelf::default(), "shop".parse().unwrap());
        push(&mut shelf, "shop", version(1, A)).unwrap();
        push(&mut shelf, "shop", version(2, A)).unwrap();
        let live = shelf.remove(&name, Removal::Version(digest(2)));
        assert!(matches!(live, Err(ShelfError::InUse(_))));
        assert!(matches!(shelf.remove(&name, Removal::Module), Err(ShelfError::InUse(_))));
        assert_eq!(shelf.remove(&name, Removal::Version(digest(1))), Ok(vec![digest(1)]));
        assert!(matches!(shelf.rollback(&name), Err(ShelfError::Nowhere(_))), "it is forgotten");
        assert_eq!(shelf.remove(&name, Removal::ModuleInUse), Ok(vec![digest(2)]));
        assert_eq!(shelf, Shelf::default());
    }

    #[test]
    fn what_is_old_goes_unless_it_answers_calls_or_may_again() {
        let (mut shelf, name) = (Shelf::default(), "shop".parse().unwrap());
        for number in 1..=4 {
            push(&mut shelf, "shop", version(number, A)).unwrap();
        }
        let at = Timestamp::from_micros;
        assert_eq!(shelf.retire(&name, at(2)), [digest(1)]);
        assert_eq!(shelf.retire(&name, at(9)), [digest(2)], "3 is gone back to, 4 is live");
        assert_eq!(shelf.rollback(&name), Ok(digest(3)));
        assert!(matches!(shelf.rollback(&name), Err(ShelfError::Nowhere(_))));
        assert_eq!(shelf.retire(&name, at(9)), [digest(4)]);
        assert!(shelf.retire(&"other".parse().unwrap(), at(9)).is_empty());
    }

    #[test]
    fn a_task_has_one_module_of_a_tenant() {
        let mut shelf = Shelf::default();
        push(&mut shelf, "one", version(1, A)).unwrap();
        let taken = push(&mut shelf, "two", version(2, A)).unwrap_err();
        assert!(matches!(taken, ShelfError::TaskTaken { .. }));
    }

    #[test]
    fn quotas_bound_modules_and_bytes() {
        let mut shelf = Shelf::default();
        let quotas = Quotas { modules: 1, storage_bytes: 150, ..Quotas::default() };
        let mut push = |name: &str, version| {
            shelf.push(&name.parse().unwrap(), version, (Placement::Stored, false), &quotas)
        };
        push("one", version(1, A)).unwrap();
        assert!(matches!(push("two", version(2, "")), Err(ShelfError::Quota { most: 1, .. })));
        assert!(matches!(push("one", version(2, A)), Err(ShelfError::Quota { most: 150, .. })));
        push("one", version(1, A)).unwrap();
    }

    #[test]
    fn more_permissions_than_before_must_be_accepted() {
        let (mut shelf, name) = (Shelf::default(), "shop".parse().unwrap());
        push(&mut shelf, "shop", version(1, A)).unwrap();
        let more = r#"{"name":"a","capabilities":["http:api.bank.example"]}"#;
        let refused = push(&mut shelf, "shop", version(2, more)).unwrap_err();
        let ShelfError::PermissionsChanged(changes) = refused else { panic!("{refused}") };
        assert!(changes[0].contains("http:api.bank.example"), "{changes:?}");
        let quotas = Quotas::default();
        shelf.push(&name, version(2, more), (Placement::Live, true), &quotas).unwrap();
    }

    #[test]
    fn only_so_many_refusals_are_remembered() {
        let mut shelf = Shelf::default();
        for number in 0..600_u32 {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            let at = Timestamp::from_micros(number.into());
            let (code, detail, host) = (String::new(), String::new(), String::new());
            shelf.reject(&Digest::from_bytes(bytes), Rejection { code, detail, at, host });
        }
        assert_eq!(shelf.rejected.len(), 500);
        assert!(!shelf.rejected.contains_key(&"0".repeat(64)));
    }
}
