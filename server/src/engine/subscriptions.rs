//! The subscriptions of a request: which buckets they add to those that the user holds anyway.
//!
//! A stream's buckets count only while they are subscribed, whatever grants or memberships name. The
//! stream's query decides about each subscription in the transaction of each request; one that is
//! refused stops no other.

use std::sync::Arc;

use rejoin_protocol::argument::{self, Parameter, ParameterType};
use rejoin_protocol::manifest::{StreamManifest, StreamParameter};
use rejoin_protocol::wire::subscription::{RefusalCode, Subscription, SubscriptionState};
use rejoin_protocol::{Value, limits};
use serde_json::{Map, Value as Json};

use super::Caller;
use crate::config::{StreamConfig, USER};
use crate::error::{Fault, Problem, Refusal};
use crate::model::{Grant, Rights};
use crate::store::{FurtherBuckets, Reading, Truths};

/// The streams of the server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Streams(Arc<[(StreamConfig, Arc<[Parameter]>)]>);

impl Streams {
    pub(crate) fn new(streams: &[StreamConfig]) -> Self {
        let with_parameters =
            |stream: &StreamConfig| (stream.clone(), stream.parameters.clone().into());
        Self(streams.iter().map(with_parameters).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The streams by name, without their buckets and queries: devices need not see them.
    pub(super) fn manifest(&self) -> Vec<StreamManifest> {
        let parameter = |of: &Parameter| {
            let kind = if of.kind == ParameterType::Integer { "integer" } else { "text" };
            StreamParameter { name: of.name.clone(), kind: kind.to_owned() }
        };
        let stream = |(stream, parameters): &(StreamConfig, Arc<[Parameter]>)| StreamManifest {
            name: stream.name.clone(),
            parameters: parameters.iter().map(parameter).collect(),
        };
        let mut streams: Vec<StreamManifest> = self.0.iter().map(stream).collect();
        streams.sort_by(|left, right| left.name.cmp(&right.name));
        streams
    }

    /// Whether users hold the bucket only while they subscribe to it.
    fn has(&self, bucket: &str) -> bool {
        self.0.iter().any(|(stream, _)| bucket.starts_with(stream.namespace()))
    }

    /// The subscriptions of a request's header.
    pub(crate) fn asked(&self, header: Option<&str>) -> Result<Subscriptions, Fault> {
        let parsed = match header {
            None => Some(Vec::new()),
            Some(header) => rejoin_protocol::wire::subscription::parse(header),
        };
        let asked = parsed.ok_or_else(|| {
            let most = limits::SUBSCRIPTIONS;
            Refusal::invalid(format!("Rejoin-Subscriptions is no JSON of at most {most} bytes"))
        })?;
        Ok(Subscriptions { streams: self.clone(), asked })
    }

    /// Prepares the query of each stream on the database.
    pub(crate) fn problems(&self, reading: &dyn Reading) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (stream, _) in self.0.iter() {
            let mut problem = |why| problems.push(Problem::new(stream.place("allow"), why));
            match reading.parameters_of(&stream.allow) {
                Err(why) => problem(why),
                Ok(names) => {
                    for name in names.iter().filter(|name| !stream.knows(name)) {
                        problem(format!(":{name} is no parameter"));
                    }
                }
            }
        }
        problems
    }
}

/// The subscriptions that a request names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subscriptions {
    streams: Streams,
    asked: Vec<Subscription>,
}

// Equality is that of what the device sends: a server has one list of streams.
impl PartialEq for Subscriptions {
    fn eq(&self, other: &Self) -> bool {
        self.asked == other.asked
    }
}

impl Eq for Subscriptions {}

/// A subscription that the user may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subscribed {
    pub(super) bucket: String,
    pub(super) priority: u8,
}

/// What a request may use.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) rights: Rights,
    /// What the server says to each subscription of the request.
    subscriptions: Vec<Result<Subscribed, (RefusalCode, String)>>,
    /// The buckets of subscriptions.
    further: FurtherBuckets,
}

impl Held {
    /// Reads the rights of the caller, and sets the transaction's buckets.
    pub(super) fn read(reading: &dyn Reading, caller: &Caller) -> Result<Self, Fault> {
        let Subscriptions { streams, asked } = &caller.subscriptions;
        let mut grants = reading.grants(&caller.user)?;
        grants.retain(|grant| !streams.has(&grant.bucket));
        let (mut subscriptions, mut further) = (Vec::new(), FurtherBuckets::default());
        for one in asked {
            let decided = decide(streams, reading, &caller.user, one)?;
            subscriptions.push(decided.map(|(bucket, writes)| {
                further.reads.push(bucket.clone());
                further.writes.extend(writes.then(|| bucket.clone()));
                grants.push(Grant { bucket: bucket.clone(), reads: true, writes });
                Subscribed { bucket, priority: one.priority }
            }));
        }
        let held = Self { rights: Rights::of(&caller.user, grants), subscriptions, further };
        if !asked.is_empty() {
            held.act(reading, &caller.user, &[])?;
        }
        Ok(held)
    }

    /// Sets the transaction's buckets: those of the subscriptions, and former ones.
    pub(super) fn act(
        &self,
        reading: &dyn Reading,
        user: &str,
        former: &[String],
    ) -> Result<(), Fault> {
        let mut further = self.further.clone();
        further.reads.extend_from_slice(former);
        reading.act_for(user, &further)
    }

    /// The lowest priority of the subscriptions to this bucket; `None` if the user holds it without one.
    pub(super) fn level(&self, bucket: &str) -> Option<u8> {
        let subscribed = self.subscriptions.iter().flatten();
        subscribed.filter(|one| one.bucket == bucket).map(|one| one.priority).min()
    }

    /// The buckets of a snapshot that began with these: a subscription that was added since is loaded
    /// after it.
    pub(super) fn since(&self, began: &[String]) -> Vec<String> {
        let is_later = |bucket: &&String| self.level(bucket).is_some() && !began.contains(bucket);
        self.rights.reads.iter().filter(|bucket| !is_later(bucket)).cloned().collect()
    }

    /// The state of each subscription for a device that has all rows of these buckets.
    pub(super) fn states(&self, loaded: &[String]) -> Vec<SubscriptionState> {
        let state = |one: &Result<Subscribed, (RefusalCode, String)>| match one {
            Ok(Subscribed { bucket, .. }) if loaded.contains(bucket) => SubscriptionState::Current,
            Ok(_) => SubscriptionState::Loading,
            Err((code, message)) => {
                SubscriptionState::Refused { code: *code, message: message.clone() }
            }
        };
        self.subscriptions.iter().map(state).collect()
    }
}

type Decision = Result<(String, bool), (RefusalCode, String)>;

/// The bucket of a subscription, and whether the user may write it.
fn decide(
    streams: &Streams,
    reading: &dyn Reading,
    user: &str,
    asked: &Subscription,
) -> Result<Decision, Fault> {
    let found = streams.0.iter().find(|(stream, _)| stream.name == asked.stream);
    let Some((stream, parameters)) = found else {
        let message = format!("this server has no stream {}", asked.stream);
        return Ok(Err((RefusalCode::UnknownStream, message)));
    };
    let given = asked.parameters.iter().map(|(name, text)| {
        let kind = parameters.iter().find(|of| of.name == *name).map(|of| of.kind);
        (name.clone(), json(kind, text))
    });
    let given: Map<String, Json> = given.collect();
    let arguments = match argument::check(parameters, Json::Object(given)) {
        Ok(arguments) => arguments,
        Err(problems) => return Ok(Err((RefusalCode::InvalidParameter, problems.join("; ")))),
    };
    let mut values: Vec<(&str, Value)> =
        parameters.iter().map(|of| (of.name.as_str(), arguments.value(&of.name))).collect();
    let bucket_of = |texts: &[String]| {
        stream.bucket_of(|name| {
            let at = parameters.iter().position(|of| of.name == name);
            at.and_then(|at| texts.get(at)).map_or("", String::as_str)
        })
    };
    let given: Vec<String> =
        values.iter().map(|(_, value)| value.to_id().unwrap_or_default()).collect();
    let bucket = match bucket_of(&given) {
        Ok(bucket) => bucket,
        Err(why) => return Ok(Err((RefusalCode::InvalidParameter, why))),
    };
    values.push((USER, user.into()));
    Ok(match reading.truths(&stream.allow, &values)? {
        Ok(Truths { rows, texts }) => match rows.as_slice() {
            [] => Err((RefusalCode::Forbidden, format!("the user may not read {bucket}"))),
            [writes] => Ok((bucket_of(&texts).unwrap_or(bucket), *writes)),
            _ => {
                tracing::warn!(stream = stream.name, bucket, "allow returns more than one row");
                Err(failed(stream))
            }
        },
        Err(why) => {
            tracing::warn!(stream = stream.name, why, "allow fails");
            Err(failed(stream))
        }
    })
}

fn failed(stream: &StreamConfig) -> (RefusalCode, String) {
    let message = format!(
        "the server cannot decide about the stream {}: its log names the error of streams.allow",
        stream.name
    );
    (RefusalCode::QueryFailed, message)
}

/// A parameter's text as JSON of its type.
fn json(kind: Option<ParameterType>, text: &str) -> Json {
    match (kind, text.parse::<i64>()) {
        (Some(ParameterType::Integer), Ok(number)) => number.into(),
        _ => text.into(),
    }
}
