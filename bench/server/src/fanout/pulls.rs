//! Devices that pull when their streams report a change, over a few connections.

use std::collections::BTreeSet;
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Result, ensure};

use super::streams::PATIENCE;
use crate::device::Device;
use crate::http::Http;

/// Persistent connections of all devices.
const CONNECTIONS: usize = 32;

/// Registers a device of each user `user0`, `user1` and so on; returns the bodies of their pulls.
pub(super) fn bodies(address: &str, count: usize) -> Result<Vec<String>> {
    let each = |first: usize| -> Result<Vec<(usize, String)>> {
        let register = |number: usize| {
            let user = format!("user{number}");
            let mut device = Device::new(address, &user, &user)?;
            device.snapshot(1_000)?;
            Ok((number, device.pull_body(1_000)))
        };
        (first..count).step_by(CONNECTIONS).map(register).collect()
    };
    let mut all = in_threads(each)?.concat();
    all.sort_unstable();
    Ok(all.into_iter().map(|(_, body)| body).collect())
}

/// Each user pulls when its number comes; returns the milliseconds from `since` to the end of each
/// pull. All must receive this row.
pub(super) fn pull(
    address: &str,
    bodies: &[String],
    changed: Receiver<usize>,
    (since, row): (Instant, &str),
) -> Result<Vec<f64>> {
    let changed = Mutex::new((changed, BTreeSet::new()));
    let next = || -> Result<Option<usize>> {
        let mut changed = changed.lock().unwrap_or_else(PoisonError::into_inner);
        while changed.1.len() < bodies.len() {
            let number = changed.0.recv_timeout(PATIENCE)?;
            if changed.1.insert(number) {
                return Ok(Some(number));
            }
        }
        Ok(None)
    };
    let each = |_| -> Result<Vec<f64>> {
        let (mut http, mut times) = (Http::to(address, "")?, Vec::new());
        while let Some(number) = next()? {
            http.user = format!("user{number}");
            let answer = http.post("/sync/pull", &bodies[number])?;
            let answer = String::from_utf8_lossy(answer);
            ensure!(answer.contains(row), "no {row} for user{number}: {answer}");
            times.push(since.elapsed().as_secs_f64() * 1e3);
        }
        Ok(times)
    };
    Ok(in_threads(each)?.concat())
}

fn in_threads<T: Send>(each: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    std::thread::scope(|scope| {
        let each = &each;
        let threads: Vec<_> =
            (0..CONNECTIONS).map(|first| scope.spawn(move || each(first))).collect();
        let joined = threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a device panicked"))?);
        joined.collect()
    })
}
