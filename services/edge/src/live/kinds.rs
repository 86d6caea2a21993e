//! The kinds of frames a client may choose from.

/// The kind of the figures so far, which are no event.
pub(super) const METRICS: &str = "metrics";

/// Seen by services only.
const PRIVATE: &str = "control.offered";

/// Returns every kind of frame of an event that may be shown, and the figures.
fn all() -> impl Iterator<Item = &'static str> {
    colloquy_events::KINDS.into_iter().filter(|kind| *kind != PRIVATE).chain([METRICS])
}

/// Some kinds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Kinds(u32);

impl Kinds {
    /// All of them.
    pub(super) const ALL: Self = Self(u32::MAX);

    /// Reads a choice; none means all.
    ///
    /// # Errors
    /// What is allowed, when one is no kind.
    pub(super) fn read<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut chosen = 0;
        for word in words {
            let place = all().position(|kind| kind == word);
            let place = place.ok_or_else(|| format!("each must be one of {}", all().collect::<Vec<_>>().join(", ")))?;
            chosen |= 1 << place;
        }
        Ok(if chosen == 0 { Self::ALL } else { Self(chosen) })
    }

    /// Returns one kind. One that nobody can choose is among all of them only.
    pub(super) fn of(kind: &str) -> Self {
        let place = all().position(|known| known == kind);
        Self(1 << place.unwrap_or(u32::BITS as usize - 1))
    }

    /// Returns whether one kind is among these, without comparing words: many are asked.
    pub(super) const fn have(self, kind: Self) -> bool {
        self.0 & kind.0 != 0
    }

    /// Returns whether a kind is among them.
    pub(super) fn contains(self, kind: &str) -> bool {
        self.have(Self::of(kind))
    }

    /// Returns the names of the events' kinds among them, for who wants some only; none means all.
    pub(super) fn of_events(self) -> Vec<String> {
        if self == Self::ALL {
            return Vec::new();
        }
        all().filter(|kind| *kind != METRICS && self.contains(kind)).map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use colloquy_events::Data;

    use super::*;

    #[test]
    fn every_public_kind_can_be_chosen() {
        let tagged = serde_json::json!({"type": "no.such", "data": {}});
        let error = serde_json::from_value::<Data>(tagged).unwrap_err().to_string();
        let mut all: BTreeSet<&str> = error.split('`').skip(1).step_by(2).filter(|word| *word != "no.such").collect();
        assert!(all.remove("control.offered"), "{error}");
        all.insert(METRICS);
        assert_eq!(all, BTreeSet::from_iter(super::all()));
    }

    #[test]
    fn a_choice_holds_what_was_chosen() {
        let chosen = Kinds::read(["turn.added", "metrics"]).unwrap();
        assert!(chosen.contains("turn.added") && chosen.contains("metrics") && !chosen.contains("turn.updated"));
        assert_eq!(chosen.of_events(), ["turn.added"]);
        assert!(Kinds::read([]).unwrap().contains("speech.updated"));
        assert!(Kinds::ALL.of_events().is_empty());
        assert!(Kinds::ALL.contains("no.such") && !chosen.contains("no.such"));
        assert!(Kinds::read(["control.offered"]).is_err());
    }
}
