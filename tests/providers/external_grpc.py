"""The other side of Cluster Autoscaler's external gRPC provider protocol, in grpcio: `client ADDRESS` calls a
server and prints what it said as JSON, `server PORT` answers from memory. The messages are built here at run
time from the protocol's published names and field numbers, apart from those in Rust."""

import json
import sys
import threading
from concurrent import futures

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "clusterautoscaler.cloudprovider.v1.externalgrpc"
INT, TEXT, OF = 5, 9, 11
# name: [(field, number, type, repeated, message)]
MESSAGES = {
    "NodeGroup": [("id", 1, TEXT), ("minSize", 2, INT), ("maxSize", 3, INT), ("debug", 4, TEXT)],
    "ExternalGrpcNode": [("providerID", 1, TEXT), ("name", 2, TEXT)],
    "NodeGroupsRequest": [],
    "NodeGroupsResponse": [("nodeGroups", 1, OF, True, "NodeGroup")],
    "NodeGroupForNodeRequest": [("node", 1, OF, False, "ExternalGrpcNode")],
    "NodeGroupForNodeResponse": [("nodeGroup", 1, OF, False, "NodeGroup")],
    "PricingNodePriceRequest": [("node", 1, OF, False, "ExternalGrpcNode")],
    "PricingNodePriceResponse": [],
    "GPULabelRequest": [],
    "GPULabelResponse": [("label", 1, TEXT)],
    "GetAvailableGPUTypesRequest": [],
    "GetAvailableGPUTypesResponse": [],
    "CleanupRequest": [],
    "CleanupResponse": [],
    "RefreshRequest": [],
    "RefreshResponse": [],
    "NodeGroupTargetSizeRequest": [("id", 1, TEXT)],
    "NodeGroupTargetSizeResponse": [("targetSize", 1, INT)],
    "NodeGroupIncreaseSizeRequest": [("delta", 1, INT), ("id", 2, TEXT)],
    "NodeGroupIncreaseSizeResponse": [],
    "NodeGroupDeleteNodesRequest": [("nodes", 1, OF, True, "ExternalGrpcNode"), ("id", 2, TEXT)],
    "NodeGroupDeleteNodesResponse": [],
    "NodeGroupDecreaseTargetSizeRequest": [("delta", 1, INT), ("id", 2, TEXT)],
    "NodeGroupDecreaseTargetSizeResponse": [],
    "NodeGroupNodesRequest": [("id", 1, TEXT)],
    "NodeGroupNodesResponse": [("instances", 1, OF, True, "Instance")],
    "Instance": [("id", 1, TEXT), ("status", 2, OF, False, "InstanceStatus")],
    "InstanceStatus": [("instanceState", 1, INT), ("errorInfo", 2, OF, False, "InstanceErrorInfo")],
    "InstanceErrorInfo": [("errorCode", 1, TEXT), ("errorMessage", 2, TEXT), ("instanceErrorClass", 3, INT)],
}


def classes():
    file = descriptor_pb2.FileDescriptorProto(name="external.proto", package=PACKAGE, syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, *rest in fields:
            repeated, of = rest or (False, None)
            made = message.field.add(name=field, number=number, type=kind, label=3 if repeated else 1)
            if of:
                made.type_name = f".{PACKAGE}.{of}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in MESSAGES}


C = classes()
METHODS = [name[: -len("Request")] for name in MESSAGES if name.endswith("Request")]


class Client:
    def __init__(self, address):
        channel = grpc.insecure_channel(address)
        for method in METHODS:
            call = channel.unary_unary(
                f"/{PACKAGE}.CloudProvider/{method}",
                request_serializer=C[method + "Request"].SerializeToString,
                response_deserializer=C[method + "Response"].FromString,
            )
            setattr(self, method, self.made(call, C[method + "Request"]))

    @staticmethod
    def made(call, request):
        return lambda **fields: call(request(**fields), timeout=30)


def refused(call, **fields):
    try:
        call(**fields)
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


def run_client(address):
    one = Client(address)
    said = {}
    node = lambda id: C["ExternalGrpcNode"](providerID=id, name="node-of-" + id)
    ids = lambda: [instance.id for instance in one.NodeGroupNodes(id="workers").instances]
    one.Refresh()
    said["groups"] = [[group.id, group.minSize, group.maxSize] for group in one.NodeGroups().nodeGroups]
    said["debug"] = one.NodeGroups().nodeGroups[0].debug
    one.NodeGroupIncreaseSize(id="workers", delta=2)
    one.NodeGroupIncreaseSize(id="workers", delta=1)
    said["target"] = one.NodeGroupTargetSize(id="workers").targetSize
    instances = one.NodeGroupNodes(id="workers").instances
    said["states"] = [instance.status.instanceState for instance in instances]
    first = instances[0].id
    said["group of a node"] = one.NodeGroupForNode(node=node(first)).nodeGroup.id
    said["group of another"] = one.NodeGroupForNode(node=node("elsewhere")).nodeGroup.id
    said["delete another"] = refused(one.NodeGroupDeleteNodes, id="workers", nodes=[node(first), node("elsewhere")])
    said["still there"] = first in ids()
    one.NodeGroupDeleteNodes(id="workers", nodes=[node(first)])
    said["gone"] = first not in ids()
    said["left"] = len(ids())
    said["target after"] = one.NodeGroupTargetSize(id="workers").targetSize
    said["too many"] = refused(one.NodeGroupIncreaseSize, id="workers", delta=9)
    said["negative"] = refused(one.NodeGroupIncreaseSize, id="workers", delta=-1)
    said["decrease"] = refused(one.NodeGroupDecreaseTargetSize, id="workers", delta=-1)
    said["no group"] = refused(one.NodeGroupTargetSize, id="nobody")
    said["price"] = refused(one.PricingNodePrice, node=node(first))
    said["gpu"] = [one.GPULabel().label, refused(one.GetAvailableGPUTypes), refused(one.Cleanup)]
    json.dump(said, sys.stdout)


class Memory:
    """A group of at most 4: the first two machines run, the third fails for want of quota."""

    def __init__(self):
        self.target, self.gone, self.lock = 0, set(), threading.Lock()
        self.refuses = 1

    def answer(self, method, request, context):
        with self.lock:
            answer = C[method + "Response"]()
            if method == "NodeGroups":
                answer.nodeGroups.add(id="workers", minSize=0, maxSize=4)
            elif method == "NodeGroupTargetSize":
                answer.targetSize = self.target
            elif method == "NodeGroupIncreaseSize":
                self.target += request.delta
                if self.refuses:
                    # It was done, and the answer is lost: whoever adds again adds too much.
                    self.refuses -= 1
                    context.abort(grpc.StatusCode.UNAVAILABLE, "lost")
            elif method == "NodeGroupDecreaseTargetSize":
                self.target += request.delta
            elif method == "NodeGroupDeleteNodes":
                for node in request.nodes:
                    self.gone.add(node.providerID)
                    self.target -= 1
            elif method == "NodeGroupNodes":
                for number in range(1, self.target + len(self.gone) + 1):
                    id = f"vm:///{number}"
                    if id in self.gone:
                        continue
                    instance = answer.instances.add(id=id)
                    instance.status.instanceState = 1 if number < 3 else 2
                    if number == 3:
                        instance.status.errorInfo.errorCode = "QUOTA_EXCEEDED"
                        instance.status.errorInfo.errorMessage = "at most two"
                        instance.status.errorInfo.instanceErrorClass = 1
            return answer


def run_server():
    memory = Memory()
    handlers = {}
    for method in METHODS:
        def handle(request, context, method=method):
            return memory.answer(method, request, context)

        handlers[method] = grpc.unary_unary_rpc_method_handler(
            handle,
            request_deserializer=C[method + "Request"].FromString,
            response_serializer=C[method + "Response"].SerializeToString,
        )
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(f"{PACKAGE}.CloudProvider", handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


if sys.argv[1] == "client":
    run_client(sys.argv[2])
else:
    run_server()
