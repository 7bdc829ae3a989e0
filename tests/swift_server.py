"""OpenStack Swift with its S3 interface in one process: proxy, account, container and object server on this machine.

Objects of several parts are taken; a folder that was served before is served again.

Run by tests/servers.py with a python that has `swift`: ``python swift_server.py FOLDER PORT``. Prints "ready".
"""

import eventlet  # pyright: ignore[reportMissingImports]

eventlet.monkey_patch()  # before anything else is imported

import configparser  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

from eventlet import wsgi  # noqa: E402  # pyright: ignore[reportMissingImports]
from paste.deploy import loadapp  # noqa: E402  # pyright: ignore[reportMissingImports]
from swift.common import storage_policy, utils  # noqa: E402  # pyright: ignore[reportMissingImports]
from swift.common.ring import RingBuilder  # noqa: E402  # pyright: ignore[reportMissingImports]

PIPELINE = "catch_errors proxy-logging cache s3api tempauth slo proxy-logging proxy-server"
FILTERS = {
    "catch_errors": {"use": "egg:swift#catch_errors"},
    "proxy-logging": {"use": "egg:swift#proxy_logging"},
    "cache": {"use": "egg:swift#memcache", "memcache_servers": "127.0.0.1:9"},
    "s3api": {"use": "egg:swift#s3api", "location": "us-east-1"},
    "slo": {"use": "egg:swift#slo"},
    "tempauth": {"use": "egg:swift#tempauth", "user_test_tester": "testing .admin"},
}


class Quiet:
    """Access logs are of no use here."""

    def write(self, *_: object) -> None:
        """Drop it."""

    def flush(self) -> None:
        """Nothing is held."""


def main(folder: Path, port: int) -> None:
    """Serve until killed, or until who started this is gone."""
    parent = os.getppid()
    (folder / "disks" / "d1").mkdir(parents=True, exist_ok=True)
    conf = folder / "swift.conf"
    conf.write_text("[swift-hash]\nswift_hash_path_suffix = frostline\n[storage-policy:0]\nname = one\ndefault = yes\n")
    utils.SWIFT_CONF_FILE = str(conf)
    utils.HASH_PATH_SUFFIX = b"frostline"
    storage_policy.reload_storage_policies()
    for number, kind in enumerate(("account", "container", "object"), start=1):
        ring(folder, kind, port + number)
    for number, kind in enumerate(("account", "container", "object"), start=1):
        serve(configured(folder, kind, {"devices": str(folder / "disks"), "mount_check": "false"}), port + number)
    serve(configured(folder, "proxy", {}), port)
    print("ready", flush=True)
    while os.getppid() == parent:  # whoever started it may be killed
        eventlet.sleep(1)


def ring(folder: Path, kind: str, port: int) -> None:
    """One device, one replica."""
    builder = RingBuilder(4, 1, 1)
    device = {"region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": "d1", "weight": 1.0}
    builder.add_dev(device | {"id": 0, "replication_ip": "127.0.0.1", "replication_port": port})
    builder.rebalance()
    builder.get_ring().save(str(folder / f"{kind}.ring.gz"))


def configured(folder: Path, kind: str, settings: dict[str, str]) -> object:
    """The application of one server."""
    config = configparser.RawConfigParser()
    common = {"swift_dir": str(folder), "log_name": kind, "user": "nobody", "workers": "0"}
    config["DEFAULT"] = common | settings
    if kind == "proxy":
        config["pipeline:main"] = {"pipeline": PIPELINE}
        config["app:proxy-server"] = {
            "use": "egg:swift#proxy",
            "account_autocreate": "true",
            "allow_account_management": "true",
        }
        for name, values in FILTERS.items():
            config[f"filter:{name}"] = values
    else:
        config["app:main"] = {"use": f"egg:swift#{kind}"}
    path = folder / f"{kind}-server.conf"
    with path.open("w") as file:
        config.write(file)
    return loadapp(f"config:{path}", global_conf={"log_name": kind, "__file__": str(path)})


def serve(app: object, port: int) -> None:
    """Answer at a port, in a green thread."""
    listener = eventlet.listen(("127.0.0.1", port), backlog=256, reuse_port=False)
    eventlet.spawn(wsgi.server, listener, app, log=Quiet(), log_output=False, custom_pool=eventlet.GreenPool(256))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
