//! Writes the code of a UniFFI library into a folder: `ubrn-generate jsi|napi MANIFEST LIBRARY FOLDER`.
//!
//! What `ubrn generate jsi bindings --library --no-format` does (TypeScript and C++ for React
//! Native), or `ubrn generate napi bindings` with `--lib-colocated` (TypeScript for Node), without the rest of that command. Compiled in
//! the workspace that `cargo xtask toolchain ubrn` makes, not in this one.

use camino::Utf8PathBuf;
use ubrn_bindgen::ffi_module_player_lib_resolution::LibResolution;
use ubrn_bindgen::{BindingsArgs, OutputArgs, SourceArgs, SwitchArgs};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<Utf8PathBuf> = std::env::args().skip(1).map(Utf8PathBuf::from).collect();
    let [flavor, manifest, library, folder] = arguments.as_slice() else {
        anyhow::bail!("usage: ubrn-generate jsi|napi MANIFEST LIBRARY FOLDER");
    };
    let output = OutputArgs::new(folder, folder, true);
    let source = SourceArgs::library(library);
    // The edited library takes the flavor from the way to find the library.
    let arguments = BindingsArgs::new(SwitchArgs::default(), source, output);
    match flavor.as_str() {
        "jsi" => arguments,
        "napi" => arguments.with_lib_resolution(LibResolution::Colocated),
        other => anyhow::bail!("{other} is neither jsi nor napi"),
    }
    .run(Some(manifest))?;
    Ok(())
}
