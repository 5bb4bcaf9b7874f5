"""A client that shares nothing with Gantry but the proto files: submits an app, watches it run, removes it."""
import json
import sys
import uuid

import grpc
from gantry.v1 import api_pb2, model_pb2

context = json.load(open(sys.argv[1]))
image = sys.argv[2]
credentials = grpc.ssl_channel_credentials(
    context["ca"].encode(), context["key"].encode(), context["certificate"].encode())
channel = grpc.secure_channel(
    context["address"], credentials, [("grpc.ssl_target_name_override", "gantry-control-plane")])


def unary(path, request, answer):
    call = channel.unary_unary(path, type(request).SerializeToString, answer.FromString)
    return call(request, timeout=30)


# health and reflection are small enough to be spoken by hand
health = channel.unary_unary("/grpc.health.v1.Health/Check", lambda b: b, lambda b: b)(b"", timeout=10)
print("health", "SERVING" if health == b"\x08\x01" else health)
reflect = channel.stream_stream(
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", lambda b: b, lambda b: b)
listing = next(reflect(iter([b"\x3a\x01*"]), timeout=10))  # list_services: "*"
print("reflection", "gantry.v1.Apps" if b"gantry.v1.Apps" in listing else listing)

service = model_pb2.ServiceSpec(
    name="web", replicas=2,
    container=model_pb2.ContainerSpec(image=image, command=["sleep", "86400"], init=True, stop_grace_us=1000000),
    reservation=model_pb2.Resources(cpu_millis=10, memory_bytes=4 << 20))
app = model_pb2.AppSpec(namespace="default", name="foreign", services=[service])
applied = unary("/gantry.v1.Apps/Apply", api_pb2.ApplyRequest(request_id=str(uuid.uuid4()), app=app), api_pb2.ApplyResponse)
kind = api_pb2.ServiceChange.Kind.Name(applied.changes[0].kind)
print("applied", applied.changes[0].service, kind)

watch = channel.unary_stream(
    "/gantry.v1.Containers/Watch", api_pb2.WatchContainersRequest.SerializeToString, api_pb2.ContainerEvent.FromString)
running = set()
for event in watch(api_pb2.WatchContainersRequest(namespace="default", app="foreign"), timeout=30):
    if event.container.state == model_pb2.Container.running:
        running.add(event.container.id)
    if len(running) == 2:
        print("running", len(running))
        break

unary("/gantry.v1.Apps/Delete",
      api_pb2.DeleteAppRequest(request_id=str(uuid.uuid4()), namespace="default", app="foreign"), api_pb2.DeleteAppResponse)
print("deleted")
