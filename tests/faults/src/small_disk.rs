//! A disk small enough to be filled.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system of a few MiB, mounted over a folder; unmounted when dropped.
pub struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts one over `folder`, which hides what is there.
    ///
    /// # Panics
    /// Where mounting is not allowed: a test that needs a full disk must not pass without one.
    pub fn mount(folder: &Path, mebibytes: u32) -> Self {
        let size = format!("size={mebibytes}m");
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "colloquy-faults"]).arg(folder).output().unwrap();
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "a small disk takes the right to mount a tmpfs (root, CAP_SYS_ADMIN): {why}");
        Self { folder: folder.to_owned() }
    }

    /// Fills what is left to the last byte.
    pub fn fill(&self) {
        let mut file = File::create(self.ballast()).unwrap();
        for piece in [&[0_u8; 64 << 10][..], &[0; 4 << 10], &[0; 1]] {
            while file.write_all(piece).is_ok() {}
        }
    }

    /// Gives the space back.
    pub fn empty(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever still has files open there is about to be killed.
        Command::new("umount").arg("--lazy").arg(&self.folder).status().ok();
    }
}
