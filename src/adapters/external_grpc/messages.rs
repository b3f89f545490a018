//! The messages of the protocol, as far as Loadline speaks it. Fields that it has no use for are left out:
//! a reader skips what it does not know.

use std::collections::HashMap;

/// The service's name on the wire.
pub(super) const SERVICE: &str = "clusterautoscaler.cloudprovider.v1.externalgrpc.CloudProvider";

/// `InstanceState` on the wire.
pub(super) const RUNNING: i32 = 1;
/// `InstanceState` on the wire.
pub(super) const CREATING: i32 = 2;
/// `InstanceState` on the wire.
pub(super) const DELETING: i32 = 3;

/// `instanceErrorClass` where there are no machines or no more are allowed.
pub(super) const OUT_OF_RESOURCES: i32 = 1;
/// `instanceErrorClass` of everything else.
pub(super) const OTHER: i32 = 99;

/// A node group.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct NodeGroup {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(int32, tag = "2")]
    pub(super) min_size: i32,
    #[prost(int32, tag = "3")]
    pub(super) max_size: i32,
    #[prost(string, tag = "4")]
    pub(super) debug: String,
}

/// A node as Kubernetes knows it.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ExternalNode {
    #[prost(string, tag = "1")]
    pub(super) provider_id: String,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(map = "string, string", tag = "3")]
    pub(super) labels: HashMap<String, String>,
    #[prost(map = "string, string", tag = "4")]
    pub(super) annotations: HashMap<String, String>,
}

/// A request or an answer without fields.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Empty {}

/// All groups.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct NodeGroups {
    #[prost(message, repeated, tag = "1")]
    pub(super) node_groups: Vec<NodeGroup>,
}

/// A question about a node.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct OfNode {
    #[prost(message, optional, tag = "1")]
    pub(super) node: Option<ExternalNode>,
}

/// A group; one without an id is none.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct OneGroup {
    #[prost(message, optional, tag = "1")]
    pub(super) node_group: Option<NodeGroup>,
}

/// A label.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Label {
    #[prost(string, tag = "1")]
    pub(super) label: String,
}

/// A question about a group.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct OfGroup {
    #[prost(string, tag = "1")]
    pub(super) id: String,
}

/// How many nodes were asked for.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TargetSize {
    #[prost(int32, tag = "1")]
    pub(super) target_size: i32,
}

/// A change of a group's size.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SizeDelta {
    #[prost(int32, tag = "1")]
    pub(super) delta: i32,
    #[prost(string, tag = "2")]
    pub(super) id: String,
}

/// Nodes of a group that are to go.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct DeleteNodes {
    #[prost(message, repeated, tag = "1")]
    pub(super) nodes: Vec<ExternalNode>,
    #[prost(string, tag = "2")]
    pub(super) id: String,
}

/// Instances of a group.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Instances {
    #[prost(message, repeated, tag = "1")]
    pub(super) instances: Vec<Instance>,
}

/// An instance.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Instance {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(message, optional, tag = "2")]
    pub(super) status: Option<InstanceStatus>,
}

/// How far an instance is.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct InstanceStatus {
    #[prost(int32, tag = "1")]
    pub(super) state: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) error: Option<InstanceError>,
}

/// Why an instance cannot be made; without a code there is no error.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct InstanceError {
    #[prost(string, tag = "1")]
    pub(super) code: String,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(int32, tag = "3")]
    pub(super) class: i32,
}
