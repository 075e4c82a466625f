//! Hints about upcoming reads. The first one begins the transaction in its round trip.

use rejoin_protocol::Value;

use super::super::connection::{Params, Sql};
use super::super::known_log::RequiredEnd;
use super::super::prefetch;
use super::{NotBegun, PostgresTransaction};
use crate::error::Fault;
use crate::model::{ReadScope, Table};
use crate::store::{Prefetch, ReadHint};

impl Prefetch for PostgresTransaction<'_> {
    fn expect(&self, hint: &ReadHint<'_>) -> Result<(), Fault> {
        if !self.is_before_begin() || self.begins.get() > 0 {
            self.asked()?;
        }
        let compared = self.required.iter().map(RequiredEnd::position);
        let positions: Vec<i64> = hint.positions.iter().copied().chain(compared).collect();
        let hint = &ReadHint { positions: &positions, ..*hint };
        let kind =
            prefetch::TransactionKind { acts: self.takes_role.is_some(), holds: self.writes };
        let begins = !self.writes && self.is_before_begin();
        let is_alone = begins && self.leave_out_sequencer();
        let send = |state: Params<'_>, asked: &[(Sql<'_>, Params<'_>)]| {
            if begins {
                let names: Params<'_> = &[&self.known.names];
                let state = [state, names].concat();
                return Ok(self.begin_by((&prefetch::BEGIN, &state), asked)?.0);
            }
            let all = [asked, &[(Sql { text: &prefetch::STATE, types: &[] }, state)]].concat();
            Ok(self.begin_with(&all)?.pop().unwrap_or_default())
        };
        let ends = prefetch::ask(&send, hint, kind, &mut self.answers.borrow_mut())?;
        if is_alone && ends.log.unnumbered {
            return self.did_not_begin(NotBegun::Unnumbered);
        }
        if self.writes {
            self.held.borrow_mut().insert(hint.user.to_owned());
        }
        self.keep_log(&ends.log)
    }

    fn expect_images(
        &self,
        named: &[(&Table, &[Option<Value>])],
        scope: &ReadScope,
    ) -> Result<(), Fault> {
        if self.writes {
            return Ok(());
        }
        let answers = &mut self.answers.borrow_mut();
        self.seen(prefetch::ask_images(self.asked()?, self.known, named, scope, answers))
    }

    fn cursor_key(&self) -> Option<&str> {
        Some(self.known.cursor_key.as_str())
    }

    fn expect_behind(&self, position: i64, buckets: &[String]) {
        if !self.writes {
            self.answers.borrow_mut().coming = Some((position, buckets.to_vec()));
        }
    }
}
