//! Which module implements which task.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use lovage_core::ports::{Registry, Resolved};
use lovage_core::{Digest, Module, TaskName};

/// The tasks that this worker can run.
#[derive(Debug, Default)]
pub struct Modules {
    tasks: RwLock<HashMap<TaskName, Resolved>>,
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
    /// Adds a module with all its tasks, or none of them.
    ///
    /// # Errors
    /// When another module implements one of the tasks.
    pub fn add(&self, module: &Arc<Module>) -> Result<(), Conflict> {
        let mut tasks = self.tasks.write().unwrap_or_else(PoisonError::into_inner);
        for task in &module.manifest.tasks {
            if let Some(other) = tasks.get(&task.name)
                && other.module.digest != module.digest
            {
                return Err(Conflict {
                    task: task.name.clone(),
                    module: other.module.manifest.module.clone(),
                    digest: other.module.digest.short(),
                });
            }
        }
        for task in &module.manifest.tasks {
            let resolved = Resolved { module: Arc::clone(module), task: Arc::new(task.clone()) };
            tasks.insert(task.name.clone(), resolved);
        }
        Ok(())
    }

    /// Takes a module's tasks away; jobs that were admitted with it keep it.
    pub fn remove(&self, digest: Digest) {
        let mut tasks = self.tasks.write().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|_, resolved| resolved.module.digest != digest);
    }

    /// The names of all tasks, sorted.
    pub fn names(&self) -> Vec<TaskName> {
        let tasks = self.tasks.read().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<_> = tasks.keys().cloned().collect();
        names.sort();
        names
    }
}

impl Registry for Modules {
    fn resolve(&self, task: &TaskName) -> Option<Resolved> {
        self.tasks.read().unwrap_or_else(PoisonError::into_inner).get(task).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lovage_core::ports::Registry as _;
    use lovage_core::{Digest, Manifest, Module};

    use super::Modules;

    fn module(digest: u8, tasks: &[&str]) -> Arc<Module> {
        let tasks: Vec<_> = tasks.iter().map(|name| format!(r#"{{"name":"{name}"}}"#)).collect();
        let text = format!(r#"{{"v":1,"module":"m{digest}","tasks":[{}]}}"#, tasks.join(","));
        Arc::new(Module {
            digest: Digest::from_bytes([digest; 32]),
            manifest: Manifest::parse(&text).unwrap(),
            compiled: "/nowhere".into(),
        })
    }

    #[test]
    fn a_task_has_one_module_and_a_conflict_adds_nothing() {
        let modules = Modules::default();
        modules.add(&module(1, &["a", "b"])).unwrap();
        let conflict = modules.add(&module(2, &["c", "b"])).unwrap_err();
        assert_eq!((conflict.task.as_str(), conflict.module.as_str()), ("b", "m1"));
        assert!(modules.resolve(&"c".into()).is_none());
        modules.add(&module(1, &["a", "b"])).unwrap();
        assert_eq!(modules.names(), ["a".into(), "b".into()]);
        modules.remove(Digest::from_bytes([1; 32]));
        assert!(modules.names().is_empty());
    }
}
