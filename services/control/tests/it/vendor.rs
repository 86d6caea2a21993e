//! A vendor that does as it is told and remembers what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use colloquy_control::vendor::{Action, Failure, Target, Vendor};
use colloquy_events::CommandKind;

use crate::log::Log;

/// What the vendor does when it is called.
pub(crate) enum Behaviour {
    Fail(Failure),
    /// Never answers: whoever called it dies waiting.
    Hang,
    /// Does it, and the log is gone by then.
    DoWhileTheLogBreaks(Log),
}

#[derive(Clone)]
pub(crate) struct FakeVendor {
    capabilities: Vec<CommandKind>,
    next: Arc<Mutex<VecDeque<Behaviour>>>,
    performed: Arc<Mutex<Vec<(String, Action)>>>,
    silent: Arc<Mutex<Option<String>>>,
}

impl FakeVendor {
    pub(crate) fn able_to(capabilities: &[CommandKind]) -> Self {
        Self { capabilities: capabilities.to_vec(), next: Arc::default(), performed: Arc::default(), silent: Arc::default() }
    }

    /// Does this at the next call; without it does as it is asked.
    pub(crate) fn next(&self, behaviour: Behaviour) {
        self.next.lock().unwrap().push_back(behaviour);
    }

    /// Never answers for conversations whose id begins so.
    pub(crate) fn be_silent_for(&self, prefix: &str) {
        *self.silent.lock().unwrap() = Some(prefix.to_owned());
    }

    /// Returns what it was asked to do, in order.
    pub(crate) fn performed(&self) -> Vec<Action> {
        self.performed.lock().unwrap().iter().map(|(_, action)| action.clone()).collect()
    }

    /// Returns what it was asked to do to one conversation, in order.
    pub(crate) fn performed_for(&self, external_id: &str) -> Vec<Action> {
        let performed = self.performed.lock().unwrap();
        performed.iter().filter(|(id, _)| id == external_id).map(|(_, action)| action.clone()).collect()
    }
}

#[async_trait]
impl Vendor for FakeVendor {
    fn capabilities(&self, target: &Target) -> (Vec<CommandKind>, String) {
        match &target.api_key {
            Some(_) => (self.capabilities.clone(), "the vendor is made up".to_owned()),
            None => (Vec::new(), "no API key".to_owned()),
        }
    }

    async fn perform(&self, target: &Target, action: &Action) -> Result<(), Failure> {
        self.performed.lock().unwrap().push((target.external_id.clone(), action.clone()));
        let is_silent = self.silent.lock().unwrap().as_ref().is_some_and(|prefix| target.external_id.starts_with(prefix));
        if is_silent {
            std::future::pending::<()>().await;
        }
        let behaviour = self.next.lock().unwrap().pop_front();
        match behaviour {
            None => Ok(()),
            Some(Behaviour::Fail(failure)) => Err(failure),
            Some(Behaviour::Hang) => std::future::pending().await,
            Some(Behaviour::DoWhileTheLogBreaks(log)) => {
                log.set_down(true);
                Ok(())
            }
        }
    }
}
