"""Envoy's listener: the filters that every request passes at the edge. Pure."""

from __future__ import annotations

from infra.envoy.clusters import TYPE, Resource, address
from infra.envoy.routes import BUFFERED_BYTES, ROUTES

# A handoff that could not be replayed (the body was too long, a second one came, the named
# region is unknown) must not reach the client, who would follow it for ever.
_UNREPLAYABLE = """
function envoy_on_response(handle)
  local headers = handle:headers()
  if headers:get("x-replay-region") then
    headers:replace(":status", "503")
    headers:replace("retry-after", "1")
    for _, name in ipairs({"location", "set-cookie", "x-replay-region", "x-replay-state"}) do
      headers:remove(name)
    end
  end
end
"""


def listener(host: str, port: int, source: Resource) -> Resource:
    """The edge's listener; `source` is where its route table is watched."""
    return {
        "@type": TYPE + "config.listener.v3.Listener",
        "name": "edge",
        "address": address(host, port),
        "per_connection_buffer_limit_bytes": 1024 * 1024,
        "filter_chains": [{"filters": [_http(source)]}],
    }


def _http(source: Resource) -> Resource:
    manager = TYPE + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    nobody = {"address_prefix": "255.255.255.255", "prefix_len": 32}
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": manager,
            "stat_prefix": "edge",
            "rds": {"route_config_name": ROUTES, "config_source": source},
            "use_remote_address": True,
            # Without a range of its own Envoy trusts loopback clients with the replay headers.
            "internal_address_config": {"unix_sockets": False, "cidr_ranges": [nobody]},
            "normalize_path": True,
            "generate_request_id": True,
            "server_header_transformation": "PASS_THROUGH",
            "common_http_protocol_options": {
                "idle_timeout": "60s",
                "headers_with_underscores_action": "REJECT_REQUEST",
            },
            "request_headers_timeout": "10s",
            "stream_idle_timeout": "60s",
            "access_log": [_access_log()],
            "http_filters": [
                # The whole request is here before a region is asked: an early answer can then
                # always be handed over. Longer ones get 413.
                _filter("buffer", "buffer.v3.Buffer", max_request_bytes=BUFFERED_BYTES),
                _filter(
                    "lua",
                    "lua.v3.Lua",
                    default_source_code={"inline_string": _UNREPLAYABLE},
                ),
                _filter("router", "router.v3.Router", suppress_envoy_headers=True),
            ],
        },
    }


def _filter(name: str, message: str, **settings: object) -> Resource:
    return {
        "name": f"envoy.filters.http.{name}",
        "typed_config": {"@type": TYPE + "extensions.filters.http." + message, **settings},
    }


def _access_log() -> Resource:
    """One JSON line a pass. No query and no client address: they can be personal data."""
    return {
        "name": "envoy.access_loggers.stdout",
        "typed_config": {
            "@type": TYPE + "extensions.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": {
                "json_format": {
                    "at": "%START_TIME%",
                    "host": "%REQ(:AUTHORITY)%",
                    "method": "%REQ(:METHOD)%",
                    "path": "%PATH(NQ:PATH)%",
                    "status": "%RESPONSE_CODE%",
                    "flags": "%RESPONSE_FLAGS%",
                    "why": "%RESPONSE_CODE_DETAILS%",
                    "route": "%ROUTE_NAME%",
                    "upstream": "%UPSTREAM_HOST%",
                    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
                    "milliseconds": "%DURATION%",
                    "request_id": "%REQ(X-REQUEST-ID)%",
                }
            },
        },
    }
