"""A checkpoint ends with its server: after a dump was restored on another one it is refused, and a new export works."""

import subprocess
from pathlib import Path

from local.database import base_environment, migrate
from tests.exports.conftest import Source
from tests.servers import READER, WRITER, Cluster, MigratedDatabase


def test_a_checkpoint_of_the_first_server_is_refused_on_the_second(
    source: Source, cluster: Cluster, another_cluster: Cluster
) -> None:
    kinds = ("auth_events", "measurements", "api_requests", "store_events")
    for kind in kinds:
        source.record(kind, 3)
    before = {kind: source.exported(kind) for kind in kinds}
    product = source.product
    dump = subprocess.run(
        [cluster.binaries / "pg_dump", "--format=custom", product.database.admin_url], capture_output=True, check=True
    ).stdout

    with another_cluster.new_database() as name:
        restored = MigratedDatabase(another_cluster.admin_url(name))
        _make_roles(another_cluster)
        restore: list[str | Path] = [
            another_cluster.binaries / "pg_restore",
            "--exit-on-error",
            "-d",
            restored.admin_url,
        ]
        subprocess.run(restore, input=dump, capture_output=True, check=True)
        migrate(restored.admin_url, WRITER, READER, base_environment())
        for service, env in ((product.private, restored.writer_env), (product.public, restored.reader_env)):
            service.env.update(env)
            service.restart()
        product.database = restored

        for kind, (found, checkpoint) in before.items():
            refused = source.export(kind, cursor=checkpoint)
            assert refused.status_code == 409, refused.text
            assert "restored since this checkpoint" in refused.json()["detail"]
            again, checkpoint_here = source.exported(kind)
            assert sorted(map(str, again)) == sorted(map(str, found))
            source.record(kind, 1)
            assert len(source.exported(kind, cursor=checkpoint_here)[0]) == 1
        product.private.stop()
        product.public.stop()


def _make_roles(cluster: Cluster) -> None:
    """Roles belong to a server and are in no dump: `migrate` makes them."""
    with cluster.new_database() as name:
        migrate(cluster.admin_url(name), WRITER, READER, base_environment())
