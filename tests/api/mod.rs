//! The API as hostile and as honest callers find it.

mod description;
mod harness;
mod hostile;
mod requests;
mod tls;
