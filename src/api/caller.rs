//! Who calls, and what a caller may change.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};

use crate::api::ApiState;
use crate::api::dto::{Changed, Problem};
use crate::domain::intent::{Declared, Intent, Submission};
use crate::domain::rollout::Actor;
use crate::domain::workload::WorkloadName;
use crate::domain::world::World;
use crate::ports::access::Role;
use crate::ports::control::AdviceAsked;

/// Who calls. The gate puts it into each request that it lets through; a handler that asks for it
/// cannot be reached in another way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    /// The name in records.
    pub(super) name: String,
    /// What it may do.
    pub(super) role: Role,
    /// The team of a developer.
    pub(super) team: Option<String>,
    /// The number of its token; none on a machine without tokens.
    pub(super) token: Option<u64>,
    /// From where it calls.
    pub(super) address: SocketAddr,
    /// Names the request durably, where its sender gave it a key.
    pub(super) request: Option<String>,
}

impl Caller {
    /// The caller as the record names it.
    pub(super) fn actor(&self) -> Actor {
        Actor::User(self.name.clone())
    }

    /// Refuses what this caller may not ask for. Operators may ask for everything, developers for what
    /// changes workloads of their team, as they are and as they will be.
    pub(super) fn may(&self, world: &World, intent: &Intent) -> Result<(), Problem> {
        match self.role {
            Role::Operator => Ok(()),
            Role::Viewer | Role::Finance => {
                Err(self.refused(&format!("the role {} changes nothing", self.role)))
            }
            Role::Developer => self.may_develop(world, intent),
        }
    }

    fn may_develop(&self, world: &World, intent: &Intent) -> Result<(), Problem> {
        match intent {
            Intent::Apply(declared) => self.may_declare(world, declared),
            _ => match workload_of(intent) {
                Some(name) => self.owns(world, name),
                None => Err(self.refused("only operators change nodes, pools, policies, quotas and freezes")),
            },
        }
    }

    fn may_declare(&self, world: &World, declared: &Declared) -> Result<(), Problem> {
        let Declared { workloads, pools, policies, quotas } = declared;
        let unchanged = pools.iter().all(|(name, spec)| {
            world.pools.get(name).is_some_and(|pool| !pool.deleted && pool.spec == *spec)
        }) && policies.iter().all(|(name, rules)| world.policies.get(name) == Some(rules))
            && quotas.iter().all(|(team, quota)| world.quotas.get(team) == Some(quota));
        if !unchanged {
            return Err(self.refused("only operators declare pools, policies and quotas"));
        }
        for (name, spec) in workloads {
            if world.workloads.contains_key(name) {
                self.owns(world, name)?;
            }
            if spec.owner().team.is_none() || spec.owner().team != self.team {
                return Err(self.refused(&format!("{name} must have `team = \"{}\"`", self.team_name())));
            }
        }
        Ok(())
    }

    /// Refuses where a workload is not this developer's team's. One that is not there is told apart
    /// later: every caller may read what there is.
    pub(super) fn owns(&self, world: &World, name: &WorkloadName) -> Result<(), Problem> {
        if self.role == Role::Operator {
            return Ok(());
        }
        let Some(workload) = world.workloads.get(name) else { return Ok(()) };
        let owner = &workload.spec.owner().team;
        if self.role == Role::Developer && owner.is_some() && *owner == self.team {
            return Ok(());
        }
        Err(self.refused(&format!(
            "{name} belongs to {}",
            owner.as_ref().map_or_else(|| "no team".to_owned(), |team| format!("team {team}"))
        )))
    }

    fn team_name(&self) -> &str {
        self.team.as_deref().unwrap_or("none")
    }

    fn refused(&self, why: &str) -> Problem {
        let who = match (&self.role, &self.team) {
            (Role::Developer, Some(team)) => format!("{} (developer of team {team})", self.name),
            (role, _) => format!("{} ({role})", self.name),
        };
        Problem::new(StatusCode::FORBIDDEN, format!("{who} may not do this: {why}"))
    }
}

/// The one workload that an intent changes, if it changes one.
fn workload_of(intent: &Intent) -> Option<&WorkloadName> {
    match intent {
        Intent::Delete(workload)
        | Intent::Scale { workload, .. }
        | Intent::Resize { workload, .. }
        | Intent::Run { workload, .. }
        | Intent::AdvanceRollout(workload)
        | Intent::AbortRollout(workload)
        | Intent::Rollback { workload, .. }
        | Intent::Bounce { workload, .. }
        | Intent::Pause { workload, .. }
        | Intent::Resume(workload)
        | Intent::DismissAdvice { workload, .. }
        | Intent::ScheduleAdvice { workload, .. }
        | Intent::SetSizePolicyOf { workload, .. } => Some(workload),
        Intent::CancelAction(key) => key.workload(),
        Intent::CancelRun(run) => Some(&run.workload),
        Intent::StopTask(task) => Some(task.workload()),
        Intent::Apply(_)
        | Intent::DeletePolicy(_)
        | Intent::DeletePool(_)
        | Intent::DeleteQuota(_)
        | Intent::SetSizePolicy(_)
        | Intent::Freeze { .. }
        | Intent::Unfreeze(_)
        | Intent::Drain { .. }
        | Intent::Activate(_) => None,
    }
}

impl FromRequestParts<ApiState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "this call did not come through the gate")
        })
    }
}

/// A call that asks for something: who, and on what condition.
pub(super) struct Writing {
    pub(super) caller: Caller,
    generation: Option<u64>,
}

impl FromRequestParts<ApiState> for Writing {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let generation = precondition(&parts.headers)?;
        Ok(Self { caller: Caller::from_request_parts(parts, state).await?, generation })
    }
}

impl Writing {
    /// Asks for the size that is advised for a workload.
    pub(super) async fn apply_advice(
        self,
        api: &ApiState,
        message: String,
        workload: WorkloadName,
    ) -> Result<Json<Changed>, Problem> {
        self.caller.owns(&api.control.view().await.world, &workload)?;
        let by = self.caller.actor();
        let (request, expected) = (self.caller.request, self.generation);
        let asked = AdviceAsked { by, message, workload, request, expected };
        Ok(Json(Changed { changes: api.control.apply_advice(asked).await? }))
    }

    /// Asks for `intent`.
    pub(super) async fn submit(
        self,
        api: &ApiState,
        message: String,
        intent: Intent,
    ) -> Result<Json<Changed>, Problem> {
        let changes = self.ask(api, message, intent, false).await?;
        Ok(Json(Changed { changes }))
    }

    /// Asks for `intent`, or only what it would change.
    pub(super) async fn ask(
        self,
        api: &ApiState,
        message: String,
        intent: Intent,
        dry_run: bool,
    ) -> Result<Vec<String>, Problem> {
        let world = api.control.view().await.world;
        self.caller.may(&world, &intent)?;
        let expected = match (self.generation, workload_of(&intent)) {
            (None, _) => None,
            (Some(generation), Some(workload)) => Some((workload.clone(), generation)),
            (Some(_), None) => {
                let detail = "`If-Match` is the `ETag` of a workload: this call is not about one";
                return Err(Problem::bad_request(detail));
            }
        };
        let submission = Submission {
            by: self.caller.actor(),
            message,
            intent,
            request: self.caller.request,
            expected,
            dry_run,
        };
        Ok(api.control.submit(submission).await?)
    }
}

/// The generation that the caller saw, as `ETag` told it.
fn precondition(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    let number = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).and_then(|n| n.parse().ok());
    number.map(Some).ok_or_else(|| {
        Problem::bad_request(format!(
            "`If-Match` is `{text}`, expected the `ETag` of a workload such as \"3\""
        ))
    })
}
