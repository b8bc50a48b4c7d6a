//! What an agent's appraisals carry from one round to the next, and the policies they are made with.

use std::sync::Arc;

use evidence::{ima::MeasurementState, runtime_policy::PolicyStack};
use messages::Digest;
use serde_bytes::ByteBuf;
use verifier_protocol::{
    appraisal::{Appraisal, BootJudgement, BootReference, RuntimeReference, unread_list},
    policy::MeasuredBootPolicy,
    session::Input,
};

use super::Agent;
use crate::{
    entries,
    error_chain::chain,
    policies::{CompileError, Role},
    store::{ImaRow, StoredAgent},
};

/// Between two rounds.
#[derive(Default)]
pub(super) struct Judging {
    /// The last judgement of a boot log.
    boot: Option<BootJudgement>,
    /// Where the list stands; `None` before the first verdict on one.
    ima: Option<MeasurementState>,
    /// Runtime policies of before that the state still names.
    earlier: Vec<Digest>,
    /// What is in force, once it is in memory.
    loaded: Option<Loaded>,
}

/// The policies in force, compiled.
#[derive(Default)]
struct Loaded {
    measured_boot: Option<Arc<MeasuredBootPolicy>>,
    runtime: Option<Arc<PolicyStack>>,
    earlier: Vec<(Digest, Arc<PolicyStack>)>,
}

/// What one appraisal is made with beside register values; lives as long as the round.
pub(super) struct Basis {
    boot: Option<(Arc<MeasuredBootPolicy>, Option<BootJudgement>)>,
    runtime: Option<RuntimeBasis>,
}

struct RuntimeBasis {
    current: Arc<PolicyStack>,
    earlier: Vec<Arc<PolicyStack>>,
    state: MeasurementState,
}

impl Judging {
    /// As the store has it. A state that cannot be read is begun anew: the whole list is then judged again.
    pub(super) fn restored(row: &ImaRow) -> Self {
        let ima = if row.state.is_empty() { None } else { MeasurementState::decode(&row.state).ok() };
        Self { ima, earlier: row.earlier.clone(), ..Self::default() }
    }

    /// As the store keeps it.
    pub(super) fn row(&self) -> ImaRow {
        let state = self.ima.as_ref().map(MeasurementState::encode).unwrap_or_default();
        ImaRow { state: ByteBuf::from(state), earlier: self.earlier.clone() }
    }

    /// Other policies may be in force; those of the next round are looked up again.
    pub(super) fn forget_policies(&mut self) {
        self.loaded = None;
    }

    /// The entry to ask a list from, if one is judged.
    pub(super) fn next_entry(&self) -> Option<u64> {
        let judged = self.loaded.as_ref().is_some_and(|loaded| loaded.runtime.is_some());
        judged.then(|| self.ima.as_ref().map_or(0, MeasurementState::next_entry))
    }

    /// What the next appraisal is made with.
    pub(super) fn basis(&self) -> Basis {
        let loaded = self.loaded.as_ref();
        let boot = loaded.and_then(|loaded| loaded.measured_boot.clone());
        let runtime = loaded.and_then(|loaded| {
            Some(RuntimeBasis {
                current: loaded.runtime.clone()?,
                earlier: loaded.earlier.iter().map(|(_, stack)| Arc::clone(stack)).collect(),
                state: self.ima.clone().unwrap_or_else(unread_list),
            })
        });
        Basis { boot: boot.map(|policy| (policy, self.boot.clone())), runtime }
    }

    /// Moves on to what an appraisal came to, once it is durable. `current` is the policy in force.
    pub(super) fn settle(&mut self, appraisal: &Appraisal, current: Option<Digest>) {
        if let Some(boot) = appraisal.boot() {
            self.boot = Some(boot.clone());
        }
        let (Some(state), Some(loaded)) = (appraisal.ima_state(), &mut self.loaded) else {
            return;
        };
        self.ima = Some(state.clone());
        if let (Some(digest), Some(stack)) = (current, &loaded.runtime)
            && !loaded.earlier.iter().any(|(known, _)| *known == digest)
        {
            loaded.earlier.push((digest, Arc::clone(stack)));
        }
        loaded.earlier.retain(|(_, stack)| state.policies().any(|named| named == stack.id()));
        self.earlier = loaded.earlier.iter().map(|(digest, _)| *digest).collect();
    }
}

impl Basis {
    pub(super) fn boot(&self) -> Option<BootReference<'_>> {
        self.boot.as_ref().map(|(policy, before)| BootReference { policy, before: before.as_ref() })
    }

    /// The earlier policies, for [`runtime`](Self::runtime) to refer to.
    pub(super) fn earlier(&self) -> Vec<&PolicyStack> {
        self.runtime.iter().flat_map(|runtime| &runtime.earlier).map(Arc::as_ref).collect()
    }

    pub(super) fn runtime<'a>(
        &'a self,
        earlier: &'a [&'a PolicyStack],
        asked_from: u64,
    ) -> Option<RuntimeReference<'a>> {
        self.runtime.as_ref().map(|runtime| RuntimeReference {
            current: &runtime.current,
            earlier,
            state: &runtime.state,
            asked_from,
        })
    }
}

impl Agent {
    /// Takes over what the names in the terms stand for now; recorded before it counts.
    pub(super) async fn follow_names(&mut self) -> Result<(), Input> {
        let mut terms = self.terms.terms.clone();
        for role in [Role::Runtime, Role::MeasuredBoot] {
            let Some(chosen) = terms.chosen(role) else { continue };
            let followed = self.services.policies.followed(role, chosen).await;
            // Policies that do not fit together are told until they do: nothing is judged by those of before.
            let followed = followed.map_err(|error| Input::LedgerUnavailable(chain(&error)))?;
            let Some(chosen) = followed.map(Some) else { continue };
            match role {
                Role::MeasuredBoot => terms.measured_boot = chosen,
                Role::Runtime => terms.runtime = chosen,
            }
        }
        if terms.policies() == self.terms.terms.policies() {
            return Ok(());
        }
        let head = self.head().await?;
        let binding = terms.bound.binding.unwrap_or_default();
        self.append(head, vec![entries::policy(terms.policy_entry(binding))]).await?;
        self.terms.terms = terms;
        self.judging.forget_policies();
        self.list_allowance = super::allowance::ListAllowance::full(self.services.clock.now());
        {
            let mut view = self.view.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            view.terms = Arc::new(self.terms.terms.clone());
        }
        let (id, terms, record) = (self.id.clone(), self.terms.clone(), self.record_row());
        if let Err(error) = self.services.store.put_agent(&StoredAgent { id, terms, record }).await {
            // The next start follows the name again.
            tracing::error!(agent = %self.id, error = chain(&error), "an agent's new policy was not written");
        }
        Ok(())
    }

    /// Brings the policies in force into memory.
    pub(super) async fn load_policies(&mut self) -> Result<(), Input> {
        if self.judging.loaded.is_some() {
            return Ok(());
        }
        let loaded = self.loaded_policies().await;
        // The ledger has them, or had; without them nothing can be judged.
        let loaded = loaded.map_err(|error| Input::LedgerUnavailable(chain(&error)))?;
        self.judging.loaded = Some(loaded);
        Ok(())
    }

    async fn loaded_policies(&self) -> Result<Loaded, CompileError> {
        let (book, terms) = (&self.services.policies, &self.terms.terms);
        let mut loaded = Loaded::default();
        if let Some(chosen) = &terms.measured_boot {
            loaded.measured_boot = Some(book.measured_boot(&chosen.kept.content).await?);
        }
        if let Some(chosen) = &terms.runtime {
            loaded.runtime = Some(book.runtime(&chosen.kept.content).await?);
        }
        for digest in &self.judging.earlier {
            match book.runtime(digest).await {
                Ok(stack) => loaded.earlier.push((*digest, stack)),
                // A policy of before that is gone allows nothing; the one in force still may.
                Err(error) if error.is_gone() => {
                    tracing::warn!(agent = %self.id, error = chain(&error), "an earlier policy is gone")
                }
                Err(error) => return Err(error),
            }
        }
        Ok(loaded)
    }
}
