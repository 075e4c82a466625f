//! Validation of a configuration, whatever its source. Reports all problems, not only the first.

use rejoin_protocol::limits::GROUP_BYTES;

use super::{Auth, Config, PostgresUrl, Retention, RowSecurity};
use crate::error::Problem;
use crate::page_store::PageStore;

impl Config {
    /// All problems of this configuration.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        self.check_store(&mut problems);
        RowSecurity::problems(self, &mut problems);
        self.check_auth(&mut problems);
        self.check_limits(&mut problems);
        if let Some(least) = &self.min_app_version
            && least.split('.').count() != 3
        {
            let why = "a version is MAJOR.MINOR.PATCH";
            problems.push(Problem::new("min_app_version", why));
        }
        for (at, action) in self.actions.iter().enumerate() {
            action.check(&self.actions[..at], &mut problems);
        }
        self.check_tables(&mut problems);
        self.membership.iter().for_each(|membership| membership.check(&mut problems));
        for (at, stream) in self.streams.iter().enumerate() {
            stream.check(&self.streams[..at], &self.served_tables(), &mut problems);
        }
        problems
    }

    fn check_store(&self, problems: &mut Vec<Problem>) {
        if let Some(Err(why)) = self.page_store.as_deref().map(PageStore::check) {
            problems.push(Problem::new("page_store", why));
        }
        let further = [
            (
                "pooler",
                &self.pooler,
                "a pooler is PostgreSQL's: set store to the database behind it",
            ),
            ("replica", &self.replica, "a replica is PostgreSQL's: set store to its primary"),
        ];
        for (place, url, without_store) in further {
            match url.as_ref().map(PostgresUrl::parse) {
                Some(Err(why)) => problems.push(Problem::new(place, why)),
                Some(Ok(_)) if self.store.is_none() => {
                    problems.push(Problem::new(place, without_store));
                }
                _ => {}
            }
        }
        let Some(store) = &self.store else { return };
        if let Err(why) = store.parse() {
            problems.push(Problem::new("store", why));
        }
        if !self.database.as_os_str().is_empty() {
            let why = "the tables are in a file or in PostgreSQL: set database or store (REJOIN_DATABASE or REJOIN_STORE), not both";
            problems.push(Problem::new("database", why));
        }
    }

    fn check_auth(&self, problems: &mut Vec<Problem>) {
        match &self.auth {
            Auth::Header { name } => {
                if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                {
                    problems.push(Problem::new("auth.header", "this is no name of a header"));
                }
                if !self.listen.ip().is_loopback() {
                    let why = "the user header is trusted on a loopback address only: listen on \
                               127.0.0.1, or use [auth.jwt]";
                    problems.push(Problem::new("listen", why));
                }
            }
            Auth::Jwt(jwt) => jwt.check(problems),
            Auth::Host => {}
        }
    }

    fn check_limits(&self, problems: &mut Vec<Problem>) {
        let limits = &self.limits;
        if !(1..=10_000).contains(&limits.page) {
            problems.push(Problem::new("limits.page", "a page has 1 to 10000 rows"));
        }
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let least = [
            ("body", limits.body, 1_024),
            ("groups", limits.groups, 1),
            ("changes", limits.changes, 1),
            ("connections", size(limits.connections), 1),
            ("header_timeout_ms", size(limits.header_timeout_ms), 100),
            ("idle_timeout_ms", size(limits.idle_timeout_ms), 100),
            ("push_ms", size(limits.push_ms), 1),
            ("verdicts_per_device", size(limits.verdicts_per_device), 1_000),
            ("requests_per_user", size(limits.requests_per_user), 1),
            ("bodies", limits.bodies, limits.body),
            ("staged_per_user", limits.staged_per_user, GROUP_BYTES),
            ("streams_per_user", size(limits.streams_per_user), 1),
            ("devices_per_user", size(limits.devices_per_user), 1),
            ("rejections_per_user", size(limits.rejections_per_user), 1),
            ("log_entries_per_user", size(limits.log_entries_per_user), 1),
        ];
        for (name, value, least) in least {
            if value < least {
                problems.push(Problem::new(format!("limits.{name}"), format!("at least {least}")));
            }
        }
        let Retention { log_days, verdict_days, batch, .. } = self.retention;
        for (name, value) in
            [("log_days", log_days), ("verdict_days", verdict_days), ("batch", batch)]
        {
            if value == 0 {
                problems.push(Problem::new(format!("retention.{name}"), "at least 1"));
            }
        }
    }
}
