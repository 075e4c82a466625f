//! The last stage of a Dockerfile, as far as it decides what runs.

use anyhow::{Context as _, Result, ensure};

/// What the last stage says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Image {
    /// Files and folders of other stages, each with its place in the image.
    pub(super) copied: Vec<(String, String)>,
    /// The numbers of the user and the group.
    pub(super) user: (String, String),
    /// The folder in which commands run.
    pub(super) folder: String,
    pub(super) variables: Vec<(String, String)>,
    pub(super) healthcheck: Vec<String>,
    pub(super) entrypoint: Vec<String>,
    pub(super) command: Vec<String>,
}

impl Image {
    /// Reads a Dockerfile. Commands are JSON lists: an image without files has no shell.
    pub(super) fn of(dockerfile: &str) -> Result<Self> {
        let joined = dockerfile.replace("\\\n", " ");
        let (_, stage) = joined.rsplit_once("\nFROM ").context("no stage begins with FROM")?;
        let mut image = Self::default();
        for line in stage.lines() {
            let Some((instruction, rest)) = line.split_once(' ') else { continue };
            let list = |text: &str| -> Result<Vec<String>> {
                serde_json::from_str(text).with_context(|| format!("not a JSON list: {line}"))
            };
            match instruction {
                "COPY" => {
                    let words = rest.split_whitespace().filter(|word| !word.starts_with("--"));
                    let [from, to] = words.collect::<Vec<_>>()[..] else {
                        anyhow::bail!("not a file and its place: {line}");
                    };
                    image.copied.push((from.to_owned(), to.to_owned()));
                }
                "USER" => image.user = pair(rest, ':')?,
                "WORKDIR" => rest.clone_into(&mut image.folder),
                "ENV" => image.variables.push(pair(rest, '=')?),
                "HEALTHCHECK" => {
                    let (_, command) = rest.split_once("CMD ").context("HEALTHCHECK has no CMD")?;
                    image.healthcheck = list(command)?;
                }
                "ENTRYPOINT" => image.entrypoint = list(rest)?,
                "CMD" => image.command = list(rest)?,
                _ => {}
            }
        }
        let (user, group) = &image.user;
        let is_user = |id: &str| id.parse::<u32>().is_ok_and(|id| id > 0);
        ensure!(is_user(user) && is_user(group), "USER is not two numbers above 0");
        Ok(image)
    }

    /// The value of a variable.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        let found = self.variables.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }
}

fn pair(text: &str, separator: char) -> Result<(String, String)> {
    let (name, value) = text.split_once(separator).with_context(|| format!("no pair: {text}"))?;
    Ok((name.to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::Image;

    const DOCKERFILE: &str = include_str!("../../../server/Dockerfile");

    #[test]
    fn last_stage_is_read() {
        let text = "FROM rust AS build\nUSER root\n\nFROM scratch\n# A comment.\n\
                    COPY --from=build --chown=1:2 /a /b\nUSER 1:2\nWORKDIR /b\nENV X=y\n\
                    HEALTHCHECK --interval=1s \\\n  CMD [\"/b\", \"c\"]\nENTRYPOINT [\"/b\"]\nCMD [\"d\"]\n";
        let image = Image::of(text).unwrap();
        assert_eq!(image.copied, [("/a".to_owned(), "/b".to_owned())]);
        assert_eq!((image.user.0.as_str(), image.folder.as_str()), ("1", "/b"));
        assert_eq!(image.variable("X"), Some("y"));
        assert_eq!(image.healthcheck, ["/b", "c"]);
        assert_eq!((image.entrypoint, image.command), (vec!["/b".into()], vec!["d".into()]));
        for (good, bad) in [("1:2\nW", "0:0\nW"), ("[\"d\"]", "d"), ("/a /b", "/a")] {
            assert!(Image::of(&text.replace(good, bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn image_is_built_with_the_pinned_compiler() {
        let pinned: toml::Table = include_str!("../../../rust-toolchain.toml").parse().unwrap();
        let version = pinned["toolchain"]["channel"].as_str().unwrap();
        assert!(DOCKERFILE.contains(&format!("\nFROM rust:{version}-slim-")), "{version}");
    }
}
