//! Writes the TypeScript of a UniFFI library for Node: `ubrn-napi MANIFEST LIBRARY FOLDER`.
//!
//! What `ubrn generate napi bindings --library --no-format --lib-colocated` does, without the rest of that command. Compiled in
//! the workspace that `cargo xtask toolchain ubrn` makes, not in this one.

use camino::Utf8PathBuf;
use ubrn_bindgen::ffi_module_player_lib_resolution::LibResolution;
use ubrn_bindgen::{AbiFlavor, BindingsArgs, OutputArgs, SourceArgs, SwitchArgs};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1).map(Utf8PathBuf::from);
    let (Some(manifest), Some(library), Some(folder), None) =
        (arguments.next(), arguments.next(), arguments.next(), arguments.next())
    else {
        anyhow::bail!("usage: ubrn-napi MANIFEST LIBRARY FOLDER");
    };
    let output = OutputArgs::new(&folder, &folder, true);
    BindingsArgs::new(SwitchArgs { flavor: AbiFlavor::Napi }, SourceArgs::library(&library), output)
        .with_lib_resolution(LibResolution::Colocated)
        .run(Some(&manifest))?;
    Ok(())
}
