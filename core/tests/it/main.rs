//! Stories of the client: what an app may rely on, told by using it.

mod client;
mod lifecycle;
mod log;
mod watch;
mod world;
