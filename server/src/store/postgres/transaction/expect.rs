//! Hints about upcoming reads. The first one begins the transaction in its round trip.

use rejoin_protocol::Value;

use super::super::ahead;
use super::super::connection::{Params, Sql};
use super::super::floor::Floor;
use super::{NotBegun, PostgresTransaction};
use crate::error::Fault;
use crate::model::{ReadScope, Table};
use crate::store::{Prefetch, ReadHint};

impl Prefetch for PostgresTransaction<'_> {
    fn expect(&self, ahead: &ReadHint<'_>) -> Result<(), Fault> {
        if !self.is_before_begin() || self.begins.get() > 0 {
            self.asked()?;
        }
        let compared = self.floor.iter().map(Floor::position);
        let positions: Vec<i64> = ahead.positions.iter().copied().chain(compared).collect();
        let ahead = &ReadHint { positions: &positions, ..*ahead };
        let way = ahead::TransactionKind { acts: self.takes_role.is_some(), holds: self.writes };
        let begins = !self.writes && self.is_before_begin();
        let is_alone = begins && self.leave_out_sequencer();
        let send = |state: Params<'_>, asked: &[(Sql<'_>, Params<'_>)]| {
            if begins {
                let names: Params<'_> = &[&self.known.names];
                let state = [state, names].concat();
                return Ok(self.begin_by((&ahead::BEGIN, &state), asked)?.0);
            }
            let all = [asked, &[(Sql { text: &ahead::STATE, types: &[] }, state)]].concat();
            Ok(self.begin_with(&all)?.pop().unwrap_or_default())
        };
        let ends = ahead::ask(&send, ahead, way, &mut self.answers.borrow_mut())?;
        if is_alone && ends.log.unnumbered {
            return self.did_not_begin(NotBegun::Unnumbered);
        }
        if self.writes {
            self.held.borrow_mut().insert(ahead.user.to_owned());
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
        self.seen(ahead::ask_images(self.asked()?, self.known, named, scope, answers))
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
