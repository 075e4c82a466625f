//! What a disk holds of one file, and what a power cut leaves of it. Pure.
//!
//! What was synced stays. Each write since then is kept, dropped, torn at a sector or dropped with its length kept, and in
//! some images they are applied in another order. A name that was made or removed in a folder which was not synced since
//! may be as it was before. Bytes beside a torn write stay as they are: SQLite is told as much (powersafe overwrite).

use fastrand::Rng;

/// The unit that a disk writes whole.
const SECTOR: usize = 512;

/// A change of a file that was not synced.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Truncate(usize),
}

/// A file: what is on the disk for certain, and what came since.
#[derive(Debug, Clone, Default)]
pub(crate) struct Image {
    /// Whether the name is there now.
    pub(crate) is_live: bool,
    /// The content as it was synced last.
    synced: Vec<u8>,
    changes: Vec<Change>,
    /// What the name stands for if the folder loses its latest change; `None` if it has none to lose.
    #[allow(clippy::option_option)]
    before: Option<Option<Vec<u8>>>,
}

/// How much of what was not synced a power cut leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Nothing.
    Nothing,
    /// All of it.
    Everything,
    /// The first changes, the last of them torn.
    Prefix,
    /// Each change by itself.
    Scattered,
    /// Each change by itself, in another order.
    Reordered,
}

impl Style {
    /// One of them.
    pub fn choose(rng: &mut Rng) -> Self {
        let all = [Self::Nothing, Self::Everything, Self::Prefix, Self::Scattered, Self::Reordered];
        all[rng.usize(..all.len())]
    }
}

impl Image {
    /// A file that is there, wholly on the disk.
    pub(crate) fn found(content: Vec<u8>) -> Self {
        Self { is_live: true, synced: content, ..Self::default() }
    }

    /// The name is made, for an empty file.
    pub(crate) fn create(&mut self) {
        let before = self.before.take().unwrap_or(None);
        *self = Self { is_live: true, before: Some(before), ..Self::default() };
    }

    /// The name is removed, and the folder is not synced.
    pub(crate) fn remove(&mut self) {
        let synced = std::mem::take(&mut self.synced);
        let before = self.before.take().unwrap_or(Some(synced));
        *self = Self { before: Some(before), ..Self::default() };
    }

    pub(crate) fn change(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// The content reaches the disk, and the name of a new file with it. Whether the name was new.
    pub(crate) fn sync(&mut self) -> bool {
        for change in std::mem::take(&mut self.changes) {
            apply(&mut self.synced, &change);
        }
        self.is_live && self.before.take().is_some()
    }

    /// The folder reaches the disk.
    pub(crate) fn sync_name(&mut self) {
        self.before = None;
    }

    /// What a power cut leaves; `None` if the name is not there.
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
                changes.iter().flat_map(|change| weathered(change, rng)).collect()
            }
        }
    }
}

/// A change that is kept, dropped, torn, or of which only the length is left.
fn weathered(change: &Change, rng: &mut Rng) -> Vec<Change> {
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
        // A truncation that another order puts before the writes must not make the file longer.
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
        assert!(lengths.len() > 3, "torn at sectors: {lengths:?}");
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
        assert_eq!(seen, all.collect(), "each sector is of the first write, the second or none");
    }

    #[test]
    fn unsynced_names_can_be_missing_or_back() {
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
