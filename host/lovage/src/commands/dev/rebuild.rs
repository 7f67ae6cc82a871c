//! Builds a project anew on each save, beside the worker that runs what was built before.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::Context as _;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use super::super::build::{Project, Steps, build};
use crate::config::Surroundings;

/// A save is several events: this long after the last one it is over.
const QUIET: Duration = Duration::from_millis(150);

/// Events that wait to be looked at; one is enough to know that something changed.
const EVENTS_MAX: usize = 64;

/// What goes on beside the worker.
pub(super) struct Rebuild {
    done: Arc<Notify>,
}

/// What is built, and where to.
struct Builds {
    project: Option<Project>,
    modules: PathBuf,
    around: Surroundings,
}

impl Rebuild {
    /// Builds once, waiting for mends if it cannot, then watches.
    ///
    /// # Errors
    /// When nothing can be watched.
    pub(super) fn start(
        project: Option<Project>,
        modules: PathBuf,
        around: Surroundings,
    ) -> anyhow::Result<Self> {
        let builds = Builds { project, modules, around };
        let mut saves = Saves::watch(&builds)?;
        while !builds.build() {
            saves.next(&builds)?;
        }
        let done = Arc::new(Notify::new());
        let told = Arc::clone(&done);
        // It ends with the process: nothing waits for a build that nobody wants any more.
        std::thread::Builder::new().name("rebuild".into()).spawn(move || {
            while saves.next(&builds).is_ok() {
                if builds.build() {
                    told.notify_one();
                }
            }
        })?;
        Ok(Self { done })
    }

    /// Waits until there is something new to run.
    pub(super) async fn done(&mut self) {
        self.done.notified().await;
    }
}

impl Builds {
    /// Whether it could be built; what was wrong is told.
    fn build(&self) -> bool {
        let Some(project) = &self.project else { return true };
        let output = self.modules.join(format!("{}.wasm", project.name));
        match build(project, &output, &self.around, Steps::new(false), true) {
            Ok(built) => {
                println!("{}: {}", project.name, built.tasks.join(" "));
                true
            }
            Err(error) => {
                println!("{}: {error:#}\nwaiting for the next save", project.name);
                false
            }
        }
    }

    /// The folders that sources are in: what is built lies in others.
    fn folders(&self) -> Vec<PathBuf> {
        let Some(project) = &self.project else { return vec![self.modules.clone()] };
        let files = project.files().unwrap_or_default();
        let parents = files.iter().filter_map(|file| file.parent().map(Path::to_owned));
        let mut folders: Vec<PathBuf> = parents.chain([project.root.clone()]).collect();
        folders.sort();
        folders.dedup();
        folders
    }

    /// Whether a file is one that a build depends on.
    fn is_source(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_module = name.ends_with(".wasm");
        let is_ours = name.starts_with('.') || name.ends_with('~') || name.ends_with(".partial");
        is_module == self.project.is_none() && !is_ours && !path.is_dir()
    }
}

/// Saves, as the operating system tells them.
struct Saves {
    watcher: RecommendedWatcher,
    news: Receiver<PathBuf>,
    watched: Vec<PathBuf>,
}

impl Saves {
    fn watch(builds: &Builds) -> anyhow::Result<Self> {
        let (tell, news): (SyncSender<PathBuf>, _) = sync_channel(EVENTS_MAX);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            let changes = matches!(
                event.kind,
                EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_)
            );
            for path in event.paths.into_iter().filter(|_| changes) {
                // A full channel knows already that something changed.
                let _ = tell.try_send(path);
            }
        });
        let watcher = watcher.context("cannot watch for saves")?;
        let mut saves = Self { watcher, news, watched: Vec::new() };
        saves.look_at(builds)?;
        Ok(saves)
    }

    fn look_at(&mut self, builds: &Builds) -> anyhow::Result<()> {
        for folder in builds.folders() {
            if !self.watched.contains(&folder) {
                self.watcher
                    .watch(&folder, RecursiveMode::NonRecursive)
                    .with_context(|| format!("cannot watch {}", folder.display()))?;
                self.watched.push(folder);
            }
        }
        Ok(())
    }

    /// Waits for a save, and until it is over.
    fn next(&mut self, builds: &Builds) -> anyhow::Result<()> {
        loop {
            let path = self.news.recv()?;
            if builds.is_source(&path) {
                break;
            }
        }
        while self.news.recv_timeout(QUIET).is_ok() {}
        self.look_at(builds)
    }
}
