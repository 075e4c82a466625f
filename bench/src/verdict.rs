//! What it costs that the end of a mutation is kept for the app until it says that it knows.

use rejoin_core::engine::rebase::{Batch, ServerVerdict};
use rejoin_protocol::wire::push::Ending;

use crate::measure::{Run, Variant, cpu};
use crate::{ours, raw};

/// A push answer that accepts so many mutations, against the same answer where the app has been told of them before, so that no
/// entry is written. One transaction either way.
pub(crate) const ACCEPTED: Run = |variant, folder, count| {
    let path = folder.join("bench.db");
    let mut engine = ours::open(&path)?;
    for number in 0..count {
        let insert = "INSERT INTO item (id, count) VALUES (?, 1)";
        engine.execute(insert, &[raw::key(number).into()])?;
    }
    let pending = engine.pending()?;
    let seqs: Vec<_> = pending.iter().map(|one| one.seq).collect();
    engine.mark_sent(&seqs, 1)?;
    if variant == Variant::Reference {
        engine.close()?;
        rusqlite::Connection::open(&path)?.execute_batch("UPDATE rejoin_mutation SET told = 1")?;
        engine = ours::open(&path)?;
    }
    let verdict =
        |id| ServerVerdict { id, attempt: 1, ending: Ending::Accepted, code: None, detail: None };
    let verdicts = pending.iter().map(|one| verdict(one.id)).collect();
    let batch = Batch { verdicts, judge: true, ..Batch::default() };
    let (sample, _) = cpu(count, || Ok::<_, anyhow::Error>(engine.apply(batch)?))?;
    Ok(sample)
};
