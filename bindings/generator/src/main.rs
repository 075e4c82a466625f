//! `uniffi-bindgen`: generates the Kotlin or Swift code of a built library.
//!
//! A separate program, because the generator of `uniffi` is behind a crate feature that would also
//! be compiled into the shipped library. Run by `cargo xtask bindings`.
#![allow(clippy::print_stderr)]

use camino::Utf8PathBuf;
use clap::{Parser, ValueEnum};
use uniffi_bindgen::bindings::{GenerateOptions, TargetLanguage, generate};

/// Generates foreign code for a library that was built with UniFFI
#[derive(Debug, Parser)]
struct Options {
    /// The language to generate
    #[arg(long, value_enum)]
    language: Language,
    /// The output directory
    #[arg(long)]
    out_dir: Utf8PathBuf,
    /// The library from which the exports are read
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
        // The committed output must not depend on the formatters of the machine.
        format: false,
        crate_filter: None,
        metadata_no_deps: true,
    })
}
