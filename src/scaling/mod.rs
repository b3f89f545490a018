//! Recommendation, status and policy to decision: sizes, counts, nodes.
