//! The declarations that the entry points of a package export, by the TypeScript compiler: `index.ts` of `src` and of its
//! folders.

use crate::language::javascript;
use crate::process::succeeds;
use crate::workspace::root;
use anyhow::{Context as _, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

/// What the entry point exports from one module.
#[derive(Debug, PartialEq, Eq)]
struct Exports<'index> {
    module: &'index str,
    /// The names; `None` for all.
    names: Option<BTreeSet<&'index str>>,
}

/// Lists the package in a folder of the npm workspace.
pub(super) fn listing(package: &str) -> Result<String> {
    javascript::prepare()?;
    let folder = root().join("target/typescript-api");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let mut tsc = Command::new("npm");
    tsc.args(["exec", "--", "tsc", "--project", package, "--noEmit", "false", "--declaration"]);
    tsc.args(["--emitDeclarationOnly", "--removeComments", "--rootDir", ".", "--outDir"]);
    tsc.arg(&folder).current_dir(javascript::folder());
    ensure!(succeeds(tsc)?, "the TypeScript compiler failed");
    let mut modules = BTreeMap::new();
    collect(&folder.join(package).join("src"), ".", &mut modules)?;
    listed(&modules)
}

/// Reads the declarations in a folder and in those below it that are entry points, by `./NAME`.
fn collect(folder: &Path, prefix: &str, modules: &mut BTreeMap<String, String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if path.join("index.d.ts").exists() {
            collect(&path, &format!("{prefix}/{name}"), modules)?;
        } else if let Some(name) = name.strip_suffix(".d.ts") {
            modules.insert(format!("{prefix}/{name}"), fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

/// The declarations that the entry point exports, and those of their base classes.
fn listed(modules: &BTreeMap<String, String>) -> Result<String> {
    // A type and a value may have the same name.
    let mut declarations: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for declaration in modules.values().flat_map(|module| exported(module)) {
        declarations.entry(name(declaration)).or_default().push(declaration);
    }
    let mut wanted: Vec<&str> = Vec::new();
    ensure!(modules.contains_key("./index"), "no index.d.ts");
    for (entry, text) in modules.iter().filter(|(name, _)| name.ends_with("/index")) {
        let folder = entry.trim_end_matches("/index");
        for Exports { module, names } in exports(text) {
            let module = module.replacen('.', folder, 1);
            let module = modules.get(&module).with_context(|| format!("no module {module}"))?;
            let own = || exported(module).into_iter().map(name).collect();
            wanted.extend(names.unwrap_or_else(own));
        }
    }
    let mut found = BTreeMap::new();
    while let Some(name) = wanted.pop() {
        if let Some(named) = declarations.get(name)
            && found.insert(name, named).is_none()
        {
            wanted.extend(named.iter().filter_map(|declaration| base(declaration)));
        }
    }
    let all = found.values().copied().flatten();
    Ok(all.flat_map(|declaration| [declaration.trim_end(), "\n"]).collect())
}

/// The class that a class extends.
fn base(declaration: &str) -> Option<&str> {
    let (head, _) = declaration.split_once('{')?;
    let (_, base) = head.split_once(" class ")?.1.split_once(" extends ")?;
    base.split(|char: char| !char.is_alphanumeric()).next()
}

/// The export statements of the entry point.
fn exports(index: &str) -> impl Iterator<Item = Exports<'_>> {
    index.split(';').filter_map(|statement| {
        let (what, module) = statement.split_once(" from ")?;
        let what = what.trim().trim_start_matches("export ").trim_start_matches("type ");
        let names = what.trim().strip_prefix('{').map(|names| {
            let names = names.trim_end_matches('}').split(',').map(str::trim);
            names.map(|name| name.trim_start_matches("type ")).collect()
        });
        Some(Exports { module: module.trim_matches(['\'', '"']), names })
    })
}

/// The exported declarations of a module. The compiler begins each at the start of a line.
fn exported(module: &str) -> Vec<&str> {
    let mut starts: Vec<usize> = ["export ", "import ", "declare "]
        .iter()
        .flat_map(|word| module.match_indices(word).map(|(at, _)| at))
        .filter(|at| *at == 0 || module[..*at].ends_with('\n'))
        .chain([module.len()])
        .collect();
    starts.sort_unstable();
    let all = starts.windows(2).map(|ends| &module[ends[0]..ends[1]]);
    // Without those that pass names of other modules on.
    let passes_on = |text: &str| {
        ["export {", "export type {", "export *"].iter().any(|start| text.starts_with(start))
    };
    all.filter(|text| text.starts_with("export ") && !passes_on(text)).collect()
}

/// The name that a declaration declares: the word after its keywords.
fn name(declaration: &str) -> &str {
    const KEYWORDS: [&str; 9] = [
        "export",
        "declare",
        "abstract",
        "class",
        "interface",
        "type",
        "function",
        "const",
        "enum",
    ];
    let is_part = |char: char| char.is_alphanumeric() || char == '_';
    let mut words = declaration.split(|char| !is_part(char)).filter(|word| !word.is_empty());
    words.find(|word| !KEYWORDS.contains(word)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Exports, exports, listed};

    #[test]
    fn exported_names_and_their_base_classes_are_listed() {
        let index = "export { A, type B } from './a';\nexport * from './b';\n";
        let expected = [
            Exports { module: "./a", names: Some(["A", "B"].into()) },
            Exports { module: "./b", names: None },
        ];
        assert_eq!(exports(index).collect::<Vec<_>>(), expected);
        let a = "import { X } from './x';\nexport declare class A<T> extends Base {\n  a(): void;\n}\n\
                 declare const hidden: number;\nexport type B = X;\nexport type Other = X;\nexport {};\n\
                 export declare const B: X;\n";
        let b = "export declare class Base {\n}\n";
        let (c, extra) = ("export declare const C: X;\n", "export { C } from './c';\n");
        let modules =
            [("./index", index), ("./a", a), ("./b", b), ("./more/index", extra), ("./more/c", c)];
        let modules = modules.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
        let expected = "export declare class A<T> extends Base {\n  a(): void;\n}\n\
                        export type B = X;\nexport declare const B: X;\nexport declare class Base {\n}\n\
                        export declare const C: X;\n";
        assert_eq!(listed(&modules).unwrap(), expected);
    }
}
