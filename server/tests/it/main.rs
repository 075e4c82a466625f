//! Stories of the server, told over its router without a socket, and by a bare SQLite connection beside it.

#![allow(clippy::unwrap_used, clippy::panic)]
#![allow(clippy::disallowed_methods)] // Another program opens the file as it likes.

mod actions;
mod auth;
mod binary;
#[cfg(feature = "mutants")]
mod broken;
mod bucket_functions;
mod buckets;
mod cluster;
mod collision;
mod config;
mod conformance;
mod contract;
mod declared;
mod door;
mod ending;
mod events;
mod feeder;
mod heard;
mod hooks;
mod host;
mod hostile;
mod inbox;
mod inherited;
mod judgement;
mod limits;
mod nodes;
mod on_postgres;
mod on_rls;
mod operate;
mod operate_postgres;
mod oracle;
mod outside_writer;
mod ownership;
mod plain;
mod plain_push;
mod policies;
mod postgres;
mod postgres_hook;
mod postgres_writer;
mod proxy;
mod pull;
mod push;
mod ready;
mod reconnect;
mod register;
mod registry;
mod round_trips;
mod row_security;
mod scale;
mod schema;
mod sequencer;
mod snapshot;
mod sqlstates;
#[cfg(feature = "otel")]
mod telemetry;
mod tls;
mod tokens;
mod transient;
mod trespass;
mod types;
mod ways;
mod window;
mod world;
