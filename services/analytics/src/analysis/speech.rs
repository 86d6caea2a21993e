//! Figures of who spoke when, as `colloquy-figures` counts them.

use colloquy_figures::{Absent, Figure as Counted, Figures, Settings, formula};

use super::figure::rounded;
use super::{Distribution, Figure, Hold, Interruptions, Rules, Silence, Talk};
use crate::input::Input;

/// Said by the provider, rather than counted.
const BY_PROVIDER: &str = "provider";

/// What the turns' order and times show.
pub(super) struct Speech {
    pub(super) duration_ms: Figure<i64>,
    pub(super) turn_count: Figure<u32>,
    pub(super) exchanges: Figure<u32>,
    pub(super) talk: Figure<Talk>,
    pub(super) silence: Figure<Silence>,
    pub(super) hold: Figure<Hold>,
    pub(super) interruptions_by_user: Figure<Interruptions>,
    pub(super) interruptions_by_agent: Figure<Interruptions>,
    pub(super) overlaps_by_user: Figure<Interruptions>,
    pub(super) overlaps_by_agent: Figure<Interruptions>,
    pub(super) response_latency: Figure<Distribution>,
}

impl Speech {
    /// Counts.
    pub(super) fn of(input: &Input, rules: &Rules) -> Self {
        let figures = Figures::of(&input.turns, Settings { silence_ms: rules.silence_ms });
        let crosstalk = |counted: Counted<colloquy_figures::Interruptions>, made_by| {
            figure(counted, made_by, |found| Some(Interruptions { count: found.count, overlap_ms: found.overlap_ms }))
        };
        Self {
            duration_ms: match input.record.duration_ms {
                Some(millis) => Figure::of(millis, BY_PROVIDER, []),
                None if figures.length_ms.absent == Some(Absent::NothingSaid) => {
                    Figure::absent("it is not known how long it lasted, and nothing was said", formula::DURATION)
                }
                None => figure(figures.length_ms, formula::DURATION, Some),
            },
            turn_count: figure(figures.turn_count, formula::TURN_COUNT, Some),
            exchanges: figure(figures.exchanges, formula::EXCHANGES, Some),
            talk: figure(figures.talk, formula::TALK, |talk| {
                Some(Talk {
                    agent_ms: talk.agent.ms,
                    user_ms: talk.user.ms,
                    ratio: talk.agent_ratio().map(|ratio| rounded(ratio, 6)),
                    agent_words_per_minute: talk.agent.words_per_minute().map(|words| rounded(words, 3)),
                    user_words_per_minute: talk.user.words_per_minute().map(|words| rounded(words, 3)),
                })
            }),
            silence: figure(figures.silence, formula::SILENCE, |silence| {
                let colloquy_figures::Silence { total_ms, longest_ms, count, longest_after } = silence;
                Some(Silence { total_ms, longest_ms, count, longest_after })
            }),
            hold: figure(figures.hold, formula::HOLD, |hold| Some(Hold { total_ms: hold.total_ms, count: hold.count })),
            interruptions_by_user: crosstalk(figures.interruptions_by_user, formula::INTERRUPTIONS),
            interruptions_by_agent: crosstalk(figures.interruptions_by_agent, formula::INTERRUPTIONS),
            overlaps_by_user: crosstalk(figures.overlaps_by_user, formula::OVERLAPS),
            overlaps_by_agent: crosstalk(figures.overlaps_by_agent, formula::OVERLAPS),
            response_latency: figure(figures.response_latency, formula::RESPONSE_LATENCY, |latency| latency.map(distribution)),
        }
    }
}

/// Returns what was counted as a figure; without a value, with the reason.
fn figure<A, B>(counted: Counted<A>, made_by: &str, value: impl FnOnce(A) -> Option<B>) -> Figure<B> {
    let absent = |reason: &str| Figure::absent(reason, made_by);
    match counted.absent {
        Some(reason) => absent(reason.as_str()).with_turns(counted.turns),
        None => match value(counted.counted) {
            Some(value) => Figure::of(value, made_by, counted.turns),
            None => absent(Absent::NoAnswer.as_str()),
        },
    }
}

/// Returns how values are spread, in our own shape.
pub(super) fn distribution(counted: colloquy_figures::Distribution) -> Distribution {
    let colloquy_figures::Distribution { n, min, max, mean, p50, p90, p95, p99 } = counted;
    Distribution { n, min, max, mean: rounded(mean, 3), p50, p90, p95, p99 }
}
