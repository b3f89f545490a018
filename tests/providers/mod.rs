//! Providers of machines on real commands, sockets and servers: what each does beyond `conformance`. What the
//! engine makes of one is in `engine::providers`.

#[cfg(feature = "aws")]
pub(crate) mod asg;
mod exec;
mod grpc;
pub(crate) mod parts;
