"""What tests of several folders share: hypothesis' profiles, the order of tests, databases."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, settings

from app.db import Database

LONG = os.environ.get("WATTLOOM_LONG") == "1"
SERVER_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "timezone": "UTC",
}

CUT_OFF = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'"
# Every row goes and every counter begins again. As a replica, since the journal's rows may not be
# deleted otherwise; quicker than TRUNCATE, which makes new files for all tables and indexes.
SWEEP = """DO $$ DECLARE each record; BEGIN
    SET LOCAL session_replication_role = replica;
    FOR each IN SELECT tablename AS name FROM pg_tables
        WHERE schemaname = 'public' AND tablename <> 'alembic_version'
    LOOP EXECUTE format('DELETE FROM %I', each.name); END LOOP;
    FOR each IN SELECT sequencename AS name FROM pg_sequences WHERE schemaname = 'public'
    LOOP EXECUTE format('ALTER SEQUENCE %I RESTART', each.name); END LOOP;
END $$"""

# The same examples on every run, so that a red test stays red until it is mended; the long run
# looks further, and elsewhere each time. A deadline would measure the machine's other load.
settings.register_profile(
    "default",
    max_examples=100,
    derandomize=True,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("long", max_examples=5_000, deadline=None, print_blob=True)
settings.load_profile("long" if LONG else "default")


def _lateness(item: pytest.Item) -> int:
    """How late a test runs: what starts a browser or kills processes comes last."""
    if item.get_closest_marker("browser"):
        return 2
    return 1 if "kill" in item.nodeid.lower() else 0


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_lateness)  # stable: within a rank the files' order stays


class NoPostgresError(Exception):
    """PostgreSQL cannot be started here: install it or read the log that the message shows."""


@dataclass(frozen=True, slots=True)
class PostgresCluster:
    """A PostgreSQL of the tests' own, on 127.0.0.1 and on a socket in its own folder."""

    port: int
    user: str

    def url(self, database: str) -> str:
        """The address of one database for SQLAlchemy."""
        return f"postgresql+psycopg://{self.user}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Run one administrative statement outside any transaction."""
        with psycopg.connect(
            host="127.0.0.1", port=self.port, user=self.user, dbname=database, autocommit=True
        ) as connection:
            connection.execute(statement.encode())


def _postgres_binaries() -> Path:
    """The folder that holds initdb and postgres, the newest version first."""
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    folders = sorted(versions, key=lambda folder: float(folder.parent.name), reverse=True)
    if on_path := shutil.which("initdb"):
        folders.append(Path(on_path).resolve().parent)
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise NoPostgresError(
        "tests need PostgreSQL's initdb and postgres, found neither in /usr/lib/postgresql/*/bin "
        "nor on the PATH; run `make setup`, or install the package `postgresql`"
    )


def _lower_account() -> pwd.struct_passwd | None:
    """Whom the server runs as: PostgreSQL refuses root, so root hands it down; others stay."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(cluster: PostgresCluster, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            cluster.execute("SELECT 1")
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise NoPostgresError(f"PostgreSQL did not start; its log says:\n{log.read_text()}")


def _start(
    program: str, *arguments: str, folder: Path, account: pwd.struct_passwd | None
) -> subprocess.Popen[bytes]:
    """Start one of PostgreSQL's programs in ``folder``; what it says goes to ``folder/log``."""
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [_postgres_binaries() / program, *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is pytest's; the server is stopped below
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Ask for a fast shutdown (SIGINT), then for an immediate one (SIGQUIT)."""
    for request in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        if server.poll() is None:
            server.send_signal(request)
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            continue
        return


@contextmanager
def running_postgres(options: Mapping[str, str]) -> Iterator[PostgresCluster]:
    """Run an empty cluster that is gone at the end."""
    account = _lower_account()
    # Not below pytest's own folder: that one is closed to other accounts.
    folder = Path(tempfile.mkdtemp(prefix="wattloom-pg-"))
    try:
        if account:
            os.chown(folder, account.pw_uid, account.pw_gid)
        initdb = "--pgdata=data --username=wattloom --auth=trust --encoding=UTF8 --locale=C"
        made = _start("initdb", *initdb.split(), "--no-sync", folder=folder, account=account)
        if made.wait(timeout=60):
            raise NoPostgresError(f"initdb failed:\n{(folder / 'log').read_text()}")
        cluster = PostgresCluster(port=_free_port(), user="wattloom")
        given = {**options, "port": cluster.port, "unix_socket_directories": folder}
        stated = [part for name, value in given.items() for part in ("-c", f"{name}={value}")]
        server = _start("postgres", "-D", "data", *stated, folder=folder, account=account)
        try:
            _wait_until_ready(cluster, server, folder / "log")
            yield cluster
        finally:
            _stop(server)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[PostgresCluster]:
    """One cluster per test process, empty, without durability, gone at the end."""
    with running_postgres(SERVER_OPTIONS) as cluster:
        yield cluster


@pytest.fixture
def postgres_url(postgres_cluster: PostgresCluster) -> Iterator[str]:
    """A fresh, empty PostgreSQL database; whoever still holds it at the end is cut off."""
    name = f"test_{uuid.uuid4().hex}"
    postgres_cluster.execute(f"CREATE DATABASE {name}")
    yield postgres_cluster.url(name)
    postgres_cluster.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def laid_postgres(postgres_cluster: PostgresCluster) -> str:
    """The name of a PostgreSQL database with all tables, one per test process."""
    postgres_cluster.execute("CREATE DATABASE laid")
    database = Database(postgres_cluster.url("laid"))
    database.migrate()
    database.close()
    return "laid"


@pytest.fixture
def laid_postgres_url(postgres_cluster: PostgresCluster, laid_postgres: str) -> Iterator[str]:
    """That database without a row; whoever still holds it at the end is cut off."""
    yield postgres_cluster.url(laid_postgres)
    postgres_cluster.execute(CUT_OFF.format(laid_postgres))
    postgres_cluster.execute(SWEEP, laid_postgres)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A fresh SQLite database in a file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'wattloom.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database for SQLAlchemy: each test that asks runs on both engines.

    On PostgreSQL the tables stand already, since migrating takes longer than most tests.
    """
    fixture = {"sqlite": "sqlite_url", "postgresql": "laid_postgres_url"}[request.param]
    return str(request.getfixturevalue(fixture))
