"""A collector of OpenTelemetry profiles for one command: starts on a port of the loopback, runs the command, and keeps
what it received.

usage: collector.py ANSWER DIRECTORY COMMAND…, where URL in the command's words stands for the collector's address.
ANSWER is ok, partial (some profiles are rejected), refuse (status 503), silent (no answer), or trickle (an answer
without an end). Each body goes to DIRECTORY/N.otlp, and DIRECTORY/requests.json has each request's path, headers and
time. The exit status is the command's.
"""
import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.profiles.v1development import profiles_service_pb2

answer, directory, command = sys.argv[1], sys.argv[2], sys.argv[3:]
os.makedirs(directory, exist_ok=True)
requests, lock, over = [], threading.Lock(), threading.Event()


class Collector(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        # The collector's own message: what it can't decode is an error of the sender.
        request = profiles_service_pb2.ExportProfilesServiceRequest()
        request.ParseFromString(body)
        with lock:
            with open(f"{directory}/{len(requests)}.otlp", "wb") as file:
                file.write(body)
            requests.append({"path": self.path, "headers": dict(self.headers), "time": time.monotonic(),
                             "connection": self.client_address[1]})
        if answer == "silent":
            over.wait(60)
            return
        if answer == "trickle":
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            while not over.wait(0.1):
                try:
                    self.wfile.write(b"x")
                except OSError:
                    return
        response = profiles_service_pb2.ExportProfilesServiceResponse()
        if answer == "partial":
            response.partial_success.rejected_profiles = 2
            response.partial_success.error_message = "no room"
        text = b"try later\n" if answer == "refuse" else response.SerializeToString()
        self.send_response(503 if answer == "refuse" else 200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *words):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_address[1]}"
# SIGTERM to the whole group is the command's: the collector ignores it, and the command starts with the default action;
# so it does for signals that a shell has its background jobs ignore.
signal.signal(signal.SIGTERM, signal.SIG_IGN)


def begin():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


status = subprocess.run([word.replace("URL", url) for word in command], preexec_fn=begin).returncode
over.set()
with open(f"{directory}/requests.json", "w") as file:
    json.dump(requests, file)
# As a shell says it, if a signal ended the command.
sys.exit(status if status >= 0 else 128 - status)
