//! Which folders models may be loaded from while the service runs.

use std::path::{Path, PathBuf};

use axum::http::StatusCode;

use super::failure::{Failure, Kind};
use super::settings::Settings;

/// The folder that `path` names, if models may be loaded from there: it is one that was given at the start, or lies below
/// one of `--model-root`, whichever way links and `..` lead. A path that is not absolute starts at one of those.
///
/// # Errors
/// One [`Failure`] for every other path, so that nobody learns what else is there.
pub(super) fn permitted(settings: &Settings, path: &str) -> Result<PathBuf, Failure> {
    let given = settings.models.iter().find(|model| model.path == Path::new(path));
    if let Some(model) = given {
        return Ok(model.path.clone());
    }
    for root in settings.model_roots.iter().filter_map(|root| root.canonicalize().ok()) {
        // An absolute path takes the place of the root.
        if let Ok(folder) = root.join(path).canonicalize()
            && folder.starts_with(&root)
            && folder.is_dir()
        {
            return Ok(folder);
        }
    }
    let roots: Vec<String> = settings.model_roots.iter().map(|root| root.display().to_string()).collect();
    let message = if roots.is_empty() {
        "models can be loaded again only from the folders that the service was started with; --model-root allows others"
            .to_owned()
    } else {
        format!("{path:?} is no folder below {}, where models may be loaded from", roots.join(" or "))
    };
    Err(Failure::new(StatusCode::FORBIDDEN, Kind::Invalid, Some("path"), message))
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir_all, write};

    use super::*;
    use crate::serve::settings::ModelSetting;

    #[test]
    fn only_what_lies_below_a_root_or_was_given() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().canonicalize().unwrap();
        for inner in ["models/one", "models/two/deep", "secret/model", "models-of-others"] {
            create_dir_all(here.join(inner)).unwrap();
        }
        write(here.join("models/file"), "").unwrap();
        let given =
            ModelSetting { name: "given".to_owned(), aliases: Vec::new(), path: here.join("secret/../secret/model") };
        let mut settings = Settings { models: vec![given.clone()], ..Settings::default() };
        let text = |inner: &str| here.join(inner).display().to_string();
        assert_eq!(permitted(&settings, &given.path.display().to_string()).unwrap(), given.path);
        assert_eq!(permitted(&settings, &text("models/one")).unwrap_err().status, 403);

        settings.model_roots = vec![here.join("no such root"), here.join("models")];
        let one = here.join("models/one");
        for path in [&text("models/one"), "one", "./one", "two/../one", &text("secret/../models/one")] {
            assert_eq!(permitted(&settings, path).unwrap(), one, "{path}");
        }
        assert_eq!(permitted(&settings, "two/deep").unwrap(), here.join("models/two/deep"));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(here.join("secret/model"), here.join("models/link")).unwrap();
            std::os::unix::fs::symlink(here.join("models/one"), here.join("models/inside")).unwrap();
            assert_eq!(permitted(&settings, "inside").unwrap(), one);
        }
        let mut messages = Vec::new();
        for path in [
            "../secret/model",
            "link",
            "/",
            "/etc",
            "..",
            "two/../../secret/model",
            "file",
            "none",
            "one\0",
            "",
            "../models-of-others",
            &text("secret/model"),
            &text("secret/none"),
        ] {
            if path.is_empty() {
                // The root itself is below nothing outside.
                assert_eq!(permitted(&settings, path).unwrap(), here.join("models"));
                continue;
            }
            let failure = permitted(&settings, path).unwrap_err();
            assert_eq!(failure.status, 403, "{path}");
            messages.push(failure.message.replace(&format!("{path:?}"), ""));
        }
        // Whether it exists makes no difference.
        messages.dedup();
        assert_eq!(messages.len(), 1, "{messages:?}");
    }
}
