//! Files in the user's cache.

use std::fs;
use std::io;
use std::path::Path;

/// Makes a folder of the cache, and those above it, that only this user may enter: what lies there is compiled code of
/// drivers as well, which they run as they find it. A folder that is there already stays as it is.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Writes a file that nobody sees half of. A cache that cannot be written to is no error: the work is done again.
///
/// The file takes the place of what has its name, so a link that somebody left there is not followed.
pub fn write_whole(path: &Path, text: &str) {
    let write = || -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        make_folder(folder)?;
        let file = tempfile::NamedTempFile::new_in(folder)?;
        fs::write(file.path(), text)?;
        file.persist(path)?;
        Ok(())
    };
    if let Err(error) = write() {
        tracing::debug!(%error, path = %path.display(), "the cache cannot be written to");
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn only_this_user_may_enter_a_new_folder_or_read_its_files() {
        let cache = tempfile::tempdir().unwrap();
        let file = cache.path().join("oxembed/verdicts/one.json");
        write_whole(&file, "{}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "{}");
        assert_eq!(
            [mode(&file), mode(file.parent().unwrap()), mode(&cache.path().join("oxembed"))],
            [0o600, 0o700, 0o700]
        );
    }

    #[test]
    fn a_folder_that_is_there_keeps_its_permissions() {
        let cache = tempfile::tempdir().unwrap();
        fs::set_permissions(cache.path(), fs::Permissions::from_mode(0o755)).unwrap();
        make_folder(cache.path()).unwrap();
        assert_eq!(mode(cache.path()), 0o755);
    }

    #[test]
    fn a_link_in_the_place_of_a_file_is_not_followed() {
        let cache = tempfile::tempdir().unwrap();
        let (victim, file) = (cache.path().join("victim"), cache.path().join("one.json"));
        fs::write(&victim, "mine").unwrap();
        symlink(&victim, &file).unwrap();
        write_whole(&file, "{}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
        assert!(!fs::symlink_metadata(&file).unwrap().is_symlink());
    }
}
