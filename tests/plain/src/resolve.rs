//! Last writer wins, as the real server decides it: by the wall clocks of two machines, and a base if there is one.

/// Who wins, and the words of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Winner {
    Client,
    Server(&'static str),
}

/// Instants in nanoseconds: the client's clock with the tolerance added, the row's version, the base that the client has.
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
