//! The bill of materials in `CycloneDX` 1.6, without time and serial number: the same tree gives the
//! same file.

use super::Component;
use serde_json::{Value, json};

/// The document for these components.
pub(super) fn document(components: &[Component]) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": { "component": {
            "type": "library", "bom-ref": "rejoin-android", "name": "rejoin-android", "version": version,
        } },
        "components": components.iter().map(entry).collect::<Vec<_>>(),
    })
}

fn entry(component: &Component) -> Value {
    let Component { name, version, license, source, .. } = component;
    let kind = if source.is_some() { "cargo" } else { "generic" };
    let purl = format!("pkg:{kind}/{name}@{}", version.replace('+', "%2B"));
    json!({
        "type": "library", "bom-ref": purl, "name": name, "version": version,
        "licenses": [{ "expression": license }],
        "purl": purl,
    })
}

#[cfg(test)]
mod tests {
    use super::{Component, document};
    use serde_json::json;

    #[test]
    fn component_has_name_version_licence_and_purl() {
        let toml = Component {
            name: "toml".to_owned(),
            version: "0.9.12+spec-1.1.0".to_owned(),
            license: "MIT OR Apache-2.0".to_owned(),
            manifest_path: "Cargo.toml".into(),
            source: Some("registry".to_owned()),
        };
        let sqlite = Component { name: "sqlite".to_owned(), source: None, ..toml.clone() };
        let document = document(&[toml, sqlite]);
        assert_eq!(document["bomFormat"], "CycloneDX");
        let first = &document["components"][0];
        assert_eq!(first["purl"], "pkg:cargo/toml@0.9.12%2Bspec-1.1.0");
        assert_eq!(first["licenses"], json!([{ "expression": "MIT OR Apache-2.0" }]));
        assert_eq!(document["components"][1]["purl"], "pkg:generic/sqlite@0.9.12%2Bspec-1.1.0");
    }
}
