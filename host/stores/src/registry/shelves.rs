//! Shelves as files, one a revision.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use lovage_core::{Shelf, TenantId};

/// Revisions that stay readable for whoever is reading them just now.
const KEPT: u64 = 2;

/// How often reading is tried again because the revision was replaced meanwhile.
const TRIES: usize = 10;

/// The tenants that have a shelf, each with its revision.
pub(super) fn revisions(folder: &Path) -> io::Result<Vec<(TenantId, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(tenant) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(revision) = newest(&entry.path())? {
            found.push((tenant, revision));
        }
    }
    found.sort();
    Ok(found)
}

/// The newest shelf in a tenant's folder.
pub(super) fn read(folder: &Path) -> io::Result<Shelf> {
    for _ in 0..TRIES {
        let Some(revision) = newest(folder)? else { return Ok(Shelf::default()) };
        match fs::read(path(folder, revision)) {
            Ok(text) => {
                let mut shelf: Shelf = serde_json::from_slice(&text)?;
                shelf.revision = revision;
                return Ok(shelf);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("it is replaced faster than it can be read"))
}

/// Makes the revision after this one, unless somebody else has.
pub(super) fn replace(folder: &Path, shelf: &Shelf) -> io::Result<bool> {
    fs::create_dir_all(folder)?;
    if newest(folder)?.unwrap_or(0) != shelf.revision {
        return Ok(false);
    }
    let revision = shelf.revision + 1;
    let part = folder.join(format!("part.{}", uuid::Uuid::new_v4()));
    let linked = write(&part, shelf).and_then(|()| fs::hard_link(&part, path(folder, revision)));
    fs::remove_file(&part)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        linked => linked?,
    }
    File::open(folder)?.sync_all()?;
    for old in all(folder)?.into_iter().filter(|old| old + KEPT <= revision) {
        // Another writer may have removed it.
        let _ = fs::remove_file(path(folder, old));
    }
    Ok(true)
}

fn write(part: &Path, shelf: &Shelf) -> io::Result<()> {
    let mut file = File::create_new(part)?;
    file.write_all(&serde_json::to_vec(shelf)?)?;
    file.sync_all()
}

fn newest(folder: &Path) -> io::Result<Option<u64>> {
    Ok(all(folder)?.into_iter().max())
}

fn all(folder: &Path) -> io::Result<Vec<u64>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut revisions = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let name = name.to_str().unwrap_or_default();
        let number = name.strip_prefix("shelf.").and_then(|name| name.strip_suffix(".json"));
        revisions.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    Ok(revisions)
}

fn path(folder: &Path, revision: u64) -> PathBuf {
    folder.join(format!("shelf.{revision}.json"))
}
