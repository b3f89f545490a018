//! Cluster Autoscaler's external gRPC provider protocol: as a client, so that providers written for it serve
//! Loadline, and as a server, so that Loadline's providers serve a Cluster Autoscaler.
//!
//! The protocol's names and field numbers are those published in `kubernetes/autoscaler` at commit
//! 1dbeacf06c04 (`cluster-autoscaler/cloudprovider/externalgrpc`); the messages are written here by hand, so
//! that building needs no `protoc`.

mod client;
mod messages;
mod server;

pub use client::{GrpcProvider, GrpcProviderConfig, GrpcTls};
pub use server::{ServerTls, serve};
