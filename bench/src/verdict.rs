//! The cost of keeping the result of a mutation until the app acknowledges it.

use rejoin_core::engine::rebase::{Batch, ServerVerdict};
use rejoin_protocol::wire::push::Ending;

use crate::measure::{Run, Variant, cpu};
use crate::{ours, raw};

/// A push response that accepts this many mutations, against the same response for results already
/// reported to the app, which writes no entry. One transaction in both cases.
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
    let batch = Batch { verdicts, detect_conflicts: true, ..Batch::default() };
    let (sample, _) = cpu(count, || Ok::<_, anyhow::Error>(engine.apply(batch)?))?;
    Ok(sample)
};
