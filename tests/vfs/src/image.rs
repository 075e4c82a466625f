//! The durable content of one file, and its possible states after a power cut. Pure.
//!
//! Synced content survives. Each later write is kept, dropped, torn at a sector, or dropped with
//! its length kept. In some images the writes are reordered. A name created or removed in a folder
//! that was not synced since may revert. Bytes next to a torn write do not change: the device
//! characteristics promise this to SQLite (powersafe overwrite).

use fastrand::Rng;

/// The unit of atomic writes.
const SECTOR: usize = 512;

/// A change that was not synced.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Truncate(usize),
}

/// A file: its durable content and later changes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Image {
    /// Whether the name exists.
    pub(crate) is_live: bool,
    /// The last synced content.
    synced: Vec<u8>,
    changes: Vec<Change>,
    /// The content of the name if the folder loses its latest change; `None` if the folder is
    /// synced.
    #[allow(clippy::option_option)]
    before: Option<Option<Vec<u8>>>,
}

/// How much unsynced data a power cut keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// No changes.
    Nothing,
    /// All changes.
    Everything,
    /// A prefix of the changes, the last of them torn.
    Prefix,
    /// Each change independently.
    Scattered,
    /// Each change independently, reordered.
    Reordered,
}

impl Style {
    /// Chooses one at random.
    pub fn choose(rng: &mut Rng) -> Self {
        let all = [Self::Nothing, Self::Everything, Self::Prefix, Self::Scattered, Self::Reordered];
        all[rng.usize(..all.len())]
    }
}

impl Image {
    /// An existing, durable file.
    pub(crate) fn found(content: Vec<u8>) -> Self {
        Self { is_live: true, synced: content, ..Self::default() }
    }

    /// Creates the name, for an empty file.
    pub(crate) fn create(&mut self) {
        let before = self.before.take().unwrap_or(None);
        *self = Self { is_live: true, before: Some(before), ..Self::default() };
    }

    /// Removes the name without syncing the folder.
    pub(crate) fn remove(&mut self) {
        let synced = std::mem::take(&mut self.synced);
        let before = self.before.take().unwrap_or(Some(synced));
        *self = Self { before: Some(before), ..Self::default() };
    }

    pub(crate) fn change(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Makes the content durable, and the name of a new file. Returns whether the name was new.
    pub(crate) fn sync(&mut self) -> bool {
        for change in std::mem::take(&mut self.changes) {
            apply(&mut self.synced, &change);
        }
        self.is_live && self.before.take().is_some()
    }

    /// Makes the name durable.
    pub(crate) fn sync_name(&mut self) {
        self.before = None;
    }

    /// A possible content after a power cut; `None` if the name does not exist.
    pub(crate) fn rebuild(&self, style: Style, rng: &mut Rng) -> Option<Vec<u8>> {
        let loses_name = match style {
            Style::Nothing => true,
            Style::Everything => false,
            _ => rng.bool(),
        };
        match &self.before {
            Some(before) if loses_name => before.clone(),
            _ if !self.is_live => None,
            _ => {
                let mut content = self.synced.clone();
                for change in self.survivors(style, rng) {
                    apply(&mut content, &change);
                }
                Some(content)
            }
        }
    }

    fn survivors(&self, style: Style, rng: &mut Rng) -> Vec<Change> {
        let mut changes = self.changes.clone();
        match style {
            Style::Nothing => Vec::new(),
            Style::Everything => changes,
            Style::Prefix => {
                changes.truncate(rng.usize(..=changes.len()));
                if let Some(last) = changes.pop() {
                    changes.extend(torn(&last, rng));
                }
                changes
            }
            Style::Scattered | Style::Reordered => {
                if style == Style::Reordered {
                    rng.shuffle(&mut changes);
                }
                changes.iter().flat_map(|change| after_power_cut(change, rng)).collect()
            }
        }
    }
}

/// A change after a power cut: kept, dropped, torn, or only its length kept.
fn after_power_cut(change: &Change, rng: &mut Rng) -> Vec<Change> {
    match rng.u8(..8) {
        0..4 => vec![change.clone()],
        4..6 => Vec::new(),
        6 => torn(change, rng),
        _ => match change {
            Change::Write { at, bytes } => {
                vec![Change::Write { at: at + bytes.len(), bytes: Vec::new() }]
            }
            Change::Truncate(_) => Vec::new(),
        },
    }
}

/// Some of the sectors of a write.
fn torn(change: &Change, rng: &mut Rng) -> Vec<Change> {
    let Change::Write { at, bytes } = change else { return vec![change.clone()] };
    let (mut start, mut kept) = (0, Vec::new());
    while start < bytes.len() {
        let end = bytes.len().min(start + SECTOR - (at + start) % SECTOR);
        if rng.bool() {
            kept.push(Change::Write { at: at + start, bytes: bytes[start..end].to_vec() });
        }
        start = end;
    }
    kept
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { at, bytes } => {
            let end = at + bytes.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[*at..end].copy_from_slice(bytes);
        }
        // A truncation reordered before the writes must not extend the file.
        Change::Truncate(size) => content.truncate(*size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(at: usize, byte: u8, length: usize) -> Change {
        Change::Write { at, bytes: vec![byte; length] }
    }

    #[test]
    fn synced_bytes_survive_in_every_image() {
        let mut image = Image::found(vec![1; 1024]);
        image.change(write(1024, 2, 1024));
        image.sync();
        image.change(write(2048, 3, 2048));
        let mut rng = Rng::with_seed(1);
        let mut lengths = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let style = Style::choose(&mut rng);
            let content = image.rebuild(style, &mut rng).unwrap_or_default();
            assert_eq!(content[..2048], [vec![1; 1024], vec![2; 1024]].concat());
            lengths.insert(content.len());
        }
        assert_eq!(lengths.first(), Some(&2048));
        assert_eq!(lengths.last(), Some(&4096));
        assert!(lengths.len() > 3, "lengths after tearing at sectors: {lengths:?}");
    }

    #[test]
    fn unsynced_writes_can_be_dropped_torn_and_reordered() {
        let mut image = Image::found(vec![0; 1024]);
        image.change(write(0, 1, 1024));
        image.change(write(0, 2, 1024));
        let mut rng = Rng::with_seed(2);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..500 {
            let style = Style::choose(&mut rng);
            let content = image.rebuild(style, &mut rng).unwrap_or_default();
            seen.insert((content[0], content[1023]));
        }
        let all = (0..3).flat_map(|first| (0..3).map(move |last| (first, last)));
        assert_eq!(seen, all.collect(), "each sector is from the first write, the second or none");
    }

    #[test]
    fn unsynced_names_can_be_missing_or_restored() {
        let states = |image: &Image| {
            let mut rng = Rng::with_seed(3);
            let images = (0..50).map(|_| image.rebuild(Style::choose(&mut rng), &mut rng));
            images.collect::<std::collections::BTreeSet<_>>()
        };
        let mut image = Image::default();
        image.create();
        assert_eq!(states(&image), [None, Some(Vec::new())].into());
        image.sync();
        assert_eq!(states(&image), [Some(Vec::new())].into());
        let mut image = Image::found(vec![7]);
        image.remove();
        assert_eq!(states(&image), [None, Some(vec![7])].into());
        image.create();
        assert_eq!(states(&image), [Some(vec![7]), Some(Vec::new())].into());
    }
}
