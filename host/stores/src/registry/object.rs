//! The registry in an object store, for workers that share no folder.
//!
//! ```text
//! changed                               written anew after every change; what workers look at
//! shelves/<tenant>/<revision>.json
//! modules/<tenant>/<sha256>.wasm
//! ```
//!
//! As in a [folder](super), a shelf is replaced by the next revision, which is put only if nobody else
//! has put it. Bytes are brought to a folder of this machine when they are first run here, and stay.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt as _;
use lovage_core::admin_ports::{Incoming, ModuleStore};
use lovage_core::ports::PortError;
use lovage_core::{Digest, Shelf, TenantId};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{Error, ObjectStore, PutMode, PutOptions, PutPayload};
use url::Url;

use super::FolderRegistry;

/// How often a worker looks whether something changed: it is one small request, which is paid for.
const LOOK: Duration = Duration::from_secs(1);

/// Revisions that stay. A writer that read one of them and is slow must find that the next one is
/// there, so they are more than are made while one is written.
const KEPT: u64 = 64;

/// How often reading is tried again because the revision went meanwhile.
const TRIES: usize = 3;

/// A registry in an object store.
#[derive(Debug)]
pub struct ObjectRegistry {
    objects: Arc<dyn ObjectStore>,
    /// What arrives, and copies of what is run here.
    local: FolderRegistry,
    /// The mark as it was when somebody was told last that something changed.
    told: Mutex<Option<Bytes>>,
}

impl ObjectRegistry {
    /// A registry among these objects, with copies in a folder of this machine.
    ///
    /// # Errors
    /// When the folder cannot be made or written.
    pub async fn open(objects: Arc<dyn ObjectStore>, folder: PathBuf) -> Result<Self, PortError> {
        let local = FolderRegistry::open(folder).await?;
        Ok(Self { objects, local, told: Mutex::new(None) })
    }

    /// The same below a URL such as `s3://bucket/prefix`. How to get in is read from what the
    /// environment says, `AWS_ACCESS_KEY_ID` and the like.
    ///
    /// # Errors
    /// When the URL means nothing here, or the folder cannot be made or written.
    pub async fn at(
        url: &str,
        environment: impl IntoIterator<Item = (String, String)>,
        folder: PathBuf,
    ) -> Result<Self, PortError> {
        let what = format!("open the registry at {url}");
        let parsed = Url::parse(url).map_err(|error| PortError::permanent(what.clone(), error))?;
        let environment =
            environment.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
        let (objects, prefix) = object_store::parse_url_opts(&parsed, environment)
            .map_err(|error| PortError::permanent(what, error))?;
        Self::open(Arc::new(PrefixStore::new(objects, prefix)), folder).await
    }

    /// Every revision that is there, of one tenant or of all.
    async fn all(&self, tenant: Option<&TenantId>) -> Result<Vec<(TenantId, u64)>, PortError> {
        let folder = tenant.map_or_else(|| "shelves".into(), |it| format!("shelves/{it}"));
        let found = self.objects.list(Some(&Path::from(folder)));
        let found: Vec<_> = found.try_collect().await.map_err(|it| failed("list shelves", it))?;
        let revision = |path: &Path| {
            let mut parts = path.parts().skip(1);
            let tenant = parts.next()?.as_ref().parse().ok()?;
            let number = parts.next()?.as_ref().strip_suffix(".json")?.parse().ok()?;
            Some((tenant, number))
        };
        Ok(found.iter().filter_map(|object| revision(&object.location)).collect())
    }

    async fn newest(&self, tenant: &TenantId) -> Result<Option<u64>, PortError> {
        let all = self.all(Some(tenant)).await?;
        Ok(all.into_iter().map(|(_, revision)| revision).max())
    }

    async fn get(&self, path: &Path) -> Result<Option<Bytes>, PortError> {
        let got = async { self.objects.get(path).await?.bytes().await };
        match got.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed("read from the registry", error)),
        }
    }

    async fn put(&self, path: &Path, bytes: Bytes) -> Result<(), PortError> {
        let put = self.objects.put(path, PutPayload::from_bytes(bytes)).await;
        put.map(drop).map_err(|error| failed("write to the registry", error))
    }

    async fn delete(&self, path: &Path) -> Result<(), PortError> {
        match self.objects.delete(path).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed("delete from the registry", error)),
        }
    }

    /// Whether nobody was told of the mark as it is now; then somebody is. One that cannot be read is
    /// as it was.
    async fn is_news(&self) -> bool {
        let Ok(now) = self.get(&Path::from("changed")).await else { return false };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = *told != now;
        *told = now;
        is_news
    }
}

#[async_trait]
impl ModuleStore for ObjectRegistry {
    async fn revisions(&self) -> Result<Vec<(TenantId, u64)>, PortError> {
        let mut newest = BTreeMap::new();
        for (tenant, revision) in self.all(None).await? {
            let known = newest.entry(tenant).or_insert(revision);
            *known = revision.max(*known);
        }
        Ok(newest.into_iter().collect())
    }

    async fn shelf(&self, tenant: &TenantId) -> Result<Shelf, PortError> {
        for _ in 0..TRIES {
            let Some(revision) = self.newest(tenant).await? else { return Ok(Shelf::default()) };
            if let Some(text) = self.get(&shelf_path(tenant, revision)).await? {
                let shelf: Result<Shelf, _> = serde_json::from_slice(&text);
                let shelf = shelf.map_err(|error| PortError::permanent("read a shelf", error))?;
                return Ok(Shelf { revision, ..shelf });
            }
        }
        Err(PortError::transient("read a shelf", "it is replaced faster than it can be read"))
    }

    async fn replace(&self, tenant: &TenantId, shelf: &Shelf) -> Result<bool, PortError> {
        let what = "write a shelf";
        let text = serde_json::to_vec(shelf).map_err(|error| PortError::permanent(what, error))?;
        let all = self.all(Some(tenant)).await?;
        if all.iter().map(|(_, revision)| *revision).max().unwrap_or(0) != shelf.revision {
            return Ok(false);
        }
        let revision = shelf.revision + 1;
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let put = self.objects.put_opts(&shelf_path(tenant, revision), text.into(), options).await;
        match put {
            Ok(_) => {}
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => return Ok(false),
            Err(error) => return Err(failed(what, error)),
        }
        let mark = uuid::Uuid::new_v4().to_string();
        self.put(&Path::from("changed"), mark.into()).await?;
        for (tenant, old) in all.iter().filter(|(_, old)| old + KEPT <= revision) {
            self.delete(&shelf_path(tenant, *old)).await?;
        }
        Ok(true)
    }

    async fn incoming(&self) -> Result<Incoming, PortError> {
        self.local.incoming().await
    }

    async fn keep(
        &self,
        tenant: &TenantId,
        digest: &Digest,
        incoming: Incoming,
    ) -> Result<(), PortError> {
        let what = "keep a module";
        let bytes = tokio::fs::read(incoming.path()).await;
        let bytes = bytes.map_err(|error| PortError::transient(what, error))?;
        self.put(&module_path(tenant, digest), bytes.into()).await?;
        self.local.keep(tenant, digest, incoming).await
    }

    async fn place(&self, tenant: &TenantId, digest: &Digest) -> Result<PathBuf, PortError> {
        let what = "bring a module here";
        let place = self.local.place(tenant, digest).await?;
        if tokio::fs::try_exists(&place).await.unwrap_or(false) {
            return Ok(place);
        }
        let Some(bytes) = self.get(&module_path(tenant, digest)).await? else {
            return Err(PortError::permanent(what, "the registry has no such bytes"));
        };
        let incoming = self.local.incoming().await?;
        let written = tokio::fs::write(incoming.path(), bytes).await;
        written.map_err(|error| PortError::transient(what, error))?;
        self.local.keep(tenant, digest, incoming).await?;
        Ok(place)
    }

    async fn discard(&self, tenant: &TenantId, digests: &[Digest]) -> Result<(), PortError> {
        for digest in digests {
            self.delete(&module_path(tenant, digest)).await?;
        }
        self.local.discard(tenant, digests).await
    }

    async fn changed(&self, longest: Duration) {
        let look = async {
            while !self.is_news().await {
                tokio::time::sleep(LOOK).await;
            }
        };
        // That nothing was seen to change may be an error that has passed: then look, too.
        let _ = tokio::time::timeout(longest, look).await;
    }

    async fn is_changed(&self) -> bool {
        self.is_news().await
    }
}

fn shelf_path(tenant: &TenantId, revision: u64) -> Path {
    Path::from(format!("shelves/{tenant}/{revision}.json"))
}

fn module_path(tenant: &TenantId, digest: &Digest) -> Path {
    Path::from(format!("modules/{tenant}/{digest}.wasm"))
}

fn failed(what: &str, error: Error) -> PortError {
    match error {
        Error::PermissionDenied { .. }
        | Error::Unauthenticated { .. }
        | Error::NotSupported { .. }
        | Error::NotImplemented
        | Error::InvalidPath { .. } => PortError::permanent(what, error),
        error => PortError::transient(what, error),
    }
}
