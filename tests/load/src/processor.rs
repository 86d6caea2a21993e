//! Processor time.

/// Returns a process's time in user and system mode: fields 14 and 15 of proc(5), in hundredths of a second.
pub(crate) fn cpu_seconds(process: &str) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / 100.0)
}

/// Returns the processor time of every process of a name, in seconds.
pub(crate) fn cpu_of_all(name: &str) -> f64 {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let named =
        processes.filter(|entry| std::fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm.trim() == name));
    named.filter_map(|entry| cpu_seconds(&entry.file_name().to_string_lossy())).sum()
}
