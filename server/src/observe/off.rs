//! Without OpenTelemetry there are no metrics; requests still have `tracing` spans.

use axum::http::HeaderMap;
use tracing::Span;

use super::Ended;

pub(crate) fn stands_under(_: &Span, _: &HeaderMap) {}

pub(crate) fn request_ended(_: &Ended) {}

pub(crate) fn mutation(_: &'static str, _: usize) {}

pub(crate) fn limited(_: &'static str, _: usize) {}

pub(crate) fn pulled(_: usize) {}

pub(crate) fn snapshotted(_: usize) {}

pub(crate) fn compacted(_: usize) {}
