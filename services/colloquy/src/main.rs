//! `colloquy`: the one binary. `main` reads the command line, calls the command, and turns its result into an exit code.

mod command;
mod compose;
mod demo;
mod keyring;
mod panics;
mod settings;
mod signals;

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Messages are decoded, folded and dropped by the thousand on every thread: a third of the processor time went into the system's
/// allocator once its heap had been in use for a while.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    panics::tell_without_words();
    // Several libraries bring TLS; all of them use this one provider.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let matches = match command::parse(std::env::args_os()) {
        Ok(matches) => matches,
        Err(error) => error.exit(),
    };
    // A one-CPU container would get one worker, on which a blocking flush of telemetry would wait for itself.
    let workers = std::thread::available_parallelism().map_or(2, |cpus| cpus.get().max(2));
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("colloquy: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(command::run(&matches));
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("colloquy: {error:#}");
            ExitCode::FAILURE
        }
    }
}
