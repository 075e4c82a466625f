//! Last-write-wins resolution of the real server: by client and server clocks, and a base version
//! if given.

/// The winner, and the reason in the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Winner {
    Client,
    Server(&'static str),
}

/// Times in nanoseconds: the client's clock plus tolerance, the row's version, the client's base
/// version.
pub(crate) fn resolve(client: i128, server: i128, base: Option<i128>) -> Winner {
    match base {
        Some(base) if base > server => {
            Winner::Server("client base version is ahead of server version")
        }
        Some(base) if base == server => Winner::Client,
        _ if client > server => Winner::Client,
        _ => Winner::Server("server version is newer"),
    }
}
