//! Files that appear when they are whole.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::error::{EmbeddingError, Result};

/// Written at once; between two of these the caller may give up.
const PIECE: usize = 1 << 24;

/// Asked before each piece of a file; `Break` gives the file up.
pub type WriteWatch<'a> = dyn FnMut() -> ControlFlow<()> + 'a;

/// A file that is whole but has another name yet, so that nobody sees half of it. Removed where it is not finished.
pub struct Unfinished {
    partial: PathBuf,
    path: PathBuf,
}

impl Unfinished {
    /// Writes all of the file under its other name.
    ///
    /// # Errors
    /// `InvalidInput` where it cannot be written, `Cancelled` where `watch` breaks.
    pub fn write(
        path: &Path,
        watch: &mut WriteWatch<'_>,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<Self> {
        let unfinished = Self { partial: with_suffix(path, ".partial"), path: path.to_owned() };
        let file = File::create(&unfinished.partial).map_err(|error| unfinished.failed(&error))?;
        let mut file = Watched { file, watch, gave_up: false };
        let mut buffer = BufWriter::new(&mut file);
        let outcome = write(&mut buffer).and_then(|()| buffer.flush());
        // What the buffer still has is of no use after a failure, and must not be written when it goes.
        drop(buffer.into_parts());
        match outcome {
            Err(_) if file.gave_up => Err(EmbeddingError::Cancelled),
            Err(error) => Err(unfinished.failed(&error)),
            Ok(()) => Ok(unfinished),
        }
    }

    /// Gives the file its name, in place of another of that name.
    ///
    /// # Errors
    /// `InvalidInput` where the system refuses.
    pub fn finish(self) -> Result<PathBuf> {
        std::fs::rename(&self.partial, &self.path).map_err(|error| self.failed(&error))?;
        Ok(self.path.clone())
    }

    fn failed(&self, error: &io::Error) -> EmbeddingError {
        EmbeddingError::invalid_input(format!("{} cannot be written: {error}", self.path.display()))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.partial) {
            tracing::debug!(%error, "there is no unfinished file to remove");
        }
    }
}

/// Asks before every piece whether to go on.
struct Watched<'a, 'w> {
    file: File,
    watch: &'a mut WriteWatch<'w>,
    gave_up: bool,
}

impl Write for Watched<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.watch)().is_break() {
            self.gave_up = true;
            return Err(io::Error::other("the caller gave up"));
        }
        self.file.write(bytes.get(..PIECE).unwrap_or(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A path with something behind its last name.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
