"""A time-stamping authority on a loopback port: `openssl ts -reply` behind HTTP.

authority.py FOLDER: FOLDER holds openssl.cnf and what it names; the port goes to FOLDER/port.
"""

import http.server
import pathlib
import subprocess
import sys

FOLDER = pathlib.Path(sys.argv[1])


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        request = self.rfile.read(int(self.headers["Content-Length"]))
        (FOLDER / "request.tsq").write_bytes(request)
        command = ["openssl", "ts", "-reply", "-config", "openssl.cnf", "-queryfile", "request.tsq"]
        subprocess.run([*command, "-out", "response.tsr"], cwd=FOLDER, check=True, capture_output=True)
        reply = (FOLDER / "response.tsr").read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "application/timestamp-reply")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_):
        pass


def main():
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    unfinished = FOLDER / "port.new"
    unfinished.write_text(str(server.server_port))
    unfinished.rename(FOLDER / "port")
    server.serve_forever()


if __name__ == "__main__":
    main()
