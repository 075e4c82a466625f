//! The paths, definitions and implementations of a Rust file outside its tests, read from its
//! syntax.

use crate::workspace::File;
use anyhow::{Context as _, Result};
use syn::visit::Visit;

/// All paths that a file uses outside its tests, in full: `super` and `self` are resolved, import
/// groups expanded.
pub(super) fn paths(file: &File) -> Result<Vec<String>> {
    let source = syn::parse_file(&file.text).with_context(|| file.path.clone())?;
    let in_crate = file.path.split_once("src/").map_or("", |(_, path)| path);
    let module = in_crate.strip_suffix(".rs").unwrap_or(in_crate);
    let mut found =
        Paths { module: module.split('/').map(str::to_owned).collect(), paths: Vec::new() };
    found.visit_file(&source);
    Ok(found.paths)
}

struct Paths {
    /// The module of the file, part by part.
    module: Vec<String>,
    paths: Vec<String>,
}

impl Paths {
    fn add(&mut self, parts: &[String]) {
        let up = parts.iter().take_while(|part| matches!(part.as_str(), "self" | "super"));
        let (mut here, mut skip) = (self.module.clone(), 0);
        for part in up {
            skip += 1;
            if part == "super" {
                here.pop();
            }
        }
        let start =
            if skip > 0 { [vec![String::from("crate")], here].concat() } else { Vec::new() };
        self.paths.push([&start[..], &parts[skip..]].concat().join("::"));
    }

    fn add_tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.add_tree(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) if name.ident == "self" => self.add(before),
            syn::UseTree::Name(name) => self.add(&with(&name.ident)),
            syn::UseTree::Rename(name) => self.add(&with(&name.ident)),
            syn::UseTree::Glob(_) => self.add(before),
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|item| self.add_tree(before, item));
            }
        }
    }
}

impl<'a> Visit<'a> for Paths {
    fn visit_item_mod(&mut self, module: &'a syn::ItemMod) {
        let is_test = |attribute: &syn::Attribute| {
            attribute.path().is_ident("cfg")
                && matches!(attribute.parse_args::<syn::Ident>(), Ok(name) if name == "test")
        };
        if !module.attrs.iter().any(is_test) {
            syn::visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        self.add_tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let parts: Vec<String> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        if parts.len() > 1 {
            self.add(&parts);
        }
        syn::visit::visit_path(self, path);
    }
}
