//! Seeds: files to begin with, and every finding.

use crate::{Files, Target};
use std::path::{Path, PathBuf};

/// What went wrong, for a person.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// One file.
#[derive(Clone, Debug)]
pub struct Seed {
    /// Where it lies.
    pub path: PathBuf,
    /// What is in it.
    pub bytes: Vec<u8>,
}

impl Target {
    /// Where its own seeds lie.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("seeds")
            .join(self.name)
    }

    /// Its own seeds, and the files of the negative corpus that it reads, by name.
    ///
    /// # Errors
    /// Where a folder or file cannot be read, or there is no seed at all.
    pub fn seeds(&self) -> Result<Vec<Seed>, Failure> {
        let mut found = files(&self.folder(), |_| true)?;
        for Files(folder, prefix, ending) in self.corpus {
            let fits = |name: &str| name.starts_with(prefix) && name.ends_with(ending);
            found.extend(files(&signet_corpus::folder().join(folder), fits)?);
        }
        if found.is_empty() {
            return Err(format!("the target `{}` has no seeds", self.name).into());
        }
        Ok(found)
    }
}

fn files(folder: &Path, fits: impl Fn(&str) -> bool) -> Result<Vec<Seed>, Failure> {
    let mut found = Vec::new();
    let listed = match std::fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        Err(e) => return Err(format!("read {}: {e}", folder.display()).into()),
    };
    for file in listed {
        let file = file?;
        if file.file_type()?.is_file() && fits(&file.file_name().to_string_lossy()) {
            let path = file.path();
            let bytes = std::fs::read(&path).map_err(|e| format!("read {}: {e}", path.display()))?;
            found.push(Seed { path, bytes });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}
