//! Reads of devices, grants, verdicts and staged parts.

use super::super::{operate, records, staged, verdicts};
use super::PostgresTransaction;
use crate::error::Fault;
use crate::model::{Client, Grant, KnownClient, StagedSize, StoredVerdict};
use crate::store::ReadDevices;

impl ReadDevices for PostgresTransaction<'_> {
    fn grants(&self, user: &str) -> Result<Vec<Grant>, Fault> {
        let grants = self.answers.borrow().grants(user);
        if let Some(grants) = grants {
            if self.writes {
                self.answers.borrow_mut().forget_grants(); // A hook may grant the user a bucket.
            }
            return Ok(grants);
        }
        let grants = self.seen(records::grants(self.asked()?, user))?;
        if !self.writes {
            self.answers.borrow_mut().keep_grants(user, &grants);
        }
        Ok(grants)
    }

    fn client(&self, user: &str, client_id: &str) -> Result<Option<Client>, Fault> {
        if let Some(client) = self.answers.borrow_mut().client(user, client_id) {
            return Ok(Some(client));
        }
        self.hold(user)?;
        self.seen(records::client(self.asked()?, user, client_id))
    }

    fn verdict(&self, user: &str, mutation: &str) -> Result<Option<StoredVerdict>, Fault> {
        self.hold(user)?;
        self.seen(verdicts::one(self.asked()?, user, mutation))
    }

    fn staged(&self, user: &str, client_id: &str) -> Result<Option<StagedSize>, Fault> {
        self.seen(staged::size(self.asked()?, user, client_id))
    }

    fn staged_by(&self, user: &str) -> Result<i64, Fault> {
        self.seen(staged::size_of_user(self.asked()?, user))
    }

    fn staged_bytes(&self, user: &str, client_id: &str, content: &str) -> Result<Vec<u8>, Fault> {
        self.seen(staged::bytes(self.asked()?, user, client_id, content))
    }

    fn clients(&self, after: Option<(&str, &str)>, most: usize) -> Result<Vec<KnownClient>, Fault> {
        self.seen(operate::clients(self.asked()?, after, most))
    }

    fn devices_since(&self, user: &str, since: &str) -> Result<i64, Fault> {
        self.seen(operate::devices_since(self.asked()?, user, since))
    }

    fn verdicts_from(
        &self,
        user: &str,
        client_id: &str,
        seq: i64,
        most: i64,
    ) -> Result<i64, Fault> {
        self.seen(operate::verdicts_from(self.asked()?, user, client_id, (seq, most)))
    }
}
