//! Any bytes in place of one configuration file of a model folder.

use oxembed::config::ModelFolder;

use super::folder::{CONFIG_FILES, FIXTURES, with_files};
use super::outcome::typed;

/// The first byte chooses the folder, the second the file; the rest is what the file holds.
pub fn check(input: &[u8]) {
    let [folder, file, content @ ..] = input else { return };
    let folder = FIXTURES[usize::from(*folder) % FIXTURES.len()];
    let file = CONFIG_FILES[usize::from(*file) % CONFIG_FILES.len()];
    with_files(folder, &[(file, content)], |path| typed(ModelFolder::read(path)));
}
