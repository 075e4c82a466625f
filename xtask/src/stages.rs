//! The stages of the gate (`cargo xtask test`) and of the deep run (`cargo xtask deep`); a new stage is one entry.

use crate::gate::Stage;
use crate::language::{ANDROID, JAVASCRIPT, KOTLIN, SWIFT, apple, jsi, react_native};
use crate::report::{Count, skips_allowed};
use crate::toolchain::cargo::{DENY, HYPERLINK, MDBOOK, NEXTEST};
use crate::toolchain::{postgres, swift, ubrn};
use crate::{
    api, bench, bindings, built, check, demo, fuzz, interop, invariants, jepsen, library, mutants,
    nextest, package, simulate, site,
};
use anyhow::Result;

const fn stage(
    name: &'static str,
    minutes: u64,
    after: &'static [&'static str],
    run: fn() -> Result<Count>,
) -> Stage {
    Stage { name, minutes, after, locks: false, run }
}

/// A stage that holds cargo's lock on the build folder.
const fn cargo(
    name: &'static str,
    minutes: u64,
    after: &'static [&'static str],
    run: fn() -> Result<Count>,
) -> Stage {
    Stage { name, minutes, after, locks: true, run }
}

/// All stages that a commit must pass, in start order, with the longest first.
/// A limit only ends what hangs, and leaves room for a machine that is half as fast as usual.
pub(crate) const GATE: &[Stage] = &[
    cargo("build", 40, &[], build),
    stage("rules", 6, &[], check::rules),
    stage("tools", 50, &[], tools),
    stage("kotlin-build", 30, &[], || KOTLIN.prepared()),
    stage("npm", 20, &["tools"], || JAVASCRIPT.prepared()),
    stage("tests", 40, &["build", "tools"], nextest::tests),
    stage("simulate", 50, &["build"], simulate::gate),
    stage("swift", 30, &["build", "tools"], || SWIFT.tests()),
    stage("apple", 20, &["swift"], apple::checked),
    stage("javascript", 30, &["build", "npm"], || JAVASCRIPT.tests()),
    stage("kotlin", 30, &["build", "kotlin-build"], || KOTLIN.tests()),
    // What uses Kotlin's classes comes after it: two builds by Maven must not write the same folders.
    stage("android", 30, &["kotlin"], android),
    stage("react-native", 30, &["android", "javascript"], react_native),
    cargo("format", 5, &[], check::format),
    cargo("clippy", 30, &["build"], check::clippy),
    cargo("rustdoc", 20, &["build"], check::rustdoc),
    cargo("doctests", 20, &["build"], nextest::doctests),
    stage("bindings", 20, &["build", "tools"], bindings::compared),
    cargo("api", 20, &["android", "swift", "npm", "rustdoc"], api::compared),
    stage("interop", 10, &["android", "swift", "javascript"], interop::agree),
    stage("demo", 10, &["interop"], demo::claims_hold),
    stage("jepsen", 10, &["build"], jepsen::gate),
    stage("instructions", 20, &["build"], bench::gate),
    stage("licences", 5, &["tools"], check::licences),
    stage("links", 5, &[], check::links),
    stage("site", 6, &["tools"], site::built),
    stage("invariants", 5, &["tests", "kotlin", "swift", "javascript"], invariants::tests_exist),
];

/// Stages that take too long for each commit.
pub(crate) const DEEP: &[Stage] = &[
    cargo("build", 40, &[], build),
    stage("demo-faults", 15, &["build"], demo::faults_are_noticed),
    stage("interop-faults", 15, &["build"], interop::notice),
    stage("seeds", 240, &["build"], simulate::deep),
    stage("cases", 120, &["build"], nextest::more_cases),
    cargo("features", 10, &["build"], check::features),
    cargo("library", 20, &["build"], library::shipped),
    cargo("package", 90, &["build"], package::parts),
    cargo("fuzz", 60, &["build"], fuzz::every_target),
    cargo("mutants", 600, &["build"], mutants::sample),
];

/// The stages of `cargo xtask check`, which run no test.
pub(crate) const CHECKS: &[&str] = &["rules", "format", "clippy", "rustdoc", "licences", "links"];

/// Finds a stage by its name.
pub(crate) fn named(name: &str) -> Option<&'static Stage> {
    GATE.iter().chain(DEEP).find(|stage| stage.name == name)
}

fn android() -> Result<Count> {
    let mut count = package::inventory()?;
    count += ANDROID.tests()?;
    Ok(count)
}

fn react_native() -> Result<Count> {
    let mut count = jsi::checked()?;
    count += react_native::checked()?;
    Ok(count)
}

fn build() -> Result<Count> {
    built::Built::all().map(|_| Count::one(true))
}

/// Tools that later stages need and no package manager provides. Large tools are installed only
/// with `CI=true`; elsewhere the stages that need them are skipped by name.
fn tools() -> Result<Count> {
    let mut count = Count::default();
    for tool in [NEXTEST, DENY, MDBOOK, HYPERLINK] {
        tool.ensure()?;
        count += Count::one(true);
    }
    if !skips_allowed() {
        if swift::found()?.is_none() {
            swift::install()?;
        }
        ubrn::install()?;
        library::zig::ensure()?;
        if std::env::var_os(rejoin_postgres::URL_VARIABLE).is_none()
            && rejoin_postgres::programs().is_none()
        {
            postgres::install()?;
        }
        count += Count::one(true);
    }
    Ok(count)
}
