//! Tasks to nodes: what fits where, and why it does not fit.
