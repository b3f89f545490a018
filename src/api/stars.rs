//! `/v1/stars`: the workloads that a caller keeps in sight. They are kept with the name of the caller's token, for
//! whatever browser it comes with, and change nothing of the cluster: every role has its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::ApiState;
use crate::api::caller::Caller;
use crate::api::dto::{Changed, Problem};
use crate::api::extract::At;
use crate::api::names::workload_name;
use crate::ports::store::{Store, StoreError};

/// The document that they are kept in.
const DOCUMENT: &str = "stars";
/// Stars of one caller. More than this keep nothing in sight.
const STARS_MAX: usize = 500;
/// Callers that have some: where no token was made, every name is believed.
const CALLERS_MAX: usize = 10_000;

/// Names of workloads by the name of who starred them.
type Kept = BTreeMap<String, BTreeSet<String>>;

/// The stars of every caller.
pub struct Stars {
    store: Arc<dyn Store>,
    /// As the store has them, once they were read.
    kept: Mutex<Option<Kept>>,
}

impl Stars {
    /// The stars that are kept there.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, kept: Mutex::default() }
    }

    fn read(&self) -> Result<Kept, StoreError> {
        let Some(text) = self.store.document(DOCUMENT)? else { return Ok(Kept::new()) };
        serde_json::from_slice(&text).map_err(|error| StoreError::Failed {
            operation: "read the stars".to_owned(),
            source: Box::new(error),
        })
    }

    /// Does something with the stars; holds others off meanwhile, so that memory and store stay equal. Blocks.
    fn with<T>(&self, work: impl FnOnce(&mut Kept) -> T) -> Result<T, StoreError> {
        // A poisoned lock only means that another thread panicked: what is kept is replaced whole.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *kept {
            Some(kept) => Ok(work(kept)),
            None => Ok(work(kept.insert(self.read()?))),
        }
    }

    fn of(&self, caller: &str) -> Result<BTreeSet<String>, StoreError> {
        self.with(|kept| kept.get(caller).cloned().unwrap_or_default())
    }

    /// Gives a star, or takes it; tells whether that changed something.
    fn set(&self, caller: &str, workload: &str, on: bool) -> Result<bool, Problem> {
        self.with(|kept| {
            let mut stars = kept.get(caller).cloned().unwrap_or_default();
            let changed = if on { stars.insert(workload.to_owned()) } else { stars.remove(workload) };
            if !changed {
                return Ok(false);
            }
            if stars.len() > STARS_MAX {
                let detail = format!("{caller} has {STARS_MAX} stars, the most that are kept: take one back");
                return Err(Problem::new(StatusCode::CONFLICT, detail));
            }
            let mut next = kept.clone();
            if stars.is_empty() {
                next.remove(caller)
            } else {
                next.insert(caller.to_owned(), stars)
            };
            if next.len() > CALLERS_MAX {
                let detail = format!("{CALLERS_MAX} names have stars, the most that are kept");
                return Err(Problem::new(StatusCode::CONFLICT, detail));
            }
            let text = serde_json::to_vec(&next).map_err(|error| Problem::internal(error.to_string()))?;
            self.store.put_document(DOCUMENT, &text)?;
            *kept = next;
            Ok(true)
        })?
    }
}

/// The names of the workloads that a caller starred.
pub(super) async fn starred(api: &ApiState, caller: &Caller) -> Result<BTreeSet<String>, Problem> {
    let (stars, name) = (Arc::clone(&api.stars), caller.name.clone());
    Ok(tokio::task::spawn_blocking(move || stars.of(&name)).await??)
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(stars)).routes(routes!(star, unstar))
}

/// The workloads that the caller starred.
#[utoipa::path(get, path = "/v1/stars", tag = "access", security(("token" = ["read"])),
    responses((status = 200, description = "Their names, in order", body = Vec<String>)))]
async fn stars(State(api): State<ApiState>, caller: Caller) -> Result<Json<Vec<String>>, Problem> {
    let found = starred(&api, &caller).await?;
    let world = api.control.view().await.world;
    let there = |name: &String| workload_name(name).is_ok_and(|name| world.workloads.contains_key(&name));
    Ok(Json(found.into_iter().filter(there).collect()))
}

async fn set(api: ApiState, caller: Caller, name: String, on: bool) -> Result<Json<Changed>, Problem> {
    let known = workload_name(&name)?;
    // A star of a workload that is gone can still be taken back.
    if on && !api.control.view().await.world.workloads.contains_key(&known) {
        return Err(Problem::not_found("workload", &name));
    }
    let stars = Arc::clone(&api.stars);
    let words = if on { format!("{name} has a star") } else { format!("{name} has no star any more") };
    let changed = tokio::task::spawn_blocking(move || stars.set(&caller.name, &name, on)).await??;
    Ok(Json(Changed { changes: changed.then_some(words).into_iter().collect() }))
}

/// Star a workload, for the caller alone.
#[utoipa::path(put, path = "/v1/stars/{workload}", tag = "access", security(("token" = ["read"])),
    params(("workload" = String, Path, description = "The workload")),
    responses((status = 200, description = "What changed", body = Changed)))]
async fn star(
    State(api): State<ApiState>,
    caller: Caller,
    At(name): At<String>,
) -> Result<Json<Changed>, Problem> {
    set(api, caller, name, true).await
}

/// Take a star of the caller's back.
#[utoipa::path(delete, path = "/v1/stars/{workload}", tag = "access", security(("token" = ["read"])),
    params(("workload" = String, Path, description = "The workload")),
    responses((status = 200, description = "What changed", body = Changed)))]
async fn unstar(
    State(api): State<ApiState>,
    caller: Caller,
    At(name): At<String>,
) -> Result<Json<Changed>, Problem> {
    set(api, caller, name, false).await
}
