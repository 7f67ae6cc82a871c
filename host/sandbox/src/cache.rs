//! The worker's side of compiling: it starts compiler processes and keeps what they wrote.
//!
//! Native code is loaded as it is, so whoever can write it owns every executor. It therefore lives in
//! a directory that is the worker's alone, under a name that stands for the WebAssembly and for the
//! engine, beside a tag that authenticates it. What does not fit its tag is compiled again, and
//! never loaded.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use lovage_core::Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::compile::{self, Description};
use crate::{ModuleKind, Refusal, child, engine};

/// How long a compiler process may take, by the clock on the wall. What bounds its work is its CPU time;
/// this is for one that waits, and generous, because a machine may have much else to do.
const COMPILE_TIME: Duration = Duration::from_mins(5);

/// A module that is ready to be loaded by executors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// The SHA-256 of the WebAssembly.
    pub digest: Digest,
    /// Where the native code is.
    pub path: PathBuf,
    /// What kind of module it is.
    pub kind: ModuleKind,
    /// The text of its custom section `lovage-manifest`, if it has one. Unchecked.
    pub manifest: Option<String>,
    /// What it imports from its host, sorted. Unchecked towards any tenant's grants.
    pub imports: Vec<String>,
    /// Whether it was compiled now, and not found in the cache.
    pub fresh: bool,
}

/// Why there is no native code.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The module is at fault; trying again is of no use.
    #[error("the module is refused")]
    Refused(#[from] Refusal),
    /// Its compiler process reached a limit of memory or CPU time, and died.
    #[error("compiling takes more than the {0} allowed")]
    TooExpensive(&'static str),
    /// This machine is at fault.
    #[error("{what}")]
    Host {
        /// What failed.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl CompileError {
    /// The code that people and programs know it by; it does not change between versions.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::TooExpensive(_) => "compile-too-expensive",
            Self::Host { .. } => "compiler-failed",
        }
    }

    pub(crate) fn host(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Host { what, source }
    }
}

/// The worker's side of compiling. Clones share one cache, and compile one module at a time.
#[derive(Debug, Clone)]
pub struct Compiler(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    program: PathBuf,
    directory: PathBuf,
    key: [u8; 32],
    compatibility: u64,
    one_at_a_time: Mutex<()>,
}

/// What lies beside the native code: what it is, and the proof that we wrote both.
#[derive(Serialize, Deserialize)]
struct Tag {
    description: Description,
    mac: String,
}

impl Compiler {
    /// A compiler that runs `program compile --out FILE FILE.wasm` and keeps native code in
    /// `directory`, which is created with mode 0700.
    ///
    /// # Errors
    /// When the directory or the key in it cannot be read or created, or others may write there.
    pub fn open(program: PathBuf, directory: PathBuf) -> Result<Self, CompileError> {
        let name = directory.display().to_string();
        let failed = |source| CompileError::Host {
            what: format!("the native cache {name} cannot be used"),
            source,
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(failed)?;
        let metadata = fs::metadata(&directory).map_err(failed)?;
        let own = metadata.uid() == rustix::process::geteuid().as_raw();
        if !own || metadata.mode() & 0o022 != 0 {
            return Err(failed(io::Error::other("others than this user may write to it")));
        }
        let key = key(&directory).map_err(failed)?;
        let engine = engine::compiling().map_err(|error| failed(io::Error::other(error)))?;
        let compatibility = engine::compatibility(&engine);
        let one_at_a_time = Mutex::new(());
        Ok(Self(Arc::new(Shared { program, directory, key, compatibility, one_at_a_time })))
    }

    /// The native code of a module: from the cache if it is there and authentic, and else compiled.
    ///
    /// # Errors
    /// When the module is refused, or its compiler process died or could not be started.
    pub async fn compile(&self, wasm: &[u8]) -> Result<Compiled, CompileError> {
        let (shared, wasm) = (Arc::clone(&self.0), wasm.to_vec());
        Self::aside(move || {
            let digest = Sha256::digest(&wasm).into();
            let written = |shared: &Shared, path: &Path| {
                let input = path.with_extension(format!("{}.wasm", std::process::id()));
                let file = private(&input).and_then(|mut file| file.write_all(&wasm));
                file.map_err(CompileError::host("a module cannot be handed to its compiler"))?;
                let made = shared.make(&input, path);
                let _ = fs::remove_file(input);
                made
            };
            shared.compile(digest, written)
        })
        .await
    }

    /// The same for a module in a file, of which no more than a part is in memory at any time. The
    /// file must not change meanwhile: whoever wrote it has ended.
    ///
    /// # Errors
    /// When it cannot be read, is refused, or its compiler process died or could not be started.
    pub async fn compile_file(&self, wasm: &Path) -> Result<Compiled, CompileError> {
        let (shared, wasm) = (Arc::clone(&self.0), wasm.to_owned());
        Self::aside(move || {
            let digest = hashed(&wasm).map_err(CompileError::host("a module cannot be read"))?;
            shared.compile(digest, |shared, path| shared.make(&wasm, path))
        })
        .await
    }

    async fn aside(
        work: impl FnOnce() -> Result<Compiled, CompileError> + Send + 'static,
    ) -> Result<Compiled, CompileError> {
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
            Err(CompileError::host("the compiling thread failed")(io::Error::other(error)))
        })
    }
}

impl Shared {
    fn compile(
        &self,
        digest: [u8; 32],
        make: impl FnOnce(&Self, &Path) -> Result<Description, CompileError>,
    ) -> Result<Compiled, CompileError> {
        let name = Sha256::new_with_prefix(digest)
            .chain_update(self.compatibility.to_le_bytes())
            .chain_update(compile::GENERATION.to_le_bytes())
            .finalize();
        let path = self.directory.join(format!("{}.native", hex::encode(name)));
        let mut found = self.authentic(&path);
        let fresh = found.is_none();
        if fresh {
            let _turn = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever had the turn before may have compiled the same.
            found = self.authentic(&path);
            found = Some(found.map_or_else(|| make(self, &path), Ok)?);
        }
        let Some(Description { kind, manifest, imports }) = found else {
            return Err(CompileError::host("native code is lost")(io::ErrorKind::NotFound.into()));
        };
        Ok(Compiled { digest: Digest::from_bytes(digest), path, kind, manifest, imports, fresh })
    }

    /// What is known of the native code, if it is there and is what we wrote.
    fn authentic(&self, path: &Path) -> Option<Description> {
        let tag = read_bounded(&path.with_extension("tag"), TAG_BYTES_MAX).ok()?;
        let tag: Tag = serde_json::from_slice(&tag).ok()?;
        let claimed = hex::decode(&tag.mac).ok()?;
        let native = File::open(path).ok()?;
        let mac = self.mac(native, path, &tag.description).ok()?;
        mac.verify_slice(&claimed).ok()?;
        Some(tag.description)
    }

    fn mac(
        &self,
        mut native: impl io::Read,
        path: &Path,
        description: &Description,
    ) -> io::Result<Hmac<Sha256>> {
        let mut mac = <Hmac<Sha256>>::new_from_slice(&self.key).map_err(io::Error::other)?;
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        let description = serde_json::to_vec(description)?;
        for part in [name, &description] {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        let mut chunk = vec![0; 256 << 10];
        loop {
            match native.read(&mut chunk)? {
                0 => return Ok(mac),
                read => mac.update(chunk.get(..read).unwrap_or_default()),
            }
        }
    }

    /// Runs a compiler process. What it wrote gets its name last, so that no name is ever of a part.
    fn make(&self, input: &Path, path: &Path) -> Result<Description, CompileError> {
        let own = std::process::id();
        let output = path.with_extension(format!("{own}.out"));
        let answer = path.with_extension(format!("{own}.answer"));
        let files = [input, &*output, &*answer];
        let made = child::compile(&self.program, files, COMPILE_TIME).and_then(|description| {
            self.keep(&output, path, &description)
                .map_err(CompileError::host("native code cannot be kept"))?;
            Ok(description)
        });
        for leftover in [output, answer] {
            let _ = fs::remove_file(leftover);
        }
        made
    }

    fn keep(&self, output: &Path, path: &Path, description: &Description) -> io::Result<()> {
        let native = File::open(output)?;
        native.sync_all()?;
        let mac = self.mac(native, path, description)?.finalize().into_bytes();
        let tag = Tag { description: description.clone(), mac: hex::encode(mac) };
        let tag_path = path.with_extension("tag");
        let part = path.with_extension(format!("{}.part", std::process::id()));
        private(&part)?.write_all(&serde_json::to_vec(&tag)?)?;
        // A tag without its code, or with older code, does not fit: it is compiled again.
        fs::rename(&part, &tag_path)?;
        fs::rename(output, path)
    }
}

/// The SHA-256 of a file.
fn hashed(path: &Path) -> io::Result<[u8; 32]> {
    let (mut file, mut hash) = (File::open(path)?, Sha256::new());
    let mut chunk = vec![0; 256 << 10];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hash.finalize().into()),
            read => hash.update(chunk.get(..read).unwrap_or_default()),
        }
    }
}

/// Bytes of a tag with the largest manifest that is read.
const TAG_BYTES_MAX: u64 = 4 << 20;

/// The key of this cache, made on first use.
fn key(directory: &Path) -> io::Result<[u8; 32]> {
    let path = directory.join("key");
    let mut key = [0; 32];
    if !path.exists() {
        rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty())?;
        let part = directory.join(format!("key.{}", std::process::id()));
        private(&part)?.write_all(&key)?;
        // The first of several workers wins; all read what it wrote.
        let linked = fs::hard_link(&part, &path);
        fs::remove_file(&part)?;
        linked.or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Ok(()),
            _ => Err(error),
        })?;
    }
    let found = read_bounded(&path, 33)?;
    key = found.try_into().map_err(|_| io::Error::other("its key has not 32 bytes"))?;
    Ok(key)
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn read_bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}
