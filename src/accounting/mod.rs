//! Facts to figures: who requested and used what, and what it cost.
