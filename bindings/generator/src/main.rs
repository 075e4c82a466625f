//! `uniffi-bindgen`: writes the Kotlin or the Swift that belongs to a built library.
//!
//! A program of its own, not the one that comes with `uniffi`: that one is behind a feature of the crate that the shipped
//! library uses, and would be compiled into its build. Run by `cargo xtask bindings`.
#![allow(clippy::print_stderr)]

use camino::Utf8PathBuf;
use clap::{Parser, ValueEnum};
use uniffi_bindgen::bindings::{GenerateOptions, TargetLanguage, generate};

/// Writes the foreign code of a library that was built with UniFFI
#[derive(Debug, Parser)]
struct Options {
    /// What to write
    #[arg(long, value_enum)]
    language: Language,
    /// Where to
    #[arg(long)]
    out_dir: Utf8PathBuf,
    /// The library; what it exports is read from it
    library: Utf8PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Language {
    Kotlin,
    Swift,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    generate(GenerateOptions {
        languages: vec![match options.language {
            Language::Kotlin => TargetLanguage::Kotlin,
            Language::Swift => TargetLanguage::Swift,
        }],
        source: options.library,
        out_dir: options.out_dir,
        config_override: None,
        // What is committed must not depend on which formatters a machine has.
        format: false,
        crate_filter: None,
        metadata_no_deps: true,
    })
}
