"""The peers of Segue as Debian ships them, each on one core, one worker, access log off, cache warm in memory.

What each setting is for stands beside it; what is not named is the package's default. loadtest/README.md has the list
for readers.
"""
import getpass
import os
import pathlib
import shutil

from lib.processes import Unavailable, free_ports, start

NGINX_HEAD = """
daemon off; user {user}; pid {folder}/nginx.pid; error_log {folder}/error.log;
worker_processes 1;                      # as one loop of Segue
worker_rlimit_nofile 20000;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  sendfile on; tcp_nodelay on;            # tcp_nopush stays off: with it a 64 KiB range waits 40 ms for an ACK
  keepalive_requests 100000000; keepalive_timeout 300s;
  open_file_cache max=20000 inactive=1h; # cached files stay open, as anybody tunes it for such work
  open_file_cache_valid 1h;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
"""
NGINX_CACHE = """
  proxy_cache_path {folder}/cache levels=1:2 keys_zone=cache:64m max_size=64g inactive=1d use_temp_path=off;
  upstream origin {{ server 127.0.0.1:{origin}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_cache cache; proxy_cache_valid 200 206 1d; proxy_cache_lock on;
{slice}
    }}
  }}
}}
"""
NGINX_SLICE = """      slice {size};
      proxy_cache_key $uri$is_args$args$slice_range; proxy_set_header Range $slice_range;"""
NGINX_FILE = """
  server {{ listen 127.0.0.1:{port} backlog=4096; root {files}; location / {{ default_type audio/ogg; etag on; }} }}
}}
"""

VARNISH_VCL = """vcl 4.1;
backend origin {{ .host = "127.0.0.1"; .port = "{origin}"; .max_connections = 1000; }}
sub vcl_backend_response {{ set beresp.ttl = 1d; }}
"""

# One worker thread and no logs, as one loop of Segue; the whole catalogue fits its RAM cache, whose limit of 4 MiB an
# object is raised so that whole tracks do too.
ATS_RECORDS = """CONFIG proxy.config.http.server_ports STRING {port}:ip-in=127.0.0.1
CONFIG proxy.config.exec_thread.autoconfig.enabled INT 0
CONFIG proxy.config.exec_thread.autoconfig INT 0
CONFIG proxy.config.exec_thread.limit INT 1
CONFIG proxy.config.accept_threads INT 0
CONFIG proxy.config.cache.threads_per_disk INT 2
CONFIG proxy.config.log.logging_enabled INT 0
CONFIG proxy.config.cache.ram_cache.size INT {ram}
CONFIG proxy.config.cache.ram_cache_cutoff INT 67108864
CONFIG proxy.config.http.cache.required_headers INT 0
CONFIG proxy.config.http.insert_response_via_str INT 0
CONFIG proxy.config.http.keep_alive_no_activity_timeout_in INT 300
CONFIG proxy.config.url_remap.remap_required INT 1
CONFIG proxy.config.admin.user_id STRING #-1
CONFIG proxy.config.crash_log_helper STRING NULL
"""


def program(name, package):
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/bin")
    if not found:
        raise Unavailable(f"no {name} (Debian package {package})")
    return found


def nginx(name, folder, tail, **values):
    command = program("nginx", "nginx-light")
    folder.mkdir()
    (port,) = free_ports(1)
    text = (NGINX_HEAD + tail).format(folder=folder, port=port, user=getpass.getuser(), **values)
    (folder / "nginx.conf").write_text(text)
    log = folder / "output.log"
    return start(name, port, [command, "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log"], log=log)


def nginx_slice(folder, origin, size="1m", name="nginx-slice"):
    return nginx(name, folder, NGINX_CACHE, origin=origin, slice=NGINX_SLICE.format(size=size))


def nginx_cache(folder, origin):
    return nginx("nginx-cache", folder, NGINX_CACHE, origin=origin, slice="")


def nginx_file(folder, files):
    """No cache: a file server, which a file system under sendfile makes hard to beat."""
    return nginx("nginx-file", folder, NGINX_FILE, files=files)


def varnish(folder, origin, ram_bytes):
    command = program("varnishd", "varnish")
    program("cc", "gcc")  # VCL is compiled when it starts
    folder.mkdir()
    (port,) = free_ports(1)
    (folder / "default.vcl").write_text(VARNISH_VCL.format(origin=origin))
    # No jail: it would give the folder to another user. One pool; its threads are as many as connections, which is
    # how Varnish works. The log in shared memory cannot be switched off; nobody reads it.
    words = [
        command,
        "-F",
        "-j",
        "none",
        "-n",
        folder / "work",
        "-a",
        f"127.0.0.1:{port}",
        "-f",
        folder / "default.vcl",
    ]
    words += ["-T", "none", "-s", f"malloc,{ram_bytes >> 20}M"]
    words += ["-p", "thread_pools=1", "-p", "thread_pool_min=100", "-p", "timeout_idle=300"]
    return start("varnish", port, words, log=folder / "output.log")


def traffic_server(folder, origin, ram_bytes):
    command = program("traffic_server", "trafficserver")
    modules = next((str(p) for p in pathlib.Path("/usr/lib").glob("**/trafficserver/modules")), "/usr/lib")
    folder.mkdir()
    (port,) = free_ports(1)
    for name in ("etc", "run", "log", "cache", "share"):
        (folder / name).mkdir()
    layout = {"prefix": folder, "exec_prefix": "/usr", "bindir": "/usr/bin", "sbindir": "/usr/sbin"}
    layout |= {"sysconfdir": folder / "etc", "datadir": folder / "share", "libdir": "/usr/lib", "libexecdir": modules}
    layout |= {"localstatedir": folder / "run", "runtimedir": folder / "run", "logdir": folder / "log"}
    layout |= {"includedir": "/usr/include", "cachedir": folder / "cache"}
    (folder / "runroot.yaml").write_text("".join(f"{key}: {value}\n" for key, value in layout.items()))
    (folder / "etc/records.config").write_text(ATS_RECORDS.format(port=port, ram=ram_bytes))
    (folder / "etc/remap.config").write_text(f"map / http://127.0.0.1:{origin}/\n")
    (folder / "etc/storage.config").write_text(f"{folder}/cache {max(2 * ram_bytes, 1 << 30)}\n")
    for name in ("plugin.config", "ip_allow.yaml"):
        (folder / "etc" / name).write_text("")
    (folder / "etc/ip_allow.yaml").write_text(
        "ip_allow:\n- {apply: in, ip_addrs: 127.0.0.1, action: allow, methods: ALL}\n"
    )
    environment = dict(os.environ, TS_RUNROOT=str(folder / "runroot.yaml"))
    words = [command, f"--run-root={folder}/runroot.yaml"]
    return start("traffic-server", port, words, log=folder / "output.log", env=environment)
