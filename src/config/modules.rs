//! `modules.json`: which modules a model has, in which order, in the spellings of sentence-transformers 2 to 6.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::document::{Document, is_absent, read_json};
use super::layers::{Dense, Pooling, check_normalize, read_dense, read_pooling};
use super::paths::Root;
use crate::error::{EmbeddingError, Result};

/// A step behind the transformer, in the model's own order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Module {
    /// Token embeddings to one vector; always the first, and once.
    Pooling(Pooling),
    /// A linear layer with an activation.
    Dense(Dense),
    /// To unit length.
    Normalize,
}

/// What `modules.json` says.
#[derive(Debug)]
pub(super) struct ModuleList {
    /// The folder of the `Transformer` module.
    pub(super) transformer: PathBuf,
    /// The modules behind it.
    pub(super) modules: Vec<Module>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Transformer,
    Pooling,
    Dense,
    Normalize,
    Dropout,
}

const CLASSES: [(&str, Class); 5] = [
    ("Transformer", Class::Transformer),
    ("Pooling", Class::Pooling),
    ("Dense", Class::Dense),
    ("Normalize", Class::Normalize),
    ("Dropout", Class::Dropout),
];

/// Python packages in which sentence-transformers has kept these classes: 2 to 5.3, then 5.4 and later.
const PACKAGES: [&str; 3] = [
    "sentence_transformers.models.",
    "sentence_transformers.base.modules.",
    "sentence_transformers.sentence_transformer.modules.",
];

/// Reads `modules.json`; `None` where the folder has none.
pub(super) fn read_modules(root: &Root, assumptions: &mut Vec<String>) -> Result<Option<ModuleList>> {
    let path = root.given.join("modules.json");
    if is_absent(&path) {
        return Ok(None);
    }
    let entries = read_entries(&path)?;
    let mut steps = Vec::with_capacity(entries.len());
    for entry in &entries {
        steps.push((class(entry)?, root.folder_inside(entry, "path")?));
    }
    check_order(&entries, &steps)?;

    let mut transformer = root.given.clone();
    let mut modules = Vec::new();
    for (class, folder) in steps {
        match class {
            Class::Transformer => transformer = folder,
            Class::Pooling => modules.push(Module::Pooling(read_pooling(&folder, assumptions)?)),
            Class::Dense => modules.push(Module::Dense(read_dense(&folder)?)),
            Class::Normalize => {
                check_normalize(&folder)?;
                modules.push(Module::Normalize);
            }
            // Does nothing outside training.
            Class::Dropout => {}
        }
    }
    Ok(Some(ModuleList { transformer, modules }))
}

/// The entries, in the order in which they stand: that is the one sentence-transformers goes by.
fn read_entries(path: &Path) -> Result<Vec<Document>> {
    let Value::Array(values) = read_json(path)? else {
        return Err(EmbeddingError::invalid_model(path, "a list of modules, [{…}, …], is understood"));
    };
    let mut entries: Vec<Document> = Vec::with_capacity(values.len());
    for (position, value) in values.into_iter().enumerate() {
        let entry = Document::from_value(path, &format!("[{position}]."), value)?;
        entry.refuse_unknown_keys(&["idx", "name", "path", "type", "kwargs"])?;
        if entry.has("idx") && entry.usize_in("idx", 0..=usize::MAX)? != position {
            let problem = format!("{position} is understood: idx counts the list from 0, without gaps or repeats");
            return Err(entry.invalid("idx", problem));
        }
        // sentence-transformers keeps modules by name: a repeated one replaces the module before it.
        let name = entry.str("name")?;
        if entries.iter().any(|earlier| earlier.str("name").is_ok_and(|earlier| earlier == name)) {
            return Err(entry.invalid("name", "an earlier module has this name; each needs its own"));
        }
        entries.push(entry);
    }
    if entries.is_empty() {
        return Err(EmbeddingError::invalid_model(
            path,
            "the list of modules is empty; Transformer and Pooling are needed",
        ));
    }
    Ok(entries)
}

/// A class path such as `sentence_transformers.models.Pooling` or
/// `sentence_transformers.sentence_transformer.modules.pooling.Pooling`.
fn class(entry: &Document) -> Result<Class> {
    const KEY: &str = "type";
    let path = entry.str(KEY)?;
    let inside = PACKAGES.iter().find_map(|package| path.strip_prefix(package));
    let found = inside.and_then(|inside| {
        let (file, name) = inside.split_once('.').unwrap_or((inside, inside));
        CLASSES.iter().find(|(class, _)| *class == name && file.eq_ignore_ascii_case(class))
    });
    found.map(|(_, class)| *class).ok_or_else(|| {
        let known = CLASSES.map(|(name, _)| name).join(", ");
        let problem = if path.starts_with("sentence_transformers.") {
            format!("these modules are understood: {known}")
        } else {
            format!("Python code that comes with a model is not run; these modules of sentence-transformers are understood: {known}")
        };
        entry.invalid(KEY, problem)
    })
}

/// Transformer, Pooling, then Dense, Normalize and Dropout in any order and number.
fn check_order(entries: &[Document], steps: &[(Class, PathBuf)]) -> Result<()> {
    for (position, (entry, (class, folder))) in entries.iter().zip(steps).enumerate() {
        let is_in_place = match class {
            Class::Transformer => position == 0,
            Class::Pooling => position == 1,
            Class::Dense | Class::Normalize | Class::Dropout => position >= 2,
        };
        if !is_in_place {
            let problem = "this order is understood: Transformer, Pooling, then any of Dense, Normalize, Dropout";
            return Err(entry.invalid("type", problem));
        }
        let has_files = matches!(class, Class::Transformer | Class::Pooling | Class::Dense);
        let is_shared = steps.iter().take(position).any(|(_, earlier)| earlier == folder);
        if has_files && is_shared {
            return Err(entry.invalid("path", "an earlier module has this folder; each needs its own"));
        }
    }
    match (steps.len(), entries.last()) {
        (1, Some(last)) => Err(last.invalid("type", "the only module; a Pooling has to follow the Transformer")),
        _ => Ok(()),
    }
}
