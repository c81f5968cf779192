"""The settings that most wire tests share, as text of a segue.toml."""


def config_for(origin_url, site="", origin="", more="", node=""):
    """One site in front of one origin. `origin_url` is a URL or a list of them; `site`, `origin` and `node` are
    further lines of those tables, `more` is tables of its own."""
    urls = [origin_url] if isinstance(origin_url, str) else origin_url
    servers = ", ".join(f'"{url}"' for url in urls)
    return f"""
[node]
name = "test-node"
ram = "256MiB"
threads = 2
{node}
{more}
[origin.store]
servers = [{servers}]
{origin}
[[site]]
name = "music"
hosts = ["localhost"]
origin = "store"
{site}
"""
