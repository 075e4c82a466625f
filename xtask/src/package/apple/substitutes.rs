//! What stands in for Apple's SDK in a library for inspection: zig's C headers, and text stubs of
//! Apple's libraries.
//!
//! The names in libSystem are those that zig has for macOS, also for iOS: a name that only iOS lacks
//! is not noticed. The stubs of other libraries are empty: a name imported from one does not link.

use super::{System, Target};
use crate::library::zig;
use anyhow::{Context as _, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Libraries besides libSystem that Rust's crates name to the linker.
const LIBRARIES: [(&str, &str); 3] = [
    ("libiconv.tbd", "/usr/lib/libiconv.2.dylib"),
    (
        "CoreFoundation.framework/CoreFoundation.tbd",
        "/System/Library/Frameworks/CoreFoundation.framework/CoreFoundation",
    ),
    ("Security.framework/Security.tbd", "/System/Library/Frameworks/Security.framework/Security"),
];

/// The variables by which cargo and build scripts find the linker and a C compiler for the target;
/// the scripts and stubs that they name are written into the folder.
pub(super) fn variables(
    lld: &Path,
    zig: &Path,
    (system, target): (&System, &Target),
    folder: &Path,
) -> Result<[(String, PathBuf); 5]> {
    stubs(zig, system, target, folder)?;
    let triple = triple(system, target);
    let headers = zig.join("ziglang/lib/libc/include/any-darwin-any");
    let flags = PathBuf::from(format!("-isystem {}", headers.display()));
    let name = target.rust.replace('-', "_");
    Ok([
        (format!("CC_{name}"), zig::script(zig, "cc", &triple, folder)?),
        (format!("AR_{name}"), zig::script(zig, "ar", &triple, folder)?),
        (format!("CFLAGS_{name}"), flags),
        (format!("CARGO_TARGET_{}_LINKER", name.to_uppercase()), lld.to_owned()),
        // Otherwise Xcode would be queried.
        ("SDKROOT".to_owned(), folder.to_owned()),
    ])
}

/// zig's name of the target: `aarch64-ios.16.0-simulator`.
fn triple(system: &System, target: &Target) -> String {
    let variant = variant(system);
    format!("{}-{}.{}{variant}", target.processor(), system.name, system.minimum())
}

fn variant(system: &System) -> String {
    system.variant.map(|variant| format!("-{variant}")).unwrap_or_default()
}

fn stubs(zig: &Path, system: &System, target: &Target, folder: &Path) -> Result<()> {
    let source = zig.join("ziglang/lib/libc/darwin/libSystem.tbd");
    let text =
        fs::read_to_string(&source).with_context(|| format!("zig has no {}", source.display()))?;
    let renamed = format!("-{}{}", system.name, variant(system));
    // lld has no processor `arm64e.x1`, and the list does not name `arm64` everywhere.
    let text = text.replace("arm64e.x1-", "arm64-").replace("-macos", &renamed);
    // As in Apple's SDK, libc and libm are other names of libSystem.
    for name in ["libSystem.tbd", "libc.tbd", "libm.tbd"] {
        fs::write(folder.join(name), &text)?;
    }
    for (name, path) in LIBRARIES {
        let file = folder.join(name);
        fs::create_dir_all(file.parent().unwrap_or(folder))?;
        let targets = format!("targets: [ {}{renamed} ]", target.architecture());
        let head = format!("--- !tapi-tbd\ntbd-version: 4\n{targets}\n");
        fs::write(file, format!("{head}install-name: '{path}'\n...\n"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::triple;
    use crate::package::apple::SLICES;

    #[test]
    fn zig_target_names_system_and_minimum() {
        let triples = SLICES.map(|slice| triple(&slice.system, &slice.targets[0]));
        let expected = ["aarch64-ios.16.0", "aarch64-ios.16.0-simulator", "aarch64-macos.13.0"];
        assert_eq!(triples, expected);
    }
}
