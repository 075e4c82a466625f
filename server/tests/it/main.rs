//! Stories of the server, told over its router without a socket, and by a bare SQLite connection beside it.

mod pull;
mod push;
mod snapshot;
mod world;
