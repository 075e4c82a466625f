//! `rejoin-fuzz`, run by `cargo xtask fuzz`. `seeds TARGET FOLDER` writes the known inputs,
//! `keep TARGET FOLDER` keeps those of the folder. Built with `--cfg rejoin_fuzzing` it is
//! libFuzzer itself, with libFuzzer's arguments, and the target's name is in the environment.

#![cfg_attr(rejoin_fuzzing, no_main)]
#![allow(clippy::print_stdout, clippy::disallowed_methods)] // A separate program.

#[cfg(rejoin_fuzzing)]
mod fuzzer {
    use std::sync::OnceLock;

    use rejoin_fuzz::{Target, target};

    static TARGET: OnceLock<Target> = OnceLock::new();

    fn chosen() -> Target {
        let name =
            std::env::var("REJOIN_FUZZ_TARGET").expect("REJOIN_FUZZ_TARGET names the target");
        target(&name).expect("there is such a target")
    }

    libfuzzer_sys::fuzz_target!(|input: &[u8]| (TARGET.get_or_init(chosen).run)(input));
}

#[cfg(not(rejoin_fuzzing))]
fn main() -> anyhow::Result<()> {
    use rejoin_fuzz::{corpus, target};
    use std::path::Path;

    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["seeds", name, folder] => {
            for (number, input) in corpus::of(target(name)?.name)?.into_iter().enumerate() {
                std::fs::write(Path::new(folder).join(format!("known{number}")), input)?;
            }
            Ok(())
        }
        ["keep", name, folder] => {
            let kept = corpus::keep(target(name)?.name, Path::new(folder))?;
            println!("{name}: {kept} inputs are kept");
            Ok(())
        }
        _ => anyhow::bail!("seeds TARGET FOLDER or keep TARGET FOLDER, not {words:?}"),
    }
}
