"""A foreign gRPC client: it knows a socket and what reflection tells, and has no generated code of ours.

usage: check.py SOCKET [TOKEN...]    prints one JSON object
"""

import json
import sys

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

TIMEOUT = 20
# Python's gRPC makes an authority out of a socket's path, which is none by RFC 3986; Rust's HTTP/2 refuses it
# (grpc/grpc#38142).
OPTIONS = [("grpc.default_authority", "localhost")]


class Client:
    """Calls a method by name, with messages made from descriptors."""

    def __init__(self, channel):
        self.channel = channel
        self.database = ProtoReflectionDescriptorDatabase(channel)
        self.pool = DescriptorPool(self.database)

    def services(self):
        return sorted(self.database.get_services())

    def call(self, service, method, request):
        described = self.pool.FindServiceByName(service).FindMethodByName(method)
        asked = message_factory.GetMessageClass(described.input_type)
        answered = message_factory.GetMessageClass(described.output_type)
        stub = self.channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=asked.SerializeToString,
            response_deserializer=answered.FromString,
        )
        return json_format.MessageToDict(stub(json_format.ParseDict(request, asked()), timeout=TIMEOUT))


def main(socket, *tokens):
    with grpc.insecure_channel(f"unix:{socket}", options=OPTIONS) as channel:
        client = Client(channel)
        told = {"services": client.services(), "health": client.call("grpc.health.v1.Health", "Check", {})}
        if tokens:
            service, requests = "rescind.v1.RevocationCheck", [{"token": token} for token in tokens]
            told["checks"] = [client.call(service, "Check", request) for request in requests]
            told["batch"] = client.call(service, "CheckBatch", {"requests": requests})
        print(json.dumps(told))


main(*sys.argv[1:])
