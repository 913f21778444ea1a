"""An application that says who may read what, for auth-request.conf: python3 may_read.py [PORT]

It answers GET /may-read?channel=NAME with 204, 401 or 403, by the cookie `session`.
"""

import sys
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

# A real application looks into its sessions.
USER_OF_SESSION = {"s-ann": "42", "s-bob": "43"}


class MayRead(BaseHTTPRequestHandler):
    def do_GET(self):
        cookie = SimpleCookie(self.headers.get("Cookie", "")).get("session")
        user = USER_OF_SESSION.get(cookie.value) if cookie else None
        channel = parse_qs(urlsplit(self.path).query)["channel"][0]
        is_granted = channel == "news" or channel.startswith(f"user/{user}/")
        self.send_response(401 if user is None else 204 if is_granted else 403)
        self.end_headers()


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    ThreadingHTTPServer(("127.0.0.1", port), MayRead).serve_forever()
