//! The registry as a folder: on one machine, or shared by many.
//!
//! ```text
//! FOLDER/changed                          written anew after every change; what workers look at
//! FOLDER/incoming/<uuid>                  bytes that arrive
//! FOLDER/tenants/<tenant>/modules/<sha256>.wasm
//! FOLDER/tenants/<tenant>/shelf.<revision>.json
//! ```
//!
//! A shelf is replaced by giving a finished file the name of the next revision, with a hard link: that
//! fails when somebody else has made that revision, on a network file system too. So two writers
//! need no server between them, and a reader never sees half a shelf. Bytes are named by their hash
//! and never change. Each tenant has its own copy, so that nobody learns what others have.
//!
//! Deliberately absent: locks, and trust in what is read. Bytes are hashed again by whoever runs them.

#[cfg(feature = "object-store")]
mod object;
mod shelves;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use lovage_core::admin_ports::{Incoming, ModuleStore};
use lovage_core::ports::PortError;
use lovage_core::{Digest, Shelf, TenantId};

#[cfg(feature = "object-store")]
pub use object::ObjectRegistry;

/// How often a worker looks whether something changed: it reads one small file.
const LOOK: Duration = Duration::from_millis(200);

/// How long bytes may lie untouched before they are thrown away.
const ABANDONED: Duration = Duration::from_hours(1);

/// A registry in a folder.
#[derive(Debug)]
pub struct FolderRegistry {
    folder: PathBuf,
    /// The mark as it was when somebody was told last that something changed.
    told: Mutex<Option<Mark>>,
}

/// What is in the mark: something else each time. Its times would not do: two changes within a few
/// milliseconds have the same.
type Mark = Vec<u8>;

impl FolderRegistry {
    /// Opens a folder, and makes it if it is missing. What others left half-uploaded an hour ago is
    /// removed.
    ///
    /// # Errors
    /// When the folder cannot be made or written.
    pub async fn open(folder: PathBuf) -> Result<Self, PortError> {
        let registry = Self { folder, told: Mutex::new(None) };
        let (tenants, incoming) = (registry.folder.join("tenants"), registry.incoming_folder());
        blocking("open the registry", move || {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o700);
            builder.create(tenants)?;
            builder.create(&incoming)?;
            sweep(&incoming)
        })
        .await?;
        Ok(registry)
    }

    fn incoming_folder(&self) -> PathBuf {
        self.folder.join("incoming")
    }

    fn tenant(&self, tenant: &TenantId) -> PathBuf {
        self.folder.join("tenants").join(tenant.as_str())
    }

    fn file(&self, tenant: &TenantId, digest: &Digest) -> PathBuf {
        self.tenant(tenant).join("modules").join(format!("{digest}.wasm"))
    }

    /// Whether nobody was told of this mark yet; now somebody is.
    fn is_news(&self, now: Option<Mark>) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = *told != now;
        *told = now;
        is_news
    }

    fn mark(&self) -> PathBuf {
        self.folder.join("changed")
    }
}

#[async_trait]
impl ModuleStore for FolderRegistry {
    async fn revisions(&self) -> Result<Vec<(TenantId, u64)>, PortError> {
        let folder = self.folder.join("tenants");
        blocking("look through the registry", move || shelves::revisions(&folder)).await
    }

    async fn shelf(&self, tenant: &TenantId) -> Result<Shelf, PortError> {
        let folder = self.tenant(tenant);
        blocking("read a shelf of the registry", move || shelves::read(&folder)).await
    }

    async fn replace(&self, tenant: &TenantId, shelf: &Shelf) -> Result<bool, PortError> {
        let (folder, shelf, mark) = (self.tenant(tenant), shelf.clone(), self.mark());
        blocking("write a shelf of the registry", move || {
            let replaced = shelves::replace(&folder, &shelf)?;
            if replaced {
                fs::write(mark, uuid::Uuid::new_v4().to_string())?;
            }
            Ok(replaced)
        })
        .await
    }

    async fn incoming(&self) -> Result<Incoming, PortError> {
        let path = self.incoming_folder().join(uuid::Uuid::new_v4().to_string());
        let made = path.clone();
        blocking("begin an upload", move || File::create_new(made).map(drop)).await?;
        Ok(Incoming::new(path.clone(), Removed(path)))
    }

    async fn keep(
        &self,
        tenant: &TenantId,
        digest: &Digest,
        incoming: Incoming,
    ) -> Result<(), PortError> {
        let place = self.file(tenant, digest);
        blocking("keep a module", move || {
            let folder = place.parent().unwrap_or(Path::new("."));
            fs::create_dir_all(folder)?;
            let file = File::open(incoming.path())?;
            file.sync_all()?;
            fs::rename(incoming.path(), &place)?;
            File::open(folder)?.sync_all()
        })
        .await
    }

    async fn place(&self, tenant: &TenantId, digest: &Digest) -> Result<PathBuf, PortError> {
        Ok(self.file(tenant, digest))
    }

    async fn discard(&self, tenant: &TenantId, digests: &[Digest]) -> Result<(), PortError> {
        let places: Vec<_> = digests.iter().map(|digest| self.file(tenant, digest)).collect();
        blocking("discard modules", move || {
            places.iter().try_for_each(|place| match fs::remove_file(place) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            })
        })
        .await
    }

    async fn changed(&self, longest: Duration) {
        let mark = self.mark();
        let look = async {
            loop {
                if self.is_news(seen(&mark)) {
                    return;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        // That nothing was seen to change means little where attributes are cached: then look, too.
        let _ = tokio::time::timeout(longest, look).await;
    }

    async fn is_changed(&self) -> bool {
        self.is_news(seen(&self.mark()))
    }
}

/// What the mark says. It is opened each time: a network file system looks at the server then.
fn seen(mark: &Path) -> Option<Mark> {
    fs::read(mark).ok()
}

/// Removes what nobody has touched for an hour.
fn sweep(incoming: &Path) -> io::Result<()> {
    for entry in fs::read_dir(incoming)? {
        let entry = entry?;
        let touched = entry.metadata().and_then(|metadata| metadata.modified());
        #[expect(clippy::disallowed_methods, reason = "compared with what the file system says")]
        let now = SystemTime::now();
        let age = touched.ok().and_then(|touched| now.duration_since(touched).ok());
        if age.is_some_and(|age| age > ABANDONED) {
            // Somebody else may have swept it.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// Removes a file when it is dropped, if it is still there.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // It was kept, or is swept later.
        let _ = fs::remove_file(&self.0);
    }
}

async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, PortError> {
    let done = tokio::task::spawn_blocking(work);
    done.await
        .map_err(|gone| PortError::transient(what, gone))?
        .map_err(|error| PortError::transient(what, error))
}

#[cfg(test)]
mod tests;
