//! In: tasks that wait, nodes and their use. Out: decisions about the number of nodes of each pool,
//! recorded and carried out.

use std::sync::Arc;

use tokio::sync::watch;

use crate::controllers::decisions::Recorder;
use crate::controllers::scheduler::Pass;
use crate::controllers::state::EngineState;
use crate::domain::money::Prices;
use crate::ports::store::StoreError;
