"""A debuginfod server that can't be trusted: it answers each request for a debug file as its first argument says.

Prints its port, then each path that it is asked for. Ends when its standard input ends.
"""

import http.server
import sys
import threading
import time

kind, file = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        # In one piece: another thread writes, too.
        sys.stdout.write(self.path + "\n")
        sys.stdout.flush()
        if kind == "missing":
            self.send_error(404)
        elif kind == "hang":
            time.sleep(3600)
        elif kind == "garbage":
            self.answer(b"\x7fELF" + bytes(range(256)) * 64)
        elif kind == "file":
            self.answer(open(file, "rb").read())
        elif kind == "cut":
            whole = open(file, "rb").read()
            self.send_response(200)
            self.send_header("Content-Length", str(len(whole)))
            self.end_headers()
            self.wfile.write(whole[: len(whole) // 2])
        elif kind == "endless":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(bytes(1 << 10))
                    time.sleep(0.01)
            except OSError:
                pass

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
