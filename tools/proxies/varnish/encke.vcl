# Varnish in front of encke. A whole configuration; into an existing one go the backend and what
# the subroutines say, before anything else of vcl_recv.
#
#     varnishd -f encke.vcl -a :80 -p timeout_idle=75 -p thread_pool_max=2500
#
# timeout_idle: how long a client's connection stays open between two polls (5 s if not said).
# thread_pool_max: Varnish keeps a thread or two for every client that waits; there are two pools.
#
# encke runs with: --listen unix:/run/encke/public.sock --control 127.0.0.1:7712

vcl 4.1;

backend encke {
    .path = "/run/encke/public.sock";
    # Longer than encke's --max-hold (120 s) and --heartbeat (15 s).
    .first_byte_timeout = 150s;
    .between_bytes_timeout = 150s;
}

sub vcl_recv {
    if (req.url ~ "^/encke/") {
        set req.backend_hint = encke;
        # encke sees /sse/news.
        set req.url = regsub(req.url, "^/encke", "");

        # Streams, and polls whose head is to come early: bytes are passed on as they come, in
        # both directions, so that encke sees at once when a client leaves.
        if (req.url ~ "^/(sse|ndjson|frame|ws)/" || req.url ~ "[?&]early=1") {
            return (pipe);
        }
        # Nothing of encke's is to be stored, and no request may wait for another's answer.
        return (pass);
    }
}

sub vcl_pipe {
    # A piped connection is for one request, which may be the handshake of a WebSocket.
    if (req.http.Upgrade) {
        set bereq.http.Connection = "Upgrade";
        set bereq.http.Upgrade = req.http.Upgrade;
    } else {
        set bereq.http.Connection = "close";
    }
}
