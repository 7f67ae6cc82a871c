//! What every registry promises, put to each there is.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lovage_core::admin_ports::ModuleStore;
use lovage_core::{Digest, Shelf, Shelved, TenantId};
use tempfile::TempDir;

use super::FolderRegistry;

/// Two workers' views of one registry, and where they keep what is on this machine.
struct Rig {
    one: Arc<dyn ModuleStore>,
    other: Arc<dyn ModuleStore>,
    local: PathBuf,
    _folder: TempDir,
}

async fn in_a_folder() -> Rig {
    let folder = TempDir::new().unwrap();
    let local = folder.path().join("registry");
    let open = async || Arc::new(FolderRegistry::open(local.clone()).await.unwrap());
    Rig { one: open().await, other: open().await, local, _folder: folder }
}

#[cfg(feature = "object-store")]
async fn among(objects: Arc<dyn object_store::ObjectStore>, folder: TempDir) -> Rig {
    let open = async |name| {
        let objects = Arc::clone(&objects);
        Arc::new(super::ObjectRegistry::open(objects, folder.path().join(name)).await.unwrap())
    };
    let (one, other, local) = (open("one").await, open("other").await, folder.path().join("one"));
    Rig { one, other, local, _folder: folder }
}

#[cfg(feature = "object-store")]
async fn in_memory() -> Rig {
    among(Arc::new(object_store::memory::InMemory::new()), TempDir::new().unwrap()).await
}

#[cfg(feature = "object-store")]
async fn below_a_url() -> Rig {
    let folder = TempDir::new().unwrap();
    let objects = folder.path().join("objects");
    std::fs::create_dir(&objects).unwrap();
    let url = format!("file://{}", objects.display());
    let open = async |name| {
        let local = folder.path().join(name);
        Arc::new(super::ObjectRegistry::at(&url, [], local).await.unwrap())
    };
    let (one, other, local) = (open("one").await, open("other").await, folder.path().join("one"));
    Rig { one, other, local, _folder: folder }
}

/// Each promise with each registry.
macro_rules! promises {
    ($($rig:ident: [$($promise:ident),* $(,)?]),* $(,)?) => {$(
        mod $rig {
            $(#[tokio::test]
            async fn $promise() {
                super::$promise(super::$rig().await).await;
            })*
        }
    )*};
}

promises!(in_a_folder: [
    a_shelf_is_replaced_once_per_revision,
    of_many_writers_each_wins_once,
    what_arrives_is_kept_or_gone,
    a_change_is_noticed_by_others,
]);

#[cfg(feature = "object-store")]
promises!(
    in_memory: [
        a_shelf_is_replaced_once_per_revision,
        of_many_writers_each_wins_once,
        what_arrives_is_kept_or_gone,
        a_change_is_noticed_by_others,
    ],
    below_a_url: [
        a_shelf_is_replaced_once_per_revision,
        of_many_writers_each_wins_once,
        what_arrives_is_kept_or_gone,
        a_change_is_noticed_by_others,
    ],
);

fn acme() -> TenantId {
    "acme".parse().unwrap()
}

async fn a_shelf_is_replaced_once_per_revision(rig: Rig) {
    let empty = rig.one.shelf(&acme()).await.unwrap();
    assert_eq!(empty, Shelf::default());
    let mut one = empty.clone();
    one.modules.insert("shop".parse().unwrap(), Shelved::default());
    assert!(rig.one.replace(&acme(), &one).await.unwrap());
    assert!(!rig.other.replace(&acme(), &empty).await.unwrap(), "somebody was first");
    let read = rig.other.shelf(&acme()).await.unwrap();
    assert_eq!((read.revision, &read.modules), (1, &one.modules));
    assert_eq!(rig.other.revisions().await.unwrap(), [(acme(), 1)]);
}

async fn of_many_writers_each_wins_once(rig: Rig) {
    let writers = (0..8).map(|number: u32| {
        let store = Arc::clone(if number.is_multiple_of(2) { &rig.one } else { &rig.other });
        tokio::spawn(async move {
            loop {
                let mut shelf = store.shelf(&acme()).await.unwrap();
                let name = format!("module-{number}").parse().unwrap();
                shelf.modules.insert(name, Shelved::default());
                if store.replace(&acme(), &shelf).await.unwrap() {
                    return;
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let shelf = rig.one.shelf(&acme()).await.unwrap();
    assert_eq!((shelf.revision, shelf.modules.len()), (8, 8));
}

/// Files below a folder.
fn count(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

async fn what_arrives_is_kept_or_gone(rig: Rig) {
    let digest = Digest::from_bytes([1; 32]);
    let incoming = rig.one.incoming().await.unwrap();
    std::fs::write(incoming.path(), b"wasm").unwrap();
    rig.one.keep(&acme(), &digest, incoming).await.unwrap();
    for store in [&rig.one, &rig.other] {
        let place = store.place(&acme(), &digest).await.unwrap();
        assert_eq!(std::fs::read(place).unwrap(), b"wasm");
    }
    drop(rig.one.incoming().await.unwrap());
    assert_eq!(count(&rig.local.join("incoming")), 0);
    let place = rig.one.place(&acme(), &digest).await.unwrap();
    rig.one.discard(&acme(), &[digest, digest]).await.unwrap();
    assert!(!place.exists());
}

async fn a_change_is_noticed_by_others(rig: Rig) {
    let (shelf, acme) = (Shelf::default(), acme());
    let (noticed, replaced) = tokio::join!(
        tokio::time::timeout(Duration::from_secs(5), rig.other.changed(Duration::from_mins(1))),
        rig.one.replace(&acme, &shelf),
    );
    assert!(noticed.is_ok() && replaced.unwrap());
    // Whoever asks is told of each change once, however soon one follows another.
    rig.other.is_changed().await;
    assert!(!rig.other.is_changed().await);
    for _ in 0..3 {
        let shelf = rig.one.shelf(&acme).await.unwrap();
        assert!(rig.one.replace(&acme, &shelf).await.unwrap());
        assert!(rig.other.is_changed().await && !rig.other.is_changed().await);
    }
}

#[tokio::test]
async fn old_revisions_go() {
    let rig = in_a_folder().await;
    for _ in 0..5 {
        let shelf = rig.one.shelf(&acme()).await.unwrap();
        assert!(rig.one.replace(&acme(), &shelf).await.unwrap());
    }
    assert!(count(&rig.local.join("tenants/acme")) <= 3);
}
