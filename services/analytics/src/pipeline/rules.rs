//! What analysers go by, for each organization.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use colloquy_types::OrganizationId;

use crate::analysis::{Rules, Taxonomy, TopicPhrases};
use crate::organization::{AnalysisSettings, Leading, TaxonomyTopic};

/// How many organizations' rules are kept ready.
const MOST_KEPT: usize = 1_000;

/// Rules that were made before: their phrases are compiled once.
#[derive(Default)]
pub(super) struct KnownRules(Mutex<HashMap<OrganizationId, (AnalysisSettings, Rules)>>);

impl KnownRules {
    /// Returns the rules of an organization with these settings.
    pub(super) fn of(&self, organization: &OrganizationId, settings: &AnalysisSettings) -> Rules {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((made_of, rules)) = known.get(organization)
            && made_of == settings
        {
            return rules.clone();
        }
        let rules = rules_of(settings);
        if known.len() >= MOST_KEPT {
            known.clear();
        }
        known.insert(organization.clone(), (settings.clone(), rules.clone()));
        rules
    }
}

/// Returns what analysers go by with these settings.
fn rules_of(settings: &AnalysisSettings) -> Rules {
    let topic = |topic: &TaxonomyTopic| TopicPhrases { name: topic.name.clone(), phrases: topic.phrases.clone() };
    Rules {
        silence_ms: settings.silence_ms.into(),
        own_leads: settings.leading == Leading::Own,
        taxonomy: Taxonomy::new(settings.taxonomy.iter().map(topic).collect()),
    }
}
