//! Changes of the device's file from outside the app: backups, copies, restores of older files.

use std::path::Path;

use rejoin_core::engine::OpenOptions;

use super::Device;

impl Device {
    /// Closes the file.
    pub(super) fn close(&mut self) {
        self.pass = super::progress::Pass::default();
        self.engine = None;
    }

    /// Copies the device's file with the app not running, as a backup of the whole device does.
    pub fn backup(&mut self) -> Vec<u8> {
        self.close();
        let bytes = self.file_bytes();
        self.crash();
        bytes
    }

    /// A device whose file is a byte-for-byte copy of this one's database and log, taken in the
    /// middle of whatever the device does. `seed` determines the copy's random numbers; this device
    /// continues.
    #[must_use]
    pub fn copy(&self, seed: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the copy");
        let path = folder.path().join("app.db");
        for suffix in ["", "-wal"] {
            let (mut from, mut to) =
                (self.options.path.clone().into_os_string(), path.clone().into_os_string());
            from.push(suffix);
            to.push(suffix);
            if Path::new(&from).exists() {
                std::fs::copy(from, to).expect("the file is copied");
            }
        }
        let options = OpenOptions { path, manifest: self.options.manifest.clone() };
        Self::over(options, folder, &self.user, seed, self.config.clone())
    }

    /// Replaces the file with a copy and starts the app.
    pub fn restore(&mut self, backup: &[u8]) {
        self.close();
        for suffix in ["-wal", "-shm"] {
            let mut name = self.options.path.clone().into_os_string();
            name.push(suffix);
            let _ = std::fs::remove_file(name);
        }
        std::fs::write(&self.options.path, backup).expect("the copy is put in place");
        self.crash();
    }

    /// Starts the app on a database and log as a crash left them.
    pub fn put(&mut self, files: &[Option<Vec<u8>>; 2]) {
        self.close();
        for (suffix, bytes) in ["", "-wal", "-shm"].into_iter().zip(files.iter().chain([&None])) {
            let mut name = self.options.path.clone().into_os_string();
            name.push(suffix);
            match bytes {
                Some(bytes) => std::fs::write(name, bytes).expect("the file is put in place"),
                None => drop(std::fs::remove_file(name)),
            }
        }
        self.crash();
    }

    fn file_bytes(&self) -> Vec<u8> {
        let conn = rusqlite::Connection::open(&self.options.path).expect("the file opens");
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("a checkpoint");
        drop(conn);
        std::fs::read(&self.options.path).expect("the file reads")
    }
}
