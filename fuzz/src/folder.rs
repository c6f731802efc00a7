//! Model folders in which one file is another: copies of the fixtures, made once a process.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Fixtures that each have something the others have not: a family, a kind of tokenizer, a module.
pub const FIXTURES: [&str; 12] = [
    "bert-cls",
    "bert-mean-f16",
    "bert-mean-st6",
    "distilbert-mean",
    "gemma3-mean-dense",
    "gte-cls",
    "modernbert-cls",
    "mpnet-mean-b",
    "nomicbert-mean",
    "qwen3-lasttoken",
    "qwen3-sharded-bf16",
    "xlmr-mean-prompts",
];

/// Everything that is read as configuration, in one folder or another.
pub const CONFIG_FILES: [&str; 9] = [
    "config.json",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "tokenizer_config.json",
    "1_Pooling/config.json",
    "2_Dense/config.json",
    "special_tokens_map.json",
    "added_tokens.json",
];

/// The repository: this is compiled as a part of it, and of fuzz/ in it.
pub fn repository() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut above = here.ancestors();
    above.find(|folder| folder.join("tests/fixtures").is_dir()).expect("the repository has fixtures")
}

/// The folder of a fixture.
pub fn fixture(name: &str) -> PathBuf {
    repository().join("tests/fixtures").join(name)
}

thread_local! {
    static COPIES: RefCell<BTreeMap<&'static str, Copy>> = const { RefCell::new(BTreeMap::new()) };
}

/// A fixture of which files are replaced for a while.
struct Copy {
    folder: TempDir,
    source: PathBuf,
}

/// Calls `work` with a folder that is the fixture `name` but for `files`, which hold other bytes; an absent file is added.
pub fn with_files<T>(name: &'static str, files: &[(&str, &[u8])], work: impl FnOnce(&Path) -> T) -> T {
    let path = COPIES.with_borrow_mut(|copies| {
        let copy = copies.entry(name).or_insert_with(|| Copy::of(name));
        for (file, bytes) in files {
            copy.replace(file, bytes);
        }
        copy.folder.path().to_owned()
    });
    let outcome = work(&path);
    COPIES.with_borrow_mut(|copies| {
        let copy = copies.get_mut(name).expect("it was there before");
        for (file, _) in files {
            copy.restore(file);
        }
    });
    outcome
}

/// A file of its own with these bytes, for readers of a single one.
pub fn with_file<T>(name: &str, bytes: &[u8], work: impl FnOnce(&Path) -> T) -> T {
    thread_local! {
        static FOLDER: TempDir = TempDir::new().expect("a temporary folder");
    }
    let path = FOLDER.with(|folder| folder.path().join(name));
    fs::write(&path, bytes).expect("a temporary file can be written");
    let outcome = work(&path);
    fs::remove_file(&path).expect("a temporary file can be removed");
    outcome
}

impl Copy {
    fn of(name: &str) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let source = fixture(name);
        link(&source, folder.path());
        Self { folder, source }
    }

    fn replace(&self, file: &str, bytes: &[u8]) {
        let path = self.folder.path().join(file);
        let parent = path.parent().expect("a file is in a folder");
        fs::create_dir_all(parent).expect("a folder can be made");
        if path.symlink_metadata().is_ok_and(|found| found.is_symlink()) {
            fs::remove_file(&path).expect("a link can be removed");
        }
        fs::write(&path, bytes).expect("a file can be written");
    }

    fn restore(&self, file: &str) {
        let path = self.folder.path().join(file);
        fs::remove_file(&path).expect("what was written can be removed");
        let source = self.source.join(file);
        if source.exists() {
            link_file(&source, &path);
        } else if path.parent() != Some(self.folder.path()) {
            fs::remove_dir(path.parent().expect("a file is in a folder")).expect("a folder of one file");
        }
    }
}

/// Files as links, folders as folders, as in a Hugging Face cache: a copy costs nothing, and nothing is written to a fixture.
fn link(source: &Path, target: &Path) {
    for entry in source.read_dir().expect("a fixture is a folder") {
        let entry = entry.expect("a fixture can be listed");
        let place = target.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir(&place).expect("a folder can be made");
            link(&entry.path(), &place);
        } else {
            link_file(&entry.path(), &place);
        }
    }
}

fn link_file(source: &Path, target: &Path) {
    #[cfg(unix)]
    std::os::unix::fs::symlink(source, target).expect("a link can be made");
    #[cfg(not(unix))]
    fs::copy(source, target).map(drop).expect("a file can be copied");
}
