//! Specs and engine settings: from what is written to what is valid.
