//! Which module implements which task, for which tenant.
//!
//! A tenant's tasks are replaced as a whole, in one step: a call is answered by the old modules or by
//! the new ones, and a job that was admitted keeps what it was answered.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use lovage_core::ports::{Registry, Resolved};
use lovage_core::{Module, Percentage, TaskId, TaskName, TaskSpec, TenantId};

/// The tasks that this worker can run.
#[derive(Debug, Default)]
pub struct Modules {
    tenants: RwLock<HashMap<TenantId, Tasks>>,
    changes: AtomicU64,
}

type Tasks = HashMap<TaskName, Answer>;

/// What answers a task: the live module, and the one that is tried on some calls.
#[derive(Debug, Clone, Default)]
struct Answer {
    live: Option<Resolved>,
    canary: Option<(Percentage, Resolved)>,
}

/// A module that answers calls: all of them, or as the canary a share of them.
#[derive(Debug, Clone)]
pub struct Route {
    /// The module.
    pub module: Arc<Module>,
    /// Its share of the calls, if it is a canary.
    pub canary: Option<Percentage>,
}

/// Two modules want to implement the same task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("task `{task}` is already implemented by module `{module}` ({digest})")]
pub struct Conflict {
    /// The task.
    pub task: TaskName,
    /// The module that has it.
    pub module: String,
    /// Its digest, in short.
    pub digest: String,
}

impl Modules {
    /// Adds a module of the default tenant with all its tasks, or none of them.
    ///
    /// # Errors
    /// When another module implements one of the tasks.
    pub fn add(&self, module: &Arc<Module>) -> Result<(), Conflict> {
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        let tasks = tenants.entry(TenantId::default()).or_default();
        let mut with = tasks.clone();
        insert(&mut with, &Route { module: Arc::clone(module), canary: None })?;
        *tasks = with;
        self.changes.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Replaces all modules of a tenant. Of two that want one task the first has it; the conflicts
    /// are returned.
    pub fn replace(&self, tenant: &TenantId, routes: &[Route]) -> Vec<Conflict> {
        let mut tasks = Tasks::new();
        let conflicts = routes.iter().filter_map(|route| {
            let mut with = tasks.clone();
            insert(&mut with, route).map(|()| tasks = with).err()
        });
        let conflicts = conflicts.collect();
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        if tasks.is_empty() {
            tenants.remove(tenant);
        } else {
            tenants.insert(tenant.clone(), tasks);
        }
        self.changes.fetch_add(1, Ordering::Release);
        conflicts
    }

    /// The modules that answer a tenant's calls, canaries aside.
    pub fn live(&self, tenant: &TenantId) -> Vec<Arc<Module>> {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        let answers = tenants.get(tenant).into_iter().flat_map(HashMap::values);
        let mut live: Vec<_> =
            answers.filter_map(|it| it.live.as_ref()).map(|it| Arc::clone(&it.module)).collect();
        live.sort_by_key(|module| module.digest);
        live.dedup_by_key(|module| module.digest);
        live
    }

    /// The names of all tasks of all tenants, sorted.
    pub fn names(&self) -> Vec<TaskName> {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<_> = tenants.values().flat_map(HashMap::keys).cloned().collect();
        names.sort();
        names.dedup();
        names
    }

    /// Whether a module of any tenant implements this task.
    pub fn knows(&self, task: &TaskName) -> bool {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        tenants.values().any(|tasks| tasks.contains_key(task))
    }

    /// What the modules say of all tasks of all tenants, sorted by their names; of two with one name
    /// the first tenant's.
    pub fn specs(&self) -> Vec<Arc<TaskSpec>> {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        let answers = tenants.values().flat_map(HashMap::values);
        let task = |it: &Answer| {
            let canary = it.canary.as_ref().map(|(_, canary)| canary);
            it.live.as_ref().or(canary).map(|resolved| Arc::clone(&resolved.task))
        };
        let mut specs: Vec<_> = answers.filter_map(task).collect();
        specs.sort_by(|one, other| one.name.cmp(&other.name));
        specs.dedup_by(|one, other| one.name == other.name);
        specs
    }
}

fn insert(tasks: &mut Tasks, route: &Route) -> Result<(), Conflict> {
    for task in &route.module.manifest.tasks {
        let resolved = Resolved { module: Arc::clone(&route.module), task: Arc::new(task.clone()) };
        let answer = tasks.entry(task.name.clone()).or_default();
        let other = match route.canary {
            Some(share) => answer.canary.replace((share, resolved)).map(|(_, other)| other),
            None => answer.live.replace(resolved),
        };
        if let Some(other) = other.filter(|other| other.module.digest != route.module.digest) {
            return Err(Conflict {
                task: task.name.clone(),
                module: other.module.manifest.module.clone(),
                digest: other.module.digest.short(),
            });
        }
    }
    Ok(())
}

impl Registry for Modules {
    fn resolve(&self, tenant: &TenantId, task: &TaskName, call: &TaskId) -> Option<Resolved> {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        let Answer { live, canary } = tenants.get(tenant)?.get(task)?;
        match (live, canary) {
            (_, Some((share, canary))) if share.takes(call) => Some(canary.clone()),
            // A task that only the canary has is nobody else's to answer.
            (None, Some((_, canary))) => Some(canary.clone()),
            (live, _) => live.clone(),
        }
    }

    fn generation(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lovage_core::ports::Registry as _;
    use lovage_core::{Digest, Manifest, Module, Percentage, TenantId};

    use super::{Modules, Route};

    fn module(digest: u8, tasks: &[&str]) -> Arc<Module> {
        let tasks: Vec<_> = tasks.iter().map(|name| format!(r#"{{"name":"{name}"}}"#)).collect();
        let text = format!(r#"{{"v":1,"module":"m{digest}","tasks":[{}]}}"#, tasks.join(","));
        Arc::new(Module {
            digest: Digest::from_bytes([digest; 32]),
            manifest: Manifest::parse(&text).unwrap(),
            compiled: "/nowhere".into(),
        })
    }

    fn answered(modules: &Modules, tenant: &TenantId, task: &str, call: &str) -> Option<u8> {
        let resolved = modules.resolve(tenant, &task.into(), &call.into())?;
        Some(resolved.module.digest.as_bytes()[0])
    }

    #[test]
    fn a_task_has_one_module_and_a_conflict_adds_nothing() {
        let modules = Modules::default();
        let tenant = TenantId::default();
        modules.add(&module(1, &["a", "b"])).unwrap();
        let conflict = modules.add(&module(2, &["c", "b"])).unwrap_err();
        assert_eq!((conflict.task.as_str(), conflict.module.as_str()), ("b", "m1"));
        assert_eq!(answered(&modules, &tenant, "c", "1"), None);
        modules.add(&module(1, &["a", "b"])).unwrap();
        assert_eq!(modules.names(), ["a".into(), "b".into()]);
        assert!(modules.replace(&tenant, &[]).is_empty());
        assert!(modules.names().is_empty());
    }

    #[test]
    fn tenants_do_not_meet_each_others_tasks() {
        let (modules, acme) = (Modules::default(), "acme".parse().unwrap());
        let live = Route { module: module(1, &["a"]), canary: None };
        assert_eq!(modules.replace(&acme, std::slice::from_ref(&live)), []);
        assert_eq!(answered(&modules, &acme, "a", "1"), Some(1));
        assert_eq!(answered(&modules, &TenantId::default(), "a", "1"), None);
        let second = Route { module: module(2, &["a"]), canary: None };
        assert_eq!(modules.replace(&acme, &[live, second]).len(), 1);
        assert_eq!(answered(&modules, &acme, "a", "1"), Some(1), "the first has it");
    }

    #[test]
    fn a_canary_answers_its_share_and_the_same_call_always_alike() {
        let (modules, acme) = (Modules::default(), "acme".parse().unwrap());
        let share = Percentage::new(10).unwrap();
        let canary = Route { module: module(2, &["a", "new"]), canary: Some(share) };
        modules.replace(&acme, &[Route { module: module(1, &["a"]), canary: None }, canary]);
        let of_the_canary =
            |call: &u32| answered(&modules, &acme, "a", &call.to_string()) == Some(2);
        let first: Vec<_> = (0..10_000).filter(of_the_canary).collect();
        assert!((800..1_200).contains(&first.len()), "{}", first.len());
        assert_eq!(first, (0..10_000).filter(of_the_canary).collect::<Vec<_>>());
        assert_eq!(answered(&modules, &acme, "new", "1"), Some(2));
    }
}
