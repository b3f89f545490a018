//! What will be: load to use of resources.
//!
//! In: what was measured. Out: models that say what follows from a load.

pub mod load_model;
pub mod usual_load;
