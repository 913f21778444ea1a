"""The proxies: how each is installed, configured from its recipe, started and stopped.

Owns processes and files in the directory it is given. It never judges an answer (`checks` does).
"""

import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import client

RECIPES = pathlib.Path(__file__).resolve().parent.parent

# What the recipes say, and what is put in its place.
RECIPE_SOCKET = "/run/encke/public.sock"
RECIPE_PORT = "7711"
TIMEOUT_S = 3
HEARTBEAT_S = 1

START_S = 15
STOP_S = 5

PORTS_GIVEN = set()
RUNNING = set()
# Reentrant, since a signal may interrupt its holder.
RUNNING_LOCK = threading.RLock()
ENDING = threading.Event()


class Stage:
    """A running encke, the proxy in front of it, and how to reach both."""

    def __init__(self, encke, directory, options=()):
        self.encke = encke
        self.options = options
        self.directory = directory
        self.socket = directory / "public.sock"
        self.control_port, self.public_port = free_port(), free_port()
        self.port, self.prefix = self.public_port, ""
        self.server = self.proxy = self.application = None
        self.application_port = free_port()
        self.key = directory / "key"
        self.key.write_text("the secret of a test, 32 bytes..")
        self.start_encke()

    def token(self, publish):
        """A token that grants to publish to these channels."""
        command = [self.encke, "token", f"--key-file={self.key}", f"--publish={publish}", "--expires=10m"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def start_encke(self):
        self.server = start(
            [
                self.encke,
                f"--listen=unix:{self.socket},127.0.0.1:{self.public_port}",
                f"--control=127.0.0.1:{self.control_port}",
                f"--heartbeat={HEARTBEAT_S}s",
                "--drain=0.1s",
                *self.options,
            ],
            self.directory / "encke.log",
        )
        wait_for("encke", self.server, self.control_port, "/healthz")

    def stop_encke(self):
        stop(self.server)

    def start_application(self):
        command = [sys.executable, "-u", RECIPES / "nginx/may_read.py", str(self.application_port)]
        self.application = start(command, self.directory / "application.log")
        wait_for("the application", self.application, self.application_port, "/may-read?channel=news", 401)

    def stop_application(self):
        stop(self.application)

    def stop(self):
        for process in (self.proxy, self.server, self.application):
            if process:
                stop(process)


class Target:
    """encke with no proxy; and the base of the proxies."""

    # In the recipe: the address of encke by unix socket, and what README.md says for TCP.
    by_unix = by_tcp = None
    name = "direct"
    package = binary = recipe = None
    # What shows that the proxy is there.
    first_path, first_status = "/encke/healthz", 200
    # What the recipe must contain, and what it is replaced by; {port} and {directory} are filled in.
    replacements = {}
    # Seconds until encke knows that a client left, by technique, where it is more than the usual.
    departures = {}
    # Whether a long poll is cut when the proxy's timeout is shorter than its hold.
    cuts_long_holds = True
    # Whether an EventSource survives that encke is away.
    keeps_event_sources = False
    # The file, in the directory of a test, in which the recipe logs requests.
    access_log = None
    # Whether an application says who may read: then it has checks of its own.
    asks_application = False

    def options(self, directory):
        """Anyone may receive, and who has a token may publish."""
        return () if self.asks_application else (f"--token-key-file={directory / 'key'}", "--anonymous=**")

    def is_installed(self):
        return self.binary is None or self.path() is not None

    def path(self):
        return shutil.which(self.binary, path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin:/usr/local/sbin")

    def start(self, encke, directory, over_tcp):
        if not self.is_installed():
            raise RuntimeError(f"{self.binary} is not installed (package {self.package})")
        stage = Stage(encke, directory, self.options(directory))
        if self.binary:
            stage.port, stage.prefix = free_port(), "/encke"
            if self.asks_application:
                stage.start_application()
            config = directory / "config"
            config.write_text(self.render(stage, over_tcp))
            stage.proxy = start([self.path(), *self.arguments(config, stage)], directory / "proxy.log")
            wait_for(self.name, stage.proxy, stage.port, self.first_path, self.first_status)
        return stage

    def render(self, stage, over_tcp):
        """The recipe with the ports, the paths and the short timeout of the test."""
        text = (RECIPES / self.folder() / self.recipe).read_text()
        address = self.by_tcp.replace(RECIPE_PORT, str(stage.public_port)) if over_tcp else \
            self.by_unix.replace(RECIPE_SOCKET, str(stage.socket))
        for old, new in {self.by_unix: address, **self.replacements}.items():
            if old not in text:
                raise RuntimeError(f"{self.recipe} does not contain {old!r} any more")
            values = {"{port}": stage.port, "{directory}": stage.directory, "{application}": stage.application_port}
            for name, value in values.items():
                new = new.replace(name, str(value))
            text = text.replace(old, new)
        return self.surround(text, stage)

    def folder(self):
        """The directory of the recipe."""
        return self.name

    def surround(self, text, _stage):
        return text

    def arguments(self, config, stage):
        raise NotImplementedError

    def log(self, directory):
        """The end of what the processes wrote, for a failure."""
        lines = []
        for name in ("proxy.log", "encke.log"):
            log = directory / name
            if log.exists():
                lines += [f"    {name}: {line}" for line in log.read_text(errors="replace").splitlines()[-15:]]
        return "".join("\n" + line for line in lines)


class Nginx(Target):
    name = package = binary = "nginx"
    recipe = "nginx.conf"
    by_unix = "server unix:/run/encke/public.sock;"
    by_tcp = "server 127.0.0.1:7711;"
    keeps_event_sources = True
    replacements = {
        "listen 80;": "listen 127.0.0.1:{port};",
        "proxy_read_timeout 150s;": f"proxy_read_timeout {TIMEOUT_S}s;",
        "/var/log/nginx/encke.log": "{directory}/access.log",
    }
    access_log = "access.log"

    def surround(self, text, stage):
        own = [f"{kind}_temp_path {stage.directory}/{kind};"
               for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")]
        return text.replace("http {", "http {\naccess_log off;\n" + "\n".join(own), 1)

    def arguments(self, config, stage):
        pid = f"daemon off; pid {stage.directory}/pid;"
        return ["-p", stage.directory, "-c", config, "-e", "stderr", "-g", pid]


class NginxAuthRequest(Nginx):
    """nginx that asks an application, `may_read.py`."""

    name = "nginx-auth-request"
    recipe = "auth-request.conf"
    asks_application = True
    first_path, first_status = "/encke/poll/news", 401
    access_log = None
    replacements = {
        "listen 80;": "listen 127.0.0.1:{port};",
        "server 127.0.0.1:8000;": "server 127.0.0.1:{application};",
        "/var/cache/nginx-encke": "{directory}/cache",
    }

    def folder(self):
        return "nginx"


class Haproxy(Target):
    name = package = binary = "haproxy"
    recipe = "haproxy.cfg"
    by_unix = "server encke unix@/run/encke/public.sock"
    by_tcp = "server encke 127.0.0.1:7711"
    keeps_event_sources = True
    replacements = {
        # As much as a usual file limit allows.
        "maxconn 20000": "maxconn 400",
        "bind :80": "bind 127.0.0.1:{port}",
        "timeout client 150s": f"timeout client {TIMEOUT_S}s",
        "timeout server 150s": f"timeout server {TIMEOUT_S}s",
    }

    def arguments(self, config, _stage):
        return ["-db", "-f", config]


class Caddy(Target):
    name = package = binary = "caddy"
    recipe = "Caddyfile"
    by_unix = "reverse_proxy unix//run/encke/public.sock"
    by_tcp = "reverse_proxy 127.0.0.1:7711"
    keeps_event_sources = True
    replacements = {
        "example.org {": "http://127.0.0.1:{port} {\n\tbind 127.0.0.1",
        "response_header_timeout 150s": f"response_header_timeout {TIMEOUT_S}s",
    }

    def surround(self, text, _stage):
        return f"{{\n\tadmin off\n}}\n{text}"

    def arguments(self, config, _stage):
        return ["run", "--adapter", "caddyfile", "--config", config]


class Apache(Target):
    name = "apache"
    binary = "apache2"
    package = "apache2-bin"  # The server without a service.
    recipe = "encke.conf"
    by_unix = '"unix:/run/encke/public.sock|http://localhost/"'
    by_tcp = '"http://127.0.0.1:7711/"'
    replacements = {"*:80": "127.0.0.1:{port}", "timeout=150": f"timeout={TIMEOUT_S}"}
    # Apache looks at a client only when it has something to send it.
    departures = {
        "long-poll": TIMEOUT_S + 1,
        "long-poll-early": TIMEOUT_S + 1,
        **{technique: 3 * HEARTBEAT_S for technique in ("sse", "ndjson", "frame")},
    }

    def surround(self, text, stage):
        modules = ("mpm_event", "authz_core", "proxy", "proxy_http", "env")
        load = [f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in modules]
        own = [f"ServerRoot {stage.directory}", "ServerName localhost", f"Listen 127.0.0.1:{stage.port}",
               "User www-data", "Group www-data", f"PidFile {stage.directory}/pid",
               f"DefaultRuntimeDir {stage.directory}", "ErrorLog /dev/stderr"]
        return "\n".join([*load, *own, text])

    def arguments(self, config, _stage):
        return ["-f", config, "-D", "FOREGROUND"]


class Varnish(Target):
    name = package = "varnish"
    binary = "varnishd"
    recipe = "encke.vcl"
    by_unix = '.path = "/run/encke/public.sock";'
    by_tcp = '.host = "127.0.0.1"; .port = "7711";'
    replacements = {
        "first_byte_timeout = 150s": f"first_byte_timeout = {TIMEOUT_S}s",
        "between_bytes_timeout = 150s": f"between_bytes_timeout = {TIMEOUT_S}s",
    }
    # Varnish looks at a client whose request it passes only when it has something to send it.
    departures = {"long-poll": TIMEOUT_S + 1}

    def arguments(self, config, stage):
        return ["-F", "-n", stage.directory / "varnish", "-f", config, "-a", f"127.0.0.1:{stage.port}",
                "-p", "timeout_idle=75", "-p", "thread_pool_max=2500",
                "-p", f"pipe_timeout={TIMEOUT_S}", "-s", "malloc,16m"]


ALL = [Target(), Nginx(), NginxAuthRequest(), Haproxy(), Caddy(), Apache(), Varnish()]


def find_encke():
    root = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", RECIPES.parent.parent / "target"))
    built = [path for path in (root / "release/encke", root / "debug/encke") if path.exists()]
    if not built:
        sys.exit(f"no encke in {root}: run cargo build, or name one")
    return max(built, key=lambda path: path.stat().st_mtime)


def free_port():
    """A port that nobody listens on, below those that the system gives to outgoing connections."""
    for port in random.sample(range(20_000, 32_000), 1_000):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
        with RUNNING_LOCK:
            if port not in PORTS_GIVEN:
                PORTS_GIVEN.add(port)
                return port
    raise RuntimeError("no free port")


def start(command, log):
    with log.open("ab") as out, RUNNING_LOCK:
        if ENDING.is_set():
            raise RuntimeError("the test is ending")
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True,
            # Caddy keeps files there.
            env={**os.environ, "XDG_CONFIG_HOME": str(log.parent), "XDG_DATA_HOME": str(log.parent)},
            umask=0,  # The proxies, which run as other users, must be able to connect.
        )
        RUNNING.add(process)
    return process


def stop(process):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    with RUNNING_LOCK:
        RUNNING.discard(process)


def stop_all():
    with RUNNING_LOCK:
        ENDING.set()
        running = list(RUNNING)
    for process in running:
        stop(process)


def wait_for(name, process, port, path, status=200):
    """Waits until a GET of `path` is answered with this status."""
    deadline = time.monotonic() + START_S
    last = None
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended with {process.returncode}")
        try:
            last = client.get(port, path).status
            if last == status:
                return
        except OSError as error:
            last = error
        time.sleep(0.05)
    raise RuntimeError(f"{name} not ready after {START_S} s: {last}")
