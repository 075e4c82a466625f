//! The stages of the daily tests (`cargo xtask test`), of the gate (`cargo xtask test --all`) and of
//! the deep run (`cargo xtask deep`); a new stage is one entry.

use crate::gate::Stage;
use crate::language::{ANDROID, JAVASCRIPT, KOTLIN, SWIFT, apple, jsi, react_native};
use crate::process::for_each_line;
use crate::report::{Count, skips_allowed};
use crate::toolchain::cargo::{DENY, HYPERLINK, MDBOOK, NEXTEST};
use crate::toolchain::{postgres, swift, ubrn};
use crate::{
    api, bench, bindings, built, check, demo, fuzz, image, interop, invariants, jepsen, library,
    mutants, package, rust_tests, simulate, site,
};
use anyhow::Result;
use std::process::Command;

/// What a newcomer and each change run: Rust, git and a C compiler suffice. In start order.
pub(crate) const DAILY: &[Stage] = &[
    Stage::new("build", 40, build),
    Stage::new("tests", 40, rust_tests::tests).needs(&["build"]),
    Stage::new("doctests", 20, rust_tests::doctests).needs(&["build"]),
    Stage::new("simulate-short", 20, simulate::daily).needs(&["build"]),
    Stage::new("demo-rust", 10, demo::rust_holds).needs(&["build"]),
];

/// All stages that a commit must pass, in start order, with the longest first.
/// A limit only ends what hangs, and leaves room for a machine that is half as fast as usual.
pub(crate) const GATE: &[Stage] = &[
    Stage::new("build", 40, build),
    Stage::new("rules", 6, check::rules),
    Stage::new("tools", 50, tools),
    Stage::new("kotlin-build", 30, || KOTLIN.prepared()),
    Stage::new("npm", 20, || JAVASCRIPT.prepared()).after(&["tools"]),
    Stage::new("tests", 40, rust_tests::tests).needs(&["build"]).after(&["tools"]),
    Stage::new("simulate", 50, simulate::gate).needs(&["build"]),
    Stage::new("swift", 30, || SWIFT.tests()).needs(&["build"]).after(&["tools"]),
    Stage::new("javascript", 30, || JAVASCRIPT.tests()).needs(&["build"]).after(&["npm"]),
    // Two builds by Maven must not write the same folders: what uses Kotlin's classes is in one row.
    Stage::new("kotlin", 30, || KOTLIN.tests()).needs(&["build"]).after(&["kotlin-build"]),
    Stage::new("android", 30, android).needs(&["build"]).after(&["kotlin"]),
    Stage::new("react-native", 30, jsi::checked)
        .needs(&["build"])
        .after(&["android", "javascript"]),
    Stage::new("format", 5, check::format),
    Stage::new("clippy", 30, check::clippy).after(&["build"]),
    Stage::new("rustdoc", 20, check::rustdoc).after(&["clippy"]),
    Stage::new("doctests", 20, rust_tests::doctests).needs(&["build"]).after(&["rustdoc"]),
    Stage::new("bindings", 20, bindings::compared).needs(&["build"]).after(&["tools"]),
    Stage::new("api", 20, api::compared).after(&["android", "swift", "npm", "doctests"]),
    Stage::new("interop", 10, interop::agree).needs(&["build"]).after(&[
        "android",
        "swift",
        "javascript",
    ]),
    Stage::new("demo", 10, demo::claims_hold).needs(&["build"]).after(&["interop"]),
    Stage::new("jepsen", 10, jepsen::gate).needs(&["build"]),
    Stage::new("instructions", 20, bench::gate).needs(&["build"]),
    Stage::new("licences", 5, check::licences).after(&["tools"]),
    Stage::new("links", 5, check::links),
    Stage::new("site", 6, site::built).after(&["tools"]),
    Stage::new("invariants", 5, invariants::tests_exist).after(&[
        "tests",
        "kotlin",
        "swift",
        "javascript",
    ]),
];

/// Stages that take too long for each commit.
pub(crate) const DEEP: &[Stage] = &[
    Stage::new("build", 40, build),
    Stage::new("demo-faults", 15, demo::faults_are_noticed).needs(&["build"]),
    Stage::new("interop-faults", 15, interop::notice).needs(&["build"]),
    Stage::new("seeds", 240, simulate::deep).needs(&["build"]),
    Stage::new("cases", 120, rust_tests::more_cases).needs(&["build"]),
    Stage::new("orders", 60, orders).needs(&["build"]),
    Stage::new("features", 10, check::features).after(&["build"]),
    Stage::new("library", 20, library::shipped).after(&["features"]),
    Stage::new("npm-package", 30, react_native::checked).needs(&["build"]),
    Stage::new("apple", 20, apple::checked).needs(&["build"]),
    Stage::new("server-image", 30, image::checked).after(&["library"]),
    Stage::new("package", 60, package::checked).after(&["server-image"]),
    Stage::new("fuzz", 60, fuzz::every_target).after(&["package"]),
    Stage::new("mutants", 600, mutants::sample).after(&["fuzz"]),
];

/// The stages of `cargo xtask check`, which run no test.
pub(crate) const CHECKS: &[&str] = &["rules", "format", "clippy", "rustdoc", "licences", "links"];

/// Finds a stage by its name.
pub(crate) fn named(name: &str) -> Option<&'static Stage> {
    DAILY.iter().chain(GATE).chain(DEEP).find(|stage| stage.name == name)
}

fn android() -> Result<Count> {
    let mut count = package::inventory()?;
    count += ANDROID.tests()?;
    Ok(count)
}

/// The tests of the languages with every order of events, and longer ones for leaks.
fn orders() -> Result<Count> {
    let mut count = Count::default();
    for language in ["javascript", "kotlin", "swift"] {
        let mut stage = Command::new(std::env::current_exe()?);
        stage.args(["test", "--all", "--only", language]);
        stage.env(rust_tests::CASES, rust_tests::MORE_CASES);
        let mut closing = Count::one(false);
        for_each_line(stage, |line| {
            println!("{line}");
            closing = Count::read(line).unwrap_or(closing);
        })?;
        count += closing;
    }
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
        if std::env::var_os(rejoin_postgres::URL_VARIABLE).is_none()
            && rejoin_postgres::programs().is_none()
        {
            postgres::install()?;
        }
        count += Count::one(true);
    }
    Ok(count)
}
