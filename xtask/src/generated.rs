//! Generated files that are committed: a command writes them, and the gate compares them. Which
//! files there are, their generators say.

use crate::workspace::root;
use anyhow::{Context as _, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Generated text by path from the root, with forward slashes.
pub(crate) type Files = BTreeMap<String, String>;

/// Arguments of the commands.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Options {
    /// Change nothing; name the committed files that are not what would be written
    #[arg(long)]
    pub(crate) check: bool,
}

/// Writes the files, and removes others from their own folder; with `check` it only names them.
/// Returns whether they are current.
pub(crate) fn update(own: Option<&str>, files: &Files, check: bool) -> Result<bool> {
    let others = own.map(|own| below(&root().join(own))).transpose()?.unwrap_or_default();
    let mut wrong = differences(root(), files, &others)?;
    for path in &wrong {
        println!("{path}: {}", if check { "not what this command writes" } else { "written" });
        let place = root().join(path);
        match files.get(path).filter(|_| !check) {
            Some(text) => {
                fs::create_dir_all(place.parent().context("a file has a folder")?)?;
                fs::write(&place, text)?;
            }
            None if !check => fs::remove_file(&place)?,
            None => {}
        }
    }
    wrong.retain(|_| check);
    Ok(wrong.is_empty())
}

/// The files that are missing, different, or among the others without being generated.
fn differences(root: &Path, files: &Files, others: &[PathBuf]) -> Result<Vec<String>> {
    // A checkout may have different line endings.
    let is_current = |(name, text): &(&String, &String)| {
        fs::read_to_string(root.join(name)).is_ok_and(|it| it.replace("\r\n", "\n") == **text)
    };
    let wrong = files.iter().filter(|file| !is_current(file)).map(|(name, _)| name.clone());
    let mut wrong: Vec<String> = wrong.collect();
    for path in others {
        let name = path.strip_prefix(root)?.to_string_lossy().replace('\\', "/");
        wrong.extend(Some(name).filter(|name| !files.contains_key(name)));
    }
    Ok(wrong)
}

/// Every file below a folder; none if there is no such folder.
pub(crate) fn below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return Ok(files) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::{Files, below, differences};
    use std::fs;

    #[test]
    fn missing_changed_and_leftover_files_are_named() {
        let root = tempfile::tempdir().unwrap();
        let names = ["a/same", "a/other", "a/missing"];
        let files: Files = names.map(|name| (name.to_owned(), "a\n".to_owned())).into();
        fs::create_dir(root.path().join("a")).unwrap();
        for (name, text) in [("a/same", "a\r\n"), ("a/other", "b\n"), ("a/old", "a\n")] {
            fs::write(root.path().join(name), text).unwrap();
        }
        let others = below(&root.path().join("a")).unwrap();
        let wrong = differences(root.path(), &files, &others).unwrap();
        assert_eq!(wrong, ["a/missing", "a/other", "a/old"]);
    }
}
