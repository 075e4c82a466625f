//! The files and code blocks that deploy the server: `compose.yaml`, the systemd unit and the
//! manifests for Kubernetes on `docs/production.md`, and the workflows.

use super::{SECRET, Server, free};
use crate::language::JAVASCRIPT;
use crate::library::claim;
use crate::process::{announce, output, version};
use crate::report::Count;
use crate::toolchain::remark;
use crate::workspace::{File, files, root};
use anyhow::{Context as _, Result, ensure};
use rejoin_postgres::{Cluster, ClusterOptions, programs};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const COMPOSE: &str = "compose.yaml";

const PAGE: &str = "docs/production.md";

const INSTALL: &str = "docs/install.md";

/// Where the unit on the page expects the binary.
const INSTALLED: &str = "/usr/local/bin/rejoin-server";

/// Parses the files that are named as arguments, and prints their documents as one JSON list.
const PARSE: &str = "
const [yaml, ...files] = process.argv.slice(1);
const { parseAllDocuments } = require(yaml);
const documents = files.flatMap((file) =>
  parseAllDocuments(require('fs').readFileSync(file, 'utf8')).map((document) => {
    for (const problem of [...document.errors, ...document.warnings]) throw new Error(`${file}: ${problem.message}`);
    return document.toJS();
  }));
console.log(JSON.stringify(documents));";

/// All YAML can be parsed, and the manifests for Kubernetes agree with each other.
pub(super) fn yaml() -> Result<Count> {
    if let Some(missing) = (JAVASCRIPT.missing)()? {
        return Ok(Count::skipped(&format!("YAML: {missing}")));
    }
    let manifests = written("kubernetes.yaml", &block(PAGE, "yaml")?)?;
    let is_workflow = |file: &File| file.path.starts_with(".github/") && file.has_extension("yml");
    let files = files()?.into_iter().filter(|file| file.path == COMPOSE || is_workflow(file));
    let files: Vec<String> = files.map(|file| file.path).collect();
    let mut count = claim("compose.yaml and the workflows are YAML", &parsed(&files).map(|_| ()));
    let manifests = parsed(&[manifests.display().to_string()]);
    count += claim("the manifests for Kubernetes agree", &manifests.and_then(|all| agree(&all)));
    Ok(count)
}

fn parsed(files: &[String]) -> Result<Vec<Value>> {
    let mut node = Command::new("node");
    node.args(["-e", PARSE]).arg(remark::installed()?.join("node_modules/yaml")).args(files);
    serde_json::from_str(&output(node)?).context("the parser prints JSON")
}

/// The Service selects the pods of the Deployment, and all ports are that of the container.
fn agree(manifests: &[Value]) -> Result<()> {
    let of = |kind: &str| {
        let found = manifests.iter().find(|manifest| manifest["kind"] == kind);
        found.with_context(|| format!("there is no {kind}"))
    };
    let (deployment, service) = (of("Deployment")?, of("Service")?);
    let (spec, selected) = (&deployment["spec"]["template"]["spec"], &service["spec"]);
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    ensure!(labels.is_object(), "the pods have no labels");
    ensure!(deployment["spec"]["selector"]["matchLabels"] == *labels, "the Deployment's selector");
    ensure!(selected["selector"] == *labels, "the Service's selector");
    let container = &spec["containers"][0];
    let port = &container["ports"][0]["containerPort"];
    ensure!(*port == 7878, "the container's port");
    ensure!(selected["ports"][0]["targetPort"] == *port, "the Service's port");
    ensure!(container["readinessProbe"]["httpGet"]["path"] == "/readyz", "the readiness probe");
    ensure!(container["readinessProbe"]["httpGet"]["port"] == *port, "the readiness probe's port");
    for probe in ["startupProbe", "livenessProbe"] {
        ensure!(container[probe]["tcpSocket"]["port"] == *port, "{probe}");
    }
    let map = of("ConfigMap")?;
    let mounted = &spec["volumes"][0]["configMap"]["name"];
    ensure!(map["metadata"]["name"] == *mounted, "the mounted ConfigMap");
    ensure!(map["data"]["rejoin.toml"].is_string(), "the ConfigMap has no rejoin.toml");
    Ok(())
}

/// The configuration of `compose.yaml` serves its tables over PostgreSQL to a token that is made as
/// the page says.
pub(super) fn compose(binary: &Path) -> Result<Count> {
    let tools = [("psql", "--version"), ("bash", "--version"), ("openssl", "version")];
    let lacks = tools.iter().any(|(name, flag)| version(name, flag).is_none());
    if programs().is_none() || lacks {
        return Ok(Count::skipped("compose.yaml: needs PostgreSQL, psql, bash and openssl"));
    }
    let cluster = Cluster::start(&ClusterOptions::default())?;
    let served = serves(binary, &cluster.url("postgres"));
    Ok(claim("the configuration of compose.yaml serves a device with a token", &served))
}

fn serves(binary: &Path, url: &str) -> Result<()> {
    let mut psql = Command::new("psql");
    psql.args(["--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--file"]);
    psql.arg(written("tables.sql", &content("tables")?)?).arg(url);
    output(psql)?;
    let listen = free("127.0.0.1")?;
    let mut serve = Command::new(binary);
    serve.args(["serve", "--config"]).arg(written("rejoin.toml", &content("rejoin")?)?);
    serve.env("REJOIN_STORE", url).env("REJOIN_LISTEN", &listen).envs([SECRET]);
    let server = Server::start(serve)?;
    let request = block(INSTALL, "sh token")?;
    ensure!(request.contains("localhost:7878"), "{INSTALL}: the request has another address");
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", &request.replace("localhost:7878", &listen)]);
    bash.envs([SECRET]);
    let schema = output(bash)?;
    ensure!(schema.contains(r#""tasks""#), "the schema: {schema}");
    server.stop()
}

/// The text of a configuration in `compose.yaml`.
pub(super) fn content(name: &str) -> Result<String> {
    let text = fs::read_to_string(root().join(COMPOSE))?;
    let beginning = format!("\n  {name}:\n    content: |\n");
    let (_, rest) = text
        .split_once(&beginning)
        .with_context(|| format!("{COMPOSE} has no configuration {name}"))?;
    let lines = rest.lines().take_while(|line| line.is_empty() || line.starts_with("      "));
    let lines: Vec<&str> = lines.map(|line| line.get(6..).unwrap_or_default()).collect();
    Ok(lines.join("\n") + "\n")
}

/// systemd reads the unit without a warning.
pub(super) fn unit(binary: &Path) -> Result<Count> {
    if version("systemd-analyze", "--version").is_none() {
        return Ok(Count::skipped("the systemd unit: there is no systemd-analyze"));
    }
    let unit = block(PAGE, "ini")?;
    ensure!(unit.contains(INSTALLED), "{PAGE}: the unit does not start {INSTALLED}");
    let unit = unit.replace(INSTALLED, &binary.display().to_string());
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no", "--recursive-errors=no"]);
    verify.arg(written("rejoin.service", &unit)?).stdin(Stdio::null());
    announce(&verify);
    let verified = verify.output()?;
    let problems = String::from_utf8_lossy(&verified.stderr).into_owned();
    let read = || {
        ensure!(verified.status.success() && !problems.contains("rejoin.service"), "{problems}");
        Ok(())
    };
    Ok(claim("systemd reads the unit without a warning", &read()))
}

/// The only code block of this language on a page.
fn block(page: &str, language: &str) -> Result<String> {
    let text = fs::read_to_string(root().join(page))?;
    let fence = format!("\n```{language}\n");
    let (_, rest) =
        text.split_once(&fence).with_context(|| format!("{page} has no block of {language}"))?;
    let (block, rest) = rest.split_once("```").context("a block has no end")?;
    ensure!(!rest.contains(&fence), "{page}: two blocks of {language}");
    Ok(block.to_owned())
}

/// Writes a file for another program.
fn written(name: &str, text: &str) -> Result<PathBuf> {
    let folder = root().join("target/deployment");
    fs::create_dir_all(&folder)?;
    let file = folder.join(name);
    fs::write(&file, text)?;
    Ok(file)
}
