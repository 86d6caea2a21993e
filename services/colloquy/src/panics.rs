//! Telling of panics.

use std::panic::{PanicHookInfo, set_hook};

/// Says of every panic from now on where it was, and never what it said: that may quote a conversation.
pub(crate) fn tell_without_words() {
    set_hook(Box::new(|panic| {
        let place = place(panic);
        let thread = std::thread::current();
        if tracing::enabled!(tracing::Level::ERROR) {
            let thread = thread.name().unwrap_or("unnamed");
            tracing::error!(panic.location = place, panic.thread = thread, "a defect: panicked at {place}");
        } else {
            eprintln!("colloquy: a defect: panicked at {place}");
        }
    }));
}

fn place(panic: &PanicHookInfo<'_>) -> String {
    panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::panic::{catch_unwind, take_hook};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_is_logged_with_its_place_and_without_its_words() {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let usual = take_hook();
        tell_without_words();
        let panicked = tracing::subscriber::with_default(subscriber, || catch_unwind(|| panic!("she said {}", "hello")).is_err());
        set_hook(usual);
        let line = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert!(panicked && line.contains("ERROR") && line.contains(file!()) && line.contains("panic.thread"), "{line}");
        assert!(!line.contains("hello"), "{line}");
    }
}
