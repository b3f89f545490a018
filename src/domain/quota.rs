//! What the tasks of one team may have reserved together.

use serde::{Deserialize, Serialize};

use crate::domain::quantity::{Bytes, Millicores};

/// Upper bounds on the requests of a team's tasks; absent means unbounded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Cores.
    pub cpu: Option<Millicores>,
    /// Bytes.
    pub memory: Option<Bytes>,
    /// Tasks.
    pub tasks: Option<u32>,
}
