//! Stretches of time.

/// From when until when, in milliseconds; the end is not before the start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Span {
    pub(crate) start: i64,
    pub(crate) end: i64,
}

impl Span {
    pub(crate) const fn is_empty(self) -> bool {
        self.start >= self.end
    }

    pub(crate) const fn ms(self) -> i64 {
        self.end - self.start
    }
}

/// Returns the union of spans that come in the order of their starts: stretches in order, none touching the next.
pub(crate) fn union(spans: impl IntoIterator<Item = Span>) -> Vec<Span> {
    let mut stretches: Vec<Span> = Vec::new();
    for span in spans {
        match stretches.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => stretches.push(span),
        }
    }
    stretches
}

/// Returns how much time spans, in the order of their starts, cover together.
pub(crate) fn covered(spans: impl IntoIterator<Item = Span>) -> i64 {
    union(spans).into_iter().map(Span::ms).sum()
}

/// Returns how much of a window stretches, as [`union`] returns them, leave free.
pub(crate) fn free(window: Span, stretches: &[Span]) -> i64 {
    let first = stretches.partition_point(|stretch| stretch.end <= window.start);
    let within = stretches[first..].iter().take_while(|stretch| stretch.start < window.end);
    let taken: i64 = within.map(|stretch| stretch.end.min(window.end) - stretch.start.max(window.start)).sum();
    (window.ms() - taken).max(0)
}
