//! What holds of every consolidation plan, over random clusters.
