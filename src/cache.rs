//! Files in the user's cache.

use std::fs;
use std::path::Path;

/// Writes a file that nobody sees half of. A cache that cannot be written to is no error: the work is done again.
pub fn write_whole(path: &Path, text: &str) {
    let write = || -> std::io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let file = tempfile::NamedTempFile::new_in(folder)?;
        fs::write(file.path(), text)?;
        file.persist(path)?;
        Ok(())
    };
    if let Err(error) = write() {
        tracing::debug!(%error, path = %path.display(), "the cache cannot be written to");
    }
}
