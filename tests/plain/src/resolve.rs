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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_edit_wins_silently_if_the_clock_of_its_device_is_ahead() {
        assert_eq!(resolve(100, 50, Some(10)), Winner::Client);
        assert_eq!(resolve(100, 50, None), Winner::Client);
    }

    #[test]
    fn equal_clocks_are_the_servers_and_an_equal_base_is_the_clients_whatever_the_clock_says() {
        assert_eq!(resolve(50, 50, Some(10)), Winner::Server("server version is newer"));
        assert_eq!(resolve(50, 50, None), Winner::Server("server version is newer"));
        assert_eq!(resolve(i128::MIN, 50, Some(50)), Winner::Client);
        assert!(matches!(resolve(i128::MAX, 50, Some(51)), Winner::Server(_)));
    }
}
