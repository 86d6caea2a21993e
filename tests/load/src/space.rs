//! Memory and disk.

use std::path::Path;

use colloquy_e2e::Server;

/// Returns the server's resident memory in KiB.
pub(crate) fn memory_kib(server: &Server) -> u64 {
    resident_kib(server.pid())
}

/// Returns the resident memory of a process in KiB.
pub(crate) fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Prints memory now, and disk by file and turn.
pub(crate) fn report(server: &Server, turns: u64, idle_kib: u64) {
    println!("memory after {turns} turns: {} MB resident (idle: {} MB)", memory_kib(server) / 1024, idle_kib / 1024);
    let mut files = Vec::new();
    collect(server.data_dir(), &mut files);
    files.retain(|(name, _)| name != "stderr.log");
    let total: u64 = files.iter().map(|(_, bytes)| bytes).sum();
    files.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    println!("disk in the data folder: {total} B, {} B a turn", total / turns.max(1));
    for (name, bytes) in files.iter().take(8) {
        println!("  {name}: {} B a turn", bytes / turns.max(1));
    }
}

fn collect(folder: &Path, files: &mut Vec<(String, u64)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            collect(&entry.path(), files);
        } else {
            files.push((entry.file_name().to_string_lossy().into_owned(), entry.metadata().unwrap().len()));
        }
    }
}
