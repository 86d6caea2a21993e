//! How long answers took: from the end of the user's last turn to the beginning of the agent's, wherever the agent's side follows
//! the user by the times. Where the agent's side begins before the user has ended, or still speaks when the user ends, nobody
//! waited: it barged in, or was barged into and went on. Such changes are left out, and so are those whose end or beginning is
//! not known.

use crate::{Absent, Distribution, Figure, Side, Spoken};

/// Measures the answers. The turns they come from are the one answered and the answer.
pub(crate) fn figure(spoken: &Spoken<'_>) -> Figure<Option<Distribution>> {
    let mut latencies = Vec::new();
    let mut turns = Vec::new();
    // Until when the user's run of turns lasts that has not been answered; `None` when that is not known.
    let mut asked: Option<(Option<i64>, u32)> = None;
    let mut agent_until = i64::MIN;
    for speech in &spoken.by_start {
        match speech.side {
            Side::User => {
                let until = match asked {
                    Some((until, _)) => until.zip(speech.times.end).map(|(until, end)| until.max(end)),
                    None => speech.times.end,
                };
                asked = Some((until, speech.place));
            }
            Side::Agent => {
                if let (Some((Some(until), question)), Some(start)) = (asked.take(), speech.times.start)
                    && start >= until
                    && agent_until <= until
                {
                    latencies.push((start - until) as f64);
                    turns.extend([question, speech.place]);
                }
                agent_until = agent_until.max(speech.times.end.unwrap_or(i64::MIN));
            }
        }
    }
    let latencies = Distribution::of(latencies);
    let absent = latencies.is_none().then(|| spoken.times_of_both().unwrap_or(Absent::NoAnswer));
    Figure::new(latencies, turns, absent)
}
