//! Streams: sets of rows that a device holds only while it subscribes to them.
//!
//! A stream gives names to buckets. Each subscription names one of them by parameters, and a query of
//! the operator decides who may read and write it.

use rejoin_protocol::argument::{Parameter, ParameterType};
use rejoin_protocol::manifest::SyncModel;

use super::TableConfig;
use super::action::USER;
use crate::error::{Problem, ProblemKind};
use crate::model::OWN_PREFIX;

/// A stream. The buckets whose name begins with its namespace reach a device only by a subscription:
/// grants and memberships of them do not count.
///
/// ```
/// use rejoin_protocol::argument::{Parameter, ParameterType};
/// use rejoin_server::{Config, PushPolicy, StreamConfig, TableConfig};
///
/// let tasks = TableConfig::new("tasks").with_bucket("project_id", "project:");
/// let project = StreamConfig::new(
///     "project",
///     "project:{project}",
///     "SELECT role <> 'viewer' FROM member WHERE user_id = :user AND project_id = :project",
/// );
/// let config = Config::new("app.db")
///     .with_table(tasks.with_push(PushPolicy::Bucket))
///     .with_stream(project.with_parameter(Parameter::new("project", ParameterType::Text)));
/// assert_eq!(config.problems(), []);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamConfig {
    /// The name by which devices subscribe.
    pub name: String,
    /// The parameters, of type text or integer. Each occurs once in `bucket`.
    pub parameters: Vec<Parameter>,
    /// The name of the bucket, with `{parameter}` in the place of each value. Up to the first colon it is
    /// the same for all subscriptions: the namespace, which belongs to this stream alone.
    pub bucket: String,
    /// A query that only reads. It may use the parameters as `:name`, and the user as `:user`. No row: the
    /// user may not subscribe. One row: the user reads the bucket, and writes it if the first cell is
    /// true or a number other than 0.
    pub allow: String,
}

impl StreamConfig {
    /// A stream without parameters.
    pub fn new(
        name: impl Into<String>,
        bucket: impl Into<String>,
        allow: impl Into<String>,
    ) -> Self {
        let (name, bucket, allow) = (name.into(), bucket.into(), allow.into());
        Self { name, parameters: Vec::new(), bucket, allow }
    }

    /// Adds a parameter.
    #[must_use]
    pub fn with_parameter(mut self, parameter: Parameter) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// How the names of its buckets begin: up to the first colon.
    pub(crate) fn namespace(&self) -> &str {
        self.bucket.find(':').map_or("", |colon| &self.bucket[..=colon])
    }

    /// The path of one of its keys in problems.
    pub(crate) fn place(&self, key: &str) -> String {
        format!("streams.{}.{key}", self.name)
    }

    /// Whether the query may use this parameter.
    pub(crate) fn knows(&self, name: &str) -> bool {
        name == USER || self.parameters.iter().any(|parameter| parameter.name == name)
    }

    /// The bucket's name with these values; an error that names the parameter whose value could be read
    /// as a part of the text after it.
    pub(crate) fn bucket_of<'v>(&self, value: impl Fn(&str) -> &'v str) -> Result<String, String> {
        let mut name = String::new();
        for Part { text, parameter, next } in self.parts() {
            name.push_str(text);
            let Some(parameter) = parameter else { continue };
            let value = value(parameter);
            if value.is_empty() {
                return Err(format!("{parameter} is empty"));
            }
            if next.is_some_and(|next| value.contains(next)) {
                return Err(format!("{parameter} contains what separates it from the rest"));
            }
            name.push_str(value);
        }
        Ok(name)
    }

    /// The parts of the bucket's name: a text, then a parameter.
    fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let mut rest = self.bucket.as_str();
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let (text, after) = rest.split_once('{').unwrap_or((rest, ""));
            let (parameter, after) = match after.split_once('}') {
                Some((parameter, after)) => (Some(parameter), after),
                None => (None, ""),
            };
            rest = after;
            Some(Part { text, parameter, next: after.chars().next() })
        })
    }

    /// Reports the problems that can be found without the database.
    pub(super) fn check(
        &self,
        before: &[Self],
        tables: &[TableConfig],
        problems: &mut Vec<Problem>,
    ) {
        let mut problem = |key: &str, why: String| {
            problems.push(Problem::of(ProblemKind::InvalidBucketConfig, self.place(key), why));
        };
        if self.name.is_empty() || before.iter().any(|other| other.name == self.name) {
            problem("name", String::from("a stream has a name of its own"));
        }
        let namespace = self.namespace();
        let mut parts = self.parts();
        if !parts.next().is_some_and(|first| first.text.contains(':') && first.text != ":") {
            problem(
                "bucket",
                String::from("it begins with a name and a colon, such as project:{project}"),
            );
        } else if namespace == OWN_PREFIX || namespace.starts_with('#') {
            problem("bucket", format!("{namespace} is reserved: choose another name"));
        } else if let Some(other) = before.iter().find(|other| other.namespace() == namespace) {
            let why =
                format!("the stream {} has the buckets that begin with {namespace}", other.name);
            problem("bucket", why);
        } else if !tables.iter().any(|table| table.may_name(namespace)) {
            let why = format!("no table has a bucket_prefix that begins with {namespace}");
            problem("bucket", why);
        }
        let is_of_log = |table: &&TableConfig| table.sync == SyncModel::Log;
        if let Some(table) = tables.iter().filter(is_of_log).find(|of| of.may_name(namespace)) {
            problem(
                "bucket",
                format!("{} is a table of the log, which has no streams", table.name),
            );
        }
        if parts.any(|part| part.text.is_empty()) {
            problem("bucket", String::from("separate two parameters by a text"));
        }
        for Parameter { name, kind, optional } in &self.parameters {
            let named = self.parts().filter(|part| part.parameter == Some(name)).count();
            let listed = self.parameters.iter().filter(|other| other.name == *name).count();
            if name == USER || (named, listed) != (1, 1) {
                let why = format!("{name} is once in the list and once in bucket, and not {USER}");
                problem("parameters", why);
            }
            if *optional || !matches!(kind, ParameterType::Text | ParameterType::Integer) {
                problem("parameters", format!("{name} is a text or an integer, and not optional"));
            }
        }
        let unknown = self.parts().filter_map(|part| part.parameter);
        for name in unknown.filter(|name| *name == USER || !self.knows(name)) {
            problem("bucket", format!("{name} is no parameter"));
        }
    }
}

struct Part<'s> {
    text: &'s str,
    parameter: Option<&'s str>,
    /// The first character after the parameter.
    next: Option<char>,
}

#[cfg(test)]
mod tests {
    use super::StreamConfig;

    #[test]
    fn two_lists_of_values_never_name_one_bucket() {
        let stream = StreamConfig::new("s", "s:{a}/{b}", "");
        let of = |a: &'static str, b: &'static str| {
            stream.bucket_of(|name| if name == "a" { a } else { b })
        };
        assert_eq!(of("1", "2/3"), Ok("s:1/2/3".to_owned()));
        assert!(of("1/2", "3").is_err(), "it would be the same bucket");
        assert!(of("", "3").is_err());
        assert_eq!(StreamConfig::new("s", "s:all", "").bucket_of(|_| ""), Ok("s:all".to_owned()));
    }
}
