//! Tests of the server through its router, without a socket, and of other programs that write its database.

#![allow(clippy::unwrap_used, clippy::panic)]
#![allow(clippy::disallowed_methods)] // Another program opens the file as it likes.

#[macro_use]
mod stores;

mod actions;
mod auth;
mod binary;
mod buckets;
mod config;
mod conformance;
mod connections;
mod contract;
mod costs;
mod declared;
mod device;
mod digest;
mod door;
mod ending;
mod events;
mod exact;
mod generated;
mod hooks;
mod host;
mod hostile;
mod inherited;
mod insert_only;
mod left_out;
mod lengths;
mod limits;
mod log_capture;
mod log_http;
mod log_store;
mod membership;
mod observed;
mod operate;
mod operator_page;
mod oracle;
mod outage;
mod outside_writer;
mod own_edits;
mod own_rights;
mod ownership;
mod plain;
mod policies;
mod postgres_only;
mod pull;
mod push;
mod ready;
mod register;
mod registry;
mod schema;
mod sets;
mod shared_pages;
mod snapshot;
mod staged;
mod streams;
mod teams;
#[cfg(feature = "otel")]
mod telemetry;
mod tokens;
mod transient;
mod trespass;
mod verdict_model;
mod wakes;
mod window;
mod world;
mod written_buckets;
